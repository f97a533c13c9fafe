"""`unverified`: whatever becomes of our credentials and rights in mid-work is rung, once, and ends when they return."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

import samples
from integration.test_functiongraph import Context
from standin import Cloud, serve
from standin.certificates import Authority
from standin.server import Server
from standin.sinks import Receiver
from standin.state import Answer, Kind, Refusal, Where
from vaultbell import compose, settings
from vaultbell.cloud import credentials
from vaultbell.errors import Misconfigured
from vaultbell.platforms import functiongraph, http

OTHER = "fedcba9876543210fedcba9876543210"
REST = credentials.REFUSED_PAUSE
SLOT = timedelta(hours=6)


@dataclass
class Clock:
    """The time of day, and the time that credentials rest by; both move when they are told to."""

    now: datetime = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
    passed: float = 1_000.0

    def advance(self, by: timedelta | float) -> None:
        by = by if isinstance(by, timedelta) else timedelta(seconds=by)
        self.now += by
        self.passed += by.total_seconds()


@dataclass
class Night:
    """The function, whose cloud may turn it away, and the one who is woken."""

    cloud: Cloud
    receiver: Receiver
    clock: Clock
    app: compose.App

    def event(self, **named: object) -> int:
        """The answer to an event about a task that has failed."""
        project = str(named.get("project_id") or self.cloud.project_id)
        task = self.cloud.outcome("failed", project_id=project)
        said = {"operation_log_id": task["id"], "time": (self.clock.now - timedelta(minutes=20)).isoformat()}
        return self.post({**said, **named})

    def post(self, event: object) -> int:
        body = json.dumps(event).encode()
        answer = http.handle(Request(EnvironBuilder("/", method="POST", data=body).get_environ()), self.app)
        self.answer: Any = json.loads(answer.get_data())
        return answer.status_code

    def rung(self) -> list[str]:
        """What has rung since this was last asked."""
        got, self.receiver.requests[:] = list(self.receiver.requests), []
        self.last = got
        return [one.json["type"].removeprefix("cbr.task.") for one in got]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(credentials, "time", SimpleNamespace(monotonic=lambda: clock.passed))
    return clock


@pytest.fixture
def night(receiver: Receiver, clock: Clock) -> Iterator[Callable[..., Night]]:
    cloud = Cloud(now=lambda: clock.now)
    cloud.projects[OTHER] = "eu-de_other"
    with serve(cloud):

        def begin(**changed: str) -> Night:
            env = cloud.env() | {
                "VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell",
                "VAULTBELL_PROJECTS": ",".join(cloud.projects),
            }
            app = compose.app(settings.load({name: text for name, text in (env | changed).items() if text}))
            return Night(cloud, receiver, clock, app._replace(bell=replace(app.bell, now=lambda: clock.now)))

        yield begin


NO_PASSWORD = dict.fromkeys(("OS_USERNAME", "OS_PASSWORD", "OS_USER_DOMAIN_NAME"), "")
KEY = {**NO_PASSWORD, "OS_ACCESS_KEY": "STANDINACCESSKEY", "OS_SECRET_KEY": "standin-secret-key"}


def change_password(cloud: Cloud) -> Callable[[], None]:
    before = dict(cloud.users)
    cloud.users[cloud.domain, cloud.user_name] = "another"
    cloud.revoke()  # as it does within 30 minutes
    return lambda: cloud.users.update(before)


def refuse_log_in(kind: Refusal) -> Callable[[Cloud], Callable[[], None]]:
    def refuse(cloud: Cloud) -> Callable[[], None]:
        cloud.revoke()
        cloud.fault("iam", kind, None)
        return cloud.heal

    return refuse


def refuse_request(kind: Kind, **args: Any) -> Callable[[Cloud], Callable[[], None]]:  # noqa: ANN401 - as Cloud.fault takes them
    def refuse(cloud: Cloud) -> Callable[[], None]:
        cloud.fault("show", kind, None, **args)
        return cloud.heal

    return refuse


def disable_key(cloud: Cloud) -> Callable[[], None]:
    before = dict(cloud.keys)
    cloud.keys.clear()

    def mend() -> None:
        cloud.keys.update(before)
        cloud.wrong.clear()

    return mend


def forbid(*asked: Where) -> Callable[[Cloud], Callable[[], None]]:
    def take_away(cloud: Cloud) -> Callable[[], None]:
        cloud.revoke()
        cloud.forbidden |= {(cloud.project_id, part) for part in asked}
        return cloud.forbidden.clear

    return take_away


@dataclass(frozen=True)
class Trouble:
    """What befalls the cloud (it returns what puts it right), under which settings; how long nobody is asked again."""

    befalls: Callable[[Cloud], Callable[[], None]]
    settings: dict[str, str] = field(default_factory=dict)
    rests: float = 0.0


GATEWAY = {"error_code": "APIGW.0101", "error_msg": "The API does not exist or has not been published"}
TROUBLES = {
    "the password was changed": Trouble(change_password, rests=REST),
    "the password has expired": Trouble(refuse_log_in("password_expired"), rests=REST),
    "the user is locked": Trouble(refuse_log_in("user_locked"), rests=REST),
    "the user has no role any more": Trouble(refuse_log_in("no_role"), rests=REST),
    "the rights to tasks are lost": Trouble(forbid("show", "list")),
    "every token is refused": Trouble(refuse_request("expired_token")),
    "every token is refused with 500": Trouble(refuse_request("auth_500")),
    "the endpoint is another's": Trouble(refuse_request("status", status=404, body=GATEWAY)),
    "the endpoint has moved": Trouble(refuse_request("redirect")),
    "the key is disabled": Trouble(disable_key, KEY, rests=REST),
    "the key's rights are lost": Trouble(forbid("show", "list"), KEY),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_it_is_rung_once_in_six_hours_and_handled_as_soon_as_it_passes(night: Callable[..., Night], name: str) -> None:
    trouble = TROUBLES[name]
    here = night(**trouble.settings)
    assert (here.event(), here.rung()) == (200, ["failed"])
    mend = trouble.befalls(here.cloud)
    assert (here.event(), here.rung()) == (500, ["unverified"])
    first = here.last[0]
    assert here.answer["results"][0]["project_id"] == here.cloud.project_id
    asked = here.cloud.counts.copy()
    assert [here.event() for _ in range(5)] == [500] * 5
    if trouble.rests:
        assert here.cloud.counts == asked, "nobody is asked again at once"
    for _ in range(5):  # it is looked at again and again, and said no more
        here.clock.advance(timedelta(hours=1))
        assert (here.event(), here.rung()) == (500, [])
    here.clock.advance(timedelta(hours=1))
    assert (here.event(), here.rung()) == (500, ["unverified"])
    again = here.last[0]
    assert first.headers["webhook-id"] != again.headers["webhook-id"]
    assert first.json["data"]["incident"] == again.json["data"]["incident"]

    mend()
    if trouble.rests:
        here.clock.advance(trouble.rests - 0.01)
        assert (here.event(), here.rung()) == (500, [])
        here.clock.advance(0.01)
    assert [here.event() for _ in range(3)] == [200] * 3
    assert here.rung() == ["failed"] * 3

    trouble.befalls(here.cloud)  # the same again, within the same six hours
    assert (here.event(), here.rung()) == (500, [])


def test_a_key_that_was_locked_is_tried_now_and_then_until_its_five_minutes_are_over(
    night: Callable[..., Night],
) -> None:
    here = night(**KEY)
    keys = dict(here.cloud.keys)
    here.cloud.keys.clear()
    for _ in range(7):
        assert here.event() == 500
        here.clock.advance(REST)
    assert here.rung() == ["unverified"]
    here.cloud.keys.update(keys)
    waited = 0.0
    while here.event() == 500:
        here.clock.advance(REST)
        waited += REST
        assert waited <= 300
    assert waited > REST, "it had been locked"
    assert here.rung() == ["failed"]
    assert here.cloud.counts["show"] < 25


def test_a_token_of_the_settings_that_has_expired_is_rung_for(night: Callable[..., Night]) -> None:
    here = night(**NO_PASSWORD)
    here.cloud.token_life = timedelta(hours=24)
    token, known = here.cloud.issue(here.cloud.project_id)
    here = night(**NO_PASSWORD, OS_TOKEN=token)
    assert (here.event(), here.rung()) == (200, ["failed"])
    here.clock.advance(timedelta(hours=24))
    assert (here.event(), here.rung()) == (500, ["unverified"])
    assert (here.event(), here.rung()) == (500, [])
    here.cloud.tokens[token] = replace(known, expires_at=here.clock.now + timedelta(hours=1))
    assert (here.event(), here.rung()) == (200, ["failed"])


def test_a_token_that_was_revoked_is_fetched_anew_and_nobody_hears_of_it(night: Callable[..., Night]) -> None:
    here = night()
    for _ in range(3):
        assert (here.event(), here.rung()) == (200, ["failed"])
        here.cloud.revoke()
    assert here.cloud.tokens_issued == 3


# An agency


class Broken(Context):
    """The platform's context where its getters fail."""

    def getToken(self) -> str | None:  # noqa: N802 - the platform's name
        raise RuntimeError("the agency does not exist")

    getSecurityAccessKey = getToken  # noqa: N815 - the platform's name


