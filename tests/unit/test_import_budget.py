"""What a cold start imports, by name: a new dependency, or an import that came along unseen, has to be let in here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FUNCTION = Path(__file__).parents[2] / "function"
SETTINGS = {
    "OS_REGION_NAME": "eu-de",
    "OS_PROJECT_ID": "0123456789abcdef0123456789abcdef",
    "OS_TOKEN": "token",
    "VAULTBELL_WEBHOOK_URL": "https://hooks.example.org/bell",
    "VAULTBELL_WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
}

# pydantic and requests, and what they are made of: nothing else is needed before an event has said what it is.
LIBRARIES = {"annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection"}
LIBRARIES |= {"certifi", "charset_normalizer", "cython_runtime", "idna", "requests", "urllib3"}
LIBRARIES |= {"simplejson"}  # requests takes it where it is installed, as it is beside the tests
# Of the standard library, what each of the two starts needs. (Names with an underscore are the library's own affair.)
STANDARD = frozenset(
    """
    abc array ast atexit base64 binascii bisect builtins bz2 calendar codecs collections concurrent contextlib
    contextvars copy copyreg csv dataclasses datetime decimal dis email encodings enum errno fnmatch fractions
    functools gc genericpath glob grp hashlib heapq hmac http importlib inspect io ipaddress itertools json keyword
    linecache locale logging lzma marshal math mimetypes ntpath nturl2path numbers opcode operator os pathlib
    pkgutil platform posix posixpath pwd queue quopri random re reprlib resource secrets select selectors shutil signal
    site socket ssl stat string stringprep struct subprocess sys sysconfig tempfile textwrap threading time token
    tokenize traceback types typing unicodedata urllib uuid warnings weakref zipfile zipimport zlib zoneinfo
    """.split()
)
# Our own modules that wait until a setting or an event asks for them.
WAITING = (
    "channels.apprise channels.email channels.formats.alertmanager channels.formats.discord channels.formats.opsgenie "
    "channels.formats.pagerduty channels.formats.slack channels.formats.teams cli cloud.vaults observability.otel "
    "observability.otlp observability.prometheus observability.terminal platforms.queue roll_call stale_message "
    "staleness tally watching yaml_lines"
).split()


def imported(start: str, first: str = "") -> set[str]:
    """The modules that a fresh process has after a start, beyond those that it has after `first`."""
    script = f"import sys\n{first}\nbefore = set(sys.modules)\n{start}\nimport json\n"
    script += "print(json.dumps(sorted(set(sys.modules) - before)))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "VAULTBELL_"))}
    environment = {name: value for name, value in environment.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment | SETTINGS | {"PYTHONPATH": str(FUNCTION)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def top(modules: set[str]) -> set[str]:
    return {name.split(".")[0] for name in modules}


@pytest.mark.parametrize(
    ("start", "first", "own", "most"),
    [
        # functions-framework has loaded the standard library already
        ("import main", "import functions_framework, gunicorn.app.base, gunicorn.workers.gthread", {"main"}, 280),
        ("import index; index.initializer(None)", "", {"index"}, 460),
    ],
    ids=["functions-framework", "functiongraph"],
)
def test_a_cold_start_imports_what_is_named_here_and_nothing_else(
    start: str, first: str, own: set[str], most: int
) -> None:
    modules = imported(start, first)
    named = {name for name in top(modules) if not name.startswith("_")}
    assert named - sys.stdlib_module_names - LIBRARIES == own | {"vaultbell"}
    assert (named & sys.stdlib_module_names) - STANDARD == set()
    ours = {name.removeprefix("vaultbell.") for name in modules if name.startswith("vaultbell.")}
    assert {name for name in ours if any(name == one or name.startswith(f"{one}.") for one in WAITING)} == set()
    assert len(modules) <= most, f"{len(modules)} modules"
