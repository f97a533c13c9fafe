"""What handles events: the cloud, the rules, the channels, and what this process remembers. Made in `compose.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

from vaultbell.budget import Budget
from vaultbell.channels import Channel
from vaultbell.cloud.cbr import Cbr
from vaultbell.inbound import Project
from vaultbell.outcome import Rules
from vaultbell.routing import Route
from vaultbell.seen import Memory, Once, Pace
from vaultbell.tracing import carried

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 8  # items of a batch, or tasks of a sweep, that are handled side by side


class Projects(Protocol):
    """The projects that may be looked up."""

    @property
    def known(self) -> Sequence[Project]:
        """Those known without asking anybody."""

    def all(self, budget: Budget) -> Sequence[Project]:
        """All of them; one that the settings give by its name is asked for. Raises Transient or Misconfigured."""


class OutcomeRules(Rules, Protocol):
    """What the settings say of outcomes, and of telling them again."""

    @property
    def repeat_interval(self) -> timedelta:
        """How long after its first telling an overdue task is told again."""


class SweepRules(Protocol):
    """What the settings say of sweeps."""

    @property
    def period(self) -> timedelta: ...  # noqa: D102 - design, section 9

    @property
    def lag(self) -> timedelta: ...  # noqa: D102 - the class tells

    @property
    def lookback(self) -> int: ...  # noqa: D102 - the class tells

    @property
    def history(self) -> timedelta: ...  # noqa: D102 - the class tells


class WatchRule(Protocol):
    """What the settings say of the vaults that are watched for a silence."""

    @property
    def vault(self) -> str:
        """A name or an id, or a glob."""

    @property
    def max_age(self) -> timedelta:
        """How old the last good backup of what is in such a vault may be."""


def side_by_side(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """What `work` makes of each item, in their order. The threads are this call's own: no event waits for another's."""
    if len(items) <= 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(AT_ONCE, len(items)), "vaultbell") as pool:
        return list(pool.map(carried(work), items))


@dataclass(frozen=True, slots=True)
class Bell:
    """Everything that an event's handling needs."""

    cbr: Cbr
    projects: Projects
    rules: OutcomeRules
    sweeps: SweepRules
    routes: Sequence[Route]
    channels: Mapping[str, Channel]
    leave_unfinished: bool = False
    digest_over: Mapping[str, int] = field(default_factory=dict)  # by channel: more notifications than that become one
    resolving: frozenset[str] = frozenset()  # the channels that hear when a failure is over
    incidents: frozenset[str] = frozenset()  # the channels that open one: not for what has recovered
    history: Pace | None = None  # how often the list is asked for the past of what rings; None: it is not
    watch: Sequence[WatchRule] = ()  # the first that fits a vault counts
    roll_call: frozenset[str] = frozenset()  # the channels that hear how all backups went
    roll_period: timedelta = timedelta(days=1)
    reply_events: bool = False  # a CloudEvent is answered by one, where it named a task
    heartbeat: Callable[[Budget], None] = lambda _budget: None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    memory: Memory = field(default_factory=Memory)
    once: Once = field(default_factory=Once)
