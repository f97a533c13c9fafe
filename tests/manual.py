"""The manual page of the commands, docs/commands.md: its blocks are what --help prints, its table what they exit with.

`.venv/bin/python tests/manual.py` writes both anew; the prose around them is written by hand.
"""

from __future__ import annotations

import io
import os
import re
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path
from unittest.mock import patch

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
HELP = re.compile(r"```text\nusage: vaultbell ?([a-z -]*?)(?= *\[)(?:.*?)\n```\n", re.DOTALL)
TABLE = re.compile(r"(?m)^\| command \| 0 \|.*\n(?:\|.*\n)+")
STATUS = re.compile(r"^  (\d)  (.*)$", re.MULTILINE)


def commands() -> list[str]:
    """Every command, those with commands of their own by these."""
    from vaultbell import cli  # noqa: PLC0415 - the path to it may have to be set first

    names = [cli.name_of(command) for command in cli.COMMANDS]
    inner = {"queue": ("dead", "redrive", "send")}
    return [f"{name} {word}" for name in names for word in inner.get(name, ())] + [n for n in names if n not in inner]


def help_of(command: str) -> str:
    """What `vaultbell COMMAND --help` prints on a terminal of 100 columns."""
    from vaultbell import cli  # noqa: PLC0415 - as above

    told = io.StringIO()
    with patch.dict(os.environ, {"COLUMNS": "100"}), redirect_stdout(told), suppress(SystemExit):
        cli.main([*command.split(), "--help"])
    return told.getvalue().rstrip()


def statuses(command: str) -> dict[int, str]:
    """The exit statuses that its help tells."""
    return {int(number): words for number, words in STATUS.findall(help_of(command).partition("exit status:")[2])}


def table() -> str:
    """What each command exits with. 2 means the same everywhere, unless it says so."""
    rows = ["| command | 0 | 1 | 3 |\n", "| --- | --- | --- | --- |\n"]
    for command in sorted({name.split()[0] for name in commands()}):
        found = statuses("queue dead" if command == "queue" else command)
        rows.append(f"| `{command}` | {' | '.join(found.get(number, '') for number in (0, 1, 3))} |\n")
    return "".join(row.replace("|  |", "| |").replace("|  |", "| |") for row in rows)


def renewed(page: str) -> str:
    """The page with the blocks and the table as the commands have them now."""
    page = HELP.sub(lambda found: f"```text\n{help_of(found[1])}\n```\n", page)
    return TABLE.sub(lambda _found: table(), page)


if __name__ == "__main__":
    sys.path.insert(0, str(PAGE.parents[1] / "function"))
    PAGE.write_text(renewed(PAGE.read_text("utf-8")), "utf-8")
