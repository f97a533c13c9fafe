"""Sweeps meet a task list: every bad task is told once, whatever the list does, and what could not be read is said."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, get_args
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from standin import Cloud, mock_cloud, serve
from standin.server import Server
from standin.sinks import Receiver
from standin.state import Answer, Order, TimeField, TimeForm
from vaultbell import compose, history, pipeline, settings, sweeping
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.events import Event
from vaultbell.report import Report

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
OTHER = "f" * 32
BAD = ("failed", "timed_out", "skipped", "partial", "unknown")


@dataclass
class Clock:
    """The time as everybody here has it."""

    now: datetime = START


@dataclass
class House:
    """The function at a cloud, with a receiver of what it tells."""

    clock: Clock
    cloud: Cloud
    receiver: Receiver
    bell: Bell

    def sweep(self, at: datetime | None = None, seconds: float = 20.0, **asked: object) -> Report:
        if at:
            asked["at"] = at.isoformat()
        return self.handle({"sweep": asked}, seconds)

    def handle(self, event: object, seconds: float = 20.0) -> Report:
        return pipeline.handle(self.bell, Event(json.dumps(event).encode()), Budget.of(seconds))

    @property
    def told(self) -> list[tuple[str | None, str]]:
        """Which tasks were told, and as what, in turn."""
        return [(told["operation_log"].get("id"), told["outcome"]) for told in self.data]

    @property
    def data(self) -> list[dict[str, Any]]:
        """What the messages are about, in turn."""
        return [got.json["data"] for got in self.receiver.requests if got.path == "/bell"]

    @property
    def lists(self) -> list[dict[str, str]]:
        """What the task list was asked for, in turn."""
        return [dict(parse_qsl(asked.query)) for asked in self.cloud.requests if asked.path.endswith("/operation-logs")]

    @property
    def beats(self) -> int:
        """How often the dead-man's switch heard of us."""
        return sum(got.path == "/alive" for got in self.receiver.requests)


Settle = Callable[..., House]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def still(clock: Clock) -> Iterator[Cloud]:
    """A cloud with two projects at START, whose time goes on when it is told to."""
    cloud = Cloud(now=lambda: clock.now)
    cloud.token_life = timedelta(days=3650)
    cloud.projects[OTHER] = "other"
    with serve(cloud):
        yield cloud


