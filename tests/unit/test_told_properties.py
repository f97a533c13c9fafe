"""Whatever the cloud says of a task, each receiver can take what is told of it, and a name stays a name."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receivers import KEPT
from vaultbell import digest, notification
from vaultbell.channels import formats
from vaultbell.channels.email import SUBJECT_LIMIT, compose
from vaultbell.channels.formats.post import Options
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.notification import Notification
from vaultbell.outcome import classify
from vaultbell.settings import INCIDENT_FORMATS, OutcomeRules

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
PROJECT = "0123456789abcdef" * 2
RULES = OutcomeRules()
OPTIONS = Options(routing_key="R" * 32, api_key="G" * 36, zone=ZoneInfo("Europe/Berlin"))

# Letters of every kind, halves of surrogate pairs, controls, marks that turn the direction of writing, markup, length.
SIGNS = st.characters(exclude_categories=()) | st.sampled_from(
    "\0\r\n\t\x1b\u202e\u2066\u2028\ufeff\ud800<>&@*_`|[]{}\\\"'"
)
TEXTS = st.one_of(
    st.text(SIGNS, max_size=30),
    st.builds(lambda sign, times: sign * times, SIGNS, st.integers(250, 5_000)),
    st.sampled_from(
        [
            *(
                "",
                " ",
                "<!channel>",
                "</td><script>alert(1)</script>",
                "x\r\nBcc: a@example.org\r\n\r\ny",
                "{{ 7 * 7 }}",
            ),
            *(
                "@everyone",
                "[a](https://evil.example)",
                "&amp;&lt;",
                "BackupService.7102",
                "ECS-0001",
                "\ud83d",
                "=?utf-8?b?YQ==?=",
            ),
        ]
    ),
)
TIMES = st.sampled_from(
    ["2026-11-22T07:00:00Z", "2026-11-23T07:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", ""]
)


def some(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, TEXTS))


RECORDS = st.fixed_dictionaries(
    {"status": st.sampled_from(["success", "skipped", "failed", "running", "timeout", "waiting", "\ud800"])},
    optional={
        "id": TEXTS,
        "operation_type": st.sampled_from(sorted(notification.TITLES)) | TEXTS,
        **dict.fromkeys(("vault_id", "vault_name", "policy_id", "checkpoint_id"), TEXTS),
        **dict.fromkeys(("created_at", "started_at", "ended_at", "updated_at"), TIMES),
        "error_info": some("code", "message"),
        "extra_info": st.fixed_dictionaries(
            {},
            optional={
                "resource": some("id", "name", "type"),
                "backup": some("backup_name", "app_consistency_error_code", "app_consistency_error_message"),
                "restore": some("backup_name", "target_resource_id", "target_resource_name"),
                "replication": some(
                    "source_region", "destination_region", "destination_project_id", "source_backup_name"
                ),
                "remove_resources": st.fixed_dictionaries(
                    {"fail_count": st.integers(0, 3)}, optional={"resources": st.lists(some("name", "id"), max_size=8)}
                ),
            },
        ),
    },
)


def told(record: dict[str, Any]) -> Notification:
    log = OperationLog.read(record)
    return notification.of_task(log, classify(log, RULES, NOW), RULES, project_id=PROJECT, region="eu-de")


def all_kinds(record: dict[str, Any]) -> tuple[Notification, ...]:
    """What rings, what ends it, and both among others in one."""
    rung = told(record)
    ended = notification.of_resolved(rung._replace(id="msg_" + "e" * 32, outcome="succeeded", severity="info"), rung)
    return rung, ended, digest.of([rung._replace(id=f"msg_{at:032}") for at in range(12)])


@pytest.mark.parametrize("name", formats.FORMATS)
@given(record=RECORDS)
def test_every_receiver_can_take_it(name: str, record: dict[str, Any]) -> None:
    rung, ended, many = all_kinds(record)
    for kind in (rung, ended) if name in INCIDENT_FORMATS else (rung, ended, many):
        post = formats.of(name)(kind, OPTIONS, NOW)
        KEPT[name](json.loads(post.body.decode(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON")))
        assert all(value.isascii() and value.isprintable() for value in (*post.headers.values(), post.path))
        assert post == formats.of(name)(kind._replace(), OPTIONS, NOW)


class Tags(HTMLParser):
    """The tags of a page, with the names of their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[tuple[str, ...]] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add((tag, *(name for name, _ in attrs)))


def read(mail: EmailMessage) -> EmailMessage:
    return message_from_bytes(mail.as_bytes(), policy=policy.default)


def page(mail: EmailMessage) -> str:
    body = mail.get_body(("html",))
    assert body is not None
    return str(body.get_content())


PLAIN = {"status": "failed", "error_info": {"code": "BackupService.7102", "message": "why"}, "policy_id": "p"}
PLAIN |= {"vault_name": "v", "vault_id": "i", "operation_type": "backup", "id": "t", "ended_at": "2026-11-23T07:00:00Z"}
PLAIN |= {"created_at": "2026-11-23T06:00:00Z", "extra_info": {"resource": {"id": "r", "name": "n", "type": "t"}}}
KNOWN_TAGS = set[tuple[str, ...]]().union(
    *(Tags(page(read(compose(it, "a@b.example", ["c@d.example"])))).found for it in all_kinds(PLAIN))
)


@given(RECORDS)
def test_any_server_can_take_the_mail_and_no_name_is_more_than_a_name(record: dict[str, Any]) -> None:
    harmless = read(compose(told(PLAIN), "a@b.example", ["c@d.example"]))
    for kind in all_kinds(record):
        mail = compose(kind, "a@b.example", ["c@d.example"], ZoneInfo("Europe/Berlin"))
        raw = mail.as_bytes()
        assert raw.isascii()
        assert max(map(len, raw.split(b"\r\n"))) <= 998
        assert not any({b"\n"[0], b"\r"[0], 0} & set(line) for line in raw.split(b"\r\n"))
        seen = read(mail)
        assert set(seen.keys()) - {"Date", "Importance"} == set(harmless.keys()) - {"Date", "Importance"}
        assert len(seen["Subject"]) <= SUBJECT_LIMIT
        assert not any(list(body.defects) for body in seen.walk())
        assert Tags(page(seen)).found <= KNOWN_TAGS


@pytest.mark.parametrize("depth", [10, 60, 400])
@pytest.mark.parametrize("name", formats.FORMATS)
def test_a_field_that_is_nested_deeply_is_handed_on_or_left_alone(name: str, depth: int) -> None:
    record = {**PLAIN, "new": json.loads("[" * depth + "]" * depth)}
    body = json.loads(formats.of(name)(told(record), OPTIONS, NOW).body)
    if name == "default":
        assert body["data"]["operation_log"] == record
