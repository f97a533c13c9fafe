"""`vaultbell preview`: what would be sent, to the byte, from an event or a saved answer of the API, and to nobody."""

from __future__ import annotations

import email
import json
from datetime import UTC, datetime, timedelta
from email import policy
from pathlib import Path

import pytest

from desk import Desk, NewDesk, Terminal
from samples import EVENTS
from standin import Cloud
from standin.logs import seed_demo
from standin.sinks import Mailbox, Receiver
from vaultbell import compose, pipeline, settings
from vaultbell.budget import Budget
from vaultbell.channels.formats import FORMATS
from vaultbell.cli import preview
from vaultbell.events import Event
from vaultbell.settings import INCIDENT_FORMATS

LOGS = EVENTS / "operation-logs"
FAILED = "00000000-0000-4000-8000-000000000004"
KEYS = {"pagerduty": "routing_key: pd-k3y", "opsgenie": "api_key: og-k3y"}


@pytest.fixture
def desk(new_desk: NewDesk) -> Desk:
    """Without any setting at all."""
    return new_desk({})


def named(*task_ids: str) -> bytes:
    time = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    events = [{"operation_log_id": task_id, "time": time} for task_id in task_ids]
    return json.dumps(events[0] if len(events) == 1 else {"events": events}).encode()


def ring(env: dict[str, str], event: bytes) -> None:
    pipeline.handle(compose.bell(settings.load(env)), Event(event), Budget.of(20))


# To the byte


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_written_is_what_is_sent_but_for_the_receivers_key(
    new_desk: NewDesk, cloud: Cloud, receiver: Receiver, tmp_path: Path, form: str
) -> None:
    task = cloud.outcome("failed", resource_name="Käse <b>&\"'\u2603 @here")["id"]
    config = tmp_path / "vaultbell.yaml"
    key = f", {KEYS[form]}" if form in KEYS else ""
    config.write_text(f"channels: {{ops: {{type: webhook, format: {form}, url: '{receiver.url}'{key}}}}}\n")
    env = cloud.env() | {"VAULTBELL_CONFIG": str(config), "VAULTBELL_TZ": "Europe/Berlin"}
    ring(env, named(task))
    (sent,) = receiver.requests
    desk, event = new_desk(env), tmp_path / "event.json"
    event.write_bytes(named(task))
    for how in (("--format", form), ("--channel", "ops")):
        done = desk("preview", str(event), *how)
        assert (done.status, done.err) == (0, "")
        if form == "alertmanager":  # its end lies ahead of now
            told, shown = sent.json, done.json
            assert [{**alert, "endsAt": ""} for alert in told] == [{**alert, "endsAt": ""} for alert in shown]
        else:
            assert done.out.encode().replace(b"KEY-LEFT-OUT", b"pd-k3y") == sent.body
        assert "k3y" not in done.out
        (body,) = desk("preview", str(event), *how, "--json").json
        assert body["content_type"] == sent.headers["content-type"]
        assert "k3y" not in str(body["headers"])
        assert sent.path == (body["path"] or "/")
    assert len(receiver.requests) == 1


def test_a_mail_is_written_as_it_is_sent_and_its_parts_as_they_are_read(
    new_desk: NewDesk, cloud: Cloud, mailbox: Mailbox, tmp_path: Path
) -> None:
    task = cloud.outcome("failed", resource_name="Käse <b>")["id"]
    env = cloud.env() | {
        "VAULTBELL_SMTP_URL": f"smtp://127.0.0.1:{mailbox.port}?tls=off",
        "VAULTBELL_EMAIL_TO": "Ops <ops@example.org>",
        "VAULTBELL_EMAIL_FROM": "bell@example.org",
    }
    ring(env, named(task))
    sent = mailbox.messages[0].message
    event = tmp_path / "event.json"
    event.write_bytes(named(task))
    desk = new_desk(env)
    done = desk("preview", str(event), "--channel", "email")
    mail = email.message_from_bytes(done.out.encode(), policy=policy.default)
    assert (mail["subject"], mail["to"], mail["message-id"]) == (sent["subject"], sent["to"], sent["message-id"])
    for part, kind in (("text", "plain"), ("html", "html")):
        held = sent.get_body((kind,))
        assert held is not None
        shown = desk("preview", str(event), "--format", part).out
        assert shown.splitlines() == held.get_content().splitlines()
    assert "Käse &lt;b&gt;" in shown
    assert len(mailbox.messages) == 1


# Without the cloud


@pytest.mark.parametrize("form", preview.FORMATS)
@pytest.mark.parametrize("outcome", ["succeeded", "partial", "skipped", "failed", "timed_out", "overdue", "unknown"])
def test_a_saved_operation_log_is_enough(desk: Desk, outcome: str, form: str) -> None:
    done = desk("preview", "--log", str(LOGS / f"{outcome}.json"), "--format", form)
    assert (done.status, done.err) == (0, "")
    held = json.loads((LOGS / f"{outcome}.json").read_bytes())["operation_log"]
    assert held["id"] in done.out or form == "html"  # which breaks it where it may be broken


