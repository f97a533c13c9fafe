"""`vaultbell tail`: the function's own log as people read it, what a filter leaves of it, and what comes later."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import pytest

from desk import Desk, NewDesk, Terminal
from serving import FUNCTION, environment
from standin import Cloud
from standin.sinks import Receiver
from vaultbell import compose, pipeline, settings, telemetry
from vaultbell.budget import Budget
from vaultbell.errors import InvalidEvent
from vaultbell.events import Event

FAILED = "00000000-0000-4000-8000-00000000000a"


def line(message: str = "event", level: str = "info", **fields: object) -> dict[str, object]:
    return {"time": "2026-11-25T03:10:12.123Z", "level": level, "message": message, **fields}


def told(channel: str, *, delivered: bool = True) -> dict[str, object]:
    error = None if delivered else f"{channel}.example.org: connection refused"
    return {"channel": channel, "delivered": delivered, "attempts": 1, "status": None, "error": error}


STARTED = line("started", settings={"channels": {"ops": {"type": "webhook"}}})
NOTIFIED = line(
    event="http",
    status=200,
    task=FAILED,
    outcome="failed",
    severity="critical",
    reason="The disk is full.",
    action="notified",
    receipts=[told("ops"), told("mail")],
    ms={"look_up": 12.1, "total": 33.5},
    trace_id="0af7651916cd43dd8448eb211c80319c",
)
QUIET = line(event="http", status=200, task="quiet", outcome="succeeded", severity="info", action="quiet")
BATCH = line(
    level="warning",
    event="queue",
    status=503,
    tasks=[
        {
            "task": "owed",
            "outcome": "timed_out",
            "severity": "critical",
            "action": "retry",
            "owed": ["mail"],
            "receipts": [told("ops"), told("mail", delivered=False)],
            "error": {"code": "try_again", "message": "not reached yet: mail"},
        },
        {"task": "good", "outcome": "succeeded", "severity": "info", "action": "quiet"},
    ],
)
SWEPT = line(event="timer", status=200, tasks=[], swept={"from": "02:45", "until": "03:00", "tasks": 7})
REFUSED = line(level="warning", event="http", status=401, error={"code": "unauthenticated", "message": "a token"})
CRASHED = line("an error of Vaultbell itself", "error", exception="Traceback\n  File x\nValueError: \x1b[2J")
ALL = (STARTED, NOTIFIED, QUIET, BATCH, SWEPT, REFUSED, CRASHED)


def written(*lines: object) -> bytes:
    return b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in lines)


@pytest.fixture
def desk(new_desk: NewDesk) -> Desk:
    return new_desk({})


def test_each_line_says_when_how_bad_what_and_who_was_told(desk: Desk, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(written(*ALL))
    done = desk("tail", str(log))
    assert (done.status, done.err) == (0, "")
    at = "2026-11-25 03:10:12.123Z"
    assert done.out.splitlines() == [
        f'{at}  info     started  settings={{"channels": {{"ops": {{"type": "webhook"}}}}}}',
        f"{at}  info     http 200   failed      notified  {FAILED}  The disk is full.  → ops, mail  33.5 ms",
        f"{at}  info     http 200   succeeded   quiet  quiet",
        f"{at}  warning  queue 503  timed_out   retry  owed  try_again: not reached yet: mail  → ops  "
        "✗ mail: mail.example.org: connection refused  owed: mail",
        f"{at}  warning  queue 503  succeeded   quiet  good",
        f"{at}  info     timer 200  swept 02:45 to 03:00, 7 rows",
        f"{at}  warning  http 401   unauthenticated: a token",
        f"{at}  error    an error of Vaultbell itself",
        "    Traceback",
        "    File x",
        "    ValueError: [2J",
    ]


@pytest.mark.parametrize(
    ("filters", "shown"),
    [
        (("--outcome", "succeeded"), ["quiet", "good"]),
        (("--outcome", "failed", "--outcome", "timed_out"), [FAILED, "owed"]),
        (("--channel", "mail"), [FAILED, "owed"]),
        (("--channel", "chat"), []),
        (("--failed",), ["owed", "unauthenticated", "an error"]),
        (("--failed", "--outcome", "succeeded"), []),
        (("--lines", "2", "--outcome", "succeeded"), ["quiet", "good"]),
        (("--lines", "1", "--channel", "ops"), ["owed"]),
    ],
)
def test_a_filter_shows_what_fits_alone(desk: Desk, filters: tuple[str, ...], shown: list[str]) -> None:
    done = desk.fed(written(*ALL, b"Starting the server"), "tail", *filters)
    lines = [line for line in done.out.splitlines() if not line.startswith("    ")]
    assert len(lines) == len(shown)
    assert all(words in line for words, line in zip(shown, lines, strict=True))


def test_what_is_no_line_of_ours_is_shown_as_it_is_and_what_a_collector_puts_before_one_is_left_out(desk: Desk) -> None:
    before = b"[pod/bell-7c] {x} " + json.dumps(QUIET).encode()
    done = desk.fed(written(b"Listening at \x1b[31m:8080", before, b"{not JSON", b"\xff\xfe"), "tail")
    assert done.out.splitlines() == [
        "Listening at [31m:8080",
        "2026-11-25 03:10:12.123Z  info     http 200   succeeded   quiet  quiet",
        "{not JSON",
        "\ufffd\ufffd",
    ]


def test_a_script_gets_the_lines_themselves(desk: Desk) -> None:
    done = desk.fed(written(*ALL, b"Starting"), "tail", "--json", "--channel", "mail")
    assert [json.loads(line) for line in done.out.splitlines()] == [NOTIFIED, BATCH]


def test_a_name_cannot_act_on_the_terminal(desk: Desk) -> None:
    evil = line(event="x\x1b[2J", status="\x1b", task="a\nb", outcome="\x1b[1m", reason="\u202ex", level="\x1b[0m")
    done = desk.fed(written(evil), "tail")
    assert len(done.out.splitlines()) == 1
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out


def test_colours_are_for_a_terminal_alone_and_not_where_they_are_not_wanted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out(**changed: str) -> str:
        terminal = Terminal()
        monkeypatch.setattr("sys.stdout", terminal)
        desk.fed(written(NOTIFIED), "tail", **changed)
        return terminal.getvalue()

    assert "\x1b[1;31mfailed    \x1b[0m" in out(NO_COLOR="", TERM="xterm")
    assert "\x1b" not in out(NO_COLOR="1", TERM="xterm")
    assert "\x1b" not in out(NO_COLOR="", TERM="dumb")


def test_a_file_that_is_not_there_is_wrong_use(desk: Desk, tmp_path: Path) -> None:
    done = desk("tail", str(tmp_path / "none"))
    assert (done.status, done.err) == (2, "vaultbell: the log cannot be read: No such file or directory\n")


def test_an_outcome_that_there_is_not_is_wrong_use(desk: Desk) -> None:
    done = desk("tail", "--outcome", "fialed")
    assert (done.status, done.out) == (2, "")
    assert "timed_out" in done.err


def test_a_full_disk_is_not_taken_for_a_log_that_cannot_be_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"line\n")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vaultbell.cli", "tail", str(log)],
            env=environment({"PYTHONPATH": str(FUNCTION)}),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        3,
        b"vaultbell: what came of it cannot be printed: No space left on device\n",
    )


def test_what_the_function_really_writes_is_understood(
    desk: Desk, cloud: Cloud, receiver: Receiver, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry.LOG, "handlers", [])
    task = cloud.outcome("failed")["id"]
    found = settings.load(cloud.env() | {"VAULTBELL_WEBHOOK_URL": receiver.url, "VAULTBELL_LOG_FORMAT": "json"})
    compose.start(found)
    telemetry.log_report("http", InvalidEvent("the body is not JSON", code="not_json"))
    event = Event(json.dumps({"operation_log_id": task}).encode())
    telemetry.log_report("http", pipeline.handle(compose.bell(found), event, Budget.of(10)))
    done = desk.fed(capsys.readouterr().err.encode(), "tail")
    started, _spoken_to_without_tls, refused, rung = done.out.splitlines()
    assert "started" in started
    assert "http 400   not_json: the body is not JSON" in refused
    assert f"http 200   failed      notified  {task}" in rung
    assert "→ webhook" in rung


# As it is written


@contextmanager
def following(*arguments: str) -> Iterator[Queue[str]]:
    """The command at work; what it prints, line by line, as it comes."""
    command = [sys.executable, "-m", "vaultbell.cli", "tail", *arguments]
    lines: Queue[str] = Queue()
    with subprocess.Popen(
        command,
        env=environment({"PYTHONPATH": str(FUNCTION)}),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    ) as process:

        def read() -> None:
            for text in process.stdout or ():
                lines.put(text.rstrip("\n"))

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield lines
        finally:
            process.terminate()
            process.wait(10)
            reader.join(10)


def test_lines_are_shown_as_they_are_written_also_into_the_files_successor(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(written(b"one", b"two", b"three"))
    with following("--follow", "--lines", "2", str(log)) as shown:
        assert [shown.get(timeout=20) for _ in range(2)] == ["two", "three"]
        with log.open("ab") as file:
            file.write(b"fo")
            file.flush()
            file.write(b"ur\n")
        assert shown.get(timeout=10) == "four"
        log.rename(tmp_path / "log.1")
        with (tmp_path / "log.1").open("ab") as file:
            file.write(b"five, before the writer has noticed\n")
        log.write_bytes(written(b"six"))
        assert shown.get(timeout=10).startswith("five")
        assert shown.get(timeout=10) == "six"
        log.write_bytes(b"")  # emptied, where it is
        with log.open("ab") as file:
            file.write(written(b"7"))
        assert shown.get(timeout=10) == "7"


def test_a_reader_that_has_seen_enough_ends_it_without_a_word(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(written(*[b"line"] * 20_000))
    with subprocess.Popen(
        [sys.executable, "-m", "vaultbell.cli", "tail", str(log)],
        env=environment({"PYTHONPATH": str(FUNCTION)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
