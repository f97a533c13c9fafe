"""Kept connections: what goes over the wire, and which answers end a connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from standin.sinks import Receiver
from vaultbell.budget import Budget
from vaultbell.errors import Permanent, Transient
from vaultbell.transport import Transport

POST = {"Content-Type": "application/json"}


@contextmanager
def answering(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server of one connection after the other, each answered so and ended: its address, and what it first read."""
    read: list[bytes] = []

    def serve() -> None:
        for answer in answers:
            connection, _ = server.accept()
            with connection:
                read.append(connection.recv(65_536))
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", read
        thread.join(5)


def test_a_request_is_one_write_and_names_its_host() -> None:
    with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as (url, read):
        answer = Transport().send("POST", f"{url}/bell?a=b", headers=POST, body=b"{}", budget=Budget.of(5))
    assert answer.status == 204
    head, _, body = read[0].partition(b"\r\n\r\n")  # all of it came in one piece
    assert body == b"{}"
    assert head.split(b"\r\n") == [
        b"POST /bell?a=b HTTP/1.1",
        b"Host: " + url.removeprefix("http://").encode(),
        b"Accept-Encoding: identity",
        b"User-Agent: vaultbell",
        b"Content-Type: application/json",
        b"Content-Length: 2",
    ]


@pytest.mark.parametrize("lengths", [("1", "2"), ("-1",), ("one",), ("1, 2",)], ids=repr)
def test_an_answer_of_which_nobody_can_say_how_long_it_is_is_none(lengths: tuple[str, ...]) -> None:
    head = "".join(f"Content-Length: {length}\r\n" for length in lengths)
    answer = f"HTTP/1.1 200 OK\r\n{head}\r\nxy".encode()
    with answering(answer) as (url, _), pytest.raises(Transient, match="the answer is not HTTP"):
        Transport().send("GET", url, headers={}, budget=Budget.of(5), read=100)


@pytest.mark.parametrize(
    "cut",
    [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nA: b\r\n"],
)
def test_an_answer_whose_head_is_cut_short_is_none(cut: bytes) -> None:
    with answering(cut) as (url, _), pytest.raises(Transient, match="the connection was lost"):
        Transport().send("POST", url, headers={}, body=b"{}", budget=Budget.of(5))


def test_an_answer_may_say_its_length_twice_alike() -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nxy") as (url, _):
        assert Transport().send("GET", url, headers={}, budget=Budget.of(5), read=100).body == b"xy"


@pytest.mark.parametrize("header", ["Connection: close", "Content-Length: 5"], ids=["it says so", "half is missing"])
def test_a_connection_that_the_server_ends_is_not_used_again(receiver: Receiver, header: str) -> None:
    name, value = header.split(": ")
    transport = Transport()
    receiver.answer("/first", headers={name: value} if name == "Connection" else {}, times=1)
    if name == "Content-Length":
        receiver.answer("/cut", kind="truncate", body=b"hello", times=1, keep=2)
        transport.send("POST", f"{receiver.url}/cut", headers=POST, body=b"{}", budget=Budget.of(5))
    transport.send("POST", f"{receiver.url}/first", headers=POST, body=b"{}", budget=Budget.of(5))
    transport.send("POST", f"{receiver.url}/second", headers=POST, body=b"{}", budget=Budget.of(5))
    assert receiver.connections == 2


@pytest.mark.parametrize("path", ["/a b", "/a\r\nX-Other: b", "/a\x00b"])
def test_a_path_that_would_be_more_than_one_word_is_not_sent(receiver: Receiver, path: str) -> None:
    with pytest.raises(Permanent, match="cannot be sent as it is"):
        Transport().send("GET", receiver.url, path, headers={}, budget=Budget.of(5))
    assert receiver.requests == []
