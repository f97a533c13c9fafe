"""What is told of a resource that nobody has backed up for too long: what is at risk, since when, why, what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from vaultbell import advice, notification, times
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.cloud.vaults import Policy
from vaultbell.notification import NAME_LIMIT, VERBS, Notification
from vaultbell.outcome import Outcome, OutcomeName, Rules, classify
from vaultbell.past import Past
from vaultbell.report import Object
from vaultbell.staleness import Slot, Standing
from vaultbell.text import one_line

UNENDED = (OutcomeName.RUNNING, OutcomeName.OVERDUE)
NAMES_MOST = 5
STATES = {
    "lock": "the vault is locked",
    "frozen": "the vault is frozen",
    "deleting": "the vault is being deleted",
    "error": "the vault is in an error state",
}
BLOCKED, FULL, NO_POLICY = "BackupService.6113", "BackupService.6114", "BackupService.6002"
ENABLE = "Enable the vault's policy again. Until it has run, back the resource up by hand."
WAIT = "Wait for the backup that is under way, and see that it ends well."


@dataclass(frozen=True, slots=True)
class _Case:
    """A stale resource. `attempts` are its tasks since its last good backup, `policies` those of its vault."""

    standing: Standing
    when: Slot
    max_age: timedelta
    attempts: Sequence[tuple[OperationLog, Outcome]]
    policies: Sequence[Policy] | None

    @property
    def name(self) -> str:
        resource = self.standing.resource
        return one_line(resource.name or resource.id or "", NAME_LIMIT)

    @property
    def elsewhere(self) -> int:
        """How many backups of it the vault holds that the task list does not know of as good."""
        return 0 if self.standing.last_good else self.standing.resource.backup_count or 0

    def headline(self) -> str:
        standing = self.standing
        if standing.last_good:
            return f"No good backup of {self.name} for {times.span(self.when.at - standing.last_good)}"
        if standing.tasks is None and standing.since:
            return f"No good backup of {self.name} for more than {times.span(self.when.at - standing.since)}"
        if self.elsewhere:
            return f"No good backup of {self.name} is on record"
        return (
            f"No backup of {self.name} has ever succeeded" if self.attempts else f"{self.name} has never been backed up"
        )

    def reasons(self) -> Iterator[str]:
        yield self._lead()
        yield from self._attempts()
        yield from self._policies()
        yield from self._vault()
        yield from self._resource()

    def _lead(self) -> str:
        standing, count = self.standing, self.elsewhere
        if standing.last_good:
            return f"its last good backup is older than {times.span(self.max_age)}"
        if standing.tasks is None:
            return "the task list has none as far back as it was read"
        held = f", though its vault holds {count} of it, older than the list goes back" if count else ""
        if self.attempts:
            if len(self.attempts) == 1:
                return f"the one backup of it in the task list did not end well{held}"
            return f"{len(self.attempts)} backups of it are in the task list, and none ended well{held}"
        if self.when.left_out:
            return f"its vault was backed up {times.plain(self.when.left_out)}, and it was left out{held}"
        return f"the task list knows no backup of it{held or '; it may have been added lately'}"

    def _attempts(self) -> Iterator[str]:
        if not self.attempts:
            if self.standing.last_good and self.standing.tasks is not None:
                yield "no other has been started since"
            return
        task, outcome = self.attempts[-1]
        at = times.plain(task.created_at) if task.created_at else "at an unknown time"
        if outcome.name in UNENDED:
            yield f"one is {one_line(task.status or 'running', 64)} since {at}"
        else:
            yield f"the last attempt, of {at}, {VERBS[outcome.name]}: {outcome.reason}"

    def _policies(self) -> Iterator[str]:
        if self.policies is None:
            yield "whether a policy backs it up could not be found out"
        elif not self.policies:
            yield "no backup policy is applied to its vault, so that nothing is backed up by itself"
        elif self.is_disabled:
            names = ", ".join(one_line(policy.name or policy.id or "?", 64) for policy in self.policies[:NAMES_MOST])
            yield f"the policy of its vault ({names}) is disabled, so that nothing is backed up by itself"

    @property
    def is_disabled(self) -> bool:
        """Whether there is a policy, and none that runs."""
        return bool(self.policies) and all(policy.enabled is False for policy in self.policies or ())

    def _vault(self) -> Iterator[str]:
        vault = self.standing.vault
        if self.is_blocked:
            status = vault.billing.status or ""
            yield STATES.get(status) or f'the vault is in the state "{one_line(status, 64)}"'
        if vault.is_full:
            yield f"the vault is full: all of its {vault.billing.size} GB are used"

    @property
    def is_blocked(self) -> bool:
        """Whether its vault is in a state in which nothing is backed up."""
        return self.standing.vault.billing.status not in (None, "available")

    def _resource(self) -> Iterator[str]:
        resource = self.standing.resource
        if resource.protect_status == "error":
            yield "its vault tells an error of it"
        if resource.auto_protect is False:
            yield "automatic backup is off for it"
        if excluded := resource.extra_info.exclude_volumes:
            names = ", ".join(one_line(name, 64) for name in excluded[:NAMES_MOST])
            more = ", …" if len(excluded) > NAMES_MOST else ""
            number = "one of its disks is" if len(excluded) == 1 else f"{len(excluded)} of its disks are"
            yield f"{number} excluded and in no backup ({names}{more})"

    def next_step(self) -> str | None:
        """The nearest thing that is in the way."""
        stale = OutcomeName.STALE
        last = self.attempts[-1] if self.attempts else None
        if last and last[1].name in UNENDED:
            return WAIT
        if self.is_blocked:
            return advice.next_step(stale, BLOCKED)
        if self.standing.vault.is_full:
            return advice.next_step(stale, FULL)
        if self.policies is not None and not self.policies:
            return advice.next_step(stale, NO_POLICY)
        if self.is_disabled:
            return ENABLE
        return advice.next_step(last[1].name, last[0].error_info.code) if last else advice.next_step(stale)

    def since(self) -> str:
        """Since when it is at risk, as far as that is known."""
        standing = self.standing
        if begin := standing.last_good or standing.began:
            return times.iso(begin)
        if standing.tasks is None and standing.since:
            return f"before {times.plain(standing.since)}"
        return "not known: nothing says when it was put into its vault"

    def past(self) -> Past:
        """The same past that a failure of it would have."""
        failures = sum(outcome.name not in UNENDED for _, outcome in self.attempts)
        unread = self.standing.tasks is None and not self.standing.last_good
        return Past(failures, self.standing.last_good, since=self.standing.since if unread else None)


def of(
    standing: Standing,
    when: Slot,
    max_age: timedelta,
    policies: Sequence[Policy] | None,
    rules: Rules,
    now: datetime,
    *,
    project_id: str,
    region: str | None,
) -> Notification:
    """The message about a resource that is stale. `policies`: those of its project; None: they could not be read.

    It is made of the task list as of `now`, and of the state in which vault and policies were found.
    """
    vault, good = standing.vault, standing.last_good
    attempts = [
        (task, classify(task, rules, now))
        for task in standing.tasks or ()
        if task.created_at and task.created_at < now and (good is None or task.created_at > good)
    ]
    ours = None if policies is None else [policy for policy in policies if policy.backs_up(vault)]
    case = _Case(standing, when, max_age, attempts, ours)
    return notification.of_stale(
        _about(standing, project_id, ours or ()),
        Outcome(
            OutcomeName.STALE,
            rules.severity_of(OutcomeName.STALE),
            True,
            when.left_out or when.at,
            tuple(case.reasons()),
        ),
        rules,
        slot=when.at,
        headline=case.headline(),
        project_id=project_id,
        region=region,
        facts={
            "max_age": times.span(max_age),
            "since": case.since(),
            **({"next_step": step} if (step := case.next_step()) else {}),
        },
        past=case.past(),
    )


def _about(standing: Standing, project_id: str, policies: Sequence[Policy]) -> OperationLog:
    """What is known, as the record of a backup would say it: there is none."""
    vault, resource = standing.vault, standing.resource
    thing: Object = {"id": resource.id, "name": resource.name, "type": resource.type}
    ids: Object = {
        "project_id": project_id,
        "operation_type": "backup",
        "vault_id": vault.id,
        "vault_name": vault.name,
        "policy_id": next((policy.id for policy in policies), None),
        "extra_info": {"resource": {key: value for key, value in thing.items() if value}},
    }
    return OperationLog.read({key: value for key, value in ids.items() if value})
