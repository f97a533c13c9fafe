"""How did all backups of the day go? One message says it, with the figures that the cloud itself would give."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from standin import Cloud, serve
from standin.sinks import Mailbox, Receiver
from vaultbell import compose, pipeline, roll_call, settings
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.events import Event
from vaultbell.report import Report

NOW = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)
END = datetime(2026, 11, 25, tzinfo=UTC)  # the day is the 24th
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOON = END - 12 * HOUR
OTHER = "f" * 32
CONFIG = """
channels:
  bell: {{type: webhook, url: "{url}/bell", roll_call: true}}
  mail: {{type: email, smtp: "smtp://127.0.0.1:{port}?tls=off", from: bell@example.org, to: [ops@example.org],
          roll_call: true}}
  chat: {{type: webhook, format: slack, url: "{url}/chat", roll_call: true}}
  deaf: {{type: webhook, url: "{url}/deaf"}}
routes: [{{channels: [deaf]}}]
"""


@dataclass
class House:
    """The function at a cloud, a receiver and a mailbox. The clock stands at 06:00 UTC of the 25th."""

    cloud: Cloud
    receiver: Receiver
    mailbox: Mailbox
    bell: Bell

    def call(self, seconds: float = 20.0, **asked: object) -> Report:
        """One roll call."""
        return pipeline.handle(self.bell, Event(json.dumps({"roll_call": asked}).encode()), Budget.of(seconds))

    def ended(self, name: str, at: datetime, outcome: str = "succeeded", **fields: object) -> dict[str, Any]:
        """A backup of the resource of this name that ended, or was begun where it has not ended, at that time."""
        begun = at if outcome in ("running", "overdue") else at - 4 * MINUTE
        times: dict[str, object] = {"created_at": begun, "started_at": begun, "updated_at": at}
        times |= {"age": ...} if outcome == "overdue" else {}
        if outcome not in ("running", "overdue"):
            times["ended_at"] = at
        known = {"operation_type": "backup", "resource_id": f"id-{name}", "resource_name": name, **times, **fields}
        return self.cloud.outcome(outcome, **{key: value for key, value in known.items() if value is not ...})

    def vault(self, *resources: dict[str, str], created_at: datetime = END - 90 * DAY, **fields: object) -> None:
        """A vault that has been there for long."""
        self.cloud.vault(*resources, created_at=created_at, **fields)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What the webhook was told."""
        return [got.json for got in self.receiver.requests if got.path == "/bell"]

    @property
    def ids(self) -> list[str]:
        """Under which ids."""
        return [got.headers["webhook-id"] for got in self.receiver.requests if got.path == "/bell"]

    @property
    def data(self) -> dict[str, Any]:
        """The data of the one message."""
        (body,) = self.bodies
        data: dict[str, Any] = body["data"]
        return data

    @property
    def headline(self) -> str:
        """The headline of the one message."""
        text: str = self.data["summary"].partition(": read ")[0]
        return text

    @property
    def mail(self) -> str:
        """The text of the one mail."""
        (mail,) = self.mailbox.messages
        body = mail.message.get_body(("plain",))
        assert body
        text: str = body.get_content()
        return text.replace("\r\n", "\n")


Settle = Callable[..., House]


@pytest.fixture
def settle(receiver: Receiver, mailbox: Mailbox, tmp_path: Path) -> Iterator[Settle]:
    cloud = Cloud(now=lambda: NOW)
    with serve(cloud):

        def settled(config: str = CONFIG, **more: str) -> House:
            file = tmp_path / "vaultbell.yaml"
            file.write_text(config.format(url=receiver.url, port=mailbox.port), "utf-8")
            bell = compose.app(settings.load({**cloud.env(), "VAULTBELL_CONFIG": str(file), **more})).bell
            return House(cloud, receiver, mailbox, replace(bell, now=cloud.now))

        yield settled


@pytest.fixture
def house(settle: Settle) -> House:
    return settle()


