"""Kept connections to one host: what requests' adapter asks of a pool of urllib3's, at a third of its cost.

For the way without a proxy alone; on the way through one, urllib3's own pools know more.
"""

from __future__ import annotations

import re
import socket
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPException, HTTPMessage, HTTPResponse, IncompleteRead
from io import BufferedReader

from urllib3.util import wait_for_read

_TWO_LINES = re.compile("[\0\r\n]")


class Pool:
    """Asks over a kept connection, or one that `connect` makes; keeps `most` of them.

    `host` is what the server is called in a request, with its port where it is not the usual one.
    """

    proxy = None

    def __init__(self, host: str, connect: Callable[[], socket.socket], most: int) -> None:
        self._host = host
        self._connect = connect
        self._most = most
        self._idle: deque[socket.socket] = deque()  # the one used last is used first
        weakref.finalize(self, _close, self._idle)

    def urlopen(
        self, *, method: str, url: str, body: bytes | None, headers: Mapping[str, str], **_: object
    ) -> Response:
        """Ask (`url` is the path), and read the head of the answer.

        Raises OSError, HTTPException (the answer is not HTTP), ValueError (a header that would be two).
        """
        asked = _head(method, url, {"Host": self._host, "Accept-Encoding": "identity", **headers}) + (body or b"")
        connection = self._kept() or self._connect()
        try:
            with suppress(BrokenPipeError):  # it may have answered before it had read everything
                connection.sendall(asked)
            return Response(connection, _answered(connection, method), self._take_back)
        except BaseException:  # a server may throw its own time-out into any thread
            connection.close()
            raise

    def _kept(self) -> socket.socket | None:
        while self._idle:
            with suppress(IndexError):  # another thread may have been faster
                connection = self._idle.pop()
                if not wait_for_read(connection, timeout=0):
                    return connection
                connection.close()  # there is something to read before anything was asked: it was ended meanwhile
        return None

    def _take_back(self, connection: socket.socket) -> None:
        if len(self._idle) < self._most:
            self._idle.append(connection)
        else:
            connection.close()


def _close(connections: deque[socket.socket]) -> None:
    for connection in connections:
        connection.close()


def _head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if any(map(_TWO_LINES.search, lines)) or not path.isprintable() or " " in path:
        raise ValueError
    return "\r\n".join((*lines, "", "")).encode("latin-1")


class _Lines(BufferedReader):
    """What a server sends. Where it ends within the head, http.client takes the head for whole (RFC 9112, 8)."""

    whole = True  # whether the line read last has an end

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self.whole = line.endswith(b"\n")
        return line


def _answered(connection: socket.socket, method: str) -> HTTPResponse:
    response = HTTPResponse(connection, method=method)
    response.fp = lines = _Lines(connection.makefile("rb", buffering=0))
    try:
        response.begin()
        if not lines.whole:
            raise ConnectionResetError
        lengths = response.headers.get_all("Content-Length") or []
        # where nobody can say how long it is, http.client would read on to the end of the connection
        if len(set(lengths)) > 1 or (lengths and response.length is None and not response.chunked):
            raise HTTPException
    except BaseException:
        response.close()
        raise
    return response


class Response:
    """An answer whose body is yet to be read. Closed after its end, it gives its connection back."""

    def __init__(
        self, connection: socket.socket, response: HTTPResponse, take_back: Callable[[socket.socket], None]
    ) -> None:
        self.status = response.status
        self.headers: HTTPMessage = response.headers
        self._connection, self._response, self._take_back = connection, response, take_back

    def read(self, amount: int) -> bytes:
        """So many bytes of the body, fewer at its end alone. Raises IncompleteRead where it is cut short."""
        part = self._response.read(amount)
        if not part and amount and self._response.length:  # http.client says nothing
            raise IncompleteRead(part, self._response.length)
        return part

    def close(self) -> None:
        """Give the connection back, or end it: where something may yet come on it, or the server wants it to end."""
        kept = self._response.isclosed() and not self._response.will_close and self.status >= 200
        self._response.close()
        if kept:
            self._take_back(self._connection)
        else:
            self._connection.close()
