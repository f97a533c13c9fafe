"""Settings: what is understood, and that every mistake is told with its place and without its value."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from vaultbell import settings
from vaultbell.channels.formats import FORMATS
from vaultbell.errors import SettingsError
from vaultbell.outcome import OutcomeName
from vaultbell.settings import EmailChannel, Settings, WebhookChannel, load, summary
from vaultbell.values import SmtpServer

PROJECT = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
SECRET = "whsec_" + "A" * 32
CLOUD = {"OS_PROJECT_ID": PROJECT, "OS_REGION_NAME": "eu-de"}
HOOK = {**CLOUD, "VAULTBELL_WEBHOOK_URL": "https://hooks.example.org/in"}
MAIL = {
    "VAULTBELL_EMAIL_TO": "ops@example.org, Night Shift <night@example.org>",
    "VAULTBELL_EMAIL_FROM": "bell@example.org",
    "VAULTBELL_SMTP_URL": "smtp://mx.example.org",
}
CHANNELS = """\
channels:
  ops: {type: webhook, url: "https://hooks.example.org/in"}
  mail: {type: email, smtp: "smtp://mx.example.org", from: bell@example.org, to: ops@example.org}
"""

WriteConfig = Callable[[str], dict[str, str]]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteConfig:
    """Writes `config.yaml` into the working directory; gives the environment that names it."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> dict[str, str]:
        (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
        return {**CLOUD, "VAULTBELL_CONFIG": "config.yaml"}

    return write


def mistakes(environ: dict[str, str]) -> list[str]:
    """The lines of the error that these settings raise."""
    with pytest.raises(SettingsError) as raised:
        load(environ)
    return raised.value.message.splitlines()


def webhook(found: Settings, name: str = "webhook") -> WebhookChannel:
    channel = found.channels[name]
    assert isinstance(channel, WebhookChannel)
    return channel


def email(found: Settings, name: str = "email") -> EmailChannel:
    channel = found.channels[name]
    assert isinstance(channel, EmailChannel)
    return channel


# Understood -----------------------------------------------------------------------------------------------------------


def test_a_webhook_address_and_a_project_are_enough() -> None:
    found = load(HOOK)
    assert webhook(found).url.get_secret_value() == "https://hooks.example.org/in"
    assert webhook(found).allow_private is True
    assert [(route.patterns, route.channels) for route in found.routes] == [({}, ("webhook",))]
    assert [(project.project_id, project.region) for project in found.projects] == [(PROJECT, None)]
    assert (found.time_budget, found.unfinished, found.digest_over, found.log_level) == (25.0, "retry", 10, "INFO")
    sweep = found.sweep
    assert (sweep.period, sweep.lag, sweep.lookback, sweep.history) == (
        timedelta(minutes=15),
        timedelta(minutes=5),
        1,
        timedelta(days=7),
    )


def test_all_variables_arrive() -> None:
    found = load(
        {
            **HOOK,
            **MAIL,
            "VAULTBELL_WEBHOOK_SECRET": f"{SECRET} whsec_{'B' * 32}",
            "VAULTBELL_ALLOW_PRIVATE": "no",
            "VAULTBELL_INBOUND_TOKEN": "let-me-in",
            "VAULTBELL_INBOUND_SECRET": SECRET,
            "VAULTBELL_PROJECTS": f"{PROJECT.upper()}, {OTHER}@eu-nl",
            "VAULTBELL_SMN_TOPICS": f"urn:smn:eu-de:{PROJECT}:cbr,urn:smn:eu-nl:{OTHER}:cbr_2",
            "VAULTBELL_UNFINISHED": "leave",
            "VAULTBELL_TIME_BUDGET": "1.5m",
            "VAULTBELL_PLATFORM": "functiongraph",
            "VAULTBELL_SWEEP_PERIOD": "1h",
            "VAULTBELL_SWEEP_LAG": "90",
            "VAULTBELL_SWEEP_LOOKBACK": "3",
            "VAULTBELL_SWEEP_HISTORY": "2d",
            "VAULTBELL_ROLL_CALL": "7d",
            "VAULTBELL_HEARTBEAT_URL": "https://beat.example.org/x",
            "VAULTBELL_REPLY_EVENTS": "on",
            "VAULTBELL_HISTORY": "off",
            "VAULTBELL_SEEN_URL": "redis://:pw@seen.example.org/0",
            "VAULTBELL_TZ": "Europe/Berlin",
            "VAULTBELL_LOG_LEVEL": "debug",
            "CBR_ENDPOINT": "http://127.0.0.1:8080",
            "OS_AUTH_URL": "https://iam.example.org/v3",
            "OS_USERNAME": "bell",
            "OS_PASSWORD": " blanks are part of it ",
            "OS_USER_DOMAIN_NAME": "OTC0001",
        }
    )
    assert len(webhook(found).secrets) == 2
    assert webhook(found).allow_private is False
    assert email(found).to == ("ops@example.org", "Night Shift <night@example.org>")
    assert found.routes[0].channels == ("webhook", "email")
    assert [(project.project_id, project.region) for project in found.projects] == [(PROJECT, None), (OTHER, "eu-nl")]
    assert len(found.smn_topics) == 2
    assert (found.unfinished, found.time_budget, found.platform) == ("leave", 90.0, "functiongraph")
    assert (found.sweep.period, found.sweep.lag) == (timedelta(hours=1), timedelta(seconds=90))
    assert (found.sweep.lookback, found.sweep.history) == (3, timedelta(days=2))
    assert found.roll_call == timedelta(days=7)
    assert found.heartbeat_url
    assert found.seen_url
    assert (found.reply_events, found.tz, found.log_level) == (True, "Europe/Berlin", "DEBUG")
    assert found.history is False
    assert found.inbound_token
    assert len(found.inbound_secrets) == 1
    assert found.cloud.password
    assert found.cloud.password.get_secret_value() == " blanks are part of it "
    assert (found.cloud.endpoint, found.cloud.username) == ("http://127.0.0.1:8080", "bell")


def test_the_file_of_the_design_is_understood(config: WriteConfig) -> None:
    environ = config(
        """\
channels:
  ops:     {type: webhook, url: "${OPS_URL}", secrets: ["${OPS_SECRET}"]}
  mail:    {type: email, smtp: "${SMTP_URL}", from: bell@example.org, to: [ops@example.org]}
routes:                                   # first match wins, unless `continue: true`
  - match: {outcome: [failed, timed_out, overdue], vault_name: "prod-*"}
    channels: [ops]
    fallback: mail
    continue: true
  - channels: [mail]                      # the last route matches everything
outcomes:
  deadlines: {backup: 24h, restore: 12h, default: 2d}
  severity: {partial: critical}
  ring: [failed, timed_out, overdue, partial, skipped, unknown, missing, unverified]
  repeat_interval: 12h
digest_over: 20
"""
    )
    found = load(
        {
            **environ,
            "OPS_URL": "https://u:p@hooks.example.org/x",
            "OPS_SECRET": SECRET,
            "SMTP_URL": "smtps://bell:p%40ss@mx.example.org",
        }
    )
    first, last = found.routes
    assert first.patterns == {"outcome": ("failed", "timed_out", "overdue"), "vault_name": ("prod-*",)}
    assert (first.channels, first.fallback, first.continue_) == (("ops",), "mail", True)
    assert (last.patterns, last.channels, last.fallback, last.continue_) == ({}, ("mail",), None, False)
    assert email(found, "mail").server == SmtpServer("mx.example.org", 465, "bell", "p@ss", "implicit")
    assert found.digest_over == 20
    rules = found.outcomes
    assert rules.deadline_of("restore") == timedelta(hours=12)
    assert rules.deadline_of("sync") == rules.deadline_of(None) == timedelta(days=2)
    assert rules.severity_of("partial") == rules.severity_of("failed") == "critical"
    assert rules.repeat_interval == timedelta(hours=12)


def test_the_vaults_to_watch_are_named_one_after_the_other(config: WriteConfig) -> None:
    assert load(HOOK).watch == ()
    found = load(config(f'{CHANNELS}watch: [{{vault: "prod-*", max_age: 26h}}, {{vault: "*", max_age: 8d}}]'))
    assert [(rule.vault, rule.max_age) for rule in found.watch] == [
        ("prod-*", timedelta(hours=26)),
        ("*", timedelta(days=8)),
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[]", ["config.yaml:4: watch: at least one is wanted"]),
        ("{vault: a, max_age: 26h}", ["config.yaml:4: watch: a list is wanted"]),
        ("[{vault: a}]", ["config.yaml:4: watch[0].max_age: is missing"]),
        (
            "[{vault: '', max_age: 26, maxage: 1h}]",
            ["config.yaml:4: watch[0].vault: is empty", "config.yaml:4: watch[0].maxage: is not known here"],
        ),
        (
            "[{vault: 7, max_age: 400d}]",
            [
                "config.yaml:4: watch[0].vault: a text is wanted: quote it",
                "config.yaml:4: watch[0].max_age: a duration is 90s, 15m, 24h, 7d or seconds, above 0 and 366d at most",
            ],
        ),
        (
            "[{vault: '*', max_age: 1d}, {vault: a, max_age: 2d}]",
            ["config.yaml:4: watch[0]: takes every vault, and the rules after it are never reached"],
        ),
    ],
)
def test_a_mistake_in_what_is_watched_stops_the_start(config: WriteConfig, text: str, wanted: list[str]) -> None:
    assert mistakes(config(f"{CHANNELS}watch: {text}\n")) == wanted


