"""The bodies of webhooks: one file a format, each a pure function from a notification to bytes.

To add one: a file beside this one, and its name in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vaultbell.channels.formats import default
from vaultbell.notification import Notification

FORMATS: Mapping[str, Callable[[Notification], bytes]] = {
    "default": default.body,
}
