"""The command line, `vaultbell`: one file a command. To add one: a file beside this one, and its name in `COMMANDS`.

Exit status: 0 done, 1 the command's own bad news (a failed task, say), 2 wrong use or settings, 3 it could not be
found out (the cloud or a channel was not reached). Each command's --help tells its own.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType

try:
    from vaultbell import observability, telemetry
    from vaultbell.cli import (
        completion,
        consume,
        doctor,
        explain,
        lookup,
        preview,
        queue,
        replay,
        ring,
        roll_call,
        sweep,
        tail,
    )
    from vaultbell.cli.terminal import complain, exit_statuses
    from vaultbell.errors import InvalidEvent, SettingsError, VaultbellError
except KeyboardInterrupt:  # most of the time that a short command takes
    raise SystemExit(130) from None

COMMANDS = (completion, consume, doctor, explain, lookup, preview, queue, replay, ring, roll_call, sweep, tail)

DONE, BAD_NEWS, WRONG_USE, NOT_KNOWN, INTERRUPTED = 0, 1, 2, 3, 130
GRACE_SECONDS = 2.0  # for what is being told while somebody ends a command


def name_of(command: ModuleType) -> str:
    """What a command is called: as its file is, with hyphens."""
    return command.__name__.rpartition(".")[2].replace("_", "-")


def parser() -> argparse.ArgumentParser:
    """What the command line understands."""
    told = argparse.ArgumentParser(
        prog="vaultbell", description="Rings when a cloud backup did not end well.", epilog=__doc__.split("\n\n")[1]
    )
    commands = told.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        name, words = name_of(command), (command.__doc__ or "").strip()
        sub = commands.add_parser(
            name,
            help=words.split("\n\n")[0],
            description=words,
            epilog=exit_statuses(command.run),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.arguments(sub)
        sub.set_defaults(run=command.run, parser=told)
    return told


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. Without `argv` it is this process's own."""
    if argv is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    try:
        _open_streams()
        if argv is None:
            telemetry.start("WARNING", observability.formatter("text"))
        options = parser().parse_args(argv)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a name may have letters that a terminal has not
        status: int = options.run(options, os.environ)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor may the flush at the exit complain
        if isinstance(error, BrokenPipeError):  # whoever reads us has seen enough: `| head -1`
            return DONE
        complain(OSError(f"what came of it cannot be printed: {error.strerror}"))
        return NOT_KNOWN
    except KeyboardInterrupt:
        with suppress(OSError):
            sys.stdout.flush()
        return INTERRUPTED
    except (SettingsError, InvalidEvent) as error:
        complain(error)
        return WRONG_USE
    except VaultbellError as error:
        complain(error)
        return NOT_KNOWN
    return status


def _leave(signum: int, _frame: object) -> None:
    """End the command: threads that wait for others must not hold up whoever waits for us."""
    signal.signal(signum, signal.SIG_DFL)  # the second one is obeyed at once
    last = threading.Timer(GRACE_SECONDS, os._exit, (INTERRUPTED,))
    last.daemon = True
    last.start()
    raise KeyboardInterrupt


def _open_streams() -> None:
    """What is printed to a stream that we were started without goes nowhere, and no socket gets its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
