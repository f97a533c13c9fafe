"""Texts that others wrote, made fit to be shown: a name with line breaks or markup in it stays a name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

ELLIPSIS = "…"

# Control characters, line and paragraph separators, and the marks that turn the direction of writing.
_UNSHOWABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")
_SURROGATES = re.compile("[\ud800-\udfff]")
_BLANKS = re.compile(r" {2,}")


def one_line(text: str, limit: int = 1_000) -> str:
    """`text` on one line, without control characters, cut at `limit` characters and marked as cut."""
    if not text.isprintable() or "  " in text:  # else there is nothing to put right
        text = _BLANKS.sub(" ", _UNSHOWABLE.sub(" ", whole(text)))
    return cut(text.strip(), limit)


def cut(text: str, limit: int) -> str:
    """`text` with at most `limit` characters; the last one tells where it was cut."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + ELLIPSIS


def units(text: str) -> int:
    """The length in UTF-16, as many receivers count: a character outside of the basic plane counts twice."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def fit(text: str, limit: int, escape: Callable[[str], str] = str, size: Callable[[str], int] = units) -> str:
    """`text`, escaped, in a size of `limit` at most: cut between two characters of the original, and marked as cut.

    `escape` is applied to a text or to each of its characters: both come to the same.
    """
    escaped = escape(text)
    if size(escaped) <= limit:
        return escaped
    kept, room = [], limit - size(ELLIPSIS)
    for character in text:
        piece = escape(character)
        room -= size(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept).rstrip() + ELLIPSIS


def as_many(lines: Sequence[str], room: int, size: Callable[[str], int] = units) -> list[str]:
    """The first of the lines, as many as there is room for (each takes its size and one), and how many are left."""
    if sum(size(line) + 1 for line in lines) <= room:
        return list(lines)
    kept: list[str] = []
    used = 0
    for at, line in enumerate(lines):
        last, used = f"{ELLIPSIS} and {len(lines) - at} more", used + size(line) + 1
        if used + size(last) + 1 > room:
            return [*kept, last]
        kept.append(line)
    return kept


def inert(text: str) -> str:
    """`text` in which nothing mentions anybody or is a tag: a mark without width follows each `@` and `<`."""
    return text.replace("@", "@\u200b").replace("<", "<\u200b")


def whole(text: str) -> str:
    """`text` without lone surrogates (JSON allows them, UTF-8 does not): each becomes U+FFFD."""
    return _SURROGATES.sub("\ufffd", text) if not text.isascii() else text
