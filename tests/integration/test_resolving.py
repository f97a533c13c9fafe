"""A success closes what went wrong before it, and nothing else; nobody has to remember anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from standin import Cloud
from standin.sinks import Receiver
from standin.state import Order
from vaultbell import compose, pipeline, settings
from vaultbell.budget import Budget
from vaultbell.events import Event
from vaultbell.report import Report

SERVER, OTHER = "1dab32fa-ebf2-415a-ab0b-eabe6353bc86", "2dab32fa-ebf2-415a-ab0b-eabe6353bc86"
ROUTES = """
channels:
  pager: {{type: webhook, url: "{url}/pager", resolve: true}}
  chat:  {{type: webhook, url: "{url}/chat", resolve: true}}
  mail:  {{type: webhook, url: "{url}/mail"}}
routes:
  - match: {{outcome: [failed, overdue]}}
    channels: [pager, mail]
    fallback: chat
  - channels: [chat]
"""

Ask = Callable[[str | None], Report]


@pytest.fixture
def ask(cloud: Cloud, receiver: Receiver, tmp_path: Path) -> Ask:
    config = tmp_path / "bell.yaml"
    config.write_text(ROUTES.format(url=receiver.url))
    app = compose.app(settings.load(cloud.env() | {"VAULTBELL_CONFIG": str(config)}))

    def asked(task_id: str | None) -> Report:
        event = {"operation_log_id": task_id} if task_id else {"sweep": {"lag": "0"}}
        return pipeline.handle(app.bell, Event(json.dumps(event).encode()), Budget.of(10))

    return asked


def days_ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def heard(receiver: Receiver) -> list[tuple[str, str]]:
    return [(got.path, got.json["type"]) for got in receiver.requests]


@pytest.mark.parametrize("order", get_args(Order))
def test_the_channels_that_heard_of_the_failure_hear_of_its_end(
    cloud: Cloud, receiver: Receiver, ask: Ask, order: Order
) -> None:
    cloud.order = order
    cloud.outcome("succeeded", resource_id=SERVER, ended_at=days_ago(4))
    failed = cloud.outcome("failed", resource_id=SERVER, ended_at=days_ago(3))
    cloud.outcome("failed", resource_id=OTHER, ended_at=days_ago(2))
    good = cloud.outcome("succeeded", resource_id=SERVER, ended_at=days_ago(1))
    cloud.outcome("failed", resource_id=SERVER, ended_at=days_ago(0.5))  # after it: no business of this success
    for _ in range(2):
        (result,) = ask(good["id"]).results
        assert (result.outcome, result.action) == ("succeeded", "notified")
    first, second = receiver.requests
    assert heard(receiver) == [("/pager", "cbr.task.resolved")] * 2
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    data = first.json["data"]
    assert (data["outcome"], data["severity"], data["operation_log"]["id"]) == ("succeeded", "info", good["id"])
    assert data["resolves"]["operation_log_id"] == failed["id"]
    receiver.requests.clear()
    ask(failed["id"])
    told = next(got for got in receiver.requests if got.path == "/pager")
    assert told.json["data"]["incident"] == data["incident"]
    assert told.headers["webhook-id"] == data["resolves"]["id"]


@pytest.mark.parametrize(
    ("before", "channel"),
    [
        ({"name": "partial", "operation_type": "backup", "error_code": "BackupService.0001"}, "/chat"),
        ({"name": "timed_out"}, "/chat"),
        ({"name": "skipped"}, "/chat"),
        ({"name": "failed"}, "/pager"),
        ({"name": "succeeded"}, None),
        ({"name": "running"}, None),
        ({"name": "failed", "operation_type": "restore"}, None),
        ({"name": "failed", "resource_id": OTHER}, None),
    ],
)
def test_only_what_had_rung_for_the_same_incident_is_closed(
    cloud: Cloud, receiver: Receiver, ask: Ask, before: Mapping[str, Any], channel: str | None
) -> None:
    name, fields = before["name"], {key: value for key, value in before.items() if key != "name"}
    cloud.outcome(name, **{"resource_id": SERVER, "created_at": days_ago(2), "ended_at": days_ago(1.9), **fields})
    good = cloud.outcome("succeeded", resource_id=SERVER)
    assert ask(good["id"]).status == 200
    assert heard(receiver) == ([(channel, "cbr.task.resolved")] if channel else [])


def test_a_failure_that_another_success_has_closed_is_not_closed_again(
    cloud: Cloud, receiver: Receiver, ask: Ask
) -> None:
    cloud.outcome("failed", resource_id=SERVER, ended_at=days_ago(3))
    cloud.outcome("succeeded", resource_id=SERVER, ended_at=days_ago(2))
    good = cloud.outcome("succeeded", resource_id=SERVER)
    assert ask(good["id"]).results[0].action == "quiet"
    assert receiver.requests == []


def test_what_hung_while_newer_ones_went_well_is_closed_by_the_first_success_after_it(
    cloud: Cloud, receiver: Receiver, ask: Ask
) -> None:
    hung = cloud.outcome("failed", resource_id=SERVER, created_at=days_ago(4), ended_at=days_ago(1.5))
    goods = [
        cloud.outcome("succeeded", resource_id=SERVER, created_at=days_ago(ago), ended_at=days_ago(ago - 0.1))
        for ago in (3, 2, 1, 0.5)
    ]
    for good in goods:
        ask(good["id"])
    assert [got.json["data"]["operation_log"]["id"] for got in receiver.requests] == [goods[2]["id"]]
    assert receiver.requests[0].json["data"]["resolves"]["operation_log_id"] == hung["id"]


def test_a_failure_is_closed_although_one_after_it_did_not_ring(
    cloud: Cloud, receiver: Receiver, tmp_path: Path
) -> None:
    config = tmp_path / "bell.yaml"
    config.write_text(ROUTES.format(url=receiver.url) + "outcomes: {ring: [failed]}\n")
    failed = cloud.outcome("failed", resource_id=SERVER, ended_at=days_ago(2))
    cloud.outcome("skipped", resource_id=SERVER, ended_at=days_ago(1))
    good = cloud.outcome("succeeded", resource_id=SERVER)
    bell = compose.bell(settings.load(cloud.env() | {"VAULTBELL_CONFIG": str(config)}))
    event = Event(json.dumps({"operation_log_id": good["id"]}).encode())
    assert pipeline.handle(bell, event, Budget.of(10)).status == 200
    assert [got.json["data"]["resolves"]["operation_log_id"] for got in receiver.requests] == [failed["id"]]


def test_a_task_that_had_been_overdue_closes_that_itself(cloud: Cloud, receiver: Receiver, ask: Ask) -> None:
    late = cloud.outcome("overdue", resource_id=SERVER)
    ask(late["id"])
    assert sorted(heard(receiver)) == [("/mail", "cbr.task.overdue"), ("/pager", "cbr.task.overdue")]
    overdue = receiver.requests[0].headers["webhook-id"]
    receiver.requests.clear()
    listed = cloud.counts["list"]
    cloud.change(late["id"], status="success", ended_at=datetime.now(UTC))
    ask(late["id"])
    (resolved,) = receiver.requests
    assert (resolved.path, resolved.json["data"]["resolves"]["id"]) == ("/pager", overdue)
    assert cloud.counts["list"] == listed


def test_a_list_that_cannot_be_read_lets_the_event_come_again(cloud: Cloud, receiver: Receiver, ask: Ask) -> None:
    cloud.outcome("failed", resource_id=SERVER, ended_at=days_ago(3))
    good = cloud.outcome("succeeded", resource_id=SERVER)
    cloud.fault("list", "status", times=None, status=503, headers={"Retry-After": "3600"})
    report = ask(good["id"])
    assert (report.status, report.retry_after) == (503, 3600)
    assert receiver.requests == []


def test_an_end_that_could_not_be_told_is_owed_and_has_no_fallback(cloud: Cloud, receiver: Receiver, ask: Ask) -> None:
    cloud.outcome("failed", resource_id=SERVER, ended_at=days_ago(3))
    good = cloud.outcome("succeeded", resource_id=SERVER)
    receiver.answer("/pager", status=503, headers={"Retry-After": "3600"}, times=1)
    report = ask(good["id"])
    assert (report.status, report.results[0].owed) == (503, ("pager",))
    assert ask(good["id"]).status == 200
    assert [path for path, _ in heard(receiver)] == ["/pager", "/pager"]


def test_the_list_is_not_read_where_no_channel_wants_to_know(cloud: Cloud, receiver: Receiver) -> None:
    app = compose.app(settings.load(cloud.env() | {"VAULTBELL_WEBHOOK_URL": receiver.url}))
    cloud.outcome("failed", resource_id=SERVER, ended_at=days_ago(3))
    good = cloud.outcome("succeeded", resource_id=SERVER)
    event = Event(json.dumps({"operation_log_id": good["id"]}).encode())
    assert pipeline.handle(app.bell, event, Budget.of(10)).results[0].action == "quiet"
    assert cloud.counts["list"] == 0


@pytest.mark.parametrize("order", get_args(Order))
def test_a_sweep_closes_what_it_has_read_to_be_bad_and_asks_for_nothing_else(
    cloud: Cloud, receiver: Receiver, ask: Ask, order: Order
) -> None:
    cloud.order = order
    in_window = datetime.fromtimestamp(datetime.now(UTC).timestamp() // 900 * 900 - 300, UTC)
    cloud.outcome("failed", resource_id=SERVER, ended_at=days_ago(3))
    good = cloud.outcome("succeeded", resource_id=SERVER, ended_at=in_window)
    partial = cloud.add("backup", "success", error_code="BackupService.0001", resource_id=OTHER, ended_at=days_ago(2))
    also = cloud.outcome("succeeded", resource_id=OTHER, ended_at=in_window)
    late = cloud.outcome("succeeded", created_at=days_ago(2), ended_at=in_window)  # it had been overdue itself
    for _ in range(20):
        cloud.outcome("succeeded", ended_at=in_window)
    report = ask(None)
    assert {(result.operation_log_id, result.action) for result in report.results} == {
        (log["id"], "notified") for log in (good, also, late)
    }
    assert {got.json["data"]["resolves"]["type"] for got in receiver.requests} == {
        "cbr.task.failed",
        "cbr.task.partial",
        "cbr.task.overdue",
    }
    assert partial["id"] in {got.json["data"]["resolves"]["operation_log_id"] for got in receiver.requests}
    assert cloud.counts["show"] == 3
    assert report.swept is not None


def test_a_success_that_was_only_touched_late_had_never_been_overdue(
    cloud: Cloud, receiver: Receiver, ask: Ask
) -> None:
    good = cloud.outcome("succeeded", created_at=days_ago(1.5), ended_at=days_ago(1.45), updated_at=datetime.now(UTC))
    assert ask(good["id"]).results[0].action == "quiet"
    assert receiver.requests == []


def test_a_task_that_had_waited_too_long_closes_that(cloud: Cloud, receiver: Receiver, ask: Ask) -> None:
    late = cloud.add("backup", "waiting", created_at=days_ago(1.5), started_at=..., resource_id=SERVER)
    assert ask(late["id"]).results[0].outcome == "overdue"
    receiver.requests.clear()
    now = datetime.now(UTC)
    cloud.change(late["id"], status="success", started_at=now - timedelta(hours=1), ended_at=now)
    ask(late["id"])
    assert heard(receiver) == [("/pager", "cbr.task.resolved")]


def test_a_success_that_rings_is_no_failure_to_close(cloud: Cloud, receiver: Receiver, tmp_path: Path) -> None:
    config = tmp_path / "bell.yaml"
    config.write_text(
        f'channels: {{all: {{type: webhook, url: "{receiver.url}", resolve: true}}}}\n'
        "routes: [{channels: [all]}]\noutcomes: {ring: [succeeded, failed]}\n"
    )
    app = compose.app(settings.load(cloud.env() | {"VAULTBELL_CONFIG": str(config)}))
    cloud.outcome("succeeded", resource_id=SERVER, ended_at=days_ago(1))
    good = cloud.outcome("succeeded", resource_id=SERVER)
    pipeline.handle(app.bell, Event(json.dumps({"operation_log_id": good["id"]}).encode()), Budget.of(10))
    assert [got.json["type"] for got in receiver.requests] == ["cbr.task.succeeded"]
