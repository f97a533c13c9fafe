"""A consumer of a queue, watched: scraped at a port of its own, and a part of the trace that its message names."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from serving import environment
from standin import Cloud, ports
from standin.sinks import Receiver
from vaultbell import cli
from vaultbell.observability import prometheus
from vaultbell.platforms.queue.broker import Broker, connected
from vaultbell.platforms.queue.letter import Letter

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
WITHIN = 20.0


@dataclass(frozen=True, slots=True)
class Consumer:
    """One that takes events from files, which need no broker."""

    broker: Broker
    port: int
    log: Path

    def send(self, event: object, **headers: object) -> None:
        """Publish an event."""
        with connected(self.broker) as link:
            link.publish(self.broker.queue, Letter(json.dumps(event).encode(), headers=headers))

    def once(self, name: str, value: float, **labels: str) -> dict[tuple[str, ...], float]:
        """All samples, once one of them has this value."""
        until = time.monotonic() + WITHIN
        while time.monotonic() < until:
            try:
                text = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5).text
            except requests.ConnectionError:
                text = ""
            families = text_string_to_metric_families(text)
            found = {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}
            if found.get((name, *labels.values())) == value:
                return found
            time.sleep(0.05)  # nothing tells when a count has risen
        raise TimeoutError(self.log.read_text("utf-8"))


@pytest.fixture
def consumer(tmp_path: Path, cloud: Cloud, receiver: Receiver) -> Iterator[Consumer]:
    with consuming(tmp_path, cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"}) as consumer:
        yield consumer


@contextmanager
def consuming(folder: Path, environ: dict[str, str]) -> Iterator[Consumer]:
    broker, port, log = Broker(f"filesystem://{folder}/queue", "backups"), ports.unused(), folder / "log"
    command = [sys.executable, "-m", "vaultbell.cli", "consume", broker.url, "--queue", broker.queue]
    command += ["--metrics", f"127.0.0.1:{port}"]
    with (
        log.open("wb") as file,
        subprocess.Popen(command, env=environment(environ), stdout=file, stderr=file) as process,
    ):
        try:
            yield Consumer(broker, port, log)
        finally:
            process.kill()


def test_what_a_consumer_has_done_can_be_scraped_and_its_message_goes_on_in_its_trace(
    consumer: Consumer, cloud: Cloud, receiver: Receiver
) -> None:
    task = cloud.outcome("failed")
    consumer.send(
        {"operation_log_id": task["id"], "project_id": cloud.project_id}, traceparent=PARENT, tracestate="a=1"
    )
    consumer.once("vaultbell_events_total", 1, door="queue", status="200")
    consumer.send({"hello": 1}, traceparent="sEcReT")
    found = consumer.once("vaultbell_dead_letters_total", 1)
    assert found["vaultbell_events_total", "queue", "200"] == 1
    assert found["vaultbell_events_total", "queue", "400"] == 1
    assert found["vaultbell_deliveries_total", "webhook", "delivered"] == 1
    assert found["vaultbell_tokens_fetched_total",] == 1
    (got,) = receiver.requests
    assert got.headers["traceparent"].startswith(f"00-{TRACE}-")
    assert got.headers["tracestate"] == "a=1"
    lines = [json.loads(line) for line in consumer.log.read_text("utf-8").splitlines()]
    told = {line["status"]: line for line in lines if line["message"] == "event"}
    assert told[200]["trace_id"] == TRACE
    (dead,) = (line for line in lines if line["message"] == "dead letter")
    assert dead["trace_id"] == told[400]["trace_id"] != TRACE
    assert "sEcReT" not in consumer.log.read_text("utf-8")


@pytest.mark.parametrize("where", ["", "x", "0", "65536", "127.0.0.1:", "127.0.0.1:x", "-1"])
def test_a_place_to_be_scraped_at_that_is_none_is_refused(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["consume", "amqp://127.0.0.1", "--queue", "backups", f"--metrics={where}"])
    assert "a port, or an address and a port, is wanted" in capsys.readouterr().err


def test_a_place_that_is_taken_is_a_mistake_that_is_named(
    cloud: Cloud,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    for name, value in (cloud.env() | {"VAULTBELL_WEBHOOK_URL": receiver.url}).items():
        monkeypatch.setenv(name, value)
    taken = urlsplit(receiver.url).netloc
    assert cli.main(["consume", f"filesystem://{tmp_path}", "--queue", "backups", "--metrics", taken]) == 2
    assert f"--metrics: {taken} cannot be listened at: Address already in use" in capsys.readouterr().err


def test_without_an_address_every_one_is_listened_at(
    cloud: Cloud, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listened: list[tuple[str, int]] = []

    def listen(_tally: object, host: str, port: int) -> None:
        listened.append((host, port))
        raise OSError(98, "enough of the test")

    monkeypatch.setattr(prometheus, "serve", listen)
    for name, value in (cloud.env() | {"VAULTBELL_WEBHOOK_URL": receiver.url}).items():
        monkeypatch.setenv(name, value)
    for where in ("9464", "[::1]:9464"):
        assert cli.main(["consume", f"filesystem://{tmp_path}", "--queue", "backups", "--metrics", where]) == 2
    assert listened == [("0.0.0.0", 9464), ("::1", 9464)]
