"""The HTTP door is as `infra/openapi.yaml` says, whatever comes in: the function as it is deployed, on loopback.

    pytest tests/e2e/test_openapi.py --hypothesis-profile long

looks for longer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
import yaml
from schemathesis.specs.openapi import checks

import samples
from standin.logs import OUTCOMES
from worlds import NewWorld, World

RAW = yaml.safe_load((Path(__file__).parents[2] / "infra" / "openapi.yaml").read_bytes())
DOOR = schemathesis.openapi.from_dict(RAW)
TRUE = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.unsupported_method,
]
TOKEN = "a-token-for-the-door"
SECONDS_MOST, MEGABYTES_MOST = 8.0, 50
TOO_LARGE = {"operation_log_id": "x" * (1 << 20)}
CE = {"specversion": "1.0", "id": "1", "source": "/ours", "type": "ours"}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}


@pytest.fixture(scope="module")
def world(new_world: NewWorld) -> World:
    """An open door, as a container of FunctionGraph has it, that gives up soon."""
    return new_world(VAULTBELL_PLATFORM="functiongraph", VAULTBELL_TIME_BUDGET="1")


@pytest.fixture(scope="module")
def shut(new_world: NewWorld) -> World:
    """A door that asks for a token, and answers CloudEvents by others."""
    return new_world(VAULTBELL_INBOUND_TOKEN=TOKEN, VAULTBELL_REPLY_EVENTS="true")


def test_the_description_is_openapi() -> None:
    assert RAW["openapi"].startswith("3.1.")
    DOOR.validate()


# Each answer ----------------------------------------------------------------------------------------------------------


def conforms(answer: requests.Response) -> int:
    """The status of an answer, once it is as the description says."""
    path, method = re.sub(r"\?.*", "", answer.request.path_url), str(answer.request.method)
    DOOR[path][method].Case().validate_response(answer, checks=TRUE)
    return answer.status_code


def test_every_answer_to_an_event_is_described_and_every_description_is_answered(world: World, shut: World) -> None:
    failed, running = world.cloud.outcome("failed"), world.cloud.outcome("running")
    post, event = world.function.post, world.event
    seen = [conforms(post(event(failed)))]
    seen.append(conforms(post({**CE, "data": event(failed)}, headers=STRUCTURED)))
    seen.append(conforms(post({})))
    seen.append(conforms(post({"type": "Notification"}, headers={"X-SMN-MESSAGE-TYPE": "Notification"})))
    seen.append(conforms(post(event(failed, project_id="f" * 32))))
    seen.append(conforms(post(TOO_LARGE)))
    seen.append(conforms(post(event(running))))
    world.receiver.answer("/bell", status=403, times=1)
    seen.append(conforms(post(event(world.cloud.outcome("failed")))))
    world.cloud.fault("show", "status", status=403, body={"error_code": "CBR.1", "error_msg": "no"})
    seen.append(conforms(post(event(failed))))
    assert seen == [200, 204, 400, 401, 403, 413, 503, 424, 500]
    assert {str(status) for status in seen} == set(RAW["paths"]["/"]["post"]["responses"])

    batch = {"events": [event(failed), {"operation_log_id": "no"}, {"sweep": {}}]}
    assert conforms(post(batch)) == 400
    assert conforms(post({"sweep": {}})) == 200
    known = shut.cloud.outcome("failed")
    reply = shut.function.post(
        {**CE, "data": shut.event(known)}, headers={**STRUCTURED, "Authorization": f"Bearer {TOKEN}"}
    )
    assert (conforms(reply), reply.json()["type"]) == (200, "cbr.task.failed")


@pytest.mark.parametrize("path", ["/", "/metrics"])
def test_each_way_to_prove_oneself_is_one(shut: World, path: str) -> None:
    method = "POST" if path == "/" else "GET"
    schemes = {name: scheme for name, scheme in RAW["components"]["securitySchemes"].items() if name != "signature"}
    for name, scheme in schemes.items():
        for token, let_in in ((TOKEN, True), ("another", False)):
            headers = {"Authorization": f"Bearer {token}"} if name == "bearer" else {}
            headers |= {scheme["name"]: token} if scheme.get("in") == "header" else {}
            query = {scheme["name"]: token} if scheme.get("in") == "query" else {}
            answer = requests.request(method, f"{shut.function.url}{path}", headers=headers, params=query, timeout=10)
            assert (conforms(answer) != 401) is let_in


def test_probes_and_the_platforms_calls_are_answered_as_described(world: World, shut: World) -> None:
    for path in ("/healthz", "/readyz"):
        for method in ("GET", "HEAD"):
            assert conforms(requests.request(method, world.function.url + path, timeout=10)) == 200
    assert conforms(requests.get(f"{world.function.url}/metrics", timeout=10)) == 200
    assert conforms(requests.post(f"{world.function.url}/init", timeout=10)) == 200
    for path in ("/init", "/invoke"):
        assert conforms(requests.post(f"{shut.function.url}{path}", timeout=10)) == 404
    for name in samples.names("functiongraph"):
        body = samples.read(name).body
        answer = requests.post(f"{world.function.url}/invoke", data=body, timeout=10)
        assert conforms(answer) in (200, 500)


def test_reports_and_errors_have_the_keys_of_their_json_schemas() -> None:
    report, error = samples.value("schemas/report.schema.json"), samples.value("schemas/error.schema.json")
    described = RAW["components"]["schemas"]
    pairs = {
        "Report": report,
        "Result": report["$defs"]["result"],
        "Receipt": report["$defs"]["receipt"],
        "Error": error,
        "Why": error["properties"]["error"],
    }
    for name, schema in pairs.items():
        assert described[name]["properties"].keys() == schema["properties"].keys(), name
        assert described[name]["required"] == schema["required"], name


# Whatever comes -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def watched(world: World) -> Iterator[World]:
    """The open door. Afterwards: its processes have not grown, nor written down an error of their own."""
    world.tell("failed")
    requests.get(f"{world.function.url}/metrics", timeout=10)  # which imports a library, in whichever test comes first
    before = peak(world)
    yield world
    assert peak(world) - before <= MEGABYTES_MOST
    assert "Traceback" not in world.function.log
    assert requests.get(f"{world.function.url}/readyz", timeout=5).ok


def peak(world: World) -> float:
    """The most memory that any of the function's processes has had, in MB."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            said = dict(line.split(":", 1) for line in status.read_text("ascii", "replace").splitlines())
        except OSError:  # it has ended
            continue
        if world.function.process.pid in (int(said["PPid"]), int(said["Pid"])) and "VmHWM" in said:
            found.append(int(said["VmHWM"].split()[0]) / 1_024)
    return max(found)


