"""The image, built and run: as a user who is not root, on a root file system that cannot be written to.

`make check-image` runs this; it needs root on Debian with buildah and debootstrap. No registry is asked for the base:
it is a bare Debian with Python, unless PYTHON_IMAGE names another. The wheels are fetched by pip, with this machine's
configuration.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.kustomize import build
from infra.manifests import pod_of
from integration.broker import own_broker
from serving import Running
from standin import Cloud
from standin.ports import unused
from standin.sinks import Receiver

TOP = Path(__file__).parents[2]
SUITE = "bookworm"
PACKAGES = "python3,python-is-python3,python3-venv,ca-certificates"
NEEDED = ("buildah", "debootstrap", "unshare")
LENT = ("/etc/pip.conf", "/etc/ssl/certs")  # how pip gets its wheels here
STARTS_WITHIN = 30.0
STOPS_WITHIN = 15.0
LARGEST = 80  # MiB, without the base
BY_TIME, HASHED = 0, 1  # flags of bytecode: compared with its source's time, or never

# The image's root as it is, read-only; /tmp as an emptyDir would be; no way to more rights.
RUN = """
root=$1 user=$2 && shift 2
mount --bind "$root" "$root" && mount -o remount,bind,ro "$root"
mount -t tmpfs tmpfs "$root/tmp" && mount --rbind /dev "$root/dev" && mount -t proc proc "$root/proc"
exec setpriv --no-new-privs chroot --userspec="$user" "$root" "$@"
"""
FLAGS = """
import functions_framework, importlib.util, pathlib, statistics, vaultbell.pipeline
for module in (vaultbell.pipeline, functions_framework, statistics):
    path = pathlib.Path(importlib.util.cache_from_source(module.__file__))
    print(int.from_bytes(path.read_bytes()[4:8], "little"))
"""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, NEEDED)), reason=f"needs root, and {', '.join(NEEDED)}"
)


@dataclass(frozen=True, slots=True)
class Image:
    """The built image: where its root file system lies, and what it says of how it is run."""

    root: Path
    config: Mapping[str, Any]

    @contextmanager
    def running(self, environment: Mapping[str, str], log: Path, command: Sequence[str] = ()) -> Iterator[Running]:
        """The image's command, or another, with these variables besides its own."""
        given = [*self.config["Env"], *(f"{name}={value}" for name, value in environment.items())]
        inside = ["env", "-i", *given, *(command or self.config["Cmd"])]
        said = ["unshare", "--mount", "--propagation=private", "sh", "-euc", RUN, "run"]
        said += [str(self.root), self.config["User"], *inside]
        url = f"http://127.0.0.1:{environment.get('PORT', 0)}"
        with log.open("wb") as out, subprocess.Popen(said, stdout=out, stderr=out) as process:
            try:
                yield Running(url, process, log)
            finally:
                process.kill()

    def run(self, environment: Mapping[str, str], log: Path, command: Sequence[str]) -> tuple[int, str]:
        """Its exit status, and all that it wrote."""
        with self.running(environment, log, command) as running:
            return running.process.wait(60), running.log


