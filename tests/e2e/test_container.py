"""The function in FunctionGraph's container form, and its CloudEvents in reply to a broker's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from serving import Running, serving
from standin import Cloud, serve
from standin.sinks import Receiver

EVENT = {"specversion": "1.0", "id": "1", "source": "/here", "type": "anything"}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}


@dataclass(frozen=True, slots=True)
class World:
    cloud: Cloud
    receiver: Receiver
    function: Running


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    cloud = Cloud()
    with serve(cloud), Receiver() as receiver:
        no_password = {
            name: value for name, value in cloud.env().items() if not name.startswith(("OS_USER", "OS_PASS"))
        }
        more = {
            "VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell",
            "VAULTBELL_PLATFORM": "functiongraph",
            "VAULTBELL_REPLY_EVENTS": "true",
            "VAULTBELL_INBOUND_TOKEN": "let-me-in",
            "OS_TOKEN": cloud.issue(cloud.project_id)[0],
        }
        with serving(no_password | more) as function:
            yield World(cloud, receiver, function)


def test_the_platform_may_invoke_without_a_token_and_lends_its_own(world: World) -> None:
    told = len(world.receiver.requests)
    assert world.function.post({}, url=f"{world.function.url}/init").status_code == 200
    lent, _ = world.cloud.issue(world.cloud.project_id)
    event = {"record": [{"smn": {"message": json.dumps({"operation_log_id": world.cloud.outcome("failed")["id"]})}}]}
    headers = {"X-CFF-Auth-Token": lent, "X-CFF-Timeout": "30", "X-CFF-Project-Id": "sn", "X-CFF-Region": "cn"}
    answer = world.function.post(event, url=f"{world.function.url}/invoke", headers=headers)
    assert (answer.status_code, answer.json()["results"][0]["action"]) == (200, "notified")
    assert len(world.receiver.requests) == told + 1
    headers |= {"X-CFF-Auth-Token": "null", "X-CFF-Security-Access-Key": "null", "X-CFF-Security-Secret-Key": "null"}
    assert world.function.post(event, url=f"{world.function.url}/invoke", headers=headers).status_code == 200


def test_what_the_handler_raises_is_500_and_the_error(world: World) -> None:
    events: tuple[object, ...] = ({"hello": 1}, {"records": [{"dds": {}}]})
    for event in events:
        answer = world.function.post(event, url=f"{world.function.url}/invoke")
        assert answer.status_code == 500
        assert answer.json()["error"].keys() == {"code", "message"}
    assert world.function.post(url=f"{world.function.url}/invoke", data=b"{").status_code == 500


def test_the_other_door_still_asks_for_its_proof(world: World) -> None:
    assert world.function.post({"operation_log_id": "0"}).status_code == 401
    apig = {"httpMethod": "POST", "body": "{}", "isBase64Encoded": False, "headers": {}}
    answer = world.function.post(apig, url=f"{world.function.url}/invoke")
    assert (answer.status_code, answer.json()["statusCode"]) == (200, 401)


@pytest.mark.parametrize("outcome", ["failed", "succeeded", "overdue"])
def test_a_cloud_event_is_answered_by_one_which_is_dropped_when_it_comes_back(world: World, outcome: str) -> None:
    log = world.cloud.outcome(outcome)
    event = {**EVENT, "data": {"operation_log_id": log["id"]}}
    proof = {"X-Vaultbell-Token": "let-me-in"}
    answer = world.function.post(headers={**STRUCTURED, **proof, "Prefer": "reply"}, data=json.dumps(event))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/cloudevents+json"
    reply = answer.json()
    assert reply["type"] == f"cbr.task.{outcome}"
    assert reply["source"] == f"/vaultbell/eu-de/{world.cloud.project_id}"
    assert (reply["specversion"], reply["subject"]) == ("1.0", log["id"])
    assert reply["data"]["outcome"] == outcome
    if outcome != "succeeded":
        assert world.receiver.requests[-1].headers["webhook-id"] == reply["id"]
        assert world.receiver.requests[-1].json["data"] == reply["data"]
    told = len(world.receiver.requests)
    back = world.function.post(headers={**STRUCTURED, **proof}, data=answer.content)
    assert (back.status_code, back.content) == (204, b"")
    assert len(world.receiver.requests) == told


def test_where_there_is_no_one_task_to_tell_of_nothing_is_replied(world: World) -> None:
    proof = {"X-Vaultbell-Token": "let-me-in"}
    events = [
        {**EVENT, "id": str(n), "data": {"operation_log_id": world.cloud.outcome("failed")["id"]}} for n in (1, 2)
    ]
    batch = {"Content-Type": "application/cloudevents-batch+json"}
    answer = world.function.post(headers={**batch, **proof}, data=json.dumps(events))
    assert (answer.status_code, answer.content) == (204, b"")
    sweep = {**EVENT, "data": {"sweep": {}}}
    answer = world.function.post(headers={**STRUCTURED, **proof}, data=json.dumps(sweep))
    assert (answer.status_code, answer.content) == (204, b"")


def test_without_the_settings_the_container_form_is_closed_and_nothing_is_replied(
    cloud: Cloud, receiver: Receiver
) -> None:
    with serving(cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"}) as function:
        event = {"operation_log_id": cloud.outcome("failed")["id"]}
        assert function.post(event, url=f"{function.url}/invoke").status_code == 404
        assert function.post(event, url=f"{function.url}/init").status_code == 404
        answer = function.post(headers=STRUCTURED, data=json.dumps({**EVENT, "data": event}))
        assert (answer.status_code, answer.content) == (204, b"")
