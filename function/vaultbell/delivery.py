"""Telling: tries, pauses, receipts and stand-ins. Knows no channel by name."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

from vaultbell import digest, tracing
from vaultbell.budget import Budget
from vaultbell.channels import Channel
from vaultbell.errors import Permanent, Transient
from vaultbell.notification import Notification
from vaultbell.report import Receipt
from vaultbell.routing import Selection
from vaultbell.telemetry import LOG
from vaultbell.tracing import carried

TRIES = 3
TRY_SECONDS = 10.0
PAUSE_SECONDS = 0.25  # before the second try; four times that before the third; each ± half
FALLBACK_SHARE = 1 / 3
GRACE_SECONDS = 0.5  # for a channel whose own waits the budget does not bind
AT_ONCE = 8  # notifications that one channel is told side by side
NO_DIGESTS: Mapping[str, int] = MappingProxyType({})


class Delivered(NamedTuple):
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
    """Tell one notification to the channels of the selection; see `deliver_all`."""
    return deliver_all([(notification, to)], channels, budget)[0]


def deliver_all(
    rings: Sequence[tuple[Notification, Selection]],
    channels: Mapping[str, Channel],
    budget: Budget,
    digest_over: Mapping[str, int] = NO_DIGESTS,
) -> list[Delivered]:
    """Tell each channel of each selection; then the stand-ins of those that were not reached.

    The channels are told side by side, so that one's trouble does not hold up another's. `digest_over`: how many
    notifications a channel takes; more of them become one.
    """
    first = budget.share(1 - FALLBACK_SHARE) if any(to.fallbacks for _, to in rings) else budget
    notifications = [notification for notification, _ in rings]
    turn = _Turn(notifications, channels, digest_over)
    receipts = turn.tell([to.channels for _, to in rings], first)
    stand_ins = [_stand_ins(to, told) for (_, to), told in zip(rings, receipts, strict=True)]
    more = turn.tell(stand_ins, budget)
    return [_delivered(to, told + also) for (_, to), told, also in zip(rings, receipts, more, strict=True)]


@dataclass(frozen=True, slots=True)
class _Turn:
    """Telling some notifications, each to some channels."""

    notifications: Sequence[Notification]
    channels: Mapping[str, Channel]
    digest_over: Mapping[str, int]

    def tell(self, wanted: Sequence[Sequence[str]], budget: Budget) -> list[list[Receipt]]:
        """The receipts of each notification, in the order of the channels that are wanted for it."""
        places: dict[str, list[int]] = {}
        for at, names in enumerate(wanted):
            for name in names:
                places.setdefault(name, []).append(at)
        told: dict[tuple[int, str], Receipt] = {}
        if len(places) == 1:
            self._tell_channel(*places.popitem(), budget, told)
        elif places:
            waits = [
                threading.Thread(target=carried(self._tell_channel), args=(*place, budget, told), daemon=True)
                for place in places.items()
            ]
            for thread in waits:
                thread.start()
            patience = Budget(budget.deadline + GRACE_SECONDS)
            for thread in waits:
                thread.join(patience.left)
        return [[told.get((at, name)) or _silent(name) for name in names] for at, names in enumerate(wanted)]

    def _tell_channel(
        self, name: str, places: Sequence[int], budget: Budget, told: dict[tuple[int, str], Receipt]
    ) -> None:
        """Tell one channel the notifications at these places; their receipts are put into `told` as they come."""
        channel = self.channels[name]
        rest: list[Receipt] = []  # it asked for a rest that the budget does not allow: it is not asked any more

        def tell(at: int) -> None:
            receipt = rest[0] if rest else _tell(name, channel, self.notifications[at], budget)
            if receipt.after is not None and receipt.after >= budget.left:
                rest.append(replace(receipt, attempts=0))
            told[at, name] = receipt

        if len(places) == 1:
            tell(places[0])
        elif len(places) > self.digest_over.get(name, len(places)):
            receipt = _tell(name, channel, digest.of([self.notifications[at] for at in places]), budget)
            told.update(dict.fromkeys(((at, name) for at in places), receipt))
        else:
            with ThreadPoolExecutor(min(AT_ONCE, len(places)), f"vaultbell-{name}") as pool:
                list(pool.map(carried(tell), places))


def _stand_ins(to: Selection, receipts: Sequence[Receipt]) -> list[str]:
    """The channels that stand in for those that were not reached, and have not been told themselves."""
    if not to.fallbacks:
        return []
    taken = {receipt.channel for receipt in receipts if receipt.delivered}
    wanted = {to.fallbacks[name] for name in to.channels if name not in taken and name in to.fallbacks}
    return sorted(wanted - {receipt.channel for receipt in receipts})


def _delivered(to: Selection, receipts: Sequence[Receipt]) -> Delivered:
    taken = {receipt.channel for receipt in receipts if receipt.delivered}
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


def _silent(name: str) -> Receipt:
    return Receipt(name, False, 1, None, "no answer within the time budget", reason="timeout")


def _tell(name: str, channel: Channel, notification: Notification, budget: Budget) -> Receipt:
    with tracing.span("delivery", channel=name) as span:
        receipt = _tried(name, channel, notification, budget)
        span.note(receipt=receipt)
        return receipt


def _tried(name: str, channel: Channel, notification: Notification, budget: Budget) -> Receipt:
    for attempt in range(1, TRIES + 1):
        try:
            taken = channel.send(notification, budget.capped(TRY_SECONDS))
        except Permanent as error:
            return Receipt(name, False, attempt, error.status, error.message, final=True, reason=error.reason)
        except Transient as error:
            pause = PAUSE_SECONDS * 4 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
            wait = max(pause, error.after or 0.0)
            if attempt == TRIES or wait >= budget.left:
                return Receipt(
                    name, False, attempt, error.status, error.message, after=error.after, reason=error.reason
                )
            time.sleep(wait)
        except Exception:  # noqa: BLE001 - one's trouble is not another's, and its stand-in has to hear of it
            LOG.exception("an error of Vaultbell itself on the way to channel %s", name)
            told = "an error of Vaultbell itself; its log tells more"
            return Receipt(name, False, attempt, None, told, reason="internal")
        else:
            return Receipt(name, True, attempt, taken.status, taken.remark)
    raise AssertionError("unreachable")
