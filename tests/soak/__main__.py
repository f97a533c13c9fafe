"""Run the product under faults, and compare what rang with what should have: exit status 1 if anything deviates.

queue: events through a RabbitMQ of its own and `vaultbell consume`; consumers are killed and stopped, the broker is
killed and restarted. door: the same through the HTTP door, whose server is killed and stopped. cluster: the queue
again, with three brokers, of which one is killed, one cut off from the others, and one cut off from all. fleet: sweeps
and roll calls over weeks of many machines, by a timer that loses, repeats and delays its ticks. The same seed makes the
same scenario: events, tasks, and the fault that each request meets.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from soak import cluster, door, fleet, queued
from soak.ledger import Balance
from soak.scenario import Scenario

PARTS = ("queue", "door", "cluster", "fleet")
SHOWN_MOST = 30
PERIOD, LOOKBACK = 4 * 3_600, 2  # of the fleet's sweeps, in seconds and periods: each reads eight days
INSIDE = "SOAK_HAS_A_NETWORK"


def main(argv: Sequence[str]) -> int:
    """Run the parts, and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", default=list(PARTS), metavar=" | ".join(PARTS))
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))  # noqa: S311 - any
    parser.add_argument("--events", type=int, default=100_000, metavar="N", help="through the queue (100000)")
    parser.add_argument("--http", type=int, default=20_000, metavar="N", help="through the HTTP door (20000)")
    parser.add_argument("--cluster", type=int, default=6_000, metavar="N", help="through three brokers (6000)")
    parser.add_argument("--resources", type=int, default=2_000, metavar="N", help="machines of the fleet (2000)")
    parser.add_argument("--days", type=int, default=30, metavar="N", help="for which it is swept (30)")
    parser.add_argument("--short", action="store_true", help="no restart of the broker, fewer processes")
    parser.add_argument("--at", type=int, default=int(time.time()), help="the scenario's own time (now)")
    options = parser.parse_args(argv)
    parts: dict[str, tuple[int, Callable[..., Balance]]] = {
        "queue": (options.events, queued.soak),
        "door": (options.http, door.soak),
        "cluster": (options.cluster, cluster.soak),
    }
    right = True
    for name in options.parts:
        if name == "cluster" and INSIDE not in os.environ:
            given = {"seed": options.seed, "cluster": options.cluster, "at": options.at}
            right = within_a_network("cluster", *(f"--{key}={value}" for key, value in given.items())) and right
            continue
        if name == "fleet":
            found = fleet.soak(options.seed, options.resources, options.days, PERIOD, LOOKBACK)
        else:
            number, soak = parts[name]
            found = soak(Scenario(options.seed, number, options.at), short=options.short)
        print(json.dumps({"part": name, "seed": options.seed, **found.figures}, indent=2), flush=True)
        for deviation in found.deviations[:SHOWN_MOST]:
            print(deviation)
        print(f"{name}: {len(found.deviations)} deviations", flush=True)
        right = right and not found.deviations
    return 0 if right else 1


def within_a_network(*arguments: str) -> bool:
    """Run a part in a network of its own, where it may do as it likes; whether all was well."""
    command = ["unshare", "--net", *(["--map-root-user"] if os.geteuid() else [])]
    command += [sys.executable, "-m", "soak", *arguments]
    return subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