def test_a_saved_event_with_a_saved_answer_says_the_same(desk: Desk) -> None:
    log = str(LOGS / "failed.json")
    alone = desk("preview", "--log", log)
    beside = desk("preview", str(EVENTS / "plain.json"), "--log", log)
    assert {**beside.json, "data": {**beside.json["data"], "region": None}} == alone.json
    missing = desk("preview", str(EVENTS / "plain.json"), "--log", str(LOGS / "missing.json"))
    assert missing.json["type"] == "cbr.task.missing"


def test_the_body_of_a_webhook_is_read_back(desk: Desk, cloud: Cloud, receiver: Receiver) -> None:
    hours = [datetime.now(UTC) - timedelta(hours=hour) for hour in (30, 20, 10)]
    for outcome, ended in zip(("succeeded", "failed", "failed"), hours, strict=True):
        task = cloud.outcome(outcome, resource_id="db", created_at=ended - timedelta(minutes=4), ended_at=ended)["id"]
    overdue = cloud.outcome("overdue")["id"]
    ring(cloud.env() | {"VAULTBELL_WEBHOOK_URL": receiver.url}, named(task, overdue))
    for got in receiver.requests:
        done = desk.fed(got.body, "preview", "--log", "-")
        assert done.json == got.json
        text = desk.fed(got.body, "preview", "--log", "-", "--format", "text").out
        assert ("Second failure in a row" in text) == (got.json["data"]["outcome"] == "failed")


def test_several_messages_are_all_written_or_as_the_one_that_stands_for_them(desk: Desk, tmp_path: Path) -> None:
    logs = [json.loads((LOGS / f"{name}.json").read_bytes())["operation_log"] for name in ("failed", "timed_out")]
    log = tmp_path / "list.json"
    log.write_text(json.dumps({"operation_logs": logs, "count": 2}))
    each = [json.loads(line) for line in desk("preview", "--log", str(log)).out.splitlines()]
    assert [body["type"] for body in each] == ["cbr.task.failed", "cbr.task.timed_out"]
    digest = desk("preview", "--log", str(log), "--digest").json
    assert digest["type"] == "cbr.digest"
    assert len(digest["data"]["members"]) == 2
    assert "2 backup tasks" in desk("preview", "--log", str(log), "--digest", "--format", "text").out


# With the cloud


def test_what_would_not_be_told_is_written_all_the_same_and_said_so(
    new_desk: NewDesk, cloud: Cloud, receiver: Receiver
) -> None:
    seed_demo(cloud)
    desk = new_desk(cloud.env() | {"VAULTBELL_WEBHOOK_URL": receiver.url})
    gone = desk.fed(named("00000000-0000-4000-8000-0000000000ee"), "preview", "-")
    good = desk.fed(named("00000000-0000-4000-8000-000000000001"), "preview", "-")
    assert (good.status, good.err) == (0, "vaultbell: nobody would be told of this\n")
    assert good.json["type"] == "cbr.task.succeeded"
    assert gone.json["type"] == "cbr.task.missing"
    sweep = desk("preview", str(EVENTS / "sweep.json"))
    assert (sweep.status, sweep.out) == (1, "")


def test_what_could_not_be_found_out_is_said(new_desk: NewDesk, cloud: Cloud) -> None:
    seed_demo(cloud)
    cloud.fault("show", "status", None, status=503, headers={"Retry-After": "600"})
    done = new_desk(cloud.env()).fed(named(FAILED), "preview", "-")
    assert (done.status, done.out) == (3, "")
    assert "503" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "either EVENT_FILE or --log is wanted"),
        (("--log", str(LOGS / "failed.json"), "--channel", "ops"), "there is no channel ops"),
        (("--log", str(LOGS / "failed.json"), "--format", "smoke"), "invalid choice: 'smoke'"),
        (("--log", "/no/such/file"), "cannot be read"),
    ],
)
def test_wrong_use_is_told(desk: Desk, arguments: tuple[str, ...], words: str) -> None:
    done = desk("preview", *arguments)
    assert (done.status, done.out) == (2, "")
    assert words in done.err


def test_a_name_cannot_act_on_the_terminal_and_a_file_gets_every_byte(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = json.loads((LOGS / "failed.json").read_bytes())
    held["operation_log"]["extra_info"]["resource"]["name"] = "x\u009b2J\u202e"
    log = tmp_path / "log.json"
    log.write_text(json.dumps(held))
    assert "x\u009b2J\u202e" in desk("preview", "--log", str(log)).out
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    assert desk("preview", "--log", str(log)).status == 0
    assert r"x\x9b2J\u202e" in terminal.getvalue()
    assert not {"\x9b", "\u202e", "\x1b"} & set(terminal.getvalue())


def test_every_format_of_a_channel_can_be_seen() -> None:
    assert set(FORMATS) <= set(preview.FORMATS)
    assert set(KEYS) <= set(INCIDENT_FORMATS)
