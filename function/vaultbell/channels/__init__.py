"""How it is told: one file a way of telling, each answering two questions: did it work, and may it be tried again?"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from vaultbell.budget import Budget
from vaultbell.notification import Notification


class Taken(NamedTuple):
    """It was taken. `status` is the other side's answer (HTTP's, SMTP's), `remark` what the receipt is to tell."""

    status: int | None = None
    remark: str | None = None


class Channel(Protocol):
    """One place to tell."""

    def send(self, notification: Notification, budget: Budget) -> Taken:
        """Tell it once. Raises Transient or Permanent where it was not taken."""
