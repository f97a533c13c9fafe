"""The ledger: what should have rung, made from the scenario alone, compared with what did."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from soak.scenario import Scenario

Key = tuple[str, str]  # the notification's kind, and the task (or project) that it is about


@dataclass(frozen=True, slots=True)
class Arrival:
    """That a channel got a message, how often, and how often it said that it took it.

    `body` is a digest of it, `past` whether it tells what went before; `wrong` is what is wrong with it, by the cloud's
    own record or by its signature.
    """

    channel: str
    kind: str
    subject: str
    id: str
    body: str
    past: bool
    came: int
    taken: int
    wrong: str = ""


@dataclass(slots=True)
class Balance:
    """What came of a scenario: figures to print, and everything that is not as it should be."""

    figures: dict[str, int] = field(default_factory=dict)
    deviations: list[str] = field(default_factory=list)


def balance(scenario: Scenario, arrivals: Iterable[Arrival], dead: Iterable[tuple[int, str]]) -> Balance:
    """Compare. `dead`: the dead letters, as an event's number and the reason."""
    found = Balance()
    by_key: dict[Key, list[Arrival]] = defaultdict(list)
    for arrival in arrivals:
        by_key[arrival.kind, arrival.subject].append(arrival)
        if arrival.wrong:
            found.deviations.append(
                f"wrong: {arrival.channel} was told {arrival.kind} {arrival.subject}: {arrival.wrong}"
            )
    allowed, lost = _lost(scenario, by_key, found)
    false = _false(by_key, allowed, found)
    torn = _torn(by_key, found)
    letters = _letters(scenario, dead, found)
    everything = [arrival for told in by_key.values() for arrival in told]
    found.figures = {
        "events": scenario.number,
        "that may be told": len(allowed),
        "told": sum(any(arrival.taken for arrival in told) for told in by_key.values()),
        "of them with and without their past": sum(
            len({arrival.past for arrival in told}) > 1 for told in by_key.values()
        ),
        "lost": lost,
        "false": false,
        "under two ids or with two bodies": torn,
        "messages taken": sum(arrival.taken for arrival in everything),
        "of them repeats": sum(max(arrival.taken - 1, 0) for arrival in everything),
        "messages not taken": sum(arrival.came - arrival.taken for arrival in everything),
        **letters,
    }
    return found


def _lost(scenario: Scenario, by_key: Mapping[Key, list[Arrival]], found: Balance) -> tuple[dict[Key, set[str]], int]:
    """The channels that may hear of each thing, and how many things somebody should have heard and has not."""
    allowed: dict[Key, set[str]] = defaultdict(set)
    lost = 0
    for event in scenario.events():
        for ring in event.rings:
            key = ring.kind, ring.subject
            allowed[key].update(ring.channels, ring.others)
            taken = {arrival.channel for arrival in by_key.get(key, ()) if arrival.taken}
            if ring.channels and taken.isdisjoint(ring.channels):
                lost += 1
                found.deviations.append(f"lost: event {event.number}: {' or '.join(ring.channels)} not told {key}")
    return allowed, lost


def _false(by_key: Mapping[Key, list[Arrival]], allowed: Mapping[Key, set[str]], found: Balance) -> int:
    """How many messages should not have come: nothing was to be told, or not there, or not in these words."""
    false = sum(1 for told in by_key.values() for arrival in told if arrival.wrong)
    for key, told in by_key.items():
        for channel in {arrival.channel for arrival in told} - allowed.get(key, set()):
            false += 1
            found.deviations.append(f"false: {channel} was told {key}")
    return false


def _torn(by_key: Mapping[Key, list[Arrival]], found: Balance) -> int:
    """How many things were told under two ids, or at one channel in two ways; or two things under one id.

    One that tells its past may come again without, or the other way round, since the past is told where it is known.
    """
    torn = 0
    things: dict[str, Key] = {}
    for key, told in by_key.items():
        ids = {arrival.id for arrival in told}
        blind = key[0] == "cbr.task.unverified"  # one every six hours, told by whoever meets it first
        bodies = Counter((arrival.channel, arrival.past) for arrival in told)
        others = [thing for name in ids if (thing := things.setdefault(name, key)) != key]
        if (not blind and (len(ids) > 1 or max(bodies.values()) > 1)) or len(ids) > 2 or others:
            torn += 1
            found.deviations.append(f"torn: {key} by {len(ids)} ids, {len(told)} messages, sharing one with {others}")
    return torn


def _letters(scenario: Scenario, dead: Iterable[tuple[int, str]], found: Balance) -> dict[str, int]:
    """Each undeliverable event is dead for its own reason, and no other."""
    reasons: dict[int, Counter[str]] = defaultdict(Counter)
    for number, reason in dead:
        reasons[number][reason] += 1
    expected = {event.number: event.dead for event in scenario.events() if event.dead}
    amiss = 0
    for number in sorted(expected.keys() | reasons.keys()):
        told, wanted = dict(reasons.get(number, {})), expected.get(number)
        if set(told) != {wanted}:
            amiss += 1
            found.deviations.append(f"dead letters: event {number} should be dead for {wanted}, and is for {told}")
    return {
        "to be dead letters": len(expected),
        "dead letters amiss": amiss,
        "dead letters twice": sum(sum(told.values()) - 1 for told in reasons.values()),
    }
