"""Who puts the events into a queue: each until the broker has confirmed it, whatever becomes of the broker."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import cycle
from typing import Any
from urllib.parse import urlsplit

from soak.scenario import Event, Scenario

UNCONFIRMED_MOST = 200
LOOKS_EVERY = 500  # events, at how many wait
GOES_ON_AFTER, PATIENCE = 0.2, 5.0  # seconds
Untyped = Any  # py-amqp knows no types


def connection(url: str) -> Untyped:
    """An open connection of py-amqp, without anything of the product's own."""
    parts = urlsplit(url)
    made = import_module("amqp").Connection(
        f"{parts.hostname}:{parts.port}",
        parts.username,
        parts.password,
        connect_timeout=3,
        read_timeout=PATIENCE,
        write_timeout=PATIENCE,
    )
    made.connect()
    return made


class Sender(threading.Thread):
    """Sends all events, no faster than they are taken; `sent` is how many the broker has."""

    def __init__(self, urls: Sequence[str], queue: str, scenario: Scenario, backlog: int) -> None:
        super().__init__(name="sender", daemon=True)
        self._urls, self._queue, self._backlog = cycle(urls), queue, backlog
        self._events = (event for event in scenario.events() for _ in range(event.times))
        self._again: deque[Event] = deque()
        self._unconfirmed: dict[int, Event] = {}
        self.number = sum(event.times for event in scenario.events())
        self.sent = 0
        self.lost = 0  # connections
        self.done = threading.Event()

    def run(self) -> None:
        """Send on, over one connection after the other."""
        errors = import_module("amqp").exceptions.AMQPError
        while not self.done.is_set():
            try:
                self._send(connection(next(self._urls)))
                self.done.set()
            except (OSError, errors):
                self.lost += 1
                self._again.extend(self._unconfirmed.values())
                self._unconfirmed.clear()
                time.sleep(GOES_ON_AFTER)

    def _send(self, link: Untyped) -> None:
        channel = link.channel()
        channel.confirm_select()
        channel.events["basic_ack"].add(self._confirmed)
        channel.events["basic_nack"].add(self._refused)
        channel.events["basic_return"].add(lambda *told: self._returned(told[-1]))
        for tag, event in enumerate(self._next(), 1):
            self._unconfirmed[tag] = event
            channel.basic_publish(_message(event), "", self._queue, mandatory=True)
            while len(self._unconfirmed) >= UNCONFIRMED_MOST:
                link.drain_events(timeout=PATIENCE)
            if tag % LOOKS_EVERY == 0:
                while channel.queue_declare(self._queue, passive=True).message_count > self._backlog:
                    time.sleep(GOES_ON_AFTER)
        while self._unconfirmed:
            link.drain_events(timeout=PATIENCE)
        if self._again:  # some were refused
            raise OSError
        link.close()

    def _next(self) -> Iterator[Event]:
        while self._again:
            yield self._again.popleft()
        yield from iter(lambda: next(self._events, None), None)  # so that its end with a connection is not theirs

    def _confirmed(self, tag: int, multiple: bool) -> None:
        for known in [known for known in self._unconfirmed if known == tag or (multiple and known < tag)]:
            del self._unconfirmed[known]
            self.sent += 1

    def _refused(self, tag: int, multiple: bool) -> None:
        for known in [known for known in self._unconfirmed if known == tag or (multiple and known < tag)]:
            self._again.append(self._unconfirmed.pop(known))

    def _returned(self, message: Untyped) -> None:
        """The broker has no such queue; that it confirms the message all the same means nothing."""
        number = int(message.properties["message_id"])
        for known in [known for known, event in self._unconfirmed.items() if event.number == number]:
            self._again.append(self._unconfirmed.pop(known))


def _message(event: Event) -> Untyped:
    """The event, marked with its number, by which its dead letter is known."""
    return import_module("amqp").Message(
        event.body,
        content_type=event.content_type,
        delivery_mode=2,
        message_id=str(event.number),
        application_headers={f"cloudEvents:{name}": value for name, value in event.attributes.items()},
    )


def dead_letters(url: str, queue: str) -> list[tuple[int, str]]:
    """Take out all dead letters: an event's number, and the reason."""
    found = []
    link = connection(url)
    channel = link.channel()
    while message := channel.basic_get(queue, no_ack=True):
        reason = message.application_headers.get("x-vaultbell-reason", "the broker's own")
        found.append((int(message.properties["message_id"]), str(reason)))
    link.close()
    return found


def sizes(url: str, queues: Sequence[str]) -> dict[str, int]:
    """The queues that hold something."""
    link = connection(url)
    channel = link.channel()
    found = {name: channel.queue_declare(name, passive=True).message_count for name in queues}
    link.close()
    return {name: size for name, size in found.items() if size}
