"""What all processes remember together: which channel has been told what, in a Redis (`VAULTBELL_SEEN_URL`).

For each channel a message has two states. `sending` is set before it is told and ends by itself, so that a process
which dies half-way silences nothing: whoever meets it hands the event back. `sent` is set once it was taken, lasts a
day, and alone suppresses. Whatever is wrong with the store costs a repeat, never a ring.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

from vaultbell.budget import Budget
from vaultbell.channels import Channel, Taken
from vaultbell.errors import Transient
from vaultbell.notification import Notification
from vaultbell.telemetry import log

if TYPE_CHECKING:
    from redis import Redis

T = TypeVar("T")

SENT_SECONDS = 86_400.0
MARGIN_SECONDS = 1.0  # for which a claim outlives its budget: what is told at the last moment is told under it
AGAIN_SECONDS = 2.0  # until a message that somebody else is telling is asked for again
PATIENCE_SECONDS = 0.5  # that the store is waited for, each time it is asked
REST_SECONDS = 30.0  # for which a store that did not answer is left alone

SENT, SENDING = b"sent", b"sending:"  # the latter with the name of the claim, so that it is given up by its owner alone
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class Found(Enum):
    """What a claim finds."""

    FREE = auto()  # it is ours now
    SENDING = auto()
    SENT = auto()
    UNKNOWN = auto()  # the store does not say


class Store:
    """A Redis, asked for no longer than it may take. Opened when first used, as is its library (the extra `redis`)."""

    def __init__(
        self, url: str, *, sent: float = SENT_SECONDS, patience: float = PATIENCE_SECONDS, rest: float = REST_SECONDS
    ) -> None:
        self._url = url
        self._sent, self._patience, self._rest = sent, patience, rest
        self._lock = threading.Lock()
        self._rests_until = 0.0
        self._redis: Redis | None = None

    def claim(self, key: str, name: str, seconds: float) -> Found:
        """Claim the key under this name, for so many seconds, unless it is taken."""

        def ask(redis: Redis) -> Found:
            if redis.set(key, SENDING + name.encode(), nx=True, px=_milliseconds(seconds)):
                return Found.FREE
            held = redis.get(key)
            if held == SENT:
                return Found.SENT
            if held is None or (isinstance(held, bytes) and held.startswith(SENDING)):
                return Found.SENDING  # or it has been until just now
            raise UnexpectedValue

        return self._answer(ask) or Found.UNKNOWN

    def release(self, key: str, name: str) -> None:
        """Give up the claim of this name; another's is left alone."""
        self._answer(lambda redis: redis.eval(_RELEASE, 1, key, SENDING + name.encode()))

    def keep(self, key: str) -> None:
        """It was sent."""
        self._answer(lambda redis: redis.set(key, SENT, px=_milliseconds(self._sent)))

    def close(self) -> None:
        """Let go of the connections."""
        if self._redis:
            self._redis.close()

    def _answer(self, ask: Callable[[Redis], T]) -> T | None:
        """What the store says; None where it says nothing in time or nothing that makes sense.

        It is asked in a thread that nobody has to wait for: its library's time-outs bind neither the look-up of a name
        nor a peer that trickles its bytes. Its words may hold our password, so that only their kind is logged.
        """
        if time.monotonic() < self._rests_until:
            return None
        said: Future[T] = Future()

        def tell(redis: Redis) -> None:
            try:
                said.set_result(ask(redis))
            except Exception as error:  # noqa: BLE001 - it is raised below
                said.set_exception(error)

        try:
            threading.Thread(target=tell, args=(self._opened(),), name="vaultbell-seen", daemon=True).start()
            return said.result(self._patience)
        except Exception as error:  # noqa: BLE001 - whatever it is, we ring without the store
            self._leave_alone(error)
            return None

    def _opened(self) -> Redis:
        with self._lock:
            if self._redis is None:
                from redis import Redis  # noqa: PLC0415 - dear at a cold start, and an extra
                from redis.backoff import NoBackoff  # noqa: PLC0415 - dear as well
                from redis.retry import Retry  # noqa: PLC0415 - dear as well

                # Asked a second time, a claim would meet itself.
                once, patience = Retry(NoBackoff(), 0), self._patience
                self._redis = Redis.from_url(
                    self._url, protocol=2, retry=once, socket_timeout=patience, socket_connect_timeout=patience
                )
            return self._redis

    def _leave_alone(self, error: Exception) -> None:
        with self._lock:
            if time.monotonic() < self._rests_until:
                return  # another has said so
            self._rests_until = time.monotonic() + self._rest
        told = "the store of VAULTBELL_SEEN_URL is left alone for a while: until then repeats are told again"
        log(logging.WARNING, told, error=type(error).__name__, seconds=self._rest)


class UnexpectedValue(Exception):
    """A key of ours holds something else than what we write."""


class ToldOnce:
    """A channel behind the store: what it has been told within a day, by whichever process, it is not told again."""

    def __init__(self, name: str, channel: Channel, store: Store) -> None:
        """`name`: what the channel is known by to all who share the store; another receiver is another name."""
        self._name = name
        self._channel = channel
        self._store = store

    def send(self, notification: Notification, budget: Budget) -> Taken:
        """Tell it once, unless that was done or is being done. Raises what the channel raises, and Transient."""
        key, claim = f"vaultbell:{self._name}:{notification.id}", uuid4().hex
        found = self._store.claim(key, claim, budget.left + MARGIN_SECONDS)
        if found is Found.SENT:
            return Taken(remark="a repeat: it was told within the last day")
        if found is Found.SENDING:
            told = "it is being told by another process, or by another event"
            raise Transient(told, after=AGAIN_SECONDS, reason="elsewhere")
        try:
            taken = self._channel.send(notification, budget)
        except BaseException:
            if found is Found.FREE:
                self._store.release(key, claim)
            raise
        self._store.keep(key)
        return taken


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1_000))
