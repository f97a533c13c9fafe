"""The zip for FunctionGraph, unpacked as the platform does, beside scripts on the SDKs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from functools import cache
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.cloud import event
from bench.findings import Finding, Found, Table, ratios, spread, told
from bench.lab import BUILD, TOP, Lab, environment, say
from bench.peers import PEERS, PROJECT, settings
from bench.start import STEPS

sys.path.append(str(TOP / "infra"))
from package import OUTPUT, find_python

START = TOP / "tests" / "bench" / "start.py"
REQUIREMENTS = TOP / "tests" / "bench" / "requirements.txt"
COLD = "cold start of the FunctionGraph zip to first rung event ÷ a script on the vendor's SDK"
COMPILED = "same zip with compiled bytecode ÷ without"
LACKING = "there is no Python of the platform's version here, or no zip (make package)"


class Took(NamedTuple):
    """Seconds, and seconds of CPU."""

    wall: float
    cpu: float


@cache
def _unpacked() -> tuple[Path, Path]:
    """The zip's folder, and the same without bytecode."""
    with_, without = BUILD / "zip", BUILD / "zip-source"
    for folder in (with_, without):
        shutil.rmtree(folder, ignore_errors=True)
        with zipfile.ZipFile(OUTPUT) as archive:
            archive.extractall(folder)
    for pycache in list(without.rglob("__pycache__")):
        shutil.rmtree(pycache)
    return with_, without


def _scripts(python: str) -> Path:
    """A folder with the peers and what they need, compiled."""
    folder, lock = BUILD / "scripts", BUILD / "scripts" / "lock.txt"
    if not lock.is_file() or lock.read_bytes() != REQUIREMENTS.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        command: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--target", folder]
        subprocess.run([*command, "--require-hashes", "-r", REQUIREMENTS], check=True)
        shutil.copy(REQUIREMENTS, lock)
    shutil.copy(TOP / "tests" / "bench" / "peers.py", folder)
    subprocess.run([python, "-m", "compileall", "-q", folder / "peers.py"], check=True)
    return folder


def _took(lab: Lab, python: str, kind: str, folder: Path, variables: Mapping[str, str]) -> Took:
    """From the start of a process until it has done what `start.py` does of this kind."""
    body = event(PROJECT, 1).decode()
    if kind not in PEERS:  # as a Kafka trigger would bring it
        body = json.dumps({"trigger_type": "KAFKA", "records": [{"messages": [body]}]})
    with (BUILD / f"start-{folder.name}-{kind}.log").open("w") as log:
        began = time.perf_counter()
        process = lab.pinned(
            # -B: the platform's folder cannot be written to; without site-packages, which it has not
            [python, "-I", "-S", "-B", START, kind, str(folder)], lab.measured, log, environment(variables)
        )  # fmt: skip
        assert process.stdin
        assert process.stdout
        process.stdin.write(body)
        with suppress(BrokenPipeError):  # who does not read it may have ended
            process.stdin.close()
        line = process.stdout.readline()
        wall = time.perf_counter() - began
        process.stdout.close()
        process.wait(20)
    handled, _, cpu = line.partition(" ")
    if handled != "handled":
        raise RuntimeError(f"{folder.name} did not do it ({kind}): see its log in build/bench")
    return Took(wall, float(cpu))


def cold(lab: Lab, found: Found) -> None:
    """From the start of the process to the first event, rung."""
    python = find_python()
    if not python or not OUTPUT.is_file():
        found.findings += [Finding(COLD, 1.0, [], note=LACKING), Finding(COMPILED, 0.4, [], note=LACKING)]
        return
    say("cold start of the zip")
    (zipped, source), scripts = _unpacked(), _scripts(python)
    ours = settings(lab.url, None) | {"VAULTBELL_LOG_LEVEL": "INFO"}
    peer = {"BENCH_URL": lab.url}
    starts = {
        "vendor": ("vendor", scripts, peer),
        "otcextensions": ("otcextensions", scripts, peer),
        "zip": ("zip", zipped, ours),
        "source": ("zip", source, ours),
    }
    took: dict[str, list[float]] = {name: [] for name in starts}
    for turn in range(lab.rounds(16, 4)):
        for name, (kind, folder, variables) in starts.items():
            with lab.rung(1):
                seconds = _took(lab, python, kind, folder, variables).wall
            if turn:  # the first one warms the page cache
                took[name].append(seconds)
    found.findings += [
        Finding(COLD, 1.0, ratios(took["zip"], took["vendor"]), wanted=0.8),
        Finding(COMPILED, 0.4, ratios(took["zip"], took["source"])),
    ]
    names = {
        "vendor": "a script on the vendor's SDK, which signs and needs no token",
        "otcextensions": "a script on otcextensions, which fetches a token",
        "zip": "the zip, which fetches a token",
        "source": "the zip without bytecode",
    }
    rows = [
        (words, told(median(took[name]) * 1e3), spread(ratios(took[name], took["vendor"])))
        for name, words in names.items()
    ]
    size = f"{OUTPUT.stat().st_size / (1 << 20):.1f} MiB"
    head = ("start", "ms", "÷ the vendor's SDK")
    found.tables.append(Table(f"Cold start of the zip ({size}) for FunctionGraph", head, rows))


def steps(lab: Lab, found: Found) -> None:
    """What a cold start of the zip consists of: each step is what a process takes that goes so far, beyond the last."""
    title = "Where the zip's cold start goes"
    python = find_python()
    if not python or not OUTPUT.is_file():
        found.tables.append(Table(title, ("not measured",), [(LACKING,)]))
        return
    say("where the zip's cold start goes")
    zipped, _ = _unpacked()
    ours = settings(lab.url, None) | {"VAULTBELL_LOG_LEVEL": "INFO"}
    wall: dict[str, list[float]] = {step: [] for step in STEPS}
    cpu: dict[str, list[float]] = {step: [] for step in STEPS}
    for turn in range(lab.rounds(26, 4)):
        for step in STEPS:
            with lab.rung(1) if step == "event" else nullcontext():
                took = _took(lab, python, step, zipped, ours)
            if turn:
                wall[step].append(took.wall)
                cpu[step].append(took.cpu)
    names = {
        "python": "Python itself",
        "pydantic": "import pydantic, and a first model",
        "requests": "import requests",
        "index": "import Vaultbell, its models, and what else it needs of the standard library",
        "initializer": "read the settings",
        "event": "the event: a token, the look-up, the ring",
    }
    rows, before = [], [0.0] * len(cpu["event"])
    for step, words in names.items():
        own = [so_far - earlier for so_far, earlier in zip(cpu[step], before, strict=True)]
        rows.append(
            (words, told(median(wall[step]) * 1e3), told(median(cpu[step]) * 1e3),
             spread([value * 1e3 for value in own]), told(median(ratios(own, cpu["event"])) * 100))
        )  # fmt: skip
        before = cpu[step]
    head = ("step", "ms from the start to its end", "of them CPU", "CPU ms of its own", "% of all CPU")
    found.tables.append(Table(title, head, rows))
