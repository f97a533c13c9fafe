"""What our manifests have to say, beyond what any schema asks: how a pod is kept small, and how an event is not lost.

`mistakes` is a list in words; test_manifests.py shows that each rule finds what it is made to find.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from infra import crds
from infra.kustomize import Manifest
from vaultbell import settings
from vaultbell.errors import InvalidEvent, SettingsError
from vaultbell.events import Event, RollCall, Sweep
from vaultbell.platforms.queue.consumer import DRAIN_SECONDS
from vaultbell.sources import decode
from vaultbell.sources.timer import duration
from vaultbell.sweep import window

# What must not be written down: a value of such a name, and what looks like a secret whatever its name.
SECRET_NAME = re.compile(r"(secret|password|passwd|token|(access|api|private|routing)_?key)$", re.IGNORECASE)
SECRET_VALUE = re.compile(r"whsec_[A-Za-z0-9+/]{8}|://[^/\s:@$]*:[^/\s@$]+@|-----BEGIN")
BY_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
SPARE_THREADS = 2  # at least: for the probes
RETRIES = 5  # at least, until an event is given up
LATE = timedelta(minutes=5)  # a tick that comes so late must cover what it was to cover

# What the Secrets of a deployment hold; their values are nobody's.
GIVEN = {
    "OS_REGION_NAME": "eu-de",
    "OS_PROJECT_ID": "0" * 32,
    "OS_USERNAME": "a",
    "OS_PASSWORD": "b",
    "OS_USER_DOMAIN_NAME": "c",
    "VAULTBELL_WEBHOOK_URL": "https://hooks.example.org/bell",
}


def mistakes(manifests: Sequence[Manifest]) -> list[str]:
    """All that is wrong with manifests that are applied together, each with its place."""
    return [
        f"{manifest['kind']} {manifest['metadata']['name']}: {words}"
        for manifest in manifests
        for words in (
            *crds.misfits(manifest),
            *_secrets(manifest),
            *_pod(manifest),
            *_of_its_kind(manifest),
            *_broken_references(manifest, manifests),
        )
    ]


def pod_of(manifest: Manifest) -> Manifest | None:
    """The pod that a manifest asks for, with its metadata."""
    spec = manifest.get("spec", {})
    pod: Manifest | None = (spec.get("jobTemplate", {}).get("spec") or spec).get("template")
    return pod if pod and "containers" in pod.get("spec", {}) else None


def environment(container: Manifest) -> dict[str, str]:
    """The variables that the manifest itself gives, without those of Secrets and ConfigMaps."""
    return {variable["name"]: variable["value"] for variable in container.get("env", []) if "value" in variable}


# What is written down


def _secrets(manifest: Manifest) -> Iterator[str]:
    if manifest["kind"] == "Secret":
        yield "a Secret is made by whoever deploys, and referred to"
    for name, value in _texts(manifest):
        if SECRET_VALUE.search(value) or SECRET_NAME.search(name):
            yield f"{name}: a secret is written down"


def _texts(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text, with the name of what it is the value of."""
    match value:
        case dict():
            if isinstance(value.get("name"), str) and isinstance(value.get("value"), str):
                yield value["name"], value["value"]
            for key, inner in value.items():
                referred = key in ("secretKeyRef", "secretRef", "secret", "connectionSecret", "secretTargetRef")
                yield from () if referred else _texts(inner, str(key))
        case list():
            for inner in value:
                yield from _texts(inner, name)
        case str():
            yield name, value


# Pods


def _pod(manifest: Manifest) -> Iterator[str]:
    pod = pod_of(manifest)
    if pod is None:
        return
    spec = pod["spec"]
    if spec.get("enableServiceLinks") is not False:
        yield "enableServiceLinks is not off: it fills the environment"
    if spec.get("serviceAccountName") != "vaultbell":
        yield "it runs with somebody else's service account"
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    for container in spec["containers"]:
        yield from _container(container, volumes)


