"""`vaultbell explain`, as a user runs it: what it says of an event, which way it goes, and that nobody hears."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from samples import EVENTS
from serving import FUNCTION, environment
from standin import Cloud
from standin.logs import seed_demo
from standin.server import Server
from standin.sinks import Receiver
from standin.state import PROJECT, Answer
from vaultbell import cli, compose, pipeline, settings
from vaultbell.budget import Budget
from vaultbell.events import Event

OTHER = "fedcba9876543210fedcba9876543210"
SUCCEEDED, PARTIAL, SKIPPED, FAILED, TIMED_OUT, RUNNING, OVERDUE, UNKNOWN, NOBODY = (
    f"00000000-0000-4000-8000-00000000000{digit}" for digit in "123456789"
)
SAVED = EVENTS / "operation-logs"
CONFIG = """
channels:
  ops:  {type: webhook, url: "{url}/ops"}
  page: {type: webhook, url: "{url}/page", resolve: true}
  chat: {type: webhook, url: "{url}/chat"}
routes:
  - match: {outcome: [skipped, partial], vault_name: "prod-*", resource_type: "*"}
    channels: [chat]
  - match: {severity: critical, resource_type: "OS::Nova::*"}
    channels: [page, ops]
    fallback: chat
    continue: true
  - match: {operation_type: backup}
    channels: [ops]
  - channels: [chat]
"""


@dataclass(frozen=True, slots=True)
class Done:
    status: int
    out: str
    err: str

    @property
    def rows(self) -> dict[str, str]:
        """What stands behind the words at the beginning of the lines; of several findings the last one's."""
        return {line[:9].strip(): line[10:] for line in self.out.splitlines() if line}

    @property
    def result(self) -> Any:  # noqa: ANN401 - JSON, looked into
        """The one finding of a JSON answer."""
        (result,) = json.loads(self.out)["results"]
        return result


Explain = Callable[..., Done]


@pytest.fixture
def env(cloud: Cloud, receiver: Receiver, tmp_path: Path) -> dict[str, str]:
    """What leads to the cloud, and to the file with the channels and routes."""
    seed_demo(cloud)
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.replace("{url}", receiver.url))
    return cloud.env() | {"VAULTBELL_CONFIG": str(config)}


@pytest.fixture
def explain(
    env: dict[str, str],
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Explain:
    """Runs the command in this process on an event, or on a file; at the end nobody has been told anything."""

    def run(event: object, *arguments: str, only: Mapping[str, str] | None = None, **changed: str) -> Done:
        path = event if isinstance(event, Path) else tmp_path / "event.json"
        if not isinstance(event, Path):
            path.write_bytes(event if isinstance(event, bytes) else json.dumps(event).encode())
        found = {name: value for name, value in (only if only is not None else env | changed).items() if value}
        monkeypatch.setattr("os.environ", environment(found))
        status = cli.main(["explain", str(path), *arguments])
        assert receiver.requests == []
        return Done(status, *capsys.readouterr())

    return run


def named(task_id: str, **more: object) -> dict[str, object]:
    """An event that names a task, old enough not to be asked for twice."""
    return {"operation_log_id": task_id, "time": (datetime.now(UTC) - timedelta(hours=1)).isoformat(), **more}


def saved(tmp_path: Path, answer: object) -> tuple[str, str]:
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(answer))
    return "--log", str(path)


# What a user reads


