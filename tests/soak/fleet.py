"""A fleet over weeks, on a clock of its own: whatever the timer does, what is told is what the fleet's ledger says.

The cloud is the stand-in, asked without a socket; the webhooks are real ones. Ticks of the sweep are lost, as many in
a row as the lookback makes up for, come twice, hours late, or around the moment at which a window ends; so do roll
calls.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from soak.ledger import Balance
from standin import Cloud, api
from standin.fleet import DAY, HOUR, MINUTE, Backup, Fleet, Ledger, Machine
from standin.sinks import Got, Receiver
from vaultbell import compose, pipeline, settings
from vaultbell.budget import Budget
from vaultbell.events import Event
from vaultbell.seen import Pace
from vaultbell.transport import Answer, Transport

START = 1_793_491_200  # 2026-11-01, midnight (UTC)
LAG, HISTORY = 5 * MINUTE, 8 * DAY  # a week, and as long as the last backup of it may take
AFTER = 12 * HOUR  # for so long the timer goes on when nothing new is begun
SECONDS = 120.0  # what an event may take
CONFIG = """
channels:
  ops: {{type: webhook, url: "{url}/ops", resolve: true, roll_call: true}}
  pager: {{type: webhook, format: pagerduty, routing_key: key, url: "{url}/pager", resolve: true}}
routes: [{{channels: [ops, pager]}}]
"""


class Tick(NamedTuple):
    """An event of the timer: when it comes, and the time that it carries, if it does."""

    now: int
    at: int | None
    roll_call: bool = False

    def event(self, *, platform: bool) -> object:
        """Its body; `platform`: as FunctionGraph's timer gives it."""
        name = "roll_call" if self.roll_call else "sweep"
        if self.at is None:
            return {name: {}}
        if platform:
            user_event = json.dumps({name: {}})
            return {"trigger_type": "TIMER", "time": _text(self.at), "user_event": user_event}
        return {name: {"at": _text(self.at)}}


