"""Fixtures for all tests: a stand-in cloud on a socket or in the process, and what receives notifications."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from desk import Desk, NewDesk
from standin import Cloud, mock_cloud, serve
from standin.sinks import Mailbox, Receiver

# What properties are tried with: the same each time, or, with `--hypothesis-profile long`, many more and others.
settings.register_profile("quick", max_examples=100, deadline=None, derandomize=True)
settings.register_profile(
    "long", max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("quick")


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """A fresh stand-in cloud, served over real HTTP on loopback; `cloud.env()` leads there."""
    cloud = Cloud()
    with serve(cloud):
        yield cloud


@pytest.fixture
def mocked_cloud() -> Iterator[Cloud]:
    """A fresh stand-in cloud at its real addresses, answered inside the process."""
    with mock_cloud() as cloud:
        yield cloud


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook receiver on loopback."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A mailbox on loopback, without TLS or log-in."""
    with Mailbox() as mailbox:
        yield mailbox


@pytest.fixture
def new_desk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> NewDesk:
    """The command line, with settings that are yet to be named."""
    return lambda env: Desk(env, monkeypatch, capsys)
