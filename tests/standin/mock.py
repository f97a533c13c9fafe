"""The stand-in cloud inside the process: requests to its addresses are answered without a socket."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import requests
import responses

from standin import api
from standin.state import Cloud

Said = tuple[int, dict[str, str], bytes | Exception]


@contextmanager
def mock_cloud(cloud: Cloud | None = None) -> Iterator[Cloud]:
    """As a context manager or a decorator: IAM and CBR at `cloud.iam_url` and `cloud.cbr_url`, answered by `responses`.

    Loopback stays reachable, other hosts do not. What only a wire can do becomes the exception that `requests` raises.
    """
    cloud = Cloud() if cloud is None else cloud
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.add_passthru(re.compile(r"https?://(127\.0\.0\.1|localhost|\[::1\])[:/]"))
        for url in {cloud.iam_url, cloud.cbr_url}:
            for method in (responses.GET, responses.POST):
                mock.add_callback(method, re.compile(re.escape(url) + "/.*"), _callback(cloud))
        yield cloud


def _callback(cloud: Cloud) -> Callable[[requests.PreparedRequest], Said]:
    def answer(request: requests.PreparedRequest) -> Said:
        parts = urlsplit(str(request.url))
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        headers.setdefault("host", parts.netloc)
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        reply = api.answer(cloud, str(request.method), parts.path, parts.query, headers, body)
        return reply.status, reply.headers, _raised(reply.fault.kind) if reply.fault else reply.body

    return answer


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _raised(kind: str) -> Exception:
    if kind in ("hang", "hang_body", "trickle"):
        return requests.exceptions.ReadTimeout("the stand-in cloud was told to be silent")
    if kind == "truncate":
        return requests.exceptions.ChunkedEncodingError("the stand-in cloud was told to stop half-way")
    return requests.exceptions.ConnectionError("the stand-in cloud was told to break the connection")
