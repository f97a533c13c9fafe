"""A real OTLP receiver gets what was done, event by event; one that is slow, dead or unwilling costs no ring."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Pushed

from serving import environment, serving
from standin import Cloud, ports
from standin.sinks import Receiver
from vaultbell import compose, observability, pipeline, settings, telemetry, tracing
from vaultbell.budget import Budget
from vaultbell.errors import TaskMissing
from vaultbell.events import Event
from vaultbell.observability import otel
from vaultbell.observability.metrics import METRICS, Tally
from vaultbell.observability.otel import Push
from vaultbell.observability.otlp import Otlp
from vaultbell.report import Action, Report, Result
from vaultbell.telemetry import LOG, log_report

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
BOTH = ("TRACES", "METRICS")
HANDLED = Report((Result(Action.QUIET, operation_log_id="a-task", outcome="succeeded"),))
DELTA, CUMULATIVE = 1, 2


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A collector at the address that OpenTelemetry's variables name."""
    with Receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        yield collector


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    stream, level = io.StringIO(), LOG.level
    monkeypatch.setattr(LOG, "handlers", [logging.StreamHandler(stream)])
    telemetry.start()
    yield stream
    LOG.setLevel(level)


def watching(monkeypatch: pytest.MonkeyPatch, signals: Sequence[str] = BOTH, **how: Any) -> Push:  # noqa: ANN401 - Push's
    """A tally and a push, which alone listen."""
    tally = Tally()
    push = Push(tally, signals, **how)
    monkeypatch.setattr(tracing, "_listeners", [tally, push])
    monkeypatch.setattr(tracing, "_recording", "TRACES" in signals)
    return push


