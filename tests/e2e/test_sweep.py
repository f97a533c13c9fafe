"""A timer at the door of the running function, and the command line: what ended badly is told, once an id."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from serving import Running, serving
from standin import Cloud, serve
from standin.sinks import Receiver
from vaultbell import cli

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
PERIOD, LAG, LOOKBACK = 15 * MINUTE, 5 * MINUTE, 3
OUTCOMES = ("failed", "timed_out", "skipped", "partial", "unknown", "overdue")
OTHER = "f" * 32


@dataclass(frozen=True)
class Function:
    """The running function, its cloud and its receiver."""

    running: Running
    cloud: Cloud
    receiver: Receiver

    @property
    def told(self) -> dict[str, list[bytes]]:
        """The bodies that came, by the id of the message."""
        found: dict[str, list[bytes]] = defaultdict(list)
        for got in self.receiver.requests:
            if got.path == "/bell":
                found[got.headers["webhook-id"]].append(got.body)
        return found

    @property
    def tasks(self) -> list[str]:
        """The tasks that were told, sorted."""
        return sorted(told_task(body) for bodies in self.told.values() for body in bodies)


def told_task(body: bytes) -> str:
    return str(json.loads(body)["data"]["operation_log"]["id"])


def settings(cloud: Cloud, receiver: Receiver) -> dict[str, str]:
    return {
        **cloud.env(),
        "VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell",
        "VAULTBELL_HEARTBEAT_URL": f"{receiver.url}/alive",
        "VAULTBELL_SWEEP_LOOKBACK": str(LOOKBACK),
    }


@pytest.fixture(scope="module")
def started() -> Iterator[Function]:
    cloud = Cloud()
    with serve(cloud), Receiver() as receiver, serving(settings(cloud, receiver)) as running:
        yield Function(running, cloud, receiver)


@pytest.fixture
def function(started: Function) -> Function:
    started.cloud.reset()
    started.receiver.requests.clear()
    return started


def ended(cloud: Cloud, outcome: str, at: datetime, **fields: Any) -> str:  # noqa: ANN401 - as the cloud takes them
    """A task of this outcome that came about at that time; its id."""
    times = {"created_at": at - HOUR, "started_at": at - HOUR, "updated_at": at, "ended_at": at}
    if outcome == "overdue":
        times = {"created_at": at - DAY, "started_at": at - DAY, "updated_at": at - HOUR}
    return str(cloud.outcome(outcome, **{**times, **fields})["id"])


# the door


def test_a_sweep_is_answered_with_what_it_covered_and_told_and_a_task_that_runs_is_left_alone(
    function: Function,
) -> None:
    now = datetime.now(UTC)
    wanted = sorted(ended(function.cloud, outcome, now - 30 * MINUTE) for outcome in OUTCOMES)
    function.cloud.outcome("running", age=1800)
    answer = function.running.post({"sweep": {}})
    report = answer.json()
    assert answer.status_code == 200
    assert sorted(result["operation_log_id"] for result in report["results"]) == wanted == function.tasks
    assert {result["action"] for result in report["results"]} == {"notified"}
    begin, end = (datetime.fromisoformat(report["swept"][name]) for name in ("from", "until"))
    assert end - begin in (LOOKBACK * PERIOD, (LOOKBACK + 1) * PERIOD)  # the one more just after a window's end
    assert now - LAG - PERIOD < end <= now
    assert report["swept"]["tasks"] == 7 + 5  # the whole list, and what is read by its status
    (beat,) = [got for got in function.receiver.requests if got.path == "/alive"]
    assert (beat.method, beat.body) == ("GET", b"")


@pytest.mark.parametrize("binary", [True, False])
def test_a_cloudevent_sweeps_the_window_of_its_own_time_and_is_answered_204(function: Function, binary: bool) -> None:
    now = datetime.now(UTC)
    task = ended(function.cloud, "failed", now - 5 * HOUR)
    ended(function.cloud, "failed", now - 30 * MINUTE)
    time = (now - 5 * HOUR + PERIOD + LAG).isoformat()
    attributes = {"specversion": "1.0", "id": "1", "source": "/ping", "type": "dev.knative.sources.ping", "time": time}
    if binary:
        headers = {"Content-Type": "application/json", **{f"ce-{name}": text for name, text in attributes.items()}}
        answer = function.running.post({"sweep": {}}, headers=headers)
    else:
        event = json.dumps({**attributes, "data": {"sweep": {}}})
        answer = function.running.post(data=event, headers={"Content-Type": "application/cloudevents+json"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert function.tasks == [task]


def test_a_tick_of_functiongraphs_timer_sweeps_the_window_of_its_own_time(function: Function) -> None:
    now = datetime.now(UTC)
    amid = now.replace(minute=now.minute // 5 * 5 + 2) - 5 * HOUR  # far from a window's end
    task = ended(function.cloud, "failed", amid)
    ended(function.cloud, "failed", now - 30 * MINUTE)
    tick = {
        "version": "v1.0",
        "time": (amid + 10 * MINUTE).isoformat(),
        "trigger_type": "TIMER",
        "trigger_name": "every-quarter",
        "user_event": '{"sweep": {"period": "5m", "lag": 0}}',
    }
    answer = function.running.post(tick)
    assert answer.status_code == 200
    assert function.tasks == [task]
    begin, end = (datetime.fromisoformat(answer.json()["swept"][name]) for name in ("from", "until"))
    assert end - begin == LOOKBACK * 5 * MINUTE


@pytest.mark.parametrize(
    ("sweep", "status"),
    [({"loopback": 2}, 400), ({"period": "soon"}, 400), ({"at": "soon"}, 400), ({"project_id": "e" * 32}, 403)],
)
def test_a_sweep_that_cannot_be_meant_is_refused(function: Function, sweep: dict[str, object], status: int) -> None:
    answer = function.running.post({"sweep": sweep})
    assert answer.status_code == status
    assert answer.json().keys() == {"error"}
    assert function.cloud.counts["list"] == 0
    assert function.receiver.requests == []


def test_the_log_has_a_line_of_the_sweep(function: Function) -> None:
    function.running.post({"sweep": {"at": "2026-01-01T00:06:00Z"}})
    line = function.running.lines()[-1]
    assert line["swept"] == {"from": "2025-12-31T23:15:00Z", "until": "2026-01-01T00:00:00Z", "tasks": 0}


def test_a_fleet_is_swept_by_a_timer_that_loses_and_repeats_ticks(function: Function) -> None:
    now = datetime.now(UTC)
    function.cloud.fill(20_000, every=20)
    first = now - 4 * PERIOD
    # from the window of the first tick to that of the last, which makes up for the two that are lost
    wanted = {
        ended(function.cloud, OUTCOMES[turn % 6], first - LAG - PERIOD + turn / 60 * 3 * PERIOD) for turn in range(60)
    }
    for tick in (first, first + 3 * PERIOD, first + 3 * PERIOD):
        answer = function.running.post({"sweep": {"at": tick.isoformat()}})
        assert answer.status_code == 200
        assert answer.json()["swept"]["tasks"] >= 20_000
    assert set(function.tasks) == wanted
    assert len(function.told) == len(wanted)  # one id each, however often it was told
    assert all(len(set(bodies)) == 1 for bodies in function.told.values())


# the command line


class Terminal(io.StringIO):
    """A standard error that somebody looks at."""

    def isatty(self) -> bool:
        return True


@dataclass
class Shell:
    """`vaultbell sweep` with the settings of a function, in this process."""

    cloud: Cloud
    receiver: Receiver
    capsys: pytest.CaptureFixture[str]

    def sweep(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        status = cli.main(["sweep", *arguments])
        output, error = self.capsys.readouterr()
        return status, output, error

    @property
    def told(self) -> list[str]:
        return sorted(told_task(got.body) for got in self.receiver.requests if got.path == "/bell")


@pytest.fixture
def shell(
    cloud: Cloud, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    cloud.projects[OTHER] = "other"
    for name, value in settings(cloud, receiver).items():
        monkeypatch.setenv(name, value)
    return Shell(cloud, receiver, capsys)


def test_the_command_looks_over_exactly_that_time_up_to_now_and_rings(shell: Shell) -> None:
    now = datetime.now(UTC)
    wanted = sorted(ended(shell.cloud, "failed", now - age) for age in (2 * MINUTE, HOUR, 2 * HOUR - MINUTE))
    ended(shell.cloud, "failed", now - 2 * HOUR - MINUTE)
    status, output, _ = shell.sweep("--since", "2h", "--json")
    assert status == 1
    assert shell.told == wanted
    swept = json.loads(output)["swept"]
    begin, end = (datetime.fromisoformat(swept[name]) for name in ("from", "until"))
    assert end - begin == 2 * HOUR
    assert now - timedelta(seconds=1) <= end <= datetime.now(UTC)
    assert any(got.path == "/alive" for got in shell.receiver.requests)


def test_without_a_time_the_command_does_what_a_tick_would(shell: Shell) -> None:
    task = ended(shell.cloud, "failed", datetime.now(UTC) - 30 * MINUTE)
    status, output, error = shell.sweep()
    assert (status, error) == (1, "")
    assert shell.told == [task]
    assert task in output
    assert "→ webhook" in output
    assert "1 rang" in output


def test_a_dry_run_prints_what_would_ring_and_tells_nobody(shell: Shell) -> None:
    task = ended(shell.cloud, "partial", datetime.now(UTC) - HOUR, resource_name="ECS-0001")
    status, output, _ = shell.sweep("--since", "24h", "--dry-run")
    assert status == 1
    assert shell.receiver.requests == []
    assert all(words in output for words in (task, "partial", "→ webhook", "1 would ring"))
    status, output, _ = shell.sweep("--since", "24h", "--dry-run", "--json")
    (would,) = json.loads(output)["results"]
    assert (would["operation_log_id"], would["channels"]) == (task, ["webhook"])
    assert "action" not in would


def test_a_rehearsal_says_how_often_a_day_each_channel_would_ring_and_by_which_route(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "vaultbell.yaml"
    config.write_text(REHEARSED.replace("{url}", shell.receiver.url))
    monkeypatch.delenv("VAULTBELL_WEBHOOK_URL")
    monkeypatch.setenv("VAULTBELL_CONFIG", str(config))
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for days in (3, 2, 1):  # the third in a row wakes somebody
        ended(shell.cloud, "failed", today - days * DAY + HOUR, resource_id="db", resource_name="db")
    good = ended(shell.cloud, "succeeded", today - DAY + 2 * HOUR, resource_id="db", resource_name="db")
    status, output, error = shell.sweep("--since", "5d", "--dry-run")
    assert (status, error, shell.receiver.requests) == (1, "", [])
    lines = output.splitlines()
    assert [line.rpartition(" → ")[2] for line in lines[:4]] == [
        "chat (route 2)",
        "chat (route 2)",
        "oncall (fallback: chat) (route 1)",
        "oncall",
    ]
    assert lines[0].startswith(f"{today - 3 * DAY + HOUR:%Y-%m-%d %H:%M} UTC  failed     ")
    assert "third failure in a row" in lines[2]
    assert good in lines[3]
    assert "succeeded: this closes" in lines[3]
    assert [line.split() for line in lines[5:14]] == [
        ["day", "rings", "chat", "oncall"],
        ["--------------", "-----", "----", "------"],
        *([f"{today - days * DAY:%Y-%m-%d}", f"{today - days * DAY:%a}", *row.split()] for days, row in TABLE.items()),
        ["in", "all", "4", "2", "2"],
    ]
    assert lines[14].split() == ["a", "day", "0.8", "0.4", "0.4"]
    status, output, _ = shell.sweep("--since", "5d", "--dry-run", "--json")
    report = json.loads(output)
    assert [(result["routes"], result["channels"]) for result in report["results"]] == [
        ([2], ["chat"]),
        ([2], ["chat"]),
        ([1], ["oncall"]),
        ([], ["oncall"]),
    ]
    assert report["days"][-2] == {"day": f"{today - DAY:%Y-%m-%d}", "rings": 2, "messages": {"oncall": 2}}


REHEARSED = """
channels:
  chat:   {type: webhook, url: "{url}/chat"}
  oncall: {type: webhook, url: "{url}/page", resolve: true}
