"""The consumer: workers that take one message at a time, and what becomes of it.

Each has a connection of its own: kombu's are not for several threads, and one that the broker blocks, because it has
published, must not hold up what the others acknowledge.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from vaultbell import pipeline, tracing
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.errors import InvalidEvent, Transient, VaultbellError
from vaultbell.outcome import OutcomeName
from vaultbell.platforms import door
from vaultbell.platforms.queue.broker import HEARTBEAT, LADDER, Broker, Link, connected
from vaultbell.platforms.queue.letter import Letter, Message
from vaultbell.report import Report, Result
from vaultbell.telemetry import LOG, log, log_crash, log_report
from vaultbell.text import one_line

ATTEMPTS_MOST = 100  # two days, up the ladder
WAITING_MOST = timedelta(days=30)  # for a task to end; after that, each look at it is an attempt
TICK_SECONDS = 0.5
DRAIN_SECONDS = 9.0  # platforms kill after 10
CUT_SECONDS = 0.5  # for which the end of a link is waited for: it hands back, and with TLS it waits for the broker
PAUSE_LEAST, PAUSE_MOST = 0.5, 30.0  # before a lost broker is sought again

# Who has been told one of these is owed no more when the message comes again: no later word on the task will come.
_LAST_WORDS = (OutcomeName.FAILED, OutcomeName.TIMED_OUT, OutcomeName.SKIPPED, OutcomeName.PARTIAL)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a letter: it comes back after `delay` seconds, is dead for a `reason`, or else is done with."""

    letter: Letter
    delay: float | None = None
    reason: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Judge:
    """Says what becomes of letters: the queue's column of the design's table of answers."""

    ladder: Sequence[float] = LADDER
    attempts_most: int = ATTEMPTS_MOST

    def reported(self, letter: Letter, report: Report) -> Verdict:
        """By the report of its handling."""
        if report.status == 200:
            return Verdict(letter)
        worst = [result for result in report.results if result.status == report.status]
        if report.status in (424, 503) and len(report.results) == 1 and _some_took(worst[0]):
            letter = letter.to_owed(worst[0])
        error = next((result.error for result in worst if result.error), ("unfinished", "the task has not ended"))
        if report.status not in (500, 503):
            return self.dead(letter, *error)
        wanted = max((result.retry_after or 0.0 for result in report.results), default=0.0)
        if all(map(_waits, worst)) and datetime.now(UTC) - letter.first_time < WAITING_MOST:
            return Verdict(letter.tried(letter.attempts), delay=wanted)
        return self.failed(letter, *error, wanted=wanted)

    def failed(self, letter: Letter, code: str, message: str, wanted: float = 0.0) -> Verdict:
        """It may succeed another time: later, and later each time, until there have been too many."""
        attempts = letter.attempts + 1
        if attempts >= self.attempts_most:
            return self.dead(letter, "too_many_attempts", f"{attempts} attempts, the last: {code}: {message}")
        rung = self.ladder[min(attempts, len(self.ladder)) - 1]
        return Verdict(letter.tried(attempts), delay=max(wanted, rung))

    def dead(self, letter: Letter, code: str, message: str) -> Verdict:
        """It is of no use to try again."""
        return Verdict(letter.tried(letter.attempts + 1), reason=(code, one_line(message, 300)))


def _waits(result: Result) -> bool:
    """Whether the item waits for its task, to end or to be visible: that is no attempt."""
    return result.outcome == OutcomeName.RUNNING or (result.error or "?")[0] == "not_visible_yet"


def _some_took(result: Result) -> bool:
    return result.outcome in _LAST_WORDS and any(receipt.delivered for receipt in result.receipts)


