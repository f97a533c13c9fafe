"""The way of an event: decode, then for each item look up, classify, route and deliver, then report."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial, reduce

from vaultbell import ringing, search, sources, sweeping, tracing
from vaultbell.bell import Bell, side_by_side
from vaultbell.budget import Budget
from vaultbell.channels.formats import cloudevent
from vaultbell.cloud.cbr import Cbr
from vaultbell.errors import InvalidEvent
from vaultbell.events import Alarm, Event, Item, RollCall, Search, Settled, Sweep, TaskRef
from vaultbell.handling import Handling
from vaultbell.history import History
from vaultbell.report import Action, Report, Result, Swept
from vaultbell.ringing import Line
from vaultbell.tracing import stage

ENDED = ("succeeded", "partial", "skipped", "failed", "timed_out")
LOOKING = 3 / 4  # of the time that is left is for looking up a batch, at most


def handle(bell: Bell, event: Event, budget: Budget, cbr: Cbr | None = None) -> Report:
    """Everything that one event asks for, done before this returns. Raises InvalidEvent where nothing could be.

    `cbr`: the API with the credentials that came with this event, where some did.
    """
    with stage("decode"):
        decoded = sources.decode(event)
    if decoded.source.waits is not None:
        budget = budget.within(decoded.source.waits)
    tracing.begun(decoded.trace, budget)
    reply = bell.reply_events and decoded.source.answers_empty and not decoded.batch
    leave = bell.leave_unfinished or decoded.source.leaves or event.platform  # the platform asks three times at most
    handling = Handling(bell, cbr or bell.cbr, budget, leave, reply)
    # An item that stands in a batch twice is handled once; both lines say the same.
    asked = dict.fromkeys(item for item in decoded.items if not isinstance(item, Sweep | RollCall))
    # What is done of a batch that was handed back is not begun again: else one that is too long would never end.
    batch = hashlib.sha256(event.body).digest() if len(asked) > 1 else b""
    done = bell.memory.done(batch) if batch else {}
    items = [item for item in asked if item not in done]
    # What was looked up is told, however many there are: the rest comes again.
    looking = replace(handling, budget=budget.share(LOOKING)) if len(items) > 1 else handling
    with stage("look_up"):
        by_item = side_by_side(partial(judged, looking), items)
        found = History(handling).known([line for lines in by_item for line in lines])
    with stage("deliver"):
        rung = iter(ringing.ring(bell, found, budget))
    lines: dict[Item, list[Line]] = {item: [Line(result)] for item, result in done.items()}
    lines |= {item: [next(rung) for _ in found] for item, found in zip(items, by_item, strict=True)}
    sweeps = list(dict.fromkeys(item for item in decoded.items if isinstance(item, Sweep)))
    swept: list[Swept] = []
    for sweep in sweeps:
        with stage("sweep"):
            lines[sweep], covered = sweeping.sweep(handling, sweep)
        swept += [covered] if covered else []
    for item in dict.fromkeys(decoded.items):
        if isinstance(item, RollCall):
            from vaultbell import roll_call  # noqa: PLC0415 - once a day

            with stage("roll_call"):
                lines[item] = roll_call.call(handling, item)
    report = _report([line for item in decoded.items for line in lines[item]], swept, decoded, reply=reply)
    for notification_id, taken in (pair for found in lines.values() for line in found for pair in line.taken):
        if report.comes_again:
            bell.memory.keep(notification_id, taken)
        else:
            bell.memory.forget(notification_id)
    if batch:
        ended = {item: found[0].result for item, found in lines.items() if _is_done(item, found)}
        bell.memory.keep_done(batch, ended if report.comes_again else {})
    for sweep in sweeps:
        if all(line.result.status == 200 for line in lines[sweep]):
            bell.heartbeat(budget)
    return report


def _is_done(item: Item, lines: Sequence[Line]) -> bool:
    """Whether a repeat of the batch need not begin this item again: its task has ended, and whoever is to know does."""
    return (
        isinstance(item, TaskRef)
        and len(lines) == 1
        and lines[0].result.outcome in ENDED
        and lines[0].result.status == 200
    )


def judged(handling: Handling, item: Item) -> list[Line]:
    """What is made of one item. Of a sweep or a roll call nothing is: they tell what they read."""
    match item:
        case InvalidEvent():
            return [Line(Result.rejected(item))]
        case Settled():
            return [Line(Result(Action.QUIET, reason=item.reason))]
        case TaskRef():
            return [handling.task(item)]
        case Search():
            return search.search(handling, item)
        case Alarm():
            return [handling.alarm(item)]
        case Sweep() | RollCall():
            raise AssertionError("what reads lists is not judged")


def _report(lines: Sequence[Line], swept: Sequence[Swept], decoded: sources.Decoded, *, reply: bool) -> Report:
    results = tuple(line.result for line in lines)
    found = lines[0].found if reply and len(lines) == 1 else None
    return Report(
        results,
        batch=decoded.batch or len(results) != 1,
        answers_empty=decoded.source.answers_empty,
        swept=reduce(Swept.and_, swept) if swept else None,
        reply=cloudevent.event(found) if found else None,
    )
