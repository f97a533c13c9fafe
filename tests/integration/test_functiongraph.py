"""FunctionGraph: what its triggers hand over, what it is answered, and what reaches the failure destination."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from standin import Cloud
from standin.sinks import Receiver
from vaultbell import compose, settings
from vaultbell.compose import App
from vaultbell.errors import InvalidEvent, Misconfigured, Permanent, Transient
from vaultbell.platforms import functiongraph

PAYLOADS = Path(__file__).parents[2] / ".." / "shared" / "payloads"
NOWHERE = "00000000-0000-4000-8000-00000000dead"


class Context:
    """The platform's context: with an agency, its token or its keys."""

    def __init__(self, token: str | None = None, keys: tuple[str, str, str] | None = None, left: int = 60_000) -> None:
        self.token, self.keys, self.left = token, keys or (None, None, None), left

    def getRemainingTimeInMilliSeconds(self) -> int:  # noqa: N802 - the platform's name
        return self.left

    def getToken(self) -> str | None:  # noqa: N802
        return self.token

    def getSecurityAccessKey(self) -> str | None:  # noqa: N802
        return self.keys[0]

    def getSecuritySecretKey(self) -> str | None:  # noqa: N802
        return self.keys[1]

    def getSecurityToken(self) -> str | None:  # noqa: N802
        return self.keys[2]

    def getAccessKey(self) -> str:  # noqa: N802
        raise AssertionError("a getter that is no longer maintained was called")

    getSecretKey = getAccessKey  # noqa: N815


Made = Callable[..., App]


