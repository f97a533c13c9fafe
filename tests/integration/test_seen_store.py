"""The store that processes share, with a real Redis: a message is told once, and no trouble with it silences one."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from redis import Redis

from integration.redis_server import OwnRedis, own_redis, usual
from serving import FUNCTION, environment
from standin import Cloud
from standin.certificates import Authority
from standin.ports import unused
from standin.sinks import Receiver
from told import FAILED
from vaultbell import compose, pipeline, seen_store, settings
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.channels import Taken
from vaultbell.delivery import deliver
from vaultbell.errors import Permanent, Transient
from vaultbell.events import Event
from vaultbell.notification import Notification
from vaultbell.report import Receipt, Report
from vaultbell.routing import Selection
from vaultbell.seen_store import Store, ToldOnce
from vaultbell.telemetry import LOG

REPEAT = Taken(remark="a repeat: it was told within the last day")
PASSWORD = "m4rker-of-the-store"

# Tells the channels one message, as any process with these settings does, and prints the receipts.
TELL = """
import json, os, sys
from dataclasses import replace
from datetime import UTC, datetime
from vaultbell import compose, seen_store, settings
from vaultbell.budget import Budget
from vaultbell.delivery import deliver
from vaultbell.notification import Notification
from vaultbell.routing import Selection

id, seconds = sys.argv[1], float(sys.argv[2])
seen_store.AGAIN_SECONDS, seen_store.MARGIN_SECONDS = 0.1, 0.2
seen_store.Store.__init__.__kwdefaults__["patience"] = 5.0
words = dict.fromkeys(("outcome", "severity", "headline", "summary", "reason", "incident"), "x")
told = Notification(id=id, type="t", timestamp=datetime(2026, 11, 23, tzinfo=UTC), project_id=None, region=None,
                    facts={}, operation_log={}, **words)
channels = compose.channels(settings.load(os.environ))
print("ready", flush=True)
sys.stdin.readline()
receipts = deliver(told, Selection(tuple(channels)), channels, Budget(seconds + Budget.of(0).deadline)).receipts
print(json.dumps([receipt.as_json() for receipt in receipts]))
"""


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis that works; others may use it too."""
    if found := usual():
        yield found
        return
    with own_redis(tmp_path_factory.mktemp("redis")) as own:
        yield own.url


@pytest.fixture
def url(working: str, told: Notification) -> Iterator[str]:
    """The same, and it forgets afterwards what it heard of this message."""
    yield working
    with closing(Redis.from_url(working)) as redis:
        for key in redis.scan_iter(f"vaultbell:*:{told.id}*"):
            redis.delete(key)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnRedis]:
    """A Redis that may be broken."""
    with own_redis(tmp_path) as own:
        yield own


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is not to be taken for a store that hangs."""
    monkeypatch.setitem(Store.__init__.__kwdefaults__ or {}, "patience", 5.0)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(Store(url)) as store:
        yield store


@pytest.fixture
def told() -> Notification:
    """A message that nobody has told yet."""
    return FAILED._replace(id=f"msg_{uuid4().hex}")


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What is written to the log, each line with all its fields."""
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.levelname} {record.getMessage()} {getattr(record, 'fields', '')} {record.exc_text}")

    handler = Kept()
    LOG.addHandler(handler)
    yield lines
    LOG.removeHandler(handler)


class Place:
    """A channel that counts what it is told, and gives these answers in turn, the last one for ever."""

    def __init__(self, *answers: Taken | Exception | Callable[[Budget], Taken]) -> None:
        self._answers = list(answers) or [Taken(200)]
        self.told: list[str] = []

    def send(self, notification: Notification, budget: Budget) -> Taken:
        self.told.append(notification.id)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Taken) else answer(budget)


def seconds(length: float) -> Budget:
    return Budget(time.monotonic() + length)


def eventually(holds: Callable[[], bool], within: float = 10.0) -> bool:
    """Whether it holds at last. For what nothing tells: that a store has forgotten."""
    until = time.monotonic() + within
    while not (held := holds()) and time.monotonic() < until:
        time.sleep(0.02)
    return held


