"""What the stand-in cloud knows: projects, users, tokens, keys, tasks, vaults, and the faults that it is told to have.

No I/O and no clock but the one handed in. Tasks are kept as the JSON that is answered, beside what is sorted and
filtered by; sorted views are kept up to date as tasks come, change and go, so that a page of a long list is cheap.
"""

from __future__ import annotations

import base64
import json
import random
import threading
import zlib
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from typing import Any, Literal, NamedTuple, get_args

from standin import logs, vaults

Log = dict[str, Any]  # a task as the API's JSON has it; tests look inside
Order = Literal["created_desc", "created_asc", "updated_desc", "updated_asc", "ended_desc", "id", "shuffled"]
TimeField = Literal["created_at", "started_at", "updated_at", "ended_at"]
TimeForm = Literal["offset", "naive"]
Where = Literal["iam", "show", "list", "vaults", "policies", "any"]
WireKind = Literal["hang", "hang_body", "reset", "truncate", "trickle", "garbage"]
Refusal = Literal["password_expired", "user_locked", "no_role", "key_disabled", "key_locked", "forbidden"]
SaidKind = Literal["status", "not_json", "wrong_id", "no_log", "expired_token", "auth_500", "redirect", "huge", Refusal]
Kind = Literal[WireKind, SaidKind]
WIRE_KINDS = get_args(WireKind)
ENDED = ("success", "failed", "timeout", "skipped")
TIMES: tuple[TimeField, ...] = get_args(TimeField)
FILTERS = ("status", "operation_type", "vault_id", "vault_name", "resource_id", "resource_name", "provider_id")
PROJECT = "0123456789abcdef0123456789abcdef"
PAGE_MOST = 1000
VIEWS_MOST = 64
WRONG_MOST, LOCKED = 5, timedelta(minutes=5)  # "Common Errors Related to IAM Authentication Information"
_encode = json.JSONEncoder(separators=(",", ":")).encode


class Request(NamedTuple):
    """A request that was answered; `query` is the raw text."""

    method: str
    path: str
    query: str
    status: int


@dataclass(slots=True)
class Fault:
    """What goes wrong with the next requests to `where`: `times` of them (None: for ever), the first `after` spared."""

    where: Where
    kind: Kind
    times: int | None = 1
    after: int = 0
    args: Mapping[str, Any] = field(default_factory=dict)


class Answer(NamedTuple):
    """What is answered; `fault` is what the wire does to it, where it is one that only a wire can do."""

    status: int
    headers: dict[str, str]
    body: bytes
    fault: Fault | None = None


@dataclass(slots=True, eq=False)
class Task:
    """A task: its JSON, its times as seconds since 1970 (None: it has none), and what it is filtered by."""

    id: str
    project_id: str
    text: bytes
    times: dict[TimeField, float | None]
    filters: dict[str, object]
    naive: bool
    script: list[tuple[float, str]]
    grows: tuple[float, float] | None = None  # while it runs: since when, until when


@dataclass(frozen=True, slots=True)
class Token:
    """`project_id` None: not scoped to a project."""

    project_id: str | None
    expires_at: datetime


def _down(time: TimeField) -> Callable[[Task], tuple[float, str]]:
    return lambda task: (float("inf") if (at := task.times[time]) is None else -at, task.id)


def _up(time: TimeField) -> Callable[[Task], tuple[float, str]]:
    return lambda task: (float("inf") if (at := task.times[time]) is None else at, task.id)


_KEYS: dict[Order, Callable[[Task], tuple[float, str]]] = {
    "created_desc": _down("created_at"),
    "created_asc": _up("created_at"),
    "updated_desc": _down("updated_at"),
    "updated_asc": _up("updated_at"),
    "ended_desc": _down("ended_at"),
    "id": lambda task: (0, task.id),
    "shuffled": lambda task: (zlib.crc32(task.id.encode()), task.id),
}


