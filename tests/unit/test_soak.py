"""The soak's ledger: what it would find, and that it knows what should ring without asking the product."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from soak.faults import FAULTS, MOST, fault
from soak.ledger import Arrival, balance
from soak.scenario import KINDS, OUTCOMES, VAULTS, Scenario

SOAK, STANDIN = (Path(__file__).parents[1] / name for name in ("soak", "standin"))
SCENARIO = Scenario(seed=7, number=400, at=1_780_000_000)
Told = tuple[list[Arrival], list[tuple[int, str]]]


def as_it_should_be() -> Told:
    arrivals = {
        (ring.kind, ring.subject, channel): Arrival(
            channel, ring.kind, ring.subject, f"{ring.kind} {ring.subject}", "body", False, 2, 1
        )
        for event in SCENARIO.events()
        for ring in event.rings
        for channel in ring.channels[:1]
    }
    return list(arrivals.values()), [(event.number, event.dead) for event in SCENARIO.events() if event.dead]


def test_where_all_is_told_there_is_nothing_to_find() -> None:
    found = balance(SCENARIO, *as_it_should_be())
    assert found.deviations == []
    assert found.figures["messages taken"] == found.figures["messages not taken"] == len(as_it_should_be()[0])


def lose(told: Told) -> None:
    told[0].pop(5)


def not_take(told: Told) -> None:
    told[0][5] = replace(told[0][5], taken=0)


def tell_nobody_else(told: Told) -> None:
    told[0].append(replace(told[0][5], channel="gone"))


def invent(told: Told) -> None:
    told[0].append(replace(told[0][5], subject="ffffffff-0000-4000-8000-00000000000f", id="another"))


def say_another_outcome(told: Told) -> None:
    told[0].append(replace(told[0][5], kind="cbr.task.succeeded", id="another"))


def tear(told: Told) -> None:
    told[0].append(replace(told[0][5], body="another"))


def rename(told: Told) -> None:
    told[0].append(replace(told[0][5], id="another"))


def confuse(told: Told) -> None:
    told[0][6] = replace(told[0][6], id=told[0][5].id)


def spoil(told: Told) -> None:
    told[0][5] = replace(told[0][5], wrong="its signature is not right")


def lose_a_letter(told: Told) -> None:
    told[1].pop()


def give_another_reason(told: Told) -> None:
    told[1][0] = told[1][0][0], "internal"


def bury_alive(told: Told) -> None:
    told[1].append((next(event.number for event in SCENARIO.events() if not event.dead), "undeliverable"))


@pytest.mark.parametrize(
    ("amiss", "words"),
    [
        (lose, "lost"),
        (not_take, "lost"),
        (tell_nobody_else, "false"),
        (invent, "false"),
        (say_another_outcome, "false"),
        (tear, "torn"),
        (rename, "torn"),
        (confuse, "torn"),
        (spoil, "wrong"),
        (lose_a_letter, "dead letters"),
        (give_another_reason, "dead letters"),
        (bury_alive, "dead letters"),
    ],
)
def test_what_is_amiss_is_found(amiss: Callable[[Told], None], words: str) -> None:
    told = as_it_should_be()
    amiss(told)
    (deviation,) = balance(SCENARIO, *told).deviations
    assert deviation.startswith(words)


def test_a_message_may_come_again_with_its_past_told_or_without() -> None:
    told = as_it_should_be()
    told[0].append(replace(told[0][5], body="another", past=True))
    assert balance(SCENARIO, *told).deviations == []


def test_a_seed_makes_the_same_events_tasks_and_faults_again() -> None:
    again = replace(SCENARIO)
    for event in SCENARIO.events():
        assert again.event(event.number) == event
        for task in event.tasks:
            assert again.task(task.id) == task
            assert again.log(task, 0) == SCENARIO.log(task, 0)
    other = replace(SCENARIO, seed=8)
    assert [event.body for event in other.events()] != [event.body for event in SCENARIO.events()]


def test_a_scenario_has_something_of_everything() -> None:
    events = [Scenario(seed=7, number=4_000, at=0).event(number) for number in range(4_000)]
    tasks = [task for event in events for task in event.tasks]
    assert {event.kind for event in events} == set(KINDS)
    assert {task.outcome for task in tasks} == {*OUTCOMES, "unverified"}
    assert {task.vault for task in tasks} == set(VAULTS)


def test_nothing_fails_for_ever_and_each_kind_of_fault_comes_to_pass() -> None:
    for place, (rate, kinds) in FAULTS.items():
        drawn = Counter(fault(1, place, str(subject), 0) for subject in range(20_000))
        assert drawn.keys() - {None} == set(kinds)
        assert drawn.total() - drawn[None] == pytest.approx(rate * drawn.total(), rel=0.15)
        assert {fault(1, place, str(subject), MOST) for subject in range(100)} == {None}


JUDGES = ("scenario", "ledger", "faults", "world", "sender", "crew", "door")


@pytest.mark.parametrize(
    "file", [*(SOAK / f"{name}.py" for name in JUDGES), STANDIN / "fleet.py"], ids=lambda file: file.stem
)
def test_who_judges_does_not_ask_the_product(file: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    assert not any(module.split(".")[0] == "vaultbell" for module in imported)
