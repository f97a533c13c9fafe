"""Messages of a real broker: each is told, comes back in time, or is dead with a reason, and none is lost."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from integration.broker import OwnBroker, own_broker, usual
from serving import environment
from standin import Cloud
from standin.ports import unused
from standin.server import server_context
from standin.sinks import Got, Receiver
from vaultbell import cli, compose, handling, pipeline, settings
from vaultbell.errors import Transient
from vaultbell.platforms.queue import consumer
from vaultbell.platforms.queue.broker import Broker, connected
from vaultbell.platforms.queue.consumer import Consumer
from vaultbell.platforms.queue.letter import Letter

LADDER = (0.2, 0.5)
WITHIN = 15.0

CONSUME = """
import sys
from functools import partial
from vaultbell.cli import consume, main
consume.Broker = partial(consume.Broker, ladder=(0.2, 0.5))
sys.exit(main(["consume", *sys.argv[1:]]))
"""


def eventually(holds: Callable[[], bool], within: float = WITHIN) -> bool:
    """Whether it holds at last. For what nothing tells: how full a broker's queue is."""
    until = time.monotonic() + within
    while not (held := holds()) and time.monotonic() < until:
        time.sleep(0.02)
    return held


class Bench:
    """A queue of one test's own, what leads to the stand-in cloud and the receiver, and consumers of the queue."""

    def __init__(self, url: str, env: Mapping[str, str], queue: str = "") -> None:
        self.broker = Broker(url, queue or f"vaultbell-test-{uuid4().hex}", LADDER)
        self.env = dict(env)
        with connected(self.broker) as link:
            link.declare()

    def ladder(self, *rungs: float) -> None:
        """Wait on these rungs instead."""
        self.broker = replace(self.broker, ladder=rungs)
        with connected(self.broker) as link:
            link.declare()

    def send(self, *events: object, **said: Any) -> None:  # noqa: ANN401 - what a letter has
        """Publish events; bytes as they are, others as JSON."""
        with connected(self.broker) as link:
            for event in events:
                body = event if isinstance(event, bytes) else json.dumps(event).encode()
                link.publish(self.broker.queue, Letter(body, **said))

    @contextmanager
    def consuming(self, concurrency: int = 2, time_budget: float = 5.0, **options: Any) -> Iterator[Consumer]:  # noqa: ANN401
        """A consumer in a process that has just begun, as far as what it remembers goes."""
        bell = compose.app(settings.load(self.env)).bell
        consumer = Consumer(bell, self.broker, concurrency=concurrency, time_budget=time_budget, **options)
        thread = threading.Thread(target=consumer.run)
        thread.start()
        try:
            yield consumer
        finally:
            consumer.stop.set()
            thread.join(WITHIN)
            assert not thread.is_alive()

    @contextmanager
    def process(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """`vaultbell consume`, with this test's ladder; it is killed at the end, if it has not ended."""
        command = [sys.executable, "-c", CONSUME, self.broker.url, "--queue", self.broker.queue, *arguments]
        with subprocess.Popen(command, env=environment(self.env), stderr=subprocess.DEVNULL) as process:
            try:
                yield process
            finally:
                process.kill()

    def size(self, queue: str = "") -> int:
        """How many messages wait in the queue, or in another."""
        with connected(self.broker) as link:
            return link.size(queue or self.broker.queue)

    def left(self) -> dict[str, int]:
        """The queues that hold something."""
        with connected(self.broker) as link:
            return {name: size for name, _ in self.broker.queues() if (size := link.size(name))}

    def dead(self, number: int = 1) -> list[Letter]:
        """The next dead letters, once there are so many; they are taken out."""
        found: list[Letter] = []
        with connected(replace(self.broker, queue=self.broker.dead)) as link:
            link.consume()
            until = time.monotonic() + WITHIN
            while len(found) < number and time.monotonic() < until:
                if message := link.next(0.5):
                    found.append(Letter.of(message))
                    message.ack()
        assert len(found) == number
        return found

    def delete(self) -> None:
        """Leave nothing in a broker that is not ours."""
        names = {
            name for ladder in (LADDER, self.broker.ladder) for name, _ in replace(self.broker, ladder=ladder).queues()
        }
        with connected(self.broker) as link:
            for name in names:
                link._channel.queue_delete(name)


@pytest.fixture(scope="module", autouse=True)
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnBroker]:
    """A broker that may be killed. It takes seconds to start, and does so while the other tests run."""
    with own_broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture(scope="module")
