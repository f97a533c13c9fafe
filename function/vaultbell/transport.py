"""The one way out: adapter, pool, TLS context, deadline, address guard.

Every wait on this way (name look-up, connecting, handshake, each byte) ends by one deadline, and what goes wrong is
`Transient` or `Permanent` with a text that names the host alone.
"""

from __future__ import annotations

import http.client
import logging
import os
import socket
import ssl
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import unquote

import certifi
import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidHeader, ProxyError
from requests.utils import get_environ_proxies, select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as LibraryTimeout
from urllib3.util import parse_url

from vaultbell import addresses, tracing
from vaultbell.budget import Budget
from vaultbell.errors import Permanent, Transient
from vaultbell.pool import Pool

if TYPE_CHECKING:
    from typing_extensions import Buffer
    from urllib3 import BaseHTTPResponse, ProxyManager

POOLS, POOL_SIZE = 32, 64
SLACK_SECONDS = 0.01  # how far a socket's time-out may be off: to set one is a call of the system
GRACE_SECONDS = 0.05  # how long a body that nobody reads is waited for, so that its connection can be kept
LEFTOVER = 64 * 1024  # and how much of it is taken
PORTS = {"http": 80, "https": 443}
# The first that fits is told, and counted by its last word.
WORDS: tuple[tuple[tuple[type[BaseException], ...], str, str], ...] = (
    ((TimeoutError, requests.Timeout, LibraryTimeout), "no answer in time", "timeout"),
    ((socket.gaierror,), "the name was not found", "dns"),
    ((ConnectionRefusedError,), "connection refused", "connection"),
    ((ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError), "the connection was lost", "connection"),
    ((ssl.SSLError,), "the TLS handshake failed", "tls"),
    ((http.client.IncompleteRead,), "the answer was cut short", "protocol"),
    ((http.client.HTTPException, InvalidHeader), "the answer is not HTTP", "protocol"),
    ((ProxyError,), "the proxy does not let us through", "proxy"),
)

SocketAddress = Any  # (address, port), and for IPv6 flow and scope: as the standard library types it
Found = list[tuple[int, SocketAddress]]  # with the address family


