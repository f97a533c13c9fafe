"""What arrives: one file a form. The form is told by headers and shape, never by a setting.

A source either knows an event by its headers (`opens`), or a JSON object by its shape (`fits`); forms nest, so each
hands what it carries back to `unfold`. To add one: a file beside this one, and its name in `SOURCES`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from vaultbell import strict_json, trace_context
from vaultbell.errors import InvalidEvent
from vaultbell.events import Event, Item
from vaultbell.report import JSON
from vaultbell.sources import ces, cloudevents, cts, listed, plain, pubsub, roll_call, smn, stream, timer
from vaultbell.sources.form import Context, Source
from vaultbell.trace_context import TraceContext

SOURCES: tuple[Source, ...] = (
    smn.SOURCE,
    smn.TRIGGER,
    cloudevents.SOURCE,
    pubsub.SOURCE,
    timer.SOURCE,
    roll_call.SOURCE,
    stream.SOURCE,
    cts.SOURCE,
    ces.SOURCE,
    listed.SOURCE,
    plain.SOURCE,
)

DEPTH_MOST = 4
ITEMS_MOST = 1_000


class Decoded(NamedTuple):
    """An event's items, and the source that they came by: it knows how long the sender waits and what it is told.

    `trace` is the place in a trace that a CloudEvent names (its extension "Distributed Tracing").
    """

    source: Source
    items: tuple[Item, ...]
    batch: bool
    trace: TraceContext | None = None


def decode(event: Event) -> Decoded:
    """Take an event apart. Raises InvalidEvent where nothing of it can be used; one bad item of a batch is its line."""
    source = next((source for source in SOURCES if source.opens(event)), None)
    if source:
        value, batch = source.open(event)
    else:
        value, batch = strict_json.loads(event.body), False
        source = _fitting(value, event)
    context = Context(event, _unfold)
    items: list[Item] = []
    for item in source.items(value, event.time, context):
        items.append(item)
        if len(items) > ITEMS_MOST:
            raise InvalidEvent(f"a batch has {ITEMS_MOST} items at most", status=413, code="too_large")
    batch = batch or source.name == listed.SOURCE.name or len(items) > 1
    if not items:
        raise InvalidEvent("the batch is empty", code="no_task")
    if not batch and isinstance(items[0], InvalidEvent):
        raise items[0]
    said = value if isinstance(value, dict) and "specversion" in value else {}
    trace = trace_context.read(said.get("traceparent"), said.get("tracestate"))
    return Decoded(source, tuple(items), batch, trace)


def _unfold(value: JSON, time: datetime | None, context: Context) -> Iterator[Item]:
    """The items in a value that another form carries; what cannot be read is an item that says so."""
    try:
        if context.depth >= DEPTH_MOST:
            raise InvalidEvent("events are packed too deeply into each other")
        yield from _fitting(value, context.event).items(value, time, context.deeper())
    except InvalidEvent as error:
        yield error


def _fitting(value: JSON, event: Event) -> Source:
    open_here = (source for source in SOURCES if event.platform or not source.platform_only)
    source = next((source for source in open_here if isinstance(value, dict) and source.fits(value)), None)
    if source is None:
        raise InvalidEvent("the event names no task: operation_log_id is missing", code="no_task")
    return source
