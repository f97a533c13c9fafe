"""What `vaultbell doctor` looks at: a file for each thing that may be wrong, a generator of findings for each check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from vaultbell.budget import Budget
from vaultbell.report import Object


class Level(StrEnum):
    """How a thing stands, the best first."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of a thing, and, unless it is in order, what to do."""

    level: Level
    thing: str
    words: str
    to_do: str = ""

    def as_json(self) -> Object:
        """The finding for programs."""
        return {"level": self.level.value, "check": self.thing, "words": self.words, "to_do": self.to_do or None}


def ok(thing: str, words: str) -> Finding:
    """It is in order."""
    return Finding(Level.OK, thing, words)


def warning(thing: str, words: str, to_do: str) -> Finding:
    """It works for now, or it could not be seen whether it does."""
    return Finding(Level.WARNING, thing, words, to_do)


def failure(thing: str, words: str, to_do: str) -> Finding:
    """It does not work."""
    return Finding(Level.FAILURE, thing, words, to_do)


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at, within a budget.

    What it raises of `VaultbellError` is a failure, and `to_do` then says what to do.
    """

    thing: str
    look: Callable[[Budget], Iterator[Finding]]
    to_do: str
