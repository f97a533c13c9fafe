"""The function: functions-framework's target `handle` (HTTP signature)."""

import gc
import os
import sys

from flask import Request, Response

gc.disable()  # nothing that is imported is garbage, and to look for some takes a tenth of a cold start

from vaultbell import compose, settings  # noqa: E402 - see above
from vaultbell.errors import SettingsError  # noqa: E402 - see above
from vaultbell.platforms import http  # noqa: E402 - see above

try:
    _APP = compose.app(settings.load(os.environ))
except SettingsError as error:  # no traceback: the text is for the operator
    sys.exit(f"vaultbell cannot start, the settings are wrong:\n{error}")

gc.freeze()  # what is there now stays, and is shared with the processes that are forked from this one
gc.enable()


def handle(request: Request) -> Response:
    """Answer one HTTP request."""
    return http.handle(request, _APP)
