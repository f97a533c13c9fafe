"""Who may come in: by token, by signature, and for which projects."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vaultbell import standard_webhooks
from vaultbell.errors import InvalidEvent


class Project(NamedTuple):
    """A project that may be looked up, and its region where it is not the default one."""

    project_id: str
    region: str | None = None


class Doorkeeper:
    """Asks every HTTP and APIG event for its proof. With neither token nor secret set, the door is open."""

    def __init__(self, token: str | None = None, secrets: Sequence[str] = ()) -> None:
        self._token = token.encode() if token else None
        self._keys = [standard_webhooks.key_of(secret) for secret in secrets]

    @property
    def is_open(self) -> bool:
        """Whether anybody is let in."""
        return self._token is None and not self._keys

    def knows(self, headers: Mapping[str, str], query_tokens: Sequence[str]) -> bool:
        """Whether the head of a request is proof enough. Where only a signature can help, its body must be read."""
        if self.is_open:
            return True
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = [headers.get("x-vaultbell-token", ""), bearer.strip() if scheme.lower() == "bearer" else ""]
        if self._token and any(hmac.compare_digest(self._token, _bytes(text)) for text in (*given, *query_tokens)):
            return True
        if not self._keys or "webhook-signature" not in headers:
            raise InvalidEvent("a right token or signature is needed", status=401, code="unauthenticated")
        return False

    def verify(self, headers: Mapping[str, str], body: bytes, now: float) -> None:
        """Raise InvalidEvent (401) unless the body is signed by one of the secrets; `now` in epoch seconds."""
        standard_webhooks.verify(self._keys, headers, body, now)


def allowed(
    project_id: str | None, region: str | None, projects: Sequence[Project], default_region: str | None
) -> list[Project]:
    """The projects to look in: the one that is named if it is allowed, else all; InvalidEvent (403) for any other.

    Nothing of an event becomes part of a host name: its region must be that of the allowed project.
    """
    found = [project for project in projects if project_id in (None, project.project_id)]
    if not found:
        raise InvalidEvent("the project is not allowed (VAULTBELL_PROJECTS)", status=403, code="project_not_allowed")
    if region is not None:
        found = [project for project in found if (project.region or default_region) == region]
        if not found:
            message = "the region is not that of an allowed project (VAULTBELL_PROJECTS, OS_REGION_NAME)"
            raise InvalidEvent(message, status=403, code="region_not_allowed")
    return found


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")  # API Gateway's headers are JSON: they may hold half a surrogate pair
