"""The look-up against a stand-in cloud: who we are to it, what goes wrong, and what becomes of that."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from standin import Cloud, mock_cloud, serve
from standin.certificates import Authority
from standin.server import Server
from standin.sinks import Receiver
from standin.state import PROJECT, Answer, Kind, Request, Where
from vaultbell import compose, pipeline, settings
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.cloud import answers, credentials
from vaultbell.cloud.credentials import GivenToken
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.errors import Misconfigured, TaskMissing, Transient, VaultbellError
from vaultbell.events import Event
from vaultbell.inbound import Project

OTHER = "fedcba9876543210fedcba9876543210"
NOBODY = "00000000-0000-4000-8000-000000000009"
MARKERS = ("standin-password", "standin-secret-key", "t0ken-marker", "t3mporary-marker", "MII")


def bell_of(cloud: Cloud, **changed: str) -> Bell:
    """What the cloud's variables make, and those that are changed; an empty one is left out."""
    environ = {name: value for name, value in (cloud.env() | changed).items() if value}
    return compose.bell(settings.load(environ, tells=False))


NO_PASSWORD = {"OS_USERNAME": "", "OS_PASSWORD": "", "OS_USER_DOMAIN_NAME": ""}
ACCESS_KEY = {"OS_ACCESS_KEY": "STANDINACCESSKEY", "OS_SECRET_KEY": "standin-secret-key", **NO_PASSWORD}


@pytest.fixture
def task(cloud: Cloud) -> str:
    """A task that failed."""
    task_id: str = cloud.add(status="failed")["id"]
    return task_id


def show(bell: Bell, task_id: str, seconds: float = 5.0, project_id: str = PROJECT) -> OperationLog:
    return bell.cbr.show(Project(project_id), task_id, Budget.of(seconds))


def error_of(ask: Callable[[], object]) -> VaultbellError:
    """What it raises; that it holds no secret, wherever one might look."""
    with pytest.raises(VaultbellError) as caught:
        ask()
    shown = "".join((repr(caught.value), caught.value.message, *traceback.format_exception(caught.value)))
    assert not [marker for marker in MARKERS if marker in shown]
    return caught.value


