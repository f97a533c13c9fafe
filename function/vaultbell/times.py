"""Times as the clouds write them, read into UTC.

Seen in the wild (field tables and recorded answers of CBR, CTS, SMN, FunctionGraph, IAM): ISO 8601 with `Z`, with
an offset, with 3, 6 or 9 digits of a second, without a zone (UTC is meant), with a blank for the `T`, with both
`Z` and an offset (the offset counts); `2016/12/08 11:07:28 GMT+08:00`; `Tue Jan 09 2018 15:11:40 GMT+0800 (CST)`;
seconds, milli-, micro- or nanoseconds since the epoch, as number or text.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

_PARTED = re.compile(
    r"(\d{4})[/-](\d\d)[/-](\d\d)[ Tt](\d\d:\d\d:\d\d(?:\.\d+)?)"
    r"(?: ?(?:[Zz]|GMT|UTC)?(?:([+-])(\d\d?)(?::?(\d\d))?)?)?",
    re.ASCII,
)
_Z_AND_OFFSET = re.compile(r"Z(?=[+-]\d\d)")
_SPELT = re.compile(r"([A-Z][a-z]{2} [A-Z][a-z]{2} \d\d \d{4} \d\d:\d\d:\d\d GMT[+-]\d{4})(?: \(.*\))?")
_DIGITS = re.compile(r"\d{9,19}(?:\.\d{1,9})?", re.ASCII)
# How many units a second has, by the least value that cannot be a number of the unit before.
_UNITS = ((10**17, 10**9), (10**14, 10**6), (10**11, 10**3), (0, 1))
_LENGTH = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LONGEST = 366 * 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS = range(1971, 3000)  # outside of them a field means that there is no time: the epoch's own zero, or "never"


def read(value: object) -> datetime | None:
    """The time that `value` means, in UTC; None where it means none (absent, not a time, zero or "never")."""
    try:
        if isinstance(value, str):
            found = _from_text(value.strip())
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found = _from_number(value)
        elif isinstance(value, datetime):
            found = value if value.tzinfo else value.replace(tzinfo=UTC)
        else:
            return None
        found = found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if found.year in _YEARS else None


def _from_text(text: str) -> datetime:
    if _DIGITS.fullmatch(text):
        return _from_number(float(text) if "." in text else int(text))
    try:
        found = datetime.fromisoformat(text)  # nearly all of them
    except ValueError:
        found = _from_rare_text(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _from_rare_text(text: str) -> datetime:
    if match := _PARTED.fullmatch(text):
        year, month, day, clock, sign, hours, minutes = match.groups()
        text = f"{year}-{month}-{day}T{clock}{f'{sign}{hours:0>2}:{minutes or 0:0>2}' if sign else ''}"
    if match := _SPELT.fullmatch(text):
        return datetime.strptime(match[1], "%a %b %d %Y %H:%M:%S GMT%z")
    return datetime.fromisoformat(_Z_AND_OFFSET.sub("", text))


def _from_number(number: float) -> datetime:
    unit = next((unit for least, unit in _UNITS if number >= least), 1)
    return _EPOCH + timedelta(seconds=number / unit)


def iso(time: datetime) -> str:
    """The time as Vaultbell writes it: UTC, seconds (with their fraction where there is one), `Z`."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def plain(time: datetime, zone: tzinfo | None = None) -> str:
    """The time for people: `2026-11-23 08:01 UTC`, and what the clock of `zone` says: `(09:01 CET)`."""
    time = time.astimezone(UTC)
    told = f"{time:%Y-%m-%d %H:%M} UTC"
    if zone is None:
        return told
    there = time.astimezone(zone)
    return f"{told} ({there:{'%H:%M %Z' if there.date() == time.date() else '%Y-%m-%d %H:%M %Z'}})"


def length(text: str) -> timedelta | None:
    """The length of time that a setting means: `90s`, `15m`, `24h`, `7d`, or seconds; None where it is none."""
    match = _LENGTH.fullmatch(text)
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    return timedelta(seconds=seconds) if 0 < seconds <= _LONGEST else None


def span(length: timedelta) -> str:
    """A length of time for people: `3 d 5 h`, `26 h`, `15 min`, `40 s`."""
    total = int(length.total_seconds())
    days, rest = divmod(total, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, secs = divmod(rest, 60)
    if days > 1:
        return f"{days} d {hours} h" if hours else f"{days} d"
    hours += 24 * days
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes else f"{secs} s"
