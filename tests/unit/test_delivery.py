"""Tries, pauses, receipts and stand-ins, with channels that do as they are told and a clock that stands still."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from told import FAILED
from vaultbell.budget import Budget
from vaultbell.channels import Channel, Taken
from vaultbell.delivery import AT_ONCE, Delivered, deliver, deliver_all
from vaultbell.errors import Permanent, Transient
from vaultbell.notification import Notification
from vaultbell.report import Receipt
from vaultbell.routing import Selection

TAKEN = Taken(202)
REFUSED = Permanent("it answered 404", status=404)
BUSY = Transient("it answered 503", status=503)


class Clock:
    """Stands still, except while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.naps: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds

    def budget(self, seconds: float = 25.0) -> Budget:
        return Budget(self.now + seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("budget", "delivery"):
        monkeypatch.setattr(f"vaultbell.{module}.time", clock)
    return clock


class Fake:
    """A channel that gives these answers in turn, the last one for ever. `given` is the time it was given, each try."""

    def __init__(self, *answers: Taken | Exception | Callable[[Budget], Taken]) -> None:
        self._answers = list(answers) or [TAKEN]
        self.given: list[float] = []

    def send(self, notification: Notification, budget: Budget) -> Taken:
        assert notification is FAILED
        self.given.append(budget.left)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Taken) else answer(budget)


def told(channels: Mapping[str, Channel], budget: Budget, *names: str, **fallbacks: str) -> Delivered:
    return deliver(FAILED, Selection(names or tuple(channels)[:1], fallbacks), channels, budget)


def only(delivered: Delivered) -> Receipt:
    (receipt,) = delivered.receipts
    return receipt


def test_what_is_taken_has_a_receipt_with_the_answer_and_its_remark(clock: Clock) -> None:
    channel = Fake(Taken(250, "not taken for gone@example.com"))
    delivered = told({"mail": channel}, clock.budget())
    assert only(delivered) == Receipt("mail", True, 1, 250, "not taken for gone@example.com")
    assert (delivered.owed, delivered.taken) == ((), ("mail",))
    assert (len(channel.given), clock.naps) == (1, [])


def test_what_may_pass_is_tried_three_times_and_then_left_owed(clock: Clock) -> None:
    channel = Fake(BUSY)
    delivered = told({"ops": channel}, clock.budget())
    assert only(delivered) == Receipt("ops", False, 3, 503, "it answered 503")
    assert (delivered.owed, delivered.taken, delivered.final) == (("ops",), (), False)
    assert len(channel.given) == 3