def test_outcomes_are_as_the_design_says_unless_set() -> None:
    rules = load(HOOK).outcomes
    assert [name for name in OutcomeName if not rules.rings(name)] == ["succeeded", "running"]
    assert [name for name in OutcomeName if rules.severity_of(name) == "critical"] == [
        "failed",
        "timed_out",
        "overdue",
        "stale",
        "unverified",
    ]
    assert rules.deadline_of("backup") == timedelta(hours=24)


def test_the_words_here_are_those_of_the_code_that_uses_them() -> None:
    assert set(settings.SEVERITIES) == set(OutcomeName)
    assert set(settings.FORMATS) == set(FORMATS)


def test_without_routes_all_channels_hear_everything(config: WriteConfig) -> None:
    found = load({**config(CHANNELS), **HOOK})
    assert [route.channels for route in found.routes] == [("ops", "mail", "webhook")]


def test_a_channel_of_the_environment_can_be_on_the_routes_of_the_file(config: WriteConfig) -> None:
    found = load({**config("routes: [{channels: [webhook]}]"), **HOOK})
    assert found.routes[0].channels == ("webhook",)


def test_a_route_may_ask_for_the_past_by_a_number_or_a_condition(config: WriteConfig) -> None:
    found = load(
        config(
            CHANNELS + "routes:\n- channels: [ops]\n  match: {failures_in_row: 3, last_good_age: '> 26h'}\n"
            "- channels: [mail]\n"
        )
    )
    assert found.routes[0].patterns == {"failures_in_row": ("3",), "last_good_age": ("> 26h",)}
    assert found.matches_past
    assert not load(config(CHANNELS)).matches_past


