"""Nobody has backed it up: a sweep finds the silence in the cloud's own lists, rings, and hears when it is over."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from standin import Cloud, serve
from standin.sinks import Receiver
from standin.state import TimeField, Where
from vaultbell import cli, compose, pipeline, settings, watching
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.events import Event
from vaultbell.report import Report

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MAX_AGE = 26 * HOUR
OTHER = "f" * 32
DB = {"id": "1dc0ffee-0000-4000-9000-00000000db01", "name": "db-01"}
APP = {"id": "1dc0ffee-0000-4000-9000-00000000ab01", "name": "app-01"}
CONFIG = """
channels:
  bell: {{type: webhook, url: "{url}/bell", resolve: true}}
routes: [{{channels: [bell]}}]
watch: [{{vault: "prod-*", max_age: 26h}}]
"""


@dataclass
class Clock:
    now: datetime = START


@dataclass
class House:
    """The function at a cloud with a vault, with a receiver of what it tells."""

    clock: Clock
    cloud: Cloud
    receiver: Receiver
    bell: Bell
    vault: dict[str, Any]

    def sweep(self, at: datetime | None = None, seconds: float = 20.0, **asked: object) -> Report:
        """One tick: at that time, and the clock stands at it."""
        if at:
            self.clock.now = at
        return pipeline.handle(self.bell, Event(json.dumps({"sweep": asked}).encode()), Budget.of(seconds))

    def backed_up(self, resource: dict[str, str], at: datetime, outcome: str = "succeeded", **fields: object) -> str:
        """A backup of the resource that ended at that time."""
        known = {
            "vault_id": self.vault["id"],
            "vault_name": self.vault["name"],
            "resource_id": resource["id"],
            "resource_name": resource["name"],
            "created_at": at - 4 * MINUTE,
            "started_at": at - 4 * MINUTE,
            "ended_at": at,
            "updated_at": at,
        }
        return str(self.cloud.outcome(outcome, **{**known, **fields})["id"])

    @property
    def told(self) -> list[tuple[str, str]]:
        """What was told, by the last word of its type and the resource's name."""
        bodies = [got.json for got in self.receiver.requests if got.path == "/bell"]
        return [
            (body["type"].rpartition(".")[2], body["data"]["operation_log"]["extra_info"]["resource"]["name"])
            for body in bodies
            if body["data"]["outcome"] != "unverified"
        ]

    @property
    def last(self) -> dict[str, Any]:
        """The last message's data."""
        data: dict[str, Any] = self.receiver.requests[-1].json["data"]
        return data

    @property
    def asked(self) -> Counter[str]:
        """How often each list was asked for; that of the tasks of one resource apart."""
        counts: Counter[str] = Counter()
        for request in self.cloud.requests:
            name = request.path.rpartition("/")[2]
            counts["one" if "resource_id" in dict(parse_qsl(request.query)) else name] += 1
        return counts


Settle = Callable[..., House]


@pytest.fixture
def settle(receiver: Receiver, tmp_path: Path) -> Iterator[Settle]:
    clock = Clock()
    cloud = Cloud(now=lambda: clock.now)
    cloud.token_life = timedelta(days=3650)
    with serve(cloud):

        def settled(config: str = CONFIG, **more: str) -> House:
            file = tmp_path / "vaultbell.yaml"
            file.write_text(config.format(url=receiver.url), "utf-8")
            bell = compose.app(settings.load({**cloud.env(), "VAULTBELL_CONFIG": str(file), **more})).bell
            vault = cloud.vault(DB, APP, name="prod-daily", created_at=START - 90 * DAY)
            cloud.policy(vault["id"], name="daily")
            return House(clock, cloud, receiver, replace(bell, now=cloud.now), vault)

        yield settled


@pytest.fixture
def house(settle: Settle) -> House:
    return settle()


# At START, with a period of 15 minutes and a lag of 5, the window is 07:30 to 07:45.
INSIDE = START - 20 * MINUTE
STALE_NOW = INSIDE - MAX_AGE
FRESH = INSIDE - 5 * HOUR


