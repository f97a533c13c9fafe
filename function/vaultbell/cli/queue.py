"""Look at a queue's dead letters, move them back, or send an event to a queue."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from vaultbell.cli import consume
from vaultbell.cli.terminal import FileName, exit_statuses
from vaultbell.errors import SettingsError
from vaultbell.platforms.queue.broker import Broker, Link, connected
from vaultbell.platforms.queue.letter import DEAD_TIME, FIRST_TIME, REASON, REASON_TEXT, Letter, Message
from vaultbell.report import Object
from vaultbell.text import one_line

BODY_SHOWN = 10_000


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for action in (dead, redrive, send):
        summary = (action.__doc__ or "").partition("\n")[0]
        sub = actions.add_parser(
            action.__name__,
            help=summary,
            description=summary,
            epilog=exit_statuses(run),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        consume.place(sub)
        sub.set_defaults(action=action)
        if action is send:
            sub.add_argument(
                "--file", metavar="FILE", action=FileName, help="where the event stands (default: standard input)"
            )
            continue
        sub.add_argument("--limit", metavar="N", type=consume.count, help="the first N of them (default: all)")
        sub.add_argument("--json", action="store_true", help="print JSON")
        if action is redrive:
            sub.add_argument("--dry-run", action="store_true", help="show them only")


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """0: it is done; 3: the broker was not reached, or was lost."""
    del environ
    status: int = options.action(options, consume.broker(options))
    return status


def dead(options: argparse.Namespace, broker: Broker) -> int:
    """List what was given up, and why."""
    with connected(broker) as link:
        _show(dead_letters(link, broker, options.limit), broker, as_json=options.json)
    return 0


def redrive(options: argparse.Namespace, broker: Broker) -> int:
    """Move dead letters back to their queue, as if they had just been sent."""
    moved = 0
    with connected(broker) as link:
        letters = dead_letters(link, broker, options.limit)
        if options.dry_run:
            _show(letters, broker, as_json=options.json)
            return 0
        try:
            for message in letters:
                link.publish(broker.queue, Letter.of(message).unmarked())
                message.ack()
                moved += 1
        finally:
            told = json.dumps({"moved": moved}) if options.json else f"moved back to {broker.queue}: {moved}"
            print(told)
    return 0


def send(options: argparse.Namespace, broker: Broker) -> int:
    """Put an event into a queue."""
    try:
        body = Path(options.file).read_bytes() if options.file else sys.stdin.buffer.read()
    except OSError as error:
        raise SettingsError(f"the event cannot be read: {error.strerror}") from None
    with connected(broker) as link:
        link.publish(broker.queue, Letter(body, "application/json"))
    return 0


def dead_letters(link: Link, broker: Broker, limit: int | None) -> Iterator[Message]:
    """The dead letters, no more than there were at the beginning: one that is moved back may die again meanwhile."""
    number = link.size(broker.dead)
    for _ in range(min(limit or number, number)):
        if message := link.get(broker.dead):
            yield message


def _show(letters: Iterator[Message], broker: Broker, *, as_json: bool) -> None:
    rows = [row_of(message) for message in letters]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row['time']}  {row['code']}: {row['message']} (attempts: {row['attempts']})")
        print(f"    {one_line(str(row['body']), 200)}")
    print(f"{broker.dead}: {len(rows)}")


def row_of(message: Message) -> Object:
    """A dead letter in words."""
    letter = Letter.of(message)
    row: Object = {"attempts": letter.attempts, "body": letter.body.decode(errors="replace")[:BODY_SHOWN]}
    names = {"time": DEAD_TIME, "first_time": FIRST_TIME, "code": REASON, "message": REASON_TEXT}
    row |= {key: one_line(str(letter.headers.get(name, "-"))) for key, name in names.items()}
    if row["code"] == "-":  # the broker itself has given it up, and writes down why
        reason = one_line(str(message.headers.get("x-first-death-reason", "-")))
        row |= {"code": reason, "message": "given up by the broker"}
    return row
