"""Delivery as a user meets it: the running function between a cloud, webhooks, mailboxes and proxies that misbehave."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

import pytest

from serving import serving
from standin import Cloud, serve
from standin.certificates import Authority
from standin.ports import unused
from standin.proxy import Proxy
from standin.sinks import Got, Mailbox, Receiver
from worlds import Told, World

LOGIN = ("bell", "s3cret pass")
SECRETS = ["whsec_" + base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2, 3)]
MARKERS = ("us3r", "pa55word", "s3cret", "t0ken", base64.b64encode(b"us3r:pa55word").decode(), *SECRETS)

# A channel or two for each story, at a path of its own; a task's name leads there.
CONFIG = """
channels:
  signed:    {type: webhook, url: "http://us3r:pa55word@${RECEIVER}/signed?key=t0ken",
              secrets: ["${THIS_SECRET}", "${file:${NEXT_SECRET_FILE}}"]}
  steady:    {type: webhook, url: "http://${RECEIVER}/steady"}
  shaky:     {type: webhook, url: "http://${RECEIVER}/shaky"}
  busy:      {type: webhook, url: "http://${RECEIVER}/busy"}
  gone:      {type: webhook, url: "http://${RECEIVER}/gone"}
  moved:     {type: webhook, url: "http://${RECEIVER}/moved"}
  failing:   {type: webhook, url: "http://${RECEIVER}/failing"}
  silent:    {type: webhook, url: "http://${RECEIVER}/silent"}
  endless:   {type: webhook, url: "http://${RECEIVER}/endless"}
  spare:     {type: webhook, url: "http://${RECEIVER}/spare"}
  last:      {type: webhook, url: "http://${RECEIVER}/last"}
  closed:    {type: webhook, url: "http://us3r:pa55word@127.0.0.1:${CLOSED}/s3cret?key=t0ken"}
  guarded:   {type: webhook, url: "http://${RECEIVER}/s3cret", allow_private: false}
  secure:    {type: webhook, url: "${SECURE}/secure"}
  stranger:  {type: webhook, url: "${SECURE}/s3cret", ca_file: "${OTHER_CA}"}
  proxied:   {type: webhook, url: "http://${RECEIVER}/proxied", proxy: "http://us3r:pa55word@${LOGIN_PROXY}"}
  starttls:  {type: email, smtp: "smtp://bell:s3cret%20pass@127.0.0.1:${STARTTLS}", from: bell@example.org,
              to: [ops@example.com, gone@example.com]}
  smtps:     {type: email, smtp: "smtps://bell:s3cret%20pass@127.0.0.1:${SMTPS}", from: Bell <bell@example.org>,
              to: ops@example.com}
routes:
  - {match: {resource_name: "signed-*"}, channels: [signed]}
  - {match: {resource_name: "owed-*"}, channels: [steady, shaky]}
  - {match: {resource_name: "busy-*"}, channels: [busy]}
  - {match: {resource_name: "saved-*"}, channels: [gone, failing], fallback: spare}
  - {match: {resource_name: "lost-*"}, channels: [gone, steady], fallback: moved}
  - {match: {resource_name: "half-lost-*"}, channels: [gone, steady], fallback: failing}
  - {match: {resource_name: "silent-*"}, channels: [silent, steady], fallback: spare}
  - {match: {resource_name: "endless-*"}, channels: [endless]}
  - {match: {resource_name: "closed-*"}, channels: [closed]}
  - {match: {resource_name: "guarded-*"}, channels: [guarded]}
  - {match: {resource_name: "secure-*"}, channels: [secure]}
  - {match: {resource_name: "stranger-*"}, channels: [stranger]}
  - {match: {resource_name: "proxied-*"}, channels: [proxied]}
  - {match: {resource_name: "mail-*"}, channels: [starttls]}
  - {match: {resource_name: "smtps-*"}, channels: [smtps]}
  - {match: {resource_name: "nobody-*"}, channels: []}
  - {match: {resource_name: ["one-?", "two-?"]}, channels: [steady], continue: true}
  - {match: {outcome: timed_out}, channels: [spare, steady], continue: true}
  - channels: [last]
