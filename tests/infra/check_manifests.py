"""The manifests and the Dockerfile, as the tools that others use see them. `make check-infra` runs this.

kubectl or kustomize puts the overlays together, Kubernetes' own schemas hold what is Kubernetes' own, and hadolint
reads the Dockerfile. What is not installed is left out, with the reason.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module, util
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.kustomize import Manifest, build
from infra.manifests import pod_of
from infra.test_manifests import INFRA, MINIMAL, OVERLAYS, PLAIN

DOCKERFILE = INFRA / "container" / "Dockerfile"
VERSIONS = ("1.31", "1.37")  # of Kubernetes: the first and the last that are tried
KUSTOMIZE = ["kustomize", "build"] if shutil.which("kustomize") else ["kubectl", "kustomize"]
MISSPELT = {
    "a field of a deployment": ("Deployment", ("spec",), "minReadySecond"),
    "a field of a pod": ("Deployment", ("spec", "template", "spec"), "enableServiceLink"),
    "a field of a container": ("Deployment", ("spec", "template", "spec", "containers", 0), "envfrom"),
    "a field of a job": ("CronJob", ("spec", "jobTemplate", "spec"), "backofLimit"),
    "a field of a policy": ("NetworkPolicy", ("spec", "egress", 0), "port"),
    "a field of a function's container": ("Service", ("spec", "template", "spec", "containers", 0), "livenesProbe"),
}

schemas = pytest.mark.skipif(not util.find_spec("kubernetes_validate"), reason="make check-infra installs the schemas")


def validated(manifest: Manifest, version: str) -> bool:
    """Whether it is of a kind that Kubernetes knows, or holds a pod. Raises ValueError where it does not fit."""
    library: Any = import_module("kubernetes_validate")
    of_its_own = "." not in manifest["apiVersion"] or manifest["apiVersion"].partition("/")[0].endswith(".k8s.io")
    pod = pod_of(manifest)
    if not of_its_own and pod:  # Knative's: the rest of it is a pod's
        spec = {k: v for k, v in pod["spec"].items() if k not in ("containerConcurrency", "timeoutSeconds")}
        manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {**pod["metadata"], "name": "pod"}, "spec": spec}
    elif not of_its_own:
        return False
    try:
        library.validate(manifest, version, strict=True)
    except library.ValidationError as error:
        raise ValueError(error.message) from None
    return True


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_makes_of_an_overlay_what_the_tests_make_of_it(overlay: str) -> None:
    if not shutil.which(KUSTOMIZE[0]):
        pytest.skip("neither kustomize nor kubectl is installed")
    done = subprocess.run([*KUSTOMIZE, str(INFRA / overlay)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert _sorted(yaml.safe_load_all(done.stdout)) == _sorted(build(INFRA / overlay))


def _sorted(manifests: Iterator[Manifest] | list[Manifest]) -> list[Manifest]:
    return sorted(manifests, key=lambda manifest: (manifest["kind"], manifest["metadata"]["name"]))


@schemas
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_manifests_fit_kubernetes(overlay: str, version: str) -> None:
    manifests = build(INFRA / overlay)
    checked = {manifest["kind"] for manifest in manifests if validated(manifest, version)}
    assert {"NetworkPolicy", "ServiceAccount"} < checked
    assert checked & {"Service", "Deployment"}


@schemas
@pytest.mark.parametrize(("kind", "place", "field"), MISSPELT.values(), ids=MISSPELT)
def test_a_misspelt_field_is_refused(kind: str, place: tuple[str | int, ...], field: str) -> None:
    manifests = build(INFRA / (MINIMAL if kind == "Service" else PLAIN))
    manifest = next(manifest for manifest in manifests if manifest["kind"] == kind)
    inner: Any = manifest
    for key in place:
        inner = inner[key]
    inner[field] = True
    with pytest.raises(ValueError, match=field):
        validated(manifest, VERSIONS[-1])


def test_hadolint_has_nothing_to_say_about_the_dockerfile(tmp_path: Path) -> None:
    if not shutil.which("hadolint"):
        pytest.skip("make check-infra installs hadolint")
    assert _hadolint(DOCKERFILE) == ""
    changed = tmp_path / "Dockerfile"
    changed.write_text(DOCKERFILE.read_text("utf-8").replace("USER 1003:1003", "USER root"), "utf-8")
    assert "DL3002" in _hadolint(changed)  # else it would not read it at all


def _hadolint(path: Path) -> str:
    done = subprocess.run(["hadolint", "--no-color", str(path)], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
