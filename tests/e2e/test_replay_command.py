"""`vaultbell replay`: saved events and dead letters are handled again, or it is said what would be told."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from desk import Desk, NewDesk, Terminal
from integration.broker import own_broker, usual
from samples import EVENTS
from standin import Cloud
from standin.logs import seed_demo
from standin.sinks import Receiver
from vaultbell import pipeline
from vaultbell.platforms.queue.broker import Broker, connected
from vaultbell.platforms.queue.letter import Letter

FAILED, TIMED_OUT, RUNNING = (f"00000000-0000-4000-8000-00000000000{digit}" for digit in "456")
OLD = (datetime.now(UTC) - timedelta(hours=1)).isoformat()


def named(task_id: str, **more: object) -> dict[str, object]:
    return {"operation_log_id": task_id, "time": OLD, **more}


@pytest.fixture
def desk(new_desk: NewDesk, cloud: Cloud, receiver: Receiver) -> Desk:
    seed_demo(cloud)
    return new_desk(cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"})


def tasks(receiver: Receiver) -> list[str]:
    return [got.json["data"]["operation_log"]["id"] for got in receiver.requests]


# Files


def test_saved_events_ring_again_and_a_summary_says_what_became_of_them(
    desk: Desk, receiver: Receiver, tmp_path: Path
) -> None:
    plain, quiet = tmp_path / "plain.json", tmp_path / "quiet.json"
    plain.write_text(json.dumps(named(FAILED)))
    quiet.write_text(json.dumps(named("00000000-0000-4000-8000-000000000001")))
    done = desk("replay", str(plain), str(quiet), str(EVENTS / "cloudevent-binary.http.json"))
    assert (done.status, done.err) == (0, "")
    assert tasks(receiver) == [FAILED, TIMED_OUT]
    lines = done.out.splitlines()
    assert lines[0].startswith(f"{plain}: failed     {FAILED}  Backup of app-server-")
    assert lines[0].endswith(" → webhook")
    assert lines[1] == f"{quiet}: succeeded  00000000-0000-4000-8000-000000000001  the task ended without an error"
    assert lines[3:] == [
        "",
        "events    3",
        "handled   3",
        "outcomes  failed 1, succeeded 1, timed_out 1",
        "actions   notified 2, quiet 1",
        "told      webhook 2",
        "owed      -",
    ]


def test_in_a_dry_run_nobody_is_told_and_it_is_said_who_would_be(desk: Desk, receiver: Receiver) -> None:
    done = desk("replay", "--dry-run", "--json", str(EVENTS / "plain-list.json"), VAULTBELL_HEARTBEAT_URL=receiver.url)
    assert (done.status, receiver.requests) == (0, [])
    (event,) = done.json["events"]
    assert [(result["outcome"], result["channels"]) for result in event["results"]] == [
        ("succeeded", []),
        ("overdue", ["webhook"]),
    ]
    assert not {"action", "receipts"} & event["results"][0].keys()
    assert done.json["summary"]["would tell"] == {"webhook": 1}
    assert desk("replay", "--dry-run", str(EVENTS / "plain.json"), VAULTBELL_WEBHOOK_URL="").status == 0


@pytest.mark.parametrize("form", ["lines", "list"])
def test_a_file_may_hold_several_events(desk: Desk, receiver: Receiver, tmp_path: Path, form: str) -> None:
    http = json.loads((EVENTS / "cloudevent-structured.http.json").read_bytes())
    events: list[object] = [named(FAILED), http, {"operation_log_id": "soon"}, named(TIMED_OUT)]
    file = tmp_path / "events"
    file.write_text(json.dumps(events) if form == "list" else "\n\n".join(map(json.dumps, events)) + "\n")
    done = desk("replay", str(file), "--json")
    assert done.status == 1
    assert [event["event"] for event in done.json["events"]] == [f"{file}:{number}" for number in (1, 2, 3, 4)]
    assert done.json["events"][2]["results"][0]["error"]["code"] == "bad_id"
    assert tasks(receiver) == [FAILED, FAILED, TIMED_OUT]
    assert (done.json["summary"]["handled"], done.json["summary"]["refused"]) == (3, 1)
    limited = desk("replay", str(file), "--json", "--limit", "1")
    assert (limited.status, limited.json["summary"]["events"]) == (0, 1)


@pytest.mark.parametrize("sample", sorted(path.name for path in (EVENTS / "functiongraph").glob("*.json")))
def test_every_trigger_of_functiongraph_can_be_replayed(desk: Desk, sample: str) -> None:
    done = desk("replay", "--dry-run", str(EVENTS / "functiongraph" / sample))
    assert done.status == int(sample in ("dds.json", "lts.json", "obs.json"))


def test_an_event_may_come_by_the_standard_input(desk: Desk, receiver: Receiver) -> None:
    assert desk.fed(json.dumps(named(FAILED)).encode(), "replay", "-").status == 0
    assert tasks(receiver) == [FAILED]


def test_what_is_not_told_or_has_not_ended_is_to_come_again(desk: Desk, receiver: Receiver, tmp_path: Path) -> None:
    events = tmp_path / "events"
    events.write_text("\n".join(json.dumps(named(task)) for task in (FAILED, RUNNING, TIMED_OUT)))
    receiver.answer("/bell", 503, {"Retry-After": "600"}, times=1)
    done = desk("replay", str(events))
    assert done.status == 3
    assert "[try_again: not reached yet: webhook]" in done.out.splitlines()[0]
    assert done.out.splitlines()[1].startswith(f"{events}:2: running    {RUNNING}")
    summary = dict(line.split(None, 1) for line in done.out.splitlines()[-7:])
    assert (summary["handled"], summary["unhandled"], summary["owed"]) == ("1", "2", "webhook 1")
    receiver.answer("/bell", 410, times=1)
    refused = desk("replay", str(events), "--limit", "1")
    assert (refused.status, "refused for good by: webhook" in refused.out) == (1, True)


def test_an_error_of_our_own_costs_one_event_alone(
    desk: Desk, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pipeline.handle

    def handle(bell: object, event: object, *rest: object) -> object:
        if b"boom" in event.body:  # type: ignore[attr-defined]  # an Event
            raise RuntimeError
        return real(bell, event, *rest)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(pipeline, "handle", handle)
    events = tmp_path / "events"
    events.write_text(json.dumps({"boom": 1}) + "\n" + json.dumps(named(FAILED)))
    done = desk("replay", str(events))
    assert (done.status, tasks(receiver)) == (3, [FAILED])
    assert "internal: an error of Vaultbell itself" in done.out


def test_how_far_it_has_come_is_shown_on_a_terminal_alone(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = tmp_path / "events"
    events.write_text("\n".join(json.dumps(named(FAILED)) for _ in range(3)))
    assert desk("replay", "--dry-run", str(events)).err == ""
    for there, shape in (
        (True, "[##########....................] 1 of 3 events handled"),
        (False, "1 of 3 events handled"),
    ):
        if not there:
            monkeypatch.setitem(sys.modules, "tqdm", None)
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        assert desk("replay", "--dry-run", str(events)).status == 0
        shown = terminal.getvalue().split("\r")
        assert shape in shown
        assert shown[-1] == ""
        assert not shown[-2].strip()


@pytest.mark.parametrize(
    "arguments",
    [(), ("x.json", "--dead-letters", "amqp://x", "--queue", "q"), ("--dead-letters", "amqp://x"), ("/no/such/file",)],
)
def test_wrong_use_is_told(desk: Desk, arguments: tuple[str, ...]) -> None:
    done = desk("replay", *arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("vaultbell: ")


def test_a_file_that_is_no_event_is_refused_in_a_word(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "x\x1b[2J.json"
    file.write_text('{\n  "operation_log_id":\n')
    done = desk("replay", str(file))
    assert done.status == 1
    assert "rejected   -  not_json: the body is not JSON" in done.out
    assert "\x1b" not in done.out


# Dead letters


@pytest.fixture(scope="module")
def amqp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a RabbitMQ."""
    if found := usual():
        yield found
        return
    with own_broker(tmp_path_factory.mktemp("broker")) as own:
        own.wait()
        yield own.url


