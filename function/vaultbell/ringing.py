"""Ringing: what was found is told to the channels that it goes to, and the report says what became of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.delivery import Delivered, deliver_all
from vaultbell.inbound import Project
from vaultbell.notification import Notification
from vaultbell.outcome import Outcome
from vaultbell.report import Action, Result
from vaultbell.routing import Selection
from vaultbell.telemetry import log


class Ring(NamedTuple):
    """A notification that is to be told, and the channels that it goes to."""

    told: Notification
    to: Selection


class Case(NamedTuple):
    """A task that was looked up, and the verdict on it.

    `repeat`: how often it has been told before; `only`: the channels that the event names, if it does.
    """

    project: Project
    log: OperationLog
    outcome: Outcome
    repeat: int = 0
    only: tuple[str, ...] | None = None


class Line(NamedTuple):
    """One line of the report, and what is still to be told before it is true.

    `found` is what could be said of the task, told or not; `taken` are the channels that have been told, by the ids
    of the notifications, so that a repeat of the event need not tell them again. `case` is there where its past would
    be told as well, were it known.
    """

    result: Result
    rings: tuple[Ring, ...] = ()
    found: Notification | None = None
    taken: tuple[tuple[str, tuple[str, ...]], ...] = ()
    case: Case | None = None


def ring(bell: Bell, lines: Sequence[Line], budget: Budget) -> list[Line]:
    """The lines with everything told that they ask for, or owed; less what a process remembers to have been taken."""
    rings = [_owed(bell, ring) for ring in _each_once(line.rings for line in lines)]
    if broken := {number for ring in rings for number in ring.to.broken}:
        log(logging.ERROR, "routes that cannot be judged count as a match", routes=sorted(broken))
    delivered = deliver_all([(ring.told, ring.to) for ring in rings], bell.channels, budget, bell.digest_over)
    by_id = {ring.told.id: one for ring, one in zip(rings, delivered, strict=True)}
    return [_rung(line, [by_id[ring.told.id] for ring in line.rings]) if line.rings else line for line in lines]


def _each_once(rings: Iterable[Iterable[Ring]]) -> list[Ring]:
    """What several lines tell is told once: to the channels of all of them."""
    found: dict[str, Ring] = {}
    for ring in chain.from_iterable(rings):
        before = found.get(ring.told.id)
        if before:
            channels = tuple(dict.fromkeys((*before.to.channels, *ring.to.channels)))
            ring = before._replace(to=before.to._replace(channels=channels))  # noqa: PLW2901 - it takes its place
        found[ring.told.id] = ring
    return list(found.values())


def _owed(bell: Bell, ring: Ring) -> Ring:
    taken = bell.memory.taken(ring.told.id)
    if not taken:
        return ring
    names = tuple(name for name in ring.to.channels if name not in taken)
    return ring._replace(to=ring.to._replace(channels=names))


def _rung(line: Line, delivered: Sequence[Delivered]) -> Line:
    receipts = tuple(receipt for one in delivered for receipt in one.receipts)
    owed = tuple(dict.fromkeys(name for one in delivered for name in one.owed))
    names = ", ".join(owed)
    if not owed:
        result = line.result._replace(action=Action.NOTIFIED, status=200, receipts=receipts)
    elif all(one.final for one in delivered):
        error = ("undeliverable", f"refused for good by: {names}")
        result = line.result._replace(action=Action.REJECTED, status=424, receipts=receipts, owed=owed, error=error)
    else:
        log(logging.WARNING, "not delivered yet", owed=list(owed))
        after = max((one.after for one in delivered if one.after is not None), default=None)
        error = ("try_again", f"not reached yet: {names}")
        result = line.result._replace(
            action=Action.RETRY, status=503, retry_after=after, receipts=receipts, owed=owed, error=error
        )
    taken = tuple((ring.told.id, one.taken) for ring, one in zip(line.rings, delivered, strict=True))
    return line._replace(result=result, rings=(), taken=taken, case=None)
