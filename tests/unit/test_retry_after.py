"""`Retry-After` as it comes: seconds, the three forms of a date, and what is neither."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from vaultbell import retry_after

NOW = datetime(2026, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        @staticmethod
        def time() -> float:
            return NOW.timestamp()

    monkeypatch.setattr(retry_after, "time", Clock)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("1", 1.0),
        (" 120 ", 120.0),
        ("000000000000060", 60.0),
        ("86400", 86_400.0),
        ("86401", 86_400.0),
        ("9" * 400, 86_400.0),
        ("9" * 10_000, 86_400.0),
    ],
)
def test_seconds_are_read_up_to_a_day(value: str, seconds: float) -> None:
    assert retry_after.read(value) == seconds


@pytest.fixture
def _far_from_utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_far_from_utc")
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("Fri, 06 Nov 2026 08:50:37 GMT", 60.0),
        ("Friday, 06-Nov-26 08:50:37 GMT", 60.0),
        ("Fri Nov  6 08:50:37 2026", 60.0),
        ("Fri, 06 Nov 2026 08:50:37 -0000", 60.0),
        ("Fri, 06 Nov 2026 09:50:37 +0100", 60.0),
        ("Fri, 06 Nov 2026 08:49:37 GMT", 0.0),
        ("Fri, 06 Nov 2020 08:49:37 GMT", 0.0),
        ("Fri, 06 Nov 2099 08:49:37 GMT", 86_400.0),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
    ],
)
def test_a_date_is_the_time_until_then_from_nothing_to_a_day(value: str, seconds: float) -> None:
    assert retry_after.read(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", " ", "-5", "+5", "1.5", "1e3", "0x10", "soon", "٣", "60;", "60, 120", "inf", "nan"),
        *("Fri, 99 Nov 2026 08:50:37 GMT", "Fri, 06 Nov 99999 08:50:37 GMT", "Fri, 06 Nov 2026 08:50:37 +9999"),
        "2026-11-06T08:50:37Z",
    ],
)
def test_what_cannot_be_read_is_as_if_it_were_not_there(value: str | None) -> None:
    assert retry_after.read(value) is None
