"""A CloudEvent 1.0 (JSON event format): what a broker or a subscriber of CloudEvents takes."""

from __future__ import annotations

from datetime import datetime

from vaultbell import times
from vaultbell.channels.formats import default
from vaultbell.channels.formats.post import Options, Post, encoded
from vaultbell.notification import Notification
from vaultbell.report import Object

CONTENT_TYPE = "application/cloudevents+json"


def post(notification: Notification, _options: Options, _now: datetime) -> Post:
    """The notification in the structured content mode of the HTTP binding. Its id is the webhook's."""
    return Post(encoded(event(notification)), CONTENT_TYPE)


def event(notification: Notification) -> Object:
    """The notification as a structured event; its `data` is that of the default format.

    By the source our own events are known again when a broker sends them back.
    """
    told: Object = {
        "specversion": "1.0",
        "id": notification.id,
        "source": f"/vaultbell/{notification.region or ''}/{notification.project_id or ''}",
        "type": notification.type,
        "time": times.iso(notification.timestamp),
        "datacontenttype": "application/json",
        "data": default.data(notification),
    }
    if task := notification.facts.get("operation_log_id"):
        told["subject"] = task
    return told
