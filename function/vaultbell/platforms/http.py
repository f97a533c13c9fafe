"""HTTP, under functions-framework: reads a request no further than it must, and writes the answer."""

from __future__ import annotations

import time
from collections.abc import Iterator

from flask import Request, Response
from functions_framework.exceptions import RequestTimeoutException
from werkzeug.exceptions import BadRequest

from vaultbell import pipeline
from vaultbell.budget import Budget
from vaultbell.compose import App
from vaultbell.errors import InvalidEvent
from vaultbell.events import Event
from vaultbell.platforms import answer
from vaultbell.platforms.answer import Answer
from vaultbell.telemetry import LOG, log_report

BODY_MOST = 1 << 20
CHUNK = 1 << 16
HEALTH = ("/healthz", "/readyz")  # the settings are valid, else we would not be running


def handle(request: Request, app: App) -> Response:
    """Answer one request. This is the outermost edge: whatever goes wrong below, the event is not lost."""
    try:
        return _written(_answer(request, app))
    except InvalidEvent as error:
        log_report("http", error)
        return _written(answer.of_error(error))
    except RequestTimeoutException:
        LOG.exception("the server's own time-out came before the end of the time budget")
        return _written(answer.of_crash(503, "try_again", "the server's time-out"))
    except Exception:  # noqa: BLE001 - the outermost edge
        LOG.exception("an error of Vaultbell itself")
        return _written(answer.of_crash(500, "internal", "an error of Vaultbell itself; its log tells more"))


def _answer(request: Request, app: App) -> Answer:
    if request.path in HEALTH:
        _only(request, "GET", "HEAD")
        return Answer(200, '{"status": "ok"}', {"Content-Type": "application/json"})
    if request.path != "/":
        raise InvalidEvent("there is nothing at this path", status=404, code="not_found")
    _only(request, "POST")
    began = time.monotonic()
    budget = Budget.of(app.settings.time_budget)
    headers = {name.lower(): value for name, value in request.headers.items()}
    proved = app.doorkeeper.knows(headers, request.args.getlist("token"))
    body = _body(request, budget)
    if not proved:
        app.doorkeeper.verify(headers, body, time.time())
    event = Event(body, headers, trusted=not app.doorkeeper.is_open)
    report = pipeline.handle(app.bell, event, budget)
    log_report("http", report, time.monotonic() - began)
    return answer.of_report(report)


def _only(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise InvalidEvent(f"only {' and '.join(methods)} is answered here", status=405, code="method_not_allowed")


def _body(request: Request, budget: Budget) -> bytes:
    """The request's body, within its limits of size and time. A longer one is not read to its end."""
    too_large = InvalidEvent("an event has 1 MiB at most", status=413, code="too_large")
    if (request.content_length or 0) > BODY_MOST:
        raise too_large
    if "Content-Encoding" in request.headers:
        raise InvalidEvent("an encoded body is not understood: send it without Content-Encoding", code="encoded")
    return b"".join(_chunks(request, budget, too_large))


def _chunks(request: Request, budget: Budget, too_large: InvalidEvent) -> Iterator[bytes]:
    peer = request.environ.get("gunicorn.socket")  # a sender that stops half-way must not hold a thread for ever
    size = 0
    try:
        while True:
            if peer is not None:
                peer.settimeout(max(budget.left, 0.01))
            chunk = request.stream.read(min(CHUNK, BODY_MOST + 1 - size))
            if not chunk:
                return
            size += len(chunk)
            if size > BODY_MOST:
                raise too_large
            yield chunk
    except (OSError, BadRequest):
        raise InvalidEvent("the body did not arrive whole", code="cut_short") from None
    finally:
        if peer is not None:
            peer.settimeout(None)


def _written(answer: Answer) -> Response:
    """The answer as a stream: the framework reads the rest of the request before any other kind of answer."""
    body = answer.body.encode()
    headers = {**answer.headers, "Content-Length": str(len(body))} if answer.status != 204 else dict(answer.headers)
    return Response(iter([body]), answer.status, headers)
