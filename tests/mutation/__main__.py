"""Change the code that decides, in each way that mutmut knows and in each of its constants: does a test mind?

What no test minds has survived: it is to be argued in SURVIVORS.md, where the changed line stands as a diff. The exit
status is 1 where a survivor is not, or where one is argued that has not survived. Given modules (`outcome sweep`), only
those are changed, and what is argued of the others is left alone.

Everything happens in a copy, below build/mutate/work.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).parents[2]
WORK = TOP / "build" / "mutate" / "work"
PAGE = Path(__file__).with_name("SURVIVORS.md")
# The modules that decide, and the tests that are to mind.
TESTS = {
    "outcome": "unit/test_outcome.py",
    "cloud/signing": "unit/test_signing.py",
    "standard_webhooks": "unit/test_standard_webhooks.py",
    "sweep": "unit/test_sweep.py",
    "search": "unit/test_search.py integration/test_search.py",
    "routing": "unit/test_routing.py",
    "inbound": "unit/test_inbound.py",
}
SETTINGS = """
[tool.pytest.ini_options]
pythonpath = ["src", "tests"]
addopts = ["--import-mode=importlib", "--hypothesis-seed=0"]
filterwarnings = ["error"]

[tool.mutmut]
source_paths = ["src"]
only_mutate = {modules}
pytest_add_cli_args_test_selection = {tests}
track_dependencies = false
use_git_change_detection = false
"""


class Mutant(NamedTuple):
    """What was changed: the lines of the diff, without the blanks around them; and whether a test has minded."""

    module: str
    change: tuple[str, ...]
    survived: bool


def main(arguments: Sequence[str]) -> int:
    """Make the mutants, and tell what became of them."""
    modules = [name for name in TESTS if not arguments or name.rpartition("/")[2] in arguments]
    if not modules:
        sys.exit(f"The modules are: {' '.join(name.rpartition('/')[2] for name in TESTS)}")
    _lay_out(modules)
    mutants = [*_by_mutmut(), *(mutant for module in modules for mutant in _constants(module))]
    argued = _argued()
    print(f"\n{'module':20} mutants  killed  argued  not argued")
    for module in modules:
        found = [mutant for mutant in mutants if mutant.module == module]
        fates = Counter("killed" if not m.survived else "argued" if m.change in argued else "not" for m in found)
        print(f"{module:20} {len(found):7} {fates['killed']:7} {fates['argued']:7} {fates['not']:11}")
    survivors = [mutant for mutant in mutants if mutant.survived]
    bare = [mutant for mutant in survivors if mutant.change not in argued]
    stale = argued - {mutant.change for mutant in survivors} if not arguments else set()
    print(f"{'':20} {len(mutants):7} {len(mutants) - len(survivors):7} {len(survivors) - len(bare):7} {len(bare):11}")
    for mutant in bare:
        print(f"\nNot argued, {mutant.module}:", *mutant.change, sep="\n")
    for change in sorted(stale):
        print("\nArgued, and not a survivor:", *change, sep="\n")
    return 1 if bare or stale else 0


def _lay_out(modules: Sequence[str]) -> None:
    """The copy: the package as `src`, which is where mutmut looks for it; tests, and what they read."""
    shutil.rmtree(WORK, ignore_errors=True)
    shutil.copytree(TOP / "function" / "vaultbell", WORK / "src" / "vaultbell")
    shutil.copytree(TOP / "events", WORK / "events")
    (WORK / "tests").mkdir()
    for item in (TOP / "tests").iterdir():
        if item.suffix == ".py":
            shutil.copy(item, WORK / "tests")
    for folder in ("unit", "integration", "standin"):
        shutil.copytree(TOP / "tests" / folder, WORK / "tests" / folder)
    for module in modules:  # mutmut passes over what is decorated
        file = _source(module)
        file.write_text(re.sub(r"^@(lru_)?cache\b.*\n", "", file.read_text("utf-8"), flags=re.MULTILINE), "utf-8")
    tests = [f"tests/{name}" for module in modules for name in TESTS[module].split()]
    sources = [f"src/vaultbell/{module}.py" for module in modules]
    (WORK / "pyproject.toml").write_text(SETTINGS.format(modules=sources, tests=tests), "utf-8")


def _source(module: str) -> Path:
    return WORK / "src" / "vaultbell" / f"{module}.py"


def _by_mutmut() -> Iterator[Mutant]:
    """Its changes of what functions do."""
    tool = [str(Path(sys.executable).with_name("mutmut"))]
    with (WORK / "log").open("w") as log:
        run = [*tool, "run", f"--max-children={os.cpu_count() or 1}"]
        if subprocess.run(run, cwd=WORK, stdout=log, stderr=log, check=False).returncode:
            sys.exit(f"mutmut did not get through: {WORK / 'log'}")
    told = subprocess.run([*tool, "results", "--all", "true"], cwd=WORK, capture_output=True, text=True, check=True)
    for name, fate in re.findall(r"^ +vaultbell\.(\S+): (.+)$", told.stdout, re.MULTILINE):
        module = name.partition(".x")[0].replace(".", "/")
        if fate in ("survived", "no tests"):
            show = [*tool, "show", f"vaultbell.{name}"]
            diff = subprocess.run(show, cwd=WORK, capture_output=True, text=True, check=True).stdout
            yield Mutant(module, _change(diff.splitlines()), survived=True)
        elif fate in ("killed", "timeout"):
            yield Mutant(module, (name,), survived=False)
        else:
            sys.exit(f"{name}: {fate}")


def _constants(module: str) -> Iterator[Mutant]:
    """Each number of the module's own level, one greater: mutmut passes over these."""
    file = _source(module)
    text = file.read_text("utf-8")
    lines = text.splitlines()
    for statement in ast.parse(text).body:
        for node in ast.walk(statement) if isinstance(statement, ast.Assign) else ():
            if not isinstance(node, ast.Constant) or type(node.value) is not int or node.end_col_offset is None:
                continue
            line = lines[node.lineno - 1]
            changed = f"{line[: node.col_offset]}{node.value + 1}{line[node.end_col_offset :]}"
            file.write_text("\n".join([*lines[: node.lineno - 1], changed, *lines[node.lineno :]]) + "\n", "utf-8")
            command = [sys.executable, "-m", "pytest", "-xqq", *(f"tests/{name}" for name in TESTS[module].split())]
            failed = subprocess.run(command, cwd=WORK, capture_output=True, check=False).returncode
            yield Mutant(module, _change([f"-{line}", f"+{changed}"]), survived=not failed)
    file.write_text(text, "utf-8")


def _change(diff: Sequence[str]) -> tuple[str, ...]:
    """What a diff takes and gives."""
    return tuple(f"{line[0]} {line[1:].strip()}" for line in diff if re.match(r"[+-](?![+-]{2} )", line))


def _argued() -> set[tuple[str, ...]]:
    """The changes that the page argues: a block for one change, or for several, parted by empty lines."""
    blocks = re.findall(r"```diff\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL) if PAGE.exists() else []
    return {_change(part.splitlines()) for block in blocks for part in block.split("\n\n")}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
