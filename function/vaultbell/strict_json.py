"""JSON from strangers: UTF-8 (a byte-order mark is allowed), no key twice, no NaN, no bottomless nesting."""

from __future__ import annotations

import json
from typing import NoReturn

from vaultbell.errors import InvalidEvent
from vaultbell.report import JSON, Object


def loads(body: bytes | str) -> JSON:
    """The value in `body`; InvalidEvent (400) where it is not JSON, without a word of what stood in it."""
    try:
        text = body if isinstance(body, str) else body.decode("utf-8-sig")
        value: JSON = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except UnicodeDecodeError:
        raise InvalidEvent("the body is not UTF-8", code="not_json") from None
    except RecursionError:
        raise InvalidEvent("the JSON is nested too deeply", code="not_json") from None
    except ValueError:  # also what `int` says of a number of thousands of digits
        raise InvalidEvent("the body is not JSON", code="not_json") from None
    return value


def _unique(pairs: list[tuple[str, JSON]]) -> Object:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidEvent("the JSON has a key twice in one object", code="not_json")
    return found


def _refuse(_constant: str) -> NoReturn:
    raise ValueError
