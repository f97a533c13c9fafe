"""Conditions of routes on numbers: what they hold for, and what may be where a number is not known for sure."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultbell import conditions

COMPARISONS = (">=", ">", "<=", "<", "=")


@pytest.mark.parametrize(
    ("field", "text", "comparison", "number"),
    [
        ("failures_in_row", ">=2", ">=", 2),
        ("failures_in_row", " > 2 ", ">", 2),
        ("failures_in_row", "2", "=", 2),
        ("failures_in_row", "=2", "=", 2),
        ("last_good_age", ">26h", ">", 93_600),
        ("last_good_age", "<= 7d", "<=", 604_800),
        ("last_good_age", "<90", "<", 90),
    ],
)
def test_a_condition_is_a_comparison_and_a_number(field: str, text: str, comparison: str, number: float) -> None:
    assert conditions.read(field, text) == (comparison, number)


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        *(("failures_in_row", text, "a whole number") for text in ("", "many", ">=2h", "2.5", ">=", "=>2", "-1", "*")),
        *(
            ("last_good_age", text, "a duration")
            for text in ("", "never", ">soon", "26hours", ">0", "400d", "*", ">>1h")
        ),
    ],
)
def test_anything_else_is_a_mistake_that_says_what_is_wanted(field: str, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        conditions.read(field, text)


@pytest.mark.parametrize(
    ("field", "wanted", "had", "fits"),
    [
        ("failures_in_row", ">=2", "1", False),
        ("failures_in_row", ">=2", "2", True),
        ("failures_in_row", ">2", "2", False),
        ("failures_in_row", "<=2", "2", True),
        ("failures_in_row", "<2", "2", False),
        ("failures_in_row", "2", "2", True),
        ("failures_in_row", "2", "3", False),
        ("last_good_age", ">26h", "93600", False),
        ("last_good_age", ">26h", "93601", True),
        # no good one on record is older than anything
        ("last_good_age", ">26h", "never", True),
        ("last_good_age", ">=366d", "never", True),
        ("last_good_age", "<366d", "never", False),
        # at least so many: it may be more
        ("failures_in_row", ">=12", "12+", True),
        ("failures_in_row", ">=20", "12+", None),
        ("failures_in_row", "<12", "12+", False),
        ("failures_in_row", "<20", "12+", None),
        ("failures_in_row", "12", "12+", None),
        ("last_good_age", ">26h", "604800+", True),
        ("last_good_age", "<26h", "604800+", False),
        # nothing is known
        ("failures_in_row", ">=2", None, None),
        ("failures_in_row", "<2", None, None),
        ("last_good_age", ">26h", None, None),
    ],
)
def test_what_is_not_known_for_sure_may_fit(field: str, wanted: str, had: str | None, fits: bool | None) -> None:
    assert conditions.fits(field, [wanted], had) is fits


def test_one_of_several_conditions_is_enough() -> None:
    assert conditions.fits("failures_in_row", ["1", ">=5"], "7") is True
    assert conditions.fits("failures_in_row", ["1", ">=5"], "3") is False
    assert conditions.fits("failures_in_row", ["1", ">=5"], "3+") is None


@given(comparison=st.sampled_from(COMPARISONS), number=st.integers(0, 9), least=st.integers(0, 9), more=st.booleans())
def test_in_part_known_is_what_each_possible_number_would_say(
    comparison: str, number: int, least: int, more: bool
) -> None:
    python = {">=": int.__ge__, ">": int.__gt__, "<=": int.__le__, "<": int.__lt__, "=": int.__eq__}[comparison]
    said = {python(value, number) for value in (range(least, least + 30) if more else [least])}
    wanted = said.pop() if len(said) == 1 else None
    if more and comparison in ("<", "<=") and least > number:
        wanted = False
    assert conditions.fits("failures_in_row", [f"{comparison}{number}"], f"{least}{'+' * more}") is wanted
    assert math.inf > least
