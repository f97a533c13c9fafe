"""Consumers of a queue are killed (SIGKILL) again and again while they work: is every message told, under one id?

    python tests/soak/queue_kill.py [--messages 20000] [--processes 2] [--concurrency 8] [--every 3]

Uses the broker of VAULTBELL_TEST_AMQP_URL, the usual one of loopback, or one of its own. Prints its figures as JSON;
exit status 1 if a message was lost, or told under two ids or with two bodies.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

if __package__ in (None, ""):  # started by its path
    sys.path.insert(0, str(Path(__file__).parent.parent))

from integration.broker import own_broker, usual
from serving import environment
from standin import Cloud, serve
from standin.sinks import Receiver
from vaultbell.platforms.queue.broker import Broker, connected
from vaultbell.platforms.queue.letter import Letter

REFUSED_FIRST = 500  # requests that the receiver does not take: their messages come back


@dataclass
class Crowd:
    """Consumers, one of which is killed and replaced at each call of `lose_one`."""

    command: list[str]
    env: dict[str, str]
    processes: list[subprocess.Popen[bytes]]
    killed: int = 0

    def join(self) -> None:
        """One consumer more."""
        self.processes.append(subprocess.Popen(self.command, env=self.env, stderr=subprocess.DEVNULL))

    def lose_one(self) -> None:
        """One consumer less, and a new one."""
        process = self.processes.pop(random.randrange(len(self.processes)))  # noqa: S311 - whichever
        process.kill()
        process.wait()
        self.killed += 1
        self.join()

    def end(self) -> list[int]:
        """Their exit statuses once they are told to stop."""
        for process in self.processes:
            process.terminate()
        return [process.wait(30) for process in self.processes]


def main() -> int:
    """Run, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--every", type=float, default=3.0, metavar="SECONDS", help="until the next one is killed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if url := usual():
            return soak(url, options)
        with own_broker(Path(folder)) as own:
            own.wait()
            return soak(own.url, options)


def soak(url: str, options: argparse.Namespace) -> int:
    """With the broker at this address."""
    broker = Broker(url, f"vaultbell-soak-{uuid4().hex}")
    cloud = Cloud()
    with serve(cloud), Receiver() as receiver, connected(broker) as link:
        link.declare()
        cloud.fill(options.messages, status="failed", every=0.01)
        tasks = [task["id"] for task in cloud.tasks()]
        receiver.answer(status=503, times=REFUSED_FIRST)
        for task in tasks:
            link.publish(broker.queue, Letter(json.dumps({"operation_log_id": task}).encode()))
        where = [url, "--queue", broker.queue, "--concurrency", str(options.concurrency)]
        settings = cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"}
        crowd = Crowd([sys.executable, "-m", "vaultbell.cli", "consume", *where], environment(settings), [])
        for _ in range(options.processes):
            crowd.join()
        began = time.monotonic()
        while left := sum(link.size(name) for name, _ in broker.queues()) or len(receiver.requests) < len(tasks):
            print(f"{time.monotonic() - began:.0f} s: {left} left, {crowd.killed} killed", file=sys.stderr)
            time.sleep(options.every)
            crowd.lose_one()
        time.sleep(5)  # what the last one held comes back
        statuses = crowd.end()
        seconds = time.monotonic() - began
        unfinished = {name: size for name, _ in broker.queues() if (size := link.size(name))}
        for name, _ in broker.queues():
            link._channel.queue_delete(name)
    told: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
    for got in receiver.requests[REFUSED_FIRST:]:
        told[got.json["data"]["operation_log"]["id"]].append((got.headers["webhook-id"], got.body))
    figures = {
        "messages": len(tasks),
        "killed": crowd.killed,
        "seconds": round(seconds, 1),
        "lost": len(set(tasks) - told.keys()),
        "told more than once": sum(len(rings) > 1 for rings in told.values()),
        "under two ids or with two bodies": sum(len(set(rings)) > 1 for rings in told.values()),
        "left in queues": unfinished,
        "exit statuses": statuses,
    }
    print(json.dumps(figures, indent=2))
    return 1 if figures["lost"] or figures["under two ids or with two bodies"] or unfinished else 0


if __name__ == "__main__":
    sys.exit(main())
