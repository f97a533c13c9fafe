"""Look whether everything is in order: the settings, the cloud, each channel, and what else is set. Nobody is told.

Looked at are the settings and the files of secrets; the log-in, the task list and one task, the vaults and policies
where they are asked for, the cloud's certificates and clock; each channel's address and certificate (of a mail server
also the log-in; no mail is sent); the heartbeat's address, which is not called; the topics of SMN and its host, the
shared store, the proxies, what the platform tells of itself, and, with --queue, the broker. A line says for each how it
stands, and what to do.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from vaultbell import compose, settings
from vaultbell.budget import Budget
from vaultbell.cli import consume
from vaultbell.cli.checks import Check, Finding, Level, cloud, failure, here, ok, stores, ways
from vaultbell.cli.terminal import Progress, paint
from vaultbell.errors import SettingsError, VaultbellError
from vaultbell.settings import Settings
from vaultbell.telemetry import LOG
from vaultbell.text import one_line

SECONDS = 15.0  # for each check; they are made side by side
GRACE_SECONDS = 1.0  # for what the budget does not bind
LEVELS = tuple(Level)
SETTINGS = "Correct it: the README has a table of what can be set."
NOT_IN_TIME = "See whether the other side hangs, or a firewall drops what is sent to it."


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--queue", metavar="URL", help="the address of the consumer's broker, or a file that holds it")
    parser.add_argument("--name", metavar="NAME", help="with --queue: the queue's name; its dead letters are counted")
    parser.add_argument("--offline", action="store_true", help="ask nobody: look at the settings and the files alone")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """0: all is in order, or there are warnings alone; 1: something does not work."""
    findings: list[Finding] = []
    found: Settings | None = None
    try:
        found = settings.load(environ)
    except SettingsError as error:
        findings += [failure("settings", line, SETTINGS) for line in error.message.splitlines()]
    else:
        findings.append(ok("settings", _summary(found)))
    findings += here.files(environ, found)
    if found:
        findings += [*here.door(found), *here.proxies(found), *here.platform(environ, found)]
    if not options.offline:
        findings += _side_by_side([*_checks(found), *_queue(options)], SECONDS)
    worst = max((finding.level for finding in findings), key=LEVELS.index)
    if options.json:
        print(json.dumps({"level": worst.value, "findings": [finding.as_json() for finding in findings]}, indent=2))
    else:
        for finding in findings:
            print(_line(finding))
    return int(worst is Level.FAILURE)


def _summary(found: Settings) -> str:
    projects = ", ".join(project.project_id for project in found.projects) or str(found.cloud.project_name)
    return f"valid: channels {', '.join(found.channels)}; {len(found.routes)} route(s); project {projects}"


def _checks(found: Settings | None) -> Iterator[Check]:
    if found:
        yield from cloud.checks(compose.bell(found), found)
        yield from ways.checks(found)
        if found.seen_url:
            yield stores.store(found.seen_url.get_secret_value())


def _queue(options: argparse.Namespace) -> Iterator[Check]:
    if options.queue:
        broker = consume.broker(argparse.Namespace(url=options.queue, queue=options.name or "vaultbell"))
        yield from stores.queue(broker, options.name)
    elif options.name:
        raise SettingsError("--name names a queue of the broker that --queue gives")


def _side_by_side(checks: Sequence[Check], seconds: float) -> list[Finding]:
    """What each check finds. One that does not end is left alone in time, and what it had found counts."""
    findings: list[list[Finding]] = [[] for _ in checks]
    budget = Budget(time.monotonic() + seconds)
    threads = [
        threading.Thread(target=_look, args=(check, budget, into), daemon=True)
        for check, into in zip(checks, findings, strict=True)
    ]
    for thread in threads:
        thread.start()
    bar = Progress("checks made")
    for done, thread in enumerate(threads):
        bar.show(done, len(threads))
        thread.join(max(0.0, budget.left + GRACE_SECONDS))
    bar.clear()
    late = f"it has not come to an end within {seconds:g} s"
    return [
        finding
        for check, into, thread in zip(checks, findings, threads, strict=True)
        for finding in (*into, *([failure(check.thing, late, NOT_IN_TIME)] if thread.is_alive() else []))
    ]


def _look(check: Check, budget: Budget, into: list[Finding]) -> None:
    try:
        for finding in check.look(budget):
            into.append(finding)  # one by one: what was found counts, should the rest hang
    except VaultbellError as error:
        into.append(failure(check.thing, error.message, check.to_do))
    except Exception as error:  # noqa: BLE001 - one check must not cost the others
        LOG.exception("an error of Vaultbell itself")
        into.append(failure(check.thing, f"an error of Vaultbell itself: {type(error).__name__}", "Report it."))


def _line(finding: Finding) -> str:
    level = paint(f"{finding.level.value:8}", finding.level.value)
    to_do = f" → {one_line(finding.to_do)}" if finding.to_do else ""
    return f"{level} {one_line(finding.thing)}: {one_line(finding.words)}{to_do}"
