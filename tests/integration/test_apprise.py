"""Apprise tells what it is given to services of its own; what it cannot is handed back, without a secret."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from standin.sinks import Receiver
from told import FAILED as _FAILED
from vaultbell import compose, settings
from vaultbell.budget import Budget
from vaultbell.channels import Taken
from vaultbell.channels.apprise import Apprise
from vaultbell.delivery import deliver
from vaultbell.errors import Permanent, Transient
from vaultbell.notification import Notification
from vaultbell.routing import Selection

# Apprise's own mail looks for a module of older Pythons.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

FAILED = _FAILED._replace(
    summary="Backup of ECS-0001 failed: The server is stopped. (BackupService.7102)",
    reason="The server is stopped. (BackupService.7102)",
    facts={"resource_name": "ECS-0001", "vault_name": "vault-prod", "error_code": "BackupService.7102"},
)
CLOUD = {"OS_PROJECT_ID": "0123456789abcdef0123456789abcdef", "OS_REGION_NAME": "eu-de"}


def address(receiver: Receiver, path: str = "s3cret") -> str:
    """The receiver as a service of Apprise's: it gets title, message and type as JSON."""
    return f"{receiver.url.replace('http://', 'json://')}/{path}"


def send(channel: Apprise, notification: Notification = FAILED, seconds: float = 10.0) -> Taken:
    return channel.send(notification, Budget.of(seconds))


def test_a_service_is_told_what_since_when_why_what_to_do_and_where(receiver: Receiver) -> None:
    assert send(Apprise([address(receiver)], ZoneInfo("Europe/Berlin"))) == Taken()
    (got,) = receiver.requests
    assert got.path == "/s3cret"
    assert (got.json["title"], got.json["type"]) == ("[CRITICAL] Backup of ECS-0001 failed", "failure")
    assert got.json["message"].splitlines() == [
        "Since: 2026-11-23 08:01 UTC (09:01 CET)",
        "Why: The server is stopped. (BackupService.7102)",
        "What to do: Start the server, or take it out of the vault if it is meant to be off; then back it up again.",
        "Where to look: https://console.otc.t-systems.com/cbr/?region=eu-de",
        "",
        "Resource: ECS-0001",
        "Vault: vault-prod",
        "Project: 0123456789abcdef0123456789abcdef",
        "Region: eu-de",
        "msg_0123456789abcdef0123456789abcdef",
    ]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"severity": "critical"}, "failure"),
        ({"severity": "warning"}, "warning"),
        ({"severity": "info"}, "info"),
        ({"severity": "info", "type": "cbr.task.resolved"}, "success"),
    ],
)
def test_how_bad_it_is_is_told(receiver: Receiver, change: dict[str, str], kind: str) -> None:
    send(Apprise([address(receiver)]), FAILED._replace(**change))  # type: ignore[arg-type] # each of them is a text
    assert [got.json["type"] for got in receiver.requests] == [kind]


@pytest.mark.parametrize("name", ["@everyone", "<!channel>", "<@U123>", "<b>x</b>", "@here"])
def test_a_name_mentions_nobody_and_is_no_tag(receiver: Receiver, name: str) -> None:
    facts = {"resource_name": name, "error_code": name}
    send(Apprise([address(receiver)]), FAILED._replace(headline=name, reason=name, facts=facts))
    for text in (receiver.requests[0].json["title"], receiver.requests[0].json["message"]):
        assert name not in text
        assert name in text.replace("\u200b", "")


