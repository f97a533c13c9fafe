"""JSON from strangers: UTF-8 (a byte-order mark is allowed), no key twice, no NaN, no bottomless nesting."""

from __future__ import annotations

import json
from typing import NoReturn

from vaultbell.errors import InvalidEvent
from vaultbell.report import JSON, Object

DEEPEST = 64  # events lie a few levels deep; what Python itself would bear depends on who asks
MOST = 200_000  # commas, and twice the objects and lists: what takes many times the room of its text


def loads(body: bytes | str) -> JSON:
    """The value in `body`; InvalidEvent (400) where it is not JSON, without a word of what stood in it."""
    try:
        text = body if isinstance(body, str) else body.decode("utf-8-sig")
        holders = text.count("{") + text.count("[")
        if text.count(",") + 2 * holders > MOST:
            raise InvalidEvent("the JSON has too many values", status=413, code="too_large")
        value: JSON = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
        if holders > DEEPEST:  # else it cannot be deeper
            _measure(value)
    except UnicodeDecodeError:
        raise InvalidEvent("the body is not UTF-8", code="not_json") from None
    except RecursionError:
        raise InvalidEvent("the JSON is nested too deeply", code="not_json") from None
    except ValueError:  # also what `int` says of a number of thousands of digits
        raise InvalidEvent("the body is not JSON", code="not_json") from None
    return value


def _measure(value: JSON) -> None:
    """Raise RecursionError, as `json` itself does at a depth that is not ours to choose, where it is nested deeper."""
    level = [value]
    for _ in range(DEEPEST + 1):
        holders = [item for item in level if isinstance(item, (dict, list))]
        if not holders:
            return
        level = [item for holder in holders for item in (holder.values() if isinstance(holder, dict) else holder)]
    raise RecursionError


def _unique(pairs: list[tuple[str, JSON]]) -> Object:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidEvent("the JSON has a key twice in one object", code="not_json")
    return found


def _refuse(_constant: str) -> NoReturn:
    raise ValueError