def test_a_route_may_tell_nobody(config: WriteConfig) -> None:
    routes = "routes:\n- {match: {vault_name: test}, channels: []}\n- {channels: [ops]}"
    assert load(config(CHANNELS + routes)).routes[0].channels == ()


def test_empty_variables_are_unset() -> None:
    found = load({**HOOK, "VAULTBELL_WEBHOOK_SECRET": "", "VAULTBELL_TZ": " ", "VAULTBELL_CONFIG": "", "OS_TOKEN": ""})
    assert (webhook(found).secrets, found.tz, found.cloud.token) == ((), None, None)


@pytest.mark.parametrize(
    "name",
    [
        "VAULTBELL_SERVICE_HOST",
        "VAULTBELL_SERVICE_PORT",
        "VAULTBELL_SERVICE_PORT_HTTP",
        "VAULTBELL_PORT_8080_TCP",
        "VAULTBELL_PORT_8080_TCP_ADDR",
        "VAULTBELL_CONSUMER_SERVICE_PORT_HTTP",
        "VAULTBELL_CONSUMER_PORT_53_UDP_PROTO",
        "VAULTBELL_PORT",
        "VAULTBELL_SWEEP_PORT",
        "VAULTBELL_TEST_ANYTHING",
    ],
)
def test_what_kubernetes_sets_for_services_is_no_mistake(name: str) -> None:
    load({**HOOK, name: "tcp://10.0.0.1:8080"})


def test_the_platform_names_the_project_where_nobody_else_does() -> None:
    environ = {**HOOK, "OS_PROJECT_ID": "", "RUNTIME_PROJECT_ID": OTHER}
    assert [project.project_id for project in load(environ).projects] == [OTHER]
    assert load({**environ, "OS_PROJECT_ID": PROJECT}).projects[0].project_id == PROJECT
    user = {"OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_USER_DOMAIN_NAME": "d"}
    assert load({**environ, **user, "OS_PROJECT_NAME": "eu-de_backups"}).projects == ()


def test_regions_of_projects_make_the_default_one_needless() -> None:
    environ = {**HOOK, "OS_REGION_NAME": "", "VAULTBELL_PROJECTS": f"{PROJECT}@eu-de,{OTHER}@eu-nl"}
    assert load(environ).cloud.region is None
    assert load({**HOOK, "OS_REGION_NAME": "", "CBR_ENDPOINT": "https://cbr.example.org"}).cloud.region is None


def test_proxies_are_told_by_their_hosts_alone() -> None:
    environ = {**HOOK, "https_proxy": "http://u:hidden@proxy.example.org:3128", "NO_PROXY": "127.0.0.1"}
    told = summary(load(environ))
    assert told["proxies"] == {"HTTPS_PROXY": "proxy.example.org", "NO_PROXY": "127.0.0.1"}
    assert summary(load({**HOOK, "HTTPS_PROXY": "http://[hidden"}))["proxies"] == {"HTTPS_PROXY": "?"}


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mx.example.org", SmtpServer("mx.example.org", 587, None, None, "starttls")),
        ("smtp://mx.example.org:25/?tls=off", SmtpServer("mx.example.org", 25, None, None, "off")),
        ("smtp://b%40x:p%2Fw%3A%C3%A4@mx:2525", SmtpServer("mx", 2525, "b@x", "p/w:ä", "starttls")),
        ("smtps://mx.example.org", SmtpServer("mx.example.org", 465, None, None, "implicit")),
        ("smtp://[::1]:25", SmtpServer("::1", 25, None, None, "starttls")),
    ],
)
def test_smtp_addresses(url: str, server: SmtpServer) -> None:
    assert SmtpServer.of(url) == server


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1:9000/x", "https://[::1]/x", "https://bücher.example/x?y=z", "HTTPS://A"]
)
def test_webhook_addresses(url: str) -> None:
    assert webhook(load({**HOOK, "VAULTBELL_WEBHOOK_URL": url})).url.get_secret_value() == url


# Files and references -------------------------------------------------------------------------------------------------


def test_references_are_replaced_wherever_a_text_may_stand(config: WriteConfig, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\r\n")
    environ = config(
        f"""\
channels:
  ops: {{type: webhook, url: "https://${{HOST}}/$${{x}}/${{WORD}}", secrets: "${{file:{tmp_path}/key}}"}}
digest_over: ${{MANY}}
"""
    )
    found = load({**environ, "HOST": "hooks.example.org", "MANY": "7", "WORD": "${HOST}"})
    assert webhook(found, "ops").url.get_secret_value() == "https://hooks.example.org/${x}/${HOST}"  # not once more
    assert webhook(found, "ops").secrets[0].get_secret_value() == SECRET
    assert found.digest_over == 7


def test_a_replaced_value_cannot_become_yaml(config: WriteConfig) -> None:
    environ = config(CHANNELS + 'routes: [{match: {vault_name: "${NAME}"}, channels: [ops]}, {channels: [ops]}]')
    assert load({**environ, "NAME": "[a, b]\nx: y"}).routes[0].patterns == {"vault_name": ("[a, b]\nx: y",)}


@pytest.mark.parametrize("name", ["OS_TOKEN", "OS_ACCESS_KEY", "VAULTBELL_INBOUND_TOKEN"])
def test_values_may_stand_in_files(name: str, tmp_path: Path) -> None:
    (tmp_path / "value").write_text("from-the-file\n")
    pair = {"OS_SECRET_KEY": "k"} if name == "OS_ACCESS_KEY" else {}
    assert "from-the-file" in load({**HOOK, **pair, f"{name}_FILE": str(tmp_path / "value")}).known_secrets()


@pytest.mark.parametrize(
    "name",
    ["WEBHOOK_URL", "WEBHOOK_SECRET", "SMTP_URL", "INBOUND_TOKEN", "INBOUND_SECRET", "HEARTBEAT_URL", "SEEN_URL"],
)
def test_every_secret_variable_may_be_given_by_a_file(name: str, tmp_path: Path) -> None:
    assert mistakes({**CLOUD, f"VAULTBELL_{name}_FILE": f"{tmp_path}/none"}) == [
        f"VAULTBELL_{name}_FILE: the file {tmp_path}/none cannot be read: No such file or directory"
    ]


def test_a_value_and_its_file_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "value").write_text("x")
    environ = {**HOOK, "OS_TOKEN": "y", "OS_TOKEN_FILE": str(tmp_path / "value")}
    assert mistakes(environ) == ["OS_TOKEN: is given twice, the other time by OS_TOKEN_FILE"]


