"""What arrives, and what it asks for.

An `Event` is what a platform hands over, before anything is believed of it. Decoding turns it into items: each
a piece of `Work`, something `Settled` that needs none, or the `InvalidEvent` that says why it cannot be done.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Literal, NamedTuple

from vaultbell.errors import InvalidEvent


class Event(NamedTuple):
    """One arrival. Header names are in lower case; `time` is when it happened, if the way it came in says so.

    `trusted` is set where the platform vouches for the sender, or the sender has proved itself; `platform` where it
    comes in a platform's own form, which nobody else can send; `topics` are the SMN topics that such a form may come
    from (none: any).
    """

    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})
    time: datetime | None = None
    trusted: bool = False
    platform: bool = False
    topics: tuple[str, ...] = ()


class TaskRef(NamedTuple):
    """A task by its name. `project_id` absent: it is looked for in each allowed project.

    `time` is the event's own; `channels`, where given, are the only ones still to be told.
    """

    operation_log_id: str
    project_id: str | None = None
    region: str | None = None
    time: datetime | None = None
    channels: tuple[str, ...] | None = None


class Search(NamedTuple):
    """A hint without an id.

    The tasks of the things that it names (`ids`: resource, vault, restore point, in lower case, the likeliest first)
    and of its types (none: any) are looked for around `time`.

    `subject` names the hint itself, for what is told where nothing is found; `kind` says how to look: an alarm comes
    when a task has ended, a trace when one has been asked for.
    """

    kind: Literal["alarm", "trace"]
    subject: str
    time: datetime | None
    operation_types: tuple[str, ...]
    ids: tuple[str, ...]
    project_id: str | None = None


class Sweep(NamedTuple):
    """Look through the task list for what ended badly. What is absent comes from the settings; `at` from the clock."""

    at: datetime | None = None
    period: timedelta | None = None
    lag: timedelta | None = None
    project_id: str | None = None
    lookback: int | None = None


class RollCall(NamedTuple):
    """Tell how all backups of the last period went. What is absent comes from the settings; `at` from the clock."""

    at: datetime | None = None
    period: timedelta | None = None
    project_id: str | None = None


class Alarm(NamedTuple):
    """A trusted source tells an alarm of CBR that cannot be read, or names nothing to look for: it is told as it is."""

    text: str
    time: datetime | None
    error: InvalidEvent


class Settled(NamedTuple):
    """An item that is handled by having been read: one of our own events come back, say. `reason` is for the log."""

    reason: str


Work = TaskRef | Search | Sweep | RollCall | Alarm
Item = Work | Settled | InvalidEvent
