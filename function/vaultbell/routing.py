"""Who is told: the routes that a notification takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from vaultbell.notification import Notification


class Route(Protocol):
    """A route as the settings give it. `patterns` maps a field to the texts and globs of which one must fit."""

    @property
    def patterns(self) -> Mapping[str, Sequence[str]]: ...  # noqa: D102 - the class tells
    @property
    def channels(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def fallback(self) -> str | None: ...  # noqa: D102
    @property
    def continue_(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Selection:
    """The channels to tell, each once, and the channel that stands in for one that was not reached."""

    channels: tuple[str, ...] = ()
    fallbacks: Mapping[str, str] = field(default_factory=dict)


def select(notification: Notification, routes: Sequence[Route]) -> Selection:
    """The channels of the first route that matches, and of further ones as long as it says `continue`."""
    channels: dict[str, str | None] = {}
    for route in routes:
        if not matches(notification, route.patterns):
            continue
        for name in route.channels:
            channels[name] = channels.get(name) or route.fallback
        if not route.continue_:
            break
    return Selection(tuple(channels), {name: fallback for name, fallback in channels.items() if fallback})


def matches(notification: Notification, patterns: Mapping[str, Sequence[str]]) -> bool:
    """Whether each field has a value that one of its patterns fits. A field that is absent matches nothing."""
    return all(
        any(_glob(pattern).fullmatch(value) for pattern in wanted) if (value := field_of(notification, name)) else False
        for name, wanted in patterns.items()
    )


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
