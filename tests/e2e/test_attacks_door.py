"""A stranger at the HTTP door: nothing gets in by an odd request, nothing is written that was not meant to be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import requests
import responses

from smn_sender import CERTIFICATE_URL, CONFIRM_URL, TOPIC, Sender
from standin import Cloud
from standin.sinks import Receiver
from vaultbell import compose, settings
from vaultbell.budget import Budget
from vaultbell.platforms import door
from vaultbell.platforms.answer import Answer
from worlds import NewWorld, World, connected, read_answer

TOKEN = "the-token-of-the-door"
THREADS = 4


@pytest.fixture(scope="module")
def world(new_world: NewWorld) -> World:
    """A door with a token, and few threads behind it."""
    return new_world(VAULTBELL_INBOUND_TOKEN=TOKEN, threads=THREADS)


def head(*lines: str, path: str = "/", length: bool = True) -> bytes:
    """The head of a request, with the right token unless it says otherwise."""
    proof = [] if any("token" in line.lower() for line in lines) else [f"X-Vaultbell-Token: {TOKEN}"]
    fixed = ["Host: a", "Connection: close", *proof, *(["Content-Length: 2"] if length else [])]
    return "\r\n".join([f"POST {path} HTTP/1.1", *fixed, *lines, "", ""]).encode("latin-1")


def looked_up(world: World) -> int:
    return sum(world.cloud.counts.values())


# Where a proxy and the server disagree where a request ends, the rest of one becomes the beginning of another's.
TWO_IN_ONE = {
    "a length and chunks": head("Content-Length: 5", "Transfer-Encoding: chunked", length=False) + b"0\r\n\r\n",
    "chunks and a length": head("Transfer-Encoding: chunked", "Content-Length: 5", length=False) + b"0\r\n\r\n",
    "two lengths": head("Content-Length: 5", "Content-Length: 6", length=False) + b"abcdef",
    "a list of lengths": head("Content-Length: 5, 5", length=False) + b"abcde",
    "a length with a sign": head("Content-Length: +2", length=False) + b"{}",
    "a length in hex": head("Content-Length: 0x2", length=False) + b"{}",
    "a length with a blank before the colon": head("Content-Length : 2", length=False) + b"{}",
    "a coding that is none": head("Transfer-Encoding: xchunked", length=False) + b"0\r\n\r\n",
    "chunked, and not at last": head("Transfer-Encoding: chunked, gzip", length=False) + b"0\r\n\r\n",
    "a folded header": head("X-A: b", " c") + b"{}",
    "a bare line feed": head().replace(b"\r\n\r\n", b"\nX-A: b\r\n\r\n") + b"{}",
    "a header without a colon": head("X-A") + b"{}",
    "NUL in a header": head("X-A: \0") + b"{}",
    "escapes in a header": head("X-A: \x1b[2J") + b"{}",
    "escapes in the path": head(path="/\x1b[2J") + b"{}",
    "escapes for a method": b"\x1b[2J" + head() + b"{}",
    "a blank in the path": head(path="/ X") + b"{}",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a header of 9,000 bytes": head(f"X-A: {'b' * 9_000}") + b"{}",
    "200 headers": head(*["X-A: b"] * 200) + b"{}",
}


@pytest.mark.parametrize("name", TWO_IN_ONE)
def test_a_request_that_could_be_read_in_two_ways_is_refused_and_its_connection_ended(world: World, name: str) -> None:
    before = looked_up(world), world.function.log
    with connected(world.function) as connection:
        connection.sendall(TWO_IN_ONE[name] + head() + b"{}")
        with connection.makefile("rb") as lines:
            answered = lines.read()
    assert answered.split(maxsplit=2)[1] in (b"400", b"404", b"431", b"501")
    assert answered.count(b"HTTP/1.1 ") == 1  # what came behind it was not read
    assert b"\x1b" not in answered
    assert looked_up(world) == before[0]
    assert world.function.log == before[1]


@pytest.mark.parametrize(
    "lines",
    [
        (f"X_Vaultbell_Token: {TOKEN}",),
        (f"X-Vaultbell-Token: {TOKEN}", "X-Vaultbell-Token: another"),
        ("Authorization: Bearer token", f"Authorization: Bearer {TOKEN}"),
        (f"Cookie: token={TOKEN}",),
        (f"Proxy-Authorization: Bearer {TOKEN}",),
        (f"X-Forwarded-Authorization: Bearer {TOKEN}",),
        ("Token: a", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1"),
        ("Token: a", "X-CFF-Request-Id: 1", "X-CFF-Auth-Token: a", "X-CFF-Project-Id: a"),
        ("Token: a", "X-HTTP-Method-Override: GET"),
    ],
    ids=lambda lines: lines[0].partition(":")[0] + f" {len(lines)}",
)
def test_no_header_but_the_right_one_proves_anything(world: World, lines: tuple[str, ...]) -> None:
    before = looked_up(world)
    answered = world.raw(head(*lines) + b"{}")
    assert answered.split(maxsplit=2)[1] == b"401"
    assert TOKEN.encode() not in answered
    assert looked_up(world) == before


def test_a_platforms_headers_lend_nobody_a_token_at_this_door(world: World) -> None:
    task = world.cloud.outcome("failed")
    lent = {"X-CFF-Auth-Token": "a-strangers", "X-CFF-Security-Access-Key": "a", "X-CFF-Security-Secret-Key": "b"}
    answer = world.function.post(world.event(task), headers=lent | {"X-Vaultbell-Token": TOKEN})
    assert (answer.status_code, len(world.rung(task))) == (200, 1)  # by our own token: the cloud knows no other


@contextmanager
def half_said(world: World, number: int) -> Iterator[None]:
    """So many requests whose head is not said to its end."""
    with ExitStack() as stack:
        for _ in range(number):
            stack.enter_context(connected(world.function)).sendall(b"POST / HTTP/1.1\r\nHost: a\r\n")
        yield


def test_whoever_does_not_end_a_head_holds_one_thread_as_long_as_they_stay(world: World) -> None:
    with half_said(world, THREADS - 1):
        for _ in range(3):
            assert requests.get(f"{world.function.url}/healthz", timeout=10).ok
    with half_said(world, THREADS), connected(world.function, 0.3) as waiting:
        waiting.sendall(head() + b"{}")
        with pytest.raises(TimeoutError):  # the server reads heads, not we: hence a proxy that does it before
            waiting.recv(1)
    with half_said(world, THREADS - 1):
        assert requests.get(f"{world.function.url}/healthz", timeout=10).ok


def test_the_next_request_of_a_connection_needs_a_proof_of_its_own(world: World) -> None:
    proved = head().replace(b"Connection: close\r\n", b"")
    with connected(world.function) as connection:
        connection.sendall(proved + b"{}")
        assert b" 400 " in read_answer(connection).splitlines()[0]
        connection.sendall(head("X-No-Token: 1") + b"{}")
        assert b" 401 " in read_answer(connection).splitlines()[0]


# Replays: what was signed once may come again, by whoever has overheard it.


def smn(app: compose.App, message: dict[str, str]) -> Answer:
    body = json.dumps(message).encode()
    return door.handle(app, "http", {"x-smn-message-type": message["type"]}, (), lambda _: body, Budget.of(10))


def test_an_old_smn_message_that_is_replayed_tells_what_it_told_under_the_same_id(
    cloud: Cloud, receiver: Receiver
) -> None:
    sender, task = Sender(), cloud.outcome("failed")
    more = {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell", "VAULTBELL_SMN_TOPICS": TOPIC}
    app = compose.app(settings.load(cloud.env() | more))
    overheard = sender.notification(json.dumps({"operation_log_id": task["id"]}))
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.add_passthru("http://127.0.0.1")
        mock.get(CERTIFICATE_URL, body=sender.certificate)
        mock.get(CONFIRM_URL, body="confirmed")
        assert [smn(app, overheard).status for _ in range(3)] == [200] * 3
        # it names its task alone: neither another task nor another time can be put in
        others = [{"timestamp": "2026-11-25T09:45:00Z"}, {"message": "{}"}, {"message_id": "0" * 32}]
        assert [smn(app, overheard | change).status for change in others] == [401] * 3
        invitation = sender.confirmation()
        assert [smn(app, invitation).status for _ in range(2)] == [200] * 2
        outside = {str(call.request.url) for call in mock.calls if "127.0.0.1" not in str(call.request.url)}
    assert outside == {CERTIFICATE_URL, CONFIRM_URL}  # asked of SMN itself, which knows what it has already confirmed
    assert len({(got.headers["webhook-id"], got.body) for got in receiver.requests}) == 1
