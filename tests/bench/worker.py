"""A process that handles events in one way, as often as it is told to, and says what that took.

Told by lines of JSON on standard input; standard error, to which the log goes, is a file of its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count

from bench.cloud import event
from bench.peers import PEERS, PROJECT, Ours, Peer


def resident() -> int:
    """The memory that this process has now, in bytes."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no path to it is kept
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@cache
def crew(threads: int) -> ThreadPoolExecutor:
    """Threads that stay, and keep their connections."""
    return ThreadPoolExecutor(threads)


def work(peer: Peer, bodies: list[bytes], threads: int) -> None:
    """Handle the events, on so many threads. Raises what one of them raised."""

    def some(part: list[bytes]) -> None:
        for body in part:
            peer.handle(body)

    if threads == 1:
        some(bodies)
    else:
        list(crew(threads).map(some, [bodies[at::threads] for at in range(threads)]))


def main(name: str, url: str, ca_file: str | None) -> None:
    """Answer each line with one."""
    peer = PEERS[name](url, ca_file)
    numbers = count()
    print(json.dumps({"ready": name}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        bodies = [event(PROJECT, next(numbers)) for _ in range(asked["events"])]
        wall, cpu = time.perf_counter(), time.process_time()
        work(peer, bodies, asked["threads"])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        told = {"wall": wall, "cpu": cpu, "resident": resident()}
        if isinstance(peer, Ours):
            told["contexts"] = peer.contexts
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
