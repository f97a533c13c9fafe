"""What others wrote is made fit to be shown: on one line, in the direction of writing, cut where it shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultbell.text import ELLIPSIS, cut, one_line, whole


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ECS-0001", "ECS-0001"),
        ("  two   words ", "two words"),
        ("one\r\ntwo\tthree\x0bfour\x0cfive\x85six\u2028seven\u2029eight", "one two three four five six seven eight"),
        ("nul\x00, bell\x07, escape\x1b[31m, delete\x7f", "nul , bell , escape [31m, delete"),
        ("safe\u202egnp.exe", "safe gnp.exe"),
        ("a\u2066b\u2069c\u200ed\u200fe\u061cf\ufeffg", "a b c d e f g"),
        ("half \ud83d a pair, \udd14 other half", "half \ufffd a pair, \ufffd other half"),
        ("Grüße, 世界, 🔔, <b>&amp;", "Grüße, 世界, 🔔, <b>&amp;"),
        ("\u202e\x00\n", ""),
        ("", ""),
    ],
)
def test_a_name_stays_a_name_on_one_line(text: str, shown: str) -> None:
    assert one_line(text) == shown


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("twelve chars", 12, "twelve chars"),
        ("twelve chars", 11, "twelve cha…"),
        ("twelve chars", 8, "twelve…"),
        ("🔔🔔🔔", 3, "🔔🔔🔔"),
        ("🔔🔔🔔", 2, "🔔…"),
        ("ab", 1, "…"),
    ],
)
def test_what_is_too_long_is_cut_at_a_whole_character_and_marked(text: str, limit: int, shown: str) -> None:
    assert cut(text, limit) == one_line(text, limit) == shown


def test_what_follows_a_long_gap_is_not_lost_without_a_mark() -> None:
    assert one_line("a" + "\n" * 10_000 + "b", 3) == "a b"
    assert one_line("\u202e" * 10_000 + "failed", 10) == "failed"
    assert one_line("a" + "\n" * 10_000 + "bcd", 4) == f"a b{ELLIPSIS}"


@given(st.text(st.characters() | st.sampled_from("\n\u202e \ud800")), st.integers(1, 40))
def test_whatever_it_was_it_fits_and_can_be_sent(text: str, limit: int) -> None:
    shown = one_line(text, limit)
    assert len(shown) <= limit
    shown.encode()  # raises where half a surrogate pair is left
    assert len(shown.splitlines()) <= 1
    assert one_line(shown, limit) == shown


@given(st.text(st.characters()))
def test_half_a_pair_becomes_the_sign_for_what_cannot_be_shown(text: str) -> None:
    assert whole(text) == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") or "\ufffd" in whole(text)
    assert len(whole(text)) == len(text)
    whole(text).encode()
