"""`vaultbell ring`, as a user runs it: what each receiver is told, what is printed, and the exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import samples
from serving import FUNCTION, environment
from standin.ports import unused
from standin.sinks import Got, Mailbox, Receiver
from standin.state import PROJECT
from vaultbell import cli
from vaultbell.cli import ring
from vaultbell.outcome import OutcomeName
from vaultbell.settings import FORMATS

CONFIG = """
channels:
  ops:    {type: webhook, url: "{url}/ops"}
  event:  {type: webhook, url: "{url}/event", format: cloudevent}
  oncall: {type: webhook, url: "{url}/oncall", format: pagerduty, routing_key: key}
  genie:  {type: webhook, url: "{url}/genie", format: opsgenie, api_key: key}
  prom:   {type: webhook, url: "{url}/prom", format: alertmanager}
  slack:  {type: webhook, url: "{url}/slack", format: slack}
  teams:  {type: webhook, url: "{url}/teams", format: teams}
  disc:   {type: webhook, url: "{url}/disc", format: discord}
routes: [{channels: []}]
"""


@dataclass(frozen=True, slots=True)
class Done:
    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        """The rows of the table, without its head."""
        return [line.split(maxsplit=4) for line in self.out.splitlines()[4:]]


Run = Callable[..., Done]


@pytest.fixture
def run(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process, with the file's channels; `changed` are further settings. No cloud is set."""
    config = tmp_path / "config.yaml"

    def run(*arguments: str, text: str = CONFIG, **changed: str) -> Done:
        config.write_text(text.replace("{url}", receiver.url))
        settings = {"VAULTBELL_CONFIG": str(config), **changed} if text else changed
        monkeypatch.setattr("os.environ", environment(settings))
        try:
            status = cli.main(["ring", *arguments])
        except SystemExit as left:  # argparse leaves so
            status = int(str(left.code))
        return Done(status, *capsys.readouterr())

    return run


def by_path(receiver: Receiver) -> dict[str, Got]:
    return {got.path: got for got in receiver.requests}


