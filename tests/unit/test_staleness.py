"""A resource that nobody backs up: when that is told, and how it reads in a mail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from vaultbell import notification, stale_message, staleness
from vaultbell.channels.email import compose
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.cloud.vaults import Policy, Vault
from vaultbell.notification import Notification
from vaultbell.settings import OutcomeRules
from vaultbell.staleness import Slot, Standing
from vaultbell.sweep import Window

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MAX_AGE, RULES = 26 * HOUR, OutcomeRules()
LATE = NOW - MAX_AGE - 5 * MINUTE
COVERED = Window(NOW - 15 * MINUTE, NOW)
PROJECT = "0123456789abcdef0123456789abcdef"
DB = {"id": "1dc0ffee-0000-4000-9000-00000000db01", "name": "db-01", "type": "OS::Nova::Server"}


def vault(created: datetime | None = NOW - 90 * DAY, **fields: Any) -> Vault:  # noqa: ANN401 - as in the API's table
    return Vault.read(
        {"id": "v1", "name": "prod-daily", "created_at": created.isoformat() if created else None, **fields}
    )


def standing(*tasks: OperationLog, runs: Sequence[datetime] = (), **fields: Any) -> Standing:  # noqa: ANN401
    """A resource with these tasks, in a vault with these fields."""
    held = vault(**{"resources": [DB], **fields})
    return Standing(held, held.resources[0], runs=tuple(runs)).asked(tasks, RULES, NOW)


def task(ended: datetime, status: str = "success", **fields: Any) -> OperationLog:  # noqa: ANN401
    begun = (ended - 4 * MINUTE).isoformat()
    times = {"created_at": begun, "started_at": begun, "ended_at": ended.isoformat(), "updated_at": ended.isoformat()}
    return OperationLog.read({"id": begun, "operation_type": "backup", "status": status, **times, **fields})


def slot(found: Standing, interval: timedelta = DAY) -> Slot | None:
    return staleness.slot(found, MAX_AGE, COVERED, interval)


# when


@pytest.mark.parametrize(
    ("ago", "repeats"),
    [
        (MAX_AGE, None),  # as old as it may be, at the end of the window: that is the next one's
        (MAX_AGE + timedelta(microseconds=1), 0),
        (MAX_AGE + 15 * MINUTE, 0),
        (MAX_AGE + 15 * MINUTE + timedelta(microseconds=1), None),
        (MAX_AGE + DAY - MINUTE, None),
        (MAX_AGE + DAY + MINUTE, 1),
        (MAX_AGE + 40 * DAY + MINUTE, 40),
    ],
)
def test_it_is_told_in_the_window_in_which_its_time_was_over_and_a_whole_number_of_days_later(
    ago: timedelta, repeats: int | None
) -> None:
    good = NOW - ago
    wanted = None if repeats is None else Slot(good + MAX_AGE, good + MAX_AGE + repeats * DAY)
    assert slot(standing(task(good))) == wanted


def test_the_last_good_backup_counts_and_the_end_of_it_not_its_beginning() -> None:
    assert slot(standing(task(NOW - MAX_AGE - 5 * MINUTE), task(NOW - 3 * DAY)))
    assert not slot(standing(task(NOW - MAX_AGE - 5 * MINUTE), task(NOW - HOUR)))
    assert not slot(standing(task(NOW - MAX_AGE + 2 * MINUTE)))


def test_a_task_that_is_listed_twice_counts_once() -> None:
    failed = task(NOW - MAX_AGE - 5 * MINUTE, "failed")
    assert len(standing(failed, failed).tasks or ()) == 1


def test_a_list_of_its_tasks_that_holds_others_or_too_few_silences_nothing_and_rings_for_nothing() -> None:
    fresh = NOW - HOUR
    assert slot(standing(task(LATE), task(fresh, extra_info={"resource": {"id": "r2"}})))
    known = Standing(vault(), standing().resource, goods=(fresh,)).asked([], RULES, NOW)
    assert known.last_good == fresh


@pytest.mark.parametrize("created", [NOW - MAX_AGE - 5 * MINUTE, NOW - MAX_AGE - 5 * MINUTE - 3 * DAY])
def test_what_was_never_tried_counts_from_the_making_of_its_vault(created: datetime) -> None:
    found = slot(standing(created=created))
    assert found
    assert (found.first, found.at) == (created + MAX_AGE, NOW - 5 * MINUTE)


def test_where_nothing_is_known_of_the_vault_it_is_told_once_in_each_interval_from_the_epoch_on() -> None:
    windows = [Window(NOW + n * 15 * MINUTE, NOW + (n + 1) * 15 * MINUTE) for n in range(4 * 96)]
    found = [when for covered in windows if (when := staleness.slot(standing(created=None), MAX_AGE, covered, DAY))]
    assert [when.at for when in found] == [datetime(2026, 11, day, 2, 0, tzinfo=UTC) for day in (24, 25, 26, 27)]


def test_what_is_left_out_is_told_when_the_others_are_backed_up_the_first_time_in_a_day() -> None:
    runs = [NOW - 5 * MINUTE - n * 6 * HOUR for n in range(9, -1, -1)]
    assert not slot(standing(runs=runs))  # the third of the day
    assert slot(standing(runs=runs[-1:]))
    assert not slot(standing(runs=runs[:-1]))
    found = slot(standing(runs=[*runs[:6], runs[-1]]))
    assert found
    assert found.left_out == NOW - 5 * MINUTE


# in which words


def message(
    found: Standing, policies: Sequence[dict[str, Any]] | None = ({"enabled": True},), interval: timedelta = DAY
) -> Notification:
    when = slot(found, interval)
    assert when
    known = [
        Policy.read({"id": "p1", "name": "nightly", "associated_vaults": [{"vault_id": "v1"}], **fields})
        for fields in policies or ()
    ]
    read = None if policies is None else known
    return stale_message.of(found, when, MAX_AGE, read, RULES, NOW, project_id=PROJECT, region="eu-de")


def mail(told: Notification) -> list[str]:
    """The lines of the mail's text, down to the link."""
    body = compose(told, "bell@example.org", ["ops@example.org"], ZoneInfo("Europe/Berlin")).get_body(("plain",))
    assert body
    return str(body.get_content()).partition("Where to look")[0].strip().splitlines()


