"""The webhook channel against a receiver on a socket: what counts as taken, what is tried again, what is sent."""

from __future__ import annotations

import base64
import logging
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Literal

import pytest

from standin.certificates import Authority
from standin.sinks import Receiver
from told import FAILED as _FAILED
from vaultbell import compose, standard_webhooks
from vaultbell.budget import Budget
from vaultbell.channels import Channel, Taken
from vaultbell.delivery import Delivered, deliver
from vaultbell.errors import Permanent, Transient
from vaultbell.notification import Notification
from vaultbell.routing import Selection
from vaultbell.settings import Settings, load

SECRETS = ["whsec_" + base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2, 3)]
FAILED = _FAILED._replace(
    operation_log={"id": "4827f2da-b008-4507-ab7d-42d0df5ed912", "vault_name": "Tresor Ä"},
)


def webhook(url: str, secrets: list[str] | None = None) -> Channel:
    """A channel with this address, as the settings make it."""
    channel = {"type": "webhook", "url": url, "secrets": secrets or []}
    settings = Settings.model_validate({"channels": {"ops": channel}, "routes": [{"channels": ["ops"]}]})
    return compose.channels(settings)["ops"]


def told(channel: Channel, seconds: float = 5.0, notification: Notification = FAILED) -> Taken:
    return channel.send(notification, Budget(time.monotonic() + seconds))


def passing(channel: Channel, seconds: float = 5.0) -> Transient:
    with pytest.raises(Transient) as raised:
        told(channel, seconds)
    return raised.value


def final(channel: Channel) -> Permanent:
    with pytest.raises(Permanent) as raised:
        told(channel)
    return raised.value


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between tries are short."""
    monkeypatch.setattr("vaultbell.delivery.PAUSE_SECONDS", 0.001)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tries are short."""
    monkeypatch.setattr("vaultbell.delivery.TRY_SECONDS", 0.2)


def delivered(channel: Channel, seconds: float = 5.0) -> Delivered:
    """What becomes of a notification that is delivered to this channel alone, tries and all."""
    return deliver(FAILED, Selection(("ops",)), {"ops": channel}, Budget(time.monotonic() + seconds))


