"""How it is told: one file a way of telling, each answering two questions: did it work, and may it be tried again?"""

from __future__ import annotations

from typing import Protocol

from vaultbell.budget import Budget
from vaultbell.notification import Notification


class Channel(Protocol):
    """One place to tell."""

    def send(self, notification: Notification, budget: Budget) -> str | None:
        """Tell it once. Returns a remark for the receipt, or None. Raises Transient or Permanent."""
