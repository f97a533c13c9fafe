"""Settings, whatever stands in them: something that can be put together, or mistakes with places and no values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from told import FAILED
from vaultbell import compose, settings
from vaultbell.errors import SettingsError
from vaultbell.raw_settings import CONFIG, VARIABLES
from vaultbell.routing import select
from vaultbell.settings import MATCHED, SEVERITIES, Settings, load

MARK = "zq7-offence"
SECRET = "whsec_" + "A" * 32
SOUND = {
    "OS_PROJECT_ID": "0123456789abcdef" * 2,
    "OS_REGION_NAME": "eu-de",
    "OS_TOKEN": "t0ken",
    "VAULTBELL_WEBHOOK_URL": "https://hooks.example.org/bell",
}
# What an environment can hold: no NUL, and bytes that are no UTF-8 as halves of surrogate pairs.
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from("\udc80\udcff\n\u202e"), max_size=30
)
NEARLY = st.sampled_from(
    [
        *("https://[::1", "http://h:99999/", "https://u:p@h/x?y#z", "ftp://h", "smtp://h?tls=off", "smtps://a:b@h:0"),
        *("15m", "0s", "367d", "-1", "1e9", "9" * 400, "true", "false", "functiongraph", "leave", "Europe/Berlin"),
        *("../../etc/passwd", "a@b.example, c <d@e.example>", SECRET, f"{SECRET} {SECRET}", "whsec_", "redis://h/1"),
        *(SOUND["OS_PROJECT_ID"], f"{SOUND['OS_PROJECT_ID']}@eu-nl", "urn:smn:eu-de:" + "0" * 32 + ":t", " ", ","),
    ]
)
ENVIRONMENTS = st.dictionaries(st.sampled_from(sorted(VARIABLES)), NEARLY | TEXTS, max_size=8)


def judged(environ: Mapping[str, str]) -> Settings | list[str]:
    """The settings, or the lines of what is wrong with them."""
    try:
        return load(environ)
    except SettingsError as error:
        return error.message.split("\n")


def is_sound(found: Settings) -> None:
    """Hold that everything can be put together, and that the log of the start shows no secret."""
    compose.bell(found)
    shown = json.dumps(settings.summary(found))
    assert not [secret for secret in found.known_secrets() if len(secret) > 8 and f'"{secret}"' in shown]
    told = select(FAILED, found.routes)
    assert {*told.channels, *told.fallbacks.values()} <= set(found.channels)
    assert not told.broken


@given(ENVIRONMENTS)
def test_whatever_the_environment_says_is_composed_or_refused_by_its_variables(environ: dict[str, str]) -> None:
    found = judged(SOUND | environ)
    if isinstance(found, Settings):
        is_sound(found)
    else:
        known = {*VARIABLES, CONFIG}
        assert [line for line in found if line.partition(": ")[0] not in known] == []


@pytest.mark.parametrize("name", sorted(VARIABLES))
@given(where=st.sampled_from(["{}", "https://{}/ ", "smtp://x:{}@h:0", "whsec_{}", "{}\n", "a{}@", "${{{}}}"]))
def test_no_mistake_shows_the_value_that_is_one(name: str, where: str) -> None:
    found = judged(SOUND | {name: where.format(MARK)})
    if isinstance(found, list):
        assert not [line for line in found if MARK in line]


# Files ----------------------------------------------------------------------------------------------------------------

KEYS = st.sampled_from(
    [
        *("channels", "routes", "outcomes", "digest_over", "a", "b", "type", "url", "secrets", "format", "routing_key"),
        *(
            "api_key",
            "expires",
            "digest",
            "resolve",
            "proxy",
            "allow_private",
            "smtp",
            "from",
            "to",
            "match",
            "fallback",
        ),
        *("continue", "deadlines", "severity", "ring", "repeat_interval", "default", "backup", *MATCHED),
    ]
)
WORDS = st.sampled_from(
    [
        *("webhook", "email", "apprise", "pagerduty", "opsgenie", "slack", "${OS_TOKEN}", "${", "$${", "${file:/x}"),
        *("a", "b", "webhook", "*", "prod-?", *SEVERITIES, "critical", "24h", "bell@example.org"),
    ]
)
ODD = st.recursive(
    NEARLY
    | WORDS
    | st.text(max_size=8)
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
CHANNELS = st.fixed_dictionaries(
    {"type": st.sampled_from(["webhook", "email", "apprise"])},
    optional={
        "url": st.just("https://h.example/x") | ODD,
        "format": st.sampled_from(settings.FORMATS) | ODD,
        "routing_key": st.just("k") | ODD,
        "smtp": st.just("smtp://h?tls=off") | ODD,
        "from": st.just("a@b.example") | ODD,
        "to": st.just("a@b.example") | ODD,
        **dict.fromkeys(("api_key", "expires", "digest", "resolve", "secrets", "allow_private", "digest_over"), ODD),
    },
)
NAMES = st.sampled_from(["a", "b", "webhook"])
ROUTES = st.fixed_dictionaries(
    {"channels": st.lists(NAMES, max_size=2)},
    optional={
        "match": st.dictionaries(st.sampled_from(MATCHED), st.text(min_size=1, max_size=5) | WORDS, min_size=1) | ODD,
        "continue": st.booleans(),
        "fallback": NAMES,
    },
)
FILES = st.fixed_dictionaries(
    {},
    optional={
        "channels": st.dictionaries(NAMES, CHANNELS, max_size=2) | ODD,
        "routes": st.lists(ROUTES | ODD, max_size=3).map(lambda routes: [*routes, {"channels": ["webhook"]}]) | ODD,
        "outcomes": ODD,
        "digest_over": st.integers(-1, 20_000) | ODD,
    },
)
LINE = re.compile(r"(\S+\.yaml:\d+(: \S+)?|VAULTBELL_\w+|OS_\w+): .+")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings") / "vaultbell.yaml"


def held(file: Path, text: str) -> None:
    """Hold a file of this text to what is promised of every one."""
    file.write_text(text, "utf-8", errors="surrogatepass")
    found = judged({**SOUND, CONFIG: str(file)})
    if isinstance(found, Settings):
        is_sound(found)
    else:
        assert [line for line in found if not LINE.fullmatch(line)] == []


@given(value=FILES)
def test_a_file_is_composed_or_refused_by_its_lines(file: Path, value: Any) -> None:  # noqa: ANN401 - what YAML may hold
    held(file, yaml.safe_dump(value, allow_unicode=True))


@given(value=FILES, data=st.data())
def test_so_is_a_file_with_a_slip_of_the_pen(file: Path, value: Any, data: st.DataObject) -> None:  # noqa: ANN401
    text = yaml.safe_dump(value, allow_unicode=True)
    at = data.draw(st.integers(0, len(text)))
    slip = data.draw(
        st.sampled_from([*":-#&*!|>'\"%@`{}[],?\t\n", "!x ", "<<: ", "---\n", "\ufeff", "\x85", "&a ", "*a"])
    )
    held(file, text[:at] + slip + text[at + data.draw(st.integers(0, 3)) :])


@given(text=st.text(max_size=200))
def test_so_is_any_text(file: Path, text: str) -> None:
    held(file, text)