def test_a_ca_file_is_looked_at_before_the_start(config: WriteConfig) -> None:
    environ = config(
        """\
channels:
  one: {type: webhook, url: "https://a.example.org", ca_file: none.pem}
  two: {type: webhook, url: "https://b.example.org", ca_file: config.yaml}
"""
    )
    assert mistakes(environ) == [
        "config.yaml:2: channels.one.ca_file: the file none.pem cannot be read: No such file or directory",
        "config.yaml:3: channels.two.ca_file: the file config.yaml holds no certificate in PEM form",
    ]


# Mistakes in variables ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"VAULTBELL_WEBHOOK_URL": ""}, "VAULTBELL_WEBHOOK_URL: is missing: there is no channel"),
        ({"VAULTBELL_WEBHOOK_URL": "", "VAULTBELL_WEBHOOK_SECRET": SECRET}, "VAULTBELL_WEBHOOK_URL: is missing"),
        ({"VAULTBELL_EMAIL_TO": "a@example.org", "VAULTBELL_EMAIL_FROM": "a@b"}, "VAULTBELL_SMTP_URL: is missing"),
        ({**MAIL, "VAULTBELL_EMAIL_FROM": ""}, "VAULTBELL_EMAIL_FROM: is missing"),
        ({**MAIL, "VAULTBELL_EMAIL_TO": "ops"}, "VAULTBELL_EMAIL_TO: a mail address is"),
        ({**MAIL, "VAULTBELL_EMAIL_TO": "a@b@c"}, "VAULTBELL_EMAIL_TO: a mail address is"),
        ({**MAIL, "VAULTBELL_EMAIL_FROM": "a@b\r\nBcc: c@d"}, "VAULTBELL_EMAIL_FROM: a mail address is"),
        ({**MAIL, "VAULTBELL_EMAIL_FROM": "X\n<a@b>"}, "VAULTBELL_EMAIL_FROM: a mail address is"),
        ({"VAULTBELL_WEBHOK_URL": "x"}, "VAULTBELL_WEBHOK_URL: is not known; is VAULTBELL_WEBHOOK_URL meant?"),
        ({"VAULTBELL_TZ_FILE": "x"}, "VAULTBELL_TZ_FILE: is not known"),
        ({"VAULTBELL_SMTP_PORT": "25"}, "VAULTBELL_SMTP_PORT: is not known"),
        ({"VAULTBELL_ALLOW_PRIVATE": "perhaps"}, "VAULTBELL_ALLOW_PRIVATE: true or false is wanted"),
        ({"VAULTBELL_PROJECTS": "eu-de"}, "VAULTBELL_PROJECTS: a project id is 32 hex digits"),
        ({"VAULTBELL_PROJECTS": f"{PROJECT},"}, "VAULTBELL_PROJECTS: a project id is 32 hex digits"),
        ({"VAULTBELL_PROJECTS": f"{PROJECT}@"}, "VAULTBELL_PROJECTS: a region is"),
        ({"VAULTBELL_PROJECTS": f"{PROJECT}@evil.example.org/"}, "VAULTBELL_PROJECTS: a region is"),
        ({"VAULTBELL_PROJECTS": f"{PROJECT},{PROJECT}@eu-nl"}, "VAULTBELL_PROJECTS: a project is named twice"),
        ({"OS_PROJECT_ID": "short"}, "OS_PROJECT_ID: a project id is 32 hex digits"),
        ({"OS_PROJECT_ID": ""}, "OS_PROJECT_ID: is missing: no project is known"),
        ({"OS_PROJECT_ID": "", "OS_PROJECT_NAME": "eu-de_x"}, "OS_PROJECT_ID: is missing: OS_PROJECT_NAME alone"),
        ({"OS_REGION_NAME": ""}, "OS_REGION_NAME: is missing: it gives the cloud's addresses"),
        ({"OS_REGION_NAME": "eu-de."}, "OS_REGION_NAME: a region is"),
        ({"OS_AUTH_URL": "iam.example.org"}, "OS_AUTH_URL: an address is http:// or https://"),
        ({"CBR_ENDPOINT": "https://u:p@cbr.example.org"}, "CBR_ENDPOINT: an endpoint is scheme, host and path alone"),
        ({"OS_ACCESS_KEY": "k"}, "OS_SECRET_KEY: is missing: OS_ACCESS_KEY is of no use without it"),
        ({"OS_SECRET_KEY": "k"}, "OS_ACCESS_KEY: is missing"),
        ({"OS_SECURITY_TOKEN": "k"}, "OS_ACCESS_KEY: is missing"),
        ({"OS_USERNAME": "u", "OS_USER_DOMAIN_NAME": "d"}, "OS_PASSWORD: is missing"),
        ({"OS_USERNAME": "u", "OS_PASSWORD": "p"}, "OS_USER_DOMAIN_NAME: is missing"),
        ({"OS_PASSWORD": "p"}, "OS_USERNAME: is missing"),
        ({"OS_TOKEN": "a\r\nX-Evil: 1"}, "OS_TOKEN: printable ASCII without blanks is wanted"),
        ({"VAULTBELL_SMN_TOPICS": "cbr"}, "VAULTBELL_SMN_TOPICS: a topic is urn:smn:"),
        ({"VAULTBELL_UNFINISHED": "wait"}, "VAULTBELL_UNFINISHED: one of these is wanted: retry, leave"),
        ({"VAULTBELL_PLATFORM": "lambda"}, "VAULTBELL_PLATFORM: one of these is wanted: functiongraph"),
        ({"VAULTBELL_LOG_LEVEL": "loud"}, "VAULTBELL_LOG_LEVEL: one of these is wanted: DEBUG"),
        ({"VAULTBELL_SWEEP_LOOKBACK": "0"}, "VAULTBELL_SWEEP_LOOKBACK: a number of at least 1 is wanted"),
        ({"VAULTBELL_SWEEP_LOOKBACK": "many"}, "VAULTBELL_SWEEP_LOOKBACK: a whole number is wanted"),
        ({"VAULTBELL_TZ": "Europe/Atlantis"}, "VAULTBELL_TZ: no time zone of this name"),
        ({"VAULTBELL_TZ": "../../etc/passwd"}, "VAULTBELL_TZ: no time zone of this name"),
        ({"VAULTBELL_TZ": "Europe"}, "VAULTBELL_TZ: no time zone of this name"),
        ({"VAULTBELL_CONFIG": "/nowhere/c.yaml"}, "VAULTBELL_CONFIG: the file /nowhere/c.yaml cannot be read: No such"),
    ],
)
def test_a_mistake_names_its_variable(changed: dict[str, str], told: str) -> None:
    (line,) = mistakes({**HOOK, **changed})
    assert line.startswith(told)