@pytest.mark.parametrize(
    "without",
    [Context(), Context("null"), Context(keys=("AK", "", "")), Broken()],
    ids=["nothing", "null", "half a key", "broken"],
)
def test_an_agency_that_was_removed_is_rung_for_and_what_it_lends_again_is_used(
    night: Callable[..., Night], without: Context
) -> None:
    here = night(**NO_PASSWORD)

    def invoke(context: Context) -> None:
        task = here.cloud.outcome("failed")["id"]
        functiongraph.handle({"operation_log_id": task}, context, here.app)

    invoke(Context(here.cloud.issue(here.cloud.project_id)[0]))
    assert here.rung() == ["failed"]
    for rung in (["unverified"], []):
        with pytest.raises(Misconfigured):
            invoke(without)
        assert here.rung() == rung
    invoke(Context(here.cloud.issue(here.cloud.project_id)[0]))
    assert here.rung() == ["failed"]


def test_a_token_of_an_agency_whose_rights_are_gone_is_rung_for(night: Callable[..., Night]) -> None:
    here = night(**NO_PASSWORD)
    context = Context(here.cloud.issue(here.cloud.project_id)[0])
    here.cloud.revoke()
    for rung in (["unverified"], []):
        with pytest.raises(Misconfigured):
            functiongraph.handle({"operation_log_id": here.cloud.outcome("failed")["id"]}, context, here.app)
        assert here.rung() == rung


