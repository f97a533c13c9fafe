"""What the fuzzer begins with, and what it has once found, is understood or refused (`make fuzz` looks for more)."""

from __future__ import annotations

from pathlib import Path

import pytest

import samples
from fuzz.targets import TARGETS

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"
INPUTS = [path.relative_to(CORPUS).as_posix() for path in sorted(CORPUS.glob("*/*"))]


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_is_understood_or_refused(name: str) -> None:
    TARGETS[Path(name).parts[0]]((CORPUS / name).read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_each_sample_is_understood_or_refused_wherever_it_comes_in(target: str) -> None:
    for path in samples.EVENTS.rglob("*.json"):
        TARGETS[target](path.read_bytes())


def test_there_are_inputs_for_every_target_and_no_other() -> None:
    assert {path.name for path in CORPUS.iterdir()} == TARGETS.keys()
