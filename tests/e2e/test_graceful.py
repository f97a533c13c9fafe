"""Told to stop under load, with nowhere left to write, and on a clock that jumps: the bell rings all the same."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import IO

import pytest
import requests

from serving import FUNCTION, environment
from standin import Cloud, ports
from standin.sinks import Receiver

DOCKERFILE = FUNCTION.parent / "infra/container/Dockerfile"
NOWHERE = {"HOME": "/proc/1", "TMPDIR": "/proc/1"}  # nobody can write there, not even root
STARTS_WITHIN = 30.0


def image_command() -> list[str]:
    """What the image runs, with the places of this tree."""
    (said,) = re.findall(r"^CMD (\[.*\])$", DOCKERFILE.read_text("utf-8"), re.MULTILINE)
    program, *arguments = json.loads(said)
    return [
        str(Path(sys.executable).with_name(program)),
        *(word.replace("/function", str(FUNCTION)) for word in arguments),
    ]


@dataclass(frozen=True, slots=True)
class Deployed:
    """The function as the image runs it."""

    url: str
    process: subprocess.Popen[bytes]

    def tell(self, task: str, session: requests.Session | None = None) -> int | None:
        """Name a task to it: the answer's status, or nothing where there was no answer."""
        try:
            return (session or requests).post(f"{self.url}/", json={"operation_log_id": task}, timeout=30).status_code
        except requests.RequestException:
            return None


@contextmanager
def deployed(
    settings: Mapping[str, str],
    shell: str = "",
    before: Sequence[str] = (),
    out: int | IO[bytes] = subprocess.DEVNULL,
    err: int | IO[bytes] = subprocess.DEVNULL,
) -> Iterator[Deployed]:
    """Run it until the end; `shell` are a shell's words for what becomes of its streams, `before` what runs it."""
    port = ports.unused()
    env = environment(settings) | {"HOST": "127.0.0.1", "PORT": str(port), "THREADS": "8"}
    command = [*before, *(["sh", "-c", f'exec "$@" {shell}', "sh"] if shell else []), *image_command()]
    with subprocess.Popen(command, env=env, stdout=out, stderr=err) as process:
        running = Deployed(f"http://127.0.0.1:{port}", process)
        try:
            until = time.monotonic() + STARTS_WITHIN
            while process.poll() is None and time.monotonic() < until:
                try:
                    requests.get(f"{running.url}/readyz", timeout=5)
                    break
                except requests.ConnectionError:
                    time.sleep(0.02)  # nothing tells when a process begins to listen
            yield running
        finally:
            process.kill()


@pytest.fixture
def settings(cloud: Cloud, receiver: Receiver) -> dict[str, str]:
    return cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"}


def rung(receiver: Receiver) -> list[tuple[str, str]]:
    """Task and id of every message that came."""
    got = list(receiver.requests)
    return [(one.json["data"]["operation_log"]["id"], one.headers["webhook-id"]) for one in got]


def test_told_to_stop_under_load_it_has_rung_for_whoever_was_answered_and_the_others_ask_again(
    settings: dict[str, str], cloud: Cloud, receiver: Receiver
) -> None:
    receiver.answer(kind="hang", seconds=0.1, times=120)
    tasks = [cloud.outcome("failed")["id"] for _ in range(200)]
    waiting, answered, lock = list(tasks), dict[str, int | None](), threading.Lock()

    def ask(function: Deployed, *, keep: bool) -> None:
        with requests.Session() as session:
            while waiting and function.process.poll() is None:
                with lock:
                    task = waiting.pop() if waiting else None
                if task:
                    answered[task] = function.tell(task, session if keep else None)

    with deployed(settings) as function:
        senders = [threading.Thread(target=ask, args=(function,), kwargs={"keep": at % 2 == 0}) for at in range(24)]
        for sender in senders:
            sender.start()
        receiver.wait_for(40, STARTS_WITHIN)
        function.process.terminate()
        assert function.process.wait(20) == 0
        for sender in senders:
            sender.join()
    told = {task for task, status in answered.items() if status == 200}
    assert len(told) < len(tasks), "there was something left to do"
    assert set(answered.values()) <= {200, None}
    # what it took it has finished, and said so
    assert {task for task, _ in rung(receiver)} == told
    assert {request.path.rpartition("/")[2] for request in cloud.requests}.intersection(tasks) == told

    with deployed(settings) as function, ThreadPoolExecutor(8) as pool:
        assert set(pool.map(function.tell, set(tasks) - told)) == {200}
    assert sorted(task for task, _ in rung(receiver)) == sorted(tasks)


