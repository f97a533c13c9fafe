"""The HTTP answer to an event, for every platform that speaks HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from vaultbell.errors import InvalidEvent, Transient
from vaultbell.report import RETRY_AFTER, Object, Report, seconds


class Answer(NamedTuple):
    """Status, headers and body."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = MappingProxyType({})


def of_report(report: Report) -> Answer:
    """The report as its sender understands it."""
    status = report.status
    if status == 200 and report.reply:
        return _json(200, report.reply, {"Content-Type": "application/cloudevents+json"})
    if status == 200 and report.answers_empty:
        return Answer(204)
    first = next((result.error for result in report.results if result.status == status and result.error), None)
    body: Object = {}
    if first and status != 200:
        body["error"] = {"code": first[0], "message": first[1]}
    if report.batch or status not in (400, 401, 403, 413):
        body |= report.as_json()
    headers = {"Retry-After": str(report.retry_after)} if status == 503 else {}
    return _json(status, body, headers)


def of_error(error: InvalidEvent | Transient) -> Answer:
    """The answer to an event that is at fault, or that could not be begun for now."""
    if isinstance(error, Transient):
        return of_crash(503, error.code, error.message, error.after)
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    headers |= {"Allow": ", ".join(error.allow)} if error.allow else {}
    return _json(error.status, {"error": {"code": error.code, "message": error.message}}, headers)


def of_crash(status: int, code: str, message: str, after: float | None = None) -> Answer:
    """The answer where we ourselves have failed: the event is to come again."""
    headers = {"Retry-After": str(seconds(RETRY_AFTER if after is None else after))} if status == 503 else {}
    return _json(status, {"error": {"code": code, "message": message}}, headers)


def _json(status: int, body: Object, headers: Mapping[str, str]) -> Answer:
    return Answer(status, json.dumps(body), {"Content-Type": "application/json", **headers})