def test_a_log_in_without_a_region_must_say_where() -> None:
    environ = {**HOOK, "OS_REGION_NAME": "", "CBR_ENDPOINT": "https://cbr.example.org"}
    user = {"OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_USER_DOMAIN_NAME": "d"}
    (line,) = mistakes({**environ, **user})
    assert line.startswith("OS_AUTH_URL: is missing")
    load({**environ, **user, "OS_AUTH_URL": "https://iam.example.org/v3"})
    load({**HOOK, **user})


@pytest.mark.parametrize("text", ["0", "-5m", "5 min", "1w", "400d", "nan", "inf", "1e3", "", "٣s", "9" * 400])
def test_a_duration_that_is_none_stops_the_start(config: WriteConfig, text: str) -> None:
    (line,) = mistakes(config(CHANNELS + f'outcomes:\n  repeat_interval: "{text}"'))
    assert line.startswith("config.yaml:5: outcomes.repeat_interval: a duration is 90s, 15m, 24h, 7d or seconds")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hidden.example.org/",
        "hidden.example.org/x",
        "https://",
        "https:///hidden",
        "https://:443/hidden",
        "https://hidden.example.org:0/",
        "https://hidden.example.org:99999/",
        "https://hidden.example.org:port/",
        "https://hid den.example.org/",
        "https://hidden.example.org/a\nb",
        "https://hidden.example.org/\tx",
        "https://hidden.example.org\\@evil.example.org/",
        "https://[hidden/",
        "https://hidden..example.org/",
        f"https://{'hidden' * 12}.example.org/",
        "https://hid<den>/",
        "https://hidden.example.org/\u2028",
    ],
)
def test_an_address_that_is_none_stops_the_start_and_is_not_shown(url: str) -> None:
    (line,) = mistakes({**HOOK, "VAULTBELL_WEBHOOK_URL": url})
    assert line == "VAULTBELL_WEBHOOK_URL: an address is http:// or https:// and a host, without blanks"


@pytest.mark.parametrize(
    "url",
    [
        "http://hidden@mx",
        "smtp://hidden@mx.example.org",
        "smtp://:hidden@mx.example.org",
        "smtp://hidden:%FF@mx.example.org",
        "smtp://hidden:a%0d%0ab@mx.example.org",
        "smtp://u:hidden@mx.example.org/path",
        "smtp://u:hidden@mx.example.org?tls=no",
        "smtp://u:hidden@mx.example.org?tls=off&x=y",
        "smtps://u:hidden@mx.example.org?tls=off",
    ],
)
def test_an_smtp_address_that_is_none_stops_the_start_and_is_not_shown(url: str) -> None:
    (line,) = mistakes({**HOOK, **MAIL, "VAULTBELL_SMTP_URL": url})
    assert line.startswith("VAULTBELL_SMTP_URL: ")
    assert "hidden" not in line


