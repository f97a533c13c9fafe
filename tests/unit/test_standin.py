"""The stand-in cloud is a witness only if it is right itself."""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import re
import smtplib
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.client import BadStatusLine, HTTPConnection, HTTPException, IncompleteRead
from ipaddress import ip_address
from pathlib import Path
from typing import Any, get_args

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks.webhooks import Webhook

from standin import Cloud, api, mock_cloud, serve
from standin.logs import DEMO, OUTCOMES, seed_demo
from standin.server import Server
from standin.sinks import Mailbox, Mode, Receiver
from standin.state import Answer, Kind, Order, TimeField, TimeForm, Where
from vaultbell.cloud import signing

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
STATUSES = {
    "failed": "failed",
    "timed_out": "timeout",
    "skipped": "skipped",
    "running": "running",
    "overdue": "running",
}
OTHER = "f" * 32


@pytest.fixture
def still() -> Cloud:
    """A cloud whose clock stands still until it is advanced."""
    return Cloud(now=lambda: START)


def get(cloud: Cloud, path: str = "", query: str = "", **headers: str) -> tuple[int, Any]:
    """Ask in the process, with a right token unless `headers` says something else."""
    if not headers:
        headers = {"x-auth-token": cloud.issue(cloud.project_id)[0]}
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = api.answer(cloud, "GET", f"/v3/{cloud.project_id}/operation-logs{path}", query, sent, b"")
    return answer.status, json.loads(answer.body)


def ids(cloud: Cloud, query: str = "") -> list[str]:
    status, body = get(cloud, "", query)
    assert status == 200
    return [log["id"] for log in body["operation_logs"]]


