"""A night's message as somebody reads it who was woken by it: what is at risk, since when, what next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from standin.sinks import Mailbox
from worlds import NewWorld, World

SERVER = "1dc0ffee-0000-4000-9000-00000000db01"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def world(new_world: NewWorld) -> World:
    """One signed webhook."""
    return new_world()


def night(ago: int) -> datetime:
    """Some minutes past two, so many nights ago; those of today may not have been yet."""
    return datetime.now(UTC).replace(hour=2, minute=31, second=4, microsecond=0) - (ago + 1) * DAY


def backed_up(world: World, outcome: str, ago: int) -> dict[str, object]:
    begun = night(ago) - timedelta(minutes=5)
    times = {"created_at": begun, "started_at": begun, "ended_at": night(ago), "updated_at": night(ago)}
    return world.cloud.outcome(outcome, resource_id=SERVER, resource_name="db-server-01", **times)


def test_a_third_failure_read_as_a_whole(world: World) -> None:
    for ago, outcome in ((5, "failed"), (4, "succeeded"), (2, "failed"), (1, "skipped")):
        backed_up(world, outcome, ago)
    task = backed_up(world, "failed", 0)
    data = world.named(task).body["data"]
    assert data.pop("operation_log") == task
    incident = data.pop("incident")
    assert data == {
        "outcome": "failed",
        "severity": "critical",
        "summary": "Backup of db-server-01 failed: The server is in a state in which it cannot be backed up. "
        "(BackupService.7102) (incremental, at 64 %); third failure in a row; "
        f"last good backup {night(4):%Y-%m-%d} 02:31 UTC, 4 d before",
        "reason": "The server is in a state in which it cannot be backed up. (BackupService.7102)",
        "region": "eu-de",
        "project_id": world.cloud.project_id,
        "failures_in_row": 3,
        "last_good_at": f"{night(4):%Y-%m-%dT%H:%M:%S}Z",
    }
    # and once a newer one is good
    again = night(0) + timedelta(hours=3)
    world.cloud.outcome("succeeded", resource_id=SERVER, created_at=night(0) + timedelta(minutes=1), ended_at=again)
    first, second = world.named(task).rung
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    told = second.json["data"]
    assert (told["severity"], told["incident"]) == ("warning", incident)
    assert told["summary"] == (
        "Backup of db-server-01 failed, since recovered: The server is in a state in which it cannot be backed up. "
        f"(BackupService.7102) (incremental, at 64 %); a newer backup succeeded {night(0):%Y-%m-%d} 05:31 UTC; "
        f"third failure in a row; good backup before it {night(4):%Y-%m-%d} 02:31 UTC, 4 d before"
    )
    assert datetime.fromisoformat(told["recovered_at"]) == again


def test_a_mail_answers_in_the_order_in_which_one_asks(new_world: NewWorld) -> None:
    with Mailbox() as mailbox:
        world = new_world(
            VAULTBELL_EMAIL_TO="ops@example.org",
            VAULTBELL_EMAIL_FROM="bell@example.org",
            VAULTBELL_SMTP_URL=f"smtp://127.0.0.1:{mailbox.port}?tls=off",
        )
        backed_up(world, "succeeded", 3)
        backed_up(world, "failed", 1)
        task = backed_up(world, "failed", 0)
        world.named(task)
        (mail,) = mailbox.wait_for(1)
        page = mail.message.get_body(("plain",))
        assert page is not None
        step = "Start the server, or take it out of the vault if it is meant to be off; then back it up again."
        assert page.get_content().splitlines()[:8] == [
            "[CRITICAL] Backup of db-server-01 failed",
            "",
            f"Since: {night(0):%Y-%m-%d} 02:31 UTC",
            "Why: The server is in a state in which it cannot be backed up. (BackupService.7102)",
            f"History: Second failure in a row; last good backup {night(3):%Y-%m-%d} 02:31 UTC, 3 d before",
            f"What to do: {step}",
            "Where to look: https://console.otc.t-systems.com/cbr/?region=eu-de",
            "",
        ]
