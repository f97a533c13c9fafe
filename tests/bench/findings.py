"""What is found: ratios with their spread, whether they reach what is due, tables, and curves of growth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median


def ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Of two things measured in the same rounds: round by round."""
    return [value / other for value, other in zip(values, others, strict=True)]


def told(value: float) -> str:
    """A figure as a table shows it."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.2f}"


def spread(values: Sequence[float]) -> str:
    """Median, least and most."""
    middle = told(median(values))
    return middle if len(values) == 1 else f"{middle} ({told(min(values))} to {told(max(values))})"


@dataclass(frozen=True)
class Finding:
    """A figure that is due. `at_most`: less is better; `wanted` is what is due in the end, where that is more."""

    what: str
    due: float
    values: Sequence[float]
    at_most: bool = True
    wanted: float | None = None
    note: str = ""

    def _holds(self, bound: float) -> bool:
        return median(self.values) <= bound if self.at_most else median(self.values) >= bound

    @property
    def verdict(self) -> str:
        """How far it is reached."""
        if not self.values:
            return f"not measured: {self.note}"
        if not self._holds(self.due):
            return "**no**"
        return "yes" if self.wanted is None or self._holds(self.wanted) else "due: yes, wanted: no"

    @property
    def row(self) -> tuple[str, str, str, str]:
        """What, reach, measured, reached."""
        bounds = [told(bound) for bound in (self.due, self.wanted) if bound is not None]
        sign = "≤" if self.at_most else "≥"
        measured = spread(self.values) if self.values else "-"
        return self.what, f"{sign} {'; '.join(bounds)}", measured, self.verdict


@dataclass(frozen=True)
class Table:
    """Figures that nothing is due of."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Curve:
    """How something grows: by name, points of x and y. Curves of one `name` share a picture."""

    name: str
    title: str
    x: str
    y: str
    series: dict[str, list[tuple[float, float]]]


@dataclass
class Found:
    """All of it, in the order in which it was found."""

    findings: list[Finding] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