def log_in(cloud: Cloud, query: str = "nocatalog=1", password: str | None = None, **scope: str) -> Answer:
    user = {"name": cloud.user_name, "password": password or cloud.password, "domain": {"name": cloud.domain}}
    auth = {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": {"project": scope}}
    return api.answer(cloud, "POST", "/v3/auth/tokens", query, {}, json.dumps({"auth": auth}).encode())


# tasks


@pytest.mark.parametrize("name", OUTCOMES)
def test_each_outcome_is_a_complete_task(still: Cloud, name: str) -> None:
    added = still.outcome(name)
    status, body = get(still, f"/{added['id']}")
    log = body["operation_log"]
    assert (status, log) == (200, added)
    assert log["status"] == {"unknown": "suspended", **STATUSES}.get(name, "success")
    assert {"created_at", "started_at", "updated_at", "error_info", "id", "project_id"} <= set(log)
    assert ("ended_at" in log) == (log["status"] in ("success", "failed", "timeout", "skipped"))
    assert (name == "overdue") == (datetime.fromisoformat(log["created_at"]) < START - timedelta(days=1))
    assert (name == "partial") == (log["extra_info"].get("remove_resources", {}).get("fail_count", 0) > 0)


@pytest.mark.parametrize(
    ("operation_type", "block", "member"),
    [
        ("backup", "backup", "incremental"),
        ("restore", "restore", "target_resource_name"),
        ("delete", "delete", "backup_name"),
        ("replication", "replication", "destination_region"),
        ("copy", "replication", "source_backup_id"),
        ("sync", "sync", "err_sync_backup_num"),
        ("vault_delete", "vault_delete", "fail_count"),
        ("remove_resource", "remove_resources", "resources"),
    ],
)
def test_each_type_has_its_own_block(still: Cloud, operation_type: str, block: str, member: str) -> None:
    assert member in still.add(operation_type)["extra_info"][block]


def test_fields_are_set_left_out_and_kept_as_given(still: Cloud) -> None:
    log = still.add(
        "vault_delete", "success", long_counts=True, fail_count=1, error_info=..., ended_at="soon", color="red"
    )
    assert log["extra_info"]["vault_delete"] == {"fail_delete_count": 1, "total_delete_count": 7}
    assert "error_info" not in log
    assert (log["ended_at"], log["color"]) == ("soon", "red")
    assert still.add(extra_info=None, error_code="X.1")["extra_info"] is None


@pytest.mark.parametrize(
    ("form", "pattern"),
    [("offset", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00"), ("naive", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")],
)
def test_times_have_the_wire_form_that_was_chosen(still: Cloud, form: TimeForm, pattern: str) -> None:
    still.time_form = form
    still.add(script=[(0, "running"), (10, "failed")])
    still.fill(1)
    still.advance(10)
    for log in still.tasks():
        assert all(re.fullmatch(pattern, log[name]) for name in ("created_at", "started_at", "updated_at", "ended_at"))


def test_a_scripted_task_follows_the_clock(still: Cloud) -> None:
    task = still.add(script=[(0, "waiting"), (60, "running"), (160, "failed")])
    seen = []
    for _ in range(5):
        log = still.get(task["id"])
        seen.append((log["status"], log["extra_info"]["common"]["progress"], log.get("ended_at")))
        still.advance(45)
    assert seen == [
        ("waiting", 0, None),
        ("waiting", 0, None),
        ("running", 30, None),
        ("running", 75, None),
        ("failed", 99, "2026-11-23T08:02:40.000+00:00"),
    ]
    log = still.get(task["id"])
    assert log["updated_at"] == log["ended_at"]
    assert log["started_at"] == "2026-11-23T08:01:00.000+00:00"
    assert log["error_info"]["code"] == "BackupService.7102"


def test_a_task_can_be_touched_again_and_forgotten(still: Cloud) -> None:
    task = still.add(status="success", age=3600)
    still.order = "updated_desc"
    newer = still.add(status="success")
    assert ids(still) == [newer["id"], task["id"]]
    assert still.change(task["id"], color="red")["updated_at"] == "2026-11-23T08:00:00.000+00:00"
    assert ids(still) == [task["id"], newer["id"]]
    still.remove(task["id"])
    assert ids(still) == [newer["id"]]
    assert get(still, f"/{task['id']}")[1]["error_code"] == "BackupService.6500"


# the list


@pytest.mark.parametrize("order", get_args(Order))
def test_the_list_has_the_order_that_was_chosen_while_tasks_come_change_and_go(still: Cloud, order: Order) -> None:
    still.order = order
    for number in range(40):
        still.add(status=("success", "running")[number % 2], age=1 + number * 37 % 400)
    assert len(set(ids(still))) == 40
    gone, *rest = still.tasks()
    still.remove(gone["id"])
    for log in rest[::3]:
        still.change(log["id"], status="failed", ended_at=START - timedelta(seconds=int(log["id"][:2], 16)))
    shown = [still.get(task_id) for task_id in ids(still)]
    assert len(shown) == 39
    name = order.split("_")[0]
    if name == "shuffled":
        assert ids(still) == ids(still) != sorted(ids(still))
        return
    found = [log.get("id" if name == "id" else f"{name}_at") for log in shown]
    some = [value for value in found if value is not None]
    assert some == sorted(some, reverse=order.endswith("desc"))
    assert found[: len(some)] == some


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("", 3),
        ("status=failed", 1),
        ("operation_type=restore", 1),
        ("status=failed&operation_type=restore", 0),
        ("vault_id=v1", 1),
        ("vault_name=prod%20a", 1),
        ("resource_id=r1", 1),
        ("resource_name=db", 1),
        ("provider_id=p1", 1),
        ("start_time=2026-11-23T07:00:00Z", 2),
        ("end_time=2026-11-23T07:00:00Z", 2),
        ("start_time=2026-11-23T07:00:01Z&end_time=2026-11-23T07:59:59Z", 0),
        ("limit=2", 3),
        ("limit=1&offset=5", 3),
        ("enterprise_project_id=all_granted_eps", 3),
    ],
)
def test_filters_and_count(still: Cloud, query: str, number: int) -> None:
    still.add(status="failed", created_at=START, vault_id="v1", resource_id="r1")
    still.add("restore", "success", created_at=START - timedelta(hours=1), vault_name="prod a", resource_name="db")
    still.add(status="running", created_at=START - timedelta(hours=2), provider_id="p1")
    status, body = get(still, "", query)
    assert (status, body["count"]) == (200, number)
    assert len(body["operation_logs"]) == {"limit=2": 2, "limit=1&offset=5": 0}.get(query, number)


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=1001", "limit=x", "offset=-1", "status=partial", "operation_type=nap", "checkpoint_id=1"),
        *(
            "start_time=2026-11-23T07:00:00",
            "end_time=2026-11-23T07:00:00.000Z",
            "start_time=2026-11-23T07:00:00%2B00:00",
        ),
    ],
)
def test_a_query_that_the_api_does_not_know_is_refused(still: Cloud, query: str) -> None:
    status, body = get(still, "", query)
    assert (status, body["error_code"]) == (400, "BackupService.9900")


