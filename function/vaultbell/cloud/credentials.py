"""Who we are to the cloud: a token that was given to us, or one that we fetch from IAM and keep.

Source: IAM API reference, "Obtaining a User Token Through Password Authentication": 201, the token in the header
`X-Subject-Token`, its times in the body; valid for 24 h, and a new one does not end the old one.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from vaultbell import retry_after, times, tracing
from vaultbell.budget import Budget
from vaultbell.cloud import answers, signing
from vaultbell.cloud.endpoints import Endpoints
from vaultbell.errors import Misconfigured, Permanent, Transient
from vaultbell.inbound import Project
from vaultbell.report import Object
from vaultbell.transport import Transport

MARGIN_MOST = 300.0  # seconds before its end at which a token is no longer used …
MARGIN_SHARE = 0.1  # … or this share of its life, whichever is less
LIFE_UNKNOWN = 3_600.0  # how long a token is kept whose times cannot be read
CLOCKS_DIFFER = 300.0  # seconds: of what is signed, the API takes what is no more than 15 minutes old
REFUSED_PAUSE = 30.0  # seconds for which a refused log-in is not repeated
ANSWER_MOST = 1 << 20


class Credentials(Protocol):
    """What a request to the cloud is proved with."""

    def headers(self, method: str, url: str, project: Project, budget: Budget) -> Mapping[str, str]:
        """The headers that prove us for this request; who asks tries again. Raises Transient or Misconfigured."""

    def renew(self, project: Project, refused: Mapping[str, str], said: Mapping[str, str]) -> bool:
        """Forget the proof that was refused, with an answer of these headers; whether there can be another one."""


@dataclass(frozen=True, slots=True)
class GivenToken:
    """A token from the settings (`OS_TOKEN`) or from the platform: used as it is, never renewed."""

    token: str = field(repr=False)

    def headers(self, method: str, url: str, project: Project, budget: Budget) -> Mapping[str, str]:
        """The token."""
        del method, url, project, budget
        return {"X-Auth-Token": self.token}

    def renew(self, project: Project, refused: Mapping[str, str], said: Mapping[str, str]) -> bool:
        """There is no other."""
        del project, refused, said
        return False


class NoCredentials:
    """None were set, and the platform gave none with this event."""

    def headers(self, method: str, url: str, project: Project, budget: Budget) -> Mapping[str, str]:
        """Always Misconfigured."""
        del method, url, project, budget
        raise Misconfigured(
            "there are no credentials for the cloud: set OS_USERNAME, OS_PASSWORD and OS_USER_DOMAIN_NAME, "
            "or OS_TOKEN, or OS_ACCESS_KEY and OS_SECRET_KEY, or give the function an agency",
            cause="credentials",
        )

    def renew(self, project: Project, refused: Mapping[str, str], said: Mapping[str, str]) -> bool:
        """There is no other."""
        del project, refused, said
        return False


@dataclass(slots=True)
class AccessKey:
    """Requests signed with an access key.

    A refused key rests: after more than five refusals in a row the cloud locks it for five minutes ("Common Errors
    Related to IAM Authentication Information", API Gateway guide). One that was refused while our clock and the API's
    (`Date`) differ is tried once more, signed by the API's.
    """

    keys: signing.KeyPair
    ahead: float = 0.0  # seconds by which the API's clock goes before ours, as far as that has had a key refused
    rests_until: float = 0.0
    refused: set[str] = field(default_factory=set)  # the projects for which it was, while it rests

    def headers(self, method: str, url: str, project: Project, budget: Budget) -> Mapping[str, str]:
        """The signature of this request."""
        del budget
        rest = self.rests_until - time.monotonic()
        if rest > 0 and project.project_id in self.refused:
            raise Misconfigured("the API has lately refused our access key", cause="credentials")
        if rest > 0:  # nobody has said anything about this project
            raise Transient("our access key rests: the API has lately refused it elsewhere", after=rest)
        now = datetime.now(UTC) + timedelta(seconds=self.ahead)
        return signing.headers(self.keys, method, url, now, project.project_id)

    def renew(self, project: Project, refused: Mapping[str, str], said: Mapping[str, str]) -> bool:
        """There is another where the API's clock is another than we thought; else let this key rest."""
        del refused
        at = retry_after.moment(said.get("Date") or "")
        ahead = self.ahead if at is None else at - datetime.now(UTC).timestamp()
        if abs(ahead - self.ahead) > CLOCKS_DIFFER:
            self.ahead = ahead
            return True
        if time.monotonic() >= self.rests_until:
            self.refused.clear()
        self.refused.add(project.project_id)
        self.rests_until = time.monotonic() + REFUSED_PAUSE
        return False


@dataclass(slots=True)
class _Session:
    """What is known of one project's log-in.

    Times are on the monotonic clock: a clock set back does not keep a dead token alive.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    token: str | None = None
    until: float = 0.0
    project_id: str | None = None  # as IAM says it
    refusal: Misconfigured | None = None
    refused_until: float = 0.0


class Password:
    """A user's name and password: one token a project and process, fetched by one thread at a time."""

    def __init__(self, http: Transport, endpoints: Endpoints, *, user: str, password: str, domain: str) -> None:
        self._http = http
        self._endpoints = endpoints
        self._user: Object = {"name": user, "password": password, "domain": {"name": domain}}
        self._sessions: dict[str, _Session] = {}
        self._sessions_lock = threading.Lock()

    def headers(self, method: str, url: str, project: Project, budget: Budget) -> Mapping[str, str]:
        """The project's token, fetched first if need be."""
        del method, url
        session = self._session(project.project_id)
        return {"X-Auth-Token": self._token(session, {"id": project.project_id}, project.region, budget)}

    def renew(self, project: Project, refused: Mapping[str, str], said: Mapping[str, str]) -> bool:
        """Drop the token that was refused, unless another thread has already put a new one in its place."""
        del said
        session = self._session(project.project_id)
        if session.token == refused["X-Auth-Token"]:
            session.until = 0.0
        return True

    def project_id_of(self, name: str, budget: Budget) -> str:
        """The id of a project that the settings give by name only; its token is kept. Raises as `headers` does."""
        session = self._session(f"named {name}")
        answers.tried(lambda: self._token(session, {"name": name}, None, budget), budget)
        if session.project_id is None:
            session.until = 0.0
            raise Transient("IAM does not say which project the token is for")
        with self._sessions_lock:
            self._sessions[session.project_id] = session
        return session.project_id

    def _session(self, key: str) -> _Session:
        with self._sessions_lock:
            return self._sessions.setdefault(key, _Session())

    def _token(self, session: _Session, scope: Object, region: str | None, budget: Budget) -> str:
        token, until = session.token, session.until
        if token is not None and time.monotonic() < until:
            return token
        if not session.lock.acquire(timeout=budget.left):
            raise Transient("the time budget was spent waiting for another thread's log-in", reason="timeout")
        try:
            now = time.monotonic()
            if session.token is not None and now < session.until:
                return session.token
            if (refusal := session.refusal) and now < session.refused_until:
                raise Misconfigured(refusal.message, cause=refusal.cause, status=refusal.status)
            try:
                with tracing.span("log_in"):
                    session.token, said = self._fetch(scope, region, budget)
            except Misconfigured as error:
                if error.status in (401, 403):
                    session.refusal, session.refused_until = error, time.monotonic() + REFUSED_PAUSE
                raise
            project, life = said.get("project"), _life(said)
            named = project.get("id") if isinstance(project, dict) else None
            session.project_id = named if isinstance(named, str) else None
            session.until = now + life - min(MARGIN_MOST, life * MARGIN_SHARE)
            return session.token
        finally:
            session.lock.release()

    def _fetch(self, scope: Object, region: str | None, budget: Budget) -> tuple[str, Object]:
        """A new token, and the body's `token`: the answer to `POST /v3/auth/tokens`, asked once."""
        identity: Object = {"methods": ["password"], "password": {"user": self._user}}
        body = json.dumps({"auth": {"identity": identity, "scope": {"project": scope}}}).encode()
        url = f"{self._endpoints.iam(region)}/auth/tokens?nocatalog=true"
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        try:
            answer = self._http.send(
                "POST", url, headers=headers, body=body, budget=budget.capped(answers.TRY_SECONDS), read=ANSWER_MOST
            )
        except Permanent as error:
            raise Misconfigured(f"IAM: {error.message}", cause="iam", reason=error.reason) from None
        if answer.status not in (200, 201):
            raise answers.fault("IAM", answer, cause="log-in")
        token = answer.headers.get("X-Subject-Token")
        if not token:
            raise Transient("IAM answered without a token", status=answer.status)
        found = answers.object_in("IAM", answer).get("token")
        return token, found if isinstance(found, dict) else {}


def _life(scope: Object) -> float:
    """How long a token lives, in seconds, by the server's own two times, so that our clock does not matter.

    One that would have ended before it began is kept as one whose times cannot be read: it was just given to us.
    """
    issued, expires = times.read(scope.get("issued_at")), times.read(scope.get("expires_at"))
    return (expires - issued).total_seconds() if issued and expires and expires > issued else LIFE_UNKNOWN
