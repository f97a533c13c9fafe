"""What goes into the zip for FunctionGraph, and by which Python it is compiled; check_zip.py builds it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import package

FUNCTION = Path(__file__).parents[2] / "function"
HASH = "--hash=sha256:" + "0" * 64
# What index.py never comes to: the HTTP server's door and its scrapes, the command line, the queue's consumer; and what
# is an extra of the zip.
ELSEWHERE = (
    *("vaultbell/cli", "vaultbell/observability/prometheus.py", "vaultbell/platforms/http.py"),
    *("vaultbell/platforms/queue", "main.py"),
)
EXTRAS = {"apprise", "opentelemetry", "redis"}


def test_the_locks_markers_are_judged_for_the_platform_and_not_for_the_builder(tmp_path: Path) -> None:
    lines = [
        f"always==1 {HASH}",
        f"linux==1 ; sys_platform == 'linux' and platform_machine == 'x86_64' \\\n    {HASH}",
        f"windows==1 ; sys_platform == 'win32' {HASH}",
        f"old==1 ; python_version < '3.12' {HASH}",
        f"new==1 ; python_full_version >= '3.12' and implementation_name != 'PyPy' {HASH}",
        f"arm==1 ; platform_machine == 'aarch64' {HASH}",
        f"newer==1 ; python_version >= '3.13' {HASH}",
    ]
    lock = tmp_path / "requirements.txt"
    lock.write_text("# a comment\n" + "\n".join(lines) + "\n", "utf-8")
    pins = package.locked(lock)
    assert list(pins) == ["always", "linux", "new"]
    assert pins["linux"] == f"linux==1 {HASH}"


def test_all_that_index_may_import_is_in_the_zip() -> None:
    """Also what is imported only when an event asks for it: on the platform it would be missed at night."""
    known = packages_distributions()
    pins = package.locked(FUNCTION.parent / "requirements.txt")
    missing = []
    for path in sorted(FUNCTION.rglob("*.py")):
        if path.relative_to(FUNCTION).as_posix().startswith(ELSEWHERE):
            continue
        for root in imports(path) - sys.stdlib_module_names - EXTRAS - {"vaultbell"}:
            names = {canonicalize_name(name) for name in known.get(root, [root])}
            if not names & set(closure(*package.ROOTS)) or not names & pins.keys():
                missing.append(f"{path.relative_to(FUNCTION)}: {root}")
    assert missing == []


def imports(path: Path) -> set[str]:
    """The packages that a module imports wherever in it, but for types alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def closure(*roots: str) -> set[str]:
    """These distributions and all that they need, as they are installed here: the lock is the same."""
    found: set[str] = set()
    wanted = set(roots)
    while wanted:
        found |= wanted
        asked = [Requirement(text) for name in wanted for text in requires(name) or []]
        wanted = {str(canonicalize_name(one.name)) for one in asked if package.holds(one)} - found
    return found


def test_a_python_that_does_not_run_or_is_another_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "PYTHON", (3, 99))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert package.find_python() is None
    says(tmp_path / "bin" / "python3.99", "echo 'command not found' >&2; exit 127")
    says(tmp_path / "pyenv" / "versions" / "3.99.1" / "bin" / "python3.99", "echo 3 98 cpython")
    assert package.find_python() is None
    right = says(tmp_path / "uv" / "cpython-3.99.2-linux" / "bin" / "python3.99", "echo 3 99 cpython")
    assert package.find_python() == str(right)
    nearer = says(tmp_path / "bin" / "python3.99", "echo 3 99 cpython")
    assert package.find_python() == str(nearer)


def says(path: Path, script: str) -> Path:
    """A program that does this."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)
    return path


def test_the_lock_of_the_extras_holds_the_same_versions() -> None:
    top = FUNCTION.parent
    pins, more = package.locked(top / "requirements.txt"), package.locked(top / "requirements-dev.txt")
    assert pins.items() <= more.items()
    assert {name for names in package.EXTRAS.values() for name in names} <= more.keys()
    project = tomllib.loads((top / "pyproject.toml").read_text("utf-8"))["project"]
    for extra, names in package.EXTRAS.items():
        wanted = project["optional-dependencies"][extra]
        assert sorted(re.split("[<>=]", one)[0] for one in wanted) == list(names)


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ("wheel-1.data/scripts/tool", "outside of its packages"),
        ("index.py", "or in function/ as well"),
    ],
)
def test_a_wheel_that_would_not_lie_well_is_refused(tmp_path: Path, inside: str, words: str) -> None:
    path = tmp_path / "wheel-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("wheel-1.dist-info/METADATA", "Name: wheel\nVersion: 1\n")
        wheel.writestr(inside, "")
    with pytest.raises(package.PackagingError, match=words):
        package.lay_out([package.opened(path)], tmp_path / "code")
