"""Events through a real RabbitMQ and `vaultbell consume`, whose processes are killed and stopped while it restarts."""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from uuid import uuid4

from integration.broker import OwnBroker, own_broker
from soak import LADDER, sender, world
from soak.crew import Crew, settings
from soak.ledger import Balance, balance
from soak.scenario import Scenario
from soak.sender import Sender
from soak.world import World

QUIET_LOOKS, LOOK_SECONDS = 4, 0.5  # how often in a row nothing may wait anywhere until all is taken to be done
ENDS_WITHIN = 1_500.0  # seconds; a run that hangs ends as a failure


Mishap = tuple[float, str, Callable[[], None]]  # once this part of the events was sent; what it is, and its doing


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is gone about: who works, how often one of them is lost, and what befalls the broker meanwhile."""

    processes: int = 3
    concurrency: int = 16
    lost_every: float = 6.0
    mishaps: Sequence[Mishap] = ()
    backlog: int = 3_000
    attempts_most: int = 15


@dataclass
class Queue:
    """A queue and those beside it, at a broker of one or several addresses."""

    urls: Sequence[str]
    name: str = field(default_factory=lambda: f"soak-{uuid4().hex[:8]}")

    @property
    def waiting(self) -> list[str]:
        """The queues that have to be empty in the end."""
        return [self.name, *(f"{self.name}.delay.{rung:g}s" for rung in LADDER)]

    def left(self) -> dict[str, int] | None:
        """What waits where; None while nobody says."""
        for url in self.urls:
            with suppress(Exception):  # a broker that is being restarted, in any of the ways in which that shows
                return sender.sizes(url, self.waiting)
        return None


def soak(scenario: Scenario, *, short: bool = False) -> Balance:
    """With a broker of its own that is killed, and restarted in order; not if it is to be short."""
    with tempfile.TemporaryDirectory() as folder, own_broker(Path(folder)) as broker:
        broker.wait()
        mishaps: list[Mishap] = [
            (0.3, "the broker is killed, and comes back", lambda: _again(broker, broker.kill)),
            (0.6, "the broker is restarted", lambda: _again(broker, broker.stop)),
        ]
        plan = Plan(2, 8, 1.5, (), 100, 4) if short else Plan(mishaps=mishaps)
        return run(scenario, [broker.url], plan)


def _again(broker: OwnBroker, end: Callable[[], None]) -> None:
    end()
    broker.begin()
    broker.wait()


def run(scenario: Scenario, urls: Sequence[str], plan: Plan, address: str = "") -> Balance:
    """At this broker; `address`: what `vaultbell consume` is given, if not the one url."""
    queue, began = Queue(urls), time.monotonic()
    with tempfile.TemporaryDirectory() as folder, world.running(scenario) as there:
        crew = _crew(scenario, there, queue, address or urls[0], plan, Path(folder))
        try:
            sent = Sender(urls, queue.name, scenario, plan.backlog)
            sent.start()
            for _ in range(plan.processes):
                crew.join()
            unfinished = _work(crew, queue, sent, plan, there, began)
            crew.end()
        finally:
            for process in crew.processes:
                process.kill()
        dead = sender.dead_letters(urls[0], f"{queue.name}.dead")
        found = balance(scenario, there.arrivals(), dead)
        counts, complaints = there.counts(), crew.complaints()
    found.deviations += [*crew.amiss, *complaints, *([f"unfinished: {unfinished}"] if unfinished else [])]
    found.figures |= {
        "consumers killed": crew.killed,
        "consumers stopped": crew.stopped,
        "connections lost by the sender": sent.lost,
        "requests": sum(counts.get(place, 0) for place in ("show", "list", "iam", "hook", "shaky", "mail")),
        "faults": counts.get("faults", 0),
        "seconds": round(time.monotonic() - began),
    }
    return found


def _crew(scenario: Scenario, there: World, queue: Queue, address: str, plan: Plan, folder: Path) -> Crew:
    command = ["consume", address, "--queue", queue.name, "--concurrency", str(plan.concurrency)]
    command += ["--max-attempts", str(plan.attempts_most)]
    return Crew(command, settings(there, folder), folder, Random(f"{scenario.seed} crew"))  # noqa: S311 - reproducible


def _work(crew: Crew, queue: Queue, sent: Sender, plan: Plan, there: World, began: float) -> dict[str, int] | str:
    """Until all is done; what was not, if time ran out."""
    ways, mishaps, mishap = _ways(), list(plan.mishaps), threading.Thread()
    quiet, left, next_loss = 0, None, began + plan.lost_every
    while time.monotonic() - began < ENDS_WITHIN:
        time.sleep(LOOK_SECONDS)
        if mishaps and not mishap.is_alive() and sent.sent >= mishaps[0][0] * sent.number:
            _, words, happen = mishaps.pop(0)
            _say(began, words)
            mishap = threading.Thread(target=happen, daemon=True)
            mishap.start()
        left = queue.left()
        done = left == {} and sent.done.is_set() and not mishap.is_alive()
        quiet = quiet + 1 if done else 0
        if quiet >= QUIET_LOOKS:
            crew.end()  # what is still in somebody's hands is finished, or goes back
            time.sleep(LOOK_SECONDS)
            left = queue.left()
            if left == {}:
                return {}
            quiet = 0
            for _ in range(plan.processes):
                crew.join()
        elif time.monotonic() > next_loss and not quiet:
            next_loss = time.monotonic() + plan.lost_every
            _say(began, f"{sent.sent} sent, {left} wait, {there.counts().get('messages', 0)} messages")
            crew.lose_one(next(ways))
    return left or "nobody knows"


def _say(began: float, words: str) -> None:
    print(f"{time.monotonic() - began:5.0f} s  {words}", file=sys.stderr, flush=True)


def _ways() -> Iterator[signal.Signals]:
    while True:
        yield from (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)