def amqp(breakable: OwnBroker) -> str:
    """The address of a broker that may not."""
    if not (url := usual()):
        breakable.wait()
    return url or breakable.url


@pytest.fixture(autouse=True)
def _haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(consumer, "PAUSE_LEAST", 0.1)


@pytest.fixture
def bench(amqp: str, cloud: Cloud, receiver: Receiver) -> Iterator[Bench]:
    bench = Bench(amqp, cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"})
    yield bench
    bench.delete()


def ids(told: list[Got]) -> list[str]:
    return [got.headers["webhook-id"] for got in told]


def subjects(told: list[Got]) -> Counter[str]:
    return Counter(got.json["data"]["operation_log"]["id"] for got in told)


def test_every_message_is_told_once_and_acknowledged(bench: Bench, cloud: Cloud, receiver: Receiver) -> None:
    tasks = [cloud.add()["id"] for _ in range(20)]
    bench.send(*({"operation_log_id": task, "project_id": cloud.project_id} for task in tasks))
    with bench.consuming(concurrency=4):
        told = receiver.wait_for(20)
    assert subjects(told) == Counter(tasks)
    assert bench.left() == {}


ATTRIBUTES = {"id": "1", "source": "/billing", "specversion": "1.0", "type": "backup.ended"}


def forms(log: Mapping[str, Any]) -> dict[str, tuple[object, dict[str, Any]]]:
    plain = {"operation_log_id": log["id"]}
    alarm = {
        "alarm_id": "al1",
        "alarm_status": "alarm",
        "namespace": "SYS.CBR",
        "metric_name": "backupFailed",
        "time": log["ended_at"],
        "template_variable": {"ResourceId": log["extra_info"]["resource"]["id"]},
    }
    event = {**ATTRIBUTES, "data": plain}
    return {
        "plain": (plain, {}),
        "listed": ({"events": [plain]}, {}),
        "structured": (event, {"content_type": "application/cloudevents+json; charset=utf-8"}),
        "batch": ([event], {"content_type": "application/cloudevents-batch+json"}),
        "binary": (plain, {"headers": {f"cloudEvents:{name}": value for name, value in ATTRIBUTES.items()}}),
        "binary, JMS": (plain, {"headers": {f"cloudEvents_{name}": value for name, value in ATTRIBUTES.items()}}),
        "binary, as HTTP": (plain, {"headers": {f"ce-{name}": value for name, value in ATTRIBUTES.items()}}),
        "packed, as kombu does": (
            zlib.compress(json.dumps(plain).encode()),
            {"headers": {"compression": "application/x-gzip"}},
        ),
        "in UTF-16": (json.dumps(plain).encode("utf-16"), {"content_encoding": "utf-16"}),
        "an alarm of Cloud Eye": (alarm, {}),
        "byte-order mark": (b"\xef\xbb\xbf" + json.dumps(plain).encode(), {}),
    }


def test_a_message_may_have_any_form_of_event(bench: Bench, cloud: Cloud, receiver: Receiver) -> None:
    tasks = []
    for name in forms(cloud.add()):
        log = cloud.add()
        event, said = forms(log)[name]
        bench.send(event, **said)
        tasks.append(log["id"])
    own = {
        **ATTRIBUTES,
        "source": f"/vaultbell/eu-de/{cloud.project_id}",
        "data": {"operation_log_id": cloud.add()["id"]},
    }
    bench.send(own, content_type="application/cloudevents+json")
    with bench.consuming():
        told = receiver.wait_for(len(tasks))
        assert eventually(lambda: bench.left() == {})
    assert subjects(told) == Counter(tasks)


def test_a_message_whose_properties_cannot_be_read_is_handled_all_the_same(
    bench: Bench, cloud: Cloud, receiver: Receiver
) -> None:
    bench.send({"operation_log_id": cloud.add()["id"]}, content_type=b"\xff\xfe", headers={"x": "y"})
    bench.send({"operation_log_id": cloud.add()["id"]})
    with bench.consuming(concurrency=1):
        receiver.wait_for(2)
    assert bench.left() == {}


def test_what_was_not_delivered_comes_back_later_under_the_same_id(
    bench: Bench, cloud: Cloud, receiver: Receiver
) -> None:
    bench.ladder(0.2, 60.0)
    receiver.answer(status=503, headers={"Retry-After": "60"}, times=1)
    task = cloud.add()["id"]
    bench.send({"operation_log_id": task}, headers={"trace": "7"}, properties={"message_id": "m1", "timestamp": 1})
    with bench.consuming(time_budget=1.0, attempts_most=3):
        receiver.wait_for(1)
        rung = bench.broker.delay(60)
        assert eventually(lambda: bench.size(rung) == 1)
        with connected(bench.broker) as link:
            waiting = link.get(rung)
            assert waiting is not None
            assert Letter.of(waiting).early == 0.0  # the rung alone is long enough
            assert Letter.of(waiting).attempts == 1
            assert waiting.headers["trace"] == "7"
            assert (waiting.properties["message_id"], waiting.properties["delivery_mode"]) == ("m1", 2)
            link.publish(bench.broker.delay(0), Letter.of(waiting))  # a minute later
            waiting.ack()
        told = receiver.wait_for(2)
    assert len(set(ids(told))) == 1
    assert told[0].body == told[1].body
    assert bench.left() == {}


def test_a_wait_that_is_longer_than_the_ladder_is_waited_to_its_end(
    bench: Bench, cloud: Cloud, receiver: Receiver
) -> None:
    receiver.answer(status=429, headers={"Retry-After": "1"}, times=1)
    bench.send({"operation_log_id": cloud.add()["id"]})
    with bench.consuming(time_budget=0.5):
        first, second = receiver.wait_for(2)
    assert second.time - first.time >= 1 - LADDER[0]
    assert LADDER[-1] < 1 - LADDER[0]


def test_a_running_task_is_waited_for_until_its_deadline_and_that_is_no_attempt(
    bench: Bench, cloud: Cloud, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handling, "RUNNING_AGAIN", 0.3)
    began = datetime.now(UTC) - timedelta(hours=24) + timedelta(seconds=1)
    overdue = cloud.add(status="running", created_at=began, started_at=began)["id"]
    ends = cloud.add(script=[(0, "running"), (0.8, "failed")])["id"]
    bench.send({"operation_log_id": overdue}, {"operation_log_id": ends})
    with bench.consuming(attempts_most=1):
        told = receiver.wait_for(2)
    assert {got.json["type"] for got in told} == {"cbr.task.overdue", "cbr.task.failed"}
    assert subjects(told) == Counter([overdue, ends])
    assert cloud.counts["show"] >= 4  # each was looked at before
    assert bench.left() == {}


def test_a_task_that_is_not_visible_yet_is_waited_for(bench: Bench, cloud: Cloud, receiver: Receiver) -> None:
    bench.ladder(0.2, 60.0)
    task = cloud.add()
    cloud.remove(task["id"])
    now = datetime.now(UTC)
    with bench.consuming(attempts_most=1):
        bench.send({"operation_log_id": task["id"]}, properties={"timestamp": int(now.timestamp())})
        assert eventually(lambda: bench.size(bench.broker.delay(60)) == 1)
    assert receiver.requests == []
    with connected(bench.broker) as link:
        message = link.get(bench.broker.delay(60))
        assert message is not None
        assert Letter.of(message).attempts == 0
        assert Letter.of(message).event.time == now.replace(microsecond=0)


POISON: dict[str, tuple[object, str]] = {
    "not JSON": (b"{", "not_json"),
    "not UTF-8": (b"\xff\xfe\x00", "not_json"),
    "empty": (b"", "not_json"),
    "no task": ({"hello": 1}, "no_task"),
    "a bad id": ({"operation_log_id": "../etc"}, "bad_id"),
    "another project": (
        {"operation_log_id": "00000000-0000-4000-8000-000000000001", "project_id": "f" * 32},
        "project_not_allowed",
    ),
    "too large": (b" " * (1 << 20) + b"{}", "too_large"),
    "too many": ({"events": [{}] * 1001}, "too_large"),
    "a platform's own form": ({"trigger_type": "KAFKA", "records": []}, "no_task"),
    "nested": (b"[" * 100_000, "not_json"),
}


def test_what_can_never_be_handled_is_a_dead_letter_with_its_reason(
    bench: Bench, cloud: Cloud, receiver: Receiver
) -> None:
    for name, (event, _) in POISON.items():
        bench.send(event, headers={"name": name}, properties={"message_id": name, "timestamp": 1_700_000_000})
    bench.send({"operation_log_id": cloud.add()["id"]})
    with bench.consuming():
        dead = {letter.headers["name"]: letter for letter in bench.dead(len(POISON))}
        receiver.wait_for(1)
    for name, (event, code) in POISON.items():
        headers = dead[name].headers
        assert headers["x-vaultbell-reason"] == code, name
        assert headers["x-vaultbell-message"]
        assert headers["x-vaultbell-queue"] == bench.broker.queue
        assert headers["x-vaultbell-attempts"] == 1
        for at in ("x-vaultbell-first-time", "x-vaultbell-dead-time"):
            assert abs(datetime.fromisoformat(str(headers[at])) - datetime.now(UTC)) < timedelta(minutes=1)
        assert dead[name].properties == {"message_id": name, "timestamp": 1_700_000_000}
        assert dead[name].body == (event if isinstance(event, bytes) else json.dumps(event).encode())
    assert bench.left() == {}


def test_a_channel_that_refuses_for_good_makes_a_dead_letter(bench: Bench, cloud: Cloud, receiver: Receiver) -> None:
    receiver.answer(status=410)
    bench.send({"operation_log_id": cloud.add()["id"]})
    with bench.consuming():
        (letter,) = bench.dead()
    assert letter.headers["x-vaultbell-reason"] == "undeliverable"
    assert "webhook" in str(letter.headers["x-vaultbell-message"])
    assert len(receiver.requests) == 1


def test_nothing_circles_for_ever_whatever_its_header_says(bench: Bench, cloud: Cloud, receiver: Receiver) -> None:
    receiver.answer(status=503)
    counts: list[object] = ["", -1, "many", 2**62, [1], None, True, 2.5]
    for counted in counts:
        bench.send({"operation_log_id": cloud.add()["id"]}, headers={"x-vaultbell-attempts": counted})
    with bench.consuming(concurrency=8, attempts_most=3, time_budget=0.3):
        letters = bench.dead(len(counts))
    assert {letter.headers["x-vaultbell-reason"] for letter in letters} == {"too_many_attempts"}
    assert {letter.attempts for letter in letters} == {3}
    assert all("webhook" in str(letter.headers["x-vaultbell-message"]) for letter in letters)
    assert len(set(ids(receiver.requests))) == len(counts)
    assert bench.left() == {}


def test_only_the_channels_that_are_owed_are_told_again_by_whichever_process(
    bench: Bench, cloud: Cloud, receiver: Receiver, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    ways = {name: {"type": "webhook", "url": f"{receiver.url}/{name}"} for name in ("mail", "ops")}
    config.write_text(json.dumps({"channels": ways, "routes": [{"channels": ["mail", "ops"]}]}))
    bench.env = {**cloud.env(), "VAULTBELL_CONFIG": str(config)}
    bench.ladder(0.2, 60.0)
    receiver.answer("/ops", status=503, headers={"Retry-After": "60"}, times=1)
    task = cloud.add()["id"]
    bench.send({"task_id": task}, properties={"timestamp": 1_700_000_000})
    with bench.consuming(time_budget=1.0):
        assert eventually(lambda: bench.size(bench.broker.delay(60)) == 1)
    with connected(bench.broker) as link:
        waiting = link.get(bench.broker.delay(60))
        assert waiting is not None
        letter = Letter.of(waiting)
        link.publish(bench.broker.queue, letter.marked({"x-vaultbell-not-before": 0}))
        waiting.ack()
    named = json.loads(letter.body)
    assert (named["operation_log_id"], named["channels"]) == (task, ["ops"])
    with bench.consuming():
        told = receiver.wait_for(3)
    assert Counter(got.path for got in told) == {"/mail": 1, "/ops": 2}
    assert len(set(ids(told))) == 1
    assert bench.left() == {}


def test_an_error_of_our_own_costs_neither_the_message_nor_the_consumer(
    bench: Bench, cloud: Cloud, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = iter([RuntimeError("bug"), RecursionError()])
    handle = pipeline.handle

    def fails(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as handle takes them
        if error := next(broken, None):
            raise error
        return handle(*args, **kwargs)

    monkeypatch.setattr(pipeline, "handle", fails)
    bench.send({"operation_log_id": cloud.add()["id"]})
    with bench.consuming(concurrency=1):
        receiver.wait_for(1)
    monkeypatch.setattr(pipeline, "handle", lambda *_: 1 / 0)
    bench.send({"operation_log_id": cloud.add()["id"]})
    with bench.consuming(concurrency=1, attempts_most=2):
        (letter,) = bench.dead()
    assert letter.attempts == 2
    assert "internal" in str(letter.headers["x-vaultbell-message"])
    assert bench.left() == {}


def test_a_message_that_the_broker_cannot_place_is_not_taken_for_published(bench: Bench) -> None:
    with connected(bench.broker) as link:
        with pytest.raises(Transient, match="no queue"):
            link.publish("vaultbell-test-nowhere", Letter(b"{}"))
        link.publish(bench.broker.queue, Letter(b"{}"))  # its confirm is its own
        with pytest.raises(Transient, match="no queue"):
            link.publish("vaultbell-test-nowhere", Letter(b"{}"))
    assert bench.size() == 1


def test_a_message_that_cannot_be_parked_is_kept_and_its_queue_is_made_anew(
    bench: Bench, cloud: Cloud, receiver: Receiver
) -> None:
    receiver.answer(kind="hang", seconds=2.0, times=1)
    bench.send({"operation_log_id": cloud.add()["id"]})
    with bench.consuming(concurrency=1, time_budget=1.0):
        receiver.wait_for(1)
        with connected(bench.broker) as link:  # while it is in work
            for rung in LADDER:
                link._channel.queue_delete(bench.broker.delay(rung))
        told = receiver.wait_for(2)
        assert eventually(lambda: bench.left() == {})
    assert len(set(ids(told))) == 1


def test_killed_consumers_lose_nothing_and_repeats_carry_the_same_id(
    bench: Bench, cloud: Cloud, receiver: Receiver
) -> None:
    tasks = [cloud.add()["id"] for _ in range(300)]
    receiver.answer(status=503, times=20)
    bench.send(*({"operation_log_id": task} for task in tasks))
    with ExitStack() as stack:

        def start() -> subprocess.Popen[bytes]:
            return stack.enter_context(bench.process("--concurrency", "4"))

        processes = [start(), start()]
        for number in (80, 180):
            receiver.wait_for(number, WITHIN)
            processes.pop(0).kill()
            processes.append(start())
        assert eventually(lambda: set(subjects(receiver.requests[20:])) == set(tasks), 30)
        assert eventually(lambda: bench.left() == {})
    same: dict[str, set[tuple[str, bytes]]] = defaultdict(set)
    for got in receiver.requests:
        same[got.json["data"]["operation_log"]["id"]].add((got.headers["webhook-id"], got.body))
    assert {len(repeats) for repeats in same.values()} == {1}


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_a_consumer_that_is_told_to_stop_finishes_what_it_has_and_takes_nothing_new(
    bench: Bench, cloud: Cloud, receiver: Receiver, name: signal.Signals
) -> None:
    receiver.answer(kind="hang", seconds=0.5, times=1)
    bench.send(*({"operation_log_id": cloud.add()["id"]} for _ in range(2)))
    with bench.process("--concurrency", "1") as process:
        receiver.wait_for(1, WITHIN)
        process.send_signal(name)
        assert process.wait(WITHIN) == 0
    assert len(receiver.requests) == 1
    assert eventually(lambda: bench.left() == {bench.broker.queue: 1})


def test_a_consumer_that_cannot_finish_hands_back(bench: Bench, cloud: Cloud, receiver: Receiver) -> None:
    receiver.answer(kind="hang", seconds=3.0, times=1)
    bench.send({"operation_log_id": cloud.add()["id"]})
    with bench.consuming(concurrency=1, drain=0.2):
        receiver.wait_for(1)
    assert eventually(lambda: bench.left() == {bench.broker.queue: 1})
    with bench.consuming():
        told = receiver.wait_for(2)
    assert len(set(ids(told))) == 1
    assert bench.left() == {}


def test_a_broker_that_is_killed_under_load_and_comes_back_is_found_again(
    breakable: OwnBroker, cloud: Cloud, receiver: Receiver
) -> None:
    breakable.wait()
    bench = Bench(breakable.url, cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"})
    tasks = [cloud.add()["id"] for _ in range(200)]
    receiver.answer(status=503, times=20)
    bench.send(*({"operation_log_id": task} for task in tasks))
    with bench.consuming(concurrency=4):
        receiver.wait_for(60, WITHIN)
        breakable.kill()
        told = len(receiver.requests)
        breakable.begin()
        breakable.wait()
        assert eventually(lambda: set(subjects(receiver.requests[20:])) == set(tasks), 30)
        assert eventually(lambda: bench.left() == {})
    assert told < 220  # there was something left to do
    assert len(set(ids(receiver.requests))) == len(tasks)


def test_a_consumer_waits_for_a_broker_that_is_not_there_yet_and_can_be_told_not_to(bench: Bench) -> None:
    bell = compose.app(settings.load(bench.env)).bell
    absent = Consumer(bell, Broker(f"amqp://127.0.0.1:{unused()}", "backups"), time_budget=5.0)
    thread = threading.Thread(target=absent.run)
    thread.start()
    thread.join(0.5)
    assert thread.is_alive()
    absent.stop.set()
    thread.join(WITHIN)
    assert not thread.is_alive()


def test_where_one_of_several_brokers_is_not_there_another_is_used(
    bench: Bench, cloud: Cloud, receiver: Receiver
) -> None:
    bench.broker = replace(bench.broker, url=f"amqp://127.0.0.1:{unused()};{bench.broker.url}")
    for _ in range(4):  # the order is drawn: each is the first at some time
        bench.send({"operation_log_id": cloud.add()["id"]})
    with bench.consuming(concurrency=4):
        receiver.wait_for(4)
    assert bench.left() == {}


def run(bench: Bench, *arguments: str) -> int:
    return cli.main(["queue", arguments[0], bench.broker.url, "--queue", bench.broker.queue, *arguments[1:]])


def test_dead_letters_are_listed_and_moved_back(
    bench: Bench, cloud: Cloud, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.answer(status=410, times=2)
    tasks = [cloud.add()["id"] for _ in range(2)]
    bench.send(b"{\n", *({"operation_log_id": task} for task in tasks), headers={"trace": "7"})
    with bench.consuming(concurrency=1):
        assert eventually(lambda: bench.left() == {bench.broker.dead: 3})
    capsys.readouterr()

    for _ in range(2):  # to look changes nothing
        assert run(bench, "dead", "--json") == 0
        listed = json.loads(capsys.readouterr().out)
        assert [row["code"] for row in listed] == ["not_json", "undeliverable", "undeliverable"]
        assert [row["attempts"] for row in listed] == [1, 1, 1]
        assert json.loads(listed[1]["body"]) == {"operation_log_id": tasks[0]}
        assert {type(datetime.fromisoformat(row[at])) for row in listed for at in ("time", "first_time")} == {datetime}
    assert run(bench, "redrive", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert tasks[0] in shown
    assert "refused for good by: webhook" in shown
    assert bench.left() == {bench.broker.dead: 3}

    assert run(bench, "redrive", "--limit", "2") == 0
    assert capsys.readouterr().out.endswith(": 2\n")
    assert bench.left() == {bench.broker.dead: 1, bench.broker.queue: 2}
    assert run(bench, "redrive") == 0
    with connected(bench.broker) as link:
        message = link.get(bench.broker.queue)
        assert message is not None
        assert message.headers == {"trace": "7", "x-delivery-count": 0}
    with bench.consuming():
        receiver.wait_for(4)
        (again,) = bench.dead()  # what was never right is not right now
    assert again.attempts == 1
    assert subjects(receiver.requests[2:]) == Counter(tasks)


def test_a_message_that_kills_whoever_takes_it_ends_among_the_dead(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.delete()
    bench.broker = replace(bench.broker, deliveries_most=2)
    with connected(bench.broker) as link:
        link.declare()
    bench.send({"operation_log_id": "deadly"})
    for _ in range(3):
        with connected(bench.broker) as link:
            assert eventually(lambda: link.get(bench.broker.queue) is not None)
            link.cut()
    assert eventually(lambda: bench.left() == {bench.broker.dead: 1})
    assert run(bench, "dead", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["code"], row["message"]) == ("delivery_limit", "given up by the broker")
    assert json.loads(row["body"]) == {"operation_log_id": "deadly"}


def test_an_event_can_be_sent_from_a_file_and_from_standard_input(
    bench: Bench, cloud: Cloud, receiver: Receiver, tmp_path: Path
) -> None:
    files = [tmp_path / "event.json", tmp_path / "url"]
    files[0].write_text(json.dumps({"operation_log_id": cloud.add()["id"]}))
    files[1].write_text(bench.broker.url + "\n")
    assert run(bench, "send", "--file", str(files[0])) == 0
    command = [sys.executable, "-m", "vaultbell.cli", "queue", "send", str(files[1]), "--queue", bench.broker.queue]
    event = json.dumps({"operation_log_id": cloud.add()["id"]})
    done = subprocess.run(command, input=event.encode(), env=environment({}), timeout=30, check=False)
    assert done.returncode == 0
    with bench.consuming():
        receiver.wait_for(2)
    assert bench.left() == {}


def test_what_the_broker_refuses_is_told_at_once_and_without_the_password(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in bench.env.items():
        monkeypatch.setenv(name, value)
    parts = urlsplit(bench.broker.url)
    wrong = parts._replace(netloc=f"nobody:wr0ng@{parts.netloc.rpartition('@')[2]}").geturl()
    other = f"{bench.broker.queue}.dead"  # there already, with other properties
    refused = {
        ("consume", wrong, "--queue", bench.broker.queue): "ACCESS_REFUSED",
        ("consume", bench.broker.url, "--queue", other): "inequivalent arg",
        ("queue", "dead", bench.broker.url, "--queue", "vaultbell-test-nowhere"): "NOT_FOUND",
        ("queue", "send", bench.broker.url, "--queue", bench.broker.queue, "--file", "/nowhere"): "cannot be read",
        ("consume", "/nowhere", "--queue", "backups"): "/nowhere",
    }
    for arguments, words in refused.items():
        assert cli.main(arguments) == 2
        told = capsys.readouterr().err
        assert words in told.splitlines()[-1]
        assert "wr0ng" not in told
    assert cli.main(["queue", "dead", f"amqp://127.0.0.1:{unused()}", "--queue", "backups"]) == 3
    with connected(replace(bench.broker, queue=other)) as link:
        link._channel.queue_delete(f"{other}.dead")


def test_a_queue_without_kombu_names_the_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kombu", None)
    assert cli.main(["queue", "dead", "amqp://localhost", "--queue", "backups"]) == 2
    assert "vaultbell[queue]" in capsys.readouterr().err


def test_the_embedded_queue_tells_delays_and_buries_like_a_broker(
    cloud: Cloud, receiver: Receiver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"}
    bench = Bench(f"filesystem://{tmp_path}/queue", env, "backups")
    receiver.answer(status=503, headers={"Retry-After": "1"}, times=1)
    bench.send({"operation_log_id": cloud.add()["id"]}, b"{")
    with bench.consuming(time_budget=0.3):
        first, second = receiver.wait_for(2)
        assert eventually(lambda: bench.size("backups.dead") == 1)
    assert second.time - first.time >= 1
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert run(bench, "dead", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["code"] == "not_json"
    assert run(bench, "redrive") == 0
    assert (bench.size(), bench.size("backups.dead"), bench.size("backups.delay")) == (1, 0, 0)


def test_the_embedded_queue_gets_back_what_could_not_be_finished(
    cloud: Cloud, receiver: Receiver, tmp_path: Path
) -> None:
    env = cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"}
    bench = Bench(f"filesystem://{tmp_path}/queue", env, "backups")
    receiver.answer(kind="hang", seconds=2.0, times=1)
    bench.send({"operation_log_id": cloud.add()["id"]})
    with bench.consuming(drain=0.1):
        receiver.wait_for(1)
    assert bench.size() == 1


def certificate(folder: Path, name: x509.GeneralName) -> tuple[str, str]:
    """The files of a certificate for this name, signed by itself, and of its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a broker")])
    made = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    made = made.add_extension(x509.SubjectAlternativeName([name]), critical=False)
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    pem, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, pem, plain))
    return str(files[0]), str(files[1])


@pytest.mark.parametrize(
    ("name", "known", "complaint"),
    [
        (x509.IPAddress(ip_address("127.0.0.1")), False, "CERTIFICATE_VERIFY_FAILED"),
        (x509.DNSName("broker.example.org"), True, "CERTIFICATE_VERIFY_FAILED"),
        (x509.IPAddress(ip_address("127.0.0.1")), True, "closed"),
    ],
    ids=["from nobody known", "of another name", "right"],
)
def test_a_broker_over_tls_has_to_prove_who_it_is(
    name: x509.GeneralName, known: bool, complaint: str, tmp_path: Path
) -> None:
    files = certificate(tmp_path, name)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer = listener.accept()[0]
            with suppress(OSError), server_context(files).wrap_socket(peer, server_side=True) as secure:
                secure.recv(8)  # whoever has let us in says AMQP; no broker answers

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"amqps://127.0.0.1:{listener.getsockname()[1]}" + (f"?cacertfile={files[0]}" if known else "")
        with pytest.raises(Transient) as failed, connected(Broker(url, "backups")):
            pass
        thread.join(WITHIN)
    assert complaint in failed.value.message
