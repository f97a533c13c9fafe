"""Each format on its way: where it is POSTed, under which headers, signed where the channel has secrets."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from standin import Cloud
from standin.sinks import Receiver
from vaultbell import compose, pipeline, settings
from vaultbell.budget import Budget
from vaultbell.events import Event
from vaultbell.report import Result

SECRET = "whsec_" + base64.b64encode(b"the webhook's key, 32 bytes long").decode()
SERVER = "1dab32fa-ebf2-415a-ab0b-eabe6353bc86"
KEYS = {"pagerduty": "routing_key: R0s3cret", "opsgenie": "api_key: G0s3cret"}

Tell = Callable[[Mapping[str, Any]], Result]


@pytest.fixture
def told(cloud: Cloud, receiver: Receiver, tmp_path: Path) -> Callable[..., Tell]:
    """Makes a function that names a task to a bell with one channel of a format, and gives the line of the report."""

    def of(name: str, path: str = "/in", **environ: str) -> Tell:
        key = f", {KEYS[name]}" if name in KEYS else ""
        (tmp_path / "bell.yaml").write_text(
            f"channels:\n  x: {{type: webhook, format: {name}, url: '{receiver.url}{path}', secrets: [{SECRET}],"
            f" resolve: true{key}}}\nroutes: [{{channels: [x]}}]\n"
        )
        app = compose.app(settings.load({**cloud.env(), **environ, "VAULTBELL_CONFIG": str(tmp_path / "bell.yaml")}))

        def tell(task: Mapping[str, Any]) -> Result:
            event = {"operation_log_id": task["id"], "project_id": cloud.project_id}
            (result,) = pipeline.handle(app.bell, Event(json.dumps(event).encode()), Budget.of(10)).results
            return result

        return tell

    return of


def failed_and_over(cloud: Cloud, tell: Tell) -> None:
    """A failure and, after it, the success of the same server."""
    assert tell(cloud.outcome("failed", resource_id=SERVER, age=7_200)).action == "notified"
    assert tell(cloud.outcome("succeeded", resource_id=SERVER, age=60)).action == "notified"


@pytest.mark.parametrize("name", settings.FORMATS)
def test_every_format_is_posted_and_signed(
    cloud: Cloud, receiver: Receiver, told: Callable[..., Tell], name: str
) -> None:
    failed_and_over(cloud, told(name))
    bad, good = receiver.requests
    assert receiver.verify(SECRET) == [True, True]
    assert {got.method for got in receiver.requests} == {"POST"}
    kind = "application/cloudevents+json" if name == "cloudevent" else "application/json"
    assert {got.headers["content-type"] for got in receiver.requests} == {kind}
    assert bad.headers["webhook-id"] != good.headers["webhook-id"]
    assert bad.path == "/in"


def test_opsgenie_is_closed_below_the_address_that_it_was_told_at(
    cloud: Cloud, receiver: Receiver, told: Callable[..., Tell]
) -> None:
    failed_and_over(cloud, told("opsgenie", "/v2/alerts/"))
    bad, good = receiver.requests
    assert (bad.path, good.path) == ("/v2/alerts/", f"/v2/alerts/{bad.json['alias']}/close")
    assert good.query == "identifierType=alias"
    assert {got.headers["authorization"] for got in (bad, good)} == {"GenieKey G0s3cret"}


def test_pagerduty_has_its_key_in_the_body(cloud: Cloud, receiver: Receiver, told: Callable[..., Tell]) -> None:
    failed_and_over(cloud, told("pagerduty"))
    assert [got.json["event_action"] for got in receiver.requests] == ["trigger", "resolve"]
    assert {got.json["routing_key"] for got in receiver.requests} == {"R0s3cret"}
    assert len({got.json["dedup_key"] for got in receiver.requests}) == 1


@pytest.mark.parametrize("name", KEYS)
def test_a_receivers_key_is_in_no_receipt(
    cloud: Cloud, receiver: Receiver, told: Callable[..., Tell], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    receiver.answer(status=401, body=b"s3cret")
    result = told(name)(cloud.outcome("failed"))
    assert result.action == "rejected"
    shown = capfd.readouterr()
    assert "s3cret" not in f"{result!r}{shown.out}{shown.err}"


@pytest.mark.parametrize("name", settings.CHAT_FORMATS)
def test_a_chat_is_told_the_time_of_the_readers_zone(
    cloud: Cloud, receiver: Receiver, told: Callable[..., Tell], name: str
) -> None:
    told(name, VAULTBELL_TZ="Asia/Kolkata")(cloud.outcome("failed"))
    (got,) = receiver.requests
    assert "IST)" in got.body.decode()


def test_an_alert_of_a_repeat_is_the_same(cloud: Cloud, receiver: Receiver, told: Callable[..., Tell]) -> None:
    tell, task = told("alertmanager"), cloud.outcome("failed", age=7_200)
    tell(task)
    tell(task)
    first, second = receiver.requests
    assert first.body == second.body
