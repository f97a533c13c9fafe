"""What is written down: one line of JSON an event, and never a secret."""

from __future__ import annotations

import json
import logging
import sys
import time

from vaultbell.errors import InvalidEvent, Transient
from vaultbell.report import Object, Report

LOG = logging.getLogger("vaultbell")


class _JsonLines(logging.Formatter):
    """One JSON object a line. Control characters are escaped by JSON, so no line can be forged."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        line: Object = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line |= fields
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def start(level: str = "INFO") -> None:
    """Write the log to standard error. Called once a process; a second call changes nothing but the level."""
    LOG.setLevel(level)
    LOG.propagate = False
    if not LOG.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_JsonLines())
        LOG.addHandler(handler)


def log(level: int, message: str, **fields: object) -> None:
    """One line, with its fields."""
    if LOG.isEnabledFor(level):  # `LOG.log` would look for the line of code that calls it, which is not shown
        LOG.handle(LOG.makeRecord(LOG.name, level, "", 0, message, (), None, extra={"fields": fields}))


def log_report(door: str, report: Report | InvalidEvent | Transient, seconds: float | None = None) -> None:
    """The line of one event: by which door it came, what was found, and what was done."""
    if not isinstance(report, Report):
        log(logging.WARNING, "event", event=door, status=report.status, code=report.code, error=report.message)
        return
    level = logging.INFO if report.status == 200 else logging.WARNING
    took = None if seconds is None else round(seconds * 1_000, 1)
    log(level, "event", event=door, status=report.status, ms=took, **report.as_json())