@pytest.mark.parametrize(
    "secret", ["hidden", "whsec_hidden", "whsec_" + "A" * 31, "whsec_" + "A" * 28, "whsec_" + "A" * 92]
)
@pytest.mark.parametrize("name", ["VAULTBELL_WEBHOOK_SECRET", "VAULTBELL_INBOUND_SECRET"])
def test_a_secret_that_is_none_stops_the_start_and_is_not_shown(name: str, secret: str) -> None:
    assert mistakes({**HOOK, name: f"{SECRET} {secret}"}) == [
        f"{name}: a secret is `whsec_` and the base64 of 24 to 64 bytes"
    ]


def test_all_mistakes_are_told_at_once(config: WriteConfig) -> None:
    environ = config(
        """\
channels:
  ops: {type: webhook, url: "${NOWHERE}", digest: maybe}
  mail:
    type: email
    smtp: "smtp://mx.example.org"
    to: [ops@example.org, nobody]
digest_over: none
digest_over: 3
"""
    )
    assert sorted(mistakes({**environ, "VAULTBELL_TZ": "Nowhere", "OS_REGION_NAME": "?"})) == [
        "OS_REGION_NAME: a region is lower-case letters, digits and -",
        "VAULTBELL_TZ: no time zone of this name is known here (a name is Europe/Berlin, say)",
        "config.yaml:2: channels.ops.digest: true or false is wanted",
        "config.yaml:2: channels.ops.url: ${NOWHERE} is not set, or empty",
        "config.yaml:3: channels.mail.from: is missing",
        "config.yaml:6: channels.mail.to[1]: a mail address is name@host or Name <name@host>, the host in ASCII",
        "config.yaml:7: digest_over: a whole number is wanted",
        "config.yaml:8: the key digest_over is given twice",
    ]


# Mistakes in the file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("routs: []", "4: routs: is not known; the file's keys are channels, routes, outcomes, digest_over"),
        ("cloud: {token: x}", "4: cloud: is not known; the file's keys are"),
        ("outcomes: {sevrity: {}}", "4: outcomes.sevrity: is not known here"),
        (
            "outcomes: {severity: {partail: info}}",
            "4: outcomes.severity.partail: one of these is wanted: failed, timed_out",
        ),
        ("outcomes: {severity: {partial: loud}}", "4: outcomes.severity.partial: one of these is wanted: critical"),
        ("outcomes: {severity: {partial: off}}", "4: outcomes.severity.partial: a text is wanted: quote it"),
        ("outcomes: {ring: [fail]}", "4: outcomes.ring[0]: one of these is wanted: failed, timed_out"),
        ("outcomes: {ring: []}", "4: outcomes.ring: at least one is wanted"),
        ("outcomes: {ring: failed}", "4: outcomes.ring: a list is wanted"),
        ("outcomes: {deadlines: {backup: soon}}", "4: outcomes.deadlines.backup: a duration is"),
        ("outcomes: []", "4: outcomes: keys with values are wanted"),
        ("digest_over: true", "4: digest_over: a number is wanted"),
        ("digest_over: 1.5", "4: digest_over: a whole number is wanted"),
        ("routes: []", "4: routes: at least one is wanted"),
        ("routes: {channels: [ops]}", "4: routes: a list is wanted"),
        ("routes:\n- channels: ops", "5: routes[0].channels: a list is wanted"),
        ("routes:\n- {}", "5: routes[0].channels: is missing"),
        ("routes:\n- channels:\n  - ops\n  - opps", "7: routes[0].channels[1]: there is no channel opps"),
        ("routes:\n- channels: [ops]\n  fallback: male", "6: routes[0].fallback: there is no channel male"),
        ("routes:\n- channels: [ops]\n  fallback: ops", "6: routes[0].fallback: is one of the route's own channels"),
        (
            "routes:\n- channels: [ops]\n  match: {region: eu-de}",
            "6: routes[0].match: the last route matches everything",
        ),
        ("routes:\n- channels: [ops]\n- channels: [mail]", "5: routes[0]: takes everything, and the routes after it"),
        ("routes:\n- channels: [ops]\n  match: {}", "6: routes[0].match: is empty: leave it out"),
        ("routes:\n- channels: [ops]\n  match:", "6: routes[0].match: is empty: leave it out"),
        (
            "routes:\n- channels: [ops]\n  match: {vault: x}",
            "6: routes[0].match.vault: one of these is wanted: outcome, severity",
        ),
        (
            "routes:\n- channels: [ops]\n  match: {region: []}",
            "6: routes[0].match.region: at least one is wanted",
        ),
        ("routes:\n- channels: [ops]\n  match: {region: ''}", "6: routes[0].match.region[0]: is empty"),
        ("routes:\n- channels: [ops]\n  match: {region: no}", "6: routes[0].match.region: a list is wanted"),
        (
            "routes:\n- channels: [ops]\n  match: {vault_id: [17]}",
            "6: routes[0].match.vault_id[0]: a text is wanted: quote",
        ),
        (
            "routes:\n- channels: [ops]\n  match: {outcome: error}",
            "6: routes[0].match.outcome: one of these, or a glob",
        ),
        (
            "routes:\n- channels: [ops]\n  match: {severity: failed}",
            "6: routes[0].match.severity: one of these, or a glob",
        ),
        (
            "routes:\n- channels: [ops]\n  match: {failures_in_row: many}\n- channels: [mail]",
            "6: routes[0].match.failures_in_row: a whole number is wanted, alone or after >=, >, <=, < or =",
        ),
        (
            "routes:\n- channels: [ops]\n  match: {failures_in_row: true}\n- channels: [mail]",
            "6: routes[0].match.failures_in_row: a list is wanted",
        ),
        (
            "routes:\n- channels: [ops]\n  match: {last_good_age: ['>26h', '>soon']}\n- channels: [mail]",
            "6: routes[0].match.last_good_age: a duration (90s, 15m, 26h, 7d) is wanted, alone or after >=",
        ),
        (
            "history: false\nroutes:\n- channels: [ops]\n  match: {last_good_age: '>26h'}\n- channels: [mail]",
            "7: routes[0].match.last_good_age: is never known with history: false (VAULTBELL_HISTORY)",
        ),
        ("history: perhaps", "4: history: true or false is wanted"),
        ("a: &x [1]\nb: *x", "5: aliases are not understood here"),
        ("<<: {digest_over: 3}", "4: a key is a text: quote it (merge keys are not understood)"),
        ("17: x", "4: a key is a text: quote it"),
        ("digest_over: !!python/name:os.system x", "4: tags are not understood here"),
        ("digest_over: !mine []", "4: tags are not understood here"),
        ("digest_over: !mine {}", "4: tags are not understood here"),
        ("digest_over: !!str []", "4: tags are not understood here"),
        ("outcomes: {repeat_interval: 2026-02-31}", "4: this is no value: quote it if it is a text"),
        ("outcomes: {repeat_interval: [", "5: this is not YAML: "),
        ("--- {}", "4: one document without anchors and aliases is wanted"),
        ("digest_over: '${}'", "4: digest_over: ${…} holds a variable's name, or file: and a path"),
        ("digest_over: '${hid den}'", "4: digest_over: ${…} holds a variable's name, or file: and a path"),
        ("digest_over: '${OPEN'", "4: digest_over: ${ has no }"),
        ("digest_over: '${file:/nowhere}'", "4: digest_over: the file /nowhere cannot be read: No such file"),
    ],
)
def test_a_mistake_names_file_line_and_key(config: WriteConfig, text: str, told: str) -> None:
    assert mistakes(config(CHANNELS + text))[0].startswith(f"config.yaml:{told}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{url: 'https://a.example'}", "channels.x.type: webhook or email or apprise is wanted"),
        ("{type: pigeon, url: 'https://a.example'}", "channels.x.type: webhook or email or apprise is wanted"),
        ("{type: webhook}", "channels.x.url: is missing"),
        ("{type: webhook, url: 5}", "channels.x.url: a text is wanted: quote it"),
        ("{type: webhook, url: 'https://a.example', urls: x}", "channels.x.urls: is not known here"),
        (
            "{type: webhook, url: 'https://a.example', format: smoke}",
            "channels.x.format: one of these is wanted: default",
        ),
        ("{type: webhook, url: 'https://a.example', proxy: 'socks://p'}", "channels.x.proxy: an address is http://"),
        ("{type: webhook, url: 'https://a.example', secrets: [hidden]}", "channels.x.secrets[0]: a secret is `whsec_`"),
        ("{type: webhook, url: 'https://a.example', secrets: ''}", "channels.x.secrets: is empty"),
        ("{type: email, smtp: 'smtp://a', from: a@b, to: []}", "channels.x.to: at least one is wanted"),
        ("null", "channels.x: keys with values are wanted"),
    ],
)
def test_a_mistake_in_a_channel_names_its_key(config: WriteConfig, text: str, told: str) -> None:
    (line,) = mistakes(config(f"channels:\n  x: {text}"))
    assert line.startswith(f"config.yaml:2: {told}")
    assert "hidden" not in line


