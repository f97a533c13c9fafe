"""Cloud Backup and Recovery: the calls that Vaultbell makes. All of them only read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import urlencode

from vaultbell import tracing
from vaultbell.budget import Budget
from vaultbell.cloud import answers, listing
from vaultbell.cloud.credentials import Credentials
from vaultbell.cloud.endpoints import Endpoints
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.errors import Misconfigured, Permanent, TaskMissing, Transient
from vaultbell.inbound import Project
from vaultbell.report import Object
from vaultbell.transport import Answer, Transport

if TYPE_CHECKING:
    from vaultbell.cloud.vaults import Policy, Vault

T = TypeVar("T")
Row = TypeVar("Row", OperationLog, "Vault")

NO_SUCH_TASK = ("BackupService.6500", "BackupService.6501")
AUTHENTICATION_FAILED = "BackupService.9998"  # said with status 500, and meant as 401
ANSWER_MOST = 8 << 20
VAULTS_A_PAGE = 50  # each may hold 256 resources: more of them would not fit into an answer


class Query(NamedTuple):
    """What the list is narrowed to. Which of a task's times `since` is compared with is not documented."""

    status: str | None = None
    since: datetime | None = None
    operation_type: str | None = None
    resource_id: str | None = None
    vault_id: str | None = None

    def as_filters(self) -> dict[str, str]:
        """The parameters of the query; times have whole seconds and a Z."""
        known = {
            "status": self.status,
            "start_time": self.since and self.since.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "operation_type": self.operation_type,
            "resource_id": self.resource_id,
            "vault_id": self.vault_id,
        }
        return {name: value for name, value in known.items() if value}


