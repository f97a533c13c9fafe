"""A notification to tell: what tests that are about the telling alone begin with."""

from __future__ import annotations

from datetime import UTC, datetime

from vaultbell.notification import Notification

FAILED = Notification(
    id="msg_0123456789abcdef0123456789abcdef",
    type="cbr.task.failed",
    timestamp=datetime(2026, 11, 23, 8, 1, tzinfo=UTC),
    outcome="failed",
    severity="critical",
    headline="Backup of ECS-0001 failed",
    summary="Backup of ECS-0001 failed: The server is stopped.",
    reason="The server is stopped.",
    incident="inc_fedcba9876543210fedcba9876543210",
    project_id="0123456789abcdef0123456789abcdef",
    region="eu-de",
    facts={},
    operation_log={},
)