@pytest.mark.parametrize("end", [0, 1])
def test_pauses_grow_and_are_spread(clock: Clock, end: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaultbell.delivery.random.uniform", lambda *ends: ends[end])
    told({"ops": Fake(BUSY)}, clock.budget())
    assert clock.naps == [[0.125, 0.5], [0.375, 1.5]][end]


def test_the_second_or_third_try_may_succeed(clock: Clock) -> None:
    lost = Transient("the connection was lost")
    assert only(told({"ops": Fake(lost, TAKEN)}, clock.budget())) == Receipt("ops", True, 2, 202)
    assert only(told({"ops": Fake(lost, BUSY, TAKEN)}, clock.budget())) == Receipt("ops", True, 3, 202)


def test_a_refusal_for_good_is_not_tried_again(clock: Clock) -> None:
    channel = Fake(REFUSED, TAKEN)
    delivered = told({"ops": channel}, clock.budget())
    assert only(delivered) == Receipt("ops", False, 1, 404, "it answered 404", final=True)
    assert (delivered.owed, delivered.final, clock.naps) == (("ops",), True, [])
    assert only(told({"ops": Fake(BUSY, REFUSED, TAKEN)}, clock.budget())).attempts == 2


def test_a_wait_that_was_asked_for_is_kept_to_when_it_fits(clock: Clock) -> None:
    channel = Fake(Transient("busy", after=7.0, status=429), Transient("busy", after=11.0, status=503), TAKEN)
    assert only(told({"ops": channel}, clock.budget())).delivered
    assert clock.naps == [7.0, 11.0]


def test_a_wait_of_nothing_is_no_leave_to_hammer(clock: Clock) -> None:
    told({"ops": Fake(Transient("busy", after=0.0))}, clock.budget())
    assert len(clock.naps) == 2
    assert min(clock.naps) > 0.1


@pytest.mark.parametrize("after", [25.0, 3600.0, 86_400.0])
def test_a_wait_that_does_not_fit_is_handed_back_at_once(clock: Clock, after: float) -> None:
    channel = Fake(Transient("it answered 429", after=after, status=429), TAKEN)
    delivered = told({"ops": channel}, clock.budget())
    assert only(delivered) == Receipt("ops", False, 1, 429, "it answered 429", after=after)
    assert (delivered.owed, delivered.final, delivered.after) == (("ops",), False, after)
    assert (len(channel.given), clock.naps) == (1, [])


def test_a_wait_is_measured_against_what_is_left_then(clock: Clock) -> None:
    channel = Fake(Transient("busy", after=20.0), Transient("busy", after=5.0), TAKEN)
    delivered = told({"ops": channel}, clock.budget())
    assert (only(delivered).attempts, delivered.after) == (2, 5.0)


def test_the_wait_asked_for_at_the_last_try_is_handed_on(clock: Clock) -> None:
    delivered = told({"ops": Fake(BUSY, BUSY, Transient("busy", after=3.0))}, clock.budget())
    assert (only(delivered).attempts, delivered.after) == (3, 3.0)


def test_no_try_begins_when_there_is_no_time_for_the_pause_before_it(clock: Clock) -> None:
    assert only(told({"ops": Fake(BUSY)}, clock.budget(0.1))).attempts == 1
    assert clock.naps == []


def test_a_try_lasts_ten_seconds_at_most_and_never_longer_than_the_budget(clock: Clock) -> None:
    def slow(budget: Budget) -> Taken:
        clock.now += budget.left
        raise Transient("no answer in time")

    channel = Fake(slow)
    receipt = only(told({"ops": channel}, clock.budget()))
    assert channel.given[:2] == [10.0, 10.0]
    assert 0 < channel.given[2] < 5.0
    assert (receipt.attempts, receipt.error) == (3, "no answer in time")
    assert clock.now <= 1_025.0


def test_channels_are_told_side_by_side() -> None:
    heard = {name: threading.Event() for name in "abc"}

    def telling(name: str) -> Callable[[Budget], Taken]:
        def send(budget: Budget) -> Taken:
            heard[name].set()
            assert all(event.wait(budget.left) for event in heard.values())  # none is told after another
            return TAKEN

        return send

    channels = {name: Fake(telling(name)) for name in heard}
    delivered = told(channels, Budget.of(5), "c", "a", "b")
    assert [(receipt.channel, receipt.delivered) for receipt in delivered.receipts] == [
        ("c", True),
        ("a", True),
        ("b", True),
    ]


def test_a_channel_that_never_answers_costs_the_budget_once_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vaultbell.delivery.GRACE_SECONDS", 0.2)
    end = threading.Event()

    def hang(_budget: Budget) -> Taken:
        assert end.wait(30)
        return TAKEN

    names = [f"dead{number}" for number in range(20)]
    began = time.monotonic()
    delivered = told({"ops": Fake(), **{name: Fake(hang) for name in names}}, Budget(began + 0.2), "ops", *names)
    took = time.monotonic() - began
    end.set()
    assert took < 3  # twenty graces would be four seconds
    assert delivered.receipts[0].delivered
    assert delivered.receipts[1] == Receipt("dead0", False, 1, None, "no answer within the time budget")
    assert (delivered.owed, delivered.taken, delivered.final) == (tuple(names), ("ops",), False)


def test_an_error_of_our_own_stays_with_its_channel(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    ours = logging.getLogger("vaultbell")  # it may have been told not to pass on what it hears
    ours.addHandler(caplog.handler)
    try:
        delivered = told({"bad": Fake(KeyError("x")), "ops": Fake()}, clock.budget(), "bad", "ops")
    finally:
        ours.removeHandler(caplog.handler)
    bad, ops = delivered.receipts
    assert (bad.delivered, bad.final, bad.attempts) == (False, False, 1)
    assert bad.error == "an error of Vaultbell itself; its log tells more"
    assert ops.delivered
    assert (delivered.owed, delivered.final) == (("bad",), False)
    assert "on the way to channel bad" in caplog.text
    assert "KeyError" in caplog.text


@pytest.mark.parametrize(
    "trouble",
    [REFUSED, BUSY, Transient("busy", after=3600.0, status=429), ZeroDivisionError()],
    ids=["final", "may pass", "asks for more time than there is", "our own error"],
)
def test_the_stand_in_is_told_whatever_the_reason_and_then_the_event_is_handled(
    clock: Clock, trouble: Exception
) -> None:
    mail = Fake(Taken(250))
    delivered = told({"ops": Fake(trouble), "mail": mail}, clock.budget(), "ops", ops="mail")
    assert [receipt.delivered for receipt in delivered.receipts] == [False, True]
    assert delivered.receipts[1] == Receipt("mail", True, 1, 250)
    assert (delivered.owed, sorted(delivered.taken)) == ((), ["mail", "ops"])
    assert delivered.after is None


def test_the_stand_in_of_a_channel_that_never_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaultbell.delivery.GRACE_SECONDS", 0.05)
    end = threading.Event()

    def hang(_budget: Budget) -> Taken:
        assert end.wait(30)
        return TAKEN

    channels = {"dead": Fake(hang), "ops": Fake(), "mail": Fake(Taken(250))}
    delivered = told(channels, Budget(time.monotonic() + 0.3), "dead", "ops", dead="mail")
    end.set()
    assert [(receipt.channel, receipt.delivered) for receipt in delivered.receipts] == [
        ("dead", False),
        ("ops", True),
        ("mail", True),
    ]
    assert delivered.owed == ()


def test_the_stand_in_hears_nothing_when_the_channel_took_it(clock: Clock) -> None:
    mail = Fake()
    delivered = told({"ops": Fake(BUSY, TAKEN), "mail": mail}, clock.budget(), "ops", ops="mail")
    assert only(delivered).delivered
    assert mail.given == []


def test_a_third_of_the_time_is_kept_for_the_stand_in(clock: Clock) -> None:
    def slow(budget: Budget) -> Taken:
        clock.now += budget.left
        raise Transient("no answer in time")

    mail = Fake()
    delivered = told({"ops": Fake(slow), "mail": mail}, clock.budget(24.0), "ops", ops="mail")
    assert mail.given == [pytest.approx(8.0)]
    assert delivered.owed == ()


def test_a_wait_that_would_eat_the_stand_ins_time_does_not_fit(clock: Clock) -> None:
    mail = Fake()
    channels = {"ops": Fake(Transient("busy", after=17.0), TAKEN), "mail": mail}
    told(channels, clock.budget(24.0), "ops", ops="mail")
    assert (len(mail.given), clock.naps) == (1, [])
    assert only(told(channels, clock.budget(24.0), "ops")).delivered  # without a stand-in it would have


def test_one_stand_in_for_two_channels_is_told_once(clock: Clock) -> None:
    mail = Fake()
    channels = {"ops": Fake(REFUSED), "oncall": Fake(BUSY), "mail": mail}
    delivered = told(channels, clock.budget(), "ops", "oncall", ops="mail", oncall="mail")
    assert len(mail.given) == 1
    assert delivered.owed == ()


def test_a_stand_in_that_is_told_anyway_is_not_told_twice(clock: Clock) -> None:
    mail = Fake()
    delivered = told({"ops": Fake(REFUSED), "mail": mail}, clock.budget(), "ops", "mail", ops="mail")
    assert len(mail.given) == 1
    assert delivered.owed == ()
    dead = Fake(REFUSED)
    delivered = told({"ops": Fake(REFUSED), "mail": dead}, clock.budget(), "ops", "mail", ops="mail")
    assert (len(dead.given), delivered.owed, delivered.final) == (1, ("ops", "mail"), True)


@pytest.mark.parametrize(
    ("channel", "stand_in", "final"),
    [(REFUSED, REFUSED, True), (REFUSED, BUSY, False), (BUSY, REFUSED, False), (BUSY, BUSY, False)],
)
def test_it_is_final_only_if_channel_and_stand_in_both_refused_for_good(
    clock: Clock, channel: Exception, stand_in: Exception, final: bool
) -> None:
    delivered = told({"ops": Fake(channel), "mail": Fake(stand_in)}, clock.budget(), "ops", ops="mail")
    assert (delivered.owed, delivered.final) == (("ops",), final)


def test_a_channel_that_was_stood_in_for_is_nothing_to_wait_for(clock: Clock) -> None:
    channels = {"ops": Fake(Transient("busy", after=3600.0)), "mail": Fake(), "chat": Fake(REFUSED)}
    delivered = told(channels, clock.budget(), "ops", "chat", ops="mail")
    assert (delivered.owed, delivered.final, delivered.after) == (("chat",), True, None)


def test_the_longest_wait_that_was_asked_for_counts(clock: Clock) -> None:
    channels = {"a": Fake(Transient("busy", after=600.0)), "b": Fake(Transient("busy", after=60.0)), "c": Fake(BUSY)}
    assert told(channels, clock.budget(), "a", "b", "c").after == 600.0


def many(number: int) -> list[tuple[Notification, Selection]]:
    return [(FAILED, Selection(("ops", "chat"), {"ops": "mail"})) for _ in range(number)]


def test_of_many_each_has_its_receipts_and_its_stand_in(clock: Clock) -> None:
    refusals: list[Taken | Exception] = [REFUSED, TAKEN, REFUSED, TAKEN, TAKEN]
    channels = {"ops": Fake(*refusals), "chat": Fake(), "mail": Fake()}
    delivered = deliver_all(many(5), channels, clock.budget())
    assert [one.owed for one in delivered] == [()] * 5
    stood_in = [[receipt.channel for receipt in one.receipts] for one in delivered]
    assert sorted(map(len, stood_in)) == [2, 2, 2, 3, 3]
    assert [len(channels[name].given) for name in ("ops", "chat", "mail")] == [5, 5, 2]


def test_a_channel_that_asks_for_a_rest_is_left_alone_and_the_others_are_not(clock: Clock) -> None:
    busy = Fake(TAKEN, Transient("it answered 429", after=3600.0, status=429))
    channels = {"ops": busy, "chat": Fake(), "mail": Fake(REFUSED)}
    delivered = deliver_all(many(100), channels, clock.budget())
    assert 2 <= len(busy.given) <= 1 + AT_ONCE
    assert len(channels["chat"].given) == 100
    assert sum(one.owed == ("ops",) for one in delivered) == 99
    assert {one.after for one in delivered if one.owed} == {3600.0}
    untried = [one.receipts[0] for one in delivered if one.receipts[0].attempts == 0]
    assert len(untried) == 100 - len(busy.given)
    assert set(untried) == {Receipt("ops", False, 0, 429, "it answered 429", after=3600.0)}


def test_what_was_told_at_the_last_moment_counts(clock: Clock) -> None:
    def slow(budget: Budget) -> Taken:
        clock.now += budget.left
        return TAKEN

    channels = {"ops": Fake(slow), "chat": Fake(), "mail": Fake()}
    delivered = deliver_all(many(3), channels, clock.budget())
    assert [one.owed for one in delivered] == [()] * 3
    assert len(channels["ops"].given) == 3


def test_nobody_to_tell_is_nothing_owed(clock: Clock) -> None:
    delivered = deliver(FAILED, Selection((), {"ops": "mail"}), {}, clock.budget())
    assert (delivered.receipts, delivered.owed, delivered.taken) == ((), (), ())


NAMES = st.sampled_from("abcd")
ANSWERS = st.sampled_from([TAKEN, REFUSED, BUSY, Transient("busy", after=3600.0), KeyError("x")])


@settings(deadline=None)
@given(
    answers=st.fixed_dictionaries(dict.fromkeys("abcd", ANSWERS)),
    names=st.lists(NAMES, unique=True, min_size=1),
    fallbacks=st.dictionaries(NAMES, NAMES),
)
def test_whatever_happens_each_channel_is_either_settled_or_owed(
    answers: dict[str, Taken | Exception], names: list[str], fallbacks: dict[str, str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr("vaultbell.budget.time", clock)
        patch.setattr("vaultbell.delivery.time", clock)
        patch.setattr(logging.getLogger("vaultbell"), "disabled", True)
        channels = {name: Fake(answer) for name, answer in answers.items()}
        delivered = told(channels, clock.budget(), *names, **fallbacks)
    took = {name for name, answer in answers.items() if answer is TAKEN}
    assert set(delivered.owed) == {name for name in names if name not in took and fallbacks.get(name) not in took}
    assert set(delivered.taken).isdisjoint(delivered.owed)
    assert set(names) <= {*delivered.owed, *delivered.taken}
    receipts = {receipt.channel: receipt for receipt in delivered.receipts}
    assert len(receipts) == len(delivered.receipts)
    assert all(receipt.delivered == (name in took) for name, receipt in receipts.items())
    asked = {*names, *(fallbacks[name] for name in names if name in fallbacks and name not in took)}
    assert receipts.keys() == asked
    assert all(len(channels[name].given) == receipt.attempts <= 3 for name, receipt in receipts.items())
