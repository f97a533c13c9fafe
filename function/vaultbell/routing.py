"""Who is told: the routes that a notification takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple, Protocol

from vaultbell import conditions
from vaultbell.notification import Notification

NO_PAST = ("succeeded", "running")  # nothing has gone wrong: there is no row of failures, whatever is asked of it


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


class Selection(NamedTuple):
    """The channels to tell, each once, and the channel that stands in for one that was not reached.

    `broken` are the routes that could not be judged, counted from 1: somebody has to hear of them. `left_out` are the
    channels that would open an incident for what has recovered.
    """

    channels: tuple[str, ...] = ()
    fallbacks: Mapping[str, str] = MappingProxyType({})
    broken: tuple[int, ...] = ()
    left_out: tuple[str, ...] = ()


class Verdict(StrEnum):
    """What becomes of a route."""

    TAKEN = "taken"
    BROKEN = "cannot be judged"  # counts as a match, and so do those after it that match: never silence
    UNSURE = "may match"  # it asks for a past that is not known: as above
    NOT_TAKEN = "not taken"
    NOT_ASKED = "not asked"  # one before it has decided


class Miss(NamedTuple):
    """A field that does not fit: the texts and globs of which one would have to, and its value (None: it is absent)."""

    field: str
    wanted: tuple[str, ...]
    had: str | None


class Step(NamedTuple):
    """A route, what becomes of it, and why it is not taken."""

    route: Route
    verdict: Verdict
    misses: tuple[Miss, ...] = ()


def select(notification: Notification, routes: Sequence[Route], incidents: frozenset[str] = frozenset()) -> Selection:
    """The channels of the first route that matches, and of further ones as long as it says `continue`.

    `incidents` are the channels that open one: they do not hear of what has recovered, not even as a fallback.
    """
    channels: dict[str, str | None] = {}
    steps = explain(notification, routes)
    for step in steps:
        if step.verdict in (Verdict.TAKEN, Verdict.BROKEN, Verdict.UNSURE):
            for name in step.route.channels:
                channels[name] = channels.get(name) or step.route.fallback
    silent = incidents if notification.recovered else frozenset()
    return Selection(
        tuple(name for name in channels if name not in silent),
        {name: fallback for name, fallback in channels.items() if fallback and silent.isdisjoint((name, fallback))},
        tuple(number for number, step in enumerate(steps, start=1) if step.verdict is Verdict.BROKEN),
        tuple(name for name in channels if name in silent),
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
    misses, unsure = [], False
    try:
        for name, wanted in route.patterns.items():
            value = field_of(notification, name)
            fits = _fits(notification, name, wanted, value)
            unsure = unsure or fits is None
            if fits is False:
                misses.append(Miss(name, tuple(wanted), value))
    except Exception:  # noqa: BLE001 - a rule that fails is not to silence anything, whatever the reason
        return Step(route, Verdict.BROKEN)
    if misses:
        return Step(route, Verdict.NOT_TAKEN, tuple(misses))
    return Step(route, Verdict.UNSURE if unsure else Verdict.TAKEN)


def _fits(notification: Notification, name: str, wanted: Sequence[str], value: str | None) -> bool | None:
    """Whether one of the patterns or conditions fits; None: it may. What is absent (or empty) matches no pattern."""
    if name in conditions.FIELDS:
        return notification.outcome not in NO_PAST and conditions.fits(name, wanted, value)
    return value is not None and value != "" and any(glob(pattern).fullmatch(value) for pattern in wanted)


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
def glob(pattern: str) -> re.Pattern[str]:
    """`*` and `?` over the whole value; all else means itself.

    A part between two stars is looked for once, at its first place (an atomic group): a later one would fit no better,
    and trying them all would take for ever in a long name.
    """
    first, *parts = (re.escape(part).replace(r"\?", ".") for part in pattern.split("*"))
    middle = "".join(f"(?>.*?{part})" for part in parts[:-1])
    return re.compile(first + (f"{middle}.*{parts[-1]}" if parts else ""), re.DOTALL)
