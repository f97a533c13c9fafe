"""Prometheus Alertmanager, API v2: a list of one alert for `POST …/api/v2/alerts`.

Two alerts are the same if their labels are, so the labels are made of the incident alone: whatever may differ between
a failure and the success that ends it is an annotation. An alert without an end is resolved by Alertmanager itself
after some minutes (its `resolve_timeout`): hence the far one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from vaultbell import times
from vaultbell.channels import shown
from vaultbell.channels.formats.post import Options, Post, encoded
from vaultbell.notification import Notification
from vaultbell.outcome import NO_TIME
from vaultbell.report import Object
from vaultbell.text import one_line

NAME = "CloudBackupTask"
LEAST_AHEAD = timedelta(hours=1)
LABEL_LIMIT = 255
# Told by labels, or by the alert's own fields.
NO_ANNOTATIONS = {"headline", "reason", "id", "since", "project_id", "operation_type"}


def post(notification: Notification, options: Options, now: datetime) -> Post:
    """The alert. It ends `expires` after the outcome, and an hour ahead of `now` at least; a resolve has ended it."""
    at = notification.timestamp
    if notification.type == shown.RESOLVED:
        ends = min(at, now) if at > NO_TIME else now
    else:
        ends = max(at + options.expires, now + LEAST_AHEAD)
    known = shown.known(notification)
    annotations = {
        "summary": known.get("headline", ""),
        "description": known.get("reason", ""),
        "outcome": notification.outcome,
        "message_id": notification.id,
        **{key: text for key, text in known.items() if key not in NO_ANNOTATIONS},
    }
    alert: Object = {"labels": {**_labels(notification)}, "annotations": {**annotations}}
    if NO_TIME < at <= ends:
        alert["startsAt"] = times.iso(at)
    alert["endsAt"] = times.iso(ends)
    if "link" in known:
        alert["generatorURL"] = known["link"]
    return Post(encoded([alert]))


def _labels(notification: Notification) -> dict[str, str]:
    """What the incident's key is made of, and the key. One without a value would not be kept."""
    facts = notification.facts
    labels = {
        "alertname": NAME,
        "incident": notification.incident,
        "project_id": notification.project_id,
        "operation_type": facts.get("operation_type"),
        "resource": facts.get("resource_id") or facts.get("vault_id") or facts.get("operation_log_id"),
    }
    return {key: text for key, value in labels.items() if (text := one_line(value or "", LABEL_LIMIT))}
