"""Read the OpenTelekomCloud provider's schema out of its published bindings, and keep what the templates use.

The bindings (cdktf-cdktf-provider-opentelekomcloud, a Python package) describe each argument of the provider in a
JSON document. `python tests/infra/read_schema.py WHEEL` writes schema/opentelekomcloud.json anew. In it, by resource
and argument, is a type (string, number, bool, list(…), map(…), any), with ! where the argument has to be given and =
where it can only be read; or a block: {"block": "one", "many", "one!" or "many!", "of": {…}}. Values that are allowed
are not told there.
"""

from __future__ import annotations

import io
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).parent / "schema" / "opentelekomcloud.json"
RESOURCES = """
    ces_alarmrule fgs_async_invoke_config_v2 fgs_function_v2 fgs_trigger_v2 identity_agency_v3 identity_role_v3
    lts_group_v2 lts_stream_v2 smn_subscription_v2 smn_topic_v2
""".split()
DATA = ["identity_project_v3"]
BASES = {"cdktf.TerraformResource": "resources", "cdktf.TerraformDataSource": "data", "cdktf.TerraformProvider": ""}
PRIMITIVES = {"string": "string", "number": "number", "boolean": "bool"}

Types = Mapping[str, Any]  # the document's own words


def read(wheel: Path) -> dict[str, Any]:
    """The schema as it is kept."""
    with zipfile.ZipFile(wheel) as files:
        (inner,) = (name for name in files.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(files.read(inner))) as packed:
            document = packed.extractfile("package/.jsii")
            types: Types = json.load(document)["types"] if document else {}
    found: dict[str, Any] = {"provider": {}, "resources": {}, "data": {}}
    for name, of in types.items():
        kind = BASES.get(of.get("base", ""))
        if kind is None or f"{name}Config" not in types:
            continue
        link = re.search(r"/docs/(?:resources|data-sources)/(\w+)", of["docs"]["summary"])
        short = link[1] if link else ""
        arguments = dict(_arguments(types, f"{name}Config"))
        if not kind:
            found["provider"] = arguments
        elif short in (RESOURCES if kind == "resources" else DATA):
            found[kind][f"opentelekomcloud_{short}"] = arguments | dict(_readable(of, arguments))
    return found


def _arguments(types: Types, of: str) -> Iterator[tuple[str, Any]]:
    for given in types[of].get("properties", []):
        docs = json.dumps(given["docs"])
        name = re.search(r"#(\w+) ", docs)
        if name is None or name[1] == "timeouts":
            continue
        must = "" if given.get("optional") else "!"
        kind, inner = _kind(given["type"])
        if inner in types and given["docs"].get("summary", "").endswith("block."):
            many = "many" if kind.startswith("list(") else "one"
            yield name[1], {"block": many + must, "of": dict(_arguments(types, inner))}
        else:
            yield name[1], kind + must


def _readable(of: Mapping[str, Any], arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the provider tells and nobody can set."""
    for given in of.get("properties", []):
        name = re.sub(r"([A-Z])", lambda capital: f"_{capital[1].lower()}", given["name"])
        if given.get("static") or name.endswith("_input") or name in arguments or name == "timeouts":
            continue
        yield name, _kind(given["type"])[0] + "="


def _kind(given: Mapping[str, Any]) -> tuple[str, str]:
    """The type in Terraform's words, and the name of the structure that it is made of, if it is."""
    match given:
        case {"primitive": name}:
            return PRIMITIVES.get(name, "any"), ""
        case {"collection": {"kind": kind, "elementtype": element}}:
            inner, name = _kind(element)
            return f"{'list' if kind == 'array' else 'map'}({inner})", name
        case {"union": {"types": types}}:
            return next(_kind(type_) for type_ in types if type_.get("fqn") != "cdktf.IResolvable")
        case _:
            return "any", given.get("fqn", "")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    SCHEMA.write_text(json.dumps(read(Path(sys.argv[1])), indent=1, sort_keys=True) + "\n", "utf-8")