class Answer(NamedTuple):
    """What came back. `headers` may be asked in any case; `body` is what `read` allowed for."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Refused(Exception):
    """The guard lets nobody connect to this address of the host; `always`: no setting would allow it."""

    def __init__(self, host: str, ip: str, reason: str, *, always: bool) -> None:
        super().__init__(reason)
        self.host, self.ip, self.reason, self.always = host, ip, reason, always


class _Deadline(threading.local):
    at = 0.0  # outside of `bound` nothing may wait


_deadline = _Deadline()


def _in_time(sock: socket.socket) -> None:
    left = _deadline.at - time.monotonic()
    if left <= 0:
        raise TimeoutError
    known = sock.gettimeout()
    if known is None or abs(known - left) > SLACK_SECONDS:
        sock.settimeout(left)


# A time-out of the libraries counts each receive anew, so a trickling peer stretches it. These sockets measure every
# operation against the deadline of the thread that asks for it: a kept connection has another owner each time.
class _Socket(socket.socket):
    def connect(self, address: SocketAddress) -> None:
        _in_time(self)
        super().connect(address)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        _in_time(self)
        return super().recv(bufsize, flags)

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        _in_time(self)
        return super().recv_into(buffer, nbytes, flags)

    def send(self, data: Buffer, flags: int = 0) -> int:
        _in_time(self)
        return super().send(data, flags)

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        _in_time(self)
        super().sendall(data, flags)


class _TLSSocket(ssl.SSLSocket):
    # recv and recv_into come down to read, sendall to send
    def read(self, len: int = 1024, buffer: Buffer | None = None) -> bytes:
        _in_time(self)
        return super().read(len, buffer)

    def send(self, data: Buffer, flags: int = 0) -> int:
        _in_time(self)
        return super().send(data, flags)

    def do_handshake(self, block: bool = False) -> None:
        _in_time(self)
        super().do_handshake(block)


class _Context(ssl.SSLContext):
    sslsocket_class = _TLSSocket

    def set_alpn_protocols(self, alpn_protocols: object) -> None:
        """Do nothing: urllib3 offers http/1.1 here, and mail shares the context: a mail server may refuse that."""


_contexts_lock = threading.Lock()


@cache
def _context(ca_file: str | None) -> _Context:
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    paths = ssl.get_default_verify_paths()
    if ca_file is None and (paths.cafile or (paths.capath and any(Path(paths.capath).iterdir()))):
        context.set_default_verify_paths()
    else:
        context.load_verify_locations(ca_file or certifi.where())
    return context


def contexts_built() -> int:
    """How often a trust store was loaded in this process."""
    return _context.cache_info().misses


class _Target(NamedTuple):
    url: str  # without user, password and fragment
    scheme: str
    host: str
    port: int
    path: str
    authorization: str | None


@lru_cache(maxsize=256)
def _target(url: str) -> _Target:
    """Raises ValueError for what is no http(s) address."""
    parts = parse_url(url)
    if parts.scheme not in PORTS or not parts.host:
        raise ValueError
    return _Target(
        url=parts._replace(auth=None, fragment=None).url,
        scheme=parts.scheme,
        host=parts.host.strip("[]"),
        port=PORTS[parts.scheme] if parts.port is None else parts.port,
        path=parts.request_uri,
        # RFC 7617, the characters in UTF-8
        authorization=f"Basic {b64encode(unquote(parts.auth).encode()).decode()}" if parts.auth else None,
    )


def _look_up(host: str, port: int, flags: int = 0) -> Found:
    return [(family, at) for family, *_, at in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)]


def _literal(host: str, port: int) -> Found:
    """The address that this host is, in any of the forms that need no look-up (`127.1` is one), or nothing."""
    try:
        return _look_up(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        return []


def _resolve(host: str, port: int, budget: Budget) -> Found:
    """The addresses of a host. getaddrinfo knows no time-out, so it runs in a thread that nobody has to wait for."""
    if literal := _literal(host, port):
        return literal
    found: Future[Found] = Future()

    def ask() -> None:
        try:
            found.set_result(_look_up(host, port))
        except (OSError, UnicodeError) as error:
            found.set_exception(error)

    threading.Thread(target=ask, name="look-up", daemon=True).start()
    return found.result(budget.left)


def _connected(family: int, where: SocketAddress) -> socket.socket:
    sock = _Socket(family, socket.SOCK_STREAM)
    try:
        sock.connect(where)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:  # a server may throw its own time-out into any thread
        sock.close()
        raise
    return sock


def certificates(sock: socket.socket | None) -> tuple[bytes, ...]:
    """What the other side has proved itself by, DER, its own first: before Python 3.13 that alone. None without TLS."""
    if not isinstance(sock, ssl.SSLSocket):
        return ()
    if sys.version_info >= (3, 13):
        return tuple(sock.get_verified_chain())
    own = sock.getpeercert(binary_form=True)
    return (own,) if own else ()


def _fault(host: str, error: BaseException) -> Transient | Permanent:
    """What an exception of the libraries means. Their texts hold addresses and headers: none of them is passed on."""
    causes = [error]
    for cause in causes:  # they wrap what happened in `args` and `reason`
        causes += [part for part in (*cause.args, getattr(cause, "reason", None)) if isinstance(part, BaseException)]
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Permanent(f"{host}: its certificate is not trusted ({cause.verify_message})", reason="tls")
    for types, words, reason in WORDS:
        if any(isinstance(cause, types) for cause in causes):
            return Transient(f"{host}: {words}", reason=reason)
    if isinstance(error, ValueError):
        return Permanent(f"{host}: its address, its proxy or a header cannot be sent as it is")
    number = next((cause.errno for cause in causes if isinstance(cause, OSError) and cause.errno), None)
    return Transient(f"{host}: no connection{f' ({os.strerror(number)})' if number else ''}", reason="connection")


class _Request(requests.PreparedRequest):
    """A request as it is sent: preparing it would cost more than the network on loopback."""

    def __init__(self, method: str, target: _Target, path: str, headers: Mapping[str, str], body: bytes | None) -> None:
        super().__init__()
        self.target = target
        self.method, self.url, self.body = method, target.url + path, body
        self.path = (target.path.removesuffix("/") if path else target.path) + path
        self.headers = {"User-Agent": "vaultbell", **headers}  # type: ignore[assignment]  # a dict does, at less cost
        if target.authorization:
            self.headers["Authorization"] = target.authorization
        if body is not None:
            self.headers["Content-Length"] = str(len(body))


class _Adapter(HTTPAdapter):
    """requests' adapter on our sockets and our TLS context. All that is overridden here is meant to be."""

    def __init__(self, transport: Transport) -> None:
        super().__init__(pool_connections=POOLS, pool_maxsize=POOL_SIZE)
        self._transport = transport
        self._classes = _pool_classes(transport)
        self._pool = lru_cache(maxsize=POOLS)(self._new_pool)  # finding it anew costs as much as parsing an answer

    def _new_pool(self, scheme: str, host: str, port: int) -> HTTPConnectionPool:
        transport = self._transport
        if proxy := transport.proxy_for(scheme, host, port):
            tls = {"ssl_context": transport.tls} if scheme == "https" else {}
            return self.proxy_manager_for(proxy).connection_from_host(host, port, scheme, pool_kwargs=tls)
        name = f"[{host}]" if ":" in host else host
        name = name if port == PORTS[scheme] else f"{name}:{port}"
        # of a pool, the adapter asks no more than `urlopen`
        return cast("HTTPConnectionPool", Pool(name, partial(transport.opened, scheme, host, port), POOL_SIZE))

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: object) -> ProxyManager:
        if _target(proxy).scheme == "https":
            proxy_kwargs["proxy_ssl_context"] = self._transport.tls
        manager: ProxyManager = super().proxy_manager_for(proxy, **proxy_kwargs)
        manager.pool_classes_by_scheme = self._classes
        return manager

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, *_: object, **__: object
    ) -> HTTPConnectionPool:
        return self._pool_of(cast("_Request", request).target)

    def _pool_of(self, target: _Target) -> HTTPConnectionPool:
        return self._pool(target.scheme, target.host, target.port)

    def cert_verify(self, *_: object, **__: object) -> None:
        """Do nothing: the context has its CAs, and requests would load them again for each connection."""

    def request_url(self, request: requests.PreparedRequest, *_: object) -> str:
        request = cast("_Request", request)
        forwarded = request.target.scheme == "http" and self._pool_of(request.target).proxy
        return str(request.url) if forwarded else request.path

    def build_response(self, req: requests.PreparedRequest, resp: BaseHTTPResponse) -> requests.Response:
        """Without cookies and guesses at an encoding."""
        response = requests.Response()
        response.status_code, response.raw, response.request = resp.status, resp, req
        return response


