"""A list of events of any other form: `{"events": […]}`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from vaultbell.errors import InvalidEvent
from vaultbell.events import Item
from vaultbell.report import JSON, Object
from vaultbell.sources.form import Context, Shaped


class Listed(Shaped):
    """See the module."""

    name = "events"

    def fits(self, value: Object) -> bool:
        """It has `events`, and is no event itself."""
        return "events" in value

    def items(self, value: JSON, time: datetime | None, context: Context) -> Iterator[Item]:
        """The items of each event in turn."""
        events = value.get("events") if isinstance(value, dict) else None
        if not isinstance(events, list):
            raise InvalidEvent("events is not a list")
        if not events:
            raise InvalidEvent("the batch is empty", code="no_task")
        for event in events:
            yield from context.unfold(event, time, context)


SOURCE = Listed()