@pytest.mark.parametrize(("field", "number"), [*zip(get_args(TimeField), (0, 1, 2, 1), strict=True)])
def test_the_time_filters_compare_the_field_that_was_chosen(still: Cloud, field: TimeField, number: int) -> None:
    still.time_field = field
    at: dict[str, Any] = {
        "created_at": START - timedelta(hours=2),
        "started_at": START - timedelta(hours=2),
        "updated_at": START,
    }
    still.add(**at, ended_at=START)
    still.add(**{**at, "started_at": START}, status="running")
    assert get(still, "", "start_time=2026-11-23T07:00:00Z")[1]["count"] == number


def test_the_list_can_grow_shrink_and_age_between_pages(still: Cloud) -> None:
    first = still.add(script=[(0, "running"), (30, "success")])

    def meanwhile() -> None:
        still.add()
        still.advance(30)

    still.between_pages = meanwhile
    assert [get(still, "", "status=running")[1]["count"] for _ in range(2)] == [1, 0]
    still.between_pages = lambda: still.remove(first["id"])
    assert get(still)[1]["count"] == 3
    still.between_pages = None
    assert first["id"] not in ids(still)


def test_a_page_may_be_smaller_than_asked_for_and_the_list_may_say_anything_of_itself(still: Cloud) -> None:
    for _ in range(5):
        still.add()
    still.page_most = 2
    status, body = get(still, "", "limit=3&offset=1")
    assert (status, len(body["operation_logs"])) == (200, 2)
    assert (body["count"], body["limit"], body["offset"]) == (5, 2, 1)
    still.says = lambda said: {"count": said["count"] + 7}
    assert get(still)[1].keys() == {"operation_logs", "count"}
    assert get(still)[1]["count"] == 12
    still.says = lambda _said: {}
    assert get(still)[1].keys() == {"operation_logs"}


def test_a_page_of_a_long_list_costs_no_more_than_one_of_a_short_list(still: Cloud) -> None:
    def calls(number: int) -> int:
        still.reset()
        still.fill(number)
        token = still.issue(still.project_id)[0]
        get(still, "", "limit=1000", x_auth_token=token)
        still.between_pages = lambda: still.fill(1)
        with cProfile.Profile() as profile:
            for offset in range(0, 5000, 1000):
                get(still, "", f"limit=1000&offset={offset}", x_auth_token=token)
        return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]  # documented, and not in the stub

    assert calls(40_000) < 1.2 * calls(5_000)


# who may come in


def test_a_log_in_answers_201_and_a_long_token_that_is_counted(still: Cloud) -> None:
    answer = log_in(still, id=still.project_id)
    token = json.loads(answer.body)["token"]
    assert answer.status == 201
    assert len(answer.headers["X-Subject-Token"]) > 2000
    assert (token["issued_at"], token["expires_at"]) == ("2026-11-23T08:00:00.000000Z", "2026-11-24T08:00:00.000000Z")
    assert "catalog" not in token
    assert "catalog" in json.loads(log_in(still, query="", name="eu-de").body)["token"]
    assert still.tokens_issued == 2


@pytest.mark.parametrize(
    ("password", "scope", "status", "code"),
    [
        ("wrong", {"name": "eu-de"}, 401, "IAM.0001"),
        (None, {"id": OTHER}, 403, "IAM.0003"),
        (None, {}, 403, "IAM.0003"),
    ],
)
def test_a_log_in_can_be_refused(
    still: Cloud, password: str | None, scope: dict[str, str], status: int, code: str
) -> None:
    answer = log_in(still, password=password, **scope)
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (status, code)
    assert still.tokens_issued == 0


@pytest.mark.parametrize("body", [b"", b"[]", b'{"auth": {}}', b'{"auth": {"identity": {"methods": ["token"]}}}'])
def test_a_malformed_log_in_is_400(still: Cloud, body: bytes) -> None:
    assert api.answer(still, "POST", "/v3/auth/tokens", "", {}, body).status == 400


def test_a_token_must_be_right_fresh_and_of_the_project(still: Cloud) -> None:
    still.projects[OTHER] = "eu-de_shop"
    other, mine = (log_in(still, id=name).headers["X-Subject-Token"] for name in (OTHER, still.project_id))
    assert [get(still, "", x_auth_token=token)[0] for token in ("", "wrong", other, mine)] == [401, 401, 403, 200]
    still.advance(timedelta(hours=24))
    assert get(still, "", x_auth_token=mine)[1]["error_code"] == "APIGW.0301"
    kept = still.issue(still.project_id)[0]
    still.revoke()
    assert get(still, "", x_auth_token=kept)[0] == 401


