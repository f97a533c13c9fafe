"""A small HTTP/1.1 server for loopback: a thread a connection, kept alive, one write an answer, faults on the wire.

Made for tests and measurements: quick, exact about what it sends, and able to misbehave in the ways of `WireKind`.
"""

from __future__ import annotations

import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import BinaryIO

from standin import api, ports
from standin.state import Answer, Cloud, Fault

Application = Callable[[str, str, str, Mapping[str, str], bytes], Answer]  # method, path, query, headers, body
Incoming = socket.socket | tuple[bytes, socket.socket]  # as socketserver types it
REASONS = {status.value: status.phrase for status in HTTPStatus}


class Server(socketserver.ThreadingTCPServer):
    """Serves an application at `url`, on loopback unless told otherwise, until the context ends.

    `connections` counts those accepted.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(
        self, application: Application, port: int = 0, tls: tuple[str, str] | None = None, host: str = "127.0.0.1"
    ) -> None:
        super().__init__((host, port or ports.unused(host)), socketserver.BaseRequestHandler)
        self.application = application
        self.connections = 0
        self.stopping = threading.Event()
        self.context = server_context(tls) if tls else None
        self.port: int = self.server_address[1]
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}"
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Server:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stopping.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            _close(connection)

    def process_request(self, request: Incoming, client_address: object) -> None:
        """One thread a connection; the counting is done before it, in the one thread that accepts."""
        self.connections += 1
        super().process_request(request, client_address)

    def finish_request(self, request: Incoming, _address: object) -> None:
        """Answer request after request until the client, or a fault, ends the connection."""
        assert isinstance(request, socket.socket)  # the other form is UDP's
        connection = request
        self._open.add(connection)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context:
                self._open.discard(connection)
                connection = self.context.wrap_socket(connection, server_side=True)
                self._open.add(connection)
            with connection.makefile("rb") as lines:
                while self._answer_one(connection, lines):
                    pass
        except OSError:  # the client went away, or did not like our certificate
            pass
        finally:
            _close(connection)
            self._open.discard(connection)

    @property
    def open_connections(self) -> int:
        """How many connections have not been ended yet, on this side."""
        return len(self._open)

    def shutdown_request(self, request: Incoming) -> None:
        """Nothing: the connection was closed where it was served, in the way that it was meant to end."""

    def _answer_one(self, connection: socket.socket, lines: BinaryIO) -> bool:
        start = lines.readline(65_537)
        if not start:
            return False
        method, target, version = [*start.decode("latin-1").split(), "", "", ""][:3]
        headers: dict[str, str] = {}
        while (line := lines.readline(65_537)) not in (b"\r\n", b"\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        length = headers.get("content-length", "0")
        if not version.startswith("HTTP/1.") or not length.isdecimal() or "transfer-encoding" in headers:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return False
        body = lines.read(int(length))
        if len(body) < int(length):
            return False
        path, _, query = target.partition("?")
        reply = self.application(method, path, query, headers, body)
        if reply.fault and reply.fault.kind == "hang":
            self.stopping.wait(reply.fault.args.get("seconds", 3600))
        head, content = written(reply)
        if reply.fault and reply.fault.kind != "hang":
            self._spoil(connection, reply.fault, head, content)
            return False
        goes_on = headers.get("connection", "").lower() != "close"
        connection.sendall((head if goes_on else head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)) + content)
        return goes_on

    def _spoil(self, connection: socket.socket, fault: Fault, head: bytes, content: bytes) -> None:
        args = fault.args
        match fault.kind:
            case "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case "hang_body":
                connection.sendall(head + content[: len(content) // 2])
                self.stopping.wait(args.get("seconds", 3600))
            case "truncate":
                whole, least = head + content, 0 if args.get("head") else len(head)
                connection.sendall(whole[: least + args.get("keep", len(content) // 2)])
            case "garbage":
                connection.sendall(args.get("body", "\x16\x03 this is not HTTP\r\n\r\n").encode("latin-1"))
            case "trickle":
                slow = head + content if args.get("head") else content
                connection.sendall(b"" if args.get("head") else head)
                for byte in slow:
                    if self.stopping.wait(args.get("pause", 0.05)):
                        return
                    connection.sendall(bytes([byte]))


def server_context(tls: tuple[str, str]) -> ssl.SSLContext:
    """Make a TLS context of a certificate file and a key file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls)
    return context


def written(reply: Answer) -> tuple[bytes, bytes]:
    """Head and body as they go over the wire."""
    lines = [f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    content = reply.body if reply.status >= 200 and reply.status not in (204, 304) else b""
    if reply.status >= 200 and reply.status != 204:
        lines.append(f"Content-Length: {len(content)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"), content


def _close(connection: socket.socket) -> None:
    try:
        if not connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER):
            connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it is closed already
        pass
    finally:
        connection.close()


@contextmanager
def serve(cloud: Cloud, port: int = 0, tls: tuple[str, str] | None = None, host: str = "127.0.0.1") -> Iterator[Server]:
    """Serve a cloud at one address for IAM and CBR; `cloud.env()` leads there. `tls`: certificate and key files."""

    def application(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return api.answer(cloud, method, path, query, headers, body)

    before = cloud.iam_url, cloud.cbr_url
    with Server(application, port, tls, host) as server:
        cloud.iam_url = cloud.cbr_url = server.url
        try:
            yield server
        finally:
            cloud.iam_url, cloud.cbr_url = before
