"""A clock that is set back an hour, or ahead, or a token whose end leaps: what is asked is answered, and rung for."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from standardwebhooks.webhooks import Webhook

from e2e.test_graceful import Deployed, deployed
from standin import Cloud
from standin.sinks import Receiver
from vaultbell import compose, times
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.errors import Misconfigured
from vaultbell.inbound import Project
from vaultbell.settings import load
from worlds import SECRET

HOUR = 3_600.0
TOKEN = "inbound-token"
SOURCE = Path(__file__).with_name("stepped_clock.c")


class Clock:
    """The time of day of processes that were started with `env`."""

    def __init__(self, folder: Path, library: Path) -> None:
        self._file = folder / "ahead"
        self.step(0.0)
        self.env = {"LD_PRELOAD": str(library), "STEPPED_CLOCK": str(self._file)}

    def step(self, ahead: float) -> None:
        """Let it go so many seconds ahead of ours from now on."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("d", ahead))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make another clock with")
    made = tmp_path_factory.mktemp("clock") / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, SOURCE, "-ldl"], check=True)
    return made


@pytest.fixture
def clock(tmp_path: Path, library: Path) -> Clock:
    return Clock(tmp_path, library)


@pytest.fixture
def settings(cloud: Cloud, receiver: Receiver, tmp_path: Path) -> dict[str, str]:
    config = tmp_path / "vaultbell.yaml"
    ways = {name: {"type": "webhook", "url": f"{receiver.url}/{name}", "secrets": [SECRET]} for name in ("a", "b")}
    config.write_text(json.dumps({"channels": ways, "routes": [{"channels": ["a", "b"]}]}))
    guarded = {"VAULTBELL_INBOUND_TOKEN": TOKEN, "VAULTBELL_INBOUND_SECRET": SECRET}
    return cloud.env() | guarded | {"VAULTBELL_CONFIG": str(config)}


def post(function: Deployed, event: Mapping[str, object]) -> tuple[int, Any]:
    answer = requests.post(f"{function.url}/?token={TOKEN}", json=event, timeout=30)
    return answer.status_code, answer.json()["results"]


def signed(function: Deployed, task: str) -> int:
    """The answer to an event that is signed by our clock."""
    now, body = datetime.now(UTC), json.dumps({"operation_log_id": task})
    headers = {"webhook-id": "m1", "webhook-timestamp": str(int(now.timestamp()))}
    headers["webhook-signature"] = Webhook(SECRET).sign("m1", now, body)
    return requests.post(f"{function.url}/", data=body, headers=headers, timeout=30).status_code


def test_a_clock_that_is_set_back_and_ahead_and_right_again_stops_nothing(
    settings: dict[str, str], cloud: Cloud, receiver: Receiver, clock: Clock
) -> None:
    running = cloud.outcome("running")["id"]
    with deployed(settings | clock.env) as function:
        for ahead in (0.0, -HOUR, HOUR, 0.0):
            clock.step(ahead)
            before = len(receiver.requests)
            owed = cloud.outcome("failed")["id"]
            receiver.answer("/b", status=503, headers={"Retry-After": "60"}, times=1)
            assert post(function, {"operation_log_id": owed})[0] == 503
            assert post(function, {"operation_log_id": running})[0] == 503
            status, found = post(function, {"sweep": {}})
            assert (status, [result["outcome"] for result in found if result["error"]]) == (200, [])
            # who has taken it is remembered, whatever the time of day
            assert post(function, {"operation_log_id": owed})[0] == 200
            got = [one for one in receiver.requests[before:] if owed.encode() in one.body]
            assert sorted(one.path for one in got) == ["/a", "/b", "/b"]
            assert len({(one.headers["webhook-id"], one.body) for one in got}) == 1
            # who comes in is judged by the clock, and let in again as soon as that is right
            assert signed(function, cloud.outcome("failed")["id"]) == (401 if ahead else 200)
            assert signed(function, cloud.outcome("failed")["id"]) == (401 if ahead else 200)
    assert cloud.tokens_issued == 1
    assert b"unverified" not in b"".join(got.body for got in receiver.requests)