"""


@dataclass(frozen=True, slots=True)
class Place:
    """The world, and what else can be told in it."""

    world: World
    secure: Receiver
    proxy: Proxy
    login_proxy: Proxy
    starttls: Mailbox
    smtps: Mailbox

    def tell(self, name: str, outcome: str = "failed", **fields: Any) -> Told:  # noqa: ANN401 - any JSON value
        """Let the backup of a resource of this name end so, and name the task to the function."""
        return self.world.tell(outcome, resource_name=name, **fields)

    def again(self, told: Told) -> Told:
        """Name the same task once more."""
        return self.world.named(told.task)

    def got(self, told: Told) -> dict[str, list[Got]]:
        """What has arrived about the task, by its path."""
        found: dict[str, list[Got]] = {}
        for got in self.world.rung(told.task):
            found.setdefault(got.path, []).append(got)
        return found

    def counts(self, told: Told) -> dict[str, int]:
        """How often something has arrived about the task, by its path."""
        return {path: len(got) for path, got in self.got(told).items()}


def receipts(told: Told) -> dict[str, dict[str, Any]]:
    return {receipt.pop("channel"): receipt for receipt in (dict(receipt) for receipt in told.line["receipts"])}


def taken(status: int = 200, attempts: int = 1) -> dict[str, Any]:
    return {"delivered": True, "attempts": attempts, "status": status, "error": None}


def not_taken(status: int | None, error: str, attempts: int = 1) -> dict[str, Any]:
    return {"delivered": False, "attempts": attempts, "status": status, "error": error}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("delivery")
    authority, other = (Authority(tmp_path_factory.mktemp(name)) for name in ("ca", "other"))
    certificate = authority.certificate()
    (folder / "secret").write_text(f"{SECRETS[1]}\n")
    (folder / "vaultbell.yaml").write_text(CONFIG.replace("${NEXT_SECRET_FILE}", str(folder / "secret")))
    cloud = Cloud()
    with ExitStack() as stack:
        stack.enter_context(serve(cloud))
        receiver, secure = (stack.enter_context(Receiver(tls=tls)) for tls in (None, certificate))
        proxy, login_proxy = (stack.enter_context(Proxy(login=login)) for login in (None, ("us3r", "pa55word")))
        starttls = stack.enter_context(Mailbox("starttls", certificate, LOGIN))
        smtps = stack.enter_context(Mailbox("implicit", certificate, LOGIN))
        function = stack.enter_context(
            serving(
                cloud.env()
                | {
                    "VAULTBELL_CONFIG": str(folder / "vaultbell.yaml"),
                    "VAULTBELL_TIME_BUDGET": "3",
                    "RECEIVER": f"127.0.0.1:{receiver.port}",
                    "SECURE": secure.url,
                    "CLOSED": str(unused()),
                    "LOGIN_PROXY": f"127.0.0.1:{login_proxy.port}",
                    "STARTTLS": str(starttls.port),
                    "SMTPS": str(smtps.port),
                    "THIS_SECRET": SECRETS[0],
                    "OTHER_CA": other.file,
                    "SSL_CERT_FILE": authority.file,
                    "HTTPS_PROXY": proxy.url,
                }
            )
        )
        receiver.answer("/signed", 204)
        receiver.answer("/gone", 410)
        receiver.answer("/moved", 302, {"Location": f"{receiver.url}/last"})
        receiver.answer("/failing", 503, {"Retry-After": "600"})
        receiver.answer("/busy", 429, {"Retry-After": "3600"})
        receiver.answer("/silent", kind="hang")
        receiver.answer("/endless", 202, body=b"x" * 1_000_000, kind="trickle", pause=0.01)
        starttls.refuse("rcpt", "550 5.1.1 Unknown", of="gone@")
        yield Place(World(cloud, receiver, function), secure, proxy, login_proxy, starttls, smtps)


def test_a_receipt_tells_what_the_receiver_answered(place: Place) -> None:
    told = place.tell("signed-1")
    assert (told.status, told.line["action"], "owed" in told.line) == (200, "notified", False)
    assert receipts(told) == {"signed": taken(204)}


def test_a_message_is_signed_by_each_secret_and_a_repeat_is_the_same_byte_for_byte(place: Place) -> None:
    told = place.tell("signed-2")
    assert place.again(told).status == 200
    first, second = place.got(told)["/signed"]
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
    assert first.headers["webhook-id"].startswith("msg_")
    assert first.headers["authorization"] == f"Basic {base64.b64encode(b'us3r:pa55word').decode()}"
    with Receiver() as witness:
        witness.requests += [first, second]
        assert [witness.verify(secret) for secret in SECRETS] == [[True] * 2, [True] * 2, [False] * 2]


def test_only_those_still_owed_hear_a_repeat_and_after_success_all_hear_the_next(place: Place) -> None:
    place.world.receiver.answer("/shaky", 503, times=3)
    told = place.tell("owed-1")
    assert (told.status, told.answer.headers["Retry-After"]) == (503, "30")
    assert (told.line["action"], told.line["owed"]) == ("retry", ["shaky"])
    assert receipts(told) == {"steady": taken(), "shaky": not_taken(503, "127.0.0.1 answered 503", attempts=3)}
    assert place.counts(told) == {"/steady": 1, "/shaky": 3}
    repeat = place.again(told)
    assert (repeat.status, receipts(repeat)) == (200, {"shaky": taken()})
    assert place.counts(told) == {"/steady": 1, "/shaky": 4}
    assert len({(got.headers["webhook-id"], got.body) for got in place.got(told)["/shaky"]}) == 1
    assert receipts(place.again(told)) == {"steady": taken(), "shaky": taken()}


def test_a_long_retry_after_becomes_the_events_own_at_once(place: Place) -> None:
    began = time.monotonic()
    told = place.tell("busy-1")
    assert time.monotonic() - began < 2
    assert (told.status, told.answer.headers["Retry-After"]) == (503, "3600")
    assert (told.line["retry_after"], told.line["owed"]) == (3600, ["busy"])
    assert place.counts(told) == {"/busy": 1}


def test_once_the_stand_in_took_it_the_event_is_handled(place: Place) -> None:
    told = place.tell("saved-1")
    assert (told.status, told.line["action"], "owed" in told.line) == (200, "notified", False)
    assert receipts(told) == {
        "gone": not_taken(410, "127.0.0.1 answered 410"),
        "failing": not_taken(503, "127.0.0.1 answered 503"),
        "spare": taken(),
    }
    assert place.counts(told) == {"/gone": 1, "/failing": 1, "/spare": 1}


def test_what_a_stand_in_took_is_not_told_again_when_another_item_brings_the_event_back(place: Place) -> None:
    saved, busy = (place.world.cloud.outcome("failed", resource_name=name) for name in ("saved-2", "busy-2"))
    batch = {"events": [place.world.event(saved), place.world.event(busy)]}
    for _ in range(2):
        answer = place.world.function.post(batch)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "3600")
        assert [line["action"] for line in answer.json()["results"]] == ["notified", "retry"]
    paths = sorted(got.path for task in (saved, busy) for got in place.world.rung(task))
    assert paths == ["/busy", "/busy", "/failing", "/gone", "/spare"]


def test_a_receiver_that_says_nothing_holds_up_nobody_and_its_stand_in_has_time_left(place: Place) -> None:
    told = place.tell("silent-1")
    assert told.status == 200
    assert receipts(told) == {
        "silent": not_taken(None, "127.0.0.1: no answer in time"),
        "steady": taken(),
        "spare": taken(),
    }
    steady, spare = place.got(told)["/steady"][0], place.got(told)["/spare"][0]
    assert spare.time - steady.time > 1  # the one was not waited for, the other was


def test_where_all_refuse_for_good_the_event_is_refused(place: Place) -> None:
    told = place.tell("lost-1")
    assert (told.status, told.line["action"], told.line["owed"]) == (424, "rejected", ["gone"])
    assert told.answer.json()["error"] == {"code": "undeliverable", "message": "refused for good by: gone"}
    assert "Retry-After" not in told.answer.headers
    assert receipts(told) == {
        "gone": not_taken(410, "127.0.0.1 answered 410"),
        "steady": taken(),
        "moved": not_taken(302, "127.0.0.1 answered 302; redirects are not followed"),
    }
    assert place.counts(told) == {"/gone": 1, "/steady": 1, "/moved": 1}


def test_as_long_as_the_stand_in_may_yet_take_it_the_event_comes_again(place: Place) -> None:
    told = place.tell("half-lost-1")
    assert (told.status, told.line["action"], told.line["owed"]) == (503, "retry", ["gone"])
    assert told.answer.headers["Retry-After"] == "600"
    assert place.again(told).status == 503
    assert place.counts(told) == {"/gone": 2, "/steady": 1, "/failing": 2}


def test_the_status_line_is_enough(place: Place) -> None:
    began = time.monotonic()
    assert receipts(place.tell("endless-1")) == {"endless": taken(202)}
    assert time.monotonic() - began < 2


def test_routes_go_on_where_they_say_so_and_each_channel_is_told_once(place: Place) -> None:
    assert place.counts(place.tell("one-1")) == {"/steady": 1, "/last": 1}
    assert place.counts(place.tell("two-1", "timed_out")) == {"/steady": 1, "/spare": 1, "/last": 1}
    assert place.counts(place.tell("one-12")) == {"/last": 1}


def test_a_route_without_channels_tells_nobody(place: Place) -> None:
    told = place.tell("nobody-1")
    assert (told.status, told.line["action"], told.line["outcome"]) == (200, "quiet", "failed")
    assert place.counts(told) == {}


def test_a_private_address_is_refused_where_the_channel_says_so(place: Place) -> None:
    told = place.tell("guarded-1")
    words = "guarded: the address 127.0.0.1 of 127.0.0.1 is refused (loopback); allow_private would allow it"
    assert (told.status, receipts(told)) == (424, {"guarded": not_taken(None, words)})


def test_a_private_ca_and_the_environments_proxy_are_used(place: Place) -> None:
    assert receipts(place.tell("secure-1")) == {"secure": taken()}
    assert receipts(place.tell("secure-2")) == {"secure": taken()}
    assert [got.path for got in place.secure.requests] == ["/secure"] * 2
    tunnels = [line.split()[:2] for line in place.proxy.asked]
    assert ["CONNECT", f"127.0.0.1:{place.secure.port}"] in tunnels


def test_a_channels_own_cas_replace_the_environments(place: Place) -> None:
    told = place.tell("stranger-1")
    assert told.status == 424
    assert "127.0.0.1: its certificate is not trusted (" in receipts(told)["stranger"]["error"]


def test_a_channels_own_proxy_is_used(place: Place) -> None:
    told = place.tell("proxied-1")
    assert receipts(told) == {"proxied": taken()}
    assert f"POST {place.world.receiver.url}/proxied HTTP/1.1" in place.login_proxy.asked


def test_a_mail_goes_in_by_starttls_threads_by_its_incident_and_is_the_same_when_repeated(place: Place) -> None:
    name, resource = "mail-<b>x</b>\r\nBcc: thief@example.com", "1dc0ffee-0000-4000-9000-000000000001"
    before = len(place.starttls.messages)
    told = place.tell(name, resource_id=resource)
    refused = "not taken for gone@example.com (550 5.1.1 Unknown)"
    assert told.status == 200
    assert receipts(told) == {"starttls": {**taken(250), "error": refused}}
    place.again(told)
    place.tell("mail-2", resource_id=resource)
    first, repeat, next_one = place.starttls.messages[before:]
    assert (first.tls, first.user, first.recipients) == (True, "bell", ("ops@example.com",))
    mail = first.message
    assert mail["Subject"] == "[CRITICAL] Backup of mail-<b>x</b> Bcc: thief@example.com failed"
    assert (mail["Bcc"], mail["Auto-Submitted"], mail["From"]) == (None, "auto-generated", "bell@example.org")
    assert mail["Message-ID"].startswith("<msg_")
    assert repeat.raw == first.raw
    assert next_one.message["References"] == mail["References"]
    assert next_one.message["Message-ID"] != mail["Message-ID"]
    assert "mail-<b>x</b> Bcc: thief@example.com" in part(mail, "plain")
    assert "mail-&lt;b&gt;x&lt;/b&gt; Bcc: thief@example.com" in part(mail, "html")
    assert "<b>x</b>" not in part(mail, "html")


def part(mail: EmailMessage, kind: str) -> str:
    body = mail.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def test_a_mail_goes_in_by_tls_from_the_start(place: Place) -> None:
    assert receipts(place.tell("smtps-1")) == {"smtps": taken(250)}
    mail = place.smtps.messages[-1]
    assert (mail.tls, mail.user, mail.sender) == (True, "bell", "bell@example.org")
    assert mail.message["Subject"] == "[CRITICAL] Backup of smtps-1 failed"


def test_a_mail_server_that_is_busy_is_tried_again_and_one_that_refuses_is_not(place: Place) -> None:
    place.smtps.refuse("data", "452 4.3.1 Full", times=1)
    assert receipts(place.tell("smtps-2")) == {"smtps": taken(250, attempts=2)}
    place.smtps.refuse("data", "554 5.7.1 Spam", times=1)
    told = place.tell("smtps-3")
    assert (told.status, told.line["owed"]) == (424, ["smtps"])
    assert receipts(told) == {"smtps": not_taken(554, "127.0.0.1 answered 554 5.7.1 Spam")}


def test_beyond_its_host_no_address_and_no_secret_is_ever_shown(place: Place) -> None:
    names = ("signed-9", "closed-9", "guarded-9", "stranger-9", "proxied-9", "mail-9")
    answers = [place.tell(name).answer.text for name in names]
    assert "connection refused" in answers[1]
    log = place.world.function.log
    assert all(f'"{channel}"' in log for channel in ("signed", "closed", "guarded", "stranger", "proxied", "starttls"))
    assert [marker for marker in MARKERS if marker in log + "".join(answers)] == []
