"""Whoever is spoken to may be hostile: an API, a receiver, a mail server, a sender to the queue.

None of them costs more than its time and a little memory.
"""

from __future__ import annotations

import bz2
import json
import lzma
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from standin import Cloud, ports
from standin.sinks import Receiver
from told import FAILED
from vaultbell import compose, settings
from vaultbell.budget import Budget
from vaultbell.channels.email import Email
from vaultbell.cli import main
from vaultbell.errors import Transient
from vaultbell.platforms.queue.broker import Broker, connected
from vaultbell.platforms.queue.consumer import Consumer
from vaultbell.platforms.queue.letter import Letter
from vaultbell.transport import Transport
from vaultbell.values import SmtpServer

BUDGET = 1.0
SLACK = 1.0  # what a busy machine may add
MEMORY = 32 << 20
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP_BOMB = HEAD + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextmanager
def speaking(first: bytes, then: bytes, greeting: bytes = b"", *, asked: bool = True) -> Iterator[int]:
    """The port of a server that answers with `first`, and with `then` for as long as anybody listens.

    Without being `asked` it begins by itself.
    """
    block = then * (65_536 // len(then) + 1)

    def talk(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.sendall(greeting)
            if asked:
                connection.recv(65_536)
            connection.sendall(first)
            for _ in range(100_000):  # 6 GiB
                connection.sendall(block)

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", ports.unused())) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@contextmanager
def costs_little() -> Iterator[None]:
    """What is done within takes its time and some memory, and no more."""
    began = time.monotonic()
    tracemalloc.start(1)
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < BUDGET + SLACK
    assert peak < MEMORY


ENDLESS = {
    "headers": (HEAD, b"X-A: b\r\n"),
    "a header": (HEAD + b"X-A: ", b"b"),
    "a status line": (b"HTTP/1.1 200 ", b"b"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n"),
    "a body": (HEAD + b"\r\n", b"b"),
    "an announced body": (HEAD + b"Content-Length: 99999999999999999999\r\n\r\n", b"b"),
    "chunks": (CHUNKED, b"1000\r\n" + b"b" * 4_096 + b"\r\n"),
    "a chunk's size": (CHUNKED, b"0"),
    "a chunk's extension": (CHUNKED + b"10;", b"x"),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n"),
    "a packed body": (GZIP_BOMB, b"1000\r\n" + b"\0" * 4_096 + b"\r\n"),
}


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("read", [0, 8 << 20], ids=["a receiver", "the API"])
def test_an_answer_without_an_end_costs_its_time_and_little_memory(name: str, read: int) -> None:
    with speaking(*ENDLESS[name]) as port, costs_little(), suppress(Transient):
        answer = Transport().send("GET", f"http://127.0.0.1:{port}/", headers={}, budget=Budget.of(BUDGET), read=read)
        assert not read
        assert answer.status == 200


def test_a_bomb_is_not_unpacked_by_whichever_way_it_comes(receiver: Receiver) -> None:
    bomb = zlib.compress(bytes(100 << 20), 9, wbits=31)
    receiver.answer(headers={"Content-Encoding": "gzip"}, body=bomb)
    proxied = Transport(proxy=receiver.url)  # which answers for everybody
    for way in (Transport(), proxied):
        with costs_little():
            answer = way.send("GET", receiver.url, headers={}, budget=Budget.of(BUDGET), read=8 << 20)
            assert answer.body == bomb
    asked = [got.headers.get("accept-encoding") for got in receiver.requests]
    assert asked == ["identity"] * 2


@pytest.mark.parametrize("greeting", [b"", b"220 here\r\n"], ids=["its greeting", "its answer"])
def test_a_mail_server_that_talks_without_an_end_is_not_listened_to(greeting: bytes) -> None:
    with speaking(b"", b"250-" + b"b" * 70 + b"\r\n", greeting, asked=bool(greeting)) as port:
        server = SmtpServer.of(f"smtp://127.0.0.1:{port}?tls=off")
        email = Email(server, "bell@example.org", ["ops@example.org"], Transport())
        with costs_little(), pytest.raises(Transient, match="not SMTP"):
            email.send(FAILED, Budget.of(BUDGET))


# The queue: kombu unpacks bodies by a header of the sender's, and could make objects of them.

PACKED: dict[str, Callable[[bytes], bytes]] = {
    "application/x-gzip": lambda body: zlib.compress(body, 9),
    "application/x-bz2": bz2.compress,
    "application/x-lzma": lzma.compress,
}


@contextmanager
def consuming(broker: Broker, cloud: Cloud, receiver: Receiver) -> Iterator[None]:
    """A consumer of the queue, until that is empty (it knows no order) and what was taken of it is done."""
    app = compose.app(settings.load(cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"}))
    consumer = Consumer(app.bell, broker, concurrency=1, time_budget=5.0)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        yield
        with connected(broker) as link:
            until = time.monotonic() + 20
            while link.size(broker.queue) and time.monotonic() < until:
                time.sleep(0.02)  # nothing tells when it is
    finally:
        consumer.stop.set()
        thread.join(10)


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    broker = Broker(f"filesystem://{tmp_path}/queue", "backups")
    with connected(broker) as link:
        link.declare()
    return broker


def dead(broker: Broker, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command shows of the dead letters."""
    capsys.readouterr()
    assert main(["queue", "dead", broker.url, "--queue", broker.queue, *arguments]) == 0
    return capsys.readouterr().out


def send(broker: Broker, *letters: Letter) -> None:
    with connected(broker) as link:
        for letter in letters:
            link.publish(broker.queue, letter)


def test_a_packed_message_is_unpacked_and_a_bomb_is_a_dead_letter(
    broker: Broker, cloud: Cloud, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    event = json.dumps({"operation_log_id": cloud.add()["id"]}).encode()
    last = json.dumps({"operation_log_id": cloud.add()["id"]}).encode()
    padded = event.ljust(1 << 20)
    bombs = [Letter(pack(bytes(64 << 20)), headers={"compression": kind}) for kind, pack in PACKED.items()]
    cut = [Letter(pack(event)[:-5], headers={"compression": kind}) for kind, pack in PACKED.items()]
    whole = [Letter(pack(padded), headers={"compression": kind}) for kind, pack in PACKED.items()]
    send(broker, *bombs, *cut, Letter(b"{", headers={"compression": "application/x-unheard-of"}), *whole, Letter(last))
    tracemalloc.start(1)
    try:
        with consuming(broker, cloud, receiver):
            told = receiver.wait_for(4, 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY
    assert [json.loads(got.body)["data"]["outcome"] for got in told] == ["failed"] * 4
    found = json.loads(dead(broker, capsys, "--json"))
    assert [letter["code"] for letter in found] == ["not_json"] * 7


def test_a_message_is_never_made_into_objects(
    broker: Broker, cloud: Cloud, receiver: Receiver, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    proof = tmp_path / "executed"
    pickle = f"cpathlib\nPath\n(V{proof}\ntRctouch\n.".encode()
    kinds = ("application/x-python-serialize", "application/x-yaml", "application/x-msgpack", "pickle")
    tag = f'!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ["{proof}"]]'.encode()
    task = cloud.add()["id"]
    send(broker, *(Letter(body, kind, "binary") for kind in kinds for body in (pickle, tag)))
    send(broker, Letter(json.dumps({"operation_log_id": task}).encode()))
    with consuming(broker, cloud, receiver):
        receiver.wait_for(1, 20)
    assert not proof.exists()
    assert [letter["code"] for letter in json.loads(dead(broker, capsys, "--json"))] == ["not_json"] * 2 * len(kinds)


def test_a_dead_letter_cannot_write_to_the_terminal(
    broker: Broker, cloud: Cloud, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    attack = "\x1b[2J\x1b]0;title\x07\x9b31m\u202e\r\nforged: line"
    send(broker, Letter(attack.encode(), headers={"x-vaultbell-reason": attack, "x-attack": attack}))
    send(broker, Letter(json.dumps({"operation_log_id": cloud.add()["id"]}).encode()))
    with consuming(broker, cloud, receiver):
        receiver.wait_for(1, 20)
    for arguments in ((), ("--json",)):
        shown = dead(broker, capsys, *arguments)
        assert shown.replace("\n", "").isprintable()
        assert not any(line.startswith("forged") for line in shown.splitlines())