class Consumer:
    """Takes messages from a queue until `stop` is set."""

    def __init__(
        self,
        bell: Bell,
        broker: Broker,
        *,
        time_budget: float,
        concurrency: int = 8,
        attempts_most: int = ATTEMPTS_MOST,
        drain: float = DRAIN_SECONDS,
    ) -> None:
        self._bell, self._time_budget, self._drain = bell, time_budget, drain
        # Between two messages the broker hears nothing of a worker: where that may be long, it is not to mind.
        self._broker = broker if time_budget < 0.75 * HEARTBEAT else replace(broker, heartbeat=0)
        self._judge = Judge(broker.ladder, attempts_most)
        self._concurrency = concurrency if broker.amqp else 1
        self._links: dict[int, Link] = {}
        self.stop = threading.Event()

    def run(self) -> bool:
        """Work until `stop` is set, then finish what is in hand; false if some of it was not, and was handed back.

        Raises SettingsError where the broker refuses us at the start.
        """
        self._begin()
        workers = [threading.Thread(target=self._work, daemon=True) for _ in range(self._concurrency)]
        for worker in workers:
            worker.start()
        self.stop.wait()
        until = time.monotonic() + self._drain
        for worker in workers:
            worker.join(max(0.0, until - time.monotonic()))
        left = [worker for worker in workers if worker.is_alive()]
        links = filter(None, (self._links.get(worker.ident or 0) for worker in left))
        cuts = [threading.Thread(target=link.cut, daemon=True) for link in links]
        for cut in cuts:
            cut.start()
        until = time.monotonic() + CUT_SECONDS
        for cut in cuts:
            cut.join(max(0.0, until - time.monotonic()))
        log(logging.INFO, "stopped", handed_back=len(left))
        return not left

    def _begin(self) -> None:
        lost = 0
        while not self.stop.is_set():
            try:
                with connected(self._broker) as link:
                    link.declare()
                break
            except Transient as error:
                lost = self._pause(error, lost)
        log(logging.INFO, "consuming", queue=self._broker.queue, concurrency=self._concurrency)

    def _work(self) -> None:
        lost = 0
        while not self.stop.is_set():
            try:
                with connected(self._broker) as link:
                    self._links[threading.get_ident()] = link
                    link.declare()
                    link.consume()
                    lost = 0
                    while not self.stop.is_set():
                        if (message := link.next(TICK_SECONDS)) and not self.stop.is_set():
                            self._take(link, message)
            except Exception as error:  # noqa: BLE001 - whatever it is, a worker comes back
                lost = self._pause(error, lost)

    def _pause(self, error: Exception, lost: int) -> int:
        """Before another connection is tried; `lost` is how many in a row were."""
        if not self.stop.is_set():
            if isinstance(error, VaultbellError):
                log(logging.WARNING, "the broker was lost", error=error.message)
            else:
                LOG.error("an error of Vaultbell itself", exc_info=error)
            longest = min(PAUSE_LEAST * 2 ** min(lost + 1, 10), PAUSE_MOST)
            self.stop.wait(random.uniform(longest / 2, longest))  # noqa: S311 - jitter
        return lost + 1

    def _take(self, link: Link, message: Message) -> None:
        letter = Letter.of(message)
        with tracing.event("queue", letter.headers):
            self._settle(link, letter)
            message.ack()

    def _settle(self, link: Link, letter: Letter) -> None:
        early = letter.early >= self._judge.ladder[0]  # less is a clock's fault
        verdict = Verdict(letter, delay=letter.early) if early else self._handled(letter)
        if verdict.reason:
            with tracing.span("dead_letter"):
                link.bury(verdict.letter, *verdict.reason)
            code, words = verdict.reason
            log(logging.WARNING, "dead letter", code=code, error=words, attempts=verdict.letter.attempts)
        elif verdict.delay is not None:
            link.delay(verdict.letter, verdict.delay)

    def _handled(self, letter: Letter) -> Verdict:
        try:
            if len(letter.body) > door.BODY_MOST:
                raise door.too_large()
            report = pipeline.handle(self._bell, letter.event, Budget.of(self._time_budget))
            log_report("queue", report)
            return self._judge.reported(letter, report)
        except InvalidEvent as error:
            log_report("queue", error)
            return self._judge.dead(letter, error.code, error.message)
        except Exception as error:  # noqa: BLE001 - an error of ours must not cost the message
            log_crash(error)
            return self._judge.failed(letter, "internal", "an error of Vaultbell itself; its log tells more")
