"""What FunctionGraph hands over from message services: Kafka, open-source Kafka, RocketMQ.

`{"trigger_type": "KAFKA", "records": [{"messages": ["…", …]}]}`: bare texts in batches, without key or offset; each
is any other form. The triggers whose events can name no task (LTS, OBS, DDS) are refused in so many words.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from vaultbell import strict_json, times
from vaultbell.errors import InvalidEvent
from vaultbell.events import Item
from vaultbell.report import JSON, Object
from vaultbell.sources.form import Context, Shaped

REFUSED = {"lts": "LTS", "Records": "OBS", "dds": "DDS"}


class Stream(Shaped):
    """See the module."""

    name = "stream"
    platform_only = True

    def fits(self, value: Object) -> bool:
        """It has records, or is of a trigger that is refused."""
        return "records" in value or any(key in value for key in REFUSED)

    def items(self, value: JSON, time: datetime | None, context: Context) -> Iterator[Item]:
        """What each message holds."""
        records = value.get("records") if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(records, list):
            name = next((name for key, name in REFUSED.items() if isinstance(value, dict) and key in value), "such")
            raise InvalidEvent(f"events of {name} triggers name no backup task: use TIMER, SMN, CTS or Kafka triggers")
        time = times.read(value.get("event_time")) or time
        for record in records:
            messages = record.get("messages") if isinstance(record, dict) else None
            if not isinstance(messages, list):
                named = "DDS triggers name" if isinstance(record, dict) and "dds" in record else "this trigger name"
                yield InvalidEvent(f"the events of {named} no backup task")
                continue
            for message in messages:
                yield from read(message, time, context)


def read(message: JSON, time: datetime | None, context: Context) -> Iterator[Item]:
    """The items in a message that is a text; one that is not JSON is an item that says so."""
    try:
        value = strict_json.loads(message) if isinstance(message, str) else message
    except InvalidEvent as error:
        yield error
        return
    yield from context.unfold(value, time, context)


SOURCE = Stream()
