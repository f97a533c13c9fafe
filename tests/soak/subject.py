"""The product, as it is put to the test: its own commands, with names that fail and waits that are shorter.

    python -m soak.subject SEED consume URL --queue NAME …
    python -m soak.subject SEED serve PORT

What is shortened are waits that nobody can set: between attempts, for a task that runs or is not visible yet, and
until a silent broker is given up. What is judged stays as it is.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from unittest.mock import patch

from soak import LADDER, names
from vaultbell import handling
from vaultbell.cli import consume, main
from vaultbell.platforms.queue.broker import Broker

HEARTBEAT = 5
FUNCTION = Path(__file__).parents[2] / "function" / "main.py"


def shorten() -> None:
    """Make the waits shorter."""
    handling.RUNNING_AGAIN = handling.YOUNG_AGAIN = 2.0
    patch.object(consume, "Broker", partial(Broker, ladder=LADDER, heartbeat=HEARTBEAT)).start()


def run(seed: int, command: str, *arguments: str) -> int:
    """Be the consumer, or the function under its server."""
    names.install(seed)
    shorten()
    if command == "consume":
        return main(["consume", *arguments])
    from functions_framework._cli import _cli  # noqa: PLC0415 - it alone needs it

    options = ["--source", str(FUNCTION), "--target", "handle", "--host", "127.0.0.1", "--port", arguments[0]]
    _cli(options)
    return 0


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), *sys.argv[2:]))
