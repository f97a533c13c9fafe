"""A cold start on FunctionGraph, or of a script beside it: one event, from the start of the process on.

`start.py zip FOLDER` is what the platform does with the unpacked zip; `start.py vendor FOLDER` a script on the vendor's
SDK, which lies in the folder. The event comes on standard input; a line is written when it has been handled.
"""

import os
import sys


class Context:
    """As the platform makes it, for a function without an agency."""

    def getRemainingTimeInMilliSeconds(self) -> int:  # noqa: N802 - the platform's name
        return 30_000

    def getToken(self) -> str:  # noqa: N802
        return ""

    getSecurityAccessKey = getSecuritySecretKey = getSecurityToken = getToken  # noqa: N815


def main(kind: str, folder: str) -> None:
    """Handle one event."""
    sys.path.insert(0, folder)
    if kind == "zip":
        import json  # noqa: PLC0415 - each of the two pays for what it needs

        import index  # noqa: PLC0415

        index.initializer(Context())
        index.handler(json.loads(sys.stdin.buffer.read()), Context())
    else:
        from peers import Vendor  # type: ignore[import-not-found]  # noqa: PLC0415 - a copy in the folder

        Vendor(os.environ["BENCH_URL"], None).handle(sys.stdin.buffer.read())
    sys.stdout.write("handled\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:3])
