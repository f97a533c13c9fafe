"""Explain what comes of an event: what is found, what is said of it, and which route takes it where. Nobody is told."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vaultbell import compose, pipeline, routing, settings, sources, strict_json
from vaultbell.bell import Bell, side_by_side
from vaultbell.budget import Budget
from vaultbell.channels import Taken
from vaultbell.channels.shown import RESOLVED
from vaultbell.cloud.cbr import NO_SUCH_TASK, Cbr, Query
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.errors import InvalidEvent, SettingsError, TaskMissing
from vaultbell.events import Event, Item, Search, Sweep, TaskRef
from vaultbell.handling import Handling
from vaultbell.inbound import Project
from vaultbell.notification import Notification
from vaultbell.outcome import OutcomeName
from vaultbell.report import JSON, Action, Object, Result
from vaultbell.ringing import Line
from vaultbell.routing import Selection, Step, Verdict
from vaultbell.sources.pubsub import from_base64
from vaultbell.text import one_line

SECONDS = 30.0
NO_PROJECT = "0" * 32
SWEEP = "a sweep names no task: vaultbell sweep --dry-run shows what it would find"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument(
        "event",
        metavar="EVENT_FILE",
        help='the event, as it is posted or handed over; {"headers": …, "body": …} where headers belong to it; '
        "- is the standard input",
    )
    parser.add_argument(
        "--operation-log", metavar="FILE", help="what the API has answered, one task or a list: it is not asked then"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """0: nothing would ring; 1: something would; 2: an item cannot be handled; 3: not everything was found out."""
    logs = _logs(options.operation_log) if options.operation_log else None
    bell = _silent(compose.bell(settings.load(environ, tells=False, looks=logs is None)))
    decoded = sources.decode(_event(_read(options.event, "the event")))
    if logs is not None:
        bell = _offline(bell, logs, decoded.items)
    leave = bell.leave_unfinished or decoded.source.leaves
    handling = Handling(bell, bell.cbr, Budget.of(SECONDS), leave, reply=True)

    def judged(item: Item) -> list[Line]:
        if isinstance(item, Sweep):
            return [Line(Result(Action.QUIET, reason=SWEEP))]
        return pipeline.judged(handling, item)

    lines = [line for found in side_by_side(judged, decoded.items) for line in found]
    findings = [_Finding(line, tuple(_messages(bell, line, leave=leave))) for line in lines]
    if options.json:
        shown: Object = {"form": decoded.source.name, "results": [finding.as_json() for finding in findings]}
        print(json.dumps(shown, indent=2))
    else:
        print(f"{'form':9} {decoded.source.name}")
        for finding in findings:
            print()
            finding.print()
    return max(finding.status for finding in findings)


@dataclass(frozen=True, slots=True)
class _Message:
    """What would be said. `steps` are the routes, where they are asked; `to` is who would be told."""

    told: Notification
    rings: bool
    steps: tuple[Step, ...]
    to: Selection

    def as_json(self) -> Object:
        told = self.told
        routes: list[JSON] = [
            {
                "route": number,
                "verdict": step.verdict.value,
                "misses": [{"field": miss.field, "wanted": list(miss.wanted), "had": miss.had} for miss in step.misses],
                "channels": list(step.route.channels),
                "fallback": step.route.fallback,
            }
            for number, step in enumerate(self.steps, start=1)
        ]
        return {
            "id": told.id,
            "type": told.type,
            "incident": told.incident,
            "headline": told.headline,
            "summary": told.summary,
            "rings": self.rings,
            "routes": routes,
            "channels": list(self.to.channels),
            "fallbacks": {**self.to.fallbacks},
        }

    def rows(self) -> Iterator[tuple[str, str]]:
        yield "message", f"{self.told.type} {self.told.id}"
        yield "incident", self.told.incident
        yield "headline", self.told.headline
        if not self.rings:
            running = self.told.outcome == OutcomeName.RUNNING
            why = "its event comes again until it has ended" if running else "outcomes.ring does not name its outcome"
            yield "rings", f"no: {why}"
            return
        for number, step in enumerate(self.steps, start=1):
            yield f"route {number}", _words(step)
        names = (
            f"{name} (fallback: {self.to.fallbacks[name]})" if name in self.to.fallbacks else name
            for name in self.to.channels
        )
        yield "tells", ", ".join(names) or "nobody"


@dataclass(frozen=True, slots=True)
class _Finding:
    """What was made of one item, or of one of the tasks that it means."""

    line: Line
    messages: tuple[_Message, ...]

    @property
    def status(self) -> int:
        """The exit status that it alone would have."""
        result = self.line.result
        if result.status in (500, 503) and result.error:
            return 3
        if any(message.rings for message in self.messages):
            return 1
        return 2 if result.action is Action.REJECTED else 0

    def as_json(self) -> Object:
        """The line of the report, without what was not done."""
        done = ("action", "owed", "receipts")
        kept = {key: value for key, value in self.line.result.as_json().items() if key not in done}
        return {**kept, "messages": [message.as_json() for message in self.messages]}

    def print(self) -> None:
        """For people: a line a fact."""
        result = self.line.result
        rows: dict[str, str | None] = {
            "task": result.operation_log_id,
            "project": result.project_id,
            "outcome": result.outcome and f"{result.outcome} ({result.severity})",
            "evidence" if result.outcome else "note": result.reason,
            "error": result.error and f"{result.error[0]}: {result.error[1]}",
            "again in": None if result.retry_after is None else f"{result.as_json()['retry_after']} s",
        }
        for name, text in (*rows.items(), *(row for message in self.messages for row in message.rows())):
            if text:
                print(f"{name:9} {one_line(text)}")


def _words(step: Step) -> str:
    """What became of a route, in words."""
    misses = "; ".join(
        f"{miss.field} is {miss.had or 'absent'}, wanted {' or '.join(miss.wanted)}" for miss in step.misses
    )
    told = ", ".join(step.route.channels) or "nobody"
    match step.verdict:
        case Verdict.TAKEN:
            return f"taken: {told}{' (continue)' if step.route.continue_ else ''}"
        case Verdict.BROKEN:
            return f"cannot be judged, and counts as a match: {told}"
        case Verdict.NOT_TAKEN:
            return f"not taken: {misses}"
        case Verdict.NOT_ASKED:
            return "not asked"


def _messages(bell: Bell, line: Line, *, leave: bool) -> Iterator[_Message]:
    """What is said of what was found, and of the end of what went wrong before it."""
    if (told := line.found) is not None:
        rings = bell.rules.rings(told.outcome) and (told.outcome != OutcomeName.RUNNING or leave)
        to = next((ring.to for ring in line.rings if ring.told is told), None) or routing.select(told, bell.routes)
        steps = routing.explain(told, bell.routes) if rings else ()
        yield _Message(told, rings, tuple(steps), to if rings else Selection())
    for ring in line.rings:
        if ring.told.type == RESOLVED:
            yield _Message(ring.told, True, (), ring.to)


class _Nobody:
    """A channel that takes everything and tells it to nobody."""

    def send(self, _notification: Notification, _budget: Budget) -> Taken:
        return Taken()


def _silent(bell: Bell) -> Bell:
    return replace(bell, channels={name: _Nobody() for name in bell.channels})


def _read(path: str, what: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(f"{what} cannot be read: {error.strerror}") from None


def _event(content: bytes) -> Event:
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


def _logs(path: str) -> tuple[OperationLog, ...]:
    """The tasks in a saved answer; none where the API has said that there is no such task. Raises SettingsError."""
    try:
        answer = strict_json.loads(_read(path, "the API's answer"))
    except InvalidEvent:
        raise SettingsError("the API's answer is not JSON") from None
    given = answer if isinstance(answer, dict) else {}
    if given.get("error_code") in NO_SUCH_TASK:
        return ()
    held = given.get("operation_logs", [given.get("operation_log", given)])
    rows = [row for row in held if isinstance(row, dict)] if isinstance(held, list) else []
    if not rows or any(row.keys().isdisjoint(OperationLog.model_fields) for row in rows):
        raise SettingsError("the API's answer holds no operation log")
    return tuple(OperationLog.read(row) for row in rows)


@dataclass(frozen=True, slots=True)
class _Saved(Cbr):
    """The API as it has answered before."""

    logs: tuple[OperationLog, ...] = ()

    def show(self, project: Project, operation_log_id: str, budget: Budget) -> OperationLog:
        del project, budget
        for log in self.logs:
            if log.id in (None, operation_log_id):
                return log if log.id else log.model_copy(update={"id": operation_log_id})
        raise TaskMissing("the API does not know this task")

    def list(self, project: Project, query: Query, budget: Budget) -> Iterator[OperationLog]:
        del project, query, budget
        yield from self.logs


@dataclass(frozen=True, slots=True)
class _Known:
    """The projects that the answer and the event name."""

    known: tuple[Project, ...]

    def all(self, budget: Budget) -> Sequence[Project]:
        del budget
        return self.known


def _offline(bell: Bell, logs: tuple[OperationLog, ...], items: Sequence[Item]) -> Bell:
    """The bell with what the API has answered for the API. The end of an earlier failure cannot be found in that."""
    hints = [item for item in items if isinstance(item, TaskRef | Search)]
    for hint in hints:
        if logs and isinstance(hint, TaskRef) and not any(_is_of(log, hint) for log in logs):
            raise SettingsError("the API's answer is about another task than the event")
    ids = [log.project_id for log in logs] + [hint.project_id for hint in hints]
    places = {project.project_id: project for project in bell.projects.known}
    region = next((hint.region for hint in hints if hint.region), None)
    named = list(dict.fromkeys(filter(None, ids))) or list(places) or [NO_PROJECT]
    projects = tuple(places.get(name) or Project(name, region) for name in named)
    cbr = bell.cbr
    return replace(
        bell,
        cbr=_Saved(cbr.http, cbr.endpoints, cbr.credentials, logs=logs),
        projects=_Known(projects),
        resolving=frozenset(),
    )


def _is_of(log: OperationLog, task: TaskRef) -> bool:
    known = log.id in (None, task.operation_log_id)
    return known and (log.project_id is None or task.project_id in (None, log.project_id))
