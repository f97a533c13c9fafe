"""The house stays as it was built: who imports whom, how much there is, what a cold start pays for."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

TOP = Path(__file__).parents[2]
FUNCTION = TOP / "function"
PACKAGE = FUNCTION / "vaultbell"

# A module imports its own layer and those below it. A name stands for all that is in it, unless that has a place of
# its own.
LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(names.split())
    for names in (
        "platforms cli",
        "compose observability",
        "pipeline roll_call watching search sweeping handling ringing resolving history bell",
        "sources inbound cloud sweep staleness stale_message routing channels seen_store delivery digest",
        "notification seen transport pool telemetry tracing settings raw_settings values yaml_lines",
        "outcome past tally conditions cloud.operation_log cloud.vaults cloud.lenient",
        "events report budget errors advice addresses times text strict_json retry_after standard_webhooks "
        "trace_context",
    )
)
PURE = frozenset(
    """
    errors budget events report advice times text strict_json standard_webhooks addresses outcome past conditions
    notification routing sweep digest inbound sources cloud.operation_log cloud.endpoints cloud.lenient cloud.listing
    cloud.signing cloud.vaults staleness stale_message tally channels.formats channels.shown trace_context
    """.split()
)
# What reaches out of the process or differs from one call to the next.
WORLD = frozenset(
    """
    asyncio concurrent fcntl glob http io logging multiprocessing os pathlib random secrets select shutil signal smtplib
    socket ssl subprocess tempfile threading time
    """.split()
)
PURE_USES = {"budget": {"time"}}  # the deadline is the one clock that the others are handed
PURE_LIBRARIES = {"pydantic", "pydantic_core"}

CORE_LINES = 6_345  # 2,500 is the aim; what is here now is the most that there may be

# Dear at a cold start, and needed by some events or some settings alone.
DEAR = frozenset(
    """
    aiohttp apprise asyncio cryptography difflib email.mime huaweicloudsdkcore jinja2 kombu opentelemetry
    prometheus_client redis smtplib sqlite3 unittest xml yaml
    """.split()
)
SETTINGS = {
    "OS_REGION_NAME": "eu-de",
    "OS_PROJECT_ID": "0123456789abcdef0123456789abcdef",
    "OS_TOKEN": "token",
    "VAULTBELL_WEBHOOK_URL": "https://hooks.example.org/bell",
}


class Import(NamedTuple):
    importer: str
    line: int
    imported: str

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}: {self.imported}"


def _name(path: Path) -> str:
    """The module's name within the package: `cloud.cbr`; a package's own is its folder's."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


