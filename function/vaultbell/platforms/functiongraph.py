"""FunctionGraph: events of the platform's triggers. Source: its developer guide, "Supported event sources".

API Gateway waits for an answer, and is given one. All other triggers are asynchronous: what is to come again is
raised, and the platform invokes the function anew or, in the end, hands the event to its failure destination.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Protocol

from vaultbell import pipeline, tracing
from vaultbell.budget import Budget
from vaultbell.cloud.cbr import Cbr
from vaultbell.cloud.credentials import AccessKey, GivenToken
from vaultbell.cloud.signing import KeyPair
from vaultbell.compose import App
from vaultbell.errors import InvalidEvent, Misconfigured, Permanent, Transient, VaultbellError
from vaultbell.events import Event
from vaultbell.platforms import answer, door
from vaultbell.platforms.answer import Answer
from vaultbell.report import Object, Report
from vaultbell.sources.pubsub import from_base64
from vaultbell.telemetry import log, log_crash, log_report

APIG_WAITS = 4.5  # seconds: the trigger's default is 5
FOREVER = 86_400_000  # milliseconds: no limit of the platform is known


class FunctionContext(Protocol):
    """What the platform hands over with each event ("context" of the Python runtime)."""

    def getRemainingTimeInMilliSeconds(self) -> int: ...  # noqa: D102, N802 - the platform's name

    def getToken(self) -> str | None: ...  # noqa: D102, N802 - the platform's name

    def getSecurityAccessKey(self) -> str | None: ...  # noqa: D102, N802 - the platform's name

    def getSecuritySecretKey(self) -> str | None: ...  # noqa: D102, N802 - the platform's name

    def getSecurityToken(self) -> str | None: ...  # noqa: D102, N802 - the platform's name


class HeaderContext:
    """The same, as a container is told it: by the `X-CFF-…` headers of an invocation (names in lower case)."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def getRemainingTimeInMilliSeconds(self) -> int:  # noqa: N802 - the platform's name
        """The whole time-out of the function (its header has seconds): the invocation has just begun."""
        seconds = self._headers.get("x-cff-timeout", "")
        said = int(seconds) if seconds.isascii() and seconds.isdigit() and len(seconds) < 7 else 0
        return said * 1_000 or FOREVER

    def getToken(self) -> str | None:  # noqa: N802 - the platform's name
        """The agency's token."""
        return self._headers.get("x-cff-auth-token")

    def getSecurityAccessKey(self) -> str | None:  # noqa: N802 - the platform's name
        """The agency's temporary access key."""
        return self._headers.get("x-cff-security-access-key")

    def getSecuritySecretKey(self) -> str | None:  # noqa: N802 - the platform's name
        """The secret key that belongs to it."""
        return self._headers.get("x-cff-security-secret-key")

    def getSecurityToken(self) -> str | None:  # noqa: N802 - the platform's name
        """The security token that belongs to both."""
        return self._headers.get("x-cff-security-token")


def handle(event: object, context: FunctionContext, app: App) -> Object:
    """Answer one event of the platform.

    Raises InvalidEvent or Permanent for what is to reach the failure destination, Transient or Misconfigured for
    what is to come again; for API Gateway nothing.
    """
    if isinstance(event, dict) and "httpMethod" in event:
        return _written(_apig(event, context, app))
    with tracing.event("functiongraph"):
        try:
            report = pipeline.handle(
                app.bell, _event(event, app.settings.smn_topics), _budget(context, app), _cbr(context, app)
            )
        except InvalidEvent as error:
            log_report("functiongraph", error)
            raise
        log_report("functiongraph", report)
    if failure := _raised(report):
        raise failure
    return report.as_json()


def _event(event: object, topics: tuple[str, ...]) -> Event:
    """The platform's own form, which no other door takes; the platform vouches for its sender."""
    if isinstance(event, bytes | str):
        body = event if isinstance(event, bytes) else event.encode(errors="surrogatepass")
    else:
        try:
            body = json.dumps(event).encode()
        except (TypeError, ValueError, RecursionError):
            raise InvalidEvent("the event is not JSON", code="not_json") from None
    return Event(body, trusted=True, platform=True, topics=topics)


