"""Who is told: the routes that a notification takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Protocol

from vaultbell.notification import Notification


class Route(Protocol):
    """A route as the settings give it. `patterns` maps a field to the texts and globs of which one must fit."""

    @property
    def patterns(self) -> Mapping[str, Sequence[str]]: ...  # noqa: D102 - the class tells
    @property
    def channels(self) -> Sequence[str]: ...  # noqa: D102 - the class tells
    @property
    def fallback(self) -> str | None: ...  # noqa: D102 - the class tells
    @property
    def continue_(self) -> bool: ...  # noqa: D102 - the class tells


@dataclass(frozen=True, slots=True)
class Selection:
    """The channels to tell, each once, and the channel that stands in for one that was not reached.

    `broken` are the routes that could not be judged, counted from 1: somebody has to hear of them.
    """

    channels: tuple[str, ...] = ()
    fallbacks: Mapping[str, str] = field(default_factory=dict)
    broken: tuple[int, ...] = ()


class Verdict(StrEnum):
    """What becomes of a route."""

    TAKEN = "taken"
    BROKEN = "cannot be judged"  # counts as a match, and so do those after it that match: never silence
    NOT_TAKEN = "not taken"
    NOT_ASKED = "not asked"  # one before it has decided


@dataclass(frozen=True, slots=True)
class Miss:
    """A field that does not fit: the texts and globs of which one would have to, and its value (None: it is absent)."""

    field: str
    wanted: tuple[str, ...]
    had: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """A route, what becomes of it, and why it is not taken."""

    route: Route
    verdict: Verdict
    misses: tuple[Miss, ...] = ()


def select(notification: Notification, routes: Sequence[Route]) -> Selection:
    """The channels of the first route that matches, and of further ones as long as it says `continue`."""
    channels: dict[str, str | None] = {}
    steps = explain(notification, routes)
    for step in steps:
        if step.verdict in (Verdict.TAKEN, Verdict.BROKEN):
            for name in step.route.channels:
                channels[name] = channels.get(name) or step.route.fallback
    return Selection(
        tuple(channels),
        {name: fallback for name, fallback in channels.items() if fallback},
        tuple(number for number, step in enumerate(steps, start=1) if step.verdict is Verdict.BROKEN),
    )


def explain(notification: Notification, routes: Sequence[Route]) -> list[Step]:
    """What becomes of each route, in their order."""
    steps: list[Step] = []
    decided = False
    for route in routes:
        step = Step(route, Verdict.NOT_ASKED) if decided else _judged(notification, route)
        decided = decided or (step.verdict is Verdict.TAKEN and not route.continue_)
        steps.append(step)
    return steps


def _judged(notification: Notification, route: Route) -> Step:
    try:
        misses = tuple(
            Miss(name, tuple(wanted), value)
            for name, wanted in route.patterns.items()
            if not _fits(value := field_of(notification, name), wanted)
        )
    except Exception:  # noqa: BLE001 - a rule that fails is not to silence anything, whatever the reason
        return Step(route, Verdict.BROKEN)
    return Step(route, Verdict.NOT_TAKEN if misses else Verdict.TAKEN, misses)


def _fits(value: str | None, wanted: Sequence[str]) -> bool:
    """Whether one of the patterns fits. What is absent (or empty) matches nothing."""
    return bool(value) and any(_glob(pattern).fullmatch(value or "") for pattern in wanted)


def field_of(notification: Notification, name: str) -> str | None:
    """The value of a field that routes know; None where the notification has none."""
    own = {
        "outcome": notification.outcome,
        "severity": notification.severity,
        "project_id": notification.project_id,
        "region": notification.region,
    }
    return own[name] if name in own else notification.facts.get(name)


@lru_cache(maxsize=512)
def _glob(pattern: str) -> re.Pattern[str]:
    """`*` and `?` over the whole value; all else means itself.

    A part between two stars is looked for once, at its first place (an atomic group): a later one would fit no better,
    and trying them all would take for ever in a long name.
    """
    first, *parts = (re.escape(part).replace(r"\?", ".") for part in pattern.split("*"))
    middle = "".join(f"(?>.*?{part})" for part in parts[:-1])
    return re.compile(first + (f"{middle}.*{parts[-1]}" if parts else ""), re.DOTALL)
