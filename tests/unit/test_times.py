"""Times in all the forms in which the clouds write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultbell import times

# Form and meaning, in UTC. The forms were seen in field tables, examples and recorded answers.
FORMS: list[tuple[object, str]] = [
    ("2020-02-23T01:00:32Z", "2020-02-23T01:00:32"),  # field texts of CBR
    ("2019-05-23T14:35:23.584+00:00", "2019-05-23T14:35:23.584"),  # the example of a task
    ("2025-03-25T06:32:07.951164", "2025-03-25T06:32:07.951164"),  # recorded: without a zone, meant as UTC
    ("2025-03-25 07:59:52", "2025-03-25T07:59:52"),  # policies
    ("2015-11-09T01:42:57.527363Z", "2015-11-09T01:42:57.527363"),  # IAM
    ("2023-06-01T08:30:00+08:00", "2023-06-01T00:30:00"),  # TIMER events
    ("2020-08-20T12:00:00.000Z+08:00", "2020-08-20T04:00:00"),  # notices of FunctionGraph: the offset counts
    ("2025-07-28T11:47:56.893440057+02:00", "2025-07-28T09:47:56.893440"),  # the same, nine digits
    ("2016/12/08 11:07:28 GMT+08:00", "2016-12-08T03:07:28"),  # CTS
    ("2016/12/08 11:07:28", "2016-12-08T11:07:28"),
    ("2026/11/23 09:01:00 UTC+0100", "2026-11-23T08:01:00"),
    ("2026/11/23 09:01:00.5 GMT+01:00", "2026-11-23T08:01:00.5"),
    ("2026/11/23 09:01:00 GMT", "2026-11-23T09:01:00"),
    ("Tue Jan 09 2018 15:11:40 GMT+0800 (CST)", "2018-01-09T07:11:40"),  # SMN events
    ("Mon Nov 23 2026 08:01:00 GMT-0330", "2026-11-23T11:31:00"),
    (1529996047, "2018-06-26T06:54:07"),  # seconds
    ("1529996047", "2018-06-26T06:54:07"),
    (1604654425000, "2020-11-06T09:20:25"),  # milliseconds
    ("1604654425123", "2020-11-06T09:20:25.123"),
    (1604654425123456, "2020-11-06T09:20:25.123456"),  # microseconds
    (1604654425123456789, "2020-11-06T09:20:25.123457"),  # nanoseconds
    (1529996047.5, "2018-06-26T06:54:07.5"),
    (" 2020-02-23T01:00:32Z\n", "2020-02-23T01:00:32"),
    (datetime(2020, 2, 23, 1, 0, 32), "2020-02-23T01:00:32"),  # noqa: DTZ001 - what YAML makes of one
    (datetime(2020, 2, 23, 1, 0, 32, tzinfo=timezone(timedelta(hours=1))), "2020-02-23T00:00:32"),
]


@pytest.mark.parametrize(
    "value",
    [
        "2016/12/08 11:07:28 GMT+08:00",
        "2016/12/08 11:07:28 GMT+8",
        "2016-12-08 11:07:28 GMT+08:00",
        "2016-12-08 03:07:28 UTC",
        "2016-12-08 03:07:28 GMT",
        "2016-12-08t03:07:28z",
        "1481166448.0",
        "1481166448000",
    ],
)
def test_the_ways_to_spell_one_moment_are_one_moment(value: str) -> None:
    assert times.read(value) == datetime(2016, 12, 8, 3, 7, 28, tzinfo=UTC)


def test_digits_of_other_scripts_are_no_time() -> None:
    assert times.read("١٤٨١١٦٦٤٤٨") is None


@pytest.mark.parametrize(("value", "meant"), FORMS, ids=repr)
def test_a_time_is_read_in_every_form_of_the_clouds(value: object, meant: str) -> None:
    found = times.read(value)
    assert found is not None
    assert abs(found - datetime.fromisoformat(meant).replace(tzinfo=UTC)) <= timedelta(microseconds=1)
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "  ", "soon", "null", True, False, [], {}, b"2020-02-23T01:00:32Z"),
        *(0, "0", -1, -1e30, 1e30, float("inf"), float("nan"), 10**40, "9" * 20),
        *("1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"),
        *("2020-13-01T00:00:00Z", "2020-02-30", "2020-02-23T25:00:00Z", "2016/02/30 00:00:00 GMT+08:00"),
        *(
            "Tue Jan 41 2018 15:11:40 GMT+0800",
            "Xyz Jan 09 2018 15:11:40 GMT+0800",
            "\ud800",
            "2020-02-23T01:00:32+99:00",
        ),
    ],
    ids=repr,
)
def test_what_is_no_time_is_none(value: object) -> None:
    assert times.read(value) is None


@given(st.one_of(st.text(st.characters()), st.integers(), st.floats(), st.from_regex(r"[0-9T:+ Z/.-]{1,30}")))
def test_nothing_that_comes_as_a_time_is_an_error(value: object) -> None:
    found = times.read(value)
    if found:
        assert found.tzinfo is UTC
        assert found + timedelta(days=366) > found, "there is room for any deadline after it"


MOMENTS = st.datetimes(
    min_value=datetime(1971, 1, 2),  # noqa: DTZ001 - the zone is a strategy of its own
    max_value=datetime(2999, 12, 30),  # noqa: DTZ001
    timezones=st.timezones(),
    allow_imaginary=False,
)


@given(MOMENTS)
def test_what_we_write_is_read_again(time: datetime) -> None:
    text = times.iso(time)
    assert text.endswith("Z")
    assert times.read(text) == time.astimezone(UTC)  # zones compare no hour that a clock shows twice


def test_times_are_written_in_utc() -> None:
    time = datetime(2026, 11, 23, 9, 1, 2, tzinfo=timezone(timedelta(hours=1)))
    assert times.iso(time) == "2026-11-23T08:01:02Z"
    assert times.iso(time.replace(microsecond=584_000)) == "2026-11-23T08:01:02.584000Z"
    assert times.plain(time) == "2026-11-23 08:01 UTC"


@pytest.mark.parametrize(
    ("zone", "told"),
    [
        ("Europe/Berlin", "2026-11-23 23:01 UTC (2026-11-24 00:01 CET)"),
        ("Europe/London", "2026-11-23 23:01 UTC (23:01 GMT)"),
        ("America/New_York", "2026-11-23 23:01 UTC (18:01 EST)"),
        ("Asia/Kolkata", "2026-11-23 23:01 UTC (2026-11-24 04:31 IST)"),
    ],
)
def test_people_are_told_what_their_own_clock_says_as_well(zone: str, told: str) -> None:
    assert times.plain(datetime(2026, 11, 23, 23, 1, tzinfo=UTC), ZoneInfo(zone)) == told


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0, "0 s"), (40, "40 s"), (59.9, "59 s"), (60, "1 min"), (90, "1 min"), (900, "15 min"), (3600, "1 h")),
        *((5400, "1 h 30 min"), (86_400, "24 h"), (93_600, "26 h"), (172_799, "47 h 59 min"), (172_800, "2 d")),
        *((277_200, "3 d 5 h"), (604_800, "7 d")),
    ],
)
def test_a_length_of_time_is_told_in_plain_words(seconds: float, words: str) -> None:
    assert times.span(timedelta(seconds=seconds)) == words
