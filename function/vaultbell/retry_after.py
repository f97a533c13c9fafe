"""`Retry-After`, as seconds or as a date (RFC 9110, section 10.2.3)."""

from __future__ import annotations

import time
from datetime import UTC

MOST = 86_400.0


def read(value: str | None) -> float | None:
    """How many seconds to wait, from 0 to a day; None where the header is absent or cannot be read.

    A date without a zone is UTC: HTTP knows no other.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), MOST)
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - only when a date is met

    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError, TypeError):
        return None
    wait = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - time.time()
    return min(max(wait, 0.0), MOST)
