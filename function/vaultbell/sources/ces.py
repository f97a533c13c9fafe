"""An alarm of Cloud Eye (CES) about an event of CBR: a search for the task that it is about.

Source: "Events Supported by Event Monitoring" of the Cloud Eye guide, namespace `SYS.CBR`. What such an alarm looks
like as an SMN message is not documented, so it is read leniently: the fields may stand at the top, in
`template_variable` or in the event's own text (`EventContent`, JSON), and ids are taken from wherever one is named.
A trusted alarm of CBR that still cannot be read is told in its own words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from vaultbell import times
from vaultbell.errors import InvalidEvent
from vaultbell.events import Alarm, Item, Search, Settled
from vaultbell.report import JSON, Object
from vaultbell.sources.form import Context, Shaped
from vaultbell.sources.ids import ids_in
from vaultbell.text import one_line

NAMESPACE = "SYS.CBR"
REPLICATION = ("replication", "copy")
# The operation types that an event is about; none: it is about no task. Their spelling is uneven in the source, too.
EVENTS: dict[str, tuple[str, ...]] = {
    "backupfailed": ("backup",),
    "backupsucceeded": ("backup",),
    "restorationfailed": ("restore",),
    "restorationsucceeded": ("restore",),
    "backupdeletefailed": ("delete",),
    "backupdeletionfailed": ("delete",),
    "backupdeletionsucceeded": ("delete",),
    "vaultdeletefailed": ("vault_delete",),
    "vaultdeletionfailed": ("vault_delete",),
    "vaultdeletionsucceeded": ("vault_delete",),
    "replicationfailed": REPLICATION,
    "replicationsucceeded": REPLICATION,
    "agentoffline": (),
    "agentonline": (),
    "vault_util": (),  # metrics of a vault
    "used_vault_size": (),
}
TEXT_MOST = 1_000

_ENDED = re.compile("fail|succe")


class Ces(Shaped):
    """See the module."""

    name = "ces"

    def fits(self, value: Object) -> bool:
        """It has an alarm's fields, or says that it comes from CBR."""
        return {"alarm_id", "alarm_status"} <= value.keys() or "template_variable" in value or _is_cbr(value)

    def items(self, value: JSON, time: datetime | None, context: Context) -> Iterator[Item]:
        """The search for what the alarm is about."""
        if not isinstance(value, dict):
            raise InvalidEvent("an alarm is a JSON object")
        event = _event(value)
        if not _is_cbr(value) and event.lower() not in EVENTS:
            yield Settled("an alarm of another service")
            return
        if _is_over(value) or EVENTS.get(event.lower()) == ():
            yield Settled("an alarm that is about no task")
            return
        said = (times.read(_first(value, name)) for name in ("time", "AlarmTime", "alarm_time", "event_time"))
        time = next((moment for moment in said if moment), time)
        ids = ids_in(value)
        if not ids or (event.lower() not in EVENTS and not _ENDED.search(event.lower())):
            yield unreadable(json.dumps(value, ensure_ascii=False), time, context)
            return
        told = f"the alarm {one_line(event, 64)} about {ids[0]}{f' of {times.plain(time)}' if time else ''}"
        yield Search("alarm", told, time, EVENTS.get(event.lower(), ()), ids)


def unreadable(text: str, time: datetime | None, context: Context) -> Item:
    """An alarm of CBR that says nothing that we can look for: told as it is, if the one who sent it is trusted."""
    error = InvalidEvent("an alarm of CBR that cannot be read, or names no resource", code="unreadable_alarm")
    return Alarm(text[:TEXT_MOST], time, error) if context.event.trusted else error


def _is_cbr(value: Object) -> bool:
    return NAMESPACE in str(_first(value, "namespace", "Namespace", "event_source") or "").upper()


def _event(value: Object) -> str:
    found = _first(value, "metric_name", "MetricName", "event_name", "EventName")
    return found.strip() if isinstance(found, str) else ""


def _is_over(value: Object) -> bool:
    """Whether it says that an earlier alarm has ended, not that something has happened."""
    status, is_alarm = _first(value, "alarm_status"), _first(value, "IsAlarm")
    return str(status).strip().lower() == "ok" or str(is_alarm).strip().lower() == "false"


def _first(value: Object, *names: str) -> JSON:
    """The first of the fields that says something, at the top or in `template_variable`."""
    variables = value.get("template_variable")
    if isinstance(variables, str):
        with suppress(ValueError, RecursionError):
            variables = json.loads(variables)
    places = (value, variables) if isinstance(variables, dict) else (value,)
    return next((place[name] for name in names for place in places if place.get(name) not in (None, "")), None)


SOURCE = Ces()
