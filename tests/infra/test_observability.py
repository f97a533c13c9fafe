"""The alert rules fire when they should, and rules, dashboard and README speak of the metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from integration.broker import missing
from vaultbell.observability.metrics import METRICS, REASONS

FOLDER = Path(__file__).parents[2] / "infra" / "observability"
RULES, TESTS, DASHBOARD, README = (
    (FOLDER / name).read_text("utf-8")
    for name in ("vaultbell.rules.yaml", "vaultbell.rules.test.yaml", "dashboard.json", "README.md")
)
ALERTS: list[dict[str, Any]] = [rule for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"]]
PANELS: list[dict[str, Any]] = [panel for panel in json.loads(DASHBOARD)["panels"] if panel["type"] != "row"]
# What a histogram is made of.
SAMPLES = {metric.name for metric in METRICS if metric.kind != "histogram"} | {
    f"{metric.name}_{part}" for metric in METRICS if metric.kind == "histogram" for part in ("bucket", "count", "sum")
}


def metrics_in(text: str) -> set[str]:
    return set(re.findall(r"\bvaultbell_\w+", text))


def queries() -> Iterator[str]:
    """Every expression of the dashboard, with Grafana's variables replaced as Grafana would."""
    for panel in PANELS:
        for target in panel["targets"]:
            expr = target["expr"].replace("$__rate_interval", "4m").replace("$__range", "1d").replace("$job", ".*")
            assert "$" not in expr, expr
            yield expr


@pytest.fixture(scope="module")
def promtool() -> str:
    program = shutil.which("promtool")
    if not program:
        missing("promtool is not installed (Debian's package prometheus)")
    return program


def run(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_alert_fires_when_it_should_and_not_before(promtool: str) -> None:
    assert "SUCCESS" in run(promtool, "test", "rules", "vaultbell.rules.test.yaml")


def test_each_alert_is_tested(promtool: str) -> None:
    assert f"{len(ALERTS)} rules found" in run(promtool, "check", "rules", "vaultbell.rules.yaml")
    names = [rule["alert"] for rule in ALERTS]
    assert len(set(names)) == len(names) >= 12
    assert set(re.findall(r'alertname="(\w+)"', TESTS)) == set(names)


def test_an_alert_says_what_is_wrong_how_bad_it_is_and_what_to_do() -> None:
    for rule in ALERTS:
        assert rule["alert"].startswith("Vaultbell")
        assert rule["labels"]["severity"] in ("critical", "warning")
        summary, description = rule["annotations"]["summary"], rule["annotations"]["description"]
        assert summary.endswith(".")
        assert len(description) > 60


def test_each_label_that_a_summary_names_is_one_that_its_alert_has() -> None:
    for rule in ALERTS:
        for label in re.findall(r"\$labels\.(\w+)", str(rule["annotations"])):
            assert re.search(rf"\b(by|on) \([^)]*\b{label}\b", rule["expr"]), (rule["alert"], label)


def test_rules_and_dashboard_ask_for_metrics_that_there_are() -> None:
    assert metrics_in("".join(rule["expr"] for rule in ALERTS)) <= SAMPLES
    assert metrics_in("".join(queries())) <= SAMPLES


def test_the_dashboard_shows_every_metric() -> None:
    shown = metrics_in("".join(queries()))
    assert {metric.name for metric in METRICS if not any(name.startswith(metric.name) for name in shown)} == set()


def test_every_expression_of_the_dashboard_can_be_asked(promtool: str, tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(queries())]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), "utf-8")
    assert f"{len(rules)} rules found" in run(promtool, "check", "rules", file)


def test_labels_are_asked_for_by_the_names_that_they_have() -> None:
    known = {label for metric in METRICS for label in metric.labels}
    known |= {"le", "job", "instance", "namespace", "cronjob"}
    for text in (*queries(), *(rule["expr"] for rule in ALERTS)):
        for names in re.findall(r"\b(?:by|on) \(([^)]*)\)", text):
            assert set(names.split(", ")) <= known, text
        assert set(re.findall(r"[{,]\s*(\w+)\s*[=!]", text)) <= known, text


def test_values_of_labels_are_asked_for_that_there_are() -> None:
    results = {"delivered", "complete", "unfinished", *REASONS}
    for text in (*queries(), *(rule["expr"] for rule in ALERTS)):
        for values in re.findall(r'result[=!~]+"([^"]+)"', text):
            assert set(values.split("|")) <= results, text


def test_the_dashboard_is_one_that_grafana_can_lay_out() -> None:
    dashboard = json.loads(DASHBOARD)
    assert {"uid", "title", "schemaVersion", "panels", "templating", "time", "refresh"} <= dashboard.keys()
    assert dashboard["schemaVersion"] >= 36
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        assert 0 <= at["x"] < at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        taken |= cells
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert set(re.findall(r"\$\{?(?!__)(\w+)", DASHBOARD)) == variables == {"datasource", "job"}


def test_every_panel_says_what_it_shows_in_which_unit_and_where_it_asks() -> None:
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"] in ("s", "none", "reqps", "percentunit", "bytes")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)


def table(first: str) -> list[list[str]]:
    (found,) = re.findall(rf"^\| {first} \|.*\n\| --- .*\n((?:\|.*\n)+)", README, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in found.splitlines()]


def test_the_readme_has_every_metric_reason_and_file() -> None:
    coded = [(re.findall(r"`(\w+)`", name), kind, re.findall(r"`(\w+)`", labels))
             for name, kind, labels, _ in table("metric")]  # fmt: skip
    assert coded == [([metric.name], metric.kind, list(metric.labels)) for metric in METRICS]
    assert [name for row in table("reason") for name in re.findall(r"`(\w+)`", row[0])] == list(REASONS)
    assert {name for row in table("file") for name in re.findall(r"`([\w.]+)`", row[0])} == {
        path.name for path in FOLDER.iterdir() if path.name != "README.md"
    }
    for name in re.findall(r"`(Vaultbell[A-Z]\w+)`", README):
        assert name in [rule["alert"] for rule in ALERTS]
