"""The running function, watched: what a scrape reads, and a trace from the door to the API and the webhook."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from integration.broker import missing
from serving import Running, serving
from standin.sinks import Got, Receiver
from vaultbell import compose, settings, tracing
from vaultbell.budget import Budget
from vaultbell.observability.metrics import METRICS
from vaultbell.platforms import functiongraph
from vaultbell.transport import Transport

PROJECT, TASK = "0123456789abcdef0123456789abcdef", "00000000-0000-4000-8000-000000000001"
TOKEN = "a-token-that-only-the-sender-knows"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT, OTHER = f"00-{TRACE}-{SPAN}-01", f"00-{'ab' * 16}-{SPAN}-00"
LOG = {
    "id": TASK,
    "project_id": PROJECT,
    "status": "failed",
    "operation_type": "backup",
    "created_at": "2026-11-23T08:00:00Z",
    "ended_at": "2026-11-23T08:03:00Z",
    "error_info": {"code": "BackupService.7102", "message": "The server is stopped."},
}
PLAIN = {"operation_log_id": TASK, "project_id": PROJECT}
CLOUDEVENT = {"specversion": "1.0", "id": "1", "source": "/billing", "type": "backup.ended"}


@dataclass(frozen=True, slots=True)
class Place:
    """The function, and what is at once its API and its webhook: it sees the head of every request."""

    function: Running
    other_side: Receiver

    def post(self, event: object, **headers: str) -> requests.Response:
        """Post an event with its proof."""
        return self.function.post(event, headers={"X-Vaultbell-Token": TOKEN, **headers})

    def asked(self, event: object, **headers: str) -> tuple[Got, Got]:
        """The requests that an event has led to: the look-up and the webhook's."""
        del self.other_side.requests[:]
        assert self.post(event, **headers).ok
        by_path = {got.path: got for got in self.other_side.requests}
        return by_path[f"/v3/{PROJECT}/operation-logs/{TASK}"], by_path["/bell"]

    def scraped(self) -> Counter[tuple[str, ...]]:
        """Every sample by its name and labels."""
        answer = requests.get(f"{self.function.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
        assert answer.status_code == 200
        families = text_string_to_metric_families(answer.text)
        samples = (sample for family in families for sample in family.samples)
        return Counter({(sample.name, *sample.labels.values()): sample.value for sample in samples})


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with Receiver() as other_side:
        other_side.answer(f"/v3/{PROJECT}/operation-logs/{TASK}", body=json.dumps({"operation_log": LOG}).encode())
        other_side.answer(f"/v3/{PROJECT}/operation-logs", body=b'{"operation_logs": [], "count": 0}')
        with serving(environment(other_side) | {"VAULTBELL_INBOUND_TOKEN": TOKEN}) as function:
            yield Place(function, other_side)


def environment(other_side: Receiver) -> dict[str, str]:
    return {
        "OS_REGION_NAME": "eu-de",
        "OS_PROJECT_ID": PROJECT,
        "OS_TOKEN": "token",
        "CBR_ENDPOINT": other_side.url,
        "VAULTBELL_WEBHOOK_URL": f"{other_side.url}/bell",
    }


# What a scrape reads


def test_a_scrape_tells_what_was_done(place: Place) -> None:
    before = place.scraped()
    assert place.post(PLAIN).status_code == 200
    assert place.post({"hello": 1}).status_code == 400
    assert requests.get(f"{place.function.url}/nowhere", timeout=10).status_code == 404
    after = place.scraped()
    after.subtract(before)
    risen = {name: value for name, value in after.items() if value > 0 and name[0].endswith(("_total", "_count"))}
    risen = {name: value for name, value in risen.items() if name[0].startswith("vaultbell_")}
    assert {name: value for name, value in risen.items() if name[0] != "vaultbell_look_up_seconds_count"} == {
        ("vaultbell_events_total", "http", "200"): 1,
        ("vaultbell_events_total", "http", "400"): 1,
        ("vaultbell_events_total", "http", "404"): 1,
        ("vaultbell_event_seconds_count", "http"): 3,
        ("vaultbell_outcomes_total", "backup", "failed"): 1,
        ("vaultbell_actions_total", "notified"): 1,
        ("vaultbell_deliveries_total", "webhook", "delivered"): 1,
        ("vaultbell_delivery_tries_total", "webhook"): 1,
        ("vaultbell_delivery_seconds_count", "webhook"): 1,
    }
    assert risen["vaultbell_look_up_seconds_count", "task"] == 1


def test_a_scrape_and_a_probe_are_no_events(place: Place) -> None:
    before = place.scraped()
    for path in ("/healthz", "/readyz", "/metrics"):
        requests.get(f"{place.function.url}{path}", headers={"X-Vaultbell-Token": TOKEN}, timeout=10)
    after = place.scraped()
    assert {name: value for name, value in after.items() if name[0].startswith("vaultbell_") and value} == {
        name: value for name, value in before.items() if name[0].startswith("vaultbell_") and value
    }


def test_every_metric_is_there_from_the_start(place: Place) -> None:
    answer = requests.get(f"{place.function.url}/metrics", params={"token": TOKEN}, timeout=10)
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert {line.split()[2] for line in answer.text.splitlines() if line.startswith("# TYPE vaultbell_")} == {
        metric.name for metric in METRICS
    }


def test_who_scrapes_is_asked_for_the_same_proof_as_who_sends_an_event(place: Place) -> None:
    url = f"{place.function.url}/metrics"
    assert requests.get(url, timeout=10).status_code == 401
    assert requests.get(url, headers={"Authorization": "Bearer wrong"}, timeout=10).status_code == 401
    answer = requests.post(url, headers={"X-Vaultbell-Token": TOKEN}, timeout=10)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")


def test_prometheus_own_tool_finds_nothing_amiss_in_a_scrape(place: Place) -> None:
    program = shutil.which("promtool")
    if not program:
        missing("promtool is not installed (Debian's package prometheus)")
    text = requests.get(f"{place.function.url}/metrics", params={"token": TOKEN}, timeout=10).text
    done = subprocess.run(
        [program, "check", "metrics"], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# The trace


def structured(data: object, **more: str) -> dict[str, Any]:
    return {**CLOUDEVENT, "data": data, **more}


@pytest.mark.parametrize(
    ("event", "headers"),
    [
        (PLAIN, {"traceparent": PARENT, "tracestate": "a=1, b=2"}),
        (structured(PLAIN, traceparent=PARENT, tracestate="a=1,b=2"), {"Content-Type": "application/cloudevents+json"}),
        (
            PLAIN,
            {
                **{f"ce-{name}": value for name, value in CLOUDEVENT.items()},
                "ce-traceparent": PARENT,
                "ce-tracestate": "a=1,b=2",
            },
        ),
        (
            structured(PLAIN, traceparent=OTHER, tracestate="c=3"),
            {"Content-Type": "application/cloudevents+json", "traceparent": PARENT, "tracestate": "a=1,b=2"},
        ),
    ],
    ids=["in the head", "a CloudEvent's", "a binary CloudEvent's", "the last hop's before the first's"],
)
def test_a_trace_goes_on_to_the_api_and_the_webhook(place: Place, event: object, headers: Mapping[str, str]) -> None:
    requests = place.asked(event, **headers)
    handed = [got.headers["traceparent"].split("-") for got in requests]
    assert [part[:2] + part[3:] for part in handed] == [["00", TRACE, "01"]] * 2
    assert len({SPAN, *(part[2] for part in handed)}) == 3  # each call is a part of its own
    assert [got.headers["tracestate"] for got in requests] == ["a=1,b=2"] * 2
    assert place.function.lines()[-1]["trace_id"] == TRACE


@pytest.mark.parametrize(
    "parent",
    [
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}",
        "sEcReT",
    ],
)
def test_a_malformed_trace_is_neither_followed_nor_written_down(place: Place, parent: str) -> None:
    requests = place.asked(PLAIN, traceparent=parent, tracestate="vendor=sEcReT")
    handed = [got.headers["traceparent"].split("-") for got in requests]
    assert handed[0][1] == handed[1][1] == place.function.lines()[-1]["trace_id"]
    assert handed[0][1] not in (TRACE, "0" * 32)
    assert all("tracestate" not in got.headers for got in requests)
    last = place.function.log.splitlines()[-1]
    assert parent not in last
    assert "sEcReT" not in last


def test_a_batch_of_events_with_traces_of_their_own_is_one_new_trace(place: Place) -> None:
    batch = [structured(PLAIN, traceparent=PARENT), structured(PLAIN, traceparent=OTHER)]
    look_up, _ = place.asked(batch, **{"Content-Type": "application/cloudevents-batch+json"})
    assert look_up.headers["traceparent"].split("-")[1] not in (TRACE, "ab" * 16)


def test_a_repeat_within_another_trace_has_the_same_id_and_the_same_body(place: Place) -> None:
    _, first = place.asked(PLAIN, traceparent=PARENT)
    _, second = place.asked(PLAIN, traceparent=OTHER)
    assert first.headers["traceparent"] != second.headers["traceparent"]
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)


