"""A digest as a mail: what is asked of many at once is answered for many at once."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import pytest

from vaultbell import advice, digest
from vaultbell.channels.email import compose
from vaultbell.notification import Notification
from vaultbell.past import Past

FIRST = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def failed(number: int, code: str) -> Notification:
    return Notification(
        id=f"msg_{number:032}",
        type="cbr.task.failed",
        timestamp=FIRST + timedelta(minutes=number),
        outcome="failed",
        severity="critical",
        headline=f"Backup of ECS-{number:04} failed",
        summary=f"Backup of ECS-{number:04} failed: no reason",
        reason="no reason",
        incident=f"inc_{number:032}",
        project_id="0123456789abcdef0123456789abcdef",
        region="eu-de",
        facts={"error_code": code, "vault_name": "vault-daily"},
        operation_log={},
        past=Past(number, FIRST) if number else None,
    )


MAIL = compose(
    digest.of([*(failed(n, "BackupService.7102") for n in range(3)), failed(3, "BackupService.6113")]),
    "bell@example.org",
    ["ops@example.org"],
)


@pytest.fixture(params=["plain", "html"])
def text(request: pytest.FixtureRequest) -> str:
    body = MAIL.get_body((request.param,))
    assert isinstance(body, EmailMessage)
    return str(body.get_content())


def test_each_member_stands_below_its_cause(text: str) -> None:
    wanted = ["3 with BackupService.7102 in vault-daily", "ECS-0000", "ECS-0001", "ECS-0002"]
    wanted += ["1 with BackupService.6113 in vault-daily", "ECS-0003"]
    places = [text.find(words) for words in wanted]
    assert -1 not in places
    assert places == sorted(places)


def test_a_cause_is_told_once_and_the_time_is_that_of_the_latest(text: str) -> None:
    assert text.count("3 with BackupService.7102") == 1
    assert "Why" not in text
    assert "Since" not in text
    latest, cause = text.index("2026-11-23 08:03 UTC"), text.index("3 with BackupService.7102")
    assert text.index("The latest") < latest < cause


def test_each_member_says_how_often_in_a_row_where_that_is_known(text: str) -> None:
    told = re.findall(r"\d(?:st|nd|rd) in a row, last good 2026-11-23 08:00 UTC", text)
    assert [words[:3] for words in told] == ["1st", "2nd", "3rd"]


def test_rows_have_as_many_cells_as_their_neighbours() -> None:
    body = MAIL.get_body(("html",))
    assert isinstance(body, EmailMessage)
    _, first, second = str(body.get_content()).split("<h2")
    cells = [[row.count("<td") for row in table.split("<tr>")[1:5]] for table in (first, second)]
    assert cells[0][:3] == [3, 3, 3]
    assert cells[1][0] == 3


def test_what_to_do_is_said_for_each_outcome_where_it_is_not_the_same_for_all() -> None:
    late = failed(1, "")._replace(outcome="overdue")
    mail = compose(digest.of([late, failed(2, "")]), "bell@example.org", ["ops@example.org"], None)
    body = mail.get_body(("plain",))
    assert body
    said = " ".join(body.get_content().split())
    assert f"What to do: Overdue: {advice.next_step('overdue')} Failed: {advice.next_step('failed')}" in said