def test_without_a_cloud_every_channel_is_told_and_a_table_says_what_became_of_it(
    receiver: Receiver, mailbox: Mailbox
) -> None:
    settings = {
        "VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell",
        "VAULTBELL_EMAIL_TO": "ops@example.org",
        "VAULTBELL_EMAIL_FROM": "bell@example.org",
        "VAULTBELL_SMTP_URL": f"smtp://127.0.0.1:{mailbox.port}?tls=off",
    }
    done = subprocess.run(
        [sys.executable, "-m", "vaultbell.cli", "ring"],
        env=environment(settings) | {"PYTHONPATH": str(FUNCTION)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (got,), (mail,) = receiver.requests, mailbox.messages
    assert done.stdout.splitlines() == [
        f"Drill: Backup of no-such-server failed ({got.headers['webhook-id']})",
        "",
        "channel  taken  status  tries  error",
        "-------  -----  ------  -----  -----",
        "webhook  yes    200     1",
        "email    yes    250     1",
    ]
    assert mail.message["Subject"] == "[CRITICAL] Drill: Backup of no-such-server failed"
    text = mail.message.get_body(("plain",))
    assert text
    assert "this is only a drill" in text.get_content()
    assert "Nothing: this is only a drill." in text.get_content()


def test_whoever_reads_it_sees_that_it_is_a_drill_whatever_the_format(run: Run, receiver: Receiver) -> None:
    done = run()
    assert (done.status, done.err) == (0, "")
    assert [row[:2] for row in done.rows] == [
        [name, "yes"] for name in "ops event oncall genie prom slack teams disc".split()
    ]
    assert len(receiver.requests) == len(FORMATS)
    for got in receiver.requests:
        words = got.body.replace(b"\\", b"")  # Discord's escapes
        assert b"Drill: Backup of no-such-server failed" in words, got.path
        assert b"this is only a drill" in words, got.path


def test_a_program_can_tell_it_from_a_task_that_failed(run: Run, receiver: Receiver) -> None:
    run(
        "--channel",
        "ops",
        "--channel",
        "event",
        OS_PROJECT_ID=PROJECT,
        OS_REGION_NAME="eu-de",
    )
    told, event = (by_path(receiver)[path].json for path in ("/ops", "/event"))
    schema = json.loads((samples.EVENTS / "schemas/webhook.schema.json").read_bytes())
    assert list(Draft202012Validator(schema).iter_errors(told)) == []
    assert told["type"] == event["type"] == "cbr.drill"
    data = told["data"]
    assert (data["outcome"], data["severity"], data["region"]) == ("failed", "critical", "eu-de")
    assert data["summary"] == f"Drill: Backup of no-such-server failed: {data['reason']}"
    assert data["operation_log"] == {"project_id": PROJECT}


def keys(receiver: Receiver) -> dict[str, Any]:
    """What the receivers of incidents know the drill by."""
    told = by_path(receiver)
    return {
        "pagerduty": told["/oncall"].json["dedup_key"],
        "opsgenie": told["/genie"].json.get("alias") or told["/genie"].path.split("/")[2],
        "alertmanager": told["/prom"].json[0]["labels"],
    }


def test_the_incident_is_the_drills_own_and_can_be_closed(run: Run, receiver: Receiver) -> None:
    run()
    first = by_path(receiver)
    opened = keys(receiver)
    receiver.requests.clear()
    run()
    assert keys(receiver) == opened  # a second drill opens no second incident
    assert by_path(receiver)["/ops"].headers["webhook-id"] != first["/ops"].headers["webhook-id"]  # but is told
    receiver.requests.clear()
    done = run("--resolve")
    assert (done.status, done.out.splitlines()[0][:45]) == (0, "Drill: Backup of no-such-server succeeded (ms")
    closed = by_path(receiver)
    end = closed["/oncall"].json
    assert (end["event_action"], end["dedup_key"]) == ("resolve", opened["pagerduty"])
    assert f"/genie/{opened['opsgenie']}/close" in closed
    (alert,) = closed["/prom"].json
    assert alert["labels"] == opened["alertmanager"]
    assert datetime.fromisoformat(alert["endsAt"]) <= datetime.now(UTC)
    assert closed["/ops"].json["type"] == "cbr.task.resolved"
    assert closed["/ops"].json["data"]["incident"] == opened["pagerduty"]


@pytest.mark.parametrize("outcome", list(OutcomeName))
def test_any_outcome_can_be_drilled_with_the_severity_of_the_settings(
    run: Run, receiver: Receiver, outcome: OutcomeName
) -> None:
    done = run("--channel", "ops", "--outcome", outcome, text=f"{CONFIG}outcomes: {{severity: {{{outcome}: warning}}}}")
    (got,) = receiver.requests
    data = got.json["data"]
    assert done.status == 0
    assert (data["outcome"], data["severity"]) == (outcome, "warning")
    assert data["summary"].startswith("Drill: ")


def test_only_the_channels_that_are_named_are_told_each_once(run: Run, receiver: Receiver) -> None:
    done = run("--channel", "slack", "--channel", "ops", "--channel", "slack")
    assert [row[0] for row in done.rows] == ["slack", "ops"]
    assert sorted(got.path for got in receiver.requests) == ["/ops", "/slack"]


def test_one_that_refuses_is_bad_news_and_the_others_are_told_all_the_same(run: Run, receiver: Receiver) -> None:
    receiver.answer("/oncall", 400)
    done = run("--channel", "ops", "--channel", "oncall")
    assert (done.status, done.err) == (1, "")
    assert done.rows == [["ops", "yes", "200", "1"], ["oncall", "no", "400", "1", "127.0.0.1 answered 400"]]


def test_one_that_is_not_reached_is_told_apart_and_was_tried_as_any_message_is(run: Run) -> None:
    done = run(text="", VAULTBELL_WEBHOOK_URL=f"http://127.0.0.1:{unused()}/m4rker")
    assert (done.status, done.err) == (3, "")
    assert done.out.splitlines()[-1] == "webhook  no             3      127.0.0.1: connection refused"
    assert "m4rker" not in done.out


def test_a_script_gets_json(run: Run, receiver: Receiver) -> None:
    receiver.answer("/oncall", 400)
    done = run("--json", "--channel", "oncall", "--channel", "ops")
    found = json.loads(done.out)
    (got,) = (got for got in receiver.requests if got.path == "/ops")
    assert done.status == 1
    assert (found["id"], found["type"]) == (got.headers["webhook-id"], ring.TYPE)
    assert found["incident"] == got.json["data"]["incident"]
    assert found["receipts"] == [
        {"channel": "oncall", "delivered": False, "attempts": 1, "status": 400, "error": "127.0.0.1 answered 400"},
        {"channel": "ops", "delivered": True, "attempts": 1, "status": 200, "error": None},
    ]


@pytest.mark.parametrize(
    ("arguments", "changed", "words"),
    [
        (["--channel", "pager"], {}, "vaultbell: there is no channel pager; there is ops, event, "),
        (["--outcome", "exploded"], {}, "invalid choice"),
        (["--outcome", "failed", "--resolve"], {}, "not allowed with"),
        ([], {"VAULTBELL_COLOUR": "red"}, "VAULTBELL_COLOUR: is not known"),
        ([], {"text": ""}, "there is no channel"),
        ([], {"text": "channels: {ops: {type: webhook, url: 'ftp://x'}}"}, "channels.ops.url: an address is http://"),
    ],
)
def test_wrong_use_and_settings_tell_nobody_anything(
    run: Run, receiver: Receiver, arguments: list[str], changed: dict[str, str], words: str
) -> None:
    done = run(*arguments, **changed)
    assert (done.status, done.out) == (2, "")
    assert words in done.err
    assert receiver.requests == []
