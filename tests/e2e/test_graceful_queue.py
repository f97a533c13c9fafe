"""A consumer that is told to stop, or has nowhere to write: every message is rung, or lies in its queue again."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from uuid import uuid4

import pytest

from integration.broker import own_broker, usual
from serving import FUNCTION, environment
from standin import Cloud, ports
from standin.sinks import Receiver
from vaultbell import compose
from vaultbell.platforms.queue.broker import Broker, connected
from vaultbell.platforms.queue.consumer import CUT_SECONDS, DRAIN_SECONDS, Consumer
from vaultbell.platforms.queue.letter import Letter
from vaultbell.settings import load

WITHIN = 20.0
DRAIN = 1.0
CONSUME = f"""
import sys
from functools import partial
from vaultbell.cli import consume, main
consume.Consumer = partial(consume.Consumer, drain={DRAIN})
sys.exit(main(["consume", *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if found := usual():
        yield found
        return
    with own_broker(tmp_path_factory.mktemp("broker")) as broker:
        broker.wait()
        yield broker.url


@pytest.fixture
def queue(url: str) -> Iterator[Broker]:
    broker = Broker(url, f"vaultbell-test-{uuid4().hex}")
    with connected(broker) as link:
        link.declare()
    yield broker
    with connected(broker) as link:
        for name, _ in broker.queues():
            link._channel.queue_delete(name)


@pytest.fixture
def settings(cloud: Cloud, receiver: Receiver) -> dict[str, str]:
    return cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell", "VAULTBELL_TIME_BUDGET": "20"}


def send(queue: Broker, *tasks: str) -> None:
    with connected(queue) as link:
        for task in tasks:
            link.publish(queue.queue, Letter(json.dumps({"operation_log_id": task}).encode()))


@contextmanager
def consuming(settings: Mapping[str, str], url: str, name: str, shell: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """`vaultbell consume` with 4 workers; `shell` are a shell's words for what becomes of its streams."""
    env = environment(settings) | {"PYTHONPATH": str(FUNCTION)}
    command = [sys.executable, "-c", CONSUME, url, "--queue", name, "--concurrency", "4"]
    shell = shell or "2>/dev/null"
    with subprocess.Popen(["sh", "-c", f'exec "$@" {shell}', "sh", *command], env=env) as process:
        try:
            yield process
        finally:
            process.kill()


def rung(receiver: Receiver) -> list[str]:
    return [got.json["data"]["operation_log"]["id"] for got in list(receiver.requests)]


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it holds at last. For what nothing tells: how full a broker's queue is."""
    until = time.monotonic() + WITHIN
    while not (held := holds()) and time.monotonic() < until:
        time.sleep(0.02)
    return held


def left(queue: Broker) -> dict[str, int]:
    """The queues that hold something."""
    with connected(queue) as link:
        return {name: size for name, _ in queue.queues() if (size := link.size(name))}


def test_told_to_stop_under_load_everything_is_rung_or_back_in_its_queue(
    queue: Broker, settings: dict[str, str], cloud: Cloud, receiver: Receiver
) -> None:
    receiver.answer(kind="hang", seconds=60, times=2)  # two workers are held up
    receiver.answer(kind="hang", seconds=0.05, times=200)
    tasks = [cloud.outcome("failed")["id"] for _ in range(150)]
    send(queue, *tasks)
    with consuming(settings, queue.url, queue.queue) as process:
        receiver.wait_for(40, WITHIN)
        process.terminate()
        began = time.monotonic()
        assert process.wait(WITHIN) == 0
        assert time.monotonic() - began < DRAIN + 5
    assert len(receiver.requests) < len(tasks), "there was something left to do"
    told = rung(receiver)
    held_up, finished = told[:2], told[2:]
    assert eventually(lambda: left(queue) == {queue.queue: len(tasks) - len(finished)})

    with consuming(settings, queue.url, queue.queue):
        receiver.wait_for(len(tasks) + len(held_up), WITHIN)
        assert eventually(lambda: not left(queue))
    assert sorted(rung(receiver)) == sorted([*tasks, *held_up])
    assert len({got.headers["webhook-id"] for got in receiver.requests}) == len(tasks)


def test_what_cannot_be_finished_is_handed_back_before_a_platform_kills() -> None:
    assert DRAIN_SECONDS + CUT_SECONDS < 10


def test_a_broker_that_says_nothing_does_not_hold_up_the_end(settings: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", ports.unused())) as silent:
        address = f"amqp://127.0.0.1:{silent.getsockname()[1]}//"
        with consuming(settings, address, "any") as process:
            silent.settimeout(WITHIN)
            connection, _ = silent.accept()
            process.terminate()
            assert process.wait(9) == 0
            connection.close()


@pytest.mark.parametrize("shell", [">/dev/full 2>&1", "<&- >&- 2>&-"], ids=["full", "closed"])
def test_with_nowhere_to_write_every_message_rings_all_the_same(
    queue: Broker, settings: dict[str, str], cloud: Cloud, receiver: Receiver, shell: str
) -> None:
    tasks = [cloud.outcome("failed")["id"] for _ in range(20)]
    send(queue, *tasks)
    with connected(queue) as link:
        link.publish(queue.queue, Letter(b"{"))
    with consuming(settings | {"TMPDIR": "/proc/1", "HOME": "/proc/1"}, queue.url, queue.queue, shell) as process:
        receiver.wait_for(len(tasks), WITHIN)
        assert eventually(lambda: left(queue) == {queue.dead: 1})
        process.terminate()
        assert process.wait(WITHIN) == 0
    assert sorted(rung(receiver)) == sorted(tasks)


def test_a_clock_that_is_set_back_does_not_make_a_message_wait_once_more(
    queue: Broker, settings: dict[str, str], cloud: Cloud, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = replace(queue, queue=f"{queue.queue}-quick", ladder=(0.3,))
    with connected(quick) as link:
        link.declare()
    receiver.answer(status=503, times=3)
    send(quick, cloud.outcome("failed")["id"])
    consumer = Consumer(compose.bell(load(settings)), quick, time_budget=5.0, concurrency=1)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        receiver.wait_for(3, WITHIN)
        hour_ago = time.time() - 3_600
        monkeypatch.setattr(time, "time", lambda: hour_ago)
        receiver.wait_for(4, WITHIN)
    finally:
        consumer.stop.set()
        thread.join(WITHIN)
        with connected(quick) as link:
            for name, _ in quick.queues():
                link._channel.queue_delete(name)
