"""What a mail says and how it is made, without a server."""

from __future__ import annotations

import html
from collections.abc import Mapping
from email import message_from_bytes, policy
from email.message import EmailMessage
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from told import FAILED as _FAILED
from vaultbell import digest
from vaultbell.channels.email import SUBJECT_LIMIT, compose
from vaultbell.notification import Notification
from vaultbell.outcome import NO_TIME

FACTS = {
    "operation_log_id": "4827f2da-b008-4507-ab7d-42d0df5ed912",
    "operation_type": "backup",
    "resource_id": "7b1f0c7e-3d5f-4a5b-9a44-0d8d8a3c9c11",
    "resource_name": "ECS-0001",
    "resource_type": "OS::Nova::Server",
    "vault_name": "vault-prod",
    "error_code": "BackupService.7102",
    "started_at": "2026-11-23T07:00:00.123Z",
    "ended_at": "2026-11-23T08:01:00Z",
}
FAILED = _FAILED._replace(
    summary="Backup of ECS-0001 failed: The server is stopped. (BackupService.7102)",
    reason="The server is stopped. (BackupService.7102)",
    facts=FACTS,
)
SENDER, TO = "Vaultbell <bell@example.org>", ("ops@example.com",)


def read(notification: Notification, sender: str = SENDER, to: tuple[str, ...] = TO) -> EmailMessage:
    """The mail as a receiver reads it, off the wire."""
    return message_from_bytes(wire(notification, sender, to), policy=policy.default)


def wire(notification: Notification, sender: str = SENDER, to: tuple[str, ...] = TO) -> bytes:
    return compose(notification, sender, to).as_bytes()


def part(mail: EmailMessage, kind: str) -> str:
    body = mail.get_body((kind,))
    assert body is not None
    content = body.get_content()
    assert isinstance(content, str)
    return content


def with_facts(facts: Mapping[str, str]) -> Notification:
    return FAILED._replace(facts={**FACTS, **facts})


def test_the_head_says_what_whom_when_and_that_no_human_wrote_it() -> None:
    mail = read(FAILED)
    assert dict(mail.items()) == {
        "Subject": "[CRITICAL] Backup of ECS-0001 failed",
        "From": "Vaultbell <bell@example.org>",
        "To": "ops@example.com",
        "Date": "Mon, 23 Nov 2026 08:01:00 +0000",
        "Message-ID": "<msg_0123456789abcdef0123456789abcdef@example.org>",
        "In-Reply-To": "<inc_fedcba9876543210fedcba9876543210@example.org>",
        "References": "<inc_fedcba9876543210fedcba9876543210@example.org>",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "X-Vaultbell-Outcome": "failed",
        "X-Vaultbell-Severity": "critical",
        "Importance": "high",
        "MIME-Version": "1.0",
        "Content-Type": 'multipart/alternative; boundary="=_msg_0123456789abcdef0123456789abcdef"',
    }
    assert [body.get_content_type() for body in mail.iter_parts()] == ["text/plain", "text/html"]


def test_a_repeat_is_the_same_byte_for_byte() -> None:
    assert wire(FAILED) == wire(FAILED._replace())


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        ({"severity": "warning", "outcome": "skipped"}, "[WARNING] Backup of ECS-0001 failed"),
        ({"severity": "info", "type": "cbr.task.resolved"}, "[RESOLVED] Backup of ECS-0001 failed"),
    ],
)
def test_only_what_is_critical_is_of_high_importance(change: dict[str, str], subject: str) -> None:
    mail = read(FAILED._replace(**change))  # type: ignore[arg-type] # each of them is a text
    assert mail["Subject"] == subject
    assert mail["Importance"] is None


def test_mails_of_one_incident_share_their_thread_and_not_their_id() -> None:
    failed, resolved = read(FAILED), read(FAILED._replace(id="msg_" + "9" * 32, type="cbr.task.resolved"))
    assert failed["References"] == resolved["References"] == resolved["In-Reply-To"]
    assert failed["Message-ID"] != resolved["Message-ID"]


def test_ids_stay_as_they_are_under_a_long_domain() -> None:
    mail = wire(FAILED, f"bell@{'a-long-name.' * 12}example.org")
    head = mail.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ")
    for name, start in (("Message-ID", FAILED.id), ("References", FAILED.incident), ("In-Reply-To", FAILED.incident)):
        assert f"{name}: <{start}@{'a-long-name.' * 12}example.org>".encode() in head


def test_a_task_without_any_time_is_not_dated_to_1970() -> None:
    mail = read(FAILED._replace(timestamp=NO_TIME, facts={}))
    assert mail["Date"] is None
    assert "1970" not in part(mail, "plain") + part(mail, "html")
    assert "Since" not in part(mail, "plain") + part(mail, "html")


