"""A rehearsal says what the ticks of that time really told: the same messages, to the same channels, once each."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from standin import Cloud, mock_cloud
from vaultbell import compose, settings, sweeping
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.channels import Taken
from vaultbell.cli import rehearsal, saved
from vaultbell.cli.rehearsal import NotingCbr, Rung
from vaultbell.events import Sweep
from vaultbell.handling import Handling
from vaultbell.notification import Notification
from vaultbell.sweep import Window

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LAG = timedelta(minutes=5)
BEGIN = datetime(2026, 11, 16, tzinfo=UTC)
CONFIG = """
channels:
  ops:    {type: webhook, url: "http://127.0.0.1:9/"}
  oncall: {type: webhook, format: pagerduty, routing_key: key, resolve: true}
  chat:   {type: webhook, format: slack, url: "http://127.0.0.1:9/", digest_over: 2}
routes:
  - match: {outcome: [failed, timed_out, overdue], failures_in_row: ">=2"}
    channels: [oncall, ops]
    fallback: chat
    continue: true
  - match: {resource_name: "quiet-*"}
    channels: []
  - channels: [chat]
"""

Told = Counter[tuple[str, str]]  # message and channel


@dataclass(slots=True)
class Listening:
    """A channel that keeps what it was told."""

    name: str
    told: Told

    def send(self, notification: Notification, _budget: Budget) -> Taken:
        """Take it."""
        self.told[notification.id, self.name] += 1
        return Taken()


@dataclass(slots=True)
class Time:
    """A clock that goes when it is told to."""

    now: datetime = BEGIN

    def __call__(self) -> datetime:
        return self.now


@dataclass(slots=True)
class World:
    """A cloud, a bell that hears its own words, and their clock."""

    cloud: Cloud
    bell: Bell
    clock: Time
    told: Told = field(default_factory=Counter)

    def task(self, resource: str, after: timedelta, *script: tuple[timedelta, str]) -> None:
        """A task that is created so long after the beginning, and what becomes of it after its own."""
        steps = [(length.total_seconds(), status) for length, status in ((timedelta(), "running"), *script)]
        created = BEGIN + after
        self.cloud.add(
            script=steps, created_at=created, started_at=created, resource_id=resource, resource_name=resource
        )

    def live(self, hours: int) -> None:
        """Let a tick come each hour, and hear what is told."""
        channels = {name: Listening(name, self.told) for name in self.bell.channels}
        bell = replace(self.bell, channels=channels, digest_over={})
        for _ in range(hours):
            self.clock.now += HOUR
            at = self.clock.now + LAG + timedelta(minutes=2)
            before, self.clock.now = self.clock.now, at
            lines, _ = sweeping.sweep(Handling(bell, bell.cbr, Budget.of(20), leave=True), Sweep(at=at))
            assert {line.result.status for line in lines} <= {200}
            self.clock.now = before

    def rehearsed(self, covered: Window) -> list[Rung]:
        """What the command makes of it afterwards."""
        cbr = NotingCbr.of(self.bell.cbr)
        reads = replace(saved.silent(self.bell), cbr=cbr, resolving=frozenset(), history=None)
        lookback = int((covered.end - covered.start) / HOUR)
        asked = Sweep(at=covered.end + LAG + timedelta(minutes=2), lookback=lookback)
        sweeping.sweep(Handling(reads, cbr, Budget.of(20), leave=True), asked)
        bell = replace(saved.silent(self.bell), digest_over=self.bell.digest_over)
        return rehearsal.rehearse(bell, self.bell.cbr, cbr.noted, covered, Budget.of(20))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Its clock stands at the beginning."""
    config = tmp_path / "vaultbell.yaml"
    config.write_text(CONFIG)
    clock = Time()
    cloud = Cloud(now=clock)
    env = cloud.env() | {"VAULTBELL_CONFIG": str(config), "VAULTBELL_SWEEP_PERIOD": "1h"}
    return World(cloud, replace(compose.bell(settings.load(env)), now=clock), clock)


def messages(rung: list[Rung]) -> Told:
    return Counter((one.told.id, name) for one in rung for name in one.to.channels)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def test_what_is_rehearsed_is_what_the_ticks_told(world: World) -> None:
    with mock_cloud(world.cloud):
        for day in range(3):
            for number, ends in enumerate(("success", "failed", "timeout", "skipped")):
                end = ends if day < 2 else "success"  # on the third day all is well again
                world.task(f"{ends}-{number}", day * DAY + number * minutes(7), (minutes(35), end))
        world.task("quiet-1", 3 * HOUR, (minutes(5), "failed"))
        world.task("hangs", 4 * HOUR)
        world.task("late", 5 * HOUR, (30 * HOUR, "failed"))
        world.task("late-but-good", 6 * HOUR, (27 * HOUR, "success"))
        world.task("again", 9 * HOUR, (minutes(5), "failed"))
        world.task("again", 9 * HOUR + minutes(10), (minutes(5), "success"))  # before the tick
        world.live(80)
        covered = Window(BEGIN, BEGIN + 80 * HOUR)
        rung = world.rehearsed(covered)
    assert messages(rung) == world.told
    kinds = Counter(one.told.type for one in rung)
    assert kinds["cbr.task.resolved"] >= 3
    assert kinds["cbr.task.overdue"] == 3 + 1 + 1  # one hangs, and is told of again each day
    assert [one.routes for one in rung if one.told.facts.get("resource_name") == "quiet-1"] == [(2,)]
    assert {(1, 3), (3,)} <= {one.routes for one in rung}


@pytest.mark.parametrize("seed", range(2))
def test_so_it_is_with_a_fleet_that_fails_at_random(world: World, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - the same fleet in every run
    with mock_cloud(world.cloud):
        for number in range(8):
            for run in range(10):
                began = run * 4 * HOUR + minutes(dice.uniform(0, 200))
                ends = dice.choice(("success", "success", "failed", "timeout", "skipped"))
                length = minutes(dice.choice((3, 40, 26 * 60)))
                world.task(f"db-{number}", began, (length, ends))
        world.live(48)
        rung = world.rehearsed(Window(BEGIN, BEGIN + 48 * HOUR))
    assert messages(rung) == world.told


def test_days_count_what_comes_as_one_message_once(world: World) -> None:
    with mock_cloud(world.cloud):
        for number in range(5):
            world.task(
                f"one-{number}", minutes(number), (minutes(5), "failed")
            )  # one tick: more than chat takes singly
        for number in range(2):
            world.task(f"other-{number}", DAY + minutes(number), (minutes(5), "failed"))
        world.clock.now += 2 * DAY
        covered = Window(BEGIN, BEGIN + 2 * DAY)
        rung = world.rehearsed(covered)
    bell = replace(world.bell, digest_over=world.bell.digest_over)
    days = rehearsal.days(rung, covered, bell, UTC)
    shown: list[tuple[int, int, Mapping[str, int]]] = [(day.day.day, day.rings, day.messages) for day in days]
    assert shown == [(16, 5, {"chat": 1}), (17, 2, {"chat": 2})]
