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

LOG = {
    "id": TASK,
    "project_id": ENVIRON["OS_PROJECT_ID"],
    "operation_type": "backup",
    "status": "failed",
    "extra_info": {"resource": {"id": TASK, "name": "@all-db", "type": "OS::Nova::Server"}},
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
            file.write_text(changed(file.read_text("utf-8"), text, name), "utf-8")
    return folder


def changed(old: str, diff: str, name: str) -> str:
    """A file's text after a change; `…` stands for what is there in the line."""
    before, after = (
        "".join(f"{line[1:]}\n" for line in diff.splitlines() if line[:1] in kept) for kept in ((" ", "-"), (" ", "+"))
    )
    places = list(re.finditer("^" + "(.*)".join(map(re.escape, before.split("…"))), old, re.MULTILINE))
    assert len(places) == 1, f"{name} has not, or not once:\n{before}"
    kept = iter(places[0].groups())
    return old[: places[0].start()] + re.sub("…", lambda _: next(kept), after) + old[places[0].end() :]


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
rules = loaded.outcomes
told = notification.of_task(log, classify(log, rules, now), rules, project_id=log.project_id, region="eu-de")
print(json.loads(formats.of(loaded.channels["chat"].format)(told, Options(), now).body)["text"])
"""
    text = said(copy, program, json.dumps(ENVIRON), json.dumps(LOG))
    assert text.startswith("**\\[CRITICAL\\] Backup of \\@all\\-db failed**")
    assert "What to do: Open the task in the console, remove the cause, and run it again." in text


def test_an_outcome_is_a_case_and_how_it_is_told(copy: Path) -> None:
    program = """
import json, sys
from datetime import UTC, datetime
from vaultbell import notification, settings
from vaultbell.channels import shown
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.outcome import classify
rules = settings.OutcomeRules()
log = OperationLog.read({**json.loads(sys.argv[1]), "status": "cancelled"})
found = classify(log, rules, datetime(2026, 11, 23, tzinfo=UTC))
told = notification.of_task(log, found, rules, project_id=log.project_id, region="eu-de")
message = shown.of(told)
print(told.type, found.rings, message.title, dict(message.answers)["What to do"], sep="|")
"""
    assert said(copy, program, json.dumps(LOG)).strip().split("|") == [
        "cbr.task.cancelled",
        "True",
        "[WARNING] Backup of @all-db was cancelled",
        "Find out who stopped the task and why, then run it again.",
    ]


def test_what_is_shown_keeps_the_rules_of_the_house(copy: Path) -> None:
    files = [name for language, name, _ in BLOCK.findall(CONTRIBUTING) if language == "python"]
    for rule in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *rule, "--no-cache", "--config", str(TOP / "pyproject.toml"), *files]
        done = subprocess.run(ruff, cwd=copy, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout
