"""The Terraform templates, read without Terraform: they fit the providers' schemas, and hold no secret."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from infra.planted import MISTAKES, TEMPLATES, UNSEEN, Mistake
from infra.templates import Template, parsed
from vaultbell import settings
from vaultbell.raw_settings import VARIABLES
from vaultbell.sources import ces

FOLDERS = sorted({path.parent for path in TEMPLATES.rglob("*.tf")})
NAMES = [folder.relative_to(TEMPLATES.parent).as_posix() for folder in FOLDERS]


@pytest.fixture(scope="module", params=FOLDERS, ids=NAMES)
def template(request: pytest.FixtureRequest) -> Template:
    return Template(request.param)


def test_the_templates_fit_the_providers_and_themselves(template: Template) -> None:
    assert template.files
    assert template.mistakes() == []


@pytest.mark.parametrize("mistake", (MISTAKES | UNSEEN).values(), ids=MISTAKES | UNSEEN)
def test_a_mistake_in_a_template_is_found(mistake: Mistake, tmp_path: Path) -> None:
    folder = mistake.plant(tmp_path)
    found = Template(folder).mistakes()
    assert any(mistake.said in words for words in found), found


def test_every_variable_and_output_says_what_it_is_and_what_it_takes(template: Template) -> None:
    assert [name for name, of in template.variables.items() if not of.get("description") or not of.get("type")] == []
    assert [name for name, of in template.outputs.items() if not of.get("description")] == []


def test_every_variable_is_used(template: Template) -> None:
    text = "".join(path.read_text("utf-8") for path in template.folder.glob("*.tf") if path.name != "variables.tf")
    assert [name for name in template.variables if not re.search(rf"\bvar\.{name}\b", text)] == []


def test_both_clouds_take_the_same_variables_and_tell_the_same() -> None:
    ours, theirs = TEMPLATES, TEMPLATES / "huawei"
    assert (theirs / "variables.tf").read_bytes() == (ours / "variables.tf").read_bytes()
    assert Template(theirs).outputs.keys() == Template(ours).outputs.keys()


def test_the_function_knows_every_variable_that_it_is_given() -> None:
    text = (TEMPLATES / "common" / "main.tf").read_text("utf-8")
    given = set(re.findall(r"^    ([A-Z_]+) +=", text, re.MULTILINE))
    assert len(given) > 12
    assert given <= VARIABLES.keys() | {"VAULTBELL_CONFIG"}


def test_an_alarm_is_raised_for_each_failure_that_the_function_would_look_into() -> None:
    (events,) = (of['"failure_events"']["value"] for of in _outputs() if '"failure_events"' in of)
    failures = {name for name, types in ces.EVENTS.items() if types and name.endswith("failed")}
    assert {name.lower() for name in events if not name.startswith("__")} == failures - {
        "backupdeletionfailed",  # other spellings that the function would take
        "vaultdeletionfailed",
    }


def test_no_provider_but_the_clouds_own_is_needed(template: Template) -> None:
    (terraform,) = (block for file in template.files.values() for block in file.get("terraform", []))
    needed = [name for block in terraform.get("required_providers", []) for name in block if not name.startswith("__")]
    assert needed in ([], ["opentelekomcloud"], ["huaweicloud"])
    assert terraform["required_version"] == '">= 1.5"'


def test_the_example_says_what_has_to_be_said() -> None:
    text = (TEMPLATES / "vaultbell.example.tfvars").read_text("utf-8")
    given = {name for name in parsed(text) if not name.startswith("__")}
    variables = Template(TEMPLATES).variables
    assert given == {name for name, of in variables.items() if "default" not in of}


def test_the_example_of_a_file_of_settings_is_one_and_gets_its_secrets() -> None:
    folder = TEMPLATES / "examples" / "complete"
    config = folder / "vaultbell.yaml"
    (module,) = Template(folder).modules.values()
    secrets = {name for name in module["secrets"] if not name.startswith("__")}
    assert set(re.findall(r"\$\{([A-Z_]+)\}", config.read_text("utf-8"))) == secrets
    values = dict.fromkeys(secrets, "k" * 32) | {
        "CHAT_URL": "https://chat.example.org/x",
        "SMTP_URL": "smtp://mail.example.org",
    }
    found = settings.load(
        values | {"VAULTBELL_CONFIG": str(config), "OS_PROJECT_ID": "0" * 32, "OS_REGION_NAME": "eu-de"}
    )
    assert set(found.channels) == {"oncall", "chat", "mail"}
    assert [rule.vault for rule in found.watch] == ["prod-*"]


def test_the_readme_names_what_is_created() -> None:
    readme = (TEMPLATES / "README.md").read_text("utf-8")
    (outputs,) = (of['"failure_events"'] for of in _outputs() if '"failure_events"' in of)
    (actions,) = (of['"actions"'] for of in _outputs() if '"actions"' in of)
    always = re.findall(r"(?:cbr|smn):\w+:\w+", str(actions["value"]))
    events = [name for name in outputs["value"] if not name.startswith("__")]
    assert len(events) + len(always) == 11
    assert [name for name in events + always if f"`{name}`" not in readme] == []


def _outputs() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parsed((TEMPLATES / "common" / "outputs.tf").read_text("utf-8"))["output"]
    return found
