"""Vaults and policies as the API lists them: recorded answers, odd ones, and what is to be known of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from standin import Cloud
from standin.state import Where
from standin.vaults import build_policy, build_vault
from vaultbell.budget import Budget
from vaultbell.cloud.cbr import VAULTS_A_PAGE, Cbr
from vaultbell.cloud.credentials import GivenToken
from vaultbell.cloud.endpoints import Endpoints
from vaultbell.cloud.vaults import Policy, Vault
from vaultbell.errors import Misconfigured, Transient
from vaultbell.inbound import Project
from vaultbell.transport import Transport

RECORDED = Path(__file__).parents[3] / "shared" / "payloads" / "cbr-vaults-list-recorded-1.json"
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def cbr(cloud: Cloud) -> tuple[Cbr, Project]:
    """The API at the stand-in."""
    token, _ = cloud.issue(cloud.project_id)
    endpoints = Endpoints(cloud.region, cloud.iam_url, cloud.cbr_url)
    return Cbr(Transport(guarded=False), endpoints, GivenToken(token)), Project(cloud.project_id)


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded answer is not part of the repository")
def test_a_recorded_list_is_read_field_by_field() -> None:
    vaults = [Vault.read(row) for row in json.loads(RECORDED.read_text("utf-8"))["vaults"]]
    disk, server, replica, deleted = vaults
    assert disk.created_at == datetime(2025, 3, 25, 6, 12, 48, 673924, tzinfo=UTC)
    assert (disk.name, disk.billing.object_type, disk.billing.status, disk.is_full) == (
        *("vault-4eb7", "disk", "available"),
        False,
    )
    (resource,) = server.resources
    assert (resource.name, resource.type, resource.backup_count) == ("ecs-zs-custodian", "OS::Nova::Server", 2)
    assert (resource.protect_status, resource.auto_protect, resource.size) == ("available", True, 50)
    assert [vault.is_for_backups for vault in vaults] == [True, True, False, True]
    assert replica.resources[0].protect_status is None
    assert deleted.resources[0].protect_status == "deleted"


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded answer is not part of the repository")
def test_the_stand_ins_vault_has_what_a_recorded_one_has() -> None:
    recorded = json.loads(RECORDED.read_text("utf-8"))["vaults"][0]
    cloud = Cloud(now=lambda: NOW)
    made = build_vault(cloud.random, NOW, True, {"project_id": cloud.project_id, "resources": ["ECS-0001"]})
    for ours, theirs in (
        (made, recorded),
        (made["billing"], recorded["billing"]),
        (made["resources"][0], recorded["resources"][0]),
    ):
        assert ours.keys() <= theirs.keys()
        for key in ours:
            assert type(ours[key]) is type(theirs[key]), key


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"billing": None, "resources": None, "bind_rules": "x"},
        {"billing": "{}", "resources": {"id": "no list"}},
        {"resources": [None, "x", {"id": 1, "extra_info": "{}", "backup_count": "2"}], "locked": "true"},
        {"name": "\ud800", "\udfff": 1, "billing": {"size": [], "used": {}}},
    ],
)
def test_a_vault_is_read_whatever_its_fields_hold(given: dict[str, Any]) -> None:
    vault = Vault.read(given)
    assert vault.is_for_backups
    assert not vault.is_full


def test_texts_that_are_json_counts_and_truths_are_read_as_such() -> None:
    vault = Vault.read(
        {"locked": "true", "resources": [{"extra_info": '{"exclude_volumes": ["v1"]}', "backup_count": "2"}]}
    )
    (resource,) = vault.resources
    assert (vault.locked, resource.backup_count, resource.extra_info.exclude_volumes) == (True, 2, ("v1",))


@pytest.mark.parametrize(
    ("fields", "full"),
    [
        ({"billing": {"size": 100, "used": 102_400}}, True),
        ({"billing": {"size": 100, "used": 102_399}}, False),
        ({"billing": {"size": 100, "used": 102_400}, "auto_expand": True}, False),
        ({"billing": {"used": 102_400}}, False),
        ({"billing": {"size": 0, "used": 0}}, False),
    ],
)
def test_a_vault_is_full_when_nothing_more_fits_in(fields: Mapping[str, Any], full: bool) -> None:
    assert Vault.read(dict(fields)).is_full is full


def test_a_policy_belongs_to_its_vaults_and_backs_up_only_where_that_is_its_kind() -> None:
    random = Cloud().random
    vault, other = Vault.read({"id": "v1"}), Vault.read({"id": "v2"})
    daily = Policy.read(build_policy(random, {"vaults": ["v1"]}))
    copies = Policy.read(build_policy(random, {"vaults": ["v1"], "operation_type": "replication"}))
    assert [daily.backs_up(vault), daily.backs_up(other), copies.backs_up(vault)] == [True, False, False]


# the calls


def test_all_vaults_are_read_page_by_page(cloud: Cloud) -> None:
    made = [cloud.vault("ECS-0001", created_at=NOW - timedelta(days=day))["id"] for day in range(VAULTS_A_PAGE * 2 + 7)]
    cloud.vault(project_id="f" * 32)
    api, project = cbr(cloud)
    found = [vault.id for vault in api.vaults(project, Budget.of(10))]
    assert list(dict.fromkeys(found)) == made
    assert cloud.counts["vaults"] > 2


def test_the_policies_are_read_with_one_question(cloud: Cloud) -> None:
    vault, foreign = cloud.vault("ECS-0001"), cloud.vault(project_id="f" * 32)
    cloud.policy(vault["id"], name="daily")
    cloud.policy(foreign["id"], name="theirs")
    api, project = cbr(cloud)
    assert [policy.name for policy in api.policies(project, Budget.of(10))] == ["daily"]
    assert cloud.counts["policies"] == 1


@pytest.mark.parametrize("where", ["vaults", "policies"])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status": 403}, Misconfigured),
        ({"status": 404}, Misconfigured),
        ({"status": 503}, Transient),
        ({"status": 200, "body": {"operation_logs": []}}, Transient),
    ],
)
def test_a_list_that_cannot_be_read_is_a_fault(
    cloud: Cloud, where: Where, answer: Mapping[str, Any], error: type[Exception]
) -> None:
    cloud.fault(where, "status", None, **answer)
    api, project = cbr(cloud)
    with pytest.raises(error):
        list(getattr(api, where)(project, Budget.of(3)))


def test_vaults_of_another_project_are_a_fault(cloud: Cloud) -> None:
    body = {"vaults": [{"id": "v1", "project_id": "f" * 32}], "count": 1}
    cloud.fault("vaults", "status", None, status=200, body=body)
    api, project = cbr(cloud)
    with pytest.raises(Transient, match="vaults of this project"):
        list(api.vaults(project, Budget.of(3)))
