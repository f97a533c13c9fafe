"""Who is told: which routes a notification takes, and who stands in for whom."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from told import FAILED as _FAILED
from vaultbell import compose, conditions
from vaultbell.budget import Budget
from vaultbell.channels import Taken
from vaultbell.notification import Notification
from vaultbell.past import Past
from vaultbell.report import Action, Result
from vaultbell.ringing import Line, Ring, ring
from vaultbell.routing import Miss, Selection, Verdict, explain, select
from vaultbell.settings import MATCHED, Route, load
from vaultbell.telemetry import LOG

FACTS = {
    "operation_type": "backup",
    "vault_id": "5f0d8c6e-3a57-4a52-9c1e-0b6f3d7a2e11",
    "vault_name": "prod-eu.1",
    "resource_id": "7b1f0c7e-3d5f-4a5b-9a44-0d8d8a3c9c11",
    "resource_name": "ECS-0001",
    "resource_type": "OS::Nova::Server",
    "policy_id": "8d4b1c92-6e2f-4f0a-b7a5-1c3e5d7f9a20",
    "error_code": "BackupService.7102",
}
FAILED = _FAILED._replace(
    facts=FACTS,
)
VALUES = {"outcome": "failed", "severity": "critical", "project_id": FAILED.project_id, "region": "eu-de", **FACTS}


def route(*channels: str, **more: Any) -> Route:  # noqa: ANN401 - what a YAML file may hold
    """A route as the settings make it; `go_on` is its `continue`."""
    more = {"continue" if key == "go_on" else key: value for key, value in more.items()}
    return Route.model_validate({"channels": list(channels), **more})


def names(*routes: Route, told: Notification = FAILED) -> tuple[str, ...]:
    return select(told, routes).channels


def fits(match: dict[str, Any], told: Notification = FAILED) -> bool:
    return names(route("hit", match=match), route("miss"), told=told) == ("hit",)


def named(vault_name: str) -> Notification:
    return FAILED._replace(facts={**FACTS, "vault_name": vault_name})


def test_the_first_route_that_matches_decides() -> None:
    routes = (
        route("a", match={"outcome": "skipped"}),
        route("b", match={"outcome": "failed"}),
        route("c", match={"severity": "critical"}),
        route("d"),
    )
    assert names(*routes) == ("b",)
    assert names(*routes, told=FAILED._replace(outcome="timed_out")) == ("c",)
    assert names(*routes, told=FAILED._replace(outcome="partial", severity="warning")) == ("d",)


def test_with_continue_the_next_that_matches_is_taken_too() -> None:
    routes = (
        route("a", match={"outcome": "failed"}, go_on=True),
        route("b", match={"outcome": "skipped"}, go_on=True),
        route("c", match={"severity": "critical"}),
        route("d"),
    )
    assert names(*routes) == ("a", "c")
    assert names(route("a", go_on=True), route("b")) == ("a", "b")


def test_a_channel_on_several_routes_is_told_once() -> None:
    assert names(route("a", "b", go_on=True), route("b", "c", "a")) == ("a", "b", "c")


def test_no_channels_is_the_way_to_tell_nobody() -> None:
    assert select(FAILED, [route(match={"outcome": "failed"}), route("a")]) == Selection()
    assert names(route(match={"outcome": "skipped"}), route("a")) == ("a",)


def test_each_channel_has_its_routes_stand_in() -> None:
    routes = (
        route("a", "b", match={"outcome": "failed"}, fallback="mail", go_on=True),
        route("c", go_on=True),
        route("d", "a", fallback="chat"),
    )
    assert select(FAILED, routes) == Selection(("a", "b", "c", "d"), {"a": "mail", "b": "mail", "d": "chat"})
    late = (route("a", go_on=True), route("a", fallback="mail"))
    assert select(FAILED, late) == Selection(("a",), {"a": "mail"})


def test_every_field_that_the_settings_know_can_be_matched() -> None:
    assert set(MATCHED) == {*VALUES, *conditions.FIELDS}
    for field, value in VALUES.items():
        assert fits({field: value}), field
        assert not fits({field: f"{value}x"}), field


@pytest.mark.parametrize("field", VALUES)
def test_an_absent_field_matches_nothing(field: str) -> None:
    bare = FAILED._replace(project_id=None, region=None, facts={})
    if field in ("outcome", "severity"):
        bare = bare._replace(outcome="", severity="")
    assert not fits({field: "*"}, bare)


def test_all_the_fields_of_a_route_have_to_fit() -> None:
    assert fits({"outcome": "failed", "vault_name": "prod-*", "region": "eu-de"})
    assert not fits({"outcome": "failed", "vault_name": "prod-*", "region": "eu-nl"})


def test_one_of_a_list_has_to_fit() -> None:
    assert fits({"outcome": ["timed_out", "failed"], "vault_name": ["test-*", "prod-*"]})
    assert not fits({"outcome": ["timed_out", "overdue"]})


@pytest.mark.parametrize(
    ("pattern", "name", "fit"),
    [
        ("prod-*", "prod-eu", True),
        ("prod-*", "prod-", True),
        ("prod-*", "my-prod-eu", False),
        ("prod", "prod-eu", False),
        ("*prod*", "my-prod-eu", True),
        ("*-eu", "prod-eu", True),
        ("*-eu", "prod-eu2", False),
        ("prod-?", "prod-1", True),
        ("prod-?", "prod-", False),
        ("prod-?", "prod-12", False),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("ab*ba", "aba", False),
        ("**", "x", True),
        ("*", "two\nlines", True),
        ("Prod", "prod", False),
        ("a.c", "abc", False),
        ("a.c", "a.c", True),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("a+(b|c)$^", "a+(b|c)$^", True),
        ("a\\d", "a1", False),
        ("备份-*", "备份-一", True),
    ],
)
def test_globs_cover_the_whole_value_and_nothing_else_is_special(pattern: str, name: str, fit: bool) -> None:
    assert fits({"vault_name": pattern}, named(name)) is fit


@settings(deadline=None)
@given(pattern=st.text("ab*?", min_size=1, max_size=8), name=st.text("ab", min_size=1, max_size=8))
def test_every_glob_fits_what_it_would_if_each_place_were_tried(pattern: str, name: str) -> None:
    everywhere = re.fullmatch(pattern.replace("*", ".*").replace("?", "."), name)
    assert fits({"vault_name": pattern}, named(name)) is bool(everywhere)


ANY = st.text(
    st.characters(exclude_categories=()) | st.sampled_from("*?[]().\\\n\ud800"), min_size=1, max_size=12
).filter(str.strip)


@given(pattern=ANY, name=ANY)
def test_a_glob_is_of_any_letters_and_only_the_star_and_the_question_mark_are_signs(pattern: str, name: str) -> None:
    everywhere = "".join({"*": ".*", "?": "."}.get(sign, re.escape(sign)) for sign in pattern)
    assert fits({"vault_name": pattern}, named(name)) is bool(re.fullmatch(everywhere, name, re.DOTALL))
    assert fits({"vault_name": name.replace("*", "?")}, named(name))


MATCHES = st.dictionaries(st.sampled_from(["outcome", "vault_name"]), st.lists(ANY, min_size=1), min_size=1)
LIKELY = st.sampled_from([{"outcome": "failed"}, {"outcome": "f*"}, {"vault_name": "prod-*"}, {"region": "x"}])
ROUTES = st.lists(
    st.builds(
        lambda channels, more: route(*channels, **more),
        st.lists(st.sampled_from("abc"), max_size=2),
        st.fixed_dictionaries({"go_on": st.booleans()}, optional={"match": MATCHES | LIKELY, "fallback": st.just("d")}),
    ),
    max_size=6,
)


@given(ROUTES)
def test_all_the_routes_up_to_the_one_that_decides_are_heard_and_none_after_it(routes: list[Route]) -> None:
    heard: list[str] = []
    for one in routes:
        if one.match is None or fits(one.match):
            heard += one.channels
            if not one.continue_:
                break
    told = select(FAILED, routes)
    assert list(told.channels) == list(dict.fromkeys(heard))
    assert set(told.fallbacks) <= set(heard)
    assert not told.broken


# Tried at every place, they would take longer than the sun has left.
def test_a_long_name_and_many_stars_take_no_time() -> None:
    began = time.process_time()
    assert not fits({"vault_name": "*a*b*a*b*a*b*c"}, named("ab" * 5_000))
    assert time.process_time() - began < 2


# What becomes of each route, and why


def test_each_route_says_what_became_of_it_and_which_fields_did_not_fit() -> None:
    routes = (
        route("a", match={"outcome": ["skipped", "partial"], "vault_name": "prod-*", "policy_id": "?", "region": "x*"}),
        route("b", match={"severity": "critical"}, go_on=True),
        route("c", match={"outcome": "failed"}),
        route("d"),
    )
    steps = explain(FAILED._replace(region=None), routes)
    assert [step.verdict for step in steps] == [Verdict.NOT_TAKEN, Verdict.TAKEN, Verdict.TAKEN, Verdict.NOT_ASKED]
    assert steps[0].misses == (
        Miss("outcome", ("skipped", "partial"), "failed"),
        Miss("policy_id", ("?",), FACTS["policy_id"]),
        Miss("region", ("x*",), None),
    )
    assert [step.misses for step in steps[1:]] == [(), (), ()]
    assert [step.route for step in steps] == list(routes)


@dataclass(frozen=True)
class Broken:
    """A route whose rule cannot be judged."""

    channels: tuple[str, ...] = ("a",)
    fallback: str | None = None
    continue_: bool = False

    @property
    def patterns(self) -> Mapping[str, Sequence[str]]:
        raise ArithmeticError("it is broken")


def test_a_rule_that_cannot_be_judged_counts_as_a_match_and_hides_no_other() -> None:
    routes = (Broken(fallback="mail"), route("b", match={"outcome": "failed"}), route("c"))
    assert select(FAILED, routes) == Selection(("a", "b"), {"a": "mail"}, broken=(1,))
    assert [step.verdict for step in explain(FAILED, routes)] == [Verdict.BROKEN, Verdict.TAKEN, Verdict.NOT_ASKED]
    assert select(FAILED, [route("z", match={"outcome": "skipped"}), Broken(), route("c")]).broken == (2,)


def test_a_broken_rule_that_would_tell_nobody_silences_nothing() -> None:
    assert select(FAILED, (Broken(channels=()), route("b"))).channels == ("b",)


def test_a_broken_rule_after_the_one_that_decides_is_not_asked() -> None:
    assert select(FAILED, (route("a"), Broken(channels=("b",)))) == Selection(("a",))


def test_what_cannot_be_compared_is_a_broken_rule_and_not_a_lost_alarm() -> None:
    odd = FAILED._replace(facts={"vault_name": 7})  # type: ignore[dict-item]  # what a fact should never be
    told = select(odd, (route("a", match={"vault_name": "prod-*"}), route("b")))
    assert (told.channels, told.broken) == (("a", "b"), (1,))


# The past -------------------------------------------------------------------------------------------------------------


def with_past(past: Past) -> Notification:
    return FAILED._replace(facts={**FACTS, **past.facts(FAILED.timestamp)}, past=past)


GOOD_AT = FAILED.timestamp - timedelta(hours=30)
PAGER = (route("pager", match={"failures_in_row": ">=2"}), route("mail"))
STALE = (route("pager", match={"last_good_age": ">26h", "outcome": "failed"}), route("mail"))


@pytest.mark.parametrize(
    ("routes", "past", "told"),
    [
        (PAGER, Past(1, GOOD_AT), ("mail",)),
        (PAGER, Past(2, GOOD_AT), ("pager",)),
        (STALE, Past(1, GOOD_AT), ("pager",)),
        (STALE, Past(1, GOOD_AT + timedelta(hours=4)), ("mail",)),
        (STALE, Past(1), ("pager",)),  # no good backup on record: older than anything
        (STALE, Past(1, since=GOOD_AT), ("pager",)),  # none within what was read, which is longer than that
    ],
)
def test_a_pager_rings_when_data_is_at_risk_and_a_mailbox_hears_the_rest(
    routes: tuple[Route, ...], past: Past, told: tuple[str, ...]
) -> None:
    assert names(*routes, told=with_past(past)) == told


@pytest.mark.parametrize("routes", [PAGER, STALE])
def test_a_past_that_is_not_known_counts_as_a_match_and_hides_no_other_route(routes: tuple[Route, ...]) -> None:
    assert select(FAILED, routes) == Selection(("pager", "mail"))
    assert [step.verdict for step in explain(FAILED, routes)] == [Verdict.UNSURE, Verdict.TAKEN]


def test_what_else_does_not_fit_decides_without_the_past() -> None:
    assert names(*STALE, told=FAILED._replace(outcome="skipped")) == ("mail",)


def test_what_is_only_known_in_part_may_match() -> None:
    some = with_past(Past(12, since=GOOD_AT))
    assert names(route("pager", match={"failures_in_row": ">=20"}), route("mail"), told=some) == ("pager", "mail")
    assert names(route("pager", match={"failures_in_row": "<12"}), route("mail"), told=some) == ("mail",)


@pytest.mark.parametrize("outcome", ["succeeded", "running"])
def test_what_has_not_gone_wrong_has_no_row_of_failures(outcome: str) -> None:
    for routes in (PAGER, STALE):
        assert names(*routes, told=FAILED._replace(outcome=outcome)) == ("mail",)


@pytest.mark.parametrize("outcome", ["missing", "unverified"])
def test_what_has_no_past_rings_everywhere(outcome: str) -> None:
    assert names(*PAGER, told=FAILED._replace(outcome=outcome)) == ("pager", "mail")


def test_no_incident_is_opened_for_what_has_recovered() -> None:
    over = with_past(Past(2, GOOD_AT, FAILED.timestamp, recovered=True))
    routes = (
        route("pager", "ops", match={"failures_in_row": "2"}, fallback="mail", go_on=True),
        route("mail", fallback="pager"),
    )
    pagers = frozenset({"pager"})
    assert select(over, routes, pagers) == Selection(("ops", "mail"), {"ops": "mail"}, left_out=("pager",))
    assert select(over, [route("pager")], pagers) == Selection(left_out=("pager",))
    still = with_past(Past(2, GOOD_AT))
    assert select(still, routes, pagers).channels == ("pager", "ops", "mail")


class Heard(logging.Handler):
    """Keeps the lines of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, getattr(record, "fields", None)))


class Place:
    def __init__(self) -> None:
        self.told = 0

    def send(self, _notification: Notification, _budget: Budget) -> Taken:
        self.told += 1
        return Taken(200)


def test_that_a_rule_is_broken_is_said_loudly() -> None:
    environ = {"OS_REGION_NAME": "eu-de", "OS_PROJECT_ID": VALUES["project_id"] or ""}
    places = {"a": Place(), "b": Place()}
    bell = replace(compose.bell(load(environ, tells=False)), channels=places)
    to = select(FAILED, (Broken(), route("b")))
    heard = Heard()
    LOG.addHandler(heard)
    try:
        (line,) = ring(bell, [Line(Result(Action.QUIET), (Ring(FAILED, to),))], Budget.of(5))
    finally:
        LOG.removeHandler(heard)
    assert line.result.action is Action.NOTIFIED
    assert [place.told for place in places.values()] == [1, 1]
    assert heard.lines == [("ERROR", {"routes": [1]})]
