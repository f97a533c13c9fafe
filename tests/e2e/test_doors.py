"""The HTTP door: every form that may arrive, who may come in, and what is answered, to the letter."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
import requests
from standardwebhooks.webhooks import Webhook

from worlds import OLD, SECRET, NewWorld, World, ago, connected, packed, read_answer

OTHER, REFUSED, FOREIGN = "fedcba9876543210fedcba9876543210", "a" * 32, "b" * 32
TOKEN, WRONG = "a-token-of-the-door", "a-token-of-another-door"
OLD_SECRET = "whsec_" + "b2xkIGtleSBvZiB0aGUgZG9vciwgMzIgYnl0ZXMgbG9uZw=="
CE = {"specversion": "1.0", "id": "a-1", "source": "/ours/producer", "type": "cbr.task.failed"}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}
MIB = 1 << 20
CONFIG = """
channels:
  bell: {type: webhook, url: "{url}/bell", secrets: ["{secret}"]}
  picky: {type: webhook, url: "{url}/a-secret-path"}
  ill: {type: webhook, url: "{url}/ill"}
  late: {type: webhook, url: "{url}/late"}
routes:
  - {match: {vault_name: refused}, channels: [picky]}
  - {match: {vault_name: ill}, channels: [ill]}
  - {match: {vault_name: both}, channels: [bell, late]}
  - {match: {vault_name: neither}, channels: [picky, ill]}
  - {channels: [bell]}
