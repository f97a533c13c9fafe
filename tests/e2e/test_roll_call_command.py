"""`vaultbell roll-call`: how all backups of the last day went, told as a timer at a shell would have it, or printed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from desk import Desk, NewDesk
from standin import Cloud
from standin.sinks import Receiver

DAY = timedelta(days=1)
YESTERDAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - DAY
WHEN = YESTERDAY + timedelta(hours=3)


@pytest.fixture
def desk(new_desk: NewDesk, cloud: Cloud, receiver: Receiver, tmp_path: Path) -> Desk:
    config = tmp_path / "vaultbell.yaml"
    config.write_text(
        f"channels:\n  desk: {{type: webhook, url: '{receiver.url}/desk', roll_call: true}}\n"
        f"  pager: {{type: webhook, url: '{receiver.url}/pager'}}\n"
    )
    cloud.vault("db-01", "db-02", "db-03", name="prod", created_at=YESTERDAY - 30 * DAY)
    return new_desk(cloud.env() | {"VAULTBELL_CONFIG": str(config)})


def ended(cloud: Cloud, outcome: str, resource: str, at: datetime = WHEN) -> None:
    ids = {one["name"]: one["id"] for vault in cloud.vaults.values() for one in vault["resources"]}
    times = {"created_at": at, "started_at": at, "updated_at": at, "ended_at": at}
    cloud.outcome(outcome, resource_id=ids[resource], resource_name=resource, **times)


def test_it_is_told_to_those_who_want_it_and_says_so(desk: Desk, cloud: Cloud, receiver: Receiver) -> None:
    for name, outcome in (("db-01", "succeeded"), ("db-02", "failed")):
        ended(cloud, outcome, name)
    done = desk("roll-call")
    assert (done.status, done.err) == (1, "")
    assert f"Backups of {WHEN:%Y-%m-%d}: 1 good, 1 failed, 1 without a backup" in done.out
    assert done.out.rstrip().endswith("→ desk")
    (got,) = receiver.requests
    assert (got.path, got.json["type"]) == ("/desk", "cbr.roll_call")
    assert desk("roll-call").status == 1
    assert receiver.requests[1].headers["webhook-id"] == got.headers["webhook-id"]  # a repeat is known by its id


def test_dry_it_is_printed_and_nobody_hears_it(desk: Desk, cloud: Cloud, receiver: Receiver) -> None:
    ended(cloud, "failed", "db-02")
    done = desk("roll-call", "--dry-run")
    assert (done.status, receiver.requests) == (1, [])
    assert "[ROLL CALL] Backups of " in done.out
    assert "Backup of db-02 failed" in done.out
    told = desk("roll-call", "--dry-run", "--json").json
    assert (told["message"]["type"], told["results"][0]["channels"]) == ("cbr.roll_call", ["desk"])
    assert [one["resource_name"] for one in told["message"]["data"]["roll_call"]["without_backup"]] == [
        "db-01",
        "db-03",
    ]


def test_where_all_went_well_the_status_says_so(desk: Desk, cloud: Cloud) -> None:
    for name in ("db-01", "db-02", "db-03"):
        ended(cloud, "succeeded", name)
    done = desk("roll-call")
    assert (done.status, done.err) == (0, "")
    assert "3 good" in done.out


def test_another_period_is_looked_at_where_it_is_wanted(desk: Desk) -> None:
    told = desk("roll-call", "--period", "2d", "--dry-run", "--json").json["message"]["data"]["roll_call"]
    begin, end = (datetime.fromisoformat(told[name]) for name in ("from", "until"))
    assert end - begin == 2 * DAY


def test_nobody_wants_one_is_a_mistake_but_it_can_be_seen(new_desk: NewDesk, cloud: Cloud, receiver: Receiver) -> None:
    desk = new_desk(cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"})
    done = desk("roll-call")
    assert (done.status, done.out) == (2, "")
    assert "nobody wants a roll call" in done.err
    assert "Backups of " in desk("roll-call", "--dry-run").out
    assert receiver.requests == []


def test_what_could_not_be_read_is_told_and_counts(desk: Desk, cloud: Cloud, receiver: Receiver) -> None:
    cloud.fault("list", "status", None, status=403)
    done = desk("roll-call", "--dry-run")
    assert done.status == 3
    assert "the API answered 403" in done.out
    assert receiver.requests == []


@pytest.mark.parametrize(
    "given", [("--period", "soon"), ("--period", "0h"), ("--project", "../x"), ("--project", "f" * 32)]
)
def test_a_mistake_is_named(desk: Desk, given: tuple[str, str]) -> None:
    done = desk("roll-call", *given)
    assert (done.status, done.out) == (2, "")
    assert done.err.count("\n") == 1


def test_a_receiver_that_is_away_is_a_status_of_its_own(desk: Desk, cloud: Cloud, receiver: Receiver) -> None:
    ended(cloud, "succeeded", "db-01")
    receiver.answer("/desk", 400)
    done = desk("roll-call", "--json")
    assert done.status == 3
    assert [one["delivered"] for one in done.json["results"][0]["receipts"]] == [False]
