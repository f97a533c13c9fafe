"""What FunctionGraph's Python does with an unpacked zip, for check_zip.py: `python3.12 -I -S bare_runtime.py FOLDER`.

It reads events from standard input, {"token": …, "events": […]}, hands each to the function, and writes what came of
them. It runs on the bare standard library: nothing of this repository or of a virtual environment can be imported.
"""

import json
import sys
import sysconfig
from pathlib import Path


class Context:
    """The platform's context, with the agency's token."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def getRemainingTimeInMilliSeconds(self) -> int:  # noqa: N802 - the platform's name
        return 60_000

    def getToken(self) -> str | None:  # noqa: N802
        return self._token

    def getSecurityAccessKey(self) -> None:  # noqa: N802
        return None

    getSecuritySecretKey = getSecurityToken = getSecurityAccessKey  # noqa: N815


def came(call: object, *given: object) -> dict[str, object]:
    """What a call returns or raises."""
    try:
        return {"returned": call(*given)}  # type: ignore[operator]  # whatever the zip's index.py holds
    except Exception as error:  # noqa: BLE001 - the platform's edge
        return {"raised": type(error).__name__, "message": str(error)}


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    asked = json.load(sys.stdin)
    sys.path.insert(0, str(folder))
    import index  # noqa: PLC0415 - it is the zip's

    context = Context(asked["token"])
    started = came(index.initializer, context)
    answers = [came(index.handler, event, context) for event in asked["events"]] if "returned" in started else []
    # What some events need is imported when one comes.
    for late in asked.get("imports", []):
        __import__(late)
    known = (folder, Path(sysconfig.get_path("stdlib")).resolve())
    files = [getattr(module, "__file__", None) for name, module in sys.modules.items() if name != "__main__"]
    outside = [file for file in files if file and not any(Path(file).resolve().is_relative_to(base) for base in known)]
    uncompiled = [
        file
        for module in list(sys.modules.values())
        if (file := getattr(module, "__file__", None) or "").startswith(str(folder))
        and file.endswith(".py")
        and not Path(getattr(module, "__cached__", None) or "").is_file()
    ]
    print(json.dumps({"started": started, "answers": answers, "outside": outside, "uncompiled": uncompiled}))


if __name__ == "__main__":
    main()
