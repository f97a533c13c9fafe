"""The JSON Schemas of `events/schemas/` hold what is really sent and answered, and nothing less."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

import samples
from standin import Cloud
from standin.sinks import Receiver
from vaultbell import compose, digest, pipeline, settings
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.channels import formats
from vaultbell.channels.formats.post import Options
from vaultbell.errors import InvalidEvent, Transient
from vaultbell.events import Event
from vaultbell.notification import Notification
from vaultbell.outcome import OutcomeName
from vaultbell.platforms import answer
from vaultbell.report import Report
from vaultbell.settings import WatchRule
from vaultbell.times import read

SCHEMAS = {path.name.partition(".")[0]: json.loads(path.read_bytes()) for path in samples.EVENTS.glob("schemas/*.json")}
REGISTRY: Registry[Any] = Registry().with_resources(
    (schema["$id"], Resource.from_contents(schema)) for schema in SCHEMAS.values()
)
OLD = "2025-11-23T08:00:00Z"
CONFIG = f"""
channels:
  own: {{type: webhook, url: "${{URL}}/default", resolve: true}}
  event: {{type: webhook, url: "${{URL}}/cloudevent", format: cloudevent, resolve: true}}
routes: [{{channels: [own, event]}}]
outcomes: {{ring: [{", ".join(name for name in OutcomeName if name is not OutcomeName.SUCCEEDED)}]}}
"""


def mistakes(name: str, value: object) -> list[str]:
    """What the schema of this name finds wrong with a value."""
    validator = Draft202012Validator(SCHEMAS[name], registry=REGISTRY)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def unknown(name: str, value: object, path: str = "$") -> Iterator[str]:
    """The keys of a value that its schema does not describe, so that none is added to the one without the other."""
    schema = _described(SCHEMAS[name], SCHEMAS[name])
    yield from _unknown(value, *schema, path)


def _described(schema: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """A schema with what it refers to, and the document that it stands in."""
    for reference in [part["$ref"] for part in [schema, *schema.get("allOf", [])] if "$ref" in part]:
        document, _, pointer = reference.partition("#")
        root = REGISTRY.contents(document) if document else root
        found: Mapping[str, Any] = root
        for key in filter(None, pointer.split("/")):
            found = found[key]
        schema = {**found, **schema, "properties": {**found.get("properties", {}), **schema.get("properties", {})}}
    return schema, root


def _unknown(value: object, schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[str]:
    if isinstance(value, list) and "items" in schema:
        for item in value:
            yield from _unknown(item, *_described(schema["items"], root), f"{path}[]")
    elif isinstance(value, dict) and schema.get("properties"):
        for key, held in value.items():
            if key in schema["properties"]:
                yield from _unknown(held, *_described(schema["properties"][key], root), f"{path}.{key}")
            else:
                yield f"{path}.{key}"


def holds(name: str, value: object) -> None:
    assert mistakes(name, value) == []
    assert list(unknown(name, value)) == []


@pytest.fixture
def bell(cloud: Cloud, receiver: Receiver, tmp_path: Path) -> Bell:
    """A bell that rings for everything but a success, by our own formats."""
    (tmp_path / "config.yaml").write_text(CONFIG, "utf-8")
    environ = {"URL": receiver.url, "VAULTBELL_CONFIG": str(tmp_path / "config.yaml")}
    return compose.app(settings.load(cloud.env() | environ)).bell


def answered(bell: Bell, event: object) -> Any:  # noqa: ANN401 - any JSON value
    """The body of the answer to an event."""
    try:
        report: Report | InvalidEvent | Transient = pipeline.handle(
            bell, Event(json.dumps(event).encode()), Budget.of(10)
        )
    except (InvalidEvent, Transient) as error:
        report = error
    made = answer.of_report(report) if isinstance(report, Report) else answer.of_error(report)
    return json.loads(made.body)


def told(receiver: Receiver) -> None:
    """Hold what the receiver has got against the schemas."""
    assert {got.path for got in receiver.requests} == {"/default", "/cloudevent"}
    for got in receiver.requests:
        holds({"/default": "webhook", "/cloudevent": "cloudevent"}[got.path], got.json)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$id"] == f"urn:vaultbell:{name}"


def test_there_is_a_schema_for_each_of_our_own_bodies() -> None:
    assert SCHEMAS.keys() == {"webhook", "cloudevent", "report", "error"}


@pytest.mark.parametrize("name", [name for name in OutcomeName if name not in ("missing", "unverified", "stale")])
def test_what_is_told_of_a_task_and_the_report_of_it_are_described(
    name: OutcomeName, cloud: Cloud, receiver: Receiver, bell: Bell
) -> None:
    task = cloud.outcome(name)
    report = answered(bell, {"operation_log_id": task["id"], "project_id": cloud.project_id, "time": OLD})
    holds("report", report)
    assert report["results"][0]["outcome"] == name
    if name not in (OutcomeName.SUCCEEDED, OutcomeName.RUNNING):
        told(receiver)


def test_what_is_told_of_no_task_is_described(cloud: Cloud, receiver: Receiver, bell: Bell) -> None:
    named = {**samples.value("outcomes/missing.json"), "project_id": cloud.project_id, "time": OLD}
    missing = answered(bell, named)
    cloud.fault("show", "status", None, status=403, body={"error_code": "CBR.1", "error_msg": "no"})
    unverified = answered(bell, named)
    assert [report["results"][0]["outcome"] for report in (missing, unverified)] == ["missing", "unverified"]
    for report in (missing, unverified):
        holds("report", report)
    told(receiver)


def test_what_is_told_of_a_silence_is_described(cloud: Cloud, receiver: Receiver, bell: Bell) -> None:
    hour, now = timedelta(hours=1), datetime.now(UTC)
    created = now.replace(minute=0, second=0, microsecond=0) - 26.5 * hour  # stale in the middle of the last hour
    cloud.vault("db-01", {"name": "db-02", "id": "r2"}, name="prod-1", created_at=created)
    cloud.outcome("succeeded", resource_id="r2", policy_id=..., ended_at=created, updated_at=created)
    watching = replace(bell, watch=[WatchRule.model_validate({"vault": "prod-*", "max_age": "26h"})])
    report = answered(watching, {"sweep": {"period": "1h", "lag": "0"}})
    holds("report", report)
    assert [(line["outcome"], line["action"]) for line in report["results"]] == [("stale", "notified")] * 2
    told(receiver)


def test_what_is_told_of_the_past_is_described(cloud: Cloud, receiver: Receiver, bell: Bell) -> None:
    resource = {"resource_id": "1dab32fa-ebf2-415a-ab0b-eabe6353bc86"}
    cloud.outcome("succeeded", age=9_000, **resource)
    task = cloud.outcome("failed", age=7_200, **resource)
    cloud.outcome("succeeded", age=600, **resource)
    holds("report", answered(bell, {"operation_log_id": task["id"], "project_id": cloud.project_id, "time": OLD}))
    assert {"failures_in_row", "last_good_at", "recovered_at"} <= receiver.requests[0].json["data"].keys()
    told(receiver)


def test_what_is_told_of_an_end_is_described(cloud: Cloud, receiver: Receiver, bell: Bell) -> None:
    resource = {"resource_id": "1dab32fa-ebf2-415a-ab0b-eabe6353bc86", "resource_name": "ECS-0001"}
    cloud.outcome("failed", age=7_200, **resource)
    task = cloud.outcome("succeeded", age=60, **resource)
    holds("report", answered(bell, {"operation_log_id": task["id"], "project_id": cloud.project_id, "time": OLD}))
    assert [got.json["type"] for got in receiver.requests] == ["cbr.task.resolved"] * 2
    told(receiver)


def test_a_roll_call_is_described(cloud: Cloud, receiver: Receiver, bell: Bell) -> None:
    day = timedelta(days=1)
    yesterday = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - day / 2
    times = {"created_at": yesterday, "started_at": yesterday, "updated_at": yesterday}
    cloud.vault("db-01", {"name": "db-02", "id": "r2"}, name="prod-1", created_at=yesterday - 9 * day)
    cloud.outcome("succeeded", resource_id="r2", **{name: at - day for name, at in times.items()}, ended_at=...)
    cloud.outcome("running", resource_id="r3", progress=37, **times)
    cloud.outcome("failed", resource_id="r4", ended_at=yesterday, **times)
    report = answered(replace(bell, roll_call=frozenset({"own", "event"})), {"roll_call": {}})
    holds("report", report)
    told(receiver)
    data = receiver.requests[0].json["data"]
    assert data["members"]
    assert data["roll_call"]["running"]
    assert len(data["roll_call"]["without_backup"]) == 2


def test_a_digest_is_described() -> None:
    log = samples.value("operation-logs/failed.json")["operation_log"]
    now = read(OLD)
    assert now
    one = Notification(
        id="msg_" + "0" * 32,
        type="cbr.task.failed",
        timestamp=now,
        outcome="failed",
        severity="critical",
        headline="Backup of ECS-0001 failed",
        summary="Backup of ECS-0001 failed: why",
        reason="why",
        incident="inc_" + "1" * 32,
        project_id=log["project_id"],
        region="eu-de",
        facts={},
        operation_log=log,
    )
    many = digest.of([one, one._replace(id="msg_" + "2" * 32)])
    for name, schema in (("default", "webhook"), ("cloudevent", "cloudevent")):
        holds(schema, json.loads(formats.of(name)(many, Options(), now).body))


@pytest.mark.parametrize("event", [{}, [], {"operation_log_id": "no"}, {"operation_log_id": "0" * 32}])
def test_a_refusal_is_described(bell: Bell, event: object) -> None:
    body = answered(bell, event)
    assert mistakes("error", body) == []


def test_a_report_of_many_with_one_refused_and_one_owed_is_described(
    cloud: Cloud, receiver: Receiver, bell: Bell
) -> None:
    receiver.answer("/default", status=403)
    task = cloud.outcome("failed")
    events = [{"operation_log_id": task["id"], "project_id": cloud.project_id}, {"operation_log_id": "no"}]
    body = answered(bell, {"events": events})
    holds("report", body)
    assert mistakes("error", body) == []
    assert [line["action"] for line in body["results"]] == ["rejected", "rejected"]
    assert body["results"][0]["owed"] == ["own"]


def test_the_report_of_a_sweep_is_described(cloud: Cloud, bell: Bell) -> None:
    cloud.outcome("failed")
    body = answered(bell, {"sweep": {}})
    holds("report", body)
    assert body["swept"]["tasks"] >= 0


GOOD: dict[str, Any] = {
    "type": "cbr.task.failed",
    "timestamp": "2025-11-23T02:04:11.091Z",
    "data": {
        "outcome": "failed",
        "severity": "critical",
        "summary": "Backup of ECS-0001 failed: why",
        "reason": "why",
        "incident": "inc_" + "1" * 32,
        "region": None,
        "project_id": None,
        "operation_log": {},
    },
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("type",), ...),
        (("type",), "cbr.task.exploded"),
        (("type",), "cbr.digest"),
        (("timestamp",), "2025-11-23 02:04"),
        (("data",), ...),
        *((("data", key), ...) for key in GOOD["data"]),
        (("data", "outcome"), "FAILED"),
        (("data", "severity"), "fatal"),
        (("data", "incident"), "1"),
        (("data", "project_id"), "eu-de_project"),
        (("data", "operation_log"), None),
        (("data", "members"), []),
        (("data", "failures_in_row"), -1),
        (("data", "failures_in_row"), None),
        (("data", "last_good_at"), "yesterday"),
        (("data", "recovered_at"), None),
        (("data", "resolves"), {"id": "msg_" + "1" * 32}),
    ],
)
def test_a_body_that_is_not_ours_is_told_apart(path: tuple[str, ...], value: object) -> None:
    bad: Any = deepcopy(GOOD)
    assert mistakes("webhook", bad) == []
    *above, key = path
    place = bad
    for step in above:
        place = place[step]
    place.pop(key, None)
    if value is not ...:
        place[key] = value
    assert mistakes("webhook", bad) != []


def test_a_key_that_no_schema_describes_is_seen() -> None:
    log = {"anything": {"the API": "says"}}
    more = {**GOOD, "extra": 1, "data": {**GOOD["data"], "more": 2, "operation_log": log, "members": [GOOD | {"x": 3}]}}
    assert set(unknown("webhook", more)) == {"$.extra", "$.data.more", "$.data.members[].x"}
    assert list(unknown("report", {"results": [{"action": "quiet", "why": 1}]})) == ["$.results[].why"]
