"""What each receiver is POSTed: as it was, within its limits, and with names that stay names.

`golden/` holds what was made of each case. After a change that is meant, this file run as a program writes it anew
(`PYTHONPATH=function:tests python tests/unit/test_formats.py`); what has changed is then read before it is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receivers import KEPT, LINK, texts
from vaultbell import digest, notification, stale_message, staleness
from vaultbell.channels import formats, shown
from vaultbell.channels.formats import FORMATS, discord, slack
from vaultbell.channels.formats.post import Options, Post
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.cloud.vaults import Policy, Vault
from vaultbell.events import TaskRef
from vaultbell.notification import Notification
from vaultbell.outcome import NO_TIME, Outcome, OutcomeName, classify
from vaultbell.past import Past, tempered
from vaultbell.settings import CHAT_FORMATS, INCIDENT_FORMATS, OutcomeRules
from vaultbell.staleness import Standing
from vaultbell.sweep import Window

GOLDEN = Path(__file__).with_name("golden")
NOW = datetime(2025, 11, 24, 8, 0, tzinfo=UTC)
PROJECT = "0123456789abcdef0123456789abcdef"
RULES = OutcomeRules()
MAX_AGE = timedelta(hours=26)
OPTIONS = Options(routing_key="R" * 32, api_key="G" * 36, zone=ZoneInfo("Europe/Berlin"))


SERVER = {"id": "1dc0ffee-0000-4000-9000-00000000db01", "name": "db-server-01", "type": "OS::Nova::Server"}
TASK: Mapping[str, Any] = {
    "id": "00000000-0000-4000-8000-000000000004",
    "project_id": PROJECT,
    "operation_type": "backup",
    "status": "failed",
    "vault_id": "5f0d8c6e-3a57-4a52-9c1e-0b6f3d7a2e11",
    "vault_name": "vault-daily",
    "policy_id": "8d4b1c92-6e2f-4f0a-b7a5-1c3e5d7f9a20",
    "created_at": "2025-11-23T02:00:03.118Z",
    "started_at": "2025-11-23T02:00:03.402Z",
    "updated_at": "2025-11-23T02:04:11.091Z",
    "ended_at": "2025-11-23T02:04:11.027Z",
    "error_info": {"code": "", "message": ""},
    "extra_info": {"resource": SERVER, "backup": {"backup_name": "autobk_db01", "incremental": "true"}},
}
ERROR = {"code": "BackupService.7102", "message": "The server is stopped."}
UNREADY = {"app_consistency_error_code": "1", "app_consistency_error_message": "The database could not be frozen."}
BACKED_UP = {"resource": SERVER, "backup": {"backup_name": "autobk_db01", **UNREADY}}
STUCK = {"status": "running", "ended_at": None, "updated_at": None, "started_at": "2025-11-22T07:00:00Z"}


def told(_past: Past | None = None, /, **fields: Any) -> Notification:  # noqa: ANN401 - as in a task of the API
    """What is told of a backup task with these fields."""
    log = OperationLog.read({**TASK, **fields})
    outcome = tempered(classify(log, RULES, NOW), _past)
    return notification.of_task(log, outcome, RULES, project_id=PROJECT, region="eu-de", past=_past)


NEXT_DAY = {key: TASK[key].replace("-23T", "-24T") for key in ("created_at", "started_at", "updated_at", "ended_at")}
FAILED = told(error_info=ERROR)
SUCCEEDED = told(status="success", id="00000000-0000-4000-8000-000000000001", **NEXT_DAY)
MISSING = notification.of_missing(
    TaskRef("00000000-0000-4000-8000-000000000009", PROJECT),
    Outcome(OutcomeName.MISSING, "warning", True, NOW - timedelta(hours=1), ("no task has this id",)),
    project_id=PROJECT,
    region="eu-de",
)
VAULT = {"id": TASK["vault_id"], "name": TASK["vault_name"], "created_at": "2025-08-01T09:00:00Z"}
APPLIED = {"associated_vaults": [{"vault_id": VAULT["id"]}]}
POLICY = {"id": TASK["policy_id"], "name": "nightly", "enabled": False, **APPLIED}


def silence(*tasks: Mapping[str, Any], **resource: Any) -> Notification:  # noqa: ANN401 - as in a vault of the API
    """What is told of a resource whose backups these tasks were."""
    vault = Vault.read({**VAULT, "resources": [{**SERVER, **resource}]})
    standing = Standing(vault, vault.resources[0]).asked([OperationLog.read({**task}) for task in tasks], RULES, NOW)
    when = staleness.slot(standing, MAX_AGE, Window(NOW - timedelta(days=1), NOW), RULES.repeat_interval)
    assert when
    policies = [Policy.read(POLICY)]
    return stale_message.of(standing, when, MAX_AGE, policies, RULES, NOW, project_id=PROJECT, region="eu-de")


DAY_BEFORE = {key: TASK[key].replace("-23T", "-22T") for key in ("created_at", "started_at", "updated_at", "ended_at")}
GOOD_AT, GOOD_AGAIN = NOW - timedelta(days=4), NOW - timedelta(hours=6)
CASES = {
    "failed": FAILED,
    "failed-again": told(Past(3, GOOD_AT), error_info=ERROR),
    "failed-recovered": told(Past(1, None, GOOD_AGAIN, recovered=True), error_info=ERROR),
    "partial": told(status="success", extra_info=BACKED_UP),
    "overdue": told(None, **STUCK),
    "missing": MISSING,
    "stale": silence({**TASK, **DAY_BEFORE, "status": "success", "id": "1"}, {**TASK, "error_info": ERROR}),
    "never": silence(extra_info={"exclude_volumes": ["0d1e2f30-0000-4000-8000-000000000001"]}),
    "resolved": notification.of_resolved(SUCCEEDED, FAILED),
}
DIGEST = digest.of(
    [
        CASES["failed-again" if at % 3 else "failed"]._replace(
            id=f"msg_{at:032}", headline=f"Backup of ECS-{at:04} failed"
        )
        for at in range(30)
    ]
    + [CASES["overdue"]._replace(id="msg_" + "f" * 32)]
)
DIGESTED = sorted(set(FORMATS) - set(INCIDENT_FORMATS))
ALL = [(name, case) for name in FORMATS for case in CASES] + [(name, "digest") for name in DIGESTED]


def made(name: str, told: Notification, now: datetime = NOW, options: Options = OPTIONS) -> Post:
    return formats.of(name)(told, options, now)


def body(name: str, told: Notification, now: datetime = NOW) -> Any:  # noqa: ANN401 - any JSON value, looked into
    return json.loads(made(name, told, now).body)


# As it was ------------------------------------------------------------------------------------------------------------


def golden(name: str, case: str) -> str:
    """What is POSTed, for people to read: the body is taken apart."""
    post = made(name, {**CASES, "digest": DIGEST}[case])
    headers = {"Content-Type": post.content_type, **post.headers}
    sent = {"path": post.path, "headers": headers, "body": json.loads(post.body)}
    return json.dumps(sent, indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize(("name", "case"), ALL)
def test_a_receiver_gets_what_it_always_got(name: str, case: str) -> None:
    assert golden(name, case) == (GOLDEN / name / f"{case}.json").read_text("utf-8")


def test_nothing_is_kept_that_is_not_sent() -> None:
    kept = {path.relative_to(GOLDEN).with_suffix("").as_posix() for path in GOLDEN.rglob("*.*")}
    assert kept == {f"{name}/{case}" for name, case in ALL}


@pytest.mark.parametrize(("name", "case"), ALL)
def test_a_repeat_is_the_same_byte_for_byte(name: str, case: str) -> None:
    notice = {**CASES, "digest": DIGEST}[case]
    again = made(name, notice._replace(), NOW + timedelta(hours=1))
    assert made(name, notice) == again
    again.body.decode("utf-8")


# What people read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHAT_FORMATS)
def test_a_chat_is_told_what_since_when_why_what_to_do_and_where(name: str) -> None:
    value = body(name, FAILED)
    read = " ".join(texts(value.get("blocks", value))).replace("\\", "")
    wanted = [
        "[CRITICAL] Backup of db-server-01 failed",
        "2025-11-23 02:04 UTC (03:04 CET)",
        "The server is stopped. (BackupService.7102)",
        "Start the server, or take it out of the vault",
        "vault-daily",
    ]
    places = [read.find(text) for text in wanted]
    assert -1 not in places
    assert places == sorted(places)
    assert LINK in read


@pytest.mark.parametrize("name", CHAT_FORMATS)
def test_a_chat_is_told_how_long_it_has_been_so(name: str) -> None:
    read = " ".join(texts(body(name, CASES["failed-again"]))).replace("\\", "")
    history = "third failure in a row; last good backup 2025-11-20 08:00 UTC (09:00 CET), 2 d 18 h before"
    places = [read.find(text) for text in ("The server is stopped.", history, "Start the server")]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize("name", FORMATS)
def test_what_has_recovered_says_so_to_everybody_and_is_a_warning(name: str) -> None:
    notice = CASES["failed-recovered"]
    assert (notice.id, notice.type, notice.severity) == (FAILED.id, FAILED.type, "warning")
    read = " ".join(texts(body(name, notice))).replace("\\", "")
    assert "Backup of db-server-01 failed, since recovered" in read
    assert "critical" not in read.lower()
    if name not in ("default", "cloudevent"):
        assert "Nothing now: a newer one has succeeded." in read


def test_programs_are_told_the_past_in_numbers() -> None:
    data = body("default", CASES["failed-again"])["data"]
    assert (data["failures_in_row"], data["last_good_at"]) == (3, "2025-11-20T08:00:00Z")
    data = body("cloudevent", CASES["failed-recovered"])["data"]
    assert (data["failures_in_row"], data["last_good_at"]) == (1, None)
    assert data["recovered_at"] == "2025-11-24T02:00:00Z"
    assert not {"failures_in_row", "last_good_at", "recovered_at"} & body("default", FAILED)["data"].keys()
    for known in (
        body("alertmanager", CASES["failed-again"])[0]["annotations"],
        body("pagerduty", CASES["failed-again"])["payload"]["custom_details"],
        body("opsgenie", CASES["failed-again"])["details"],
    ):
        assert known["failures_in_row"] == "3"
        assert known["last_good_at"].startswith("2025-11-20 08:00 UTC")
    assert body("alertmanager", CASES["failed-again"])[0]["labels"] == body("alertmanager", FAILED)[0]["labels"]


@pytest.mark.parametrize("name", CHAT_FORMATS)
def test_without_a_zone_a_chat_is_told_utc_alone(name: str) -> None:
    post = made(name, FAILED, options=replace(OPTIONS, zone=None))
    assert "UTC" in post.body.decode()
    assert "CET" not in post.body.decode()


@pytest.mark.parametrize("name", CHAT_FORMATS)
def test_what_is_not_known_is_not_shown(name: str) -> None:
    bare = CASES["resolved"]._replace(facts={}, region=None, project_id=None, reason="", timestamp=NO_TIME)
    read = made(name, bare).body.decode()
    for word in ("Since", "Why", "What to do", "console", "Project", "None", "1970"):
        assert word not in read


@pytest.mark.parametrize("name", CHAT_FORMATS)
def test_a_digest_is_a_table_by_error_code_and_vault(name: str) -> None:
    read = " ".join(texts(body(name, DIGEST))).replace("\\", "")
    places = [
        read.find(text)
        for text in (
            "[CRITICAL] 31 backup tasks want attention",
            "30 with BackupService.7102 in vault-daily:",
            "What to do: Start the server",
            "• Backup of ECS-0000 failed, 2025-11-23 02:04 UTC (03:04 CET)",
            "• Backup of ECS-0001 failed, 2025-11-23 02:04 UTC (03:04 CET) "
            "(3rd in a row, last good 2025-11-20 08:00 UTC (09:00 CET))",
        )
    ]
    assert -1 not in places
    assert places == sorted(places)
    assert "Backup of ECS-0000 failed" in read
    assert re.search(r"… and \d+ more", read) or "Backup of ECS-0029 failed" in read


def test_a_digest_for_programs_has_all_members_with_their_own_ids() -> None:
    for data in (body("default", DIGEST)["data"], body("cloudevent", DIGEST)["data"]):
        assert [member["id"] for member in data["members"]] == [member.id for member in DIGEST.members]
        assert {member["type"] for member in data["members"]} == {"cbr.task.failed", "cbr.task.overdue"}
    assert "members" not in body("default", FAILED)["data"]


@pytest.mark.parametrize(("severity", "colours"), [("critical", 0xC62828), ("warning", 0xF9A825), ("info", 0x2E7D32)])
def test_the_colour_tells_how_bad_it_is(severity: str, colours: int) -> None:
    notice = FAILED._replace(severity=severity)
    assert body("discord", notice)["embeds"][0]["color"] == colours
    container = body("teams", notice)["attachments"][0]["content"]["body"][0]
    assert container["style"] == {"critical": "attention", "warning": "warning", "info": "good"}[severity]


# Each receiver's own words --------------------------------------------------------------------------------------------


def test_a_cloudevent_is_announced_as_one_and_has_the_webhooks_id() -> None:
    post = made("cloudevent", FAILED)
    assert post.content_type == "application/cloudevents+json"
    event = json.loads(post.body)
    assert event["id"] == FAILED.id
    assert event["data"] == body("default", FAILED)["data"]


@pytest.mark.parametrize("case", ["failed", "partial", "overdue"])
def test_alertmanager_knows_a_success_by_the_labels_of_the_failure(case: str) -> None:
    bad = CASES[case]
    success = SUCCEEDED._replace(incident=bad.incident, region="another", severity="info", facts=bad.facts)
    renamed = {**bad.facts, "resource_name": "new name", "vault_name": "new vault", "operation_log_id": "another"}
    good = notification.of_resolved(success._replace(facts={**renamed, "error_code": "", "policy_id": "p"}), bad)
    (alert,), (end,) = body("alertmanager", bad), body("alertmanager", good)
    assert alert["labels"] == end["labels"]
    assert alert["annotations"] != end["annotations"]
    assert alert["labels"]["incident"] == bad.incident
    assert "" not in alert["labels"].values()


def test_labels_hold_nothing_but_the_incident() -> None:
    (alert,) = body("alertmanager", FAILED)
    assert alert["labels"] == {
        "alertname": "CloudBackupTask",
        "incident": FAILED.incident,
        "project_id": PROJECT,
        "operation_type": "backup",
        "resource": "1dc0ffee-0000-4000-9000-00000000db01",
    }


@pytest.mark.parametrize(
    ("ago", "expires", "ahead"),
    [
        (timedelta(0), timedelta(days=7), timedelta(days=7)),
        (timedelta(days=6), timedelta(days=7), timedelta(days=1)),
        (timedelta(days=7), timedelta(days=7), timedelta(hours=1)),
        (timedelta(days=30), timedelta(days=7), timedelta(hours=1)),
        (timedelta(minutes=5), timedelta(minutes=10), timedelta(hours=1)),
        (timedelta(hours=-2), timedelta(minutes=10), timedelta(hours=2, minutes=10)),
    ],
)
def test_an_alert_ends_after_its_time_and_never_within_the_hour(
    ago: timedelta, expires: timedelta, ahead: timedelta
) -> None:
    post = made("alertmanager", FAILED._replace(timestamp=NOW - ago), options=replace(OPTIONS, expires=expires))
    (alert,) = json.loads(post.body)
    assert datetime.fromisoformat(alert["endsAt"]) == NOW + ahead
    assert datetime.fromisoformat(alert["startsAt"]) == NOW - ago


@pytest.mark.parametrize(("ago", "ended"), [(300, 300), (0, 0), (-300, 0)])
def test_a_resolve_has_ended_by_now(ago: int, ended: int) -> None:
    good = CASES["resolved"]._replace(timestamp=NOW - timedelta(seconds=ago))
    (alert,) = body("alertmanager", good)
    assert datetime.fromisoformat(alert["endsAt"]) == NOW - timedelta(seconds=ended)
    assert datetime.fromisoformat(alert.get("startsAt", alert["endsAt"])) <= datetime.fromisoformat(alert["endsAt"])


def test_an_alert_whose_time_is_not_known_starts_when_it_arrives() -> None:
    (alert,) = body("alertmanager", FAILED._replace(timestamp=NO_TIME))
    assert "startsAt" not in alert
    (end,) = body("alertmanager", CASES["resolved"]._replace(timestamp=NO_TIME))
    assert datetime.fromisoformat(end["endsAt"]) == NOW


def test_pagerduty_is_triggered_and_resolved_under_the_incident() -> None:
    event, end = body("pagerduty", FAILED), body("pagerduty", CASES["resolved"])
    assert event["event_action"] == "trigger"
    assert event["payload"]["summary"] == FAILED.summary
    assert event["payload"]["severity"] == "critical"
    assert event["payload"]["custom_details"]["next_step"].startswith("Start the server")
    assert end == {"routing_key": "R" * 32, "dedup_key": FAILED.incident, "event_action": "resolve"}
    assert event["dedup_key"] == end["dedup_key"]


def test_opsgenie_is_told_and_closed_under_the_incident() -> None:
    post, end = made("opsgenie", FAILED), made("opsgenie", CASES["resolved"])
    assert post.headers == end.headers == {"Authorization": "GenieKey " + "G" * 36}
    assert post.path == ""
    assert json.loads(post.body)["alias"] == FAILED.incident
    assert end.path == f"/{FAILED.incident}/close?identifierType=alias"
    priorities = [body("opsgenie", FAILED._replace(severity=level))["priority"] for level in notification.LEVELS]
    assert priorities == ["P1", "P3", "P5"]


def test_the_keys_of_receivers_are_not_shown_by_accident() -> None:
    assert "RRR" not in repr(OPTIONS)
    assert "GGG" not in repr(OPTIONS)


# Limits and hostile names ---------------------------------------------------------------------------------------------


LONG = 64 * 1024
HOSTILE = [
    "<!channel> <@U024BE7LH> <https://evil.example|click>",
    "@everyone @here <@&1234> <#5678> <:smile:1> :tada:",
    "<b>bold</b><img src=x onerror=alert(1)>&amp;&lt;script&gt;",
    "**bold** _it_ ~~no~~ ||hidden|| `code` [here](https://evil.example) # head > quote",
    "https://evil.example/?q=1",
    "{{DATE(2017-02-14T06:08:39Z)}} ${x} @{y}",
    "one\r\ntwo\u2028three\x00\x1b[31m",
    "\u202eevil\u202c \u2066x\u2069 \ufeff",
    "\ud800half \udc00pair",
    "שרת גיבוי 01 خادم",
    "\\ \\\\ \" ' \\n \\u0041",
    "&" * LONG,
    "x" * LONG,
    "\U0001f514" * LONG,
    "<" * LONG,
    "{" * LONG,
    "ä́" * LONG,
]


@cache
def hostile(name: str) -> Notification:
    """The failure, with this for everything that others name or say."""
    facts = dict.fromkeys(
        ("resource_name", "resource_id", "resource_type", "vault_name", "vault_id", "policy_id"), name
    )
    facts |= dict.fromkeys(("backup_name", "error_code", "error_message", "operation_type", "progress"), name)
    log = OperationLog.read(
        {
            "id": "00000000-0000-4000-8000-000000000004",
            "operation_type": name,
            "status": "failed",
            "vault_id": name,
            "vault_name": name,
            "policy_id": name,
            "ended_at": "2025-11-23T02:04:11.027+00:00",
            "error_info": {"code": name, "message": name},
            "extra_info": {"resource": {"id": name, "name": name, "type": name}, "backup": {"backup_name": name}},
        }
    )
    made = notification.of_task(log, classify(log, RULES, NOW), RULES, project_id=PROJECT, region="eu-de")
    keys = "resource_id resource_name resource_type vault_id vault_name policy_id backup_name error_code operation_type"
    return made._replace(facts={**made.facts, **(dict.fromkeys([*keys.split(), "progress"], name) if name else {})})


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("hostile_name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_stay_names_within_the_receivers_limits(name: str, hostile_name: str) -> None:
    bad = hostile(hostile_name)
    KEPT[name](body(name, bad))
    KEPT[name](body(name, bad._replace(type="cbr.task.resolved", severity="info")))
    if name in CHAT_FORMATS:
        KEPT[name](body(name, digest.of([bad._replace(id=f"msg_{at}") for at in range(100)])))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("sign", ["x", "&", "<", "{", '"', "_", "\U0001f514"])
def test_even_if_everything_is_too_long_the_limits_are_kept(name: str, sign: str) -> None:
    """Each fact that there can be, and all different, so that none is left out as told already."""
    known = {key for keys in (*shown.FACTS.values(), ("error_code", "error_message")) for key in keys}
    facts = {key: f"{key} {sign * 5_000}" for key in known}
    worst = FAILED._replace(headline=sign * 5_000, summary=sign * 5_000, reason=sign * 5_000, facts=facts)
    KEPT[name](body(name, worst))
    if name in CHAT_FORMATS:
        members = [worst._replace(facts={**facts, "vault_name": f"{at} {sign * 5_000}"}) for at in range(40)]
        KEPT[name](body(name, digest.of([*members, *members])))


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=300) | st.sampled_from(HOSTILE)


@given(ANY_TEXT, st.sampled_from(sorted(FORMATS)))
def test_whatever_the_names_are_the_receivers_limits_are_kept(text: str, name: str) -> None:
    post = made(name, hostile(text))
    KEPT[name](json.loads(post.body.decode("utf-8")))
    assert post == made(name, hostile(text))


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"default", "cloudevent"}))
def test_what_is_cut_is_cut_between_characters_and_marked(name: str) -> None:
    bell = "\U0001f514"  # two units of UTF-16, four bytes
    wide = FAILED._replace(headline=bell * 5_000, summary=bell * 5_000, reason=bell * 5_000, facts={})
    ends = [end for text in texts(body(name, wide)) for end in re.findall(f"{bell}+(.?)", text)]
    assert ends
    assert set(ends) == {"…"}


@given(st.text(max_size=40))
@example("<!channel> &amp; co")
def test_a_name_can_be_read_back_from_slack_and_discord(text: str) -> None:
    assert slack.escape(text).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == text
    assert re.sub(r"\\([^A-Za-z0-9\s])", r"\1", discord.escape(text)) == text


if __name__ == "__main__":
    for name, case in ALL:
        path = GOLDEN / name / f"{case}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(golden(name, case), "utf-8")
