"""Ports of loopback that nobody has had lately: a sender that is late must not reach whoever came after its receiver.

The system gives a free port again as soon as it is free; these go round, below those that it gives to clients, and
test processes that run side by side have a part each.
"""

from __future__ import annotations

import os
import random
import socket
import threading
from itertools import count

FIRST, PART = 10_000, 5_500
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw3").removeprefix("gw")) % 4
_turn = count(random.randrange(PART))  # noqa: S311 - so that one run does not begin where the last one did
_lock = threading.Lock()


def unused(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on."""
    for _ in range(PART):
        with _lock:
            port = FIRST + PART * _WORKER + next(_turn) % PART
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")