# An endpoint


@pytest.mark.parametrize("name", ["OS_AUTH_URL", "CBR_ENDPOINT"])
def test_an_endpoint_whose_certificate_is_not_trusted_is_rung_for(
    night: Callable[..., Night], tmp_path: Path, name: str
) -> None:
    with Server(lambda *_: Answer(200, {}, b"{}"), tls=Authority(tmp_path).certificate()) as other:
        here = night(**{name: other.url})
        assert (here.event(), here.rung()) == (500, ["unverified"])
        assert "certificate is not trusted" in here.last[0].json["data"]["reason"]
        assert (here.event(), here.rung()) == (500, [])


# A part of the rights


def test_where_the_list_alone_is_refused_sweeps_ring_unverified_and_events_ring_as_ever(
    night: Callable[..., Night],
) -> None:
    here = night()
    sweep = {"sweep": {"period": "1h", "lag": "1s", "project_id": here.cloud.project_id}}
    here.cloud.forbidden.add((here.cloud.project_id, "list"))
    assert (here.post(sweep), here.rung()) == (500, ["unverified"])
    assert (here.event(), here.rung()) == (200, ["failed"])
    assert (here.post(sweep), here.rung()) == (500, [])
    here.cloud.forbidden.clear()
    here.cloud.outcome("failed", age=120)
    here.clock.advance(timedelta(hours=1))
    status = here.post(sweep)
    assert (status, set(here.rung())) == (200, {"failed"})


