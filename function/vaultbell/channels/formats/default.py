"""Vaultbell's own body: type, timestamp and data, as Standard Webhooks recommends it."""

from __future__ import annotations

from datetime import datetime

from vaultbell import times
from vaultbell.channels.formats.post import Options, Post, encoded
from vaultbell.notification import Notification
from vaultbell.report import Object


def post(notification: Notification, _options: Options, _now: datetime) -> Post:
    """The notification in our own words."""
    return Post(body(notification))


def body(notification: Notification) -> bytes:
    """The notification as JSON. The operation log stands in it as the API gave it."""
    return encoded(_message(notification))


def _message(notification: Notification) -> Object:
    return {
        "type": notification.type,
        "timestamp": times.iso(notification.timestamp),
        "data": data(notification),
    }


def data(notification: Notification) -> Object:
    """What the message is about; what does not apply is null. A digest has its members in it, each with its own id."""
    told: Object = {
        "outcome": notification.outcome,
        "severity": notification.severity,
        "summary": notification.summary,
        "reason": notification.reason,
        "incident": notification.incident,
        "region": notification.region,
        "project_id": notification.project_id,
        "operation_log": notification.operation_log,
    }
    if notification.past:
        told |= notification.past.data()
    if notification.resolves:
        told["resolves"] = notification.resolves
    if notification.tally:
        told["roll_call"] = notification.tally.data()
    if notification.members:
        told["members"] = [{"id": member.id, **_message(member)} for member in notification.members]
    return told
