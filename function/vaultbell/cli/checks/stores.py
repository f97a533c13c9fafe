"""The queue and the shared store: whether they are there, and let us in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit
from uuid import uuid4

from vaultbell.budget import Budget
from vaultbell.cli.checks import Check, Finding, failure, ok, warning
from vaultbell.errors import SettingsError, Transient
from vaultbell.platforms.queue.broker import Broker, connected
from vaultbell.seen_store import Found, Store

PATIENCE_SECONDS = 3.0
QUEUE = "Check the broker's address, user, password and virtual host, and that it can be reached from here."
STORE = "Check VAULTBELL_SEEN_URL, and that it can be reached. Without it nothing is lost; repeats are told again."


def queue(broker: Broker, name: str | None) -> Iterator[Check]:
    """Each node of the broker; and, where a name is given, the queue and its dead letters."""
    for address in broker.addresses:
        node = replace(broker, url=address, heartbeat=0)
        host = urlsplit(address).hostname or address.partition(":")[0]
        yield Check(f"broker {host}", partial(_queue, host, node, name), QUEUE)
        name = None  # all of them know the same queue


def _queue(host: str, broker: Broker, name: str | None, _budget: Budget) -> Iterator[Finding]:
    """Its own waits know no budget: whoever runs this leaves it alone in time."""
    with connected(broker) as link:
        yield ok(f"broker {host}", "it lets us in")
        if name is None:
            return
        try:
            waiting, dead = link.size(broker.queue), link.size(broker.dead)
        except Exception as error:
            lost = getattr(error, "reply_code", None)
            if lost != 404:
                raise
            to_do = "Start the consumer, which makes it, or correct --name."
            yield warning(f"queue {name}", "there is no such queue, or none for its dead letters", to_do)
            return
    yield ok(f"queue {name}", f"{waiting} waiting")
    if dead:
        to_do = f"Read why: vaultbell queue dead URL --queue {name}; then replay them, or move them back."
        yield warning(f"queue {name}", f"{dead} dead letters: events that nobody handled", to_do)


def store(url: str) -> Check:
    """The Redis by which all processes tell a message once."""
    return Check("store", partial(_store, url), STORE)


def _store(url: str, budget: Budget) -> Iterator[Finding]:
    from redis import Redis  # noqa: PLC0415 - an extra, and dear
    from redis.exceptions import AuthenticationError, RedisError  # noqa: PLC0415 - dear as well

    host = urlsplit(url).hostname
    patience = min(PATIENCE_SECONDS, budget.left)
    client = Redis.from_url(url, protocol=2, socket_timeout=patience, socket_connect_timeout=patience)
    try:
        client.ping()
    except AuthenticationError:
        raise SettingsError(f"{host} refuses the user or the password") from None
    except (RedisError, OSError) as error:  # its words may hold the password
        raise Transient(f"{host} does not answer ({type(error).__name__})") from None
    finally:
        client.close()
    kept, key, name = Store(url, patience=patience), f"vaultbell:doctor:{uuid4().hex}", uuid4().hex
    if kept.claim(key, name, PATIENCE_SECONDS) is Found.FREE:
        kept.release(key, name)
        yield ok("store", f"{host} answers, and lets us write")
    else:
        yield failure("store", f"{host} answers, and does not let us write", STORE)
    kept.close()