# what rings


def test_a_backup_that_has_become_too_old_in_the_window_rings(house: House) -> None:
    house.backed_up(DB, STALE_NOW)
    house.backed_up(APP, FRESH)
    report = house.sweep()
    assert report.status == 200
    assert house.told == [("stale", "db-01")]
    data = house.last
    assert (data["outcome"], data["severity"], data["last_good_at"]) == (
        *("stale", "critical"),
        "2026-11-22T05:40:00Z",
    )
    assert data["summary"].startswith("No good backup of db-01 for 26 h: its last good backup is older than 26 h")
    (result,) = report.results
    assert (result.outcome, result.action, result.incident) == ("stale", "notified", data["incident"])


@pytest.mark.parametrize("minutes", [-16, 16])
def test_one_that_has_become_so_in_another_window_does_not(house: House, minutes: int) -> None:
    house.backed_up(DB, STALE_NOW + minutes * MINUTE)
    house.backed_up(APP, FRESH)
    assert (house.sweep().results, house.told) == ((), [])


def test_it_rings_again_every_day_under_a_new_id_and_a_repeated_tick_under_the_same(house: House) -> None:
    house.backed_up(DB, STALE_NOW)
    for day in range(4):
        for _ in range(2):
            house.backed_up(APP, FRESH + day * DAY)
            house.sweep(START + day * DAY)
    assert house.told == [("stale", "db-01")] * 8
    ids = [got.headers["webhook-id"] for got in house.receiver.requests]
    assert ids[::2] == ids[1::2]
    assert len(set(ids)) == 4
    bodies = [got.body for got in house.receiver.requests]
    assert bodies[::2] == bodies[1::2]
    summaries = [got.json["data"]["summary"].partition(":")[0] for got in house.receiver.requests]
    assert summaries[::2] == [f"No good backup of db-01 for {age}" for age in ("26 h", "2 d 2 h", "3 d 2 h", "4 d 2 h")]


def test_nothing_is_asked_of_vaults_where_nothing_is_watched(settle: Settle) -> None:
    house = settle(CONFIG.partition("watch:")[0])
    house.backed_up(DB, STALE_NOW)
    house.sweep()
    assert (house.told, house.asked["vaults"], house.asked["policies"], house.asked["one"]) == ([], 0, 0, 0)
    assert house.asked["operation-logs"] == 6


def test_where_all_is_well_watching_costs_two_lists(settle: Settle) -> None:
    counts = []
    for config in (CONFIG.partition("watch:")[0], CONFIG):
        house = settle(config)
        house.cloud.reset()
        vault = house.cloud.vault(*({"id": f"r{n}", "name": f"r{n}"} for n in range(40)), name="prod-1")
        for n in range(40):
            house.backed_up({"id": f"r{n}", "name": f"r{n}"}, FRESH, vault_id=vault["id"])
        assert house.sweep().status == 200
        counts.append(house.asked)
    assert counts[1] - counts[0] == Counter({"vaults": 1, "operation-logs": 1})


def test_one_resource_that_is_stale_costs_one_list_more_and_the_policies(house: House) -> None:
    house.backed_up(DB, STALE_NOW)
    house.backed_up(APP, FRESH)
    house.sweep()
    assert (house.asked["one"], house.asked["policies"], house.asked["vaults"]) == (1, 1, 1)


@pytest.mark.parametrize("field", ["created_at", "started_at", "updated_at", "ended_at"])
def test_whatever_the_lists_times_are_compared_with(house: House, field: TimeField) -> None:
    house.cloud.time_field = field
    house.backed_up(DB, STALE_NOW, created_at=STALE_NOW - 20 * HOUR)
    house.backed_up(APP, FRESH, created_at=FRESH - 20 * HOUR)
    house.sweep()
    assert house.told == [("stale", "db-01")]


# what does not ring