@pytest.fixture
def settle(clock: Clock, still: Cloud, receiver: Receiver) -> Settle:
    def settled(**more: str) -> House:
        given = {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell", "VAULTBELL_HEARTBEAT_URL": f"{receiver.url}/alive"}
        bell = compose.app(settings.load({**still.env(), **given, **more})).bell
        return House(clock, still, receiver, replace(bell, now=still.now))

    return settled


@pytest.fixture
def house(settle: Settle) -> House:
    return settle()


@pytest.fixture
def two_projects(settle: Settle, still: Cloud) -> House:
    return settle(VAULTBELL_PROJECTS=f"{still.project_id},{OTHER}")


def minutes_ago(number: float) -> datetime:
    return START - number * MINUTE


# At START, with a period of 15 minutes and a lag of 5, the window is 07:30 to 07:45.
INSIDE, BEFORE, AFTER = minutes_ago(20), minutes_ago(31), minutes_ago(14)


def ended(cloud: Cloud, outcome: str, at: datetime, **fields: Any) -> str:  # noqa: ANN401 - as the cloud takes them
    """A task of this outcome that came about at that time; its id."""
    times = {"created_at": at - HOUR, "started_at": at - HOUR, "updated_at": at, "ended_at": at}
    if outcome == "overdue":
        times = {"created_at": at - DAY, "started_at": at - DAY, "updated_at": at - HOUR}
    return str(cloud.outcome(outcome, **{**times, **fields})["id"])


# what rings


def test_each_bad_outcome_of_the_window_is_told_once_and_nothing_else(house: House) -> None:
    wanted = {(ended(house.cloud, outcome, INSIDE), outcome) for outcome in (*BAD, "overdue")}
    for at in (BEFORE, AFTER):
        for outcome in (*BAD, "overdue"):
            ended(house.cloud, outcome, at)
    for at in (BEFORE, INSIDE, AFTER):
        ended(house.cloud, "succeeded", at)
        ended(house.cloud, "running", at, ended_at=...)
    report = house.sweep()
    assert report.status == 200
    assert sorted(house.told) == sorted(wanted)
    assert {(result.operation_log_id, result.outcome) for result in report.results} == wanted
    assert len(report.results) == len(wanted)
    assert {result.action for result in report.results} == {"notified"}


def test_the_report_says_what_was_covered_and_how_much_was_read(house: House) -> None:
    for outcome in ("failed", "succeeded"):
        ended(house.cloud, outcome, INSIDE)
    # the failed one is read by its status, and as one of all
    swept = house.sweep().as_json()["swept"]
    assert swept == {"from": "2026-11-23T07:30:00Z", "until": "2026-11-23T07:45:00Z", "tasks": 3}
    swept = house.sweep(period="1h", lag=0).as_json()["swept"]
    assert swept == {"from": "2026-11-23T06:00:00Z", "until": "2026-11-23T08:00:00Z", "tasks": 3}


def test_an_empty_list_is_good_news(house: House) -> None:
    report = house.sweep()
    assert (report.status, report.results, house.told, house.beats) == (200, (), [], 1)


def test_a_task_that_is_named_and_one_that_is_swept_give_the_same_message(house: House) -> None:
    ids = [ended(house.cloud, outcome, INSIDE) for outcome in ("failed", "overdue", "partial")]
    house.sweep()
    house.handle({"events": [{"operation_log_id": task, "project_id": house.cloud.project_id} for task in ids]})
    messages: dict[str, list[bytes]] = defaultdict(list)
    for got in house.receiver.requests:
        if got.path == "/bell":
            messages[got.headers["webhook-id"]].append(got.body)
    assert len(messages) == 3
    assert all(first == second for first, second in messages.values())


def test_a_task_that_is_touched_again_rings_again_under_the_same_id(house: House) -> None:
    task = ended(house.cloud, "failed", INSIDE)
    house.sweep()
    house.cloud.change(task, updated_at=START + 40 * MINUTE)
    house.clock.now += HOUR
    house.sweep()
    assert house.told == [(task, "failed")] * 2
    assert len({got.headers["webhook-id"] for got in house.receiver.requests if got.path == "/bell"}) == 1


def test_an_overdue_task_rings_every_day_under_a_new_id(house: House) -> None:
    task = ended(house.cloud, "overdue", INSIDE)
    for _ in range(1 + 4 * 24 * 2):
        house.sweep()
        house.clock.now += 15 * MINUTE
    assert house.told == [(task, "overdue")] * 3
    assert len({got.headers["webhook-id"] for got in house.receiver.requests if got.path == "/bell"}) == 3


def test_a_sweep_that_makes_up_for_days_tells_an_overdue_task_once_and_as_a_tick_of_its_own_would(house: House) -> None:
    task = ended(house.cloud, "overdue", INSIDE - 2 * DAY)
    house.sweep(period="7d", lag=0, at=START + 7 * DAY)  # from the future, so now
    assert house.told == []
    house.clock.now = datetime(2026, 11, 26, tzinfo=UTC)
    house.sweep(period="7d", lag=0)
    house.sweep(at=house.clock.now - 2 * HOUR)
    house.sweep(at=datetime(2026, 11, 25, 8, 0, tzinfo=UTC))
    assert house.told == [(task, "overdue")] * 2
    ids = [got.headers["webhook-id"] for got in house.receiver.requests if got.path == "/bell"]
    assert ids[0] == ids[1]


def test_a_task_that_runs_is_left_alone_even_where_somebody_wants_to_hear_of_it(
    settle: Settle, still: Cloud, tmp_path: Path
) -> None:
    config = tmp_path / "vaultbell.yaml"
    config.write_text("outcomes: {ring: [running]}\nroutes: [{channels: [webhook]}]\n")
    house = settle(VAULTBELL_CONFIG=str(config))
    task = ended(still, "running", INSIDE, ended_at=...)
    ended(still, "running", AFTER, ended_at=...)
    assert house.handle({"events": [{"sweep": {}}]}).status == 200
    assert house.told == [(task, "running")]


def test_what_runs_is_found_however_old_and_what_has_ended_within_the_history(house: House) -> None:
    since = minutes_ago(30) - 7 * DAY
    running = ended(house.cloud, "overdue", INSIDE - 40 * DAY)
    kept = ended(house.cloud, "failed", INSIDE, created_at=since)
    ended(house.cloud, "failed", INSIDE, created_at=since - 2 * MINUTE)
    house.sweep()
    assert sorted(house.told) == sorted([(running, "overdue"), (kept, "failed")])


def test_a_task_that_does_not_say_its_id_rings_all_the_same(house: House) -> None:
    nameless = {"status": "failed", "updated_at": INSIDE.isoformat(), "operation_type": "backup", "vault_id": "v1"}
    rows = [nameless, {**nameless, "vault_id": "v2"}]
    house.cloud.fault("list", "status", status=200, body={"operation_logs": rows, "count": 2}, after=2)
    assert house.sweep().status == 200
    assert house.told == [(None, "failed")] * 2


def test_a_tick_from_the_future_rings_for_nothing_that_has_not_come(house: House) -> None:
    ended(house.cloud, "overdue", START + HOUR)
    at_the_end = ended(house.cloud, "failed", INSIDE)
    report = house.sweep(START + 2 * HOUR)
    assert house.told == [(at_the_end, "failed")]
    assert report.swept
    assert report.swept.end == minutes_ago(15)


# what is read, and in which turn


def test_the_bad_ones_are_read_by_status_then_their_past_and_then_all_over_the_same_time(house: House) -> None:
    ended(house.cloud, "failed", INSIDE, resource_id="ecs-1")
    house.sweep()
    since = "2026-11-16T07:30:00Z"
    assert [(query.get("status"), query.get("start_time"), query.get("resource_id")) for query in house.lists] == [
        ("running", None, None),
        ("waiting", None, None),
        ("failed", since, None),
        ("timeout", since, None),
        ("skipped", since, None),
        (None, None, "ecs-1"),
        (None, since, None),
    ]


def test_a_lookback_reads_as_far_back_as_it_covers(settle: Settle, still: Cloud) -> None:
    house = settle(VAULTBELL_SWEEP_LOOKBACK="4", VAULTBELL_SWEEP_HISTORY="1h")
    wanted = {ended(still, "failed", minutes_ago(number)) for number in (75, 60, 16)}
    ended(still, "failed", minutes_ago(76))
    house.sweep()
    assert {task for task, _ in house.told} == wanted
    assert {query.get("start_time") for query in house.lists} == {None, "2026-11-23T05:45:00Z"}


def test_what_is_bad_by_its_status_rings_in_every_project_before_anything_else_is_read(
    settle: Settle, still: Cloud
) -> None:
    reads: list[int] = []
    for project in (still.project_id, OTHER):
        ended(still, "failed", INSIDE, project_id=project)
        ended(still, "partial", INSIDE, project_id=project)

    def take(*_: object) -> Answer:
        reads.append(still.counts["list"])
        return Answer(200, {}, b"")

    with Server(take) as hook:
        house = settle(VAULTBELL_PROJECTS=f"{still.project_id},{OTHER}", VAULTBELL_WEBHOOK_URL=hook.url)
        assert house.sweep().status == 200
    assert reads == [11, 12, 15, 16]  # each after one more list, for its past


def test_a_long_list_is_not_read_to_its_end_before_the_first_ring(settle: Settle, still: Cloud) -> None:
    reads: list[int] = []
    still.fill(10_000, age=8 * 60, every=60)
    for turn in range(20):
        ended(still, BAD[turn % 5], minutes_ago(16 + turn / 2))

    def take(*_: object) -> Answer:
        reads.append(still.counts["list"])
        return Answer(200, {}, b"")

    with Server(take) as hook:
        assert settle(VAULTBELL_WEBHOOK_URL=hook.url).sweep().status == 200
    assert len(reads) == 20
    assert reads[0] <= 6


# lists that move, in any order, with pages of any size


@pytest.mark.parametrize("order", get_args(Order))
@pytest.mark.parametrize("time_field", get_args(TimeField))
def test_no_order_and_no_filter_hides_a_bad_task(house: House, order: Order, time_field: TimeField) -> None:
    cloud = house.cloud
    cloud.order, cloud.time_field, cloud.page_most = order, time_field, 12
    wanted = {(ended(cloud, name, minutes_ago(16 + turn)), name) for turn in range(4) for name in (*BAD, "overdue")}
    good = [ended(cloud, "succeeded", minutes_ago(turn)) for turn in range(40)]

    def meanwhile() -> None:
        house.clock.now += timedelta(milliseconds=1)
        good.append(ended(cloud, "succeeded", house.clock.now))
        cloud.remove(good.pop(0))
        cloud.change(good[-2])

    cloud.between_pages = meanwhile
    assert house.sweep().status == 200
    assert Counter(house.told) == Counter(wanted)


@pytest.mark.parametrize(
    ("says", "page_most"),
    [
        (lambda _said: {}, 1000),
        (lambda _said: {}, 7),
        (lambda said: {**said, "count": 0}, 1000),
        (lambda said: {**said, "count": 0}, 7),
        (lambda said: {**said, "count": 10**6}, 1000),
        (lambda said: {**said, "count": 10**6}, 7),
        (lambda said: {**said, "count": None, "limit": 1000}, 1000),
        (lambda said: {**said, "count": "many", "limit": 0}, 7),
        (lambda said: {"count": said["count"]}, 7),
        (lambda said: {**said, "limit": 10**6}, 7),
    ],
)
def test_whatever_the_list_says_of_itself_the_bad_are_told(
    house: House, says: Callable[[dict[str, Any]], dict[str, Any]], page_most: int
) -> None:
    house.cloud.says, house.cloud.page_most = says, page_most
    wanted = {(ended(house.cloud, name, INSIDE), name) for _ in range(8) for name in BAD}
    assert house.sweep().status == 200
    assert Counter(house.told) == Counter(wanted)


def test_what_is_no_task_of_the_project_is_a_fault_and_hides_no_other(house: House) -> None:
    rows = [
        {"id": "1", "status": "failed", "updated_at": INSIDE.isoformat(), "project_id": OTHER},
        None,
        "failed",
        {},
        {"id": "2", "status": "failed", "updated_at": INSIDE.isoformat(), "project_id": house.cloud.project_id},
    ]
    house.cloud.fault("list", "status", status=200, body={"operation_logs": rows, "count": 5}, after=2)
    report = house.sweep()
    assert report.status == 503
    assert house.told == [("2", "failed")]
    assert house.beats == 0


@pytest.mark.parametrize(
    "body",
    [{"operation_logs": [], "count": 0}, {"error_code": "BackupService.6500", "error_msg": "no such operation log"}],
)
def test_a_404_that_is_the_apis_own_is_an_empty_list(house: House, body: dict[str, object]) -> None:
    task = ended(house.cloud, "failed", INSIDE)
    house.cloud.fault("list", "status", status=404, body=body, times=2)
    assert house.sweep().status == 200
    assert house.told == [(task, "failed")]


# what goes wrong


def test_a_refused_list_rings_unverified_once_and_the_other_projects_are_swept(
    two_projects: House, still: Cloud
) -> None:
    task = ended(still, "failed", INSIDE, project_id=OTHER)
    ended(still, "failed", INSIDE)
    still.fault("list", "status", status=403, body={"error_code": "APIGW.0302", "error_msg": "no"}, times=5)
    still.fault("list", "status", status=403, body={"error_code": "APIGW.0302", "error_msg": "no"}, times=1, after=6)
    report = two_projects.sweep(START)
    assert report.status == 500
    assert sorted(outcome for _, outcome in two_projects.told) == ["failed", "unverified"]
    assert [(result.project_id, result.outcome, result.status) for result in report.results] == [
        (still.project_id, "unverified", 500),
        (OTHER, "failed", 200),
    ]
    assert (task, "failed") in two_projects.told
    assert two_projects.receiver.requests[0].json["timestamp"] == "2026-11-23T08:00:00Z"
    assert two_projects.beats == 0
    assert report.swept


def test_refused_credentials_ring_unverified(house: House, still: Cloud) -> None:
    still.users[still.domain, still.user_name] = "another password"
    report = house.sweep()
    assert report.status == 500
    assert [outcome for _, outcome in house.told] == ["unverified"]
    assert house.receiver.requests[0].json["timestamp"] == "2026-11-23T06:00:00Z"
    assert house.beats == 0
    house.sweep()
    assert len(house.told) == 1


def test_a_list_that_is_refused_for_one_status_is_read_for_the_others(house: House) -> None:
    task = ended(house.cloud, "failed", INSIDE)
    house.cloud.fault("list", "status", status=400, body={"error_code": "BackupService.9900"}, after=1)
    report = house.sweep()
    assert report.status == 500
    assert (task, "failed") in house.told


def test_a_fault_that_may_pass_stops_neither_the_other_lists_nor_the_other_projects(
    two_projects: House, still: Cloud
) -> None:
    ids = {ended(still, "failed", INSIDE, project_id=project) for project in (still.project_id, OTHER)}
    fault = still.fault("list", "status", status=502, times=3)
    report = two_projects.sweep()
    assert fault.times == 0
    assert report.status == 503
    assert {task for task, _ in two_projects.told} == ids
    assert [result.status for result in report.results if result.project_id == OTHER] == [200]
    assert two_projects.beats == 0
    assert two_projects.sweep().status == 200
    assert two_projects.beats == 1


def test_a_cloud_that_asks_for_a_long_rest_is_left_alone_and_the_event_comes_when_it_said(
    two_projects: House, still: Cloud
) -> None:
    task = ended(still, "failed", INSIDE, project_id=OTHER)
    still.fault("list", "status", status=429, headers={"Retry-After": "900"})
    report = two_projects.sweep()
    assert (report.status, report.retry_after) == (503, 900)
    assert two_projects.told == [(task, "failed")]
    asked = Counter(request.path.split("/")[2] for request in still.requests if request.path.endswith("-logs"))
    assert asked == {still.project_id: 1, OTHER: 6 + 1}  # one for the past of what rang


def test_a_budget_that_is_spent_half_way_is_handed_back_and_the_repeat_repeats(house: House) -> None:
    bad, partial = ended(house.cloud, "failed", INSIDE), ended(house.cloud, "partial", INSIDE)
    house.cloud.fault("list", "hang", after=6)
    report = house.sweep(seconds=1.0)
    assert report.status == 503
    assert house.told == [(bad, "failed")]
    house.cloud.heal()
    assert house.sweep().status == 200
    assert sorted(house.told) == sorted([(bad, "failed"), (partial, "partial")])


def test_time_spent_with_one_project_leaves_time_for_the_others_and_to_tell(two_projects: House, still: Cloud) -> None:
    task = ended(still, "failed", INSIDE, project_id=OTHER)
    still.fault("list", "hang")
    report = two_projects.sweep(seconds=2.0)
    assert report.status == 503
    assert two_projects.told == [(task, "failed")]


def test_a_list_without_an_end_ends_with_the_budget_and_what_was_found_is_told(house: House) -> None:
    task = ended(house.cloud, "failed", INSIDE)
    house.cloud.page_most = 5
    house.cloud.between_pages = lambda: house.cloud.fill(6)
    report = house.sweep(seconds=1.5)
    assert report.status == 503
    assert house.told == [(task, "failed")]
    assert house.beats == 0


def test_when_the_bad_ones_could_not_be_told_the_rest_is_still_read_and_told(settle: Settle, still: Cloud) -> None:
    house = settle()
    failed, partial = ended(still, "failed", INSIDE), ended(still, "partial", INSIDE)
    house.receiver.answer("/bell", 503, {"Retry-After": "900"}, times=1)
    report = house.sweep()
    assert (report.status, report.retry_after) == (503, 900)
    assert house.told == [(failed, "failed"), (partial, "partial")]
    assert [(result.operation_log_id, result.action) for result in report.results] == [
        (failed, "retry"),
        (partial, "notified"),
    ]
    assert house.beats == 0
    # the repeat tells those alone who are still owed something
    assert house.sweep().status == 200
    assert house.told[2:] == [(failed, "failed")]
    assert house.beats == 1


def test_a_channel_that_is_silent_leaves_time_to_read_on_and_to_tell_others(
    settle: Settle, still: Cloud, receiver: Receiver, tmp_path: Path
) -> None:
    config = tmp_path / "vaultbell.yaml"
    config.write_text(
        f"channels: {{silent: {{type: webhook, url: {receiver.url}/silent}}}}\n"
        "routes: [{match: {outcome: failed}, channels: [silent]}, {channels: [webhook]}]\n"
    )
    house = settle(VAULTBELL_CONFIG=str(config))
    receiver.answer("/silent", kind="hang")
    ended(still, "failed", INSIDE)
    partial = ended(still, "partial", INSIDE)
    report = house.sweep(seconds=1.5)
    assert report.status == 503
    assert house.told == [(partial, "partial")]


def test_a_channel_that_refuses_for_good_is_no_heartbeat(house: House) -> None:
    ended(house.cloud, "failed", INSIDE)
    house.receiver.answer("/bell", 410)
    assert house.sweep().status == 424
    assert house.beats == 0


def test_the_heartbeat_is_the_sweeps_own_whatever_else_is_in_the_batch(house: House) -> None:
    batch = {"events": [{"sweep": {}}, {"operation_log_id": "not an id"}, {"sweep": {"at": INSIDE.isoformat()}}]}
    assert house.handle(batch).status == 400
    assert house.beats == 2
    batch["events"][0] = {"sweep": {"project_id": "e" * 32}}
    assert house.handle(batch).status == 403
    assert house.beats == 3


def test_no_heartbeat_without_a_sweep(house: House) -> None:
    task = ended(house.cloud, "succeeded", INSIDE)
    assert house.handle({"operation_log_id": task}).status == 200
    assert house.beats == 0


def test_a_heartbeat_that_fails_costs_nothing(house: House) -> None:
    house.receiver.answer("/alive", 500)
    assert house.sweep().status == 200
    assert house.beats == 1


def test_a_sweep_can_be_of_one_project_and_only_of_an_allowed_one(two_projects: House, still: Cloud) -> None:
    task = ended(still, "failed", INSIDE, project_id=OTHER)
    ended(still, "failed", INSIDE)
    assert two_projects.sweep(project_id=OTHER).status == 200
    assert two_projects.told == [(task, "failed")]
    report = two_projects.sweep(project_id="e" * 32)
    assert report.status == 403
    assert report.swept is None


def test_very_many_bad_tasks_are_each_told_once_and_not_kept_until_all_are_read(
    settle: Settle, still: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "AT_A_TIME", 50)
    times = {"created_at": INSIDE - HOUR, "started_at": INSIDE, "updated_at": INSIDE, "ended_at": INSIDE}
    still.fill(180, every=0.01, status="failed", **times)
    still.page_most = 40
    reads: list[int] = []
    tasks: list[str] = []

    def take(_method: str, _path: str, _query: str, _headers: object, body: bytes) -> Answer:
        reads.append(still.counts["list"])
        tasks.append(json.loads(body)["data"]["operation_log"]["id"])
        return Answer(200, {}, b"")

    with Server(take) as hook:
        report = settle(VAULTBELL_WEBHOOK_URL=hook.url).sweep()
    assert report.status == 200
    assert len(report.results) == len(set(tasks)) == len(tasks) == 180
    assert reads[0] < reads[60] < reads[110] < reads[160]


def test_a_cloud_inside_the_process_is_not_read_for_ever_either(clock: Clock, receiver: Receiver) -> None:
    cloud = Cloud(now=lambda: clock.now)
    cloud.token_life = timedelta(days=3650)
    cloud.page_most = 5
    cloud.between_pages = lambda: cloud.fill(6)
    with mock_cloud(cloud):
        bell = compose.app(settings.load({**cloud.env(), "VAULTBELL_WEBHOOK_URL": receiver.url})).bell
        house = House(clock, cloud, receiver, replace(bell, now=cloud.now))
        assert house.sweep(seconds=0.5).status == 503


# the past, over two weeks


@pytest.mark.parametrize("own_most", [50, 3])
@pytest.mark.parametrize("order", ["created_desc", "shuffled"])
def test_a_fleet_is_told_its_past_as_its_own_ledger_has_it(
    settle: Settle, still: Cloud, monkeypatch: pytest.MonkeyPatch, own_most: int, order: Order
) -> None:
    monkeypatch.setattr(history, "OWN_MOST", own_most)
    still.order = order
    house = settle()
    random = Random(7)  # noqa: S311 - the same fleet in every run
    # failures in a row, and the last good backup
    servers: dict[str, tuple[int, str | None]] = {f"ecs-{number}": (0, None) for number in range(8)}
    ledger: dict[str, tuple[int, str | None]] = {}
    for day in range(14):
        house.clock.now = START + day * DAY
        for number, (server, (row, good)) in enumerate(servers.items()):
            outcome = random.choice([*BAD, "succeeded", "succeeded"]) if number else "failed"  # the first never
            at = house.clock.now - (10 + number) * HOUR
            task = ended(still, outcome, at, resource_id=server, operation_type="backup", error_code="", fail_count=...)
            if outcome == "partial":
                still.change(task, error_info={"code": "BackupService.0001", "message": "not all"}, updated_at=at)
            servers[server] = (0, at.isoformat().replace("+00:00", "Z")) if outcome == "succeeded" else (row + 1, good)
            ledger[task] = servers[server]
        house.clock.now += 5 * MINUTE
        assert house.sweep(period="1d", lag=0).status == 200
    told = {data["operation_log"]["id"]: data for data in house.data}
    bad = {task: known for task, known in ledger.items() if known[0]}
    assert told.keys() == bad.keys()
    for task, (row, good) in bad.items():
        found = told[task]["failures_in_row"], told[task]["last_good_at"]
        if found != (row, good):  # a list that goes back a week says no more than it knows
            assert (own_most, found) == (3, (min(row, 7), None))
            assert f"at least {found[0]} failures in a row; no good backup in the 7 d" in told[task]["summary"]


# a timer over many periods


@dataclass(frozen=True)
class Story:
    """A timer's ticks as (time, how often), what it sweeps, and how the cloud lists it."""

    period: timedelta
    lag: timedelta
    lookback: int
    ticks: list[tuple[datetime, int]]
    order: Order
    time_field: TimeField
    time_form: TimeForm
    page_most: int
    tasks: list[tuple[str, float]]  # outcome, and where in the whole time it came about

    @property
    def steady(self) -> bool:
        """One tick in each period, away from the moment at which windows change."""
        phases = [(at - self.lag - datetime.fromtimestamp(0, UTC)) % self.period for at, _ in self.ticks]
        return self.lookback == 1 and min(phases) >= MINUTE and all(times == 1 for _, times in self.ticks)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    period = draw(st.timedeltas(3 * MINUTE, 3 * DAY))
    lag = draw(st.timedeltas(timedelta(), 2 * HOUR))
    first = START + draw(st.timedeltas(timedelta(), period))
    is_steady = draw(st.booleans())
    lost: frozenset[int] = frozenset() if is_steady else draw(st.frozensets(st.integers(1, 5), max_size=2))
    jitter = st.just(timedelta()) if is_steady else st.timedeltas(-MINUTE / 2, MINUTE / 2)
    ticks = [
        (first + turn * period + draw(jitter), 1 if is_steady else draw(st.integers(1, 2)))
        for turn in range(7)
        if turn not in lost
    ]
    return Story(
        period,
        lag,
        1 + len(lost),
        ticks,
        draw(st.sampled_from(get_args(Order))),
        draw(st.sampled_from(get_args(TimeField))),
        draw(st.sampled_from(get_args(TimeForm))),
        draw(st.sampled_from([4, 10, 1000])),
        draw(st.lists(st.tuples(st.sampled_from([*BAD, "overdue", "succeeded"]), st.floats(0, 1)), max_size=16)),
    )


def test_each_bad_task_rings_whatever_the_timer_and_the_list_do() -> None:
    clock = Clock()
    cloud = Cloud(now=lambda: clock.now)
    cloud.token_life = timedelta(days=3650)
    with serve(cloud), Receiver() as receiver:
        bell = compose.app(settings.load({**cloud.env(), "VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"})).bell
        steady = 0

        @examples(max_examples=40, deadline=None)
        @given(stories())
        def check(story: Story) -> None:
            nonlocal steady
            steady += story.steady
            _live_through(story, House(clock, cloud, receiver, replace(bell, now=cloud.now)))

        check()
        assert steady > 5


def _live_through(story: Story, house: House) -> None:
    cloud = house.cloud
    cloud.reset()
    house.receiver.requests.clear()
    cloud.order, cloud.time_field, cloud.time_form = story.order, story.time_field, story.time_form
    cloud.page_most = story.page_most
    rules = settings.SweepRules.model_construct(period=story.period, lag=story.lag, lookback=story.lookback)
    house.bell = replace(house.bell, sweeps=rules)
    # from within the window that the first tick leaves to the next, to within the one that the last covers
    begin, end = story.ticks[0][0] - story.lag, story.ticks[-1][0] - story.lag - story.period
    begin += (START - begin) % timedelta(milliseconds=1)  # the cloud's times are cut to whole ones
    coming = sorted((begin + (end - begin) * part, outcome) for outcome, part in story.tasks)
    wanted = {}
    for at, times in story.ticks:
        house.clock.now = at
        while coming and coming[0][0] <= at:
            moment, outcome = coming.pop(0)
            wanted[ended(cloud, outcome, moment)] = outcome
        for _ in range(times):
            assert house.sweep(at).status == 200
    bad = {task: outcome for task, outcome in wanted.items() if outcome != "succeeded"}
    assert dict(house.told) == bad
    messages: dict[str, list[bytes]] = defaultdict(list)
    for got in house.receiver.requests:
        messages[got.headers["webhook-id"]].append(got.body)
    assert all(len(set(bodies)) == 1 for bodies in messages.values())
    if story.steady:
        assert all(len(bodies) == 1 for bodies in messages.values())
