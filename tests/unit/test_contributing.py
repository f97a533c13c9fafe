"""What CONTRIBUTING.md shows works: its blocks are put into a copy of the package, and each is used."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
CONTRIBUTING = (TOP / "CONTRIBUTING.md").read_text("utf-8")
BLOCK = re.compile(r'^```(python|diff) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
TASK = "00000000-0000-4000-8000-000000000004"
ENVIRON = {
    "OS_REGION_NAME": "eu-de",
    "OS_PROJECT_ID": "0123456789abcdef0123456789abcdef",
    "OS_TOKEN": "token",
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is deployed, with all that the text shows."""
    folder = tmp_path_factory.mktemp("contributed")
    shutil.copytree(TOP / "function", folder / "function", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for language, name, text in BLOCK.findall(CONTRIBUTING):
        file = folder / name
        if language == "python":
            assert not file.exists(), f"{name} is there: show another example"
            file.write_text(text, "utf-8")
        else:
            lines = text.splitlines()
            before, after = (
                "".join(f"{line[1:]}\n" for line in lines if line[:1] in kept) for kept in ((" ", "-"), (" ", "+"))
            )
            old = file.read_text("utf-8")
            assert old.count(before) == 1, f"{name} has not, or not once:\n{before}"
            file.write_text(old.replace(before, after), "utf-8")
    return folder


def said(copy: Path, program: str, *arguments: str) -> str:
    """What a program prints that finds the copy's package in the place of ours."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=copy,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(copy / "function"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_door_is_one_file_and_its_name(copy: Path) -> None:
    program = """
import sys
from vaultbell import sources
from vaultbell.events import Event
found = sources.decode(Event(sys.argv[1].encode()))
print(found.source.name, *(item.operation_log_id for item in found.items))
"""
    event = {"ticket": {"number": 7, "cbr_task": TASK.upper()}}
    assert said(copy, program, json.dumps(event)).split() == ["ticket", TASK]
    assert said(copy, program, json.dumps({"events": [event, {"task_id": TASK}]})).split() == ["events", TASK, TASK]


def test_a_format_is_one_file_and_its_name(copy: Path) -> None:
    program = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from vaultbell import notification, settings
from vaultbell.channels import formats
from vaultbell.channels.formats.post import Options
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.outcome import classify
Path("vaultbell.yaml").write_text(
    "channels: {chat: {type: webhook, format: mattermost, url: 'https://chat.example.org/hooks/x'}}"
)
loaded = settings.load({**json.loads(sys.argv[1]), "VAULTBELL_CONFIG": "vaultbell.yaml"})
now = datetime(2026, 11, 23, 8, tzinfo=UTC)
log = OperationLog.read(json.loads(sys.argv[2]))
told = notification.of_task(log, classify(log, loaded.outcomes, now), loaded.outcomes, %s)
print(json.loads(formats.of(loaded.channels["chat"].format)(told, Options(), now).body)["text"])
"""
    log = {
        "id": TASK,
        "project_id": ENVIRON["OS_PROJECT_ID"],
        "operation_type": "backup",
        "status": "failed",
        "extra_info": {"resource": {"id": TASK, "name": "@all-db", "type": "OS::Nova::Server"}},
    }
    arguments = "project_id=log.project_id, region='eu-de'"
    text = said(copy, program % arguments, json.dumps(ENVIRON), json.dumps(log))
    assert text.startswith("**\\[CRITICAL\\] Backup of \\@all\\-db failed**")
    assert "What to do: Open the task in the console, remove the cause, and run it again." in text


def test_an_outcome_is_a_case_and_its_severity(copy: Path) -> None:
    program = """
from datetime import UTC, datetime
from vaultbell import advice, settings
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.outcome import classify
rules = settings.OutcomeRules()
found = classify(OperationLog.read({"status": "cancelled"}), rules, datetime(2026, 11, 23, tzinfo=UTC))
print(found.name, found.severity, found.rings, found.reason, advice.next_step(found.name), sep="|")
"""
    assert said(copy, program).strip().split("|") == [
        "cancelled",
        "warning",
        "True",
        "somebody stopped the task, and there is no backup",
        "Find out who stopped the task and why, then run it again.",
    ]


def test_what_is_shown_keeps_the_rules_of_the_house(copy: Path) -> None:
    files = sorted({name for _, name, _ in BLOCK.findall(CONTRIBUTING)})
    for rule in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *rule, "--no-cache", "--config", str(TOP / "pyproject.toml"), *files]
        done = subprocess.run(ruff, cwd=copy, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout
