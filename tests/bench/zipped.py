"""The zip for FunctionGraph, unpacked as the platform does, beside a script on the vendor's SDK."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from statistics import median

from bench.cloud import event
from bench.findings import Finding, Found, Table, ratios, told
from bench.lab import BUILD, TOP, Lab, environment, say
from bench.peers import PROJECT, settings

sys.path.append(str(TOP / "infra"))
from package import OUTPUT, find_python

START = TOP / "tests" / "bench" / "start.py"
REQUIREMENTS = TOP / "tests" / "bench" / "requirements.txt"
COLD = "cold start of the FunctionGraph zip to first rung event ÷ a script on the vendor's SDK"
COMPILED = "same zip with compiled bytecode ÷ without"


def _unpacked() -> tuple[Path, Path]:
    """The zip's folder, and the same without bytecode."""
    with_, without = BUILD / "zip", BUILD / "zip-source"
    for folder in (with_, without):
        shutil.rmtree(folder, ignore_errors=True)
        with zipfile.ZipFile(OUTPUT) as archive:
            archive.extractall(folder)
    for cache in list(without.rglob("__pycache__")):
        shutil.rmtree(cache)
    return with_, without


def _vendor(python: str) -> Path:
    """A folder with the vendor's SDK and the script, compiled."""
    folder = BUILD / "vendor"
    if not (folder / "huaweicloudsdkcbr").is_dir():
        command: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--target", folder]
        subprocess.run([*command, "--require-hashes", "-r", REQUIREMENTS], check=True)
    shutil.copy(TOP / "tests" / "bench" / "peers.py", folder)
    subprocess.run([python, "-m", "compileall", "-q", folder / "peers.py"], check=True)
    return folder


def _took(lab: Lab, python: str, kind: str, folder: Path, variables: dict[str, str]) -> float:
    body = event(PROJECT, 1).decode()
    if kind == "zip":  # as a Kafka trigger would bring it
        body = json.dumps({"trigger_type": "KAFKA", "records": [{"messages": [body]}]})
    with (BUILD / f"start-{folder.name}.log").open("w") as log:
        began = time.perf_counter()
        process = lab.pinned(
            # -B: the platform's folder cannot be written to; without site-packages, which it has not
            [python, "-I", "-S", "-B", START, kind, str(folder)], lab.measured, log, environment(variables)
        )  # fmt: skip
        assert process.stdin
        assert process.stdout
        process.stdin.write(body)
        process.stdin.close()
        line = process.stdout.readline()
        took = time.perf_counter() - began
        process.stdout.close()
        process.wait(20)
    if line != "handled\n":
        raise RuntimeError(f"{folder.name} did not handle its event: see its log in build/bench")
    return took


def cold(lab: Lab, found: Found) -> None:
    """From the start of the process to the first event, rung."""
    python = find_python()
    if not python or not OUTPUT.is_file():
        note = "there is no Python of the platform's version here, or no zip (make package)"
        found.findings += [Finding(COLD, 1.0, [], note=note), Finding(COMPILED, 0.4, [], note=note)]
        return
    say("cold start of the zip")
    zipped, source = _unpacked()
    folders = {"vendor": _vendor(python), "zip": zipped, "source": source}
    ours = settings(lab.url, None) | {"VAULTBELL_LOG_LEVEL": "INFO"}
    took: dict[str, list[float]] = {name: [] for name in folders}
    for turn in range(lab.rounds(12, 4)):
        for name, folder in folders.items():
            kind = "vendor" if name == "vendor" else "zip"
            variables = {"BENCH_URL": lab.url} if kind == "vendor" else ours
            seconds = _took(lab, python, kind, folder, variables)
            if turn:
                took[name].append(seconds)
    found.findings += [
        Finding(COLD, 1.0, ratios(took["zip"], took["vendor"]), wanted=0.8),
        Finding(COMPILED, 0.4, ratios(took["zip"], took["source"])),
    ]
    names = {"vendor": "a script on the vendor's SDK", "zip": "the zip", "source": "the zip without bytecode"}
    rows = [(words, told(median(took[name]) * 1e3)) for name, words in names.items()]
    size = f"{OUTPUT.stat().st_size / (1 << 20):.1f} MiB"
    found.tables.append(Table(f"Cold start of the zip ({size}) for FunctionGraph", ("start", "ms"), rows))
