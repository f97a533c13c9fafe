"""A picture of a time: one line a resource, one mark a task, in the colours of the outcomes (SVG 1.1).

What others named stands in it as mere text: whatever could be markup, or is no character of XML 1.0, is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from xml.sax.saxutils import escape

from vaultbell.text import one_line

# By outcome: the colour, and the shape, for whoever sees no colours.
LOOKS = {
    "succeeded": ("#2e9e5b", "dot"),
    "running": ("#4a90d9", "ring"),
    "partial": ("#e0a100", "triangle"),
    "skipped": ("#b07d00", "bar"),
    "failed": ("#d62839", "diamond"),
    "timed_out": ("#8e24aa", "square"),
    "overdue": ("#e4572e", "ring"),
    "unknown": ("#6d7680", "square"),
}
LEFT, RIGHT, TOP, ROW, WIDTH = 236, 24, 92, 16, 1_280
NAME_LIMIT = 36
HOURS = (1, 3, 6, 12, 24, 48, 7 * 24, 30 * 24)
STYLE = """
  svg { font: 11px system-ui, sans-serif; background: #fff; color: #24292f }
  text { fill: currentColor } .faint { fill: #6d7680 } .line { stroke: #d8dee4 } .band { fill: #f3f5f7 }
  .halo { fill: none; stroke: #24292f; stroke-width: 1.2 }
  @media (prefers-color-scheme: dark) {
    svg { background: #15191e; color: #e6edf3 } .faint { fill: #9aa4ae } .line { stroke: #2f363d }
    .band { fill: #1c2128 } .halo { stroke: #e6edf3 }
  }
"""
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Mark:
    """A task: when it came about, its outcome, what is told on pointing at it, and whether it would have rung."""

    at: datetime
    outcome: str
    words: str
    rings: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A resource, and its tasks."""

    name: str
    marks: Sequence[Mark]


def svg(rows: Sequence[Row], start: datetime, end: datetime, title: str, zone: tzinfo) -> str:
    """The document."""
    bottom = TOP + ROW * max(len(rows), 1)
    scale = _Scale(start, end)
    seen = {mark.outcome for row in rows for mark in row.marks}
    lines = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + 34}" '
        f'viewBox="0 0 {WIDTH} {bottom + 34}" role="img">',
        f"<title>{_text(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<text x="12" y="24" font-size="15" font-weight="600">{_text(title)}</text>',
        *_legend([outcome for outcome in LOOKS if outcome in seen]),
        *(part for number, row in enumerate(rows) for part in _row(row, TOP + ROW * number, number, scale)),
        *_axis(start, end, zone, scale, bottom),
        *(part for number, row in enumerate(rows) for part in _marks(row, TOP + ROW * number, scale)),
        "</svg>",
    )
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class _Scale:
    start: datetime
    end: datetime

    def x(self, at: datetime) -> float:
        """The place of a time."""
        part = (at - self.start) / max(self.end - self.start, timedelta(seconds=1))
        return round(LEFT + min(max(part, 0.0), 1.0) * (WIDTH - LEFT - RIGHT), 1)


def _text(text: str) -> str:
    """The text as XML has it."""
    return escape(_NO_XML.sub("\ufffd", one_line(text)), {'"': "&quot;"})


def _legend(outcomes: Sequence[str]) -> Iterator[str]:
    x = 16.0
    for outcome in outcomes:
        yield _shape(outcome, x, 46)
        yield f'<text x="{x + 10}" y="50">{_text(outcome)}</text>'
        x += 30 + 6.4 * len(outcome)
    yield f'<circle class="halo" cx="{x}" cy="46" r="6.5"/><text x="{x + 12}" y="50">would have rung</text>'


def _row(row: Row, y: float, number: int, scale: _Scale) -> Iterator[str]:
    name = one_line(row.name, NAME_LIMIT)
    if number % 2 == 0:
        yield f'<rect class="band" x="0" y="{y}" width="{WIDTH}" height="{ROW}"/>'
    yield f'<text x="{LEFT - 10}" y="{y + 12}" text-anchor="end">{_text(name)}<title>{_text(row.name)}</title></text>'
    yield f'<path class="line" d="M{scale.x(scale.start)} {y + ROW / 2}H{scale.x(scale.end)}"/>'


def _axis(start: datetime, end: datetime, zone: tzinfo, scale: _Scale, bottom: float) -> Iterator[str]:
    """A line at each step, which is a day or a part of one, and what time it is there, above and below."""
    hours = next((hours for hours in HOURS if (end - start) / timedelta(hours=hours) <= 16), HOURS[-1])
    step = timedelta(hours=hours)
    at = start.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    while at < end:
        if at >= start:
            x = scale.x(at)
            yield f'<path class="line" d="M{x} {TOP - 6}V{bottom + 6}"/>'
            label = f"{at:%a %d %b}" if at.hour == 0 and at.minute == 0 else f"{at:%H:%M}"
            for y in (TOP - 12, bottom + 20):
                yield f'<text class="faint" x="{x}" y="{y}" text-anchor="middle">{_text(label)}</text>'
        at += step


def _marks(row: Row, y: float, scale: _Scale) -> Iterator[str]:
    """The good ones first, so that the bad ones lie above them."""
    for mark in sorted(row.marks, key=lambda mark: (mark.rings, mark.at)):
        x, middle = scale.x(mark.at), y + ROW / 2
        halo = f'<circle class="halo" cx="{x}" cy="{middle}" r="6.5"/>' if mark.rings else ""
        yield f"<g>{_shape(mark.outcome, x, middle)}{halo}<title>{_text(mark.words)}</title></g>"


def _shape(outcome: str, x: float, y: float) -> str:
    colour, shape = LOOKS.get(outcome, LOOKS["unknown"])
    match shape:
        case "dot":
            return f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>'
        case "ring":
            return f'<circle cx="{x}" cy="{y}" r="3.2" fill="none" stroke="{colour}" stroke-width="2"/>'
        case "square":
            return f'<rect x="{x - 4}" y="{y - 4}" width="8" height="8" fill="{colour}"/>'
        case "bar":
            return f'<rect x="{x - 4.5}" y="{y - 2}" width="9" height="4" fill="{colour}"/>'
        case "triangle":
            return f'<path d="M{x} {y - 5}l5 9h-10z" fill="{colour}"/>'
        case _:
            return f'<path d="M{x} {y - 5.5}l5.5 5.5l-5.5 5.5l-5.5 -5.5z" fill="{colour}"/>'
