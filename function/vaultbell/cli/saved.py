"""What lies in files: events as their doors would hand them over, and operation logs in the place of the cloud."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from vaultbell import compose, pipeline, settings, sources, strict_json, times
from vaultbell.bell import Bell, side_by_side
from vaultbell.budget import Budget
from vaultbell.channels import Channel, Taken
from vaultbell.cli.terminal import FileName, paint
from vaultbell.cloud.cbr import NO_SUCH_TASK, Cbr, Query
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.errors import InvalidEvent, SettingsError, TaskMissing
from vaultbell.events import Event, Item, RollCall, Search, Sweep, TaskRef
from vaultbell.handling import Handling
from vaultbell.history import History
from vaultbell.inbound import Project
from vaultbell.notification import Notification
from vaultbell.past import Past
from vaultbell.report import JSON, Action, Object, Report, Result
from vaultbell.ringing import Line
from vaultbell.sources.pubsub import from_base64
from vaultbell.text import one_line

NO_PROJECT = "0" * 32
SECONDS = 30.0
SWEEP = "a sweep names no task: vaultbell sweep --dry-run shows what it would find"
ROLL_CALL = "a roll call names no task: it reads the lists, and tells the channels with roll_call: true"


def event_argument(parser: argparse.ArgumentParser, **more: Any) -> None:  # noqa: ANN401 - as argparse takes them
    """The file with an event."""
    parser.add_argument(
        "event",
        metavar="EVENT_FILE",
        action=FileName,
        help='the event, as it is posted or handed over; {"headers": …, "body": …} where headers belong to it; '
        "- is the standard input",
        **more,
    )


def log_argument(parser: argparse.ArgumentParser) -> None:
    """`--log`, which takes the place of the cloud."""
    parser.add_argument(
        "--log",
        metavar="FILE",
        action=FileName,
        help="what the API has answered, one task or a list, or a webhook's body: the cloud is not asked then",
    )
    parser.add_argument("--operation-log", metavar="FILE", dest="log", help=argparse.SUPPRESS)  # its former name


def read(path: str, what: str) -> bytes:
    """What a file holds; - is the standard input. Raises SettingsError, which calls it by `what`."""
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(f"{what} cannot be read: {error.strerror}") from None


# Events


def event_of(content: bytes) -> Event:
    """The event as its door would hand it over: whoever has the file is trusted. Raises InvalidEvent."""
    value = strict_json.loads(content)
    if not isinstance(value, dict) or not ("httpMethod" in value or value.keys() == {"headers", "body"}):
        return Event(content, trusted=True, platform=True)
    given, body = value.get("headers"), value.get("body")
    headers = {name.lower(): str(text) for name, text in given.items()} if isinstance(given, dict) else {}
    if not isinstance(body, str):
        content = json.dumps(body).encode()
    else:
        content = from_base64(body) if value.get("isBase64Encoded") is True else body.encode(errors="surrogatepass")
    return Event(content, headers, trusted=True)


def events_in(content: bytes) -> list[bytes]:
    """The events in a file: one JSON value, a list of them, or one on each line."""
    value = _json(content)
    if isinstance(value, list):
        return [json.dumps(item).encode() for item in value]
    lines = [line for line in content.splitlines() if line.strip()]
    if value is None and len(lines) > 1 and isinstance(_json(lines[0]), dict):
        return lines
    return [content]


def _json(content: bytes) -> JSON:
    try:
        return strict_json.loads(content)
    except InvalidEvent:
        return None


@dataclass(frozen=True, slots=True)
class Judged:
    """What was made of an event, told to nobody: its form, a line for each task, and the bell that would ring."""

    form: str
    lines: Sequence[Line]
    bell: Bell
    leave: bool


def judged(environ: Mapping[str, str], event: str, log: str | None) -> Judged:
    """Look up what an event means, or take what the API has answered for it. Raises SettingsError, InvalidEvent."""
    logs = logs_in(log).logs if log else None
    bell = silent(compose.bell(settings.load(environ, tells=False, looks=logs is None)))
    decoded = sources.decode(event_of(read(event, "the event")))
    if logs is not None:
        bell = offline(bell, logs, decoded.items)
    leave = bell.leave_unfinished or decoded.source.leaves
    handling = Handling(bell, bell.cbr, Budget.of(SECONDS), leave, reply=True)

    def lines_of(item: Item) -> list[Line]:
        if isinstance(item, Sweep):
            return [Line(Result(Action.QUIET, reason=SWEEP))]
        if isinstance(item, RollCall):
            return [Line(Result(Action.QUIET, reason=ROLL_CALL))]
        return pipeline.judged(handling, item)

    lines = History(handling).known([line for found in side_by_side(lines_of, decoded.items) for line in found])
    return Judged(decoded.source.name, lines, bell, leave)


# Nobody is told


class Nobody:
    """A channel that takes everything and tells it to nobody."""

    def send(self, _notification: Notification, _budget: Budget) -> Taken:
        """Take it."""
        return Taken()


Heard = dict[str, Notification]


class Overheard:
    """A channel whose messages are noted down by their task, or, where they name none, by their incident."""

    def __init__(self, heard: Heard, channel: Channel) -> None:
        self._heard = heard
        self._channel = channel

    def send(self, notification: Notification, budget: Budget) -> Taken:
        """Tell it once, as any channel does."""
        self._heard[notification.facts.get("operation_log_id") or notification.incident] = notification
        return self._channel.send(notification, budget)


def silent(bell: Bell) -> Bell:
    """The bell, but nobody hears it."""
    channels = {name: Nobody() for name in bell.channels}
    return replace(bell, channels=channels, heartbeat=lambda _budget: None, digest_over={})


def overheard(bell: Bell, heard: Heard) -> Bell:
    """The bell, and what it says, by task."""
    return replace(bell, channels={name: Overheard(heard, channel) for name, channel in bell.channels.items()})


def report_as_json(report: Report, *, dry: bool) -> Object:
    """The report. In a dry run nothing was done to any task; who would be told is."""
    would: Object = report.as_json()
    if dry:
        would["results"] = [
            {
                **{key: value for key, value in result.as_json().items() if key not in ("action", "receipts")},
                "channels": [receipt.channel for receipt in result.receipts],
            }
            for result in report.results
        ]
    return would


def line_of(result: Result, heard: Mapping[str, Notification]) -> str:
    """What was found, on a line: the outcome, the task, what was said of it, and who took it; or what was amiss."""
    told = ", ".join(receipt.channel for receipt in result.receipts if receipt.delivered)
    told_of = heard.get(result.operation_log_id or result.incident or "")
    words = told_of.summary if told_of else result.reason or ""
    if result.error:
        words = f"{words} [{result.error[0]}: {result.error[1]}]" if words else f"{result.error[0]}: {result.error[1]}"
    outcome = paint(f"{result.outcome or result.action.value:10}", result.severity)
    return f"{outcome} {result.operation_log_id or '-'}  {one_line(words)}{f' → {told}' if told else ''}"


# Operation logs


@dataclass(frozen=True, slots=True)
class Saved:
    """Tasks as the API gave them; and where they stand in a webhook's body, what that says besides."""

    logs: tuple[OperationLog, ...]
    at: datetime | None = None
    past: Past | None = None
    project_id: str | None = None
    region: str | None = None

    @classmethod
    def of_message(cls, given: Object, told: Object) -> Saved:
        """What lies in a message of the default format, `told` being its `data`."""
        row, good, newer = (told.get(name) for name in ("failures_in_row", "last_good_at", "recovered_at"))
        past = Past(row, times.read(good), times.read(newer), newer is not None) if isinstance(row, int) else None
        project_id, region = (
            value if isinstance(value := told.get(name), str) else None for name in ("project_id", "region")
        )
        return cls(_logs(told), times.read(given.get("timestamp")), past, project_id, region)