@pytest.mark.parametrize("name", ["-x", "a b", "ä", "x" * 65, '""'])
def test_a_channel_needs_a_plain_name(config: WriteConfig, name: str) -> None:
    (line,) = mistakes(config(f"channels:\n  {name}: {{type: webhook, url: 'https://a.example'}}"))
    assert "a channel's name is letters, digits, _ and -, 64 at most" in line


def test_a_name_cannot_be_the_files_and_the_environments(config: WriteConfig) -> None:
    environ = config("channels:\n  webhook: {type: webhook, url: 'https://a.example'}")
    assert mistakes({**environ, **HOOK}) == [
        "config.yaml:2: channels.webhook: VAULTBELL_WEBHOOK_URL makes a channel of this name as well"
    ]


def test_a_setting_of_the_file_cannot_be_the_environments_too(config: WriteConfig) -> None:
    environ = config(f"{CHANNELS}history: false\n")
    assert load(environ).history is False
    told = "config.yaml:4: history: is given twice, the other time by VAULTBELL_HISTORY"
    assert mistakes({**environ, "VAULTBELL_HISTORY": "true"}) == [told]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "config.yaml:1: is empty"),
        (b"# nothing yet\n", "config.yaml:1: is empty"),
        (b"just words", "config.yaml:1: keys with values are wanted"),
        (b"\xff\xfe", "VAULTBELL_CONFIG: the file config.yaml is not UTF-8"),
        (b"a: \x01", "config.yaml:1: the file holds a character that YAML does not allow"),
        (b"#" * ((1 << 20) + 1), "VAULTBELL_CONFIG: the file config.yaml is longer than 1 MiB"),
        (b"[" * 100_000, "config.yaml:1: "),
        (b"channels: {}", "config.yaml:1: channels: is missing: there is no channel"),
        (b"channels: []", "config.yaml:1: channels: keys with values are wanted"),
    ],
)
def test_a_file_that_says_nothing_stops_the_start(
    config: WriteConfig, tmp_path: Path, content: bytes, told: str
) -> None:
    environ = config("")
    (tmp_path / "config.yaml").write_bytes(content)
    (line,) = mistakes(environ)
    assert line.startswith(told)


