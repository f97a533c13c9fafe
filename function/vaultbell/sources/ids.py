"""The things that a hint names: ids of resources, vaults, restore points and backups, wherever in it they stand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from vaultbell.report import JSON, Object

# Keys (without `_`, in lower case) whose value is such an id, and how narrow what it names is: the resource, the vault
# that it lies in with others (the `instance_id` of CBR's metrics is one), else what was made of it.
KEYS = {
    **dict.fromkeys(("resourceid", "serverid", "volumeid"), 0),
    **dict.fromkeys(("instanceid", "vaultid"), 1),
    **dict.fromkeys(("checkpointid", "backupid"), 2),
}
# Keys of an object, or of a list of them, whose `id` is one.
HOLDERS = {"resource": "resourceid", "vault": "vaultid", "checkpoint": "checkpointid", "backup": "backupid"}
DEEPEST = 8
MOST = 8  # each may cost a look-up

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def ids_in(value: Object) -> tuple[str, ...]:
    """The ids of the narrowest kind that it names, in lower case, each once. Texts that hold JSON are looked into.

    Where a resource is named, its vault is not: the vault's other resources are none of this hint's business.
    """
    found = list(_walk(value, "", 0))
    narrowest = min((KEYS[key] for key, _ in found), default=0)
    return tuple(dict.fromkeys(named for key, named in found if KEYS[key] == narrowest))[:MOST]


def _walk(value: JSON, key: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > DEEPEST:
        return
    match value:
        case dict():
            named = value.get("name")
            for name, item in value.items():
                # a dimension: {"name": "instance_id", "value": "…"}
                said = named if name == "value" and isinstance(named, str) else name
                plain = said.lower().replace("_", "")
                yield from _walk(item, HOLDERS.get(key.removesuffix("s"), "") if plain == "id" else plain, depth + 1)
        case list():
            for item in value:
                yield from _walk(item, key, depth + 1)
        case str():
            yield from _in_text(value.strip(), key, depth)


def _in_text(text: str, key: str, depth: int) -> Iterator[tuple[str, str]]:
    if text[:1] in ("{", "["):
        try:
            inner: JSON = json.loads(text)
        except (ValueError, RecursionError):
            return
        yield from _walk(inner, key, depth + 1)
    elif key.startswith("dimension"):  # "instance_id:…,vault_id:…"
        for pair in text.split(","):
            name, _, named = pair.partition(":")
            yield from _if_id(named.strip(), name.strip().lower().replace("_", ""))
    else:
        yield from _if_id(text, key)


def _if_id(text: str, key: str) -> Iterator[tuple[str, str]]:
    if key in KEYS and _UUID.fullmatch(text.lower()):
        yield key, text.lower()
