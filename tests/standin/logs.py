"""Operation logs as the API would give them: the fields of its tables, our own words, both wire forms of a time.

Source: CBR API reference, "Querying a Single Task"; the block of replication from the vendors' SDK models. The
published example shows a good backup only: everything else here is made from the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Protocol

Log = dict[str, Any]

SERVERS, DISKS = "0daac4c5-6707-4851-97ba-169e36266b66", "d1603440-187d-4516-af25-121250c7cc97"
DAY = 86_400

# outcome: operation type, status, what else makes it so
OUTCOMES: dict[str, tuple[str, str, Mapping[str, Any]]] = {
    "succeeded": ("backup", "success", {}),
    "partial": ("remove_resource", "success", {"fail_count": 2}),
    "skipped": ("backup", "skipped", {}),
    "failed": ("backup", "failed", {}),
    "timed_out": ("backup", "timeout", {}),
    "running": ("backup", "running", {}),
    "overdue": ("backup", "running", {"age": DAY + 3600, "progress": 37}),
    "unknown": ("backup", "suspended", {}),
}

# the last hex digit of 00000000-0000-4000-8000-00000000000N; nothing is at 9
DEMO: dict[str, tuple[str, Mapping[str, Any]]] = {
    **{str(place): (name, {}) for place, name in enumerate(OUTCOMES, 1)},
    "a": ("failed", {"operation_type": "restore"}),
    "b": ("failed", {"operation_type": "replication"}),
    "c": ("failed", {"operation_type": "delete"}),
    "d": ("partial", {"operation_type": "vault_delete", "fail_count": 1}),
    "e": ("partial", {}),
    "f": ("partial", {"operation_type": "sync", "fail_count": 3}),
}

FAILURES = {
    "backup": ("BackupService.7102", "The server is in a state in which it cannot be backed up."),
    "restore": ("BackupService.2008", "The target server is in a state that does not allow a restore."),
    "delete": ("BackupService.6206", "The backup is used by an image and stays."),
    "replication": ("BackupService.6129", "The vault in the other region is full."),
    "copy": ("BackupService.1005", "The other region does not take replicas."),
    "sync": ("BackupService.7303", "The vault has no room for what was found."),
    "vault_delete": ("BackupService.6112", "The vault cannot be deleted as it stands."),
    "remove_resource": ("BackupService.6136", "The resource is not in the vault any more."),
}
_SKIPPED = ("BackupService.6113", "The vault is in a state in which nothing is backed up.")
_TOO_LONG = ("", "A step took longer than allowed; the task was stopped.")


def wire(value: Any, naive: bool) -> Any:  # noqa: ANN401 - any JSON value
    """A time in the form that the API would send; anything else as it is."""
    if not isinstance(value, datetime):
        return value
    at = value.astimezone(UTC)
    if naive:
        return at.strftime("%Y-%m-%dT%H:%M:%S.%f")
    return at.isoformat(timespec="milliseconds")


def seconds(value: object) -> float | None:
    """A time of the wire as seconds since 1970; None for what is none."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() if at else None


def _moment(value: object) -> datetime | None:
    at = seconds(value)
    return value if isinstance(value, datetime) else None if at is None else datetime.fromtimestamp(at, UTC)


def end(log: Log, stamp: str) -> None:
    """Complete a log whose task has ended at this time."""
    log["ended_at"] = stamp
    code, message = _error(log["operation_type"], log["status"])
    log["error_info"] = {"code": code, "message": message}
    if log["status"] == "success":
        set_progress(log, 100)


def set_progress(log: Log, percent: int) -> None:
    """Say how far a task has come."""
    extra = log.get("extra_info")
    if isinstance(extra, dict) and isinstance(extra.get("common"), dict):
        extra["common"]["progress"] = percent


