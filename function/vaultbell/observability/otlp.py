"""Spans and the tally in OpenTelemetry's terms, and its exporters, which read variables of their own."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Sequence
from uuid import uuid4

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Metric as Exported
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from vaultbell.errors import TaskMissing
from vaultbell.observability.metrics import BOUNDS, METRICS, Labels, Metric, Tally, reason_of
from vaultbell.report import Receipt, Report
from vaultbell.tracing import Span

NAME = "vaultbell"
TIMEOUT_SECONDS = 1.0
CUMULATIVE = AggregationTemporality.CUMULATIVE
ANSWERED = ("http", "apig")  # doors at which somebody waits


class Otlp:
    """The collector of `OTEL_EXPORTER_OTLP_ENDPOINT`."""

    def __init__(self, signals: Collection[str]) -> None:
        library = logging.getLogger("opentelemetry")  # it may name addresses: nobody hears it
        library.propagate = False
        if not library.handlers:
            library.addHandler(logging.NullHandler())
        self._status: int | None = None
        session = requests.Session()
        session.hooks["response"].append(self._answered)
        self._spans = OTLPSpanExporter(session=session, timeout=_timeout("TRACES")) if "TRACES" in signals else None
        self._metrics = (
            OTLPMetricExporter(session=session, timeout=_timeout("METRICS")) if "METRICS" in signals else None
        )
        ours = Resource({"service.name": NAME, "service.instance.id": str(uuid4())})
        self._resource = ours.merge(OTELResourceDetector().detect())
        self._ids, self._made = _Ids(), _Made()
        provider = TracerProvider(ALWAYS_ON, self._resource, id_generator=self._ids, shutdown_on_exit=False)
        provider.add_span_processor(self._made)
        self._tracer = provider.get_tracer(NAME)

    def _answered(self, response: requests.Response, *_: object, **__: object) -> None:
        self._status = response.status_code

    def push(self, spans: Sequence[Span], tally: Tally) -> str:
        """Export both; what went wrong, or nothing."""
        self._status = None
        taken = True
        if self._spans and spans:
            for span in spans:
                self._make(span)
            made, self._made.spans = self._made.spans, []
            taken = self._spans.export(made) is SpanExportResult.SUCCESS
        if self._metrics and taken:
            taken = self._metrics.export(self._tallied(tally)) is MetricExportResult.SUCCESS
        if taken:
            return ""
        return "it was not reached" if self._status is None else f"it answered {self._status}"

    def _make(self, span: Span) -> None:
        """The same span in their terms: made of its own ids and times, and ended at once."""
        trace = span.trace
        trace_id, flags = int(trace.trace_id, 16), TraceFlags(trace.flags)
        context = Context()
        if span.parent:
            state = TraceState.from_header([trace.state])
            parent = SpanContext(trace_id, int(span.parent, 16), span.name == "event", flags, state)
            context = set_span_in_context(NonRecordingSpan(parent), context)
        self._ids.trace_id, self._ids.span_id = trace_id, int(trace.span_id, 16)
        began = round(span.began * 1e9)
        made = self._tracer.start_span(_name(span), context, _kind(span), _attributes(span), start_time=began)
        if trouble := _trouble(span):
            made.set_status(Status(StatusCode.ERROR, trouble))
        made.end(began + round(span.seconds * 1e9))

    def _tallied(self, tally: Tally) -> MetricsData:
        now = time.time_ns()
        exported = [
            Exported(metric.name, metric.help, "s" if "_seconds" in metric.name else "", _data(metric, tally, now))
            for metric in METRICS
        ]
        scope = ScopeMetrics(InstrumentationScope(NAME), [one for one in exported if one.data.data_points], "")
        return MetricsData([ResourceMetrics(self._resource, [scope], "")])


class _Ids(IdGenerator):
    """What is made next has its ids already."""

    trace_id = span_id = 0

    def generate_span_id(self) -> int:
        return self.span_id

    def generate_trace_id(self) -> int:
        return self.trace_id


class _Made(SpanProcessor):
    """Keeps what has been made."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def _timeout(signal: str) -> float | None:
    """Seconds for a push and its repeats, unless the variables say (None); their own default outlasts most events."""
    said = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_TIMEOUT") or os.environ.get("OTEL_EXPORTER_OTLP_TIMEOUT")
    return None if said else TIMEOUT_SECONDS


def _name(span: Span) -> str:
    """As few names as there are kinds of spans; a request is called by its method, as HTTP's are."""
    return str(span.facts["method"]) if span.name == "call" else span.name


def _kind(span: Span) -> SpanKind:
    if span.name == "event":
        return SpanKind.SERVER if span.facts["door"] in ANSWERED else SpanKind.CONSUMER
    return SpanKind.CLIENT if span.name == "call" else SpanKind.INTERNAL


def _attributes(span: Span) -> dict[str, str | int]:
    """Of requests by OpenTelemetry's conventions; of an address the host alone, since the rest may be a secret."""
    facts = span.facts
    known: dict[str, object] = {}
    match span.name:
        case "call":
            known["http.request.method"], known["server.address"] = facts["method"], facts["host"]
            known["http.response.status_code"] = facts.get("status")
        case "event":
            known["vaultbell.door"], known["vaultbell.status"] = facts["door"], facts["status"]
            if isinstance(report := facts.get("report"), Report) and len(report.results) == 1:
                (result,) = report.results
                known["vaultbell.task"], known["vaultbell.outcome"] = result.operation_log_id, result.outcome
                known["vaultbell.action"] = result.action.value
        case "delivery":
            known["vaultbell.channel"] = facts["channel"]
            if isinstance(receipt := facts.get("receipt"), Receipt):
                known["vaultbell.attempts"], known["vaultbell.status"] = receipt.attempts, receipt.status
    return {name: value for name, value in known.items() if isinstance(value, (str, int))}


def _trouble(span: Span) -> str:
    """Why it went wrong, in a word; nothing where it did not."""
    receipt, status = span.facts.get("receipt"), span.facts.get("status")
    if isinstance(receipt, Receipt):
        return "" if receipt.delivered else receipt.reason
    if span.error:
        return "" if isinstance(span.error, TaskMissing) else reason_of(span.error)
    if not isinstance(status, int) or status < (424 if span.name == "event" else 400):
        return ""
    return f"status_{status}"


def _data(metric: Metric, tally: Tally, now: int) -> Sum | Gauge | Histogram:
    began = round(tally.began * 1e9)
    if metric.kind == "histogram":
        spreads = tally.spreads(metric)
        points = [
            HistogramDataPoint(
                attributes=_named(metric, labels),
                start_time_unix_nano=began,
                time_unix_nano=now,
                count=sum(spread.counts),
                sum=spread.total,
                bucket_counts=spread.counts,
                explicit_bounds=BOUNDS,
                min=spread.least,
                max=spread.most,
            )
            for labels, spread in spreads
        ]
        return Histogram(points, CUMULATIVE)
    numbers = [NumberDataPoint(_named(metric, labels), began, now, number) for labels, number in tally.numbers(metric)]
    return Gauge(numbers) if metric.kind == "gauge" else Sum(numbers, CUMULATIVE, is_monotonic=True)


def _named(metric: Metric, labels: Labels) -> dict[str, str]:
    return dict(zip(metric.labels, labels, strict=True))
