"""Names that are looked up here, and sometimes are not found: loopback, as the DNS would give it on a bad day."""

from __future__ import annotations

import socket
import time
from itertools import count
from typing import Any

from soak.faults import fault

SUFFIX = ".soak.test"
HANGS = 6.0  # seconds: longer than any budget here


def install(seed: int) -> None:
    """From now on `*.soak.test` is loopback in this process, but where a fault has it otherwise."""
    ask, turn = socket.getaddrinfo, count()

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the standard library has it
        if not isinstance(host, str) or not host.endswith(SUFFIX):
            return ask(host, *args, **kwargs)
        if kwargs.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not an address")
        match fault(seed, "name", f"{host} {next(turn)}", 0):
            case "again":
                raise socket.gaierror(socket.EAI_AGAIN, "try again")
            case "not found":
                raise socket.gaierror(socket.EAI_NONAME, "no such name")
            case "hang":
                time.sleep(HANGS)
        return ask("127.0.0.1", *args, **kwargs)

    socket.getaddrinfo = getaddrinfo