def test_a_vault_that_no_rule_names_is_not_watched(settle: Settle) -> None:
    house = settle()
    house.vault["name"] = "test-daily"
    house.backed_up(DB, STALE_NOW)
    house.sweep()
    assert house.told == []
    assert house.asked["operation-logs"] == 6


def test_the_first_rule_that_fits_a_vaults_name_or_id_counts(settle: Settle) -> None:
    house = settle()
    rules = f'[{{{{vault: "{house.vault["id"]}", max_age: 3d}}}}, {{{{vault: "prod-*", max_age: 26h}}}}]'
    house = settle(CONFIG.partition("watch:")[0] + f"watch: {rules}\n")
    first, second = house.cloud.vaults.values()
    second["resources"] = [{"id": "r2", "name": "web-01"}]
    house.backed_up(DB, STALE_NOW)
    house.backed_up(APP, STALE_NOW + 26 * HOUR - 3 * DAY)
    house.backed_up({"id": "r2", "name": "web-01"}, STALE_NOW)
    house.sweep()
    assert first["id"] != second["id"]
    assert sorted(house.told) == [("stale", "app-01"), ("stale", "web-01")]


def test_what_was_taken_out_of_the_vault_does_not_ring(house: House) -> None:
    house.backed_up(DB, STALE_NOW)
    house.backed_up(APP, FRESH)
    del house.vault["resources"][0]
    house.sweep()
    assert house.told == []


@pytest.mark.parametrize("status", ["deleted", "removing"])
def test_what_is_gone_or_on_its_way_out_does_not_ring(house: House, status: str) -> None:
    house.backed_up(DB, STALE_NOW)
    house.backed_up(APP, FRESH)
    house.vault["resources"][0]["protect_status"] = status
    house.sweep()
    assert house.told == []


def test_a_vault_that_holds_copies_of_other_regions_is_not_watched(house: House) -> None:
    house.vault["billing"]["protect_type"] = "replication"
    house.backed_up(DB, STALE_NOW)
    house.sweep()
    assert house.told == []


def test_a_backup_that_came_late_but_came_is_no_silence(house: House) -> None:
    house.backed_up(DB, STALE_NOW)
    house.backed_up(DB, START - 10 * MINUTE)  # after the window, and before its tick
    house.backed_up(APP, FRESH)
    house.sweep()
    assert house.told == []


def test_only_a_good_backup_counts(house: House) -> None:
    house.backed_up(DB, STALE_NOW)
    unready = {"app_consistency_error_code": "1", "app_consistency_error_message": "not frozen"}
    for outcome in ("failed", "timed_out", "skipped"):
        house.backed_up(DB, FRESH, outcome)
    house.backed_up(DB, FRESH + MINUTE, extra_info={"resource": DB, "backup": unready})
    house.backed_up(DB, FRESH, operation_type="restore")
    house.backed_up(APP, FRESH)
    house.sweep()
    assert house.told == [("stale", "db-01")]
    assert (
        "the last attempt, of 2026-11-23 02:37 UTC, succeeded only in part: the backup is not" in house.last["reason"]
    )
    assert house.last["failures_in_row"] == 4


# never backed up


def test_what_a_young_vault_holds_has_its_time(house: House) -> None:
    house.vault["created_at"] = (STALE_NOW + HOUR).isoformat()
    house.sweep()
    assert house.told == []


def test_what_is_there_since_the_vault_was_made_is_stale_when_its_time_is_over(house: House) -> None:
    house.vault["created_at"] = STALE_NOW.isoformat()
    house.sweep()
    assert sorted(house.told) == [("stale", "app-01"), ("stale", "db-01")]
    assert "db-01 has never been backed up: " in " ".join(
        got.json["data"]["summary"] for got in house.receiver.requests
    )


