"""Take events from a message queue.

Messages hold any form that the HTTP door takes. URL is amqp://user:password@host:5672/vhost (RabbitMQ 3.10 to 4),
amqps://… (with ?cacertfile=…&certfile=…&keyfile=… where wanted), several of these with ; between them where the broker
is a cluster, or a file that holds that, since others can read a command line.

Beside the queue NAME there are NAME.dead, for what is given up, and a ladder of queues NAME.delay.…, from 10 seconds
to 30 minutes, in which waits what is to come again; all are made when absent.

For a try-out without a broker, filesystem:///FOLDER keeps the messages as files. Nothing there waits by itself: the
consumer looks through NAME.delay for what is due. It takes one message at a time, and one that is in work when the
process is killed is lost.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import threading
from collections.abc import Mapping

from vaultbell import compose, observability, settings, values
from vaultbell.errors import SettingsError
from vaultbell.platforms.queue.broker import Broker
from vaultbell.platforms.queue.consumer import ATTEMPTS_MOST, Consumer


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = __doc__
    place(parser)
    parser.add_argument("--concurrency", metavar="N", type=count, default=8, help="messages side by side (default: 8)")
    parser.add_argument(
        "--max-attempts",
        metavar="N",
        type=count,
        default=ATTEMPTS_MOST,
        help="until a message is given up; to wait for a task to end is no attempt (default: %(default)s)",
    )
    parser.add_argument(
        "--metrics",
        metavar="[HOST:]PORT",
        type=_address,
        help="answer GET /metrics there, for Prometheus (default: nowhere); needs the extra metrics",
    )


def place(parser: argparse.ArgumentParser) -> None:
    """The arguments that say where the queue is."""
    parser.add_argument("url", metavar="URL", help="the broker's address, or a file that holds it")
    parser.add_argument("--queue", metavar="NAME", required=True, help="the queue's name")


def broker(options: argparse.Namespace) -> Broker:
    """What `place` asks for. Raises SettingsError."""
    try:
        url = options.url if "://" in options.url else values.read_secret(options.url)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    return Broker(url, options.queue)


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """0: told to stop (SIGTERM, SIGINT), and everything in hand was finished or handed back."""
    place_of_work = broker(options)
    found = settings.load(environ)
    compose.start(found)
    if options.metrics:
        observability.serve(*options.metrics)
    consumer = Consumer(
        compose.bell(found),
        place_of_work,
        time_budget=found.time_budget,
        concurrency=options.concurrency,
        attempts_most=options.max_attempts,
    )

    def stop(signum: int, _frame: object) -> None:
        signal.signal(signum, signal.SIG_DFL)  # the second one is obeyed at once
        threading.Thread(target=consumer.stop.set).start()  # the lock may be held by whom this interrupts

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
    if not consumer.run():
        os._exit(0)  # what is still at work would hold up the exit, and tell what somebody else is now to tell
    return 0


def _address(text: str) -> tuple[str, int]:
    """Where to listen: a port at every address of this machine, or at the one that is named before it."""
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[1-9]\d{0,4}", port, re.ASCII) or int(port) > 65_535:
        raise argparse.ArgumentTypeError("a port, or an address and a port, is wanted: 9464, 127.0.0.1:9464")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - who scrapes is elsewhere


def count(text: str) -> int:
    """A number of the command line, from 1 on."""
    if not re.fullmatch(r"[1-9]\d{0,5}", text, re.ASCII):
        raise argparse.ArgumentTypeError("a number from 1 on is wanted")
    return int(text)
