"""See it ring: the function under functions-framework, between a stand-in cloud and a webhook receiver on loopback.

Each task of the stand-in's demo is named to the function in turn; what it answered and what it told are printed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from standin import Cloud, serve
from standin.logs import DEMO, seed_demo
from standin.sinks import Receiver

MAIN = Path(__file__).parents[1] / "function" / "main.py"
STARTS_WITHIN = 30.0


@contextmanager
def function(settings: dict[str, str]) -> Iterator[str]:
    """The function's own address, once it answers; it is stopped at the end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "VAULTBELL_"))}
    command = [sys.executable, "-m", "functions_framework", "--source", str(MAIN), "--target", "handle"]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)], env=environment | settings, stdout=sys.stderr
    ) as process:
        try:
            _wait_for(f"{url}/readyz", process)
            yield url
        finally:
            process.terminate()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while process.poll() is None and time.monotonic() < until:
        try:
            if requests.get(url, timeout=1).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise SystemExit("The function did not start; the reason stands above.")


def main() -> None:
    """Name every task of the demo, and print what became of it."""
    cloud = Cloud()
    seed_demo(cloud)
    with serve(cloud), Receiver() as receiver:
        settings = cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"}
        with function(settings) as url:
            print("status  outcome     told to the webhook\n" + "-" * 80)
            for place in DEMO:
                task = f"00000000-0000-4000-8000-00000000000{place}"
                told = len(receiver.requests)
                event = {"operation_log_id": task, "project_id": cloud.project_id}
                answer = requests.post(url, json=event, timeout=60)
                outcome = answer.json()["results"][0]["outcome"]
                rung = [got.json["data"]["summary"] for got in receiver.requests[told:]]
                print(f"{answer.status_code:<7} {outcome:<11} {rung[0] if rung else '-'}")


if __name__ == "__main__":
    main()