def test_a_failed_task_is_explained_from_its_event_to_those_who_would_hear(
    env: dict[str, str], cloud: Cloud, receiver: Receiver
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vaultbell.cli", "explain", "-"],
        env=environment(env) | {"PYTHONPATH": str(FUNCTION)},
        input=json.dumps(named(FAILED)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    event = Event(json.dumps(named(FAILED)).encode())
    pipeline.handle(compose.bell(settings.load(env)), event, Budget.of(20))
    told = next(got for got in receiver.requests if got.path == "/ops")
    name = cloud.get(FAILED)["extra_info"]["resource"]["name"]
    assert done.stdout.splitlines() == [
        "form      plain",
        "",
        f"task      {FAILED}",
        f"project   {PROJECT}",
        "outcome   failed (critical)",
        "evidence  The server is in a state in which it cannot be backed up. (BackupService.7102)",
        f"message   cbr.task.failed {told.headers['webhook-id']}",
        f"incident  {told.json['data']['incident']}",
        f"headline  Backup of {name} failed",
        "past      first failure; no good backup is on record",
        "route 1   not taken: outcome is failed, wanted skipped or partial; vault_name is vault-daily, wanted prod-*",
        "route 2   taken: page, ops (continue)",
        "route 3   taken: ops",
        "route 4   not asked",
        "tells     page (fallback: chat), ops (fallback: chat)",
    ]
    assert {got.path for got in receiver.requests} == {"/page", "/ops"}


def test_each_field_that_does_not_fit_is_named_with_what_was_wanted_and_what_there_is(explain: Explain) -> None:
    done = explain(named(SKIPPED))
    assert done.rows["route 1"] == "not taken: vault_name is vault-daily, wanted prod-*"
    assert done.rows["route 2"] == "not taken: severity is warning, wanted critical"
    assert (done.rows["route 3"], done.rows["tells"]) == ("taken: ops", "ops")
    done = explain(named(NOBODY))
    assert done.rows["route 2"].endswith(
        "severity is warning, wanted critical; resource_type is absent, wanted OS::Nova::*"
    )
    assert done.rows["route 3"] == "not taken: operation_type is absent, wanted backup"
    assert (done.status, done.rows["outcome"], done.rows["tells"]) == (1, "missing (warning)", "chat")


def test_what_does_not_ring_says_why(explain: Explain) -> None:
    done = explain(named(SUCCEEDED))
    assert (done.status, done.rows["rings"]) == (0, "no: outcomes.ring does not name its outcome")
    assert "route 1" not in done.rows
    done = explain(named(RUNNING))
    assert (done.status, done.rows["rings"]) == (0, "no: its event comes again until it has ended")
    assert done.rows["again in"] == "120 s"


def test_where_the_routes_tell_nobody_it_is_bad_news_still(explain: Explain, env: dict[str, str]) -> None:
    config = Path(env["VAULTBELL_CONFIG"])
    config.write_text('channels: {ops: {type: webhook, url: "http://127.0.0.1:9/"}}\nroutes: [{channels: []}]\n')
    done = explain(named(FAILED))
    assert (done.status, done.rows["route 1"], done.rows["tells"]) == (1, "taken: nobody", "nobody")


def test_without_any_channel_a_task_can_be_explained(explain: Explain) -> None:
    done = explain(named(FAILED), VAULTBELL_CONFIG="")
    assert (done.status, done.rows["outcome"], done.rows["tells"]) == (1, "failed (critical)", "nobody")


def test_the_channels_that_an_event_names_are_the_ones_told(explain: Explain) -> None:
    assert explain(named(FAILED, channels=["ops"])).rows["tells"] == "ops (fallback: chat)"


def test_a_success_that_closes_a_failure_says_who_hears_of_it(explain: Explain, cloud: Cloud) -> None:
    resource = "1dab32fa-ebf2-415a-ab0b-eabe6353bc86"
    hours = [datetime.now(UTC) - timedelta(hours=hour) for hour in (2, 1)]
    failed = cloud.outcome("failed", resource_id=resource, ended_at=hours[0])
    good = cloud.outcome("succeeded", resource_id=resource, ended_at=hours[1])
    done = explain(named(good["id"]), "--json")
    quiet, end = done.result["messages"]
    assert done.status == 1
    assert (quiet["type"], quiet["rings"], quiet["channels"]) == ("cbr.task.succeeded", False, [])
    assert (end["type"], end["rings"], end["channels"]) == ("cbr.task.resolved", True, ["page"])
    assert end["incident"] == explain(named(failed["id"]), "--json").result["messages"][0]["incident"]


def test_a_script_gets_json(explain: Explain) -> None:
    done = explain(named(FAILED), "--json")
    result = done.result
    assert (done.status, done.err) == (1, "")
    assert json.loads(done.out)["form"] == "plain"
    assert (result["operation_log_id"], result["outcome"], result["severity"]) == (FAILED, "failed", "critical")
    assert not {"action", "receipts", "owed"} & result.keys()
    (message,) = result["messages"]
    assert message["rings"] is True
    assert message["channels"] == ["page", "ops"]
    assert message["fallbacks"] == {"page": "chat", "ops": "chat"}
    assert [route["verdict"] for route in message["routes"]] == ["not taken", "taken", "taken", "not asked"]
    assert message["routes"][0] == {
        "route": 1,
        "verdict": "not taken",
        "misses": [
            {"field": "outcome", "wanted": ["skipped", "partial"], "had": "failed"},
            {"field": "vault_name", "wanted": ["prod-*"], "had": "vault-daily"},
        ],
        "channels": ["chat"],
        "fallback": None,
    }
    absent = explain(named(NOBODY), "--json").result["messages"][0]["routes"][2]["misses"]
    assert absent == [{"field": "operation_type", "wanted": ["backup"], "had": None}]


def test_a_name_cannot_write_to_the_terminal(explain: Explain, cloud: Cloud) -> None:
    evil = cloud.add(resource_name="x\x1b[2J\u202e\ntells     nobody", resource_type="\x1b[31m")["id"]
    done = explain(named(evil))
    assert done.rows["headline"] == "Backup of x [2J tells nobody failed"
    assert "\x1b" not in done.out
    assert "\x1b" not in explain(named(evil), "--json").out


# What may be explained


@pytest.mark.parametrize(
    ("sample", "form", "outcomes"),
    [
        ("plain.json", "plain", ["failed"]),
        ("plain-task-id.json", "plain", ["timed_out"]),
        ("plain-list.json", "events", ["succeeded", "overdue"]),
        ("cloudevent-structured.http.json", "cloudevents", ["failed"]),
        ("cloudevent-binary.http.json", "cloudevents", ["timed_out"]),
        ("cloudevent-batch.http.json", "cloudevents", ["partial", "failed"]),
        ("pubsub.json", "pubsub", ["failed"]),
        ("smn-confirmation.http.json", "smn", [None]),
        ("ces-alarm-unreadable.json", "ces", ["unverified"]),
        ("functiongraph/apig.json", "plain", ["failed"]),
        ("functiongraph/opensourcekafka.json", "stream", ["timed_out"]),
        ("functiongraph/timer.json", "timer", [None]),
    ],
)
def test_every_form_is_understood_as_its_door_would(
    explain: Explain, sample: str, form: str, outcomes: list[str | None]
) -> None:
    done = explain(EVENTS / sample, "--json")
    found = json.loads(done.out)
    assert (found["form"], [result.get("outcome") for result in found["results"]]) == (form, outcomes)
    assert done.status == int(any(outcome not in (None, "succeeded") for outcome in outcomes))


def test_an_alarm_is_looked_for_in_the_list(explain: Explain, cloud: Cloud) -> None:
    alarm = json.loads((EVENTS / "ces-alarm.json").read_bytes())
    saved_log = json.loads((SAVED / "failed.json").read_bytes())["operation_log"]
    task = cloud.outcome(
        "failed",
        resource_id=saved_log["extra_info"]["resource"]["id"],
        ended_at=datetime.fromtimestamp(alarm["time"] / 1_000, UTC),
    )
    done = explain(alarm, "--json")
    assert (done.status, done.result["operation_log_id"]) == (1, task["id"])


def test_a_body_that_the_gateway_has_packed_is_unpacked(explain: Explain) -> None:
    packed = base64.b64encode(json.dumps(named(FAILED)).encode()).decode()
    event = {"httpMethod": "POST", "headers": None, "body": packed, "isBase64Encoded": True}
    assert explain(event).rows["outcome"] == "failed (critical)"


def test_a_sweep_says_which_command_shows_more(explain: Explain) -> None:
    done = explain(EVENTS / "sweep.json")
    assert done.status == 0
    assert "vaultbell sweep --dry-run" in done.rows["note"]


# Without the cloud


def test_a_saved_answer_takes_the_place_of_the_cloud(explain: Explain, env: dict[str, str]) -> None:
    offline = {"VAULTBELL_CONFIG": env["VAULTBELL_CONFIG"]}
    done = explain(EVENTS / "plain.json", "--log", str(SAVED / "failed.json"), only=offline)
    assert (done.status, done.err) == (1, "")
    assert done.rows["evidence"] == "The state of the server does not allow a backup. (BackupService.7102)"
    assert done.rows["tells"] == "page (fallback: chat), ops (fallback: chat)"
    alone = explain(EVENTS / "plain.json", "--log", str(SAVED / "failed.json"), only={})
    assert (alone.status, alone.rows["incident"]) == (1, done.rows["incident"])


@pytest.mark.parametrize("outcome", ["succeeded", "partial", "skipped", "timed_out", "overdue", "unknown", "missing"])
def test_every_saved_answer_is_classified(explain: Explain, outcome: str) -> None:
    answer = json.loads((SAVED / f"{outcome}.json").read_bytes())
    name = answer.get("operation_log", {}).get("id", NOBODY)
    done = explain(named(name), "--log", str(SAVED / f"{outcome}.json"), "--json", only={})
    assert (done.result["outcome"], done.status) == (outcome, int(outcome != "succeeded"))


def test_the_bare_log_and_a_list_of_them_do_as_well(explain: Explain, tmp_path: Path) -> None:
    log = json.loads((SAVED / "failed.json").read_bytes())["operation_log"]
    other = log | {"id": OVERDUE, "vault_name": "other"}
    for answer in (log, {"operation_logs": [other, log], "count": 2}):
        done = explain(named(FAILED), *saved(tmp_path, answer), only={})
        assert done.rows["task"] == FAILED
        assert done.rows["outcome"] == "failed (critical)"


def test_an_alarm_finds_its_task_in_a_saved_list(explain: Explain, tmp_path: Path) -> None:
    alarm = json.loads((EVENTS / "ces-alarm.json").read_bytes())
    log = json.loads((SAVED / "failed.json").read_bytes())["operation_log"]
    ended = datetime.fromtimestamp(alarm["time"] / 1_000, UTC).isoformat()
    log |= {"ended_at": ended, "updated_at": ended}
    another = {"extra_info": {"resource": {"id": "another"}}, "vault_id": "another", "checkpoint_id": "another"}
    strange = log | another | {"id": OVERDUE}
    done = explain(alarm, *saved(tmp_path, {"operation_logs": [strange, log]}), "--json", only={})
    assert done.result["operation_log_id"] == FAILED


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            {"operation_log": {"id": OVERDUE, "status": "failed"}},
            "the saved answer is about another task than the event",
        ),
        (
            {"operation_log": {"id": FAILED, "project_id": OTHER, "status": "failed"}},
            "the saved answer is about another task than the event",
        ),
        ({"m4rker": 1}, "the saved answer holds no operation log"),
        ({"operation_logs": []}, "the saved answer holds no operation log"),
        ([{"id": FAILED}], "the saved answer holds no operation log"),
        ({"error_code": "BackupService.9998", "error_msg": "m4rker"}, "the saved answer holds no operation log"),
    ],
)
def test_an_answer_that_does_not_belong_to_the_event_is_refused(
    explain: Explain, tmp_path: Path, answer: object, words: str
) -> None:
    done = explain(named(FAILED, project_id=PROJECT), *saved(tmp_path, answer), only={})
    assert (done.status, done.out, done.err) == (2, "", f"vaultbell: {words}\n")


