"""The samples of `events/` are what their names say: each form, each outcome, and each answer of the API."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel

import samples
from standin import Cloud
from standin.logs import DEMO
from standin.sinks import Receiver
from vaultbell import compose, pipeline, settings, sources
from vaultbell.budget import Budget
from vaultbell.cloud.operation_log import OperationLog
from vaultbell.errors import InvalidEvent
from vaultbell.events import Alarm, Event, Item, RollCall, Search, Settled, Sweep, TaskRef
from vaultbell.outcome import OutcomeName, classify
from vaultbell.settings import OutcomeRules
from vaultbell.sources import Decoded

PROJECT = "0123456789abcdef0123456789abcdef"
SERVER, VAULT = "1dc0ffee-0000-4000-9000-00000000db01", "5f0d8c6e-3a57-4a52-9c1e-0b6f3d7a2e11"
AT = datetime(2025, 11, 23, 2, 5, tzinfo=UTC)
ASKED = datetime(2025, 11, 23, 2, 0, tzinfo=UTC)
SENT = timedelta(seconds=2)  # the SMN message, after its alarm

QUARTER, LAG = timedelta(minutes=15), timedelta(minutes=5)


def task(digit: str, time: datetime | None = None, region: str | None = None) -> TaskRef:
    return TaskRef(f"00000000-0000-4000-8000-00000000000{digit}", PROJECT, region, time)


ALARM = Search("alarm", f"the alarm backupFailed about {SERVER} of 2025-11-23 02:05 UTC", AT, ("backup",), (SERVER,))
TRACE = Search(
    "trace",
    f"the request createVaultBackup for {VAULT} of 2025-11-23 02:00 UTC",
    ASKED,
    ("backup",),
    (VAULT,),
    PROJECT,
)

# What each sample is taken for: the source that knows it, and its items; of an Alarm or a refusal the type alone.
FORMS: dict[str, tuple[str, list[Item | type[Item]]]] = {
    "plain.json": ("plain", [task("4", AT, "eu-de")]),
    "plain-task-id.json": ("plain", [task("5")]),
    "plain-list.json": ("events", [task("1"), task("7")]),
    "cloudevent-structured.http.json": ("cloudevents", [task("4", AT)]),
    "cloudevent-binary.http.json": ("cloudevents", [task("5", AT)]),
    "cloudevent-batch.http.json": ("cloudevents", [task("2", AT), task("a", AT)]),
    "pubsub.json": ("pubsub", [task("b", AT + timedelta(milliseconds=123))]),
    "smn-notification.http.json": ("smn", [ALARM]),
    "smn-confirmation.http.json": ("smn", [Settled]),
    "smn-unsubscribed.http.json": ("smn", [Settled]),
    "ces-alarm.json": ("ces", [ALARM]),
    "ces-alarm-unreadable.json": ("ces", [Alarm]),
    "cts-trace.json": ("cts", [TRACE]),
    "sweep.json": ("timer", [Sweep(None, QUARTER, LAG, PROJECT)]),
    "roll-call.json": ("roll_call", [RollCall(None, timedelta(days=1), PROJECT)]),
}
TRIGGERS: dict[str, tuple[str, list[Item | type[Item]]]] = {
    "functiongraph/smn.json": ("smn-trigger", [ALARM, TRACE]),
    "functiongraph/kafka.json": ("stream", [task("4", AT), TaskRef(task("1").operation_log_id, time=AT)]),
    "functiongraph/opensourcekafka.json": ("stream", [task("5", AT)]),
    "functiongraph/rocketmq.json": ("stream", [task("7", AT)]),
    "functiongraph/timer.json": ("timer", [Sweep(datetime(2025, 11, 23, 2, 20, tzinfo=UTC), QUARTER, LAG)]),
    "functiongraph/cts.json": ("cts", [TRACE]),
}
REFUSED = {"functiongraph/lts.json": "LTS", "functiongraph/obs.json": "OBS", "functiongraph/dds.json": "DDS"}
APIG = "functiongraph/apig.json"

# What the API answers where it has no log to show.
STATUS = {"missing": 404, "unverified": 401}
LATER = datetime(2025, 11, 23, 3, 0, tzinfo=UTC)  # when the samples of operation logs are looked at
ALWAYS = {"created_at", "error_info", "id", "project_id", "started_at", "status", "updated_at"}


def decoded(name: str) -> Decoded:
    """The sample, as the door that it is meant for hands it over once it believes the sender."""
    sample = samples.read(name)
    headers = {key.lower(): text for key, text in sample.headers.items()}
    platform = name.startswith("functiongraph/")
    return sources.decode(Event(sample.body, {} if platform else headers, trusted=True, platform=platform))


@pytest.mark.parametrize("name", [*FORMS, *TRIGGERS])
def test_a_sample_is_understood_as_its_name_says(name: str) -> None:
    source, wanted = (FORMS | TRIGGERS)[name]
    found = decoded(name)
    assert found.source.name == source
    assert len(found.items) == len(wanted)
    for item, want in zip(found.items, wanted, strict=True):
        assert type(item) is want if isinstance(want, type) else item == want


@pytest.mark.parametrize(("name", "trigger"), REFUSED.items())
def test_a_trigger_that_names_no_task_is_refused_by_its_name(name: str, trigger: str) -> None:
    with pytest.raises(InvalidEvent, match=rf"\b{trigger} triggers\b"):
        decoded(name)


def test_the_sample_of_api_gateway_holds_a_plain_event() -> None:
    held = samples.value(APIG)
    assert held["httpMethod"] == "POST"
    assert held["isBase64Encoded"] is True
    (item,) = sources.decode(Event(base64.b64decode(held["body"], validate=True))).items
    assert item == task("4")


def test_every_form_has_a_sample_and_every_sample_is_a_form() -> None:
    assert samples.names() == FORMS.keys()
    assert samples.names("functiongraph") == {*TRIGGERS, *REFUSED, APIG}
    known = {source for source, _ in (FORMS | TRIGGERS).values()}
    assert known == {source.name for source in sources.SOURCES}


def test_every_sample_is_told_of_in_its_readme() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", (samples.EVENTS / "README.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(samples.names() | samples.names("functiongraph"))


# A resource that nobody has backed up is found by a sweep: no event names it, and no record of a task tells it.
TASKS = [name for name in OutcomeName if name is not OutcomeName.STALE]


def test_every_outcome_has_an_event_and_an_answer_of_the_api() -> None:
    outcomes = {f"{name}.json" for name in TASKS}
    for folder in ("outcomes", "operation-logs"):
        assert samples.names(folder) == {f"{folder}/{name}" for name in outcomes}


@pytest.mark.parametrize("name", TASKS)
def test_the_event_of_an_outcome_names_the_demo_task_that_has_it(name: OutcomeName) -> None:
    (item,) = decoded(f"outcomes/{name}.json").items
    assert isinstance(item, TaskRef)
    assert (item.project_id, item.time) == (PROJECT, AT)
    digit = item.operation_log_id[-1]
    assert item == task(digit, AT)
    if name is OutcomeName.UNVERIFIED:
        assert digit in DEMO  # it is there: the cloud does not let us see it
    else:
        assert DEMO.get(digit, (OutcomeName.MISSING, {}))[0] == name


@pytest.mark.parametrize("name", [name for name in TASKS if name not in STATUS])
def test_an_operation_log_has_the_outcome_of_its_name(name: OutcomeName) -> None:
    answer = samples.value(f"operation-logs/{name}.json")
    log = OperationLog.read(answer["operation_log"])
    assert classify(log, OutcomeRules(), LATER).name is name
    assert answer["operation_log"].keys() >= ALWAYS
    assert list(_unknown(log)) == []


@pytest.mark.parametrize(("name", "status"), STATUS.items())
def test_an_answer_without_a_log_has_the_outcome_of_its_name(
    cloud: Cloud, receiver: Receiver, name: str, status: int
) -> None:
    app = compose.app(settings.load(cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"}))
    cloud.fault("show", "status", None, status=status, body=samples.value(f"operation-logs/{name}.json"))
    event = Event(samples.read(f"outcomes/{name}.json").body)
    (result,) = pipeline.handle(app.bell, event, Budget.of(10.0)).results
    assert result.outcome == name
    assert [got.json["type"] for got in receiver.requests] == [f"cbr.task.{name}"]


def _unknown(table: BaseModel, path: str = "") -> Iterator[str]:
    """The fields of a log, at any depth, that none of the API's tables has."""
    yield from (f"{path}{field}" for field in table.model_extra or ())
    for field in type(table).model_fields:
        held = getattr(table, field)
        for part in held if isinstance(held, list) else [held]:
            if isinstance(part, BaseModel):
                yield from _unknown(part, f"{path}{field}.")
