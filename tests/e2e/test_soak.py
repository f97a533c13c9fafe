"""The soak, in short: events under faults while the product is killed and stopped, and nothing lost or made up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from integration.broker import missing, server

FOLDER = Path(__file__).parents[1]
SIZE = {"queue": "--events=250", "door": "--http=250"}


@pytest.mark.parametrize("part", SIZE)
def test_under_faults_nothing_is_lost_nothing_made_up_and_what_cannot_be_told_is_known(part: str) -> None:
    if part == "queue" and not server():
        missing("rabbitmq-server and epmd are not installed")
    command = [sys.executable, "-m", "soak", part, "--short", "--seed=1", SIZE[part]]
    done = subprocess.run(command, cwd=FOLDER, env=None, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{part}: 0 deviations" in done.stdout
