"""A cold start on FunctionGraph, or of a script beside it: one event, from the start of the process on.

`start.py zip FOLDER` is what the platform does with the unpacked zip; `start.py PEER FOLDER` a script in the way of one
of the peers, which lies in the folder with what it needs; `start.py STEP FOLDER` the zip's start in steps, up to this
one. The event comes on standard input; when all of it has been done, a line tells the seconds of CPU that it took.
"""

# Each start pays for what it needs, when it needs it:
# ruff: noqa: PLC0415

import os
import sys
import time

STEPS = ("python", "pydantic", "requests", "index", "initializer", "event")


class Context:
    """As the platform makes it, for a function without an agency."""

    def getRemainingTimeInMilliSeconds(self) -> int:  # noqa: N802 - the platform's name
        return 30_000

    def getToken(self) -> str:  # noqa: N802
        return ""

    getSecurityAccessKey = getSecuritySecretKey = getSecurityToken = getToken  # noqa: N815


def zipped() -> None:
    """Handle one event."""
    import json

    import index

    index.initializer(Context())
    index.handler(json.loads(sys.stdin.buffer.read()), Context())


def stepped(last: str) -> None:
    """The same, with what it imports first imported by name, and no further than the last step."""
    import gc

    gc.disable()  # as index does
    for step in STEPS[: STEPS.index(last) + 1]:
        match step:
            case "pydantic":
                from pydantic import BaseModel

                type("Model", (BaseModel,), {"__annotations__": {"name": str}})  # the first one loads the most of it
            case "requests":
                import requests  # noqa: F401 - that it is imported is the step
            case "index":
                import index
            case "initializer":
                index.initializer(Context())
            case "event":
                import json

                index.handler(json.loads(sys.stdin.buffer.read()), Context())


def main(kind: str, folder: str) -> None:
    """Start in one of the ways."""
    sys.path.insert(0, folder)
    if kind == "zip":
        zipped()
    elif kind in STEPS:
        stepped(kind)
    else:
        from peers import PEERS  # type: ignore[import-not-found]  # a copy of it lies in the folder

        PEERS[kind](os.environ["BENCH_URL"], None).handle(sys.stdin.buffer.read())
    sys.stdout.write(f"handled {time.process_time()}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:3])
