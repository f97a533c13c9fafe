"""The log: a line an event, with a level that means something, and nothing in it that should not be read."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from vaultbell import bell, observability, settings, telemetry, tracing
from vaultbell.errors import InvalidEvent, SettingsError, Transient
from vaultbell.observability.terminal import Lines
from vaultbell.report import Action, Receipt, Report, Result, Swept
from vaultbell.telemetry import LOG, log, log_crash, log_report

TOLD = Result(
    Action.NOTIFIED,
    operation_log_id="a-task",
    operation_type="backup",
    outcome="failed",
    receipts=(Receipt("ops", True, 1, 200),),
)
STOOD_IN_FOR = Result(Action.NOTIFIED, receipts=(Receipt("ops", False, 3), Receipt("mail", True, 1)))
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is written to a log of the test's own, as JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    monkeypatch.setattr(LOG, "handlers", [handler])
    monkeypatch.setattr(LOG, "propagate", False)
    level = LOG.level
    telemetry.start()
    yield stream
    LOG.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def line(stream: io.StringIO) -> dict[str, Any]:
    (found,) = lines(stream)
    return found


def test_an_event_of_one_task_says_all_of_it_on_one_flat_line(written: io.StringIO) -> None:
    with tracing.event("http", {"traceparent": PARENT}):
        with tracing.stage("decode"):
            pass
        with tracing.stage("look_up"):
            pass
        log_report("http", Report((TOLD,)))
    told = line(written)
    assert told.pop("ms").keys() == {"decode", "look_up", "total"}
    assert datetime.fromisoformat(told.pop("time")).tzinfo == UTC
    assert told == {
        "level": "info",
        "message": "event",
        "event": "http",
        "status": 200,
        "task": "a-task",
        "operation_type": "backup",
        "outcome": "failed",
        "action": "notified",
        "receipts": [{"channel": "ops", "delivered": True, "attempts": 1, "status": 200, "error": None}],
        "trace_id": TRACE,
    }


def test_an_event_of_several_tasks_has_a_list_of_them_and_a_sweep_what_it_covered(written: io.StringIO) -> None:
    at = datetime(2026, 11, 25, tzinfo=UTC)
    log_report("queue", Report((TOLD, Result(Action.QUIET)), swept=Swept(at, at, 7)))
    told = line(written)
    assert [task.get("task") for task in told["tasks"]] == ["a-task", None]
    assert told["swept"]["tasks"] == 7
    assert "task" not in told


@pytest.mark.parametrize(
    ("report", "level", "status"),
    [
        (Report((TOLD,)), "info", 200),
        (Report((Result(Action.QUIET),)), "info", 200),
        (Report(()), "info", 200),
        (Report((STOOD_IN_FOR,)), "warning", 200),
        (Report((Result(Action.RETRY, 503),)), "warning", 503),
        (Transient("later"), "warning", 503),
        (Transient("later", status=429), "warning", 503),
        (InvalidEvent("no"), "warning", 400),
        (InvalidEvent("no", status=401), "warning", 401),
        (Report((Result(Action.REJECTED, 424),)), "error", 424),
        (Report((Result(Action.RETRY, 500),)), "error", 500),
    ],
)  # fmt: skip
def test_the_level_says_whether_somebody_has_to_act(
    written: io.StringIO, report: Report | InvalidEvent | Transient, level: str, status: int
) -> None:
    log_report("http", report)
    assert (line(written)["level"], line(written)["status"]) == (level, status)


def test_a_refusal_has_its_code_and_its_words(written: io.StringIO) -> None:
    log_report("http", InvalidEvent("an event has 1 MiB at most", code="too_large"))
    assert line(written)["error"] == {"code": "too_large", "message": "an event has 1 MiB at most"}


def test_every_line_of_an_event_has_its_trace_whichever_thread_writes_it(written: io.StringIO) -> None:
    def say(word: str) -> str:
        log(logging.INFO, word)
        return word

    with tracing.event("http", {"traceparent": PARENT}):
        bell.side_by_side(say, ["one", "two", "three"])
        thread = threading.Thread(target=tracing.carried(say), args=("four",))
        thread.start()
        thread.join()
    log(logging.INFO, "outside")
    told = {line["message"]: line.get("trace_id") for line in lines(written)}
    assert told == {"one": TRACE, "two": TRACE, "three": TRACE, "four": TRACE, "outside": None}


def test_an_event_without_a_trace_begins_one_of_its_own(written: io.StringIO) -> None:
    for parent in ("", f"00-{'0' * 32}-00f067aa0ba902b7-01"):
        with tracing.event("http", {"traceparent": parent}):
            log(logging.INFO, "here")
    first, second = (line["trace_id"] for line in lines(written))
    assert len(first) == len(second) == 32
    assert len({first, second, "0" * 32}) == 3


def test_an_error_of_our_own_is_told_with_its_traceback_on_one_line(written: io.StringIO) -> None:
    with tracing.event("http"):
        try:
            raise ValueError("broken\nhere")
        except ValueError as error:
            log_crash(error)
    told = line(written)
    assert (told["level"], told["message"]) == ("error", "an error of Vaultbell itself")
    assert told["exception"].endswith("ValueError: broken\nhere")


def test_what_watches_costs_nothing_when_it_breaks(written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    def broken(_: tracing.Span) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(tracing, "_listeners", [broken, lambda span: heard.append(span.name)])
    with tracing.event("http"), tracing.span("call"):
        pass
    assert heard == ["call", "event"]
    assert [line["level"] for line in lines(written)] == ["error", "error"]


def test_a_door_within_a_door_is_one_event() -> None:
    with tracing.event("http", {"traceparent": PARENT}) as outer, tracing.event("functiongraph") as inner:
        assert inner is outer
    assert tracing.here() is None


def test_an_exception_is_an_event_that_was_answered_500(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tracing.Span] = []
    monkeypatch.setattr(tracing, "_listeners", [heard.append])
    with pytest.raises(ValueError, match="broken"), tracing.event("functiongraph"):
        raise ValueError("broken")
    assert heard[0].facts == {"door": "functiongraph", "status": 500}


# For the eye


def eye(write: Callable[[], None], *, coloured: bool = False) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines(coloured=coloured))
    before, LOG.handlers = LOG.handlers, [handler]
    try:
        write()
    finally:
        LOG.handlers = before
    return stream.getvalue()


@pytest.mark.usefixtures("written")
def test_for_the_eye_an_event_is_one_short_line() -> None:
    told = eye(lambda: log_report("http", Report((TOLD,))))
    assert told[8:] == (
        " INFO    event event=http status=200 task=a-task operation_type=backup outcome=failed action=notified"
        " receipts=[{channel=ops delivered=true attempts=1 status=200}]\n"
    )


@pytest.mark.usefixtures("written")
def test_nothing_in_a_name_begins_another_line_or_turns_the_terminal() -> None:
    name = 'x\r\n00:00:00 ERROR forged\x1b[2J\x9b31m\u202e\u2028"] \\'
    told = eye(lambda: log(logging.INFO, f"m {name}", vault=name, list=[{"a": name}]))
    assert told.count("\n") == 1
    assert told.rstrip("\n").isprintable()
    assert told.count("forged") == 3


@pytest.mark.usefixtures("written")
def test_for_the_eye_a_traceback_stands_under_its_line_and_cannot_be_forged() -> None:
    def write() -> None:
        try:
            raise ValueError("broken\n00:00:00 ERROR   forged \x1b[2J")
        except ValueError as error:
            log_crash(error)

    first, *more = eye(write).splitlines()
    assert first.endswith("ERROR   an error of Vaultbell itself")
    assert more[-2:] == ["    ValueError: broken", "    00:00:00 ERROR   forged \\x1b[2J"]


@pytest.mark.usefixtures("written")
def test_colours_are_for_what_is_not_well() -> None:
    assert "\033[31mERROR  \033[0m" in eye(lambda: log(logging.ERROR, "x"), coloured=True)
    assert "\033[33mWARNING\033[0m" in eye(lambda: log(logging.WARNING, "x"), coloured=True)
    assert "\033" not in eye(lambda: log(logging.INFO, "x"), coloured=True)
    assert "\033" not in eye(lambda: log(logging.ERROR, "x"))


@pytest.mark.parametrize(
    ("stream", "form", "environ", "chosen"),
    [
        (Terminal(), None, {}, "coloured"),
        (Terminal(), None, {"NO_COLOR": "1"}, "text"),
        (Terminal(), None, {"NO_COLOR": ""}, "coloured"),
        (Terminal(), None, {"TERM": "dumb"}, "text"),
        (Terminal(), "json", {}, "json"),
        (io.StringIO(), None, {}, "json"),
        (io.StringIO(), "text", {}, "text"),
        (io.StringIO(), "json", {}, "json"),
    ],
)
def test_a_terminal_gets_the_readable_form_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, form: str | None, environ: dict[str, str], chosen: str
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    formatter = observability.formatter(form)
    told = formatter.format(logging.LogRecord("vaultbell", logging.ERROR, "", 0, "x", (), None)) if formatter else ""
    assert {"": "json", "\033": "coloured"}.get(told and told[9:10], "text") == chosen


def test_the_form_is_a_setting_and_any_other_word_a_mistake() -> None:
    given = {
        "OS_REGION_NAME": "eu-de",
        "OS_PROJECT_ID": "0123456789abcdef0123456789abcdef",
        "OS_TOKEN": "token",
        "VAULTBELL_WEBHOOK_URL": "https://hooks.example.org/bell",
    }
    assert settings.load(given | {"VAULTBELL_LOG_FORMAT": "text"}).log_format == "text"
    assert settings.load(given).log_format is None
    with pytest.raises(SettingsError, match="VAULTBELL_LOG_FORMAT: one of these is wanted: json, text"):
        settings.load(given | {"VAULTBELL_LOG_FORMAT": "xml"})