def _container(container: Manifest, volumes: dict[str, Manifest]) -> Iterator[str]:
    if not BY_DIGEST.fullmatch(container.get("image", "")):
        yield "the image is not named by its digest: another one may come under the same name"
    mounts = {mount["mountPath"]: volumes.get(mount["name"]) for mount in container.get("volumeMounts", [])}
    yield from (f"{path}: there is no such volume" for path, volume in mounts.items() if volume is None)
    if "emptyDir" not in (mounts.get("/tmp") or {}):  # noqa: S108 - a path in the container
        yield "there is no emptyDir to write to"
    yield from _rights(container.get("securityContext", {}))
    resources = container.get("resources", {})
    for kind in ("requests", "limits"):
        if not {"cpu", "memory"} <= resources.get(kind, {}).keys():
            yield f"resources: no {kind} for cpu and memory"
    if container.get("ports"):
        yield from _probes(container)
    yield from _settings(container)


def _rights(context: Manifest) -> Iterator[str]:
    for name, wanted in {
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }.items():
        if context.get(name) != wanted:
            yield f"securityContext: {name} is not {wanted}"
    if not context.get("runAsUser") or not context.get("runAsGroup"):
        yield "securityContext: no user and group of its own"


def _probes(container: Manifest) -> Iterator[str]:
    if "tcpSocket" not in container.get("livenessProbe", {}):
        yield "liveness is not probed by TCP: with all threads at work no request would be answered"
    if container.get("readinessProbe", {}).get("httpGet", {}).get("path") != "/readyz":
        yield "readiness is not probed at /readyz"


def _settings(container: Manifest) -> Iterator[str]:
    """The function would start with what the manifest says, and the sweep tells how unfinished tasks end."""
    given = environment(container)
    try:
        read = settings.load({name: value for name, value in given.items() if name != "THREADS"} | GIVEN)
    except SettingsError as error:
        yield f"the settings: {error}"
        return
    if container["name"] not in ("sweep", "roll-call") and read.unfinished != "leave":
        yield "VAULTBELL_UNFINISHED is not leave: events of running tasks would be asked again until they are given up"


# What is meant by name


def _broken_references(manifest: Manifest, manifests: Sequence[Manifest]) -> Iterator[str]:
    there = {(other["kind"], other["metadata"]["name"]) for other in manifests}
    for kind, name in _references(manifest):
        if (kind, name) not in there:
            yield f"there is no {kind} {name}"
    labels = [pod["metadata"]["labels"] for other in manifests if (pod := pod_of(other))]
    for selector in _selectors(manifest):
        for expression in selector.get("matchExpressions", []):
            missed = [
                value for value in expression["values"] if not any(of.get(expression["key"]) == value for of in labels)
            ]
            yield from (f"no pod is {value}" for value in missed)
        wanted = selector.get("matchLabels", {}).items()
        if wanted and not any(wanted <= of.items() for of in labels):
            yield f"no pod is {dict(wanted)}"
    if manifest["kind"] == "ScaledObject":
        names = {argument for other in manifests for argument in _arguments(other) if argument.startswith("--queue=")}
        queue = manifest["spec"]["triggers"][0]["metadata"]["queueName"]
        if names != {f"--queue={queue}"}:
            yield f"nobody consumes {queue}"