def test_an_event_that_is_refused_is_found_by_its_trace(place: Place) -> None:
    answer = place.function.post(PLAIN, headers={"traceparent": PARENT})
    assert answer.status_code == 401
    assert (place.function.lines()[-1]["status"], place.function.lines()[-1]["trace_id"]) == (401, TRACE)
    assert TRACE not in answer.text


def test_an_event_of_api_gateway_hands_its_trace_on_as_well() -> None:
    with Receiver() as other_side:
        other_side.answer(f"/v3/{PROJECT}/operation-logs/{TASK}", body=json.dumps({"operation_log": LOG}).encode())
        other_side.answer(f"/v3/{PROJECT}/operation-logs", body=b'{"operation_logs": [], "count": 0}')
        app = compose.app(settings.load(environment(other_side)))
        event = {"httpMethod": "POST", "headers": {"Traceparent": PARENT}, "body": json.dumps(PLAIN)}
        answer = functiongraph.handle(event, functiongraph.HeaderContext({}), app)
        assert answer["statusCode"] == 200
        assert {got.headers["traceparent"].split("-")[1] for got in other_side.requests} == {TRACE}


@pytest.mark.parametrize("heard", [True, False])
def test_the_trace_is_handed_on_whether_or_not_somebody_listens(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    monkeypatch.setattr(tracing, "_listeners", [lambda _span: None] if heard else [])
    with tracing.event("http", {"traceparent": PARENT}):
        Transport().send("GET", receiver.url, headers={}, budget=Budget.of(5.0))
    Transport().send("GET", receiver.url, headers={}, budget=Budget.of(5.0))
    first, second = receiver.requests
    assert first.headers["traceparent"].split("-")[1] == TRACE
    assert "traceparent" not in second.headers