def patience(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Wait exactly so long."""
    for name in ("PATIENCE_LEAST", "PATIENCE_MOST", "PATIENCE_FIRST"):
        monkeypatch.setattr(otel, name, seconds)


def spans(collector: Receiver) -> list[Pushed]:
    found = [ExportTraceServiceRequest.FromString(got.body) for got in collector.requests if got.path == "/v1/traces"]
    return [span for one in found for resource in one.resource_spans for scope in resource.scope_spans
            for span in scope.spans]  # fmt: skip


def pushed(collector: Receiver) -> dict[str, Metric]:
    """The metrics of the last push."""
    body = [got.body for got in collector.requests if got.path == "/v1/metrics"][-1]
    (resource,) = ExportMetricsServiceRequest.FromString(body).resource_metrics
    return {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}


def values(attributes: Sequence[KeyValue]) -> dict[str, object]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in attributes}


def handled(parent: str = PARENT) -> None:
    with tracing.event("http", {"traceparent": parent}):
        log_report("http", HANDLED)


def test_an_event_is_a_tree_of_spans_whose_leaves_are_the_calls_that_others_saw(
    monkeypatch: pytest.MonkeyPatch, collector: Receiver, cloud: Cloud, receiver: Receiver
) -> None:
    receiver.answer(status=410)
    bell = compose.bell(settings.load(cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/a-secret/bell"}))
    watching(monkeypatch)
    task = cloud.outcome("failed")
    with tracing.event("http", {"traceparent": PARENT, "tracestate": "a=1"}):
        event = Event(json.dumps({"operation_log_id": task["id"], "project_id": cloud.project_id}).encode())
        log_report("http", pipeline.handle(bell, event, Budget.of(10.0)))
    found = spans(collector)
    by_id = {span.span_id: span for span in found}
    assert {span.trace_id.hex() for span in found} == {TRACE}
    assert all(span.end_time_unix_nano > span.start_time_unix_nano > 0 for span in found)
    (root,) = (span for span in found if span.parent_span_id.hex() == SPAN)
    assert (root.name, root.kind, root.status.code, root.trace_state) == (
        "event", Pushed.SPAN_KIND_SERVER, 2, "a=1",
    )  # fmt: skip
    told = {"vaultbell.door": "http", "vaultbell.status": 424, "vaultbell.task": task["id"]}
    told |= {"vaultbell.outcome": "failed", "vaultbell.action": "rejected"}
    assert values(root.attributes) == told
    above = {span.name: by_id[span.parent_span_id].name for span in found if span is not root}
    assert (above["look_up"], above["delivery"], above["log_in"]) == ("event", "event", "look_up")
    (call,) = (span for span in found if span.name == "POST" and by_id[span.parent_span_id].name == "delivery")
    (got,) = receiver.requests
    assert got.headers["traceparent"] == f"00-{TRACE}-{call.span_id.hex()}-01"
    assert call.kind == Pushed.SPAN_KIND_CLIENT
    assert values(call.attributes) == {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "http.response.status_code": 410,
    }
    (delivery,) = (span for span in found if span.name == "delivery")
    assert (delivery.status.code, delivery.status.message) == (2, "status_4xx")
    assert b"a-secret" not in b"".join(got.body for got in collector.requests)


def test_every_metric_that_has_a_value_is_pushed_in_the_same_words(
    monkeypatch: pytest.MonkeyPatch, collector: Receiver
) -> None:
    push = watching(monkeypatch)
    push._tally.expect(["ops"])
    with tracing.event("http"):
        with tracing.span("look_up", path="/v3/p/operation-logs/1"):
            pass
        log_report("http", HANDLED)
    found = pushed(collector)
    assert found.keys() <= {metric.name for metric in METRICS}
    events, seconds = found["vaultbell_events_total"], found["vaultbell_look_up_seconds"]
    (point,) = (point for point in events.sum.data_points if point.as_double)
    assert (values(point.attributes), point.as_double) == ({"door": "http", "status": "200"}, 1)
    assert (events.sum.is_monotonic, events.sum.aggregation_temporality) == (True, CUMULATIVE)
    assert 0 < point.start_time_unix_nano <= point.time_unix_nano
    (spread,) = seconds.histogram.data_points
    assert (spread.count, sum(spread.bucket_counts), len(spread.bucket_counts)) == (
        1,
        1,
        len(spread.explicit_bounds) + 1,
    )
    assert spread.min == spread.max == pytest.approx(spread.sum)
    assert (seconds.unit, events.unit) == ("s", "")
    assert found["vaultbell_last_event_timestamp_seconds"].gauge.data_points[0].as_double > 1.7e9
    assert len(found["vaultbell_deliveries_total"].sum.data_points) > 10


def test_who_pushes_says_so_and_the_variables_say_more(monkeypatch: pytest.MonkeyPatch, collector: Receiver) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=prod")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x")
    names = []
    for named in ("", "backups"):
        monkeypatch.setenv("OTEL_SERVICE_NAME", named)
        watching(monkeypatch, ("TRACES",))
        handled()
        body = ExportTraceServiceRequest.FromString(collector.requests[-1].body)
        names.append(values(body.resource_spans[0].resource.attributes))
    assert [name["service.name"] for name in names] == ["vaultbell", "backups"]
    assert [name["deployment.environment"] for name in names] == ["prod"] * 2
    assert names[0]["service.instance.id"] != names[1]["service.instance.id"]
    assert {got.headers["authorization"] for got in collector.requests} == {"Bearer x"}


def test_a_trace_that_its_sender_does_not_record_is_not_recorded_here_but_counted(
    monkeypatch: pytest.MonkeyPatch, collector: Receiver
) -> None:
    watching(monkeypatch)
    handled(f"00-{TRACE}-{SPAN}-00")
    assert [got.path for got in collector.requests] == ["/v1/metrics"]
    handled("")  # one that begins here is
    assert [span.name for span in spans(collector)] == ["event"]


def test_a_probe_is_pushed_nowhere(monkeypatch: pytest.MonkeyPatch, collector: Receiver) -> None:
    watching(monkeypatch)
    with tracing.event("http"):
        pass
    assert collector.requests == []


@pytest.mark.parametrize(
    ("door", "kind"),
    [
        ("http", Pushed.SPAN_KIND_SERVER),
        ("apig", Pushed.SPAN_KIND_SERVER),
        ("queue", Pushed.SPAN_KIND_CONSUMER),
        ("functiongraph", Pushed.SPAN_KIND_CONSUMER),
    ],
)
def test_a_door_at_which_nobody_waits_is_a_consumers(
    monkeypatch: pytest.MonkeyPatch, collector: Receiver, door: str, kind: int
) -> None:
    watching(monkeypatch, ("TRACES",))
    with tracing.event(door):
        log_report(door, HANDLED)
    assert [span.kind for span in spans(collector)] == [kind]


def test_a_missing_task_is_no_error_of_the_look_up(monkeypatch: pytest.MonkeyPatch, collector: Receiver) -> None:
    watching(monkeypatch, ("TRACES",))
    with tracing.event("http"):
        with pytest.raises(TaskMissing), tracing.span("look_up", path="/v3/p/operation-logs/1"):
            raise TaskMissing("x")
        log_report("http", HANDLED)
    assert {span.name: span.status.code for span in spans(collector)} == {"look_up": 0, "event": 0}


# A collector that is slow, dead or unwilling


class Slow:
    """A collector that takes things when it is told to."""

    def __init__(self) -> None:
        self.took: list[int] = []
        self.begun, self.may = threading.Semaphore(0), threading.Semaphore(0)
        self.trouble = ""

    def push(self, spans: Sequence[tracing.Span], tally: Tally) -> str:
        del tally
        self.begun.release()
        assert self.may.acquire(timeout=10)
        self.took.append(len(spans))
        return self.trouble


def test_what_ends_while_something_is_pushed_goes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    patience(monkeypatch, 10.0)
    push = watching(monkeypatch, make=lambda _signals: slow)
    threads = [threading.Thread(target=handled) for _ in range(5)]
    threads[0].start()
    assert slow.begun.acquire(timeout=10)
    for thread in threads[1:]:
        thread.start()
    eventually(lambda: len(push._ended) == 4)
    slow.may.release(2)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert slow.took == [1, 4]


def eventually(holds: Callable[[], bool]) -> None:
    wait = threading.Event()
    for _ in range(1_000):
        if holds():
            return
        wait.wait(0.01)  # nothing tells when a thread has come so far
    raise AssertionError("it never came so far")


def test_a_collector_that_is_too_slow_is_waited_for_once_and_then_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    patience(monkeypatch, 0.01)
    push = watching(monkeypatch, make=lambda _signals: slow)
    rests, rest = Counter[str](), push._rest

    def counted() -> None:
        rests["times"] += 1
        rest()

    monkeypatch.setattr(push, "_rest", counted)
    for _ in range(20):
        handled()
    assert rests["times"] == 1
    slow.may.release(2)
    eventually(lambda: slow.took == [1])
    eventually(lambda: not push._pushing)
    patience(monkeypatch, 10.0)
    handled()  # it answers again: what has waited goes now
    assert slow.took == [1, 20]


def test_a_collector_in_trouble_is_left_alone_and_what_is_lost_is_said_once(
    monkeypatch: pytest.MonkeyPatch, collector: Receiver, written: io.StringIO
) -> None:
    collector.answer(status=401, body=b"sEcReT")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=sEcReT")
    watching(monkeypatch)
    for _ in range(5):
        handled()
    assert len(collector.requests) == 1
    warnings = [line for line in map(json.loads, written.getvalue().splitlines()) if line["message"] != "event"]
    (warning,) = warnings
    assert (warning["level"], warning["error"]) == ("warning", "it answered 401")
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in warning["message"]
    assert "sEcReT" not in written.getvalue()


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "not an address"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:1", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such/file"},
    ],
)
@pytest.mark.usefixtures("collector")
def test_settings_that_lead_nowhere_cost_no_event(
    monkeypatch: pytest.MonkeyPatch, written: io.StringIO, environ: Mapping[str, str]
) -> None:
    for name, value in ({"OTEL_EXPORTER_OTLP_TIMEOUT": "0.1"} | dict(environ)).items():
        monkeypatch.setenv(name, value)
    patience(monkeypatch, 10.0)
    watching(monkeypatch)
    handled()
    warnings = [line for line in map(json.loads, written.getvalue().splitlines()) if line["message"] != "event"]
    assert [line["level"] for line in warnings] == ["warning"]


def test_spans_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    patience(monkeypatch, 0.0)
    push = watching(monkeypatch, make=lambda _signals: slow)
    handled()
    assert slow.begun.acquire(timeout=10)
    for _ in range(otel.SPANS_MOST + 100):
        handled()
    assert len(push._ended) == otel.SPANS_MOST
    slow.may.release(2)


def test_without_the_extra_the_start_says_that_nothing_is_pushed(
    monkeypatch: pytest.MonkeyPatch, written: io.StringIO
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setattr(observability, "_tallies", [])
    monkeypatch.setattr(observability, "find_spec", lambda _name: None)
    listeners: list[tracing.Listener] = []
    monkeypatch.setattr(tracing, "_listeners", listeners)
    observability.subscribe(["ops"])
    told = json.loads(written.getvalue())
    assert told["level"] == "warning"
    assert "vaultbell[otel]" in told["message"]
    assert listeners == []


# The whole function


def test_the_function_has_pushed_its_event_by_the_time_it_answers(cloud: Cloud, receiver: Receiver) -> None:
    with Receiver() as collector:
        environ = cloud.env() | {
            "VAULTBELL_WEBHOOK_URL": receiver.url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        }
        with serving(environ) as function:
            task = cloud.outcome("failed")
            event = {"operation_log_id": task["id"], "project_id": cloud.project_id}
            assert function.post(event).status_code == 200
            collector.wait_for(2)  # its library is imported with the first event, which does not wait for ever
            assert function.post(event).status_code == 200
            assert {got.path for got in collector.requests} == {"/v1/traces", "/v1/metrics"}
            counts = [point.as_double for point in pushed(collector)["vaultbell_events_total"].sum.data_points]
            assert sum(counts) == max(counts) == 2
            traces = {line["trace_id"] for line in function.lines()}
            assert traces == {span.trace_id.hex() for span in spans(collector) if span.name == "event"}
            (last,) = {got.headers["traceparent"].rpartition("-")[2] for got in receiver.requests}
            assert last == "01"


def test_a_sweep_of_the_command_line_has_pushed_what_it_did_by_its_end(cloud: Cloud, receiver: Receiver) -> None:
    task = cloud.outcome("failed")
    with Receiver() as collector:
        told = {"VAULTBELL_WEBHOOK_URL": receiver.url, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        for more, pushes in ([], 2), (["--dry-run"], 2):
            done = subprocess.run(
                [sys.executable, "-m", "vaultbell.cli", "sweep", "--since", "1h", *more],
                env=environment(cloud.env() | told),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert (done.returncode, task["id"] in done.stdout) == (1, True), done.stderr
            assert len(collector.requests) == pushes  # who only looks is not counted
        assert pushed(collector)["vaultbell_sweep_rows_total"].sum.data_points[0].as_double >= 1
        (root,) = (span for span in spans(collector) if span.name == "event")
        assert values(root.attributes)["vaultbell.door"] == "command"


def test_a_collector_that_is_not_there_costs_the_ring_nothing(cloud: Cloud, receiver: Receiver) -> None:
    nowhere = f"http://127.0.0.1:{ports.unused()}"
    environ = cloud.env() | {"VAULTBELL_WEBHOOK_URL": receiver.url, "OTEL_EXPORTER_OTLP_ENDPOINT": nowhere}
    with serving(environ) as function:
        for _ in range(3):
            task = cloud.outcome("failed")
            assert function.post({"operation_log_id": task["id"], "project_id": cloud.project_id}).status_code == 200
        assert len(receiver.requests) == 3
        assert all(line.startswith("{") for line in function.log.splitlines())  # its library's words are nobody's


def test_the_receiver_of_these_tests_is_asked_for_both_signals(collector: Receiver) -> None:
    assert Otlp(BOTH).push([], Tally()) == ""
    assert [got.path for got in collector.requests] == ["/v1/metrics"]
