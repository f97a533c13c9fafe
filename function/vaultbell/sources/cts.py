"""A trace of Cloud Trace Service (CTS): somebody has asked CBR for something. A search for the task that came of it.

Source: "CBR Operations Recorded by CTS" for the names, "Trace Structure" of the CTS guide for the fields. A trace tells
that a request was made, not how its task ended. It comes bare, as the text of an SMN message, or as `{"cts": {…}}`, the
event of FunctionGraph's CTS trigger; over the API `request` and `response` are texts, there they are objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from vaultbell import times
from vaultbell.errors import InvalidEvent
from vaultbell.events import Item, Search, Settled
from vaultbell.report import JSON, Object
from vaultbell.sources import plain
from vaultbell.sources.form import Context, Shaped
from vaultbell.sources.ids import ids_in

# The operation types of the tasks that a request starts. All other traces of CBR start none.
STARTS: dict[str, tuple[str, ...]] = {
    "createvaultbackup": ("backup",),
    "createbackup": ("backup",),
    "restorebackup": ("restore",),
    "deletebackup": ("delete",),
    "deletevaultbackup": ("delete",),
    "replicatebackup": ("replication", "copy"),
    "replicatevaultbackup": ("replication", "copy"),
    "syncbackup": ("sync",),
    "syncvaultbackup": ("sync",),
    "deletevault": ("vault_delete",),
    "removeresources": ("remove_resource",),
    "migrateresources": ("migrate_resources",),
}


class Cts(Shaped):
    """See the module."""

    name = "cts"

    def fits(self, value: Object) -> bool:
        """It is a trace, or holds one."""
        return "cts" in value or "trace_name" in value

    def items(self, value: JSON, time: datetime | None, context: Context) -> Iterator[Item]:
        """The search for the task that the request has started."""
        del context
        trace = value.get("cts", value) if isinstance(value, dict) else None
        name = trace.get("trace_name") if isinstance(trace, dict) else None
        if not isinstance(trace, dict) or not isinstance(name, str):
            raise InvalidEvent("the trace has no name", code="no_task")
        if str(trace.get("service_type")).strip().upper() != "CBR":
            yield Settled("a trace of another service")
            return
        if not (types := STARTS.get(name.strip().lower(), ())):
            yield Settled("a trace that starts no task")
            return
        if _was_refused(trace):
            yield Settled("a trace of a request that was refused: it started no task")
            return
        # its own resource; what request and response name besides is more, or other, than what was asked for
        if not (ids := ids_in({"resource_id": trace.get("resource_id")}) or ids_in(trace)):
            raise InvalidEvent("the trace names no resource", code="no_task")
        time = times.read(trace.get("time")) or times.read(trace.get("record_time")) or time
        told = f"the request {name.strip()} for {ids[0]}{f' of {times.plain(time)}' if time else ''}"
        yield Search("trace", told, time, types, ids, _project_id(trace.get("project_id")))


def _was_refused(trace: Object) -> bool:
    """Whether the service has said no: by its HTTP status, or by how CTS rates the trace."""
    code, rating = str(trace.get("code") or ""), str(trace.get("trace_rating") or trace.get("trace_status") or "")
    return bool(re.fullmatch(r"[45]\d\d", code)) or rating.strip().lower() in ("warning", "incident")


def _project_id(value: JSON) -> str | None:
    """The project that the trace names; a field that is not one of ours to check is as good as absent."""
    try:
        return plain.project_id(value)
    except InvalidEvent:
        return None


SOURCE = Cts()
