"""Explain what comes of an event: what is found, what is said of it, and which route takes it where. Nobody is told."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vaultbell import routing
from vaultbell.bell import Bell
from vaultbell.channels.shown import RESOLVED
from vaultbell.cli import saved
from vaultbell.cli.terminal import facts
from vaultbell.notification import Notification
from vaultbell.outcome import OutcomeName
from vaultbell.report import JSON, Action, Object
from vaultbell.ringing import Line
from vaultbell.routing import Selection, Step, Verdict


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    saved.event_argument(parser)
    saved.log_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """0: nothing would ring; 1: something would; 2: an item cannot be handled; 3: not everything was found out."""
    found = saved.judged(environ, options.event, options.log)
    findings = [_Finding(line, tuple(_messages(found.bell, line, leave=found.leave))) for line in found.lines]
    if options.json:
        shown: Object = {"form": found.form, "results": [finding.as_json() for finding in findings]}
        print(json.dumps(shown, indent=2))
    else:
        print(f"{'form':9} {found.form}")
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
            "past": told.past.data() if told.past else None,
            "rings": self.rings,
            "routes": routes,
            "channels": list(self.to.channels),
            "fallbacks": {**self.to.fallbacks},
        }

    def rows(self) -> Iterator[tuple[str, str]]:
        yield "message", f"{self.told.type} {self.told.id}"
        yield "incident", self.told.incident
        yield "headline", self.told.headline
        if before := self.told.past:
            yield "past", before.words(self.told.facts.get("operation_type"), self.told.timestamp)
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
        if self.to.left_out:
            yield "not told", f"{', '.join(self.to.left_out)}: opens no incident for what has recovered"


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
        told = (row for message in self.messages for row in message.rows())
        for line in facts((*rows.items(), *told), severity=result.severity):
            print(line)


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
        case Verdict.UNSURE:
            return f"may match, since the past is not known, and counts as a match: {told}"
        case Verdict.NOT_TAKEN:
            return f"not taken: {misses}"
        case Verdict.NOT_ASKED:
            return "not asked"


def _messages(bell: Bell, line: Line, *, leave: bool) -> Iterator[_Message]:
    """What is said of what was found, and of the end of what went wrong before it."""
    if (told := line.found) is not None:
        rings = bell.rules.rings(told.outcome) and (told.outcome != OutcomeName.RUNNING or leave)
        to = next((ring.to for ring in line.rings if ring.told is told), None) or routing.select(
            told, bell.routes, bell.incidents
        )
        steps = routing.explain(told, bell.routes) if rings else ()
        yield _Message(told, rings, tuple(steps), to if rings else Selection())
    for ring in line.rings:
        if ring.told.type == RESOLVED:
            yield _Message(ring.told, True, (), ring.to)