def test_a_day_is_told_in_one_message_to_the_channels_that_want_it(house: House) -> None:
    house.vault(*({"id": f"id-{name}", "name": name} for name in ("a", "b", "c", "d", "e")), name="daily")
    house.ended("a", NOON)
    house.ended("b", NOON, "failed")
    house.ended("c", NOON, "running", progress=37)
    house.ended("d", NOON - 3 * DAY)
    report = house.call()
    assert (report.status, [line.action for line in report.results]) == (200, ["notified"])
    assert sorted(receipt.channel for receipt in report.results[0].receipts) == ["bell", "chat", "mail"]
    assert Counter(got.path for got in house.receiver.requests) == {"/bell": 1, "/chat": 1}
    body, data = house.bodies[0], house.data
    assert (body["type"], body["timestamp"]) == ("cbr.roll_call", "2026-11-25T00:00:00Z")
    assert house.headline == ("Backups of 2026-11-24: 1 good, 1 failed, 1 still running at 37 %, 2 without a backup")
    assert data["reason"] == "read 4 tasks of the list, from 2026-11-17 00:00 UTC to 2026-11-25 00:00 UTC"
    assert (data["outcome"], data["severity"]) == ("roll_call", "critical")
    told = data["roll_call"]
    assert (told["from"], told["until"], told["complete"]) == ("2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z", True)
    assert [(one["resource_name"], one["vault_name"], one["last_good_at"]) for one in told["without_backup"]] == [
        ("d", "daily", "2026-11-21T12:00:00Z"),
        ("e", "daily", None),
    ]
    assert [one["progress"] for one in told["running"]] == [37]
    assert [(one["type"], one["data"]["failures_in_row"]) for one in data["members"]] == [("cbr.task.failed", 1)]


def test_what_was_under_way_when_the_day_ended_is_not_without_a_backup(house: House) -> None:
    house.vault({"id": "id-a", "name": "a"}, {"id": "id-b", "name": "b"}, name="daily")
    house.ended("a", END + timedelta(minutes=10), created_at=END - timedelta(minutes=10))
    house.ended("b", END + timedelta(minutes=10), created_at=END + timedelta(minutes=5))
    house.call()
    assert [one["resource_name"] for one in house.data["roll_call"]["without_backup"]] == ["b"]
    assert not any(house.data["roll_call"]["counts"].values())


def test_the_mail_says_what_is_at_risk_since_when_and_what_to_do(house: House) -> None:
    house.vault({"id": "id-db", "name": "db"}, {"id": "id-app", "name": "app"}, name="daily")
    house.ended("db", NOON - 2 * DAY)
    house.ended("db", NOON - DAY, "failed", vault_name="daily")
    house.ended("db", NOON, "failed", vault_name="daily")
    house.ended("web", NOON, "running", progress=37)
    house.ended("app", NOON - 3 * DAY)
    house.call()
    (mail,) = house.mailbox.messages
    headline = "Backups of 2026-11-24: 0 good, 1 failed, 1 still running at 37 %, 1 without a backup"
    assert mail.message["Subject"].strip() == f"[ROLL CALL] {headline}"
    text = house.mail
    assert text.startswith(f"[ROLL CALL] {headline}\n\nCounted: Read 5 tasks of the list, from 2026-11-17 00:00 UTC")
    wanted = (
        "\n1 with BackupService.7102 in daily\nWhat to do: ",
        "\n  2026-11-24 12:00 UTC  Backup of db failed (2nd in a row, last good 2026-11-22 12:00 UTC)\n",
        "\n1 still running\n  at 37 %  Backup of web\n",
        "\n1 without a backup\nWhat to do: ",
        "\n  last good 2026-11-21 12:00 UTC  app in daily\n",
    )
    places = [text.find(words) for words in wanted]
    assert -1 not in places, text
    assert places == sorted(places)
    html = mail.message.get_body(("html",))
    assert html
    shown = html.get_content()
    assert "Counted" in shown
    assert "app in daily" in shown
    assert "The latest" not in shown
    slack = json.dumps([got.json for got in house.receiver.requests if got.path == "/chat"])
    assert "app in daily, last good 2026-11-21 12:00 UTC" in slack
    assert "Counted: read 5 tasks" in slack


