"""The log for the eye (`VAULTBELL_LOG_FORMAT=text`): a line an event; coloured on a terminal that knows colours."""

from __future__ import annotations

import json
import logging
import re
import time

from vaultbell.report import JSON
from vaultbell.telemetry import fields

COLOURS = {"WARNING": "33", "ERROR": "31", "CRITICAL": "31"}
_BARE = re.compile(r"[^\s\"=\[\]{}]+")


class Lines(logging.Formatter):
    """Time (UTC), level, message, and the fields as `name=value`. Nothing in it can begin another line."""

    def __init__(self, *, coloured: bool = False) -> None:
        super().__init__()
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """The line; that of an exception is followed by its traceback, moved to the right."""
        found = fields(record)
        traceback = str(found.pop("exception", ""))
        at = time.strftime("%H:%M:%S", time.gmtime(record.created))
        level = f"{record.levelname:7}"
        if self._coloured and record.levelname in COLOURS:
            level = f"\033[{COLOURS[record.levelname]}m{level}\033[0m"
        words = [_inert(record.getMessage()), *_pairs(found)]
        line = f"{at} {level} {' '.join(words)}"
        return "\n    ".join([line, *map(_inert, traceback.splitlines())])


def _pairs(values: dict[str, JSON]) -> list[str]:
    return [f"{name}={_shown(value)}" for name, value in values.items() if value is not None]


def _shown(value: JSON) -> str:
    match value:
        case str():
            text = _inert(value)
            return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)
        case dict():
            return f"{{{' '.join(_pairs(value))}}}"
        case list():
            return f"[{', '.join(map(_shown, value))}]"
    return json.dumps(value)


def _inert(text: str) -> str:
    """The text with every character that is not seen, or that turns what follows it, told by its number."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