def test_a_bomb_of_aliases_is_refused(config: WriteConfig) -> None:
    levels = "\n".join(f"l{at}: &l{at} [{', '.join([f'*l{at - 1}'] * 9)}]" for at in range(1, 30))
    assert mistakes(config(f"l0: &l0 [lol]\n{levels}"))[0].startswith("config.yaml:1: aliases are not understood here")


# Secrets --------------------------------------------------------------------------------------------------------------


def test_no_secret_is_shown_by_repr_or_in_the_log_of_the_start(config: WriteConfig) -> None:
    environ = config(
        """\
channels:
  ops:
    type: webhook
    url: "https://u:hidden1@hooks.example.org/hidden2?key=hidden3"
    proxy: "http://p:hidden4@proxy.example.org:3128"
  mail: {type: email, smtp: "smtp://bell:hidden5%40@mx.example.org", from: bell@example.org, to: ops@example.org}
"""
    )
    hidden = {
        "VAULTBELL_WEBHOOK_URL": "https://env.example.org/hidden6",
        "VAULTBELL_WEBHOOK_SECRET": "whsec_" + "hidden7h" * 4,
        "VAULTBELL_INBOUND_TOKEN": "hidden8",
        "VAULTBELL_INBOUND_SECRET": "whsec_" + "hidden9h" * 4,
        "VAULTBELL_HEARTBEAT_URL": "https://beat.example.org/hiddenA",
        "VAULTBELL_SEEN_URL": "redis://:hiddenB@seen.example.org/0",
        "OS_TOKEN": "hiddenC",
        "OS_ACCESS_KEY": "hiddenD",
        "OS_SECRET_KEY": "hiddenE",
        "OS_SECURITY_TOKEN": "hiddenF",
        "OS_USERNAME": "bell",
        "OS_PASSWORD": "hiddenG",
        "OS_USER_DOMAIN_NAME": "OTC0001",
    }
    found = load({**environ, **hidden})
    mail = email(found, "mail")
    shown = f"{found!r} {found} {summary(found)} {mail.server!r} {found.cloud!r}"
    assert "hidden" not in shown
    assert "hooks.example.org" in shown
    assert "proxy.example.org" in shown
    secrets = found.known_secrets()
    for part in ["hidden1", "hidden2", "key=hidden3", "hidden4", "hidden5@", "hidden6", *list(hidden.values())[1:4]]:
        assert part in secrets
    assert {f"hidden{letter}" for letter in "ABCDEFG"} <= set(secrets)


def test_a_secret_may_look_like_an_address_that_is_none() -> None:
    found = load({**HOOK, "OS_TOKEN": "a://[b", "VAULTBELL_INBOUND_TOKEN": "c://u:p@d/e"})
    assert {"a://[b", "c://u:p@d/e", "p", "e"} <= set(found.known_secrets())


def test_the_log_of_the_start_tells_what_matters() -> None:
    told = summary(load({**HOOK, **MAIL, "VAULTBELL_INBOUND_TOKEN": "x"}))
    assert told["channels"] == {
        "webhook": {
            "type": "webhook",
            "allow_private": True,
            "host": "hooks.example.org",
            "format": "default",
            "signed": False,
        },
        "email": {"type": "email", "allow_private": True, "host": "mx.example.org", "tls": "starttls", "recipients": 2},
    }
    assert (told["door"], told["region"], told["projects"]) == (["token"], "eu-de", [PROJECT])
    assert summary(load(HOOK))["door"] == "open"


def test_settings_cannot_be_changed_later() -> None:
    found = load(HOOK)
    with pytest.raises(ValueError, match="frozen"):
        found.time_budget = 1.0


def test_without_a_file_neither_yaml_nor_mail_is_imported() -> None:
    code = (
        "import sys; from vaultbell.settings import load; load(dict(arg.split('=', 1) for arg in sys.argv[1:]));"
        "print(*{'yaml', 'smtplib', 'requests', 'difflib'} & set(sys.modules))"
    )
    arguments = [f"{name}={value}" for name, value in {**HOOK, **MAIL}.items()]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=Path(settings.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""


def test_secrets_of_one_text_and_of_a_list_are_parted_alike(config: WriteConfig) -> None:
    both = f"{SECRET} whsec_{'B' * 32}"
    for text in (f'"{both}"', f'["{both}"]'):
        found = load(CLOUD | config(f"channels: {{ops: {{type: webhook, url: 'http://x', secrets: {text}}}}}"))
        assert len(webhook(found, "ops").secrets) == 2


@pytest.mark.parametrize("host", ["☃.example", "ä_b.example", "①②⑦.0.0.1"])
def test_a_host_that_could_never_be_asked_for_stops_the_start(host: str) -> None:
    assert mistakes(CLOUD | {"VAULTBELL_WEBHOOK_URL": f"http://{host}/x"})


def test_a_secret_in_the_place_of_a_key_is_not_printed(config: WriteConfig) -> None:
    marked = "https://SECMARK/x"
    text = f"channels: {{a: {{type: webhook, url: 'http://x', '{marked}': 1}}}}\nroutes: [{{channels: ['{marked}']}}]"
    told = mistakes(CLOUD | config(text))
    assert told
    assert "SECMARK" not in "".join(told)


def test_one_mistake_in_a_list_is_told_once(config: WriteConfig) -> None:
    channel = "channels: {a: {type: webhook, url: 'http://x'}}"
    for text in ("routes: [{fallback: a}]", "outcomes: {ring: [failled]}"):
        assert len(mistakes(CLOUD | config(f"{channel}\n{text}"))) == 1