@pytest.fixture
def made(cloud: Cloud, receiver: Receiver) -> Made:
    def make(**more: str) -> App:
        given = {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell", **more}
        return compose.app(settings.load({k: v for k, v in (cloud.env() | given).items() if v}))

    return make


def smn(*messages: object) -> dict[str, Any]:
    texts = [message if isinstance(message, str) else json.dumps(message) for message in messages]
    records = [
        {"smn": {"message": text, "type": "notification", "timestamp": "2026-11-23T08:00:00Z"}} for text in texts
    ]
    return {"record": records, "requestId": "7c307f6a-cf68-4e65-8be0-4c77405a1b2c"}


def kafka(*messages: object, kind: str = "KAFKA") -> dict[str, Any]:
    texts = [message if isinstance(message, str) else json.dumps(message) for message in messages]
    return {"trigger_type": kind, "event_time": 1_764_000_000, "records": [{"topic_id": "t", "messages": texts}]}


def handle(event: object, app: App, context: Context | None = None) -> Any:  # noqa: ANN401 - JSON, looked into
    """What the handler returns."""
    return functiongraph.handle(event, context or Context(), app)


def named(log: dict[str, Any]) -> dict[str, str]:
    return {"operation_log_id": log["id"]}


def apig(event: object, *, encoded: bool = True, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    body = event if isinstance(event, str) else json.dumps(event)
    return {
        "body": base64.b64encode(body.encode()).decode() if encoded else body,
        "isBase64Encoded": encoded,
        "httpMethod": "POST",
        "path": "/any/where",
        "headers": {"content-type": "application/json"},
        "queryStringParameters": {},
        "pathParameters": {"": "any"},
        "requestContext": {"apiId": "a", "requestId": "b", "stage": "RELEASE"},
        **more,
    }


@pytest.mark.parametrize("wrap", [smn, kafka, lambda *m: kafka(*m, kind="ROCKETMQ")], ids=["smn", "kafka", "rocketmq"])
def test_each_message_of_a_trigger_is_handled(
    cloud: Cloud, receiver: Receiver, made: Made, wrap: Callable[..., dict[str, Any]]
) -> None:
    logs = [cloud.outcome("failed"), cloud.outcome("succeeded"), cloud.outcome("timed_out")]
    report = handle(wrap(*map(named, logs)), made())
    assert [line["action"] for line in report["results"]] == ["notified", "quiet", "notified"]
    assert {got.json["type"] for got in receiver.requests} == {"cbr.task.failed", "cbr.task.timed_out"}


@pytest.mark.parametrize("wrap", [smn, kafka])
def test_a_bad_message_reaches_the_failure_destination_after_the_others_are_done(
    cloud: Cloud, receiver: Receiver, made: Made, wrap: Callable[..., dict[str, Any]]
) -> None:
    event = wrap("hello", named(cloud.outcome("failed")), {"operation_log_id": "../.."})
    with pytest.raises(InvalidEvent):
        handle(event, made())
    assert [got.json["type"] for got in receiver.requests] == ["cbr.task.failed"]


def test_a_tick_of_the_timer_sweeps(cloud: Cloud, receiver: Receiver, made: Made) -> None:
    log = cloud.outcome("failed", ended_at=datetime(2026, 11, 23, 7, 50, tzinfo=UTC))
    tick = {
        "version": "v2.0",
        "time": "2026-11-23T09:06:30+01:00",
        "trigger_type": "TIMER",
        "trigger_name": "sweep",
        "user_event": "sweep, please",
    }
    report = handle(tick, made())
    assert report["swept"] == {"from": "2026-11-23T07:45:00Z", "until": "2026-11-23T08:00:00Z", "tasks": 2}
    assert [got.json["data"]["operation_log"]["id"] for got in receiver.requests] == [log["id"]]
    tick["user_event"] = json.dumps({"sweep": {"period": "5m", "lag": "2m"}})
    report = handle(tick, made())
    assert report["swept"] == {"from": "2026-11-23T07:55:00Z", "until": "2026-11-23T08:00:00Z", "tasks": 2}


@pytest.mark.parametrize("key", ["lts", "Records", "dds"])
def test_triggers_whose_events_name_no_task_are_refused_by_name(made: Made, key: str) -> None:
    event: dict[str, Any] = {key: {"data": "eyJ9"}} if key == "lts" else {"Records": []}
    if key == "dds":
        event = {"records": [{"event_source": "dds", "dds": {"ns": "{}"}}]}
    with pytest.raises(InvalidEvent, match={"lts": "LTS", "Records": "OBS", "dds": "DDS"}[key]):
        handle(event, made())


@pytest.mark.parametrize("event", [None, 7, "", "hello", [], {}, {"hello": 1}, b"\xff", object()])
def test_what_is_no_event_is_refused_for_good(made: Made, event: object) -> None:
    with pytest.raises(InvalidEvent):
        handle(event, made())


def test_what_may_pass_is_raised_so_that_it_comes_again(cloud: Cloud, receiver: Receiver, made: Made) -> None:
    event = smn(named(cloud.outcome("failed")))
    cloud.fault("show", "status", times=None, status=503, headers={"Retry-After": "3600"})
    with pytest.raises(Transient):
        handle(event, made())
    cloud.heal()
    receiver.answer(status=503, headers={"Retry-After": "3600"}, times=1)
    app = made()
    with pytest.raises(Transient, match="webhook"):
        handle(event, app)
    assert handle(event, app)["results"][0]["action"] == "notified"


def test_what_a_channel_refuses_for_good_is_final(cloud: Cloud, receiver: Receiver, made: Made) -> None:
    receiver.answer(status=410)
    with pytest.raises(Permanent, match="webhook"):
        handle(smn(named(cloud.outcome("failed"))), made())


def test_refused_credentials_are_told_and_the_event_comes_again(cloud: Cloud, receiver: Receiver, made: Made) -> None:
    event = smn(named(cloud.outcome("failed")))
    with pytest.raises(Misconfigured):
        handle(event, made(), Context(token="of-yesterday"))
    assert [got.json["type"] for got in receiver.requests] == ["cbr.task.unverified"]


def test_a_young_task_that_is_not_visible_yet_comes_again(made: Made) -> None:
    young = {"operation_log_id": NOWHERE, "time": (datetime.now(UTC) - timedelta(seconds=30)).isoformat()}
    with pytest.raises(Transient):
        handle(kafka(young), made())


@pytest.mark.parametrize("wrap", [smn, kafka])
def test_a_task_that_still_runs_is_left_to_the_sweep(
    cloud: Cloud, made: Made, wrap: Callable[..., dict[str, Any]]
) -> None:
    event = wrap(named(cloud.outcome("running")))
    report = handle(event, made())
    assert [line["action"] for line in report["results"]] == ["left"]


@pytest.mark.parametrize("no_agency", [None, "", "null"])
def test_the_agency_is_used_and_what_it_does_not_give_is_absent(
    cloud: Cloud, receiver: Receiver, made: Made, no_agency: str | None
) -> None:
    event = smn(named(cloud.outcome("failed")))
    platform_only = dict.fromkeys(("OS_USERNAME", "OS_PASSWORD", "OS_USER_DOMAIN_NAME"), "")
    token, _ = cloud.issue(cloud.project_id)
    handle(event, made(**platform_only), Context(token=token))
    cloud.keys["TEMPORARYKEY"] = ("its-secret", "its-security-token")
    keys = ("TEMPORARYKEY", "its-secret", "its-security-token")
    handle(event, made(**platform_only), Context(token=no_agency, keys=keys))
    assert len(receiver.requests) == 2
    assert cloud.counts["iam"] == 0
    nothing = (no_agency, no_agency, no_agency)
    with pytest.raises(Misconfigured, match="no credentials"):
        handle(event, made(**platform_only), Context(token=no_agency, keys=nothing))  # type: ignore[arg-type]  # None too


def test_the_time_that_the_platform_leaves_is_the_budget(cloud: Cloud, made: Made) -> None:
    event = smn(named(cloud.outcome("failed")))
    cloud.fault("any", "hang", times=None)
    began = datetime.now(UTC)
    with pytest.raises(Transient):
        handle(event, made(), Context(left=400))
    assert datetime.now(UTC) - began < timedelta(seconds=3)


@pytest.mark.parametrize("encoded", [True, False])
def test_api_gateway_is_answered_by_the_http_column(
    cloud: Cloud, receiver: Receiver, made: Made, encoded: bool
) -> None:
    app = made()
    answer = handle(apig(named(cloud.outcome("failed")), encoded=encoded), app)
    assert answer.keys() == {"statusCode", "headers", "body", "isBase64Encoded"}
    assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, False)
    assert json.loads(str(answer["body"]))["results"][0]["action"] == "notified"
    running = handle(apig(named(cloud.outcome("running")), encoded=encoded), app)
    assert running["statusCode"] == 503
    assert int(running["headers"]["Retry-After"]) > 0
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"httpMethod": "GET"}, 405),
        ({"httpMethod": None}, 405),
        ({"body": "", "isBase64Encoded": True}, 400),
        ({"body": None}, 400),
        ({"body": {"operation_log_id": NOWHERE}}, 400),
        ({"body": "%%%"}, 400),
        ({"body": "e1wibmFtZVwiOiBcIkFcIn0="}, 400),
        ({"headers": None}, 401),
        ({"headers": {"Content-Encoding": "gzip", "X-Vaultbell-Token": "right"}}, 400),
        ({"headers": {"x-vaultbell-token": "wrong"}}, 401),
        ({"headers": {"x-vaultbell-token": "right"}, "body": "A" * 1_500_000}, 413),
        ({"headers": {"x-vaultbell-token": "right"}, "queryStringParameters": ["x"]}, 400),
    ],
)
def test_api_gateway_gets_an_answer_whatever_it_hands_over(made: Made, change: dict[str, Any], status: int) -> None:
    event = apig({"operation_log_id": "no id"}, headers={"Authorization": "Bearer right"})
    answer = handle(event | change, made(VAULTBELL_INBOUND_TOKEN="right"))
    assert answer["statusCode"] == status
    assert "code" in json.loads(str(answer["body"]))["error"]


