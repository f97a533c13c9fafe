"""Vaultbell's own body: type, timestamp and data, as Standard Webhooks recommends it."""

from __future__ import annotations

import json

from vaultbell import times
from vaultbell.notification import Notification
from vaultbell.report import Object
from vaultbell.text import whole


def body(notification: Notification) -> bytes:
    """The notification as JSON. The operation log stands in it as the API gave it."""
    message: Object = {
        "type": notification.type,
        "timestamp": times.iso(notification.timestamp),
        "data": data(notification),
    }
    return encoded(message)


def data(notification: Notification) -> Object:
    """What the message is about; what does not apply is null."""
    return {
        "outcome": notification.outcome,
        "severity": notification.severity,
        "summary": notification.summary,
        "reason": notification.reason,
        "incident": notification.incident,
        "region": notification.region,
        "project_id": notification.project_id,
        "operation_log": notification.operation_log,
        **({"resolves": notification.resolves} if notification.resolves else {}),
    }


def encoded(message: Object) -> bytes:
    """JSON in UTF-8; half a surrogate pair, which JSON can name and UTF-8 cannot hold, becomes U+FFFD."""
    return whole(json.dumps(message, ensure_ascii=False, separators=(",", ":"))).encode()