@pytest.mark.parametrize("seed", range(3))
def test_its_figures_are_those_of_the_clouds_own_ledger(house: House, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same fleet each time
    names = [f"r{number:03}" for number in range(120)]
    house.vault(*({"id": f"id-{name}", "name": name} for name in names), name="fleet")
    house.cloud.page_most = 50
    ledger: Counter[str] = Counter()
    tried = set()
    for name in names:
        for day in range(4, -1, -1):
            at = END - day * DAY + timedelta(minutes=chance.randrange(24 * 60))
            outcome = chance.choices(("succeeded", "failed", "timed_out", "skipped", "none"), (80, 6, 4, 4, 6))[0]
            if outcome == "none" or at >= NOW:
                continue
            house.ended(name, at, outcome)
            if END - DAY <= at < END:
                ledger[outcome] += 1
                tried.add(name)
    assert house.call().status == 200
    told = house.data["roll_call"]
    assert {name: count for name, count in told["counts"].items() if count} == ledger
    assert {one["resource_name"] for one in told["without_backup"]} == set(names) - tried
    assert len(house.data["members"]) == sum(ledger.values()) - ledger["succeeded"]
    assert told["rows"] == sum(datetime.fromisoformat(task["created_at"]) < END for task in house.cloud.tasks())
    goods = {
        name: max(
            (
                task["ended_at"].replace("+00:00", "Z").replace(".000", "")
                for task in house.cloud.tasks()
                if task["extra_info"]["resource"]["name"] == name
                and task["status"] == "success"
                and datetime.fromisoformat(task["ended_at"]) < END
            ),
            default=None,
        )
        for name in set(names) - tried
    }
    assert {one["resource_name"]: one["last_good_at"] for one in told["without_backup"]} == goods


def test_a_repeat_has_the_same_id_and_the_same_bytes_whatever_the_new_day_brings(house: House) -> None:
    house.ended("a", NOON)
    house.ended("b", NOON, "failed")
    house.call()
    house.ended("a", END + HOUR)
    house.ended("b", END + 2 * HOUR, "failed")
    house.ended("c", END + 3 * HOUR, "running")
    house.call()
    first, second = [got for got in house.receiver.requests if got.path == "/bell"]
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)


def test_another_day_another_period_and_another_project_have_ids_of_their_own(settle: Settle) -> None:
    house = settle(VAULTBELL_PROJECTS=f"{Cloud().project_id},{OTHER}")
    house.cloud.projects[OTHER] = "eu-de"
    house.call()
    house.call(at="2026-11-24T03:00:00Z")
    house.call(period="7d")
    house.call(project_id=OTHER)
    assert len(set(house.ids)) == len(house.ids) == 4


def test_a_task_belongs_to_the_day_on_which_its_end_became_visible(house: House) -> None:
    house.ended("a", END - MINUTE)
    house.ended("b", END - DAY)
    house.ended("c", END - DAY - MINUTE, "failed")  # the day before
    house.ended("d", END, "failed")  # the day after
    house.ended("e", END - DAY - MINUTE, updated_at=END - DAY + MINUTE)
    house.call()
    assert house.headline == "Backups of 2026-11-24: 3 good"


def test_what_has_hung_for_days_is_told_every_day(house: House) -> None:
    house.ended("a", END - 20 * DAY, "overdue")
    house.ended("b", NOON)
    house.call()
    assert house.headline == "Backups of 2026-11-24: 1 good, 1 overdue"
    assert [one["type"] for one in house.data["members"]] == ["cbr.task.overdue"]


def test_all_well_is_told_as_such(house: House) -> None:
    house.vault({"id": "id-a", "name": "a"}, name="daily")
    house.ended("a", NOON)
    assert house.call().status == 200
    assert (house.headline, house.data["severity"]) == ("Backups of 2026-11-24: 1 good", "info")
    assert "members" not in house.data


def test_a_vault_that_is_younger_than_the_day_has_missed_nothing(house: House) -> None:
    house.vault({"id": "id-a", "name": "a"}, name="new", created_at=END + HOUR)
    house.vault({"id": "id-b", "name": "b"}, name="copies", billing={"protect_type": "replication"})
    house.call()
    assert (house.headline, house.data["severity"]) == ("Backups of 2026-11-24: 0 good", "warning")


def test_what_is_no_backup_is_not_counted_as_one(house: House) -> None:
    house.ended("a", NOON)
    house.ended("a", NOON, operation_type="delete")
    house.ended("a", NOON, "failed", operation_type="copy")
    house.call()
    assert house.headline == "Backups of 2026-11-24: 1 good, 1 other task not well"
    assert house.data["roll_call"]["others"] == {"succeeded": 1, "failed": 1}
    assert [one["data"]["operation_log"]["operation_type"] for one in house.data["members"]] == ["copy"]


def test_another_period_says_from_when_until_when(house: House) -> None:
    house.ended("a", NOON)
    house.ended("a", NOON - 6 * HOUR)
    house.call(period="12h")
    assert house.headline == "Backups of 2026-11-24 12:00 UTC to 2026-11-25 00:00 UTC: 1 good"


