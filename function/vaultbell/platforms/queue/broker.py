"""The broker: its queues, and a connection to it."""

from __future__ import annotations

import random
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from vaultbell import times
from vaultbell.errors import SettingsError, Transient
from vaultbell.platforms import door
from vaultbell.platforms.queue.letter import CAME_FROM, DEAD_TIME, NOT_BEFORE, REASON, REASON_TEXT, Letter, Message
from vaultbell.report import Object
from vaultbell.text import one_line

LADDER = (10.0, 30.0, 120.0, 600.0, 1_800.0)  # seconds; a longer wait takes the last of them several times
DELIVERIES_MOST = 100  # until the broker gives a message up: each before was a process or connection that died over it
NO_LIMIT = 2**31 - 1  # RabbitMQ 4 would drop a dead letter that was looked at 20 times
HEARTBEAT = 60  # seconds
CONFIRM_SECONDS = 15.0  # less than half a heartbeat, since each of those begins the wait anew

_TLS = {"cacertfile": "ca_certs", "certfile": "certfile", "keyfile": "keyfile"}  # RabbitMQ's words for them: amqp's
_UNPACKERS = {
    "application/x-gzip": ("zlib", "decompressobj"),
    "application/x-bz2": ("bz2", "BZ2Decompressor"),
    "application/x-lzma": ("lzma", "LZMADecompressor"),
}
_REFUSED = (402, 403, 404, 405, 406, 530)  # AMQP's replies that asking again does not change
_Untyped = Any  # what kombu's classes, which know no types, are made into
_HEADER_FRAME, _BEFORE_PROPERTIES = 2, 12


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the queue is, and what it is called; the queues beside it are named after it.

    `url` is one address, or those of a cluster's nodes with `;` between them.
    """

    url: str
    queue: str
    ladder: Sequence[float] = LADDER
    deliveries_most: int = DELIVERIES_MOST
    heartbeat: int = HEARTBEAT

    def __post_init__(self) -> None:
        for address in self.addresses:
            _check(address)
        if len(self.addresses) > 1 and any(address.startswith("filesystem:") for address in self.addresses):
            raise SettingsError("a filesystem:///folder has no other address beside it")
        if not re.fullmatch(r"[!-~]{1,200}" if self.amqp else r"[\w.-]{1,100}", self.queue, re.ASCII):
            raise SettingsError("this cannot be the name of a queue: use letters, digits, dots and hyphens")

    @property
    def addresses(self) -> Sequence[str]:
        """Each leads to the same queues."""
        return self.url.split(";")

    @property
    def amqp(self) -> bool:
        """Whether it is a real broker: one with confirms, times to live and dead letters."""
        return not self.url.startswith("filesystem:")

    @property
    def dead(self) -> str:
        """The queue for what is given up."""
        return f"{self.queue}.dead"

    def delay(self, seconds: float) -> str:
        """The queue to wait in: the lowest rung that is long enough, else the highest."""
        rung = next((rung for rung in self.ladder if rung >= seconds), self.ladder[-1])
        return f"{self.queue}.delay.{rung:g}s" if self.amqp else f"{self.queue}.delay"

    def queues(self) -> Iterator[tuple[str, Object]]:
        """Every queue, with its arguments. What the broker itself moves, it keeps until it has arrived."""
        quorum: Object = {"x-queue-type": "quorum"}
        moves: Object = {"x-dead-letter-exchange": "", "x-dead-letter-strategy": "at-least-once"}
        moves |= {"x-overflow": "reject-publish"}  # without which that strategy does not count
        yield self.dead, quorum | {"x-delivery-limit": NO_LIMIT}
        fallen: Object = {"x-dead-letter-routing-key": self.dead, "x-delivery-limit": self.deliveries_most}
        yield self.queue, quorum | moves | fallen
        for rung in self.ladder:
            back: Object = {"x-dead-letter-routing-key": self.queue, "x-message-ttl": round(rung * 1_000)}
            yield self.delay(rung), quorum | moves | back

    def connection(self, address: str = "") -> _Untyped:
        """A connection that is not open yet, to one of the addresses: the first, if none is named."""
        address = address or self.addresses[0]
        kombu, parts = _kombu(), urlsplit(address)
        if not self.amqp:
            Path(parts.path).mkdir(parents=True, exist_ok=True)
            folders = dict.fromkeys(("data_folder_in", "data_folder_out"), parts.path)
            return kombu.Connection("filesystem://", transport_options={**folders, "polling_interval": 0.1})
        tls = {_TLS[name]: value for name, value in parse_qsl(parts.query)}
        return kombu.Connection(
            address.partition("?")[0],
            transport="pyamqp" if parts.scheme == "amqp" else "amqps",
            ssl={**tls, "server_hostname": None} if parts.scheme == "amqps" else False,  # None: the address's own
            heartbeat=self.heartbeat,
            transport_options={"confirm_publish": True, "frame_handler": _frames},
        )


class Link:
    """An open connection, for one thread; made by `connected`."""

    def __init__(self, broker: Broker, connection: _Untyped, channel: _Untyped) -> None:
        self._broker, self._connection, self._channel = broker, connection, channel
        self._arrived: deque[Message] = deque()
        self._returned: list[object] = []
        if broker.amqp:  # without a listener a return is raised, and its confirm is taken for that of the next message
            channel.events["basic_return"].add(lambda *told: self._returned.append(told))

    def declare(self) -> None:
        """Make sure that all queues are there."""
        for name, arguments in self._broker.queues():
            self._channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)

    def consume(self) -> None:
        """Have the queue's messages sent here, each when the one before it is acknowledged."""
        self._channel.basic_qos(0, 1, False)
        self._channel.basic_consume(self._broker.queue, no_ack=False, callback=self._arrive, consumer_tag="vaultbell")

    def _arrive(self, raw: object) -> None:
        self._arrived.append(self._channel.message_to_python(raw))

    def next(self, seconds: float) -> Message | None:
        """The next message of the queue that is consumed, if one comes within so many seconds."""
        if not self._broker.amqp:
            self._let_fall()
        if not self._arrived:
            with suppress(TimeoutError):
                self._connection.drain_events(timeout=seconds)
        self._connection.heartbeat_check()
        return self._arrived.popleft() if self._arrived else None

    def get(self, queue: str) -> Message | None:
        """The next message of any queue, if it has one. What is not acknowledged goes back when the link ends."""
        raw = self._channel.basic_get(queue)
        message: Message | None = self._channel.message_to_python(raw) if raw else None
        return message

    def size(self, queue: str) -> int:
        """How many messages wait in a queue."""
        return int(self._channel.queue_declare(queue, passive=True).message_count)

    def publish(self, queue: str, letter: Letter) -> None:
        """Put a letter into a queue. Raises Transient unless the broker has confirmed that it is there."""
        message = self._channel.prepare_message(
            letter.body,
            content_type=letter.content_type,
            content_encoding=letter.content_encoding,
            headers=dict(letter.headers),
            properties={**letter.properties, "delivery_mode": 2},
        )
        self._returned.clear()
        try:
            self._channel.basic_publish(message, "", queue, mandatory=True, timeout=CONFIRM_SECONDS)
        except TimeoutError:
            raise Transient("the broker has not confirmed a message in time") from None
        if self._returned:
            raise Transient(f"the broker has no queue {queue}")

    def delay(self, letter: Letter, seconds: float) -> None:
        """Have a letter wait: by a clock, which may be set back, only where no rung is long enough."""
        by_clock = not self._broker.amqp or seconds > self._broker.ladder[-1]
        self.publish(self._broker.delay(seconds), letter.marked({NOT_BEFORE: time.time() + seconds if by_clock else 0}))

    def bury(self, letter: Letter, code: str, message: str) -> None:
        """Put a letter among the dead, with the reason."""
        now = times.iso(datetime.now(UTC))
        marks = {REASON: code, REASON_TEXT: message, DEAD_TIME: now, CAME_FROM: self._broker.queue}
        self.publish(self._broker.dead, letter.marked(marks))

    def cut(self) -> None:
        """End it at once, from whichever thread: what is not acknowledged goes back to its queue."""
        self._connection.collect()

    def _let_fall(self) -> None:
        """What a broker does by itself: what has waited long enough comes back."""
        waiting = self._broker.delay(0)
        for _ in range(self.size(waiting)):
            if message := self.get(waiting):
                letter = Letter.of(message)
                self.publish(waiting if letter.early else self._broker.queue, letter)
                message.ack()