@pytest.mark.parametrize("kind", ["plain", "html"])
def test_the_order_is_what_since_when_why_what_to_do_where_to_look_facts_and_id(kind: str) -> None:
    told = with_facts({"next_step": "Start the server.", "link": "https://console.example.org/cbr?a=1&b=2"})
    text = html.unescape(part(read(told), kind))
    text = text[text.find("<body") :] if kind == "html" else text
    wanted = (
        "Backup of ECS-0001 failed",
        "2026-11-23 08:01 UTC",
        "The server is stopped. (BackupService.7102)",
        "Start the server.",
        "https://console.example.org/cbr?a=1&b=2",
        "ECS-0001 · OS::Nova::Server · 7b1f0c7e-3d5f-4a5b-9a44-0d8d8a3c9c11",
        "vault-prod",
        "0123456789abcdef0123456789abcdef",
        "eu-de",
        "4827f2da-b008-4507-ab7d-42d0df5ed912",
        "2026-11-23 07:00 UTC",
        "msg_0123456789abcdef0123456789abcdef",
        "sent by Vaultbell",
    )
    places = [text.find(words) for words in wanted]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize("kind", ["plain", "html"])
def test_what_is_not_known_has_no_heading(kind: str) -> None:
    unknown = FAILED._replace(outcome="succeeded", facts={}, region=None, project_id=None, reason="")
    text = part(read(unknown), kind)
    for heading in ("Why", "Error code", "What to do", "Where to look", "Resource", "Project", "Region", "None"):
        assert heading not in text


@pytest.mark.parametrize("kind", ["plain", "html"])
def test_the_error_code_is_told_once(kind: str) -> None:
    assert part(read(FAILED), kind).count("BackupService.7102") == 1
    assert part(read(FAILED._replace(reason="a step took too long")), kind).count("BackupService.7102") == 1


def test_a_time_that_cannot_be_read_is_shown_as_it_is() -> None:
    assert "Ended:     some day" in part(read(with_facts({"ended_at": "some day"})), "plain")


def test_a_name_with_markup_stays_a_name() -> None:
    evil = "</td><script>alert(1)</script><img src=//example.com/x onerror='x'>{{ 7 * 7 }}"
    told = with_facts({"vault_name": evil, "error_code": evil})._replace(
        headline=f"Backup of {evil} failed", reason=evil
    )
    page = part(read(told), "html")
    assert "<script" not in page
    assert "<img" not in page
    assert "49" not in page.replace("4827f2da", "")
    assert evil in html.unescape(page)
    assert evil in part(read(told), "plain")


def test_a_name_with_line_breaks_adds_no_header_and_no_line() -> None:
    evil = "x\r\nBcc: thief@example.com\r\n\r\nWhy: all is well\x0b\x85\u2028"
    told = with_facts({"vault_name": evil})._replace(headline=f"Backup of {evil} failed")
    mail = read(told)
    assert mail.keys() == read(FAILED).keys()
    assert mail["Subject"] == "[CRITICAL] Backup of x Bcc: thief@example.com Why: all is well failed"
    whys = [line for line in part(mail, "plain").splitlines() if line.startswith("Why:")]
    assert whys == ["Why: The server is stopped. (BackupService.7102)"]


def test_marks_that_turn_the_direction_of_writing_are_taken_out() -> None:
    mail = read(FAILED._replace(headline="Backup of \u202egnp.exe\u2066 failed"))
    for text in (mail["Subject"], part(mail, "plain"), part(mail, "html")):
        assert "\u202e" not in text
        assert "\u2066" not in text


def test_half_a_surrogate_pair_is_replaced() -> None:
    mail = read(with_facts({"vault_name": "v\udc00"})._replace(headline="Backup of \ud800 failed", reason="\udfff"))
    assert mail["Subject"] == "[CRITICAL] Backup of \ufffd failed"
    assert "v\ufffd" in part(mail, "plain")


@pytest.mark.parametrize("letter", ["W", "ü", "備", "🔔"])
def test_a_name_of_64_kib_is_cut_at_a_whole_character_and_marked(letter: str) -> None:
    mail = read(with_facts({"vault_name": letter * 65_536})._replace(headline=letter * 65_536))
    assert mail["Subject"] == "[CRITICAL] " + letter * (SUBJECT_LIMIT - 12) + "…"
    assert len(mail.as_bytes()) < 100_000


def test_a_subject_of_encoded_words_is_cut_as_any_other() -> None:
    assert len(read(FAILED._replace(headline="=?" * 300))["Subject"]) <= SUBJECT_LIMIT


