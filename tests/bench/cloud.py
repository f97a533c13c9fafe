"""A cloud, a receiver and a source of events that cost next to nothing, in a process of their own.

One event loop answers IAM, the task API and webhooks from ready-made bytes, so that what is measured is the client.
It can also be the client of a function: then it posts events on some connections as fast as they are answered.

A project's id is the number of its tasks, in hex; 20 of them are bad. `/-/…` are the benchmark's own questions.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

BAD = 20
WEEK = 7 * 86_400.0
AT = datetime.now(UTC).replace(microsecond=0)
WINDOW_END = datetime.fromtimestamp((AT.timestamp() - 300) // 900 * 900, UTC)  # of a sweep at AT, with the defaults
TOKEN = "MII" + "x" * 2_000

LOG: dict[str, Any] = {
    "id": "@id@",
    "status": "failed",
    "operation_type": "backup",
    "project_id": "@project@",
    "created_at": "2026-11-23T08:00:00.123+00:00",
    "started_at": "2026-11-23T08:00:00.155+00:00",
    "ended_at": "2026-11-23T08:03:47.123+00:00",
    "updated_at": "2026-11-23T08:03:47.196+00:00",
    "checkpoint_id": "9c6a3a0d-6b0e-4c53-a5a4-7f3a2f9e1b10",
    "provider_id": "0daac4c5-6707-4851-97ba-169e36266b66",
    "policy_id": "8d4b1c92-6e2f-4f0a-b7a5-1c3e5d7f9a20",
    "vault_id": "5f0d8c6e-3a57-4a52-9c1e-0b6f3d7a2e11",
    "vault_name": "vault-daily",
    "error_info": {
        "code": "BackupService.7102",
        "message": "The server is in a state in which it cannot be backed up.",
    },
    "extra_info": {
        "common": {"progress": 64, "request_id": "req-0b7a3c5e-4f0b-4d57-8a3e-6e1d2c9b8a70", "task_id": "@id@"},
        "resource": {
            "id": "1dc0ffee-0000-4000-9000-00000000beef",
            "name": "app-server-000042",
            "type": "OS::Nova::Server",
            "extra_info": {"exclude_volumes": []},
        },
        "backup": {
            "backup_id": "2f7e6d5c-4b3a-4291-8f0e-d1c2b3a49586",
            "backup_name": "autobk_0002a",
            "incremental": "true",
            "app_consistency_status": "0",
            "app_consistency_error_code": "0",
            "app_consistency_error_message": "",
        },
    },
}


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


def _row(**fields: object) -> bytes:
    return json.dumps({**LOG, **fields}, separators=(",", ":")).encode()


SHOWN = b'{"operation_log":%b}' % _row()
_GOOD_TIMES = {name: f"@{name}@" for name in ("created_at", "started_at", "ended_at", "updated_at")}
_GOOD = _row(status="success", error_info={"code": "", "message": ""}, **_GOOD_TIMES)


def _bad_rows() -> dict[str, list[bytes]]:
    """By status: each is to ring in the window of a sweep at `AT`."""
    rows: dict[str, list[bytes]] = {}
    moment = WINDOW_END - timedelta(minutes=1)
    for number in range(BAD):
        status = ("failed", "timeout", "skipped", "running")[number % 4]
        late = timedelta(days=1) if status == "running" else timedelta()
        times: dict[str, object] = dict.fromkeys(_GOOD_TIMES, _stamp(moment - late))
        if status == "running":
            times["ended_at"] = None
        name = f"ffffffff-0000-4000-8000-{number:012x}"
        extra = {**LOG["extra_info"], "resource": {**LOG["extra_info"]["resource"], "id": name}}
        rows.setdefault(status, []).append(_row(**times, id=name, status=status, extra_info=extra))
    return rows


BAD_ROWS = _bad_rows()


class Lists:
    """The task lists: the newest first, the bad ones in regular places among the good."""

    def page(self, project: str, status: str | None, resource: str | None, limit: int, offset: int) -> bytes:
        """The body of one answer."""
        size = int(project, 16)
        if resource:  # which names its one task
            rows = [row for rows in BAD_ROWS.values() for row in rows if resource.encode() in row]
            count = len(rows)
        elif status is None:
            rows, count = self._all(size, offset, min(size, offset + limit)), size
        else:
            bad = BAD_ROWS.get(status, [])
            rows, count = bad[offset : offset + limit], len(bad)
        body = b'{"operation_logs":[%b],"count":%d,"limit":%d}' % (b",".join(rows), count, limit)
        return body.replace(b"@project@", project.encode())

    def _all(self, size: int, start: int, end: int) -> list[bytes]:
        bad = [row for rows in BAD_ROWS.values() for row in rows]
        every = max(size // BAD, 1)
        return [
            bad[at // every] if at % every == 0 and at // every < BAD else self._good(size, at)
            for at in range(start, end)
        ]

    def _good(self, size: int, at: int) -> bytes:
        stamp = _stamp(AT - timedelta(seconds=at * WEEK / size)).encode()
        row = _GOOD.replace(b"@id@", b"%08x-0000-4000-8000-000000000000" % at)
        for name in _GOOD_TIMES:
            row = row.replace(f"@{name}@".encode(), stamp)
        return row


class Cloud:
    """What is answered, and what has been counted."""

    def __init__(self) -> None:
        self.latency = 0.0
        self.counts: Counter[str] = Counter()
        self.last_hook = b""
        self.rung: list[float] = []  # when each webhook came, on the monotonic clock
        self._lists = Lists()

    def answer(self, method: str, target: str, body: bytes) -> bytes:
        """One answer, whole."""
        if method == "POST" and target.startswith("/hook"):
            self.counts["hook"] += 1
            self.last_hook = body
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        if method == "POST" and target.startswith("/v3/auth/tokens"):
            self.counts["token"] += 1
            return self._token(body)
        self.counts["list" if "?" in target else "show"] += 1
        path, _, query = target.partition("?")
        project = path[4:36]
        if not query:
            name = path.rpartition("/")[2]
            return _http(200, SHOWN.replace(b"@id@", name.encode()).replace(b"@project@", project.encode()))
        if not self.counts["hook"]:
            self.counts["list before the first ring"] += 1
        asked = {key: values[0] for key, values in parse_qs(query).items()}
        limit, offset = int(asked.get("limit", 1_000)), int(asked["offset"])
        return _http(200, self._lists.page(project, asked.get("status"), asked.get("resource_id"), limit, offset))

    def _token(self, body: bytes) -> bytes:
        scope = json.loads(body)["auth"]["scope"]
        now = datetime.now(UTC)
        told = {"issued_at": now, "expires_at": now + timedelta(days=1)}
        token = {name: f"{at:%Y-%m-%dT%H:%M:%S}.000000Z" for name, at in told.items()}
        answer = json.dumps({"token": {**token, "project": scope["project"]}}).encode()
        return _http(201, answer, f"X-Subject-Token: {TOKEN}\r\n")

    async def own(self, target: str) -> bytes:
        """The benchmark's own questions."""
        parts = urlsplit(target)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        told: object = None
        match parts.path.split("/")[2]:
            case "latency":
                self.latency = float(asked["seconds"])
            case "reset":
                self.counts.clear()
            case "counts":
                told = self.counts
            case "hook":
                told = self.last_hook.decode()
            case "load":
                numbers = range(int(asked["first"]), int(asked["first"]) + int(asked["events"]))
                told = await load(asked["host"], int(asked["port"]), int(asked["connections"]), numbers)
        return _http(200, json.dumps(told).encode())