def _references(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Whom of the others it means."""
    spec: Any = manifest.get("spec", {})
    for place in (spec, spec.get("delivery", {})):
        for key in ("sink", "subscriber", "deadLetterSink"):
            if ref := place.get(key, {}).get("ref"):
                yield ref["kind"], ref["name"]
    if manifest["kind"] == "Trigger":
        yield "Broker", spec["broker"]
    if config := manifest["kind"] == "Broker" and spec.get("config"):
        yield config["kind"], config["name"]
    if target := spec.get("scaleTargetRef"):
        yield "Deployment", target["name"]
    for trigger in spec.get("triggers", []):
        yield "TriggerAuthentication", trigger["authenticationRef"]["name"]
    if pod := pod_of(manifest):
        yield "ServiceAccount", pod["spec"]["serviceAccountName"]


def _selectors(manifest: Manifest) -> Iterator[Manifest]:
    spec = manifest.get("spec", {})
    yield from (spec[key] for key in ("selector", "podSelector") if key in spec)


def _arguments(manifest: Manifest) -> list[str]:
    pod = pod_of(manifest)
    return [argument for container in (pod["spec"]["containers"] if pod else []) for argument in container["command"]]


# Each kind's own


def _of_its_kind(manifest: Manifest) -> Iterator[str]:
    check = _KINDS.get(manifest["kind"])
    yield from check(manifest) if check else ()


def _service(manifest: Manifest) -> Iterator[str]:
    if manifest["metadata"].get("labels", {}).get("networking.knative.dev/visibility") != "cluster-local":
        yield "it is open to the world"
    spec = manifest["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    given = environment(container)
    side_by_side = spec.get("containerConcurrency", 0)
    if not side_by_side or int(given.get("THREADS", 0)) < side_by_side + SPARE_THREADS:
        yield "THREADS leaves none for the probes beside containerConcurrency"
    if spec.get("timeoutSeconds", 0) < 2 * _budget(container):  # it is the termination grace as well
        yield "timeoutSeconds is too close to the time budget"


def _budget(container: Manifest) -> float:
    return duration(environment(container).get("VAULTBELL_TIME_BUDGET", "25s"), "the time budget").total_seconds()


def _trigger(manifest: Manifest) -> Iterator[str]:
    spec = manifest["spec"]
    delivery = spec.get("delivery", {})
    if delivery.get("retry", 0) < RETRIES:
        yield "delivery: it is given up too soon"
    if delivery.get("backoffPolicy") != "exponential" or "backoffDelay" not in delivery:
        yield "delivery: it does not wait longer each time"
    sink = delivery.get("deadLetterSink")
    if not sink or sink == spec["subscriber"]:
        yield "delivery: what is given up is lost"
    if not re.fullmatch(r"PT[3-9]\dS", delivery.get("timeout", "")):
        yield "delivery: timeout is no time that the budget fits into"
    if spec.get("filter") or spec.get("filters"):
        yield "what does not pass the filter is nobody's"


def _ping_source(manifest: Manifest) -> Iterator[str]:
    spec = manifest["spec"]
    if spec["sink"].get("ref", {}).get("kind") != "Broker":
        yield "sink: this source gives up after two seconds, a broker does not"
    try:
        (asked,) = decode(Event(spec["data"].encode())).items
    except InvalidEvent as error:
        yield f"data: {error}"
        return
    if isinstance(asked, RollCall):
        yield from _once_a_period(spec.get("schedule", ""), spec.get("timezone"), asked.period)
        return
    if not isinstance(asked, Sweep) or asked.period is None or asked.lag is None:
        yield "data: no sweep with its period and lag"
        return
    yield from _schedule(spec.get("schedule", ""), spec.get("timezone"), asked.period, asked.lag)


def _cron_job(manifest: Manifest) -> Iterator[str]:
    spec = manifest["spec"]
    job = spec["jobTemplate"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    found = settings.load(environment(container) | GIVEN)
    period = found.sweep.period
    if "roll-call" in container["command"][-1]:
        period = found.roll_call
        yield from _once_a_period(spec["schedule"], spec.get("timeZone"), period)
    else:
        yield from _schedule(spec["schedule"], spec.get("timeZone"), period, found.sweep.lag)
    if not 0 < job.get("activeDeadlineSeconds", 0) < period.total_seconds():
        yield "activeDeadlineSeconds: it may still run when the next one is due"
    if job.get("backoffLimit", 6) < 1 or job["template"]["spec"].get("restartPolicy") != "Never":
        yield "a job that could not be finished is not tried again"


def _schedule(schedule: str, zone: str | None, period: timedelta, lag: timedelta) -> Iterator[str]:
    """The ticks of a day tile it with windows, and stand far enough from where a window flips."""
    if zone != "Etc/UTC":
        yield "the schedule's time zone is not UTC"
    times = list(_ticks(schedule))
    if not times:
        yield f"schedule: {schedule!r} is not read here: minutes and hours, and each day"
        return
    covered = [window(time, period, lag) for time in times]
    if any(of.end - of.start != period for of in covered):
        yield "schedule: a tick comes so close to its window's end that it covers two"
    elif any(one.end != next_.start for one, next_ in pairwise(covered)) or len(times) * period != timedelta(days=1):
        yield "schedule and period do not agree: ticks do not cover all time, each once"
    elif any(window(time + LATE, period, lag) != of for time, of in zip(times, covered, strict=True)):
        yield "schedule: a tick that comes late covers another window"


def _once_a_period(schedule: str, zone: str | None, period: timedelta | None) -> Iterator[str]:
    """A roll call a day, long enough after the midnight that ends it for the tasks of that day to have shown."""
    times = list(_ticks(schedule))
    if zone != "Etc/UTC" or period != timedelta(days=1) or len(times) != 1:
        yield "schedule: not once in each day, which is what it looks at"
    elif times[0].hour < 1:
        yield "schedule: too close to midnight for the day's last tasks to have ended"


def _ticks(schedule: str) -> Iterator[datetime]:
    """The ticks of a day, of schedules that are the same on each."""
    fields = schedule.split()
    if len(fields) != 5 or fields[2:] != ["*", "*", "*"]:
        return
    minutes, hours = (_numbers(field, count) for field, count in zip(fields[:2], (60, 24), strict=True))
    for hour in hours:
        for minute in minutes:
            yield datetime(2026, 1, 1, hour, minute, tzinfo=UTC)


def _numbers(field: str, count: int) -> list[int]:
    """What a field of a cron expression stands for: `*`, `7`, `7-59`, each with a step, by comma."""
    numbers: set[int] = set()
    for part in field.split(","):
        match = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?", part)
        if not match:
            return []
        first = int(match[1] or 0)
        last = int(match[2]) if match[2] else first if match[1] else count - 1
        numbers.update(range(first, min(last, count - 1) + 1, int(match[3] or 1)))
    return sorted(numbers)


def _deployment(manifest: Manifest) -> Iterator[str]:
    spec = manifest["spec"]
    pod = spec["template"]["spec"]
    if pod.get("terminationGracePeriodSeconds", 30) <= DRAIN_SECONDS + 5:
        yield "terminationGracePeriodSeconds: there is no time to finish what is in hand"
    if not any(container.get("ports") for container in pod["containers"]) and spec.get("minReadySeconds", 0) < 10:
        yield "minReadySeconds: without a probe, a pod that ends at once would take the old one's place"
    if spec.get("strategy", {}).get("rollingUpdate", {}).get("maxUnavailable") != 0:
        yield "strategy: a roll-out leaves nobody to consume"


def _budget_of_disruption(manifest: Manifest) -> Iterator[str]:
    if manifest["spec"].get("maxUnavailable") != 1:
        yield "with minAvailable a single pod would keep its node from ever being emptied"


def _service_account(manifest: Manifest) -> Iterator[str]:
    if manifest.get("automountServiceAccountToken") is not False:
        yield "its token lies in every pod"


def _network_policy(manifest: Manifest) -> Iterator[str]:
    spec = manifest["spec"]
    if spec.get("policyTypes") != ["Ingress", "Egress"]:
        yield "policyTypes: it does not hold both ways"
    blocks = [to["ipBlock"] for rule in spec.get("egress", []) for to in rule.get("to", []) if "ipBlock" in to]
    if not any("169.254.0.0/16" in block.get("except", []) for block in blocks):
        yield "the node's metadata service can be reached"
    if any("from" not in rule for rule in spec.get("ingress", [])):
        yield "anybody may come in"


_KINDS: dict[str, Callable[[Manifest], Iterator[str]]] = {
    "CronJob": _cron_job,
    "Deployment": _deployment,
    "NetworkPolicy": _network_policy,
    "PingSource": _ping_source,
    "PodDisruptionBudget": _budget_of_disruption,
    "Service": _service,
    "ServiceAccount": _service_account,
    "Trigger": _trigger,
}