def rings(function: Deployed, cloud: Cloud, receiver: Receiver) -> None:
    """Whatever is logged of them, events are answered and rung for."""
    before = len(receiver.requests)
    tasks = [cloud.outcome("failed")["id"] for _ in range(10)]
    assert [function.tell(task) for task in tasks] == [200] * 10
    assert [task for task, _ in rung(receiver)[before:]] == tasks
    assert requests.post(f"{function.url}/", data=b"{", timeout=5).status_code == 400


@pytest.mark.parametrize("shell", [">/dev/full 2>&1", ">&- 2>&-", "<&- >&- 2>&-"], ids=["full", "closed", "none"])
def test_with_nowhere_to_write_it_rings_all_the_same(
    settings: dict[str, str], cloud: Cloud, receiver: Receiver, shell: str
) -> None:
    with deployed(settings | NOWHERE, shell) as function:
        rings(function, cloud, receiver)
        function.process.terminate()
        assert function.process.wait(20) == 0


def test_with_nobody_who_reads_its_log_it_rings_all_the_same(
    settings: dict[str, str], cloud: Cloud, receiver: Receiver
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with deployed(settings, out=writer, err=writer) as function:
        os.close(writer)
        rings(function, cloud, receiver)


def image_settings() -> dict[str, str]:
    """What the image sets in the environment, but for its own places."""
    (said,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", DOCKERFILE.read_text("utf-8"), re.MULTILINE)
    found = dict(re.findall(r"(\w+)=(\S+)", said))
    return {name: value for name, value in found.items() if not name.endswith("PATH")}


def test_on_a_machine_whose_disks_are_full_the_image_starts_and_rings(
    settings: dict[str, str], cloud: Cloud, receiver: Receiver
) -> None:
    full = "mount -t tmpfs -o size=4k full /tmp && mount --bind /tmp /var/tmp && ! dd if=/dev/zero of=/tmp/full 2>&-"
    elsewhere = ["unshare", "-m", "sh", "-c", f'{full} && cd /proc && exec "$@"', "sh"]
    memory = Path(image_settings()["TMPDIR"]).is_dir() and which("unshare")
    if not memory or subprocess.run([*elsewhere, sys.executable, "-c", "import vaultbell"], check=False).returncode:
        pytest.skip("no file system can be mounted here, or there is none in memory, or we are below /tmp ourselves")
    with deployed(settings | image_settings(), before=elsewhere) as function:
        rings(function, cloud, receiver)


def family(process: int) -> Iterator[int]:
    """The process, and those that it has forked."""
    yield process
    yield from map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())


def test_a_disk_that_fills_while_it_works_costs_lines_of_the_log_and_no_ring(
    settings: dict[str, str], cloud: Cloud, receiver: Receiver, tmp_path: Path
) -> None:
    with (tmp_path / "log").open("wb") as log, deployed(settings, out=log, err=log) as function:
        rings(function, cloud, receiver)
        written = (tmp_path / "log").stat().st_size
        for process in family(function.process.pid):  # as a full disk does: what is written fails
            resource.prlimit(process, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        rings(function, cloud, receiver)
        assert (tmp_path / "log").stat().st_size == written > 0
        for process in family(function.process.pid):
            resource.prlimit(process, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        rings(function, cloud, receiver)
        assert (tmp_path / "log").stat().st_size > written


@pytest.mark.parametrize(
    ("shell", "status"), [("2>/dev/full", 1), (">/dev/full", 3), (">/dev/full 2>&1", 3), ("<&- >&- 2>&-", 1)]
)
def test_a_sweep_of_the_command_line_rings_though_it_can_print_nothing(
    settings: dict[str, str], cloud: Cloud, receiver: Receiver, shell: str, status: int
) -> None:
    task = cloud.outcome("failed")["id"]
    command = [sys.executable, "-m", "vaultbell.cli", "sweep", "--since", "1h"]
    env = environment(settings | NOWHERE) | {"PYTHONPATH": str(FUNCTION)}
    ended = subprocess.run(
        ["sh", "-c", f'exec "$@" {shell}', "sh", *command], env=env, capture_output=True, check=False
    )
    assert [told for told, _ in rung(receiver)] == [task]
    assert ended.returncode == status
    assert b"Traceback" not in ended.stderr
