"""The manifests for Knative and for Kubernetes: they fit their schemas and each other, and lose no event."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from infra import crds
from infra.kustomize import Manifest, build
from infra.manifests import environment, mistakes, pod_of
from serving import serving
from standin import Cloud
from standin.sinks import Receiver
from vaultbell import cli

INFRA = Path(__file__).parents[2] / "infra"
OVERLAYS = sorted(path.relative_to(INFRA).as_posix() for path in INFRA.glob("*/overlays/*"))
MINIMAL, RABBITMQ, KAFKA = (f"knative/overlays/{name}" for name in ("minimal", "rabbitmq", "kafka"))
PLAIN, KEDA = (f"kubernetes/overlays/{name}" for name in ("plain", "keda"))
FUNCTION, SWEEP, BROKER = (f"knative/base/{name}.yaml" for name in ("function", "sweep", "broker"))
CONSUMER, JOB = "kubernetes/base/consumer.yaml", "kubernetes/base/sweep.yaml"
DIGEST = f"digest: sha256:{'0' * 64}"


class Mistake(NamedTuple):
    """A text of a file and what it becomes, and what is said about the overlay then."""

    overlay: str
    file: str
    text: str
    becomes: str
    said: str

    def found(self, folder: Path) -> list[str]:
        """What is said about a copy with the mistake in it."""
        copied = folder / "infra"
        shutil.copytree(INFRA / self.overlay.partition("/")[0], copied / self.overlay.partition("/")[0])
        path = copied / self.file
        before = path.read_text("utf-8")
        assert before.count(self.text) >= 1, f"there is no {self.text!r} in {self.file} any more"
        path.write_text(before.replace(self.text, self.becomes, 1), "utf-8")
        return mistakes(build(copied / self.overlay))


READINESS = "          readinessProbe:\n            httpGet:\n              path: /readyz\n              port: 8080\n"
TCP = "            tcpSocket:\n              port: 8080\n"
SINK = "    deadLetterSink:\n      ref:\n        apiVersion: serving.knative.dev/v1\n        kind: Service\n"
ROOTS = "runAsNonRoot: true"
TICKS = "schedule: 7-59/15 * * * *"
ENV = "          env:\n"
PASSWORD = "            - name: OS_PASSWORD\n              value: hunter2\n"
ONE_IMAGE = f"{MINIMAL}/kustomization.yaml"

MISTAKES = {
    "no readiness probe": Mistake(MINIMAL, FUNCTION, READINESS, "", "readiness is not probed"),
    "readiness of another path": Mistake(MINIMAL, FUNCTION, "/readyz", "/healthz", "readiness is not probed"),
    "liveness by HTTP": Mistake(
        MINIMAL, FUNCTION, TCP, "            httpGet:\n              path: /healthz\n", "liveness is not probed by TCP"
    ),
    "no liveness probe": Mistake(MINIMAL, FUNCTION, "livenessProbe", "startupProbe", "liveness is not probed by TCP"),
    "a mutable tag": Mistake(MINIMAL, ONE_IMAGE, DIGEST, "newTag: latest", "not named by its digest"),
    "a version's tag": Mistake(MINIMAL, ONE_IMAGE, DIGEST, "newTag: 1.2.3", "not named by its digest"),
    "an image without a name": Mistake(PLAIN, CONSUMER, "image: vaultbell", "image: vaultbel", "not named by its"),
    "a secret in the environment": Mistake(MINIMAL, FUNCTION, ENV, ENV + PASSWORD, "a secret is written down"),
    "a secret in an address": Mistake(
        KAFKA, f"{KAFKA}/broker-config.yaml", "kafka-bootstrap", "sasl://me:hunter2@kafka", "a secret is written down"
    ),
    "a secret in a command": Mistake(
        PLAIN, CONSUMER, "/run/secrets/vaultbell-queue/url\n", "amqp://me:hunter2@rabbitmq\n", "a secret is written"
    ),
    "a Secret of ours": Mistake(
        KAFKA, f"{KAFKA}/broker-config.yaml", "kind: ConfigMap", "kind: Secret", "is made by whoever deploys"
    ),
    "root": Mistake(MINIMAL, FUNCTION, ROOTS, "runAsNonRoot: false", "runAsNonRoot is not"),
    "root of a job": Mistake(PLAIN, JOB, f"                {ROOTS}\n", "", "runAsNonRoot is not"),
    "a root file system to write to": Mistake(
        MINIMAL, FUNCTION, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "readOnlyRootFilesystem"
    ),
    "more rights by a program": Mistake(
        PLAIN, CONSUMER, "allowPrivilegeEscalation: false\n", "privileged: false\n", "allowPrivilegeEscalation is not"
    ),
    "capabilities kept": Mistake(MINIMAL, FUNCTION, "drop: [ALL]", "drop: [NET_RAW]", "capabilities is not"),
    "any system call": Mistake(PLAIN, CONSUMER, "type: RuntimeDefault", "type: Unconfined", "seccompProfile is not"),
    "no memory limit": Mistake(MINIMAL, FUNCTION, "              memory: 256Mi\n", "", "resources: no limits"),
    "nowhere to write": Mistake(MINIMAL, FUNCTION, "mountPath: /tmp", "mountPath: /var/tmp", "no emptyDir"),
    "a volume that is not there": Mistake(PLAIN, CONSUMER, "- name: config\n", "- name: konfig\n", "no such volume"),
    "unfinished tasks asked again": Mistake(MINIMAL, FUNCTION, "value: leave", "value: retry", "is not leave"),
    "a setting that is none": Mistake(
        MINIMAL, FUNCTION, "VAULTBELL_UNFINISHED", "VAULTBELL_UNFINISHD", "is VAULTBELL_UNFINISHED meant"
    ),
    "the environment filled up": Mistake(MINIMAL, FUNCTION, "enableServiceLinks: false", "", "enableServiceLinks"),
    "no thread for the probes": Mistake(MINIMAL, FUNCTION, 'value: "20"', 'value: "16"', "none for the probes"),
    "no limit side by side": Mistake(
        MINIMAL, FUNCTION, "containerConcurrency: 16", "containerConcurrency: 0", "none for the probes"
    ),
    "too little time to finish": Mistake(
        MINIMAL, FUNCTION, "timeoutSeconds: 60", "timeoutSeconds: 30", "too close to the time budget"
    ),
    "open to the world": Mistake(
        MINIMAL, FUNCTION, "networking.knative.dev/visibility: cluster-local", "a: b", "open to the world"
    ),
    "given up too soon": Mistake(MINIMAL, BROKER, "retry: 10", "retry: 3", "given up too soon"),
    "no longer wait each time": Mistake(MINIMAL, BROKER, "exponential", "linear", "does not wait longer"),
    "no time for the budget": Mistake(MINIMAL, BROKER, "timeout: PT60S", "timeout: PT20S", "timeout is no time"),
    "no dead letters": Mistake(
        MINIMAL, BROKER, f"{SINK}        name: vaultbell-dead-letters\n", "", "what is given up is lost"
    ),
    "dead letters to where they died": Mistake(
        MINIMAL, BROKER, "name: vaultbell-dead-letters", "name: vaultbell", "what is given up is lost"
    ),
    "dead letters to nobody": Mistake(
        MINIMAL, BROKER, "name: vaultbell-dead-letters", "name: vaultbell-dead", "there is no Service vaultbell-dead"
    ),
    "ticks to nobody": Mistake(MINIMAL, SWEEP, "      name: vaultbell", "      name: bell", "there is no Broker bell"),
    "ticks that are not tried again": Mistake(
        MINIMAL,
        SWEEP,
        "apiVersion: eventing.knative.dev/v1\n      kind: Broker",
        "apiVersion: serving.knative.dev/v1\n      kind: Service",
        "gives up after two seconds",
    ),
    "a period that is not the schedule's": Mistake(MINIMAL, SWEEP, '"15m"', '"10m"', "do not agree"),
    "a schedule that is not the period's": Mistake(MINIMAL, SWEEP, TICKS, "schedule: 7-59/10 * * * *", "do not agree"),
    "a tick that is left out": Mistake(MINIMAL, SWEEP, TICKS, "schedule: 7,22,37 * * * *", "do not agree"),
    "a tick at the end of a window": Mistake(MINIMAL, SWEEP, TICKS, "schedule: 5-59/15 * * * *", "it covers two"),
    "a tick that must not be late": Mistake(
        MINIMAL, SWEEP, TICKS, "schedule: 2-59/15 * * * *", "comes late covers another window"
    ),
    "a schedule that is none": Mistake(MINIMAL, SWEEP, TICKS, "schedule: every quarter", "is not read here"),
    "a sweep's key that means nothing": Mistake(MINIMAL, SWEEP, '"lag"', '"lagg"', "mean nothing"),
    "a clock of somewhere": Mistake(MINIMAL, SWEEP, "Etc/UTC", "Europe/Berlin", "is not UTC"),
    "a job's period that is not the schedule's": Mistake(PLAIN, JOB, "value: 15m", "value: 1h", "do not agree"),
    "a job that never ends": Mistake(PLAIN, JOB, "      activeDeadlineSeconds: 720\n", "", "may still run"),
    "a job that is not tried again": Mistake(PLAIN, JOB, "backoffLimit: 3", "backoffLimit: 0", "not tried again"),
    "no time to hand back": Mistake(
        PLAIN, CONSUMER, "terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: 5", "no time to finish"
    ),
    "a roll-out of pods that end": Mistake(PLAIN, CONSUMER, "  minReadySeconds: 15\n", "", "minReadySeconds"),
    "a roll-out that stops the work": Mistake(
        PLAIN, CONSUMER, "maxUnavailable: 0", "maxUnavailable: 1", "leaves nobody"
    ),
    "a node that cannot be emptied": Mistake(
        PLAIN, CONSUMER, "  maxUnavailable: 1\n  sel", "  minAvailable: 1\n  sel", "from ever being emptied"
    ),
    "pods that nothing selects": Mistake(
        PLAIN,
        CONSUMER,
        "matchLabels:\n      app.kubernetes.io/name: vaultbell-c",
        "matchLabels:\n      a: b-c",
        "no pod",
    ),
    "another queue's length": Mistake(
        KEDA, f"{KEDA}/scaled-object.yaml", "queueName: backups", "queueName: backup", "nobody consumes backup"
    ),
    "another deployment's number": Mistake(
        KEDA, f"{KEDA}/scaled-object.yaml", "    name: vaultbell-consumer", "    name: consumer", "no Deployment"
    ),
    "a misspelt field of KEDA's": Mistake(
        KEDA, f"{KEDA}/scaled-object.yaml", "minReplicaCount", "minReplicas", "'minReplicas' was unexpected"
    ),
    "a number where KEDA takes texts": Mistake(
        KEDA, f"{KEDA}/scaled-object.yaml", 'value: "200"', "value: 200", "200 is not of type 'string'"
    ),
    "an address of nobody's": Mistake(
        KEDA, f"{KEDA}/scaled-object.yaml", "        name: vaultbell-queue", "        name: queue", "no Trigger"
    ),
    "a policy for pods that are not there": Mistake(
        PLAIN, "kubernetes/base/network-policy.yaml", "part-of: vaultbell", "part-of: bell", "part-of': 'bell'}"
    ),
    "a policy that lets all in": Mistake(
        PLAIN, "kubernetes/base/network-policy.yaml", "[Ingress, Egress]", "[Egress]", "does not hold both ways"
    ),
    "the way to the metadata service": Mistake(
        MINIMAL, "knative/base/network-policy.yaml", "169.254.0.0/16, ", "", "metadata service can be reached"
    ),
    "a token in every pod": Mistake(
        MINIMAL, "knative/base/service-account.yaml", "Token: false", "Token: true", "lies in every pod"
    ),
}

# What only Knative's own definitions tell.
MISFITS = {
    "a misspelt field": Mistake(
        MINIMAL, FUNCTION, "enableServiceLinks: false", "enableServiceLinks: false\n      minScale: 1", "'minScale'"
    ),
    "a misspelt field of a container": Mistake(MINIMAL, FUNCTION, "envFrom:", "envfrom:", "'envfrom'"),
    "a misspelt field of a delivery": Mistake(MINIMAL, BROKER, "timeout:", "timeOut:", "'timeOut'"),
    "a misspelt field of a source": Mistake(MINIMAL, SWEEP, "contentType:", "content:", "'content'"),
    "a text for a number": Mistake(
        MINIMAL, FUNCTION, "periodSeconds: 10", "periodSeconds: 10s", "'10s' is not of type 'integer'"
    ),
    "a version that is not served": Mistake(
        RABBITMQ, f"{RABBITMQ}/source.yaml", "dev/v1alpha1", "dev/v1", "v1 is not served"
    ),
    "a field that is missing": Mistake(KAFKA, f"{KAFKA}/source.yaml", "  topics:\n    - backups\n", "", "'topics'"),
    "a word that is none": Mistake(
        RABBITMQ, f"{RABBITMQ}/broker-config.yaml", "quorum", "quorums", "'quorums' is not one of"
    ),
}


@pytest.fixture(scope="module", params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return build(INFRA / request.param)


def test_the_manifests_fit_each_other_and_what_is_asked_of_them(manifests: list[Manifest]) -> None:
    assert manifests
    assert mistakes(manifests) == []


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_manifest_is_found(mistake: Mistake, tmp_path: Path) -> None:
    found = mistake.found(tmp_path)
    assert any(mistake.said in words for words in found), found


@pytest.mark.skipif(not crds.CRDS.is_dir(), reason="Knative's definitions are not at hand beside this repository")
@pytest.mark.parametrize("mistake", MISFITS.values(), ids=MISFITS)
def test_what_knative_would_refuse_is_found(mistake: Mistake, tmp_path: Path) -> None:
    found = mistake.found(tmp_path)
    assert any(mistake.said in words for words in found), found


def test_every_overlay_has_one_sweep(manifests: list[Manifest]) -> None:
    assert len([manifest for manifest in manifests if manifest["kind"] in ("PingSource", "CronJob")]) == 1


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_overlay_can_have_a_roll_call(overlay: str, tmp_path: Path) -> None:
    folder = overlay.partition("/")[0]
    shutil.copytree(INFRA / folder, tmp_path / folder)
    path = tmp_path / overlay / "kustomization.yaml"
    path.write_text(path.read_text("utf-8").replace("  # - ../../roll-call", "  - ../../roll-call"), "utf-8")
    manifests = build(tmp_path / overlay)
    assert mistakes(manifests) == []
    names = {manifest["metadata"]["name"] for manifest in manifests}
    assert names - {manifest["metadata"]["name"] for manifest in build(INFRA / overlay)} == {"vaultbell-roll-call"}


def test_the_policy_holds_for_every_pod_of_the_queue(manifests: list[Manifest]) -> None:
    pods = [
        pod["metadata"]["labels"]
        for one in manifests
        if one["apiVersion"] in ("apps/v1", "batch/v1") and (pod := pod_of(one))
    ]
    for policy in (one for one in manifests if one["kind"] == "NetworkPolicy" and pods):
        assert all(policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items() for labels in pods)


def test_the_dead_letters_consumer_is_the_same_function_with_channels_of_its_own() -> None:
    """It is written down twice; what may differ is how it is called, how many there are, and one Secret more."""
    function, dead = (
        (INFRA / "knative/base" / name).read_text("utf-8") for name in ("function.yaml", "dead-letters.yaml")
    )
    own = "            - secretRef:\n                name: vaultbell-dead-letters\n                optional: true\n"
    assert own in dead
    as_function = _bare(dead.replace(own, "").replace(": vaultbell-dead-letters", ": vaultbell"))
    assert as_function == _bare(function)


def _bare(text: str) -> list[str]:
    lines = (line.partition(" #")[0] for line in text.splitlines() if not line.startswith("#"))
    return [line for line in lines if "autoscaling.knative.dev/max-scale" not in line]


def test_every_secret_and_config_map_that_must_be_made_stands_in_the_readme() -> None:
    for folder in ("knative", "kubernetes"):
        readme = (INFRA / folder / "README.md").read_text("utf-8")
        overlays = [build(path) for path in sorted((INFRA / folder / "overlays").iterdir())]
        names = {name for overlay in overlays for manifest in overlay for name in _made_elsewhere(manifest)}
        assert {"vaultbell", "vaultbell-config"} <= names
        assert [name for name in names if f"`{name}`" not in readme] == []


def _made_elsewhere(value: object, key: str = "") -> Iterator[str]:
    """The names of Secrets and ConfigMaps that are referred to."""
    if isinstance(value, list):
        for item in value:
            yield from _made_elsewhere(item, key)
    elif isinstance(value, dict):
        if re.search(r"secret|configMap", key, re.IGNORECASE):
            yield from (value[name] for name in ("name", "secretName") if isinstance(value.get(name), str))
        for name, inner in value.items():
            yield from _made_elsewhere(inner, name)


def test_the_consumer_is_started_with_what_its_command_knows(capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = (container["command"] for container in _containers(PLAIN) if container["name"] == "consumer")
    with pytest.raises(SystemExit) as done:
        cli.main([command[1], "--help"])
    assert done.value.code == 0
    shown = capsys.readouterr().out
    assert [word for word in command if word.startswith("--") and word.partition("=")[0] not in shown] == []


@pytest.mark.parametrize(("name", "overlay"), [("sweep", PLAIN), ("roll-call", "kubernetes/roll-call")])
@pytest.mark.parametrize(("status", "meant"), [(0, 0), (1, 0), (2, 2), (3, 3)])
def test_a_job_that_rang_has_done_its_work_and_one_that_failed_has_not(
    name: str, overlay: str, status: int, meant: int, tmp_path: Path
) -> None:
    (command,) = (container["command"] for container in _containers(overlay) if container["name"] == name)
    stand_in = tmp_path / "vaultbell"
    stand_in.write_text(f'#!/bin/sh\n[ "$*" = {name} ] && exit {status}\nexit 99\n')
    stand_in.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    assert subprocess.run(command, env={"PATH": path}, check=False).returncode == meant


def test_what_the_broker_hands_over_is_handled_and_answered_without_a_word(cloud: Cloud, receiver: Receiver) -> None:
    """Under the settings of the manifest: a tick, an event of a running task, and a dead letter with its reasons."""
    (container,) = (container for container in _containers(MINIMAL) if "dead-letters" not in str(container["envFrom"]))
    (tick,) = (manifest["spec"]["data"] for manifest in build(INFRA / MINIMAL) if manifest["kind"] == "PingSource")
    event = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/here", "ce-type": "any", "Prefer": "reply"}
    dead = {"ce-knativeerrorcode": "503", "ce-knativeerrordest": "http://vaultbell", "ce-knativeerrordata": "eyJh"}
    settings = environment(container) | cloud.env() | {"VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell"}
    with serving(settings) as function:

        def hand_over(body: str, headers: dict[str, str]) -> None:
            answer = function.post(headers=event | headers, data=body)
            assert (answer.status_code, answer.content) == (204, b""), function.log

        hand_over(tick, {"ce-time": datetime.now(UTC).isoformat(), "Content-Type": "application/json"})
        failed, running = cloud.outcome("failed"), cloud.outcome("running")
        hand_over(json.dumps({"operation_log_id": running["id"]}), {})
        hand_over(json.dumps({"operation_log_id": failed["id"]}), dead)
    assert [got.json["data"]["operation_log"]["id"] for got in receiver.requests] == [failed["id"]]


def _containers(overlay: str) -> Iterator[Manifest]:
    for manifest in build(INFRA / overlay):
        pod = pod_of(manifest)
        yield from pod["spec"]["containers"] if pod else ()
