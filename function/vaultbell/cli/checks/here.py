"""What can be seen without asking anybody: files, topics, proxies, the door, and the platform's own variables."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from vaultbell.cli.checks import Finding, failure, ok, warning
from vaultbell.raw_settings import BY_FILE, CONFIG, host_of
from vaultbell.settings import Settings

_FILE = re.compile(r"(?<!\$)\$\{file:([^{}]*)\}")


def files(environ: Mapping[str, str], settings: Settings | None) -> Iterator[Finding]:
    """The files that hold secrets: whether others can read them, or write into them."""
    config = environ.get(CONFIG, "")
    text = _text(config)
    named = {name: path for name in sorted(BY_FILE) if (path := environ.get(f"{name}_FILE"))}
    held = [(f"{name}_FILE", path) for name, path in named.items()]
    held += [("${file:…}", path) for path in dict.fromkeys(_FILE.findall(text))]
    if settings and any(len(secret) >= 8 and secret in text for secret in settings.known_secrets()):
        held.append((CONFIG, config))
    for name, path in held:
        yield from _file(f"file {path}", name, Path(path))


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", errors="replace") if path else ""
    except OSError:
        return ""  # the settings say so


def _file(thing: str, name: str, path: Path) -> Iterator[Finding]:
    try:
        mode = path.stat().st_mode
        reached = all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)
    except OSError as error:
        yield failure(thing, f"{name}: it cannot be read: {error.strerror}", "Put it there, and let Vaultbell read it.")
        return
    others = f"{name}: mode {stat.S_IMODE(mode):04o}"
    to_do = "chmod 600 it; as a Kubernetes secret, mount it with defaultMode 0440."
    if mode & stat.S_IWOTH and reached:
        yield failure(thing, f"{others}, everybody can write into it", to_do)
    elif mode & stat.S_IROTH and reached:
        yield warning(thing, f"{others}, everybody here can read it", to_do)
    else:
        yield ok(thing, f"{others}, others cannot read it")


def door(settings: Settings) -> Iterator[Finding]:
    """Who may come in, and which topics are believed."""
    proofs = {"a token": settings.inbound_token, "a signature": settings.inbound_secrets}
    if given := [name for name, proof in proofs.items() if proof]:
        yield ok("door", f"{' or '.join(given)} is asked for")
    elif settings.platform is None:
        to_do = "Set VAULTBELL_INBOUND_TOKEN or VAULTBELL_INBOUND_SECRET, unless the way in is private."
        yield warning("door", "it is open: whoever reaches it can send events", to_do)
    regions = {project.region or settings.cloud.region for project in settings.projects} | {settings.cloud.region}
    ids = {project.project_id for project in settings.projects}
    for topic in settings.smn_topics:
        _, _, region, project_id, name = topic.split(":", 4)
        if region not in regions:
            to_do = "See whether its region is meant: the regions are those of OS_REGION_NAME and VAULTBELL_PROJECTS."
            yield failure(f"SMN topic {name}", f"it is of the region {region}, and no project of ours is", to_do)
        elif ids and project_id not in ids:
            to_do = "See whether that is meant: its project is not among VAULTBELL_PROJECTS."
            yield warning(f"SMN topic {name}", "it is of another project than those that are looked up", to_do)
        else:
            yield ok(f"SMN topic {name}", f"well-formed, of the region {region}")


def proxies(settings: Settings) -> Iterator[Finding]:
    """Which proxies are on the way, by name."""
    for name, hosts in settings.proxies.items():
        yield ok("proxy", f"{name} is {hosts}")
    for name, channel in settings.channels.items():
        if proxy := getattr(channel, "proxy", None):
            yield ok("proxy", f"that of channel {name} is {host_of(proxy)}")


def platform(environ: Mapping[str, str], settings: Settings) -> Iterator[Finding]:
    """What the platform's variables tell of its limits and retries; most of it they do not."""
    if settings.platform == "functiongraph" or "RUNTIME_FUNC_NAME" in environ:
        yield from _functiongraph(environ.get("RUNTIME_TIMEOUT", ""), settings.time_budget)
    elif "K_SERVICE" in environ:
        yield from _knative(settings)
    elif "KUBERNETES_SERVICE_HOST" in environ:
        yield ok(
            "platform", "Kubernetes: it sends no events, and so repeats none; the queue's consumer has its own ladder"
        )
    else:
        words = "neither FunctionGraph nor Knative by its variables: whoever sends events repeats them, or does not"
        yield ok("platform", words)


def _functiongraph(timeout: str, budget: float) -> Iterator[Finding]:
    """RUNTIME_TIMEOUT, in seconds, is preset ("Configuring Environment Variables", FunctionGraph user guide)."""
    if not timeout.isdecimal():
        to_do = f"See in the function's settings that its timeout is above VAULTBELL_TIME_BUDGET, {budget:g} s."
        yield warning("timeout", "RUNTIME_TIMEOUT is not readable here", to_do)
    elif int(timeout) <= budget:
        to_do = "Raise the function's timeout above VAULTBELL_TIME_BUDGET, or lower that."
        yield warning(
            "timeout", f"the platform ends an event after {timeout} s, the time budget is {budget:g} s", to_do
        )
    else:
        yield ok("timeout", f"the platform gives an event {timeout} s, the time budget is {budget:g} s")
    to_do = "See that asynchronous calls are tried again (3 at most) and have a failure destination."
    yield warning("retries", "FunctionGraph does not tell its retry settings to a function", to_do)


def _knative(settings: Settings) -> Iterator[Finding]:
    to_do = "kubectl get triggers,brokers -o yaml: see delivery.retry and delivery.deadLetterSink."
    yield warning("retries", "Knative does not tell the retries of a trigger to its subscriber", to_do)
    if settings.unfinished != "leave":
        to_do = "Set VAULTBELL_UNFINISHED=leave, and deploy the sweep, which tells how a running task ends."
        yield warning("unfinished", "a broker gives an event up long before a backup ends", to_do)
