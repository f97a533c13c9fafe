"""Many tasks at once: sweeps of long lists, and batches of a message queue's trigger."""

from __future__ import annotations

from statistics import median

from bench.cloud import BAD
from bench.findings import Curve, Finding, Found, Table, ratios, spread, told
from bench.lab import Lab, say

SMALL, LARGE, MOST = 1_000, 100_000, 1_000_000


def sweeps(lab: Lab, found: Found) -> None:
    """The time a task and the memory, by the length of the list; and what is asked before the first ring."""
    sizes = [SMALL, 10_000, LARGE, *([] if lab.quick else [MOST])]
    # a process for each: what a long list might leave behind is not in the way of a short one's figure
    workers = {size: lab.worker(str(size), module="bench.bulk") for size in sizes}
    cpu: dict[int, list[float]] = {size: [] for size in sizes}
    wall: dict[int, list[float]] = {size: [] for size in sizes}
    held: dict[int, list[float]] = {size: [] for size in sizes}
    for worker in workers.values():
        worker.ask({"sweep": SMALL, "at": lab.at})
    for turn in range(lab.rounds(5, 1)):
        for size, worker in workers.items():
            if size == MOST and turn % 2:
                continue  # it takes most of the time
            say(f"a sweep of {size:,} tasks")
            # the short list as often as it takes to be measured
            times = 10 if size == SMALL else 1
            lab.ask("reset")
            answers = [worker.ask({"sweep": size, "at": lab.at}) for _ in range(times)]
            if any(answer["results"] != BAD for answer in answers) or lab.ask("counts")["hook"] != BAD * times:
                raise RuntimeError(f"a sweep rang {answers[0]['results']} times, not {BAD}")
            read = sum(answer["tasks"] for answer in answers)
            cpu[size].append(sum(answer["cpu"] for answer in answers) / read)
            wall[size].append(sum(answer["wall"] for answer in answers) / read)
            held[size].append(max(answer["peak"] for answer in answers) / (1 << 20))
    lab.end(list(workers.values()))
    lists = _lists_before_the_first_ring(lab)
    found.findings += [
        Finding("time per task of a sweep, 100,000 tasks ÷ 1,000 tasks", 1.1, ratios(wall[LARGE], wall[SMALL])),
        Finding("list calls before the first ring, 100,000 tasks of which 20 are bad", 6, lists),
    ]
    rows = []
    for size in sizes:
        # of the rounds in which it was swept
        short = wall[SMALL][:: 2 if size == MOST else 1], held[SMALL][:: 2 if size == MOST else 1]
        rows.append(
            (f"{size:,}", told(median(wall[size]) * 1e6), spread(ratios(wall[size], short[0])),
             told(median(cpu[size]) * 1e6), told(median(held[size])), spread(ratios(held[size], short[1])))
        )  # fmt: skip
    head = ("tasks", "µs a task read", "÷ of 1,000", "CPU µs a task read", "memory at its most, MiB", "÷ of 1,000")
    found.tables.append(Table("Sweeps", head, rows))
    times_ = [(float(size), median(wall[size]) * 1e6) for size in sizes]
    memory = [(float(size), median(held[size])) for size in sizes]
    found.curves += [
        Curve("sweep", "A sweep's time per task", "tasks in the list", "µs a task", {"Vaultbell": times_}),
        Curve("sweep", "A sweep's memory at its most", "tasks in the list", "MiB", {"Vaultbell": memory}),
    ]


def _lists_before_the_first_ring(lab: Lab) -> list[float]:
    """As it is run: with the past of each."""
    say("the lists before the first ring")
    worker = lab.worker(str(LARGE), module="bench.bulk", VAULTBELL_HISTORY="true")
    lab.ask("reset")
    worker.ask({"sweep": LARGE, "at": lab.at})
    lab.end([worker])
    return [lab.ask("counts")["list before the first ring"]]


def batches(lab: Lab, found: Found) -> None:
    """A batch of a Kafka trigger: what an event costs in it."""
    sizes = (1, 100, 1_000)
    worker = lab.worker("0", module="bench.bulk")
    cpu: dict[int, list[float]] = {size: [] for size in sizes}
    rates: dict[int, list[float]] = {size: [] for size in sizes}
    worker.ask({"batch": 50})
    for _ in range(lab.rounds(5)):
        for size in sizes:
            say(f"a batch of {size:,} messages")
            times = {1: 200, 100: 5, 1_000: 1}[size] // (2 if lab.quick and size < 1_000 else 1)
            with lab.rung(size * times):
                answers = [worker.ask({"batch": size}) for _ in range(times)]
            cpu[size].append(sum(answer["cpu"] for answer in answers) / (size * times))
            rates[size].append(size * times / sum(answer["wall"] for answer in answers))
    rows = [
        (f"{size:,}", told(median(rates[size])), told(median(cpu[size]) * 1e6), spread(ratios(cpu[size], cpu[1])))
        for size in sizes
    ]
    head = ("messages in the batch", "events/s", "CPU µs an event", "÷ one at a time")
    found.tables.append(Table("A batch of FunctionGraph's Kafka trigger", head, rows))
    points = [(float(size), median(cpu[size]) * 1e6) for size in sizes]
    found.curves.append(
        Curve("batch", "CPU of an event in a batch", "messages in the batch", "µs", {"Vaultbell": points})
    )
    lab.end([worker])
