"""`vaultbell lookup`, as a user runs it: what it prints, where, and its exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from serving import FUNCTION, environment
from standin import Cloud
from standin.logs import seed_demo
from standin.server import Server
from standin.state import PROJECT, Answer
from vaultbell import cli

OTHER = "fedcba9876543210fedcba9876543210"


def task(digit: str) -> str:
    """One of the stand-in's demo."""
    return f"00000000-0000-4000-8000-00000000000{digit}"


SUCCEEDED, PARTIAL, SKIPPED, FAILED, TIMED_OUT, RUNNING, OVERDUE, UNKNOWN, NOBODY = map(task, "123456789")


@pytest.fixture(autouse=True)
def _tasks(cloud: Cloud) -> None:
    seed_demo(cloud)


@dataclass(frozen=True, slots=True)
class Done:
    status: int
    out: str
    err: str

    @property
    def rows(self) -> dict[str, str]:
        """What stands behind the words at the beginning of the lines."""
        return dict(line.split(maxsplit=1) for line in self.out.splitlines())


def lookup(settings: dict[str, str], *arguments: str) -> Done:
    """Run the command as a process of its own, with these settings and nothing else of ours."""
    settings = {name: value for name, value in settings.items() if value}
    command = [sys.executable, "-m", "vaultbell.cli", "lookup", *arguments]
    done = subprocess.run(
        command, env=environment(settings) | {"PYTHONPATH": str(FUNCTION)}, capture_output=True, timeout=60, check=False
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def here(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lookup:
    return Lookup(cloud, monkeypatch, capsys)


class Lookup:
    """Runs the command in this process, which is quicker."""

    def __init__(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._cloud, self._monkeypatch, self._capsys = cloud, monkeypatch, capsys

    def __call__(self, *arguments: str, **changed: str) -> Done:
        settings = {name: value for name, value in (self._cloud.env() | changed).items() if value}
        self._monkeypatch.setattr("os.environ", environment(settings))
        try:
            status = cli.main(["lookup", *arguments])
        except SystemExit as left:  # argparse leaves so
            status = int(str(left.code))
        out, err = self._capsys.readouterr()
        return Done(status, out, err)


def test_a_failed_task_is_shown_and_is_bad_news(cloud: Cloud) -> None:
    done = lookup(cloud.env(), FAILED)
    log = cloud.get(FAILED)
    assert (done.status, done.err) == (1, "")
    assert done.rows == {
        "task": FAILED,
        "project": PROJECT,
        "outcome": "failed (critical)",
        "reason": "The server is in a state in which it cannot be backed up. (BackupService.7102)",
        "past": "first failure; no good backup is on record",
        "what": f"Backup of {log['extra_info']['resource']['name']}",
        "resource": " ".join(log["extra_info"]["resource"][name] for name in ("name", "id", "type")),
        "vault": f"vault-daily {log['vault_id']}",
        **{name: f"{log[f'{name}_at'][:16].replace('T', ' ')} UTC" for name in ("created", "started", "ended")},
    }


def test_a_script_gets_json(cloud: Cloud) -> None:
    done = lookup(cloud.env(), "--json", OVERDUE.upper(), "--project", PROJECT.upper())
    assert (done.status, done.err) == (1, "")
    found = json.loads(done.out)
    assert found["operation_log"] == cloud.get(OVERDUE)
    assert (found["outcome"], found["severity"]) == ("overdue", "critical")
    assert found["reason"].startswith("still running at its deadline, ")


def test_the_past_is_looked_up_too_unless_that_is_not_wanted(cloud: Cloud, here: Lookup) -> None:
    resource = {"resource_id": "1dab32fa-ebf2-415a-ab0b-eabe6353bc86"}
    cloud.outcome("succeeded", age=9_000, **resource)
    cloud.outcome("failed", age=7_200, **resource)
    failed = cloud.outcome("failed", age=5_400, **resource)["id"]
    assert here(failed).rows["past"].startswith("second failure in a row; last good backup ")
    cloud.outcome("succeeded", age=600, **resource)
    found = json.loads(here("--json", failed).out)
    assert (found["failures_in_row"], found["severity"]) == (2, "warning")
    assert found["recovered_at"] > found["last_good_at"]
    assert "past" not in here(failed, VAULTBELL_HISTORY="false").rows


def test_a_cloud_that_is_not_reached_is_told_on_one_line(cloud: Cloud) -> None:
    with Server(lambda *_: Answer(200, {}, b"")) as gone:
        pass
    done = lookup(cloud.env() | {"CBR_ENDPOINT": gone.url}, SUCCEEDED)
    assert (done.status, done.out) == (3, "")
    assert done.err == "vaultbell: 127.0.0.1: connection refused\n"


@pytest.mark.parametrize(
    ("task_id", "status", "outcome"),
    [
        (SUCCEEDED, 0, "succeeded (info)"),
        (RUNNING, 0, "running (info)"),
        (PARTIAL, 1, "partial (warning)"),
        (SKIPPED, 1, "skipped (warning)"),
        (TIMED_OUT, 1, "timed_out (critical)"),
        (UNKNOWN, 1, "unknown (warning)"),
    ],
)
def test_the_exit_status_says_whether_it_is_good_news(here: Lookup, task_id: str, status: int, outcome: str) -> None:
    done = here(task_id)
    assert (done.status, done.rows["outcome"], done.err) == (status, outcome, "")


def test_a_missing_task_is_bad_news_like_any_other(here: Lookup) -> None:
    done = here(NOBODY)
    assert (done.status, done.err) == (1, "")
    assert done.rows == {"task": NOBODY, "outcome": "missing (warning)", "reason": "the API knows no such task"}
    done = here(NOBODY, "--json")
    assert done.status == 1
    assert json.loads(done.out) == {
        "outcome": "missing",
        "severity": "warning",
        "reason": "the API knows no such task",
        "operation_log": {"id": NOBODY},
    }


def test_a_task_is_looked_for_in_every_project(here: Lookup, cloud: Cloud) -> None:
    cloud.projects[OTHER] = "eu-de_other"
    projects = f"{OTHER},{PROJECT}"
    assert here(SUCCEEDED, VAULTBELL_PROJECTS=projects).rows["project"] == PROJECT
    assert here(SUCCEEDED, "--project", OTHER, VAULTBELL_PROJECTS=projects).status == 1
    assert here(NOBODY, VAULTBELL_PROJECTS=projects).rows["outcome"] == "missing (warning)"


def test_a_project_that_cannot_be_seen_does_not_hide_another_but_makes_nothing_missing(here: Lookup) -> None:
    projects = f"{OTHER},{PROJECT}"
    assert here(FAILED, VAULTBELL_PROJECTS=projects).rows["project"] == PROJECT
    done = here(NOBODY, VAULTBELL_PROJECTS=projects)
    assert (done.status, done.out) == (3, "")
    assert "403" in done.err


def test_the_rules_of_the_settings_count(here: Lookup, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("outcomes: {severity: {failed: warning}, deadlines: {backup: 7d}}")
    assert here(FAILED, VAULTBELL_CONFIG=str(config)).rows["outcome"] == "failed (warning)"
    assert here(OVERDUE, VAULTBELL_CONFIG=str(config)).rows["outcome"] == "running (info)"
    assert here(FAILED, VAULTBELL_WEBHOOK_URL="https://hooks.example.org/x").status == 1


@pytest.mark.parametrize(
    ("arguments", "changed", "words"),
    [
        ([], {}, "TASK_ID"),
        (["soon"], {}, "vaultbell: operation_log_id is not a UUID"),
        ([SUCCEEDED, "--project", "x"], {}, "vaultbell: project_id is not 32 hex digits"),
        ([SUCCEEDED, "--project", OTHER], {}, "vaultbell: the project is not allowed (VAULTBELL_PROJECTS)"),
        ([SUCCEEDED], {"OS_PROJECT_ID": ""}, "is missing: no project is known"),
        ([SUCCEEDED], {"VAULTBELL_WEBHOOK_URL": "ftp://x"}, "VAULTBELL_WEBHOOK_URL: "),
        ([SUCCEEDED], {"OS_PASWORD": "", "VAULTBELL_COLOUR": "red"}, "VAULTBELL_COLOUR: is not known"),
    ],
)
def test_wrong_use_and_settings_are_told_apart_from_bad_news(
    here: Lookup, arguments: Sequence[str], changed: dict[str, str], words: str
) -> None:
    done = here(*arguments, **changed)
    assert (done.status, done.out) == (2, "")
    assert words in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"OS_PASSWORD": "wr0ng-marker"}, "IAM answered 401"),
        ({"OS_USERNAME": "", "OS_PASSWORD": "", "OS_USER_DOMAIN_NAME": ""}, "there are no credentials"),
        ({"OS_TOKEN": "t0ken-marker"}, "the API refuses our credentials (401)"),
    ],
)
def test_what_could_not_be_found_out_is_neither_good_nor_bad(here: Lookup, changed: dict[str, str], words: str) -> None:
    done = here(SUCCEEDED, **changed)
    assert (done.status, done.out) == (3, "")
    assert done.err.startswith("vaultbell: ")
    assert words in done.err
    assert "marker" not in done.err


def test_a_name_cannot_write_to_the_terminal(here: Lookup, cloud: Cloud) -> None:
    evil = cloud.add(resource_name="x\x1b[2J\u202e\noutcome   succeeded (info)", vault_name="v\ud800")["id"]
    done = here(evil)
    assert done.rows["what"] == "Backup of x [2J outcome succeeded (info)"
    assert done.rows["outcome"] == "failed (critical)"
    assert "\x1b" not in done.out
    assert "\x1b" not in here(evil, "--json").out
