"""What went before a ring is asked of the task list: it is told where it can be found out, and never costs the ring."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from standin import Cloud
from standin.server import Server
from standin.sinks import Mailbox, Receiver
from standin.state import Answer, Kind, Order
from vaultbell import compose, history, pipeline, settings
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.events import Event
from vaultbell.report import Report
from vaultbell.seen import Pace
from vaultbell.telemetry import LOG

SERVER, OTHER = "1dab32fa-ebf2-415a-ab0b-eabe6353bc86", "2dab32fa-ebf2-415a-ab0b-eabe6353bc86"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)

MakeBell = Callable[..., Bell]


@pytest.fixture
def make(cloud: Cloud, receiver: Receiver, tmp_path: Path) -> MakeBell:
    """A bell with these channels and routes, or one webhook; {url} is the receiver's."""

    def made(config: str = "", **more: str) -> Bell:
        given = {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"}
        if config:
            file = tmp_path / "vaultbell.yaml"
            file.write_text(config.replace("{url}", receiver.url), "utf-8")
            given = {"VAULTBELL_CONFIG": str(file)}
        return compose.app(settings.load({**cloud.env(), **given, **more})).bell

    return made


@pytest.fixture
def bell(make: MakeBell) -> Bell:
    return make()


@pytest.fixture
def warnings() -> Iterator[list[logging.LogRecord]]:
    """What is logged as a warning, or worse."""
    heard: list[logging.LogRecord] = []

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record)

    handler = Heard(logging.WARNING)
    LOG.addHandler(handler)
    yield heard
    LOG.removeHandler(handler)


