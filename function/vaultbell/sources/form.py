"""What a source is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import NamedTuple, Protocol

from vaultbell.events import Event, Item
from vaultbell.report import JSON, Object

Unfold = Callable[[JSON, datetime | None, "Context"], Iterator[Item]]


class Context(NamedTuple):
    """What a source may know: the whole event, how deep in it this form lies, and what unfolds the rest."""

    event: Event
    unfold: Unfold
    depth: int = 0

    def deeper(self) -> Context:
        """The context of what lies in this one."""
        return self._replace(depth=self.depth + 1)


class Source(Protocol):
    """One form of event. `waits`: how long its sender waits for an answer, in seconds, where that is less than ours.

    `answers_empty`: a handled event is answered 204 and nothing. `leaves`: it cannot come again until a task has ended.
    `platform_only`: it is believed only as a platform's own event, since anybody could send the like to an open door.
    """

    name: str
    waits: float | None
    answers_empty: bool
    leaves: bool
    platform_only: bool

    def opens(self, event: Event) -> bool:
        """Whether the headers say that the event has this form."""

    def open(self, event: Event) -> tuple[JSON, bool]:
        """The value that such an event holds, and whether it is a batch."""

    def fits(self, value: Object) -> bool:
        """Whether an object has the shape of this form."""

    def items(self, value: JSON, time: datetime | None, context: Context) -> Iterator[Item]:
        """The items in it; `time` is the event's own as far as it is known. Raises InvalidEvent."""


class Shaped:
    """A source that is told by its shape alone."""

    waits: float | None = None
    answers_empty = False
    leaves = False
    platform_only = False

    def opens(self, event: Event) -> bool:
        """No header says so."""
        del event
        return False

    def open(self, event: Event) -> tuple[JSON, bool]:
        """Never called, since `opens` is never true."""
        raise NotImplementedError