def test_a_bug_of_ours_is_an_answer_too(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("vaultbell.pipeline.sources.decode", broken)
    assert handle(apig({}), made())["statusCode"] == 500


def test_a_platform_form_is_not_believed_at_api_gateway(made: Made) -> None:
    for form in (smn({"operation_log_id": NOWHERE}), kafka({"operation_log_id": NOWHERE})):
        assert handle(apig(form), made())["statusCode"] == 400


@pytest.mark.skipif(not PAYLOADS.is_dir(), reason="the published payloads are not beside this repository")
@pytest.mark.parametrize("path", sorted(PAYLOADS.glob("fg-*-event-*.json")), ids=lambda path: path.stem)
def test_every_published_event_is_understood(made: Made, path: Path) -> None:
    event = json.loads(path.read_text("utf-8"))
    app = made()
    kind = path.stem.split("-")[1]
    if kind in ("timer", "cts"):
        assert "results" in handle(event, app)
    elif kind == "apig":
        wanted = 400 if event["httpMethod"] == "POST" else 405  # none of them names a task
        assert handle(event, app)["statusCode"] == wanted
    else:
        with pytest.raises(InvalidEvent, match=r"LTS|OBS|DDS|is not JSON"):
            handle(event, app)


class Sparse:
    """A context with next to nothing, as local runtimes have it."""

    def __init__(self, **getters: object) -> None:
        for name, value in getters.items():
            setattr(self, name, lambda value=value: value)


@pytest.mark.parametrize(
    "context",
    [
        None,
        Sparse(),
        Sparse(getRemainingTimeInMilliSeconds=None, getToken=None),
        Sparse(getRemainingTimeInMilliSeconds="soon", getToken=" ", getSecurityAccessKey="None"),
        Sparse(getRemainingTimeInMilliSeconds=60_000.0, getToken="NULL"),
    ],
)
def test_what_a_context_does_not_have_is_absent(cloud: Cloud, made: Made, context: Context | None) -> None:
    event, app = smn(named(cloud.outcome("failed"))), made()
    assert functiongraph.handle(event, context, app)["results"]  # type: ignore[arg-type]  # what runtimes hand over
    answer = functiongraph.handle(apig(named(cloud.outcome("failed"))), context, app)  # type: ignore[arg-type]  # too
    assert answer["statusCode"] == 200


def test_a_topic_that_is_not_allowed_is_final(cloud: Cloud, receiver: Receiver, made: Made) -> None:
    event = smn(named(cloud.outcome("failed")))
    event["record"][0]["smn"]["topic_urn"] = "urn:smn:eu-de:0123456789abcdef0123456789abcdef:others"
    app = made(VAULTBELL_SMN_TOPICS="urn:smn:eu-de:0123456789abcdef0123456789abcdef:ours")
    with pytest.raises(InvalidEvent) as refused:
        handle(event, app)
    assert refused.value.status == 403
    assert receiver.requests == []
    assert handle(event, made())["results"][0]["action"] == "notified"


def test_half_a_surrogate_pair_is_no_event(made: Made) -> None:
    with pytest.raises(InvalidEvent):
        handle("\ud800", made())
