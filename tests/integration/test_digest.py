"""Many notifications of one event: one mail, one message in the chat, and still each incident for the pager."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from standin import Cloud
from standin.sinks import Mailbox, Receiver
from vaultbell import compose, pipeline, settings
from vaultbell.budget import Budget
from vaultbell.events import Event
from vaultbell.report import Report

CONFIG = """
digest_over: 3
channels:
  mail:  {{type: email, smtp: "smtp://127.0.0.1:{port}?tls=off", from: bell@example.org, to: [ops@example.org]}}
  chat:  {{type: webhook, format: slack, url: "{url}/chat", digest_over: 5}}
  pager: {{type: webhook, format: pagerduty, url: "{url}/pager", routing_key: "key"}}
  plain: {{type: webhook, url: "{url}/plain"}}
  joint: {{type: webhook, url: "{url}/joint", digest: true}}
routes:
  - channels: [mail, chat, pager, plain, joint]
"""

Ask = Callable[[object], Report]


@pytest.fixture
def ask(cloud: Cloud, receiver: Receiver, mailbox: Mailbox, tmp_path: Path) -> Ask:
    config = tmp_path / "bell.yaml"
    config.write_text(CONFIG.format(url=receiver.url, port=mailbox.port))
    app = compose.app(settings.load(cloud.env() | {"VAULTBELL_CONFIG": str(config)}))
    return lambda event: pipeline.handle(app.bell, Event(json.dumps(event).encode()), Budget.of(6))


def batch(*logs: dict[str, Any]) -> dict[str, object]:
    return {"events": [{"operation_log_id": log["id"]} for log in logs]}


def told(receiver: Receiver) -> Counter[str]:
    return Counter(got.path for got in receiver.requests)


def test_more_than_a_reader_wants_are_one_message(cloud: Cloud, receiver: Receiver, mailbox: Mailbox, ask: Ask) -> None:
    logs = [cloud.outcome("failed", resource_name=f"ECS-{number}") for number in range(5)]
    logs.append(cloud.outcome("timed_out", resource_name="ECS-9", vault_name="vault-of-others"))
    report = ask(batch(*logs, cloud.outcome("succeeded")))
    assert [result.action for result in report.results] == ["notified"] * 6 + ["quiet"]
    assert all(
        {receipt.channel for receipt in result.receipts} == {"mail", "chat", "pager", "plain", "joint"}
        for result in report.results[:6]
    )
    assert told(receiver) == {"/pager": 6, "/plain": 6, "/chat": 1, "/joint": 1}
    (mail,) = mailbox.wait_for(1)
    page = mail.message.get_body(("html",))
    assert page is not None
    for log in logs:
        assert log["extra_info"]["resource"]["name"] in page.get_content()
    assert mail.message["Subject"].startswith("[CRITICAL] 6 ")
    (joint,) = [got.json for got in receiver.requests if got.path == "/joint"]
    assert joint["type"] == "cbr.digest"
    assert {member["data"]["operation_log"]["id"] for member in joint["data"]["members"]} == {log["id"] for log in logs}
    alone = {got.headers["webhook-id"] for got in receiver.requests if got.path == "/plain"}
    assert {member["id"] for member in joint["data"]["members"]} == alone


def test_the_same_many_are_the_same_message_in_whatever_order_they_come(
    cloud: Cloud, receiver: Receiver, ask: Ask
) -> None:
    logs = [cloud.outcome("failed") for _ in range(6)]
    ask(batch(*logs))
    ask(batch(*reversed(logs)))
    first, second = [got for got in receiver.requests if got.path == "/joint"]
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])


def test_a_few_are_told_one_by_one(cloud: Cloud, receiver: Receiver, mailbox: Mailbox, ask: Ask) -> None:
    ask(batch(*(cloud.outcome("failed") for _ in range(3))))
    assert told(receiver) == {"/pager": 3, "/plain": 3, "/chat": 3, "/joint": 3}
    assert len(mailbox.wait_for(3)) == 3


def test_a_sweep_digests_too(cloud: Cloud, receiver: Receiver, mailbox: Mailbox, ask: Ask) -> None:
    in_window = datetime.fromtimestamp(datetime.now(UTC).timestamp() // 900 * 900 - 300, UTC)
    for _ in range(7):
        cloud.outcome("failed", ended_at=in_window)
    report = ask({"sweep": {"lag": "0"}})
    assert [result.action for result in report.results] == ["notified"] * 7
    assert told(receiver) == {"/pager": 7, "/plain": 7, "/chat": 1, "/joint": 1}
    assert len(mailbox.wait_for(1)) == 1


def test_a_digest_that_was_not_taken_is_owed_for_each_of_its_members_and_for_no_other_channel(
    cloud: Cloud, receiver: Receiver, mailbox: Mailbox, ask: Ask
) -> None:
    receiver.answer("/chat", status=503, headers={"Retry-After": "600"}, times=1)
    event = batch(*(cloud.outcome("failed") for _ in range(6)))
    report = ask(event)
    assert (report.status, report.retry_after) == (503, 600)
    assert {result.owed for result in report.results} == {("chat",)}
    assert ask(event).status == 200
    assert told(receiver) == {"/pager": 6, "/plain": 6, "/chat": 2, "/joint": 1}
    assert len(mailbox.messages) == 1


def test_a_channel_that_hangs_does_not_hold_up_the_others(cloud: Cloud, receiver: Receiver, ask: Ask) -> None:
    receiver.answer("/plain", kind="hang")
    logs = [cloud.outcome("failed") for _ in range(40)]
    app_report = ask(batch(*logs))
    assert told(receiver)["/pager"] == 40
    assert app_report.status == 503


def test_what_is_not_handed_back_is_not_remembered(cloud: Cloud, receiver: Receiver, ask: Ask) -> None:
    log = cloud.outcome("failed")
    named = {"operation_log_id": log["id"]}
    assert ask({"events": [named, {"operation_log_id": "nonsense"}]}).status == 400
    before = told(receiver)["/plain"]
    assert ask(named).status == 200
    assert told(receiver)["/plain"] == before + 1


def test_a_task_that_is_named_twice_is_told_once(cloud: Cloud, receiver: Receiver, mailbox: Mailbox, ask: Ask) -> None:
    logs = [cloud.outcome("failed") for _ in range(2)]
    twice = [{"operation_log_id": log["id"]} for log in logs]
    again = [{"task_id": log["id"], "project_id": cloud.project_id, "time": "2026-11-23T08:00:00Z"} for log in logs]
    report = ask({"events": [*twice, *again]})
    assert [(result.action, len(result.receipts)) for result in report.results] == [("notified", 5)] * 4
    assert told(receiver) == {"/pager": 2, "/plain": 2, "/chat": 2, "/joint": 2}
    assert len(mailbox.wait_for(2)) == 2


def test_a_batch_that_is_too_long_for_its_time_is_done_in_the_end(cloud: Cloud, receiver: Receiver) -> None:
    app = compose.app(settings.load(cloud.env() | {"VAULTBELL_WEBHOOK_URL": receiver.url}))
    logs = [cloud.outcome("failed") for _ in range(24)]
    event = Event(json.dumps(batch(*logs)).encode())
    cloud.fault("show", "status", times=24, status=503, after=8, headers={"Retry-After": "600"})
    statuses = [pipeline.handle(app.bell, event, Budget.of(10)).status for _ in range(3)]
    assert statuses[0] == 503
    assert statuses[-1] == 200
    ids = [got.headers["webhook-id"] for got in receiver.requests]
    assert len(ids) == len(set(ids)) == 24
    assert cloud.counts["show"] <= 24 + 24  # what was done was not looked up again


def test_no_batch_waits_for_anothers_threads(cloud: Cloud, receiver: Receiver) -> None:
    app = compose.app(settings.load(cloud.env() | {"VAULTBELL_WEBHOOK_URL": receiver.url}))
    slow = [cloud.outcome("failed") for _ in range(20)]
    quick = [cloud.outcome("failed") for _ in range(2)]
    warm = Event(json.dumps({"operation_log_id": quick[0]["id"]}).encode())
    pipeline.handle(app.bell, warm, Budget.of(10))  # the log-in is done
    hanging = cloud.fault("show", "hang", times=8)
    waiting = threading.Thread(
        target=pipeline.handle, args=(app.bell, Event(json.dumps(batch(*slow)).encode()), Budget.of(4))
    )
    waiting.start()
    for _ in range(300):
        if not hanging.times:
            break
        waiting.join(0.01)
    assert pipeline.handle(app.bell, Event(json.dumps(batch(*quick)).encode()), Budget.of(3)).status == 200
    assert waiting.is_alive()  # it is still at its own
    waiting.join()