"""

Sent = Mapping[str, Any]  # how requests is to send something
Form = Callable[[dict[str, object]], Sent]


@pytest.fixture(scope="module")
def world(new_world: NewWorld) -> World:
    """An open door. Of its channels one refuses all, one is ill; of its projects one is refused by the cloud."""
    projects = f"{'0123456789abcdef' * 2},{OTHER}@eu-nl,{REFUSED}"
    world = new_world(config=CONFIG, other=OTHER, VAULTBELL_PROJECTS=projects)
    world.receiver.answer("/a-secret-path", 400)
    world.receiver.answer("/ill", 503, {"Retry-After": "300"})
    return world


@pytest.fixture(scope="module")
def hasty(new_world: NewWorld) -> World:
    """An open door with little time."""
    return new_world(VAULTBELL_TIME_BUDGET="2")


@pytest.fixture(scope="module")
def guarded(new_world: NewWorld) -> World:
    """A door that wants a token or a signature by one of two secrets."""
    return new_world(VAULTBELL_INBOUND_TOKEN=TOKEN, VAULTBELL_INBOUND_SECRET=f"{SECRET} {OLD_SECRET}")


@pytest.fixture
def failed(world: World) -> dict[str, Any]:
    """A task of which there is something to tell."""
    return world.cloud.outcome("failed")


def error_of(answer: requests.Response) -> dict[str, str]:
    """The error in an answer that holds nothing but one."""
    body = answer.json()
    assert list(body) == ["error"]
    assert sorted(body["error"]) == ["code", "message"]
    assert answer.headers["Content-Type"] == "application/json"
    assert len(answer.content) <= 1_000
    error: dict[str, str] = body["error"]
    return error


def binary(event: Mapping[str, object], **more: str) -> Sent:
    attributes = {f"ce-{name}": value for name, value in (CE | more).items() if value}
    return {"data": json.dumps(event), "headers": {"Content-Type": "application/json"} | attributes}


def structured(event: Mapping[str, object], **more: object) -> Sent:
    said = {**CE, "data": event, **more}
    return {"data": json.dumps({k: v for k, v in said.items() if v is not ...}), "headers": STRUCTURED}


def pushed(event: Mapping[str, object], **more: object) -> dict[str, object]:
    return {"message": {"data": packed(event), "messageId": "1", **more}, "subscription": "projects/p/subscriptions/s"}


# Forms

FORMS: dict[str, tuple[int, Form]] = {
    "plain": (200, lambda event: {"json": event}),
    "task_id": (200, lambda event: {"json": {"task_id": event.pop("operation_log_id"), **event}}),
    "both names": (200, lambda event: {"json": {"task_id": str(event["operation_log_id"]).upper(), **event}}),
    "no project": (200, lambda event: {"json": {**event, "project_id": None}}),
    "its region": (200, lambda event: {"json": {**event, "region": "eu-de"}}),
    "upper case": (200, lambda event: {"json": {name: str(value).upper() for name, value in event.items()}}),
    "more fields": (200, lambda event: {"json": {**event, "records": [1], "record": {}, "note": "ours", "lts": 1}}),
    "byte-order mark": (200, lambda event: {"data": b"\xef\xbb\xbf" + json.dumps(event).encode()}),
    "blanks around": (200, lambda event: {"data": f"\r\n\t {json.dumps(event, indent=2)} \n"}),
    "another content type": (
        200,
        lambda event: {"data": json.dumps(event), "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
    ),
    "multipart by its name": (
        200,
        lambda event: {"data": json.dumps(event), "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
    ),
    "in chunks": (200, lambda event: {"data": iter([json.dumps(event).encode()[:9], json.dumps(event).encode()[9:]])}),
    "a list of one": (200, lambda event: {"json": {"events": [event]}}),
    "lists in lists": (200, lambda event: {"json": {"events": [{"events": [event]}]}}),
    "push": (200, lambda event: {"json": pushed(event)}),
    "push, older keys": (
        200,
        lambda event: {
            "json": {
                "message": {"data": packed(event), "message_id": "1", "publish_time": ago(OLD)},
                "subscription": "projects/p/subscriptions/s",
                "deliveryAttempt": 5,
            }
        },
    ),
    "push with attributes": (200, lambda event: {"json": pushed(event, attributes={"operation_log_id": "none"})}),
    "structured": (204, structured),
    "structured, charset": (
        204,
        lambda event: {**structured(event), "headers": {"Content-Type": "Application/CloudEvents+JSON; charset=UTF-8"}},
    ),
    "structured, packed": (204, lambda event: structured(event, data=..., data_base64=packed(event))),
    "structured, as text": (204, lambda event: structured(event, data=json.dumps(event))),
    "structured, extensions": (204, lambda event: structured(event, partitionkey="7", datacontenttype=None)),
    "structured, told by shape": (204, lambda event: {"json": {**CE, "data": event}}),
    "binary": (204, binary),
    "binary, charset": (
        204,
        lambda event: {
            "data": json.dumps(event),
            "headers": {**binary(event)["headers"], "Content-Type": "text/plain"},
        },
    ),
    "binary, encoded": (204, lambda event: binary(event, source="%2Fours%2Fpr%C3%BCfer", subject="100%25 %zz")),
    "binary, quoted": (204, lambda event: binary(event, specversion='"1.0"', id='"a \\"b\\" c"')),
    "batch": (204, lambda event: {"data": json.dumps([{**CE, "data": event}]), "headers": BATCH}),
    "batch, charset": (
        204,
        lambda event: {
            "data": json.dumps([{**CE, "data_base64": packed(event)}]),
            "headers": {"Content-Type": "application/cloudevents-batch+json;charset=utf-8"},
        },
    ),
    "push in a CloudEvent": (204, lambda event: structured(pushed(event))),
    "CloudEvent in a push": (200, lambda event: {"json": pushed({**CE, "data": event})}),
    "CloudEvent in a list": (200, lambda event: {"json": {"events": [{**CE, "data": event}]}}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_rings_and_is_acknowledged_as_its_sender_expects(
    world: World, failed: dict[str, Any], form: str
) -> None:
    status, sent = FORMS[form]
    answer = world.function.post(**sent(world.event(failed)))
    assert answer.status_code == status
    if status == 204:
        assert answer.content == b""
        assert "Content-Type" not in answer.headers
    else:
        (line,) = answer.json()["results"]
        assert (line["operation_log_id"], line["outcome"], line["action"]) == (failed["id"], "failed", "notified")
    (got,) = world.rung(failed)
    assert got.json["type"] == "cbr.task.failed"


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_told_to_come_again_for_a_task_that_still_runs(world: World, form: str) -> None:
    task = world.cloud.outcome("running")
    answer = world.function.post(**FORMS[form][1](world.event(task)))
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    (line,) = answer.json()["results"]
    assert (line["operation_log_id"], line["action"], line["outcome"]) == (task["id"], "retry", "running")


AT = "2026-11-23T08:00:00Z"


@pytest.mark.parametrize(
    "timed",
    [
        lambda event: structured(event, time=AT),
        lambda event: binary(event, time=AT),
        lambda event: binary(event, time=f'"{AT}"'),
        lambda event: binary(event, time=quote(AT)),
        lambda event: {"data": json.dumps([{**CE, "time": AT, "data": event}]), "headers": BATCH},
        lambda event: {"json": pushed(event, publishTime=AT)},
        lambda event: {"json": pushed(event, publish_time=AT)},
        lambda event: structured({**event, "time": AT}, time=ago(timedelta(0))),
        lambda event: structured(pushed(event, publishTime=AT), time=ago(timedelta(0))),
        lambda event: {"json": {**event, "time": "2026-11-23T09:00:00.000+01:00"}},
        lambda event: {"json": {**event, "time": 1795420800000}},
    ],
)
def test_the_events_time_is_the_one_told_nearest_to_the_task(world: World, timed: Form) -> None:
    name = str(uuid4())
    world.function.post(**timed(world.event(name, time=...)))
    (got,) = world.rung(name)
    assert (got.json["type"], got.json["timestamp"], world.asked(name)) == ("cbr.task.missing", AT, 1)


@pytest.mark.parametrize(
    "sent",
    [
        *(structured({}, **{name: value}) for name in CE for value in (..., None, "", 7)),
        structured({}, specversion="0.3"),
        structured({}, data=...),
        structured({}, data=None),
        structured({}, data="not JSON"),
        structured({}, data=[]),
        structured({}, data_base64=packed({})),
        structured({}, data=..., data_base64="not base64"),
        structured({}, data=..., data_base64=7),
        *(binary({}, **{name: ""}) for name in CE),
        binary({}, specversion="1.1"),
        {**binary({}), "data": b""},
        {**binary({}), "data": b"\xff"},
        {"data": "{}", "headers": STRUCTURED},
        {"data": "[]", "headers": STRUCTURED},
        {"data": "7", "headers": STRUCTURED},
        {"data": "<event/>", "headers": {"Content-Type": "application/cloudevents+xml"}},
        {"data": "{}", "headers": BATCH},
        {"data": "[]", "headers": BATCH},
        {"data": json.dumps(CE), "headers": BATCH},
    ],
)
def test_a_cloudevent_that_is_none_is_refused(world: World, sent: Sent) -> None:
    answer = world.function.post(**sent)
    assert answer.status_code == 400
    error_of(answer)


def test_one_bad_event_of_a_batch_is_its_line_and_the_others_are_handled(world: World) -> None:
    first, last = world.cloud.outcome("failed"), world.cloud.outcome("succeeded")
    events = [{**CE, "data": world.event(first)}, {**CE, "type": ""}, 7, {**CE, "data": world.event(last)}]
    answer = world.function.post(data=json.dumps(events), headers=BATCH)
    assert answer.status_code == 400
    lines = answer.json()["results"]
    assert [line["action"] for line in lines] == ["notified", "rejected", "rejected", "quiet"]
    assert lines[1] == {"action": "rejected", "error": answer.json()["error"]}
    assert len(world.rung(first)) == 1


@pytest.mark.parametrize("source", ["/vaultbell/eu-de/0123456789abcdef0123456789abcdef", "/vaultbell//"])
def test_an_event_of_our_own_that_comes_back_is_handled_and_dropped(
    world: World, failed: dict[str, Any], source: str
) -> None:
    event = world.event(failed)
    batch = [{**CE, "source": source, "data": {"whatever": 1}}] * 2
    for sent in (
        structured(event, source=source, data={"operation_log": failed}),
        binary(event, source=quote(source)),
        {"data": json.dumps(batch), "headers": BATCH},
    ):
        answer = world.function.post(**sent)
        assert (answer.status_code, answer.content) == (204, b"")
    assert (world.asked(failed), world.rung(failed)) == (0, [])


def test_an_event_with_a_type_like_ours_is_somebody_elses(world: World, failed: dict[str, Any]) -> None:
    sent = structured(world.event(failed), type="cbr.task.failed", source="/others/vaultbell/eu-de/x")
    assert world.function.post(**sent).status_code == 204
    assert len(world.rung(failed)) == 1


def test_an_alarm_and_a_trace_ring_for_the_task_that_they_hint_at(world: World) -> None:
    vault, server = str(uuid4()), str(uuid4())
    task = world.cloud.outcome("failed", vault_id=vault, resource_id=server)
    alarm = {
        "alarm_id": "al1",
        "alarm_status": "alarm",
        "namespace": "SYS.CBR",
        "metric_name": "backupFailed",
        "time": ago(timedelta(0)),
        "template_variable": {"ResourceId": server},
    }
    trace = {
        "service_type": "CBR",
        "trace_name": "createVaultBackup",
        "resource_id": vault,
        "time": task["created_at"],
        "project_id": world.cloud.project_id,
    }
    for told, hint in enumerate((alarm, trace, {"cts": trace}), 1):
        answer = world.function.post(hint)
        assert (answer.status_code, len(world.rung(task))) == (200, told)
        assert [line["operation_log_id"] for line in answer.json()["results"]] == [task["id"]]
    quiet = world.function.post({**alarm, "metric_name": "agentOffline"})
    assert (quiet.status_code, [line["action"] for line in quiet.json()["results"]]) == (200, ["quiet"])


def test_a_sweep_rings_for_what_nobody_named(world: World) -> None:
    ended = datetime(2020, 1, 1, 0, 3, tzinfo=UTC)
    task = world.cloud.outcome("timed_out", ended_at=ended, updated_at=ended)
    answer = world.function.post({"sweep": {"at": "2020-01-01T00:21:00Z", "project_id": world.cloud.project_id}})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["swept"]["from"], body["swept"]["until"]) == ("2020-01-01T00:00:00Z", "2020-01-01T00:15:00Z")
    assert [(line["operation_log_id"], line["outcome"]) for line in body["results"]] == [(task["id"], "timed_out")]
    assert len(world.rung(task)) == 1


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"nothing": 1}, 400),
        ({"at": "soon"}, 400),
        ({"period": "0s"}, 400),
        ({"period": "a while"}, 400),
        ({"lag": -1}, 400),
        ({"project_id": "x"}, 400),
        ("now", 400),
        ({"project_id": FOREIGN}, 403),
    ],
)
def test_a_sweep_that_means_nothing_is_refused(world: World, asked: object, status: int) -> None:
    listed = world.cloud.counts["list"]
    answer = world.function.post({"sweep": asked})
    assert answer.status_code == status
    error_of(answer)
    assert world.cloud.counts["list"] == listed


# What is not read


def test_a_key_given_twice_is_refused(world: World, failed: dict[str, Any]) -> None:
    event = json.dumps(world.event(failed))
    answer = world.function.post(data=f'{event[:-1]}, "operation_log_id": "{uuid4()}"}}')
    assert (answer.status_code, world.asked(failed)) == (400, 0)
    error_of(answer)


@pytest.mark.parametrize("encoding", ["gzip", "identity", "br"])
def test_an_encoded_body_is_refused(world: World, failed: dict[str, Any], encoding: str) -> None:
    answer = world.function.post(world.event(failed), headers={"Content-Encoding": encoding})
    assert (answer.status_code, world.asked(failed)) == (400, 0)
    assert encoding not in answer.text
    error_of(answer)


def test_a_body_of_1_mib_is_read_and_one_byte_more_is_not(world: World, failed: dict[str, Any]) -> None:
    body = json.dumps(world.event(failed)).encode()
    assert world.function.post(data=body.ljust(MIB)).status_code == 200
    whole = body.ljust(MIB + 1)
    for data in (whole, iter([whole[:500_000], whole[500_000:]])):
        answer = world.function.post(data=data)
        assert (answer.status_code, error_of(answer)["code"]) == (413, "too_large")
    assert len(world.rung(failed)) == 1


def test_a_body_that_is_too_long_is_not_waited_for(world: World) -> None:
    announced = world.raw(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n{")
    assert announced.startswith(b"HTTP/1.1 413 ")
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    in_chunks = world.raw(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", chunk * 17)
    assert in_chunks.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "chunks",
    [b"zz\r\n{}\r\n", b"2\r\n{}xx0\r\n\r\n", b"-2\r\n{}\r\n", b"\r\n", b"2\r\n{}\r\n0\r\nnot a trailer\r\n\r\n"],
)
def test_a_body_in_broken_chunks_is_the_senders_fault(world: World, chunks: bytes) -> None:
    answer = world.raw(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", chunks)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"cut_short" in answer


def test_a_sender_that_stops_or_trickles_is_answered_within_the_budget(hasty: World) -> None:
    heads = (b"Content-Length: 999", b"Transfer-Encoding: chunked")
    slow: list[tuple[Any, bytes]] = []
    opened = [connected(hasty.function) for _ in range(4)]
    senders = [each.__enter__() for each in opened]
    for at, sender in enumerate(senders):
        sender.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + heads[at % 2] + b"\r\n\r\n")
        sender.settimeout(0.05)
        slow.append((sender, (b"1", b"1\r\n1\r\n")[at % 2] if at > 1 else b""))
    answers: list[bytes] = []
    until = time.monotonic() + 10
    while slow and time.monotonic() < until:
        for sender, crumb in list(slow):
            sender.sendall(crumb)
            try:
                sender.recv(1, 2)  # MSG_PEEK
            except TimeoutError:
                continue
            slow.remove((sender, crumb))
            answers.append(read_answer(sender))
    for each in opened:
        each.__exit__(None, None, None)
    assert len(answers) == 4
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in answer


def test_items_whose_turn_does_not_come_within_the_budget_come_again(hasty: World) -> None:
    tasks = [hasty.cloud.outcome("failed") for _ in range(100)]
    hasty.cloud.fault("show", "hang", times=None)
    answer = hasty.function.post({"events": [hasty.event(task) for task in tasks]})
    hasty.cloud.heal()
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    lines = answer.json()["results"]
    assert [line["operation_log_id"] for line in lines] == [task["id"] for task in tasks]
    assert {(line["action"], line["error"]["code"]) for line in lines} == {("retry", "try_again")}
    assert sum(hasty.asked(task) == 0 for task in tasks) > 50
    assert [hasty.rung(task) for task in tasks] == [[]] * 100


def test_a_batch_has_a_thousand_items_at_most(world: World, failed: dict[str, Any]) -> None:
    event = {"operation_log_id": "x", "note": "refused, each of them"}
    answer = world.function.post({"events": [event] * 999 + [world.event(failed)]})
    assert (answer.status_code, len(answer.json()["results"])) == (400, 1_000)
    assert len(world.rung(failed)) == 1
    for events in ([event] * 1_001, [{"events": [event] * 600}] * 2):
        answer = world.function.post({"events": events})
        assert (answer.status_code, error_of(answer)["code"]) == (413, "too_large")


def test_an_item_that_stands_in_a_batch_twice_is_told_once(world: World, failed: dict[str, Any]) -> None:
    answer = world.function.post({"events": [world.event(failed, time=AT)] * 3})
    lines = answer.json()["results"]
    assert (answer.status_code, len(lines)) == (200, 3)
    assert lines[0] == lines[1] == lines[2]
    assert len(world.rung(failed)) == 1


# Paths and methods


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_it_says_that_it_lives(world: World, path: str) -> None:
    url = world.function.url + path
    for method in ("GET", "HEAD"):
        answer = requests.request(method, url, timeout=10)
        assert answer.status_code == 200
        assert bool(answer.content) is (method == "GET")
    assert requests.post(url, timeout=10).status_code == 405


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "RING"])
def test_an_event_is_posted_and_nothing_else(world: World, failed: dict[str, Any], method: str) -> None:
    answer = requests.request(method, f"{world.function.url}/", json=world.event(failed), timeout=10)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"
    if method != "HEAD":
        assert error_of(answer)["code"] == "method_not_allowed"
    assert world.asked(failed) == 0


@pytest.mark.parametrize(
    "path", ["/x", "/index.html", "/healthz/", "/init", "/invoke", "/..%2f", "/%00", "/?/x", "/a/b"]
)
def test_other_paths_lead_nowhere(world: World, failed: dict[str, Any], path: str) -> None:
    answer = world.function.post(world.event(failed), url=world.function.url + path)
    if path.startswith("/?"):
        assert answer.status_code == 200
        return
    assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found")
    assert path not in answer.text
    assert world.asked(failed) == 0


# Answers

STATUSES = (500, 503, 424, 403, 400, 200)  # the worst first


def item(world: World, status: int) -> dict[str, object]:
    """An item that is answered this alone."""
    match status:
        case 500:
            return world.event(str(uuid4()), project_id=REFUSED)
        case 503:
            return world.event(world.cloud.outcome("running"))
        case 424:
            return world.event(world.cloud.outcome("failed", vault_name="refused"))
        case 403:
            return world.event(str(uuid4()), project_id=FOREIGN)
        case 400:
            return world.event("no-uuid")
        case _:
            return world.event(world.cloud.outcome("succeeded"))


ACTIONS = {500: "retry", 503: "retry", 424: "rejected", 403: "rejected", 400: "rejected", 200: "quiet"}


@pytest.mark.parametrize(("worse", "better"), [*combinations(STATUSES, 2)])
def test_a_batch_is_answered_by_the_worst_of_its_items(world: World, worse: int, better: int) -> None:
    for order in ((worse, better), (better, worse), (better, worse, better)):
        answer = world.function.post({"events": [item(world, status) for status in order]})
        assert answer.status_code == worse
        assert ("Retry-After" in answer.headers) is (worse == 503)
        body = answer.json()
        assert [line["action"] for line in body["results"]] == [ACTIONS[status] for status in order]
        if worse != 503:
            assert body["error"] == body["results"][order.index(worse)]["error"]


@pytest.mark.parametrize("status", STATUSES)
def test_an_item_alone_is_answered_by_its_own_status(world: World, status: int) -> None:
    answer = world.function.post(item(world, status))
    assert answer.status_code == status
    if status in (400, 403):
        error_of(answer)
        return
    (line,) = answer.json()["results"]
    assert line["action"] == ACTIONS[status]
    if status in (424, 500):
        assert answer.json()["error"] == line["error"]


def test_a_batch_asks_to_wait_as_long_as_the_longest_of_its_items(world: World) -> None:
    young = world.event(str(uuid4()), time=ago(timedelta(seconds=270)))
    ill = world.event(world.cloud.outcome("failed", vault_name="ill"))
    answer = world.function.post({"events": [young, ill, young]})
    waits = [line["retry_after"] for line in answer.json()["results"]]
    assert (answer.status_code, answer.headers["Retry-After"], waits[1]) == (503, "300", 300)
    assert waits[0] <= 30


def test_a_channel_that_refuses_for_good_is_owed_and_final(world: World) -> None:
    told = world.tell("failed", vault_name="refused")
    assert told.status == 424
    receipt = {"channel": "picky", "delivered": False, "attempts": 1, "status": 400}
    assert (told.line["action"], told.line["owed"], told.line["outcome"]) == ("rejected", ["picky"], "failed")
    assert {key: told.line["receipts"][0][key] for key in receipt} == receipt
    assert "127.0.0.1 answered 400" in told.line["receipts"][0]["error"]
    assert "a-secret-path" not in told.answer.text
    assert "a-secret-path" not in world.function.log
    assert len(told.rung) == 1


def test_a_channel_that_is_ill_is_owed_and_its_wait_handed_on(world: World) -> None:
    told = world.tell("failed", vault_name="ill")
    assert (told.status, told.answer.headers["Retry-After"]) == (503, "300")
    assert (told.line["action"], told.line["owed"], told.line["retry_after"]) == ("retry", ["ill"], 300)
    assert [(got["delivered"], got["status"]) for got in told.line["receipts"]] == [(False, 503)]


def test_what_may_pass_beats_what_is_final_among_channels_too(world: World) -> None:
    told = world.tell("failed", vault_name="neither")
    assert (told.status, told.line["action"], sorted(told.line["owed"])) == (503, "retry", ["ill", "picky"])


def test_a_repeat_tells_only_the_channel_that_is_still_owed(world: World) -> None:
    world.receiver.answer("/late", 503, {"Retry-After": "120"}, times=1)
    told = world.tell("failed", vault_name="both")
    assert (told.status, told.line["owed"]) == (503, ["late"])
    assert {got["channel"]: got["delivered"] for got in told.line["receipts"]} == {"bell": True, "late": False}
    again = world.named(told.task)
    assert (again.status, again.line["action"]) == (200, "notified")
    assert "owed" not in again.line
    assert [(got["channel"], got["delivered"]) for got in again.line["receipts"]] == [("late", True)]
    assert Counter(got.path for got in again.rung) == {"/bell": 1, "/late": 2}
    assert len({(got.headers["webhook-id"], got.body) for got in again.rung if got.path == "/late"}) == 1


@pytest.mark.parametrize("status", [503, 424, 403, 400])
def test_a_cloudevent_that_is_not_handled_is_answered_like_any_other(world: World, status: int) -> None:
    answer = world.function.post(**structured(item(world, status)))
    assert answer.status_code == status
    if status in (403, 400):
        error_of(answer)
    else:
        assert len(answer.json()["results"]) == 1


# Who may come in


def test_an_open_door_says_so_at_its_start(world: World, guarded: World) -> None:
    assert any("door is open" in line for line in world.function.log.splitlines())
    assert "door is open" not in guarded.function.log


def proofs() -> Iterator[tuple[str, Sent]]:
    yield "bearer", {"headers": {"Authorization": f"Bearer {TOKEN}"}}
    yield "bearer in another case", {"headers": {"Authorization": f"bearer  {TOKEN}"}}
    yield "header", {"headers": {"X-Vaultbell-Token": TOKEN}}
    yield "query", {"params": {"token": TOKEN}}
    yield "query among others", {"params": [("a", "1"), ("token", WRONG), ("token", TOKEN)]}
    yield "one right and one wrong", {"headers": {"X-Vaultbell-Token": TOKEN, "Authorization": f"Bearer {WRONG}"}}


@pytest.mark.parametrize(("sent"), [pytest.param(sent, id=name) for name, sent in proofs()])
def test_a_right_token_opens_the_door_and_is_not_written_down(guarded: World, sent: Sent) -> None:
    task = guarded.cloud.outcome("failed")
    answer = guarded.function.post(guarded.event(task), **sent)
    assert (answer.status_code, len(guarded.rung(task))) == (200, 1)
    assert TOKEN not in answer.text
    assert TOKEN not in guarded.function.log


def signed(secret: str, body: str, at: datetime | None = None, message_id: str = "msg_1") -> dict[str, str]:
    at = at or datetime.now(UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body),
    }


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_a_signature_by_any_of_the_secrets_opens_the_door(guarded: World, secret: str) -> None:
    for seconds in (-280, 0, 280):
        task = guarded.cloud.outcome("failed")
        body = json.dumps(guarded.event(task))
        headers = signed(secret, body, datetime.now(UTC) + timedelta(seconds=seconds))
        headers |= {"X-Vaultbell-Token": WRONG}  # one right proof suffices
        assert guarded.function.post(data=body, headers=headers).status_code == 200
        assert len(guarded.rung(task)) == 1


def test_several_signatures_in_one_header_are_tried_in_turn(guarded: World) -> None:
    task = guarded.cloud.outcome("failed")
    body = json.dumps(guarded.event(task))
    right = signed(SECRET, body)
    headers = right | {"webhook-signature": f"v1,AAAA v1a,xyz {right['webhook-signature']} v2,b"}
    assert guarded.function.post(data=body, headers=headers).status_code == 200


BODY = json.dumps({"operation_log_id": str(uuid4()), "time": AT})


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"headers": {"Authorization": f"Bearer {WRONG}"}},
        {"headers": {"Authorization": f"Basic {TOKEN}"}},
        {"headers": {"Authorization": TOKEN}},
        {"headers": {"Authorization": "Bearer"}},
        {"headers": {"X-Vaultbell-Token": ""}},
        {"headers": {"X-Vaultbell-Token": TOKEN + "x"}},
        {"headers": {"X-Vaultbell-Token": TOKEN.upper()}},
        {"headers": {"X-Vaultbell-Token": "\xff\xfe".encode("latin-1")}},
        {"headers": {"Cookie": f"token={TOKEN}"}},
        {"params": {"token": WRONG}},
        {"params": {"token": ""}},
        {"params": {"TOKEN": TOKEN}},
        {"params": b"token=%ED%A0%80%FF"},
        {"headers": signed(SECRET, BODY + " ")},
        {"headers": signed("whsec_" + packed("a secret of somebody else")[:32], BODY)},
        {"headers": signed(SECRET, BODY) | {"webhook-id": "msg_2"}},
        {"headers": signed(SECRET, BODY) | {"webhook-id": ""}},
        {"headers": signed(SECRET, BODY) | {"webhook-timestamp": str(int(time.time()) - 1)}},
        {"headers": signed(SECRET, BODY) | {"webhook-timestamp": "now"}},
        {"headers": signed(SECRET, BODY) | {"webhook-timestamp": "9" * 40}},
        {"headers": signed(SECRET, BODY) | {"webhook-timestamp": ""}},
        {"headers": signed(SECRET, BODY) | {"webhook-signature": ""}},
        {"headers": signed(SECRET, BODY) | {"webhook-signature": "v1,"}},
        {"headers": signed(SECRET, BODY) | {"webhook-signature": "v1,\xff\xfe".encode("latin-1")}},
    ],
)
def test_without_a_right_proof_nothing_is_looked_up(guarded: World, sent: Sent) -> None:
    asked = sum(guarded.cloud.counts.values())
    answer = guarded.function.post(**{"data": BODY, **sent})
    assert (answer.status_code, error_of(answer)["code"]) == (401, "unauthenticated")
    assert sum(guarded.cloud.counts.values()) == asked
    assert TOKEN not in guarded.function.log + answer.text
    assert WRONG not in guarded.function.log + answer.text


@pytest.mark.parametrize("seconds", [-310, 310])
def test_a_signature_holds_for_five_minutes_either_way(guarded: World, seconds: int) -> None:
    headers = signed(SECRET, BODY, datetime.now(UTC) + timedelta(seconds=seconds))
    answer = guarded.function.post(data=BODY, headers=headers)
    assert (answer.status_code, error_of(answer)["code"]) == (401, "unauthenticated")


def test_an_smn_message_that_is_none_is_refused_whatever_token_it_brings(guarded: World) -> None:
    asked = sum(guarded.cloud.counts.values())
    headers = {"X-SMN-Message-Type": "Notification", "X-Vaultbell-Token": TOKEN}
    assert guarded.function.post(data=BODY, headers=headers).status_code in (400, 401, 403)
    assert sum(guarded.cloud.counts.values()) == asked


def test_who_cannot_come_in_is_sent_away_before_the_body_is_read(guarded: World) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    for length in (500, 5_000_000):  # of which nothing ever comes
        assert guarded.raw(head % length).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "more",
    [
        {"project_id": FOREIGN},
        {"region": "eu-nl"},
        {"region": ""},
        {"region": "eu-de.example.org/"},
        {"project_id": OTHER, "region": "eu-de"},
        {"project_id": None, "region": "eu-ch2"},
    ],
)
def test_a_project_or_region_that_is_not_allowed_is_refused_unseen(world: World, more: Mapping[str, object]) -> None:
    asked = sum(world.cloud.counts.values())
    answer = world.function.post(world.event(str(uuid4()), **more))
    assert answer.status_code == 403
    assert error_of(answer)["code"] in ("project_not_allowed", "region_not_allowed")
    assert sum(world.cloud.counts.values()) == asked


def test_a_project_of_another_region_is_told_with_its_region(world: World) -> None:
    task = world.cloud.outcome("failed", project_id=OTHER)
    told = world.named(task, project_id=OTHER, region="eu-nl")
    assert (told.status, told.body["data"]["region"]) == (200, "eu-nl")


def test_an_alarm_that_cannot_be_read_is_told_if_its_sender_is_known(guarded: World, world: World) -> None:
    alarm = {"namespace": "SYS.CBR", "metric_name": "backupFailed", "note": str(uuid4())}
    answer = guarded.function.post(alarm, headers={"X-Vaultbell-Token": TOKEN})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unreadable_alarm")
    (got,) = guarded.rung(alarm["note"])
    assert (got.json["type"], got.json["data"]["severity"]) == ("cbr.task.unverified", "critical")
    assert world.function.post(alarm).status_code == 400
    assert world.rung(alarm["note"]) == []


# Many at once


def test_300_events_at_once_cost_one_token_and_ring_once_each(guarded: World) -> None:
    tasks = [guarded.cloud.outcome("failed") for _ in range(300)]
    proof = {"X-Vaultbell-Token": TOKEN}
    with ThreadPoolExecutor(16) as crew:
        answers = list(crew.map(lambda task: guarded.function.post(guarded.event(task), headers=proof), tasks))
    assert [answer.status_code for answer in answers] == [200] * 300
    assert [guarded.asked(task) for task in tasks] == [1] * 300
    assert guarded.cloud.tokens_issued == 1  # for this and whatever came before
    rung = [guarded.rung(task) for task in tasks]
    assert [len(told) for told in rung] == [1] * 300
    assert len({told[0].headers["webhook-id"] for told in rung}) == 300
    assert all(guarded.receiver.verify(SECRET))
    logged = Counter(line.get("task") for line in guarded.function.logged())
    assert [logged[task["id"]] for task in tasks] == [1] * 300
