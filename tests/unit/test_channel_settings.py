"""The settings of a channel: what each format and way of telling needs, and that mistakes are told where they stand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from vaultbell import compose, settings, values
from vaultbell.errors import SettingsError
from vaultbell.settings import AppriseChannel, Settings, WebhookChannel, load, summary

SECRET = "whsec_" + "A" * 32
CLOUD = {"OS_PROJECT_ID": "0123456789abcdef0123456789abcdef", "OS_REGION_NAME": "eu-de"}
Load = Callable[[str], Settings]


@pytest.fixture
def channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads settings with one channel of these words, `x`; they stand in line 2 of `config.yaml`."""
    monkeypatch.chdir(tmp_path)

    def loaded(words: str) -> Settings:
        (tmp_path / "config.yaml").write_text(f"channels:\n  x: {{{words}}}\n", "utf-8")
        return load({**CLOUD, "VAULTBELL_CONFIG": "config.yaml"})

    return loaded


def mistakes(channel: Load, words: str) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        channel(words)
    return raised.value.message.splitlines()


def webhook(found: Settings) -> WebhookChannel:
    held = found.channels["x"]
    assert isinstance(held, WebhookChannel)
    return held


@pytest.mark.parametrize(
    ("words", "url"),
    [
        ("format: pagerduty, routing_key: R0", "https://events.pagerduty.com/v2/enqueue"),
        ("format: pagerduty, routing_key: R0, url: 'https://events.eu.pagerduty.com/v2/enqueue'", ...),
        ("format: opsgenie, api_key: G0", "https://api.opsgenie.com/v2/alerts"),
        ("format: opsgenie, api_key: G0, url: 'https://api.eu.opsgenie.com/v2/alerts'", ...),
        ("format: alertmanager, url: 'http://am:9093/api/v2/alerts'", ...),
    ],
)
def test_a_receiver_that_has_one_address_needs_none(channel: Load, words: str, url: object) -> None:
    found = webhook(channel(f"type: webhook, {words}")).url.get_secret_value()
    assert found == url if isinstance(url, str) else found in words


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("format: pagerduty", "routing_key: is missing: pagerduty takes nothing without it"),
        ("format: opsgenie", "api_key: is missing: opsgenie takes nothing without it"),
        ("format: pagerduty, routing_key: ''", "routing_key: printable ASCII without blanks is wanted"),
        ("format: opsgenie, api_key: 'a b'", "api_key: printable ASCII without blanks is wanted"),
        ("format: alertmanager", "url: is missing"),
        ("format: slack", "url: is missing"),
        ("format: teams", "url: is missing"),
        ("format: discord", "url: is missing"),
        ("format: cloudevent", "url: is missing"),
        ("url: 'https://a.example', routing_key: hidden", "routing_key: belongs to format: pagerduty"),
        ("url: 'https://a.example', format: slack, api_key: hidden", "api_key: belongs to format: opsgenie"),
        ("url: 'https://a.example', format: teams, expires: 1d", "expires: belongs to format: alertmanager"),
        ("url: 'https://a.example', format: alertmanager, expires: never", "expires: a duration is 90s"),
        (
            "url: 'https://a.example', format: alertmanager, digest: true",
            "digest: an incident is never part of a digest",
        ),
        ("format: pagerduty, routing_key: k, roll_call: true", "roll_call: a roll call is no incident"),
        ("format: slack, url: 'https://a.example', roll_call: perhaps", "roll_call: true or false is wanted"),
        ("format: opsgenie, api_key: k, url: 'https://a.example/?x=1'", "url: an address without ? and # is wanted"),
        ("url: 'https://a.example', format: smoke", f"format: one of these is wanted: {', '.join(settings.FORMATS)}"),
        ("url: 'https://a.example', format: [slack]", "format: a text is wanted"),
    ],
)
def test_a_mistake_names_file_line_and_key(channel: Load, words: str, told: str) -> None:
    (line,) = mistakes(channel, f"type: webhook, {words}")
    assert line.startswith(f"config.yaml:2: channels.x.{told}")
    assert "hidden" not in line


def test_all_mistakes_of_a_channel_are_told_at_once(channel: Load) -> None:
    lines = mistakes(channel, "type: webhook, format: slack, routing_key: hidden, expires: 1d, digest: perhaps")
    assert [line.split(": ")[0:2] for line in lines] == [
        ["config.yaml:2", f"channels.x.{key}"] for key in ("url", "routing_key", "expires", "digest")
    ]


def test_an_alert_lasts_a_week_unless_said_otherwise(channel: Load) -> None:
    words = "type: webhook, format: alertmanager, url: 'http://am/api/v2/alerts'"
    assert webhook(channel(words)).expires is None
    assert timedelta(days=7) == settings.EXPIRES
    assert webhook(channel(f"{words}, expires: 36h")).expires == timedelta(hours=36)


