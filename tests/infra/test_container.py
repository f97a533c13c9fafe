"""What the image is made of, read without building it (`make check-image` builds it), and the try-out around it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import requests
import yaml

from serving import environment
from vaultbell import settings

TOP = Path(__file__).parents[2]
CONTAINER = TOP / "infra" / "container"
DOCKERFILE = (CONTAINER / "Dockerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((TOP / "infra" / "compose.yaml").read_text("utf-8"))
STARTS_WITHIN = 10
WRITABLE = "/tmp"  # noqa: S108 - a path in the container


class Instruction(NamedTuple):
    """An instruction of a Dockerfile, and the number of its stage, from 1."""

    name: str
    words: str
    stage: int


def instructions(text: str) -> Iterator[Instruction]:
    """What a Dockerfile says, without its comments and line breaks."""
    stage = 0
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        if name := line.partition(" ")[0].upper():
            stage += name == "FROM"
            yield Instruction(name, " ".join(line.split()[1:]), stage)


def mistakes(text: str) -> list[str]:
    """What is wrong with a Dockerfile of ours."""
    said = list(instructions(text))
    return [*(words for of in said for words in _mistakes_of(of)), *_missing(said)]


def _mistakes_of(of: Instruction) -> Iterator[str]:
    match of.name:
        case "ADD":
            yield "ADD fetches and unpacks"
        case "ARG" if of.words.endswith((":latest", "/python")):
            yield "the base is a different one each day"
        case "COPY" if of.words.partition(" ")[0] in (".", "./"):
            yield "everything is copied"
        case "FROM" if not of.words.startswith("${PYTHON_IMAGE}"):
            yield "the base cannot be chosen"
        case "RUN" if "pip install" in of.words:
            wanted = ("--require-hashes", "--only-binary :all:", "--no-cache-dir")
            yield from (f"pip without {option}" for option in wanted if option not in of.words)
        case "RUN" if "compileall" in of.words and "--invalidation-mode unchecked-hash" not in of.words:
            yield "bytecode that is compared with its source"
    if of.name == "RUN" and of.stage > 1 and re.search(r"\b(pip|apt-get|apk|curl|wget)\b", of.words):
        yield "something is fetched in the last stage"


def _missing(said: Sequence[Instruction]) -> Iterator[str]:
    if max(of.stage for of in said) != 2:
        yield "not two stages"
    if sum(of.name == "RUN" and "compileall" in of.words for of in said) != 2:
        yield "code without bytecode: the packages' and ours, or the standard library's"
    last = {of.name: of.words for of in said if of.stage == 2}
    if "HOME=/tmp" not in last.get("ENV", ""):
        yield "the server's home cannot be written to"
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", last.get("USER", "")):
        yield "no user by number who is not root"
    if not _is_list(last.get("CMD", "")):
        yield "a shell would stand between the server and its signals"


def _is_list(words: str) -> bool:
    try:
        return isinstance(json.loads(words), list)
    except ValueError:
        return False


MISTAKES = {
    "root": ("USER 1003:1003", "USER root", "no user by number"),
    "a user's name": ("USER 1003:1003", "USER nobody", "no user by number"),
    "nobody": ("USER 1003:1003\n", "", "no user by number"),
    "wheels that nobody checks": ("--require-hashes ", "", "pip without --require-hashes"),
    "sources that are built": ("--only-binary :all: ", "", "pip without --only-binary"),
    "a shell": ("CMD [", "CMD exec [", "a shell would stand"),
    "something fetched": ("COPY function /function", "ADD https://example.org/f.tgz /function", "ADD fetches"),
    "everything": ("COPY function /function", "COPY . /function", "everything is copied"),
    "tools in the last stage": ("\nUSER ", "\nRUN apt-get install --yes curl\nUSER ", "fetched in the last stage"),
    "one stage": ("FROM ${PYTHON_IMAGE}\n", "", "not two stages"),
    "a base of its own": ("FROM ${PYTHON_IMAGE}\n", "FROM python:3.12\n", "the base cannot be chosen"),
    "the latest base": ("python:3.12-slim-bookworm", "python:latest", "a different one each day"),
    "bytecode by time": (" unchecked-hash", " timestamp", "compared with its source"),
    "a home that cannot be written to": ("HOME=/tmp", "HOME=/function", "home cannot be written to"),
}


def test_the_image_is_small_checked_and_runs_as_nobody() -> None:
    assert mistakes(DOCKERFILE) == []


@pytest.mark.parametrize(("text", "becomes", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_dockerfile_is_found(text: str, becomes: str, said: str) -> None:
    assert text in DOCKERFILE
    found = mistakes(DOCKERFILE.replace(text, becomes, 1))
    assert any(said in words for words in found), found


def test_what_the_image_copies_is_there_and_let_in() -> None:
    let_in = [line[1:] for line in (TOP / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    variables = {
        name: default
        for of in instructions(DOCKERFILE)
        if of.name == "ARG"
        for name, _, default in [of.words.partition("=")]
    }
    copied = [
        re.sub(r"\$\{(\w+)\}", lambda match: variables[match[1]], of.words.split()[0])
        for of in instructions(DOCKERFILE)
        if of.name == "COPY" and not of.words.startswith("--from")
    ]
    assert copied == ["requirements-container.txt", "function", "infra/container/vaultbell"]
    assert all((TOP / path).exists() for path in copied)
    assert let_in == ["function", "infra/container/vaultbell", "requirements*.txt"]


def test_the_image_has_what_the_function_and_the_consumer_need_as_the_tests_had_it() -> None:
    runtime, image, dev = (_pins(f"requirements{name}.txt") for name in ("", "-container", "-dev"))
    assert runtime < image <= dev
    assert {pin.partition("==")[0] for pin in image - runtime} >= {"kombu", "redis"}
    requirements = (TOP / "requirements-container.txt").read_text("utf-8").replace("\\\n", " ").splitlines()
    assert [line for line in requirements if not line.startswith("#") and "--hash=sha256:" not in line] == []


def _pins(name: str) -> set[str]:
    return set(re.findall(r"^[a-z0-9-]+==[\w.]+", (TOP / name).read_text("utf-8"), re.MULTILINE))


def test_the_images_command_is_the_one_that_is_installed() -> None:
    launcher = CONTAINER / "vaultbell"
    assert os.access(launcher, os.X_OK)
    assert launcher.read_text("utf-8").startswith("#!/opt/vaultbell/bin/python\n")
    asked = [sys.executable, str(launcher), "--help"]
    done = subprocess.run(
        asked, env=environment({"PYTHONPATH": str(TOP / "function")}), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "consume" in done.stdout


@pytest.mark.parametrize("service", ["function", "consumer"])
def test_the_try_outs_settings_are_right(service: str) -> None:
    given = settings.load(COMPOSE["services"][service]["environment"])
    assert list(given.channels) == ["email"]


def test_the_try_out_takes_images_by_version_and_opens_loopback_alone() -> None:
    for name, service in COMPOSE["services"].items():
        assert re.fullmatch(r"[\w./-]+:(v?\d[\w.-]*|try-out[\w-]*)", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    for name in ("function", "consumer"):
        service = COMPOSE["services"][name]
        assert service["read_only"], name
        assert service["tmpfs"] == [WRITABLE], name
        assert service["cap_drop"] == ["ALL"], name


def test_the_try_outs_cloud_starts_and_knows_the_tasks_of_the_demo() -> None:
    words = COMPOSE["services"]["cloud"]["command"]
    assert words[:2] == ["python", "/tests/standin"]
    assert "--host=0.0.0.0" in words
    changed = {"python": sys.executable, "/tests/standin": str(TOP / "tests" / "standin"), "--port=9090": "--port=0"}
    command = [changed.get(word, word) for word in words if word != "--host=0.0.0.0"]
    with subprocess.Popen([*command, "--host=127.0.0.1"], stdout=subprocess.PIPE, text=True) as cloud:
        try:
            assert cloud.stdout
            url = json.loads(cloud.stdout.readline())["url"]
            answer = requests.get(f"{url}/_standin/requests", timeout=STARTS_WITHIN)
            assert (answer.status_code, answer.json()["tokens_issued"]) == (200, 0)
        finally:
            cloud.terminate()
