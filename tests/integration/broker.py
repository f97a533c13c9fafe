"""A RabbitMQ for the tests: the one that is there, or one of their own on free ports, which they may also kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

from standin.ports import unused
from vaultbell.errors import SettingsError, Transient
from vaultbell.platforms.queue.broker import Broker, connected

GIVEN = os.environ.get("VAULTBELL_TEST_AMQP_URL", "")
USUAL = "amqp://guest:guest@127.0.0.1:5672//"
STARTS_WITHIN = 60.0
SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"  # Debian's own rabbitmq-server changes the user


def usual() -> str | None:
    """The address of a broker that is there for the tests, if one is."""
    return GIVEN or (USUAL if answers(USUAL) else None)


def answers(url: str) -> bool:
    """Whether a broker is there and lets us in."""
    try:
        with connected(Broker(url, "any")):
            return True
    except (SettingsError, Transient):
        return False


def missing(reason: str) -> NoReturn:
    """Leave the test out; where everything is to be tested, it fails instead."""
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(slots=True)
class OwnBroker:
    """A RabbitMQ node on loopback that keeps everything in a folder: name, cookie, data, ports."""

    folder: Path
    port: int = field(default_factory=unused)
    epmd_port: int = field(default_factory=unused)
    dist_port: int = field(default_factory=unused)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def begin(self) -> None:
        """Start it; after `kill`, with the data that it had."""
        command = server() or []
        (self.folder / "plugins").write_text("[].")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.epmd_port),
            "RABBITMQ_NODENAME": f"vaultbell-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "none"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "none"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
        }
        with (self.folder / "out").open("ab") as out:
            self.processes = [
                subprocess.Popen(arguments, env=environment, stdout=out, stderr=out, start_new_session=True)
                for arguments in command
            ]

    def wait(self) -> None:
        """Wait until it answers. Where it is not installed, the test is left out."""
        if not self.processes:
            missing("rabbitmq-server and epmd are not installed")
        until = time.monotonic() + STARTS_WITHIN
        while not answers(self.url):
            if time.monotonic() > until or self.processes[-1].poll() is not None:
                raise RuntimeError(f"RabbitMQ did not start:\n{(self.folder / 'out').read_text(errors='replace')}")
            time.sleep(0.05)  # nothing tells when it begins to listen

    def kill(self) -> None:
        """End it as a failing machine does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as one does that is restarted in order."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        for process in reversed(self.processes):  # the node before epmd
            os.killpg(process.pid, how)
            process.wait(STARTS_WITHIN)
        self.processes = []


def server() -> list[list[str]] | None:
    """The commands that start a broker, if it is installed."""
    path = os.environ["PATH"] + os.pathsep + "/usr/sbin"
    rabbitmq = SERVER if Path(SERVER).exists() else shutil.which("rabbitmq-server", path=path)
    epmd = shutil.which("epmd", path=path)
    return [[epmd], [rabbitmq]] if epmd and rabbitmq else None


@contextmanager
def own_broker(folder: Path) -> Iterator[OwnBroker]:
    """A broker of the tests' own, to be broken at will; it has begun, and `wait` tells when it answers."""
    broker = OwnBroker(folder)
    try:
        if server():
            broker.begin()
        yield broker
    finally:
        broker.kill()
