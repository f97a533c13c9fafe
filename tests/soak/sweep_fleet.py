"""A fleet of backups under a timer that loses and repeats ticks: is each bad task told, and what does it cost?

Run it as `python tests/soak/sweep_fleet.py [TASKS]` (100,000 by default). The cloud and the receiver live in another
process, so that memory and CPU are those of the sweeps alone.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

TOP = Path(__file__).parents[2]
sys.path[:0] = [str(TOP / "function"), str(TOP / "tests")]

from standin import Cloud, serve  # noqa: E402 - after the path to it
from standin.sinks import Receiver  # noqa: E402
from vaultbell import compose, settings, sweeping  # noqa: E402
from vaultbell.bell import Bell  # noqa: E402
from vaultbell.budget import Budget  # noqa: E402
from vaultbell.events import Sweep  # noqa: E402
from vaultbell.handling import Handling  # noqa: E402

PERIOD, LAG, LOOKBACK = timedelta(minutes=15), timedelta(minutes=5), 3
SMALL, LARGE = "a" * 32, "b" * 32
FEW = 1_000
OUTCOMES = ("failed", "timed_out", "skipped", "partial", "unknown", "overdue")
DAYS = 7.0
# How often each tick comes: some are lost, as many in a row as the lookback makes up for, and some come twice.
TICKS = (1, 1, 0, 2, 0, 0, 1, 3)


@dataclass(frozen=True)
class Told:
    """What the other process has seen: tasks by message, the bodies of each, and the lists read before the first."""

    tasks: dict[str, str]
    bodies: dict[str, set[bytes]]
    times: Counter[str]
    lists: int


def fleet(pipe: Connection, number: int, now: datetime) -> None:
    """The cloud and the receiver: a week of good backups, and bad ones in the hours before `now`."""
    cloud = Cloud(project_id=LARGE)
    cloud.projects[SMALL] = "small"
    bad: set[str] = set()
    for project, tasks in ((SMALL, FEW), (LARGE, number)):
        cloud.fill(tasks, every=DAYS * 86_400 / tasks, project_id=project)
    first = now - LAG - (len(TICKS) - 1) * PERIOD  # the moment that the first tick's window ends at, or after
    for turn in range(20 * len(OUTCOMES)):
        at = first + turn / (20 * len(OUTCOMES)) * (len(TICKS) - 2) * PERIOD
        times = {"created_at": at - timedelta(hours=1), "updated_at": at, "ended_at": at}
        if (outcome := OUTCOMES[turn % len(OUTCOMES)]) == "overdue":
            times = {name: at - timedelta(days=1) for name in ("created_at", "started_at", "updated_at")}
        bad.add(cloud.outcome(outcome, project_id=LARGE, **times)["id"])
    with serve(cloud), Receiver() as receiver:
        pipe.send((cloud.env(), receiver.url, bad))
        while pipe.recv() == "told":
            lists = cloud.counts["list"]
            told = Told({}, defaultdict(set), Counter(), lists)
            for got in receiver.requests:
                name = got.headers["webhook-id"]
                told.tasks[name] = got.json["data"]["operation_log"]["id"]
                told.bodies[name].add(got.body)
                told.times[name] += 1
            pipe.send(told)


def sweep(bell: Bell, project: str, at: datetime) -> tuple[int, float]:
    """One sweep: the rows read, and the CPU seconds of this process. Raises where it was not handled."""
    began = time.process_time()
    handling = Handling(bell, bell.cbr, Budget.of(120.0), leave=True)
    lines, swept = sweeping.sweep(handling, Sweep(at, PERIOD, LAG, project, LOOKBACK))
    worst = {line.result.status for line in lines} - {200}
    if worst or not swept:
        raise SystemExit(f"a sweep was answered {worst}")
    return swept.tasks, time.process_time() - began


def peak() -> float:
    """The most memory that this process ever had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(argv: Sequence[str]) -> int:
    """Sweep the fleet, print the figures; 1 where a bad task was not told, or told in two ways."""
    number = int(argv[0]) if argv else 100_000
    now = datetime.now(UTC)
    ours, theirs = multiprocessing.Pipe()
    other = multiprocessing.get_context("spawn").Process(target=fleet, args=(theirs, number, now), daemon=True)
    other.start()
    environment, url, bad = ours.recv()
    hook = {"VAULTBELL_WEBHOOK_URL": url, "VAULTBELL_PROJECTS": f"{LARGE},{SMALL}", "VAULTBELL_LOG_LEVEL": "ERROR"}
    bell = compose.bell(settings.load({**environment, **hook}))

    few, few_seconds = sweep(bell, SMALL, now)
    few_peak = peak()
    read, seconds, sweeps = 0, 0.0, 0
    for turn, times in enumerate(TICKS):
        for _ in range(times):
            rows, took = sweep(bell, LARGE, now - (len(TICKS) - 1 - turn) * PERIOD)
            read, seconds, sweeps = read + rows, seconds + took, sweeps + 1
    ours.send("told")
    told: Told = ours.recv()
    ours.send("end")
    other.join(10)

    missed = bad - set(told.tasks.values())
    torn = [name for name, bodies in told.bodies.items() if len(bodies) > 1]
    print(f"sweeps of {number:,} tasks         {sweeps} ({TICKS.count(0)} of {len(TICKS)} ticks lost)")
    print(f"rows read, list calls         {read:,}, {told.lists:,}")
    each, few_each = seconds / read * 1e6, few_seconds / few * 1e6
    print(f"CPU a row                     {each:.1f} µs ({few_each:.1f} with {FEW:,} tasks)")
    print(f"peak memory                   {peak():.1f} MiB ({few_peak:.1f} with {FEW:,} tasks)")
    print(f"bad tasks told                {len(bad) - len(missed)} of {len(bad)}, by {len(told.times)} messages")
    print(f"messages told again           {sum(told.times.values()) - len(told.times)}, {len(torn)} with another body")
    return 1 if missed or torn or set(told.tasks.values()) - bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
