"""The function as it is deployed: under functions-framework's production server, on a free port of loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from standin import ports

FUNCTION = Path(__file__).parents[1] / "function"
STARTS_WITHIN = 30.0


@dataclass(frozen=True, slots=True)
class Running:
    """A function that answers at `url`; `log_file` is what it writes to its standard error."""

    url: str
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        """All that it has written so far."""
        return self.log_file.read_text("utf-8", errors="replace")

    def lines(self, message: str = "event") -> list[dict[str, Any]]:
        """Its log lines of this message, parsed."""
        found = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in found if line.get("message") == message]

    def logged(self) -> list[dict[str, Any]]:
        """What its log says of each task that an event has named."""
        return [task for line in self.lines() for task in line.get("tasks", [line] if "action" in line else [])]

    def post(self, event: object = None, *, timeout: float = 40.0, **kwargs: Any) -> requests.Response:  # noqa: ANN401
        """POST an event as JSON, or whatever `kwargs` of requests say, to the door."""
        if event is not None:
            kwargs["json"] = event
        return requests.post(kwargs.pop("url", f"{self.url}/"), timeout=timeout, **kwargs)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without any setting of ours, and the settings."""
    ours = ("OS_", "VAULTBELL_", "CBR_", "RUNTIME_PROJECT_ID")
    proxies = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours) and k.lower() not in proxies}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **settings}


@contextmanager
def serving(settings: Mapping[str, str], threads: int = 16) -> Iterator[Running]:
    """The function with these settings, once it is ready; it is stopped at the end."""
    port = ports.unused()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "functions_framework", "--source", str(FUNCTION / "main.py"), "--target", "handle"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with tempfile.TemporaryDirectory() as folder:
        log_file = Path(folder) / "log"
        with (
            log_file.open("wb") as log,
            subprocess.Popen(
                command, env=environment(settings) | {"THREADS": str(threads)}, stdout=log, stderr=log
            ) as process,
        ):
            running = Running(url, process, log_file)
            try:
                _wait_until_ready(running)
                yield running
            finally:
                process.terminate()
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()


def _wait_until_ready(running: Running) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while running.process.poll() is None and time.monotonic() < until:
        try:
            if requests.get(f"{running.url}/readyz", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.02)  # nothing tells when a process begins to listen
    raise RuntimeError(f"the function did not start:\n{running.log}")
