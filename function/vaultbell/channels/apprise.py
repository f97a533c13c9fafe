"""Anything else that Apprise knows: a title, a text, and how bad it is (the extra `apprise`).

Apprise makes its own requests: our guard of addresses, our pool, proxies and CAs do not bind them, and its time-outs
are its own. We wait for it no longer than the budget lasts; what it has begun by then, it may still do.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from datetime import tzinfo
from typing import TYPE_CHECKING

from vaultbell.budget import Budget
from vaultbell.channels import Taken, shown
from vaultbell.errors import Permanent, Transient
from vaultbell.notification import Notification
from vaultbell.text import as_many, fit, inert

if TYPE_CHECKING:
    import apprise

# What common services take; Apprise cuts or parts it further for those that take less.
TITLE_LIMIT, ANSWER_LIMIT, LINE_LIMIT, ROWS_LIMIT = 200, 900, 200, 1_500
REMEMBERED = 1_000
TYPES = {"critical": "failure", "warning": "warning"}


class Apprise:
    """One service or several, side by side. In a further try those are told that have not taken it."""

    def __init__(self, urls: Sequence[str], zone: tzinfo | None = None) -> None:
        self._urls = urls
        self._zone = zone
        self._taken: OrderedDict[str, set[int]] = OrderedDict()

    def send(self, notification: Notification, budget: Budget) -> Taken:
        """Tell each service once. Raises Permanent (an address that Apprise cannot use) or Transient (all else)."""
        taken = self._taken.setdefault(notification.id, set())
        if len(self._taken) > REMEMBERED:
            self._taken.popitem(last=False)
        services = {at: service(url) for at, url in enumerate(self._urls) if at not in taken}
        title, body = text(notification, self._zone)
        kind = "success" if notification.type == shown.RESOLVED else TYPES.get(notification.severity, "info")

        def tell(at: int) -> None:
            with suppress(Exception):  # not taken: its words may hold the address
                if services[at].notify(title=title, body=body, notify_type=kind, body_format="text"):
                    taken.add(at)

        threads = {at: threading.Thread(target=tell, args=(at,), daemon=True) for at in services}
        for thread in threads.values():
            thread.start()
        for thread in threads.values():
            thread.join(budget.left)
        refused = [at for at in threads if at not in taken]
        if refused:
            late = any(threads[at].is_alive() for at in refused)
            names = ", ".join(str(services[at][0].service_name) for at in refused)
            told = f"{names}: {'no answer in time' if late else 'not taken'} (told by Apprise)"
            raise Transient(told, reason="timeout" if late else "")
        self._taken.pop(notification.id, None)
        return Taken()


def text(notification: Notification, zone: tzinfo | None = None) -> tuple[str, str]:
    """Title and body, as plain text in which nothing that others named mentions anybody or is a tag."""
    message = shown.of(notification, zone)
    lines = [f"{name}: {fit(answer, ANSWER_LIMIT, inert)}" for name, answer in message.answers]
    lines += [f"Where to look: {message.link}"] if message.link else []
    lines += as_many([fit(row, LINE_LIMIT, inert) for row in message.rows], ROWS_LIMIT)
    facts = [f"{name}: {fit(fact, LINE_LIMIT, inert)}" for name, fact in message.facts]
    return fit(message.title, TITLE_LIMIT, inert), "\n".join([*lines, "", *facts, message.id])


def service(url: str) -> apprise.Apprise:
    """The service at one address. Raises Permanent where Apprise cannot use it."""
    import apprise  # noqa: PLC0415 - dear at a cold start, and an extra

    log = logging.getLogger("apprise")  # it may hold addresses and answers: nobody hears it
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    made = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Vaultbell", async_mode=False))
    if not made.add([url]):
        raise Permanent(f"Apprise cannot use an address of {url.partition('://')[0]}://")
    return made
