"""What `make mutate` finds is told and fails, unless it is argued; and what is argued is about the code as it is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mutation import __main__ as mutation
from mutation.__main__ import Mutant

CHANGE = ("- a = 1", "+ a = 2")


def exit_status(
    monkeypatch: pytest.MonkeyPatch, mutants: Sequence[Mutant], argued: set[tuple[str, ...]], *arguments: str
) -> int:
    monkeypatch.setattr(mutation, "_lay_out", lambda _: None)
    monkeypatch.setattr(mutation, "_by_mutmut", lambda: mutants)
    monkeypatch.setattr(mutation, "_constants", lambda _: ())
    monkeypatch.setattr(mutation, "_argued", lambda: argued)
    return mutation.main(arguments)


def test_a_survivor_fails_unless_it_is_argued(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    killed, survivor = (Mutant("outcome", CHANGE, survived) for survived in (False, True))
    assert exit_status(monkeypatch, [killed], set()) == 0
    assert exit_status(monkeypatch, [killed, survivor], {CHANGE}) == 0
    assert "Not argued" not in capsys.readouterr().out
    assert exit_status(monkeypatch, [killed, survivor], set()) == 1
    assert "Not argued, outcome:\n- a = 1\n+ a = 2" in capsys.readouterr().out


def test_an_argument_about_what_has_not_survived_fails_where_all_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    killed = Mutant("outcome", CHANGE, survived=False)
    assert exit_status(monkeypatch, [killed], {CHANGE}) == 1
    assert exit_status(monkeypatch, [killed], {CHANGE}, "outcome") == 0


def test_what_is_argued_is_about_the_code_as_it_is() -> None:
    package = mutation.TOP / "function" / "vaultbell"
    lines = {line.strip() for name in mutation.TESTS for line in (package / f"{name}.py").read_text().splitlines()}
    argued = mutation._argued()
    assert argued
    for change in argued:
        assert {line[2:] for line in change if line.startswith("-")} <= lines


def test_the_tests_that_are_to_mind_are_there() -> None:
    for tests in mutation.TESTS.values():
        assert all((mutation.TOP / "tests" / name).is_file() for name in tests.split())
