"""What a message says, apart from where it lies: as an event, and as it is published anew."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import quote

from vaultbell import sources, times
from vaultbell.events import Event, TaskRef
from vaultbell.report import Object, Result

WAIT_MOST = 86_400.0  # seconds

OURS = "x-vaultbell-"
ATTEMPTS, FIRST_TIME, NOT_BEFORE = f"{OURS}attempts", f"{OURS}first-time", f"{OURS}not-before"
REASON, REASON_TEXT, DEAD_TIME, CAME_FROM = f"{OURS}reason", f"{OURS}message", f"{OURS}dead-time", f"{OURS}queue"

# CloudEvents' AMQP binding, section 3.1.3; and headers as HTTP has them, whose values are encoded already.
_ATTRIBUTE = re.compile(r"(cloudEvents[:_]|ce-)(\w+)", re.IGNORECASE)
# What belongs to a message's former life: the broker's own marks, and the copies that it was sent to.
_FORMER = re.compile(r"x-(death|first-death-\w+|last-death-\w+|delivery-count|acquired-count)|B?CC")
_KEPT = ("correlation_id", "reply_to", "message_id", "timestamp", "type", "app_id")  # not user_id: it would not be ours


class Message(Protocol):
    """A message as kombu hands it over. Its body is a text where the sender has named an encoding."""

    body: bytes | str | None
    content_type: str | None
    content_encoding: str | None
    headers: Mapping[str, object]
    properties: Mapping[str, object]
    errors: Sequence[object]

    def ack(self) -> None: ...  # noqa: D102 - kombu's


@dataclass(frozen=True, slots=True)
class Letter:
    """All that a message's sender has said, and what we have noted in headers of our own."""

    body: bytes
    content_type: str | None = None
    content_encoding: str | None = None
    headers: Mapping[str, object] = field(default_factory=dict)
    properties: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, message: Message) -> Letter:
        """The letter in a message."""
        body, encoding = message.body or b"", message.content_encoding
        if isinstance(body, str):
            body, encoding = body.encode(errors="surrogatepass"), "utf-8"
        # a name that is not UTF-8 comes as bytes
        headers = {name: value for name, value in message.headers.items() if not _FORMER.fullmatch(str(name))}
        if not message.errors:
            headers.pop("compression", None)  # kombu has unpacked it
        kept = {name: value for name in _KEPT if (value := message.properties.get(name)) is not None}
        return cls(body, message.content_type, encoding, headers, kept)

    @property
    def event(self) -> Event:
        """The letter as an event. Whoever may publish to the queue is trusted."""
        headers = {"content-type": self.content_type} if self.content_type else {}
        for name, value in self.headers.items():
            if match := _ATTRIBUTE.fullmatch(str(name)):
                text = times.iso(found) if isinstance(value, datetime) and (found := times.read(value)) else str(value)
                if match[1].lower() != "ce-":
                    text = quote(text, errors="surrogatepass")  # AMQP's texts may hold half a surrogate pair
                headers[f"ce-{match[2].lower()}"] = text
        return Event(self.body, headers, times.read(self.properties.get("timestamp")), trusted=True)

    @property
    def attempts(self) -> int:
        """How often it has been tried; 0 where the header is not of our making."""
        value = self.headers.get(ATTEMPTS)
        return value if type(value) is int and 0 <= value < 1_000_000 else 0

    @property
    def first_time(self) -> datetime:
        """When it was first tried: now, unless it says so."""
        return times.read(self.headers.get(FIRST_TIME)) or datetime.now(UTC)

    @property
    def early(self) -> float:
        """How many seconds it has come too early; 0.0 where it has not, or where the header is not of our making."""
        value = self.headers.get(NOT_BEFORE)
        early = value - time.time() if isinstance(value, (int, float)) else 0.0
        return early if 0.0 < early <= WAIT_MOST else 0.0

    def tried(self, attempts: int) -> Letter:
        """The letter after so many attempts."""
        return self.marked({ATTEMPTS: attempts, FIRST_TIME: times.iso(self.first_time)})

    def marked(self, marks: Mapping[str, object]) -> Letter:
        """The letter with these headers of ours."""
        return replace(self, headers={**self.headers, **marks})

    def unmarked(self) -> Letter:
        """The letter without any header of ours, as if it had just been sent."""
        return replace(self, headers={k: v for k, v in self.headers.items() if not str(k).startswith(OURS)})

    def to_owed(self, result: Result) -> Letter:
        """The letter in the plain form, to those alone who are still owed the outcome of the one task that it names."""
        items = sources.decode(self.event).items
        if len(items) != 1 or not isinstance(task := items[0], TaskRef):
            return self
        plain: Object = {"operation_log_id": task.operation_log_id, "project_id": task.project_id}
        plain |= {"region": task.region, "time": times.iso(task.time) if task.time else None}
        body = json.dumps(plain | {"channels": list(result.owed)}).encode()
        headers = {k: v for k, v in self.headers.items() if not _ATTRIBUTE.fullmatch(str(k))}
        return replace(self, body=body, content_type="application/json", content_encoding="utf-8", headers=headers)
