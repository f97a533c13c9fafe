"""The bodies of webhooks: one file a format, each a pure function from a notification to what is POSTed.

To add one: a file beside this one with such a function, `post`, its name in `FORMATS`, and its name in
`settings.FORMATS` with what it needs there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from importlib import import_module

from vaultbell.channels.formats.post import Options, Post
from vaultbell.notification import Notification

Format = Callable[[Notification, Options, datetime], Post]

FORMATS = ("default", "cloudevent", "alertmanager", "pagerduty", "opsgenie", "slack", "teams", "discord")


def of(name: str) -> Format:
    """The format of this name: from a notification, the channel's options and the time to what is POSTed.

    It is imported when it is wanted: most have one, and a cold start pays for each.
    """
    found: Format = import_module(f"{__name__}.{name}").post
    return found
