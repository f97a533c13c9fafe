"""Where the log cannot be written, a line is lost, and nothing else."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from vaultbell import telemetry


class Full(io.StringIO):
    def write(self, _text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.fixture
def nothing_handles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry.LOG, "handlers", [])
    monkeypatch.setattr(telemetry.LOG, "propagate", False)
    monkeypatch.setattr(telemetry.LOG, "level", telemetry.LOG.level)


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.usefixtures("nothing_handles")
@pytest.mark.parametrize("stream", [Full(), closed(), None], ids=["full", "closed", "none"])
def test_a_line_that_cannot_be_written_is_lost_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    telemetry.start("INFO")
    telemetry.log(logging.INFO, "event", status=200)
    telemetry.log_crash(ValueError("ours"))
