"""The setting of the shared store: what is understood, what is refused at the start, and what it costs until used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from serving import FUNCTION
from vaultbell import values
from vaultbell.errors import SettingsError
from vaultbell.settings import load, summary

ENVIRON = {
    "OS_PROJECT_ID": "0123456789abcdef0123456789abcdef",
    "OS_REGION_NAME": "eu-de",
    "VAULTBELL_WEBHOOK_URL": "https://hooks.example.org/in",
}


def refused(url: str) -> str:
    with pytest.raises(SettingsError) as raised:
        load({**ENVIRON, "VAULTBELL_SEEN_URL": url})
    return raised.value.message


@pytest.mark.parametrize(
    "url",
    [
        "redis://seen.example.org",
        "redis://seen.example.org/",
        "redis://:p%40ss@seen.example.org:6380/15",
        "redis://user:password@[2001:db8::1]?db=2",
        "rediss://seen.example.org/0?ssl_ca_certs=/etc/ssl/ours.pem",
    ],
)
def test_every_address_of_a_redis_is_taken(url: str) -> None:
    found = load({**ENVIRON, "VAULTBELL_SEEN_URL": url}).seen_url
    assert found
    assert found.get_secret_value() == url


def test_the_log_of_the_start_names_its_host_alone() -> None:
    found = load({**ENVIRON, "VAULTBELL_SEEN_URL": "redis://user:m4rker@seen.example.org/3"})
    assert summary(found)["seen_store"] == "seen.example.org"
    assert "m4rker" not in str(summary(found))
    assert summary(load(ENVIRON))["seen_store"] is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memcached://seen.example.org", "an address is redis:// or rediss:// and a host"),
        ("seen.example.org:6379", "an address is redis:// or rediss:// and a host"),
        ("redis:///0", "an address is redis:// or rediss:// and a host"),
        ("redis://seen.example.org/m4rker", "what follows the host is a database's number"),
        ("redis://seen.example.org/1/2", "what follows the host is a database's number"),
        ("redis://seen.example.org?db=", "what follows the host is a database's number"),
        ("redis://seen.example.org?db=m4rker", "what follows the host is a database's number"),
        ("redis://seen.example.org?m4rker=1", "only these may follow the host and its number: db"),
        ("redis://seen.example.org?ssl_ca_certs=m4rker", "only these may follow the host and its number: db"),
        ("redis://seen.example.org#m4rker", "only these may follow the host and its number: db"),
    ],
)
def test_a_mistake_in_it_is_told_at_the_start_without_its_value(url: str, words: str) -> None:
    told = refused(url)
    assert told.startswith(f"VAULTBELL_SEEN_URL: {words}")
    assert "m4rker" not in told


def test_without_the_extra_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "find_spec", lambda _name: None)
    told = refused("redis://seen.example.org")
    assert told.startswith("VAULTBELL_SEEN_URL: redis is not installed")
    assert "vaultbell[redis]" in told
    assert load(ENVIRON).seen_url is None


def test_until_the_first_ring_nothing_is_imported_or_asked_for_it() -> None:
    code = """
import sys
made = []
sys.addaudithook(lambda event, args: event.startswith(("socket.connect", "socket.getaddrinfo")) and made.append(event))
from vaultbell import compose, settings
compose.channels(settings.load(dict(argument.split("=", 1) for argument in sys.argv[1:])))
print(made, [name for name in sys.modules if name.startswith("redis")])
"""
    environ = ENVIRON | {"VAULTBELL_SEEN_URL": "redis://seen.example.org"}
    arguments = [f"{name}={value}" for name, value in environ.items()]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=FUNCTION, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[] []\n"