@pytest.mark.parametrize(
    ("words", "digests"),
    [
        ("format: default", False),
        ("format: default, digest: true", True),
        ("format: cloudevent", False),
        ("format: cloudevent, digest: true", True),
        ("format: slack", True),
        ("format: teams", True),
        ("format: discord", True),
        ("format: discord, digest: false", False),
        ("format: alertmanager", False),
        ("format: pagerduty, routing_key: k", False),
        ("format: opsgenie, api_key: k", False),
    ],
)
def test_chats_digest_and_incidents_never_do(channel: Load, words: str, digests: bool) -> None:
    found = channel(f"type: webhook, url: 'https://a.example', digest_over: 3, {words}")
    assert compose.bell(found).digest_over == ({"x": 3} if digests else {})


def test_mail_and_apprise_digest(channel: Load) -> None:
    mail = channel("type: email, smtp: 'smtp://mx.example.org', from: a@example.org, to: b@example.org")
    assert compose.bell(mail).digest_over == {"x": 10}
    assert compose.bell(channel("type: apprise, url: 'json://a.example'")).digest_over == {"x": 10}


@pytest.mark.parametrize(("words", "told"), [("", set()), (", roll_call: true", {"x"}), (", roll_call: false", set())])
def test_only_a_channel_that_asks_for_roll_calls_has_them(channel: Load, words: str, told: set[str]) -> None:
    bell = compose.bell(channel(f"type: webhook, url: 'https://a.example'{words}"))
    assert set(bell.roll_call) == told
    assert bell.roll_period == timedelta(hours=24)


def test_every_format_has_a_place_in_one_group() -> None:
    groups = (settings.OWN_FORMATS, settings.INCIDENT_FORMATS, settings.CHAT_FORMATS)
    assert sorted(settings.FORMATS) == sorted(name for group in groups for name in group)
    assert len(set(settings.FORMATS)) == len(settings.FORMATS)
    assert set(settings.BELONGS.values()) | settings.ADDRESSES.keys() <= set(settings.FORMATS)


def test_the_keys_of_receivers_are_secrets(channel: Load) -> None:
    for words in ("format: pagerduty, routing_key: hidden-1", "format: opsgenie, api_key: hidden-1"):
        found = channel(f"type: webhook, {words}")
        assert "hidden" not in f"{found!r} {found} {summary(found)}"
        assert "hidden-1" in found.known_secrets()


# Apprise --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "number"), [("'slack://a/b/c'", 1), ("['slack://a/b/c', 'tgram://123:abc/4?format=text']", 2)]
)
def test_apprise_takes_one_address_or_several(channel: Load, url: str, number: int) -> None:
    found = channel(f"type: apprise, url: {url}, resolve: true").channels["x"]
    assert isinstance(found, AppriseChannel)
    assert len(found.urls) == number
    assert found.resolve is True


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "url: is missing"),
        ("url: []", "url: at least one is wanted"),
        ("url: hidden", "url[0]: an Apprise address is service://"),
        ("url: 'slack://hid den'", "url[0]: an Apprise address is service://"),
        ("url: ['slack://a', 5]", "url[1]: a text is wanted: quote it"),
        ("url: 'slack://a', allow_private: false", "allow_private: is not known here"),
        ("url: 'slack://a', ca_file: /x", "ca_file: is not known here"),
        ("url: 'slack://a', proxy: 'http://p'", "proxy: is not known here"),
    ],
)
def test_what_would_not_bind_apprise_is_not_taken(channel: Load, words: str, told: str) -> None:
    (line,) = mistakes(channel, f"type: apprise, {words}")
    assert line.startswith(f"config.yaml:2: channels.x.{told}")
    assert "hid" not in line


def test_without_the_extra_the_start_stops_and_names_it(channel: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "find_spec", lambda _name: None)
    (line,) = mistakes(channel, "type: apprise, url: 'slack://hidden'")
    told = "config.yaml:2: channels.x.type: apprise is not installed: it comes with the extra vaultbell[apprise]"
    assert line == told


def test_an_apprise_address_is_a_secret_from_end_to_end(channel: Load) -> None:
    found = channel("type: apprise, url: ['tgram://hidden1:hidden2/hidden3?x=hidden4', 'slack://hidden5/hidden6']")
    assert "hidden" not in f"{found!r} {found} {summary(found)}"
    assert {f"hidden{number}" for number in range(1, 7)} <= set(found.known_secrets())
    assert summary(found)["channels"] == {"x": {"type": "apprise", "services": ["tgram", "slack"]}}