def _pool_classes(transport: Transport) -> dict[str, type[HTTPConnectionPool]]:
    """Pools for the way through a proxy, whose connections are the transport's as well."""

    class Seam(HTTPConnection):
        # The one seam that urllib3 offers for another kind of socket: its own SOCKS support overrides it too.
        def _new_conn(self) -> socket.socket:
            return transport.connected(self.host, self.port, Budget(_deadline.at), is_proxy=self.proxy is not None)

    class TLSSeam(Seam, HTTPSConnection): ...

    class Pool(HTTPConnectionPool):
        ConnectionCls = Seam

    class TLSPool(HTTPSConnectionPool):
        ConnectionCls = TLSSeam

    return {"http": Pool, "https": TLSPool}


class _Kept:
    """What transports have in common that differ by their names alone."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.adapter: _Adapter | None = None


@dataclass(kw_only=True, eq=False, repr=False)
class Transport:
    """A way out: with its own CAs, proxy and rules, and a pool of kept connections. Everything is made on first use.

    Attributes:
        ca_file: the CAs to trust, PEM; else `SSL_CERT_FILE`'s, the system's or certifi's.
        proxy: an http(s) address; else the environment's `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` hold.
        allow_private: whether loopback, private and other special addresses may be connected to.
        guarded: false for the cloud's own addresses, of which none is refused.
        name: whose way out it is: who is named where an address is refused; else its host.
        setting: what would allow it; empty where nothing would.
    """

    ca_file: str | None = None
    proxy: str | None = None
    allow_private: bool = True
    guarded: bool = True
    name: str = ""
    setting: str = ""
    _kept: _Kept = field(default_factory=_Kept, init=False)

    def named(self, name: str, setting: str = "") -> Transport:
        """The same way out, with the same pool, for another user."""
        other = copy(self)
        other.name, other.setting = name, setting
        return other

    @property
    def tls(self) -> ssl.SSLContext:
        """The one context of these CAs in this process. Raises Permanent where they cannot be read."""
        try:
            with _contexts_lock:
                return _context(self.ca_file or os.environ.get("SSL_CERT_FILE") or None)
        except (OSError, ValueError):
            raise Permanent("no CA certificate can be read from the CA file", reason="tls") from None

    @contextmanager
    def bound(self, budget: Budget) -> Iterator[None]:
        """Within, every operation of this thread on our sockets ends by the budget's deadline (TimeoutError)."""
        outer, _deadline.at = _deadline.at, budget.deadline
        try:
            yield
        finally:
            _deadline.at = outer

    def connect(self, host: str, port: int, budget: Budget) -> socket.socket:
        """A connection to the first address of `host` that takes one.

        Raises Transient, or Permanent where all of its addresses are refused or it is no host name.
        """
        try:
            return self.connected(host, port, budget)
        except _Refused as refused:
            raise self._worded(refused) from None

    def connected(self, host: str, port: int, budget: Budget, *, is_proxy: bool = False) -> socket.socket:
        """What `connect` says, for the pools: a proxy's address may be private, and _Refused is worded by `send`."""
        try:
            found = _resolve(host, port, budget)
            allowed = [at for at in found if not self._refusal(at, self.allow_private or is_proxy)]
            if not allowed:
                raise self._refused(host, found[0])
            for tried, (family, where) in enumerate(allowed):
                try:
                    # a fair part each, so that a dead address does not eat the time of a living one
                    with self.bound(budget.share(1 / (len(allowed) - tried))):
                        return _connected(family, where)
                except OSError as error:
                    failure = error
        except OSError as error:
            failure = error
        except UnicodeError:
            raise Permanent(f"{host}: this is no host name") from None
        raise _fault(host, failure)

    def opened(self, scheme: str, host: str, port: int) -> socket.socket:
        """What `connected` says, for a direct way, with its handshake done."""
        sock = self.connected(host, port, Budget(_deadline.at))
        if scheme == "http":
            return sock
        try:
            return self.tls.wrap_socket(sock, server_hostname=host.rstrip("."))
        except BaseException:
            sock.close()
            raise

    def send(
        self,
        method: str,
        url: str,
        path: str = "",
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        budget: Budget,
        read: int = 0,
    ) -> Answer:
        """Ask once. Every status is an answer, a redirect too: it is not followed.

        `path` follows an address that has no query of its own, as it is to be sent. `read` is how many bytes of the
        body are taken; with 0 the status line decides, and the body is only what has come along with it. Raises
        Transient (no connection, no answer in time, one that is cut short, longer than `read` or not HTTP) and
        Permanent (refused address, untrusted certificate, an address that is not http(s)).
        """
        try:
            target = _target(url)
        except ValueError:
            raise Permanent(f"{self.name or 'the address'}: this is no http(s) address") from None
        with tracing.span("call", method=method, host=target.host) as span:
            answer = self._asked(_Request(method, target, path, {**headers, **span.handed_on}, body), budget, read)
            span.note(status=answer.status)
            return answer

    def _asked(self, request: _Request, budget: Budget, read: int) -> Answer:
        target = request.target
        try:
            with self.bound(budget):
                response = self._made().send(request)
                try:
                    return Answer(
                        response.status_code, response.raw.headers, self._body(target.host, response, budget, read)
                    )
                finally:
                    response.close()  # unless it was read to its end, which gave the connection back
        except _Refused as refused:
            raise self._worded(refused) from None
        except (requests.RequestException, HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            raise _fault(target.host, error) from None

    def reach(self, url: str, budget: Budget) -> tuple[bytes, ...]:
        """Connect as `send` would, to the end of the handshake, and ask nothing; the `certificates` of who is there.

        Of a proxy that is itself spoken to over TLS, no more is looked at than whether it is there. Raises what `send`
        raises.
        """
        target = _target(url)
        way = (target.scheme, target.host, target.port)
        try:
            with self.bound(budget):
                proxy = self.proxy_for(*way)
                with self._through(_target(proxy), target) if proxy else self.opened(*way) as sock:
                    return certificates(sock)
        except _Refused as refused:
            raise self._worded(refused) from None
        except (requests.RequestException, http.client.HTTPException, OSError, ValueError) as error:
            raise _fault(target.host, error) from None

    def _through(self, proxy: _Target, target: _Target) -> socket.socket:
        sock = self.connected(proxy.host, proxy.port, Budget(_deadline.at), is_proxy=True)
        if target.scheme == "http" or proxy.scheme == "https":
            return sock
        place = f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"
        proof = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
        try:
            sock.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{proof}\r\n".encode())
            with http.client.HTTPResponse(sock, method="CONNECT") as answer:
                answer.begin()
                if answer.status != 200:
                    raise ProxyError
            return self.tls.wrap_socket(sock, server_hostname=target.host.rstrip("."))
        except BaseException:
            sock.close()
            raise

    def _body(self, host: str, response: requests.Response, budget: Budget, read: int) -> bytes:
        if response.status_code < 200:
            return b""  # an interim answer: on this connection, the real one may yet come, and is not the next one's
        if not read:
            try:
                with self.bound(budget.capped(GRACE_SECONDS)):
                    return bytes(response.raw.read(LEFTOVER))
            except (HTTPError, http.client.HTTPException, OSError, ValueError):
                return b""
        body = b""
        while len(body) <= read and (part := response.raw.read(read + 1 - len(body))):
            body += part  # what was cut short is told by the call that finds no more
        if len(body) > read:
            raise Transient(f"{host} answered more than {read} bytes", reason="protocol")
        return body

    def _made(self) -> _Adapter:
        with self._kept.lock:
            if self._kept.adapter is None:
                # urllib3 logs the paths of addresses, which are secrets: at DEBUG, and where a header is odd
                logging.getLogger("urllib3").setLevel(logging.CRITICAL)
                self._kept.adapter = _Adapter(self)
            return self._kept.adapter

    def proxy_for(self, scheme: str, host: str, port: int) -> str | None:
        """The proxy on the way to this host. Through one, only a host that is an address can be judged: _Refused."""
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        proxy = self.proxy or select_proxy(url, get_environ_proxies(url))
        for at in _literal(host, port) if proxy else ():
            if self._refusal(at, self.allow_private):
                raise self._refused(host, at)
        return proxy if not proxy or "://" in proxy else f"http://{proxy}"

    def _refusal(self, at: tuple[int, SocketAddress], allow_private: bool) -> str | None:
        return addresses.refusal(at[1][0], allow_private=allow_private) if self.guarded else None

    def _refused(self, host: str, at: tuple[int, SocketAddress]) -> _Refused:
        return _Refused(host, at[1][0], self._refusal(at, False) or "", always=self._refusal(at, True) is not None)

    def _worded(self, refused: _Refused) -> Permanent:
        way = f"; {self.setting} would allow it" if self.setting and not refused.always else ""
        told = f"the address {refused.ip} of {refused.host} is refused ({refused.reason}){way}"
        return Permanent(f"{self.name or refused.host}: {told}", reason="refused_address")
