"""Vaults, what is in them, and the policies that back it up.

Sources: "Querying the Vault List" (tables 5 to 11) and "Querying the Policy List" (tables 5 to 9) of the CBR API
reference; the fields marked *beyond* stand in recorded answers and the vendors' SDKs. They are read leniently
(`lenient.py`). No table says when a resource was put into its vault.
"""

from __future__ import annotations

from typing import Annotated

from vaultbell.cloud.lenient import Block, Blocks, Count, Id, Table, Text, Time, Truth
from vaultbell.cloud.operation_log import Resource

MB_IN_GB = 1024


class Billing(Table):
    """Table 6, Billing: what a vault is for, how much it holds, and whether it works."""

    allocated: Count = None  # GB
    charging_mode: Text = None  # post_paid, pre_paid
    cloud_type: Text = None  # public, hybrid
    consistent_level: Text = None  # crash_consistent, app_consistent
    frozen_scene: Text = None  # why an account is frozen
    object_type: Text = None  # server, disk, turbo, and more on Huawei Cloud
    order_id: Text = None
    product_id: Text = None
    protect_type: Text = None  # backup, replication
    size: Count = None  # GB
    spec_code: Text = None
    status: Text = None  # available, lock, frozen, deleting, error
    storage_unit: Text = None  # the name of the bucket
    used: Count = None  # MB


class VaultResource(Resource):
    """Table 7, ResourceResp: a resource in a vault."""

    auto_protect: Truth = None  # beyond
    backup_count: Count = None
    backup_size: Count = None
    protect_status: Text = None  # available, error, protecting, restoring, removing; recorded: deleted, null
    size: Count = None  # GB


class Tag(Table):
    """Tables 9 and 11: a tag of a vault, or one by which resources come into it."""

    key: Text = None
    value: Text = None


class BindRules(Table):
    """Table 10, VaultBindRules: which resources are put into the vault by themselves."""

    tags: Annotated[tuple[Tag, ...], Blocks] = ()


class Vault(Table):
    """Table 5, Vault."""

    auto_bind: Truth = None
    auto_expand: Truth = None
    billing: Annotated[Billing, Block] = Billing()
    bind_rules: Annotated[BindRules, Block] = BindRules()
    created_at: Time = None
    description: Text = None
    id: Text = None
    locked: Truth = None  # its backups cannot be deleted before their time; they can be made
    name: Text = None
    project_id: Id = None
    provider_id: Text = None
    resources: Annotated[tuple[VaultResource, ...], Blocks] = ()
    tags: Annotated[tuple[Tag, ...], Blocks] = ()
    user_id: Text = None

    @property
    def is_for_backups(self) -> bool:
        """Whether its resources are backed up here: what a vault for replication holds is backed up elsewhere."""
        return self.billing.protect_type != "replication"

    @property
    def is_full(self) -> bool:
        """Whether nothing more fits in, and it does not grow by itself."""
        size, used = self.billing.size, self.billing.used
        return not self.auto_expand and bool(size) and used is not None and used >= (size or 0) * MB_IN_GB


class AssociatedVault(Table):
    """Table 9, PolicyAssociateVault."""

    destination_vault_id: Text = None
    vault_id: Text = None


class Policy(Table):
    """Table 5, Policy. When it runs (`trigger`) and how long it keeps what it makes is kept as it came."""

    associated_vaults: Annotated[tuple[AssociatedVault, ...], Blocks] = ()
    enabled: Truth = None
    id: Text = None
    name: Text = None
    operation_type: Text = None  # backup, replication

    def backs_up(self, vault: Vault) -> bool:
        """Whether it is a policy of this vault for backups, enabled or not."""
        ours = any(one.vault_id == vault.id for one in self.associated_vaults)
        return ours and self.operation_type in (None, "backup")
