"""What is counted, and by what: few values for each label, whatever anybody sends, and no first time that is missed."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from told import FAILED
from vaultbell import observability, tracing
from vaultbell.budget import Budget
from vaultbell.channels import Taken
from vaultbell.delivery import deliver
from vaultbell.errors import InvalidEvent, Misconfigured, Permanent, SettingsError, TaskMissing, Transient
from vaultbell.notification import TITLES, Notification
from vaultbell.observability import metrics, prometheus
from vaultbell.observability.metrics import METRICS, REASONS, Metric, Tally, reason_of
from vaultbell.report import Action, Receipt, Report, Result, Swept
from vaultbell.routing import Selection
from vaultbell.telemetry import log_report
from vaultbell.tracing import event, span


@pytest.fixture
def tally(monkeypatch: pytest.MonkeyPatch) -> Tally:
    """The one listener, which has counted nothing yet."""
    tally = Tally()
    monkeypatch.setattr(tracing, "_listeners", [tally])
    return tally


def counted(tally: Tally, metric: Metric) -> dict[tuple[str, ...], float]:
    return {labels: number for labels, number in tally.numbers(metric) if number}


def test_an_event_is_counted_by_its_door_and_answer_and_its_tasks_by_type_and_outcome(tally: Tally) -> None:
    results = (
        Result(Action.NOTIFIED, operation_type="backup", outcome="failed"),
        Result(Action.QUIET, operation_type="restore", outcome="succeeded"),
        Result(Action.RETRY, 503),
    )
    for door in ("http", "queue"):
        with event(door):
            log_report(door, Report(results, batch=True))
    with event("http"):
        log_report("http", InvalidEvent("no", status=403))
    with event("http"):  # a probe
        pass
    assert counted(tally, metrics.EVENTS) == {("http", "503"): 1, ("queue", "503"): 1, ("http", "403"): 1}
    assert counted(tally, metrics.OUTCOMES) == {("backup", "failed"): 2, ("restore", "succeeded"): 2}
    assert counted(tally, metrics.ACTIONS) == {("notified",): 2, ("quiet",): 2, ("retry",): 2}
    assert {labels: sum(spread.counts) for labels, spread in tally.spreads(metrics.EVENT_SECONDS)} == {
        ("http",): 2,
        ("queue",): 1,
    }
    assert counted(tally, metrics.LAST_EVENT) == {}


def test_an_operation_type_that_nobody_knows_makes_no_new_series(tally: Tally) -> None:
    names = (*TITLES, None, "a" * 300, "Backup", "x\ny", *(f"type-{number}" for number in range(100)))
    with event("http"):
        results = tuple(Result(Action.QUIET, operation_type=name, outcome="succeeded") for name in names)
        log_report("http", Report(results))
    assert {labels[0] for labels in counted(tally, metrics.OUTCOMES)} == {*TITLES, "none", "other"}
    assert counted(tally, metrics.OUTCOMES)["other", "succeeded"] == 103


@pytest.mark.parametrize(
    ("path", "of"),
    [
        ("/v3/p/operation-logs/1", "task"),
        ("/v3/p/operation-logs?limit=1&x=a/b/c", "tasks"),
        ("/v3/p/vaults?limit=1", "vaults"),
        ("/v3/p/policies", "policies"),
        ("/v4/p/whatever", "other"),
        ("/", "other"),
        ("", "other"),
    ],
)
def test_a_look_up_is_told_by_what_was_looked_up(tally: Tally, path: str, of: str) -> None:
    with event("http"), span("look_up", path=path):
        pass
    assert [labels for labels, _ in tally.spreads(metrics.LOOK_UP_SECONDS)] == [(of,)]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Transient("x", reason="timeout"), "timeout"),
        (Transient("x", status=429), "status_4xx"),
        (Transient("x", status=503), "status_5xx"),
        (Permanent("x", status=302), "status_3xx"),
        (Permanent("x", reason="refused_address"), "refused_address"),
        (Misconfigured("x", status=401), "status_4xx"),
        (Transient("x", status=200), "other"),
        (Transient("x", status=999), "other"),
        (Transient("x"), "other"),
        (Permanent("x", reason="of a later day"), "other"),
        (ValueError("x"), "internal"),
    ],
)
def test_why_a_look_up_failed_is_one_of_few_reasons(tally: Tally, error: Exception, reason: str) -> None:
    assert reason in REASONS
    assert reason_of(error) == reason
    with pytest.raises(type(error)), event("http"), span("look_up", path="/v3/p/operation-logs/1"):
        raise error
    assert counted(tally, metrics.LOOK_UP_FAILURES) == {(reason,): 1}


def test_a_task_that_is_not_there_is_an_answer(tally: Tally) -> None:
    with pytest.raises(TaskMissing), event("http"), span("look_up", path="/v3/p/operation-logs/1"):
        raise TaskMissing("x")
    assert counted(tally, metrics.LOOK_UP_FAILURES) == {}


class Says:
    """A channel that answers so, in turn."""

    def __init__(self, *answers: Taken | Exception) -> None:
        self.answers = list(answers)

    def send(self, notification: Notification, budget: Budget) -> Taken:
        del notification, budget
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_deliveries_are_counted_by_channel_and_the_reason_of_failure(
    tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaultbell.delivery.PAUSE_SECONDS", 0.0)
    channels = {
        "good": Says(Taken(200)),
        "flaky": Says(Transient("x", reason="timeout"), Taken(200)),
        "gone": Says(Permanent("x", status=410)),
        "down": Says(*(Transient("x", reason="connection") for _ in range(3))),
        "ours": Says(ValueError("broken")),
    }
    with event("http"):
        deliver(FAILED, Selection(tuple(channels)), channels, Budget.of(10.0))
    assert counted(tally, metrics.DELIVERIES) == {
        ("good", "delivered"): 1,
        ("flaky", "delivered"): 1,
        ("gone", "status_4xx"): 1,
        ("down", "connection"): 1,
        ("ours", "internal"): 1,
    }
    assert counted(tally, metrics.DELIVERY_TRIES) == {
        ("good",): 1, ("flaky",): 2, ("gone",): 1, ("down",): 3, ("ours",): 1,
    }  # fmt: skip
    assert {labels for labels, _ in tally.spreads(metrics.DELIVERY_SECONDS)} == {(name,) for name in channels}
    assert counted(tally, metrics.LAST_RING)


def test_a_sweep_says_how_far_behind_it_is_and_only_a_complete_one_counts_as_done(tally: Tally) -> None:
    end = datetime.now(UTC) - timedelta(seconds=400)
    swept = Swept(end - timedelta(minutes=15), end, 1_234)
    with event("http"):
        log_report("http", Report((Result(Action.RETRY, 503),), swept=swept))
    assert counted(tally, metrics.LAST_SWEEP) == {}
    with event("http"):
        log_report("http", Report((), swept=swept))
    assert counted(tally, metrics.SWEEPS) == {("unfinished",): 1, ("complete",): 1}
    assert counted(tally, metrics.SWEEP_ROWS) == {(): 2_468}
    assert counted(tally, metrics.SWEEP_WINDOW) == {(): 900}
    assert 400 <= counted(tally, metrics.SWEEP_LAG)[()] < 410
    assert abs(counted(tally, metrics.LAST_SWEEP)[()] - datetime.now(UTC).timestamp()) < 10


def test_tokens_and_dead_letters_count_once_they_are_there(tally: Tally) -> None:
    for name in ("log_in", "dead_letter"):
        with event("queue"), span(name):
            pass
        with pytest.raises(Transient), event("queue"), span(name):
            raise Transient("x")
    assert (counted(tally, metrics.TOKENS), counted(tally, metrics.DEAD_LETTERS)) == ({(): 1}, {(): 1})


def test_nothing_is_lost_where_many_threads_count(tally: Tally) -> None:
    def many() -> None:
        for _ in range(500):
            with event("http"):
                log_report("http", Report((Result(Action.QUIET),)))

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted(tally, metrics.EVENTS) == {("http", "200"): 2_000}
    assert [sum(spread.counts) for _, spread in tally.spreads(metrics.EVENT_SECONDS)] == [2_000]


# As Prometheus reads it


def scraped(tally: Tally) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(prometheus.exposition(tally))}


def test_a_scrape_has_every_metric_by_its_type_and_a_word_on_it(tally: Tally) -> None:
    families = scraped(tally)
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert metric.help.endswith(".")
    assert families["process_start_time_seconds"].samples


def test_names_follow_the_conventions() -> None:
    for metric in METRICS:
        assert metric.name.startswith("vaultbell_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.kind == "counter" or metric.name.endswith("_seconds")
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_the_buckets_add_up_as_prometheus_wants_them(tally: Tally) -> None:
    for seconds in (0.01, 0.011, 3.0, 1_000.0):
        tally._time(metrics.LOOK_UP_SECONDS, seconds, "task")
    samples: list[Sample] = scraped(tally)["vaultbell_look_up_seconds"].samples
    buckets = {one.labels["le"]: one.value for one in samples if one.name.endswith("_bucket")}
    assert (buckets["0.01"], buckets["0.025"], buckets["2.5"], buckets["5"], buckets["60"]) == (1, 2, 2, 3, 3)
    assert buckets["+Inf"] == 4
    values = {one.name: one.value for one in samples if not one.name.endswith("_bucket")}
    assert values["vaultbell_look_up_seconds_count"] == 4
    assert values["vaultbell_look_up_seconds_sum"] == pytest.approx(1_003.021)


def test_what_is_rare_begins_with_0_so_that_its_first_time_shows(tally: Tally) -> None:
    tally.expect(["ops"])
    tally._delivery(Receipt("ops", True, 1), 0.1)
    tally.expect(["ops", "mail"])  # as a second app in the same process does
    found = {(one.labels["channel"], one.labels["result"]): one.value
             for one in scraped(tally)["vaultbell_deliveries"].samples}  # fmt: skip
    assert found.pop(("ops", "delivered")) == 1
    assert set(found.values()) == {0}
    assert {("ops", "timeout"), ("mail", "delivered"), ("mail", "status_4xx")} <= found.keys()
    outcomes = scraped(tally)["vaultbell_outcomes"].samples
    assert ({"operation_type": "none", "outcome": "unverified"}, 0) in [(one.labels, one.value) for one in outcomes]
    assert [one.value for one in scraped(tally)["vaultbell_dead_letters"].samples] == [0]


# What is there, and what is asked for


def test_without_the_extra_there_is_nothing_to_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observability, "_tallies", [])
    monkeypatch.setattr(observability, "find_spec", lambda _name: None)
    heard: list[tracing.Listener] = []
    monkeypatch.setattr(tracing, "_listeners", heard)
    observability.subscribe(["ops"])
    assert heard == []
    assert observability.scraper() is None
    with pytest.raises(SettingsError, match=r"pip install 'vaultbell\[metrics\]'"):
        observability.serve("127.0.0.1", 9464)


def test_a_second_app_in_a_process_is_counted_in_the_same_tally(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observability, "_tallies", [])
    heard: list[tracing.Listener] = []
    monkeypatch.setattr(tracing, "_listeners", heard)
    observability.subscribe(["ops"])
    observability.subscribe(["mail"])
    assert len(heard) == 1


@pytest.mark.parametrize(
    ("environ", "signals"),
    [
        ({}, ()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, ("TRACES", "METRICS")),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/t"}, ("TRACES",)),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318/m"}, ("METRICS",)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, ("METRICS",)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_METRICS_EXPORTER": "none"}, ("TRACES",)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "TRUE"}, ()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, ()),
    ],
)
def test_what_is_pushed_is_said_by_opentelemetrys_own_variables(
    environ: dict[str, str], signals: tuple[str, ...]
) -> None:
    assert observability.pushes(environ) == signals
