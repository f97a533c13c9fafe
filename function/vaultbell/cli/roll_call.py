"""Make a roll call: tell the channels with `roll_call: true` how all backups of the last whole period went.

With --dry-run nobody is told, and the message is printed; that works also where no channel wants one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from vaultbell import compose, observability, roll_call, settings, tracing
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.channels import email, formats
from vaultbell.channels.formats.post import Options
from vaultbell.cli import preview, saved
from vaultbell.cli.terminal import Progress, inert
from vaultbell.errors import SettingsError
from vaultbell.events import RollCall
from vaultbell.handling import Handling
from vaultbell.notification import Notification
from vaultbell.report import Object, Report
from vaultbell.sources import plain, timer

SECONDS = 600.0
NOBODY = "nobody"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--period", metavar="TIME", help="24h, 7d (default: VAULTBELL_ROLL_CALL, which is 24h)")
    parser.add_argument("--project", metavar="ID", help="of this project (default: each of VAULTBELL_PROJECTS)")
    parser.add_argument("--dry-run", action="store_true", help="tell nobody, and print what would be told")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """0: all went well; 1: something did not, or has no backup; 3: not all was read, or told to all who want it."""
    period = None if options.period is None else timer.duration(options.period, "--period")
    if period == timedelta():
        raise SettingsError("--period is nothing: 24h, say, or 7d")
    asked = RollCall(period=period, project_id=plain.project_id(options.project))
    found = settings.load(environ, tells=not options.dry_run)
    bell = compose.bell(found)
    if not options.dry_run and not bell.roll_call:
        raise SettingsError("nobody wants a roll call: give a channel `roll_call: true`, or see it with --dry-run")
    heard = saved.Heard()
    report = _called(_for_nobody(bell, heard) if options.dry_run else saved.overheard(bell, heard), asked)
    if report.status == 403 and (refused := report.results[0].error):
        raise SettingsError(refused[1])
    told = next((told for told in heard.values() if told.type == roll_call.TYPE), None)
    zone = ZoneInfo(found.tz) if found.tz else None
    if options.json:
        print(json.dumps(_as_json(told, report, zone, dry=options.dry_run), indent=2))
    else:
        _print(told, report, zone, dry=options.dry_run)
    if report.status != 200:
        return 3
    return int(told is None or told.severity != "info")


def _for_nobody(bell: Bell, heard: saved.Heard) -> Bell:
    silent = saved.silent(bell)
    wanted = bell.roll_call or frozenset((NOBODY,))
    return saved.overheard(
        replace(silent, channels={**silent.channels, NOBODY: saved.Nobody()}, roll_call=wanted), heard
    )


def _called(bell: Bell, asked: RollCall) -> Report:
    budget, bar = Budget.of(SECONDS), Progress("tasks read")
    observability.subscribe(bell.channels)
    with tracing.event("command") as event:
        event.begun(None, budget)
        try:
            lines = roll_call.call(Handling(bell, replace(bell.cbr, watch=bar.show), budget, leave=True), asked)
        finally:
            bar.clear()
        report = Report(tuple(line.result for line in lines), batch=True)
        event.note(status=report.status, report=report)
    return report


def _as_json(told: Notification | None, report: Report, zone: tzinfo | None, *, dry: bool) -> Object:
    message = json.loads(formats.of("default")(told, Options(zone=zone), datetime.now(UTC)).body) if told else None
    return {"message": message, **saved.report_as_json(report, dry=dry)}


def _print(told: Notification | None, report: Report, zone: tzinfo | None, *, dry: bool) -> None:
    if told and dry:
        text = email.compose(told, preview.FROM, preview.TO, zone).get_body(("plain",))
        print(inert(text.get_content() if text else told.summary))
    heard = {told.incident: told} if told else {}
    for result in report.results:
        if result.error or not dry:
            print(saved.line_of(result, heard))