def test_a_list_that_breaks_off_is_told_as_such_and_then_whole_under_another_id(house: House) -> None:
    for number in range(30):
        house.ended(f"r{number}", NOON + number * MINUTE)
    house.bell = replace(house.bell, cbr=replace(house.bell.cbr, page_size=10))
    house.cloud.fault("list", "status", None, after=4, status=503)  # two lists of what runs, and two pages
    report = house.call()
    assert (report.status, [line.action for line in report.results]) == (503, ["notified", "retry"])
    assert not house.data["roll_call"]["complete"]
    assert house.data["severity"] == "warning"
    assert house.data["reason"].endswith("; the list was not read to its end")
    house.cloud.heal()
    assert house.call().status == 200
    first, second = house.bodies
    assert second["data"]["roll_call"]["complete"]
    assert second["data"]["roll_call"]["counts"]["succeeded"] == 30
    assert first["data"]["roll_call"]["counts"]["succeeded"] < 30
    assert len(set(house.ids)) == 2


def test_where_nothing_can_be_read_nothing_is_told_and_it_comes_again(house: House) -> None:
    house.ended("a", NOON)
    house.cloud.fault("list", "status", None, status=503)
    report = house.call(seconds=2.0)
    assert (report.status, house.bodies) == (503, [])


def test_a_refused_task_list_rings_unverified(house: House) -> None:
    house.ended("a", NOON)
    house.cloud.forbidden.add((house.cloud.project_id, "list"))
    report = house.call()
    assert (report.status, house.bodies) == (500, [])
    assert [got.json["type"] for got in house.receiver.requests if got.path == "/deaf"] == ["cbr.task.unverified"]


def test_refused_vaults_are_left_out_and_it_is_said_which_right_it_takes(house: House) -> None:
    house.vault({"id": "id-a", "name": "a"}, name="daily")
    house.ended("b", NOON)
    house.cloud.forbidden.add((house.cloud.project_id, "vaults"))
    assert house.call().status == 200
    assert house.headline == "Backups of 2026-11-24: 1 good"
    assert house.data["severity"] == "info"
    assert "what has no backup is not known, since the vaults could not be read" in house.data["reason"]
    assert "cbr:vaults:list" in house.mail


def test_where_no_channel_wants_it_nothing_is_read(settle: Settle) -> None:
    house = settle(CONFIG.replace("roll_call: true", "resolve: false"))
    house.ended("a", NOON, "failed")
    report = house.call()
    (line,) = report.results
    assert (report.status, line.action) == (200, "quiet")
    assert line.reason == "nobody wants a roll call: no channel has roll_call: true"
    assert (house.cloud.requests, house.receiver.requests) == ([], [])


def test_several_projects_are_one_message_and_the_fault_of_one_does_not_hide_the_other(settle: Settle) -> None:
    house = settle(VAULTBELL_PROJECTS=f"{Cloud().project_id},{OTHER}")
    house.cloud.projects[OTHER] = "eu-de"
    house.ended("a", NOON)
    house.ended("b", NOON, "failed", project_id=OTHER)
    assert house.call().status == 200
    assert house.headline == "Backups of 2026-11-24: 1 good, 1 failed"
    assert house.data["project_id"] is None
    house.cloud.forbidden.add((OTHER, "list"))
    report = house.call()
    assert (report.status, [line.action for line in report.results]) == (500, ["notified", "retry"])
    assert house.bodies[1]["data"]["roll_call"]["counts"]["succeeded"] == 1
    assert not house.bodies[1]["data"]["roll_call"]["complete"]


def test_a_disaster_is_counted_whole_and_named_in_part(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll_call, "NAMED_MOST", 3)
    monkeypatch.setattr(roll_call, "ASKED_MOST", 2)
    names = [f"r{number}" for number in range(5)]
    house.vault(*({"id": f"id-lost-{name}", "name": f"lost-{name}"} for name in names), name="daily")
    for name in names:
        house.ended(name, NOON, "failed")
    house.call()
    assert house.headline == "Backups of 2026-11-24: 0 good, 5 failed, 5 without a backup"
    assert house.data["reason"].endswith("; 2 that did not go well are not named")
    assert len(house.data["members"]) == 3
    assert house.mail.count("\n  none good on record  lost-") == 2
    assert house.mail.count("\n  last good not asked for  lost-") == 3


def test_a_channel_that_was_not_reached_is_told_when_it_comes_again(house: House) -> None:
    house.ended("a", NOON)
    house.receiver.answer("/bell", status=503, times=3)
    assert house.call(seconds=6.0).status == 503
    assert house.call().status == 200
    assert len(house.mailbox.messages) == 1
    assert len(set(house.ids)) == 1