routes:
  - match: {failures_in_row: ">=3"}
    channels: [oncall]
    fallback: chat
  - channels: [chat]
"""
TABLE = {5: "0 0 0", 4: "0 0 0", 3: "1 1 0", 2: "1 1 0", 1: "2 0 2", 0: "0 0 0"}


def test_a_picture_shows_a_line_a_resource_and_a_mark_a_task(shell: Shell, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    hostile = "<script>&\"' ]]> \x1b[2J \ufffe \ud800 \u202e" + "x" * 100
    for turn, outcome in enumerate(("failed", "succeeded", "partial")):
        ended(shell.cloud, outcome, now - (turn + 1) * HOUR, resource_id="evil", resource_name=hostile)
    ended(shell.cloud, "succeeded", now - HOUR, resource_id="db", resource_name="db-01")
    ended(shell.cloud, "overdue", now - HOUR, resource_id="db", resource_name="db-01")
    ended(shell.cloud, "failed", now - 30 * HOUR, resource_id="old", resource_name="old")
    file = tmp_path / "time.svg"
    assert shell.sweep("--since", "24h", "--dry-run", "--svg", str(file))[0] == 1
    svg = ElementTree.fromstring(file.read_text("utf-8"))  # noqa: S314 - it is our own
    space = "{http://www.w3.org/2000/svg}"
    names = [
        text.findtext(f"{space}title") for text in svg.iter(f"{space}text") if text.find(f"{space}title") is not None
    ]
    assert [str(name)[:9] for name in names] == ["<script>&", "db-01"]  # those first for which most would ring
    marks = [group.findtext(f"{space}title") or "" for group in svg.iter(f"{space}g")]
    assert len(marks) == 5
    assert sum("tells webhook" in mark for mark in marks) == 3
    assert "script" not in {element.tag.removeprefix(space) for element in svg.iter()}
    assert not set("\x1b\ufffe\ud800\u202e") & set(file.read_text("utf-8"))
    words = {text.text for text in svg.iter(f"{space}text")}
    assert {"succeeded", "partial", "failed", "overdue", "would have rung"} <= words
    assert not {"skipped", "timed_out"} & words
    assert shell.receiver.requests == []


def test_what_nobody_backs_up_is_rehearsed_too(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "vaultbell.yaml"
    config.write_text(REHEARSED.replace("{url}", shell.receiver.url) + 'watch: [{vault: "prod-*", max_age: 26h}]\n')
    monkeypatch.delenv("VAULTBELL_WEBHOOK_URL")
    monkeypatch.setenv("VAULTBELL_CONFIG", str(config))
    shell.cloud.vault("db-01", name="prod-daily", created_at=datetime.now(UTC) - 90 * DAY)
    status, output, _ = shell.sweep("--since", "3d", "--dry-run")
    (line,) = [line for line in output.splitlines() if "  stale " in line]
    assert (status, line.endswith(" → chat (route 2)"), shell.receiver.requests) == (1, True, [])
    (result,) = json.loads(shell.sweep("--since", "3d", "--dry-run", "--json")[1])["results"]
    assert (result["outcome"], result["channels"]) == ("stale", ["chat"])


def test_a_picture_is_of_a_rehearsal_alone_and_has_to_be_written_somewhere(shell: Shell, tmp_path: Path) -> None:
    status, _, error = shell.sweep("--svg", str(tmp_path / "time.svg"))
    assert (status, "--dry-run" in error) == (2, True)
    status, _, error = shell.sweep("--dry-run", "--svg", str(tmp_path / "none" / "time.svg"))
    assert (status, error) == (2, "vaultbell: the picture cannot be written: No such file or directory\n")


def test_what_cannot_be_read_is_told_in_a_rehearsal_too(shell: Shell) -> None:
    task = ended(shell.cloud, "failed", datetime.now(UTC) - HOUR)
    shell.cloud.fault("list", "status", None, status=403, after=5)
    status, output, error = shell.sweep("--since", "24h", "--dry-run")
    assert (status, task in output, "403" in error) == (3, True, True)
    shell.cloud.heal()
    shell.cloud.fault("list", "status", None, status=403)
    status, output, _ = shell.sweep("--since", "24h", "--dry-run", "--json")
    assert (status, json.loads(output)["results"][0]["outcome"]) == (3, "unverified")
    assert shell.receiver.requests == []


def test_a_dry_run_needs_no_channel(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    task = ended(shell.cloud, "failed", datetime.now(UTC) - HOUR)
    monkeypatch.delenv("VAULTBELL_WEBHOOK_URL")
    status, output, _ = shell.sweep("--since", "24h", "--dry-run")
    assert status == 1
    assert task in output
    assert shell.sweep("--since", "24h")[0] == 2


def test_the_command_can_look_into_one_project(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULTBELL_PROJECTS", f"{shell.cloud.project_id},{OTHER}")
    task, _ = (
        ended(shell.cloud, "failed", datetime.now(UTC) - HOUR, project_id=project)
        for project in (OTHER, shell.cloud.project_id)
    )
    assert shell.sweep("--since", "24h", "--project", OTHER)[0] == 1
    assert shell.told == [task]


def test_the_commands_exit_status_tells_good_news_wrong_use_and_what_is_not_known(shell: Shell) -> None:
    ended(shell.cloud, "succeeded", datetime.now(UTC) - HOUR)
    assert shell.sweep("--since", "24h")[0] == 0
    for wrong in (("--since", "soon"), ("--since", "2y"), ("--project", "prod"), ("--project", "e" * 32)):
        status, _, error = shell.sweep(*wrong)
        assert status == 2
        assert error.startswith("vaultbell: ")
    task = ended(shell.cloud, "failed", datetime.now(UTC) - HOUR)
    shell.receiver.answer("/bell", 410, times=1)
    status, output, error = shell.sweep("--since", "24h")
    assert (status, error) == (3, "")
    (line,) = (line for line in output.splitlines() if task in line)
    assert line.endswith("[undeliverable: refused for good by: webhook]")
    assert "1 rang, 1 of them not everywhere" in output
    shell.cloud.fault("list", "status", status=403, times=None)
    status, _, error = shell.sweep("--since", "24h")
    assert status == 3
    assert "403" in error


def test_a_long_look_shows_how_far_it_has_come_on_a_terminal_alone(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.cloud.fill(2_500)
    assert shell.sweep("--since", "24h")[2] == ""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert shell.sweep("--since", "24h", "--json")[0] == 0
    shown = terminal.getvalue().split("\r")
    assert "1,000 of 2,500 tasks read" in shown[1]
    assert any("2,500 of 2,500 tasks read" in line and "[" + "#" * 30 + "]" in line for line in shown)
    assert shown[-1] == ""
    assert shown[-2].strip() == ""
