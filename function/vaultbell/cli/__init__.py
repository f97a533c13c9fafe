"""The command line, `vaultbell`: one file a command. To add one: a file beside this one, and its name in `COMMANDS`.

Exit status: 0 done, 1 the command's own bad news (a failed task, say), 2 wrong use or settings, 3 it could not be
found out (the cloud or a channel was not reached).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from vaultbell.cli import consume, explain, lookup, queue, ring, sweep
from vaultbell.errors import InvalidEvent, SettingsError, VaultbellError

COMMANDS = (consume, explain, lookup, queue, ring, sweep)

DONE, BAD_NEWS, WRONG_USE, NOT_KNOWN = 0, 1, 2, 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="vaultbell", description="Rings when a cloud backup did not end well.", epilog=__doc__.split("\n\n")[1]
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
        summary = (command.__doc__ or "").strip().split("\n\n")[0]
        sub = commands.add_parser(name, help=summary, description=summary)
        command.arguments(sub)
        sub.set_defaults(run=command.run)
    options = parser.parse_args(argv)
    try:
        status: int = options.run(options, os.environ)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads us has seen enough: `| head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor may the flush at the exit complain
        return DONE
    except (SettingsError, InvalidEvent) as error:
        print(f"vaultbell: {error}", file=sys.stderr)
        return WRONG_USE
    except VaultbellError as error:
        print(f"vaultbell: {error}", file=sys.stderr)
        return NOT_KNOWN
    return status
