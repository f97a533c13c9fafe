"""Handle saved events again, or a queue's dead letters: look up, judge and tell, as when they first came.

A file holds one event as JSON, a list of them, or one on each line; {"headers": …, "body": …} where headers belong to
it; - is the standard input. Whoever has the file is trusted.

Of the dead letters, those that are handled now are acknowledged, and so are gone. All others stay where they are, each
with the reason that it had. No more are taken than there were at the beginning.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vaultbell import compose, pipeline, settings
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.cli import consume, queue, saved
from vaultbell.cli.terminal import FileName, Progress
from vaultbell.errors import InvalidEvent, SettingsError
from vaultbell.events import Event
from vaultbell.platforms.queue.broker import connected
from vaultbell.platforms.queue.letter import Letter
from vaultbell.report import JSON, Action, Object, Report, Result
from vaultbell.telemetry import LOG
from vaultbell.text import one_line

PASSES = (500, 503)  # what could not be found out or told, and may be another time


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("files", metavar="FILE", nargs="*", action=FileName, help="saved events")
    parser.add_argument("--dead-letters", metavar="URL", help="the broker's address, or a file that holds it")
    parser.add_argument("--queue", metavar="NAME", help="the queue whose dead letters are meant: those in NAME.dead")
    parser.add_argument("--limit", metavar="N", type=consume.count, help="the first N events alone (default: all)")
    parser.add_argument(
        "--dry-run", action="store_true", help="tell nobody, leave all where it is; say what would be told"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """0: each event is handled; 1: one was refused for good; 3: one was not found out, or not told."""
    if bool(options.files) == bool(options.dead_letters) or bool(options.dead_letters) != bool(options.queue):
        raise SettingsError("either FILEs are wanted, or --dead-letters and --queue")
    found = settings.load(environ, tells=not options.dry_run)
    heard: saved.Heard = {}
    bell = compose.bell(found)
    bell = saved.overheard(saved.silent(bell) if options.dry_run else bell, heard)
    if options.dead_letters:
        work = _dead_letters(bell, found.time_budget, options)
    else:
        work = _files(bell, found.time_budget, options)
    done: list[_Done] = []
    bar = Progress("events handled")
    try:
        for one, total in work:
            done.append(one)
            bar.show(len(done), total)
    except BaseException:  # somebody, or the broker, has ended it half-way
        bar.clear()
        if done:
            _show(done, heard, options)
        raise
    bar.clear()
    _show(done, heard, options)
    return max((one.status for one in done), default=0)


@dataclass(frozen=True, slots=True)
class _Done:
    """What became of an event. `why` is the reason for which it was a dead letter."""

    where: str
    report: Report
    why: str | None = None

    @property
    def status(self) -> int:
        """The exit status that it alone would have."""
        if self.report.status == 200:
            return 3 if any(result.action is Action.LEFT for result in self.report.results) else 0
        return 3 if self.report.status in PASSES else 1


Work = Iterator[tuple[_Done, int]]  # and of how many it is one


def _files(bell: Bell, seconds: float, options: argparse.Namespace) -> Work:
    held = {path: saved.events_in(saved.read(path, f"the file {path}")) for path in dict.fromkeys(options.files)}
    events = [
        (f"{path}:{number}" if len(contents) > 1 else path, content)
        for path, contents in held.items()
        for number, content in enumerate(contents, start=1)
    ][: options.limit]
    for where, content in events:
        yield _Done(where, _handled(bell, content, seconds)), len(events)


def _dead_letters(bell: Bell, seconds: float, options: argparse.Namespace) -> Work:
    broker = consume.broker(argparse.Namespace(url=options.dead_letters, queue=options.queue))
    with connected(replace(broker, heartbeat=0)) as link:  # handling an event may take longer than a heartbeat
        number = link.size(broker.dead)
        total = min(options.limit or number, number)
        for place, message in enumerate(queue.dead_letters(link, broker, options.limit), start=1):
            letter = Letter.of(message)
            report = _handled(bell, letter.event, seconds)
            done = _Done(f"{broker.dead} {place}", report, str(queue.row_of(message)["code"]))
            if done.status == 0 and not options.dry_run:
                message.ack()
            yield done, total


def _handled(bell: Bell, event: Event | bytes, seconds: float) -> Report:
    try:
        event = saved.event_of(event) if isinstance(event, bytes) else event
        return pipeline.handle(bell, event, Budget.of(seconds))
    except InvalidEvent as error:
        return Report((Result.rejected(error),))
    except Exception:  # noqa: BLE001 - one event, dead of just this perhaps, must not keep us from the others
        LOG.exception("an error of Vaultbell itself")
        return Report((Result(Action.RETRY, 500, error=("internal", "an error of Vaultbell itself")),))


def _show(done: Sequence[_Done], heard: saved.Heard, options: argparse.Namespace) -> None:
    summary = _summary(done, dry=options.dry_run)
    if options.json:
        events: list[JSON] = [
            {"event": one.where, "dead_letter": one.why, **saved.report_as_json(one.report, dry=options.dry_run)}
            for one in done
        ]
        print(json.dumps({"events": events, "summary": summary}, indent=2))
        return
    for one in done:
        for result in one.report.results:
            print(f"{one_line(one.where)}{f' ({one.why})' if one.why else ''}: {saved.line_of(result, heard)}")
    if done:
        print()
    for name, value in summary.items():
        counts = ", ".join(f"{key} {count}" for key, count in value.items()) if isinstance(value, dict) else str(value)
        print(f"{name:9} {counts or '-'}")


def _summary(done: Sequence[_Done], *, dry: bool) -> Object:
    """How many events there were, and what became of their tasks."""
    results = [result for one in done for result in one.report.results]
    events = Counter({0: "handled", 1: "refused", 3: "unhandled"}[one.status] for one in done)
    told = Counter(receipt.channel for result in results for receipt in result.receipts if receipt.delivered)
    summary: Object = {
        "events": len(done),
        **events,
        "outcomes": {**Counter(result.outcome for result in results if result.outcome)},
        "actions": {**Counter(result.action.value for result in results)},
        "told": {**told},
        "owed": {**Counter(name for result in results for name in result.owed)},
    }
    if dry:
        summary["would tell"] = summary.pop("told")
        del summary["actions"]
    return summary