def test_rights_can_be_lost_one_by_one(still: Cloud) -> None:
    task = still.add()["id"]
    still.forbidden.add((still.project_id, "list"))
    assert (get(still)[0], get(still, f"/{task}")[0]) == (403, 200)
    still.forbidden.add((still.project_id, "iam"))
    assert log_in(still, id=still.project_id).status == 403


@pytest.mark.parametrize(
    ("where", "kind", "status"),
    [
        ("iam", "password_expired", 401),
        ("iam", "user_locked", 401),
        ("iam", "no_role", 403),
        ("list", "key_disabled", 401),
        ("list", "key_locked", 401),
        ("list", "forbidden", 403),
    ],
)
def test_whoever_asks_can_be_turned_away(still: Cloud, where: Where, kind: Kind, status: int) -> None:
    still.fault(where, kind)
    assert (log_in(still).status if where == "iam" else get(still)[0]) == status


def test_a_project_does_not_show_the_tasks_of_another(still: Cloud) -> None:
    other = still.add(project_id=OTHER)
    assert get(still, f"/{other['id']}")[0] == 404
    assert ids(still) == []


SECRET, TEMPORARY = "standin-secret-key", "temporary-token"


@pytest.mark.parametrize(
    ("secret", "security", "project", "minutes", "query", "status"),
    [
        (SECRET, TEMPORARY, None, 0, "status=failed&limit=5&vault_name=a%20b~c", 200),
        (SECRET, TEMPORARY, "own", 14, "", 200),
        (SECRET, TEMPORARY, OTHER, 0, "", 401),
        (SECRET, TEMPORARY, None, 16, "", 401),
        ("wrong", TEMPORARY, None, 0, "", 401),
        (SECRET, "wrong", None, 0, "", 401),
        (SECRET, None, None, 0, "", 401),
    ],
)
def test_signed_requests_are_verified(
    still: Cloud, secret: str, security: str | None, project: str | None, minutes: int, query: str, status: int
) -> None:
    still.keys["AK"] = (SECRET, TEMPORARY)
    keys = signing.KeyPair("AK", secret, security)
    url = f"https://cbr.example.com/v3/{still.project_id}/operation-logs" + (f"?{query}" if query else "")
    project = still.project_id if project == "own" else project
    signed = signing.headers(keys, "GET", url, START - timedelta(minutes=minutes), project)
    sent = {name.lower(): value for name, value in signed.items()}
    assert get(still, "", query, **sent)[0] == status
    if status == 200:
        assert get(still, "", query + "&offset=1", **sent)[0] == 401
        assert get(still, "", query, **{**sent, "host": "elsewhere"})[0] == 401


def test_a_key_that_was_wrong_too_often_is_locked_for_five_minutes(still: Cloud) -> None:
    def ask(secret: str) -> int:
        keys = signing.KeyPair("STANDINACCESSKEY", secret)
        url = f"https://cbr.example.com/v3/{still.project_id}/operation-logs"
        return get(still, **{k.lower(): v for k, v in signing.headers(keys, "GET", url, still.now()).items()})[0]

    assert [ask("wrong") for _ in range(5)] == [401] * 5
    assert ask(SECRET) == 200
    assert [ask("wrong") for _ in range(6)] == [401] * 6
    assert ask(SECRET) == 401
    still.advance(299)
    assert ask(SECRET) == 401
    still.advance(1)
    assert ask(SECRET) == 200


# faults, on the wire


@pytest.fixture
def task(cloud: Cloud) -> Iterator[Callable[[], requests.Response]]:
    """Asks a served cloud for its one task."""
    url = f"{cloud.cbr_url}/v3/{cloud.project_id}/operation-logs/{cloud.add()['id']}"
    with requests.Session() as session:
        session.headers["X-Auth-Token"] = cloud.issue(cloud.project_id)[0]
        yield lambda: session.get(url, timeout=0.3, allow_redirects=False)


