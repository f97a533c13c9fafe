"""What people are shown: tables, colours, and how far a work has come. What others wrote stays mere text there."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, NoReturn, TextIO

from vaultbell.text import one_line

if TYPE_CHECKING:
    from tqdm import tqdm

BAR = 30
# By severity, and by the words of `doctor`.
COLOURS = {"critical": "1;31", "failure": "1;31", "warning": "33", "info": "32", "ok": "32", "quiet": "2"}
EVERYWHERE = {2: "wrong use, or a mistake in the settings"}


class FileName(argparse.Action):
    """An argument that is a file's name, so that a shell completes it as one."""

    complete: ClassVar = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}  # as shtab asks for it

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Take the value."""
        del parser, option_string
        setattr(namespace, self.dest, values)


def exit_statuses(run: Callable[..., int]) -> str:
    """The end of a command's help: what its `run` says of its exit status, and what holds for every command."""
    own = {int(number): words.strip() for number, words in re.findall(r"(\d): ([^;]+)", run.__doc__ or "")}
    rows = sorted((EVERYWHERE | own).items())
    return "exit status:\n" + "\n".join(f"  {number}  {' '.join(words.rstrip('.').split())}" for number, words in rows)


def complain(error: Exception) -> None:
    """Tell an error on standard error, each of its lines on one line; where that is full, the exit status tells."""
    first, *more = str(error).splitlines() or [""]
    with suppress(OSError):
        print(f"vaultbell: {one_line(first)}", *map(one_line, more), sep="\n", file=sys.stderr)


def paint(text: str, colour: str | None, stream: TextIO | None = None) -> str:
    """The text in a colour of `COLOURS`: on a terminal alone, and never where NO_COLOR is set (no-color.org)."""
    stream = stream or sys.stdout
    code = COLOURS.get(colour or "")
    if not code or not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def inert(text: str) -> str:
    """The text with everything escaped that is neither seen nor a line break: it may act on a terminal."""
    return "".join(one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode() for one in text)


def facts(rows: Iterable[tuple[str, str | None]], severity: str | None = None) -> Iterator[str]:
    """A line for each thing that is known, its name before it; the outcome in the colour of its severity."""
    for name, text in rows:
        if text:
            yield f"{name:9} {paint(one_line(text), severity if name == 'outcome' else None)}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table; the first row is its head."""
    shown = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))]
    shown.insert(1, ["-" * width for width in widths])
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]


class Progress:
    """How far a work has come, on a terminal alone: a bar by tqdm (the extra `cli`), without it a plain count."""

    def __init__(self, what: str, stream: TextIO | None = None) -> None:
        """`what` follows the count: "tasks read"."""
        stream = stream or sys.stderr
        self._stream = stream if stream.isatty() else None
        self._what = what
        self._bar: tqdm[NoReturn] | None = None
        self._width = 0

    def show(self, done: int, total: int | None) -> None:
        """So many lie behind, of so many, if that is known. What was done at one go is not shown."""
        whole = max(total or 0, done)
        if self._stream is None or not (self._width or done < whole or total is None):
            return
        line = f"{done:,} of {whole:,} {self._what}"
        self._bar = self._bar or (_bar(self._stream) if not self._width else None)
        if self._bar is not None:
            self._bar.total, self._bar.n = whole, done
            self._bar.set_description_str(line)
        else:
            self._stream.write("\r" + line.ljust(self._width))
            self._stream.flush()
        self._width = max(self._width, len(line))

    def clear(self) -> None:
        """Leave the line empty."""
        if self._bar is not None:
            self._bar.close()
        elif self._stream and self._width:
            self._stream.write(f"\r{' ' * self._width}\r")
            self._stream.flush()
        self._width = 0


def _bar(stream: TextIO) -> tqdm[NoReturn] | None:
    try:
        from tqdm import tqdm  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        return None
    shape = f"[{{bar:{BAR}}}] {{desc}}"
    return tqdm(total=1, file=stream, leave=False, ascii=".#", bar_format=shape, delay=1e-9)
