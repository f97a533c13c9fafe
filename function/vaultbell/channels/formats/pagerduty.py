"""PagerDuty, Events API v2: `trigger` opens or repeats an incident, `resolve` ends it ("Send an Alert Event").

Limits: summary 1,024 characters, deduplication key 255, the whole 512 KB.
"""

from __future__ import annotations

from datetime import datetime

from vaultbell import times
from vaultbell.channels import shown
from vaultbell.channels.formats.post import Options, Post, encoded
from vaultbell.notification import Notification
from vaultbell.outcome import NO_TIME
from vaultbell.report import Object
from vaultbell.text import fit, one_line

SUMMARY_LIMIT, NAME_LIMIT = 1_024, 255
# The severities that PagerDuty knows are critical, error, warning, info: ours are among them.


def post(notification: Notification, options: Options, _now: datetime) -> Post:
    """The event. Its key is the incident's, so that a repeat does not page again and a resolve finds what it ends."""
    event: Object = {"routing_key": options.routing_key, "dedup_key": notification.incident}
    if notification.type == shown.RESOLVED:
        return Post(encoded(event | {"event_action": "resolve"}))
    known = shown.known(notification)
    names = [known.get(key) for key in ("resource_name", "resource_id", "vault_name", "vault_id", "project_id")]
    source = next((name for name in names if name), "Cloud Backup and Recovery")
    payload: Object = {
        "summary": fit(one_line(notification.summary, 2 * SUMMARY_LIMIT), SUMMARY_LIMIT),
        "source": fit(source, NAME_LIMIT),
        "severity": notification.severity,
        "component": fit(known.get("vault_name") or known.get("vault_id") or "", NAME_LIMIT),
        "group": notification.project_id,
        "class": fit(known.get("error_code") or notification.outcome, NAME_LIMIT),
        "custom_details": {**known, "outcome": notification.outcome, "incident": notification.incident},
    }
    if notification.timestamp > NO_TIME:
        payload["timestamp"] = times.iso(notification.timestamp)
    event |= {"event_action": "trigger", "client": "Vaultbell", "payload": {k: v for k, v in payload.items() if v}}
    if "link" in known:
        event |= {"client_url": known["link"], "links": [{"href": known["link"], "text": "Open the console"}]}
    return Post(encoded(event))
