"""What is fuzzed. Each target takes any bytes, and raises where a promise is broken; what it may raise it catches."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import smn_sender
from vaultbell import (
    compose,
    digest,
    inbound,
    notification,
    retry_after,
    routing,
    settings,
    sources,
    standard_webhooks,
    strict_json,
    text,
    times,
    trace_context,
    values,
    yaml_lines,
)
from vaultbell.budget import Budget
from vaultbell.channels import Taken, formats
from vaultbell.channels.email import compose as mail
from vaultbell.channels.formats.post import Options
from vaultbell.cloud import answers
from vaultbell.cloud.cbr import Cbr, Query
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.cloud.smn_trust import SmnTrust
from vaultbell.errors import InvalidEvent, SettingsError, Transient, VaultbellError
from vaultbell.events import Alarm, Event, Item, RollCall, Search, Settled, Sweep, TaskRef
from vaultbell.inbound import Doorkeeper, Project
from vaultbell.outcome import classify
from vaultbell.platforms import answer, functiongraph
from vaultbell.platforms.queue.letter import Letter
from vaultbell.settings import OutcomeRules
from vaultbell.telemetry import LOG
from vaultbell.transport import Answer

PROJECT = "0123456789abcdef" * 2
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
REFUSALS = (400, 401, 403, 413)
ANSWERS = (200, 204, 400, 401, 403, 405, 413, 424, 500, 503)
ENVIRON = {
    "OS_REGION_NAME": "eu-de",
    "OS_PROJECT_ID": PROJECT,
    "OS_TOKEN": "t0ken",
    "VAULTBELL_WEBHOOK_URL": "https://hooks.example.org/bell",
}

RULES = OutcomeRules()

Target = Callable[[bytes], None]


# Events ---------------------------------------------------------------------------------------------------------------


def event(data: bytes) -> None:
    """An event, decoded. Headers may stand before it, and `trusted` and `platform`; a blank line ends them."""
    headers, flags, body = _parted(data)
    try:
        found: tuple[Item, ...] = sources.decode(
            Event(body, headers, trusted="trusted" in flags, platform="platform" in flags)
        ).items
    except InvalidEvent as error:
        found = (error,)
    assert 0 < len(found) <= sources.ITEMS_MOST
    assert set(found), "they can be told apart"
    for item in found:
        _is_sound(item)


def _parted(data: bytes) -> tuple[dict[str, str], set[str], bytes]:
    head, blank, body = data.partition(b"\n\n")
    if not blank:
        return {}, set(), data
    lines = head.decode("latin-1").split("\n")
    pairs = [line.partition(":") for line in lines]
    return {name.lower(): value.strip() for name, colon, value in pairs if colon}, set(lines), body


def _is_sound(item: Item) -> None:
    match item:
        case InvalidEvent():
            _refuses(item, *REFUSALS)
        case TaskRef():
            assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", item.operation_log_id)
            assert item.project_id is None or re.fullmatch("[0-9a-f]{32}", item.project_id)
            assert item.channels is None or item.channels
        case Search():
            assert 1 <= len(item.ids) <= 8
            assert all(re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name) for name in item.ids)
            assert len(item.subject) < 300
            assert len(item.subject.splitlines()) == 1
        case Sweep():
            assert item.period is None or timedelta() < item.period <= timedelta(days=366)
            assert item.lag is None or timedelta() <= item.lag <= timedelta(days=366)
        case RollCall():
            assert item.period is None or timedelta() < item.period <= timedelta(days=366)
        case Alarm():
            assert len(item.text) <= 1_000
        case Settled():
            assert item.reason
    time = getattr(item, "time", None) or getattr(item, "at", None)
    assert time is None or time.tzinfo is UTC


def _refuses(error: InvalidEvent, *statuses: int) -> None:
    made = answer.of_error(error)
    assert made.status in statuses
    assert made.body.isascii()
    assert len(made.body) <= 1_000


def json_(data: bytes) -> None:
    """JSON from strangers: what is read means the same to every reader."""
    try:
        value = strict_json.loads(data)
    except InvalidEvent as error:
        _is_sound(error)
        return
    assert json.loads(data.removeprefix(b"\xef\xbb\xbf")) == value
    assert json.loads(json.dumps(value)) == value or "Infinity" in json.dumps(value)


def smn(data: bytes) -> None:
    """A message over HTTP that nobody has signed: it is refused, and nothing but SMN's own hosts is asked."""
    try:
        _smn().admit(data, Budget.of(5))
    except InvalidEvent as error:
        _refuses(error, *REFUSALS)
    else:
        raise AssertionError("believed")


