"""`Retry-After`, as seconds or as a date (RFC 9110, section 10.2.3)."""

from __future__ import annotations

import time

MOST = 86_400.0


def read(value: str | None) -> float | None:
    """How many seconds to wait, from 0 to a day; None where the header is absent or cannot be read."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), MOST)
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - only when a date is met

    try:
        wait = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError, TypeError):
        return None
    return min(max(wait, 0.0), MOST)
