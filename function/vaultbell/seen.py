"""What this process remembers, to be kinder: which channels took what, and what has lately been said.

Losing it costs a repeat, never a ring.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from vaultbell.events import Item
from vaultbell.report import Result

KEPT_SECONDS = 3_600.0
KEPT_MOST = 10_000
BATCHES_MOST = 16


class Memory:
    """For events that were handed back: which channels have taken a notification, by its id. Bounded.

    And what is done of a batch: the results of its items, by the batch's digest.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: OrderedDict[bytes, tuple[float, Mapping[Item, Result]]] = OrderedDict()
        self._taken: OrderedDict[str, tuple[float, frozenset[str]]] = OrderedDict()

    def taken(self, notification_id: str) -> frozenset[str]:
        """The channels that need not be told again."""
        with self._lock:
            return self._known(notification_id)

    def keep(self, notification_id: str, names: Iterable[str]) -> None:
        """The event comes again: these channels have taken its notification."""
        with self._lock:
            known = self._known(notification_id)
            self._taken.pop(notification_id, None)  # what is kept anew goes to the end: the first is the oldest
            self._taken[notification_id] = (time.monotonic() + KEPT_SECONDS, known.union(names))
            if len(self._taken) > KEPT_MOST:
                self._taken.popitem(last=False)

    def forget(self, notification_id: str) -> None:
        """The event is handled: its next arrival is news."""
        with self._lock:
            self._taken.pop(notification_id, None)

    def done(self, batch: bytes) -> Mapping[Item, Result]:
        """What is done of this batch."""
        with self._lock:
            until, results = self._done.get(batch, (0.0, {}))
            return results if time.monotonic() < until else {}

    def keep_done(self, batch: bytes, results: Mapping[Item, Result]) -> None:
        """The batch comes again, and so much of it is done; with nothing, it is forgotten."""
        with self._lock:
            self._done.pop(batch, None)
            if results:
                self._done[batch] = (time.monotonic() + KEPT_SECONDS, results)
                if len(self._done) > BATCHES_MOST:
                    self._done.popitem(last=False)

    def _known(self, notification_id: str) -> frozenset[str]:
        until, names = self._taken.get(notification_id, (0.0, frozenset()))
        return names if time.monotonic() < until else frozenset()


class Once:
    """Lets a key through once: for what would else be said at every event."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: OrderedDict[str, None] = OrderedDict()

    def claim(self, key: str) -> bool:
        """Whether this caller is to say it."""
        with self._lock:
            if key in self._keys:
                return False
            self._keys[key] = None
            if len(self._keys) > KEPT_MOST:
                self._keys.popitem(last=False)
            return True

    def release(self, key: str) -> None:
        """It could not be said: the next caller is to try."""
        with self._lock:
            self._keys.pop(key, None)


class Pace:
    """Lets a burst through at once, and after it so many a second: for what is a kindness, and not a duty."""

    def __init__(self, burst: float, a_second: float) -> None:
        self._lock = threading.Lock()
        self._burst, self._a_second = burst, a_second
        self._left, self._at = burst, time.monotonic()

    def take(self) -> bool:
        """Whether one more may go."""
        with self._lock:
            now = time.monotonic()
            self._left = min(self._burst, self._left + (now - self._at) * self._a_second)
            self._at = now
            if self._left < 1:
                return False
            self._left -= 1
            return True