def left_alone(log: list[str]) -> list[str]:
    return [line for line in log if "the store of VAULTBELL_SEEN_URL is left alone" in line]


# A message is told once


def test_what_was_told_is_not_told_again_and_the_receipt_says_so(store: Store, told: Notification) -> None:
    place, elsewhere = Place(), Place()
    assert ToldOnce("ops", place, store).send(told, seconds(5)) == Taken(200)
    # another process has another channel object
    assert ToldOnce("ops", elsewhere, store).send(told, seconds(5)) == REPEAT
    assert (place.told, elsewhere.told) == ([told.id], [])
    (receipt,) = deliver(told, Selection(("ops",)), {"ops": ToldOnce("ops", elsewhere, store)}, seconds(5)).receipts
    assert receipt == Receipt("ops", True, 1, None, "a repeat: it was told within the last day")


def test_each_message_and_each_channel_has_its_own_memory(store: Store, told: Notification) -> None:
    places = {name: Place() for name in ("ops", "ops-2", "mail")}
    other = told._replace(id=f"{told.id}0")
    for name, place in places.items():
        channel = ToldOnce(name, place, store)
        for notification in (told, other, told):
            channel.send(notification, seconds(5))
    assert {name: place.told for name, place in places.items()} == {name: [told.id, other.id] for name in places}


def test_of_many_at_once_one_tells_and_the_others_hand_it_back(store: Store, told: Notification) -> None:
    met = threading.Semaphore(0)

    def slow(_budget: Budget) -> Taken:
        for _ in range(7):
            assert met.acquire(timeout=10)
        return Taken(200)

    place = Place(slow)

    def tell(_: int) -> Taken | float | None:
        try:
            return ToldOnce("ops", place, store).send(told, seconds(10))
        except Transient as busy:
            met.release()
            return busy.after

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(tell, range(8)))
    assert place.told == [told.id]
    assert sorted(answers, key=str) == [seen_store.AGAIN_SECONDS] * 7 + [Taken(200)]
    assert 0 < seen_store.AGAIN_SECONDS < 5