@dataclass(frozen=True, slots=True)
class _Query:
    project_id: str
    order: Order
    time_field: TimeField
    since: float | None
    until: float | None
    filters: tuple[tuple[str, str], ...]

    def takes(self, task: Task) -> bool:
        at = task.times[self.time_field]
        return (
            task.project_id == self.project_id
            and all(task.filters[name] == value for name, value in self.filters)
            and (self.since is None or (at is not None and at >= self.since))
            and (self.until is None or (at is not None and at <= self.until))
        )

    def part_of(self, view: Sequence[Task]) -> tuple[int, int]:
        """Where the times of the query begin and end in a view that is sorted by them; what has none is at its end."""
        if self.since is None and self.until is None:
            return 0, len(view)
        ends = (self.since, self.until)
        if self.order.endswith("_desc"):
            ends = (None if self.until is None else -self.until, None if self.since is None else -self.since)
        first, last = ends
        return (
            0 if first is None else bisect_left(view, (first, ""), key=_KEYS[self.order]),
            bisect_left(view, (float("inf"), ""), key=_KEYS[self.order])
            if last is None
            else bisect_right(view, (last, "\uffff"), key=_KEYS[self.order]),
        )


class Cloud:
    """A cloud in a region with one project, user and key; more can be added. Safe to use from many threads.

    Settable at any time: `order` and `time_field` (how the task list is sorted, and what its time filters compare:
    neither is documented), `page_most` (how many tasks an answer of the list holds, whatever was asked for) and `says`
    (what it tells of itself: `count`, `limit` and `offset` go in, anything may come out), `time_form` of tasks added
    from then on (`offset`: milliseconds and +00:00, `naive`: microseconds and no zone), `token_life`, and
    `between_pages`, which is called after each answer of the list.

    `forbidden` are rights that are lost: pairs of a project and what is asked of it (`iam`, `show`, `list`, …). A key
    whose signature was wrong more than five times in a row is locked for five minutes; `wrong` holds how often it was.

    `vaults` and `policies` are the API's own JSON, by id: what is changed in them is what is answered from then on.
    """

    def __init__(
        self,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        region: str = "eu-de",
        project_id: str = PROJECT,
    ) -> None:
        self.region, self.project_id = region, project_id
        self.iam_url = f"https://iam.{region}.otc.t-systems.com"
        self.cbr_url = f"https://cbr.{region}.otc.t-systems.com"
        self.user_name, self.password, self.domain = "vaultbell", "standin-password", "standin"
        self.projects = {project_id: region}  # id: name
        self.users = {(self.domain, self.user_name): self.password}
        self.keys: dict[str, tuple[str, str | None]] = {"STANDINACCESSKEY": ("standin-secret-key", None)}
        self.forbidden: set[tuple[str, Where]] = set()
        self.order: Order = "created_desc"
        self.time_field: TimeField = "created_at"
        self.time_form: TimeForm = "offset"
        self.page_most = PAGE_MOST
        self.says: Callable[[Log], Log] = lambda said: said
        self.token_life = timedelta(hours=24)
        self.between_pages: Callable[[], None] | None = None
        self.lock = threading.RLock()
        self._clock, self._ahead = now, timedelta()
        self.reset()

    def reset(self) -> None:
        """Forget all tasks, vaults, policies, tokens, faults and requests; users, projects, keys and the clock stay."""
        with self.lock:
            self.vaults: dict[str, Log] = {}
            self.policies: dict[str, Log] = {}
            self.tokens: dict[str, Token] = {}
            self.tokens_issued = 0
            self.wrong: dict[str, tuple[int, datetime]] = {}  # by key: how many in a row, and when the last one
            self.requests: list[Request] = []
            self.counts: Counter[str] = Counter()  # of answers, by iam, show, list, vaults, policies and other
            self.faults: list[Fault] = []
            self.random = random.Random(20)  # noqa: S311 - the same ids in every run
            self._tasks: dict[str, Task] = {}
            self._of_resource: defaultdict[str, dict[str, Task]] = defaultdict(dict)
            self._views: dict[_Query, list[Task]] = {}
            self._due: list[tuple[float, int, str, str]] = []
            self._turn = count()

    # the clock

    def now(self) -> datetime:
        """The cloud's time."""
        return self._clock() + self._ahead

    def advance(self, by: float | timedelta) -> None:
        """Let time pass: seconds, or a timedelta."""
        with self.lock:
            self._ahead += by if isinstance(by, timedelta) else timedelta(seconds=by)

    # who may come in

    def env(self) -> dict[str, str]:
        """The variables that lead a client here."""
        return {
            "OS_AUTH_URL": f"{self.iam_url}/v3",
            "OS_USERNAME": self.user_name,
            "OS_PASSWORD": self.password,
            "OS_USER_DOMAIN_NAME": self.domain,
            "OS_PROJECT_ID": self.project_id,
            "OS_REGION_NAME": self.region,
            "CBR_ENDPOINT": self.cbr_url,
        }

    def issue(self, project_id: str | None) -> tuple[str, Token]:
        """A new token of about 2 KB, as long as the real ones."""
        with self.lock:
            self.tokens_issued += 1
            token = "MII" + base64.b64encode(self.random.randbytes(1500)).decode()
            self.tokens[token] = Token(project_id, self.now() + self.token_life)
            return token, self.tokens[token]

    def locks(self, access: str, *, right: bool) -> bool:
        """Note that a request was signed by this key; whether that is locked: then a right signature does not count."""
        with self.lock:
            wrong, last = self.wrong.get(access, (0, self.now()))
            if wrong > WRONG_MOST and self.now() - last < LOCKED:
                return True
            before = 0 if wrong > WRONG_MOST else wrong
            self.wrong[access] = (0 if right else before + 1, self.now())
            return False

    def revoke(self) -> None:
        """Let all tokens end now."""
        with self.lock:
            self.tokens.clear()

    # tasks

    def add(
        self,
        operation_type: str = "backup",
        status: str = "failed",
        *,
        script: Sequence[tuple[float, str]] = (),
        **fields: Any,  # noqa: ANN401 - any JSON value
    ) -> Log:
        """Add a task, complete and realistic, and return it as the API would.

        With `script`, a list of (seconds after its creation, status), its status follows the clock. `fields`: any
        field of the log (`...` leaves it out; blocks of `extra_info` replace those made up), or `age` (seconds since
        its creation), `resource_id`, `resource_name`, `resource_type`, `error_code`, `error_message`, `progress`,
        `fail_count`, `total_count`, `long_counts` (vault_delete's other spelling). Times: texts stay as they are.
        """
        with self.lock:
            steps = sorted((seconds, then) for seconds, then in script)
            if steps:
                fields.setdefault("age", 0)
            fields.setdefault("project_id", self.project_id)
            naive = self.time_form == "naive"
            now = self.now()
            log = logs.build(self.random, now, naive, operation_type, steps[0][1] if steps else status, fields)
            task = Task(log["id"], log["project_id"], b"", {}, {}, naive, steps)
            if task.id in self._tasks:
                raise ValueError(f"there is a task {task.id} already")
            self._take_in(task, log)
            created = task.times["created_at"]
            for seconds, then in steps[1:]:
                heappush(self._due, ((created or now.timestamp()) + seconds, next(self._turn), task.id, then))
            if not steps:
                return log
            self._grow(task, 0)
            return self._settled(task.id)

    def fill(self, number: int, every: float = 1.0, **fields: Any) -> None:  # noqa: ANN401 - as add takes them
        """Add many tasks alike, quickly: each was created `every` seconds before the one added before it."""
        with self.lock:
            naive, now = self.time_form == "naive", self.now()
            fields = {"operation_type": "backup", "status": "success", "project_id": self.project_id, **fields}
            log = logs.build(self.random, now, naive, fields.pop("operation_type"), fields.pop("status"), fields)
            first = Task(log["id"], log["project_id"], b"", {}, {}, naive, [])
            self._index(first, log)
            text = _encode({**log, **{name: f"@{name}@" for name in ("id", *TIMES) if log.get(name)}})
            for turn in range(number):
                task = replace(first, id=logs.uuid(self.random))
                task.times = {name: at and at - turn * every for name, at in first.times.items()}
                filled = text.replace("@id@", task.id)
                for name, at in task.times.items():
                    if at is not None:
                        filled = filled.replace(f"@{name}@", logs.wire(datetime.fromtimestamp(at, UTC), naive))
                task.text = filled.encode()
                self._place(task)

    def outcome(self, name: str, **fields: Any) -> Log:  # noqa: ANN401 - any JSON value
        """Add a task that ends, or does not end, in this way: one of `standin.logs.OUTCOMES`."""
        operation_type, status, extra = logs.OUTCOMES[name]
        return self.add(**{"operation_type": operation_type, "status": status, **extra, **fields})

    def get(self, task_id: str) -> Log:
        """The task as the API gives it now. Raises KeyError."""
        with self.lock:
            return self._settled(task_id)

    def change(self, task_id: str, **fields: Any) -> Log:  # noqa: ANN401 - any JSON value
        """Touch a task again: set fields of its log, and `updated_at` to now unless given."""
        with self.lock:
            log = self._settled(task_id)
            task = self._tasks[task_id]
            fields.setdefault("updated_at", self.now())
            log |= {name: logs.wire(value, task.naive) for name, value in fields.items()}
            self._take_out(task)
            self._take_in(task, log)
            return log

    def remove(self, task_id: str) -> None:
        """Let a task be forgotten by the cloud. Raises KeyError."""
        with self.lock:
            self._take_out(self._tasks.pop(task_id))

    def tasks(self) -> list[Log]:
        """All tasks as the API gives them now, in the order in which they came."""
        with self.lock:
            return [self._settled(task_id) for task_id in self._tasks]

    def show(self, project_id: str, task_id: str) -> bytes | None:
        """The JSON of a task, if the project has it."""
        with self.lock:
            self._settle()
            task = self._tasks.get(task_id)
            return self._text(task) if task and task.project_id == project_id else None

    def page(
        self,
        project_id: str,
        since: float | None,
        until: float | None,
        filters: Mapping[str, str],
        limit: int,
        offset: int,
    ) -> tuple[list[bytes], int]:
        """The JSON of the tasks of one page, and the number of all that match."""
        query = _Query(project_id, self.order, self.time_field, since, until, tuple(sorted(filters.items())))
        with self.lock:
            self._settle()
            if query.order.startswith(query.time_field.removesuffix("at")):  # a time is a part of all times
                view = self._view(replace(query, since=None, until=None))
                first, last = query.part_of(view)
            else:
                view = self._view(query)
                first, last = 0, len(view)
            begin = first + offset
            return [self._text(task) for task in view[begin : min(begin + limit, last)]], last - first

    # vaults

    def vault(self, *resources: str | Mapping[str, Any], **fields: Any) -> Log:  # noqa: ANN401 - any JSON value
        """Add a vault, complete and realistic, and return it as the API would (the object itself: see the class).

        A resource is its name, or the fields that matter. `fields`: any of the vault's; a `billing` is filled up.
        """
        with self.lock:
            given = {"project_id": self.project_id, "resources": resources, **fields}
            vault = vaults.build_vault(self.random, self.now(), self.time_form == "naive", given)
            return self.vaults.setdefault(vault["id"], vault)

    def protect(self, vault_id: str, resource: str | Mapping[str, Any]) -> Log:
        """Put a resource into a vault. Raises KeyError."""
        with self.lock:
            made = vaults.build_resource(self.random, resource)
            self.vaults[vault_id]["resources"].append(made)
            return made

    def policy(self, *vault_ids: str, **fields: Any) -> Log:  # noqa: ANN401 - any JSON value
        """Add a policy that is applied to these vaults: `enabled`, and any other of its fields."""
        with self.lock:
            policy = vaults.build_policy(self.random, {"vaults": vault_ids, **fields})
            return self.policies.setdefault(policy["id"], policy)

    def vault_page(self, project_id: str, asked: Mapping[str, str], limit: int, offset: int) -> tuple[list[Log], int]:
        """One page of a project's vaults, the youngest first, and how many match. Raises ValueError: no such query."""
        with self.lock:
            found = [vault for vault in self.vaults.values() if vaults.fits(vault, asked, self.policies)]
            found = [vault for vault in found if vault.get("project_id") == project_id]
            found.sort(key=lambda vault: str(vault.get("created_at")), reverse=True)
            return found[offset : offset + limit], len(found)

    def policies_of(self, project_id: str, asked: Mapping[str, str]) -> list[Log]:
        """A project's policies: those that are applied to a vault of it, or to none."""
        with self.lock:
            others = {vault["id"] for vault in self.vaults.values() if vault.get("project_id") != project_id}
            return [policy for policy in self.policies.values() if vaults.applies(policy, asked, others)]

    # faults and the record

    def fault(self, where: Where, kind: Kind, times: int | None = 1, *, after: int = 0, **args: Any) -> Fault:  # noqa: ANN401
        """Let the next requests go wrong.

        Arguments by kind: status(status, body, headers), hang(seconds), hang_body(seconds),
        truncate(keep: bytes, head: of the head as well), trickle(pause: seconds a byte, head: the head as well),
        garbage(body), redirect(url, status), huge(megabytes).
        """
        if where not in get_args(Where) or kind not in get_args(Kind):
            raise ValueError(f"no such fault: {where}, {kind}")
        with self.lock:
            self.faults.append(Fault(where, kind, times, after, args))
            return self.faults[-1]

    def heal(self) -> None:
        """No more faults."""
        with self.lock:
            self.faults.clear()

    def take_fault(self, where: str) -> Fault | None:
        """The fault that the next request to `where` meets, used up by one."""
        with self.lock:
            for fault in self.faults:
                if fault.where not in (where, "any") or fault.times == 0:
                    continue
                if fault.after:
                    fault.after -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                return fault
            return None

    def record(self, where: str, request: Request) -> None:
        """Remember that a request was answered."""
        with self.lock:
            self.counts[where] += 1
            self.requests.append(request)

    # inside

    def _view(self, query: _Query) -> list[Task]:
        """What a query takes, sorted. A list that is narrowed to one resource is short, and made anew each time."""
        resource = dict(query.filters).get("resource_id")
        view = self._views.pop(query, None)
        if view is None:
            tasks = self._tasks if resource is None else self._of_resource.get(resource, {})
            view = sorted(filter(query.takes, tasks.values()), key=_KEYS[query.order])
        if resource is None:
            self._views[query] = view  # the last one used is the last one dropped
        if len(self._views) > VIEWS_MOST:
            del self._views[next(iter(self._views))]
        return view

    def _take_in(self, task: Task, log: Log) -> None:
        self._index(task, log)
        self._place(task)

    def _index(self, task: Task, log: Log) -> None:
        task.text = _encode(log).encode()
        task.times = {name: logs.seconds(log.get(name)) for name in TIMES}
        extra = log.get("extra_info")
        resource = extra.get("resource") if isinstance(extra, dict) else None
        known = dict(log)
        if isinstance(resource, dict):
            known |= {"resource_id": resource.get("id"), "resource_name": resource.get("name")}
        task.filters = {name: known.get(name) for name in FILTERS}

    def _place(self, task: Task) -> None:
        self._tasks[task.id] = task
        self._of_resource[str(task.filters["resource_id"])][task.id] = task
        for query, view in self._views.items():
            if query.takes(task):
                insort(view, task, key=_KEYS[query.order])

    def _take_out(self, task: Task) -> None:
        del self._of_resource[str(task.filters["resource_id"])][task.id]
        for query, view in self._views.items():
            if query.takes(task):
                key = _KEYS[query.order]
                del view[bisect_left(view, key(task), key=key)]

    def _settle(self) -> None:
        """Let the scripts play up to now."""
        now = self.now().timestamp()
        while self._due and self._due[0][0] <= now:
            at, _, task_id, status = heappop(self._due)
            if task := self._tasks.get(task_id):
                log: Log = json.loads(self._text(task))
                stamp = logs.wire(datetime.fromtimestamp(at, UTC), task.naive)
                log |= {"status": status, "updated_at": stamp}
                if status == "running":
                    log |= {"started_at": stamp, "checkpoint_id": log.get("checkpoint_id") or logs.uuid(self.random)}
                if status in ENDED:
                    logs.end(log, stamp)
                self._take_out(task)
                self._take_in(task, log)
                self._grow(task, at - (task.times["created_at"] or at))

    def _grow(self, task: Task, seconds: float) -> None:
        later = [step for step, _ in task.script if step > seconds]
        created = task.times["created_at"] or 0.0
        running = task.filters["status"] == "running" and later
        task.grows = (created + seconds, created + later[0]) if running else None

    def _text(self, task: Task) -> bytes:
        if task.grows is None:
            return task.text
        since, until = task.grows
        log: Log = json.loads(task.text)
        done = (self.now().timestamp() - since) / (until - since)
        logs.set_progress(log, max(0, min(99, int(done * 100))))
        return _encode(log).encode()

    def _settled(self, task_id: str) -> Log:
        self._settle()
        log: Log = json.loads(self._text(self._tasks[task_id]))
        return log
