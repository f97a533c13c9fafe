"""What arrives: how each form is told, what is taken from it, and that nothing else comes of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vaultbell import sources
from vaultbell.errors import InvalidEvent
from vaultbell.events import Event, Item, RollCall, Settled, Sweep, TaskRef
from vaultbell.report import JSON, Object
from vaultbell.sources import SOURCES, Decoded, cloudevents, listed, plain, pubsub
from vaultbell.sources.form import Context

TASK, PROJECT = "00000000-0000-4000-8000-00000000000a", "0123456789abcdef" * 2
AT = datetime(2026, 11, 23, 8, 1, tzinfo=UTC)
PLAIN: dict[str, Any] = {"operation_log_id": TASK, "project_id": PROJECT, "time": "2026-11-23T08:01:00Z"}
CE: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "/ours", "type": "ours"}
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
REF = TaskRef(TASK, PROJECT, None, AT)


def decoded(value: object, headers: Mapping[str, str] | None = None, **more: Any) -> Decoded:  # noqa: ANN401 - Event's
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return sources.decode(Event(body, headers or {}, **more))


def refusal(value: object, headers: Mapping[str, str] | None = None, **more: Any) -> InvalidEvent:  # noqa: ANN401
    with pytest.raises(InvalidEvent) as refused:
        decoded(value, headers, **more)
    return refused.value


def packed(value: object) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


# Which form it is


@pytest.mark.parametrize(
    ("value", "headers", "name", "items"),
    [
        (PLAIN, {}, "plain", [REF]),
        ({"events": [PLAIN, PLAIN]}, {}, "events", [REF, REF]),
        ({"message": {"data": packed(PLAIN)}, "subscription": None}, {}, "pubsub", [REF]),
        ({**CE, "data": PLAIN}, {}, "cloudevents", [REF]),
        ({**CE, "data": PLAIN}, {"content-type": STRUCTURED}, "cloudevents", [REF]),
        ([{**CE, "data": PLAIN}], {"content-type": BATCH}, "cloudevents", [REF]),
        (PLAIN, {f"ce-{name}": value for name, value in CE.items()}, "cloudevents", [REF]),
        ({"sweep": {}}, {}, "timer", [Sweep()]),
        ({"sweep": None, "events": [PLAIN]}, {}, "timer", [Sweep()]),
        ({"trigger_type": "TIMER", "time": PLAIN["time"]}, {}, "timer", [Sweep(AT)]),
        ({"roll_call": {}}, {}, "roll_call", [RollCall()]),
        ({"roll_call": None}, {}, "roll_call", [RollCall()]),
        ({"sweep": {}, "roll_call": {"period": "7d"}}, {}, "timer", [Sweep(), RollCall(None, timedelta(days=7))]),
    ],
)
def test_the_form_is_told_by_headers_and_shape(
    value: object, headers: Mapping[str, str], name: str, items: list[Item]
) -> None:
    found = decoded(value, headers)
    assert (found.source.name, list(found.items)) == (name, items)


@pytest.mark.parametrize(
    ("value", "headers", "batch"),
    [
        (PLAIN, {}, False),
        ({"events": [PLAIN]}, {}, True),
        ({**CE, "data": PLAIN}, {"content-type": STRUCTURED}, False),
        ([{**CE, "data": PLAIN}], {"content-type": BATCH}, True),
        ({**CE, "data": {"events": [PLAIN, PLAIN]}}, {"content-type": STRUCTURED}, True),
    ],
)
def test_a_batch_is_known_as_one(value: object, headers: Mapping[str, str], batch: bool) -> None:
    assert decoded(value, headers).batch is batch


def test_what_the_senders_of_a_form_expect_is_known() -> None:
    known = {source.name: (source.waits, source.answers_empty, source.leaves) for source in SOURCES}
    assert len(known) == len(SOURCES)
    assert known["pubsub"] == (9.0, False, False)
    assert known["smn"] == (4.0, False, True)
    assert known["cloudevents"] == (None, True, False)
    assert known["timer"] == (None, False, True)
    assert known["plain"] == known["events"] == (None, False, False)


@pytest.mark.parametrize("name", ["record", "records", "lts", "Records", "dds"])
def test_what_only_a_platform_sends_means_nothing_through_an_open_door(name: str) -> None:
    assert decoded({**PLAIN, name: [{"messages": ["{}"]}]}).items == (REF,)
    assert refusal({name: [{"messages": [json.dumps(PLAIN)], "smn": {"message": json.dumps(PLAIN)}}]}).code == "no_task"


@pytest.mark.parametrize("value", [None, True, 0, b"1e999", "text", [], [PLAIN], {}, {"hello": 1}])
def test_what_names_no_task_is_refused(value: object) -> None:
    assert (refusal(value).status, refusal(value).code) == (400, "no_task")


# Plain


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"task_id": TASK}, TaskRef(TASK)),
        ({"task_id": TASK.upper(), "operation_log_id": TASK}, TaskRef(TASK)),
        ({"task_id": None, "operation_log_id": TASK}, TaskRef(TASK)),
        ({"operation_log_id": TASK.upper(), "project_id": PROJECT.upper()}, TaskRef(TASK, PROJECT)),
        ({"operation_log_id": TASK, "project_id": None, "region": None, "time": None}, TaskRef(TASK)),
        ({"operation_log_id": TASK, "region": "EU-de"}, TaskRef(TASK, region="EU-de")),
        ({"operation_log_id": TASK, "time": "soon"}, TaskRef(TASK)),
        ({"operation_log_id": TASK, "time": {"at": 1}}, TaskRef(TASK)),
        (b'{"operation_log_id": "%b", "time": 1e999}' % TASK.encode(), TaskRef(TASK)),
        ({"operation_log_id": TASK, "time": int(AT.timestamp())}, TaskRef(TASK, time=AT)),
    ],
)
def test_a_plain_event_names_its_task(value: object, found: TaskRef) -> None:
    assert decoded(value).items == (found,)


@pytest.mark.parametrize("value", [[TASK], {"id": TASK}, 7, True, "", "x", f"{TASK}\n", f"{TASK} ", "\uff21" * 36])
def test_an_id_that_is_none_is_refused(value: object) -> None:
    for event in ({"operation_log_id": value}, {"task_id": value}, {"operation_log_id": TASK, "project_id": value}):
        error = refusal(event)
        assert (error.status, error.code) == (400, "bad_id")


def test_two_names_are_not_guessed_between() -> None:
    assert refusal({"operation_log_id": TASK, "task_id": TASK.replace("a", "b")}).code == "bad_id"


def test_who_is_still_to_be_told_is_believed_from_trusted_doors_alone() -> None:
    event = {**PLAIN, "channels": ["mail", 7, "ops"]}
    assert decoded(event).items == (REF,)
    (found,) = decoded(event, trusted=True).items
    assert isinstance(found, TaskRef)
    assert found.channels == ("mail", "ops")
    for nothing in ([], None, "mail", [7]):
        assert decoded({**PLAIN, "channels": nothing}, trusted=True).items == (REF,)


# A roll call


def test_a_roll_call_says_over_which_time_and_of_which_project() -> None:
    asked = {"at": PLAIN["time"], "period": "12h", "project_id": PROJECT.upper()}
    assert decoded({"roll_call": asked}).items == (RollCall(AT, timedelta(hours=12), PROJECT),)


@pytest.mark.parametrize("user_event", [{"roll_call": {"period": "7d"}}, '{"roll_call": {"period": "7d"}}'])
def test_a_timer_asks_for_a_roll_call_alone_where_its_text_says_so(user_event: object) -> None:
    tick = {"trigger_type": "TIMER", "time": PLAIN["time"], "user_event": user_event}
    assert decoded(tick).items == (RollCall(AT, timedelta(days=7)),)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ([], "roll_call is not an object"),
        ({"lag": "5m"}, "roll_call has 1 key(s) that mean nothing; it knows at, period, project_id"),
        ({"at": "soon"}, "roll_call.at is not a time"),
        ({"period": "soon"}, "roll_call.period is not a duration"),
        ({"period": 0}, "roll_call.period is nothing"),
        ({"project_id": "x"}, "project_id is not 32 hex digits"),
    ],
)
def test_a_roll_call_that_says_something_else_is_refused(asked: object, told: str) -> None:
    error = refusal({"roll_call": asked})
    assert (error.status, error.message.startswith(told)) == (400, True)
    tick = {"trigger_type": "TIMER", "user_event": {"roll_call": asked}}
    assert refusal(tick).message == error.message


# CloudEvents


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("plain", "plain"),
        ("%2Fours%20%C3%BC", "/ours ü"),
        ('"quoted"', "quoted"),
        ('"a \\"b\\" \\\\ c"', 'a "b" \\ c'),
        ('"%22"', '"'),
        ('"open', '"open'),
        ('half"', 'half"'),
        ('a"b"', 'a"b"'),
        ("%zz%", "%zz%"),
        ('""', ""),
    ],
)
def test_attributes_in_headers_are_unquoted_and_decoded(sent: str, meant: str) -> None:
    headers = {f"ce-{name}": value for name, value in CE.items()} | {"ce-subject": sent}
    value, _ = cloudevents.SOURCE.open(Event(b"{}", headers))
    assert isinstance(value, dict)
    assert value["subject"] == meant


@pytest.mark.parametrize("name", CE)
def test_each_required_attribute_is_required(name: str) -> None:
    for value in (None, "", 1, ["1.0"]):
        error = refusal({**CE, "data": PLAIN, name: value}, {"content-type": STRUCTURED})
        assert (error.status, name in error.message) == (400, True)
    headers = {f"ce-{key}": value for key, value in CE.items() if key != name}
    assert name in refusal(PLAIN, headers).message


@pytest.mark.parametrize(
    ("source", "ours"),
    [
        ("/vaultbell/eu-de/0123456789abcdef0123456789abcdef", True),
        ("/vaultbell//", True),
        ("/vaultbell/eu-de", False),
        ("/vaultbell/eu-de/p/more", False),
        ("/others/vaultbell/eu-de/p", False),
        ("https://example.org/vaultbell/eu-de/p", False),
        ("vaultbell/eu-de/p", False),
    ],
)
def test_our_own_events_are_known_by_their_source(source: str, ours: bool) -> None:
    (item,) = decoded({**CE, "source": source, "type": "cbr.task.failed", "data": PLAIN}).items
    assert isinstance(item, Settled) is ours
    assert ours or item == REF


def test_our_own_event_is_dropped_whatever_it_carries() -> None:
    headers = {f"ce-{name}": value for name, value in CE.items()} | {"ce-source": "/vaultbell/eu-de/p"}
    for body in (b"", b"\xff", b"{"):
        assert isinstance(decoded(body, headers).items[0], Settled)


@pytest.mark.parametrize("kind", ["text/plain", "application/json; charset=utf-16", "", "multipart/form-data"])
def test_the_content_type_of_a_binary_event_does_not_matter(kind: str) -> None:
    headers = {f"ce-{name}": value for name, value in CE.items()} | {"content-type": kind, "ce-time": '"2026-11-23"'}
    assert decoded({"operation_log_id": TASK}, headers).items == (TaskRef(TASK, time=AT.replace(hour=0, minute=0)),)


# Nesting and batches


def nested(depth: int, value: object) -> object:
    for turn in range(depth):
        wrapped: tuple[object, ...] = (
            {"events": [value]},
            {**CE, "data": value},
            {"message": {"data": packed(value)}, "subscription": "s"},
        )
        value = wrapped[turn % 3]
    return value


def test_forms_nest_but_not_without_end() -> None:
    assert decoded(nested(4, PLAIN)).items == (REF,)
    assert "too deeply" in refusal_of_one(nested(5, PLAIN))
    assert "too deeply" in refusal_of_one(nested(30, PLAIN))


def refusal_of_one(value: object) -> str:
    try:
        (item,) = decoded(value).items
    except InvalidEvent as error:
        return error.message
    assert isinstance(item, InvalidEvent)
    return item.message


def test_the_inner_time_counts_and_the_outer_one_where_there_is_none() -> None:
    outer = {**CE, "time": "2026-11-23T07:00:00Z"}
    (inner,) = decoded({**outer, "data": PLAIN}).items
    (without,) = decoded({**outer, "data": {"operation_log_id": TASK, "time": "soon"}}).items
    assert inner == REF
    assert without == TaskRef(TASK, time=AT - timedelta(minutes=61))
    assert decoded({"operation_log_id": TASK}, time=AT).items == (TaskRef(TASK, time=AT),)


def test_a_bad_item_of_a_batch_is_its_line_and_alone_it_is_the_answer() -> None:
    good, bad = decoded({"events": [PLAIN, {"operation_log_id": "x"}]}).items
    assert good == REF
    assert isinstance(bad, InvalidEvent)
    assert refusal({**CE, "data": {"operation_log_id": "x"}}).code == bad.code == "bad_id"


@pytest.mark.parametrize(
    ("value", "headers"), [({"events": []}, {}), ([], {"content-type": BATCH}), ([], {"content-type": STRUCTURED})]
)
def test_an_empty_batch_is_refused(value: object, headers: Mapping[str, str]) -> None:
    assert (refusal(value, headers).status, refusal(value, headers).code) == (400, "no_task")


def test_a_batch_that_is_too_long_is_not_taken_apart_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(decoded({"events": [PLAIN] * 1_000}).items) == 1_000
    taken = 0

    def items(_self: plain.Plain, _value: JSON, _time: datetime | None, _context: Context) -> Iterator[Item]:
        nonlocal taken
        taken += 1
        yield REF

    monkeypatch.setattr(plain.Plain, "items", items)
    error = refusal({"events": [PLAIN] * 9_000})
    assert (error.status, error.code, taken) == (413, "too_large", 1_001)


def test_base64_is_read_strictly() -> None:
    assert pubsub.from_base64("e30=") == b"{}"
    for text in ("e30", "e30\n=", "e-_=", "é", "\ud800"):
        with pytest.raises(InvalidEvent) as refused:
            pubsub.from_base64(text)
        assert (refused.value.status, refused.value.code) == (400, "not_json")


# Whatever arrives

WORDS = (
    *("1.0", "TIMER", "CBR", "SYS.CBR", "backupFailed", "createVaultBackup", TASK, PROJECT, "eu-de", "ok", "15m"),
    *("/vaultbell/eu-de/p", "2026-11-23T08:00:00Z", "{}", '{"sweep":{}}', json.dumps(PLAIN), packed(PLAIN), "\ud800"),
)
KEYS = (
    *("operation_log_id", "task_id", "project_id", "region", "time", "events", "channels", "message", "subscription"),
    *(
        "specversion",
        "id",
        "source",
        "type",
        "data",
        "data_base64",
        "publishTime",
        "sweep",
        "at",
        "period",
        "lag",
        "roll_call",
    ),
    *("trigger_type", "user_event", "record", "records", "smn", "messages", "cts", "trace_name", "service_type"),
    *("request", "response", "resource_id", "alarm_id", "alarm_status", "template_variable", "namespace"),
    *("metric_name", "event_name", "dimension", "dimensions", "name", "value", "IsAlarm", "AlarmTime", "lts", "dds"),
)
LEAVES = st.one_of(
    *(
        st.none(),
        st.booleans(),
        st.integers(),
        st.just(10**400),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(WORDS),
    ),
    st.text(max_size=6),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=20,
)
HEADERS = st.dictionaries(
    st.sampled_from(["content-type", *(f"ce-{name}" for name in (*CE, "time", "data", "data_base64"))]),
    st.sampled_from([*WORDS, STRUCTURED, BATCH, '"', '"\\', "%", "%ff", '"1.0"']),
    max_size=5,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(VALUES, HEADERS, st.booleans(), st.booleans())
def test_whatever_arrives_is_understood_or_refused(
    value: object, headers: dict[str, str], trusted: bool, platform: bool
) -> None:
    found: tuple[Item, ...]
    try:
        found = decoded(value, headers, trusted=trusted, platform=platform).items
    except InvalidEvent as error:
        found = (error,)
    assert found
    assert set(found)  # they can be told apart
    assert {item.status for item in found if isinstance(item, InvalidEvent)} <= {400, 401, 413}


SPACES = st.text(" \t\r\n", max_size=2)
# How an event can be packed into another, and what is told with it.
PACKINGS: dict[str, Callable[[Object], Object]] = {
    "list": lambda event: {"events": [event]},
    "cloudevent": lambda event: {**CE, "data": event, "subject": "\ud800"},
    "cloudevent, as a text": lambda event: {**CE, "data": json.dumps(event)},
    "cloudevent, as base64": lambda event: {**CE, "data_base64": packed(event), "data": None},
    "pubsub": lambda event: {"message": {"data": packed(event), "attributes": {"a": "b"}}, "subscription": None},
    "kafka": lambda event: {"records": [{"messages": [json.dumps(event)]}]},
    "kafka, as an object": lambda event: {"records": [{"messages": [event]}]},
    "smn": lambda event: {"record": [{"smn": {"message": json.dumps(event)}}]},
}


@given(st.lists(st.sampled_from(sorted(PACKINGS)), max_size=4), st.dictionaries(st.text(), LEAVES, max_size=3), SPACES)
def test_however_it_is_packed_the_task_is_the_one_that_is_named(
    packings: list[str], beside: dict[str, Any], space: str
) -> None:
    event: Object = {
        key: value for key, value in beside.items() if not any(source.fits({key: 1}) for source in SOURCES)
    }
    event |= PLAIN
    for packing in packings:
        event = PACKINGS[packing](event)
    (item,) = decoded(f"{space}{json.dumps(event)}{space}".encode(), platform=True, trusted=True).items
    assert item == REF


@given(
    st.lists(st.sampled_from(sorted(PACKINGS)), max_size=4), st.binary(min_size=1, max_size=3), st.integers(0, 10_000)
)
def test_however_it_is_packed_what_is_broken_in_it_is_refused_at_most(
    packings: list[str], noise: bytes, place: int
) -> None:
    event: Object = dict(PLAIN)
    for packing in packings:
        event = PACKINGS[packing](event)
    body = json.dumps(event).encode()
    place %= len(body)
    found: tuple[Item, ...]
    try:
        found = decoded(body[:place] + noise + body[place + 1 :], platform=True, trusted=True).items
    except InvalidEvent as error:
        found = (error,)
    assert found
    assert {item.status for item in found if isinstance(item, InvalidEvent)} <= {400}


def test_a_source_says_what_it_is() -> None:
    for source in SOURCES:
        assert source.fits({"nothing": "of any form"}) is False
        assert source.opens(Event(b"")) is False
    value: Object = {"events": []}
    assert [source.name for source in SOURCES if source.fits(value)] == [listed.SOURCE.name]
