"""The cloud: whether it lets us in, shows us a task, and has the same time as we."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from urllib.parse import urlsplit

from vaultbell import times
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.cli.checks import Check, Finding, failure, ok, warning, ways
from vaultbell.cloud.cbr import Cbr, Query
from vaultbell.cloud.credentials import AccessKey, GivenToken, NoCredentials, Password
from vaultbell.errors import Misconfigured, Permanent, TaskMissing, Transient
from vaultbell.inbound import Project
from vaultbell.settings import Settings
from vaultbell.transport import Transport

SKEW_SECONDS, SKEW_MOST = 30, 300  # webhooks are refused whose time is five minutes off, signed requests at fifteen
REACH = "See that it can be reached from here: OS_REGION_NAME, OS_AUTH_URL, CBR_ENDPOINT, the firewall, a proxy."
LOG_IN = "Check OS_USERNAME, OS_PASSWORD and OS_USER_DOMAIN_NAME (or OS_TOKEN, or the access key), and the project."
RIGHTS = "Give the user or the agency these rights in the project: cbr:tasks:list, cbr:tasks:get"


def checks(bell: Bell, settings: Settings) -> Iterator[Check]:
    """Each project's tasks, and each host's certificate and clock."""
    cbr = bell.cbr
    if isinstance(cbr.credentials, NoCredentials) and settings.platform == "functiongraph":
        yield Check("credentials", _lent, LOG_IN)
    elif not settings.projects:
        yield Check("project", partial(_named, bell, settings), LOG_IN)
    else:
        for project in bell.projects.known:
            yield Check(f"project {project.project_id}", partial(_project, bell, project), REACH)
    yield from hosts(bell)


def hosts(bell: Bell) -> Iterator[Check]:
    """The hosts of the cloud that are asked for anything, each once."""
    cbr = bell.cbr
    regions = {project.region for project in bell.projects.known} or {None}
    bases = {urlsplit(base)[:2]: ("API", base) for base in map(cbr.endpoints.cbr, sorted(regions, key=str))}
    if isinstance(cbr.credentials, Password):
        for base in map(cbr.endpoints.iam, sorted(regions, key=str)):
            bases.setdefault(urlsplit(base)[:2], ("IAM", base))
    for name, base in bases.values():
        thing = f"{name} {urlsplit(base).hostname}"
        yield Check(thing, partial(_host, thing, cbr.http, base), REACH)
        yield Check(f"{thing}: clock", partial(_clock, thing, cbr.http, base), REACH)


def _host(thing: str, http: Transport, base: str, budget: Budget) -> Iterator[Finding]:
    yield from ways.look(thing, http, base, budget)
    if base.startswith("http:"):
        words = "it is not https: whoever sits on the way can read what proves us to the cloud"
        yield warning(f"{thing}: TLS", words, "Give OS_AUTH_URL and CBR_ENDPOINT as https://…")


def _lent(_budget: Budget) -> Iterator[Finding]:
    words = "they come with each event, from the function's agency: they cannot be tried here"
    yield warning("credentials", words, f"{RIGHTS}.")


def _named(bell: Bell, settings: Settings, budget: Budget) -> Iterator[Finding]:
    """A project that the settings give by its name."""
    (project,) = bell.projects.all(budget)
    yield ok("project", f"{settings.cloud.project_name} is {project.project_id}")
    yield from _project(bell, project, budget)


def _project(bell: Bell, project: Project, budget: Budget) -> Iterator[Finding]:
    """A token, the list, one task, and the vaults where they are watched: each needs the one before it."""
    thing, cbr = f"project {project.project_id}", bell.cbr
    try:
        cbr.credentials.headers("GET", cbr.endpoints.cbr(project.region), project, budget)
    except Misconfigured as error:
        yield failure(thing, error.message, REACH if error.cause in ("iam", "endpoint") else LOG_IN)
        return
    match cbr.credentials:
        case Password():
            yield ok(thing, "a token was obtained")
        case GivenToken():
            yield ok(thing, "a token is given (OS_TOKEN): it ends some day, and nobody renews it")
        case AccessKey():
            yield ok(thing, "requests are signed with an access key")
    try:
        yield from _tasks(thing, cbr, project, budget)
        if bell.watch or bell.roll_call:
            next(cbr.vaults(project, budget), None)
            yield ok(thing, "the vaults are readable")
        if bell.watch:
            cbr.policies(project, budget)
            yield ok(thing, "the policies are readable, by which it is told why a resource has no backup")
    except Misconfigured as error:
        yield failure(thing, error.message, _to_do(error))


def _to_do(error: Misconfigured) -> str:
    if error.cause == "credentials":
        return LOG_IN
    return (
        f"{RIGHTS}; for `watch` and roll calls, cbr:vaults:list; for `watch`, cbr:policies:list."
        if error.status == 403
        else REACH
    )


def _tasks(thing: str, cbr: Cbr, project: Project, budget: Budget) -> Iterator[Finding]:
    one = replace(cbr, page_size=1)
    task = next(one.list(project, Query(), budget), None)
    if task is None or task.id is None:
        to_do = "See that this is the project that has the backups; else make one, and look again."
        yield warning(thing, "the task list is empty: no single task could be looked up", to_do)
        return
    try:
        found = one.show(project, task.id, budget)
    except TaskMissing:
        to_do = "Look again. If it stays so, give the user or the agency the right cbr:tasks:get in the project."
        yield warning(thing, f"the list has the task {task.id}, and the look-up does not know it", to_do)
        return
    ended = found.ended_at or found.updated_at
    yield ok(thing, f"the list and the task {task.id} are readable{f' ({times.plain(ended)})' if ended else ''}")


def _clock(thing: str, http: Transport, url: str, budget: Budget) -> Iterator[Finding]:
    """Our clock against the `Date` of an answer (RFC 9110, 6.6.1), whatever else the answer says."""
    try:
        began = time.time()
        answer = http.send("GET", url, headers={}, budget=budget)
        ours = datetime.fromtimestamp((began + time.time()) / 2, UTC)
    except Permanent:
        return  # the look at its certificate tells why
    except Transient as error:
        yield warning(f"{thing}: clock", f"it could not be compared: {error.message}", REACH)
        return
    try:
        skew = (ours - parsedate_to_datetime(answer.headers.get("Date") or "")).total_seconds()
    except (ValueError, TypeError):  # without a zone it cannot be compared
        yield warning(
            f"{thing}: clock", "it does not say what time it is", "Compare this machine's clock by hand (UTC)."
        )
        return
    words = f"this clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
    to_do = "Set this machine's clock by NTP: signatures are refused whose time is wrong, and sweeps look too early."
    if abs(skew) >= SKEW_SECONDS:
        yield (failure if abs(skew) >= SKEW_MOST else warning)(f"{thing}: clock", words, to_do)
    else:
        yield ok(f"{thing}: clock", "the same as here" if abs(skew) < 2 else words)
