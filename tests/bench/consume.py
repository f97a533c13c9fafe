"""A process that takes messages from RabbitMQ, until its standard input ends: `vaultbell consume`, or a bare loop."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import suppress
from importlib import import_module
from typing import Any

from bench.peers import Bare, settings


def ours(url: str, broker: str, queue: str) -> None:
    """The consumer, with one worker: as many as the bare loop has."""
    from vaultbell import compose  # noqa: PLC0415 - it is found by the path of this process
    from vaultbell import settings as settings_  # noqa: PLC0415
    from vaultbell.platforms.queue.broker import Broker  # noqa: PLC0415
    from vaultbell.platforms.queue.consumer import Consumer  # noqa: PLC0415

    app = compose.app(settings_.load(settings(url, None)))
    Consumer(app.bell, Broker(broker, queue), time_budget=25.0, concurrency=1).run()


def bare(url: str, broker: str, queue: str) -> None:
    """kombu's consumer, one message at a time, and the floor's way with an event."""
    kombu: Any = import_module("kombu")  # it knows no types
    peer = Bare(url, None)

    def take(message: Any) -> None:  # noqa: ANN401 - kombu has no types
        peer.handle(message.body)
        message.ack()

    with kombu.Connection(broker) as connection:
        channel = connection.channel()
        consumer = kombu.Consumer(channel, [kombu.Queue(queue, no_declare=True)], on_message=take, prefetch_count=1)
        consumer.consume()
        while True:
            with suppress(TimeoutError):
                connection.drain_events(timeout=1)


def main(kind: str, url: str) -> None:
    """Work, and answer each line with the seconds of CPU so far."""
    work = {"ours": ours, "bare": bare}[kind]
    arguments = (url, os.environ["BENCH_BROKER"], os.environ["BENCH_QUEUE"])
    threading.Thread(target=work, args=arguments, daemon=True).start()
    print(json.dumps({"ready": kind}), flush=True)
    for _ in sys.stdin:
        print(json.dumps({"cpu": time.process_time()}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:3])
