"""Pictures of growth: points and lines on two axes whose steps are factors, in a few lines of SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import ceil, floor, log10

from bench.findings import Curve, told

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 50
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#7f7f7f")


class _Axis:
    """From the values of an axis to its places, by their logarithm; y begins at a power of ten, or near its least."""

    def __init__(self, values: list[float], start: float, end: float) -> None:
        low, high = log10(min(values)), log10(max(values))
        if high - low < 1:  # what hardly grows is to look so
            low, high = low - 0.5, high + 0.5
        self.low, self.high, self.start, self.end = low, high, start, end

    def at(self, value: float) -> float:
        """The place."""
        part = (log10(value) - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def steps(self) -> list[float]:
        """Where a line helps: 1, 2 and 5 of each power of ten."""
        powers = range(floor(self.low), ceil(self.high) + 1)
        found = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        return [value for value in found if self.low - 1e-9 <= log10(value) <= self.high + 1e-9]


def picture(curves: Sequence[Curve]) -> str:
    """The curves, one below the other, as an SVG document."""
    height = HEIGHT * len(curves)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for number, curve in enumerate(curves):
        lines += [f'<g transform="translate(0 {HEIGHT * number})">', *_panel(curve), "</g>"]
    return "\n".join((*lines, "</svg>", ""))


def _panel(curve: Curve) -> list[str]:
    points = [point for series in curve.series.values() for point in series]
    x = _Axis([at for at, _ in points], LEFT + 20, WIDTH - RIGHT - 20)
    y = _Axis([value for _, value in points], HEIGHT - BOTTOM - 10, TOP + 16 * len(curve.series))
    lines = [
        _text(WIDTH / 2, 20, curve.title, "middle", "14"),
        _text(WIDTH / 2, HEIGHT - 10, curve.x, "middle"),
        _text(8, TOP - 4, curve.y, "start"),
        *(line for value in y.steps() for line in _grid(LEFT, y.at(value), WIDTH - RIGHT, told(value))),
        *(_text(x.at(at), HEIGHT - BOTTOM + 18, f"{at:,.0f}", "middle") for at in sorted({at for at, _ in points})),
    ]
    for number, (name, series) in enumerate(curve.series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x.at(at):.1f},{y.at(value):.1f}" for at, value in series)
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lines += [f'<circle cx="{x.at(at):.1f}" cy="{y.at(value):.1f}" r="3" fill="{colour}"/>' for at, value in series]
        lines.append(_text(LEFT + 8, TOP + 12 + 16 * number, name, "start", fill=colour))
    return lines


def _grid(start: float, at: float, end: float, label: str) -> Iterator[str]:
    yield f'<line x1="{start}" y1="{at:.1f}" x2="{end}" y2="{at:.1f}" stroke="#ddd"/>'
    yield _text(start - 6, at + 4, label, "end")


def _text(x: float, y: float, text: str, anchor: str, size: str = "12", fill: str = "#222") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}">{escape(text)}</text>'
    )
