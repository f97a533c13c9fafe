"""What people are shown of a notification, in the order in which they ask: what, since when, why, what to do, where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo

from vaultbell import advice, digest, times
from vaultbell.notification import Notification
from vaultbell.outcome import NO_TIME, OutcomeName
from vaultbell.text import one_line

RESOLVED = "cbr.task.resolved"
ROLL_CALL = "ROLL CALL"
TIMES = ("created_at", "started_at", "ended_at", "deadline")
MOMENTS = (*TIMES, "last_good_at")
ANSWERS = {
    "Since": "since",
    "Why": "reason",
    "Error code": "error_code",
    "History": "history",
    "What to do": "next_step",
}
FACTS = {
    "Resource": ("resource_name", "resource_type", "resource_id"),
    "Vault": ("vault_name", "vault_id"),
    "Backup": ("backup_name",),
    "Project": ("project_id",),
    "Region": ("region",),
    "Operation": ("operation_type",),
    "Progress": ("progress",),
    "Policy": ("policy_id",),
    "Task": ("operation_log_id",),
    **{key.removesuffix("_at").capitalize(): (key,) for key in TIMES},
}


@dataclass(frozen=True, slots=True)
class Message:
    """A message for a chat. Each text is one line.

    `title` is "[CRITICAL] Backup of ECS-0001 failed", `answers` are Since, Why, History, What to do as far as they are
    known;
    `facts` name the resource, the vault, the task and so on; `rows` are the members that a digest stands for.
    """

    title: str
    answers: tuple[tuple[str, str], ...]
    link: str | None
    facts: tuple[tuple[str, str], ...]
    rows: tuple[str, ...]
    id: str


@dataclass(frozen=True, slots=True)
class Table:
    """Members of a digest that have the same error code and vault, and what to do about them.

    A row is a headline, the past (empty where it is not known), and the time.
    """

    title: str
    next_step: str | None
    rows: tuple[tuple[str, str, str], ...]


def of(notification: Notification, zone: tzinfo | None = None) -> Message:
    """The notification as a message. Times are told in UTC, and in `zone` as well."""
    shown = known(notification, zone)
    reason = shown.get("reason", "")
    asked = {name: key for name, key in ANSWERS.items() if key != "error_code" or shown.get(key, "") not in reason}
    if notification.tally:
        asked = {"Counted": "reason"}
    elif notification.members:
        asked = {"The latest": "since"}  # each table has its own
    elif notification.outcome == OutcomeName.SUCCEEDED:
        asked = {"When" if name == "Since" else name: key for name, key in asked.items()}
    return Message(
        title=f"[{label(notification)}] {shown.get('headline', '')}",
        answers=tuple((name, shown[key]) for name, key in asked.items() if key in shown),
        link=shown.get("link"),
        facts=tuple((name, text) for name, text in facts(shown) if text),
        rows=tuple(line for table in tables(notification, zone) for line in _lines(table)),
        id=notification.id,
    )


def label(notification: Notification) -> str:
    """The one word that a title begins with."""
    if notification.tally:
        return ROLL_CALL
    return "RESOLVED" if notification.type == RESOLVED else notification.severity.upper()


def known(notification: Notification, zone: tzinfo | None = None) -> dict[str, str]:
    """What is known, fit to be shown: texts on one line, times for people."""
    told: dict[str, str | None] = {
        "next_step": advice.next_step(notification.outcome, notification.facts.get("error_code")),
        "link": advice.link(notification.region),
        **notification.facts,
        "project_id": notification.project_id,
        "region": notification.region,
    }
    told |= {key: getattr(notification, key) for key in ("id", "severity", "headline", "reason")}
    if past := notification.past:
        told["history"] = past.words(notification.facts.get("operation_type"), notification.timestamp, zone)
    shown = {key: text for key, value in told.items() if (text := one_line(value or ""))}
    if shown.get("progress", "").isdecimal():
        shown["progress"] += " %"
    moments = {key: times.read(shown.get(key)) for key in (*MOMENTS, "since")}
    if notification.timestamp > NO_TIME and not notification.tally and "since" not in notification.facts:
        moments["since"] = notification.timestamp
    return shown | {key: times.plain(time, zone) for key, time in moments.items() if time}


def facts(shown: Mapping[str, str]) -> list[tuple[str, str]]:
    """The facts by their names, in order; one that is not known is empty."""
    return [(name, " · ".join(shown[key] for key in keys if key in shown)) for name, keys in FACTS.items()]


def tables(notification: Notification, zone: tzinfo | None = None) -> list[Table]:
    """The members of a digest or a roll call, a table for each error code and vault; and what else that names."""
    named = notification.tally.tables(zone) if notification.tally else ()
    more = [Table(title, advice.next_step(outcome), rows) for title, outcome, rows in named]
    return [
        Table(
            title=one_line(
                f"{len(group.members)} with {group.error_code or 'no error code'} in {group.vault or 'no vault'}"
            ),
            next_step=_next_step(group),
            rows=tuple(_row(member, zone) for member in group.members),
        )
        for group in digest.groups(notification.members)
    ] + more


def _next_step(group: digest.Group) -> str | None:
    """What to do about all of them; where that differs by outcome, for each."""
    steps = {member.outcome: advice.next_step(member.outcome, group.error_code) for member in group.members}
    if len(set(steps.values())) == 1:
        return next(iter(steps.values()))
    return " ".join(f"{outcome.replace('_', ' ').capitalize()}: {step}" for outcome, step in steps.items() if step)


def _row(member: Notification, zone: tzinfo | None) -> tuple[str, str, str]:
    past = member.past.short(member.timestamp, zone) if member.past else ""
    return one_line(member.headline), past, times.plain(member.timestamp, zone)


def _lines(table: Table) -> Iterator[str]:
    yield f"{table.title}:"
    if table.next_step:
        yield f"What to do: {table.next_step}"
    yield from (f"• {headline}, {since}{past and f' ({past})'}" for headline, past, since in table.rows)
