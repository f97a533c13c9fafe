"""The Terraform templates, as Terraform itself sees them: form, schema, references, and their own tests.

Nothing is fetched: the providers are stood in for (standin_provider.py). `make check-infra` runs this.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import package
from infra.planted import MISTAKES, TEMPLATES, Mistake, copy
from infra.standin_provider import running
from vaultbell import sources
from vaultbell.events import Event, Sweep
from vaultbell.sweep import Window, window

NEEDED = (1, 7)  # the first that mocks providers
ROOTS = [".", "huawei", "examples/complete"]
PERIODS = [5, 6, 10, 12, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720, 1440]
LAGS = [0, 1, 5, 13, 90]
FINDS = f"""
mock_provider "CLOUD" {{
  mock_data "huaweicloud_identity_projects" {{
    defaults = {{ projects = [{{ id = "0" }}] }}
  }}
}}

variables {{
  region         = "eu-de"
  project_name   = "eu-de"
  webhook_url    = "https://hooks.example.org/bell"
  failure_emails = ["ops@example.org"]
}}

run "found" {{
  command = plan

  assert {{
    condition     = output.package_sha256 == "{hashlib.sha256(b"the zip").hexdigest()}"
    error_message = "not found"
  }}
}}
"""


def _missing() -> str | None:
    """Why this cannot be checked here; None where it can."""
    if not shutil.which("terraform"):
        return "terraform is not installed"
    told = subprocess.run(["terraform", "version", "-json"], capture_output=True, text=True, check=False).stdout
    version = json.loads(told)["terraform_version"]
    if tuple(map(int, version.split(".")[:2])) < NEEDED:
        return f"terraform {version} is older than {'.'.join(map(str, NEEDED))}"
    return None


pytestmark = pytest.mark.skipif(bool(missing := _missing()), reason=str(missing))
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Terraform in a folder, with the stand-in providers and without anybody's configuration."""
    folder = tmp_path_factory.mktemp("terraform")
    (folder / "rc").touch()
    with running(folder) as attached:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "TF_"))}
        settings = {"TF_CLI_CONFIG_FILE": str(folder / "rc"), "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}

        def run(where: Path, *command: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                ["terraform", *command],
                cwd=where,
                env=kept | settings | attached,
                capture_output=True,
                text=True,
                check=False,
            )

        yield run


def done(result: subprocess.CompletedProcess[str]) -> str:
    """What a command wrote that has to succeed."""
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy(tmp_path_factory.mktemp("templates"))


def test_the_templates_are_in_form(terraform: Run) -> None:
    assert done(terraform(TEMPLATES, "fmt", "-check", "-recursive", "-diff")) == ""


@pytest.mark.parametrize("root", ROOTS)
def test_a_template_is_valid(terraform: Run, templates: Path, root: str) -> None:
    done(terraform(templates / root, "init", "-backend=false"))
    assert "The configuration is valid" in done(terraform(templates / root, "validate", "-no-color"))


@pytest.mark.parametrize(("root", "least"), [(".", 45), ("huawei", 10)])
def test_a_templates_own_tests_pass(terraform: Run, templates: Path, root: str, least: int) -> None:
    done(terraform(templates / root, "init", "-backend=false"))
    told = done(terraform(templates / root, "test", "-no-color"))
    passed = re.search(r"Success! (\d+) passed, 0 failed\.", told)
    assert passed, told
    assert int(passed[1]) >= least


@pytest.mark.parametrize(("root", "cloud"), [(".", "opentelekomcloud"), ("huawei", "huaweicloud")])
def test_the_zip_is_found_where_make_package_puts_it(terraform: Run, tmp_path: Path, root: str, cloud: str) -> None:
    folder = copy(tmp_path / "infra") / root
    built = tmp_path / package.OUTPUT.relative_to(package.TOP)
    built.parent.mkdir()
    built.write_bytes(b"the zip")
    (folder / "tests" / "zip.tftest.hcl").write_text(FINDS.replace("CLOUD", cloud), "utf-8")
    done(terraform(folder, "init", "-backend=false"))
    assert "Success! 1 passed" in done(terraform(folder, "test", "-no-color", "-filter=tests/zip.tftest.hcl"))


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_template_is_refused(terraform: Run, tmp_path: Path, mistake: Mistake) -> None:
    folder = mistake.plant(tmp_path)
    started = terraform(folder, "init", "-backend=false", "-no-color")
    refused = started if started.returncode else terraform(folder, "validate", "-no-color")
    assert refused.returncode != 0
    assert mistake.named in refused.stdout + refused.stderr


@pytest.fixture(scope="module")
def timers(terraform: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the timer trigger is told, for every period and many lags."""
    folder = copy(tmp_path_factory.mktemp("timers")) / "timers"
    folder.mkdir()
    absent = [
        "webhook_url",
        "webhook_secret",
        "email_from",
        "smtp_url",
        "inbound_token",
        "heartbeat_url",
        "config_path",
    ]
    absent += ["kafka", "kafka_password", "apig"]
    given = {f"{period}/{lag}": [period, lag] for period in PERIODS for lag in LAGS}
    module: dict[str, Any] = {
        "source": "../common",
        "for_each": given,
        "sweep_period_minutes": "${each.value[0]}",
        "sweep_lag_minutes": "${each.value[1]}",
        "sweep_lookback": 1,
        "name": "vaultbell",
        "region": "eu-de",
        "project_id": "0123456789abcdef0123456789abcdef",
        "time_budget_seconds": 60,
        "email_to": [],
        **dict.fromkeys(("container", "in_vpc"), False),
        "settings": {},
        "secrets": {},
        **dict.fromkeys(absent),
    }
    told = {"timers": {"value": "${{for key, of in module.common : key => of.timer}}"}}
    (folder / "main.tf.json").write_text(json.dumps({"module": {"common": module}, "output": told}), "utf-8")
    done(terraform(folder, "init"))
    done(terraform(folder, "apply", "-auto-approve"))
    found: dict[str, str] = json.loads(done(terraform(folder, "output", "-json")))["timers"]["value"]
    return {key: json.loads(text) for key, text in found.items()}


def ticks(schedule: str, since: datetime, until: datetime) -> Iterator[datetime]:
    """When a cron expression of these templates fires: second, minutes, hours, and every day."""
    second, minutes, hours, *days = schedule.split()
    assert days == ["*", "*", "*"]
    at = since
    while at < until:
        fits = str(at.minute) in minutes.split(",") and (hours == "*" or str(at.hour) in hours.split(","))
        if fits:
            yield at.replace(second=int(second))
        at += timedelta(minutes=1)


def meant(tick: datetime, user_event: str) -> Window:
    """The window that the function would cover for this tick of the trigger."""
    event = json.dumps({"trigger_type": "TIMER", "time": tick.isoformat(), "user_event": user_event})
    (sweep,) = sources.decode(Event(event.encode(), trusted=True, platform=True)).items
    assert isinstance(sweep, Sweep)
    assert sweep.at
    assert sweep.period
    assert sweep.lag is not None
    return window(sweep.at, sweep.period, sweep.lag)


@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize("off", [0, 100, -50], ids=["punctual", "late", "early"])
def test_the_timers_ticks_cover_all_time_once(timers: dict[str, Any], period: int, off: int) -> None:
    since = datetime(2026, 11, 23, tzinfo=UTC)
    for lag in LAGS:
        told = timers[f"{period}/{lag}"]
        covered = [
            meant(tick + timedelta(seconds=off * (number % 2)), told["user_event"])
            for number, tick in enumerate(ticks(told["schedule"], since, since + timedelta(days=2)))
        ]
        assert len(covered) == 2 * 24 * 60 // period
        assert {found.end - found.start for found in covered} == {timedelta(minutes=period)}
        assert all(earlier.end == later.start for earlier, later in pairwise(covered))