def test_what_was_added_lately_is_not_stale_before_the_vaults_turn(house: House) -> None:
    for day in range(5):
        house.backed_up(APP, START - 6 * HOUR - day * DAY)
    for tick in range(48):  # from 08:00 to 07:30, and no backup of the vault is due in it before 02:00
        at = START + tick * 30 * MINUTE
        if at == START + 18 * HOUR + 30 * MINUTE:  # both are backed up
            house.backed_up(APP, at - 15 * MINUTE)
            house.backed_up(DB, at - 14 * MINUTE)
        house.sweep(at, period="30m")
    assert house.told == []


def test_what_the_vaults_own_run_left_out_rings_with_it_once_a_day(house: House) -> None:
    for day in range(3):
        for hour in (0, 6, 12):
            house.backed_up(APP, INSIDE + day * DAY + hour * HOUR)
    house.backed_up(APP, FRESH)
    for tick in range(3 * 24):
        house.sweep(START + tick * HOUR, period="1h")
    assert house.told == [("stale", "db-01")] * 3
    assert "its vault was backed up 2026-11-25 13:40 UTC, and it was left out" in house.last["reason"]
    assert len({got.headers["webhook-id"] for got in house.receiver.requests}) == 3


def test_what_was_tried_and_never_succeeded_is_stale_since_its_first_attempt(house: House) -> None:
    for hours in (0, 12, 24):
        house.backed_up(DB, STALE_NOW + 4 * MINUTE + hours * HOUR, "failed")
    house.backed_up(APP, FRESH)
    house.sweep()
    assert [told for told in house.told if told[0] == "stale"] == [("stale", "db-01")]
    summary = house.last["summary"]
    assert summary.startswith(
        "No backup of db-01 has ever succeeded: 3 backups of it are in the task list, and none ended well"
    )
    assert "BackupService.7102" in summary


# what it says


def words(house: House) -> tuple[str, str]:
    """The reason, and what to do."""
    house.backed_up(APP, FRESH)
    house.sweep()
    (told,) = [got.json["data"] for got in house.receiver.requests if got.json["type"] == "cbr.backup.stale"]
    return told["reason"], told["summary"]


def test_it_says_that_no_other_was_started(house: House) -> None:
    house.backed_up(DB, STALE_NOW)
    assert words(house)[0] == "its last good backup is older than 26 h; no other has been started since"


def test_it_says_that_one_is_under_way(house: House) -> None:
    house.backed_up(DB, STALE_NOW)
    house.backed_up(DB, FRESH, "running", ended_at=...)
    assert "one is running since 2026-11-23 02:36 UTC" in words(house)[0]


def test_it_says_that_the_policy_is_disabled(house: House) -> None:
    (policy,) = house.cloud.policies.values()
    policy["enabled"] = False
    house.backed_up(DB, STALE_NOW)
    assert "the policy of its vault (daily) is disabled, so that nothing is backed up by itself" in words(house)[0]


def test_it_says_that_there_is_no_policy(house: House) -> None:
    house.cloud.policies.clear()
    house.cloud.policy(house.vault["id"], operation_type="replication")
    house.backed_up(DB, STALE_NOW)
    assert "no backup policy is applied to its vault, so that nothing is backed up by itself" in words(house)[0]


def test_it_says_which_disks_are_in_no_backup(house: House) -> None:
    house.vault["resources"][0]["extra_info"] = {"exclude_volumes": ["v1", "v2"]}
    house.backed_up(DB, STALE_NOW)
    assert "2 of its disks are excluded and in no backup (v1, v2)" in words(house)[0]


@pytest.mark.parametrize(
    ("billing", "wanted"),
    [
        ({"status": "lock"}, "the vault is locked"),
        ({"status": "frozen"}, "the vault is frozen"),
        ({"status": "error"}, "the vault is in an error state"),
        ({"status": "odd"}, 'the vault is in the state "odd"'),
        ({"used": 102_400}, "the vault is full: all of its 100 GB are used"),
    ],
)
def test_it_says_what_is_wrong_with_the_vault(house: House, billing: dict[str, object], wanted: str) -> None:
    house.vault["billing"] |= billing
    house.backed_up(DB, STALE_NOW)
    assert wanted in words(house)[0]


