"""Slack: an incoming webhook's message in blocks.

Limits: header 150 characters, the text of a section 3,000, 50 blocks. What others named stands in plain text alone,
where neither mentions nor markup nor addresses mean anything; `&`, `<` and `>` are escaped in every text object.
"""

from __future__ import annotations

from datetime import datetime

from vaultbell.channels import shown
from vaultbell.channels.formats.post import Options, Post, encoded
from vaultbell.notification import Notification
from vaultbell.report import JSON, Object
from vaultbell.text import as_many, fit, one_line

HEADER_LIMIT, SECTION_LIMIT, ANSWER_LIMIT, LINE_LIMIT = 150, 3_000, 900, 200


def post(notification: Notification, options: Options, _now: datetime) -> Post:
    """The message. `text` is what a notice on a phone or a screen reader has instead of the blocks."""
    message = shown.of(notification, options.zone)
    answers = [f"{name}: {fit(text, ANSWER_LIMIT, escape)}" for name, text in message.answers]
    rows = as_many([fit(row, LINE_LIMIT, escape) for row in message.rows], SECTION_LIMIT)
    facts = [f"{name}: {fit(text, LINE_LIMIT, escape)}" for name, text in message.facts]
    blocks: list[JSON] = [{"type": "header", "text": _plain(fit(message.title, HEADER_LIMIT, escape))}]
    blocks += [{"type": "section", "text": _plain("\n".join(lines))} for lines in (answers, rows) if lines]
    if message.link:
        link = f"<{escape(message.link)}|Open the console>"
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": link}})
    blocks.append({"type": "context", "elements": [_plain("\n".join([*facts, message.id]))]})
    fallback = fit(f"{message.title}: {one_line(notification.reason)}", SECTION_LIMIT, escape)
    return Post(encoded({"text": fallback, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}))


def escape(text: str) -> str:
    """As Slack asks for it: these three, and nothing else."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str) -> Object:
    return {"type": "plain_text", "text": text, "emoji": False}
