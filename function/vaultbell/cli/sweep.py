"""Look through the task lists for what ended badly, and ring for it as a timer's tick would.

With --dry-run it is a rehearsal: what would have rung over that time, through which route, on which channel, and how
often a day. Nobody is told. What is overdue, or stale in a vault that is watched, is told of as of now.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from vaultbell import compose, observability, settings, sweeping, times, tracing
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.cli import rehearsal, saved, timeline
from vaultbell.cli.rehearsal import NotingCbr, Rung
from vaultbell.cli.terminal import FileName, Progress, paint, table
from vaultbell.errors import SettingsError
from vaultbell.events import Sweep
from vaultbell.handling import Handling
from vaultbell.outcome import OutcomeName
from vaultbell.report import JSON, Object, Report, Result
from vaultbell.routing import Selection
from vaultbell.sources import plain, timer
from vaultbell.sweep import Window
from vaultbell.text import one_line

SECONDS = 600.0
FINEST = timedelta(seconds=1)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument(
        "--since",
        metavar="TIME",
        help="look over this time up to now: 90s, 15m, 24h, 7d (default: what a tick would cover now)",
    )
    parser.add_argument("--project", metavar="ID", help="look in this project (default: each of VAULTBELL_PROJECTS)")
    parser.add_argument("--dry-run", action="store_true", help="tell nobody, and print what would have rung")
    parser.add_argument(
        "--svg", metavar="FILE", action=FileName, help="with --dry-run: draw a line a resource, with a mark a task"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """0: nothing rings; 1: something does; 3: not everything could be read, or told to all who are to hear of it."""
    if options.svg and not options.dry_run:
        raise SettingsError("--svg draws a rehearsal: it is for --dry-run alone")
    asked = Sweep(project_id=plain.project_id(options.project))
    if options.since is not None:
        length = timer.duration(options.since, "--since")
        # windows of a second: as many as there are in that time
        asked = asked._replace(period=FINEST, lag=timedelta(), lookback=max(length // FINEST, 1))
    found = settings.load(environ, tells=not options.dry_run)
    bell = compose.bell(found)
    zone = ZoneInfo(found.tz) if found.tz else UTC
    return _rehearse(bell, asked, options, zone) if options.dry_run else _ring(bell, asked, options)


def _ring(bell: Bell, asked: Sweep, options: argparse.Namespace) -> int:
    heard: saved.Heard = {}
    budget = Budget.of(SECONDS)
    observability.subscribe(bell.channels)
    with tracing.event("command") as event:
        event.begun(None, budget)
        report = _swept(saved.overheard(bell, heard), asked, budget)
        event.note(status=report.status, report=report)
        if report.status == 200:
            bell.heartbeat(budget)
    if options.json:
        print(json.dumps(report.as_json(), indent=2))
        return _status(report, len(report.results))
    tasks = [result for result in report.results if _is_task(result)]
    for result in tasks:
        print(saved.line_of(result, heard))
    owed = sum(bool(result.owed) for result in tasks)
    _conclude(report, f"{len(tasks)} rang{f', {owed} of them not everywhere' if owed else ''}")
    return _status(report, len(report.results))


def _swept(bell: Bell, asked: Sweep, budget: Budget) -> Report:
    """A sweep, and how far it has come."""
    bar = Progress("tasks read")
    handling = Handling(bell, replace(bell.cbr, watch=bar.show), budget, leave=True)
    try:
        handling.allowed(asked.project_id)
        lines, swept = sweeping.sweep(handling, asked)
    finally:
        bar.clear()
    return Report(tuple(line.result for line in lines), batch=True, swept=swept)


def _is_task(result: Result) -> bool:
    return result.outcome not in (None, OutcomeName.UNVERIFIED)


def _conclude(report: Report, rings: str) -> None:
    for result in report.results:
        if result.error and not _is_task(result):  # a task says on its own line who was not told
            print(f"vaultbell: {one_line(result.error[1])}", file=sys.stderr)
    if report.swept:
        begin, end = times.plain(report.swept.start), times.plain(report.swept.end)
        print(f"{begin} to {end}: {rings}, {report.swept.tasks:,} rows of the task lists were read")


def _status(report: Report, rings: int) -> int:
    return 3 if report.status != 200 else 1 if rings else 0


# The rehearsal


@dataclass(frozen=True, slots=True)
class _Rehearsal:
    """What was read, and what would have rung. Without `covered`, nothing was read."""

    report: Report
    covered: Window | None
    noted: rehearsal.Noted
    rung: Sequence[Rung] = ()
    days: Sequence[rehearsal.Day] = ()


def _rehearse(bell: Bell, asked: Sweep, options: argparse.Namespace, zone: tzinfo) -> int:
    found = _rehearsed(bell, asked, zone)
    if options.svg and found.covered:
        _draw(found, found.covered, bell, options.svg, zone)
    if options.json:
        print(json.dumps(_as_json(found), indent=2))
        return _status(found.report, len(found.rung))
    for one in found.rung:
        print(_line(one))
    if found.rung:
        print("", *_table(found, list(bell.channels)), "", sep="\n")
    _conclude(found.report, f"{len(found.rung)} would ring")
    return _status(found.report, len(found.rung))


def _rehearsed(bell: Bell, asked: Sweep, zone: tzinfo) -> _Rehearsal:
    """Read as a sweep reads; then reckon what the ticks of that time would have told, one by one."""
    budget, heard, cbr = Budget.of(SECONDS), saved.Heard(), NotingCbr.of(bell.cbr)
    reads = replace(saved.overheard(saved.silent(bell), heard), cbr=cbr, resolving=frozenset(), history=None)
    report = _swept(reads, asked, budget)
    if report.swept is None:
        return _Rehearsal(report, None, cbr.noted)
    covered = Window(report.swept.start, report.swept.end)
    tells = replace(saved.silent(bell), digest_over=bell.digest_over)
    rung = rehearsal.rehearse(tells, bell.cbr, cbr.noted, covered, budget)
    for result in report.results:
        told = heard.get(result.incident or "")
        if told and result.outcome == OutcomeName.STALE:
            to = Selection(tuple(receipt.channel for receipt in result.receipts))
            rung.append(rehearsal.of_message(bell, told.timestamp, told, to, result))
    rung.sort(key=lambda one: one.at)
    days = rehearsal.days(rung, covered, tells, zone)
    return _Rehearsal(report, covered, cbr.noted, rung, days)


def _line(one: Rung) -> str:
    """A message that would have been told: when, of what, and to whom by which route."""
    fallbacks = one.to.fallbacks
    names = [f"{name} (fallback: {fallbacks[name]})" if name in fallbacks else name for name in one.to.channels]
    route = f" (route {', '.join(map(str, one.routes))})" if one.routes else ""
    outcome = paint(f"{one.told.outcome:10}", one.told.severity)
    task = one.result.operation_log_id or "-"
    words = one_line(one.told.summary)
    return f"{times.plain(one.at)}  {outcome} {task}  {words} → {', '.join(names) or 'nobody'}{route}"


def _table(found: _Rehearsal, channels: Sequence[str]) -> list[str]:
    """Messages by day and channel, their sums, and how many a day that is; the days at the ends are not whole."""
    counts = [[day.rings, *(day.messages.get(name, 0) for name in channels)] for day in found.days]
    sums = [sum(column) for column in zip(*counts, strict=True)]
    rows = [[f"{day.day:%Y-%m-%d %a}", *map(str, row)] for day, row in zip(found.days, counts, strict=True)]
    length = (found.covered.end - found.covered.start) / timedelta(days=1) if found.covered else 1.0
    mean = [f"{count / length:.1f}" for count in sums] if length >= 1 else []
    return table(
        [["day", "rings", *channels], *rows, ["in all", *map(str, sums)], *([["a day", *mean]] if mean else [])]
    )


def _as_json(found: _Rehearsal) -> Object:
    results: list[JSON] = [
        {
            "at": times.iso(one.at),
            "type": one.told.type,
            **{key: value for key, value in one.result.as_json().items() if key not in ("action", "receipts")},
            "headline": one.told.headline,
            "routes": list(one.routes),
            "channels": list(one.to.channels),
            "fallbacks": {**one.to.fallbacks},
        }
        for one in found.rung
    ]
    faults: list[JSON] = [result.as_json() for result in found.report.results if result.error]
    days: list[JSON] = [
        {"day": day.day.isoformat(), "rings": day.rings, "messages": {**day.messages}} for day in found.days
    ]
    swept: Object = {"swept": found.report.swept.as_json()} if found.report.swept else {}
    return {"results": results + faults, **swept, "days": days}


def _draw(found: _Rehearsal, covered: Window, bell: Bell, path: str, zone: tzinfo) -> None:
    rows = rehearsal.rows(found.rung, found.noted, covered, bell, zone)
    begin, end = (f"{at.astimezone(zone):%Y-%m-%d %H:%M}" for at in (covered.start, covered.end))
    title = f"{len(rows)} resources, {begin} to {end} ({zone}): {len(found.rung)} would have rung"
    try:
        Path(path).write_text(timeline.svg(rows, covered.start, covered.end, title, zone), "utf-8")
    except OSError as error:
        raise SettingsError(f"the picture cannot be written: {error.strerror}") from None