def test_with_an_access_key_a_wrong_clock_costs_a_request_and_no_ring(
    settings: dict[str, str], cloud: Cloud, clock: Clock
) -> None:
    keys = {"OS_USERNAME": "", "OS_PASSWORD": "", "OS_USER_DOMAIN_NAME": ""}
    keys |= {"OS_ACCESS_KEY": "STANDINACCESSKEY", "OS_SECRET_KEY": "standin-secret-key"}
    with deployed(settings | keys | clock.env) as function:
        for ahead in (0.0, -HOUR, HOUR, 0.0):
            clock.step(ahead)
            tasks = [cloud.outcome("failed")["id"] for _ in range(2)]
            assert [post(function, {"operation_log_id": task})[0] for task in tasks] == [200, 200]
    refused = [request for request in cloud.requests if request.status == 401]
    assert len(refused) == 3, "one each time that the clock was stepped"


def credentials(cloud: Cloud, **changed: str) -> Bell:
    return compose.bell(load(cloud.env() | {"VAULTBELL_WEBHOOK_URL": "http://127.0.0.1:9/"} | changed))


def test_an_access_key_that_is_wrong_whatever_the_time_rests(cloud: Cloud) -> None:
    keys = {"OS_USERNAME": "", "OS_PASSWORD": "", "OS_USER_DOMAIN_NAME": ""}
    bell = credentials(cloud, **keys, OS_ACCESS_KEY="STANDINACCESSKEY", OS_SECRET_KEY="wrong")
    cloud.advance(HOUR)
    task = cloud.outcome("failed")["id"]
    for asked in (2, 2, 2):  # once more by the API's clock, and then it rests: after five the cloud would lock it
        with pytest.raises(Misconfigured):
            bell.cbr.show(Project(cloud.project_id), task, Budget.of(5))
        assert cloud.counts["show"] == asked


NOW = datetime.now(UTC)


def iso(ahead: timedelta) -> str:
    return times.iso(NOW + ahead)


@pytest.mark.parametrize(
    ("issued", "expires", "log_ins"),
    [
        (iso(timedelta()), iso(timedelta(days=-1)), 1),  # it had ended before it was given
        (iso(timedelta()), iso(timedelta()), 1),
        (iso(timedelta()), iso(timedelta(days=365)), 1),
        (iso(timedelta()), "9999-12-31T23:59:59.999999Z", 1),
        ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", 1),
        (iso(timedelta(days=400)), iso(timedelta(days=401)), 1),  # their clock, or ours
        ("2026-11-25T06:00:00.123456Z", "2026-11-26T14:00:00+08:00", 1),
        ("2026-11-25T06:00:00.123456", "2026-11-26 06:00:00", 1),
        ("2026-11-25T06:00:00Z+08:00", "2026-11-26T06:00:00.123456789+02:00", 1),
        ("never", "always", 1),
        (None, None, 1),
        (True, {"at": 7}, 1),
        ([], 10**400, 1),
        (-(10**18), 10**18, 1),
        (iso(timedelta()), iso(timedelta(microseconds=1)), 3),  # it has really ended each time
    ],
    ids=[str(number) for number in range(15)],  # the times differ from process to process
)
def test_whenever_a_token_is_said_to_end_tasks_are_looked_up(
    cloud: Cloud, issued: object, expires: object, log_ins: int
) -> None:
    token, _ = cloud.issue(cloud.project_id)
    said = {"token": {"issued_at": issued, "expires_at": expires}}
    cloud.fault("iam", "status", None, status=201, headers={"X-Subject-Token": token}, body=said)
    bell, task = credentials(cloud), cloud.outcome("failed")["id"]
    for _ in range(3):
        assert bell.cbr.show(Project(cloud.project_id), task, Budget.of(5)).id == task
    assert cloud.counts["iam"] == log_ins
