"""SDK-HMAC-SHA256: requests signed with an access key and a secret key.

Source: the signer of the vendor's Python SDK (`huaweicloudsdkcore`, signer and credentials), and the API Gateway
guide, "Signing algorithm". Read beside it: canonical request, string to sign, signature, header.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, unquote, urlsplit

ALGORITHM = "SDK-HMAC-SHA256"
EMPTY_BODY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An access key; with temporary ones also the security token that belongs to it."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)


def headers(keys: KeyPair, method: str, url: str, now: datetime, project_id: str | None = None) -> dict[str, str]:
    """The headers that prove a request without a body, sent within 15 minutes of `now`."""
    parts = urlsplit(url)
    signed = {"Host": parts.netloc, "X-Sdk-Date": now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")}
    if project_id:
        signed["X-Project-Id"] = project_id
    if keys.security_token:
        signed["X-Security-Token"] = keys.security_token
    lines = sorted((name.lower(), value.strip()) for name, value in signed.items())
    names = ";".join(name for name, _ in lines)
    canonical = "\n".join(
        (
            method.upper(),
            _path(parts.path),
            _query(parts.query),
            "".join(f"{name}:{value}\n" for name, value in lines),
            names,
            EMPTY_BODY,
        )
    )
    to_sign = f"{ALGORITHM}\n{signed['X-Sdk-Date']}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(keys.secret_key.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
    signed["Authorization"] = f"{ALGORITHM} Access={keys.access_key}, SignedHeaders={names}, Signature={signature}"
    return signed


def _path(path: str) -> str:
    """Percent-encoded anew; it always ends with a slash, though the address that is sent does not."""
    encoded = quote(unquote(path))
    return encoded if encoded.endswith("/") else encoded + "/"


def _query(query: str) -> str:
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