@pytest.mark.parametrize(
    ("kind", "args", "status", "said"),
    [
        (
            "status",
            {"status": 429, "headers": {"Retry-After": "7"}, "body": {"error_code": "APIG.0308"}},
            429,
            "APIG.0308",
        ),
        ("status", {"status": 599, "body": "plain"}, 599, "plain"),
        ("not_json", {}, 200, "<html>"),
        ("no_log", {}, 200, "{}"),
        ("expired_token", {}, 401, "APIGW.0307"),
        ("auth_500", {}, 500, "BackupService.9998"),
        ("redirect", {"url": "http://elsewhere.example.com/"}, 302, ""),
        ("huge", {"megabytes": 2}, 200, "x" * 2**21),
    ],
)
def test_a_fault_in_what_is_said(
    cloud: Cloud, task: Callable[[], requests.Response], kind: Kind, args: dict[str, Any], status: int, said: str
) -> None:
    cloud.fault("show", kind, **args)
    answer = task()
    assert answer.status_code == status
    assert said in answer.text
    assert answer.headers.get("Retry-After") == args.get("headers", {}).get("Retry-After")
    assert answer.headers.get("Location") == args.get("url")
    assert task().json()["operation_log"]["status"] == "failed"


def test_another_task_can_be_answered(cloud: Cloud, task: Callable[[], requests.Response]) -> None:
    cloud.fault("show", "wrong_id")
    assert task().json()["operation_log"]["id"] != task().json()["operation_log"]["id"] == cloud.tasks()[0]["id"]


@pytest.mark.parametrize(
    ("kind", "args", "error", "cause"),
    [
        ("hang", {}, requests.ReadTimeout, TimeoutError),
        ("hang_body", {}, requests.ConnectionError, TimeoutError),
        ("reset", {}, requests.ConnectionError, ConnectionResetError),
        ("truncate", {}, requests.exceptions.ChunkedEncodingError, IncompleteRead),
        ("garbage", {}, requests.ConnectionError, BadStatusLine),
    ],
)
def test_a_fault_of_the_wire(
    cloud: Cloud,
    task: Callable[[], requests.Response],
    kind: Kind,
    args: dict[str, Any],
    error: type[Exception],
    cause: type[Exception],
) -> None:
    cloud.fault("any", kind, **args)
    with pytest.raises(error) as caught:
        task()
    assert issubclass(error, requests.RequestException)
    assert _has_cause(caught.value, cause)
    assert task().status_code == 200


def _has_cause(error: BaseException | None, cause: type[BaseException]) -> bool:
    while error is not None:
        inner = [error, *(arg for arg in error.args if isinstance(arg, BaseException))]
        inner += [arg for some in inner for arg in some.args if isinstance(arg, BaseException)]
        if any(isinstance(some, cause) or cause.__name__ in repr(some) for some in inner):
            return True
        error = error.__cause__ or error.__context__
    return False


@pytest.mark.parametrize("head", [True, False])
def test_a_trickle_outlasts_a_time_out_of_each_receive(cloud: Cloud, head: bool) -> None:
    cloud.fault("list", "trickle", pause=0.005, head=head, times=None)
    connection = HTTPConnection("127.0.0.1", int(cloud.cbr_url.rsplit(":", 1)[1]), timeout=0.2)
    connection.request("GET", f"/v3/{cloud.project_id}/operation-logs", headers={"X-Auth-Token": "wrong"})
    answer = connection.getresponse()
    assert json.loads(answer.read())["error_code"] == "APIGW.0301"
    connection.close()


def test_a_fault_hits_its_place_after_those_spared_and_so_often(still: Cloud) -> None:
    still.fault("list", "no_log", times=2, after=1)
    still.fault("list", "status", times=None, status=418)
    assert [get(still)[0] for _ in range(5)] == [418, 200, 200, 418, 418]
    assert get(still, "/unknown")[0] == 404
    still.heal()
    assert get(still)[0] == 200
    assert still.counts == {"list": 6, "show": 1}
    assert still.requests[0] == ("GET", f"/v3/{still.project_id}/operation-logs", "", 418)
    with pytest.raises(ValueError, match="no such fault"):
        still.fault("list", "nap")  # type: ignore[arg-type]  # what is wrong with it is the test


# the faces


def test_the_witness_does_not_know_what_it_witnesses() -> None:
    for file in (Path(__file__).parents[1] / "standin").glob("*.py"):
        assert not re.search(r"^\s*(from|import) vaultbell", file.read_text("utf-8"), re.MULTILINE)


