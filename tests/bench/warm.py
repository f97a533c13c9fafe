"""What an event costs once everything is warm: as a library, beside the peers, over TLS, on threads."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench.findings import Curve, Finding, Found, Table, ratios, spread, told
from bench.lab import Lab, Worker, say

NAMES = {
    "bare": "http.client + json (the floor)",
    "ours": "Vaultbell",
    "urllib3": "urllib3 + pydantic by hand",
    "vendor": "the vendor's SDK + requests.post",
    "otcextensions": "otcextensions (openstacksdk) + requests.post",
    "naive": "requests without a Session, a token each time",
}


def in_turns(lab: Lab, workers: dict[str, Worker], rounds: int, events: dict[str, int]) -> dict[str, Sequence[float]]:
    """CPU seconds an event, by peer and round."""
    found: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            with lab.rung(events[name]):
                found[name].append(worker.work(events[name])["cpu"] / events[name])
    return dict(found)


def table(title: str, cpu: dict[str, Sequence[float]]) -> Table:
    """CPU of each peer, and how much more that is than the floor's."""
    rows = [
        (NAMES[name], told(median(values) * 1e6), spread(ratios(values, cpu["bare"]))) for name, values in cpu.items()
    ]
    return Table(title, ("one event", "CPU, µs", "÷ the floor, within a round"), rows)


def measure(lab: Lab, found: Found) -> None:
    """CPU an event, plain and over TLS."""
    quick = 0.2 if lab.quick else 1.0
    events = {"bare": 600, "ours": 600, "urllib3": 600, "vendor": 150, "otcextensions": 50, "naive": 100}
    events = {name: round(number * quick) for name, number in events.items()}
    say("CPU of an event, plain")
    workers = {name: lab.worker(name) for name in NAMES}
    for worker in workers.values():
        worker.work(60)
    cpu = in_turns(lab, workers, lab.rounds(25, 5), events)
    found.findings += [
        Finding(
            "CPU per rung event ÷ the same with bare http.client + json",
            3.0,
            ratios(cpu["ours"], cpu["bare"]),
            wanted=2.4,
        ),
        Finding(
            "CPU per rung event ÷ urllib3 + pydantic by hand", 1.6, ratios(cpu["ours"], cpu["urllib3"]), wanted=1.3
        ),
    ]
    found.tables.append(table("One event as a library, plain HTTP, one thread", cpu))
    lab.end(list(workers.values()))

    say("CPU of an event, over TLS")
    workers = {name: lab.worker(name, tls=True) for name in NAMES}
    for worker in workers.values():
        worker.work(10)
    events |= {"vendor": max(events["vendor"] // 5, 5), "naive": max(events["naive"] // 8, 4)}
    events["otcextensions"] = max(events["otcextensions"] // 2, 5)
    cpu = in_turns(lab, workers, lab.rounds(9), events)
    found.findings.append(
        Finding(
            "CPU per rung event over TLS ÷ requests.get/post and a token each time",
            1 / 60,
            ratios(cpu["ours"], cpu["naive"]),
        )
    )
    found.tables.append(table("One event as a library, over TLS, one thread", cpu))
    lab.end([worker for name, worker in workers.items() if name != "ours"])

    say("tokens and trust stores")
    lab.ask("reset")
    fresh = lab.worker("ours", tls=True)
    told_last = fresh.work(200, 8)
    found.findings += [
        Finding("tokens fetched per warm process and project", 1, [lab.ask("counts").get("token", 0)]),
        Finding("trust stores loaded per warm process", 1, [told_last["contexts"]]),
    ]
    lab.end([fresh, workers["ours"]])


def threads(lab: Lab, found: Found) -> None:
    """Events a second on threads, with and without a far cloud."""
    counts = (1, 8, 32)
    rates: dict[tuple[str, int, int], list[float]] = {}
    workers = {name: lab.worker(name) for name in ("bare", "ours", "urllib3")}
    for milliseconds in (0, 20):
        say(f"threads, {milliseconds} ms a call")
        each = {1: 15, 8: 25, 32: 25} if milliseconds else {1: 600, 8: 100, 32: 25}
        with lab.latency(milliseconds / 1_000):
            for number in counts:
                for worker in workers.values():
                    worker.work(2 * number, number)
            for _ in range(lab.rounds(7)):
                for number in counts:
                    for name, worker in workers.items():
                        events = max(number * each[number] // (3 if lab.quick else 1), number)
                        with lab.rung(events):
                            rate = events / worker.work(events, number)["wall"]
                        rates.setdefault((name, milliseconds, number), []).append(rate)
    for number, due in ((8, 0.88), (32, 0.70)):
        best = number / 0.04
        found.findings.append(
            Finding(f"events/s with 20 ms per remote call, {number} threads ÷ ({number} / 40 ms)", due,
                    [rate / best for rate in rates["ours", 20, number]], at_most=False)
        )  # fmt: skip
    head = ("events a second", NAMES["bare"], NAMES["ours"], "÷ the floor", NAMES["urllib3"], "÷ the floor")
    rows = []
    for milliseconds in (0, 20):
        for number in counts:
            bare, ours, urllib3 = (rates[name, milliseconds, number] for name in ("bare", "ours", "urllib3"))
            rows.append(
                (f"{number} thread{'s' * (number > 1)}, {milliseconds} ms a call", told(median(bare)),
                 told(median(ours)), spread(ratios(ours, bare)), told(median(urllib3)), spread(ratios(urllib3, bare)))
            )  # fmt: skip
    found.tables.append(Table("Threads, as a library", head, rows))
    series = {NAMES[name]: [(float(number), median(rates[name, 20, number])) for number in counts] for name in workers}
    series["20 ms twice an event, and nothing else"] = [(float(number), number / 0.04) for number in counts]
    found.curves.append(Curve("threads", "Events a second, 20 ms per remote call", "threads", "events/s", series))
    lab.end(list(workers.values()))
