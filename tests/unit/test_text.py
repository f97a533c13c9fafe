"""What others wrote is made fit to be shown: on one line, in the direction of writing, cut where it shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultbell.text import ELLIPSIS, as_many, cut, fit, inert, one_line, units, whole


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


def doubled(text: str) -> str:
    return text.replace("&", "&&")


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("twelve chars", 12, "twelve chars"),
        ("twelve chars", 11, "twelve cha…"),
        ("twelve chars", 8, "twelve…"),
        ("a&b", 4, "a&&b"),
        ("a&bc", 4, "a&&…"),
        ("a&bc", 3, "a…"),
        ("&&&&", 5, "&&&&…"),
        ("🔔🔔🔔", 6, "🔔🔔🔔"),
        ("🔔🔔🔔", 5, "🔔🔔…"),
        ("🔔🔔🔔", 4, "🔔…"),
        ("ab", 1, "…"),
    ],
)
def test_what_is_escaped_is_cut_between_two_characters(text: str, limit: int, shown: str) -> None:
    assert fit(text, limit, doubled) == shown


@given(st.text(st.characters() | st.just("&"), max_size=60), st.integers(1, 40))
def test_what_fits_is_whole_and_what_does_not_is_marked(text: str, limit: int) -> None:
    shown = fit(text, limit, doubled)
    assert units(shown) <= limit
    assert shown == doubled(text) or (shown.endswith(ELLIPSIS) and doubled(text).startswith(shown[:-1]))


@pytest.mark.parametrize(("text", "number"), [("", 0), ("abc", 3), ("ä", 1), ("世", 1), ("🔔", 2), ("e\u0301", 2)])
def test_length_is_counted_as_receivers_do(text: str, number: int) -> None:
    assert units(text) == number


@pytest.mark.parametrize(
    ("room", "kept"),
    [
        (100, ["one", "two", "three"]),
        (14, ["one", "two", "three"]),
        (13, ["… and 3 more"]),
        (0, ["… and 3 more"]),
    ],
)
def test_of_lines_there_are_as_many_as_fit(room: int, kept: list[str]) -> None:
    assert as_many(["one", "two", "three"], room) == kept


def test_lines_that_are_left_out_are_counted() -> None:
    shown = as_many([f"line {number}" for number in range(100)], 40)
    assert shown == ["line 0", "line 1", "line 2", "… and 97 more"]
    assert as_many([], 10) == []


@given(st.lists(st.text(max_size=20), max_size=30), st.integers(20, 200))
def test_lines_never_take_more_than_the_room(lines: list[str], room: int) -> None:
    shown = as_many(lines, room)
    assert sum(units(line) + 1 for line in shown) <= room
    assert shown == lines or shown[-1] == f"… and {len(lines) - len(shown) + 1} more"


def test_a_name_that_is_inert_reads_the_same_and_means_nothing() -> None:
    assert inert("<!channel> @everyone <b>") == "<\u200b!channel> @\u200beveryone <\u200bb>"
    assert inert("ECS-0001") == "ECS-0001"
