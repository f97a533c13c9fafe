"""Events through the HTTP door, as functions-framework serves it, while server and worker are killed and stopped.

The sender is what a queue with push delivery is: it posts an event again until the answer is a final one.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import chain, cycle
from pathlib import Path
from random import Random

from soak import world
from soak.crew import Crew, settings
from soak.ledger import Balance, balance
from soak.scenario import Event, Scenario
from standin.ports import unused

THREADS = 32
POSTS_MOST, UNDER_WAY_MOST = 40, 600  # posts side by side; events that were begun and have no final answer
ATTEMPTS_MOST, SHORT_ATTEMPTS = 15, 5
SCALE = 30.0  # a `Retry-After` is waited for so much faster
LOST_AGAIN, ANSWER_WITHIN = 0.2, 40.0  # seconds
ENDS_WITHIN = 900.0  # seconds; a run that hangs ends as a failure
HEAD_END = b"\r\n\r\n"


class Sender:
    """Posts events until each has a final answer; `dead` are those that were refused, and why."""

    def __init__(self, port: int, attempts_most: int) -> None:
        self._port, self._attempts_most = port, attempts_most
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._posts = asyncio.Semaphore(POSTS_MOST)
        self.dead: list[tuple[int, str]] = []
        self.counts: Counter[str] = Counter()

    @property
    def answers(self) -> int:
        """How many there were."""
        return self.counts.total() - self.counts["posts lost"]

    async def send(self, event: Event) -> None:
        """One event, to its end."""
        attempts = 0
        while True:
            try:
                async with self._posts, asyncio.timeout(ANSWER_WITHIN):
                    status, after, body = await self._post(event)
            except (OSError, EOFError, TimeoutError, ValueError):  # the server is gone, or was going
                self.counts["posts lost"] += 1
                await asyncio.sleep(LOST_AGAIN)
                continue
            self.counts[f"answers {status}"] += 1
            if status < 300:
                return
            if status not in (500, 503):
                self.dead.append((event.number, str(json.loads(body)["error"]["code"])))
                return
            attempts += 1
            if attempts >= self._attempts_most:
                self.dead.append((event.number, "too_many_attempts"))
                return
            await asyncio.sleep(min(after, SCALE) / SCALE)

    async def _post(self, event: Event) -> tuple[int, float, bytes]:
        """Status, `Retry-After` and body of an answer. Raises what the socket raises."""
        kept = self._idle.pop() if self._idle else None
        reader, writer = kept or await asyncio.open_connection("127.0.0.1", self._port)
        try:
            lines = [f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {event.content_type}"]
            lines += [f"ce-{name}: {value}" for name, value in event.attributes.items()]
            head = "\r\n".join([*lines, f"Content-Length: {len(event.body)}", "", ""])
            writer.write(head.encode() + event.body)
            start, *lines = (await reader.readuntil(HEAD_END)).decode("latin-1").rstrip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        except BaseException:
            writer.close()
            raise
        if headers.get("connection", "").lower() == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(start.split()[1]), float(headers.get("retry-after", SCALE / 2)), body


def soak(scenario: Scenario, *, short: bool = False) -> Balance:
    """Start the function and the world, send everything, and say what came of it."""
    began, port = time.monotonic(), unused()
    with tempfile.TemporaryDirectory() as name, world.running(scenario) as there:
        folder = Path(name)
        env = settings(there, folder) | {"THREADS": str(THREADS)}
        crew = Crew(["serve", str(port)], env, folder, Random(f"{scenario.seed} crew"))  # noqa: S311 - reproducible
        crew.join()
        try:
            sender = Sender(port, SHORT_ATTEMPTS if short else ATTEMPTS_MOST)
            unfinished = asyncio.run(_work(scenario, sender, crew, 0.3 if short else 10.0))
            crew.end()
        finally:
            for process in crew.processes:
                process.kill()
        found = balance(scenario, there.arrivals(), sender.dead)
        counts, complaints = there.counts(), crew.complaints()
    found.deviations += [*crew.amiss, *complaints, *([f"unfinished: {unfinished} events"] if unfinished else [])]
    found.figures |= {
        **dict(sorted(sender.counts.items())),
        "servers killed": crew.killed,
        "servers stopped": crew.stopped,
        "requests": sum(counts.get(place, 0) for place in ("show", "list", "iam", "hook", "shaky", "mail")),
        "faults": counts.get("faults", 0),
        "seconds": round(time.monotonic() - began),
    }
    return found


async def _work(scenario: Scenario, sender: Sender, crew: Crew, lost_every: float) -> int:
    """Send everything, while the server is lost again and again; how many events had no final answer in time."""
    room = asyncio.Semaphore(UNDER_WAY_MOST)
    under_way: set[asyncio.Task[None]] = set()

    def ended(task: asyncio.Task[None]) -> None:
        under_way.discard(task)
        room.release()

    chaos = asyncio.create_task(_lose(crew, sender, lost_every))
    with suppress(TimeoutError):
        async with asyncio.timeout(ENDS_WITHIN):
            for event in chain.from_iterable([event] * event.times for event in scenario.events()):
                await room.acquire()
                task = asyncio.create_task(sender.send(event))
                under_way.add(task)
                task.add_done_callback(ended)
            await asyncio.gather(*under_way)
    chaos.cancel()
    with suppress(asyncio.CancelledError):
        await chaos
    return len(under_way)


async def _lose(crew: Crew, sender: Sender, every: float) -> None:
    """Lose the server in one way after the other, each time after it has answered for so long."""
    began = time.monotonic()
    ways: list[Callable[[], None]] = [
        lambda: _kill_worker(crew),
        lambda: crew.lose_one(signal.SIGTERM),
        lambda: crew.lose_one(signal.SIGKILL),
    ]
    for lose in cycle(ways):
        answers = sender.answers
        while sender.answers == answers:  # noqa: ASYNC110 - the sender is not told to signal each answer
            await asyncio.sleep(0.05)  # it has yet to begin
        await asyncio.sleep(every)
        print(f"{time.monotonic() - began:5.0f} s  {dict(sender.counts)}", file=sys.stderr, flush=True)
        await asyncio.shield(asyncio.to_thread(lose))


def _kill_worker(crew: Crew) -> None:
    """Kill the server's one child, which serves; the server starts another."""
    (process,) = crew.processes
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii").split():
        os.kill(int(child), signal.SIGKILL)
        crew.killed += 1
