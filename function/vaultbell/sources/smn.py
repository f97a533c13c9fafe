"""SMN messages: over HTTP (told by `X-SMN-MESSAGE-TYPE`), and as FunctionGraph's own trigger hands them over.

The text of a message is any other form, an alarm of Cloud Eye above all. Whether a message over HTTP is to be believed
is decided before it gets here (`cloud/smn_trust.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from vaultbell import strict_json, times
from vaultbell.errors import InvalidEvent
from vaultbell.events import Event, Item, Settled
from vaultbell.report import JSON, Object
from vaultbell.sources import ces, stream
from vaultbell.sources.form import Context, Shaped

HEADER = "x-smn-message-type"
CONFIRMATIONS = ("SubscriptionConfirmation", "UnsubscribeConfirmation")


def not_allowed() -> InvalidEvent:
    """The message is of a topic that the settings do not name."""
    told = "the SMN topic is not allowed (VAULTBELL_SMN_TOPICS)"
    return InvalidEvent(told, status=403, code="topic_not_allowed")


class Smn(Shaped):
    """See the module."""

    name = "smn"
    waits: float | None = 4.0  # the sender gives up after 5 s
    leaves = True  # and tries again only some times

    def fits(self, value: Object) -> bool:
        """Never: over HTTP only the header tells, and what proves itself comes no other way."""
        del value
        return False

    def opens(self, event: Event) -> bool:
        """By its header."""
        return HEADER in event.headers

    def open(self, event: Event) -> tuple[JSON, bool]:
        """The message."""
        if not event.trusted:
            raise InvalidEvent("the SMN message was not verified", status=401, code="unauthenticated")
        return strict_json.loads(event.body), False

    def items(self, value: JSON, time: datetime | None, context: Context) -> Iterator[Item]:
        """What the text holds."""
        if not isinstance(value, dict):
            raise InvalidEvent("an SMN message is a JSON object")
        if value.get("type") in CONFIRMATIONS:
            yield Settled("about the subscription itself")
            return
        message, time = value.get("message"), times.read(value.get("timestamp")) or time
        for item in stream.read(message, time, context):
            alarm = isinstance(item, InvalidEvent) and isinstance(message, str) and ces.NAMESPACE in message.upper()
            yield ces.unreadable(str(message), time, context) if alarm else item


class SmnTrigger(Shaped):
    """`{"record": [{"smn": {"message": "…", …}}]}`: in the singular."""

    name = "smn-trigger"
    platform_only = True
    leaves = True

    def fits(self, value: Object) -> bool:
        """It has a record."""
        return "record" in value

    def items(self, value: JSON, time: datetime | None, context: Context) -> Iterator[Item]:
        """What the text of each message holds."""
        records = value.get("record") if isinstance(value, dict) else None
        for record in records if isinstance(records, list) else []:
            message = record.get("smn") if isinstance(record, dict) else None
            if not isinstance(message, dict):
                yield InvalidEvent("the record holds no SMN message")
                continue
            if context.event.topics and message.get("topic_urn") not in context.event.topics:
                yield not_allowed()
                continue
            yield from SOURCE.items(message, time, context)


SOURCE = Smn()
TRIGGER = SmnTrigger()
