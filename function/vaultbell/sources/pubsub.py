"""A Pub/Sub push: `{"message": {"data": base64, …}, "subscription": …}`; the data is any other form.

Google Cloud, "Push subscriptions": acknowledged by 2xx, sent again otherwise; the default deadline is 10 s.
Attributes are not read. `publishTime` (older: `publish_time`) is the event's time if what it carries has none.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from datetime import datetime

from vaultbell import strict_json, times
from vaultbell.errors import InvalidEvent
from vaultbell.events import Item
from vaultbell.report import JSON, Object
from vaultbell.sources.form import Context, Shaped


class PubSub(Shaped):
    """See the module."""

    name = "pubsub"
    waits: float | None = 9.0

    def fits(self, value: Object) -> bool:
        """It has a message and a subscription."""
        return isinstance(value.get("message"), dict) and "subscription" in value

    def items(self, value: JSON, time: datetime | None, context: Context) -> Iterator[Item]:
        """What its data holds."""
        message = value.get("message") if isinstance(value, dict) else None
        data = message.get("data") if isinstance(message, dict) else None
        if not isinstance(message, dict) or not isinstance(data, str):
            raise InvalidEvent("the Pub/Sub message has no data", code="no_task")
        published = times.read(message.get("publishTime") or message.get("publish_time"))
        return context.unfold(strict_json.loads(from_base64(data)), published or time, context)


def from_base64(text: str) -> bytes:
    """The bytes; InvalidEvent where it is not base64 (RFC 4648, section 4)."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidEvent("the data is not base64", code="not_json") from None


SOURCE = PubSub()