@contextmanager
def connected(broker: Broker) -> Iterator[Link]:
    """A link. Raises SettingsError where the broker refuses something, Transient where it is not there (any more)."""
    connection = broker.connection()
    lost = (OSError, _kombu(".exceptions").KombuError, *connection.connection_errors, *connection.channel_errors)
    lost += connection.recoverable_connection_errors
    try:
        connection = _opened(broker, lost)
        yield Link(broker, connection, connection.channel())
        connection.release()
    except lost as error:
        words = one_line(str(error), 300)
        if getattr(error, "reply_code", None) in _REFUSED:
            raise SettingsError(f"the broker refuses it: {words}") from error
        raise Transient(f"the broker was not reached, or was lost: {words}") from error
    finally:
        connection.collect()


def _opened(broker: Broker, lost: tuple[type[Exception], ...]) -> _Untyped:
    """A connection to the first address that answers, in an order drawn anew each time. Raises what the last has."""
    addresses = random.sample(broker.addresses, len(broker.addresses))
    while True:
        connection = broker.connection(addresses.pop())
        try:
            connection.ensure_connection(max_retries=0)
        except lost:
            connection.collect()
            if not addresses:
                raise
        else:
            return connection


def _check(address: str) -> None:
    """Raise SettingsError where this is no address of a broker."""
    try:
        parts = urlsplit(address)
        if parts.scheme == "filesystem":
            known = parts.netloc == "" and len(parts.path) > 1
        else:
            known = parts.scheme in ("amqp", "amqps") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise SettingsError("the broker's address is not amqp://host, amqps://host or filesystem:///folder")
    if dict(parse_qsl(parts.query, keep_blank_values=True)).keys() - (_TLS if parts.scheme == "amqps" else ()):
        raise SettingsError(f"behind the ? of an amqps:// address stand {', '.join(_TLS)}; of others, nothing")