@contextmanager
def port_nobody_listens_on() -> Iterator[int]:
    """A port that is taken, so that nobody else begins to listen there."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


# What counts as taken


def test_every_status_is_taken_or_tried_again_or_final(receiver: Receiver) -> None:
    verdicts: dict[int, str] = {}
    channel = webhook(f"{receiver.url}/bell")
    for status in range(200, 600):
        receiver.answer(status=status, times=1)
        try:
            verdicts[status] = "taken" if told(channel) == Taken(status) else "?"
        except Transient as error:
            verdicts[status] = "again" if error.status == status else "?"
        except Permanent as error:
            verdicts[status] = "final" if error.status == status else "?"
    wanted = {status: "taken" if status < 300 else "final" for status in range(200, 600)}
    assert verdicts == wanted | dict.fromkeys((408, 425, 429, *range(500, 600)), "again")
    assert len(receiver.requests) == 400
    assert receiver.connections == 1


@pytest.mark.parametrize("status", [101, 102, 103, 199, 600, 999])
def test_a_status_outside_of_these_is_final(receiver: Receiver, status: int) -> None:
    receiver.answer(status=status)
    assert final(webhook(receiver.url)).status == status


def test_what_follows_an_interim_answer_is_not_taken_for_an_answer_to_the_next(receiver: Receiver) -> None:
    receiver.answer(status=103, times=1)
    receiver.answer(status=503, times=1)
    channel = webhook(receiver.url)
    assert final(channel).status == 103
    assert passing(channel).status == 503
    assert receiver.connections == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["inward", "outward"])
def test_a_redirect_is_refused_and_not_followed(receiver: Receiver, status: int, where: str) -> None:
    with Receiver() as other:
        target = f"{(other if where == 'outward' else receiver).url}/there"
        receiver.answer("/bell", status, {"Location": target})
        error = final(webhook(f"{receiver.url}/bell"))
        assert other.requests == []
    assert [got.path for got in receiver.requests] == ["/bell"]
    assert error.message == f"127.0.0.1 answered {status}; redirects are not followed"


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize("kind", ["hang_body", "trickle", "truncate"])
def test_the_status_line_decides_and_the_body_is_not_waited_for(
    receiver: Receiver, kind: Literal["hang_body", "trickle", "truncate"], status: int
) -> None:
    receiver.answer(status=status, body=b"x" * 100_000, kind=kind)
    channel = webhook(receiver.url)
    began = time.monotonic()
    if status == 200:
        assert told(channel, 20) == Taken(200)
    else:
        assert passing(channel, 20).status == 503
    assert time.monotonic() - began < 5


def test_a_body_that_is_long_is_not_read_to_its_end(receiver: Receiver) -> None:
    receiver.answer(body=b"x" * 20_000_000, times=1)
    receiver.answer(status=204)
    channel = webhook(receiver.url)
    assert told(channel) == Taken(200)
    assert told(channel) == Taken(204)
    assert receiver.connections == 2


# What is tried again, and what is not


NOT_HTTP = [
    b"\x16\x03 this is not HTTP\r\n\r\n",
    b"HTTP/1.1 2",
    b"HTTP/1.1 OK fine\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
    b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 200,
    b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
]


def tried_three_times(channel: Channel, words: str) -> None:
    result = delivered(channel)
    (receipt,) = result.receipts
    assert (receipt.delivered, receipt.attempts, receipt.error) == (False, 3, words)
    assert (result.owed, result.final) == (("ops",), False)


@pytest.mark.parametrize("answer", NOT_HTTP)
@pytest.mark.usefixtures("hasty")
def test_an_answer_that_is_not_http_is_tried_again(receiver: Receiver, answer: bytes) -> None:
    receiver.answer(kind="garbage", body=answer)
    tried_three_times(webhook(receiver.url), "127.0.0.1: the answer is not HTTP")
    assert len(receiver.requests) == 3


@pytest.mark.usefixtures("hasty")
def test_a_lost_connection_is_tried_again(receiver: Receiver) -> None:
    receiver.answer("/reset", kind="reset")
    receiver.answer("/ended", kind="truncate", keep=0, head=True)
    tried_three_times(webhook(f"{receiver.url}/reset"), "127.0.0.1: the connection was lost")
    tried_three_times(webhook(f"{receiver.url}/ended"), "127.0.0.1: the connection was lost")
    assert len(receiver.requests) == 6


@pytest.mark.usefixtures("hasty", "impatient")
def test_a_receiver_that_says_nothing_is_tried_again(receiver: Receiver) -> None:
    receiver.answer("/silent", kind="hang")
    receiver.answer("/slow", kind="trickle", pause=0.03, head=True)
    tried_three_times(webhook(f"{receiver.url}/silent"), "127.0.0.1: no answer in time")
    tried_three_times(webhook(f"{receiver.url}/slow"), "127.0.0.1: no answer in time")
    assert len(receiver.requests) == 6


@pytest.mark.usefixtures("hasty")
def test_a_closed_port_is_tried_again() -> None:
    with port_nobody_listens_on() as port:
        tried_three_times(webhook(f"http://127.0.0.1:{port}/"), "127.0.0.1: connection refused")


@pytest.mark.usefixtures("hasty")
def test_an_unknown_host_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    tried_three_times(webhook("https://hooks.example.org/"), "hooks.example.org: the name was not found")


@pytest.mark.parametrize("fault", ["hang", "trickle"])
def test_a_slow_receiver_costs_no_more_than_the_budget(receiver: Receiver, fault: Literal["hang", "trickle"]) -> None:
    receiver.answer(kind=fault, pause=0.05, head=True)
    began = time.monotonic()
    (receipt,) = delivered(webhook(receiver.url), 0.3).receipts
    assert time.monotonic() - began < 2
    assert (receipt.attempts, receipt.error) == (1, "127.0.0.1: no answer in time")


@pytest.mark.usefixtures("hasty")
def test_the_third_try_may_be_the_one_that_is_taken(receiver: Receiver) -> None:
    receiver.answer(kind="reset", times=1)
    receiver.answer(status=500, times=1)
    receiver.answer(status=201)
    (receipt,) = delivered(webhook(receiver.url)).receipts
    assert (receipt.delivered, receipt.attempts, receipt.status) == (True, 3, 201)


# Retry-After


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_wait_that_does_not_fit_is_handed_on(receiver: Receiver, status: int) -> None:
    receiver.answer(status=status, headers={"Retry-After": "3600"})
    result = delivered(webhook(receiver.url))
    assert (result.owed, result.final, result.after) == (("ops",), False, 3600.0)
    assert len(receiver.requests) == 1


def test_a_wait_until_a_date_is_handed_on(receiver: Receiver) -> None:
    at = datetime.fromtimestamp(int(time.time()) + 600, UTC)
    receiver.answer(status=503, headers={"retry-after": format_datetime(at, usegmt=True)})
    assert delivered(webhook(receiver.url)).after == pytest.approx(600, abs=10)


def test_a_wait_that_fits_is_kept_to(receiver: Receiver) -> None:
    receiver.answer(status=429, headers={"Retry-After": "1"}, times=1)
    assert delivered(webhook(receiver.url)).owed == ()
    first, second = receiver.requests
    assert second.time - first.time >= 0.99


@pytest.mark.parametrize("value", ["soon", "-5", ""])
@pytest.mark.usefixtures("hasty")
def test_a_wait_that_cannot_be_read_is_none(receiver: Receiver, value: str) -> None:
    receiver.answer(status=503, headers={"Retry-After": value}, times=1)
    result = delivered(webhook(receiver.url))
    assert (result.owed, len(receiver.requests)) == ((), 2)


# What is sent


def test_the_message_is_json_and_says_who_sends_it(receiver: Receiver) -> None:
    told(webhook(f"{receiver.url}/a/b?c=d&e=%20f", SECRETS[:1]))
    (got,) = receiver.requests
    assert (got.method, got.path, got.query) == ("POST", "/a/b", "c=d&e=%20f")
    assert (got.headers["content-type"], got.headers["user-agent"]) == ("application/json", "vaultbell")
    assert got.headers["host"] == receiver.url.removeprefix("http://")
    assert (got.json["type"], got.json["timestamp"]) == ("cbr.task.failed", "2026-11-23T08:01:00Z")
    assert got.json["data"]["operation_log"] == FAILED.operation_log
    assert "Tresor Ä".encode() in got.body
    for name in ("cookie", "authorization", "transfer-encoding"):
        assert name not in got.headers


def test_each_secret_signs_and_no_other_fits(receiver: Receiver) -> None:
    told(webhook(receiver.url, SECRETS[:2]))
    assert [receiver.verify(secret) for secret in SECRETS] == [[True], [True], [False]]
    assert len(receiver.requests[0].headers["webhook-signature"].split(" ")) == 2


def test_without_a_secret_nothing_is_signed_but_a_repeat_can_be_told(receiver: Receiver) -> None:
    told(webhook(receiver.url))
    (got,) = receiver.requests
    assert got.headers["webhook-id"] == FAILED.id
    assert abs(int(got.headers["webhook-timestamp"]) - time.time()) < 60
    assert "webhook-signature" not in got.headers


@pytest.mark.usefixtures("hasty")
def test_a_repeat_has_the_same_id_and_body_and_a_signature_of_its_own_time(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.answer(status=503, times=2)
    sign, ages = standard_webhooks.sign, iter((40, 20, 0))

    def signed_before(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
        return sign(keys, message_id, timestamp - next(ages), body)

    monkeypatch.setattr(standard_webhooks, "sign", signed_before)
    delivered(webhook(receiver.url, SECRETS[:1]))
    assert len(receiver.requests) == 3
    assert {got.headers["webhook-id"] for got in receiver.requests} == {FAILED.id}
    assert len({got.body for got in receiver.requests}) == 1
    assert len({got.headers["webhook-timestamp"] for got in receiver.requests}) == 3
    assert receiver.verify(SECRETS[0]) == [True] * 3


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("bell:pa55word", b"bell:pa55word"),
        ("bell:", b"bell:"),
        ("bell", b"bell"),
        ("b%40ll:p%3Aa%2Fs%25s", b"b@ll:p:a/s%s"),
        ("glöckchen:pässword", "glöckchen:pässword".encode()),
    ],
)
def test_user_and_password_of_the_address_are_sent_as_basic(receiver: Receiver, given: str, sent: bytes) -> None:
    told(webhook(f"http://{given}@127.0.0.1:{receiver.port}/bell"))
    (got,) = receiver.requests
    assert got.headers["authorization"] == f"Basic {base64.b64encode(sent).decode()}"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize("path", ["//there/bell", "/ü/bell", "/bell#frag", "/%2e%2e/bell", "/a;b=c/$&'()*+,:@!", ""])
def test_any_path_that_an_address_may_have_arrives(receiver: Receiver, path: str) -> None:
    assert told(webhook(f"{receiver.url}{path}")) == Taken(200)
    wanted = {"/ü/bell": "/%C3%BC/bell", "/%2e%2e/bell": "/%2E%2E/bell", "/bell#frag": "/bell", "": "/"}
    assert [got.path for got in receiver.requests] == [wanted.get(path, path)]


# Its settings


def test_channels_that_go_out_the_same_way_share_their_connections(receiver: Receiver) -> None:
    urls = {name: {"type": "webhook", "url": f"{receiver.url}/{name}"} for name in ("ops", "chat", "pager")}
    channels = compose.channels(Settings.model_validate({"channels": urls, "routes": [{"channels": list(urls)}]}))
    for channel in (*channels.values(), *channels.values()):
        assert told(channel) == Taken(200)
    assert [got.path for got in receiver.requests] == ["/ops", "/chat", "/pager"] * 2
    assert receiver.connections == 1


def test_the_environments_webhook_is_refused_a_private_address_by_its_own_setting(receiver: Receiver) -> None:
    environ = {"OS_REGION_NAME": "eu-de", "OS_PROJECT_ID": "0123456789abcdef0123456789abcdef", "OS_TOKEN": "token"}
    environ |= {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/s3cret"}
    assert told(compose.channels(load(environ))["webhook"]) == Taken(200)
    guarded = compose.channels(load(environ | {"VAULTBELL_ALLOW_PRIVATE": "false"}))["webhook"]
    error = final(guarded).message
    assert error.startswith("webhook: the address 127.0.0.1 of 127.0.0.1 is refused (loopback); ")
    assert "VAULTBELL_ALLOW_PRIVATE" in error
    assert len(receiver.requests) == 1


# What is never shown

MARKERS = ("us3r", "pa55word", "s3cret", "t0ken", "fr4gment")


def marked(base: str) -> Channel:
    scheme, host = base.split("://")
    return webhook(f"{scheme}://us3r:pa55word@{host}/s3cret/path?key=t0ken#fr4gment", SECRETS)


@pytest.mark.parametrize("status", [102, 200, 302, 404, 407, 429, 500])
def test_beyond_its_host_no_address_is_shown_whatever_is_answered(
    receiver: Receiver, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answer(status=status, headers={"Retry-After": "3600", "Location": "/s3cret", "X-Odd\x01": "\x02"})
    shown(delivered(marked(receiver.url)), caplog)
    assert receiver.requests[0].query == "key=t0ken"


@pytest.mark.parametrize("kind", ["reset", "garbage", "hang", "truncate"])
@pytest.mark.usefixtures("hasty")
def test_beyond_its_host_no_address_is_shown_whatever_goes_wrong(
    receiver: Receiver, kind: Literal["reset", "garbage", "hang", "truncate"], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answer(kind=kind, body=b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n" if kind == "garbage" else b"s3cret")
    shown(delivered(marked(receiver.url), 0.2), caplog)
    assert receiver.requests


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.usefixtures("hasty")
def test_beyond_its_host_no_address_is_shown_when_nobody_is_there(
    scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with port_nobody_listens_on() as port:
        shown(delivered(marked(f"{scheme}://127.0.0.1:{port}")), caplog)


def test_beyond_its_host_no_address_is_shown_when_its_certificate_is_not_trusted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with Receiver(tls=Authority(tmp_path).certificate()) as receiver:
        result = delivered(marked(receiver.url))
        assert receiver.requests == []
    assert result.final
    shown(result, caplog)


def shown(result: Delivered, caplog: pytest.LogCaptureFixture) -> None:
    text = f"{result} {caplog.text}"
    assert [marker for marker in (*MARKERS, *SECRETS) if marker in text] == []


def test_a_body_that_holds_what_utf_8_cannot_arrives(receiver: Receiver) -> None:
    told(webhook(receiver.url), notification=FAILED._replace(operation_log={"name": "\ud800\x00\u2028"}))
    assert receiver.requests[0].json["data"]["operation_log"] == {"name": "\ufffd\x00\u2028"}
