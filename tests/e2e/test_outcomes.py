"""Each outcome from the cloud to the receiver: what is answered, what rings, and what stays quiet."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from uuid import uuid4

import pytest
from standardwebhooks.webhooks import Webhook

from standin.state import Kind
from worlds import OLD, SECRET, NewWorld, World, ago

OTHER = "fedcba9876543210fedcba9876543210"
GATEWAY = {"error_code": "APIGW.0101", "error_msg": "The API does not exist or has not been published"}
RULES = """
channels: {bell: {type: webhook, url: "{url}/bell"}}
routes: [{channels: [bell]}]
outcomes:
  deadlines: {backup: 1h}
  severity: {partial: critical, failed: info}
  ring: [partial, failed, overdue]
"""


@pytest.fixture(scope="module")
def world(new_world: NewWorld) -> World:
    """Two projects and a signed webhook. Its cloud is healed by whoever makes it ill."""
    return new_world(other=OTHER)


@pytest.fixture(scope="module")
def hasty(new_world: NewWorld) -> World:
    """The same with little time, so that a second look comes soon."""
    return new_world(other=OTHER, VAULTBELL_TIME_BUDGET="2")


def lose_token(world: World) -> None:
    """Let the first project's token end; the other's stays."""
    for text, token in list(world.cloud.tokens.items()):
        if token.project_id == world.cloud.project_id:
            del world.cloud.tokens[text]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_failed_backup_rings_with_all_that_is_known(world: World) -> None:
    told = world.tell("failed", resource_name="ECS-0001", vault_name="vault-daily")
    assert told.status == 200
    reason = "The server is in a state in which it cannot be backed up. (BackupService.7102)"
    receipt = {"channel": "webhook", "delivered": True, "attempts": 1}
    line = dict(told.line)
    assert [{key: found[key] for key in receipt} for found in line.pop("receipts")] == [receipt]
    incident = line.pop("incident")
    assert line == {
        "operation_log_id": told.task["id"],
        "project_id": world.cloud.project_id,
        "operation_type": "backup",
        "outcome": "failed",
        "severity": "critical",
        "reason": reason,
        "action": "notified",
    }
    (got,) = told.rung
    body = Webhook(SECRET).verify(got.body, dict(got.headers))
    assert (got.method, got.path, got.headers["content-type"]) == ("POST", "/bell", "application/json")
    summary = body["data"].pop("summary")
    assert summary.startswith("Backup of ECS-0001 failed: ")
    assert reason in summary
    assert body["data"] == {
        "outcome": "failed",
        "severity": "critical",
        "reason": reason,
        "incident": incident,
        "region": "eu-de",
        "project_id": world.cloud.project_id,
        "operation_log": told.task,
        "failures_in_row": 1,
        "last_good_at": None,
    }
    assert body["type"] == "cbr.task.failed"
    assert moment(body["timestamp"]) == max(moment(told.task["ended_at"]), moment(told.task["updated_at"]))


@pytest.mark.parametrize(
    ("outcome", "severity"),
    [
        ("partial", "warning"),
        ("skipped", "warning"),
        ("failed", "critical"),
        ("timed_out", "critical"),
        ("overdue", "critical"),
        ("unknown", "warning"),
    ],
)
def test_what_went_wrong_rings(world: World, outcome: str, severity: str) -> None:
    told = world.tell(outcome)
    assert (told.status, told.line["action"], told.line["outcome"], told.line["severity"]) == (
        200,
        "notified",
        outcome,
        severity,
    )
    data = told.body["data"]
    assert (told.body["type"], data["outcome"], data["severity"]) == (f"cbr.task.{outcome}", outcome, severity)
    assert data["reason"] == told.line["reason"]
    assert data["operation_log"] == told.task


def test_a_backup_that_succeeded_is_quiet(world: World) -> None:
    told = world.tell("succeeded")
    assert (told.status, told.line["outcome"], told.line["severity"]) == (200, "succeeded", "info")
    assert told.line["action"] == "quiet"
    assert "receipts" not in told.line
    assert told.rung == []


def consistency(**found: object) -> dict[str, Any]:
    return {"extra_info": {"backup": {f"app_consistency_error_{key}": value for key, value in found.items()}}}


@pytest.mark.parametrize(
    ("fields", "evidence"),
    [
        ({"operation_type": "remove_resource", "fail_count": 2}, "2 resource"),
        ({"operation_type": "remove_resource", "fail_count": " 3 "}, "3 resource"),
        ({"operation_type": "vault_delete", "fail_count": 1}, "1 resource"),
        ({"operation_type": "vault_delete", "fail_count": 4, "long_counts": True}, "4 resource"),
        ({"operation_type": "sync", "fail_count": 5}, "5 backup"),
        ({"error_code": "BackupService.6125"}, "BackupService.6125"),
        ({"error_code": 6125}, "6125"),
        (consistency(code="CBR.1234"), "CBR.1234"),
        (consistency(message="The agent did not answer."), "The agent did not answer."),
        (consistency(code="0", message="The agent did not answer."), "The agent did not answer."),
    ],
)
def test_a_success_of_which_a_part_failed_rings_as_partial(
    world: World, fields: Mapping[str, Any], evidence: str
) -> None:
    told = world.tell("succeeded", **fields)
    assert (told.line["outcome"], told.body["type"]) == ("partial", "cbr.task.partial")
    assert evidence in told.line["reason"]
    assert evidence in told.body["data"]["summary"]


@pytest.mark.parametrize(
    "fields",
    [
        {"operation_type": "remove_resource", "fail_count": 0},
        {"operation_type": "remove_resource", "fail_count": "0"},
        {"operation_type": "remove_resource", "fail_count": None},
        {"operation_type": "vault_delete", "fail_count": "none"},
        {"operation_type": "sync", "fail_count": -1},
        {"error_info": {"code": " ", "message": ""}},
        {"error_info": {"code": None, "message": None}},
        {"error_info": None},
        {"error_info": "none"},
        consistency(code="0", message="0"),
        consistency(code=" ", message=""),
        consistency(code=None),
        {"extra_info": None},
    ],
)
def test_what_only_looks_like_an_error_is_quiet(world: World, fields: Mapping[str, Any]) -> None:
    told = world.tell("succeeded", **fields)
    assert (told.status, told.line["outcome"], told.rung) == (200, "succeeded", [])


@pytest.mark.parametrize("status", ["running", "waiting"])
def test_a_task_that_still_runs_is_asked_for_again(world: World, status: str) -> None:
    told = world.tell("running", status=status)
    assert (told.status, told.line["outcome"], told.line["action"]) == (503, "running", "retry")
    assert told.answer.headers["Retry-After"] == str(told.line["retry_after"])
    assert int(told.answer.headers["Retry-After"]) >= 1
    assert told.rung == []


def test_the_event_of_a_running_task_that_comes_again_rings_when_it_has_failed(world: World) -> None:
    running = world.tell("running")
    world.cloud.change(running.task["id"], status="failed", error_info={"code": "BackupService.9910", "message": ""})
    again = world.named(running.task["id"])
    assert (running.status, again.status, again.line["outcome"]) == (503, 200, "failed")
    assert len(again.rung) == 1


def test_an_overdue_task_rings_of_its_deadline_and_a_repeat_is_the_same(world: World) -> None:
    told = world.tell("overdue")
    assert moment(told.body["timestamp"]) == moment(told.task["started_at"]) + timedelta(hours=24)
    again = world.named(told.task)
    assert again.status == 200
    first, second = again.rung
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])


def test_a_task_that_waits_past_its_deadline_is_overdue_by_its_creation(world: World) -> None:
    told = world.tell("overdue", status="waiting", started_at=None)
    assert told.line["outcome"] == "overdue"
    assert moment(told.body["timestamp"]) == moment(told.task["created_at"]) + timedelta(hours=24)


@pytest.mark.parametrize("status", ["suspended", "", None, 7, True, ["failed"], {"is": "failed"}])
def test_a_status_that_says_nothing_to_us_is_unknown(world: World, status: object) -> None:
    told = world.named(world.cloud.change(world.cloud.outcome("failed")["id"], status=status))
    assert (told.status, told.line["outcome"], told.body["type"]) == (200, "unknown", "cbr.task.unknown")


def test_blanks_around_a_status_mean_nothing(world: World) -> None:
    assert world.tell("failed", status=" failed\n").body["type"] == "cbr.task.failed"


def test_a_repeated_event_rings_again_under_the_same_id_with_the_same_body(world: World) -> None:
    told = world.tell("failed")
    first, second = world.named(told.task).rung
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


def test_an_event_decides_nothing_by_what_it_says(world: World) -> None:
    good, bad = world.cloud.outcome("succeeded"), world.cloud.outcome("failed")
    lie = world.named(good, status="failed", outcome="failed", operation_log=bad)
    assert (lie.line["outcome"], lie.rung) == ("succeeded", [])
    assert world.named(bad, status="success", outcome="succeeded").body["data"]["outcome"] == "failed"


# Missing


@pytest.mark.parametrize("code", ["BackupService.6500", "BackupService.6501"])
def test_a_task_that_the_cloud_does_not_know_rings_as_missing(world: World, code: str) -> None:
    name, at = str(uuid4()), "2026-11-23T08:00:00Z"
    world.cloud.fault("show", "status", status=404, body={"error_code": code, "error_msg": "no such task"})
    told = world.named(name, time=at)
    assert (told.status, told.line["outcome"], told.line["severity"]) == (200, "missing", "warning")
    assert world.asked(name) == 1
    data = told.body["data"]
    assert (told.body["type"], told.body["timestamp"]) == ("cbr.task.missing", at)
    assert data["operation_log"] == {"id": name, "project_id": world.cloud.project_id}


def test_a_missing_task_repeated_is_the_same_message(world: World) -> None:
    name, at = str(uuid4()), "2026-11-23T08:00:00Z"
    world.named(name, time=at)
    first, second = world.named(name, time=at).rung
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])


@pytest.mark.parametrize(("age", "least", "most"), [(0, 50, 60), (120, 50, 60), (280, 1, 20)])
def test_a_young_event_of_a_missing_task_is_asked_to_come_again(world: World, age: int, least: int, most: int) -> None:
    name = str(uuid4())
    told = world.named(name, time=ago(timedelta(seconds=age)))
    assert (told.status, told.line["action"], told.rung) == (503, "retry", [])
    assert least <= int(told.answer.headers["Retry-After"]) <= most
    assert told.line["error"]["code"] == "not_visible_yet"
    assert world.asked(name) == 1


def test_a_task_that_becomes_visible_for_the_young_events_repeat_is_told(world: World) -> None:
    name, at = str(uuid4()), ago(timedelta(seconds=30))
    assert world.named(name, time=at).status == 503
    world.cloud.outcome("failed", id=name)
    assert world.named(name, time=at).body["type"] == "cbr.task.failed"


def test_without_a_time_that_can_be_believed_a_missing_task_is_looked_up_twice(hasty: World) -> None:
    names = [str(uuid4()) for _ in range(4)]
    times = (..., None, "soon", "2999-01-01T00:00:00Z")
    events = [hasty.event(name, time=time) for name, time in zip(names, times, strict=True)]
    answer = hasty.function.post({"events": events})
    assert [line["outcome"] for line in answer.json()["results"]] == ["missing"] * 4
    assert [hasty.asked(name) for name in names] == [2] * 4
    assert [len(hasty.rung(name)) for name in names] == [1] * 4


def test_a_task_that_the_second_look_finds_is_not_missing(hasty: World) -> None:
    task = hasty.cloud.outcome("failed")
    hasty.cloud.fault("show", "status", status=404, body={"error_code": "BackupService.6500"})
    told = hasty.named(task, time=...)
    assert (told.line["outcome"], hasty.asked(task)) == ("failed", 2)
    assert told.body["type"] == "cbr.task.failed"


def test_a_task_without_a_project_is_found_in_whichever_has_it(world: World) -> None:
    for project in (world.cloud.project_id, OTHER):
        task = world.cloud.outcome("failed", project_id=project)
        told = world.named(task, project_id=...)
        assert (told.status, told.line["project_id"]) == (200, project)
        assert told.body["data"]["project_id"] == project


def test_a_task_without_a_project_is_missing_only_when_no_project_has_it(world: World) -> None:
    name = str(uuid4())
    told = world.named(name, project_id=...)
    assert (told.line["outcome"], world.asked(name)) == ("missing", 2)
    data = told.body["data"]
    assert (data["project_id"], data["operation_log"]) == (None, {"id": name})


def test_a_task_is_not_missing_while_one_of_the_projects_cannot_be_asked(world: World) -> None:
    name = str(uuid4())
    world.cloud.fault("show", "status", status=503, headers={"Retry-After": "300"})
    told = world.named(name, project_id=...)
    assert (told.status, told.answer.headers["Retry-After"], told.rung) == (503, "300", [])


# What cannot be verified


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("status", {"status": 404, "body": GATEWAY}),
        ("status", {"status": 403, "body": {"error_code": "BackupService.8600"}}),
        ("status", {"status": 410, "body": "<html>Gone</html>"}),
        ("redirect", {"status": 302}),
    ],
)
def test_an_endpoint_that_is_none_of_the_api_rings_unverified_once(
    world: World, kind: Kind, fault: Mapping[str, Any]
) -> None:
    first, second = (world.cloud.outcome("succeeded") for _ in "12")
    world.cloud.fault("show", kind, times=2, **fault)
    told = world.named(first)
    assert (told.status, told.line["outcome"], told.line["action"]) == (500, "unverified", "retry")
    data = told.body["data"]
    assert (told.body["type"], data["outcome"], data["severity"]) == ("cbr.task.unverified", "unverified", "critical")
    assert data["operation_log"] == {"id": first["id"], "project_id": world.cloud.project_id}
    assert str(fault["status"]) in data["reason"]
    again = world.named(second)
    assert (again.status, again.line["outcome"], again.rung) == (500, "unverified", [])
    assert world.named(first).line["outcome"] == "succeeded"  # healed: nothing is remembered against it


def test_unverified_rings_once_however_many_come_at_once(world: World) -> None:
    tasks = [world.cloud.outcome("succeeded") for _ in range(12)]
    world.cloud.fault("show", "status", times=len(tasks), status=451)
    answer = world.function.post({"events": [world.event(task) for task in tasks]})
    assert [line["outcome"] for line in answer.json()["results"]] == ["unverified"] * len(tasks)
    assert (answer.status_code, sum(len(world.rung(task)) for task in tasks)) == (500, 1)


def test_unverified_that_nobody_took_rings_with_the_next_event(world: World) -> None:
    world.cloud.fault("show", "status", times=3, status=418)
    world.receiver.answer("/bell", 503, {"Retry-After": "300"}, times=1)
    unheard, heard, quiet = (world.tell("succeeded") for _ in range(3))
    assert [told.status for told in (unheard, heard, quiet)] == [500] * 3
    assert [len(told.rung) for told in (unheard, heard, quiet)] == [1, 1, 0]
    assert unheard.rung[0].headers["webhook-id"] == heard.rung[0].headers["webhook-id"]


def test_a_project_that_is_refused_rings_of_its_own(world: World) -> None:
    told = []
    for project in (world.cloud.project_id, OTHER):
        task = world.cloud.outcome("succeeded", project_id=project)
        world.cloud.fault("show", "status", status=405)
        told.append(world.named(task, project_id=project))
    assert [found.status for found in told] == [500, 500]
    ids = {found.rung[0].headers["webhook-id"] for found in told}
    assert len(ids) == 2


def test_credentials_that_the_api_refuses_ring_unverified(world: World) -> None:
    task = world.cloud.outcome("failed")
    world.cloud.fault("show", "expired_token", times=2)  # the renewed one is refused as well
    told = world.named(task)
    assert (told.status, told.body["type"]) == (500, "cbr.task.unverified")


def test_a_redirect_takes_the_token_nowhere(world: World) -> None:
    for where in ("show", "iam"):
        lose_token(world)  # so that a log-in is needed as well
        world.cloud.fault(where, "redirect", status=307, url=f"{world.receiver.url}/elsewhere")
        assert world.tell("succeeded").status == 500
    assert [got for got in world.receiver.requests if got.path == "/elsewhere"] == []
    assert world.tell("failed").line["action"] == "notified"


@pytest.mark.parametrize("kind", ["expired_token", "auth_500"])
def test_a_token_that_has_ended_is_renewed_and_nobody_notices(world: World, kind: Kind) -> None:
    world.tell("succeeded")
    issued = world.cloud.tokens_issued
    world.cloud.fault("show", kind)
    told = world.tell("failed")
    assert (told.status, told.line["action"], world.cloud.tokens_issued) == (200, "notified", issued + 1)


def test_a_wrong_password_is_tried_once_and_heard_of_once(new_world: NewWorld) -> None:
    world = new_world(OS_PASSWORD="wrong")
    first = world.tell("failed")
    assert (first.status, first.body["type"]) == (500, "cbr.task.unverified")
    second = world.tell("failed")
    assert (second.status, second.rung) == (500, [])
    assert world.cloud.counts == {"iam": 1}
    assert "wrong" not in first.answer.text


def test_what_no_api_should_answer_is_a_fault_and_no_verdict(hasty: World) -> None:
    another = hasty.cloud.outcome("failed", project_id=OTHER)
    answers: tuple[object, ...] = (
        {"operation_log": another},
        {"operation_log": {**another, "id": str(uuid4()), "project_id": hasty.cloud.project_id}},
        {"operation_log": {}},
        {"operation_log": None},
        {"operation_log": [another]},
        {"operation_logs": [another]},
        [another],
        "<html>All is well.</html>",
    )
    tasks = [hasty.cloud.outcome("failed") for _ in answers]
    for body in answers:  # what each task's first try meets; the others meet the last one
        hasty.cloud.fault("show", "status", status=200, body=body)
    hasty.cloud.fault("show", "not_json", times=None)
    answer = hasty.function.post({"events": [hasty.event(task) for task in tasks]})
    hasty.cloud.heal()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert [line["error"]["code"] for line in answer.json()["results"]] == ["try_again"] * len(answers)
    assert [hasty.rung(task) for task in tasks] == [[]] * len(tasks)
    assert hasty.named(tasks[0]).body["type"] == "cbr.task.failed"


# What may pass


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_look_up_that_may_pass_is_asked_for_again_when_the_cloud_says(world: World, status: int) -> None:
    for wait, told in ((300, "300"), (100_000, "86400")):
        task = world.cloud.outcome("failed")
        world.cloud.fault("show", "status", status=status, headers={"Retry-After": str(wait)})
        late = world.named(task)
        assert (late.status, late.answer.headers["Retry-After"], late.rung) == (503, told, [])
        assert (late.line["action"], late.line["error"]["code"]) == ("retry", "try_again")
        assert world.asked(task) == 1  # the wait does not fit: it is handed back at once
        assert world.named(task).line["action"] == "notified"


def test_the_cloud_may_say_when_by_a_date(world: World) -> None:
    at = datetime.now(UTC) + timedelta(seconds=300)
    world.cloud.fault("show", "status", status=503, headers={"Retry-After": format_datetime(at, usegmt=True)})
    assert 280 <= int(world.tell("failed").answer.headers["Retry-After"]) <= 300


def test_a_fault_that_passes_within_the_budget_is_not_noticed(world: World) -> None:
    world.cloud.fault("show", "status", status=502, body="<html>Bad Gateway</html>")
    told = world.tell("failed")
    assert (told.status, told.line["action"], world.asked(told.task), len(told.rung)) == (200, "notified", 2, 1)


def test_a_cloud_that_breaks_off_or_is_silent_is_asked_again_and_the_event_handed_back(hasty: World) -> None:
    kinds: tuple[Kind, ...] = ("reset", "truncate", "garbage", "hang_body", "trickle", "hang")
    tasks = [hasty.cloud.outcome("failed") for _ in kinds]
    for kind in kinds:
        hasty.cloud.fault("show", kind)
    hasty.cloud.fault("show", "reset", times=None)
    answer = hasty.function.post({"events": [hasty.event(task) for task in tasks]})
    hasty.cloud.heal()
    assert answer.status_code == 503
    assert [line["action"] for line in answer.json()["results"]] == ["retry"] * len(kinds)
    assert [hasty.rung(task) for task in tasks] == [[]] * len(kinds)


def test_a_log_in_that_may_pass_is_asked_for_again(world: World) -> None:
    world.tell("succeeded")
    lose_token(world)
    world.cloud.fault("iam", "status", status=503, headers={"Retry-After": "77"})
    late = world.tell("failed")
    assert (late.status, late.answer.headers["Retry-After"], late.rung) == (503, "77", [])
    world.cloud.fault("iam", "not_json")
    assert world.named(late.task).line["action"] == "notified"
    assert "standin-password" not in late.answer.text + world.function.log


# Settings


@pytest.fixture(scope="module")
def ruled(new_world: NewWorld) -> World:
    """Deadlines, severities and what rings are set, and what still runs is left to a sweep."""
    return new_world(config=RULES, VAULTBELL_UNFINISHED="leave")


def test_what_still_runs_is_left_to_the_sweep_where_that_is_set(ruled: World) -> None:
    for fields in ({"age": 60}, {"age": 3_700, "operation_type": "restore"}, {"status": "waiting"}):
        told = ruled.tell("running", **fields)
        assert (told.status, told.line["action"], told.line["outcome"], told.rung) == (200, "left", "running", [])
    young = ruled.named(str(uuid4()), time=ago(timedelta(seconds=5)))
    assert (young.status, young.line["action"]) == (503, "retry")  # it is not known to run


def test_deadlines_severities_and_what_rings_are_settings(ruled: World) -> None:
    assert ruled.tell("running", age=3_700).body["type"] == "cbr.task.overdue"
    assert ruled.tell("partial").body["data"]["severity"] == "critical"
    assert ruled.tell("failed").body["data"]["severity"] == "info"
    for name in ("skipped", "timed_out", "unknown"):
        told = ruled.tell(name)
        assert (told.status, told.line["action"], told.line["outcome"], told.rung) == (200, "quiet", name, [])
    assert ruled.named(str(uuid4()), time=ago(OLD)).line["action"] == "quiet"
    ruled.cloud.fault("show", "status", status=404, body=GATEWAY)
    blind = ruled.tell("failed")
    assert (blind.status, blind.line["outcome"], blind.rung) == (500, "unverified", [])
