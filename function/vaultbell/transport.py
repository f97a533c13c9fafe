"""The one way out: pools, TLS context, deadline, address guard.

Every wait on this way (name look-up, connecting, handshake, each byte) ends by one deadline, and what goes wrong is
`Transient` or `Permanent` with a text that names the host alone.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from vaultbell import addresses
from vaultbell.budget import Budget
from vaultbell.errors import Permanent, Transient
from vaultbell.pool import Pool, ProxyRefusal, Response
from vaultbell.values import ascii_host

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from vaultbell import proxied

POOLS = 32
SLACK_SECONDS = 0.01  # how far a socket's time-out may be off: to set one is a call of the system
GRACE_SECONDS = 0.05  # how long a body that nobody reads is waited for, so that its connection can be kept
LEFTOVER = 64 * 1024  # and how much of it is taken
PORTS = {"http": 80, "https": 443}
# The first that fits is told.
WORDS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((TimeoutError,), "no answer in time"),
    ((socket.gaierror,), "the name was not found"),
    ((ConnectionRefusedError,), "connection refused"),
    ((ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError), "the connection was lost"),
    ((ssl.SSLError,), "the TLS handshake failed"),
    ((http.client.IncompleteRead,), "the answer was cut short"),
    ((http.client.HTTPException,), "the answer is not HTTP"),
    ((ProxyRefusal,), "the proxy does not let us through"),
)

SocketAddress = Any  # (address, port), and for IPv6 flow and scope: as the standard library types it
Found = list[tuple[int, SocketAddress]]  # with the address family


@dataclass(frozen=True, slots=True)
class Answer:
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
        if ca_file is None:
            from certifi import where  # noqa: PLC0415 - only where the system has none

            ca_file = where()
        context.load_verify_locations(ca_file)
    return context


def contexts_built() -> int:
    """How often a trust store was loaded in this process."""
    return _context.cache_info().misses


@dataclass(frozen=True, slots=True)
class _Target:
    origin: str  # scheme, name and port, without user and password
    scheme: str
    host: str
    port: int
    path: str
    authorization: str | None


@lru_cache(maxsize=256)
def _target(url: str) -> _Target:
    """Raises ValueError for what is no http(s) address."""
    parts = urlsplit(url)
    host, usual = parts.hostname, PORTS.get(parts.scheme)
    if not host or not usual:
        raise ValueError
    host = ascii_host(host)
    port = usual if parts.port is None else parts.port
    name = f"[{host}]" if ":" in host else host
    user = parts.netloc.rpartition("@")[0]
    return _Target(
        origin=f"{parts.scheme}://{name}" + (f":{port}" if port != usual else ""),
        scheme=parts.scheme,
        host=host,
        port=port,
        path=_escaped(parts.path or "/") + (f"?{_escaped(parts.query)}" if parts.query else ""),
        # RFC 7617, the characters in UTF-8
        authorization=f"Basic {b64encode(unquote(user).encode()).decode()}" if user else None,
    )


def _escaped(text: str) -> str:
    """A path or query in which what cannot stand there is percent-encoded; escapes are the sender's own."""
    return re.sub("%[0-9A-Fa-f]{2}", lambda match: match[0].upper(), quote(text, safe="/?%!$&'()*+,;=:@~-._"))


def _proxy_of_environment(url: str) -> str | None:
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from vaultbell import proxied  # noqa: PLC0415 - dear at a cold start

    return proxied.of_environment(url)


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


def _fault(host: str, error: BaseException) -> Transient | Permanent:
    """What an exception of the libraries means. Their texts hold addresses and headers: none of them is passed on."""
    causes = [error]
    for cause in causes:  # they wrap what happened in `args` and `reason`
        causes += [part for part in (*cause.args, getattr(cause, "reason", None)) if isinstance(part, BaseException)]
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Permanent(f"{host}: its certificate is not trusted ({cause.verify_message})")
    for types, words in WORDS:
        if any(isinstance(cause, types) for cause in causes):
            return Transient(f"{host}: {words}")
    if isinstance(error, ValueError):
        return Permanent(f"{host}: its address, its proxy or a header cannot be sent as it is")
    number = next((cause.errno for cause in causes if isinstance(cause, OSError) and cause.errno), None)
    return Transient(f"{host}: no connection{f' ({os.strerror(number)})' if number else ''}")


class _Kept:
    """What transports have in common that differ by their names alone."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pools: Callable[[str, str, str, int], Pool | proxied.Pool] | None = None


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
            raise Permanent("no CA certificate can be read from the CA file") from None

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
        told = {"User-Agent": "vaultbell", **headers}
        if target.authorization:
            told["Authorization"] = target.authorization
        if body is not None:
            told["Content-Length"] = str(len(body))
        where = (target.path.removesuffix("/") if path else target.path) + path
        try:
            with self.bound(budget):
                response = self._pool(target).urlopen(method=method, url=where, body=body, headers=told)
                try:
                    return Answer(response.status, response.headers, self._body(target.host, response, budget, read))
                finally:
                    response.close()  # unless it was read to its end, which gave the connection back
        except _Refused as refused:
            raise self._worded(refused) from None
        except (http.client.HTTPException, OSError, ValueError) as error:
            raise _fault(target.host, error) from None

    def _body(self, host: str, response: Response | proxied.Response, budget: Budget, read: int) -> bytes:
        if response.status < 200:
            return b""  # an interim answer: on this connection, the real one may yet come, and is not the next one's
        if not read:
            try:
                with self.bound(budget.capped(GRACE_SECONDS)):
                    return response.read(LEFTOVER)
            except (http.client.HTTPException, OSError, ValueError):
                return b""
        body = b""
        while len(body) <= read and (part := response.read(read + 1 - len(body))):
            body += part  # what was cut short is told by the call that finds no more
        if len(body) > read:
            raise Transient(f"{host} answered more than {read} bytes")
        return body

    def _pool(self, target: _Target) -> Pool | proxied.Pool:
        with self._kept.lock:
            if self._kept.pools is None:
                self._kept.pools = lru_cache(maxsize=POOLS)(self._new_pool)
        return self._kept.pools(target.origin, target.scheme, target.host, target.port)

    def _new_pool(self, origin: str, scheme: str, host: str, port: int) -> Pool | proxied.Pool:
        proxy = self.proxy_for(scheme, host, port)
        if not proxy:
            return Pool(origin, partial(self.opened, scheme, host, port))
        from vaultbell import proxied  # noqa: PLC0415 - dear at a cold start

        def connect(host: str, port: int) -> socket.socket:
            return self.connected(host, port, Budget(_deadline.at), is_proxy=True)

        return proxied.Pool(origin, proxy, connect, lambda: self.tls)

    def proxy_for(self, scheme: str, host: str, port: int) -> str | None:
        """The proxy on the way to this host. Through one, only a host that is an address can be judged: _Refused."""
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        proxy = self.proxy or _proxy_of_environment(url)
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
        return Permanent(f"{self.name or refused.host}: {told}")