@dataclass(frozen=True, slots=True)
class Cbr:
    """The API of one cloud, with the credentials to use.

    `watch` is told after each page of a list: how many rows lie behind, and of how many, if the API says so.
    """

    http: Transport
    endpoints: Endpoints
    credentials: Credentials
    page_size: int = listing.PAGE
    watch: Callable[[int, int | None], None] = lambda _read, _count: None

    def lent(self, credentials: Credentials) -> Cbr:
        """The same with other credentials: those that a platform hands over with one event."""
        return replace(self, credentials=credentials)

    def show(self, project: Project, operation_log_id: str, budget: Budget) -> OperationLog:
        """`GET /v3/{project_id}/operation-logs/{operation_log_id}` ("Querying a Single Task").

        A log that does not say its id is the one asked for. Raises TaskMissing, Transient (also for an answer about
        another task), Misconfigured.
        """

        def holds(body: Object) -> OperationLog | None:
            found = body.get("operation_log")
            if not isinstance(found, dict) or found.keys().isdisjoint(OperationLog.model_fields):
                return None
            log = OperationLog.read(found)
            if log.id not in (None, operation_log_id) or log.project_id not in (None, project.project_id):
                raise Transient("the API answered about another task than the one asked for")
            return log if log.id else log.model_copy(update={"id": operation_log_id})

        return self._get(project, f"/v3/{project.project_id}/operation-logs/{operation_log_id}", budget, holds)

    def list(self, project: Project, query: Query, budget: Budget) -> Iterator[OperationLog]:
        """`GET /v3/{project_id}/operation-logs` ("Querying the Task List"), page by page, as they are asked for.

        A task may come more than once. Raises Transient and Misconfigured, also in mid-reading; at the end Transient,
        where something else than this project's tasks was among them.
        """
        asked = query.as_filters()
        return self._listed(project, "operation-logs", OperationLog, asked, self.page_size, budget, self.watch)

    def vaults(self, project: Project, budget: Budget) -> Iterator[Vault]:
        """`GET /v3/{project_id}/vaults` ("Querying the Vault List"), with what is in each; as `list` does."""
        from vaultbell.cloud.vaults import Vault  # noqa: PLC0415 - few look at vaults

        return self._listed(project, "vaults", Vault, {}, min(self.page_size, VAULTS_A_PAGE), budget)

    def policies(self, project: Project, budget: Budget) -> Sequence[Policy]:
        """`GET /v3/{project_id}/policies` ("Querying the Policy List"), which knows no pages; as `list` raises."""
        from vaultbell.cloud.vaults import Policy  # noqa: PLC0415 - few look at policies

        return [Policy.read(row) for row in self._page(project, "policies", "policies", budget).rows]

    def _listed(
        self,
        project: Project,
        name: str,
        table: type[Row],
        filters: Mapping[str, str],
        page_size: int,
        budget: Budget,
        watch: Callable[[int, int | None], None] = lambda _read, _count: None,
    ) -> Iterator[Row]:
        """The rows of the list at this path; its answers call them by the path's own name."""

        def page(offset: int, limit: int) -> listing.Page:
            if budget.left <= 0:
                raise Transient("the time budget was spent before the list was read to its end")
            path = f"{name}?{urlencode({**filters, 'limit': str(limit), 'offset': str(offset)})}"
            found = self._page(project, path, name, budget)
            watch(offset + len(found.rows), found.count)
            return found

        strange = False
        for given in listing.rows(page, page_size):
            row = table.read(given)
            if given.keys().isdisjoint(table.model_fields) or row.project_id not in (None, project.project_id):
                strange = True
            else:
                yield row
        if strange:
            raise Transient(f"the API listed something else than {name} of this project")

    def _page(self, project: Project, path: str, name: str, budget: Budget) -> listing.Page:
        key, listed = name.replace("-", "_"), name == "operation-logs"
        try:
            return self._get(
                project, f"/v3/{project.project_id}/{path}", budget, lambda body: _rows(body, key), listed=listed
            )
        except TaskMissing:  # what it says of one task that it does not know means that it knows none
            return listing.Page([], 0)

    def _get(
        self,
        project: Project,
        path: str,
        budget: Budget,
        holds: Callable[[Object], T | None],
        *,
        listed: bool = False,
    ) -> T:
        """What a good answer holds, by the function that finds it in its body (None: it is not there).

        `listed`: a 404 may be one, since that of the task list is documented with the list's own body.
        """

        def once() -> T:
            answer = self._proved(project, path, budget)
            empty = listed and answer.status == 404 and answers.code_of(answer) is None
            if answer.status // 100 == 2 or empty:
                found = holds(answers.object_in("the API", answer))
                if found is None:
                    raise Transient(
                        f"the API answered {answer.status} without what was asked for", status=answer.status
                    )
                return found
            if answer.status == 404 and answers.code_of(answer) in NO_SUCH_TASK:
                raise TaskMissing("the API does not know this task")
            if _unauthenticated(answer):
                told = f"the API refuses our credentials ({answer.status})"
                raise Misconfigured(told, cause="credentials", status=answer.status)
            raise answers.fault("the API", answer, cause="api")

        with tracing.span("look_up", path=path):
            return answers.tried(once, budget)

    def _proved(self, project: Project, path: str, budget: Budget) -> Answer:
        """The answer to a request with our credentials; they are renewed once where they are refused."""
        base = self.endpoints.cbr(project.region)
        proof = self.credentials.headers("GET", base + path, project, budget)
        answer = self._send(base, path, proof, budget)
        if _unauthenticated(answer) and self.credentials.renew(project, proof, answer.headers):
            proof = self.credentials.headers("GET", base + path, project, budget)
            answer = self._send(base, path, proof, budget)
            if _unauthenticated(answer):
                self.credentials.renew(project, proof, answer.headers)
        return answer

    def _send(self, base: str, path: str, proof: Mapping[str, str], budget: Budget) -> Answer:
        headers = {"Accept": "application/json", **proof}
        try:
            return self.http.send(
                "GET", base, path, headers=headers, budget=budget.capped(answers.TRY_SECONDS), read=ANSWER_MOST
            )
        except Permanent as error:  # an untrusted certificate, say: ours to put right
            raise Misconfigured(f"the API: {error.message}", cause="endpoint", reason=error.reason) from None


def _rows(body: Object, key: str) -> listing.Page | None:
    found, count, limit = body.get(key), body.get("count"), body.get("limit")
    if not isinstance(found, list):
        return None
    return listing.Page(
        [row if isinstance(row, dict) else {} for row in found],
        count if isinstance(count, int) else None,
        limit if isinstance(limit, int) and limit > 0 else None,
    )


def _unauthenticated(answer: Answer) -> bool:
    return answer.status == 401 or (answer.status == 500 and answers.code_of(answer) == AUTHENTICATION_FAILED)
