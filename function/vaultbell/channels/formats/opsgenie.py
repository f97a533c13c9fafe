"""Opsgenie, Alert API: an alert is created under the incident's key as its alias, and closed by it.

Limits: message 130 characters, alias and entity 512, source 100, description 15,000, details 8,000 in all, 20 tags of
50, note 25,000. Message and description may hold HTML: what others named is kept from becoming a tag.
"""

from __future__ import annotations

from datetime import datetime

from vaultbell.channels import shown
from vaultbell.channels.formats.post import Options, Post, encoded
from vaultbell.notification import Notification
from vaultbell.text import fit, inert

MESSAGE_LIMIT, ENTITY_LIMIT, DESCRIPTION_LIMIT, DETAIL_LIMIT, TAG_LIMIT = 130, 512, 15_000, 250, 50
SOURCE = "Vaultbell"
PRIORITIES = {"critical": "P1", "warning": "P3", "info": "P5"}
NO_DETAILS = {"headline", "reason", "id", "since", "history", "next_step", "link"}  # the description has them


def post(notification: Notification, options: Options, _now: datetime) -> Post:
    """The alert, or what closes it. The key of the API stands in a header."""
    headers = {"Authorization": f"GenieKey {options.api_key}"}
    message, known = shown.of(notification), shown.known(notification)
    lines = [f"{name}: {text}" for name, text in message.answers]
    lines += [f"Where to look: {message.link}"] if message.link else []
    description = fit("\n".join(lines), DESCRIPTION_LIMIT, inert)
    if notification.type == shown.RESOLVED:
        path = f"/{notification.incident}/close?identifierType=alias"
        return Post(encoded({"source": SOURCE, "note": description}), headers=headers, path=path)
    tags = [notification.outcome, *([known["operation_type"]] if "operation_type" in known else [])]
    body = encoded(
        {
            "message": fit(known.get("headline", ""), MESSAGE_LIMIT, inert),
            "alias": notification.incident,
            "description": description,
            "priority": PRIORITIES.get(notification.severity, "P3"),
            "source": SOURCE,
            "entity": fit(known.get("resource_name") or known.get("vault_name") or "", ENTITY_LIMIT),
            "tags": [fit(tag, TAG_LIMIT) for tag in tags],
            "details": {key: fit(text, DETAIL_LIMIT) for key, text in known.items() if key not in NO_DETAILS},
        }
    )
    return Post(body, headers=headers)
