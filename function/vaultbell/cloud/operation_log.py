"""The operation log: the API's record of one task, field by field.

Source: "Querying a Single Task" of the CBR API reference (tables 4 to 15); the fields marked *beyond* stand in
the vendors' SDKs and other editions of that page. Times are UTC.

They are read leniently (`lenient.py`). What the API gave is kept as it came in `OperationLog.given`.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import PrivateAttr

from vaultbell.cloud.lenient import Block, Blocks, Code, Count, Id, Table, Text, Texts, Time, Truth
from vaultbell.report import Object


class ErrorInfo(Table):
    """Table 5, OpErrorInfo: why the task failed. Both texts are empty where it did not."""

    code: Code = None  # "BackupService.NNNN", the appendix "Error Codes"
    message: Text = None  # in the API's words


class Backup(Table):
    """Table 7, OpExtendInfoBckup: extended parameters of a backup."""

    backup_id: Text = None
    backup_name: Text = None
    incremental: Truth = None  # "true" or "false", as texts
    app_consistency_status: Text = None  # beyond: "0" not application-consistent, "1" application-consistent
    app_consistency_error_code: Code = None  # beyond: "" or "0" where there is no error
    app_consistency_error_message: Text = None  # beyond


class Common(Table):
    """Table 8, OpExtendInfoCommon."""

    progress: Count = None  # per cent, 0 to 100
    request_id: Text = None  # "req-…"; not the gateway's
    task_id: Text = None  # backup task id; not the operation log's


class Delete(Table):
    """Table 9, OpExtendInfoDelete: extended parameters of a deletion."""

    backup_id: Text = None
    backup_name: Text = None


class Sync(Table):
    """Table 10, OpExtendInfoSync: extended parameters of a synchronisation."""

    sync_backup_num: Count = None  # backups synchronised
    delete_backup_num: Count = None  # backups deleted
    err_sync_backup_num: Count = None  # backups that failed to be synchronised


class IncludeVolume(Table):
    """Beyond the page (SDKs): a disk of a server that is backed up."""

    id: Text = None
    os_version: Text = None


class ResourceExtraInfo(Table):
    """Table 13, ResourceExtraInfo: which disks of a server are backed up, where not all of them are."""

    exclude_volumes: Texts = ()  # ids of those that are not
    include_volumes: Annotated[tuple[IncludeVolume, ...], Blocks] = ()  # beyond


class Resource(Table):
    """Table 12, Resource: what is backed up."""

    extra_info: Annotated[ResourceExtraInfo, Block] = ResourceExtraInfo()
    id: Text = None
    name: Text = None  # 0 to 255 characters
    type: Text = None  # OS::Nova::Server, OS::Cinder::Volume, OS::Sfs::Turbo, and more on Huawei Cloud


class RemoveResources(Table):
    """Table 11, OpExtendInfoRemoveResources. The two counts count different things: resources, and backups."""

    fail_count: Count = None  # resources that failed to be removed
    total_count: Count = None  # backups deleted
    resources: Annotated[tuple[Resource, ...], Blocks] = ()


class Restore(Table):
    """Table 14, OpExtendInfoRestore."""

    backup_id: Text = None
    backup_name: Text = None
    target_resource_id: Text = None
    target_resource_name: Text = None


class VaultDelete(Table):
    """Table 15, OpExtendInfoVaultDelete. One source names the counts fail_delete_count and total_delete_count."""

    fail_count: Count = None  # resources that failed to be deleted
    total_count: Count = None  # backups deleted
    fail_delete_count: Count = None  # beyond
    total_delete_count: Count = None  # beyond

    @property
    def failed(self) -> int | None:
        """Resources that failed to be deleted, by whichever name."""
        return max((count for count in (self.fail_count, self.fail_delete_count) if count is not None), default=None)

    @property
    def total(self) -> int | None:
        """Backups deleted, by whichever name."""
        return max((count for count in (self.total_count, self.total_delete_count) if count is not None), default=None)


class Replication(Table):
    """Beyond the page (SDKs): parameters of a replication or copy to another region or project."""

    source_backup_id: Text = None
    source_backup_name: Text = None
    source_checkpoint_id: Text = None
    source_project_id: Text = None
    source_region: Text = None
    destination_backup_id: Text = None
    destination_backup_name: Text = None
    destination_checkpoint_id: Text = None
    destination_project_id: Text = None
    destination_region: Text = None


class ExtraInfo(Table):
    """Table 6, OpExtraInfo: one block an operation type, and two that all have."""

    backup: Annotated[Backup, Block] = Backup()
    common: Annotated[Common, Block] = Common()
    delete: Annotated[Delete, Block] = Delete()
    sync: Annotated[Sync, Block] = Sync()
    remove_resources: Annotated[RemoveResources, Block] = RemoveResources()
    resource: Annotated[Resource, Block] = Resource()
    restore: Annotated[Restore, Block] = Restore()
    vault_delete: Annotated[VaultDelete, Block] = VaultDelete()
    replication: Annotated[Replication, Block] = Replication()


class OperationLog(Table):
    """Table 4, OperationLog: one task."""

    checkpoint_id: Text = None  # backup record (restore point)
    created_at: Time = None
    ended_at: Time = None  # may be absent until the task ends
    error_info: Annotated[ErrorInfo, Block] = ErrorInfo()
    extra_info: Annotated[ExtraInfo, Block] = ExtraInfo()
    id: Id = None  # the task's id, a UUID
    operation_type: Text = None  # backup, restore, delete, vault_delete, remove_resource, replication, …: an open set
    policy_id: Text = None  # absent for a task that no policy started
    project_id: Id = None
    provider_id: Text = None  # whether the object is a server or a disk
    started_at: Time = None
    status: Text = None  # success, skipped, failed, running, timeout, waiting
    updated_at: Time = None
    vault_id: Text = None
    vault_name: Text = None

    _given: Object = PrivateAttr(default_factory=dict)

    @classmethod
    def read(cls, given: Object) -> Self:
        """The model of what the API gave; `given` itself is kept beside it. Raises nothing for bad fields."""
        log = super().read(given)
        log._given = given
        return log

    @property
    def given(self) -> Object:
        """The record as the API gave it."""
        return self._given
