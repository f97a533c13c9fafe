"""A real Prometheus Alertmanager takes our alerts, groups them, keeps them, and ends them when we say so."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from integration.broker import missing
from standin import Cloud
from standin.ports import unused
from standin.sinks import Receiver
from vaultbell import compose, pipeline, settings
from vaultbell.budget import Budget
from vaultbell.events import Event

SERVER, OTHER = "1dab32fa-ebf2-415a-ab0b-eabe6353bc86", "2dab32fa-ebf2-415a-ab0b-eabe6353bc86"
STARTS_WITHIN = 20.0
CONFIG = """
global: {{resolve_timeout: 1s}}
route: {{receiver: ours, group_by: [alertname, project_id], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}}
receivers: [{{name: ours, webhook_configs: [{{url: "{url}", send_resolved: true}}]}}]
"""


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """One that answers at `url`."""

    url: str

    def alerts(self) -> dict[str, dict[str, Any]]:
        """The alerts that are on, by the incident that each of them is."""
        found = requests.get(f"{self.url}/api/v2/alerts", timeout=5).json()
        return {alert["labels"]["incident"]: alert for alert in found}

    def groups(self) -> list[list[str]]:
        """The incidents of each group."""
        found = requests.get(f"{self.url}/api/v2/alerts/groups", timeout=5).json()
        return [sorted(alert["labels"]["incident"] for alert in group["alerts"]) for group in found]


@pytest.fixture
def alertmanager(tmp_path: Path, receiver: Receiver) -> Iterator[Alertmanager]:
    """An Alertmanager on a free port of loopback, without a cluster, that tells our receiver; it ends with the test."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if not program:
        missing("prometheus-alertmanager is not installed")
    (tmp_path / "alertmanager.yml").write_text(CONFIG.format(url=f"{receiver.url}/told"))
    port = unused()
    command = [program, f"--config.file={tmp_path / 'alertmanager.yml'}", f"--storage.path={tmp_path / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, process, tmp_path / "log")
            yield Alertmanager(url)
        finally:
            process.terminate()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while process.poll() is None and time.monotonic() < until:
        try:
            if requests.get(f"{url}/-/ready", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.05)  # nothing tells when a process begins to listen
    raise RuntimeError(f"it did not start:\n{log.read_text('utf-8', errors='replace')}")


Tell = Callable[[Mapping[str, Any]], str]


@pytest.fixture
def tell(cloud: Cloud, alertmanager: Alertmanager, tmp_path: Path) -> Tell:
    """Names a task to a bell that tells the Alertmanager; gives its incident."""
    config = tmp_path / "bell.yaml"
    config.write_text(
        f"""
channels:
  alerts: {{type: webhook, format: alertmanager, url: "{alertmanager.url}/api/v2/alerts", resolve: true}}
routes: [{{channels: [alerts]}}]
"""
    )
    app = compose.app(settings.load(cloud.env() | {"VAULTBELL_CONFIG": str(config)}))

    def told(task: Mapping[str, Any]) -> str:
        event = {"operation_log_id": task["id"], "project_id": cloud.project_id}
        (result,) = pipeline.handle(app.bell, Event(json.dumps(event).encode()), Budget.of(10)).results
        assert (result.action, [receipt.status for receipt in result.receipts]) == ("notified", [200])
        return result.incident or ""

    return told


def hears(receiver: Receiver, wanted: Mapping[str, str]) -> None:
    """Wait until the Alertmanager sends on a message with just these states of incidents."""
    number = 0
    state: dict[str, str] = {}
    while state != wanted:
        number += 1
        got = receiver.wait_for(number, timeout=15)[number - 1]
        state = {alert["labels"]["incident"]: alert["status"] for alert in got.json["alerts"]}


def test_failures_are_grouped_outlive_the_resolve_timeout_and_end_with_the_next_success(
    cloud: Cloud, receiver: Receiver, alertmanager: Alertmanager, tell: Tell
) -> None:
    failed = cloud.outcome("failed", resource_id=SERVER, resource_name="ECS-0001", age=7_200)
    first = tell(failed)
    second = tell(cloud.outcome("timed_out", resource_id=OTHER, resource_name="ECS-0002", age=7_200))
    hears(receiver, {first: "firing", second: "firing"})
    assert alertmanager.groups() == [sorted([first, second])]
    alert = alertmanager.alerts()[first]
    assert alert["annotations"]["summary"] == "Backup of ECS-0001 failed"
    assert alert["annotations"]["error_code"] == failed["error_info"]["code"]
    assert alert["generatorURL"] == alert["annotations"]["link"]

    assert tell(cloud.outcome("succeeded", resource_id=SERVER, resource_name="ECS-0001, renamed", age=60)) == first
    # That takes a group interval, as long as the time-out of an alert without an end: the other outlives it.
    hears(receiver, {first: "resolved", second: "firing"})
    assert list(alertmanager.alerts()) == [second]


def test_a_repeat_is_the_same_alert(cloud: Cloud, receiver: Receiver, alertmanager: Alertmanager, tell: Tell) -> None:
    failed = cloud.outcome("failed", resource_id=SERVER, age=7_200)
    incident = tell(failed)
    hears(receiver, {incident: "firing"})
    once = alertmanager.alerts()
    assert tell(failed) == incident
    again = alertmanager.alerts()
    for alert in (*once.values(), *again.values()):
        del alert["updatedAt"]
    assert again == once
