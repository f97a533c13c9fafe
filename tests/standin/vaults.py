"""Vaults and policies as the API would give them: the fields of its tables, and those of recorded answers.

Source: CBR API reference, "Querying the Vault List" and "Querying the Policy List".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from random import Random
from typing import Any

from standin import logs
from standin.logs import Log

KINDS = {"OS::Cinder::Volume": ("disk", "volume", logs.DISKS), "OS::Nova::Server": ("server", "server", logs.SERVERS)}
# What a query of the list may narrow it by, and where that stands.
VAULT_FILTERS = {
    "id": ("id",),
    "name": ("name",),
    "cloud_type": ("billing", "cloud_type"),
    "object_type": ("billing", "object_type"),
    "protect_type": ("billing", "protect_type"),
    "status": ("billing", "status"),
}


def build_vault(random: Random, now: datetime, naive: bool, fields: Mapping[str, Any]) -> Log:
    """A complete vault. `fields`: any of its fields (`...` leaves one out); what is in `billing` replaces its part.

    A resource may be its name alone.
    """
    left = dict(fields)
    resources = [build_resource(random, given) for given in left.pop("resources", [])]
    object_type, spec, provider = KINDS.get(resources[0]["type"] if resources else "", KINDS["OS::Nova::Server"])
    billing: Log = {
        "allocated": sum(resource["size"] or 0 for resource in resources),
        "cloud_type": "public",
        "consistent_level": "crash_consistent",
        "frozen_scene": None,
        "charging_mode": "post_paid",
        "order_id": None,
        "product_id": None,
        "protect_type": "backup",
        "object_type": object_type,
        "spec_code": f"vault.backup.{spec}.normal",
        "used": 17_048,
        "storage_unit": None,
        "status": "available",
        "size": 100,
    }
    vault: Log = {
        "id": logs.uuid(random),
        "name": f"vault-{random.getrandbits(16):04x}",
        "description": None,
        "resources": resources,
        "provider_id": provider,
        "created_at": now,
        "project_id": left.pop("project_id"),
        "enterprise_project_id": "0",
        "auto_bind": False,
        "bind_rules": {},
        "auto_expand": False,
        "smn_notify": True,
        "threshold": 80,
        "user_id": "5" * 32,
        "billing": billing | left.pop("billing", {}),
        "tags": [],
        "locked": False,
        **left,
    }
    return {name: logs.wire(value, naive) for name, value in vault.items() if value is not ...}


def build_resource(random: Random, given: str | Mapping[str, Any]) -> Log:
    """A complete resource of a vault; given by its name, or by the fields that matter (`...` leaves one out)."""
    number = random.randrange(1, 1_000_000)
    resource: Log = {
        "id": f"1dc0ffee-0000-4000-9000-{number:012x}",
        "type": "OS::Nova::Server",
        "name": f"app-server-{number:06}",
        "auto_protect": True,
        "size": 40,
        "backup_size": 0,
        "backup_count": 0,
        "protect_status": "available",
        "extra_info": {},
        **({"name": given} if isinstance(given, str) else given),
    }
    return {name: value for name, value in resource.items() if value is not ...}


def build_policy(random: Random, fields: Mapping[str, Any]) -> Log:
    """A complete policy; `vaults` are the ids of those that it is applied to, the rest is any of its fields."""
    left = dict(fields)
    vaults = [{"vault_id": vault_id, "destination_vault_id": ""} for vault_id in left.pop("vaults", [])]
    policy: Log = {
        "id": logs.uuid(random),
        "name": "daily",
        "enabled": True,
        "operation_type": "backup",
        "operation_definition": {"retention_duration_days": 30},
        "trigger": {
            "id": logs.uuid(random),
            "name": "default",
            "type": "time",
            "properties": {"pattern": ["FREQ=DAILY;INTERVAL=1;BYHOUR=2;BYMINUTE=00"]},
        },
        "associated_vaults": vaults,
        **left,
    }
    return {name: value for name, value in policy.items() if value is not ...}


def fits(vault: Log, asked: Mapping[str, str], policies: Mapping[str, Log]) -> bool:
    """Whether a query of the vault list takes this vault. Raises ValueError for what no query may hold."""
    for name, value in asked.items():
        if name in VAULT_FILTERS:
            found: Any = vault
            for key in VAULT_FILTERS[name]:
                found = found.get(key) if isinstance(found, dict) else None
            taken = found == value
        elif name == "policy_id":
            taken = vault["id"] in _vaults_of(policies.get(value, {}))
        elif name == "resource_ids":
            taken = any(resource.get("id") in value.split(",") for resource in vault["resources"])
        else:
            raise ValueError(f"the vault list is not narrowed by {name}")
        if not taken:
            return False
    return True


def applies(policy: Log, asked: Mapping[str, str], others: Collection[str]) -> bool:
    """Whether a query of the policy list takes this policy; `others` are the vaults of other projects."""
    ours = [vault_id for vault_id in _vaults_of(policy) if vault_id not in others]
    return (
        bool(ours or not _vaults_of(policy))
        and asked.get("operation_type") in (None, policy.get("operation_type"))
        and asked.get("vault_id") in (None, *ours)
    )


def _vaults_of(policy: Log) -> list[str]:
    return [one["vault_id"] for one in policy.get("associated_vaults", [])]
