"""Marked secrets in every setting: no door, channel, command or failure shows one, in whatever form.

What is planted is checked against the models of the settings, and what is run against the registers of commands and of
sample events: a new one that is not planted, or not run, fails here.
"""

from __future__ import annotations

import base64
import gc
import io
import json
import logging
import re
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, get_args

import pytest
from flask import Request
from pydantic import BaseModel, SecretStr
from werkzeug.test import EnvironBuilder

import samples
from integration.test_functiongraph import Context
from integration.test_queue import eventually
from marks import Marks, Peers, planted
from standin import Cloud, api, ports
from standin.certificates import Authority
from standin.proxy import Proxy
from standin.server import Server
from standin.sinks import Mailbox
from standin.state import Answer, Fault
from vaultbell import cli, compose, delivery, handling, telemetry, transport
from vaultbell.cloud import answers
from vaultbell.compose import App
from vaultbell.errors import SettingsError
from vaultbell.observability.terminal import Lines
from vaultbell.platforms import functiongraph, http
from vaultbell.platforms.queue.broker import Broker
from vaultbell.platforms.queue.consumer import Consumer
from vaultbell.raw_settings import VARIABLES
from vaultbell.settings import EmailChannel, Settings, WebhookChannel, load

NOWHERE = "nowhere.invalid"
PEERS = Peers("http://hooks.example.org", "smtp://mx.example.org", "http://proxy.example.org:3128")
SILENT = Peers("http://127.0.0.1:9", "smtp://127.0.0.1:9", "http://127.0.0.1:9")
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


class Ear(logging.Handler):
    """Hears every logger at every level, and writes it down in both of the log's forms."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "mail.log":  # the mail server's own
            return
        for form in (telemetry.JsonLines(), Lines()):
            try:
                self.lines.append(form.format(record))
            except TypeError:  # another's record
                self.lines.append(f"{record.getMessage()} {record.exc_info}")


class Scene:
    """The marks, everything that was shown, and the cloud that knows them as what they stand for."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.marks, self.folder, self.shown = Marks(), folder, list[str]()
        self.capsys, self.monkeypatch = capsys, monkeypatch
        self.ear = Ear()
        self.cloud = Cloud()
        self.task: str = self.cloud.outcome("failed")["id"]

    def settings(
        self,
        cloud_url: str,
        peers: Peers = SILENT,
        told: Sequence[str] = ("webhook",),
        way: str = "password",
        **more: str,
    ) -> dict[str, str]:
        """The planted environment, with one way to prove ourselves to the cloud at that address."""
        env = planted(self.marks, self.folder, peers, told)
        self.cloud.users[self.cloud.domain, self.cloud.user_name] = env["OS_PASSWORD"]
        self.cloud.keys[env["OS_ACCESS_KEY"]] = (env["OS_SECRET_KEY"], env["OS_SECURITY_TOKEN"])
        kept = {"token": ("OS_TOKEN",), "key": ("OS_ACCESS_KEY", "OS_SECRET_KEY", "OS_SECURITY_TOKEN")}
        kept["password"] = ("OS_PASSWORD", "OS_USERNAME", "OS_USER_DOMAIN_NAME")
        env = {
            name: value
            for name, value in env.items()
            if name in kept[way] or name not in sum(kept.values(), ()) or way == "all"
        }
        env |= {"OS_AUTH_URL": f"{cloud_url}/v3", "CBR_ENDPOINT": cloud_url, "OS_PROJECT_ID": self.cloud.project_id}
        return env | {"VAULTBELL_TIME_BUDGET": "3"} | more

    @property
    def answer(self) -> str:
        """The body of the door's last answer."""
        return self.shown[-1].partition("\n\n")[2] or self.shown[-1].splitlines()[-1]

    def refused(self, env: Mapping[str, str]) -> None:
        """Try to start."""
        try:
            load(env)
        except SettingsError as error:
            self.shown += [str(error), repr(error), *traceback.format_exception(error)]

    def app(self, env: Mapping[str, str]) -> App:
        return compose.app(load(env))

    def ask(
        self, app: App, body: bytes, headers: Mapping[str, str] | None = None, path: str = "/", method: str = "POST"
    ) -> int:
        """What the HTTP door answers, whatever comes in."""
        builder = EnvironBuilder(path, method=method, data=body, headers=[*(headers or {}).items()])
        answer = http.handle(Request(builder.get_environ()), app)
        self.shown.append(f"{answer.status}\n{answer.headers}\n{answer.get_data(as_text=True)}")
        return answer.status_code

    def event(self, app: App, event: object) -> int:
        """Post an event with the right token."""
        token = self.marks("VAULTBELL_INBOUND_TOKEN")
        return self.ask(app, json.dumps(event).encode(), {"Authorization": f"Bearer {token}"})

    def invoke(self, app: App, event: object, context: Context) -> None:
        """Let FunctionGraph hand an event over."""
        try:
            self.shown.append(json.dumps(functiongraph.handle(event, context, app)))
        except Exception as error:  # noqa: BLE001 - whatever the platform would show of it
            self.shown += [repr(error), str(error), *traceback.format_exception(error)]

    def command(self, env: Mapping[str, str], *argv: str, stdin: bytes = b"{}") -> None:
        """Run a command of `vaultbell`."""
        with self.monkeypatch.context() as patch:
            for name in list(VARIABLES):
                patch.delenv(name, raising=False)
            for name, value in env.items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            with suppress(SystemExit):
                cli.main(argv)

    def check(self) -> None:
        """No mark, nor any token that the cloud has issued, is in what was shown."""
        for at, token in enumerate(self.cloud.tokens):
            self.marks.add(f"token {at} of the cloud", token)
        captured = self.capsys.readouterr()
        assert self.marks.shown_in(*self.shown, *self.ear.lines, captured.out, captured.err) == []