def nights(cloud: Cloud, outcomes: str, **fields: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - as the cloud takes them
    """A backup each night up to the last one: g(ood), f(ailed), t(imed out), s(kipped), r(unning)."""
    words = {"g": "succeeded", "f": "failed", "t": "timed_out", "s": "skipped", "r": "running"}
    made = []
    for ago, letter in enumerate(reversed(outcomes)):
        times = {"created_at": NOW - ago * DAY - 2 * HOUR}
        times |= {"started_at": times["created_at"]}
        if letter != "r":
            times |= {"ended_at": NOW - ago * DAY - HOUR, "updated_at": NOW - ago * DAY - HOUR}
        made.append(cloud.outcome(words[letter], **{"resource_id": SERVER, **times, **fields}))
    return made[::-1]


def ask(bell: Bell, *logs: dict[str, Any], seconds: float = 10.0) -> Report:
    named = [{"operation_log_id": log["id"], "project_id": log["project_id"]} for log in logs]
    event = named[0] if len(named) == 1 else {"events": named}
    return pipeline.handle(bell, Event(json.dumps(event).encode()), Budget.of(seconds))


def data(receiver: Receiver, path: str = "/bell") -> list[dict[str, Any]]:
    return [got.json["data"] for got in receiver.requests if got.path == path]


def past(told: dict[str, Any]) -> tuple[object, object]:
    return told["failures_in_row"], told["last_good_at"]


def iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


# what is told


def test_the_third_failure_says_so_and_since_when_there_is_no_good_backup(
    cloud: Cloud, receiver: Receiver, bell: Bell
) -> None:
    *_, task = nights(cloud, "gffgftf", resource_name="ECS-0001")
    nights(cloud, "ggggggg", resource_id=OTHER)
    ask(bell, task)
    (told,) = data(receiver)
    assert past(told) == (3, iso(NOW - 3 * DAY - HOUR))
    good = f"{NOW - 3 * DAY - HOUR:%Y-%m-%d %H:%M} UTC"
    assert told["summary"].endswith(f"; third failure in a row; last good backup {good}, 3 d before")
    assert cloud.counts["list"] == 1


@pytest.mark.parametrize(
    ("before", "words"), [("g", "first failure; last good backup "), ("", "first failure; no good")]
)
def test_the_first_failure_says_so(cloud: Cloud, receiver: Receiver, bell: Bell, before: str, words: str) -> None:
    ask(bell, nights(cloud, f"{before}f")[-1])
    (told,) = data(receiver)
    assert told["failures_in_row"] == 1
    assert words in told["summary"]


@pytest.mark.parametrize("order", get_args(Order))
@pytest.mark.parametrize("page_most", [3, 1000])
def test_whatever_the_lists_order_the_past_is_the_same(
    cloud: Cloud, receiver: Receiver, bell: Bell, order: Order, page_most: int
) -> None:
    cloud.order, cloud.page_most = order, page_most
    *_, task = nights(cloud, "ffgfgffrsft")
    ask(bell, task)
    (told,) = data(receiver)
    assert past(told) == (5, iso(NOW - 6 * DAY - HOUR))


def test_only_the_same_incident_counts(cloud: Cloud, receiver: Receiver, bell: Bell) -> None:
    def copied(region: str, outcomes: str) -> dict[str, Any]:
        goes = {"destination_region": region, "destination_project_id": "f" * 32}
        return nights(cloud, outcomes, operation_type="copy", extra_info={"replication": goes})[-1]

    copied("eu-ch2", "ggg")
    nights(cloud, "ggg")
    ask(bell, copied("eu-nl", "gff"))
    (told,) = data(receiver)
    assert told["failures_in_row"] == 2
    assert "second failure in a row; last good copy " in told["summary"]


def test_what_has_no_resource_is_looked_for_by_its_vault(cloud: Cloud, receiver: Receiver, bell: Bell) -> None:
    tasks = nights(cloud, "ff", operation_type="vault_delete", vault_id="5f0d8c6e-3a57-4a52-9c1e-0b6f3d7a2e12")
    nights(cloud, "g", operation_type="vault_delete", vault_id="5f0d8c6e-3a57-4a52-9c1e-0b6f3d7a2e13")
    ask(bell, tasks[-1])
    (told,) = data(receiver)
    assert past(told) == (2, None)
    assert "second failure in a row; no success is on record" in told["summary"]
    assert "vault_id=5f0d8c6e-3a57-4a52-9c1e-0b6f3d7a2e12" in cloud.requests[-1].query


def test_nothing_is_said_where_neither_resource_nor_vault_is_known(
    cloud: Cloud, receiver: Receiver, bell: Bell
) -> None:
    ask(bell, cloud.outcome("failed", extra_info="lost", vault_id=...))
    (told,) = data(receiver)
    assert "failures_in_row" not in told
    assert cloud.counts["list"] == 0


def test_a_repeat_says_the_same_byte_for_byte_whatever_went_on_meanwhile(
    cloud: Cloud, receiver: Receiver, bell: Bell
) -> None:
    *_, hangs, task = nights(cloud, "gfrf")
    ask(bell, task)
    cloud.change(hangs["id"], status="timeout", ended_at=datetime.now(UTC))
    cloud.outcome("failed", resource_id=SERVER, created_at=datetime.now(UTC))
    ask(bell, task)
    first, second = receiver.requests
    assert first.body == second.body
    assert first.json["data"]["failures_in_row"] == 2


def test_only_what_rings_costs_a_list(cloud: Cloud, receiver: Receiver, bell: Bell) -> None:
    ask(bell, *nights(cloud, "gr"))
    missing = {"operation_log_id": "00000000-0000-4000-8000-000000000009", "time": iso(NOW - DAY)}
    pipeline.handle(bell, Event(json.dumps(missing).encode()), Budget.of(10))
    assert [told["outcome"] for told in data(receiver)] == ["missing"]
    assert cloud.counts["list"] == 0
    ask(bell, nights(cloud, "f")[0])
    assert cloud.counts["list"] == 1


def test_without_history_nothing_is_asked_and_nothing_said(cloud: Cloud, receiver: Receiver, make: MakeBell) -> None:
    ask(make(VAULTBELL_HISTORY="false"), nights(cloud, "gff")[-1])
    assert cloud.counts["list"] == 0
    assert "failures_in_row" not in data(receiver)[0]


def test_a_success_that_rings_has_no_row_of_failures(cloud: Cloud, receiver: Receiver, make: MakeBell) -> None:
    bell = make("channels: {all: {type: webhook, url: '{url}/bell'}}\noutcomes: {ring: [succeeded]}\n")
    ask(bell, nights(cloud, "ffg")[-1])
    (told,) = data(receiver)
    assert "failures_in_row" not in told
    assert cloud.counts["list"] == 0


# when the list cannot be read


@pytest.mark.parametrize("kind", [*(kind for kind in get_args(Kind) if "hang" not in kind and kind != "trickle"), 403])
def test_a_list_that_cannot_be_read_leaves_the_ring_as_it_is(
    cloud: Cloud, receiver: Receiver, bell: Bell, kind: Kind | int, warnings: list[logging.LogRecord]
) -> None:
    task = nights(cloud, "gff")[-1]
    if isinstance(kind, int):
        cloud.fault("list", "status", times=None, status=kind)
    elif kind == "wrong_id":  # of another project
        cloud.fault("list", "status", times=None, status=200, body={"operation_logs": [{"project_id": "e" * 32}]})
    else:
        cloud.fault("list", kind, times=None)
    report = ask(bell, task, seconds=3.0)
    (told,) = data(receiver)
    assert report.status == 200
    assert told["severity"] == "critical"
    assert not {"failures_in_row", "last_good_at"} & told.keys()
    assert "failure" not in told["summary"]
    assert [record.getMessage() for record in warnings] == ["the past cannot be told"]


@pytest.mark.parametrize("kind", ["hang", "hang_body", "trickle"])
def test_a_slow_list_has_a_third_of_the_time_at_most(cloud: Cloud, receiver: Receiver, bell: Bell, kind: Kind) -> None:
    task = nights(cloud, "gff")[-1]
    cloud.fault("list", kind, times=None)
    began = time.monotonic()
    assert ask(bell, task, seconds=1.5).status == 200
    assert time.monotonic() - began < 1.0
    assert len(receiver.requests) == 1


def test_a_list_that_asks_for_a_rest_is_not_waited_for(cloud: Cloud, receiver: Receiver, bell: Bell) -> None:
    cloud.fault("list", "status", times=None, status=429, headers={"Retry-After": "600"})
    assert ask(bell, nights(cloud, "gff")[-1]).status == 200
    assert (len(receiver.requests), cloud.counts["list"]) == (1, 1)


def test_a_fault_that_passes_is_no_hindrance(cloud: Cloud, receiver: Receiver, bell: Bell) -> None:
    cloud.fault("list", "status", times=1, status=502)
    ask(bell, nights(cloud, "gff")[-1])
    assert data(receiver)[0]["failures_in_row"] == 2


@pytest.mark.parametrize(("order", "failures"), [("created_desc", 10), ("created_asc", None), ("shuffled", None)])
def test_of_a_list_that_is_too_long_no_more_is_said_than_is_known(
    cloud: Cloud, receiver: Receiver, bell: Bell, monkeypatch: pytest.MonkeyPatch, order: Order, failures: int | None
) -> None:
    monkeypatch.setattr(history, "ROWS_MOST", 10)
    cloud.order = order
    ask(bell, nights(cloud, "g" + "f" * 30)[-1])
    (told,) = data(receiver)
    assert told.get("failures_in_row") == failures
    if failures:
        assert told["last_good_at"] is None
        assert told["summary"].endswith("; at least 10 failures in a row; no good backup in the 9 d 1 h before")


def test_a_list_of_many_pages_that_is_not_too_long_is_known_whole(
    cloud: Cloud, receiver: Receiver, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "ROWS_MOST", 32)
    cloud.page_most = 12  # what is read twice, at the pages' edges and at the end, is not counted twice
    ask(bell, nights(cloud, "f" * 30)[-1])
    assert past(data(receiver)[0]) == (30, None)
    assert data(receiver)[0]["summary"].endswith("; 30th failure in a row; no good backup is on record")


def test_of_a_list_that_is_too_long_what_was_read_is_told_where_it_is_enough(
    cloud: Cloud, receiver: Receiver, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "ROWS_MOST", 10)
    ask(bell, nights(cloud, "f" * 30 + "gff")[-1])
    assert past(data(receiver)[0]) == (2, iso(NOW - 2 * DAY - HOUR))


# many at once


def test_tasks_that_stand_in_the_same_list_share_it(cloud: Cloud, receiver: Receiver, bell: Bell) -> None:
    logs = [log for resource in (SERVER, OTHER) for log in nights(cloud, "gffff", resource_id=resource)[1:]]
    assert ask(bell, *logs).status == 200
    assert cloud.counts["list"] == 2
    assert Counter(told["failures_in_row"] for told in data(receiver)) == {1: 2, 2: 2, 3: 2, 4: 2}


def test_a_list_that_hangs_does_not_cost_a_batch_its_rings(cloud: Cloud, receiver: Receiver, bell: Bell) -> None:
    logs = [cloud.outcome("failed") for _ in range(40)]
    cloud.fault("list", "hang", times=None)
    assert ask(bell, *logs, seconds=3.0).status == 200
    assert len(receiver.requests) == 40


def test_a_storm_does_not_double_the_load_and_loses_no_ring(cloud: Cloud, receiver: Receiver, bell: Bell) -> None:
    bell = replace(bell, history=Pace(5, 0))
    for log in [cloud.outcome("failed") for _ in range(12)]:
        assert ask(bell, log).status == 200
    assert (cloud.counts["list"], len(receiver.requests)) == (5, 12)
    assert sum("failures_in_row" in told for told in data(receiver)) == 5


def test_a_process_asks_a_thousand_times_at_once_and_more_only_where_a_route_needs_it(make: MakeBell) -> None:
    def asked(bell: Bell) -> int:
        assert bell.history
        return sum(bell.history.take() for _ in range(1_500))

    assert 1_000 <= asked(make()) < 1_100
    assert asked(make(PAGER)) == 1_500


# who is told

PAGER = """
channels:
  pager: {type: webhook, format: pagerduty, url: "{url}/pager", routing_key: "key", resolve: true}
  mail: {type: webhook, url: "{url}/mail"}
routes:
  - match: {failures_in_row: ">=2"}
    channels: [pager]
    fallback: mail
  - channels: [mail]
"""
STALE = PAGER.replace('failures_in_row: ">=2"', 'last_good_age: ">26h"')


def paths(receiver: Receiver) -> list[str]:
    return sorted(got.path for got in receiver.requests)


@pytest.mark.parametrize(
    ("config", "outcomes", "told"),
    [
        (PAGER, "gf", ["/mail"]),
        (PAGER, "gff", ["/pager"]),
        (STALE, "gf", ["/mail"]),
        (STALE, "gff", ["/pager"]),
        (STALE, "f", ["/pager"]),
    ],
)
def test_a_pager_rings_when_data_is_at_risk_and_a_mailbox_hears_the_rest(
    cloud: Cloud, receiver: Receiver, make: MakeBell, config: str, outcomes: str, told: list[str]
) -> None:
    ask(make(config), nights(cloud, outcomes)[-1])
    assert paths(receiver) == told


def test_a_route_that_asks_for_a_past_that_is_not_known_rings_and_so_do_the_others(
    cloud: Cloud, receiver: Receiver, make: MakeBell
) -> None:
    cloud.fault("list", "status", times=None, status=403)
    ask(make(PAGER), nights(cloud, "gf")[-1])
    assert paths(receiver) == ["/mail", "/pager"]


@pytest.mark.parametrize(("outcomes", "told"), [("gfg", []), ("gffg", ["/pager"])])
def test_a_pager_that_did_not_hear_of_a_failure_does_not_hear_of_its_end(
    cloud: Cloud, receiver: Receiver, make: MakeBell, outcomes: str, told: list[str]
) -> None:
    ask(make(PAGER), nights(cloud, outcomes)[-1])
    assert paths(receiver) == told


def test_what_has_recovered_is_told_as_a_warning_and_opens_no_incident(
    cloud: Cloud, receiver: Receiver, make: MakeBell
) -> None:
    bell = make(PAGER.replace("[pager]", "[pager, mail]").replace("    fallback: mail\n", ""))
    _, _, task = nights(cloud, "gff", resource_name="ECS-0001")
    ask(bell, task)
    assert paths(receiver) == ["/mail", "/pager"]
    before = data(receiver, "/mail")[0], next(got for got in receiver.requests if got.path == "/mail")
    receiver.requests.clear()
    good = cloud.outcome("succeeded", resource_id=SERVER, created_at=NOW - 30 * timedelta(minutes=1), ended_at=NOW)
    report = ask(bell, task)
    (told,), (got,) = data(receiver, "/mail"), receiver.requests
    assert (report.results[0].severity, told["severity"], told["outcome"]) == ("warning", "warning", "failed")
    assert told["summary"].startswith("Backup of ECS-0001 failed, since recovered: ")
    assert f"a newer backup succeeded {NOW:%Y-%m-%d %H:%M} UTC; second failure in a row" in told["summary"]
    assert past(told) == past(before[0])
    assert told["recovered_at"] == iso(datetime.fromisoformat(good["ended_at"]))
    assert (got.headers["webhook-id"], got.json["type"]) == (before[1].headers["webhook-id"], before[1].json["type"])
    assert told["incident"] == before[0]["incident"]


@pytest.mark.parametrize("format_", ["pagerduty", "opsgenie", "alertmanager"])
def test_where_only_a_pager_would_hear_of_what_has_recovered_the_report_says_why_nobody_does(
    cloud: Cloud, receiver: Receiver, make: MakeBell, format_: str
) -> None:
    keys = {"pagerduty": "routing_key: key, ", "opsgenie": "api_key: key, ", "alertmanager": ""}
    channel = f"{{type: webhook, format: {format_}, {keys[format_]}url: '{{url}}/pager'}}"
    bell = make(f"channels: {{pager: {channel}}}\n")
    _, task, _ = nights(cloud, "gfg")
    report = ask(bell, task)
    assert receiver.requests == []
    (result,) = report.results
    assert (report.status, result.action, result.severity) == (200, "quiet", "warning")
    assert result.reason
    assert result.reason.endswith("; since recovered: no incident is opened (pager)")


def test_a_pager_is_no_stand_in_for_what_has_recovered(cloud: Cloud, receiver: Receiver, make: MakeBell) -> None:
    bell = make(PAGER.replace("[pager]\n    fallback: mail", "[mail]\n    fallback: pager"))
    receiver.answer("/mail", status=410)
    _, _, task, _ = nights(cloud, "gffg")
    report = ask(bell, task)
    assert paths(receiver) == ["/mail"]
    assert report.status == 424


def test_an_overdue_task_is_not_recovered_by_a_newer_one(cloud: Cloud, receiver: Receiver, bell: Bell) -> None:
    nights(cloud, "g", created_at=NOW - 3 * DAY, ended_at=NOW - 3 * DAY, updated_at=NOW - 3 * DAY)
    task = cloud.outcome("overdue", resource_id=SERVER, resource_name="ECS-0001", created_at=NOW - 2 * DAY)
    good = cloud.outcome("succeeded", resource_id=SERVER, created_at=NOW - HOUR, ended_at=NOW)
    ask(bell, task)
    (told,) = data(receiver)
    assert told["severity"] == "critical"
    assert told["summary"].startswith("Backup of ECS-0001 is overdue: ")
    assert "recovered_at" not in told
    assert past(told) == (1, iso(NOW - 3 * DAY))
    assert f"; a newer backup succeeded {NOW:%Y-%m-%d %H:%M} UTC; first failure; " in told["summary"]
    assert good


# sweeps


def in_window(turn: int = 0) -> datetime:
    """A moment within the window that a sweep without a lag covers now."""
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() // 900 * 900 - 300 - turn, UTC)


def sweep(bell: Bell, seconds: float = 20.0) -> Report:
    return pipeline.handle(bell, Event(b'{"sweep": {"lag": "0"}}'), Budget.of(seconds))


def row(cloud: Cloud, outcomes: str, resource: str, turn: int = 0, **fields: Any) -> str:  # noqa: ANN401
    """A night each, the last one in the window; its id."""
    made = [
        cloud.outcome(
            {"g": "succeeded", "f": "failed"}[letter],
            resource_id=resource,
            created_at=in_window(turn) - ago * DAY - HOUR,
            ended_at=in_window(turn) - ago * DAY,
            updated_at=in_window(turn) - ago * DAY,
            **fields,
        )
        for ago, letter in enumerate(reversed(outcomes))
    ]
    return str(made[0]["id"])


def test_a_sweep_tells_each_ones_past_after_as_few_lists_as_before(cloud: Cloud, make: MakeBell) -> None:
    cloud.fill(3_000, every=60)
    wanted = {row(cloud, "g" + "f" * (1 + turn % 3), f"ecs-{turn}", turn): 1 + turn % 3 for turn in range(20)}
    reads: list[int] = []
    told: dict[str, int] = {}

    def take(_method: str, _path: str, _query: str, _headers: object, body: bytes) -> Answer:
        reads.append(cloud.counts["list"])
        message = json.loads(body)["data"]
        told[message["operation_log"]["id"]] = message["failures_in_row"]
        return Answer(200, {}, b"")

    with Server(take) as hook:
        assert sweep(make(VAULTBELL_WEBHOOK_URL=hook.url)).status == 200
    assert told == wanted
    assert reads[0] == 6
    assert max(reads[1:]) <= 25  # before anything else is read


def test_a_sweep_of_very_many_shares_one_list_and_says_how_far_back_it_goes(
    cloud: Cloud, receiver: Receiver, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "OWN_MOST", 5)
    good = {row(cloud, "gff", f"ecs-{turn}", turn) for turn in range(12)}
    bad = {row(cloud, "f" * 10, f"never-{turn}", turn) for turn in range(9)}
    assert sweep(bell).status == 200
    told = {message["operation_log"]["id"]: message for message in data(receiver)}
    assert told.keys() == good | bad
    assert {told[task]["failures_in_row"] for task in good} == {2}
    assert all(told[task]["last_good_at"] for task in good)
    # the first one was told alone, by a list of its own
    first = data(receiver)[0]["operation_log"]["id"]
    rest = bad - {first}
    assert {past(told[task]) for task in rest} == {(7, None)}
    assert {told[task]["summary"].rpartition("; at least")[2] for task in rest} == {
        " 7 failures in a row; no good backup in the 7 d before"
    }
    assert cloud.counts["list"] == 5 + 1 + 1 + 1


def test_where_few_of_very_many_have_no_good_one_these_are_asked_for_by_themselves(
    cloud: Cloud, receiver: Receiver, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "OWN_MOST", 5)
    for turn in range(12):
        row(cloud, "gff", f"ecs-{turn}", turn)
    old = {row(cloud, "g" + "f" * 10, f"old-{turn}", turn) for turn in range(3)}
    assert sweep(bell).status == 200
    told = {message["operation_log"]["id"]: message for message in data(receiver)}
    assert {told[task]["failures_in_row"] for task in old} == {10}
    assert all(told[task]["last_good_at"] for task in old)


def test_where_very_many_are_told_one_that_has_hung_for_longer_than_is_read_is_asked_for_by_itself(
    cloud: Cloud, receiver: Receiver, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "OWN_MOST", 5)
    for turn in range(12):
        row(cloud, "gff", f"ecs-{turn}", turn)
    begun = in_window(3) - 10 * DAY  # its deadline comes again in the window of this sweep
    goods = {}
    for name in ("hung", "hung too"):  # the first that is found is told alone
        good, hung = nights(cloud, "gr" + "g" * 9, resource_id=name)[:2]
        cloud.change(hung["id"], created_at=begun, started_at=begun)
        goods[hung["id"]] = iso(datetime.fromisoformat(good["ended_at"]))
    assert sweep(bell).status == 200
    told = {message["operation_log"]["id"]: message for message in data(receiver)}
    assert {task: past(told[task]) for task in goods} == {task: (1, good) for task, good in goods.items()}


def test_a_digest_has_the_past_of_each_member_in_a_short_column(
    cloud: Cloud, receiver: Receiver, mailbox: Mailbox, make: MakeBell
) -> None:
    bell = make(
        "channels:\n"
        f"  mail: {{type: email, smtp: 'smtp://127.0.0.1:{mailbox.port}?tls=off', from: a@b.org, to: c@d.org}}\n"
        "  all: {type: webhook, digest: true, url: '{url}/all'}\n"
        "digest_over: 2\n"
    )
    for turn in range(5):
        row(cloud, "g" + "f" * (turn + 1), f"ecs-{turn}", turn, resource_name=f"ECS-{turn}")
    assert sweep(bell).status == 200
    (mail,) = mailbox.wait_for(1)
    page = mail.message.get_body(("html",))
    assert page is not None
    shown = page.get_content()
    places = [shown.index(f"ECS-{turn}") for turn in range(5)]
    rows = [shown[begin:end] for begin, end in zip(places, [*places[1:], len(shown)], strict=True)]
    for turn, text in enumerate(rows):
        assert f"{turn + 1}{('st', 'nd', 'rd', 'th', 'th')[turn]} in a row, last good 20" in text
    (told,) = data(receiver, "/all")
    assert [member["data"]["failures_in_row"] for member in told["members"]] == [1, 2, 3, 4, 5]


def test_a_list_that_hangs_costs_a_sweep_none_of_its_rings(cloud: Cloud, receiver: Receiver, bell: Bell) -> None:
    wanted = {row(cloud, "gf", f"ecs-{turn}", turn) for turn in range(12)}
    cloud.fault("list", "hang", times=9, after=5)  # those for the past: the first, and then eight side by side
    report = sweep(bell, seconds=3.0)
    assert {told["operation_log"]["id"] for told in data(receiver)} == wanted
    assert report.status == 200


def test_a_silent_channel_does_not_hold_up_the_others(cloud: Cloud, receiver: Receiver, make: MakeBell) -> None:
    bell = make(
        "channels: {silent: {type: webhook, url: '{url}/silent'}, mail: {type: webhook, url: '{url}/mail'}}\n"
        "routes: [{match: {resource_id: ecs-0}, channels: [silent]}, {channels: [mail]}]\n"
    )
    receiver.answer("/silent", kind="hang")
    wanted = {row(cloud, "gf", f"ecs-{turn}", turn) for turn in range(6)}
    report = sweep(bell, seconds=1.5)
    assert report.status == 503
    assert {told["operation_log"]["id"] for told in data(receiver, "/mail")} == wanted - {
        told["operation_log"]["id"] for told in data(receiver, "/silent")
    }
    assert len(data(receiver, "/mail")) == 5


def test_a_storm_in_a_sweep_loses_no_ring(cloud: Cloud, receiver: Receiver, bell: Bell) -> None:
    wanted = {row(cloud, "gf", f"ecs-{turn}", turn) for turn in range(12)}
    assert sweep(replace(bell, history=Pace(4, 0))).status == 200
    assert {told["operation_log"]["id"] for told in data(receiver)} == wanted
    assert sum("failures_in_row" in told for told in data(receiver)) == 4
