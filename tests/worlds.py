"""A small world for end-to-end tests: a stand-in cloud, the function as it is deployed, and a webhook receiver."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from serving import Running, serving
from standin import Cloud, serve
from standin.sinks import Got, Receiver

SECRET = "whsec_" + base64.b64encode(b"the webhook's key, 32 bytes long").decode()
OLD = timedelta(minutes=20)  # an event of this age names a task that has to be visible


@dataclass(frozen=True, slots=True)
class World:
    """The function between its cloud and its receiver; `other_project` is a second one that it may look up."""

    cloud: Cloud
    receiver: Receiver
    function: Running
    other_project: str | None = None

    def event(self, task: Mapping[str, Any] | str, **more: object) -> dict[str, object]:
        """The plain event that names a task (or an id) of the first project, old enough not to be asked for twice."""
        name = task if isinstance(task, str) else task["id"]
        said = {"operation_log_id": name, "project_id": self.cloud.project_id, "time": ago(OLD), **more}
        return {key: value for key, value in said.items() if value is not ...}

    def tell(self, outcome: str, **fields: Any) -> Told:  # noqa: ANN401 - any JSON value
        """Add a task of this outcome, name it to the function, and see what came of it."""
        task = self.cloud.outcome(outcome, **fields)
        return self.named(task, project_id=task.get("project_id", self.cloud.project_id))

    def named(self, task: Mapping[str, Any] | str, **more: object) -> Told:
        """Name a task to the function, and see what came of it."""
        answer = self.function.post(self.event(task, **more))
        found = answer.json()
        line = found["results"][0] if "results" in found else found
        return Told(answer, line, self.rung(task), task if isinstance(task, dict) else {})

    def rung(self, task: Mapping[str, Any] | str) -> list[Got]:
        """What the receiver got about a task."""
        name = task if isinstance(task, str) else task["id"]
        return [got for got in list(self.receiver.requests) if name.encode() in got.body]

    def asked(self, task: Mapping[str, Any] | str) -> int:
        """How often the API was asked for a task."""
        name = task if isinstance(task, str) else task["id"]
        return sum(request.path.endswith(f"/{name}") for request in list(self.cloud.requests))

    def raw(self, *parts: bytes) -> bytes:
        """What is answered on a connection of its own to these bytes, up to the end of the body that it announces."""
        with connected(self.function) as connection:
            for part in parts:
                connection.sendall(part)
            return read_answer(connection)


@dataclass(frozen=True, slots=True)
class Told:
    """What came of an event: the answer, the first line of its report, and what the receiver has got of the task."""

    answer: requests.Response
    line: dict[str, Any]
    rung: list[Got]
    task: Mapping[str, Any]

    @property
    def status(self) -> int:
        """The answer's status."""
        return self.answer.status_code

    @property
    def body(self) -> Any:  # noqa: ANN401 - a message's JSON
        """The one message that rang."""
        (got,) = self.rung
        return got.json


NewWorld = Callable[..., World]  # as `world` takes its settings


@contextmanager
def world(
    folder: Path, *, config: str = "", other: str | None = None, threads: int = 16, **more: str
) -> Iterator[World]:
    """Start a world; `config` is the YAML file's text ({url} is the receiver), else there is one signed webhook.

    `other` is a second project, in the cloud and in the settings; `more` are further variables ("" leaves one out).
    """
    cloud = Cloud()
    if other:
        cloud.projects[other] = "eu-de-other"
    with serve(cloud), Receiver() as receiver:
        settings = cloud.env() | {"VAULTBELL_PROJECTS": ",".join(cloud.projects)}
        if config:
            file = folder / "vaultbell.yaml"
            file.write_text(config.replace("{url}", receiver.url).replace("{secret}", SECRET), "utf-8")
            settings["VAULTBELL_CONFIG"] = str(file)
        else:
            settings |= {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell", "VAULTBELL_WEBHOOK_SECRET": SECRET}
        settings = {name: value for name, value in (settings | more).items() if value}
        with serving(settings, threads) as function:
            yield World(cloud, receiver, function, other)


@contextmanager
def connected(function: Running, timeout: float = 20.0) -> Iterator[socket.socket]:
    """A bare connection to the function."""
    parts = urlsplit(function.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout) as connection:
        yield connection


def read_answer(connection: socket.socket) -> bytes:
    """An answer: its head, and as much of a body as it announces."""
    with connection.makefile("rb") as lines:
        head = list(iter(lines.readline, b"\r\n"))
        length = next((line[15:] for line in head if line.lower().startswith(b"content-length:")), b"0")
        return b"".join(head) + b"\r\n" + lines.read(int(length))


def ago(length: timedelta) -> str:
    """The time so long ago, as an event says it."""
    return (datetime.now(UTC) - length).isoformat()


def packed(value: object) -> str:
    """The base64 of a value's JSON."""
    return base64.b64encode(json.dumps(value).encode()).decode()
