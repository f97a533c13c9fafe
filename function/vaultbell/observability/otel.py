"""Pushing traces and metrics by OTLP over HTTP, for what nobody can scrape: a serverless function (the extra `otel`).

Where to is said by OpenTelemetry's own variables, `OTEL_EXPORTER_OTLP_ENDPOINT` and its like. What has ended is pushed
at the end of each event, since a process may be frozen as soon as it has answered. The answer waits for that, but for
a moment at most; and once a collector was too slow or refused, it is left alone for a while. Events that end while
something is being pushed go together in the next push. Who sent an event decides whether its trace is recorded (the
flag `sampled`); one that begins here is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from vaultbell.observability.metrics import Tally
from vaultbell.telemetry import log
from vaultbell.trace_context import SAMPLED
from vaultbell.tracing import Event, Span

# Seconds that an answer waits: the least even where its budget is spent, the most where there is time; and the most of
# the first one, for which the library is yet to be imported.
PATIENCE_LEAST, PATIENCE_MOST, PATIENCE_FIRST = 0.25, 1.0, 3.0
REST_SECONDS = 30.0
SPANS_MOST = 2_048


class Collector(Protocol):
    """Where it goes."""

    def push(self, spans: Sequence[Span], tally: Tally) -> str:
        """Push it; what went wrong, in words that hold no secret, or nothing."""


class Push:
    """A listener that pushes. `collector` is made when it is first needed, by the thread that needs it."""

    def __init__(
        self, tally: Tally, signals: Collection[str], make: Callable[[Collection[str]], Collector] | None = None
    ) -> None:
        self._tally, self._signals, self._make = tally, signals, make or _collector
        self._collector: Collector | None = None
        self._ended: deque[Span] = deque(maxlen=SPANS_MOST)
        self._lock = threading.Lock()
        self._next: threading.Event | None = None  # set once all that has ended by now was pushed
        self._pushing = False
        self._rests_until = 0.0

    def __call__(self, span: Span) -> None:
        """Note what has ended; with an event, push."""
        if span.name == "event" and "status" not in span.facts:
            return  # a probe, or a scrape
        if "TRACES" in self._signals and span.trace.flags & SAMPLED:
            self._ended.append(span)
        if isinstance(span, Event):
            left, most = span.deadline - time.monotonic(), PATIENCE_MOST if self._collector else PATIENCE_FIRST
            self.flush(min(max(left, PATIENCE_LEAST), most))

    def flush(self, patience: float) -> None:
        """Push what there is, and wait for that, but not longer than so many seconds."""
        with self._lock:
            if time.monotonic() < self._rests_until:
                return
            done = self._next = self._next or threading.Event()
            if not self._pushing:
                self._pushing = True
                threading.Thread(target=self._push, name="vaultbell-otel", daemon=True).start()
        if not done.wait(patience):
            self._rest()

    def _rest(self) -> None:
        with self._lock:
            self._rests_until = time.monotonic() + REST_SECONDS

    def _push(self) -> None:
        while True:
            with self._lock:
                done, self._next = self._next, None
                self._pushing = done is not None
            if done is None:
                return
            spans = [self._ended.popleft() for _ in range(len(self._ended))]
            trouble = self._pushed(spans)
            if trouble:
                self._rest()
                told = "OTEL_EXPORTER_OTLP_ENDPOINT takes nothing, and is left alone for a while: spans are lost"
                log(logging.WARNING, told, error=trouble, seconds=REST_SECONDS)
            else:
                self._rests_until = 0.0
            done.set()

    def _pushed(self, spans: Sequence[Span]) -> str:
        try:
            self._collector = self._collector or self._make(self._signals)
            return self._collector.push(spans, self._tally)
        except Exception as error:  # noqa: BLE001 - libraries read their settings as they please, and no event is to wait
            return f"an error of its library: {type(error).__name__}"


def _collector(signals: Collection[str]) -> Collector:
    from vaultbell.observability.otlp import Otlp  # noqa: PLC0415 - dear, and an extra

    return Otlp(signals)
