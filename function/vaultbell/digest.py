"""Many notifications of one event as one message: who wants to sleep is not to be sent forty mails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from vaultbell import notification
from vaultbell.notification import LEVELS, Notification

TYPE = "cbr.digest"


class Group(NamedTuple):
    """The members that have an error code and a vault in common; None: they have none."""

    error_code: str | None
    vault: str | None
    members: tuple[Notification, ...]


def groups(members: Sequence[Notification]) -> list[Group]:
    """The members by error code and vault, the largest group first; within one by severity, then by headline."""
    found: dict[tuple[str | None, str | None], list[Notification]] = {}
    for member in members:
        facts = member.facts
        key = (facts.get("error_code"), facts.get("vault_name") or facts.get("vault_id"))
        found.setdefault(key, []).append(member)
    made = [Group(*key, tuple(sorted(group, key=_order))) for key, group in found.items()]
    return sorted(made, key=lambda group: (-len(group.members), group.error_code or "", group.vault or ""))


def of(members: Sequence[Notification]) -> Notification:
    """The one message about them. The same members make the same message, in whatever order they came."""
    members = sorted(members, key=_order)
    counts = Counter(member.outcome.replace("_", " ") for member in members)
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    headline = f"{len(members)} backup tasks want attention: {told}"
    reason = "; ".join(
        f"{len(group.members)} with {group.error_code or 'no error code'} in {group.vault or 'no vault'}"
        for group in groups(members)
    )
    return notification.of_members(TYPE, members, headline=headline, reason=reason)


def _order(member: Notification) -> tuple[int, str, str]:
    return LEVELS.index(member.severity), member.headline, member.id
