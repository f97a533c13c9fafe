"""Read the function's log, one line an event, as people do; with filters, and as it is written.

The log is one JSON object a line; what stands before the object (a pod's name, say) is left out, and what is none is
shown as it is, unless a filter is set. Without a FILE the standard input is read: kubectl logs -f … | vaultbell tail
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vaultbell import strict_json
from vaultbell.cli.consume import count
from vaultbell.cli.terminal import FileName, paint
from vaultbell.errors import InvalidEvent, SettingsError
from vaultbell.outcome import OutcomeName
from vaultbell.report import JSON, Object
from vaultbell.text import one_line

TICK_SECONDS = 0.2  # until a file is looked at again: nothing tells when it grows
ALARMING = {"warning": "warning", "error": "critical", "critical": "critical"}
# What has a place of its own in the readable form, or is for machines.
PLACED = ("time", "level", "message", "trace_id", "exception")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("file", metavar="FILE", nargs="?", default="-", action=FileName, help="the log")
    parser.add_argument("--follow", "-f", action="store_true", help="go on as it is written, and into its successor")
    parser.add_argument("--lines", metavar="N", type=count, help="begin with the last N of those that are shown")
    parser.add_argument(
        "--outcome",
        choices=[name.value for name in OutcomeName],
        metavar="OUTCOME",
        action="append",
        help="tasks of this outcome; may be repeated",
    )
    parser.add_argument(
        "--channel", metavar="NAME", action="append", help="tasks that this channel was told, or is owed; likewise"
    )
    parser.add_argument("--failed", action="store_true", help="what was not handled, and warnings and errors")
    parser.add_argument("--json", action="store_true", help="print the lines as they are")


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """0: it was read to its end."""
    del environ
    wanted = _Wanted(frozenset(options.outcome or ()), frozenset(options.channel or ()), options.failed, options.json)
    path = None if options.file == "-" else Path(options.file)
    follow = options.follow and path is not None  # the standard input is followed to its end anyhow
    with _opened(path) as log:
        begin = wanted.shown(_read(log, whole=follow))
        for line in deque(begin, options.lines) if options.lines else begin:
            print(line, flush=True)
        if path and follow:
            for line in wanted.shown(_followed(path, log)):
                print(line, flush=True)
    return 0


def _opened(path: Path | None) -> BinaryIO:
    try:
        return path.open("rb") if path else sys.stdin.buffer
    except OSError as error:
        raise SettingsError(f"the log cannot be read: {error.strerror}") from None


def _read(log: BinaryIO, *, whole: bool) -> Iterator[bytes]:
    """The lines up to the end; where only whole ones count, the beginning of one is left for another time."""
    while line := log.readline():
        if whole and not line.endswith(b"\n"):
            log.seek(-len(line), os.SEEK_CUR)
            return
        yield line


def _followed(path: Path, log: BinaryIO) -> Iterator[bytes]:
    """What is written from now on, here and in the file that takes this one's place."""
    while True:
        successor = _successor(path, log)
        yield from _read(log, whole=successor is None)
        if successor:
            log.close()
            log = successor
        else:
            time.sleep(TICK_SECONDS)


def _successor(path: Path, log: BinaryIO) -> BinaryIO | None:
    """The file that has taken this one's place, or this one from its beginning where it was emptied."""
    try:
        now, was = path.stat(), os.fstat(log.fileno())
        if (now.st_dev, now.st_ino) != (was.st_dev, was.st_ino) or now.st_size < log.tell():
            return path.open("rb")
    except FileNotFoundError:
        pass  # it is yet to come
    return None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be shown."""

    outcomes: frozenset[str]
    channels: frozenset[str]
    failed: bool
    as_json: bool

    def shown(self, lines: Iterator[bytes]) -> Iterator[str]:
        """The lines as they are to be printed."""
        for raw in lines:
            text = raw.decode(errors="replace").rstrip("\r\n")
            line = _object(text)
            if line is None:
                if not (self.outcomes or self.channels or self.failed or self.as_json):
                    yield one_line(text)
                continue
            tasks = [task for task in _tasks(line) if self._takes(line, task)]
            if self.as_json:
                yield from [json.dumps(line)] if tasks else []
                continue
            for task in tasks:
                yield _readable(line, task)
            if tasks and isinstance(trouble := line.get("exception"), str):
                yield from (f"    {one_line(row)}" for row in trouble.splitlines())

    def _takes(self, line: Object, task: Object) -> bool:
        told = {receipt.get("channel") for receipt in _objects(task.get("receipts"))} | set(_texts(task.get("owed")))
        if self.outcomes and task.get("outcome") not in self.outcomes:
            return False
        if self.channels and self.channels.isdisjoint(str(name) for name in told):
            return False
        return not self.failed or _has_failed(line, task)


def _has_failed(line: Object, task: Object) -> bool:
    if line.get("message") != "event" or task is line or "error" in task or "owed" in task:
        return line.get("level") in ALARMING
    return any(receipt.get("delivered") is False for receipt in _objects(task.get("receipts")))


def _object(text: str) -> Object | None:
    """The JSON object in a line, behind whatever a collector has put before it."""
    try:
        value = strict_json.loads(text[max(text.find('{"'), 0) :])
    except InvalidEvent:
        return None
    return value if isinstance(value, dict) else None


def _tasks(line: Object) -> list[Object]:
    """What an event's line says of each task; of one alone, the line itself does."""
    return _objects(line.get("tasks")) or [line]


def _objects(value: JSON) -> list[Object]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _texts(value: JSON) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _readable(line: Object, task: Object) -> str:
    level = str(line.get("level", ""))
    time_ = one_line(str(line.get("time", "-")), 24).replace("T", " ")
    words = "  ".join(_event(line, task) if line.get("message") == "event" else _message(line))
    return f"{time_}  {paint(f'{one_line(level, 8):7}', ALARMING.get(level))}  {words}"


def _message(line: Object) -> Iterator[str]:
    """Something that is no event: its words, and what belongs to them."""
    yield one_line(str(line.get("message", "")))
    for name, value in line.items():
        if name not in PLACED:
            yield one_line(f"{name}={value if isinstance(value, str) else json.dumps(value)}", 300)


def _event(line: Object, task: Object) -> Iterator[str]:
    """An event: its door and answer, what was found, what was done, and who was told."""
    door = f"{line.get('event', '-')} {line.get('status', '-')}"
    yield f"{one_line(door, 40):9}"
    if outcome := task.get("outcome"):
        severity = str(task.get("severity", ""))
        yield paint(f"{one_line(str(outcome), 20):10}", severity)
    for name in ("action", "task", "reason"):
        if text := task.get(name):
            yield one_line(str(text), 300)
    if isinstance(error := task.get("error"), dict):
        yield one_line(f"{error.get('code')}: {error.get('message')}", 300)
    if isinstance(swept := line.get("swept"), dict):
        yield one_line(f"swept {swept.get('from')} to {swept.get('until')}, {swept.get('tasks')} rows", 100)
    receipts = _objects(task.get("receipts"))
    if told := [str(receipt.get("channel")) for receipt in receipts if receipt.get("delivered")]:
        yield one_line(f"→ {', '.join(told)}")
    for receipt in receipts:
        if not receipt.get("delivered"):
            yield paint(one_line(f"✗ {receipt.get('channel')}: {receipt.get('error')}", 300), "critical")
    if owed := _texts(task.get("owed")):
        yield one_line(f"owed: {', '.join(owed)}")
    spent = line.get("ms")
    total = spent.get("total") if isinstance(spent, dict) else spent
    if isinstance(total, (int, float)):
        yield f"{total:g} ms"
