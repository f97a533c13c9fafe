"""HTTP, under functions-framework: reads a request no further than it must, and writes the answer."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache

from flask import Request, Response
from functions_framework.exceptions import RequestTimeoutException

from vaultbell import observability, strict_json, tracing
from vaultbell.budget import Budget
from vaultbell.compose import App
from vaultbell.errors import InvalidEvent, Transient, VaultbellError
from vaultbell.platforms import answer, door, functiongraph
from vaultbell.platforms.answer import Answer
from vaultbell.telemetry import log_crash, log_report

CHUNK = 1 << 16
TICK = 0.1  # seconds between two looks at bodies that are late
HEALTH = ("/healthz", "/readyz")  # the settings are valid, else we would not be running
INVOKED_MOST = 6 << 20  # what the platform itself hands over has 6 MB at most


def handle(request: Request, app: App) -> Response:
    """Answer one request. This is the outermost edge: whatever goes wrong below, the event is not lost."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    with tracing.event("http", headers):
        return _written(_answer_at_all_events(request, headers, app))


def _answer_at_all_events(request: Request, headers: Mapping[str, str], app: App) -> Answer:
    try:
        return _answer(request, headers, app)
    except InvalidEvent as error:
        log_report("http", error)
        return answer.of_error(error)
    except RequestTimeoutException as error:
        log_crash(error, "the server's own time-out came before the end of the time budget", 503)
        return answer.of_crash(503, "try_again", "the server's time-out")
    except Exception as error:  # noqa: BLE001 - the outermost edge
        log_crash(error)
        return answer.of_crash(500, "internal", "an error of Vaultbell itself; its log tells more")


def _answer(request: Request, headers: Mapping[str, str], app: App) -> Answer:
    budget = Budget.of(app.settings.time_budget)
    if request.path in HEALTH:
        door.needs(request.method, "GET", "HEAD")
        return Answer(200, '{"status": "ok"}', {"Content-Type": "application/json"})
    if request.path in ("/init", "/invoke") and app.settings.platform == "functiongraph":
        door.needs(request.method, "POST")
        return _invoked(request, headers, app, budget)
    if request.path == "/metrics" and (scrape := observability.scraper()):
        door.needs(request.method, "GET")
        if not app.doorkeeper.knows(headers, request.args.getlist("token")):
            app.doorkeeper.verify(headers, b"", time.time())
        text, content_type = scrape()
        return Answer(200, text, {"Content-Type": content_type})
    if request.path != "/":
        raise InvalidEvent("there is nothing at this path", status=404, code="not_found")
    door.needs(request.method, "POST")

    def body(within: Budget) -> bytes:
        door.not_encoded(headers)
        return _body(request, within, door.BODY_MOST)

    return door.handle(app, "http", headers, request.args.getlist("token"), body, budget)


def _invoked(request: Request, headers: Mapping[str, str], app: App, budget: Budget) -> Answer:
    """FunctionGraph's container form: 200 and what the handler returns, or 500 and the error that it raises."""
    if request.path == "/init":
        return Answer(200, "{}", {"Content-Type": "application/json"})
    try:
        event: object = (body := _body(request, budget, INVOKED_MOST))
        if b"httpMethod" in body:  # an object is wanted of API Gateway's events alone; of two, both would take room
            event = strict_json.loads(body)
        returned = functiongraph.handle(event, functiongraph.HeaderContext(headers), app)
    except VaultbellError as error:
        return answer.of_crash(500, error.code, error.message)
    return Answer(200, json.dumps(returned), {"Content-Type": "application/json"})


def _body(request: Request, budget: Budget, most: int) -> bytes:
    """The request's body, within its limits of size and time. A longer one is not read to its end."""
    if (request.content_length or 0) > most:
        raise door.too_large()
    return b"".join(_chunks(request, budget, most))


def _chunks(request: Request, budget: Budget, most: int) -> Iterator[bytes]:
    peer: socket.socket | None = request.environ.get("gunicorn.socket")
    size = 0
    if peer:
        _watch().over(peer, budget)
    try:
        while chunk := request.stream.read(min(CHUNK, most + 1 - size)):
            size += len(chunk)
            if size > most:
                raise door.too_large()
            yield chunk
        if size < (request.content_length or 0):
            raise EOFError
    except (RequestTimeoutException, InvalidEvent):
        raise
    except Exception:  # noqa: BLE001 - what servers raise for a body that is badly framed has no other root
        if budget.left <= 0:
            raise Transient("the body did not arrive within the time budget") from None
        raise InvalidEvent("the body did not arrive whole", code="cut_short") from None
    finally:
        if peer:
            _watch().late.pop(peer, None)


class _Watch(threading.Thread):
    """Ends the reading of bodies that are late: a time-out of the socket would count each byte anew.

    `late` holds from when on they are, on the monotonic clock.
    """

    def __init__(self) -> None:
        super().__init__(name="late-bodies", daemon=True)
        self.late: dict[socket.socket, float] = {}
        self._some = threading.Event()
        self.start()

    def over(self, peer: socket.socket, budget: Budget) -> None:
        self.late[peer] = budget.deadline
        self._some.set()

    def run(self) -> None:
        while self._some.wait():
            time.sleep(TICK)
            now = time.monotonic()
            for peer in [peer for peer, since in list(self.late.items()) if since <= now]:
                if self.late.pop(peer, None) is not None:
                    with suppress(OSError):
                        peer.shutdown(socket.SHUT_RD)
            self._some.clear()
            if self.late:
                self._some.set()


@cache
def _watch() -> _Watch:
    """The one of this process, from its first body on."""
    return _Watch()


def _written(answer: Answer) -> Response:
    """The answer as a stream: the framework reads the rest of the request before any other kind of answer."""
    body = answer.body.encode()
    headers = {**answer.headers, "Content-Length": str(len(body))} if answer.status != 204 else dict(answer.headers)
    response = Response(iter([body]), answer.status, headers)
    if answer.status == 204:
        del response.headers["Content-Type"]  # Flask's own word for a body that is not there
    return response
