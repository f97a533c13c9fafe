"""Microsoft Teams: an adaptive card, in the message that a workflow's webhook takes.

Limit: 28 KB a message; we stay under 20 KB. What others named stands in text runs: Markdown means nothing there, and
what is left, the card's `{{DATE(…)}}`, is broken by a mark without width.
"""

from __future__ import annotations

import json
from datetime import datetime

from vaultbell.channels import shown
from vaultbell.channels.formats.post import Options, Post, encoded
from vaultbell.notification import Notification
from vaultbell.report import JSON, Object
from vaultbell.text import as_many, fit

CARD = "application/vnd.microsoft.card.adaptive"
# In bytes of the JSON. With a dozen facts there is room for two long answers; a digest, which has neither, may fill
# the card.
TITLE_LIMIT, ANSWER_LIMIT, FACT_LIMIT, ROW_LIMIT, ROWS_LIMIT = 1_200, 2_500, 600, 400, 15_000
LINE_COST = 120  # what a line takes besides its text
STYLES = {"critical": "attention", "warning": "warning", "info": "good"}


def post(notification: Notification, options: Options, _now: datetime) -> Post:
    """The message with its card."""
    message = shown.of(notification, options.zone)
    rows = [_fit(row, ROW_LIMIT) for row in message.rows]
    lines: list[JSON] = [
        *(_line(_run(f"{name}: ", weight="Bolder"), _run(_fit(text, ANSWER_LIMIT))) for name, text in message.answers),
        *(_line(_run(row)) for row in as_many(rows, ROWS_LIMIT, lambda row: _size(row) + LINE_COST)),
        *(_line(_small(_fit(f"{name}: {text}", FACT_LIMIT))) for name, text in message.facts),
        _line(_small(message.id)),
    ]
    title = _line(_run(_fit(message.title, TITLE_LIMIT), weight="Bolder", size="Large"))
    style = STYLES.get(notification.severity, "default")
    card: Object = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": [{"type": "Container", "style": style, "bleed": True, "items": [title]}, *lines],
    }
    if message.link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open the console", "url": message.link}]
    attachment: Object = {"contentType": CARD, "contentUrl": None, "content": card}
    return Post(encoded({"type": "message", "attachments": [attachment]}))


def _line(*runs: JSON) -> Object:
    return {"type": "RichTextBlock", "spacing": "Small", "inlines": [*runs]}


def _run(text: str, **looks: JSON) -> Object:
    return {"type": "TextRun", "text": text, **looks}


def _small(text: str) -> Object:
    return _run(text, size="Small", isSubtle=True)


def _fit(text: str, limit: int) -> str:
    return fit(text, limit, lambda part: part.replace("{", "{\u200b"), _size)


def _size(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2
