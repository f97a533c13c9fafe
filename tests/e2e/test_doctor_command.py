"""`vaultbell doctor`: a line for each thing, what to do about it, and nobody is told anything."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from desk import Desk, NewDesk
from integration.redis_server import own_redis
from serving import FUNCTION, environment
from standin import Cloud, api
from standin.certificates import Authority
from standin.ports import unused
from standin.proxy import Proxy
from standin.server import Server
from standin.sinks import Mailbox, Receiver
from standin.state import PROJECT, Answer
from vaultbell.cli import doctor
from vaultbell.cli.checks import ways
from vaultbell.platforms.queue.broker import Broker, connected
from vaultbell.platforms.queue.letter import Letter
from vaultbell.transport import Transport

DAY = timedelta(days=1)
SECRETS = ("standin-password", "mail-pa55word", "redis-pa55word", "hidden-path", "whsec_")
SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), lasts=400 * DAY)


@dataclass(frozen=True, slots=True)
class Clocked:
    """A cloud over TLS that says what time it is: `ahead` of ours."""

    cloud: Cloud
    url: str
    ahead: list[float]


@pytest.fixture
def clocked(authority: Authority) -> Iterator[Clocked]:
    cloud, ahead = Cloud(), [0.0]

    def application(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Answer:
        answer = api.answer(cloud, method, path, query, headers, body)
        time_ = datetime.now(UTC) + timedelta(seconds=ahead[0])
        return answer._replace(headers={**answer.headers, "Date": format_datetime(time_, usegmt=True)})

    with Server(application, tls=authority.certificate(lasts=100 * DAY)) as server:
        cloud.iam_url = cloud.cbr_url = server.url
        yield Clocked(cloud, server.url, ahead)


@pytest.fixture
def desk(new_desk: NewDesk, cloud: Cloud, receiver: Receiver) -> Desk:
    """A cloud with a task, and a webhook; both without TLS."""
    cloud.outcome("succeeded")
    return new_desk(
        cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/hidden-path", "VAULTBELL_INBOUND_TOKEN": "x"}
    )


def found(desk: Desk, *arguments: str, **changed: str) -> dict[str, list[dict[str, Any]]]:
    """The findings by what they are about; no secret stands in any of them."""
    done = desk("doctor", "--json", *arguments, **changed)
    assert not [secret for secret in SECRETS if secret in done.out + done.err]
    report: dict[str, list[dict[str, Any]]] = {}
    for finding in done.json["findings"]:
        assert bool(finding["to_do"]) == (finding["level"] != "ok")
        report.setdefault(finding["check"], []).append(finding)
    levels = {finding["level"] for findings in report.values() for finding in findings}
    assert done.status == int("failure" in levels)
    assert done.json["level"] == next(level for level in ("failure", "warning", "ok") if level in levels)
    return report


def only(findings: list[dict[str, Any]]) -> tuple[str, str]:
    (finding,) = findings
    return finding["level"], finding["words"]


# All is in order


def test_where_all_is_in_order_each_thing_has_an_ok_and_nobody_is_told(
    new_desk: NewDesk, clocked: Clocked, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "smn", lambda _region: (Transport(ca_file=authority.file), f"{clocked.url}/"))
    task = clocked.cloud.outcome("failed")["id"]
    tls = authority.certificate(lasts=100 * DAY)
    with (
        Receiver(tls=tls) as receiver,
        Mailbox("starttls", tls, ("bell", "mail-pa55word")) as mailbox,
        own_redis(tmp_path, "--requirepass", "redis-pa55word") as redis,
    ):
        desk = new_desk(
            clocked.cloud.env()
            | {
                "SSL_CERT_FILE": authority.file,
                "VAULTBELL_WEBHOOK_URL": f"{receiver.url}/hidden-path",
                "VAULTBELL_WEBHOOK_SECRET": SECRET,
                "VAULTBELL_SMTP_URL": f"smtp://bell:mail-pa55word@127.0.0.1:{mailbox.port}",
                "VAULTBELL_EMAIL_TO": "ops@example.org",
                "VAULTBELL_EMAIL_FROM": "bell@example.org",
                "VAULTBELL_SEEN_URL": f"redis://:redis-pa55word@127.0.0.1:{redis.port}",
                "VAULTBELL_HEARTBEAT_URL": f"{receiver.url}/hidden-path",
                "VAULTBELL_INBOUND_TOKEN": "x",
                "VAULTBELL_SMN_TOPICS": f"urn:smn:eu-de:{PROJECT}:backups",
            }
        )
        done = desk("doctor")
        assert (receiver.requests, mailbox.messages) == ([], [])
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line for line in lines if not line.startswith("ok       ")] == []
    assert not [secret for secret in SECRETS if secret in done.out]
    for words in (
        "settings: valid: channels webhook, email; 1 route(s)",
        "SMN topic backups: well-formed",
        f"project {PROJECT}: a token was obtained",
        f"project {PROJECT}: the list and the task {task} are readable",
        "API 127.0.0.1: TLS: the certificate of its own is trusted, and ends in 99 d",
        "API 127.0.0.1: clock: the same as here",
        "channel webhook: 127.0.0.1 is reached",
        "channel webhook: TLS: ",
        "channel email: 127.0.0.1 lets us in (STARTTLS, log-in); no mail was sent",
        "channel email: TLS: ",
        "heartbeat: 127.0.0.1 is reached",
        "SMN in eu-de: 127.0.0.1 is reached",
        "SMN in eu-de: TLS: the certificate of its own is trusted",
        "store: 127.0.0.1 answers, and lets us write",
        "platform: ",
    ):
        assert any(line[9:].startswith(words) for line in lines), words


def test_a_line_says_how_it_stands_and_what_to_do(desk: Desk) -> None:
    done = desk("doctor", VAULTBELL_INBOUND_TOKEN="")
    (line,) = [line for line in done.out.splitlines() if line.startswith("warning  door")]
    assert line.startswith(
        "warning  door: it is open: whoever reaches it can send events → Set VAULTBELL_INBOUND_TOKEN"
    )
    assert done.status == 0


# The settings and the files


def test_each_mistake_in_the_settings_is_a_failure(desk: Desk) -> None:
    report = found(desk, VAULTBELL_UNFINISHED="perhaps", VAULTBELL_SWEEP_PERIOD="soon")
    assert [finding["level"] for finding in report["settings"]] == ["failure"] * 2
    assert [finding["words"].partition(":")[0] for finding in report["settings"]] == [
        "VAULTBELL_UNFINISHED",
        "VAULTBELL_SWEEP_PERIOD",
    ]


def test_offline_nobody_is_asked(desk: Desk, cloud: Cloud, receiver: Receiver) -> None:
    report = found(desk, "--offline")
    assert report.keys() == {"settings", "door", "platform"}
    assert (cloud.requests, receiver.connections) == ([], 0)


@pytest.mark.parametrize(
    ("mode", "level", "words"),
    [
        (0o600, "ok", "others cannot read it"),
        (0o640, "ok", "others cannot read it"),
        (0o644, "warning", "mode 0644, everybody here can read it"),
        (0o666, "failure", "everybody can write into it"),
    ],
)
@pytest.mark.parametrize("by", ["variable", "reference", "inline"])
def test_a_file_of_secrets_that_others_can_read_is_warned_of(
    desk: Desk, receiver: Receiver, tmp_path: Path, by: str, mode: int, level: str, words: str
) -> None:
    folder = tmp_path
    while folder != folder.parent and not folder.stat().st_mode & 0o001:  # pytest keeps others out of its folders
        folder.chmod(folder.stat().st_mode | 0o011)
        folder = folder.parent
    file, config = tmp_path / "secret", tmp_path / "vaultbell.yaml"
    file.write_text("standin-password" if by == "variable" else f"{receiver.url}/hidden-path")
    url = "${file:" + str(file) + "}" if by == "reference" else f"{receiver.url}/hidden-path"
    config.write_text(f"channels: {{ops: {{type: webhook, url: '{url}'}}}}\n")
    if by == "variable":
        changed = {"OS_PASSWORD": "", "OS_PASSWORD_FILE": str(file)}
    else:
        changed = {"VAULTBELL_WEBHOOK_URL": "", "VAULTBELL_CONFIG": str(config)}
    held = config if by == "inline" else file
    held.chmod(mode)
    (finding,) = found(desk, "--offline", **changed)[f"file {held}"]
    assert finding["level"] == level
    assert words in finding["words"]


def test_a_file_in_a_folder_that_others_cannot_enter_is_safe(desk: Desk, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    file = closed / "password"
    file.write_text("standin-password")
    file.chmod(0o644)
    report = found(desk, "--offline", OS_PASSWORD="", OS_PASSWORD_FILE=str(file))
    assert report[f"file {file}"][0]["level"] == "ok"


def test_a_file_that_is_not_there_is_a_failure_of_the_settings_and_of_the_file(desk: Desk) -> None:
    report = found(desk, "--offline", OS_PASSWORD="", OS_PASSWORD_FILE="/no/such/file")
    assert report["settings"][0]["words"].startswith("OS_PASSWORD_FILE: ")
    assert report["file /no/such/file"][0]["level"] == "failure"


@pytest.mark.parametrize(
    ("topic", "level"),
    [
        (f"urn:smn:eu-de:{PROJECT}:backups", "ok"),
        (f"urn:smn:eu-nl:{PROJECT}:backups", "failure"),
        (f"urn:smn:eu-de:{'f' * 32}:backups", "warning"),
    ],
)
def test_a_topic_of_another_region_or_project_is_told(desk: Desk, topic: str, level: str) -> None:
    assert only(found(desk, "--offline", VAULTBELL_SMN_TOPICS=topic)["SMN topic backups"])[0] == level


@pytest.mark.parametrize(
    ("variables", "thing", "level", "words"),
    [
        ({"RUNTIME_FUNC_NAME": "bell", "RUNTIME_TIMEOUT": "60"}, "timeout", "ok", "gives an event 60 s"),
        ({"RUNTIME_FUNC_NAME": "bell", "RUNTIME_TIMEOUT": "3"}, "timeout", "warning", "ends an event after 3 s"),
        ({"RUNTIME_FUNC_NAME": "bell"}, "timeout", "warning", "not readable"),
        ({"RUNTIME_FUNC_NAME": "bell"}, "retries", "warning", "does not tell its retry settings"),
        ({"VAULTBELL_PLATFORM": "functiongraph"}, "retries", "warning", "does not tell its retry settings"),
        ({"K_SERVICE": "bell"}, "retries", "warning", "does not tell the retries"),
        ({"K_SERVICE": "bell"}, "unfinished", "warning", "long before a backup ends"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "platform", "ok", "Kubernetes"),
        ({}, "platform", "ok", "neither FunctionGraph nor Knative"),
    ],
)
def test_what_the_platform_tells_of_itself_is_told_and_what_it_does_not_is_said(
    desk: Desk, variables: dict[str, str], thing: str, level: str, words: str
) -> None:
    told = only(found(desk, "--offline", **variables)[thing])
    assert told[0] == level
    assert words in told[1]


def test_proxies_are_named_without_their_passwords(desk: Desk, receiver: Receiver, cloud: Cloud) -> None:
    with Proxy() as proxy:
        secret = proxy.url.replace("//", "//bell:hidden-path@")
        report = found(desk, HTTP_PROXY=secret)
    assert any(words.startswith("HTTP_PROXY is 127.0.0.1") for _, words in [only(report["proxy"])])
    assert only(report["channel webhook"]) == ("ok", "127.0.0.1 is reached through the proxy 127.0.0.1")
    assert receiver.connections == 0
    assert cloud.counts["show"] == 1


# The cloud


def test_a_refused_log_in_says_what_to_check(desk: Desk) -> None:
    (finding,) = found(desk, OS_PASSWORD="wr0ng")[f"project {PROJECT}"]
    assert (finding["level"], finding["words"][:16]) == ("failure", "IAM answered 401")
    assert "OS_PASSWORD" in finding["to_do"]


@pytest.mark.parametrize(("where", "right"), [("list", "cbr:tasks:list"), ("show", "cbr:tasks:get")])
def test_a_right_that_is_missing_is_named(desk: Desk, cloud: Cloud, where: Any, right: str) -> None:  # noqa: ANN401 - a fault's
    cloud.fault(where, "status", None, status=403)
    *_, finding = found(desk)[f"project {PROJECT}"]
    assert finding["level"] == "failure"
    assert right in finding["to_do"]


def test_without_a_single_task_it_says_that_none_could_be_looked_up(new_desk: NewDesk, cloud: Cloud) -> None:
    desk = new_desk(cloud.env() | {"VAULTBELL_WEBHOOK_URL": "http://127.0.0.1:9/"})
    *_, finding = found(desk)[f"project {PROJECT}"]
    assert (finding["level"], finding["words"][:26]) == ("warning", "the task list is empty: no")


def test_each_project_is_looked_at_and_a_name_becomes_one(desk: Desk, cloud: Cloud) -> None:
    other = "f" * 32
    cloud.projects[other] = "other"
    report = found(desk, VAULTBELL_PROJECTS=f"{PROJECT},{other}")
    assert report[f"project {PROJECT}"][-1]["level"] == "ok"
    assert report[f"project {other}"][-1]["level"] == "warning"
    report = found(desk, OS_PROJECT_ID="", OS_PROJECT_NAME="other")
    assert report["project"][0]["words"] == f"other is {other}"


def test_what_comes_with_each_event_alone_cannot_be_tried(desk: Desk) -> None:
    report = found(desk, VAULTBELL_PLATFORM="functiongraph", OS_USERNAME="", OS_PASSWORD="", OS_USER_DOMAIN_NAME="")
    assert only(report["credentials"])[0] == "warning"


def test_vaults_that_are_watched_have_to_be_readable(
    desk: Desk, cloud: Cloud, receiver: Receiver, tmp_path: Path
) -> None:
    config = tmp_path / "vaultbell.yaml"
    config.write_text(
        f"channels: {{ops: {{type: webhook, url: '{receiver.url}'}}}}\nwatch: [{{vault: '*', max_age: 26h}}]"
    )
    changed = {"VAULTBELL_WEBHOOK_URL": "", "VAULTBELL_CONFIG": str(config)}
    read = [line["words"] for line in found(desk, **changed)[f"project {PROJECT}"][-2:]]
    assert ["vaults are readable" in read[0], "policies are readable" in read[1]] == [True, True]
    for where in ("policies", "vaults"):
        cloud.fault(where, "status", None, status=403)
        assert f"cbr:{where}:list" in found(desk, **changed)[f"project {PROJECT}"][-1]["to_do"]


def test_for_a_roll_call_the_vaults_have_to_be_readable_and_the_policies_do_not(
    desk: Desk, cloud: Cloud, receiver: Receiver, tmp_path: Path
) -> None:
    config = tmp_path / "vaultbell.yaml"
    config.write_text(f"channels: {{ops: {{type: webhook, url: '{receiver.url}', roll_call: true}}}}")
    changed = {"VAULTBELL_WEBHOOK_URL": "", "VAULTBELL_CONFIG": str(config)}
    cloud.fault("policies", "status", None, status=403)
    assert "vaults are readable" in found(desk, **changed)[f"project {PROJECT}"][-1]["words"]
    cloud.fault("vaults", "status", None, status=403)
    assert "cbr:vaults:list" in found(desk, **changed)[f"project {PROJECT}"][-1]["to_do"]


@pytest.mark.parametrize(
    ("ahead", "level", "words"),
    [
        (0, "ok", "the same as here"),
        (-12, "ok", "s ahead"),
        (60, "warning", "s behind"),
        (-60, "warning", "s ahead"),
        (400, "failure", "s behind"),
    ],
)
def test_a_clock_that_is_off_is_told(
    new_desk: NewDesk, clocked: Clocked, authority: Authority, ahead: float, level: str, words: str
) -> None:
    clocked.ahead[0] = ahead
    env = clocked.cloud.env() | {"VAULTBELL_WEBHOOK_URL": "http://127.0.0.1:9/", "SSL_CERT_FILE": authority.file}
    told = only(found(new_desk(env))["API 127.0.0.1: clock"])
    assert told[0] == level
    assert words in told[1]


def test_a_cloud_without_tls_is_warned_of(desk: Desk) -> None:
    assert only(found(desk)["API 127.0.0.1: TLS"]) == (
        "warning",
        "it is not https: whoever sits on the way can read what proves us to the cloud",
    )


# Ways out


def test_where_certificates_of_smn_come_from_has_to_be_reached(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    way, url = ways.smn("eu-de")
    assert url == "https://smn.eu-de.otc.t-systems.com/"
    monkeypatch.setattr(ways, "smn", lambda _region: (way, f"https://127.0.0.1:{unused()}/"))
    topics = f"urn:smn:eu-de:{PROJECT}:backups,urn:smn:eu-de:{PROJECT}:more"
    (finding,) = found(desk, VAULTBELL_SMN_TOPICS=topics)["SMN in eu-de"]
    assert finding["level"] == "failure"
    assert "let it be reached" in finding["to_do"]
    assert "SMN in eu-de" not in found(desk, VAULTBELL_SMN_TOPICS=topics, VAULTBELL_PLATFORM="functiongraph")


@pytest.mark.parametrize(
    ("lasts", "level"), [(100 * DAY, "ok"), (31 * DAY, "ok"), (29 * DAY, "warning"), (6 * DAY, "failure")]
)
@pytest.mark.parametrize("kind", ["webhook", "mail"])
def test_a_certificate_that_ends_soon_is_told_in_time(
    desk: Desk, authority: Authority, kind: str, lasts: timedelta, level: str
) -> None:
    tls = authority.certificate(lasts=lasts)
    if kind == "webhook":
        with Receiver(tls=tls) as there:
            report = found(desk, SSL_CERT_FILE=authority.file, VAULTBELL_WEBHOOK_URL=there.url)
        told = only(report["channel webhook: TLS"])
    else:
        with Mailbox("implicit", tls) as mailbox:
            mail = {"VAULTBELL_EMAIL_TO": "ops@example.org", "VAULTBELL_EMAIL_FROM": "bell@example.org"}
            url = f"smtps://127.0.0.1:{mailbox.port}"
            report = found(desk, SSL_CERT_FILE=authority.file, VAULTBELL_SMTP_URL=url, **mail)
        told = only(report["channel email: TLS"])
    assert told[0] == level
    assert f"ends in {lasts.days - 1} d" in told[1]


def test_a_certificate_that_has_ended_or_that_nobody_vouches_for_is_a_failure(desk: Desk, authority: Authority) -> None:
    with Receiver(tls=authority.certificate(lasts=-DAY)) as there:
        told = only(found(desk, SSL_CERT_FILE=authority.file, VAULTBELL_WEBHOOK_URL=there.url)["channel webhook"])
    assert told == ("failure", "127.0.0.1: its certificate is not trusted (certificate has expired)")
    with Receiver(tls=authority.certificate()) as there:
        told = only(found(desk, VAULTBELL_WEBHOOK_URL=there.url)["channel webhook"])
    assert told[0] == "failure"
    assert "not trusted" in told[1]


def test_an_address_that_is_refused_is_told_with_what_would_allow_it(desk: Desk) -> None:
    told = only(found(desk, VAULTBELL_ALLOW_PRIVATE="false")["channel webhook"])
    assert told[0] == "failure"
    assert "VAULTBELL_ALLOW_PRIVATE or allow_private would allow it" in told[1]


def test_a_name_that_is_not_found_and_a_receiver_that_is_not_there_are_failures(desk: Desk) -> None:
    report = found(
        desk,
        VAULTBELL_WEBHOOK_URL=f"http://127.0.0.1:{unused()}/hidden-path",
        VAULTBELL_HEARTBEAT_URL="https://no-such-host.invalid/hidden-path",
    )
    assert only(report["channel webhook"]) == ("failure", "127.0.0.1: connection refused")
    assert only(report["heartbeat"]) == ("failure", "no-such-host.invalid: the name was not found")


@pytest.mark.parametrize(
    ("mode", "url", "words"),
    [
        ("starttls", "smtp://bell:wr0ng@127.0.0.1:{port}", "535"),
        ("plain", "smtp://bell:mail-pa55word@127.0.0.1:{port}", "does not offer STARTTLS"),
        ("plain", "smtp://bell:mail-pa55word@127.0.0.1:{port}?tls=off", ""),
    ],
)
def test_a_mail_server_that_does_not_let_us_in_is_a_failure(
    desk: Desk,
    authority: Authority,
    mode: Any,  # noqa: ANN401 - a mailbox's
    url: str,
    words: str,
) -> None:
    tls = authority.certificate(lasts=100 * DAY) if mode == "starttls" else None
    with Mailbox(mode, tls, ("bell", "mail-pa55word")) as mailbox:
        changed = {"VAULTBELL_EMAIL_TO": "ops@example.org", "VAULTBELL_EMAIL_FROM": "bell@example.org"}
        changed |= {"SSL_CERT_FILE": authority.file, "VAULTBELL_SMTP_URL": url.format(port=mailbox.port)}
        told = only(found(desk, **changed)["channel email"])
        assert mailbox.messages == []
    assert told[0] == ("failure" if words else "ok")
    assert words in told[1]


# Apprise's own mail looks for a module of older Pythons.
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_an_address_that_apprise_cannot_use_is_a_failure(desk: Desk, tmp_path: Path) -> None:
    config = tmp_path / "vaultbell.yaml"
    config.write_text(
        "channels:\n  a: {type: apprise, url: 'json://127.0.0.1'}\n  b: {type: apprise, url: 'nosuch://x'}\n"
    )
    report = found(desk, VAULTBELL_WEBHOOK_URL="", VAULTBELL_CONFIG=str(config))
    assert only(report["channel a"])[0] == "ok"
    assert only(report["channel b"]) == ("failure", "Apprise cannot use an address of nosuch://")


# The queue and the store


def test_a_queue_is_there_and_its_dead_letters_are_counted(desk: Desk, tmp_path: Path) -> None:
    broker = Broker(f"filesystem://{tmp_path}", "backups")
    with connected(broker) as link:
        link.publish("backups", Letter(b"{}"))
        link.bury(Letter(b"{}"), "bad_id", "why")
    report = found(desk, "--queue", broker.url, "--name", "backups")
    assert only(report["broker filesystem"]) == ("ok", "it lets us in")
    assert [(finding["level"], finding["words"]) for finding in report["queue backups"]] == [
        ("ok", "1 waiting"),
        ("warning", "1 dead letters: events that nobody handled"),
    ]


def test_a_broker_that_is_not_there_is_a_failure(desk: Desk) -> None:
    told = only(found(desk, "--queue", f"amqp://bell:hidden-path@127.0.0.1:{unused()}/")["broker 127.0.0.1"])
    assert told[0] == "failure"
    assert "not reached" in told[1]


def test_a_store_that_refuses_us_or_is_not_there_is_a_failure(desk: Desk, tmp_path: Path) -> None:
    with own_redis(tmp_path, "--requirepass", "redis-pa55word") as redis:
        told = only(found(desk, VAULTBELL_SEEN_URL=f"redis://:wr0ng@127.0.0.1:{redis.port}")["store"])
        assert told == ("failure", "127.0.0.1 refuses the user or the password")
        told = only(found(desk, VAULTBELL_SEEN_URL=redis.url)["store"])
        assert told == ("failure", "127.0.0.1 refuses the user or the password")
    told = only(found(desk, VAULTBELL_SEEN_URL=redis.url)["store"])
    assert told == ("failure", "127.0.0.1 does not answer (ConnectionError)")


# In time


def test_whoever_hangs_does_not_hold_up_the_rest(cloud: Cloud, receiver: Receiver) -> None:
    cloud.outcome("succeeded")
    script = "import sys\nfrom vaultbell.cli import doctor, main\ndoctor.SECONDS = doctor.GRACE_SECONDS = 1.0\n"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        changed = {
            "VAULTBELL_WEBHOOK_URL": f"https://127.0.0.1:{port}/",
            "VAULTBELL_SMTP_URL": f"smtp://127.0.0.1:{port}",
            "VAULTBELL_EMAIL_TO": "ops@example.org",
            "VAULTBELL_EMAIL_FROM": "bell@example.org",
            "VAULTBELL_SEEN_URL": f"redis://127.0.0.1:{port}",
            "VAULTBELL_HEARTBEAT_URL": receiver.url,
            "PYTHONPATH": str(FUNCTION),
        }
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", f"{script}sys.exit(main(['doctor', '--queue', 'amqp://127.0.0.1:{port}/']))"],
            env=environment(cloud.env() | changed),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        took = time.monotonic() - began
    lines = dict(line[9:].split(": ", 1) for line in done.stdout.splitlines() if line.startswith("failure"))
    assert lines.keys() == {"channel webhook", "channel email", "store", "broker 127.0.0.1"}
    assert lines["channel webhook"].startswith("127.0.0.1: no answer in time → ")
    assert lines["broker 127.0.0.1"].startswith("it has not come to an end within 1 s → ")
    assert "ok       heartbeat: " in done.stdout
    assert f"ok       project {PROJECT}: the list and the task" in done.stdout
    assert took < 15
    assert doctor.SECONDS + doctor.GRACE_SECONDS < 20  # as it comes