@dataclass(frozen=True, slots=True)
class Buildah:
    """Buildah with a store of its own, which needs neither a daemon nor a kernel's file system."""

    folder: Path

    def __call__(self, *words: str) -> str:
        own = ["--storage-driver=vfs", f"--root={self.folder / 'store'}", f"--runroot={self.folder / 'run'}"]
        environment = os.environ | {"BUILDAH_ISOLATION": "chroot"}
        command = ["buildah", *own, *words]
        done = subprocess.run(command, env=environment, cwd=TOP, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def bare_base(self) -> str:
        """A Debian with Python and nothing else."""
        root, name = self.folder / "base", "localhost/python:check"
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        container = self("from", "scratch")
        self("add", "--quiet", container, str(root), "/")
        self("commit", "--quiet", "--rm", container, name)
        return name


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp("image")
    try:
        yield _built(Buildah(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _built(buildah: Buildah) -> Image:
    base, name = os.environ.get("PYTHON_IMAGE") or buildah.bare_base(), "localhost/vaultbell:check"
    lent = [word for path in LENT if Path(path).exists() for word in ("--volume", f"{path}:{path}:ro")]
    began = time.monotonic()
    buildah("bud", *lent, "--build-arg", f"PYTHON_IMAGE={base}", "-f", "infra/container/Dockerfile", "-t", name, ".")
    took = time.monotonic() - began
    root = Path(buildah("mount", buildah("from", "--pull-never", name)))
    whole, ours = _mib(root), _mib(root / "opt" / "vaultbell") + _mib(root / "function")
    print(f"\nbuilt in {took:.0f} s; {whole:.0f} MiB, of which the function and its packages have {ours:.0f}")
    assert ours < LARGEST
    return Image(root, json.loads(buildah("inspect", "--type", "image", name))["OCIv1"]["config"])


def _mib(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / (1 << 20)


@pytest.fixture
def settings(cloud: Cloud, receiver: Receiver) -> dict[str, str]:
    return cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell", "PORT": str(unused())}


def _wait_until_ready(running: Running) -> float:
    """Seconds until it was ready."""
    began = time.monotonic()
    while running.process.poll() is None and time.monotonic() - began < STARTS_WITHIN:
        try:
            if requests.get(f"{running.url}/readyz", timeout=5).ok:
                return time.monotonic() - began
        except requests.ConnectionError:
            time.sleep(0.02)  # nothing tells when a process begins to listen
    raise RuntimeError(f"the image did not start:\n{running.log}")


def test_an_event_rings_and_the_server_finishes_when_it_is_told_to_stop(
    image: Image, settings: dict[str, str], cloud: Cloud, receiver: Receiver, tmp_path: Path
) -> None:
    with image.running(settings, tmp_path / "log") as running:
        print(f"\nready after {_wait_until_ready(running):.2f} s")
        answer = running.post({"operation_log_id": cloud.outcome("failed")["id"]})
        assert (answer.status_code, answer.json()["results"][0]["action"]) == (200, "notified")
        assert receiver.requests[0].json["data"]["outcome"] == "failed"
        status = Path(f"/proc/{running.process.pid}/status").read_text()
        assert "\nUid:\t1003\t1003\t1003\t1003\n" in status
        assert "\nCapEff:\t0000000000000000\n" in status
        running.process.terminate()
        assert running.process.wait(STOPS_WITHIN) == 0
    assert "Traceback" not in running.log
    assert "denied" not in running.log


def test_the_same_image_is_functiongraphs(
    image: Image, settings: dict[str, str], cloud: Cloud, receiver: Receiver, tmp_path: Path
) -> None:
    with image.running(settings | {"VAULTBELL_PLATFORM": "functiongraph"}, tmp_path / "log") as running:
        _wait_until_ready(running)
        assert running.post({}, url=f"{running.url}/init").status_code == 200
        message = json.dumps({"operation_log_id": cloud.outcome("failed")["id"]})
        answer = running.post({"record": [{"smn": {"message": message}}]}, url=f"{running.url}/invoke")
        assert (answer.status_code, answer.json()["results"][0]["action"]) == (200, "notified")
        assert len(receiver.requests) == 1


def test_the_same_image_takes_events_from_a_queue(
    image: Image, settings: dict[str, str], cloud: Cloud, receiver: Receiver, tmp_path: Path
) -> None:
    event = json.dumps({"operation_log_id": cloud.outcome("failed")["id"]})
    (tmp_path / "broker").mkdir()
    with own_broker(tmp_path / "broker") as broker:
        broker.wait()
        queue = [broker.url, "--queue=backups"]
        with image.running(settings, tmp_path / "log", ["vaultbell", "consume", *queue]) as running:
            while '"consuming"' not in running.log:
                assert running.process.poll() is None, running.log
                time.sleep(0.02)  # its log is a file
            send = ["sh", "-c", 'echo "$0" | vaultbell queue send "$@"', event, *queue]
            assert image.run(settings, tmp_path / "sent", send) == (0, "")
            assert receiver.wait_for(1)[0].json["data"]["outcome"] == "failed"
            running.process.terminate()
            assert running.process.wait(STOPS_WITHIN) == 0


def test_the_sweep_of_the_cron_job_rings_and_is_content(
    image: Image, settings: dict[str, str], cloud: Cloud, receiver: Receiver, tmp_path: Path
) -> None:
    (command,) = (
        pod["spec"]["containers"][0]["command"]
        for manifest in build(TOP / "infra" / "kubernetes" / "overlays" / "plain")
        if manifest["kind"] == "CronJob" and (pod := pod_of(manifest))
    )
    cloud.outcome("failed", ended_at=datetime.now(UTC) - timedelta(minutes=40))
    status, log = image.run(settings | {"VAULTBELL_SWEEP_LOOKBACK": "4"}, tmp_path / "log", command)
    assert (status, len(receiver.requests)) == (0, 1), log
    status, log = image.run(settings | {"OS_PASSWORD": "wrong"}, tmp_path / "log", command)
    assert status == 3, log


def test_all_that_is_imported_comes_compiled_for_good(image: Image, tmp_path: Path) -> None:
    status, log = image.run({}, tmp_path / "log", ["python", "-c", FLAGS])
    assert status == 0, log
    ours, packages, standard_library = map(int, log.split())
    assert (ours, packages) == (HASHED, HASHED)
    assert standard_library in (HASHED, BY_TIME)  # the base may bring its own
    assert image.run({}, tmp_path / "pip", ["python", "-m", "pip"])[0] == 1
