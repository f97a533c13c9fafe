"""What the handling of an event is made of: its place in a trace, the time of each stage, and who is told of its parts.

Nobody is told unless an extra listens (`observability/`). The trace goes along by itself within a thread; `carried`
takes it into another one.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from types import MappingProxyType
from typing import ParamSpec, Self, TypeVar

from vaultbell import trace_context
from vaultbell.budget import Budget
from vaultbell.trace_context import SAMPLED, TraceContext

P = ParamSpec("P")
R = TypeVar("R")

NO_HEADERS: Mapping[str, object] = MappingProxyType({})


class Span:
    """A piece of work: a context manager, of whose end the listeners are told.

    Attributes:
        name: `event`, `look_up`, `delivery`, `log_in`, `call` (a request of ours), `dead_letter`.
        trace: its own place in the trace; `parent` is the id of the span that it is part of, or empty.
        facts: what is known of it; `error` is what it raised.
        began: in seconds since 1970; `seconds` is how long it took.
    """

    __slots__ = ("_before", "_clock", "began", "error", "facts", "name", "parent", "seconds", "trace")

    def __init__(self, name: str, trace: TraceContext, parent: str, facts: dict[str, object]) -> None:
        self.name, self.trace, self.parent, self.facts = name, trace, parent, facts
        self.error: BaseException | None = None
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self.began, self._clock = time.time(), time.perf_counter()
        self._before = _here.set(self)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        self.error, self.seconds = error, self.so_far
        for listener in _listeners:
            try:
                listener(self)
            except Exception:  # what watches must not cost what it watches
                logging.getLogger("vaultbell").exception("an error of Vaultbell itself: it was not counted")
        _here.reset(self._before)

    def note(self, **facts: object) -> None:
        """Add to the facts."""
        self.facts |= facts

    @property
    def so_far(self) -> float:
        """How long it has taken up to now, in seconds."""
        return time.perf_counter() - self._clock

    @property
    def handed_on(self) -> dict[str, str]:
        """The headers by which the other side may take it up."""
        return self.trace.headers(self.trace.span_id)


class Event(Span):
    """The handling of one event. `stages` are seconds by name; by `deadline` (monotonic clock) it is to be over."""

    __slots__ = ("_given", "deadline", "stages")

    def __init__(self, door: str, headers: Mapping[str, object]) -> None:
        new = os.urandom(24).hex()
        trace = TraceContext(new[16:], new[:16], SAMPLED if _recording else 0)
        super().__init__("event", trace, "", {"door": door})
        self.deadline = 0.0
        self.stages: dict[str, float] = {}
        given = trace_context.read(headers.get("traceparent"), headers.get("tracestate"))
        self._given = given is not None
        if given:
            self.follow(given)

    def follow(self, given: TraceContext) -> None:
        """Be part of the sender's trace."""
        self.parent = given.span_id
        self.trace = TraceContext(given.trace_id, self.trace.span_id, given.flags, given.state)

    def begun(self, said: TraceContext | None, budget: Budget) -> None:
        """What is known once it was read: the trace that its body names, if its head names none, and its budget."""
        self.deadline = budget.deadline
        if said and not self._given:
            self.follow(said)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception) and "status" not in self.facts:
            self.facts["status"] = 500
        super().__exit__(kind, error, traceback)


class _Unheard:
    """What stands for a span while nobody listens."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def note(self, **facts: object) -> None:
        """Do nothing."""

    @property
    def handed_on(self) -> dict[str, str]:
        here = _here.get()
        return here.trace.headers(os.urandom(8).hex()) if here else {}


class stage:  # noqa: N801 - a context manager, whose name reads as what it does
    """The time that a stage of the event takes, which its log line tells."""

    __slots__ = ("_began", "_name")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        if isinstance(event := _here.get(), Event):
            event.stages[self._name] = event.stages.get(self._name, 0.0) + time.perf_counter() - self._began


Listener = Callable[[Span], None]

_here: ContextVar[Span | None] = ContextVar("vaultbell", default=None)
_listeners: list[Listener] = []
_recording = False
_UNHEARD = _Unheard()


def listen(listener: Listener, *, records: bool = False) -> None:
    """Tell it of every span at its end, whatever the thread. `records`: new traces are marked as recorded."""
    global _recording  # noqa: PLW0603 - one trace is as another
    _listeners.append(listener)
    _recording = _recording or records


def event(door: str, headers: Mapping[str, object] = NO_HEADERS) -> AbstractContextManager[Event]:
    """The event that is handled within: the one that is being handled already, if another door has handed it on."""
    here = _here.get()
    return nullcontext(here) if isinstance(here, Event) else Event(door, headers)


def span(name: str, **facts: object) -> Span | _Unheard:
    """A part of what is being done here."""
    here = _here.get() if _listeners else None
    if here is None:
        return _UNHEARD
    trace = here.trace
    inner = TraceContext(trace.trace_id, os.urandom(8).hex(), trace.flags, trace.state)
    return Span(name, inner, trace.span_id, facts)


def here() -> Span | None:
    """What is being done in this thread."""
    return _here.get()


def begun(said: TraceContext | None, budget: Budget) -> None:
    """Tell the event that is being handled, if one is, what `Event.begun` takes."""
    if isinstance(event := _here.get(), Event):
        event.begun(said, budget)


def carried(work: Callable[P, R]) -> Callable[P, R]:
    """The same work, as a part of what is being done here, whichever thread does it."""
    here = _here.get()

    def done(*args: P.args, **kwargs: P.kwargs) -> R:
        before = _here.set(here)
        try:
            return work(*args, **kwargs)
        finally:
            _here.reset(before)

    return done
