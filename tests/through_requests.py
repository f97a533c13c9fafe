"""The transport's connections, replaced by `requests`: what `responses` answers is answered to Vaultbell as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from unittest.mock import patch

import requests

from vaultbell.pool import Pool


class _Response:
    def __init__(self, answer: requests.Response) -> None:
        self.status, self.headers, self._answer = answer.status_code, answer.headers, answer

    def read(self, amount: int) -> bytes:
        return bytes(self._answer.raw.read(amount))

    def close(self) -> None:
        self._answer.close()


def _urlopen(pool: Pool, *, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> _Response:
    try:
        answer = requests.request(
            method, pool.origin + url, headers=headers, data=body, allow_redirects=False, stream=True, timeout=30
        )
    except requests.Timeout:
        raise TimeoutError from None
    return _Response(answer)


@contextmanager
def through_requests() -> Iterator[None]:
    """Within, every request of Vaultbell that takes no proxy is one of `requests`."""
    with patch.object(Pool, "urlopen", _urlopen):
        yield