def logs_in(path: str) -> Saved:
    """The tasks in a saved answer of the API, or in a webhook's body.

    None where the API has said that there is no such task. Raises SettingsError.
    """
    try:
        answer = strict_json.loads(read(path, "the saved answer"))
    except InvalidEvent as error:
        raise SettingsError(f"the saved answer: {error.message}") from None
    given = answer if isinstance(answer, dict) else {}
    if given.get("error_code") in NO_SUCH_TASK:
        return Saved(())
    told = given.get("data")
    if isinstance(told, dict) and "operation_log" in told:
        return Saved.of_message(given, told)
    return Saved(_logs(given))


def _logs(given: Object) -> tuple[OperationLog, ...]:
    held = given.get("operation_logs", [given.get("operation_log", given)])
    rows = [row for row in held if isinstance(row, dict)] if isinstance(held, list) else []
    if not rows or any(row.keys().isdisjoint(OperationLog.model_fields) for row in rows):
        raise SettingsError("the saved answer holds no operation log")
    return tuple(OperationLog.read(row) for row in rows)


@dataclass(frozen=True, slots=True)
class SavedCbr(Cbr):
    """The API as it has answered before."""

    logs: tuple[OperationLog, ...] = ()

    def show(self, project: Project, operation_log_id: str, budget: Budget) -> OperationLog:
        """The task of this id."""
        del project, budget
        for log in self.logs:
            if log.id in (None, operation_log_id):
                return log if log.id else log.model_copy(update={"id": operation_log_id})
        raise TaskMissing("the API does not know this task")

    def list(self, project: Project, query: Query, budget: Budget) -> Iterator[OperationLog]:
        """All of them."""
        del project, query, budget
        yield from self.logs


@dataclass(frozen=True, slots=True)
class _Known:
    """The projects that the answer and the event name."""

    known: tuple[Project, ...]

    def all(self, budget: Budget) -> Sequence[Project]:
        del budget
        return self.known


def offline(bell: Bell, logs: tuple[OperationLog, ...], items: Sequence[Item]) -> Bell:
    """The bell with what the API has answered for the API. The end of an earlier failure cannot be found in that."""
    hints = [item for item in items if isinstance(item, TaskRef | Search)]
    for hint in hints:
        if logs and isinstance(hint, TaskRef) and not any(_is_of(log, hint) for log in logs):
            raise SettingsError("the saved answer is about another task than the event")
    ids = [log.project_id for log in logs] + [hint.project_id for hint in hints]
    places = {project.project_id: project for project in bell.projects.known}
    region = next((hint.region for hint in hints if isinstance(hint, TaskRef) and hint.region), None)
    named = list(dict.fromkeys(filter(None, ids))) or list(places) or [NO_PROJECT]
    projects = tuple(places.get(name) or Project(name, region) for name in named)
    cbr = bell.cbr
    return replace(
        bell,
        cbr=SavedCbr(cbr.http, cbr.endpoints, cbr.credentials, logs=logs),
        projects=_Known(projects),
        resolving=frozenset(),
        history=None,
    )


def _is_of(log: OperationLog, task: TaskRef) -> bool:
    known = log.id in (None, task.operation_log_id)
    return known and (log.project_id is None or task.project_id in (None, log.project_id))
