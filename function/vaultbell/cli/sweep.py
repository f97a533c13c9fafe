"""Look through the task lists for what ended badly, and ring for it as a timer's tick would."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TextIO

from vaultbell import compose, settings, sweeping, times
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.channels import Channel, Taken
from vaultbell.events import Sweep
from vaultbell.handling import Handling
from vaultbell.notification import Notification
from vaultbell.outcome import OutcomeName
from vaultbell.report import Object, Report
from vaultbell.sources import plain, timer
from vaultbell.text import one_line

SECONDS = 600.0
FINEST = timedelta(seconds=1)
BAR = 30


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
    bell = _overheard(compose.bell(settings.load(environ, tells=not options.dry_run)), heard, dry=options.dry_run)
    budget = Budget.of(SECONDS)
    bar = _Bar(sys.stderr)
    handling = Handling(bell, replace(bell.cbr, watch=bar.show), budget, leave=True)
    try:
        handling.allowed(asked.project_id)
        lines, swept = sweeping.sweep(handling, asked)
    finally:
        bar.clear()
    report = Report(tuple(line.result for line in lines), batch=True, swept=swept)
    if report.status == 200:
        bell.heartbeat(budget)
    if options.json:
        print(json.dumps(_as_json(report, dry=options.dry_run), indent=2))
    else:
        _print(report, heard, dry=options.dry_run)
    return 3 if report.status != 200 else 1 if report.results else 0


class _Overheard:
    """A channel whose messages are noted down by their task. In a dry run there is none behind it."""

    def __init__(self, heard: dict[str, str], channel: Channel | None) -> None:
        self._heard = heard
        self._channel = channel

    def send(self, notification: Notification, budget: Budget) -> Taken:
        """Tell it once, as any channel does."""
        self._heard[notification.facts.get("operation_log_id", "")] = notification.summary
        return self._channel.send(notification, budget) if self._channel else Taken()


def _overheard(bell: Bell, heard: dict[str, str], *, dry: bool) -> Bell:
    channels = {name: _Overheard(heard, None if dry else channel) for name, channel in bell.channels.items()}
    bell = replace(bell, channels=channels)
    return replace(bell, heartbeat=lambda _budget: None, digest_over={}) if dry else bell


class _Bar:
    """How far a list of several pages has been read; shown on a terminal alone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream if stream.isatty() else None
        self._width = 0

    def show(self, read: int, count: int | None) -> None:
        """So many rows lie behind, of so many, if that is known."""
        whole = max(count or 0, read)
        if self._stream and (self._width or read < whole or count is None):
            done = BAR * read // max(whole, 1)
            line = f"[{'#' * done}{'.' * (BAR - done)}] {read:,} of {whole:,} tasks read"
            self._stream.write("\r" + line.ljust(self._width))
            self._stream.flush()
            self._width = len(line)

    def clear(self) -> None:
        """Leave the line empty."""
        if self._stream and self._width:
            self._stream.write(f"\r{' ' * self._width}\r")
            self._stream.flush()


def _as_json(report: Report, *, dry: bool) -> Object:
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


def _print(report: Report, heard: Mapping[str, str], *, dry: bool) -> None:
    tasks = [result for result in report.results if result.outcome and result.outcome != OutcomeName.UNVERIFIED]
    for result in tasks:
        words = heard.get(result.operation_log_id or "") or result.reason or ""
        told = ", ".join(receipt.channel for receipt in result.receipts if receipt.delivered)
        print(f"{result.outcome:10} {result.operation_log_id or '-'}  {one_line(words)}{f' → {told}' if told else ''}")
    for result in report.results:
        if result.error:
            print(f"vaultbell: {result.error[1]}", file=sys.stderr)
    if report.swept:
        begin, end = times.plain(report.swept.start), times.plain(report.swept.end)
        rings = f"{len(tasks)} {'would ring' if dry else 'rang'}"
        print(f"{begin} to {end}: {rings}, {report.swept.tasks:,} rows of the task lists were read")