@pytest.fixture
def scene(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    scene = Scene(tmp_path, capsys, monkeypatch)
    monkeypatch.setattr(delivery, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(answers, "PAUSES", (0.001, 0.001))
    monkeypatch.setattr(handling, "SECOND_LOOK", 0.001)
    look_up = transport._look_up

    def no_such_name(host: str, port: int, flags: int = 0) -> transport.Found:
        if host == NOWHERE:
            raise socket.gaierror(-2, f"Name or service not known: {host}")
        return look_up(host, port, flags)

    monkeypatch.setattr(transport, "_look_up", no_such_name)
    loggers = (logging.getLogger(), telemetry.LOG)
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(scene.ear)
        logger.setLevel(logging.DEBUG)
    yield scene
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(scene.ear)
        logger.setLevel(level)
    scene.check()


# What is planted


def mentions_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(map(mentions_secret, get_args(annotation)))


def secret_fields(annotation: object) -> set[tuple[str, str]]:
    """Model and name of every setting that is a secret."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields.items()
        own = {(annotation.__name__, name) for name, field in fields if mentions_secret(field.annotation)}
        return own.union(*(secret_fields(field.annotation) for _, field in fields))
    return set[tuple[str, str]]().union(*map(secret_fields, get_args(annotation)))


def planted_fields(value: object, marks: Marks) -> set[tuple[str, str]]:
    """The same, of those that hold a mark, and nothing but marks."""
    found = set()
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            inner = getattr(value, name)
            texts = [
                one.get_secret_value()
                for one in (inner if isinstance(inner, tuple) else [inner])
                if isinstance(one, SecretStr)
            ]
            if texts and all(map(marks.shown_in, texts)):
                found.add((type(value).__name__, name))
            found |= planted_fields(inner, marks)
    elif isinstance(value, (tuple, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            found |= planted_fields(inner, marks)
    return found


def test_every_setting_that_is_a_secret_has_a_mark(scene: Scene) -> None:
    wanted = secret_fields(Settings)
    assert len(wanted) >= 15
    found = load(planted(scene.marks, scene.folder, PEERS) | {"OS_PROJECT_ID": scene.cloud.project_id})
    assert planted_fields(found, scene.marks) == wanted


def variables() -> Iterator[str]:
    """Every variable that sets a secret."""
    models: dict[str, type[BaseModel]] = {"webhook": WebhookChannel, "email": EmailChannel}
    for variable, (first, *rest) in VARIABLES.items():
        model = models[rest.pop(0)] if first == "channels" else Settings
        for name in rest if first == "channels" else [first, *rest]:
            field = next(one for key, one in model.model_fields.items() if name in (key, one.alias))
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                model = field.annotation
            elif mentions_secret(field.annotation):
                yield variable


def test_every_variable_that_is_a_secret_has_a_mark_and_may_be_given_by_a_file(scene: Scene) -> None:
    env = planted(scene.marks, scene.folder, PEERS) | {"OS_PROJECT_ID": scene.cloud.project_id}
    assert {name for name in variables() if not scene.marks.shown_in(env.get(name, ""))} == set()
    by_file = planted(scene.marks, scene.folder, PEERS, by_file=True) | {"OS_PROJECT_ID": scene.cloud.project_id}
    assert {name for name in variables() if name in by_file} == set()
    assert load(by_file) == load(env)


# The objects


def test_no_object_that_is_made_of_the_settings_shows_one(scene: Scene) -> None:
    for way in ("token", "key", "password"):
        app = scene.app(scene.settings("http://127.0.0.1:9", PEERS, way=way))
        seen, waiting = set[int](), [app]
        while waiting:
            one: object = waiting.pop()
            if id(one) in seen or isinstance(one, type) or not type(one).__module__.startswith("vaultbell."):
                continue
            seen.add(id(one))
            scene.shown += [repr(one), str(one)]
            inner = [one, *(held for held in gc.get_referents(one) if isinstance(held, (dict, list, tuple)))]
            waiting += [held for each in inner for held in gc.get_referents(each)]
        assert len(seen) > 20, "the walk goes on behind the first object"


# Channels


def echo(status: int, fault: Fault | None = None) -> Callable[..., Answer]:
    """An application that answers with all that it was sent, in its head and its body."""

    def answer(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Answer:
        proof = headers.get("authorization", "").rpartition(" ")[2]
        plain = base64.b64decode(proof + "==").decode("latin-1") if proof.isalnum() else proof
        told = f"{method} {path}?{query} {plain} {dict(headers)} {body.decode()}"
        head = {"Location": f"http://{headers.get('host')}{path}?{query}&{proof}", "Retry-After": path, "Server": proof}
        head |= {"WWW-Authenticate": f"Basic realm={path}", "Set-Cookie": f"a={proof}", "X-Subject-Token": proof or "-"}
        code = next(iter(re.findall("mk[0-9a-f]{18}", told)), proof) or path
        said = json.dumps({"error_code": code, "error_msg": told, "error": {"code": code, "message": told}})
        return Answer(status, {**head, "Content-Type": "application/json"}, said.encode(), fault)

    return answer


Where = Callable[[ExitStack, Path], Peers]


def answering(status: int = 200, kind: str = "", *, tls: bool = False, scheme: str = "", **args: object) -> Where:
    def there(stack: ExitStack, folder: Path) -> Peers:
        fault = Fault("any", kind, args=args) if kind else None  # type: ignore[arg-type]  # one of the kinds
        certificate = Authority(folder).certificate() if tls else None
        server = stack.enter_context(Server(echo(status, fault), tls=certificate))
        address = f"{scheme or server.url.partition(':')[0]}://127.0.0.1:{server.port}"
        return Peers(address, f"smtp://127.0.0.1:{ports.unused()}", stack.enter_context(Proxy()).url)

    return there


def unreachable(host: str) -> Where:
    def there(_stack: ExitStack, _folder: Path) -> Peers:
        place = f"{host}:{ports.unused()}"
        return Peers(f"http://{place}", f"smtp://{place}", f"http://{place}")

    return there


FAILURES: dict[str, Where] = {
    "taken": answering(),
    "refused": answering(403),
    "gone": answering(404),
    "unauthorized": answering(401),
    "redirected": answering(302),
    "throttled": answering(429),
    "broken": answering(500),
    "interim": answering(102),
    "hang": answering(kind="hang"),
    "hang in the body": answering(403, "hang_body"),
    "reset": answering(kind="reset"),
    "cut short": answering(kind="truncate", keep=10, head=True),
    "not HTTP": answering(kind="garbage"),
    "no TLS": answering(scheme="https"),
    "not trusted": answering(tls=True),
    "nobody there": unreachable("127.0.0.1"),
    "no such name": unreachable(NOWHERE),
}
SLOW = ("hang", "hang in the body", "no TLS")


@pytest.mark.parametrize("failure", FAILURES)
def test_whatever_becomes_of_a_message_no_channel_shows_one(scene: Scene, failure: str) -> None:
    with ExitStack() as stack:
        peers = FAILURES[failure](stack, scene.folder)
        cloud = stack.enter_context(Server(healthy(scene.cloud)))
        app = scene.app(scene.settings(cloud.url, peers, (), VAULTBELL_TIME_BUDGET="0.5" if failure in SLOW else "10"))
        status = scene.event(app, {"operation_log_id": scene.task})
        receipts = {one["channel"]: one["delivered"] for one in json.loads(scene.answer)["results"][0]["receipts"]}
        if failure not in SLOW:
            scene.invoke(app, {"operation_log_id": scene.task}, Context())
    assert receipts.keys() == app.settings.channels.keys()
    taken = {name for name, delivered in receipts.items() if delivered}
    assert taken == (receipts.keys() - {"mail", "email", "guarded"} if failure == "taken" else set())
    assert status in (424, 503)


def healthy(cloud: Cloud) -> Callable[..., Answer]:
    return lambda method, path, query, headers, body: api.answer(cloud, method, path, query, headers, body)


@pytest.mark.parametrize("stage", ["auth", "mail", "rcpt", "data", "", "tls", "no tls", "implicit"])
def test_whatever_a_mail_server_says_it_is_not_shown(scene: Scene, stage: str) -> None:
    with ExitStack() as stack:
        certificate = Authority(scene.folder).certificate()
        box = stack.enter_context(Mailbox("starttls", certificate) if stage == "tls" else Mailbox())
        scheme, query = "smtps" if stage == "implicit" else "smtp", "?tls=off" if stage in STAGES else ""
        cloud = stack.enter_context(Server(healthy(scene.cloud)))
        dead = f"http://127.0.0.1:{ports.unused()}"
        peers = Peers(dead, f"{scheme}://127.0.0.1:{box.port}{query}", dead)
        env = scene.settings(cloud.url, peers, ("mail", "email"))
        if stage in STAGES:
            password = scene.marks("password for mail")
            forms = [base64.b64encode(text.encode()).decode() for text in (password, f"\0bell\0{password}")]
            box.refuse(stage, f"535 5.7.8 Who is {' '.join([password, *forms])}?")  # type: ignore[arg-type]  # see STAGES
        app = scene.app(env)
        scene.event(app, {"operation_log_id": scene.task})
        receipts = {one["channel"]: one for one in json.loads(scene.answer)["results"][0]["receipts"]}
    assert {receipts[name]["delivered"] for name in ("mail", "email")} == {False}
    if stage in STAGES:
        assert receipts["mail"]["status"] == 535


STAGES = ("auth", "mail", "rcpt", "data")


# The cloud


def faulty(cloud: Cloud, where: str, status: int, fault: Fault | None = None) -> Callable[..., Answer]:
    """The cloud, one part of which answers with all that it was sent."""
    spoilt, right = echo(status, fault), healthy(cloud)

    def answer(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Answer:
        part = "iam" if path.endswith("/auth/tokens") else "show" if path.endswith(cloud_task(cloud)) else "list"
        return (spoilt if part == where else right)(method, path, query, headers, body)

    return answer


def cloud_task(cloud: Cloud) -> str:
    return str(cloud.tasks()[0]["id"])


STATUSES = [200, 201, 302, 400, 401, 403, 404, 429, 500]
WAYS = [("iam", "password"), ("show", "password"), ("show", "token"), ("show", "key"), ("list", "key")]


@pytest.mark.parametrize(("where", "way"), WAYS)
def test_whatever_the_cloud_answers_no_proof_of_ours_is_shown(scene: Scene, where: str, way: str) -> None:
    faults = [Fault("any", "garbage", args={"body": scene.marks("OS_PASSWORD")}), Fault("any", "reset")]
    for status, fault in [*((status, None) for status in STATUSES), (200, faults[0]), (200, faults[1])]:
        with Server(faulty(scene.cloud, where, status, fault)) as cloud:
            env = scene.settings(cloud.url, way=way)
            by_name = {"OS_PROJECT_ID": "", "OS_PROJECT_NAME": scene.cloud.region} if way == "password" else {}
            for more in ({}, by_name):
                app = scene.app({name: value for name, value in (env | more).items() if value})
                scene.event(app, {"operation_log_id": scene.task})
                scene.event(app, {"sweep": {}})
                scene.invoke(app, {"operation_log_id": scene.task}, Context())
    assert "unverified" in "".join(scene.shown)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", f"http://{NOWHERE}", "https"], ids=["refused", "dns", "tls"])
def test_a_cloud_that_is_not_reached_is_told_of_without_any_proof(scene: Scene, address: str) -> None:
    with Server(healthy(scene.cloud), tls=Authority(scene.folder).certificate()) as untrusted:
        for way in ("token", "key", "password"):
            app = scene.app(scene.settings(untrusted.url if address == "https" else address, way=way))
            scene.event(app, {"operation_log_id": scene.task})
            scene.invoke(app, {"operation_log_id": scene.task}, Context())


def test_what_a_platform_lends_is_not_shown_however_it_is_refused(scene: Scene) -> None:
    token, keys = scene.marks("lent token"), [scene.marks(f"lent key {at}") for at in range(3)]
    lent = {"X-CFF-Auth-Token": token}
    names = ("X-CFF-Security-Access-Key", "X-CFF-Security-Secret-Key", "X-CFF-Security-Token")
    for status in STATUSES:
        with Server(faulty(scene.cloud, "show", status)) as cloud:
            app = scene.app(scene.settings(cloud.url, VAULTBELL_PLATFORM="functiongraph"))
            for context in (Context(token), Context(keys=(keys[0], keys[1], keys[2]))):
                scene.invoke(app, {"operation_log_id": scene.task}, context)
            body = json.dumps({"operation_log_id": scene.task}).encode()
            for headers in (lent, dict(zip(names, keys, strict=True))):
                scene.ask(app, body, headers, "/invoke")


# Doors


def test_no_door_shows_what_came_with_a_request_or_what_would_have_opened_it(scene: Scene) -> None:
    wrong, right = scene.marks("a wrong token"), scene.marks("VAULTBELL_INBOUND_TOKEN")
    signed = {"webhook-id": "m1", "webhook-timestamp": "1795500000", "webhook-signature": f"v1,{wrong}"}
    proofs = [{"Authorization": f"Bearer {right}"}, {"X-Vaultbell-Token": right}, {"Authorization": f"Bearer {wrong}"}]
    proofs += [signed, {"X-Vaultbell-Token": wrong, "Cookie": wrong}, {}]
    names = sorted(samples.names())
    assert len(names) > 10
    with Server(healthy(scene.cloud)) as cloud:
        app = scene.app(scene.settings(cloud.url, VAULTBELL_PLATFORM="functiongraph"))
        for name in names:
            headers, body = samples.read(name)
            for at, proof in enumerate(proofs):
                scene.ask(app, body, {**headers, **proof})
                if at == names.index(name) % len(proofs):
                    scene.ask(app, body, dict(headers), f"/?token={wrong}&token={right}")
        for method in ("GET", "PUT"):
            for path in ("/", "/healthz", "/metrics", "/nothing", f"/{wrong}"):
                for token in (wrong, right):
                    scene.ask(app, b"", {"Authorization": token}, f"{path}?token={token}", method)
        for text in (f'{{"operation_log_id": "{wrong}"}}', f'{{"a": {wrong}', f'{{"{wrong}": 1}}', f"<{wrong}>"):
            scene.ask(app, text.encode(), {"Authorization": f"Bearer {right}"})
        for name in sorted(samples.names("functiongraph")):
            event = samples.value(f"functiongraph/{name.rpartition('/')[2]}")
            scene.invoke(app, event, Context(scene.marks("lent token")))
            if "httpMethod" in event:
                scene.invoke(app, {**event, "headers": {"authorization": f"Bearer {wrong}"}}, Context())


def test_an_error_of_our_own_shows_no_secret_in_its_traceback(scene: Scene) -> None:
    with Server(healthy(scene.cloud)) as cloud:
        app = scene.app(scene.settings(cloud.url))

        def broken(*_args: object, **_more: object) -> None:
            raise RuntimeError("ours")

        for place in ("vaultbell.channels.webhook.Webhook.send", "vaultbell.cloud.cbr.Cbr.show"):
            with scene.monkeypatch.context() as patch:
                patch.setattr(place, broken)
                scene.event(app, {"operation_log_id": scene.task})
                scene.invoke(app, {"operation_log_id": scene.task}, Context())
    assert "Traceback" in "".join(scene.ear.lines)


def test_no_message_of_a_queue_and_no_dead_letter_shows_one(scene: Scene) -> None:
    pytest.importorskip("kombu")
    queue = (f"filesystem://{scene.folder}/queue", "--queue", "backups")
    bad, good = {"operation_log_id": scene.task}, {"operation_log_id": "not an id"}
    with ExitStack() as stack:
        cloud = stack.enter_context(Server(healthy(scene.cloud)))
        refusing = answering(403)(stack, scene.folder)
        env = scene.settings(cloud.url, refusing)
        for event in (bad, good):
            scene.command(env, "queue", "send", *queue, stdin=json.dumps(event).encode())
        broker = Broker(queue[0], "backups")
        consumer = Consumer(compose.bell(load(env)), broker, time_budget=3.0)
        thread = threading.Thread(target=consumer.run)
        thread.start()
        try:
            assert eventually(lambda: len(list((scene.folder / "queue").glob("*backups.dead*"))) == 2)
        finally:
            consumer.stop.set()
            thread.join(10)
        scene.shown += [path.read_text("utf-8") for path in (scene.folder / "queue").iterdir() if path.is_file()]
        for command in (("queue", "dead"), ("queue", "dead", "--json")):
            scene.command(env, *command[:2], *queue, *command[2:])


# Commands


def test_no_command_shows_one(scene: Scene) -> None:
    broker = (f"amqp://bell:{scene.marks('broker password')}@127.0.0.1:{ports.unused()}//", "--queue", "backups")
    (scene.folder / "event.json").write_text(json.dumps({"operation_log_id": scene.task}))
    event, log = str(scene.folder / "event.json"), str(scene.folder / "log.json")
    Path(log).write_text(json.dumps({"operation_log": scene.cloud.get(scene.task)}))
    runs: dict[str, list[tuple[str, ...]]] = {
        "completion": [("bash",)],
        "doctor": [(), ("--json",)],
        "explain": [(event,), (event, "--json"), (event, "--log", log)],
        "lookup": [(scene.task,), (scene.task, "--json"), ("nonsense",)],
        "preview": [(event, "--json"), (event, "--log", log, "--json"), ("--log", log, "--format", "pagerduty")],
        "queue": [("dead", *broker), ("send", *broker), ("redrive", *broker)],
        "replay": [(event,), (event, "--json"), ("--dead-letters", *broker)],
        "ring": [(), ("--json",)],
        "roll-call": [(), ("--json",), ("--dry-run",)],
        "sweep": [("--since", "1h"), ("--since", "1h", "--json"), ("--dry-run",)],
        "tail": [()],
    }
    runs["preview"] += [("--log", log, "--channel", name, "--json") for name in ("pagerduty", "opsgenie", "default")]
    names = {cli.name_of(command) for command in cli.COMMANDS}
    assert names - runs.keys() == {"consume"}, "which is run above, and by a process of its own"
    for where, status in (("none", 200), ("iam", 401), ("show", 500), ("list", 403)):
        with Server(faulty(scene.cloud, where, status)) as cloud:
            env = scene.settings(cloud.url)
            for name in sorted(names & runs.keys()):
                for arguments in runs[name]:
                    scene.command(env, name, *arguments)
    for name in sorted(names):
        scene.command(env, name, "--help")
        scene.command(env, name, "--no-such-option")
    scene.command(env | {"VAULTBELL_CONFIG": "/nowhere"}, "consume", *broker)


# Mistakes


MISTAKES = (
    "{}",
    "\t{}",
    "{}: {{",
    "[{}",
    "'{}",
    '"{}',
    "!{}",
    "&{} *{}",
    "%{}",
    "|{}",
    "{}: {}: {}",
    "`{}",
    "- {}",
    "${{{}",
)


def test_no_mistake_in_a_setting_is_quoted(scene: Scene) -> None:
    env = planted(scene.marks, scene.folder, PEERS) | {"OS_PROJECT_ID": scene.cloud.project_id}
    mark = scene.marks("a mistake")
    for name in VARIABLES:
        for shape in ("{}", "https://{}:{}@[{}/{}", "whsec_{}", "{} {}", "smtp://{}:{}@{}/{}", "redis://{}@/{}"):
            scene.refused({**env, name: shape.replace("{}", mark)})


def test_no_mistake_in_the_file_of_the_settings_is_quoted(scene: Scene) -> None:
    env = planted(scene.marks, scene.folder, PEERS) | {"OS_PROJECT_ID": scene.cloud.project_id}
    file = scene.folder / "vaultbell.yaml"
    whole = json.loads(file.read_text())
    mark = scene.marks("a mistake")
    key = f"{mark}+/="  # a word might be a key: those are shown
    for shape in MISTAKES:  # what is no YAML
        for line in ("channels: {}", "channels:\n  ops:\n    url: {}", "routes:\n- {}", "channels:\n  {}: x\n {}: y"):
            file.write_text(line.replace("{}", shape.format(*[mark] * 5)))
            scene.refused(env)
    for path in paths(whole):  # a value in another's place, and one in that of a key
        for wrong in (key, [key], {key: mark}, {"a": {key: mark}}, 7, None, f"${{{key}}}", f"${{file:{mark[:4]}}}"):
            file.write_text(json.dumps(changed(whole, path, wrong)))
            scene.refused(env)


def paths(value: object, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every value within a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*above, key)
        yield from paths(item, (*above, key))


def changed(value: Any, path: tuple[str | int, ...], to: object) -> Any:  # noqa: ANN401 - any JSON value
    if not path:
        return to
    copy = value.copy()
    copy[path[0]] = changed(value[path[0]], path[1:], to)
    return copy
