"""What the documentation says can be done as it stands there: its links, settings, commands and targets are real."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from pydantic import BaseModel

import pages
from vaultbell import advice, cli, settings, sources
from vaultbell.errors import InvalidEvent
from vaultbell.events import Event
from vaultbell.outcome import OutcomeName
from vaultbell.raw_settings import BY_FILE, CONFIG, VARIABLES

TOP = Path(__file__).parents[2]
PAGES = sorted((TOP / "docs").glob("*.md"))
CARRIED = [TOP / origin for origin in pages.CARRIED.values()]
TEXTS = [*PAGES, *CARRIED, TOP / "README.md", TOP / "events" / "README.md"]
NEEDED = {
    "OS_REGION_NAME": "eu-de",
    "OS_PROJECT_ID": "0123456789abcdef0123456789abcdef",
    "OS_TOKEN": "token",
}
GIVEN = {"SMTP_URL": "smtps://bell:secret@mail.example.org", "OPS_SECRET": "whsec_" + "YW5vdGhlci1zZWNyZXQtYW5k" * 2}
SECTIONS = {  # of the page of the doors, by the name of the source
    "plain": "Plain JSON",
    "events": "Plain JSON",
    "cloudevents": "CloudEvents",
    "pubsub": "Pub/Sub push",
    "smn": "SMN over HTTP",
    "ces": "Cloud Eye alarms",
    "cts": "CTS traces",
    "timer": "Sweep",
    "roll_call": "Roll call",
    "smn-trigger": "FunctionGraph's triggers",
    "stream": "FunctionGraph's triggers",
}
FENCED = re.compile(r"^```(\S+)( .*)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def named(path: Path) -> str:
    return str(path.relative_to(TOP))


def coded(text: str) -> list[str]:
    """Every line of code in a text: those of blocks, indented ones, and what stands in a line between backticks."""
    blocks = [line for _, _, block in FENCED.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    plain = FENCED.sub("", text)
    return [*blocks, *re.findall(r"^    (.+)$", plain, re.MULTILINE), *re.findall(r"`([^`\n]+)`", plain)]


EXAMPLES = [
    pytest.param(block, id=f"{page.stem}-{at}")
    for page in PAGES
    for at, (language, title, block) in enumerate(FENCED.findall(page.read_text("utf-8")))
    if language == "yaml" and "title=" not in title  # with a title it is some other program's file
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_settings_can_be_used_as_it_stands(example: str, tmp_path: Path) -> None:
    file, secret = tmp_path / "vaultbell.yaml", tmp_path / "secret"
    secret.write_text("https://hooks.example.org/from-a-file\n", "utf-8")
    file.write_text(re.sub(r"\$\{file:[^}]+\}", f"${{file:{secret}}}", example), "utf-8")
    names = set(re.findall(r"\$\{(\w+)\}", example))
    given = {
        name: GIVEN.get(name, "https://hooks.example.org/bell" if name.endswith("_URL") else "k" * 32) for name in names
    }
    assert settings.load(NEEDED | given | {CONFIG: str(file)}).channels


def test_every_channel_and_format_has_an_example() -> None:
    found = [yaml.safe_load(str(example.values[0])) for example in EXAMPLES if str(example.id).startswith("channels-")]
    made = [channel for file in found for channel in file["channels"].values()]
    assert {channel["type"] for channel in made} == set(settings.CHANNEL_TYPES)
    formats = {channel.get("format", "default") for channel in made if channel["type"] == "webhook"}
    assert formats == set(settings.FORMATS)


@pytest.mark.parametrize("text", TEXTS, ids=named)
def test_what_a_text_links_to_is_there(text: Path) -> None:
    links = [found[2] for found in pages.LINK.findall(text.read_text("utf-8")) if "://" not in found[2]]
    made = {*pages.CARRIED, "settings.md", "runbook.md"} if text in PAGES else set()
    places = [link.partition("#")[0] for link in links]
    assert [place for place in places if place and place not in made and not (text.parent / place).exists()] == []


@pytest.mark.parametrize("text", TEXTS, ids=named)
def test_the_commands_of_a_text_and_their_options_are_known(text: Path) -> None:
    unknown = []
    for line in coded(text.read_text("utf-8")):
        found = re.match(r"(?:\.venv/bin/)?vaultbell ([a-z][^|>&]*)", line.strip())
        if found and not _is_known(found[1]):
            unknown.append(line)
    assert unknown == []


def _is_known(said: str) -> bool:
    words = shlex.split(said, comments=True)
    parser = cli.parser()
    while words and (inner := _commands(parser)):
        if words[0] not in inner:
            return False
        parser = inner[words.pop(0)]
    wanted = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    return all(option in parser._option_string_actions for option in wanted)


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    inner = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return next((dict(action.choices) for action in inner), {})


def posts() -> list[str]:
    lines = [line.strip() for text in TEXTS for line in coded(text.read_text("utf-8"))]
    return sorted(
        {line[line.index("curl ") :] for line in lines if "curl " in line and ":8080/" in line and " -d " in line}
    )


@pytest.mark.parametrize("line", posts())
def test_an_event_that_is_posted_is_understood(line: str) -> None:
    words = shlex.split(line)
    given = list(pairwise(words))
    headers = dict(text.lower().split(": ") for option, text in given if option == "-H")
    (data,) = (text for option, text in given if option == "-d")
    body = (TOP / data[1:]).read_bytes() if data.startswith("@") else data.replace("…", str(UUID(int=1))).encode()
    assert not [item for item in sources.decode(Event(body, headers)).items if isinstance(item, InvalidEvent)]


def test_every_door_has_a_section() -> None:
    page = (TOP / "docs" / "doors.md").read_text("utf-8")
    assert {source.name for source in sources.SOURCES} == SECTIONS.keys()
    assert [title for title in SECTIONS.values() if f"\n## {title}\n" not in page] == []


@pytest.mark.parametrize("text", TEXTS, ids=named)
def test_the_targets_of_make_in_a_text_are_known(text: Path) -> None:
    known = set(re.findall(r"^([a-z-]+):", (TOP / "Makefile").read_text("utf-8"), re.MULTILINE))
    lines = coded(text.read_text("utf-8"))
    wanted = {found[1] for line in lines if (found := re.match(r"\s*make ([a-z][a-z-]*)", line))}
    assert wanted - known == set()


@pytest.mark.parametrize("text", PAGES, ids=named)
def test_the_variables_of_a_page_are_known(text: Path) -> None:
    known = {CONFIG, *VARIABLES, *(f"{name}_FILE" for name in BY_FILE)}
    wanted = set(re.findall(r"\b(?:VAULTBELL|OS)_[A-Z_]*[A-Z]\b(?!…)", text.read_text("utf-8")))
    assert wanted - known == set()


def test_every_setting_has_a_meaning_and_no_meaning_is_left_over() -> None:
    told = {model: {name for name, words in table.items() if words} for model, table in pages.meanings().items()}
    assert told == {model.__name__: {"", *(name for name, _, _ in pages.fields(model))} for model in pages.MODELS}


def test_no_model_of_the_settings_is_left_out() -> None:
    found = {thing for name, thing in vars(settings).items() if isinstance(thing, type) and not name.startswith("_")}
    models = {thing for thing in found if issubclass(thing, BaseModel) and thing.__module__ == settings.__name__}
    assert models == set(pages.MODELS)


def test_the_reference_tells_types_defaults_and_every_variable() -> None:
    page = pages.reference()
    assert "| `digest_over` | number, 1 to 10,000 | `10` | A mailbox or chat" in page
    assert "| `VAULTBELL_SWEEP_HISTORY` | duration | `7d` | How long before" in page
    assert "| `smtp`, `VAULTBELL_SMTP_URL` | secret | (required) |" in page
    assert "`retry`, `leave` | `retry` |" in page
    assert [name for name in (CONFIG, *VARIABLES) if f"\n| `{name}` |" not in page] == []


def test_the_runbook_has_every_step_that_a_message_may_advise() -> None:
    page = pages.runbook()
    assert "`BackupService.6114` | Expand the vault, or delete backups that are no longer needed" in page
    assert len(re.findall(r"`BackupService\.\d{4}`", page)) > 150
    assert [name for name in OutcomeName if (step := advice.next_step(name)) and step not in page] == []


def test_the_runbook_has_every_code_that_an_answer_may_have() -> None:
    code = "\n".join(path.read_text("utf-8") for path in sorted((TOP / "function" / "vaultbell").rglob("*.py")))
    ways = (
        r'code(?:: str)? ?= ?"(\w+)"',  # of an InvalidEvent, or of a class of errors
        r'error ?= ?\("(\w+)"|result\.error\), \("(\w+)"',
        r'of_crash\(\d+, "(\w+)"',
        r'(?:dead|failed)\(letter, "(\w+)"',
    )
    said = {word for found in re.findall("|".join(ways), code) for word in found}
    never = {"", "error", "missing", "refused"}  # no word; the root; an outcome; what a receipt tells
    assert set(pages.our_codes()) == said - never
    page = pages.runbook()
    assert "| `undeliverable` | 424 | a channel refused" in page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as it is built: every warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=TOP,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(TOP / "function")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_the_documentation_is_built_and_has_what_the_navigation_names(site: Path) -> None:
    made = {path.stem for path in site.glob("*.html")} - {"404"}
    assert made == {path.stem for path in PAGES} | {Path(name).stem for name in (*pages.CARRIED, "settings", "runbook")}


def test_the_documentation_fetches_nothing_from_elsewhere(site: Path) -> None:
    fetched = re.compile(r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>")
    assert [found for page in site.glob("*.html") for found in fetched.findall(page.read_text("utf-8"))] == []