@pytest.mark.parametrize("lost", ["iam", "show"])
@pytest.mark.parametrize("named", [True, False])
def test_a_project_whose_rights_are_lost_is_named_and_the_others_are_watched(
    night: Callable[..., Night], lost: Where, named: bool
) -> None:
    here = night()
    here.cloud.forbidden.add((OTHER, lost))
    mine = {"project_id": here.cloud.project_id} if named else {}
    theirs = here.cloud.outcome("failed", project_id=OTHER)["id"]
    event = {"operation_log_id": theirs, "time": "2026-11-23T05:00:00Z", **({"project_id": OTHER} if named else {})}
    assert (here.post(event), here.rung()) == (500, ["unverified"])
    assert here.last[0].json["data"]["project_id"] == OTHER
    assert (here.event(**mine), here.rung()) == (200, ["failed"])
    here.cloud.forbidden.add((here.cloud.project_id, lost))
    here.cloud.revoke()
    assert (here.event(project_id=here.cloud.project_id), here.rung()) == (500, ["unverified"])
    assert here.last[0].json["data"]["project_id"] == here.cloud.project_id


def test_another_cause_is_rung_for_while_the_first_one_lasts(night: Callable[..., Night]) -> None:
    here = night()
    here.cloud.fault("show", "forbidden", None)
    assert (here.event(), here.rung()) == (500, ["unverified"])
    here.cloud.heal()
    here.cloud.fault("show", "status", None, status=404, body=GATEWAY)
    assert (here.event(), here.rung()) == (500, ["unverified"])
    assert (here.event(), here.rung()) == (500, [])


def test_what_may_pass_is_no_word_about_our_rights(night: Callable[..., Night]) -> None:
    here = night(VAULTBELL_TIME_BUDGET="1")
    troubles: tuple[tuple[Where, int], ...] = (("show", 500), ("show", 429), ("iam", 503))
    for where, status in troubles:
        here.cloud.revoke()
        here.cloud.fault(where, "status", None, status=status, headers={"Retry-After": "60"})
        assert (here.event(), here.rung()) == (503, [])
        here.cloud.heal()
    assert (here.event(), here.rung()) == (200, ["failed"])


# An alarm


def test_an_alarm_that_cannot_be_read_is_refused_and_rung_for_once_by_its_words(night: Callable[..., Night]) -> None:
    here = night(VAULTBELL_INBOUND_TOKEN="")
    app = here.app
    alarm = {"namespace": "SYS.CBR", "alarm_status": "alarm", "metric_name": "backupFailed", "alarm_name": "a"}

    def tell(**more: object) -> None:
        with pytest.raises(Exception, match="alarm"):
            functiongraph.handle({**alarm, **more}, Context(), app)

    tell()
    assert here.rung() == ["unverified"]
    tell()
    assert here.rung() == []
    tell(alarm_name="another")
    assert here.rung() == ["unverified"]
    here.clock.advance(SLOT)
    tell()
    assert here.rung() == ["unverified"]


def test_many_events_at_once_ring_once(night: Callable[..., Night]) -> None:
    here = night()
    here.event()
    here.rung()
    change_password(here.cloud)
    tasks = [here.cloud.outcome("failed")["id"] for _ in range(20)]
    asked = here.cloud.counts["iam"]
    assert (
        here.post({"events": [{"operation_log_id": task, "project_id": here.cloud.project_id} for task in tasks]})
        == 500
    )
    assert here.rung() == ["unverified"]
    assert here.cloud.counts["iam"] == asked + 1


@pytest.mark.parametrize("way", [{}, KEY], ids=["password", "key"])
def test_an_alarm_that_names_no_project_rings_unverified_where_each_refuses_us(
    night: Callable[..., Night], way: dict[str, str]
) -> None:
    here = night(**way)
    disable_key(here.cloud)
    change_password(here.cloud)
    for rung in (["unverified"], []):
        with pytest.raises(Misconfigured):
            functiongraph.handle(samples.value("ces-alarm.json"), Context(), here.app)
        assert here.rung() == rung
