"""What a format makes of a notification, and what it may know of the channel for that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo
from types import MappingProxyType
from typing import NamedTuple

from vaultbell.report import JSON
from vaultbell.text import whole


class Post(NamedTuple):
    """What is POSTed. `headers` come besides the content type; `path` follows the channel's address."""

    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = MappingProxyType({})
    path: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """What the settings of a channel say to its format: its receiver's key, when an alert ends, the reader's zone."""

    routing_key: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    expires: timedelta = timedelta(days=7)
    zone: tzinfo | None = None


def encoded(message: JSON) -> bytes:
    """JSON in UTF-8; half a surrogate pair, which JSON can name and UTF-8 cannot hold, becomes U+FFFD."""
    return whole(json.dumps(message, ensure_ascii=False, separators=(",", ":"))).encode()
