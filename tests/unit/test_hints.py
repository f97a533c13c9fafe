"""Alarms of Cloud Eye and traces of CTS: what they are taken to hint at."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vaultbell import sources
from vaultbell.errors import InvalidEvent
from vaultbell.events import Alarm, Event, Item, Search, Settled, TaskRef
from vaultbell.report import JSON
from vaultbell.sources import ces, cts
from vaultbell.sources.ids import MOST, ids_in

SERVER = "1dab32fa-ebf2-415a-ab0b-eabe6353bc86"
VAULT = "5f0d8c6e-3a57-4a52-9c1e-0b6f3d7a2e11"
POINT = "b432511f-d889-428f-8b0e-5f47c524c6b6"
AT = datetime(2026, 11, 23, 8, 1, tzinfo=UTC)
MS = int(AT.timestamp() * 1000)

ALARM: dict[str, Any] = {
    "message_type": "alarm",
    "alarm_id": "al1669189260000ABCDEFGHIJ",
    "alarm_name": "backups",
    "alarm_status": "alarm",
    "time": MS,
    "namespace": "SYS.CBR",
    "metric_name": "backupFailed",
    "dimension": f"instance_id:{VAULT}",
    "template_variable": {
        "Namespace": "Cloud Backup and Recovery",
        "MetricName": "backupFailed",
        "ResourceId": SERVER,
        "ResourceName": "ECS-0001",
        "IsAlarm": True,
        "AlarmTime": "2026/11/23 09:01:00 GMT+01:00",
    },
}
TRACE: dict[str, Any] = {
    "time": MS,
    "service_type": "CBR",
    "resource_type": "vault",
    "resource_id": VAULT,
    "resource_name": "vault-daily",
    "trace_name": "createVaultBackup",
    "trace_id": "f828ab77-d993-11f0-b09f-35adcfa25f3b",
    "trace_rating": "normal",
    "request": {"checkpoint": {"vault_id": VAULT}},
    "response": {
        "checkpoint": {"id": POINT, "vault": {"id": VAULT, "resources": [{"id": SERVER, "name": "ECS-0001"}]}}
    },
    "project_id": "0123456789ABCDEF0123456789ABCDEF",
    "user": {"id": "5b726c4f-bfd8-4821-ba86-6bafaaf56aaa", "name": "somebody"},
}


def the_one(value: object, *, trusted: bool = True) -> Item:
    (item,) = sources.decode(Event(json.dumps(value).encode(), trusted=trusted)).items
    return item


def searched(value: object) -> Search:
    item = the_one(value)
    assert isinstance(item, Search)
    return item


def changed(value: Mapping[str, Any], **changes: object) -> dict[str, Any]:
    return {key: item for key, item in {**value, **changes}.items() if item is not ...}


def test_an_alarm_is_a_search_for_the_task_of_its_resource() -> None:
    hint = searched(ALARM)
    assert (hint.kind, hint.time, hint.operation_types) == ("alarm", AT, ("backup",))
    assert hint.ids == (SERVER,)  # not the vault, in which others lie too
    assert hint.subject == f"the alarm backupFailed about {SERVER} of 2026-11-23 08:01 UTC"
    assert searched(ALARM) == hint  # the same alarm is the same hint


@pytest.mark.parametrize(
    ("event", "types"),
    [
        ("backupFailed", ("backup",)),
        ("backupSucceeded", ("backup",)),
        ("restorationFailed", ("restore",)),
        ("restorationSucceeded", ("restore",)),
        ("backupDeleteFailed", ("delete",)),
        ("backupDeletionSucceeded", ("delete",)),
        ("vaultDeleteFailed", ("vault_delete",)),
        ("vaultDeletionSucceeded", ("vault_delete",)),
        ("replicationFailed", ("replication", "copy")),
        ("replicationSucceeded", ("replication", "copy")),
        ("BACKUPFAILED ", ("backup",)),
        ("migrationFailed", ()),  # not of the table: any type of task
    ],
)
def test_each_event_of_the_table_is_about_a_type_of_task(event: str, types: tuple[str, ...]) -> None:
    assert searched(changed(ALARM, metric_name=event, template_variable=...)).operation_types == types


@pytest.mark.parametrize("event", ["agentOffline", "agentOnline", "vault_util", "used_vault_size"])
def test_an_alarm_that_is_about_no_task_is_quiet(event: str) -> None:
    assert isinstance(the_one(changed(ALARM, metric_name=event)), Settled)


@pytest.mark.parametrize(
    "alarm",
    [
        changed(ALARM, alarm_status="ok"),
        changed(ALARM, template_variable={**ALARM["template_variable"], "IsAlarm": False}),
        changed(ALARM, namespace="SYS.ECS", metric_name="rebootServer", template_variable=...),
    ],
    ids=["over", "over, in the variables", "another service"],
)
def test_an_alarm_that_tells_of_no_backup_is_quiet(alarm: dict[str, Any]) -> None:
    assert isinstance(the_one(alarm), Settled)


@pytest.mark.parametrize(
    "alarm",
    [
        changed(ALARM, namespace=..., metric_name=..., dimension=...),
        changed(ALARM, template_variable=..., time=str(MS)),
        changed(ALARM, template_variable=..., time=..., alarm_time="2026-11-23T08:01:00Z"),
        changed(ALARM, template_variable={"EventContent": json.dumps({"resource_id": SERVER.upper()})}),
        changed(ALARM, template_variable=..., dimension=f"resource_id:{SERVER},vault_id:{VAULT}"),
        changed(ALARM, template_variable=..., dimensions=[{"name": "instance_id", "value": SERVER}], dimension=...),
        {
            "event_name": "backupFailed",
            "event_source": "SYS.CBR",
            "time": MS,
            "detail": {"content": "{}", "resource_id": SERVER, "event_state": "abnormal"},
        },
    ],
    ids=["variables", "top", "other time", "content", "dimension", "dimensions", "event record"],
)
def test_an_alarm_is_read_wherever_it_says_things(alarm: dict[str, Any]) -> None:
    hint = searched(alarm)
    assert hint.operation_types == ("backup",)
    assert hint.time == AT
    assert hint.ids[0] in (SERVER, VAULT)


@pytest.mark.parametrize(
    "alarm",
    [
        changed(ALARM, template_variable=..., dimension=...),
        changed(ALARM, template_variable=..., dimension="instance_id:not-an-id"),
        changed(ALARM, metric_name="somethingElse", template_variable={"ResourceId": SERVER}),
        changed(ALARM, metric_name=None, template_variable={"ResourceId": SERVER}),
        {"namespace": "SYS.CBR"},
        {"namespace": "SYS.CBR", "template_variable": "?"},
    ],
    ids=["no resource", "no id", "unknown event", "no event", "nothing", "no variables"],
)
def test_a_trusted_alarm_of_cbr_that_cannot_be_read_is_told_in_its_own_words(alarm: dict[str, Any]) -> None:
    item = the_one(alarm)
    assert isinstance(item, Alarm)
    assert "SYS.CBR" in item.text
    assert item.error.status == 400
    with pytest.raises(InvalidEvent):  # anybody could send such a thing
        the_one(alarm, trusted=False)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("{'namespace': 'SYS.CBR', 'metric_name': 'backupFailed'}", True),
        ("[Alarm] SYS.CBR backupFailed: ECS-0001", True),
        ('{"type": "of no form", "source": "SYS.CBR"}', True),
        ("Your invoice is ready.", False),
        ('{"type": "of no form"}', False),
    ],
)
def test_a_message_that_only_smells_of_an_alarm_is_told_if_it_is_one_of_cbr(message: str, told: bool) -> None:
    record = {"record": [{"event_source": "smn", "smn": {"message": message, "timestamp": "2026-11-23T08:01:00Z"}}]}
    event = Event(json.dumps(record).encode(), trusted=True, platform=True)
    if told:
        (item,) = sources.decode(event).items
        assert isinstance(item, Alarm)
        assert (item.text, item.time) == (message, AT)
    else:
        with pytest.raises(InvalidEvent):
            sources.decode(event)


def test_an_alarm_as_the_text_of_an_smn_message_is_the_same_search() -> None:
    record = {"record": [{"event_source": "smn", "smn": {"message": json.dumps(ALARM), "timestamp": "2026-11-24"}}]}
    (item,) = sources.decode(Event(json.dumps(record).encode(), trusted=True, platform=True)).items
    assert item == searched(ALARM)


def test_a_trace_is_a_search_for_the_task_that_was_asked_for() -> None:
    hint = searched(TRACE)
    assert (hint.kind, hint.time, hint.operation_types) == ("trace", AT, ("backup",))
    assert hint.ids == (VAULT,)  # its own resource
    assert hint.project_id == "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "trace",
    [
        {"cts": TRACE},
        changed(TRACE, request=json.dumps(TRACE["request"]), response=json.dumps(TRACE["response"])),
        changed(TRACE, time="2026/11/23 09:01:00 GMT+01:00"),
        changed(TRACE, time=MS // 1000),
        changed(TRACE, time=..., record_time=MS),
        changed(TRACE, service_type="cbr"),
    ],
    ids=["of the trigger", "texts", "slashes", "seconds", "record time", "lower case"],
)
def test_a_trace_is_read_in_all_its_forms(trace: dict[str, Any]) -> None:
    assert searched(trace) == searched(TRACE)


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("createBackup", ("backup",)),
        ("restoreBackup", ("restore",)),
        ("deleteBackup", ("delete",)),
        ("deleteVaultBackup", ("delete",)),
        ("replicateBackup", ("replication", "copy")),
        ("replicateVaultBackup", ("replication", "copy")),
        ("syncBackup", ("sync",)),
        ("syncVaultBackup", ("sync",)),
        ("deleteVault", ("vault_delete",)),
        ("removeResources", ("remove_resource",)),
        ("migrateResources", ("migrate_resources",)),
    ],
)
def test_each_request_starts_a_type_of_task(name: str, types: tuple[str, ...]) -> None:
    assert searched(changed(TRACE, trace_name=name)).operation_types == types


@pytest.mark.parametrize("name", ["createPolicy", "associatePolicy", "createVault", "addResources", "updateBackup"])
def test_a_request_that_starts_no_task_is_quiet(name: str) -> None:
    assert isinstance(the_one(changed(TRACE, trace_name=name)), Settled)


def test_a_trace_of_another_service_is_quiet() -> None:
    assert isinstance(the_one(changed(TRACE, service_type="ECS", trace_name="deleteServer")), Settled)


@pytest.mark.parametrize(
    "trace",
    [{"cts": None}, {"cts": []}, {"trace_name": 7}, changed(TRACE, resource_id=..., request="", response="")],
    ids=["null", "list", "no name", "no resource"],
)
def test_a_trace_that_names_nothing_is_refused(trace: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent):
        the_one(trace)


def test_an_alarm_packed_into_itself_costs_no_more_than_its_length() -> None:
    text = json.dumps("a:b," * 20_000)
    nested = '{"namespace":"SYS.CBR","x":' + '{"name":"dimension","value":' * 7 + text + "}" * 8
    parsed: dict[str, JSON] = json.loads(nested)
    steps = 0

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(count)
    try:
        assert ids_in(parsed) == ()
    finally:
        sys.setprofile(None)
    assert steps < 20_000 * 30


def test_a_dimension_of_dimensions_names_nothing() -> None:
    assert ids_in({"dimension": "dimension:" * 100_000 + f"instance_id:{SERVER}"}) == ()
    assert ids_in({"dimension": f"dimension:x,instance_id:{SERVER}"}) == (SERVER,)


def test_a_hint_can_cost_a_few_look_ups_only() -> None:
    many: list[JSON] = [{"id": f"1dab32fa-ebf2-415a-ab0b-{number:012x}"} for number in range(100)]
    assert len(ids_in({"resources": many})) == MOST
    deep: Any = {"resource_id": SERVER}
    for _ in range(50):
        deep = {"inside": deep}
    assert ids_in(deep) == ()


WORDS = st.sampled_from([SERVER, "SYS.CBR", "backupFailed", "{", "[", "", "ok", "CBR", "createBackup"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ALARM, *TRACE, "id"]), inner),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from([*ALARM, *TRACE, "cts"]), VALUES, max_size=6))
def test_no_hint_does_more_than_be_refused(value: dict[str, Any]) -> None:
    if ces.SOURCE.fits(value) or cts.SOURCE.fits(value):
        try:
            sources.decode(Event(json.dumps(value).encode(), trusted=True))
        except InvalidEvent as error:
            refused = error.status
        else:
            refused = 400
        assert refused == 400


def test_an_alarm_that_names_no_resource_names_its_vault() -> None:
    assert searched(changed(ALARM, template_variable=...)).ids == (VAULT,)


def test_the_variables_of_an_alarm_may_be_packed_into_a_text() -> None:
    packed = json.dumps({**ALARM["template_variable"], "Namespace": "SYS.CBR"})
    alone = {"alarm_id": "al1", "alarm_status": "alarm", "template_variable": packed}
    assert searched(alone).ids == (SERVER,)
    assert searched(alone).operation_types == ("backup",)


def test_a_time_that_cannot_be_read_is_sought_in_the_next_field() -> None:
    assert searched(changed(ALARM, time="some time ago")).time == AT


@pytest.mark.parametrize(
    "refusal",
    [
        {"code": 400},
        {"code": "403"},
        {"code": 500},
        {"trace_rating": "warning"},
        {"trace_status": "incident", "trace_rating": ...},
    ],
)
def test_a_request_that_was_refused_started_no_task(refusal: dict[str, Any]) -> None:
    assert isinstance(the_one(changed(TRACE, **refusal)), Settled)


@pytest.mark.parametrize("code", [0, 200, 202, "204", None])
def test_a_request_that_was_taken_started_one(code: object) -> None:
    assert searched(changed(TRACE, code=code)).ids == (VAULT,)


def test_an_alarm_in_plain_words_may_be_in_small_letters() -> None:
    record = {"record": [{"smn": {"message": "sys.cbr backup failed", "timestamp": "2026-11-23T08:01:00Z"}}]}
    (item,) = sources.decode(Event(json.dumps(record).encode(), trusted=True, platform=True)).items
    assert isinstance(item, Alarm)


def test_the_topics_of_the_settings_hold_for_the_functions_own_trigger_too() -> None:
    smn = {"message": json.dumps({"operation_log_id": SERVER}), "topic_urn": "urn:smn:eu-de:0:other"}
    body = json.dumps({"record": [{"smn": smn}, {"smn": {**smn, "topic_urn": "urn:smn:eu-de:0:ours"}}]}).encode()
    event = Event(body, trusted=True, platform=True, topics=("urn:smn:eu-de:0:ours",))
    refused, taken = sources.decode(event).items
    assert isinstance(refused, InvalidEvent)
    assert (refused.status, type(taken)) == (403, TaskRef)
    assert len(sources.decode(Event(body, trusted=True, platform=True)).items) == 2