LOOK = "Look in the console whether the policy's schedule still runs and includes the resource."
ERROR = {"error_info": {"code": "BackupService.7102", "message": "The server is stopped."}}


def test_a_mail_says_what_is_at_risk_since_when_why_and_what_to_do() -> None:
    assert mail(message(standing(task(LATE), task(NOW - 2 * HOUR, "failed", **ERROR)))) == [
        "[CRITICAL] No good backup of db-01 for 26 h",
        "",
        "Since: 2026-11-22 05:55 UTC (06:55 CET)",
        "Why: Its last good backup is older than 26 h; the last attempt, of 2026-11-23 05:56 UTC, failed: "
        "The server is stopped. (BackupService.7102)",
        "History: First failure; last good backup 2026-11-22 05:55 UTC (06:55 CET), 26 h before",
        "What to do: Start the server, or take it out of the vault if it is meant to be off; then back it up again.",
    ]


def test_a_mail_says_that_nothing_was_ever_backed_up_and_does_not_know_since_when() -> None:
    assert mail(message(standing(created=LATE))) == [
        "[CRITICAL] db-01 has never been backed up",
        "",
        "Since: not known: nothing says when it was put into its vault",
        "Why: The task list knows no backup of it; it may have been added lately",
        "History: No good backup is on record",
        f"What to do: {LOOK} Back it up by hand until it does.",
    ]


RUNNING: dict[str, Any] = {"ended_at": None, "updated_at": None}
FULL = {"size": 100, "used": 102_400}
STEPS: list[tuple[Standing, Sequence[dict[str, Any]] | None, str]] = [
    (standing(task(LATE)), None, LOOK),
    (standing(task(LATE)), [], "Apply a backup policy"),
    (standing(task(LATE)), [{"operation_type": "replication"}], "Apply a backup policy"),
    (standing(task(LATE)), [{"enabled": False}], "Enable the vault's policy again."),
    (standing(task(LATE)), [{"enabled": False}, {"enabled": True}], LOOK),
    (standing(task(LATE), billing=FULL), [], "Expand the vault"),
    (standing(task(LATE), billing={"status": "frozen"}, auto_expand=True), [], "Clear what blocks the vault"),
    (standing(task(LATE), task(NOW - HOUR, "running", **RUNNING), billing=FULL), [], "Wait for the backup"),
    (standing(task(LATE), task(NOW - HOUR, "skipped")), ({},), "Check the resource's state"),
]


@pytest.mark.parametrize(("found", "policies", "step"), STEPS)
def test_what_to_do_is_the_nearest_thing_that_is_in_the_way(
    found: Standing, policies: Sequence[dict[str, Any]] | None, step: str
) -> None:
    assert message(found, policies).facts["next_step"].startswith(step)


def test_a_name_stays_a_name() -> None:
    odd = {**DB, "name": "db\r\nBcc: all@example.org <b>" + "x" * 300}
    told = message(standing(task(LATE), resources=[odd]))
    assert "\n" not in told.headline
    assert len(told.headline) < 400
    assert mail(told)[0].startswith("[CRITICAL] No good backup of db Bcc: all@example.org <b>xxx")


def test_the_incident_is_that_of_a_failure_of_the_same_resource() -> None:
    failed = task(NOW, "failed", extra_info={"resource": DB})
    assert message(standing(task(LATE))).incident == notification.incident(failed, PROJECT)