# What cannot be explained


def test_what_was_not_found_out_is_told_apart_and_nobody_hears_of_it(explain: Explain) -> None:
    with Server(lambda *_: Answer(200, {}, b"")) as gone:
        pass
    done = explain(named(FAILED), CBR_ENDPOINT=gone.url)
    assert (done.status, done.rows["error"]) == (3, "try_again: 127.0.0.1: connection refused")
    done = explain(named(FAILED), OS_PASSWORD="wr0ng-marker")
    assert (done.status, done.rows["outcome"]) == (3, "unverified (critical)")
    assert done.rows["tells"] == "chat"
    assert "marker" not in done.out + done.err


def test_a_young_task_that_is_not_there_yet_is_not_known(explain: Explain) -> None:
    done = explain(named(NOBODY, time=datetime.now(UTC).isoformat()))
    assert done.status == 3
    assert done.rows["error"].startswith("not_visible_yet: ")


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (b"not JSON, m4rker", "vaultbell: the body is not JSON"),
        ({"m4rker": 1}, "vaultbell: the event names no task"),
        ({"operation_log_id": "m4rker"}, "vaultbell: operation_log_id is not a UUID"),
        (EVENTS / "no-such-file.json", "vaultbell: the event cannot be read: No such file or directory"),
    ],
)
def test_what_is_no_event_is_wrong_use(explain: Explain, event: object, words: str) -> None:
    done = explain(event)
    assert (done.status, done.out) == (2, "")
    assert words in done.err
    assert "m4rker" not in done.err


