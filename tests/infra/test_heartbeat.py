"""The watchdog fires as long as sweeps are completed, takes its own way, and is shown in the documentation as it is."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from integration.broker import missing

TOP = Path(__file__).parents[2]
FOLDER = TOP / "infra" / "observability"
RULES, ROUTES = FOLDER / "watchdog.rules.yaml", FOLDER / "watchdog.alertmanager.yaml"
SERIES = "vaultbell_last_sweep_timestamp_seconds"


def run(tool: str, *arguments: str | Path) -> str:
    program = shutil.which(tool)
    if not program:
        missing(f"{tool} is not installed (Debian's packages prometheus and prometheus-alertmanager)")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_watchdog_barks_while_sweeps_are_completed_and_stops_when_they_stop(tmp_path: Path) -> None:
    (name,) = [rule["alert"] for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]
    barks = [{"exp_labels": {"severity": "none"}, "exp_annotations": _annotations()}]
    # a sweep at 0, 15 and 30 minutes; the process lives on, and none is completed any more
    values = "_ " + " ".join(str(minute // 15 * 900) if minute < 45 else "1800" for minute in range(1, 90))
    rows = [(at, bool(barks)) for at in (10, 29, 44, 49)] + [(at, False) for at in (51, 60, 80)]
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": SERIES, "values": values}],
                "alert_rule_test": [
                    {"alertname": name, "eval_time": f"{at}m", "exp_alerts": barks if well else []} for at, well in rows
                ],
            }
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(test), "utf-8")
    assert "SUCCESS" in run("promtool", "test", "rules", file)


def _annotations() -> dict[str, str]:
    (group,) = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    annotations: dict[str, str] = group["rules"][0]["annotations"]
    return annotations


@pytest.mark.parametrize(("alert", "receiver"), [("VaultbellSweeps", "switch"), ("VaultbellGone", "people")])
def test_it_alone_goes_to_the_switch(alert: str, receiver: str) -> None:
    run("amtool", "check-config", ROUTES)
    told = run("amtool", "config", "routes", "test", f"--config.file={ROUTES}", f"alertname={alert}")
    assert told.split() == [receiver]


def test_the_documentation_shows_the_files_as_they_are() -> None:
    page = (TOP / "docs" / "heartbeat.md").read_text("utf-8")
    shown = dict(re.findall(r'^```yaml title="([^"]+)"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL))
    assert shown == {path.name: path.read_text("utf-8") for path in (RULES, ROUTES)}