@cache
def _smn() -> SmnTrust:
    class Pinned:
        def send(self, _method: str, url: str, **_: object) -> Answer:
            parts = urlsplit(url)
            assert (parts.scheme, parts.netloc.lower().removesuffix(":443")) == ("https", "smn.eu-de.otc.t-systems.com")
            assert re.fullmatch(r"/smn/SMN_eu-de_[0-9A-Za-z]+\.pem", parts.path)
            assert not parts.query
            return Answer(200, {}, certificate)

    certificate = smn_sender.Sender().certificate
    return SmnTrust((smn_sender.TOPIC,), Pinned())  # type: ignore[arg-type]  # a transport that only sends


# The whole way, behind the platform's door ----------------------------------------------------------------------------


def invoke(data: bytes) -> None:
    """What FunctionGraph hands over, handled to the end: an answer that the design knows, or an error of our own."""
    try:
        event = strict_json.loads(data)
        LOG.disabled = True
        returned = functiongraph.handle(event, functiongraph.HeaderContext({}), _app())
    except VaultbellError:
        return
    finally:
        LOG.disabled = False
    json.dumps(returned)
    if "statusCode" in returned:
        assert returned["statusCode"] in ANSWERS
        body = str(returned["body"])
        assert '"internal"' not in body
        assert "Traceback" not in body
        assert returned["statusCode"] == 204 or isinstance(json.loads(body), dict)


class _Cloud(Cbr):
    """An API that knows a task for each id, and what became of it by the id's first letter."""

    __slots__ = ()

    def show(self, project: Project, operation_log_id: str, budget: Budget) -> OperationLog:
        if budget.left <= 0 or operation_log_id[0] in "ef":
            raise Transient("not now", after=7)
        statuses = ("failed", "success", "running", "waiting", "timeout", "skipped", "new")
        status = statuses[int(operation_log_id[0], 16) % len(statuses)]
        return _log(id=operation_log_id, project_id=project.project_id, status=status)

    def list(self, project: Project, query: Query, budget: Budget) -> Iterator[OperationLog]:
        if budget.left <= 0 or query.resource_id or query.vault_id:
            raise Transient("not now")
        for at, status in enumerate(("failed", "success", "running", "new")):
            if query.status in (None, status):
                yield _log(id=f"0000000{at}-0000-4000-8000-000000000000", project_id=project.project_id, status=status)


def _log(**fields: Any) -> OperationLog:  # noqa: ANN401 - as in a task of the API
    named = {"operation_type": "backup", "vault_name": "vault", "created_at": "2026-11-20T07:00:00Z"}
    return OperationLog.read({**named, "updated_at": "2026-11-20T07:30:00Z", **fields})


class _Place:
    def send(self, told: notification.Notification, _budget: Budget) -> Taken:
        assert formats.of("default")(told, Options(), NOW).body
        return Taken(200)


@cache
def _app() -> compose.App:
    logged, LOG.disabled = LOG.disabled, True
    app = compose.app(settings.load(ENVIRON | {"VAULTBELL_INBOUND_TOKEN": "in"}))
    LOG.disabled = logged
    cloud = _Cloud(app.bell.cbr.http, app.bell.cbr.endpoints, app.bell.cbr.credentials)
    return app._replace(bell=replace(app.bell, cbr=cloud, channels={"webhook": _Place()}))


# What the cloud answers, and what is told of it -----------------------------------------------------------------------


def log(data: bytes) -> None:
    """An answer of the API: judged, and told in every way."""
    try:
        given = answers.object_in("the API", Answer(200, {}, data))
    except Transient:
        answers.code_of(Answer(500, {}, data))
        return
    inner = given.get("operation_log")
    found = OperationLog.read(inner if isinstance(inner, dict) else given)
    told, again = _told(found), _told(found)
    for line in (told.headline, told.summary, told.reason):
        assert line
        assert len(line.splitlines()) == 1
    options = Options(routing_key="R" * 32, api_key="G" * 36, zone=ZoneInfo("Europe/Berlin"))
    both = digest.of([told, told._replace(id="msg_1")])
    for name in formats.FORMATS:
        post = formats.of(name)(told, options, NOW)
        assert post == formats.of(name)(again, options, NOW)
        json.loads(post.body.decode(), parse_constant=_no_constant)
        if name not in settings.INCIDENT_FORMATS:
            json.loads(formats.of(name)(both, options, NOW).body.decode(), parse_constant=_no_constant)
    for message in (told, both):
        raw = mail(message, "Bell <bell@example.org>", ("ops@example.com",)).as_bytes()
        assert raw.isascii()
        assert max(map(len, raw.split(b"\r\n"))) <= 998


