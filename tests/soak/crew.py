"""Processes of the product: started, killed, told to stop, and asked for what they complained of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

from serving import environment
from soak import scenario as scenarios
from soak import world
from soak.world import World

TOP = Path(__file__).parents[2]
STOPS_WITHIN = 25.0  # seconds; more than a server's grace and a consumer's drain
COMPLAINTS = ("Traceback (most recent call last)", "an error of Vaultbell itself")


def settings(there: World, folder: Path, host: str = "soak.test") -> dict[str, str]:
    """The product's settings in this world."""
    config = folder / "vaultbell.yaml"
    config.write_text(
        scenarios.CONFIG.format(
            hooks=f"http://hooks.{host}:{there.hooks}",
            mail=f"mail.{host}:{there.mail}",
            secret=world.SECRET,
            pager=scenarios.PAGER,
            mailed=scenarios.MAILED,
        )
    )
    return {
        "OS_AUTH_URL": f"http://iam.{host}:{there.api}/v3",
        "CBR_ENDPOINT": f"http://cbr.{host}:{there.api}",
        "OS_REGION_NAME": scenarios.REGION,
        "OS_USERNAME": world.USER,
        "OS_PASSWORD": world.PASSWORD,
        "OS_USER_DOMAIN_NAME": world.DOMAIN,
        "VAULTBELL_PROJECTS": ",".join((*scenarios.OPEN, scenarios.LOCKED)),
        "VAULTBELL_CONFIG": str(config),
        "VAULTBELL_TIME_BUDGET": "3s",
        "VAULTBELL_LOG_LEVEL": "WARNING",
        "PYTHONPATH": os.pathsep.join((str(TOP / "tests"), str(TOP / "function"))),
    }


@dataclass
class Crew:
    """So many processes of one command, each of which may be lost and is replaced."""

    command: Sequence[str]  # of `soak.subject`, after the seed
    env: Mapping[str, str]
    folder: Path
    random: Random
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    killed: int = 0
    stopped: int = 0
    amiss: list[str] = field(default_factory=list)  # exit statuses that should not be
    _serial: count[int] = field(default_factory=count)

    def join(self) -> None:
        """One more; its seed for names is its own."""
        serial = next(self._serial)
        command = [sys.executable, "-m", "soak.subject", str(self.random.randrange(2**32)), *self.command]
        with (self.folder / f"log-{serial}").open("wb") as log:
            started = subprocess.Popen(
                command, env=environment(self.env), stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(started)

    def lose_one(self, how: signal.Signals) -> None:
        """The oldest less, by SIGKILL (with all its children) or SIGTERM, and a new one."""
        process = self.processes.pop(0)
        if how is signal.SIGKILL and process.poll() is None:
            os.killpg(process.pid, how)
            process.wait()
            self.killed += 1
        else:
            self._stop([process])
        self.join()

    def end(self) -> None:
        """Tell all to stop, and wait."""
        self._stop(self.processes)
        self.processes = []

    def complaints(self) -> list[str]:
        """The lines of their logs that tell of an error of the product's own."""
        texts = (file.read_text(errors="replace") for file in sorted(self.folder.glob("log-*")))
        return [line for text in texts for line in text.splitlines() if any(words in line for words in COMPLAINTS)]

    def _stop(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        living = [process for process in processes if process.poll() is None]
        self.amiss += [f"a process ended by itself: {process}" for process in processes if process not in living]
        for process in living:
            process.terminate()
            self.stopped += 1
        for process in living:
            try:
                if process.wait(STOPS_WITHIN) not in (0, -signal.SIGTERM):  # told before it had begun to serve
                    self.amiss.append(f"a process that was told to stop ended badly: {process}")
            except subprocess.TimeoutExpired:
                self.amiss.append(f"a process that was told to stop had not within {STOPS_WITHIN:g} s")
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
