"""Hold a drill: tell the channels a message that says that it is one.

What it would open elsewhere is an incident of its own, which `--resolve` closes. Nothing is looked up, so that no
cloud has to be set; the routes are not asked.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import uuid4

from vaultbell import compose, settings
from vaultbell.budget import Budget
from vaultbell.channels.shown import RESOLVED
from vaultbell.cli.terminal import table
from vaultbell.delivery import deliver
from vaultbell.errors import SettingsError
from vaultbell.notification import VERBS, Notification
from vaultbell.outcome import OutcomeName
from vaultbell.report import Receipt
from vaultbell.routing import Selection
from vaultbell.settings import Settings
from vaultbell.text import one_line

# Not an outcome's type: who opens tickets for `cbr.task.failed` by a program is not to open one for this.
TYPE = "cbr.drill"
NAME = "no-such-server"
HEADLINES = {
    OutcomeName.STALE: f"No good backup of {NAME} for 26 h",
    OutcomeName.MISSING: "A task is missing",
    OutcomeName.UNVERIFIED: "Backups cannot be verified",
}
REASON = "this is only a drill, and no backup is concerned"
NEXT_STEP = "Nothing: this is only a drill."


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--channel", metavar="NAME", action="append", help="tell this one alone; may be repeated")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--outcome",
        choices=[name.value for name in OutcomeName],
        metavar="OUTCOME",
        help=f"what has happened in the drill: {', '.join(OutcomeName)} (default: failed)",
    )
    kind.add_argument("--resolve", action="store_true", help="tell that the drill is over: close what it has opened")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """0: each channel took it; 1: one of them refused it for good; 3: one was not reached."""
    found = settings.load(environ, looks=False)
    names = tuple(dict.fromkeys(options.channel or found.channels))
    if unknown := [name for name in names if name not in found.channels]:
        raise SettingsError(f"there is no channel {one_line(unknown[0], 64)}; there is {', '.join(found.channels)}")
    now, name = datetime.now(UTC), OutcomeName(options.outcome or OutcomeName.FAILED)
    told = over(found, now) if options.resolve else drill(found, name, now)
    receipts = deliver(told, Selection(names), compose.channels(found), Budget.of(found.time_budget)).receipts
    if options.json:
        shown = {"id": told.id, "type": told.type, "incident": told.incident, "headline": told.headline}
        print(json.dumps({**shown, "receipts": [receipt.as_json() for receipt in receipts]}, indent=2))
    else:
        _print(told, receipts)
    refused = [receipt for receipt in receipts if not receipt.delivered]
    return 0 if not refused else 1 if any(receipt.final for receipt in refused) else 3


def drill(found: Settings, name: OutcomeName, now: datetime) -> Notification:
    """The message of the drill. Each has an id of its own; their incident is one and the same."""
    headline = HEADLINES.get(name) or f"Backup of {NAME} {VERBS[name]}"
    return _notification(found, TYPE, name, found.outcomes.severity_of(name), headline, REASON, now)


def over(found: Settings, now: datetime) -> Notification:
    """The message that closes what a drill has opened: of the type by which every receiver knows an end."""
    name = OutcomeName.SUCCEEDED
    return _notification(
        found, RESOLVED, name, "info", f"Backup of {NAME} {VERBS[name]}", f"the end of it: {REASON}", now
    )


def _notification(
    found: Settings, kind: str, name: OutcomeName, severity: str, headline: str, reason: str, now: datetime
) -> Notification:
    project_id = found.projects[0].project_id if len(found.projects) == 1 else None
    incident = hashlib.sha256(f"{TYPE}\0{project_id or ''}".encode()).hexdigest()[:32]
    facts = {"operation_type": "backup", "resource_id": NAME, "resource_name": NAME, "next_step": NEXT_STEP}
    return Notification(
        id=f"msg_{uuid4().hex}",
        type=kind,
        timestamp=now,
        outcome=name.value,
        severity=severity,
        headline=f"Drill: {headline}",
        summary=f"Drill: {headline}: {reason}",
        reason=reason,
        incident=f"inc_{incident}",
        project_id=project_id,
        region=found.cloud.region,
        facts=facts,
        operation_log={"project_id": project_id} if project_id else {},
    )


def _print(told: Notification, receipts: Sequence[Receipt]) -> None:
    print(f"{told.headline} ({told.id})\n")
    print(*table([("channel", "taken", "status", "tries", "error"), *map(_row, receipts)]), sep="\n")


def _row(receipt: Receipt) -> tuple[str, ...]:
    taken, status = "yes" if receipt.delivered else "no", "" if receipt.status is None else str(receipt.status)
    return receipt.channel, taken, status, str(receipt.attempts), receipt.error or ""
