"""The function: functions-framework's target `handle` (HTTP signature)."""

import os
import sys

from flask import Request, Response

from vaultbell import compose, settings
from vaultbell.errors import SettingsError
from vaultbell.platforms import http

try:
    _APP = compose.app(settings.load(os.environ))
except SettingsError as error:  # no traceback: the text is for the operator
    sys.exit(f"vaultbell cannot start, the settings are wrong:\n{error}")


def handle(request: Request) -> Response:
    """Answer one HTTP request."""
    return http.handle(request, _APP)
