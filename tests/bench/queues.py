"""The queue consumer beside a bare loop over kombu, where there is a RabbitMQ."""

from __future__ import annotations

import os
import time
from importlib import import_module
from statistics import median
from typing import Any

from bench.cloud import event
from bench.findings import Found, Table, ratios, spread, told
from bench.lab import Lab, say
from bench.peers import PROJECT

BROKER = os.environ.get("BENCH_BROKER", "amqp://guest:guest@127.0.0.1:5672//")
PATIENCE = 120.0


def consumer(lab: Lab, found: Found) -> None:
    """CPU and messages a second of both, each on a queue like the other's."""
    kombu: Any = import_module("kombu")  # it knows no types
    connection = kombu.Connection(BROKER, connect_timeout=2)
    try:
        connection.ensure_connection(max_retries=0)
    except (OSError, *connection.connection_errors):
        found.tables.append(Table("The queue consumer", ("not measured",), [("there is no RabbitMQ at BENCH_BROKER",)]))
        return
    say("the queue consumer")
    names = {"bare": "a bare loop over kombu, http.client + json", "ours": "vaultbell consume, one worker"}
    queues = {name: f"vaultbell-bench-{os.getpid()}-{name}" for name in names}
    rates: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    with connection:
        channel = connection.channel()
        try:
            for queue in queues.values():
                channel.queue_declare(queue, durable=True, auto_delete=False, arguments=_arguments(queue))
            workers = {
                name: lab.worker(name, module="bench.consume", BENCH_BROKER=BROKER, BENCH_QUEUE=queue)
                for name, queue in queues.items()
            }
            for turn in range(lab.rounds(6, 3)):
                for name, worker in workers.items():
                    number = 100 if turn == 0 or lab.quick else 1_000
                    before = worker.ask({})["cpu"]
                    took = _drained(lab, connection, queues[name], number)
                    if turn:  # the first one warms it
                        rates[name].append(number / took)
                        cpu[name].append((worker.ask({})["cpu"] - before) / number)
            lab.end(list(workers.values()))
        finally:
            _delete(channel, queues["bare"], queues["ours"])
    rows = [
        (words, told(median(rates[name])), told(median(cpu[name]) * 1e6), spread(ratios(cpu[name], cpu["bare"])))
        for name, words in names.items()
    ]
    head = ("consumer", "messages/s", "CPU µs a message", "÷ the bare loop")
    found.tables.append(Table("The queue consumer beside a bare loop, RabbitMQ, quorum queues", head, rows))


def _arguments(queue: str) -> dict[str, object]:
    from vaultbell.platforms.queue.broker import Broker  # noqa: PLC0415 - by the path that `make bench` gives

    return dict(dict(Broker(BROKER, queue).queues())[queue])


def _drained(lab: Lab, connection: Any, queue: str, number: int) -> float:  # noqa: ANN401 - kombu has no types
    """The seconds that it took to publish so many messages and to have all of them rung."""
    lab.ask("reset")
    began = time.perf_counter()
    producer = connection.Producer()
    for at in range(number):
        producer.publish(
            event(PROJECT, at), routing_key=queue, content_type="application/json", content_encoding="utf-8"
        )
    while lab.ask("counts").get("hook", 0) < number:
        if time.perf_counter() - began > PATIENCE:
            raise RuntimeError("the messages were not handled in time")
        time.sleep(0.01)
    return time.perf_counter() - began


def _delete(channel: Any, *queues: str) -> None:  # noqa: ANN401 - kombu has no types
    from vaultbell.platforms.queue.broker import Broker  # noqa: PLC0415

    for queue in queues:
        for name, _ in Broker(BROKER, queue).queues():
            channel.queue_delete(name)
