"""What is written down: one line of JSON an event, and never a secret.

| level | what it says |
| --- | --- |
| DEBUG | nothing at present |
| INFO | handled: told, or there was nothing to tell |
| WARNING | it comes again, or was refused; or a channel was not reached, and another stood in for it |
| ERROR | somebody has to act: the cloud or a channel refuses us for good, a rule is broken, or Vaultbell is |

An event's line: `event` is the door that it came by; `status` what it was answered, as HTTP has it; `task`, `outcome`,
`action`, `receipts` and the like as in the report, for several tasks in a list, `tasks`; `ms` the milliseconds of each
stage (`receive`, `decode`, `look_up`, `deliver`, `sweep`) and in `total`. Each line that is written while an event is
handled has its `trace_id` (W3C Trace Context).
"""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import suppress
from functools import lru_cache
from typing import TextIO

from vaultbell import tracing
from vaultbell.errors import InvalidEvent, Transient
from vaultbell.report import JSON, Object, Report, Result

LOG = logging.getLogger("vaultbell")
ACT = (424, 500)  # answers that somebody has to do something about


class JsonLines(logging.Formatter):
    """One JSON object a line. Control characters are escaped by JSON, so no line can be forged."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: Object = {
            "time": f"{_second(int(record.created))}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **fields(record),
        }
        return json.dumps(line)


def fields(record: logging.LogRecord) -> Object:
    """What a line says besides its time, level and message."""
    found: Object = dict(getattr(record, "fields", {}))
    if here := tracing.here():
        found["trace_id"] = here.trace.trace_id
    if record.exc_info:
        found["exception"] = logging.Formatter().formatException(record.exc_info)
    return found


@lru_cache(maxsize=2)
def _second(since_1970: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since_1970))


class _Stream(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Nowhere to write (a full disk, a closed stream) costs the line, and never the event."""
        with suppress(OSError, ValueError):
            super().handleError(record)


def start(level: str = "INFO", formatter: logging.Formatter | None = None) -> None:
    """Write the log to standard error, as JSON unless another formatter is given. Called once a process, or again."""
    LOG.setLevel(level)
    LOG.propagate = False
    if not LOG.handlers:
        LOG.addHandler(_Stream(sys.stderr))
    LOG.handlers[0].setFormatter(formatter or JsonLines())


def log(level: int, message: str, **fields: object) -> None:
    """One line, with its fields."""
    if LOG.isEnabledFor(level):  # `LOG.log` would look for the line of code that calls it, which is not shown
        LOG.handle(LOG.makeRecord(LOG.name, level, "", 0, message, (), None, extra={"fields": fields}))


def log_report(door: str, report: Report | InvalidEvent | Transient) -> None:
    """The line of one event: by which door it came, what was found, and what was done. Listeners hear of it as well."""
    status = 503 if isinstance(report, Transient) else report.status
    here = tracing.here()
    if here:
        here.note(door=door, status=status, report=report)
    level = logging.ERROR if status in ACT else logging.INFO if _all_is_well(report) else logging.WARNING
    if LOG.isEnabledFor(level):
        ms = {"ms": _milliseconds(here)} if isinstance(here, tracing.Event) else {}
        log(level, "event", event=door, status=status, **_found(report), **ms)


def log_crash(error: Exception, message: str = "an error of Vaultbell itself", status: int = 500) -> None:
    """An error of Vaultbell's own, or the server's, that has cost an event; `status` is what that was answered."""
    LOG.error(message, exc_info=error)
    if here := tracing.here():
        here.note(status=status)


def _all_is_well(report: Report | InvalidEvent | Transient) -> bool:
    if not isinstance(report, Report) or report.status != 200:
        return False
    return all(receipt.delivered for result in report.results for receipt in result.receipts)


def _found(report: Report | InvalidEvent | Transient) -> Object:
    if not isinstance(report, Report):
        return {"error": {"code": report.code, "message": report.message}}
    swept: Object = {"swept": report.swept.as_json()} if report.swept else {}
    if len(report.results) == 1:
        return _task(report.results[0]) | swept
    tasks: list[JSON] = [_task(result) for result in report.results]
    return {"tasks": tasks} | swept


def _task(result: Result) -> Object:
    line = result.as_json()
    task = line.pop("operation_log_id", None)
    return {"task": task, **line} if task else line


def _milliseconds(event: tracing.Event) -> Object:
    stages: Object = {name: round(seconds * 1_000, 1) for name, seconds in event.stages.items()}
    return stages | {"total": round(event.so_far * 1_000, 1)}