def test_a_long_name_is_cut(receiver: Receiver) -> None:
    long = "\U0001f514" * 60_000
    send(Apprise([address(receiver)]), FAILED._replace(headline=long, reason=long, facts={"resource_name": long}))
    assert len(receiver.requests[0].json["title"]) <= 200
    assert len(receiver.requests[0].json["message"]) <= 3_000
    assert "…" in receiver.requests[0].json["title"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_a_failure_may_pass_and_its_error_names_the_service_alone(receiver: Receiver, status: int) -> None:
    receiver.answer(status=status, body=b"s3cret")
    with pytest.raises(Transient, match="JSON: not taken") as raised:
        send(Apprise([address(receiver)]))
    assert "s3cret" not in f"{raised.value!r} {raised.value.__cause__!r} {raised.value.__context__!r}"


def test_an_address_that_apprise_cannot_use_is_final_and_not_shown() -> None:
    for url in ("pigeon://s3cret/loft", "slack://s3cret"):
        with pytest.raises(Permanent) as raised:
            send(Apprise([url]))
        assert raised.value.message == f"Apprise cannot use an address of {url.partition(':')[0]}://"


def test_a_service_that_hangs_is_not_waited_for_beyond_the_budget(receiver: Receiver) -> None:
    receiver.answer(kind="hang", seconds=3)
    began = time.monotonic()
    with pytest.raises(Transient, match="JSON: no answer in time"):
        send(Apprise([address(receiver)]), seconds=0.3)
    assert time.monotonic() - began < 2.5


@pytest.mark.usefixtures("hasty")
def test_a_further_try_tells_only_those_that_have_not_taken_it(receiver: Receiver) -> None:
    receiver.answer("/bad", status=500, times=2)
    channel = Apprise([address(receiver, "good"), address(receiver, "bad")])
    delivered = deliver(FAILED, Selection(("chat",)), {"chat": channel}, Budget.of(10))
    assert [(receipt.delivered, receipt.attempts) for receipt in delivered.receipts] == [(True, 3)]
    assert sorted(got.path for got in receiver.requests) == ["/bad", "/bad", "/bad", "/good"]
    send(channel)
    assert sorted(got.path for got in receiver.requests)[3:] == ["/bad", "/good", "/good"], "a repeat is told to all"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaultbell.delivery.PAUSE_SECONDS", 0.001)


@contextmanager
def all_logs() -> Iterator[list[str]]:
    """The names of the loggers that have said something, at whatever level."""
    heard: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.name)

    root, ear = logging.getLogger(), Ear()
    level = root.level
    root.addHandler(ear)
    root.setLevel(logging.DEBUG)
    try:
        yield heard
    finally:
        root.removeHandler(ear)
        root.setLevel(level)


def test_what_apprise_writes_down_is_heard_by_nobody(receiver: Receiver, capfd: pytest.CaptureFixture[str]) -> None:
    receiver.answer(status=500, body=b"s3cret")
    with all_logs() as heard:
        with pytest.raises(Transient):
            send(Apprise([address(receiver)]))
        with pytest.raises(Permanent):
            send(Apprise(["slack://s3cret"]))
    written = capfd.readouterr()
    assert not [name for name in heard if name.startswith("apprise")]
    assert written.out + written.err == ""


def test_it_is_imported_when_the_first_message_is_told(tmp_path: Path) -> None:
    config = tmp_path / "bell.yaml"
    config.write_text("channels: {chat: {type: apprise, url: 'json://127.0.0.1:1/x'}}\nroutes: [{channels: [chat]}]\n")
    code = (
        "import sys; from vaultbell import compose, settings;"
        "compose.bell(settings.load(dict(arg.split('=', 1) for arg in sys.argv[1:]))); print('apprise' in sys.modules)"
    )
    arguments = [f"{name}={value}" for name, value in {**CLOUD, "VAULTBELL_CONFIG": str(config)}.items()]
    function = Path(settings.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=function, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("False", "")


def test_settings_make_the_channel(receiver: Receiver, tmp_path: Path) -> None:
    config = tmp_path / "bell.yaml"
    config.write_text(
        f"channels: {{chat: {{type: apprise, url: ['{address(receiver, 'one')}', '{address(receiver, 'two')}']}}}}\n"
        "routes: [{channels: [chat]}]\n"
    )
    environ = {**CLOUD, "VAULTBELL_CONFIG": str(config), "VAULTBELL_TZ": "Asia/Tokyo"}
    channel = compose.channels(settings.load(environ))["chat"]
    channel.send(FAILED, Budget.of(10))
    assert sorted(got.path for got in receiver.requests) == ["/one", "/two"]
    assert "(17:01 JST)" in receiver.requests[0].json["message"]
