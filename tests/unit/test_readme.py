"""What the README says of the code is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import samples
from standin import Cloud
from standin.logs import seed_demo
from standin.sinks import Receiver
from vaultbell import cli, compose, pipeline, settings
from vaultbell.budget import Budget
from vaultbell.events import Event
from vaultbell.outcome import OutcomeName
from vaultbell.raw_settings import BY_FILE, CONFIG, VARIABLES
from vaultbell.report import WORST_FIRST
from vaultbell.settings import CHANNEL_TYPES, FORMATS, MATCHED, OutcomeRules

TOP = Path(__file__).parents[2]
README = (TOP / "README.md").read_text("utf-8")
FAILED = "00000000-0000-4000-8000-000000000004"
NEEDED = {
    "OS_REGION_NAME": "eu-de",
    "OS_PROJECT_ID": "0123456789abcdef0123456789abcdef",
    "OS_TOKEN": "token",
    "VAULTBELL_WEBHOOK_URL": "https://hooks.example.org/bell",
}


def table(first: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading, cell by cell."""
    (found,) = re.findall(rf"^\| {first} \|.*\n\| --- .*\n((?:\|.*\n)+)", README, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in found.splitlines()]


def block(language: str, holds: str) -> str:
    """The fenced block in this language that holds a text."""
    (found,) = (text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if holds in text)
    return str(found)


def coded(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_the_outcomes_are_those_of_the_code() -> None:
    rules = OutcomeRules()
    assert [(coded(name), severity, rings) for name, _, severity, rings in table("outcome")] == [
        ([name], rules.severity_of(name), "yes" if rules.rings(name) else "no") for name in OutcomeName
    ]


def test_the_answers_are_those_of_the_code() -> None:
    assert {int(status) for row in table("answer") for status in row[0].split(", ")} == set(WORST_FIRST)


def test_the_variables_are_those_of_the_code() -> None:
    named = [name for row in table("variable") for name in coded(row[0])]
    assert sorted(named) == sorted([CONFIG, *VARIABLES])


def test_a_variable_that_is_left_out_means_what_the_table_says() -> None:
    defaults = {coded(row[0])[0]: coded(row[2])[0] for row in table("variable") if row[2]}
    assert len(defaults) >= 8
    assert settings.load(NEEDED | defaults) == settings.load(NEEDED)


def test_what_may_come_from_a_file_is_what_the_readme_says() -> None:
    assert "Secrets, addresses and all of `OS_…` may come from a file" in README
    assert {name for name in VARIABLES if name.startswith("OS_") or "SECRET" in name or "URL" in name} <= BY_FILE


def test_the_file_of_settings_is_one(tmp_path: Path) -> None:
    file = tmp_path / "vaultbell.yaml"
    file.write_text(block("yaml", "channels:\n"), "utf-8")
    given = {
        "VAULTBELL_CONFIG": str(file),
        "OPS_URL": "https://ops.example.org/bell",
        "PD_KEY": "0123456789abcdef0123456789abcdef",
        "OPS_SECRET": "whsec_" + "YW5vdGhlci1zZWNyZXQtYW5vdGhlci1zZWNyZXQ=",
        "SMTP_URL": "smtps://bell:secret@mail.example.org",
    }
    loaded = settings.load({name: value for name, value in (NEEDED | given).items() if "WEBHOOK" not in name})
    assert set(loaded.channels) == {"ops", "oncall", "mail"}
    assert (loaded.routes[0].channels, loaded.routes[0].fallback) == (("oncall", "ops"), "mail")
    assert loaded.outcomes.severity_of("partial") == "critical"


def test_the_channels_and_formats_are_those_of_the_code() -> None:
    rows = {coded(row[0])[0]: coded(row[1]) for row in table("channel")}
    assert tuple(rows) == CHANNEL_TYPES
    assert [word for word in rows["webhook"] if word in FORMATS] == list(FORMATS)


def test_the_routes_by_the_past_are_understood(tmp_path: Path) -> None:
    file = tmp_path / "vaultbell.yaml"
    channels = "".join(
        f"  {name}: {{type: webhook, url: 'https://{name}.example.org'}}\n" for name in ("oncall", "mail")
    )
    file.write_text(f"channels:\n{channels}{block('yaml', 'failures_in_row')}", "utf-8")
    assert settings.load(NEEDED | {CONFIG: str(file)}).matches_past


def test_a_route_matches_by_what_the_readme_says() -> None:
    (told,) = re.findall(r"A route matches by ([^:]+):", README)
    assert tuple(re.split(r",\s+|\s+and\s+", told)) == MATCHED


def test_the_commands_are_those_of_the_command_line() -> None:
    named = [name for row in table("command") for name in coded(row[0])]
    assert sorted(named) == sorted(cli.name_of(command) for command in cli.COMMANDS)


def test_a_task_is_looked_up_as_shown(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seed_demo(cloud)
    for name, value in cloud.env().items():
        monkeypatch.setenv(name, value)
    assert f"vaultbell lookup {FAILED}" in README
    assert cli.main(["lookup", FAILED]) == 1
    assert _timeless(capsys.readouterr().out) == _timeless(block("text", "outcome   failed"))


def _timeless(text: str) -> str:
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "(time)", text)


def test_a_webhook_is_told_what_is_shown(cloud: Cloud, receiver: Receiver) -> None:
    seed_demo(cloud)
    app = compose.app(settings.load(cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"}))
    pipeline.handle(app.bell, Event(samples.read("outcomes/failed.json").body), Budget.of(10.0))
    (told,) = (got.json for got in receiver.requests)
    shown = json.loads(block("json", "cbr.task.failed"))
    assert list(shown) == list(told)
    assert list(shown["data"]) == list(told["data"])
    shown["timestamp"], shown["data"]["operation_log"] = told["timestamp"], told["data"]["operation_log"]
    assert told["data"]["summary"].startswith(shown["data"].pop("summary").removesuffix("…"))
    told["data"].pop("summary")
    assert shown == told


def test_what_it_links_to_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (TOP / link).exists()] == []
