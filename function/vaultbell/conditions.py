"""Conditions on what is counted or measured: `>=2`, `<26h`. What is known only in part may fit one, or may not."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from vaultbell import times
from vaultbell.past import NEVER, OR_MORE

_CONDITION = re.compile(r"(>=|<=|>|<|=|)\s*([0-9.]+[smhd]?)", re.ASCII)


def _count(text: str) -> float:
    if not re.fullmatch("[0-9]{1,4}", text):
        raise ValueError("a whole number is wanted, alone or after >=, >, <=, < or =")
    return int(text)


def _seconds(text: str) -> float:
    if (length := times.length(text)) is None:
        raise ValueError("a duration (90s, 15m, 26h, 7d) is wanted, alone or after >=, >, <=, < or =")
    return length.total_seconds()


# The fields that are compared, and how a number of theirs is written.
FIELDS: Mapping[str, Callable[[str], float]] = {"failures_in_row": _count, "last_good_age": _seconds}


@lru_cache(maxsize=512)
def read(field: str, text: str) -> tuple[str, float]:
    """The comparison and the number of a condition. Raises ValueError, whose words say what is wanted."""
    found = _CONDITION.fullmatch(text.strip())
    return (found[1] or "=", FIELDS[field](found[2])) if found else ("", FIELDS[field](""))


def fits(field: str, wanted: Sequence[str], had: str | None) -> bool | None:
    """Whether one of the conditions holds for a fact; None: it may or may not, as far as is known.

    A fact is a number; `12+`, at least that many; `never`, more than any; or None: nothing is known.
    """
    found = [_holds(*read(field, text), *_range(had)) for text in wanted]
    return True if True in found else None if None in found else False


def _range(had: str | None) -> tuple[float, float]:
    if had is None:
        return 0.0, math.inf
    if had == NEVER:
        return math.inf, math.inf
    least = float(had.removesuffix(OR_MORE))
    return least, math.inf if had.endswith(OR_MORE) else least


def _holds(comparison: str, number: float, least: float, most: float) -> bool | None:
    """Whether the comparison holds for everything between the two, for some of it (None), or for nothing."""
    match comparison:
        case ">=":
            every, some = least >= number, most >= number
        case ">":
            every, some = least > number, most > number
        case "<=":
            every, some = most <= number, least <= number
        case "<":
            every, some = most < number, least < number
        case _:
            every, some = least == most == number, least <= number <= most
    return True if every else None if some else False
