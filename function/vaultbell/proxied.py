"""The way through a proxy: urllib3's pools on our sockets.

To be imported only where a proxy is set: requests and urllib3 are dear at a cold start.
"""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy
from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, InvalidHeader, ProxyError
from urllib3.exceptions import TimeoutError as LibraryTimeout

from vaultbell.pool import POOL_SIZE, ProxyRefusal


def of_environment(url: str) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY name for this address."""
    return select_proxy(url, get_environ_proxies(url))


class Pool:
    """Kept connections to one host (`origin`: scheme, name and port) through one proxy.

    `connect` makes a socket to the proxy, `tls` is the context for both: the proxy's and the host's.
    """

    def __init__(
        self, origin: str, proxy: str, connect: Callable[[str, int], socket.socket], tls: Callable[[], ssl.SSLContext]
    ) -> None:
        # urllib3 logs the paths of addresses, which are secrets: at DEBUG, and where a header is odd
        logging.getLogger("urllib3").setLevel(logging.CRITICAL)
        scheme = origin.partition("://")[0]
        proxy_tls = {"proxy_ssl_context": tls()} if proxy.lower().startswith("https:") else {}
        manager = HTTPAdapter(pool_maxsize=POOL_SIZE).proxy_manager_for(proxy, **proxy_tls)
        manager.pool_classes_by_scheme = _pool_classes(connect)
        host_tls = {"ssl_context": tls()} if scheme == "https" else {}
        self._pool = manager.connection_from_url(origin, pool_kwargs=host_tls)
        self._forwarded = origin if scheme == "http" else ""

    def urlopen(self, *, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Response:
        """Ask (`url` is the path), and read the head of the answer. Raises as `vaultbell.pool.Pool` does."""
        with _plain_errors():
            answer = self._pool.urlopen(
                method,
                self._forwarded + url,
                body=body,
                headers=headers,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
                retries=False,
            )
        return Response(answer)


class Response:
    """See `vaultbell.pool.Response`."""

    def __init__(self, answer: BaseHTTPResponse) -> None:
        self.status = answer.status
        self.headers: Mapping[str, str] = answer.headers
        self._answer = answer

    def read(self, amount: int) -> bytes:
        """So many bytes of the body."""
        with _plain_errors():
            return self._answer.read(amount)

    def close(self) -> None:
        """End the connection, unless the body was read to its end: that gave it back."""
        self._answer.close()


@contextmanager
def _plain_errors() -> Iterator[None]:
    """urllib3's errors as those of the standard library, with what they wrap."""
    try:
        yield
    except http.client.HTTPException:  # some are both
        raise
    except LibraryTimeout:
        raise TimeoutError from None
    except InvalidHeader as error:
        raise http.client.HTTPException from error
    except ProxyError as error:
        raise ProxyRefusal(error) from error
    except HTTPError as error:
        raise OSError(error) from error


def _pool_classes(connect: Callable[[str, int], socket.socket]) -> dict[str, type[HTTPConnectionPool]]:
    class Seam(HTTPConnection):
        # The one seam that urllib3 offers for another kind of socket: its own SOCKS support overrides it too.
        def _new_conn(self) -> socket.socket:
            return connect(self.host, self.port)

    class TLSSeam(Seam, HTTPSConnection): ...

    class Direct(HTTPConnectionPool):
        ConnectionCls = Seam

    class TLSDirect(HTTPSConnectionPool):
        ConnectionCls = TLSSeam

    return {"http": Direct, "https": TLSDirect}
