"""What happens: events, the tasks that they name, and what has to come of each. All of it is made from one seed.

A task's id says which event names it and as which of its items, so that whoever is asked for a task can make it again.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import Random
from typing import Any

OPEN = tuple(f"{number:032x}" for number in (0xA, 0xB, 0xC, 0xD))  # the projects that may be looked up
LOCKED = f"{0xE:032x}"  # one of them, for which the API refuses us for good
STRANGE = "f" * 32  # nobody has allowed this one
REGION = "eu-de"

# Where a task is told, by its vault's name; what is not named here goes by project.
CONFIG = """
channels:
  ops:   {{type: webhook, url: "{hooks}/ops", secrets: ["{secret}"]}}
  pager: {{type: webhook, url: "{hooks}/pager", secrets: ["{secret}"], format: cloudevent, resolve: true}}
  shaky: {{type: webhook, url: "{hooks}/shaky", secrets: ["{secret}"]}}
  gone:  {{type: webhook, url: "{hooks}/gone", secrets: ["{secret}"]}}
  mail:  {{type: email, smtp: "smtp://{mail}?tls=off", from: bell@example.org, to: [ops@example.org]}}
routes:
  - {{match: {{vault_name: "quiet-*"}}, channels: []}}
  - {{match: {{vault_name: "gone-*"}}, channels: [gone]}}
  - {{match: {{vault_name: "half-*"}}, channels: [ops, gone]}}
  - {{match: {{vault_name: "spare-*"}}, channels: [gone], fallback: mail}}
  - {{match: {{vault_name: "shaky-*"}}, channels: [shaky], fallback: mail}}
  - {{match: {{project_id: "{pager}"}}, channels: [pager]}}
  - {{match: {{project_id: "{mailed}", severity: critical}}, channels: [ops, mail]}}
  - {{channels: [ops]}}
digest_over: 1000
"""
PAGER, MAILED = OPEN[1], OPEN[2]
CHANNELS = ("ops", "pager", "shaky", "gone", "mail")

SEVERITY = {
    **dict.fromkeys(("failed", "timed_out", "overdue", "unverified"), "critical"),
    **dict.fromkeys(("partial", "skipped", "unknown", "missing"), "warning"),
}
# In a batch the worst decides: what may pass before what is final, a channel's refusal before a sender's mistake.
WORST_FIRST = ("too_many_attempts", "undeliverable", "project_not_allowed", "bad_id")

OUTCOMES = {
    "failed": 24,
    "succeeded": 22,
    "timed_out": 12,
    "skipped": 12,
    "partial": 12,
    "overdue": 6,
    "unknown": 6,
    "missing": 3,
    "ends": 2,  # runs when first looked at, then fails
    "late": 1,  # not there when first looked at
}
VAULTS = {"daily": 82, "quiet": 3, "gone": 2, "half": 2, "spare": 3, "shaky": 8}
KINDS = {"single": 850, "batch": 40, "pair": 20, "twice": 40, "spoilt": 15, "invalid": 30, "locked": 5}
FORMS = {"plain": 60, "other name": 5, "structured": 15, "binary": 10, "pubsub": 10}
INVALID = {
    "not_json": b'{"operation_log_id": ',
    "no_task": b'{"hello": "world"}',
    "bad_id": b'{"operation_log_id": "../../../etc/passwd"}',
    "project_not_allowed": json.dumps({"operation_log_id": str(uuid.UUID(int=4)), "project_id": STRANGE}).encode(),
}
STATUS = {"succeeded": "success", "partial": "success", "timed_out": "timeout", "overdue": "running", "ends": "failed"}
STATUS |= {"unknown": "suspended", "late": "failed"}
TYPES = ("backup", "backup", "backup", "restore", "delete", "replication")


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the cloud. `looks`: how many times it has to be asked for before it is as it will be."""

    id: str
    project: str
    outcome: str
    vault: str
    operation_type: str = "backup"
    resource: str = ""
    looks: int = 0
    hours_ago: float = 1.0  # when it was created, before the scenario's own time
    recovers: bool = False  # there is a newer success

    @property
    def told_as(self) -> str:
        """The outcome that is told."""
        return "failed" if self.outcome in ("ends", "late") else self.outcome