def test_it_says_that_older_backups_are_in_the_vault(house: House) -> None:
    house.vault["resources"][0]["backup_count"] = 7
    house.vault["created_at"] = (STALE_NOW - 40 * DAY).isoformat()
    house.cloud.policies.clear()
    house.backed_up(APP, FRESH, policy_id=...)
    house.sweep()
    assert house.last["summary"].startswith(
        "No good backup of db-01 is on record: the task list knows no backup of it, though its vault holds 7 of it"
    )


# over


def test_the_next_good_backup_closes_it(house: House) -> None:
    house.backed_up(APP, FRESH)
    house.backed_up(DB, STALE_NOW)
    house.sweep()
    opened = house.last
    good = house.backed_up(DB, START + HOUR)
    for minutes in (75, 90, 105):
        house.sweep(START + minutes * MINUTE)
    assert house.told == [("stale", "db-01"), ("resolved", "db-01")]
    closed = house.last
    assert (closed["incident"], closed["operation_log"]["id"]) == (opened["incident"], good)
    assert closed["resolves"]["type"] == "cbr.backup.stale"
    assert closed["resolves"]["id"] == house.receiver.requests[0].headers["webhook-id"]
    assert "No good backup of db-01 for 26 h" in closed["reason"]


def test_what_it_closes_is_what_was_told_the_last_time(house: House) -> None:
    house.backed_up(DB, STALE_NOW)
    for day in range(3):
        house.backed_up(APP, FRESH + day * DAY)
        house.sweep(START + day * DAY)
    house.backed_up(DB, START + 2 * DAY + 5 * HOUR)
    house.sweep(START + 2 * DAY + 5 * HOUR + 30 * MINUTE)
    assert house.told == [*[("stale", "db-01")] * 3, ("resolved", "db-01")]
    assert house.last["resolves"]["id"] == house.receiver.requests[2].headers["webhook-id"]


def test_a_good_backup_in_time_closes_nothing(house: House) -> None:
    for resource in (DB, APP):
        house.backed_up(resource, INSIDE)
        house.backed_up(resource, INSIDE - 25 * HOUR)
    house.sweep()
    assert (house.told, house.asked["one"]) == ([], 0)


def test_where_a_failure_lies_between_its_end_is_told_once(house: House) -> None:
    house.backed_up(APP, FRESH)
    house.backed_up(DB, STALE_NOW - 5 * HOUR)
    house.backed_up(DB, FRESH, "failed")
    house.backed_up(DB, INSIDE)
    house.sweep()
    assert house.told == [("resolved", "db-01")]


def test_nobody_is_told_of_an_end_who_did_not_ask_for_it(settle: Settle) -> None:
    house = settle(CONFIG.replace(", resolve: true", ""))
    house.backed_up(APP, FRESH)
    house.backed_up(DB, STALE_NOW - DAY)
    house.backed_up(DB, INSIDE)
    house.sweep()
    assert (house.told, house.asked["one"]) == ([], 0)


# who hears of it


def test_routes_match_it_by_its_outcome_vault_resource_and_age(settle: Settle) -> None:
    routes = """
      - match: {{outcome: stale, vault_name: "prod-*", resource_name: db-01, last_good_age: ">=26h"}}
        channels: [bell]
      - channels: []
"""
    house = settle(CONFIG.replace("routes: [{{channels: [bell]}}]", f"routes:{routes}"))
    house.backed_up(DB, STALE_NOW)
    house.backed_up(APP, STALE_NOW)
    assert [result.action for result in house.sweep().results] == ["notified", "quiet"]
    assert house.told == [("stale", "db-01")]


