"""The operation log: the API's record of one task, field by field.

Source: "Querying a Single Task" of the CBR API reference (tables 4 to 15); the fields marked *beyond* stand in
the vendors' SDKs and other editions of that page. Times are UTC.

The models are lenient, because a notification must not fail on a field that decides nothing: unknown fields are
kept, null is absent, texts are trimmed (an empty one is absent), counts may be texts, and a field of the wrong
type is absent. What the API gave is kept as it came in `OperationLog.given`.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PrivateAttr, ValidationError

from vaultbell import times
from vaultbell.report import Object
from vaultbell.text import whole

COUNT_DIGITS = 18


def _text(value: object) -> str | None:
    return (value.strip() or None) if isinstance(value, str) else None


def _lower(value: object) -> str | None:
    return (value.strip().lower() or None) if isinstance(value, str) else None


def _code(value: object) -> str | None:
    """A code may come as a number, whose 0 means none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if value else None
    return _text(value)


def _count(value: object) -> int | None:
    if isinstance(value, str):
        value = value.strip()
        return int(value) if len(value) <= COUNT_DIGITS and value.isascii() and value.isdigit() else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _truth(value: object) -> bool | None:
    """The API writes booleans as the texts "true" and "false"; Python would take "false" for true."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else None


def _block(value: object) -> object:
    """A nested object; some recorded answers carry it as its JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _blocks(value: object) -> object:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _texts(value: object) -> object:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


Text = Annotated[str | None, BeforeValidator(_text)]
Id = Annotated[str | None, BeforeValidator(_lower)]
Code = Annotated[str | None, BeforeValidator(_code)]
Count = Annotated[int | None, BeforeValidator(_count)]
Truth = Annotated[bool | None, BeforeValidator(_truth)]
Time = Annotated[datetime | None, BeforeValidator(times.read)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
_Lenient = BeforeValidator(_block)


class _Table(BaseModel):
    # Tuples and frozen blocks can be shared: a default that could change would be copied for each log.
    model_config = ConfigDict(extra="allow", frozen=True)


class ErrorInfo(_Table):
    """Table 5, OpErrorInfo: why the task failed. Both texts are empty where it did not."""

    code: Code = None  # "BackupService.NNNN", the appendix "Error Codes"
    message: Text = None  # in the API's words


class Backup(_Table):
    """Table 7, OpExtendInfoBckup: extended parameters of a backup."""

    backup_id: Text = None
    backup_name: Text = None
    incremental: Truth = None  # "true" or "false", as texts
    app_consistency_status: Text = None  # beyond: "0" not application-consistent, "1" application-consistent
    app_consistency_error_code: Code = None  # beyond: "" or "0" where there is no error
    app_consistency_error_message: Text = None  # beyond


class Common(_Table):
    """Table 8, OpExtendInfoCommon."""

    progress: Count = None  # per cent, 0 to 100
    request_id: Text = None  # "req-…"; not the gateway's
    task_id: Text = None  # backup task id; not the operation log's


class Delete(_Table):
    """Table 9, OpExtendInfoDelete: extended parameters of a deletion."""

    backup_id: Text = None
    backup_name: Text = None


class Sync(_Table):
    """Table 10, OpExtendInfoSync: extended parameters of a synchronisation."""

    sync_backup_num: Count = None  # backups synchronised
    delete_backup_num: Count = None  # backups deleted
    err_sync_backup_num: Count = None  # backups that failed to be synchronised


class IncludeVolume(_Table):
    """Beyond the page (SDKs): a disk of a server that is backed up."""

    id: Text = None
    os_version: Text = None


class ResourceExtraInfo(_Table):
    """Table 13, ResourceExtraInfo: which disks of a server are backed up, where not all of them are."""

    exclude_volumes: Texts = ()  # ids of those that are not
    include_volumes: Annotated[tuple[IncludeVolume, ...], BeforeValidator(_blocks)] = ()  # beyond


class Resource(_Table):
    """Table 12, Resource: what is backed up."""

    extra_info: Annotated[ResourceExtraInfo, _Lenient] = ResourceExtraInfo()
    id: Text = None
    name: Text = None  # 0 to 255 characters
    type: Text = None  # OS::Nova::Server, OS::Cinder::Volume, OS::Sfs::Turbo, and more on Huawei Cloud


class RemoveResources(_Table):
    """Table 11, OpExtendInfoRemoveResources. The two counts count different things: resources, and backups."""

    fail_count: Count = None  # resources that failed to be removed
    total_count: Count = None  # backups deleted
    resources: Annotated[tuple[Resource, ...], BeforeValidator(_blocks)] = ()


class Restore(_Table):
    """Table 14, OpExtendInfoRestore."""

    backup_id: Text = None
    backup_name: Text = None
    target_resource_id: Text = None
    target_resource_name: Text = None


class VaultDelete(_Table):
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


class Replication(_Table):
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


class ExtraInfo(_Table):
    """Table 6, OpExtraInfo: one block an operation type, and two that all have."""

    backup: Annotated[Backup, _Lenient] = Backup()
    common: Annotated[Common, _Lenient] = Common()
    delete: Annotated[Delete, _Lenient] = Delete()
    sync: Annotated[Sync, _Lenient] = Sync()
    remove_resources: Annotated[RemoveResources, _Lenient] = RemoveResources()
    resource: Annotated[Resource, _Lenient] = Resource()
    restore: Annotated[Restore, _Lenient] = Restore()
    vault_delete: Annotated[VaultDelete, _Lenient] = VaultDelete()
    replication: Annotated[Replication, _Lenient] = Replication()


class OperationLog(_Table):
    """Table 4, OperationLog: one task."""

    checkpoint_id: Text = None  # backup record (restore point)
    created_at: Time = None
    ended_at: Time = None  # may be absent until the task ends
    error_info: Annotated[ErrorInfo, _Lenient] = ErrorInfo()
    extra_info: Annotated[ExtraInfo, _Lenient] = ExtraInfo()
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
    def read(cls, given: Object) -> OperationLog:
        """The model of what the API gave; `given` itself is kept beside it. Raises nothing for bad fields."""
        try:
            log = cls.model_validate(given)
        except ValidationError:  # the name of an unknown field holds half a surrogate pair
            log = cls.model_validate(json.loads(whole(json.dumps(given, ensure_ascii=False))))
        log._given = given
        return log

    @property
    def given(self) -> Object:
        """The record as the API gave it."""
        return self._given
