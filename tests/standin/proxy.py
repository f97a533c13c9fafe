"""A forward proxy on loopback: CONNECT, and requests by their whole address. It keeps what it was asked for."""

from __future__ import annotations

import base64
import select
import socket
import socketserver
import threading
from urllib.parse import urlsplit

from standin import ports
from standin.server import Incoming, server_context

CLOSE = b"\r\nConnection: close\r\n"


class Proxy(socketserver.ThreadingTCPServer):
    """A proxy at `url`, as a context manager. `asked` are the first lines of the requests, `hosts` where they led.

    `login`: user and password; without them it answers 407. `leads_to`: where it really connects, whatever it was
    asked for. `tls`: certificate and key files, for a proxy that is itself spoken to over TLS.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(
        self,
        login: tuple[str, str] | None = None,
        leads_to: tuple[str, int] | None = None,
        tls: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", ports.unused()), socketserver.BaseRequestHandler)
        self.port: int = self.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.asked: list[str] = []
        self._context = server_context(tls) if tls else None
        self._leads_to = leads_to
        self._login = f"Basic {base64.b64encode(':'.join(login).encode()).decode()}" if login else None

    def __enter__(self) -> Proxy:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.server_close()

    def finish_request(self, request: Incoming, _address: object) -> None:
        """Read a request's head, connect, and carry bytes both ways until one side ends."""
        assert isinstance(request, socket.socket)  # the other form is UDP's
        try:
            inner = self._context.wrap_socket(request, server_side=True) if self._context else request
            with inner as client:
                self._serve(client)
        except OSError:  # one of the two went away
            pass

    def shutdown_request(self, request: Incoming) -> None:
        """Nothing: it was closed where it was served."""

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (read := client.recv(65_536)):
                return
            head += read
        first, *lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        self.asked.append(first)
        method, target, _version = first.split()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if self._login and headers.get("proxy-authorization") != self._login:
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        with socket.create_connection(self._leads_to or (parts.hostname or "", parts.port or 80), 5) as there:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:  # one request a connection: what comes after it would have to be read as well
                path = parts._replace(scheme="", netloc="").geturl() or "/"
                there.sendall(head.replace(target.encode(), path.encode(), 1).replace(b"\r\n", CLOSE, 1))
            _carry(client, there)


def _carry(one: socket.socket, other: socket.socket) -> None:
    ways = {one: other, other: one}
    while True:
        for readable in select.select(list(ways), [], [])[0]:
            if not (read := readable.recv(65_536)):
                return
            ways[readable].sendall(read)