def test_the_longer_it_lasts_the_more_can_hear_of_it(settle: Settle) -> None:
    routes = """
      - match: {{last_good_age: ">3d"}}
        channels: [bell]
      - channels: []
"""
    house = settle(CONFIG.replace("routes: [{{channels: [bell]}}]", f"routes:{routes}"))
    house.backed_up(DB, STALE_NOW)
    for day in range(3):
        house.backed_up(APP, FRESH + day * DAY)
        house.sweep(START + day * DAY)
    (got,) = house.receiver.requests
    assert got.json["data"]["summary"].startswith("No good backup of db-01 for 3 d 2 h")


def test_its_severity_is_a_setting_and_it_rings_whatever_else_rings(settle: Settle) -> None:
    house = settle(CONFIG + "outcomes: {{ring: [failed], severity: {{stale: warning}}}}\n")
    house.backed_up(DB, STALE_NOW)
    house.backed_up(APP, FRESH)
    house.sweep()
    assert house.last["severity"] == "warning"


def test_many_become_one_message_where_many_do(settle: Settle) -> None:
    house = settle(CONFIG.replace("resolve: true", "resolve: true, digest: true, digest_over: 1"))
    house.backed_up(DB, STALE_NOW)
    house.backed_up(APP, STALE_NOW)
    house.sweep()
    (got,) = house.receiver.requests
    assert got.json["data"]["summary"].startswith("2 backup tasks want attention: 2 stale")


# what cannot be read


@pytest.mark.parametrize(("where", "after"), [("vaults", 0), ("list", 6), ("list", 7)])
def test_a_list_that_cannot_be_read_now_is_read_with_the_next_try(house: House, where: Where, after: int) -> None:
    house.backed_up(DB, STALE_NOW)
    house.backed_up(APP, FRESH)
    house.cloud.fault(where, "status", 3, status=503, after=after)
    report = house.sweep()
    assert (report.status, house.told) == (503, [])
    assert (house.sweep().status, house.told) == (200, [("stale", "db-01")])


def test_policies_that_cannot_be_read_hold_nothing_up(house: House) -> None:
    house.backed_up(DB, STALE_NOW)
    house.backed_up(APP, FRESH)
    house.cloud.fault("policies", "status", None, status=503)
    assert house.sweep(seconds=5).status == 503
    assert house.told == [("stale", "db-01")]
    assert "whether a policy backs it up could not be found out" in house.last["reason"]


def test_a_refused_list_of_vaults_rings_unverified_once_and_says_which_right_it_takes(house: House) -> None:
    house.cloud.fault("vaults", "status", None, status=403)
    for _ in range(3):
        assert house.sweep().status == 500
    (got,) = house.receiver.requests
    assert got.json["type"] == "cbr.task.unverified"
    assert "it takes the right cbr:vaults:list" in got.json["data"]["reason"]


def test_one_resource_that_cannot_be_asked_for_does_not_keep_the_others_silent(house: House) -> None:
    house.backed_up(DB, STALE_NOW)
    house.backed_up(APP, STALE_NOW)
    house.cloud.fault("list", "status", 1, status=404, after=7)
    report = house.sweep()
    assert report.status == 500
    assert [kind for kind, _ in house.told] == ["stale"]


def test_more_than_can_be_asked_for_one_by_one_are_told_by_what_is_known(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "ASKED_MOST", 1)
    house.vault["created_at"] = STALE_NOW.isoformat()
    house.sweep()
    assert house.asked["one"] == 1
    summaries = sorted(got.json["data"]["summary"] for got in house.receiver.requests)
    assert summaries[0].startswith("No good backup of app-01 for more than 3 d 2 h")
    assert summaries[1].startswith("db-01 has never been backed up")


def test_each_project_has_its_own_vaults(settle: Settle) -> None:
    house = settle(VAULTBELL_PROJECTS=f"{'0123456789abcdef' * 2},{OTHER}")
    house.cloud.projects[OTHER] = "other"
    house.cloud.vault(DB, name="prod-2", project_id=OTHER, created_at=START - 90 * DAY)
    for project in (house.cloud.project_id, OTHER):
        house.backed_up(DB, STALE_NOW, project_id=project)
    house.backed_up(APP, FRESH)
    house.sweep()
    assert sorted(got.json["data"]["project_id"] for got in house.receiver.requests) == [house.cloud.project_id, OTHER]
    assert len({got.headers["webhook-id"] for got in house.receiver.requests}) == 2


