"""The way of an event: decode, then for each item look up, classify, route and deliver, then report."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from vaultbell import search, sources, sweeping
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.channels.formats import cloudevent
from vaultbell.cloud.cbr import Cbr
from vaultbell.errors import InvalidEvent
from vaultbell.events import Alarm, Event, Item, Search, Settled, Sweep, TaskRef
from vaultbell.handling import Handling, Line
from vaultbell.report import Action, Report, Result, Swept


def handle(bell: Bell, event: Event, budget: Budget, cbr: Cbr | None = None) -> Report:
    """Everything that one event asks for, done before this returns. Raises InvalidEvent where nothing could be.

    `cbr`: the API with the credentials that came with this event, where some did.
    """
    decoded = sources.decode(event)
    if decoded.source.waits is not None:
        budget = budget.within(decoded.source.waits)
    reply = bell.reply_events and decoded.source.answers_empty and not decoded.batch
    leave = bell.leave_unfinished or decoded.source.leaves or event.platform  # the platform asks three times at most
    handling = Handling(bell, cbr or bell.cbr, budget, leave, reply)
    # An item that stands in a batch twice is handled once; both lines say the same.
    items = list(dict.fromkeys(decoded.items))
    sweeps = [item for item in items if isinstance(item, Sweep)]
    others = [item for item in items if not isinstance(item, Sweep)]
    lines: dict[Item, Line] = dict(zip(others, bell.crew.map(partial(_line, handling), others), strict=True))
    lines |= {item: sweeping.sweep(handling, item) for item in sweeps}  # each of them uses the whole crew
    report = _report([lines[item] for item in decoded.items], decoded, reply=reply)
    for notification, taken in (told for line in lines.values() for told in line.told):
        if report.status == 200:
            bell.memory.forget(notification.id)
        else:
            bell.memory.keep(notification.id, taken)
    for item in sweeps:
        if all(result.status == 200 for result in lines[item].results):
            bell.heartbeat(budget)
    return report


def _line(handling: Handling, item: Item) -> Line:
    match item:
        case InvalidEvent():
            return Line((Result.rejected(item),))
        case Settled():
            return Line((Result(Action.QUIET, reason=item.reason),))
        case TaskRef():
            return handling.task(item)
        case Search():
            return search.search(handling, item)
        case Alarm():
            return handling.alarm(item)
        case Sweep():
            return sweeping.sweep(handling, item)


def _report(lines: Sequence[Line], decoded: sources.Decoded, *, reply: bool) -> Report:
    results = tuple(result for line in lines for result in line.results)
    swept: Swept | None = None
    for line in lines:
        if line.swept:
            swept = swept.and_(line.swept) if swept else line.swept
    found = lines[0].found if reply else None
    event = cloudevent.event(found) if found else None
    return Report(results, decoded.batch or len(results) != 1, decoded.source.answers_empty, swept, event)
