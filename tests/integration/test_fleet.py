"""A fleet over days, on a clock of its own, under a timer that loses, repeats and delays its ticks.

`python -m soak fleet` is the same for a month of a large one.
"""

from __future__ import annotations

import pytest

from soak import fleet
from standin.fleet import HOUR


@pytest.mark.parametrize("seed", [3, 6])
def test_what_is_told_of_a_fleet_is_what_its_own_ledger_says(seed: int) -> None:
    found = fleet.soak(seed, machines=40, days=10, period=3 * HOUR, lookback=3)
    assert found.deviations == []
    told = ("bad ones told", "overdue ones told", "incidents closed", "of them since recovered", "roll calls")
    assert all(found.figures[name] for name in told)
    assert found.figures["sweeps"] != found.figures["ticks of a good timer"]