def test_the_server_keeps_connections_and_serves_many_at_once(cloud: Cloud) -> None:
    task_id = cloud.add()["id"]
    token = cloud.issue(cloud.project_id)[0]
    cloud.between_pages = None
    with serve(cloud) as server:

        def client(_: int) -> set[int]:
            connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
            found = set()
            for _turn in range(10):
                path = f"/v3/{cloud.project_id}/operation-logs/{task_id}"
                connection.request("GET", path, headers={"X-Auth-Token": token})
                answer = connection.getresponse()
                answer.read()
                found.add(answer.status)
            connection.close()
            return found

        with ThreadPoolExecutor(64) as pool:
            assert set.union(*pool.map(client, range(64))) == {200}
        assert server.connections == 64
    assert cloud.counts["show"] == 640


@pytest.mark.parametrize(
    "sent", [b"nonsense\r\n\r\n", b"GET / SPDY/9\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
def test_what_is_not_http_is_400(cloud: Cloud, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", int(cloud.cbr_url.rsplit(":", 1)[1])), timeout=5) as connection:
        connection.sendall(sent)
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_a_server_that_ends_ends_its_connections() -> None:
    with Server(lambda *_: Answer(204, {}, b"")) as server:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=5)
        connection.request("GET", "/")
        assert connection.getresponse().status == 204

    def again() -> None:
        connection.request("GET", "/")
        connection.getresponse()

    with pytest.raises((OSError, HTTPException)):
        again()
    connection.close()


def test_in_the_process_the_cloud_has_its_real_addresses(mocked_cloud: Cloud, receiver: Receiver) -> None:
    assert mocked_cloud.env()["OS_AUTH_URL"] == "https://iam.eu-de.otc.t-systems.com/v3"
    url = f"{mocked_cloud.cbr_url}/v3/{mocked_cloud.project_id}/operation-logs/{mocked_cloud.add()['id']}"
    headers = {"X-Auth-Token": mocked_cloud.issue(mocked_cloud.project_id)[0]}
    assert requests.get(url, headers=headers, timeout=1).json()["operation_log"]["status"] == "failed"
    for kind in ("hang", "reset", "truncate", "trickle", "garbage"):
        mocked_cloud.fault("show", kind)
        with pytest.raises(requests.RequestException):
            requests.get(url, headers=headers, timeout=1)
    assert requests.post(receiver.url, data=b"x", timeout=5).status_code == 200
    with pytest.raises(requests.ConnectionError):
        requests.get("https://elsewhere.example.com/", timeout=1)


def test_the_mock_is_a_decorator() -> None:
    cloud = Cloud()

    @mock_cloud(cloud)
    def ask() -> int:
        return requests.get(f"{cloud.cbr_url}/v3/x/operation-logs", timeout=1).status_code

    assert (ask(), ask()) == (401, 401)


@pytest.mark.parametrize("command", [["-m", "standin"], [str(Path(__file__).parents[1] / "standin")]])
def test_it_runs_on_its_own_and_is_steered_over_http(command: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, *command, "--seed-demo"], stdout=subprocess.PIPE, env=environment
    ) as process:
        try:
            assert process.stdout
            url = json.loads(process.stdout.readline())["url"]
            added = requests.post(f"{url}/_standin/tasks", json={"outcome": "timed_out"}, timeout=5)
            assert (added.status_code, added.json()["status"]) == (201, "timeout")
            said = {"where": "any", "kind": "status", "status": 429}
            assert requests.post(f"{url}/_standin/faults", json=said, timeout=5).status_code == 200
            assert requests.get(f"{url}/v3/x/operation-logs", timeout=5).status_code == 429
            asked = requests.get(f"{url}/_standin/requests", timeout=5).json()
            assert asked["requests"] == [{"method": "GET", "path": "/v3/x/operation-logs", "query": "", "status": 429}]
            vault = requests.post(f"{url}/_standin/vaults", json={"name": "a", "resources": ["db"]}, timeout=5).json()
            assert [resource["name"] for resource in vault["resources"]] == ["db"]
            policy = requests.post(f"{url}/_standin/policies", json={"vaults": [vault["id"]]}, timeout=5).json()
            assert policy["associated_vaults"][0]["vault_id"] == vault["id"]
            before = requests.post(f"{url}/_standin/clock", json={"advance": 0}, timeout=5).json()["now"]
            after = requests.post(f"{url}/_standin/clock", json={"advance": 86400}, timeout=5).json()["now"]
            assert before[:10] < after[:10]
            assert requests.post(f"{url}/_standin/reset", timeout=5).status_code == 200
            assert requests.get(f"{url}/_standin/requests", timeout=5).json()["requests"] == []
            assert requests.post(f"{url}/_standin/tasks", json=[], timeout=5).status_code == 400
        finally:
            process.terminate()


def test_the_demo_has_a_task_for_each_digit_but_nine(still: Cloud) -> None:
    seed_demo(still)
    assert {log["id"][-1] for log in still.tasks()} == set(DEMO) == set("12345678abcdef")
    log = still.get("00000000-0000-4000-8000-00000000000d")
    assert (log["operation_type"], log["status"], log["extra_info"]["vault_delete"]["fail_count"]) == (
        *("vault_delete", "success"),
        1,
    )


# vaults


def listed(cloud: Cloud, name: str, query: str = "") -> tuple[int, Any]:
    headers = {"x-auth-token": cloud.issue(cloud.project_id)[0]}
    answer = api.answer(cloud, "GET", f"/v3/{cloud.project_id}/{name}", query, headers, b"")
    return answer.status, json.loads(answer.body)


def test_vaults_are_listed_by_page_and_by_what_the_query_says(still: Cloud) -> None:
    one = still.vault({"id": "r1"}, {"id": "r2"}, name="one")
    two = still.vault("disk", name="two", billing={"status": "lock"}, created_at=START + timedelta(hours=1))
    still.vault(project_id=OTHER)
    policy = still.policy(one["id"])
    assert listed(still, "vaults") == (200, {"vaults": [two, one], "count": 2, "limit": 1000, "offset": 0})
    assert listed(still, "vaults", "limit=1&offset=1")[1] == {"vaults": [one], "count": 2, "limit": 1, "offset": 1}
    queries = ("name=one", "status=available", "resource_ids=x,r2", f"policy_id={policy['id']}", f"id={one['id']}")
    for query in queries:
        assert [vault["name"] for vault in listed(still, "vaults", query)[1]["vaults"]] == ["one"]
    for query in ("limit=0", "limit=1001", "offset=-1", "limit=x", "marker=x"):
        assert listed(still, "vaults", query)[0] == 400


def test_policies_are_listed_by_vault_and_type(still: Cloud) -> None:
    one, two = still.vault(name="one"), still.vault(name="two")
    daily, copies = still.policy(one["id"]), still.policy(two["id"], operation_type="replication", enabled=False)
    unused, _ = still.policy(name="unused"), still.policy(still.vault(project_id=OTHER)["id"])
    assert listed(still, "policies") == (200, {"policies": [daily, copies, unused], "count": 3})
    assert listed(still, "policies", "operation_type=replication")[1]["policies"] == [copies]
    assert listed(still, "policies", f"vault_id={one['id']}")[1]["policies"] == [daily]
    assert listed(still, "policies", "limit=1")[0] == 400


def test_what_is_changed_in_a_vault_is_listed_so(still: Cloud) -> None:
    vault = still.vault("db-01")
    still.protect(vault["id"], "db-02")
    still.vaults[vault["id"]]["resources"].pop(0)
    (found,) = listed(still, "vaults")[1]["vaults"]
    assert [resource["name"] for resource in found["resources"]] == ["db-02"]
    still.reset()
    assert listed(still, "vaults")[1]["count"] == 0


@pytest.mark.parametrize("where", ["vaults", "policies"])
def test_the_other_lists_have_faults_of_their_own_and_ask_who_it_is(still: Cloud, where: Where) -> None:
    assert api.answer(still, "GET", f"/v3/{still.project_id}/{where}", "", {}, b"").status == 401
    still.fault(where, "status", status=429)
    assert listed(still, "vaults" if where == "policies" else "policies")[0] == 200
    assert [listed(still, where)[0] for _ in range(2)] == [429, 200]
    assert still.counts[where] == 3


# the sinks


def test_a_receiver_keeps_what_it_gets_and_answers_as_told(receiver: Receiver) -> None:
    receiver.answer("/hook", 503, {"Retry-After": "3"}, times=1)
    receiver.answer("/hook", kind="reset", times=1)
    receiver.answer("/hook", 302, {"Location": "/x"})
    first = requests.post(f"{receiver.url}/hook?a=1", json={"n": 1}, timeout=5)
    assert (first.status_code, first.headers["Retry-After"]) == (503, "3")
    with pytest.raises(requests.ConnectionError):
        requests.post(f"{receiver.url}/hook", json={"n": 2}, timeout=5)
    for _ in range(2):
        assert requests.post(f"{receiver.url}/hook", timeout=5, allow_redirects=False).status_code == 302
    assert requests.get(f"{receiver.url}/other", timeout=5).status_code == 200
    got = receiver.wait_for(5)
    assert [(one.method, one.path, one.query) for one in got[:1]] == [("POST", "/hook", "a=1")]
    assert [one.json for one in got[:2]] == [{"n": 1}, {"n": 2}]
    with pytest.raises(TimeoutError, match="5 requests came, not 6"):
        receiver.wait_for(6, timeout=0.01)


def test_a_receiver_verifies_signatures(receiver: Receiver) -> None:
    secret = "whsec_" + "c3RhbmRpbi1zZWNyZXQtc3RhbmRpbi1zZWNyZXQ="
    now = datetime.now(UTC)
    signature = Webhook(secret).sign("msg_1", now, "{}")
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    for body in ("{}", "[]"):
        requests.post(receiver.url, data=body, headers=headers, timeout=5)
    requests.post(receiver.url, data="{}", timeout=5)
    assert receiver.verify(secret) == [True, False, False]


def test_a_mailbox_keeps_mails_and_refuses_as_told(mailbox: Mailbox) -> None:
    mailbox.refuse("rcpt", "550 5.1.1 unknown", of="bob@")
    mailbox.refuse("data", "451 4.3.0 later", times=1)
    mailbox.refuse("mail", "", of="evil@")
    message = "Subject: Hello\r\nFrom: a@example.org\r\n\r\nBody\r\n"
    with smtplib.SMTP("127.0.0.1", mailbox.port, timeout=5) as client:
        with pytest.raises(smtplib.SMTPDataError, match="451"):
            client.sendmail("a@example.org", ["b@example.org"], message)
        refused = client.sendmail("a@example.org", ["b@example.org", "bob@example.org"], message)
        assert refused == {"bob@example.org": (550, b"5.1.1 unknown")}
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.sendmail("evil@example.org", ["b@example.org"], message)
    (mail,) = mailbox.wait_for(1)
    assert (mail.sender, mail.recipients, mail.tls, mail.user) == ("a@example.org", ("b@example.org",), False, None)
    assert (mail.message["Subject"], mail.message.get_content()) == ("Hello", "Body\r\n")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Files of a certificate for 127.0.0.1, which signs itself, and of its key."""
    return self_signed(tmp_path_factory.mktemp("tls"))


def self_signed(folder: Path) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "standin")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(folder / "cert.pem"), str(folder / "key.pem")


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
def test_a_mailbox_has_tls_and_a_login(certificate: tuple[str, str], mode: Mode) -> None:
    context = ssl.create_default_context(cafile=certificate[0])
    with Mailbox(mode=mode, tls=certificate, login=("bell", "right")) as mailbox:
        client: smtplib.SMTP
        if mode == "implicit":
            client = smtplib.SMTP_SSL("127.0.0.1", mailbox.port, context=context, timeout=5)
        else:
            client = smtplib.SMTP("127.0.0.1", mailbox.port, timeout=5)
            client.starttls(context=context)
        with client:
            with pytest.raises(smtplib.SMTPAuthenticationError, match="535"):
                client.login("bell", "wrong")
            mailbox.refuse("auth", "454 4.7.0 later", times=2)  # smtplib tries two ways
            with pytest.raises(smtplib.SMTPAuthenticationError, match="454"):
                client.login("bell", "right")
            client.login("bell", "right")
            client.sendmail("a@example.org", ["b@example.org"], "Subject: x\r\n\r\n")
        (mail,) = mailbox.wait_for(1)
        assert (mail.tls, mail.user) == (True, "bell")


def test_the_server_speaks_tls_and_survives_who_does_not(certificate: tuple[str, str]) -> None:
    cloud = Cloud()
    with serve(cloud, tls=certificate) as server:
        assert cloud.cbr_url.startswith("https://")
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with suppress(ConnectionResetError):
                assert not connection.recv(100).startswith(b"HTTP")
        answer = requests.get(f"{server.url}/v3/x/operation-logs", verify=certificate[0], timeout=5)
        assert answer.status_code == 401
        cloud.fault("any", "reset")
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{server.url}/v3/x/operation-logs", verify=certificate[0], timeout=5)
