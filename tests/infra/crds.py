"""Schemas of what is not Kubernetes' own: a manifest with a misspelt field is told from one that fits.

Knative's definitions (CRDs) are not part of this repository: `CRDS` is where they are read from, where they are at
hand. Its webhooks refuse fields that the definitions do not list, so these are mistakes here as well. Of KEDA's two
kinds what we use is written down here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator

from infra.kustomize import Manifest, load

CRDS = Path(__file__).parents[3] / "shared" / "crds"
# Known to the webhooks, though some of the definitions do not list it.
_DELIVERY = {"timeout": {"type": "string"}}
_OPEN = ("metadata", "status")


def _object(**fields: Manifest) -> Manifest:
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def _list(of: Manifest) -> Manifest:
    return {"type": "array", "items": of, "minItems": 1}


_TEXT: Manifest = {"type": "string"}
_COUNT: Manifest = {"type": "integer", "minimum": 0}
_KEDA = {
    "ScaledObject": _object(
        scaleTargetRef=_object(name=_TEXT),
        minReplicaCount=_COUNT,
        maxReplicaCount=_COUNT,
        pollingInterval=_COUNT,
        cooldownPeriod=_COUNT,
        triggers=_list(
            _object(
                type={"const": "rabbitmq"},
                metadata=_object(protocol=_TEXT, queueName=_TEXT, mode={"const": "QueueLength"}, value=_TEXT),
                authenticationRef=_object(name=_TEXT),
            )
        ),
    ),
    "TriggerAuthentication": _object(secretTargetRef=_list(_object(parameter=_TEXT, name=_TEXT, key=_TEXT))),
}


def misfits(manifest: Manifest) -> Iterator[str]:
    """Where the manifest does not fit its definition; nothing for kinds that none of the definitions is of."""
    group, _, version = manifest["apiVersion"].rpartition("/")
    versions = _schemas(group, manifest["kind"])
    if not versions:
        return
    if version not in versions:
        yield f"{version} is not served, but {', '.join(sorted(versions))}"
        return
    for error in versions[version].iter_errors(manifest):
        yield f"{'.'.join(map(str, error.path)) or 'the top'}: {error.message}"


@cache
def _schemas(group: str, kind: str) -> dict[str, Draft202012Validator]:
    """The schemas of a kind by their versions, those that are served."""
    if group == "keda.sh":
        return {"v1alpha1": Draft202012Validator({"properties": {"spec": _KEDA[kind]}, "required": ["spec"]})}
    for path in sorted(CRDS.glob(f"*{group}.yaml")):
        if f"kind: {kind}\n" in path.read_text("utf-8"):
            (definition,) = load(path)
            if definition["spec"]["names"]["kind"] == kind and definition["spec"]["group"] == group:
                return {
                    version["name"]: Draft202012Validator(_closed(version["schema"]["openAPIV3Schema"], open_=_OPEN))
                    for version in definition["spec"]["versions"]
                    if version["served"]
                }
    return {}


def _closed(schema: Manifest, *, open_: tuple[str, ...] = ()) -> Manifest:
    """The schema as JSON Schema, with objects that take what they list and nothing else."""
    closed = {key: value for key, value in schema.items() if key in ("type", "required", "enum", "minimum", "maximum")}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if "items" in schema:
        closed["items"] = _closed(schema["items"])
    if "properties" in schema:
        listed = schema["properties"]
        listed = (_DELIVERY if {"retry", "backoffDelay"} <= listed.keys() else {}) | listed
        closed["properties"] = {name: {} if name in open_ else _closed(inner) for name, inner in listed.items()}
        closed["additionalProperties"] = False
        if open_:  # every object has these, listed or not
            closed["properties"] |= {name: {} for name in (*open_, "apiVersion", "kind")}
    elif isinstance(schema.get("additionalProperties"), dict):
        closed["additionalProperties"] = _closed(schema["additionalProperties"])
    return closed
