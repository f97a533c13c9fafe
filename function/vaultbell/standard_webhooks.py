"""Standard Webhooks 1.0, both ways (https://www.standardwebhooks.com, "Signature scheme").

The signed text is `{webhook-id}.{webhook-timestamp}.{body}`; the signature is `v1,` and the base64 of its
HMAC-SHA256. Several signatures stand in one header, parted by blanks, while secrets are being exchanged.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence

from vaultbell.errors import InvalidEvent

PREFIX = "whsec_"
TOLERANCE_SECONDS = 5 * 60
SECRET_BYTES = range(24, 65)


def key_of(secret: str) -> bytes:
    """The key in a secret, `whsec_` and the base64 of 24 to 64 bytes; ValueError where it is not one."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(PREFIX) or len(key) not in SECRET_BYTES:
        raise ValueError("a secret is `whsec_` and the base64 of 24 to 64 bytes")
    return key


def sign(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a message, signed with each key; `timestamp` is in seconds since the epoch."""
    signatures = " ".join(_signature(key, message_id, str(timestamp), body) for key in keys)
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": signatures}


def verify(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Raise InvalidEvent (401) unless one of the keys signed this body within 5 minutes of `now` (epoch seconds)."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > 12:
        raise InvalidEvent("the message carries no valid signature headers", status=401, code="unauthenticated")
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise InvalidEvent("the message was not signed within the last 5 minutes", status=401, code="unauthenticated")
    given = [_bytes(part) for part in headers.get("webhook-signature", "").split(" ")]
    right = [_signature(key, message_id, timestamp, body).encode() for key in keys]
    if not any(hmac.compare_digest(mine, theirs) for mine in right for theirs in given):
        raise InvalidEvent("the signature does not fit the message", status=401, code="unauthenticated")


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    digest = hmac.digest(key, b"%b.%b." % (_bytes(message_id), _bytes(timestamp)) + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")  # a header that came as JSON may hold half a surrogate pair
