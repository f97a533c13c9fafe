"""What `kubectl kustomize` makes of a folder, as far as our folders ask for it; `make check-infra` compares the two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]  # as the YAML has it; who checks it looks inside

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # without libyaml it is ten times slower
_KNOWN = {"apiVersion", "kind", "resources", "patches", "images"}


def load(path: Path) -> list[Manifest]:
    """The documents of a file."""
    return [document for document in yaml.load_all(path.read_text("utf-8"), _LOADER) if document]


def build(folder: Path) -> list[Manifest]:
    """All manifests of a folder, patched, with the images' whole names.

    Raises ValueError where the folder asks for more than is done here.
    """
    (said,) = load(folder / "kustomization.yaml")
    if unknown := said.keys() - _KNOWN:
        raise ValueError(f"not known here: {', '.join(sorted(unknown))}")
    manifests: list[Manifest] = []
    for name in said["resources"]:
        path = folder / name
        manifests += build(path) if path.is_dir() else load(path)
    for patch in said.get("patches", []):
        (change,) = load(folder / patch["path"])
        (patched,) = (manifest for manifest in manifests if _identity(manifest) == _identity(change))
        _merge(patched, change)
    for image in said.get("images", []):
        for container in _containers(manifests):
            if container.get("image") == image["name"]:
                container["image"] = _whole_name(image)
    return manifests


def _identity(manifest: Manifest) -> tuple[str, str, str]:
    return manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"]


def _merge(target: Manifest, change: Manifest) -> None:
    for key, value in change.items():
        if isinstance(value, list) or value is None:
            raise ValueError(f"{key}: lists and removals are patched by rules that are not known here")
        if isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


def _containers(value: object) -> Iterator[Manifest]:
    """Every container in it, at whatever depth."""
    if isinstance(value, list):
        for item in value:
            yield from _containers(item)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from (inner if key in ("containers", "initContainers") else _containers(inner))


def _whole_name(image: Manifest) -> str:
    name = str(image.get("newName", image["name"]))
    if "newTag" in image:
        name = f"{name}:{image['newTag']}"
    return f"{name}@{image['digest']}" if "digest" in image else name
