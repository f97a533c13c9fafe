"""Look through the task lists for what ended badly, and ring for it as a timer's tick would."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from vaultbell import compose, observability, settings, sweeping, times, tracing
from vaultbell.budget import Budget
from vaultbell.cli import saved
from vaultbell.cli.terminal import Progress
from vaultbell.events import Sweep
from vaultbell.handling import Handling
from vaultbell.outcome import OutcomeName
from vaultbell.report import Report
from vaultbell.sources import plain, timer

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
    parser.add_argument("--dry-run", action="store_true", help="tell nobody, and print what would ring")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """0: nothing rings; 1: something does; 3: not everything could be read, or told to all who are to hear of it."""
    asked = Sweep(project_id=plain.project_id(options.project))
    if options.since is not None:
        length = timer.duration(options.since, "--since")
        # windows of a second: as many as there are in that time
        asked = replace(asked, period=FINEST, lag=timedelta(), lookback=max(length // FINEST, 1))
    heard: dict[str, str] = {}
    found = settings.load(environ, tells=not options.dry_run)
    if not options.dry_run:
        observability.subscribe(found.channels)
    bell = compose.bell(found)
    bell = saved.overheard(saved.silent(bell) if options.dry_run else bell, heard)
    budget = Budget.of(SECONDS)
    bar = Progress("tasks read")
    handling = Handling(bell, replace(bell.cbr, watch=bar.show), budget, leave=True)
    with tracing.event("command") as event:
        event.begun(None, budget)
        try:
            handling.allowed(asked.project_id)
            lines, swept = sweeping.sweep(handling, asked)
        finally:
            bar.clear()
        report = Report(tuple(line.result for line in lines), batch=True, swept=swept)
        if not options.dry_run:
            event.note(status=report.status, report=report)
        if report.status == 200:
            bell.heartbeat(budget)
    if options.json:
        print(json.dumps(saved.report_as_json(report, dry=options.dry_run), indent=2))
    else:
        _print(report, heard, dry=options.dry_run)
    return 3 if report.status != 200 else 1 if report.results else 0


def _print(report: Report, heard: Mapping[str, str], *, dry: bool) -> None:
    tasks = [result for result in report.results if result.outcome and result.outcome != OutcomeName.UNVERIFIED]
    for result in tasks:
        print(saved.line_of(replace(result, error=None), heard))
    for result in report.results:
        if result.error:
            print(f"vaultbell: {result.error[1]}", file=sys.stderr)
    if report.swept:
        begin, end = times.plain(report.swept.start), times.plain(report.swept.end)
        rings = f"{len(tasks)} {'would ring' if dry else 'rang'}"
        print(f"{begin} to {end}: {rings}, {report.swept.tasks:,} rows of the task lists were read")
