"""The sample events of `events/`: which there are, and each as it goes over the wire (`events/README.md`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

EVENTS = Path(__file__).parents[1] / "events"


class Sample(NamedTuple):
    """Headers, with their names as the sender writes them, and body."""

    headers: Mapping[str, str]
    body: bytes


def read(name: str) -> Sample:
    """A sample by its path in `events/`. One whose form takes headers, `….http.json`, says them beside its body."""
    held = value(name)
    if name.endswith(".http.json"):
        return Sample(held["headers"], json.dumps(held["body"]).encode())
    return Sample({"Content-Type": "application/json"}, (EVENTS / name).read_bytes())


def value(name: str) -> Any:  # noqa: ANN401 - any JSON value, looked into
    """What a file of `events/` holds."""
    return json.loads((EVENTS / name).read_bytes())


def names(folder: str = "") -> set[str]:
    """The paths of the samples in a folder of `events/`, without those in folders of its own."""
    return {path.relative_to(EVENTS).as_posix() for path in (EVENTS / folder).glob("*.json")}
