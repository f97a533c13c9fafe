"""What a sender says of its trace: taken where it is well formed, ignored where it is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultbell import trace_context
from vaultbell.trace_context import TraceContext

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_a_trace_is_taken_and_handed_on_under_an_id_of_our_own() -> None:
    told = trace_context.read(PARENT, "congo=t61rcWkgMzE")
    assert told == TraceContext(TRACE, SPAN, 1, "congo=t61rcWkgMzE")
    assert told.headers("b7ad6b7169203331") == {
        "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
        "tracestate": "congo=t61rcWkgMzE",
    }


@pytest.mark.parametrize(
    "parent",
    [
        None,
        7,
        b"00",
        "",
        " ",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{TRACE}-{SPAN}-0A",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-011",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN[1:]}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"000-{TRACE}-{SPAN}-01",
        f"0g-{TRACE}-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
        f"cc-{TRACE}-{SPAN}-01what",
        f"cc-{TRACE}-{SPAN}-01.what",
        f" {PARENT}",
        f"{PARENT}\n",
        f"{PARENT},{PARENT}",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",
    ],
)
def test_what_is_malformed_is_no_trace(parent: object) -> None:
    assert trace_context.read(parent, "congo=1") is None


@pytest.mark.parametrize("parent", [f"cc-{TRACE}-{SPAN}-01", f"01-{TRACE}-{SPAN}-01-what-the-future-will-be"])
def test_a_later_version_is_read_as_far_as_it_is_known_and_handed_on_as_ours(parent: str) -> None:
    told = trace_context.read(parent)
    assert told == TraceContext(TRACE, SPAN, 1)
    assert told.headers(SPAN)["traceparent"] == PARENT


@pytest.mark.parametrize(("flags", "kept"), [("00", 0), ("01", 1), ("02", 2), ("03", 3), ("09", 1), ("ff", 3)])
def test_flags_that_nobody_knows_yet_are_not_handed_on(flags: str, kept: int) -> None:
    told = trace_context.read(f"00-{TRACE}-{SPAN}-{flags}")
    assert told
    assert told.flags == kept
    assert told.headers(SPAN) == {"traceparent": f"00-{TRACE}-{SPAN}-{kept:02x}"}


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        (None, ""),
        ("", ""),
        (",", ""),
        ("a=1", "a=1"),
        (" a=1 ,\tb=2,, c=3 ", "a=1,b=2,c=3"),
        ("fw529a3039@dt=FfAAAAAQ,1k=v,_=v", ""),
        ("fw529a3039@dt=FfAAAAAQ,1k/*-_=v v~!", "fw529a3039@dt=FfAAAAAQ,1k/*-_=v v~!"),
        ("a=1,a=2", ""),
        ("A=1", ""),
        ("a", ""),
        ("a=", ""),
        ("a=1=2", ""),
        ("a=\x7f", ""),
        ("a=ä", ""),
        ("a=1\r\nX-Other: y", ""),
        (f"{'k' * 257}=1", ""),
        (f"a={'v' * 257}", ""),
        (",".join(f"k{number}=v" for number in range(32)), ",".join(f"k{number}=v" for number in range(32))),
        (",".join(f"k{number}=v" for number in range(33)), ""),
        (f"a={'v' * 250},b={'v' * 250},c=cut", f"a={'v' * 250},b={'v' * 250},c=cut"),
        (f"a={'v' * 250},b={'v' * 250},c=beyond", f"a={'v' * 250},b={'v' * 250}"),
    ],
)
def test_the_state_of_other_tracers_is_kept_whole_or_left_out(state: str | None, kept: str) -> None:
    told = trace_context.read(PARENT, state)
    assert told
    assert told.state == kept


@given(st.text(), st.text())
def test_whatever_is_sent_what_is_handed_on_fits_into_a_header(parent: str, state: str) -> None:
    for given_parent in (parent, PARENT):
        told = trace_context.read(given_parent, state)
        for value in told.headers(SPAN).values() if told else ():
            assert value.isascii()
            assert value.isprintable()
            assert len(value) <= 512