@contextmanager
def processes(number: int, env: Mapping[str, str], told: Notification, length: float) -> Iterator[list[Process]]:
    """Processes that are ready to tell this message within so many seconds."""
    command = [sys.executable, "-c", TELL, told.id, str(length)]
    started = [
        subprocess.Popen(
            command,
            env=environment(env) | {"PYTHONPATH": str(FUNCTION)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(number)
    ]
    try:
        for process in started:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate(timeout=10)


Process = subprocess.Popen[str]


def hooked(cloud: Cloud, receiver: Receiver, url: str) -> dict[str, str]:
    return cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell", "VAULTBELL_SEEN_URL": url}


def test_of_processes_that_learn_of_it_at_once_one_tells(
    cloud: Cloud, receiver: Receiver, url: str, told: Notification
) -> None:
    with processes(2, hooked(cloud, receiver, url), told, 20) as telling:
        for process in telling:
            assert process.stdin
            process.stdin.write("now\n")
            process.stdin.flush()
        receipts = [json.loads(process.communicate(timeout=30)[0])[0] for process in telling]
    assert len(receiver.requests) == 1
    assert [receipt["delivered"] for receipt in receipts] == [True] * 2
    assert Counter(receipt["error"] for receipt in receipts) == {REPEAT.remark: 1, None: 1}


def test_a_process_killed_on_the_way_does_not_silence_the_alarm(
    cloud: Cloud, receiver: Receiver, url: str, told: Notification
) -> None:
    receiver.answer(kind="hang", times=1, seconds=20)
    env = hooked(cloud, receiver, url)
    with processes(1, env, told, 1.0) as (process,):
        assert process.stdin
        process.stdin.write("now\n")
        process.stdin.flush()
        receiver.wait_for(1)
        process.kill()
    channels = compose.channels(settings.load(env))
    with pytest.raises(Transient, match="it is being told"):
        channels["webhook"].send(told, seconds(5))

    def rung() -> bool:
        try:
            return channels["webhook"].send(told, seconds(5)) == Taken(200)
        except Transient:
            return False

    assert eventually(rung)
    assert len(receiver.requests) == 2


def test_an_event_whose_message_is_being_told_comes_again_and_is_then_handled(
    cloud: Cloud, receiver: Receiver, own: OwnRedis
) -> None:
    task = cloud.outcome("failed")
    receiver.answer(kind="hang", times=1, seconds=1)  # and then it is taken
    env = hooked(cloud, receiver, own.url)
    one, two = (compose.bell(settings.load(env)) for _ in range(2))

    def handled(bell: Bell, length: float) -> Report:
        return pipeline.handle(bell, Event(json.dumps({"operation_log_id": task["id"]}).encode()), seconds(length))

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(handled, one, 10)
        receiver.wait_for(1)
        met = handled(two, 1)
        assert (met.status, met.retry_after) == (503, 2)
        (receipt,) = met.results[0].receipts
        assert (receipt.delivered, receipt.attempts) == (False, 1)
        assert "it is being told" in (receipt.error or "")
        assert first.result().status == 200
    again = handled(two, 10)
    (receipt,) = again.results[0].receipts
    assert (again.status, receipt.delivered, receipt.error) == (200, True, REPEAT.remark)
    assert len(receiver.requests) == 1


# What was not taken is told again


@pytest.mark.parametrize("fault", [Transient("it answered 503"), Permanent("it answered 404"), RuntimeError("ours")])
def test_what_was_not_taken_can_be_told_at_once(store: Store, told: Notification, fault: Exception) -> None:
    place = Place(fault, Taken(200))
    channel = ToldOnce("ops", place, store)
    with pytest.raises(type(fault)):
        channel.send(told, seconds(5))
    assert channel.send(told, seconds(5)) == Taken(200)


def test_the_second_try_of_a_delivery_does_not_meet_the_first(store: Store, told: Notification) -> None:
    place = Place(Transient("it answered 503", status=503), Taken(202))
    (receipt,) = deliver(told, Selection(("ops",)), {"ops": ToldOnce("ops", place, store)}, seconds(5)).receipts
    assert receipt == Receipt("ops", True, 2, 202)


def test_whoever_comes_late_does_not_give_up_anothers_claim(
    store: Store, told: Notification, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen_store, "MARGIN_SECONDS", 0.0)
    key = f"vaultbell:ops:{told.id}"

    def paused(_budget: Budget) -> Taken:
        assert eventually(lambda: store.claim(key, "another", 30) is seen_store.Found.FREE)
        raise Transient("it answered 503")

    with pytest.raises(Transient):
        ToldOnce("ops", Place(paused), store).send(told, seconds(0.1))
    assert store.claim(key, "a third", 30) is seen_store.Found.SENDING


def test_after_its_time_what_was_sent_is_told_again(url: str, told: Notification) -> None:
    place = Place()
    with closing(Store(url, sent=0.3)) as store:
        channel = ToldOnce("ops", place, store)
        channel.send(told, seconds(5))
        assert channel.send(told, seconds(5)) == REPEAT

        def again() -> bool:
            try:
                return channel.send(told, seconds(5)) == Taken(200)
            except Transient:  # it was forgotten between our claim and our look at who holds it
                return False

        assert eventually(again)
    assert len(place.told) == 2


def test_it_is_remembered_for_a_day_and_claimed_for_as_long_as_the_budget_lasts(url: str, told: Notification) -> None:
    key, claimed = f"vaultbell:ops:{told.id}", []
    with closing(Store(url)) as store, closing(Redis.from_url(url)) as redis:

        def look(_budget: Budget) -> Taken:
            claimed.append(redis.pttl(key))
            return Taken(200)

        ToldOnce("ops", Place(look), store).send(told, seconds(7))
        assert 7_000 < int(str(claimed[0])) <= 8_000
        assert 86_000_000 < int(str(redis.pttl(key))) <= 86_400_000


# Whose repeats are told


def test_alertmanager_is_told_every_time_and_the_others_once(
    cloud: Cloud, receiver: Receiver, url: str, told: Notification, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        f"""\
channels:
  prometheus: {{type: webhook, format: alertmanager, url: "{receiver.url}/api/v2/alerts"}}
  chat: {{type: webhook, format: slack, url: "{receiver.url}/chat"}}
  ops: {{type: webhook, url: "{receiver.url}/ops"}}
"""
    )
    env = cloud.env() | {"VAULTBELL_CONFIG": str(config), "VAULTBELL_SEEN_URL": url}
    for _ in range(2):
        channels = compose.channels(settings.load(env))
        for channel in channels.values():
            channel.send(told, seconds(5))
    paths = [got.path for got in receiver.requests]
    assert sorted(paths) == ["/api/v2/alerts", "/api/v2/alerts", "/chat", "/ops"]


# Where it is


@pytest.mark.parametrize("form", ["/{}", "?db={}", "/0?db={}"])
def test_the_database_of_the_address_is_used(own: OwnRedis, told: Notification, form: str) -> None:
    with closing(Store(own.url + form.format(3))) as store:
        ToldOnce("ops", Place(), store).send(told, seconds(5))
    held = []
    for number in (0, 3):
        with closing(Redis.from_url(f"{own.url}/{number}")) as redis:
            held.append(redis.dbsize())
    assert held == [0, 1]


@dataclass(frozen=True)
class Guarded:
    """A Redis with a password, to be reached over TLS alone. `ca` is the file of its CA."""

    port: int
    ca: str

    def url(self, password: str = PASSWORD, ca: str = "") -> str:
        return f"rediss://:{password}@127.0.0.1:{self.port}/2" + (f"?ssl_ca_certs={ca}" if ca else "")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder, port = tmp_path_factory.mktemp("guarded"), unused()
    authority = Authority(folder)
    pair = authority.certificate()
    files = ("--tls-cert-file", pair.cert, "--tls-key-file", pair.key, "--tls-ca-cert-file", authority.file)
    tls = ("--tls-port", str(port), "--tls-auth-clients", "no", *files)
    with own_redis(folder, *tls, "--requirepass", PASSWORD):
        yield Guarded(port, authority.file)


def test_a_password_and_tls_are_kept_to(guarded: Guarded, told: Notification, log: list[str]) -> None:
    place = Place()
    with closing(Store(guarded.url(ca=guarded.ca))) as store:
        channel = ToldOnce("ops", place, store)
        assert [channel.send(told, seconds(5)) for _ in range(2)] == [Taken(200), REPEAT]
    assert log == []


@pytest.mark.parametrize("what", ["password", "certificate"])
def test_a_store_that_refuses_us_or_is_not_trusted_does_not_keep_us_from_ringing(
    guarded: Guarded, told: Notification, log: list[str], what: str
) -> None:
    url = guarded.url("wr0ng-" + PASSWORD, guarded.ca) if what == "password" else guarded.url()
    place = Place()
    with closing(Store(url)) as store:
        assert [ToldOnce("ops", place, store).send(told, seconds(5)) for _ in range(2)] == [Taken(200)] * 2
    assert len(left_alone(log)) == 1
    assert PASSWORD not in "".join(log)


# A store that is of no help


def test_a_store_that_is_down_is_told_about_once_in_a_while_and_everything_rings(
    told: Notification, log: list[str]
) -> None:
    place = Place()
    with closing(Store(f"redis://:{PASSWORD}@127.0.0.1:{unused()}")) as store:
        channel = ToldOnce("ops", place, store)
        assert [channel.send(told, seconds(5)) for _ in range(5)] == [Taken(200)] * 5
    assert len(place.told) == 5
    (line,) = left_alone(log)
    assert "ConnectionError" in line
    assert line.startswith("WARNING")
    assert PASSWORD not in line


def test_a_store_whose_name_is_not_known_is_no_reason_not_to_ring(told: Notification, log: list[str]) -> None:
    with closing(Store("redis://seen.invalid")) as store:
        assert ToldOnce("ops", Place(), store).send(told, seconds(5)) == Taken(200)
    assert len(left_alone(log)) == 1


def test_a_store_that_hangs_costs_no_more_than_its_own_time_and_is_asked_again_later(
    own: OwnRedis, told: Notification, log: list[str]
) -> None:
    with closing(Store(own.url, patience=0.2, rest=0.3)) as store:
        channel = ToldOnce("ops", Place(), store)
        other = told._replace(id=f"{told.id}0")
        channel.send(other, seconds(30))
        own.hang()
        budget = seconds(30)
        assert channel.send(told, budget) == Taken(200)
        assert budget.left > 28
        assert ["TimeoutError" in line for line in left_alone(log)] == [True]
        own.go_on()
        assert eventually(lambda: channel.send(other, seconds(30)) == REPEAT)


def test_a_store_that_is_killed_and_comes_back_is_used_again_at_once(
    own: OwnRedis, told: Notification, log: list[str]
) -> None:
    place = Place()
    with closing(Store(own.url)) as store:
        channel = ToldOnce("ops", place, store)
        channel.send(told._replace(id=f"{told.id}0"), seconds(5))
        own.kill()
        own.begin()  # while nobody was asking
        assert [channel.send(told, seconds(5)) for _ in range(2)] == [Taken(200), REPEAT]
    assert left_alone(log) == []


def test_a_store_that_dies_while_it_is_being_told_changes_nothing_for_the_receipt(
    own: OwnRedis, told: Notification, log: list[str]
) -> None:
    def dies(_budget: Budget) -> Taken:
        own.kill()
        return Taken(200)

    with closing(Store(own.url)) as store:
        assert ToldOnce("ops", Place(dies), store).send(told, seconds(5)) == Taken(200)
    assert len(left_alone(log)) == 1


def test_a_refusal_stays_one_though_the_store_dies(own: OwnRedis, told: Notification) -> None:
    def dies(_budget: Budget) -> Taken:
        own.kill()
        raise Permanent("it answered 404", status=404)

    with closing(Store(own.url)) as store, pytest.raises(Permanent, match="404"):
        ToldOnce("ops", Place(dies), store).send(told, seconds(5))


@contextmanager
def speaking(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a server that answers so on every connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                held.append(connection)
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"redis://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for connection in held:
            connection.close()


def garbage(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def nothing(_connection: socket.socket) -> None:
    pass


def trickle(connection: socket.socket) -> None:
    try:
        while True:
            connection.sendall(b"+")
            time.sleep(0.05)
    except OSError:
        pass


@pytest.mark.parametrize("answer", [garbage, nothing, trickle])
def test_what_is_no_redis_costs_its_own_time_and_everything_rings(
    told: Notification, log: list[str], answer: Callable[[socket.socket], None]
) -> None:
    budget = seconds(30)
    with speaking(answer) as url, closing(Store(url, patience=0.3)) as store:
        assert ToldOnce("ops", Place(), store).send(told, budget) == Taken(200)
    assert budget.left > 28
    assert len(left_alone(log)) == 1


def test_a_store_that_did_not_answer_is_not_asked_at_every_ring(told: Notification) -> None:
    asked: list[socket.socket] = []
    with speaking(asked.append) as url, closing(Store(url, patience=0.2)) as store:
        channel = ToldOnce("ops", Place(), store)
        assert [channel.send(told, seconds(30)) for _ in range(5)] == [Taken(200)] * 5
    assert len(asked) == 1


@pytest.mark.parametrize("kind", ["text", "list"])
def test_a_key_that_holds_something_else_suppresses_nothing(
    own: OwnRedis, told: Notification, log: list[str], kind: str
) -> None:
    with closing(Redis.from_url(own.url)) as redis:
        if kind == "text":
            redis.set(f"vaultbell:ops:{told.id}", "seen")
        else:
            redis.rpush(f"vaultbell:ops:{told.id}", "sent")
    with closing(Store(own.url)) as store:
        assert ToldOnce("ops", Place(), store).send(told, seconds(5)) == Taken(200)
    assert len(left_alone(log)) == 1


def test_while_the_store_is_down_events_are_handled_as_ever(cloud: Cloud, receiver: Receiver, log: list[str]) -> None:
    task = cloud.outcome("failed")
    bell = compose.bell(settings.load(hooked(cloud, receiver, f"redis://127.0.0.1:{unused()}")))
    report = pipeline.handle(bell, Event(json.dumps({"operation_log_id": task["id"]}).encode()), seconds(10))
    assert (report.status, len(receiver.requests)) == (200, 1)
    assert len(left_alone(log)) == 1
