"""CloudEvents 1.0 over HTTP: structured, binary and batched (HTTP protocol binding, JSON event format).

Told by `Content-Type` (batch before structured), else by `ce-*` headers; in a list also by `specversion`. The data
is any other form, and `time` the event's. Events that Vaultbell itself has sent, told by their source, are settled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import unquote

from vaultbell import strict_json, times
from vaultbell.errors import InvalidEvent
from vaultbell.events import Event, Item, Settled
from vaultbell.report import JSON, Object
from vaultbell.sources.form import Context
from vaultbell.sources.pubsub import from_base64

STRUCTURED = "application/cloudevents"
BATCH = "application/cloudevents-batch"
REQUIRED = ("id", "source", "specversion", "type")

_OWN_SOURCE = re.compile(r"/vaultbell/[^/]*/[^/]*")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


class CloudEvents:
    """See the module."""

    name = "cloudevents"
    waits: float | None = None
    answers_empty = True
    leaves = False
    platform_only = False

    def opens(self, event: Event) -> bool:
        """By its content type, or by a header that every binary event has."""
        return event.headers.get("content-type", "").lower().startswith(STRUCTURED) or any(
            f"ce-{name}" in event.headers for name in REQUIRED
        )

    def open(self, event: Event) -> tuple[JSON, bool]:
        """One event as an object of its attributes, or the list of a batch."""
        kind = event.headers.get("content-type", "").lower()
        if kind.startswith(BATCH):
            events = strict_json.loads(event.body)
            if not isinstance(events, list):
                raise InvalidEvent("a batch of CloudEvents is a JSON array")
            return events, True
        if kind.startswith(STRUCTURED):
            return strict_json.loads(event.body), False
        attributes: Object = {
            name.removeprefix("ce-"): _attribute(value) for name, value in event.headers.items() if name[:3] == "ce-"
        }
        return attributes | {"data": event.body.decode(errors="surrogateescape")}, False

    def fits(self, value: Object) -> bool:
        """It has the attribute that every CloudEvent has."""
        return "specversion" in value

    def items(self, value: JSON, time: datetime | None, context: Context) -> Iterator[Item]:
        """What the data of each event holds."""
        if not isinstance(value, list):
            yield from self._items_of_one(value, time, context)
            return
        for event in value:
            try:
                yield from self._items_of_one(event, time, context)
            except InvalidEvent as error:
                yield error

    def _items_of_one(self, event: JSON, time: datetime | None, context: Context) -> Iterator[Item]:
        if not isinstance(event, dict):
            raise InvalidEvent("a CloudEvent is a JSON object")
        for name in REQUIRED:
            if not isinstance(given := event.get(name), str) or not given:
                raise InvalidEvent(f"the CloudEvent has no {name}")
        if event["specversion"] != "1.0":
            raise InvalidEvent("only CloudEvents 1.0 are understood")
        if _OWN_SOURCE.fullmatch(str(event["source"])):
            return iter([Settled("an event of our own has come back")])
        return context.unfold(_data_of(event), times.read(event.get("time")) or time, context)


def _data_of(event: Object) -> JSON:
    packed, data = event.get("data_base64"), event.get("data")
    if packed is not None and data is not None:
        raise InvalidEvent("the CloudEvent has both data and data_base64")
    if isinstance(packed, str):
        return strict_json.loads(from_base64(packed))
    if isinstance(data, str):
        return strict_json.loads(data.encode(errors="surrogateescape"))
    if data is None:
        raise InvalidEvent("the CloudEvent has no data", code="no_task")
    return data


def _attribute(value: str) -> str:
    """A header's value as an attribute: quoted by some senders, percent-encoded (binding, section 3.1.3.2)."""
    if _QUOTED.fullmatch(value):
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    return unquote(value)


SOURCE = CloudEvents()
