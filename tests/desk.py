"""The command line as an operator uses it: run within this process, with these settings and nothing else of ours."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from serving import environment
from vaultbell import cli


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON value, looked into
        """The output, parsed."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Desk:
    """Runs commands. What is `""` among the changed settings is left out."""

    env: Mapping[str, str]
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str, **changed: str) -> Done:
        """Run one."""
        return self.fed(None, *arguments, **changed)

    def fed(self, stdin: bytes | None, *arguments: str, **changed: str) -> Done:
        """Run one whose standard input is this."""
        found = {name: value for name, value in {**self.env, **changed}.items() if value}
        with self.monkeypatch.context() as here:
            here.setattr("os.environ", environment(found))
            if stdin is not None:
                here.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            try:
                status = cli.main(arguments)
            except SystemExit as left:  # argparse leaves so
                status = int(str(left.code))
        return Done(status, *self.capsys.readouterr())


NewDesk = Callable[[Mapping[str, str]], Desk]


class Terminal(io.StringIO):
    """A standard output or error that somebody looks at."""

    def isatty(self) -> bool:
        """It is one."""
        return True
