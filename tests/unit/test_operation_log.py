"""Every field of the API's tables is read by its name, and no answer, however odd, costs more than the odd field."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from vaultbell import notification
from vaultbell.channels.formats import default
from vaultbell.cloud import operation_log
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.outcome import OutcomeName, classify
from vaultbell.settings import OutcomeRules
from vaultbell.text import whole

Json = Any  # any value of JSON; tests look inside

SHARED = Path(__file__).parents[3] / "shared"
PAGE = SHARED / "facts" / "ShowOpLog.rst.txt"
EXAMPLE = SHARED / "payloads" / "cbr-operation-log-get-1.json"
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
TASK = "0f0e0d0c-0b0a-4908-8706-050403020100"
PROJECT = "0123456789abcdef0123456789abcdef"

# "Querying a Single Task" of the CBR API reference: the tables of its answer, by their number.
TABLES = {
    4: (
        "OperationLog",
        "checkpoint_id created_at ended_at error_info extra_info id operation_type policy_id project_id provider_id "
        "started_at status updated_at vault_id vault_name",
    ),
    5: ("ErrorInfo", "code message"),
    6: ("ExtraInfo", "backup common delete sync remove_resources resource restore vault_delete"),
    7: ("Backup", "backup_id backup_name incremental"),
    8: ("Common", "progress request_id task_id"),
    9: ("Delete", "backup_id backup_name"),
    10: ("Sync", "sync_backup_num delete_backup_num err_sync_backup_num"),
    11: ("RemoveResources", "fail_count total_count resources"),
    12: ("Resource", "extra_info id name type"),
    13: ("ResourceExtraInfo", "exclude_volumes"),
    14: ("Restore", "backup_id backup_name target_resource_id target_resource_name"),
    15: ("VaultDelete", "fail_count total_count"),
}
# What the vendors' SDKs know besides.
BEYOND = {
    "ExtraInfo": "replication",
    "Backup": "app_consistency_status app_consistency_error_code app_consistency_error_message",
    "VaultDelete": "fail_delete_count total_delete_count",
    "ResourceExtraInfo": "include_volumes",
    "IncludeVolume": "id os_version",
    "Replication": (
        "source_backup_id source_backup_name source_checkpoint_id source_project_id source_region "
        "destination_backup_id destination_backup_name destination_checkpoint_id destination_project_id "
        "destination_region"
    ),
}


def fields_of(model: str) -> set[str]:
    return set(getattr(operation_log, model).model_fields)


@pytest.mark.parametrize("model", sorted({model for model, _ in TABLES.values()} | set(BEYOND)))
def test_every_field_of_the_api_is_in_the_model_by_its_own_name_and_nothing_else_is(model: str) -> None:
    documented = {name for title, names in TABLES.values() if title == model for name in names.split()}
    assert fields_of(model) == documented | set(BEYOND.get(model, "").split())


@pytest.mark.skipif(not PAGE.exists(), reason="the API reference's page lies beside the repository, if anywhere")
def test_the_tables_are_those_of_the_api_reference() -> None:
    page = PAGE.read_text("utf-8")
    for number, (_, names) in TABLES.items():
        table = page.split(f".. table:: **Table {number}** ")[1].split(".. table::")[0]
        told = re.findall(r"^ {3}\|? ?([a-z_]+) +(?:\||String|Integer)", table, re.MULTILINE)
        assert sorted(told) == sorted(names.split()), f"table {number}"


@pytest.mark.skipif(not EXAMPLE.exists(), reason="third-party samples lie beside the repository, if anywhere")
def test_the_published_example_is_read_whole() -> None:
    body: dict[str, Json] = json.loads(EXAMPLE.read_text("utf-8"))
    log = OperationLog.read(body["operation_log"])
    assert (log.status, log.operation_type, log.extra_info.resource.name) == ("success", "backup", "ECS-0001")
    assert log.ended_at == datetime(2019, 5, 23, 14, 35, 23, 511000, tzinfo=UTC)
    assert log.error_info.code is None
    assert log.error_info.message is None
    assert classify(log, OutcomeRules(), NOW).name is OutcomeName.SUCCEEDED


def full() -> dict[str, Json]:
    """A log with every field that this version knows, and some that it does not."""
    return {
        "id": TASK,
        "project_id": PROJECT,
        "operation_type": "backup",
        "status": "failed",
        "created_at": "2026-11-23T07:00:00Z",
        "started_at": "2026-11-23T07:00:01Z",
        "updated_at": "2026-11-23T07:10:02Z",
        "ended_at": "2026-11-23T07:10:01Z",
        "checkpoint_id": "checkpoint",
        "policy_id": "policy",
        "provider_id": "provider",
        "vault_id": "vault",
        "vault_name": "vault-daily",
        "error_info": {"code": "BackupService.7102", "message": "The server cannot be backed up."},
        "extra_info": {
            "backup": {"backup_id": "b", "backup_name": "bn", "incremental": "true", "app_consistency_status": "1"},
            "common": {"progress": 42, "request_id": "req-1", "task_id": "t"},
            "delete": {"backup_id": "b", "backup_name": "bn"},
            "sync": {"sync_backup_num": 3, "delete_backup_num": 2, "err_sync_backup_num": 1},
            "remove_resources": {"fail_count": 1, "total_count": 9, "resources": [{"id": "r", "name": "rn"}]},
            "resource": {
                "id": "r",
                "name": "rn",
                "type": "OS::Nova::Server",
                "extra_info": {"exclude_volumes": ["v1"], "include_volumes": [{"id": "v2", "os_version": "Linux"}]},
            },
            "restore": {"backup_id": "b", "backup_name": "bn", "target_resource_id": "t", "target_resource_name": "tn"},
            "vault_delete": {"fail_count": 1, "total_count": 2},
            "replication": {"destination_region": "eu-nl"},
            "brand_new_block": {"x": 1},
        },
        "brand_new_field": [1, 2],
    }


def leaves(value: Json, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Json]:
    """The values of the known fields that are no blocks, by their paths."""
    if not isinstance(value, dict):
        return {path: value}
    found: dict[tuple[str, ...], Json] = {}
    for name, item in value.items():
        if not name.startswith("brand_new"):
            found |= leaves(item, (*path, name))
    return found


LEAVES = leaves(full())
BLOCKS = sorted({path[:end] for path in LEAVES for end in range(1, len(path))})
AS_IT_STANDS = OperationLog.read(full())


def found(log: OperationLog, path: tuple[str, ...]) -> object:
    value: object = log
    for name in path:
        value = getattr(value, name)
    return value


def with_value(path: tuple[str, ...], value: Json) -> dict[str, Json]:
    """The full log with another value at this path."""
    log = full()
    block = log
    for name in path[:-1]:
        block = block[name]
    block[path[-1]] = value
    return log


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_every_field_is_found_where_the_api_puts_it(path: tuple[str, ...]) -> None:
    value = found(AS_IT_STANDS, path)
    if path[-1].endswith("_at"):
        assert value == datetime.fromisoformat(LEAVES[path])
    elif path[-1] == "incremental":
        assert value is True
    elif isinstance(value, tuple):
        items = [item if isinstance(item, str) else item.model_dump(exclude_unset=True) for item in value]
        assert items == LEAVES[path]
    else:
        assert value == LEAVES[path]


@pytest.mark.parametrize("wrong", [None, ["x"], {"y": 1}, [[]], 1e400], ids=repr)
@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_a_field_of_the_wrong_type_costs_that_field_alone(path: tuple[str, ...], wrong: Json) -> None:
    if path[-1] == "exclude_volumes" and wrong == ["x"]:
        wrong = [1]  # ["x"] would be right there
    if path[-1] in ("include_volumes", "resources") and wrong == ["x"]:
        wrong = ["x", 1, None]
    log = OperationLog.read(with_value(path, wrong))
    assert not found(log, path)
    assert {other: found(log, other) for other in LEAVES if other != path} == {
        other: found(AS_IT_STANDS, other) for other in LEAVES if other != path
    }


@pytest.mark.parametrize("wrong", [None, "all is well", "{broken", "[]", 7, True, ["x"]], ids=repr)
@pytest.mark.parametrize("path", BLOCKS, ids=".".join)
def test_a_block_of_the_wrong_type_costs_that_block_alone(path: tuple[str, ...], wrong: Json) -> None:
    log = OperationLog.read(with_value(path, wrong))
    for leaf in LEAVES:
        if leaf[: len(path)] == path:
            assert not found(log, leaf)
        else:
            assert found(log, leaf) == found(AS_IT_STANDS, leaf)


@pytest.mark.parametrize("path", BLOCKS, ids=".".join)
def test_a_block_may_come_as_its_own_json_text(path: tuple[str, ...]) -> None:
    block: Json = full()
    for name in path:
        block = block[name]
    log = OperationLog.read(with_value(path, f" {json.dumps(block)}"))
    assert {leaf: found(log, leaf) for leaf in LEAVES} == {leaf: found(AS_IT_STANDS, leaf) for leaf in LEAVES}


def test_what_is_not_known_is_kept_as_it_came() -> None:
    given_ = full()
    log = OperationLog.read(given_)
    assert log.given is given_
    assert log.model_extra == {"brand_new_field": [1, 2]}
    assert log.extra_info.model_extra == {"brand_new_block": {"x": 1}}


@pytest.mark.parametrize(
    "name", ["status", "_given", "given", "read", "model_config", "__class__", "self", "", "\ud800"]
)
def test_a_new_field_may_have_any_name(name: str) -> None:
    assert OperationLog.read({"vault_name": "v", name: "x"}).vault_name == "v"
    assert OperationLog.read({"extra_info": {"resource": {"id": "r", name: "x"}}}).extra_info.resource.id == "r"


@pytest.mark.parametrize(
    ("value", "text"),
    [(" x ", "x"), ("", None), (" \t\n", None), (None, None), (5, None), (True, None), ("0", "0"), ("null", "null")],
)
def test_texts_are_trimmed_and_an_empty_one_is_absent(value: Json, text: str | None) -> None:
    assert OperationLog.read({"status": value}).status == text


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (3, 3),
        ("3", 3),
        (" 3 ", 3),
        (3.0, 3),
        (0, 0),
        ("0", 0),
        (-1, -1),
        ("-1", None),
        ("3.5", None),
        (3.5, None),
        ("", None),
        ("many", None),
        ("\u0663", None),
        ("9" * 5000, None),
        (True, None),
        (None, None),
    ],
)
def test_counts_may_be_texts(value: Json, count: int | None) -> None:
    log = OperationLog.read({"extra_info": {"sync": {"err_sync_backup_num": value}}})
    assert log.extra_info.sync.err_sync_backup_num == count


@pytest.mark.parametrize(
    ("value", "truth"),
    [("true", True), ("false", False), (" False ", False), (True, True), (False, False), ("", None), (1, None)],
)
def test_the_text_false_is_not_true(value: Json, truth: bool | None) -> None:
    assert OperationLog.read({"extra_info": {"backup": {"incremental": value}}}).extra_info.backup.incremental is truth


@pytest.mark.parametrize(("value", "code"), [(" X.1 ", "X.1"), (7102, "7102"), (0, None), ("", None), ("0", "0")])
def test_an_error_code_may_be_a_number(value: Json, code: str | None) -> None:
    assert OperationLog.read({"error_info": {"code": value}}).error_info.code == code


def test_ids_are_read_in_lower_case() -> None:
    log = OperationLog.read({"id": TASK.upper(), "project_id": f" {PROJECT.upper()} "})
    assert (log.id, log.project_id) == (TASK, PROJECT)


def test_a_deleted_vault_is_counted_by_either_name() -> None:
    block: Json
    for block in ({"fail_count": 2, "total_count": "9"}, {"fail_delete_count": "2", "total_delete_count": 9}):
        deleted = OperationLog.read({"extra_info": {"vault_delete": block}}).extra_info.vault_delete
        assert (deleted.failed, deleted.total) == (2, 9)
    assert OperationLog.read({}).extra_info.vault_delete.failed is None


def test_names_that_are_given_in_a_resource_list_survive_a_stranger_in_it() -> None:
    block: Json = {"resources": ["x", {"name": "one"}, None, {"name": 2, "id": "two"}]}
    resources = OperationLog.read({"extra_info": {"remove_resources": block}}).extra_info.remove_resources.resources
    assert [(item.name, item.id) for item in resources] == [("one", None), (None, "two")]


# Whatever comes: texts with half surrogate pairs and control characters, numbers of any size, values anywhere.
TEXTS = st.text(st.characters(), max_size=20)
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
TIMES = st.sampled_from(
    ["2026-11-23T07:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", 1763884800000, ""]
)
COUNTS = st.sampled_from([0, 1, "2", 10**400, -3, 1.5])


def block_of(model: str, **inner: SearchStrategy[Json]) -> SearchStrategy[Json]:
    known = {name: TIMES | ODD if name.endswith("_at") else COUNTS | ODD for name in fields_of(model)}
    return st.fixed_dictionaries({}, optional=known | {name: value | ODD for name, value in inner.items()})


RESOURCES = block_of("Resource", extra_info=block_of("ResourceExtraInfo"))
EXTRA = block_of(
    "ExtraInfo",
    resource=RESOURCES,
    remove_resources=block_of("RemoveResources", resources=st.lists(RESOURCES, max_size=7)),
    **{
        name: block_of(model)
        for name, model in (
            ("backup", "Backup"),
            ("common", "Common"),
            ("delete", "Delete"),
            ("sync", "Sync"),
            ("restore", "Restore"),
            ("vault_delete", "VaultDelete"),
            ("replication", "Replication"),
        )
    },
)
TYPES = st.sampled_from([*notification.TITLES, "teleport", "\x00", "\ud800"])
STATUSES = st.sampled_from(["success", "skipped", "failed", "running", "timeout", "waiting", "suspended"])
LOGS = st.builds(
    lambda known, unknown: {**unknown, **known},
    block_of("OperationLog", status=STATUSES, operation_type=TYPES, error_info=block_of("ErrorInfo"), extra_info=EXTRA),
    st.dictionaries(TEXTS, ODD, max_size=2),
)


@given(LOGS)
def test_no_answer_is_so_odd_that_nobody_is_told(record: dict[str, Json]) -> None:
    rules = OutcomeRules()
    log = OperationLog.read(json.loads(json.dumps(record)))
    outcome = classify(log, rules, NOW)
    told = notification.of_task(log, outcome, rules, project_id=PROJECT, region="eu-de")
    body = json.loads(default.body(told).decode(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert body["data"]["operation_log"] == json.loads(whole(json.dumps(record, ensure_ascii=False)))
    for line in (told.headline, told.summary, told.reason, outcome.reason):
        assert line
        assert len(line.splitlines()) == 1