def dead(broker: Broker, count: int) -> list[tuple[bytes, object]]:
    """The dead letters, as they lie, and each one's reason, once there are so many: a broker takes back what somebody
    has only looked at in its own time.
    """
    found: list[tuple[bytes, object]] = []
    until = time.monotonic() + 20
    with connected(broker) as link:
        while (message := link.get(broker.dead)) or (len(found) < count and time.monotonic() < until):
            if message:
                letter = Letter.of(message)
                found.append((letter.body, letter.headers.get("x-vaultbell-reason")))
            else:
                time.sleep(0.02)  # nothing tells of it
    return found


@pytest.mark.parametrize("kind", ["amqp", "filesystem"])
def test_dead_letters_that_are_handled_are_gone_and_the_others_stay_with_their_reason(
    request: pytest.FixtureRequest, desk: Desk, receiver: Receiver, tmp_path: Path, kind: str
) -> None:
    url = request.getfixturevalue("amqp") if kind == "amqp" else f"filesystem://{tmp_path}/queues"
    broker = Broker(url, f"vaultbell-test-{uuid4().hex}")
    bodies = [json.dumps(named(task)).encode() for task in (FAILED, "soon", RUNNING, TIMED_OUT)]
    try:
        with connected(broker) as link:
            link.declare()
            for body in bodies:
                link.bury(Letter(body), "too_many_attempts", "100 attempts")
        place = ("--dead-letters", url, "--queue", broker.queue)
        done = desk("replay", "--dry-run", "--json", *place)
        assert [event["dead_letter"] for event in done.json["events"]] == ["too_many_attempts"] * 4
        assert (receiver.requests, len(dead(broker, 4))) == ([], 4)
        done = desk("replay", *place)
        assert done.status == 3
        assert sorted(tasks(receiver)) == [FAILED, TIMED_OUT]
        assert sorted(dead(broker, 2)) == sorted((body, "too_many_attempts") for body in bodies[1:3])
        assert f"{broker.dead} 1 (too_many_attempts): " in done.out
    finally:
        with connected(broker) as link:
            for name, _ in broker.queues():
                link._channel.queue_delete(name)


def test_where_it_is_ended_half_way_what_was_done_is_told(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, turn = pipeline.handle, iter((1, 2))

    def handle(*given: object) -> object:
        if next(turn) == 2:
            raise KeyboardInterrupt
        return real(*given)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(pipeline, "handle", handle)
    events = tmp_path / "events"
    events.write_text("\n".join(json.dumps(named(FAILED)) for _ in range(3)))
    done = desk("replay", "--dry-run", str(events))
    assert (done.status, done.err) == (130, "")
    assert "events    1" in done.out


def test_a_broker_that_is_not_there_is_told(desk: Desk) -> None:
    done = desk("replay", "--dead-letters", "amqp://127.0.0.1:9/", "--queue", "q")
    assert (done.status, done.out) == (3, "")
    assert "the broker was not reached" in done.err
