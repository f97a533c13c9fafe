"""The tally as Prometheus reads it: at the HTTP door's `/metrics`, or at a port of its own (the extra `metrics`)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    ProcessCollector,
    generate_latest,
    start_http_server,
)
from prometheus_client import Metric as Family
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from vaultbell.observability.metrics import BOUNDS, METRICS, Tally

CONTENT_TYPE = CONTENT_TYPE_LATEST


class _Told(Collector):
    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def collect(self) -> Iterator[Family]:
        """Every metric as it is now."""
        families = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
        for metric in METRICS:
            if metric.kind == "histogram":
                histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
                for labels, spread in self._tally.spreads(metric):
                    bounds = (*(f"{bound:g}" for bound in BOUNDS), "+Inf")
                    buckets = list(zip(bounds, accumulate(spread.counts), strict=True))
                    histogram.add_metric(labels, buckets, spread.total)
                yield histogram
            else:
                family = families[metric.kind](metric.name, metric.help, labels=metric.labels)
                for labels, number in self._tally.numbers(metric):
                    family.add_metric(labels, number)
                yield family


def registry(tally: Tally) -> CollectorRegistry:
    """What a scrape reads: the tally, and `process_…` of this process."""
    made = CollectorRegistry()
    made.register(_Told(tally))
    ProcessCollector(registry=made)
    return made


def exposition(tally: Tally) -> str:
    """The text of a scrape."""
    return generate_latest(registry(tally)).decode()


def serve(tally: Tally, host: str, port: int) -> None:
    """Answer scrapes at this address from a thread of its own. Raises OSError where it is taken."""
    start_http_server(port, host, registry(tally))
