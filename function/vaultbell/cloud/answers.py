"""What an answer of the cloud means, and how often a question is put again."""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

from vaultbell import retry_after
from vaultbell.budget import Budget
from vaultbell.errors import Misconfigured, Transient, VaultbellError
from vaultbell.report import Object
from vaultbell.text import one_line
from vaultbell.transport import Answer

T = TypeVar("T")

TRIES = 3
TRY_SECONDS = 10.0
PAUSES = (0.2, 0.8)  # seconds before the second and the third try, each ± half
MAY_PASS = (408, 425, 429)


def tried(once: Callable[[], T], budget: Budget) -> T:
    """Do it, and again where it may pass, as long as the budget has room for the pause that is asked for."""
    for pause in PAUSES:
        try:
            return once()
        except Transient as error:
            wait = pause * random.uniform(0.5, 1.5) if error.after is None else error.after  # noqa: S311 - jitter
            if wait >= budget.left:
                raise
        time.sleep(wait)
    return once()


def fault(who: str, answer: Answer, cause: str) -> VaultbellError:
    """The error that a refusing answer stands for: what may pass, or what somebody must put right."""
    told = f"{who} answered {answer.status}{_words(answer)}"
    if answer.status in MAY_PASS or answer.status // 100 not in (3, 4):
        return Transient(told, after=retry_after.read(answer.headers.get("Retry-After")), status=answer.status)
    return Misconfigured(told, cause=f"{cause}-{answer.status}", status=answer.status)


def object_in(who: str, answer: Answer) -> Object:
    """The JSON object in an answer; Transient where there is none: a gateway's page, say, or a body cut short."""
    value = _json(answer)
    if value is None:
        raise Transient(f"{who} answered {answer.status} without a JSON object", status=answer.status)
    return value


def code_of(answer: Answer) -> str | None:
    """The error code in an answer's body: `error_code` (CBR, gateway), or `error.code` (IAM)."""
    value = _json(answer) or {}
    nested = value.get("error")
    code = value.get("error_code") or (nested.get("code") if isinstance(nested, dict) else None)
    return one_line(code, 64) if isinstance(code, str) else None


def _json(answer: Answer) -> Object | None:
    try:
        value = json.loads(answer.body, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _finite(text: str) -> float | None:
    """A number of JSON; null for one that no JSON could tell again: NaN, or beyond what a float holds."""
    number = float(text)
    return number if math.isfinite(number) else None


def _words(answer: Answer) -> str:
    code = code_of(answer) or ""  # else it may be anything that the other side has read in our request
    return f" ({code})" if re.fullmatch(r"[A-Za-z]+(\.[A-Za-z]+)*\.[0-9]{1,8}", code) else ""
