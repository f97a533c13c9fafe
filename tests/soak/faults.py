"""What goes wrong: by seed, place and subject, so that a request meets the same fault in every run."""

from __future__ import annotations

import hashlib
from bisect import bisect
from collections.abc import Mapping
from itertools import accumulate

MOST = 8  # requests of one subject at one place that may go wrong: nothing fails for ever by chance

# by place: how often, and the kinds with their weights. `world.py` knows what they mean.
SAID = {"503": 18, "500": 8, "502": 8, "429": 8, "429 long": 2, "429 date": 2}
WIRE = {"reset": 10, "cut head": 6, "garbage": 4, "hang": 1.5, "crawl": 1, "stroll": 5}
BODY = {"cut body": 10, "late body": 1.5, "not JSON": 6, "empty": 4}
FAULTS: Mapping[str, tuple[float, Mapping[str, float]]] = {
    "show": (0.06, {**SAID, **WIRE, **BODY, "wrong id": 4, "expired": 8, "auth 500": 4}),
    "list": (0.06, {**SAID, **WIRE, **BODY, "expired": 8}),
    "iam": (0.15, {**SAID, **WIRE, **BODY, "no token": 6}),
    "hook": (0.06, {**SAID, **WIRE, "408": 4, "425": 4, "cut body": 6, "late body": 1.5}),
    "shaky": (0.4, {**SAID, **WIRE, "408": 4}),
    "greeting": (0.03, {"421": 8, "reset": 6, "hang": 0.5, "garbage": 3, "stroll": 4}),
    "mail": (0.05, {"451": 10, "452": 6, "421": 6, "reset": 8, "hang": 1, "garbage": 2, "stroll": 4}),
    "name": (0.03, {"again": 12, "not found": 8, "hang": 1}),
}
_TABLES = {place: (rate, list(kinds), list(accumulate(kinds.values()))) for place, (rate, kinds) in FAULTS.items()}


def fault(seed: int, place: str, subject: str, turn: int) -> str | None:
    """What befalls a subject's request number `turn` (from 0 on) at a place, if anything does."""
    rate, kinds, sums = _TABLES[place]
    if turn >= MOST:
        return None
    drawn = hashlib.blake2b(f"{seed} {place} {subject} {turn}".encode(), digest_size=8).digest()
    if int.from_bytes(drawn[:4]) / 2**32 >= rate:
        return None
    return kinds[bisect(sums, int.from_bytes(drawn[4:]) / 2**32 * sums[-1])]
