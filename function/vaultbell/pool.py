"""Kept connections to one host: what requests' adapter asks of a pool of urllib3's, at less than half of its cost.

For the way without a proxy alone; with one, urllib3's own pools know more.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse, IncompleteRead

from urllib3.util import wait_for_read


class Pool:
    """Hands out a kept connection, or one that `new` makes; keeps `most` of those that come back."""

    proxy = None

    def __init__(self, new: Callable[[], HTTPConnection], most: int) -> None:
        self._new = new
        self._most = most
        self._idle: deque[HTTPConnection] = deque()  # the one used last is used first
        weakref.finalize(self, _close, self._idle)

    def urlopen(
        self, *, method: str, url: str, body: bytes | None, headers: Mapping[str, str], **_: object
    ) -> Response:
        """Ask, and read the head of the answer.

        Raises OSError, HTTPException (the answer is not HTTP), ValueError (a header that would be two).
        """
        connection = self._kept() or self._new()
        try:
            with suppress(BrokenPipeError):  # it may have answered before it had read everything
                connection.request(method, url, body, headers)
            response = connection.getresponse()
            _check_length(response)
            return Response(connection, response, self._take_back)
        except BaseException:  # a server may throw its own time-out into any thread
            connection.close()
            raise

    def _kept(self) -> HTTPConnection | None:
        while self._idle:
            with suppress(IndexError):  # another thread may have been faster
                connection = self._idle.pop()
                if connection.sock and not wait_for_read(connection.sock, timeout=0):
                    return connection
                connection.close()  # something is to be read before anything was asked: it was ended meanwhile
        return None

    def _take_back(self, connection: HTTPConnection) -> None:
        if len(self._idle) < self._most:
            self._idle.append(connection)
        else:
            connection.close()


def _check_length(response: HTTPResponse) -> None:
    """Raise HTTPException where nobody can say how long it is: http.client reads on to the end of the connection."""
    lengths = response.headers.get_all("Content-Length") or []
    if len(set(lengths)) > 1 or (lengths and response.length is None and not response.chunked):
        raise HTTPException


def _close(connections: deque[HTTPConnection]) -> None:
    for connection in connections:
        connection.close()


class Response:
    """An answer whose body is yet to be read. Closed after its end, it gives its connection back."""

    def __init__(
        self, connection: HTTPConnection, response: HTTPResponse, take_back: Callable[[HTTPConnection], None]
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
        ended = self._response.isclosed() and self.status >= 200
        self._response.close()
        if ended and self._connection.sock:
            self._take_back(self._connection)
        else:
            self._connection.close()
