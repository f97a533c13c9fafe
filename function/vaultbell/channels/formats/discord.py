"""Discord: a webhook's message with one embed.

Limits: title 256 characters, description 4,096, 25 fields of 256 and 1,024, footer 2,048, together 6,000. Nobody is
mentioned; what others named has every character escaped that would mean something within a line.
"""

from __future__ import annotations

import re
from datetime import datetime

from vaultbell import times
from vaultbell.channels import shown
from vaultbell.channels.formats.post import Options, Post, encoded
from vaultbell.notification import Notification
from vaultbell.outcome import NO_TIME
from vaultbell.report import JSON, Object
from vaultbell.text import as_many, fit

# With a dozen facts there is room for two long answers; a digest, which has neither, may fill the description.
TITLE_LIMIT, ANSWER_LIMIT, FACT_LIMIT, ROW_LIMIT, ROWS_LIMIT = 256, 1_400, 150, 200, 3_800
COLOURS = {"critical": 0xC62828, "warning": 0xF9A825, "info": 0x2E7D32}
_MARKUP = re.compile(r"([\\`*_~|<>\[\]#@:])")


def post(notification: Notification, options: Options, _now: datetime) -> Post:
    """The message; its embed leads to the console."""
    message = shown.of(notification, options.zone)
    rows = [fit(row, ROW_LIMIT, escape) for row in message.rows]
    lines = [f"**{name}:** {fit(text, ANSWER_LIMIT, escape)}" for name, text in message.answers]
    lines += as_many(rows, ROWS_LIMIT)
    fields: list[JSON] = [
        {"name": name, "value": fit(text, FACT_LIMIT, escape), "inline": True} for name, text in message.facts
    ]
    embed: Object = {
        "title": fit(message.title, TITLE_LIMIT, escape),
        "description": "\n".join(lines),
        "color": COLOURS.get(notification.severity, 0x546E7A),
        "fields": fields,
        "footer": {"text": message.id},
    }
    if message.link:
        embed["url"] = message.link
    if notification.timestamp > NO_TIME:
        embed["timestamp"] = times.iso(notification.timestamp)
    return Post(encoded({"embeds": [embed], "allowed_mentions": {"parse": []}}))


def escape(text: str) -> str:
    """A backslash before whatever may be markup, a mention, an emoji, or an address that would become a link."""
    return _MARKUP.sub(r"\\\1", text)
