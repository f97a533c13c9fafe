"""The HTTP door, whoever carries it: who may come in, and what is answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from vaultbell import pipeline
from vaultbell.budget import Budget
from vaultbell.cloud.cbr import Cbr
from vaultbell.compose import App
from vaultbell.errors import InvalidEvent, Transient
from vaultbell.events import Event
from vaultbell.platforms import answer
from vaultbell.platforms.answer import Answer
from vaultbell.sources import smn
from vaultbell.telemetry import log_report
from vaultbell.tracing import stage

BODY_MOST = 1 << 20


def handle(
    app: App,
    door: str,
    headers: Mapping[str, str],
    tokens: Sequence[str],
    read_body: Callable[[Budget], bytes],
    budget: Budget,
    cbr: Cbr | None = None,
) -> Answer:
    """Answer one event. Header names are in lower case, `tokens` come from the query.

    Whoever can be sent away by the head of the request is, before its body is read. An SMN message proves itself.
    """
    try:
        with stage("receive"):
            if smn.HEADER in headers:
                budget = budget.within(smn.SOURCE.waits or budget.left)
                body = read_body(budget)
                app.smn.admit(body, budget)
                event = Event(body, headers, trusted=True)
            else:
                proved = app.doorkeeper.knows(headers, tokens)
                body = read_body(budget)
                if not proved:
                    app.doorkeeper.verify(headers, body, time.time())
                event = Event(body, headers, trusted=not app.doorkeeper.is_open)
        report = pipeline.handle(app.bell, event, budget, cbr)
    except (InvalidEvent, Transient) as error:
        log_report(door, error)
        return answer.of_error(error)
    log_report(door, report)
    return answer.of_report(report)


def too_large() -> InvalidEvent:
    """The event is longer than the door takes."""
    return InvalidEvent("an event has 1 MiB at most", status=413, code="too_large")


def needs(method: str, *wanted: str) -> None:
    """Raise InvalidEvent (405) unless the method is one of those wanted."""
    if method not in wanted:
        told = f"only {' and '.join(wanted)} is answered here"
        raise InvalidEvent(told, status=405, code="method_not_allowed", allow=wanted)


def not_encoded(headers: Mapping[str, str]) -> None:
    """Raise InvalidEvent (400) where the body is packed: it would have to be unpacked to know how long it is."""
    if "content-encoding" in headers:
        raise InvalidEvent("an encoded body is not understood: send it without Content-Encoding", code="encoded")