def test_a_project_that_is_not_allowed_is_wrong_use(explain: Explain) -> None:
    done = explain(named(FAILED, project_id=OTHER))
    assert (done.status, done.rows["error"][:20]) == (2, "project_not_allowed:")


def test_of_a_list_the_worst_counts(explain: Explain) -> None:
    done = explain({"events": [named(SUCCEEDED), named(FAILED), {"operation_log_id": "x"}]}, "--json")
    results = json.loads(done.out)["results"]
    assert done.status == 2
    assert [result.get("outcome") for result in results] == ["succeeded", "failed", None]
    assert results[2]["error"]["code"] == "bad_id"


def test_the_event_may_come_by_the_standard_input(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.environ", environment(env))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(named(SUCCEEDED)).encode())))
    assert cli.main(["explain", "-"]) == 0
    assert "outcome   succeeded (info)" in capsys.readouterr().out


def test_a_reader_that_has_seen_enough_is_no_error(cloud: Cloud, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"operation_log_id": cloud.outcome("failed")["id"]}))
    settings_ = cloud.env() | {"VAULTBELL_WEBHOOK_URL": "https://hooks.example.org/", "PYTHONPATH": str(FUNCTION)}
    with subprocess.Popen(
        [sys.executable, "-m", "vaultbell.cli", "explain", str(event)],
        env=environment(settings_),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()  # before it has written anything
        assert process.stderr.read() == ""
    assert process.returncode == 0