@given(text=st.text(st.characters(codec=None), max_size=300))
def test_whatever_a_name_holds_any_server_can_take_the_mail(text: str) -> None:
    told = with_facts(dict.fromkeys((*FACTS, "link", "next_step"), text))._replace(headline=text, reason=text)
    raw = wire(told)
    assert raw.isascii()
    lines = raw.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert not any(b"\n" in line or b"\r" in line for line in lines)
    mail = message_from_bytes(raw, policy=policy.default)
    assert mail.keys() == read(FAILED).keys()
    assert len(mail["Subject"]) <= SUBJECT_LIMIT
    assert not any(list(body.defects) for body in mail.walk())


@pytest.mark.parametrize(
    ("mailbox", "name", "address"),
    [
        ("bell@example.org", "", "bell@example.org"),
        ("<bell@example.org>", "", "bell@example.org"),
        ("Backups, all of them <bell@example.org>", "Backups, all of them", "bell@example.org"),
        ('"Backups (prod)" <bell@example.org>', "Backups (prod)", "bell@example.org"),
        ("Glöckchen; 備份 <bell@example.org>", "Glöckchen; 備份", "bell@example.org"),
    ],
)
def test_an_address_keeps_its_name_and_stays_one_address(mailbox: str, name: str, address: str) -> None:
    mail = read(FAILED, mailbox, (mailbox, "second@example.com"))
    for given_, wanted in (("From", [(name, address)]), ("To", [(name, address), ("", "second@example.com")])):
        assert [(one.display_name, one.addr_spec) for one in mail[given_].addresses] == wanted


def test_the_page_fetches_nothing_and_runs_nothing_and_knows_the_dark() -> None:
    page = part(read(FAILED), "html").replace("https://console.otc.t-systems.com/cbr/?region=eu-de", "")  # a link
    for word in ("<script", "src=", "url(", "@import", "<link", "http"):
        assert word not in page
    assert '<meta name="color-scheme" content="light dark">' in page
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page


@pytest.mark.parametrize(("severity", "colour"), [("critical", "#c62828"), ("warning", "#f9a825"), ("info", "#2e7d32")])
def test_the_bar_has_the_colour_of_the_severity(severity: str, colour: str) -> None:
    assert f"background-color:{colour}" in part(read(FAILED._replace(severity=severity)), "html")


@pytest.mark.parametrize("kind", ["plain", "html"])
def test_a_mail_says_what_to_do_and_where_to_look(kind: str) -> None:
    text = html.unescape(part(read(FAILED), kind))
    for told in ("Start the server", "https://console.otc.t-systems.com/cbr/?region=eu-de"):
        assert told in text
    assert text.index("Since") < text.index("Why") < text.index("What to do") < text.index("Where to look")


@pytest.mark.parametrize("kind", ["plain", "html"])
def test_times_are_told_in_the_readers_zone_as_well(kind: str) -> None:
    mail = message_from_bytes(compose(FAILED, SENDER, TO, ZoneInfo("Asia/Tokyo")).as_bytes(), policy=policy.default)
    assert "2026-11-23 08:01 UTC (17:01 JST)" in part(mail, kind)
    assert "JST" not in part(read(FAILED), kind)


@pytest.mark.parametrize("kind", ["plain", "html"])
def test_a_digest_is_a_table_by_error_code_and_vault(kind: str) -> None:
    full = {"error_code": "BackupService.6114", "error_message": "The vault is full."}
    members = [FAILED._replace(id=f"msg_{at:032}", headline=f"Backup of ECS-{at:04} failed") for at in range(12)]
    members.append(with_facts(full)._replace(id="msg_" + "f" * 32, headline="Backup of <b>disk</b> failed"))
    mail = read(digest.of(members))
    assert mail["Subject"] == "[CRITICAL] 13 backup tasks want attention: 13 failed"
    text = html.unescape(part(mail, kind))
    wanted = [
        "12 with BackupService.7102 in vault-prod",
        "Start the server",
        "Backup of ECS-0000 failed",
        "2026-11-23 08:01 UTC",
        "Backup of ECS-0011 failed",
        "1 with BackupService.6114 in vault-prod",
        "Expand the vault",
        "Backup of <b>disk</b> failed",
    ]
    places = [text.rfind(told) if told.startswith("Backup of") else text.find(told) for told in wanted]
    places.pop(3)  # it stands in each row
    assert -1 not in places
    assert places == sorted(places)
    assert "<b>disk" not in part(mail, "html")


def test_the_mail_of_an_end_tells_when_it_was_and_nothing_to_do() -> None:
    good = FAILED._replace(type="cbr.task.resolved", outcome="succeeded", severity="info", facts={})
    text = part(read(good), "plain")
    assert "When: 2026-11-23 08:01 UTC" in text
    assert "Since" not in text
    assert "What to do" not in text
