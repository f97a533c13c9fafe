"""Print what makes a shell complete the commands and their options.

For bash, `eval "$(vaultbell completion bash)"` in ~/.bashrc; for zsh, the output as a file `_vaultbell` in a folder of
$fpath; for tcsh, the output as a file that ~/.tcshrc sources. Needs the extra `cli`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from vaultbell.errors import SettingsError

SHELLS = ("bash", "zsh", "tcsh")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """0: it is printed."""
    del environ
    try:
        import shtab  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise SettingsError("completion needs shtab: pip install 'vaultbell[cli]'") from None
    print(shtab.complete(options.parser, shell=options.shell))
    return 0
