"""Ask an advisory service what is known against the packages that the locks name.

The exit status is 1 where something is, and 2 where a lock cannot be read. Where the service was not reached, or knows
none of what is deployed, nothing was found out: that is said, and is no failure. What is given on the command line goes
on to pip-audit.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TOP = Path(__file__).parents[1]
DEPLOYED = TOP / "requirements.txt"
OTHERS = (*TOP.glob("requirements-*.txt"), *TOP.glob("tests/*/requirements.txt"))
SECONDS = 100  # for each of three questions: a service that trickles holds up nobody for longer
# Advisories that do not concern us, each with the reason.
IGNORED: Mapping[str, str] = {}


def main(arguments: Sequence[str], deployed: Path = DEPLOYED, others: Sequence[Path] = OTHERS) -> int:
    """Audit the locks, and say what came of it."""
    read = _pip_audit(["--dry-run", *arguments], [deployed, *others])
    if read.returncode:
        print(f"The locks cannot be read: {_last(read)}")
        return 2
    bad: set[str] = set()
    known: set[str] = set()
    unknown: set[str] = set()
    for locks in filter(None, ([deployed], others)):
        done = _pip_audit([*(f"--ignore-vuln={name}" for name in IGNORED), *arguments], locks)
        try:
            packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
        except ValueError:
            print(f"NOT AUDITED: the advisory service was not reached. {_last(done)}")
            break
        for package in packages:
            name = f"{package['name']} {package.get('version', '')}".strip()
            (known if "vulns" in package else unknown).add(name)
            for found in package.get("vulns", ()):
                bad.add(f"{name}: {found['id']}, fixed by {', '.join(found['fix_versions']) or 'no version yet'}")
        if not known:
            print("NOT AUDITED: the advisory service knows none of the packages.")
            break
    print(*sorted(bad), f"{len(known)} packages audited, {len(bad)} advisories, {len(unknown)} not known", sep="\n")
    return 1 if bad else 0


def _pip_audit(arguments: Sequence[str], locks: Sequence[Path]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip_audit", "--format=json", "--no-deps", "--disable-pip", "--require-hashes"]
    command += ["--progress-spinner=off", "--timeout=10", *arguments, *(f"--requirement={lock}" for lock in locks)]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", "no answer in time")


def _last(done: subprocess.CompletedProcess[str]) -> str:
    return "".join(done.stderr.strip().splitlines()[-1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
