"""What SECURITY.md says is so: each test that it names is there; and what a look at the code shows of the rest."""

from __future__ import annotations

import ast
import gc
import hmac
import importlib
import json
import logging
import pkgutil
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

import vaultbell
from vaultbell import compose, inbound, sources, standard_webhooks, telemetry
from vaultbell.errors import InvalidEvent
from vaultbell.events import Event
from vaultbell.settings import load

TOP = Path(__file__).parents[2]
PAGE = (TOP / "SECURITY.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py::test_\w+)`", PAGE)))
NEEDED = {
    "OS_REGION_NAME": "eu-de",
    "OS_PROJECT_ID": "0123456789abcdef0123456789abcdef",
    "OS_TOKEN": "token",
    "VAULTBELL_WEBHOOK_URL": "https://hooks.example.org/bell",
}


# The page


def test_every_test_that_the_page_names_is_there() -> None:
    assert len(NAMED) >= 50
    for file, tests in groupby(NAMED, lambda named: named.partition("::")[0]):
        tree = ast.parse((TOP / file).read_text("utf-8"))
        there = {item.name for item in tree.body if isinstance(item, ast.FunctionDef)}
        assert {named.partition("::")[2] for named in tests} <= there, file


# Supply chain


@pytest.mark.parametrize(
    "file", sorted(TOP.glob("requirements*.txt")) + sorted(TOP.glob("tests/*/requirements.txt")), ids=str
)
def test_every_requirement_is_one_version_of_known_content(file: Path) -> None:
    text = re.sub(r"\\\n\s*", "", file.read_text("utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines
    assert [line for line in lines if not re.match(r"[\w.-]+==\S+( ;[^;]+)? *--hash=sha256:[0-9a-f]{64}", line)] == []


# The rules of static analysis


def test_every_rule_of_bandits_holds_and_each_exception_has_its_reason() -> None:
    text = (TOP / "pyproject.toml").read_text("utf-8")
    lint = tomllib.loads(text)["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert [rule for rule in lint["ignore"] if re.match(r"S\d", rule)] == []
    # a file's exceptions have a comment on their line
    assert [line for line in text.splitlines() if re.search(r'"S\d{3}"', line) and "  # " not in line] == []
    bare = []
    for path in (path for folder in ("function", "infra", "tests") for path in (TOP / folder).rglob("*.py")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            if re.search(r"# noqa:[^-]*\bS\d{3}", line) and not re.search(r"# noqa: [A-Z0-9, ]+ - \w", line):
                bare.append(f"{path.relative_to(TOP)}:{number}")
    assert bare == []


# Timing


def test_proofs_are_compared_in_constant_time_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    keeper = inbound.Doorkeeper("the-token")
    with pytest.raises(InvalidEvent):  # though it is the right one: nothing but that comparison has a say
        keeper.knows({"x-vaultbell-token": "the-token", "authorization": "Bearer the-toke"}, ["the-token"])
    assert compared == [(b"the-token", given) for given in (b"the-token", b"the-toke", b"the-token")]
    key, compared[:] = b"k" * 32, []
    headers = standard_webhooks.sign([key], "msg_1", 1_795_420_860, b"{}")
    with pytest.raises(InvalidEvent):
        standard_webhooks.verify([key], headers, b"{}", 1_795_420_860)
    assert compared == [(headers["webhook-signature"].encode(),) * 2]


# A signature for one message is none for another


@pytest.mark.parametrize(
    "message_id", ["msg_1", "a.1795420860", "1795420860.1795420860", "evt.1795420860.x", ".", "a."]
)
def test_a_signed_message_cannot_be_cut_into_another_id_time_and_body(message_id: str) -> None:
    key, at = b"k" * 32, 1_795_420_860
    body = b'{"operation_log_id": "00000000-0000-4000-8000-000000000004", "a": 1.5}'
    signed = standard_webhooks.sign([key], message_id, at, body)
    whole = b"%b.%d.%b" % (message_id.encode(), at, body)
    dots = [place for place, byte in enumerate(whole) if byte == ord(".")]
    understood = []
    for first in dots:
        for second in (dot for dot in dots if dot > first):
            parts = whole[:first], whole[first + 1 : second], whole[second + 1 :]
            headers = signed | {"webhook-id": parts[0].decode(), "webhook-timestamp": parts[1].decode()}
            try:
                standard_webhooks.verify([key], headers, parts[2], at)
                sources.decode(Event(parts[2], trusted=True))
            except InvalidEvent:
                continue
            understood.append(parts[2])
    assert understood == [body]


# Texts that take for ever


def _patterns() -> Iterator[re.Pattern[str]]:
    """Every pattern of ours that is there once all is imported; those that are made on the way are below."""
    for found in pkgutil.walk_packages(vaultbell.__path__, "vaultbell."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    for name, module in list(sys.modules.items()):
        if name.startswith("vaultbell."):
            yield from (value for value in vars(module).values() if isinstance(value, re.Pattern))


def _literals() -> Iterator[re.Pattern[str]]:
    for path in (TOP / "function" / "vaultbell").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="re")) | ast.Name(id="fits"),
                    args=[ast.Constant(value=str(pattern)), *_],
                ):
                    yield re.compile(pattern)


PATTERNS = sorted({pattern.pattern: pattern for pattern in (*_patterns(), *_literals())}.items())
SIGNS = (
    "a",
    "A",
    "0",
    " ",
    "\t",
    "-",
    "_",
    ".",
    ",",
    ":",
    "/",
    "@",
    "<",
    ">",
    "(",
    "Z",
    "=",
    '"',
    "\\",
    "{",
    "${",
    "ü",
    "1:",
)
LONG = 20_000


@pytest.mark.parametrize(("text", "pattern"), PATTERNS, ids=[ascii(text)[:50] for text, _ in PATTERNS])
def test_no_text_of_a_stranger_takes_a_pattern_for_ever(text: str, pattern: re.Pattern[str]) -> None:
    del text
    gc.disable()
    try:
        for sign in SIGNS:
            for attack in (sign * LONG, sign * LONG + "\0", "2026-11-23T08:01:00" + sign * LONG + "\0"):
                began = time.process_time()
                pattern.fullmatch(attack)
                pattern.match(attack)
                # a second is a hundred times what a slow machine takes, and nothing to what a bad pattern does
                assert time.process_time() - began < 1, sign
    finally:
        gc.enable()


# At the start


def test_a_cloud_that_is_spoken_to_without_tls_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[int, str]] = []
    monkeypatch.setattr(telemetry, "log", lambda level, message, **_: said.append((level, message)))
    for more, warned in (
        ({}, False),
        ({"CBR_ENDPOINT": "https://cbr.example.org", "OS_AUTH_URL": "https://iam.example.org"}, False),
        ({"CBR_ENDPOINT": "http://cbr.example.org"}, True),
        ({"OS_AUTH_URL": "HTTP://iam.example.org/v3"}, True),
    ):
        said.clear()
        compose.start(load(NEEDED | more))
        assert any(level == logging.WARNING and "not https" in message for level, message in said) is warned
        assert not any("example.org" in message for _, message in said)


def test_a_process_that_has_started_leaves_no_core_dump() -> None:
    script = """
import json, resource
from vaultbell import compose, settings
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
compose.start(settings.load(json.loads(input())))
print(resource.getrlimit(resource.RLIMIT_CORE)[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(NEEDED) + "\n",
        env={"PYTHONPATH": str(TOP / "function")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == "0\n"