@dataclass(frozen=True, slots=True)
class Ring:
    """That one of these channels has to be told this of a task (or of a project), and that the others may be asked."""

    kind: str
    subject: str
    channels: tuple[str, ...]
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it is sent. `times`: how often. `dead`: why it cannot be handled, if it cannot."""

    number: int
    kind: str
    body: bytes
    content_type: str = "application/json"
    attributes: Mapping[str, str] = field(default_factory=dict)  # CloudEvents' own, where they are headers
    tasks: tuple[Task, ...] = ()
    rings: tuple[Ring, ...] = ()
    dead: str | None = None
    times: int = 1


@dataclass(frozen=True, slots=True)
class Scenario:
    """So many events of a seed. `at` is its own time (seconds since 1970): tasks lie before it."""

    seed: int
    number: int
    at: int

    def events(self) -> Iterator[Event]:
        """All of them, in the order in which they are sent."""
        return map(self.event, range(self.number))

    def event(self, number: int) -> Event:
        """One of them."""
        random = Random(f"{self.seed} event {number}")  # noqa: S311 - the same for a seed is what is wanted
        kind = _one(KINDS, random)
        if kind == "locked" and number > self.number / 3:  # they are tried until somebody gives up
            kind = "single"
        if kind == "invalid":
            why = random.choice(list(INVALID))
            return Event(number, kind, INVALID[why], dead=why)
        tasks = self._tasks(number, kind, random)
        spoilt = kind == "spoilt"
        dead = min((reason for task in tasks if (reason := _dead(task))), key=WORST_FIRST.index, default=None)
        named = [self._named(task) for task in tasks]
        if spoilt:
            named.insert(random.randrange(len(named) + 1), {"operation_log_id": "nonsense"})
            dead = dead or "bad_id"
        body, content_type, attributes = _formed(named, number, _one(FORMS, random))
        times = 2 if kind == "twice" else 1
        return Event(number, kind, body, content_type, attributes, tasks, self._rings(kind, tasks), dead, times)

    def task(self, name: str) -> Task | None:
        """The task of this id, if some event names it."""
        number, item = int(name[:8], 16), int(name[9:13], 16)
        tasks = _tasks_of(self, number) if number < self.number else ()
        return tasks[item] if item < len(tasks) and tasks[item].id == name else None

    def listed(self, resource: str) -> list[Task]:
        """The tasks of a resource."""
        number = int(resource[:8], 16)
        tasks = _tasks_of(self, number) if number < self.number else ()
        return [task for task in tasks if task.resource == resource and task.outcome != "missing"]

    def log(self, task: Task, looks: int) -> dict[str, Any] | None:
        """What the cloud says of a task that was asked for so many times before; None: it knows no such task."""
        early = looks < task.looks
        if task.outcome == "missing" or (task.outcome == "late" and early):
            return None
        created = datetime.fromtimestamp(self.at, UTC) - timedelta(hours=task.hours_ago)
        status = "running" if early else STATUS.get(task.outcome, task.outcome)
        ended = None if status == "running" else _stamp(created + timedelta(minutes=4))
        bad = status in ("failed", "timeout", "skipped")
        error = {"code": "BackupService.7102", "message": f"No backup of {task.resource}: ümläut & <b>"} if bad else {}
        extra: dict[str, Any] = {
            "common": {"progress": 100 if status == "success" else 64, "request_id": f"req-{task.id}"},
            "resource": {"id": task.resource, "name": f"server-{task.resource[:8]}", "type": "OS::Nova::Server"},
            "backup": {"incremental": "true", "app_consistency_error_code": "0"},
        }
        if task.outcome == "partial":
            extra["remove_resources"] = {"fail_count": 2, "total_count": 3}
        return {
            "id": task.id,
            "project_id": task.project,
            "operation_type": task.operation_type,
            "status": status,
            "created_at": _stamp(created),
            "started_at": _stamp(created + timedelta(seconds=1)),
            "updated_at": ended or _stamp(created + timedelta(minutes=1)),
            "ended_at": ended,
            "vault_id": f"{task.id[:8]}-0000-4000-a000-000000000000",
            "vault_name": f"{task.vault}-vault",
            "error_info": {"code": "", "message": "", **error},
            "extra_info": extra,
        }

    def _tasks(self, number: int, kind: str, random: Random) -> tuple[Task, ...]:
        if kind == "pair":  # a success closes the failure before it
            resource = _id(number, 0, 9)
            failure = Task(_id(number, 0), PAGER, "failed", "daily", resource=resource, hours_ago=3, recovers=True)
            return failure, replace(failure, id=_id(number, 1), outcome="succeeded", hours_ago=1, recovers=False)
        if kind == "locked":
            return (Task(_id(number, 0), LOCKED, "unverified", "daily"),)
        many = random.randint(3, 6) if kind in ("batch", "spoilt") else 1
        return tuple(_task(number, item, random) for item in range(many))

    def _named(self, task: Task) -> dict[str, str]:
        """What an event says of a task: its time is long past, but where the task is not visible yet."""
        named = {"operation_log_id": task.id, "project_id": task.project, "region": REGION}
        if task.outcome != "late":
            named["time"] = _stamp(datetime.fromtimestamp(self.at, UTC) - timedelta(minutes=20))
        return named

    def _rings(self, kind: str, tasks: tuple[Task, ...]) -> tuple[Ring, ...]:
        rings = [ring for task in tasks for ring in _rings(task)]
        if kind == "pair":
            rings.append(Ring("cbr.task.resolved", tasks[1].id, ("pager",)))
        return tuple(rings)


@lru_cache(maxsize=4096)
def _tasks_of(scenario: Scenario, number: int) -> tuple[Task, ...]:
    return scenario.event(number).tasks


def _one(weights: Mapping[str, int], random: Random) -> str:
    return random.choices(list(weights), list(weights.values()))[0]


def _id(number: int, item: int, variant: int = 8) -> str:
    return f"{number:08x}-{item:04x}-4000-{variant}000-{number * 16 + item:012x}"


def _task(number: int, item: int, random: Random) -> Task:
    outcome, vault = _one(OUTCOMES, random), _one(VAULTS, random)
    kind = "remove_resource" if outcome == "partial" else random.choice(TYPES)
    looks = random.randint(1, 2) if outcome == "ends" else 1 if outcome == "late" else 0
    ago = 30.0 if outcome == "overdue" else random.uniform(0.5, 6)
    return Task(_id(number, item), random.choice(OPEN), outcome, vault, kind, _id(number, item, 9), looks, ago)


def _dead(task: Task) -> str | None:
    if task.project == LOCKED:
        return "too_many_attempts"
    # nothing is known of a missing task's vault
    refused = task.vault in ("gone", "half") and task.outcome not in ("succeeded", "missing")
    return "undeliverable" if refused else None


def _rings(task: Task) -> Iterator[Ring]:
    told, kind = task.told_as, f"cbr.task.{task.told_as}"
    if told == "succeeded":
        return
    if told == "unverified":
        yield Ring(kind, task.project, ("ops",))
        return
    vault = "" if told == "missing" else task.vault
    if vault == "quiet":
        return
    if vault == "gone":
        yield Ring(kind, task.id, (), ("gone",))
    elif vault == "spare":
        yield Ring(kind, task.id, ("mail",), ("gone",))
    elif vault == "shaky":
        yield Ring(kind, task.id, ("shaky", "mail"))
    elif vault == "half":
        yield Ring(kind, task.id, ("ops",), ("gone",))
    elif task.project == PAGER:
        yield Ring(kind, task.id, ("pager",))
    else:
        yield Ring(kind, task.id, ("ops",))
        if task.project == MAILED and SEVERITY[told] == "critical":
            yield Ring(kind, task.id, ("mail",))


def _formed(named: list[dict[str, str]], number: int, form: str) -> tuple[bytes, str, dict[str, str]]:
    """An event of this form that names the tasks: body, content type, attributes that are headers."""
    data: dict[str, Any] = {"events": named} if len(named) > 1 else dict(named[0])
    attributes = {"id": str(number), "source": "/soak", "specversion": "1.0", "type": "backup.ended"}
    if form == "other name" and len(named) == 1:
        data["task_id"] = data.pop("operation_log_id")
    if form == "structured":
        return json.dumps({**attributes, "data": data}).encode(), "application/cloudevents+json", {}
    if form == "pubsub":
        packed = base64.b64encode(json.dumps(data).encode()).decode()
        data = {"message": {"data": packed, "messageId": str(number)}, "subscription": "projects/p/subscriptions/s"}
    return json.dumps(data).encode(), "application/json", attributes if form == "binary" else {}


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")