@dataclass(frozen=True)
class Timer:
    """A timer that loses ticks, repeats them and brings them late, all by the seed. The first and the last do come."""

    seed: int
    period: int
    lookback: int
    days: int

    @property
    def number(self) -> int:
        """How many ticks there would be of a good timer: the last covers all until `until`."""
        return (self.days * DAY + AFTER) // self.period

    @property
    def until(self) -> int:
        return START + self.number * self.period

    @property
    def patience(self) -> int:
        """How long after its time a window has been covered, at the latest."""
        return (self.lookback + 1) * self.period + self.late_most

    @property
    def late_most(self) -> int:
        return self.period

    def ticks(self) -> list[Tick]:
        """All events, in the order in which they come."""
        random = Random(f"{self.seed} timer")  # noqa: S311 - the same for a seed is what is wanted
        phase, jitter = random.choice([(0, (-30, 45)), (self.period // 2, (-self.period // 3, self.period // 3))])
        found, lost = [], 0
        for number in range(1, self.number + 1):
            at = START + number * self.period + LAG + phase + random.randint(*jitter)
            between = 1 < number < self.number
            fate = random.random()
            if between and lost < self.lookback - 1 and fate < 0.3:
                lost += 1
                if fate < 0.06:  # without a time of its own it stands for a later one
                    found.append(Tick(at + random.randint(MINUTE, 2 * self.period), None))
                continue
            lost = 0
            if between and fate > 0.9:
                found.append(Tick(at + random.randint(0, self.late_most), at))
            else:
                found.append(Tick(at, random.choice([at, None])))
            if fate > 0.8 and between:
                found += [Tick(at + random.randint(1, 6 * self.period), at) for _ in range(random.choice([1, 1, 2]))]
        for day in range(1, self.days + 1):
            at = START + day * DAY + 30 * MINUTE
            for _ in range(random.choice([0, 1, 1, 1, 1, 2])):
                found.append(Tick(at + random.choice([0, 0, random.randint(0, 9 * HOUR)]), at, roll_call=True))
        return sorted(found, key=lambda tick: tick.now)


@dataclass
class Heard:
    """What has come of the fleet, and what of it was not as the ledger has it."""

    fleet: Fleet
    ledger: Ledger
    wrong: list[str] = field(default_factory=list)
    bodies: dict[tuple[str, str, object], bytes] = field(default_factory=dict)  # by message and state of the cloud
    ids: defaultdict[tuple[str, str], dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    incidents: dict[str, Machine] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)  # at the pager
    messages: int = 0
    recovered: int = 0
    days: int = 0

    def take(self, got: Sequence[Got], now: int) -> None:
        """What came of one event."""
        opened, paged = set(), set()
        for one in got:
            if one.path == "/alive":
                continue
            body = one.json
            if one.path == "/pager":
                self.messages += 1
                self._page(body)
                paged |= {body["dedup_key"]} if body["event_action"] == "trigger" else set()
            elif body["type"] == "cbr.roll_call":
                self._roll_call(body["data"], now)
            else:
                self.messages += 1
                opened |= self._message(one.headers["webhook-id"], one.body, body, now)
        if opened != paged:
            self._amiss(f"the pager was told of {paged - opened} too much and {opened - paged} too little", now)

    def _amiss(self, words: str, now: int) -> None:
        self.wrong.append(f"{_text(now)}: {words}")

    def _page(self, body: Mapping[str, Any]) -> None:
        if body["event_action"] == "trigger":
            self.open.add(body["dedup_key"])
        else:
            self.open.discard(body["dedup_key"])

    def _message(self, name: str, text: bytes, body: Mapping[str, Any], now: int) -> set[str]:
        """One about a task. The incident that it opens, if it does."""
        kind, data = body["type"].removeprefix("cbr.task."), body["data"]
        one = self.ledger.by_id[data["operation_log"]["id"]]
        incident, recovered = data["incident"], data.get("recovered_at")
        if self.incidents.setdefault(incident, one.machine) != one.machine:
            self._amiss(f"{one.id} is told under the incident of another machine", now)
        # the log of one that hangs may change, and a newer good one may come between two tellings
        state = json.dumps(data["operation_log"]), None if kind == "resolved" else self.ledger.newer_good(one, now)
        if self.bodies.setdefault((name, *state), text) != text:
            self._amiss(f"{name} was told in two ways", now)
        names = self.ids[kind, one.id]
        names.setdefault(name, now)
        if len(names) > 1 and kind != "overdue":
            self._amiss(f"{one.id} {kind} is told under {len(names)} ids", now)
        if kind == "resolved":
            self._resolved(one, data, now)
            return set()
        self._ring(one, kind, data, now)
        self.recovered += recovered is not None
        return set() if recovered else {incident}

    def _ring(self, one: Backup, kind: str, data: Mapping[str, Any], now: int) -> None:
        over = one.has_ended(now)
        if kind != (one.outcome if over else "overdue") or (over and one.good) or (not over and now < one.deadline):
            self._amiss(f"{one.id} is told as {kind}, and is not", now)
            return
        wanted = self.ledger.past(one, now, overdue=not over)
        told = data.get("failures_in_row"), _seconds(data.get("last_good_at")), _seconds(data.get("recovered_at"))
        if told != wanted:
            self._amiss(f"{one.id} {kind}: the past is {wanted}, and {told} was told", now)
        if data["severity"] == "critical" and wanted.recovered_at:
            self._amiss(f"{one.id} {kind} has recovered, and is told as critical", now)

    def _resolved(self, one: Backup, data: Mapping[str, Any], now: int) -> None:
        bad = self.ledger.by_id[data["resolves"]["operation_log_id"]]
        if not (one.good and one.has_ended(now)) or self.ledger.closing(bad) != one:
            self._amiss(f"{one.id} is told to close {bad.id}, and does not", now)

    def _roll_call(self, data: Mapping[str, Any], now: int) -> None:
        told, since = data["roll_call"], _seconds(data["roll_call"]["from"]) or 0
        day = self.ledger.day(since, now, HISTORY)
        members = {one["data"]["operation_log"]["id"]: one["data"] for one in data.get("members", ())}
        self.days += 1
        figures: list[tuple[str, object, object]] = [
            ("the counts", day.counts, {name: count for name, count in told["counts"].items() if count}),
            ("bad", day.bad, {name: one["outcome"] for name, one in members.items()}),
            (
                "without",
                day.without,
                {one["resource_name"]: _seconds(one["last_good_at"]) for one in told["without_backup"]},
            ),
            ("the rows", (day.rows, True), (told["rows"], told["complete"])),
            (
                "running",
                min(5, len(day.running)),
                len({one["operation_log_id"] for one in told["running"]} & day.running),
            ),
            (
                "the pasts",
                {
                    name: self.ledger.past(self.ledger.by_id[name], now, overdue=outcome == "overdue")
                    for name, outcome in day.bad.items()
                },
                {
                    name: (one["failures_in_row"], _seconds(one["last_good_at"]), _seconds(one.get("recovered_at")))
                    for name, one in members.items()
                },
            ),
        ]
        for words, wanted, had in figures:
            if wanted != had:
                self._amiss(f"the roll call of {_text(since)}: {words}: {_difference(wanted, had)}", now)

    def balance(self, timer: Timer) -> Balance:
        """What is missing in the end, and what was wrong on the way."""
        missing = [
            f"not told: {name} {outcome}"
            for name, outcome in sorted(self.ledger.told(START, timer.until))
            if (outcome, name) not in self.ids
        ]
        slots = self.ledger.overdue(START, timer.until, timer.patience)
        for name, due in slots.items():
            heard = self.ids.get(("overdue", name), {}).values()
            missing += [
                f"not told: {name} overdue since {_text(slot)}"
                for slot in due
                if not any(slot <= now <= slot + timer.patience for now in heard)
            ]
        for (kind, name), told in self.ids.items():
            deadline = self.ledger.by_id[name].deadline
            most = 1 + (max(told.values()) - deadline) // DAY if kind == "overdue" else 1
            self.wrong += [f"{name} is told under {len(told)} ids until it has hung for {most} days"][
                : len(told) > most
            ]
        closed = {name: bad for name, bad in self.ledger.closed(START, timer.until).items() if self._heard_of(bad)}
        missing += [f"not closed: {name}" for name in sorted(closed) if ("resolved", name) not in self.ids]
        by_machine = {machine: incident for incident, machine in self.incidents.items()}
        left = 0
        for machine in self.fleet.machines:
            wanted, is_open = self.ledger.is_open(machine, START, timer.until), by_machine.get(machine) in self.open
            left += is_open
            if wanted is not None and wanted != is_open:
                missing.append(f"in the end {machine.name} is {'' if is_open else 'not '}open at the pager")
        kinds = [kind for kind, _ in self.ids]
        figures = {
            "machines": self.fleet.size,
            "backups": len(self.fleet.backups),
            "bad ones told": len(kinds) - kinds.count("resolved") - kinds.count("overdue"),
            "overdue ones told": kinds.count("overdue"),
            "incidents closed": kinds.count("resolved"),
            "incidents open in the end": left,
            "messages": self.messages,
            "of them since recovered": self.recovered,
            "roll calls": self.days,
        }
        return Balance(figures, [*self.wrong, *missing])

    def _heard_of(self, names: set[str]) -> bool:
        """Whether one of these was told, so that somebody waits for its end."""
        return any((kind, name) in self.ids for name in names for kind in ("overdue", self.ledger.by_id[name].outcome))


class _WithoutASocket:
    """The product's way to the cloud, cut short."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def send(self, method: str, base: str, path: str, *, headers: Mapping[str, str], **_: object) -> Answer:
        parts = urlsplit(base + path)
        sent = {name.lower(): value for name, value in headers.items()} | {"host": parts.netloc}
        answer = api.answer(self._cloud, method, parts.path, parts.query, sent, b"")
        self._cloud.requests.clear()  # nobody asks for them, and there are many
        return Answer(answer.status, answer.headers, answer.body)


def soak(seed: int, machines: int, days: int, period: int, lookback: int) -> Balance:
    """Let a fleet run for days under a timer of this period (seconds), and compare what is told with its ledger.

    `lookback` windows are swept by each tick: one less may be lost in a row.
    """
    began = time.monotonic()
    fleet, timer = Fleet(seed, machines, START, days), Timer(seed, period, lookback, days)
    heard = Heard(fleet, Ledger(fleet))
    ticks = timer.ticks()
    rows = sum(_run(fleet, timer, ticks, heard))
    found = heard.balance(timer)
    sweeps = sum(not tick.roll_call for tick in ticks)
    found.figures |= {
        "ticks of a good timer": timer.number,
        "sweeps": sweeps,
        "rows read": rows,
        "seconds": round(time.monotonic() - began),
    }
    return found


def _run(fleet: Fleet, timer: Timer, ticks: Sequence[Tick], heard: Heard) -> Iterator[int]:
    """Play it all. Gives the rows that each sweep reads."""
    clock = [START]
    cloud = Cloud(now=lambda: datetime.fromtimestamp(clock[0], UTC))
    cloud.token_life = cloud.token_life * (fleet.days + 10)
    playing = fleet.play(cloud)
    random = Random(f"{timer.seed} events")  # noqa: S311 - the same for a seed is what is wanted
    with Receiver() as receiver, tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "vaultbell.yaml")
        config.write_text(CONFIG.format(url=receiver.url), "utf-8")
        given = {
            "OS_TOKEN": cloud.issue(cloud.project_id)[0],
            "OS_PROJECT_ID": cloud.project_id,
            "OS_REGION_NAME": cloud.region,
            "VAULTBELL_CONFIG": str(config),
            "VAULTBELL_HEARTBEAT_URL": f"{receiver.url}/alive",
            "VAULTBELL_LOG_LEVEL": "ERROR",
            "VAULTBELL_SWEEP_PERIOD": str(timer.period),
            "VAULTBELL_SWEEP_LAG": str(LAG),
            "VAULTBELL_SWEEP_LOOKBACK": str(timer.lookback),
            "VAULTBELL_SWEEP_HISTORY": str(HISTORY),
        }
        bell = compose.bell(settings.load(given))
        way = cast("Transport", _WithoutASocket(cloud))
        # weeks pass in minutes: what may be asked in an hour is asked in a moment
        bell = replace(bell, cbr=replace(bell.cbr, http=way), history=Pace(math.inf, 0), now=cloud.now)
        for tick in ticks:
            clock[0] = tick.now
            next(playing)
            event = json.dumps(tick.event(platform=random.random() < 0.5)).encode()
            report = pipeline.handle(bell, Event(event), Budget.of(SECONDS))
            got = list(receiver.requests)
            receiver.requests.clear()
            beats = sum(one.path == "/alive" for one in got)
            if (report.status, beats) != (200, 0 if tick.roll_call else 1):
                heard.wrong.append(f"{tick} was answered {report.status}, with {beats} heartbeats")
            heard.take(got, tick.now)
            yield report.swept.tasks if report.swept else 0


def _text(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(text: str | None) -> int | None:
    return int(datetime.fromisoformat(text).timestamp()) if text else None


def _difference(wanted: object, had: object) -> str:
    """What is not the same, of what may be long."""
    if isinstance(wanted, dict) and isinstance(had, dict):
        names = [name for name in {**wanted, **had} if wanted.get(name) != had.get(name)]
        return ", ".join(f"{name} is {wanted.get(name)}, and {had.get(name)} was told" for name in names[:5])
    return f"{wanted}, and {had} was told"
