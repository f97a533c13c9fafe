"""Telling: tries, pauses, receipts and stand-ins. Knows no channel by name."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vaultbell.budget import Budget
from vaultbell.channels import Channel
from vaultbell.errors import Permanent, Transient
from vaultbell.notification import Notification
from vaultbell.report import Receipt
from vaultbell.routing import Selection

TRIES = 3
TRY_SECONDS = 10.0
PAUSE_SECONDS = 0.25  # before the second try; four times that before the third; each ± half
FALLBACK_SHARE = 1 / 3
GRACE_SECONDS = 0.5  # for a channel whose own waits the budget does not bind


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of one notification. `owed`: the channels that still have to be told."""

    receipts: tuple[Receipt, ...]
    owed: tuple[str, ...]

    @property
    def taken(self) -> tuple[str, ...]:
        """The channels that took it."""
        return tuple(receipt.channel for receipt in self.receipts if receipt.delivered)

    @property
    def final(self) -> bool:
        """Whether it is of no use to try the owed ones again: all that was asked for them refused for good."""
        return all(receipt.final for receipt in self.receipts if not receipt.delivered)

    @property
    def after(self) -> float | None:
        """How long the channels that may yet take it asked us to wait (seconds)."""
        return max((receipt.after for receipt in self.receipts if receipt.after is not None), default=None)


def deliver(notification: Notification, to: Selection, channels: Mapping[str, Channel], budget: Budget) -> Delivered:
    """Tell each channel of the selection, side by side; then the stand-ins of those that were not reached."""
    first = budget.share(1 - FALLBACK_SHARE) if to.fallbacks else budget
    receipts = _tell_all(notification, to.channels, channels, first)
    taken = {receipt.channel for receipt in receipts if receipt.delivered}
    wanted = {to.fallbacks[name] for name in to.channels if name not in taken and name in to.fallbacks}
    stand_ins = sorted(wanted - {receipt.channel for receipt in receipts})
    receipts += _tell_all(notification, stand_ins, channels, budget)
    taken |= {receipt.channel for receipt in receipts if receipt.delivered}
    owed = tuple(name for name in to.channels if name not in taken and to.fallbacks.get(name) not in taken)
    return Delivered(tuple(receipts), owed)


def _tell_all(
    notification: Notification, names: Sequence[str], channels: Mapping[str, Channel], budget: Budget
) -> list[Receipt]:
    """One receipt a channel, in their order. Each has a thread of its own: one's trouble does not hold up another."""
    if len(names) <= 1:
        return [_tell(name, channels[name], notification, budget) for name in names]
    told: dict[str, Receipt | Exception] = {}

    def tell(name: str) -> None:
        try:
            told[name] = _tell(name, channels[name], notification, budget)
        except Exception as error:  # noqa: BLE001 - the edge of a thread: handed to the one that waits below
            told[name] = error

    threads = [threading.Thread(target=tell, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(budget.left + GRACE_SECONDS)
    receipts = [told.get(name) or _silent(name) for name in names]
    for receipt in receipts:
        if isinstance(receipt, Exception):
            raise receipt
    return [receipt for receipt in receipts if isinstance(receipt, Receipt)]


def _tell(name: str, channel: Channel, notification: Notification, budget: Budget) -> Receipt:
    for attempt in range(1, TRIES + 1):
        try:
            remark = channel.send(notification, budget.capped(TRY_SECONDS))
        except Permanent as error:
            return Receipt(name, False, attempt, error.status, error.message, final=True)
        except Transient as error:
            pause = PAUSE_SECONDS * 4 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
            wait = pause if error.after is None else error.after
            if attempt == TRIES or wait >= budget.left:
                return Receipt(name, False, attempt, error.status, error.message, after=error.after)
            time.sleep(wait)
        else:
            return Receipt(name, True, attempt, None, remark)
    raise AssertionError("unreachable")


def _silent(name: str) -> Receipt:
    return Receipt(name, False, 1, None, "no answer within the time budget")
