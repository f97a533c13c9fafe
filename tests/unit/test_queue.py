"""What becomes of a message: by its report, by what is noted in its headers, and by what strangers wrote there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standin import Cloud
from vaultbell import compose, settings, sources
from vaultbell.errors import InvalidEvent, SettingsError
from vaultbell.events import TaskRef
from vaultbell.platforms.queue import letter as letters
from vaultbell.platforms.queue.broker import CONFIRM_SECONDS, HEARTBEAT, LADDER, Broker
from vaultbell.platforms.queue.consumer import ATTEMPTS_MOST, Consumer, Judge
from vaultbell.platforms.queue.letter import ATTEMPTS, FIRST_TIME, NOT_BEFORE, Letter
from vaultbell.report import Action, Receipt, Report, Result

TASK, PROJECT = "00000000-0000-4000-8000-000000000004", "0123456789abcdef0123456789abcdef"
JUDGE = Judge()
LETTER = Letter(json.dumps({"operation_log_id": TASK}).encode(), "application/json")
DONE = Result(Action.NOTIFIED)
WAITS = Result(Action.RETRY, 503, outcome="running", retry_after=120.0)
YOUNG = Result(Action.RETRY, 503, retry_after=41.0, error=("not_visible_yet", "too new"))
FAULT = Result(Action.RETRY, 503, error=("try_again", "no connection"))
BLIND = Result(Action.RETRY, 500, error=("misconfigured", "the cloud refuses the credentials"))
REFUSED = Result(Action.REJECTED, 424, error=("undeliverable", "refused for good by: ops"))
BAD = Result.rejected(InvalidEvent("operation_log_id is not a UUID", code="bad_id"))
FORBIDDEN = Result.rejected(InvalidEvent("the project is not allowed", status=403, code="project_not_allowed"))
LARGE = Result.rejected(InvalidEvent("too many items", status=413, code="too_large"))


@dataclass
class Given:
    """A message as kombu hands it over."""

    body: bytes | str | None = b""
    content_type: str | None = None
    content_encoding: str | None = None
    headers: Mapping[str, object] = field(default_factory=dict)
    properties: Mapping[str, object] = field(default_factory=dict)
    errors: Sequence[object] = field(default_factory=list)

    def ack(self) -> None: ...


def report(*results: Result) -> Report:
    return Report(results, batch=len(results) > 1)


def test_what_is_handled_is_done_with() -> None:
    verdict = JUDGE.reported(LETTER, report(DONE, DONE))
    assert (verdict.delay, verdict.reason) == (None, None)


@pytest.mark.parametrize("result", [REFUSED, BAD, FORBIDDEN, LARGE], ids=lambda result: str(result.status))
def test_what_no_retry_will_help_is_a_dead_letter_with_its_reason(result: Result) -> None:
    verdict = JUDGE.reported(LETTER, report(result))
    assert verdict.delay is None
    assert verdict.reason == result.error
    assert verdict.letter.attempts == 1
    assert verdict.letter.body == LETTER.body


@pytest.mark.parametrize("result", [FAULT, BLIND], ids=["503", "500"])
def test_what_may_pass_climbs_the_ladder_attempt_by_attempt_and_then_dies(result: Result) -> None:
    letter, delays, times = LETTER, [], set()
    while not (verdict := JUDGE.reported(letter, report(result))).reason:
        assert verdict.delay is not None
        delays.append(verdict.delay)
        letter = verdict.letter
        times.add(letter.headers[FIRST_TIME])
    assert tuple(delays[: len(LADDER)]) == LADDER
    assert delays[len(LADDER) :] == [LADDER[-1]] * (ATTEMPTS_MOST - 1 - len(LADDER))
    assert len(times) == 1  # the first time stays the first
    assert verdict.reason[0] == "too_many_attempts"
    assert result.error is not None
    assert result.error[0] in verdict.reason[1]
    assert verdict.letter.attempts == ATTEMPTS_MOST


@pytest.mark.parametrize("result", [WAITS, YOUNG], ids=["unfinished", "young"])
def test_waiting_for_a_task_is_no_attempt_however_long_it_takes(result: Result) -> None:
    letter = LETTER.tried(ATTEMPTS_MOST - 1)
    for _ in range(3 * ATTEMPTS_MOST):
        verdict = JUDGE.reported(letter, report(result))
        assert (verdict.delay, verdict.reason) == (result.retry_after, None)
        letter = verdict.letter
    assert letter.attempts == ATTEMPTS_MOST - 1


def test_a_task_that_never_ends_and_has_no_deadline_does_not_circle_for_ever() -> None:
    month = (datetime.now(UTC) - timedelta(days=31)).isoformat()
    verdict = JUDGE.reported(LETTER.marked({FIRST_TIME: month}), report(WAITS))
    assert verdict.letter.attempts == 1


def test_a_wish_to_come_later_is_obeyed_and_one_to_come_sooner_waits_for_its_rung() -> None:
    slow = Result(Action.RETRY, 503, retry_after=3_600.0, error=("try_again", "throttled"))
    soon = Result(Action.RETRY, 503, retry_after=1.0, error=("try_again", "throttled"))
    assert JUDGE.reported(LETTER, report(slow)).delay == 3_600.0
    assert JUDGE.reported(LETTER, report(soon)).delay == LADDER[0]
    assert JUDGE.reported(LETTER.tried(2), report(soon)).delay == LADDER[2]


def test_a_batch_is_judged_by_the_worst_of_it() -> None:
    assert JUDGE.reported(LETTER, report(DONE, BAD)).reason == BAD.error
    assert JUDGE.reported(LETTER, report(BAD, REFUSED, DONE)).reason == REFUSED.error
    mixed = JUDGE.reported(LETTER, report(BAD, WAITS, DONE))
    assert (mixed.delay, mixed.letter.attempts) == (120.0, 0)
    faulty = JUDGE.reported(LETTER, report(WAITS, FAULT))
    assert (faulty.delay, faulty.letter.attempts) == (120.0, 1)
    assert JUDGE.reported(LETTER, report(BLIND, BAD, FAULT)).letter.attempts == 1


def told(outcome: str, status: int, delivered: bool = True) -> Result:
    receipts = (Receipt("mail", delivered, 1), Receipt("ops", False, 3, 503))
    error = ("try_again", "not reached yet: ops")
    return Result(Action.RETRY, status, outcome=outcome, owed=("ops",), receipts=receipts, error=error)


@pytest.mark.parametrize("status", [503, 424])
def test_only_what_is_owed_is_told_when_it_comes_again(status: int) -> None:
    body = {"task_id": TASK.upper(), "project_id": PROJECT, "region": "eu-de", "time": "2026-11-23T08:00:00Z"}
    letter = Letter(json.dumps(body).encode(), headers={"trace": "1"}, properties={"message_id": "7"})
    again = JUDGE.reported(letter, report(told("failed", status))).letter
    assert json.loads(again.body) == {
        "operation_log_id": TASK,
        "project_id": PROJECT,
        "region": "eu-de",
        "time": "2026-11-23T08:00:00Z",
        "channels": ["ops"],
    }
    assert again.headers["trace"] == "1"
    assert again.properties == {"message_id": "7"}


def test_what_is_owed_keeps_the_time_of_the_event_wherever_it_stood() -> None:
    headers = {"cloudEvents:id": "1", "cloudEvents:source": "/x", "cloudEvents:specversion": "1.0"}
    headers |= {"cloudEvents:type": "t", "cloudEvents:time": "2026-11-23T08:00:00Z"}
    binary = Letter(LETTER.body, "application/json", headers=headers, properties={"timestamp": 1_700_000_000})
    again = JUDGE.reported(binary, report(told("failed", 503))).letter
    (item,) = sources.decode(again.event).items
    assert item == TaskRef(TASK, time=datetime(2026, 11, 23, 8, tzinfo=UTC), channels=("ops",))


@pytest.mark.parametrize("outcome", ["overdue", "missing", "unknown", "unverified"])
def test_a_later_word_on_the_task_goes_to_everybody(outcome: str) -> None:
    assert JUDGE.reported(LETTER, report(told(outcome, 503))).letter.body == LETTER.body


def test_a_message_that_nobody_took_or_that_names_more_than_one_task_comes_again_as_it_was() -> None:
    assert JUDGE.reported(LETTER, report(told("failed", 503, delivered=False))).letter.body == LETTER.body
    batch = Letter(json.dumps({"events": [{"task_id": TASK}, {"task_id": TASK}]}).encode())
    assert JUDGE.reported(batch, report(told("failed", 503), DONE)).letter.body == batch.body
    alarm = Letter(
        json.dumps({"namespace": "SYS.CBR", "alarm_status": "alarm", "metric_name": "backupFailed"}).encode()
    )
    assert JUDGE.reported(alarm, report(told("failed", 503))).letter.body == alarm.body


@given(st.one_of(st.text(), st.binary(), st.floats(), st.booleans(), st.none(), st.lists(st.integers()), st.integers()))
def test_garbage_in_our_headers_is_as_good_as_none(garbage: object) -> None:
    letter = Letter(b"{}", headers={ATTEMPTS: garbage, NOT_BEFORE: garbage, FIRST_TIME: garbage})
    assert 0 <= letter.attempts < 2**31
    assert 0.0 <= letter.early <= letters.WAIT_MOST
    again = JUDGE.failed(letter, "try_again", "…").letter
    assert again.attempts in (letter.attempts + 1, 0)
    assert isinstance(again.headers[FIRST_TIME], str)


def test_a_letter_leaves_its_former_life_behind_and_keeps_what_its_sender_said() -> None:
    headers = {"x-death": [{"count": 3}], "x-delivery-count": 2, "x-first-death-queue": "q", "x-last-death-reason": "r"}
    headers |= {"CC": ["elsewhere"], "BCC": ["elsewhere"], "compression": "application/x-gzip", "x-kept": None}
    properties = {"message_id": "1", "timestamp": 5, "user_id": "other", "expiration": "10", "delivery_mode": 1}
    message = Given("ü", "text/plain", "latin-1", headers | {ATTEMPTS: 4}, properties)
    letter = Letter.of(message)
    assert letter == Letter(
        "ü".encode(), "text/plain", "utf-8", {"x-kept": None, ATTEMPTS: 4}, {"message_id": "1", "timestamp": 5}
    )
    assert letter.unmarked().headers == {"x-kept": None}
    packed = Given(b"\x1f\x8b", errors=["cannot be unpacked"], headers={"compression": "application/x-gzip"})
    assert Letter.of(packed).headers == {"compression": "application/x-gzip"}


@pytest.mark.parametrize("body", ["\ud800", None, "", b""])
def test_no_body_is_too_strange_to_be_a_letter(body: bytes | str | None) -> None:
    with pytest.raises(InvalidEvent):
        sources.decode(Letter.of(Given(body)).event)


def test_only_the_content_type_and_the_attributes_of_a_cloudevent_become_headers() -> None:
    headers: dict[Any, object] = {
        "cloudEvents:source": "/a%20b",
        "cloudEvents_id": 7,
        "cloudEvents:time": datetime(2026, 11, 23, 8, 0, 0),  # noqa: DTZ001 - as py-amqp reads AMQP's timestamps
        "ce-type": "a%20b",
        "X-SMN-MESSAGE-TYPE": "Notification",
        "Authorization": "Bearer x",
        b"\xff": "bytes",
    }
    event = Letter.of(Given(b"{}", "application/json", headers=headers, properties={"timestamp": 1_795_420_800})).event
    assert event.headers == {
        "content-type": "application/json",
        "ce-source": "/a%2520b",
        "ce-id": "7",
        "ce-time": "2026-11-23T08%3A00%3A00Z",
        "ce-type": "a%20b",
    }
    assert event.time == datetime.fromtimestamp(1_795_420_800, UTC)
    assert event.trusted
    assert not event.platform


def test_an_attribute_that_is_no_unicode_costs_no_message() -> None:
    letter = Letter(b'{"operation_log_id": "x"}', headers={"cloudEvents:subject": "\ud800", "cloudEvents:id": "1"})
    assert letter.event.headers == {"ce-subject": "%ED%A0%80", "ce-id": "1"}


@pytest.mark.parametrize("timestamp", [0, "soon", None, b"1"])
def test_a_timestamp_that_means_no_time_is_none(timestamp: object) -> None:
    assert Letter.of(Given(properties={"timestamp": timestamp})).event.time is None


def test_who_waits_takes_the_lowest_rung_that_is_long_enough() -> None:
    broker = Broker("amqp://localhost", "backups")
    assert broker.delay(0) == broker.delay(10) == "backups.delay.10s"
    assert broker.delay(10.1) == broker.delay(30) == "backups.delay.30s"
    assert broker.delay(120) == "backups.delay.120s"
    assert broker.delay(86_400) == "backups.delay.1800s"
    assert all(short < long for short, long in pairwise(LADDER))


def test_what_the_broker_moves_it_keeps_until_it_has_arrived() -> None:
    queues = dict(Broker("amqp://localhost", "backups").queues())
    assert len(queues) == 2 + len(LADDER)
    assert {arguments["x-queue-type"] for arguments in queues.values()} == {"quorum"}
    for name, arguments in queues.items():
        if name != "backups.dead":
            assert arguments["x-dead-letter-strategy"] == "at-least-once"
            assert arguments["x-overflow"] == "reject-publish"
            assert arguments["x-dead-letter-routing-key"] == ("backups.dead" if name == "backups" else "backups")
    limits = [queues[name]["x-delivery-limit"] for name in ("backups", "backups.dead")]
    assert all(isinstance(limit, int) and limit > 20 for limit in limits)  # RabbitMQ 4's own is 20


def test_an_unanswered_publication_is_noticed_before_a_heartbeat_hides_it() -> None:
    assert CONFIRM_SECONDS < HEARTBEAT / 2


@pytest.mark.parametrize(("time_budget", "heartbeat"), [(25.0, HEARTBEAT), (44.0, HEARTBEAT), (60.0, 0), (900.0, 0)])
def test_a_broker_does_not_miss_a_worker_that_is_long_at_work(
    time_budget: float, heartbeat: int, mocked_cloud: Cloud
) -> None:
    bell = compose.bell(settings.load(mocked_cloud.env() | {"VAULTBELL_WEBHOOK_URL": "https://hooks.example.org"}))
    consumer = Consumer(bell, Broker("amqp://localhost", "backups"), time_budget=time_budget)
    assert consumer._broker.connection().heartbeat == heartbeat


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "localhost",
        "amqp://",
        "amqp://user:pass/word@host",
        "amqp://host:port",
        "amqp://host:0",
        "filesystem://folder",
        "filesystem://",
        "amqp://host?heartbeat=3",
        "amqps://host?verify=verify_none",
        "amqps://host?cacertfile=a&x",
        "sqla+sqlite:///x",
        "amqp://host;",
        "amqp://host;http://user:pass@word",
        "amqp://host;filesystem:///folder",
    ],
)
def test_an_address_that_is_not_understood_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(SettingsError, match="address") as refused:
        Broker(url, "backups")
    assert not any(word in refused.value.message for word in ("pass", "word", "verify", "heartbeat", "sqla"))


@pytest.mark.parametrize("queue", ["", "a b", "ü", "x" * 201, "a\n"])
def test_a_name_that_no_queue_can_have_is_refused(queue: str) -> None:
    with pytest.raises(SettingsError, match="name of a queue"):
        Broker("amqp://localhost", queue)
    with pytest.raises(SettingsError, match="name of a queue"):
        Broker("filesystem:///folder", "../up")


def test_a_broker_over_tls_must_prove_its_name() -> None:
    connection = Broker("amqps://u:p@broker.example.org?cacertfile=/ca.pem&certfile=/c.pem", "q").connection()
    assert connection.ssl == {"ca_certs": "/ca.pem", "certfile": "/c.pem", "server_hostname": None}
    assert connection.hostname == "broker.example.org"
    assert Broker("amqp://u:p@broker.example.org", "q").connection().ssl is False


def test_the_password_of_an_address_may_hold_anything_that_is_encoded() -> None:
    connection = Broker("amqp://us%40er:p%3F%2F%23@host:5673/team%2Fa", "q").connection()
    given = (connection.userid, connection.password, connection.port, connection.virtual_host)
    assert given == ("us@er", "p?/#", 5673, "team/a")
    assert Broker("amqp://host", "q").connection().virtual_host == "/"