class Clock:
    """A clock that stands still until it is moved, in the place of the time module of one of our modules."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: object) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=self.slept.append))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which tokens live and refusals rest."""
    return Clock(monkeypatch, credentials)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, which are not waited for."""
    return Clock(monkeypatch, answers).slept


def at_once(threads: int, work: Callable[[], object]) -> list[object]:
    """Do it in so many threads, all of which begin together; returns what came of it, results and errors."""
    together = threading.Barrier(threads)

    def one(_: int) -> object:
        together.wait()
        try:
            return work()
        except VaultbellError as error:
            return error

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(threads)))


# Tokens


def test_a_task_is_looked_up_with_a_token_for_its_project(cloud: Cloud, task: str) -> None:
    log = show(bell_of(cloud), task)
    assert (log.id, log.status) == (task, "failed")
    assert log.given == cloud.get(task)
    assert [(request.method, request.path) for request in cloud.requests] == [
        ("POST", "/v3/auth/tokens"),
        ("GET", f"/v3/{PROJECT}/operation-logs/{task}"),
    ]
    assert "nocatalog" in cloud.requests[0].query


def test_many_threads_fetch_one_token(cloud: Cloud, task: str) -> None:
    bell = bell_of(cloud)
    logs = at_once(32, lambda: show(bell, task).id)
    assert logs == [task] * 32
    assert (cloud.tokens_issued, cloud.counts["iam"], cloud.counts["show"]) == (1, 1, 32)


def test_each_project_has_its_own_token(cloud: Cloud, task: str) -> None:
    cloud.projects[OTHER] = "eu-de_other"
    elsewhere = cloud.add(project_id=OTHER)["id"]
    bell = bell_of(cloud, VAULTBELL_PROJECTS=f"{PROJECT},{OTHER}")
    for _ in range(2):
        assert show(bell, task).id == task
        assert show(bell, elsewhere, project_id=OTHER).id == elsewhere
    assert cloud.tokens_issued == 2


@pytest.mark.parametrize(
    ("life", "kept"),
    [
        (timedelta(hours=24), 86_400 - 300),
        (timedelta(hours=1), 3_600 - 300),
        (timedelta(minutes=10), 540),
        (timedelta(seconds=20), 18),
    ],
)
def test_a_token_is_kept_until_shortly_before_it_ends(
    cloud: Cloud, task: str, clock: Clock, life: timedelta, kept: float
) -> None:
    cloud.token_life = life
    bell = bell_of(cloud)
    began = clock.now
    for passed, issued in ((0, 1), (kept - 1, 1), (kept, 2), (kept + 1, 2)):
        clock.now = began + passed
        show(bell, task)
        assert cloud.tokens_issued == issued


@pytest.mark.parametrize("skew", [timedelta(days=400), timedelta(days=-400)], ids=["ahead", "behind"])
def test_a_clock_that_is_wrong_costs_no_token(task: str, cloud: Cloud, skew: timedelta) -> None:
    cloud.advance(skew)
    bell = bell_of(cloud)
    for _ in range(3):
        show(bell, task)
    assert cloud.tokens_issued == 1


def test_a_token_whose_end_cannot_be_read_is_kept_for_an_hour(cloud: Cloud, task: str, clock: Clock) -> None:
    token, _ = cloud.issue(PROJECT)
    cloud.fault("iam", "status", None, status=201, headers={"X-Subject-Token": token}, body={"token": "?"})
    bell = bell_of(cloud)
    for passed, fetched in ((0, 1), (3_299, 1), (2, 2)):
        clock.now += passed
        show(bell, task)
        assert cloud.counts["iam"] == fetched


@pytest.mark.parametrize("kind", ["expired_token", "auth_500"])
def test_a_refused_token_is_renewed_once_and_not_for_ever(cloud: Cloud, task: str, kind: Kind) -> None:
    bell = bell_of(cloud)
    show(bell, task)
    cloud.fault("show", kind)
    assert show(bell, task).id == task
    assert (cloud.tokens_issued, cloud.counts["show"]) == (2, 3)
    cloud.fault("show", kind, None)
    error = error_of(lambda: show(bell, task))
    assert isinstance(error, Misconfigured)
    assert error.cause == "credentials"
    assert (cloud.tokens_issued, cloud.counts["show"]) == (3, 5)


def test_a_token_that_was_revoked_is_renewed_by_one_of_many_threads(cloud: Cloud, task: str) -> None:
    bell = bell_of(cloud)
    show(bell, task)
    cloud.revoke()
    assert at_once(16, lambda: show(bell, task).id) == [task] * 16
    assert cloud.tokens_issued == 2


@pytest.mark.parametrize("changed", [{"OS_PASSWORD": "wrong"}, {"OS_PROJECT_ID": OTHER}], ids=["401", "403"])
def test_a_refused_log_in_rests_for_half_a_minute(
    cloud: Cloud, task: str, clock: Clock, changed: dict[str, str]
) -> None:
    bell = bell_of(cloud, **changed)
    project_id = changed.get("OS_PROJECT_ID", PROJECT)
    told = set()
    for passed, asked in ((0, 1), (1, 1), (28, 1), (1, 2), (29, 2)):
        clock.now += passed
        error = error_of(lambda: show(bell, task, project_id=project_id))
        assert isinstance(error, Misconfigured)
        told.add((error.message, error.cause, error.status))
        assert (cloud.counts["iam"], cloud.counts["show"]) == (asked, 0)
    assert len(told) == 1, "the incident is the same"


def test_many_threads_are_refused_by_one_log_in(cloud: Cloud, task: str) -> None:
    bell = bell_of(cloud, OS_PASSWORD="wrong")
    errors = at_once(16, lambda: show(bell, task))
    assert {type(error) for error in errors} == {Misconfigured}
    assert cloud.counts["iam"] == 1


def test_one_project_s_refusal_is_not_another_s(cloud: Cloud, task: str) -> None:
    bell = bell_of(cloud, VAULTBELL_PROJECTS=f"{PROJECT},{OTHER}")
    error_of(lambda: show(bell, task, project_id=OTHER))
    assert show(bell, task).id == task


def test_a_key_that_rests_for_one_project_is_no_word_about_another(cloud: Cloud, task: str) -> None:
    cloud.keys["KEY"] = ("secret", None)
    keys = {"OS_ACCESS_KEY": "KEY", "OS_SECRET_KEY": "wrong", "VAULTBELL_PROJECTS": f"{PROJECT},{OTHER}"}
    bell = bell_of(cloud, OS_USERNAME="", OS_PASSWORD="", OS_USER_DOMAIN_NAME="", **keys)
    assert isinstance(error_of(lambda: show(bell, task)), Misconfigured)
    assert isinstance(error_of(lambda: show(bell, task)), Misconfigured)
    assert isinstance(error_of(lambda: show(bell, task, project_id=OTHER)), Transient)
    assert cloud.counts["show"] == 1


def test_a_wrong_address_of_the_log_in_does_not_rest(cloud: Cloud, task: str) -> None:
    bell = bell_of(cloud)
    cloud.fault("iam", "status", status=404)
    assert isinstance(error_of(lambda: show(bell, task)), Misconfigured)
    assert show(bell, task).id == task


class Watched(Cloud):
    """A cloud that tells when it has been asked."""

    def reset(self) -> None:
        super().reset()
        self.asked = threading.Event()

    def record(self, where: str, request: Request) -> None:
        super().record(where, request)
        self.asked.set()


def test_waiting_for_another_thread_s_log_in_counts_against_the_budget() -> None:
    with serve(cloud := Watched()), ThreadPoolExecutor(1) as pool:
        bell = bell_of(cloud)
        cloud.fault("iam", "hang", None)
        first = pool.submit(error_of, lambda: show(bell, NOBODY, 0.7))
        assert cloud.asked.wait(5)
        error = error_of(lambda: show(bell, NOBODY, 0.2))
        assert isinstance(error, Transient)
        assert "another thread's log-in" in error.message
        assert isinstance(first.result(), Transient)
    assert cloud.counts["iam"] == 1


def test_a_project_that_is_only_named_costs_no_second_log_in(cloud: Cloud, task: str) -> None:
    bell = bell_of(cloud, OS_PROJECT_ID="", OS_PROJECT_NAME="eu-de")

    def look() -> object:
        (project,) = bell.projects.all(Budget.of(5))
        return bell.cbr.show(project, task, Budget.of(5)).id

    assert not bell.projects.known
    assert at_once(32, look) == [task] * 32
    assert (cloud.tokens_issued, cloud.counts["iam"]) == (1, 1)
    assert [project.project_id for project in bell.projects.known] == [PROJECT]
    cloud.revoke()
    assert look() == task
    assert cloud.tokens_issued == 2


def test_a_name_that_no_project_has_rests_as_a_refused_log_in_does(cloud: Cloud) -> None:
    bell = bell_of(cloud, OS_PROJECT_ID="", OS_PROJECT_NAME="eu-de_gone")
    for _ in range(3):
        assert isinstance(error_of(lambda: bell.projects.all(Budget.of(5))), Misconfigured)
    assert cloud.counts["iam"] == 1


def test_a_log_in_that_does_not_say_its_project_may_do_so_the_next_time(cloud: Cloud) -> None:
    bell = bell_of(cloud, OS_PROJECT_ID="", OS_PROJECT_NAME="eu-de")
    cloud.fault("iam", "status", status=201, headers={"X-Subject-Token": "t0ken-marker"}, body={"token": {}})
    assert isinstance(error_of(lambda: bell.projects.all(Budget.of(5))), Transient)
    assert [project.project_id for project in bell.projects.all(Budget.of(5))] == [PROJECT]


# Other proofs


def test_a_token_of_the_settings_is_used_as_it_is(cloud: Cloud, task: str) -> None:
    bell = bell_of(cloud, OS_TOKEN=cloud.issue(PROJECT)[0])
    assert show(bell, task).id == task
    cloud.revoke()
    error = error_of(lambda: show(bell, task))
    assert isinstance(error, Misconfigured)
    assert error.cause == "credentials"
    assert (cloud.counts["iam"], cloud.counts["show"]) == (0, 2)


@pytest.mark.parametrize("security_token", [None, "t3mporary-marker"])
def test_requests_are_signed_with_an_access_key(cloud: Cloud, task: str, security_token: str | None) -> None:
    cloud.keys["STANDINACCESSKEY"] = ("standin-secret-key", security_token)
    bell = bell_of(cloud, **ACCESS_KEY, OS_SECURITY_TOKEN=security_token or "")
    assert show(bell, task).id == task
    assert cloud.counts["iam"] == 0


@pytest.mark.parametrize(
    "changed", [{"OS_SECRET_KEY": "wrong"}, {"OS_ACCESS_KEY": "NOBODY"}, {"OS_SECURITY_TOKEN": "t3mporary-marker"}]
)
def test_a_refused_access_key_rests_because_the_cloud_would_lock_it(
    cloud: Cloud, task: str, clock: Clock, changed: dict[str, str]
) -> None:
    if "OS_SECURITY_TOKEN" in changed:
        cloud.keys["STANDINACCESSKEY"] = ("standin-secret-key", "another")
    bell = bell_of(cloud, **(ACCESS_KEY | changed))
    for passed, asked in ((0, 1), (1, 1), (28, 1), (1, 2)):
        clock.now += passed
        error = error_of(lambda: show(bell, task))
        assert isinstance(error, Misconfigured)
        assert error.cause == "credentials"
        assert cloud.counts["show"] == asked


def test_a_token_that_the_platform_lends_goes_before_all(cloud: Cloud, task: str) -> None:
    bell = bell_of(cloud, OS_PASSWORD="wrong")
    lent = bell.cbr.lent(GivenToken(cloud.issue(PROJECT)[0]))
    assert lent.show(Project(PROJECT), task, Budget.of(5)).id == task
    assert cloud.counts["iam"] == 0


def test_the_first_proof_of_the_list_is_taken(cloud: Cloud, task: str) -> None:
    token = {"OS_TOKEN": cloud.issue(PROJECT)[0]}
    wrong_key = {"OS_ACCESS_KEY": "STANDINACCESSKEY", "OS_SECRET_KEY": "wrong"}
    assert show(bell_of(cloud, **token, **wrong_key, OS_PASSWORD="wrong"), task).id == task
    right_key = wrong_key | {"OS_SECRET_KEY": "standin-secret-key"}
    assert show(bell_of(cloud, **right_key, OS_PASSWORD="wrong"), task).id == task
    assert cloud.counts["iam"] == 0


def test_without_any_proof_it_is_said_what_to_set(cloud: Cloud, task: str) -> None:
    error = error_of(lambda: show(bell_of(cloud, **NO_PASSWORD), task))
    assert isinstance(error, Misconfigured)
    assert error.cause == "credentials"
    assert all(name in error.message for name in ("OS_USERNAME", "OS_TOKEN", "OS_ACCESS_KEY", "agency"))
    assert not cloud.requests


@pytest.mark.parametrize(
    "names",
    [
        ["OS_USERNAME", "OS_PASSWORD", "OS_USER_DOMAIN_NAME", "OS_AUTH_URL"],
        ["OS_TOKEN"],
        ["OS_ACCESS_KEY", "OS_SECRET_KEY"],
    ],
)
def test_any_proof_may_stand_in_a_file(cloud: Cloud, task: str, tmp_path: Path, names: list[str]) -> None:
    values = {**ACCESS_KEY, "OS_TOKEN": cloud.issue(PROJECT)[0], **cloud.env()}
    changed = dict.fromkeys(NO_PASSWORD, "")
    for name in (*names, "OS_PROJECT_ID"):
        (tmp_path / name).write_text(f"{values[name]}\n")
        changed |= {name: "", f"{name}_FILE": str(tmp_path / name)}
    bell = bell_of(cloud, **changed)
    (project,) = bell.projects.known
    assert bell.cbr.show(project, task, Budget.of(5)).id == task
    assert cloud.counts["iam"] == ("OS_PASSWORD" in names)


def test_no_proof_is_shown_by_the_objects_that_hold_it(cloud: Cloud) -> None:
    for changed in ({}, {"OS_TOKEN": "t0ken-marker"}, {**ACCESS_KEY, "OS_SECURITY_TOKEN": "t3mporary-marker"}):
        shown = repr(bell_of(cloud, **changed).cbr)
        assert not [marker for marker in MARKERS if marker in shown]


# What goes wrong

FAULTS: list[tuple[Where, Kind, dict[str, Any], type[VaultbellError], int]] = [
    # where, what, how often it is asked where the fault stays
    ("show", "hang", {}, Transient, 3),
    ("show", "hang_body", {}, Transient, 3),
    ("show", "trickle", {}, Transient, 3),
    ("show", "trickle", {"head": True}, Transient, 3),
    ("show", "reset", {}, Transient, 3),
    ("show", "truncate", {}, Transient, 3),
    ("show", "truncate", {"keep": 0}, Transient, 3),
    ("show", "garbage", {}, Transient, 3),
    ("show", "not_json", {}, Transient, 3),
    ("show", "no_log", {}, Transient, 3),
    ("show", "wrong_id", {}, Transient, 3),
    ("show", "huge", {"megabytes": 9}, Transient, 3),
    ("show", "expired_token", {}, Misconfigured, 2),
    ("show", "auth_500", {}, Misconfigured, 2),
    ("show", "redirect", {}, Misconfigured, 1),
    ("iam", "hang", {}, Transient, 3),
    ("iam", "hang_body", {}, Transient, 3),
    ("iam", "trickle", {}, Transient, 3),
    ("iam", "reset", {}, Transient, 3),
    ("iam", "truncate", {}, Transient, 3),
    ("iam", "garbage", {}, Transient, 3),
    ("iam", "not_json", {}, Transient, 3),
    ("iam", "no_log", {}, Transient, 3),
    ("iam", "huge", {"megabytes": 2}, Transient, 3),
    ("iam", "auth_500", {}, Transient, 3),
    ("iam", "expired_token", {}, Misconfigured, 1),
    ("iam", "redirect", {}, Misconfigured, 1),
]


@pytest.mark.parametrize(("where", "kind", "args", "type_", "asked"), FAULTS)
def test_what_may_pass_is_tried_again_and_what_may_not_is_not(
    cloud: Cloud,
    task: str,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    where: Where,
    kind: Kind,
    args: Mapping[str, Any],
    type_: type[VaultbellError],
    asked: int,
) -> None:
    bell = bell_of(cloud)
    cloud.fault(where, kind, None, **args)
    if silent := kind in ("hang", "hang_body", "trickle"):
        monkeypatch.setattr(answers, "TRY_SECONDS", 0.05)
    assert type(error_of(lambda: show(bell, task))) is type_
    assert cloud.counts[where] == asked
    assert len(pauses) == (2 if type_ is Transient else 0)
    if type_ is Transient:
        cloud.heal()
        cloud.fault(where, kind, **args)
        if silent:
            monkeypatch.setattr(answers, "TRY_SECONDS", 0.4)
        assert show(bell, task).id == task, "the second try is as good as the first"


def test_the_pauses_between_tries_grow_and_vary(cloud: Cloud, task: str, pauses: list[float]) -> None:
    bell = bell_of(cloud)
    cloud.fault("show", "status", None, status=503)
    for _ in range(5):
        error_of(lambda: show(bell, task))
    assert all(0.1 <= pause <= 0.3 for pause in pauses[::2])
    assert all(0.4 <= pause <= 1.2 for pause in pauses[1::2])
    assert len(set(pauses)) == 10


@pytest.mark.parametrize("where", ["show", "iam"])
def test_a_silent_cloud_costs_no_more_than_the_budget(cloud: Cloud, task: str, where: Where) -> None:
    bell = bell_of(cloud)
    cloud.fault(where, "hang", None)
    budget = Budget.of(0.3)
    error = error_of(lambda: bell.cbr.show(Project(PROJECT), task, budget))
    assert isinstance(error, Transient)
    assert "no answer in time" in error.message
    assert budget.left == 0.0
    assert cloud.counts[where] == 1


@pytest.mark.parametrize("where", ["show", "iam"])
def test_statuses_that_may_pass(cloud: Cloud, task: str, pauses: list[float], where: Where) -> None:
    bell = bell_of(cloud)
    for status in (408, 425, 429, 500, 502, 503, 504, 599):
        pauses.clear()
        cloud.heal()
        cloud.fault(where, "status", None, status=status, body="<html>t0ken-marker</html>")
        error = error_of(lambda: show(bell, task))
        assert isinstance(error, Transient), status
        assert (error.status, error.after) == (status, None)
        assert str(status) in error.message
        assert len(pauses) == 2


@pytest.mark.parametrize("where", ["show", "iam"])
def test_statuses_that_somebody_must_put_right(cloud: Cloud, task: str, pauses: list[float], where: Where) -> None:
    said = {"error_code": "APIGW.0101", "error_msg": "t0ken-marker"}
    for status in (300, 301, 302, 303, 304, 307, 308, 400, 403, 404, 405, 406, 409, 410, 418, 451):
        bell = bell_of(cloud)
        cloud.heal()
        cloud.fault(where, "status", None, status=status, body=said)
        error = error_of(partial(show, bell, task))
        assert isinstance(error, Misconfigured), status
        assert (error.status, error.cause) == (status, f"{'api' if where == 'show' else 'log-in'}-{status}")
        assert f"{status}" in error.message
        assert "APIGW.0101" in error.message or status == 304  # which has no body
    assert (cloud.counts[where], pauses) == (16, [])


def test_a_good_answer_without_a_log_may_pass(cloud: Cloud, task: str, pauses: list[float]) -> None:
    bell = bell_of(cloud)
    for status in (200, 201, 202, 204, 206):
        pauses.clear()
        cloud.heal()
        cloud.fault("show", "status", None, status=status, body="")
        assert isinstance(error_of(lambda: show(bell, task)), Transient), status
        assert len(pauses) == 2


@pytest.mark.parametrize("code", ["BackupService.6500", "BackupService.6501"])
def test_only_the_api_s_own_word_makes_a_task_missing(cloud: Cloud, task: str, code: str) -> None:
    bell = bell_of(cloud)
    assert isinstance(error_of(lambda: show(bell, NOBODY)), TaskMissing)
    cloud.fault("show", "status", status=404, body={"error_code": code, "error_msg": "none"})
    assert isinstance(error_of(lambda: show(bell, task)), TaskMissing)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>nothing here</html>",
        "[]",
        {},
        {"error_code": None},
        {"error_code": ["BackupService.6500"]},
        {"error_code": "BackupService.6200"},
        {"error_code": "APIGW.0101", "error_msg": "BackupService.6500"},
        {"error": {"code": "IAM.0004"}},
        {"operation_log": {"status": "success"}},
    ],
    ids=str,
)
def test_any_other_404_is_no_verdict_on_the_task(cloud: Cloud, task: str, body: object) -> None:
    bell = bell_of(cloud)
    cloud.fault("show", "status", status=404, body=body)
    error = error_of(lambda: show(bell, task))
    assert isinstance(error, Misconfigured)
    assert error.cause == "api-404"


@pytest.mark.parametrize("where", ["show", "iam"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_that_the_cloud_asks_for_is_kept_to(
    cloud: Cloud, task: str, pauses: list[float], where: Where, status: int
) -> None:
    bell = bell_of(cloud)
    cloud.fault(where, "status", 2, status=status, headers={"Retry-After": "3"})
    assert show(bell, task, 25).id == task
    assert pauses == [3.0, 3.0]


@pytest.mark.parametrize("where", ["show", "iam"])
def test_a_wait_that_does_not_fit_the_budget_is_handed_back_at_once(
    cloud: Cloud, task: str, pauses: list[float], where: Where
) -> None:
    bell = bell_of(cloud)
    cloud.fault(where, "status", None, status=429, headers={"Retry-After": "90"})
    error = error_of(lambda: show(bell, task, 25))
    assert isinstance(error, Transient)
    assert error.after == 90.0
    assert (cloud.counts[where], pauses) == (1, [])


@pytest.mark.parametrize("where", ["show", "iam"])
def test_a_token_or_password_goes_to_no_other_host(cloud: Cloud, task: str, where: Where) -> None:
    asked: list[Mapping[str, str]] = []

    def elsewhere(_method: str, _path: str, _query: str, headers: Mapping[str, str], _body: bytes) -> Answer:
        asked.append(headers)
        return Answer(200, {}, b"{}")

    with Server(elsewhere) as server:
        for status in (301, 302, 303, 307, 308):
            cloud.fault(where, "redirect", status=status, url=f"{server.url}/v3/caught")
            error = error_of(lambda: show(bell_of(cloud), task))
            assert isinstance(error, Misconfigured), status
            assert server.url not in error.message
    assert asked == []


def test_an_address_that_nobody_listens_on_may_pass(cloud: Cloud, task: str, pauses: list[float]) -> None:
    with Server(lambda *_: Answer(200, {}, b"")) as gone:
        pass
    for changed in ({"CBR_ENDPOINT": gone.url}, {"OS_AUTH_URL": gone.url}):
        error = error_of(partial(show, bell_of(cloud, **changed), task))
        assert isinstance(error, Transient)
        assert "connection refused" in error.message
    assert len(pauses) == 4


def test_a_certificate_that_is_not_trusted_is_for_us_to_put_right(
    tmp_path: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    cloud = Cloud()
    with serve(cloud, tls=authority.certificate()):
        task_id = cloud.add(status="failed")["id"]
        token = cloud.issue(PROJECT)[0]
        for changed, cause in (({"OS_TOKEN": token}, "endpoint"), (dict[str, str](), "iam")):
            error = error_of(partial(show, bell_of(cloud, **changed), task_id))
            assert isinstance(error, Misconfigured)
            assert error.cause == cause
            assert "127.0.0.1: its certificate is not trusted" in error.message
        assert not cloud.requests
        assert pauses == []
        monkeypatch.setenv("SSL_CERT_FILE", authority.file)
        assert show(bell_of(cloud), task_id).id == task_id


# Answers that are odd


def answered(cloud: Cloud, log: object) -> None:
    cloud.fault("show", "status", None, status=200, body={"operation_log": log})


@pytest.mark.parametrize("own", [..., None, "", "  ", 7, ["x"], True], ids=repr)
def test_a_log_that_does_not_say_its_id_is_the_one_asked_for(cloud: Cloud, task: str, own: object) -> None:
    record = {"id": own, "project_id": own, "status": "failed", "vault_name": "v"}
    record = {name: value for name, value in record.items() if value is not ...}
    answered(cloud, record)
    log = show(bell_of(cloud), task)
    assert (log.id, log.status) == (task, "failed")
    assert log.given == record, "what is told is what the API gave"


@pytest.mark.parametrize(
    "record",
    [
        {"id": NOBODY, "status": "failed"},
        {"id": "x", "status": "failed"},
        {"project_id": OTHER, "status": "failed"},
        {"project_id": "x", "status": "failed"},
        {},
        {"padding": "x"},
        [],
        None,
        "failed",
        [{"status": "failed"}],
    ],
    ids=str,
)
def test_an_answer_about_something_else_or_nothing_is_a_fault_and_no_verdict(
    cloud: Cloud, task: str, pauses: list[float], record: object
) -> None:
    answered(cloud, record)
    assert isinstance(error_of(lambda: show(bell_of(cloud), task)), Transient)
    assert len(pauses) == 2


def test_the_spelling_of_an_id_does_not_matter(cloud: Cloud, task: str) -> None:
    answered(cloud, {"id": task.upper(), "project_id": f" {PROJECT.upper()} ", "status": "failed"})
    assert show(bell_of(cloud), task).id == task


def test_numbers_that_no_json_can_tell_again_are_null(cloud: Cloud, task: str) -> None:
    text = f'{{"operation_log": {{"id": "{task}", "a": NaN, "b": [1e999, -Infinity, 0.5], "status": "failed"}}}}'
    cloud.fault("show", "status", status=200, body=text)
    assert show(bell_of(cloud), task).given == {"id": task, "a": None, "b": [None, None, 0.5], "status": "failed"}


# Where


def look_up(cloud: Cloud, **changed: str) -> None:
    """Look a task up where the settings say, which know nothing of a stand-in."""
    bell = bell_of(cloud, **({"OS_AUTH_URL": "", "CBR_ENDPOINT": "", "OS_REGION_NAME": "eu-de"} | changed))
    (project,) = bell.projects.known
    task_id = cloud.add(status="failed")["id"]
    assert bell.cbr.show(project, task_id, Budget.of(5)).id == task_id


@pytest.mark.parametrize(
    ("region", "iam", "cbr"),
    [
        ("eu-de", "https://iam.eu-de.otc.t-systems.com", "https://cbr.eu-de.otc.t-systems.com"),
        ("eu-nl", "https://iam.eu-nl.otc.t-systems.com", "https://cbr.eu-nl.otc.t-systems.com"),
        ("eu-ch2", "https://iam-pub.eu-ch2.sc.otc.t-systems.com", "https://cbr.eu-ch2.sc.otc.t-systems.com"),
        ("cn-north-4", "https://iam.cn-north-4.myhuaweicloud.com", "https://cbr.cn-north-4.myhuaweicloud.com"),
    ],
)
def test_the_region_of_the_project_says_where_to_log_in_and_to_ask(region: str, iam: str, cbr: str) -> None:
    cloud = Cloud(region=region)
    cloud.iam_url, cloud.cbr_url = iam, cbr
    with mock_cloud(cloud):  # any other host would refuse the connection
        there = f"{PROJECT}@{region}"
        look_up(cloud, OS_REGION_NAME=region)
        look_up(cloud, VAULTBELL_PROJECTS=there)
        look_up(cloud, VAULTBELL_PROJECTS=there, OS_AUTH_URL=f"{iam}/v3", OS_REGION_NAME="")
        look_up(cloud, VAULTBELL_PROJECTS=there, OS_AUTH_URL=iam, CBR_ENDPOINT=f"{cbr}/v3/")
    assert cloud.counts == {"iam": 4, "show": 4}


# What is told where nothing can be seen


def test_blindness_is_told_by_the_event_s_time_and_known_by_the_six_hours_of_now(
    cloud: Cloud, task: str, receiver: Receiver
) -> None:
    environ = cloud.env() | {"OS_PASSWORD": "wrong", "VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"}
    event = f'{{"operation_log_id": "{task}", "project_id": "{PROJECT}", "time": %s}}'
    told = []
    for hour, time in ((8, '"2026-11-21T07:58:30Z"'), (11, "null"), (12, "null")):
        now = partial(datetime, 2026, 11, 23, hour, tzinfo=UTC)
        bell = replace(compose.bell(settings.load(environ)), now=now)
        assert pipeline.handle(bell, Event((event % time).encode()), Budget.of(5)).status == 500
        got = receiver.requests[-1]
        assert got.json["type"] == "cbr.task.unverified"
        assert got.json["data"]["operation_log"] == {"id": task, "project_id": PROJECT}
        told.append((got.json["timestamp"], got.headers["webhook-id"]))
    times, ids = zip(*told, strict=True)
    assert times == ("2026-11-21T07:58:30Z", "2026-11-23T06:00:00Z", "2026-11-23T12:00:00Z")
    assert ids[0] == ids[1] != ids[2]
