"""A roll call: `{"roll_call": {"at": "…"?, "period": "24h"?, "project_id": "…"?}}`: how did the last backups go?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from vaultbell.events import Item, RollCall
from vaultbell.report import JSON, Object
from vaultbell.sources import plain, timer
from vaultbell.sources.form import Context, Shaped

KEYS = ("at", "period", "project_id")


class RollCalls(Shaped):
    """See the module."""

    name = "roll_call"

    def fits(self, value: Object) -> bool:
        """It asks for one."""
        return "roll_call" in value

    def items(self, value: JSON, time: datetime | None, context: Context) -> Iterator[Item]:
        """The one roll call."""
        del context
        asked = timer.read("roll_call", value, KEYS)
        at, period = timer.at_and_period("roll_call", asked)
        yield RollCall(at or time, period, plain.project_id(asked.get("project_id")))


SOURCE = RollCalls()
