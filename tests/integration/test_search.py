"""Hints meet the task list: the right task is found, whichever way the list is read, and a wrong one never."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from standin import Cloud
from standin.sinks import Receiver
from standin.state import Order, TimeField
from vaultbell import compose, pipeline, search, settings
from vaultbell.budget import Budget
from vaultbell.events import Event
from vaultbell.handling import SECOND_LOOK
from vaultbell.report import Action, Report

SERVER, OTHER = "1dab32fa-ebf2-415a-ab0b-eabe6353bc86", "2dab32fa-ebf2-415a-ab0b-eabe6353bc86"
VAULT = "5f0d8c6e-3a57-4a52-9c1e-0b6f3d7a2e11"

Ask = Callable[..., Report]


@pytest.fixture
def ask(cloud: Cloud, receiver: Receiver) -> Ask:
    app = compose.app(settings.load(cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"}))

    def asked(value: object, seconds: float = 10.0) -> Report:
        return pipeline.handle(app.bell, Event(json.dumps(value).encode(), trusted=True), Budget.of(seconds))

    return asked


def alarm(event: str = "backupFailed", resource: str = SERVER, ago: float = 400.0) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(seconds=ago)
    return {
        "alarm_id": "al1",
        "alarm_status": "alarm",
        "namespace": "SYS.CBR",
        "metric_name": event,
        "time": int(at.timestamp() * 1000),
        "template_variable": {"ResourceId": resource},
    }


def trace(name: str = "createVaultBackup", resource: str = VAULT, ago: float = 400.0) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(seconds=ago)
    return {"service_type": "CBR", "trace_name": name, "resource_id": resource, "time": int(at.timestamp() * 1000)}


def found(report: Report) -> set[str | None]:
    return {result.operation_log_id for result in report.results}


def seconds_ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


@pytest.mark.parametrize("order", get_args(Order))
@pytest.mark.parametrize("time_field", get_args(TimeField))
def test_an_alarm_finds_the_task_that_ended_around_it(
    cloud: Cloud, receiver: Receiver, ask: Ask, order: Order, time_field: TimeField
) -> None:
    cloud.order, cloud.time_field = order, time_field
    right = cloud.outcome("failed", resource_id=SERVER, ended_at=seconds_ago(420))
    cloud.outcome("failed", resource_id=SERVER, ended_at=seconds_ago(2 * 86_400))
    cloud.outcome("failed", resource_id=OTHER, ended_at=seconds_ago(420))
    cloud.outcome("failed", operation_type="restore", resource_id=SERVER, ended_at=seconds_ago(420))
    report = ask(alarm())
    assert found(report) == {right["id"]}
    assert [got.json["data"]["operation_log"]["id"] for got in receiver.requests] == [right["id"]]


def test_an_alarm_is_a_hint_alone(cloud: Cloud, receiver: Receiver, ask: Ask) -> None:
    cloud.outcome("succeeded", resource_id=SERVER, ended_at=seconds_ago(420))
    report = ask(alarm("backupFailed"))
    assert [result.outcome for result in report.results] == ["succeeded"]
    assert receiver.requests == []
    cloud.reset()
    cloud.outcome("timed_out", resource_id=SERVER, ended_at=seconds_ago(420))
    assert [result.outcome for result in ask(alarm("backupSucceeded")).results] == ["timed_out"]
    assert len(receiver.requests) == 1


def test_an_alarm_may_name_the_vault(cloud: Cloud, ask: Ask) -> None:
    logs = [cloud.outcome("failed", resource_id=id_, ended_at=seconds_ago(420)) for id_ in (SERVER, OTHER)]
    assert found(ask(alarm(resource=VAULT))) == {log["id"] for log in logs}


def test_an_alarm_whose_task_still_runs_takes_that(cloud: Cloud, ask: Ask) -> None:
    running = cloud.outcome("running", resource_id=SERVER)
    report = ask(alarm())
    assert (found(report), report.status) == ({running["id"]}, 503)


@pytest.mark.parametrize(
    ("event", "kind"),
    [("restorationFailed", "restore"), ("backupDeleteFailed", "delete"), ("replicationFailed", "copy")],
)
def test_an_alarm_may_name_the_backup(cloud: Cloud, ask: Ask, event: str, kind: str) -> None:
    log = cloud.add(kind, "failed", ended_at=seconds_ago(420))
    block = log["extra_info"]["replication" if kind == "copy" else kind]
    assert found(ask(alarm(event, block.get("backup_id") or block["source_backup_id"]))) == {log["id"]}


def test_a_trace_finds_the_task_that_was_created_by_it(cloud: Cloud, receiver: Receiver, ask: Ask) -> None:
    logs = [
        cloud.outcome("failed", created_at=seconds_ago(400 - after), ended_at=seconds_ago(390 - after))
        for after in (-200.0, 0.0, 300.0)
    ]
    cloud.outcome("failed", created_at=seconds_ago(400 + 400), ended_at=seconds_ago(600))
    report = ask(trace())
    assert found(report) == {log["id"] for log in logs}
    assert len(receiver.requests) == 3


@pytest.mark.parametrize("time_field", get_args(TimeField))
def test_a_trace_finds_a_task_that_still_runs(cloud: Cloud, ask: Ask, time_field: TimeField) -> None:
    cloud.time_field = time_field
    running = cloud.outcome("running", created_at=seconds_ago(390), started_at=..., updated_at=...)
    assert found(ask(trace())) == {running["id"]}


@pytest.mark.parametrize("hint", [alarm, trace])
def test_a_hint_that_matches_nothing_yet_comes_again_and_at_last_rings_missing(
    cloud: Cloud, receiver: Receiver, ask: Ask, hint: Callable[..., dict[str, Any]]
) -> None:
    young = ask(hint(ago=30))
    assert young.status == 503
    assert receiver.requests == []
    old = hint()
    for _ in range(2):
        report = ask(old)
        assert [(result.outcome, result.status) for result in report.results] == [("missing", 200)]
    first, second = receiver.requests
    assert first.json["type"] == "cbr.task.missing"
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert first.json["data"]["operation_log"] == {"project_id": cloud.project_id}
    assert (SERVER if hint is alarm else VAULT) in first.json["data"]["summary"]


def test_a_list_that_cannot_be_read_is_no_missing_task(cloud: Cloud, receiver: Receiver, ask: Ask) -> None:
    cloud.fault("list", "status", times=None, status=503)
    assert ask(alarm(), 2.0).status == 503
    cloud.heal()
    cloud.fault("list", "status", times=None, status=403)
    assert ask(alarm()).status == 500
    assert [got.json["type"] for got in receiver.requests] == ["cbr.task.unverified"]


def test_a_hint_is_looked_for_in_each_allowed_project(cloud: Cloud, receiver: Receiver) -> None:
    second = "fedcba9876543210fedcba9876543210"
    cloud.projects[second] = "second"
    log = cloud.outcome("failed", resource_id=SERVER, ended_at=seconds_ago(420), project_id=second)
    env = cloud.env() | {
        "VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell",
        "VAULTBELL_PROJECTS": f"{cloud.project_id},{second}",
    }
    app = compose.app(settings.load(env))
    report = pipeline.handle(app.bell, Event(json.dumps(alarm()).encode(), trusted=True), Budget.of(10))
    assert found(report) == {log["id"]}
    named = pipeline.handle(
        app.bell, Event(json.dumps({**trace(), "project_id": "0" * 32}).encode(), trusted=True), Budget.of(10)
    )
    assert [result.status for result in named.results] == [403]


def untimed() -> dict[str, Any]:
    told = alarm()
    del told["time"]
    return told


@pytest.mark.parametrize(("seconds", "pause"), [(12.0, SECOND_LOOK), (4.5, 1.5)])
def test_a_hint_that_does_not_say_how_old_it_is_is_looked_for_twice(
    cloud: Cloud, ask: Ask, monkeypatch: pytest.MonkeyPatch, seconds: float, pause: float
) -> None:
    paused: list[float] = []
    monkeypatch.setattr(search, "time", SimpleNamespace(sleep=paused.append))
    assert [result.outcome for result in ask(untimed(), seconds).results] == ["missing"]
    assert [result.outcome for result in ask(alarm()).results] == ["missing"]  # this one does
    assert paused == [pytest.approx(pause, abs=0.3)]
    logs = []
    visible = SimpleNamespace(sleep=lambda _: logs.append(cloud.outcome("failed", resource_id=SERVER)))
    monkeypatch.setattr(search, "time", visible)
    assert found(ask(untimed(), seconds)) == {log["id"] for log in logs}


def test_what_cannot_be_read_is_told_of_the_hints_project_and_time(cloud: Cloud, receiver: Receiver, ask: Ask) -> None:
    hint = {**trace(), "project_id": cloud.project_id}
    cloud.fault("list", "status", times=None, status=503)
    assert [(result.action, result.project_id) for result in ask(hint, 2.0).results] == [
        (Action.RETRY, cloud.project_id)
    ]
    cloud.heal()
    cloud.fault("list", "status", times=None, status=403)
    ask(hint)
    assert datetime.fromisoformat(receiver.requests[0].json["timestamp"]).timestamp() * 1000 == hint["time"]


def test_a_project_that_may_not_be_read_is_told_before_one_that_is_away(cloud: Cloud, receiver: Receiver) -> None:
    second = "fedcba9876543210fedcba9876543210"
    cloud.projects[second] = "second"
    env = cloud.env() | {
        "VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell",
        "VAULTBELL_PROJECTS": f"{cloud.project_id},{second}",
    }
    app = compose.app(settings.load(env))
    cloud.fault("list", "status", times=1, status=403)
    cloud.fault("list", "status", times=None, after=1, status=503)
    report = pipeline.handle(app.bell, Event(json.dumps(alarm()).encode(), trusted=True), Budget.of(3))
    assert [(result.status, result.project_id) for result in report.results] == [(500, cloud.project_id)]


def test_an_alarm_that_cannot_be_read_rings_once_in_its_own_words(receiver: Receiver, ask: Ask) -> None:
    odd = {"namespace": "SYS.CBR", "metric_name": "backupFailed", "note": "no resource at all"}
    for _ in range(2):
        report = ask(odd)
        assert [(result.status, result.outcome) for result in report.results] == [(400, "unverified")]
    (rung,) = receiver.requests
    assert rung.json["type"] == "cbr.task.unverified"
    assert "no resource at all" in rung.json["data"]["reason"]


def test_an_alarm_that_cannot_be_read_is_not_lost_while_nobody_takes_it(receiver: Receiver, ask: Ask) -> None:
    receiver.answer(status=503, headers={"Retry-After": "60"}, times=1)
    odd = {"namespace": "SYS.CBR", "metric_name": "backupFailed"}
    assert ask(odd).status == 503
    assert ask(odd).status == 400
    assert len(receiver.requests) == 2


def test_another_resource_of_the_vault_is_none_of_an_alarms_business(cloud: Cloud, ask: Ask) -> None:
    cloud.outcome("succeeded", resource_id=OTHER, ended_at=seconds_ago(420))
    cloud.outcome("running", resource_id=OTHER)
    both = {**alarm(ago=30), "dimension": f"resource_id:{SERVER},vault_id:{VAULT}"}
    assert ask(both).status == 503  # its own task may not be visible yet
    assert [result.outcome for result in ask({**both, "time": alarm()["time"]}).results] == ["missing"]


def test_a_trace_follows_every_resource_of_the_vault_that_it_names(cloud: Cloud, receiver: Receiver, ask: Ask) -> None:
    cloud.outcome("succeeded", resource_id=SERVER, created_at=seconds_ago(390), ended_at=seconds_ago(300))
    bad = cloud.outcome("failed", resource_id=OTHER, created_at=seconds_ago(390), ended_at=seconds_ago(300))
    response = {"checkpoint": {"vault": {"id": VAULT, "resources": [{"id": SERVER}, {"id": OTHER}]}}}
    report = ask({"response": response, **trace()})
    assert len(report.results) == 2
    assert [got.json["data"]["operation_log"]["id"] for got in receiver.requests] == [bad["id"]]


@pytest.mark.parametrize(
    ("event", "kind", "status", "outcome"),
    [
        ("backupDeletionSucceeded", "delete", "success", "succeeded"),
        ("replicationSucceeded", "replication", "success", "succeeded"),
        ("restorationSucceeded", "restore", "success", "succeeded"),
        ("backupDeleteFailed", "delete", "timeout", "timed_out"),
    ],
)
def test_an_alarm_may_name_what_no_list_is_narrowed_by(
    cloud: Cloud, ask: Ask, event: str, kind: str, status: str, outcome: str
) -> None:
    log = cloud.add(kind, status, ended_at=seconds_ago(420))
    block = log["extra_info"][kind]
    named = block.get("target_resource_id") or block.get("backup_id") or block["source_backup_id"]
    assert [result.outcome for result in ask(alarm(event, named)).results] == [outcome]


def test_an_alarm_finds_a_task_that_was_touched_after_its_end(cloud: Cloud, ask: Ask) -> None:
    cloud.outcome("failed", resource_id=SERVER, ended_at=seconds_ago(4 * 3600), updated_at=seconds_ago(3600))
    assert [result.outcome for result in ask(alarm(ago=4 * 3600)).results] == ["failed"]
