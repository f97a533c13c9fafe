"""`Retry-After`, as seconds or as a date (RFC 9110, section 10.2.3); and what a date of HTTP says."""

from __future__ import annotations

import time
from datetime import UTC

MOST = 86_400.0


def read(value: str | None) -> float | None:
    """How many seconds to wait, from 0 to a day; None where the header is absent or cannot be read."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), MOST)
    at = moment(value)
    return None if at is None else min(max(at - time.time(), 0.0), MOST)


def moment(date: str) -> float | None:
    """A date of HTTP (RFC 9110, section 5.6.7) in seconds since 1970; None where it is none.

    One without a zone is UTC: HTTP knows no other.
    """
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - only when a date is met

    try:
        at = parsedate_to_datetime(date)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None
