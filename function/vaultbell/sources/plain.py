"""The plain form: `{"operation_log_id": "…", "project_id": "…"?, "region": "…"?, "time": "…"?}`.

`task_id` is accepted for `operation_log_id`; `channels` (the only ones still to be told) from trusted doors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from vaultbell import times
from vaultbell.errors import InvalidEvent
from vaultbell.events import Item, TaskRef
from vaultbell.report import JSON, Object
from vaultbell.sources.form import Context, Shaped

_TASK_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_PROJECT_ID = re.compile(r"[0-9a-f]{32}")


class Plain(Shaped):
    """See the module."""

    name = "plain"

    def fits(self, value: Object) -> bool:
        """It names a task."""
        return "operation_log_id" in value or "task_id" in value

    def items(self, value: JSON, time: datetime | None, context: Context) -> Iterator[Item]:
        """The one task that it names."""
        if not isinstance(value, dict):
            raise InvalidEvent("an event is a JSON object")
        named = {task_id(name) for key in ("operation_log_id", "task_id") if (name := value.get(key)) is not None}
        if len(named) > 1:
            raise InvalidEvent("operation_log_id and task_id name two tasks", code="bad_id")
        if not named:
            raise InvalidEvent("the event names no task: operation_log_id is missing", code="no_task")
        channels = value.get("channels")
        owed = [name for name in channels if isinstance(name, str)] if isinstance(channels, list) else []
        yield TaskRef(
            named.pop(),
            project_id(value.get("project_id")),
            region(value.get("region")),
            times.read(value.get("time")) or time,
            tuple(owed) if owed and context.event.trusted else None,
        )


def task_id(value: JSON) -> str:
    """A task's id in lower case; InvalidEvent where it is not a UUID, since it becomes part of an address."""
    return _checked(value, _TASK_ID, "operation_log_id is not a UUID")


def project_id(value: JSON) -> str | None:
    """A project's id in lower case, or None for null; InvalidEvent where it is not 32 hex digits."""
    return None if value is None else _checked(value, _PROJECT_ID, "project_id is not 32 hex digits")


def region(value: JSON) -> str | None:
    """A region's name as the event gives it, or None for null. It is only ever compared."""
    if value is not None and not isinstance(value, str):
        raise InvalidEvent("region is not a text")
    return value


def _checked(value: JSON, pattern: re.Pattern[str], complaint: str) -> str:
    text = value.lower() if isinstance(value, str) and value.isascii() else ""
    if not pattern.fullmatch(text):
        raise InvalidEvent(complaint, code="bad_id")
    return text


SOURCE = Plain()