def _kombu(module: str = "") -> _Untyped:
    try:
        found = import_module(f"kombu{module}")
    except ModuleNotFoundError:
        raise SettingsError("queues need kombu: pip install 'vaultbell[queue]'") from None
    _unpack_no_bombs()
    return found


@cache
def _unpack_no_bombs() -> None:
    """Have kombu unpack no more than an event may have. What would be longer stays packed, and is no event."""
    compression = import_module("kombu.compression")

    def unpacker(kind: str) -> Callable[[bytes], bytes]:
        def unpack(packed: bytes) -> bytes:
            module, name = _UNPACKERS[kind]
            stream = getattr(import_module(module), name)()
            body: bytes = stream.decompress(packed, door.BODY_MOST + 1)
            if not stream.eof or len(body) > door.BODY_MOST:
                raise ValueError
            return body

        return unpack

    for kind in compression.encoders():
        compression.register(bytes, unpacker(kind), kind)


Frame = tuple[int, int, bytes]


def _frames(connection: object, callback: object) -> Callable[[Frame], bool]:
    """py-amqp's reader of frames, but what cannot be read of a message's properties is no property.

    Else such a message would end every connection that it is sent to, and stay.
    """
    on_frame: Callable[[Frame], bool] = import_module("amqp.method_framing").frame_handler(connection, callback)
    decode_properties = import_module("amqp.serialization").decode_properties_basic

    def read(frame: Frame) -> bool:
        kind, channel, payload = frame
        if kind == _HEADER_FRAME:
            try:
                decode_properties(payload, _BEFORE_PROPERTIES)
            except Exception:  # noqa: BLE001 - whatever it makes of a stranger's bytes
                payload = payload[:_BEFORE_PROPERTIES] + bytes(2)  # the flags of no properties
        return on_frame((kind, channel, payload))

    return read