def _told(found: OperationLog, rules: OutcomeRules = RULES) -> notification.Notification:
    outcome = classify(found, rules, NOW)
    return notification.of_task(found, outcome, rules, project_id=PROJECT, region="eu-de")


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


# Settings -------------------------------------------------------------------------------------------------------------


def config(data: bytes) -> None:
    """A file of settings: something that can be composed, or mistakes that are told without the value."""
    file = Path(_folder().name) / "vaultbell.yaml"
    file.write_bytes(data)
    try:
        found = settings.load({**ENVIRON, "VAULTBELL_CONFIG": str(file)})
    except SettingsError as error:
        _tells_places(error)
        return
    compose.channels(found)
    settings.summary(found)
    told = _told(_log(status="failed"), found.outcomes)
    assert set(routing.select(told, found.routes).channels) <= set(found.channels)


def _tells_places(error: SettingsError) -> None:
    for line in error.message.split("\n"):
        place, colon, words = line.partition(": ")
        assert place
        assert colon
        assert words


def yaml(data: bytes) -> None:
    """YAML: read, or mistakes with their lines."""
    try:
        written = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return
    document = yaml_lines.read(written)
    assert all(line >= 1 and words for line, words in document.mistakes)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


# Headers and small texts ----------------------------------------------------------------------------------------------


def texts(data: bytes) -> None:
    """Whatever reads one short text: times, waits, lengths, addresses, traces, proofs, globs."""
    said = data.decode(errors="surrogateescape" if data[:1] < b"\x80" else "replace")
    found = times.read(said)
    assert found is None or found + timedelta(days=366) > found
    waits = retry_after.read(said)
    assert waits is None or 0 <= waits <= retry_after.MOST
    length = times.length(said)
    assert length is None or times.span(length)
    line = text.one_line(said, 40)
    assert len(line) <= 40
    assert len(line.splitlines()) <= 1
    line.encode()
    assert text.units(text.fit(said, 40)) <= 40
    trace_context.read(said, said)
    trace_context.read("00-" + "1" * 32 + "-" + "2" * 16 + "-01", said)
    for check in (values.address, values.SmtpServer.of, standard_webhooks.key_of, values.redis_store):
        try:
            check(said)
        except ValueError:
            continue
    _proofs(said, data)
    route = settings.Route.model_construct(match={"vault_name": (said,)}, channels=("a",))
    assert routing.select(_told(_log(status="failed", vault_name=said)), [route]).broken == ()
    letter = Letter(data, said, headers={said: said, "cloudEvents:time": said, f"ce-{said}": data})
    assert letter.event.body == data


def _proofs(said: str, data: bytes) -> None:
    for name in ("authorization", "x-vaultbell-token", "webhook-signature"):
        try:
            proved = _doorkeeper().knows({name: said}, [said])
        except InvalidEvent as error:
            _refuses(error, 401)
            continue
        assert not proved or "t0ken" in said
    headers = {"webhook-id": said, "webhook-timestamp": str(int(NOW.timestamp())), "webhook-signature": said}
    for given in (headers, {**headers, "webhook-timestamp": said}):
        try:
            _doorkeeper().verify(given, data, NOW.timestamp())
        except InvalidEvent as error:
            _refuses(error, 401)
        else:
            raise AssertionError("believed")
    try:
        inbound.allowed(said, said, [Project(PROJECT)], "eu-de")
    except InvalidEvent as error:
        _refuses(error, 403)


@cache
def _doorkeeper() -> Doorkeeper:
    return Doorkeeper("t0ken", ["whsec_" + "A" * 40])


TARGETS: dict[str, Target] = {
    "event": event,
    "json": json_,
    "smn": smn,
    "invoke": invoke,
    "log": log,
    "config": config,
    "yaml": yaml,
    "texts": texts,
}
