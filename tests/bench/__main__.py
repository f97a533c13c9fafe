"""Measure, print the table, and write RESULTS.md and its pictures: `make bench`.

A full run takes about twenty minutes, and wants the machine for itself. `--quick` takes one or two, shows whether
something is badly off, and writes nothing. `--only` names parts.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench import batches, queues, served, warm, zipped
from bench.findings import Curve, Found, Table
from bench.lab import Lab
from bench.svg import picture

HERE = Path(__file__).parent
PARTS: Mapping[str, Callable[[Lab, Found], None]] = {
    "warm": warm.measure,
    "threads": warm.threads,
    "served": served.measure,
    "cold": served.cold,
    "zip": zipped.cold,
    "steps": zipped.steps,
    "growth": served.growth,
    "sweeps": batches.sweeps,
    "batches": batches.batches,
    "queue": queues.consumer,
}


def main() -> int:
    """0; 1 where something that is due is not reached."""
    parser = argparse.ArgumentParser("bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="in a minute or two")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    given = parser.parse_args()
    found, loads = Found(), []
    with Lab(quick=given.quick) as lab:
        for name in given.only:
            loads.append(os.getloadavg()[0])
            PARTS[name](lab, found)
    print(_table(_due(found)))
    for table in found.tables:
        print(f"{table.title}\n{_table(table)}")
    if not given.quick and len(given.only) == len(PARTS):
        (HERE / "RESULTS.md").write_text(_document(found, loads), "utf-8")
        for old in HERE.glob("growth-*.svg"):
            old.unlink()
        for name, curves in _pictures(found).items():
            (HERE / f"growth-{name}.svg").write_text(picture(curves), "utf-8")
    return any("no" in finding.verdict.split("*") for finding in found.findings)


def _pictures(found: Found) -> dict[str, list[Curve]]:
    pictures: dict[str, list[Curve]] = {}
    for curve in found.curves:
        pictures.setdefault(curve.name, []).append(curve)
    return pictures


def _due(found: Found) -> Table:
    return Table("", ("what", "reach", "measured: median (least to most)", "reached"), [f.row for f in found.findings])


def _table(table: Table) -> str:
    lines = [table.head, tuple("---" for _ in table.head), *table.rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _document(found: Found, loads: list[float]) -> str:
    versions = f"Python {platform.python_version()}, one CPU for what is measured and another for all else"
    parts = [
        "# What it costs",
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {versions}.\nThe load of the machine was "
        f"{median(loads):.1f} in the middle of the run ({min(loads):.1f} to {max(loads):.1f}); 1 is its own.",
        "Every figure of the first table is a ratio of two things that were measured in turns, within one round;\n"
        "shown are the median and the extremes of the rounds. Times are there to be compared with each other alone.\n"
        "Each round checks that all events rang, and what the last of them told.\n"
        "Vaultbell is measured without the past of what rings (`VAULTBELL_HISTORY=false`), for which no peer asks;\n"
        "only the lists before the first ring are counted as it is run by default.",
        _table(_due(found)).rstrip(),
    ]
    for name, curves in _pictures(found).items():
        parts.append(f"![{'; '.join(curve.title for curve in curves)}](growth-{name}.svg)")
    for table in found.tables:
        parts += [f"## {table.title}", _table(table).rstrip()]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