def _http(status: int, body: bytes, headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One connection of a client: requests, one after the other, each answered by one write."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._arrived = b""
        self._transport: asyncio.Transport | None = None
        self._asked: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        self._arrived += data
        while (end := self._arrived.find(b"\r\n\r\n")) >= 0:
            head = self._arrived[:end]
            size = end + 4 + _length(head)
            if len(self._arrived) < size:
                return
            body, self._arrived = self._arrived[end + 4 : size], self._arrived[size:]
            method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            loop = asyncio.get_running_loop()
            if target.startswith("/-/"):
                self._asked = loop.create_task(self._own(target))
                continue
            answer = self._cloud.answer(method, target, body)
            if self._cloud.latency:
                loop.call_later(self._cloud.latency, self._write, answer)
            else:
                self._write(answer)

    async def _own(self, target: str) -> None:
        self._write(await self._cloud.own(target))

    def _write(self, answer: bytes) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(answer)


def _length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"\ncontent-length:")
    return int(lower[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def event(project: str, number: int) -> bytes:
    """An event that names a task of the project; it is old enough to be believed at once."""
    name = f"{number:08x}-1111-4000-8000-000000000000"
    return json.dumps(
        {"operation_log_id": name, "project_id": project, "time": "2026-11-23T08:04:00Z"}, separators=(",", ":")
    ).encode()


class Poster(asyncio.Protocol):
    """A client of a function: the next event goes out when the last one was answered."""

    def __init__(self, host: str, take: Callable[[], bytes | None], done: asyncio.Future[None]) -> None:
        self._host, self._take, self.done = host, take, done
        self._arrived = b""
        self.refused = 0
        self.waits: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._next()

    def _next(self) -> None:
        body = self._take()
        if body is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(
            b"POST / HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (self._host.encode(), len(body), body)
        )

    def data_received(self, data: bytes) -> None:
        self._arrived += data
        end = self._arrived.find(b"\r\n\r\n")
        if end < 0 or len(self._arrived) < end + 4 + _length(self._arrived[:end]):
            return
        self.waits.append(time.perf_counter() - self._sent)
        self.refused += not self._arrived.startswith(b"HTTP/1.1 2")
        self._arrived = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.done.done():
            self.done.set_result(None)


def _itself(poster: Poster) -> Poster:
    return poster


async def load(host: str, port: int, connections: int, numbers: Sequence[int]) -> dict[str, float]:
    """Post the events of these numbers on so many connections; the seconds that it took, and how many were refused."""
    loop = asyncio.get_running_loop()
    project = f"{1000:032x}"
    bodies = iter([event(project, number) for number in numbers])
    began = time.perf_counter()
    posters = [Poster(host, lambda: next(bodies, None), loop.create_future()) for _ in range(connections)]
    for poster in posters:
        await loop.create_connection(partial(_itself, poster), host, port)
    await asyncio.gather(*(poster.done for poster in posters))
    took = time.perf_counter() - began
    waits = sorted(wait for poster in posters for wait in poster.waits)
    return {
        "seconds": took,
        "answered": len(waits),
        "refused": sum(poster.refused for poster in posters),
        "p50": waits[len(waits) // 2],
        "p99": waits[len(waits) * 99 // 100],
    }


async def serve(certificate: str | None, key: str | None) -> None:
    """Serve until standard input ends; the ports are the first line of standard output."""
    loop = asyncio.get_running_loop()
    cloud = Cloud()
    servers = [await loop.create_server(lambda: Connection(cloud), "127.0.0.1", 0)]
    if certificate and key:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        servers.append(await loop.create_server(lambda: Connection(cloud), "127.0.0.1", 0, ssl=context))
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    print(json.dumps({"ports": ports, "at": AT.isoformat()}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop = importlib.import_module("uvloop")  # only the benchmark's own environment has it
    uvloop.run(serve(*(sys.argv[1:3] if len(sys.argv) > 2 else (None, None))))