def _raised(report: Report) -> VaultbellError | None:
    """The error that the platform is to see: by the worst of the results, after all of them have been handled."""
    status = report.status
    if status == 200:
        return None
    told = "; ".join(sorted({f"{result.error[0]}: {result.error[1]}" for result in report.results if result.error}))
    message = f"{told or 'not finished yet'} ({status})"
    if status == 503:
        return Transient(message, after=report.retry_after, status=status)
    if status == 500:
        return Misconfigured(message, status=status)
    if status == 424:
        return Permanent(message, status=status)
    return InvalidEvent(message, status=status)


def _apig(request: Mapping[str, object], context: FunctionContext, app: App) -> Answer:
    """The answer of the HTTP column. Never raises: API Gateway would make 500 of it."""
    headers = {name.lower(): str(value) for name, value in _mapping(request.get("headers")).items()}
    with tracing.event("apig", headers):
        try:
            return _apig_answer(request, headers, context, app)
        except InvalidEvent as error:
            log_report("apig", error)
            return answer.of_error(error)
        except Exception as error:  # noqa: BLE001 - the outermost edge
            log_crash(error)
            return answer.of_crash(500, "internal", "an error of Vaultbell itself; its log tells more")


def _apig_answer(
    request: Mapping[str, object], headers: Mapping[str, str], context: FunctionContext, app: App
) -> Answer:
    door.needs(str(request.get("httpMethod")).upper(), "POST")
    token = _mapping(request.get("queryStringParameters")).get("token")
    tokens = [text for text in (token if isinstance(token, list) else [token]) if isinstance(text, str)]
    budget = _budget(context, app).within(APIG_WAITS)

    def body(_: Budget) -> bytes:
        door.not_encoded(headers)
        return _body(request)

    return door.handle(app, "apig", headers, tokens, body, budget, _cbr(context, app))


def _body(request: Mapping[str, object]) -> bytes:
    body = request.get("body") or ""
    if not isinstance(body, str):
        raise InvalidEvent("the body is not a text")
    content = from_base64(body) if request.get("isBase64Encoded") is True else body.encode(errors="surrogatepass")
    if len(content) > door.BODY_MOST:
        raise door.too_large()
    return content


def _mapping(value: object) -> Mapping[str, object]:
    return {str(name): item for name, item in value.items()} if isinstance(value, dict) else {}


def _budget(context: FunctionContext, app: App) -> Budget:
    budget, left = Budget.of(app.settings.time_budget), _asked(context, "getRemainingTimeInMilliSeconds")
    return budget.within(max(0.0, left / 1_000)) if isinstance(left, (int, float)) else budget


def _cbr(context: FunctionContext, app: App) -> Cbr | None:
    """The API with the agency's credentials, where the function has an agency."""
    if token := _given(context, "getToken"):
        return app.bell.cbr.lent(GivenToken(token))
    access, secret = _given(context, "getSecurityAccessKey"), _given(context, "getSecuritySecretKey")
    if access and secret:
        return app.bell.cbr.lent(AccessKey(KeyPair(access, secret, _given(context, "getSecurityToken"))))
    return None


def _given(context: FunctionContext, getter: str) -> str | None:
    """A credential; where the function has no agency, some runtimes say so with the text "null"."""
    value = _asked(context, getter)
    return value if isinstance(value, str) and value.strip().lower() not in ("", "null", "none") else None


def _asked(context: FunctionContext, getter: str) -> object:
    """What the context says; None where it has no such getter, as those of local runtimes, or where that fails."""
    found = getattr(context, getter, None)
    try:
        return found() if callable(found) else None
    except Exception as error:  # noqa: BLE001 - a runtime's, of any kind: without an agency we are blind, and say so
        log(logging.WARNING, "the platform's context fails", getter=getter, error=type(error).__name__)
        return None


def _written(answer: Answer) -> Object:
    return {
        "statusCode": answer.status,
        "headers": dict(answer.headers),
        "body": answer.body,
        "isBase64Encoded": False,
    }
