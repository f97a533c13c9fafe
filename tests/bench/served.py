"""The whole function under functions-framework: warm, as it lives on, and from the start of the process on."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from statistics import median

from bench.cloud import event
from bench.findings import Curve, Finding, Found, Table, ratios, spread, told
from bench.lab import BUILD, PEERS, TOP, Lab, Server, deployed, say, serving
from bench.peers import PROJECT, settings

FUNCTIONS = TOP / "tests" / "bench" / "functions"
CONNECTIONS = 8
WARM = 20  # events before those that are counted: what is imported at first use is not what an event costs


def environment(lab: Lab, peer: str) -> dict[str, str]:
    """What a function needs to find its cloud and its receiver."""
    if peer == "ours":
        ours = settings(lab.url, None)
        del ours["VAULTBELL_INBOUND_TOKEN"]  # the bare function asks for none
        return ours
    return {"BENCH_PEER": peer, "BENCH_URL": lab.url, "PYTHONPATH": str(TOP / "tests")}


def load(lab: Lab, server: Server, events: int, first: int = 0) -> dict[str, float]:
    """Post so many events; `rate` is in events a second, `cpu` in seconds of the serving process an event."""
    before = server.cpu
    where = {"host": "127.0.0.1", "port": server.port, "connections": CONNECTIONS}
    with lab.rung(events):
        told_: dict[str, float] = lab.ask("load", **where, events=events, first=first)
    if told_["refused"] or told_["answered"] != events:
        raise RuntimeError(f"of {events} events {told_['answered']} were answered, {told_['refused']} of them badly")
    return {**told_, "rate": events / told_["seconds"], "cpu": (server.cpu - before) / events}


def measure(lab: Lab, found: Found) -> None:
    """Events a second, beside peers under the same server; and what the memory does."""
    say("the whole function under functions-framework")
    names = {
        "bare": "http.client + json",
        "ours": "Vaultbell",
        "urllib3": "urllib3 + pydantic",
        "vendor": "the vendor's SDK",
        "otcextensions": "otcextensions",
    }
    events = {"bare": 1_000, "ours": 1_000, "urllib3": 1_000, "vendor": 300, "otcextensions": 100}
    rates: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    p99: dict[str, list[float]] = {name: [] for name in names}
    peer = deployed(FUNCTIONS / "peer", BUILD / "peer")
    # All of them from one environment: that of the peers, which has what is deployed as well.
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(
                serving(lab, lab.function if name == "ours" else peer, environment(lab, name), PEERS)
            )
            for name in names
        }
        for server in servers.values():
            server.connect().close()
            load(lab, server, 50)
        for _ in range(lab.rounds(9)):
            for name, server in servers.items():
                one = load(lab, server, events[name] // (3 if lab.quick else 1))
                rates[name].append(one["rate"])
                cpu[name].append(one["cpu"])
                p99[name].append(one["p99"])
    found.findings.append(
        Finding("whole function under functions-framework, rung events/s ÷ a bare http.client function there", 0.5,
                ratios(rates["ours"], rates["bare"]), at_most=False, wanted=0.65)
    )  # fmt: skip
    rows = [
        (words, told(median(rates[name])), spread(ratios(rates[name], rates["bare"])), told(median(cpu[name]) * 1e3),
         told(median(p99[name]) * 1e3))
        for name, words in names.items()
    ]  # fmt: skip
    head = ("function", "events/s", "÷ bare, within a round", "CPU ms an event", "p99 ms")
    found.tables.append(Table(f"Under functions-framework, 8 threads, {CONNECTIONS} connections", head, rows))


def growth(lab: Lab, found: Found) -> None:
    """What an event costs, and what a function holds, after many events as after few."""
    few, due, most = 100, 10_000, 100_000
    marks = (few, 1_000, due) if lab.quick else (few, 1_000, due, most)
    cpu: dict[int, list[float]] = {mark: [] for mark in marks}
    held: dict[int, list[float]] = {mark: [] for mark in marks}
    for _ in range(lab.rounds(3, 1)):
        with serving(lab, lab.function, environment(lab, "ours")) as server:
            server.connect().close()
            load(lab, server, done := WARM)
            for mark in marks:
                say(f"events up to the {mark:,}th")
                cpu[mark].append(load(lab, server, mark - done, done)["cpu"])
                held[mark].append(server.resident / (1 << 20))
                done = mark
    found.findings.append(Finding("memory after 10,000 events ÷ after 100", 1.05, ratios(held[due], held[few])))
    rows = [
        (f"{mark:,}", told(median(cpu[mark]) * 1e6), spread(ratios(cpu[mark], cpu[few])),
         told(median(held[mark])), spread(ratios(held[mark], held[few])))
        for mark in marks
    ]  # fmt: skip
    head = ("events so far", "CPU µs an event", "÷ the first hundred", "memory, MiB", "÷ after a hundred")
    title = f"A process that lives long, under functions-framework (its first {WARM} events warm it)"
    found.tables.append(Table(title, head, rows))
    times = [(float(mark), median(cpu[mark]) * 1e6) for mark in marks]
    sizes = [(float(mark), median(held[mark])) for mark in marks]
    found.curves += [
        Curve("events", "CPU of an event since the mark before", "events so far", "µs", {"Vaultbell": times}),
        Curve("events", "Memory of the serving process", "events so far", "MiB", {"Vaultbell": sizes}),
    ]


def _first(server: Server) -> float:
    """The seconds from the start of a server to the end of its first event."""
    body = event(PROJECT, 1)
    head = f"POST / HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    with server.connect() as connection:
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode() + body)
        status = _status(connection)
    took = time.perf_counter() - server.began
    if status != "200":
        raise RuntimeError(f"the first event was answered {status}")
    return took


def _status(connection: socket.socket) -> str:
    return connection.recv(100).decode("latin-1").split(" ")[1]


def cold(lab: Lab, found: Found) -> None:
    """From the start of the process to the first event, rung."""
    say("cold start under functions-framework")
    peer = deployed(FUNCTIONS / "peer", BUILD / "peer")
    trivial = deployed(FUNCTIONS / "trivial", BUILD / "trivial")
    sources = {"trivial": trivial, "bare": peer, "ours": lab.function}
    took: dict[str, list[float]] = {name: [] for name in sources}
    for turn in range(lab.rounds(16, 4)):
        for name, source in sources.items():
            with serving(lab, source, environment(lab, name)) as server:
                if name == "trivial":
                    seconds = _first(server)
                else:
                    with lab.rung(1):
                        seconds = _first(server)
            if turn:  # the first one warms the page cache
                took[name].append(seconds)
    found.findings.append(
        Finding("cold start to first rung event under functions-framework ÷ a trivial function there", 1.9,
                ratios(took["ours"], took["trivial"]), wanted=1.6)
    )  # fmt: skip
    names = {"trivial": "a trivial function", "bare": "http.client + json", "ours": "Vaultbell"}
    rows = [
        (words, told(median(took[name]) * 1e3), spread(ratios(took[name], took["trivial"])))
        for name, words in names.items()
    ]
    found.tables.append(Table("Cold start under functions-framework", ("function", "ms", "÷ a trivial one"), rows))
