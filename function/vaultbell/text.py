"""Texts that others wrote, made fit to be shown: a name with line breaks or markup in it stays a name."""

from __future__ import annotations

import re

ELLIPSIS = "…"

# Control characters, line and paragraph separators, and the marks that turn the direction of writing.
_UNSHOWABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")
_SURROGATES = re.compile("[\ud800-\udfff]")
_BLANKS = re.compile(r" {2,}")


def one_line(text: str, limit: int = 1_000) -> str:
    """`text` on one line, without control characters, cut at `limit` characters and marked as cut."""
    text = _BLANKS.sub(" ", _UNSHOWABLE.sub(" ", whole(text))).strip()
    return cut(text, limit)


def cut(text: str, limit: int) -> str:
    """`text` with at most `limit` characters; the last one tells where it was cut."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + ELLIPSIS


def whole(text: str) -> str:
    """`text` without lone surrogates (JSON allows them, UTF-8 does not): each becomes U+FFFD."""
    return _SURROGATES.sub("\ufffd", text) if not text.isascii() else text