# for others


def test_the_roll_of_what_is_in_the_vaults_and_when_it_was_backed_up(house: House) -> None:
    house.backed_up(APP, FRESH)
    house.cloud.vault({"name": "web-01"}, name="test-1")
    project = house.bell.projects.known[0]
    found = watching.roll(house.bell.cbr, project, house.bell.rules, START - 3 * DAY, START, Budget.of(5))
    assert {one.resource.name: one.last_good for one in found} == {"db-01": None, "app-01": FRESH, "web-01": None}


def test_two_weeks_of_backups_with_ticks_lost_and_repeated(house: House) -> None:
    """Nightly at 02:00. db-01 is silent from the 4th to the 8th night, and app-01 fails in two; web-01 comes later."""
    web = {"id": "1dc0ffee-0000-4000-9000-00000000eb01", "name": "web-01"}
    midnight = START - 8 * HOUR
    for resource in (APP, DB):
        house.backed_up(resource, midnight - 22 * HOUR)
    told: list[tuple[int, str, str]] = []
    for number in range(14 * 8):  # every three hours from 00:10 on
        day, turn = divmod(number, 8)
        if turn == 1:
            night = midnight + day * DAY + 2 * HOUR
            house.backed_up(APP, night + 5 * MINUTE, "failed" if day in (5, 6) else "succeeded")
            if not 4 <= day <= 8:
                house.backed_up(DB, night + 10 * MINUTE)
            if day >= 9:
                house.backed_up(web, night + 15 * MINUTE)
        if number == 8 * 8 + 4:  # at noon of the 8th day, and its first backup is due in the night
            house.cloud.protect(house.vault["id"], web)
        for again in range(0 if number % 16 == 5 else 2 if turn == 2 else 1):  # some ticks are lost, some come twice
            before = len(house.told)
            tick = midnight + day * DAY + turn * 3 * HOUR + (10 + again) * MINUTE
            assert house.sweep(tick, period="3h").status == 200
            told += [(day, *one) for one in house.told[before:] if one[0] in ("stale", "resolved")]
    # stale at 04:10 of each day: the tick of 06:10 says so, twice, and that of a day later is not lost
    silent = [(day, "stale", "db-01") for day in (4, 5, 6, 7, 8) for _ in range(2)]
    assert [one for one in told if one[2] == "db-01"] == [*silent, (9, "resolved", "db-01")]
    failing = [(day, "stale", "app-01") for day in (5, 6) for _ in range(2)]
    assert [one for one in told if one[2] == "app-01"] == [*failing, (7, "resolved", "app-01")]
    assert [one for one in told if one[2] == "web-01"] == []
    bodies: dict[str, set[bytes]] = {}
    for got in house.receiver.requests:
        bodies.setdefault(got.headers["webhook-id"], set()).add(got.body)
    assert {len(found) for found in bodies.values()} == {1}
    assert len(bodies) == 5 + 2 + 2 + 2  # what was told of the silences, their ends, and the two failures


def test_the_command_shows_what_would_ring(
    settle: Settle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    house = settle()
    now = datetime.now(UTC)
    house.clock.now = now
    house.vault["created_at"] = (now - 30 * DAY).isoformat()
    house.backed_up(DB, now - 30 * HOUR)
    house.backed_up(APP, now - 3 * DAY)
    for name, value in {**house.cloud.env(), "VAULTBELL_CONFIG": str(tmp_path / "vaultbell.yaml")}.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["sweep", "--since", "24h", "--dry-run"]) == 1
    lines = capsys.readouterr().out
    assert [name for name in ("app-01 for 2 d 2 h", "db-01 for 26 h") if f"No good backup of {name}" not in lines] == []
    assert "2 would ring" in lines
    assert house.told == []