TREES = {_name(path): ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def _imports(importer: str) -> Iterator[Import]:
    """Every import of a module, those inside functions too; the package's own without `vaultbell.`."""
    for node in ast.walk(TREES[importer]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(importer, node.lineno, alias.name.removeprefix("vaultbell."))
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").removeprefix("vaultbell").removeprefix(".")
            for alias in node.names:
                inner = f"{module}.{alias.name}".removeprefix(".")
                ours = (node.module or "").split(".")[0] == "vaultbell"
                yield Import(importer, node.lineno, inner if ours and inner in TREES else module)


IMPORTS = [found for module in TREES for found in _imports(module)]


def _covering(module: str, names: frozenset[str]) -> str:
    """The longest of the names that is the module or holds it; empty if none does."""
    return max((name for name in names if module == name or module.startswith(f"{name}.")), key=len, default="")


def _layer(module: str) -> int:
    longest = [len(_covering(module, layer)) for layer in LAYERS]
    return longest.index(max(longest)) if any(longest) else -1


def _is_pure(module: str) -> bool:
    return bool(_covering(module, PURE))


def test_every_module_has_a_place_in_the_order() -> None:
    assert [module for module in TREES if module and _layer(module) < 0] == []


def test_imports_run_one_way() -> None:
    upwards = [
        str(found)
        for found in IMPORTS
        if found.imported in TREES and found.imported and _layer(found.imported) < _layer(found.importer)
    ]
    assert upwards == []


def test_no_module_imports_itself_by_a_detour() -> None:
    graph: dict[str, set[str]] = {module: set() for module in TREES}
    for found in IMPORTS:
        if found.imported in TREES and found.imported != found.importer:
            graph[found.importer].add(found.imported)
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the detour


def test_pure_modules_import_nothing_that_reaches_out() -> None:
    reaching = []
    for found in IMPORTS:
        if not _is_pure(found.importer):
            continue
        root = found.imported.split(".")[0]
        if found.imported in TREES:
            allowed = _is_pure(found.imported) or not found.imported
        elif root in sys.stdlib_module_names:
            allowed = root not in WORLD or root in PURE_USES.get(found.importer, ())
        else:
            allowed = root in PURE_LIBRARIES
        if not allowed:
            reaching.append(str(found))
    assert reaching == []


def test_pure_modules_open_nothing_and_take_the_time_as_an_argument() -> None:
    acting = []
    for module in filter(_is_pure, TREES):
        for node in ast.walk(TREES[module]):
            match node:
                case ast.Call(func=ast.Name(id="open" | "print" | "input" as name)):
                    acting.append(f"{module}, line {node.lineno}: {name}")
                case ast.Call(func=ast.Attribute(attr="now" | "utcnow" | "today" as name)):
                    acting.append(f"{module}, line {node.lineno}: {name}")
    assert acting == []


def _lines_of_code(path: Path) -> int:
    """The physical lines that hold code: not those that are blank or hold a comment or a docstring alone."""
    text = path.read_text("utf-8")
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(value=ast.Constant(value=str())) as docstring, *_]:
                    lines.difference_update(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    return len(lines)


def test_lines_of_code_are_counted_without_comments_and_docstrings(tmp_path: Path) -> None:
    module = tmp_path / "sample.py"
    module.write_text(
        '"""Two\nlines."""\n\n# why\nX = (\n    1,  # one\n)\n\ndef f():\n    """Doc."""\n    return """a\nb"""\n'
    )
    assert _lines_of_code(module) == 6


def test_the_core_stays_small() -> None:
    outside = {"cli", "platforms.queue", "channels.formats", "observability"}
    outside |= {"watching", "staleness", "stale_message", "cloud.vaults", "roll_call", "tally"}
    core = [
        (_lines_of_code(path), _name(path))
        for path in PACKAGE.rglob("*.py")
        if not _covering(_name(path), frozenset(outside))
    ]
    total = sum(lines for lines, _ in core)
    assert total < CORE_LINES, f"{total} lines; the largest: {sorted(core, reverse=True)[:8]}"


def _after_import(module: str, first: str) -> dict[str, list[str]]:
    """What importing a module of `function/` does in a fresh process, beyond what importing `first` does."""
    script = f"""
import json, ssl, sys
{first}
before, made = set(sys.modules), []
make = ssl.SSLContext.__new__
ssl.SSLContext.__new__ = lambda cls, *args, **kwargs: made.append("TLS context") or make(cls, *args, **kwargs)
sent = ("socket.connect", "socket.getaddrinfo", "_thread.start")  # urllib3 tries whether it can bind to ::1: no harm
sys.addaudithook(lambda event, args: event.startswith(sent) and made.append(event))
import {module}
print(json.dumps({{"modules": sorted(set(sys.modules) - before), "made": made}}))
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "VAULTBELL_"))}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment | SETTINGS | {"PYTHONPATH": str(FUNCTION)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, list[str]] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize(
    ("module", "first", "dear"),
    [
        ("main", "import functions_framework", DEAR),
        ("index", "", DEAR | {"flask", "werkzeug", "functions_framework"}),
    ],
    ids=["functions-framework", "functiongraph"],
)
def test_a_cold_start_pays_only_for_what_every_event_needs(module: str, first: str, dear: frozenset[str]) -> None:
    after = _after_import(module, first)
    assert "vaultbell.compose" in after["modules"]
    assert {name for name in after["modules"] if _covering(name, dear)} == set()


@pytest.mark.parametrize("module", ["main", "index"])
def test_nothing_is_made_at_import_that_a_forked_worker_could_not_use(module: str) -> None:
    assert _after_import(module, "import functions_framework")["made"] == []


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := TOP / name).is_file()]


# Written in pieces, so that this file may be read too.
FOREIGN = re.compile(
    "|".join(
        (
            r"(?<![\w.])/(?:wo" r"rk|ro" r"ot|ho" r"me)/(?!\$)\w",
            r"(?<![\w.])/tm" r"p/(?:de" r"v|bri" r"ef|ho" r"use|bash)\b",
            r"\bpy" r"pi\.org\b",
            r"\bpython" r"hosted\.org\b",
            r"\bnpm" r"js\.(?:org|com)\b",
            r"\b(?:doc" r"ker|gh" r"cr|qu" r"ay|g" r"cr)\.io\b",
            r"--(?:extra-)?index" r"-url\b",
            r"--find" r"-links\b",
            r"\b(?:L" r"LMs?|A" r"I|Chat" r"GPT|Cl" r"aude|Co" r"pilot)\b",
            r"\blanguage " r"model",
        )
    )
)


def test_the_repository_speaks_of_itself_alone() -> None:
    foreign = []
    for path in _tracked():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        foreign += [
            f"{path.relative_to(TOP)}, line {number}: {found[0]}"
            for number, line in enumerate(text.splitlines(), start=1)
            if (found := FOREIGN.search(line))
        ]
    assert foreign == []


def _pins(name: str) -> dict[str, str]:
    """The requirements of a lock: `name==version`, and what follows it."""
    text = (TOP / name).read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split(maxsplit=1) for line in lines)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned_and_hashed(name: str) -> None:
    pins = _pins(name)
    assert pins
    for pin, rest in pins.items():
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+", pin), pin
        assert re.fullmatch(r"(; [^#\\]+ )? *(--hash=sha256:[0-9a-f]{64}\s*)+", rest), pin


def test_the_lock_holds_every_runtime_requirement_and_the_tests_run_on_the_same() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]
    runtime, dev = _pins("requirements.txt"), _pins("requirements-dev.txt")
    wanted = {re.split(r"[<>=~!;\[ ]", requirement)[0].lower() for requirement in project["dependencies"]}
    assert wanted <= {pin.split("==")[0] for pin in runtime}
    assert runtime.keys() <= dev.keys()