def build(random: Random, now: datetime, naive: bool, kind: str, status: str, fields: Mapping[str, Any]) -> Log:
    """A complete log of this operation type and status; `fields` as `Cloud.add` says."""
    left = dict(fields)
    ended = status in ("success", "failed", "timeout", "skipped")
    lasted = timedelta(seconds=0 if status == "skipped" else 227)
    age = timedelta(seconds=left.pop("age", 288.0 if ended else 120.0))
    ended_at = _moment(left.get("ended_at"))
    created = _moment(left.get("created_at")) or (ended_at - lasted if ended_at else now - age)
    ended_at = ended_at or max(created, min(created + lasted, now))
    code, message = _error(kind, status)
    code, message = left.pop("error_code", code), left.pop("error_message", message)
    log: Log = {
        "status": status,
        "provider_id": SERVERS,
        "checkpoint_id": uuid(random),
        "updated_at": ended_at + timedelta(milliseconds=73) if ended else created,
        "error_info": {"message": message, "code": code},
        "vault_id": "5f0d8c6e-3a57-4a52-9c1e-0b6f3d7a2e11",
        "vault_name": "vault-daily",
        "started_at": created + timedelta(milliseconds=32),
        "id": uuid(random),
        "extra_info": _extra(random, kind, status, left),
        "ended_at": ended_at if ended else None,
        "created_at": created,
        "operation_type": kind,
        "policy_id": "8d4b1c92-6e2f-4f0a-b7a5-1c3e5d7f9a20" if kind == "backup" else None,
    }
    if status in ("skipped", "waiting"):
        log["checkpoint_id"] = None
    log = {name: value for name, value in log.items() if value is not None}
    extra = left.pop("extra_info", {})
    log |= left
    log["extra_info"] = {**log["extra_info"], **extra} if isinstance(extra, dict) else extra
    return {
        name: value if type(value) is str else wire(value, naive) for name, value in log.items() if value is not ...
    }


def _error(kind: str, status: str) -> tuple[str, str]:
    if status == "failed":
        return FAILURES.get(kind, ("BackupService.9910", "The task failed, and nobody knows why."))
    return {"skipped": _SKIPPED, "timeout": _TOO_LONG}.get(status, ("", ""))


def uuid(random: Random) -> str:
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _extra(random: Random, kind: str, status: str, left: dict[str, Any]) -> Log:
    progress = left.pop("progress", {"success": 100, "running": 42, "failed": 64, "timeout": 91}.get(status, 0))
    fails, total = left.pop("fail_count", 0), left.pop("total_count", 7)
    middle = "_delete" if left.pop("long_counts", False) else ""
    number = random.randrange(1, 1_000_000)
    resource = {
        "type": left.pop("resource_type", "OS::Nova::Server"),
        "id": left.pop("resource_id", None) or f"1dc0ffee-0000-4000-9000-{number:012x}",
        "name": left.pop("resource_name", f"app-server-{number:06}"),
        "extra_info": {"exclude_volumes": []},
    }
    backup = {"backup_id": uuid(random), "backup_name": f"autobk_{number:05x}"}
    extra: Log = {
        "common": {"progress": progress, "request_id": f"req-{uuid(random)}", "task_id": uuid(random)},
        "resource": resource,
    }
    if kind == "backup":
        extra["backup"] = {
            **backup,
            "incremental": "true",
            "app_consistency_status": "0",
            "app_consistency_error_code": "0",
            "app_consistency_error_message": "",
        }
    elif kind == "restore":
        extra["restore"] = {
            **backup,
            "target_resource_id": resource["id"],
            "target_resource_name": resource["name"],
        }
    elif kind == "delete":
        extra["delete"] = backup
    elif kind in ("replication", "copy"):
        extra["replication"] = {
            **{f"source_{name}": value for name, value in backup.items()},
            "source_checkpoint_id": uuid(random),
            "source_project_id": left["project_id"],
            "source_region": "eu-de",
            "destination_backup_id": uuid(random),
            "destination_backup_name": f"replica_{number:05x}",
            "destination_checkpoint_id": uuid(random),
            "destination_project_id": "fedcba9876543210fedcba9876543210",
            "destination_region": "eu-nl",
        }
    elif kind == "sync":
        extra["sync"] = {"sync_backup_num": total, "delete_backup_num": 0, "err_sync_backup_num": fails}
    elif kind == "vault_delete":
        extra["vault_delete"] = {f"fail{middle}_count": fails, f"total{middle}_count": total}
        del extra["resource"]
    elif kind == "remove_resource":
        extra["remove_resources"] = {"fail_count": fails, "total_count": total, "resources": [resource]}
    return extra


class Adds(Protocol):
    """What tasks can be added to."""

    def outcome(self, name: str, **fields: Any) -> Log:  # noqa: ANN401 - any JSON value
        """Add a task of this outcome."""


def seed_demo(cloud: Adds) -> None:
    """Fill in the demo's tasks, with ids that samples can name."""
    for digit, (name, fields) in DEMO.items():
        cloud.outcome(name, id=f"00000000-0000-4000-8000-00000000000{digit}", **fields)
