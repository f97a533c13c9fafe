"""Fuzz the decoders, guided by what code each input reaches: `make fuzz`.

    python -m fuzz [--seconds 60] [--jobs 1] [TARGET …]

Each target runs in a process of its own, for so many seconds. It begins with `corpus/`, the samples of `events/`, and
what earlier runs have found (kept in `build/fuzz/found/`). An input that breaks a promise is written to
`build/fuzz/broken/`: put right what broke, and keep the input in `corpus/`, by a name that says what it is.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
TOP = HERE.parents[1]
BUILD = TOP / "build" / "fuzz"
NAMES = ("event", "json", "smn", "invoke", "log", "config", "yaml", "texts")
BYTES_MOST, SECONDS_MOST, MEGABYTES_MOST = 65_536, 10, 256


def main() -> int:
    """0; 1 where an input broke a promise."""
    parser = argparse.ArgumentParser("fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time (1)")
    given = parser.parse_args()
    for name in given.targets:
        if name not in NAMES:
            parser.error(f"{name}: the targets are {', '.join(NAMES)}")
    _seed()
    with ThreadPoolExecutor(given.jobs) as pool:
        codes = list(pool.map(lambda name: _run(name, given.seconds), given.targets or NAMES))
    return int(any(codes))


def _seed() -> None:
    """The samples of `events/` as inputs, and the words that the function knows as what inputs are made of."""
    seeds = BUILD / "seeds"
    seeds.mkdir(parents=True, exist_ok=True)
    for path in (TOP / "events").rglob("*.json"):
        (seeds / "-".join(path.relative_to(TOP / "events").parts)).write_bytes(path.read_bytes())
    words = {'{"', '"}', '":', ',"', "[{", "}]", "null", "1e999", "\\ud800", "\n\n", ": ", "  ", "- "}
    for path in (TOP / "function" / "vaultbell").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Constant(value=str(word)) if re.fullmatch(r"[\w./:_-]{2,40}", word):
                    words.add(word)
                case ast.AnnAssign(target=ast.Name(id=word)):  # a field of a model
                    words.add(word)
    lines = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in sorted(words))
    (BUILD / "words.dict").write_text("".join(f'"{line}"\n' for line in lines), "ascii")


def _run(name: str, seconds: int) -> int:
    found, broken, kept = BUILD / "found" / name, BUILD / "broken", HERE / "corpus" / name
    for folder in (found, broken, kept):
        folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fuzz", "--guided", name, f"-artifact_prefix={broken}/{name}-"]
    command += [f"-max_len={BYTES_MOST}", f"-timeout={SECONDS_MOST}", f"-rss_limit_mb={MEGABYTES_MOST}"]
    command += [f"-dict={BUILD / 'words.dict'}", f"-max_total_time={seconds}", "-verbosity=0"]
    command += ["-print_final_stats=1", str(found), str(kept), str(BUILD / "seeds")]
    said = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    print(f"{name}: exit {said.returncode}\n{_told(said.stderr + said.stdout)}", flush=True)
    return said.returncode


def _told(output: str) -> str:
    lines = output.splitlines()
    told = [line for line in lines if line.startswith("stat::")]
    return "\n".join(told if told and "Uncaught" not in output and "ERROR" not in output else lines[-60:])


def _guided(name: str, arguments: list[str]) -> None:
    atheris = import_module("atheris")  # it has no types, and is in this venv alone
    with atheris.instrument_imports(include=["vaultbell"]):
        targets = import_module("fuzz.targets").TARGETS
    atheris.Setup([sys.argv[0], *arguments], targets[name])
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--guided"]:
        _guided(sys.argv[2], sys.argv[3:])
    sys.exit(main())
