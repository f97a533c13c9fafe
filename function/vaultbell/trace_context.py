"""W3C Trace Context, both ways: what a sender says of the trace that it is part of, and what we say to others.

Source: W3C Trace Context, the Recommendation of 2021, on the headers `traceparent` and `tracestate`; Level 2 for the
flag `random`. What is malformed is ignored, as it wants, and never shown: it is a stranger's text.
"""

from __future__ import annotations

import re
from typing import NamedTuple

SAMPLED, RANDOM = 1, 2
STATE_MOST, MEMBERS_MOST = 512, 32

_PARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[ -+\--<>-~]{0,255}[!-+\--<>-~]")


class TraceContext(NamedTuple):
    """A place in a trace: the trace's id, the id of one of its spans, flags, and what other tracers keep in it."""

    trace_id: str
    span_id: str
    flags: int = 0
    state: str = ""

    def headers(self, span_id: str) -> dict[str, str]:
        """The headers that hand the trace on, as a part of this span."""
        parent = f"00-{self.trace_id}-{span_id}-{self.flags:02x}"
        return {"traceparent": parent, "tracestate": self.state} if self.state else {"traceparent": parent}


def read(parent: object, state: object = None) -> TraceContext | None:
    """The place in a trace that the two headers (or attributes) name; None where the first is absent or malformed."""
    match = _PARENT.fullmatch(parent) if isinstance(parent, str) else None
    if not match or (match[1] == "00" and match[5]):  # a later version may have more to say
        return None
    flags = int(match[4], 16) & (SAMPLED | RANDOM)
    return TraceContext(match[2], match[3], flags, _state(state) if isinstance(state, str) else "")


def _state(text: str) -> str:
    """The list without blanks, cut after a whole member; empty where one of them is malformed or named twice."""
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    names = {member.partition("=")[0] for member in members}
    if not all(map(_MEMBER.fullmatch, members)) or len(names) < len(members) or len(members) > MEMBERS_MOST:
        return ""
    while len(kept := ",".join(members)) > STATE_MOST:
        members.pop()
    return kept
