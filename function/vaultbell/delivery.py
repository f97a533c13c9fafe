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
from vaultbell.telemetry import LOG

TRIES = 3
TRY_SECONDS = 10.0
PAUSE_SECONDS = 0.25  # before the second try; four times that before the third; each ± half
FALLBACK_SHARE = 1 / 3
GRACE_SECONDS = 0.5  # for a channel whose own waits the budget does not bind


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of one notification.

    Attributes:
        receipts: of all that were told, the stand-ins last.
        owed: the channels that still have to be told: neither they nor their stand-ins took it.
        taken: the channels that need not be told again: they took it, or their stand-ins did.
        final: whether it is of no use to try the owed ones again: they and their stand-ins refused for good.
        after: how long those that may yet take it asked us to wait (seconds).
    """

    receipts: tuple[Receipt, ...]
    owed: tuple[str, ...]
    taken: tuple[str, ...]
    final: bool
    after: float | None


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
    asked = {*owed, *(to.fallbacks.get(name) for name in owed)}
    refusals = [receipt for receipt in receipts if receipt.channel in asked]
    return Delivered(
        receipts=tuple(receipts),
        owed=owed,
        taken=tuple(taken.union(to.channels).difference(owed)),
        final=all(receipt.final for receipt in refusals),
        after=max((receipt.after for receipt in refusals if receipt.after is not None), default=None),
    )


def _tell_all(
    notification: Notification, names: Sequence[str], channels: Mapping[str, Channel], budget: Budget
) -> list[Receipt]:
    """One receipt a channel, in their order. Each has a thread of its own: one's trouble does not hold up another."""
    if len(names) <= 1:
        return [_tell(name, channels[name], notification, budget) for name in names]
    told: dict[str, Receipt] = {}

    def tell(name: str) -> None:
        told[name] = _tell(name, channels[name], notification, budget)

    threads = [threading.Thread(target=tell, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    patience = Budget(budget.deadline + GRACE_SECONDS)
    for thread in threads:
        thread.join(patience.left)
    return [told.get(name) or Receipt(name, False, 1, None, "no answer within the time budget") for name in names]


def _tell(name: str, channel: Channel, notification: Notification, budget: Budget) -> Receipt:
    for attempt in range(1, TRIES + 1):
        try:
            taken = channel.send(notification, budget.capped(TRY_SECONDS))
        except Permanent as error:
            return Receipt(name, False, attempt, error.status, error.message, final=True)
        except Transient as error:
            pause = PAUSE_SECONDS * 4 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
            wait = max(pause, error.after or 0.0)
            if attempt == TRIES or wait >= budget.left:
                return Receipt(name, False, attempt, error.status, error.message, after=error.after)
            time.sleep(wait)
        except Exception:  # noqa: BLE001 - one's trouble is not another's, and its stand-in has to hear of it
            LOG.exception("an error of Vaultbell itself on the way to channel %s", name)
            return Receipt(name, False, attempt, None, "an error of Vaultbell itself; its log tells more")
        else:
            return Receipt(name, True, attempt, taken.status, taken.remark)
    raise AssertionError("unreachable")
