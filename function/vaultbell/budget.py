"""The time that one event may take: a deadline that every wait on its way is measured against."""

from __future__ import annotations

import time
from typing import NamedTuple

RESERVE_SHARE = 0.1
RESERVE_MOST = 1.0


class Budget(NamedTuple):
    """A point on the monotonic clock, in seconds. Passed down; parts of it are made with `capped` and `share`."""

    deadline: float

    @classmethod
    def of(cls, seconds: float) -> Budget:
        """A budget of so many seconds from now, less the reserve kept for the answer (a tenth, 1 s at most)."""
        return cls(time.monotonic() + seconds - min(seconds * RESERVE_SHARE, RESERVE_MOST))

    @property
    def left(self) -> float:
        """Seconds left; 0.0 when it is spent, never less."""
        return max(0.0, self.deadline - time.monotonic())

    def within(self, seconds: float) -> Budget:
        """The same, but answered within so many seconds from now: what a sender waits, less the reserve."""
        return Budget(min(self.deadline, Budget.of(seconds).deadline))

    def capped(self, seconds: float) -> Budget:
        """The same, but at most so many seconds from now."""
        return Budget(min(self.deadline, time.monotonic() + seconds))

    def share(self, part: float) -> Budget:
        """The first `part` (0 to 1) of what is left."""
        return self.capped(self.left * part)