def is_sound(answer: schemathesis.Response) -> None:
    """Hold against what is promised for every answer, besides its description."""
    assert answer.elapsed < SECONDS_MOST
    assert "Traceback" not in answer.text
    assert '"code": "internal"' not in answer.text


WIDE = ("[{}]", '{"":{}}', "[[],{}]", "0", '"x"', '{"":0}')


@pytest.mark.parametrize(("path", "most"), [("/", 1 << 20), ("/invoke", 6 << 20)])
def test_no_body_takes_many_times_its_room(watched: World, path: str, most: int) -> None:
    long = '["\U0001f514' + "x" * ((1 << 20) - 100) + '"]'  # one bell, and each character takes four bytes
    within = ["[" + ",".join([wide] * (195_000 // (1 + 2 * len(re.findall(r"[\[{]", wide))))) + "]" for wide in WIDE]
    beyond = [f"[{(wide + ',') * (most // (len(wide) + 1) - 2)}0]" for wide in WIDE]
    for body in (long, "[" * (most - 1), *within, *beyond):
        answer = requests.post(f"{watched.function.url}{path}", data=body.encode(), timeout=SECONDS_MOST + 5)
        assert conforms(answer) in (400, 413, 500)
        assert '"code": "internal"' not in answer.text
        assert answer.elapsed.total_seconds() < SECONDS_MOST
    assert watched.function.post(watched.event("0" * 36)).status_code == 400


@pytest.fixture(scope="module")
def tasks(world: World) -> list[str]:
    """A task for each outcome."""
    return [world.cloud.outcome(name)["id"] for name in OUTCOMES]


def known(value: Any, tasks: Sequence[str], project: str) -> Any:  # noqa: ANN401 - any JSON value
    """The value with a task that there is for each that is named: for one that is missing, each event waits a while."""
    if isinstance(value, list):
        return [known(item, tasks, project) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {key: known(item, tasks, project) for key, item in value.items()}
    for key, item in value.items():
        if key in ("operation_log_id", "task_id") and isinstance(item, str) and len(item) == 36:
            changed[key] = tasks[ord(item[0]) % len(tasks)]
        elif key == "project_id" and isinstance(item, str) and item[:1] in "01234567":
            changed[key] = project
    return changed


@DOOR.parametrize()
def test_no_event_is_answered_otherwise_than_described(
    case: schemathesis.Case[Any], watched: World, tasks: list[str]
) -> None:
    case.body = known(case.body, tasks, watched.cloud.project_id)
    forms = {name for name in case.headers or {} if name.lower().startswith(("ce-", "x-smn-"))}
    for headers in ((), forms) if forms else ((),):  # without them, the body tells its form
        for name in headers:
            del case.headers[name]
        answer = case.call(base_url=watched.function.url, timeout=SECONDS_MOST + 5)
        case.validate_response(answer, checks=TRUE)
        is_sound(answer)
