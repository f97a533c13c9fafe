"""The world outside: IAM, the task API, webhooks and a mail server, on one event loop, which fail as `faults.py` says.

It runs in a process of its own (`World` starts it), and keeps account of what came: `/-/arrivals` tells it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.client
import json
import re
import socket
import struct
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from soak.faults import fault
from soak.ledger import Arrival
from soak.scenario import LOCKED, SEVERITY, Scenario

KEY = b"the key of the soak's webhooks!!"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
USER, PASSWORD, DOMAIN = "vaultbell", "standin-password", "standin"
TOKEN_LIFE = timedelta(seconds=20)
REVOKED_EVERY, SPARED = 7.0, 2.0  # seconds; tokens that are younger stay
HANGS = 40.0  # seconds: longer than any budget here
LONG, STEP = 4, 0.3  # a `Retry-After` that does not fit the budget; seconds a byte of what never comes to its end
ALWAYS_REFUSES = "gone"
_TASK = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4000-8000-[0-9a-f]{12}")
_HEADER = re.compile(r"^(Message-ID|X-Vaultbell-[A-Z][a-z]+): (.+)\r$", re.MULTILINE)
PAGE = b"<html><body>Bad gateway</body></html>"


@dataclass(slots=True)
class Reply:
    """An answer, and what the wire does to it."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    wire: str | None = None

    def written(self) -> tuple[bytes, bytes]:
        """Head and body."""
        lines = [f"HTTP/1.1 {self.status} Said", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode(), self.body


class Account:
    """What came, by channel and message, and how often the parts of the world were asked and failed."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.counts: Counter[str] = Counter()
        self._arrivals: dict[tuple[str, str, str, str, str, bool], tuple[int, int, str]] = {}
        self._turns: dict[tuple[str, str], int] = defaultdict(int)

    def turn(self, place: str, subject: str) -> int:
        """How often this was asked for before."""
        turn = self._turns[place, subject]
        self._turns[place, subject] = turn + 1
        return turn

    def fault(self, place: str, subject: str, turn: int | None = None) -> str | None:
        """What befalls this request."""
        turn = self.turn(place, subject) if turn is None else turn
        found = fault(self.scenario.seed, place, subject, turn)
        self.counts[place] += 1
        self.counts["faults"] += found is not None
        return found

    def came(
        self, channel: str, name: tuple[str, str, str], body: bytes, wrong: str, *, past: bool, taken: bool
    ) -> None:
        """A message has come; `name` is its kind, subject and id."""
        digest = hashlib.blake2b(body, digest_size=8).hexdigest()
        key = (channel, *name, digest, past)
        times, takes, before = self._arrivals.get(key, (0, 0, ""))
        self._arrivals[key] = times + 1, takes + taken, before or wrong
        self.counts["messages"] += 1

    def arrivals(self) -> list[dict[str, Any]]:
        """All of it, as `Arrival` has it."""
        return [asdict(Arrival(*key, *told)) for key, told in self._arrivals.items()]


class Cloud:
    """IAM and the task API."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._tokens: dict[str, tuple[str, float]] = {}  # project and when it was made, on the monotonic clock
        self._serial = count()
        self._revoked = time.monotonic()
        self._refused: set[str] = set()  # whose last answer was that the token is not good

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        """One answer."""
        path, _, query = target.partition("?")
        if path == "/v3/auth/tokens":
            return self._log_in(body)
        _, _, project, _, *name = path.split("/")
        if method != "GET" or len(name) > 1:
            return Reply(404, _json({"error_code": "APIGW.0101", "error_msg": "no such API"}))
        subject = name[0] if name else parse_qs(query).get("resource_id", ["-"])[0]
        if not self._is_good(headers.get("x-auth-token", ""), project):
            self._refused.add(subject)
            return _unauthorized("decrypt token fail")
        if project == LOCKED:
            return Reply(403, _json({"error_code": "APIGW.0302", "error_msg": "no right"}))
        place = "show" if name else "list"
        looks = self._account.turn(place, subject)
        kind = self._account.fault(place, subject, looks)
        if kind in ("expired", "auth 500"):
            if subject in self._refused:  # twice in a row would be meant for good
                kind = None
            else:
                self._refused.add(subject)
        if kind not in ("expired", "auth 500"):
            self._refused.discard(subject)
        return _spoilt(kind, self._shown(subject, looks, kind) if name else self._page(subject))

    def _log_in(self, body: bytes) -> Reply:
        kind = self._account.fault("iam", str(self._account.turn("log-in", "")), 0)
        auth = json.loads(body)["auth"]
        user = auth["identity"]["password"]["user"]
        if (user["name"], user["password"], user["domain"]["name"]) != (USER, PASSWORD, DOMAIN):
            return Reply(401, _json({"error": {"code": "IAM.0001", "message": "wrong"}}))
        project, now = auth["scope"]["project"]["id"], datetime.now(UTC)
        token = f"MII{next(self._serial)}{'x' * 2_000}"
        self._tokens[token] = project, time.monotonic()
        told = {"issued_at": _zulu(now), "expires_at": _zulu(now + TOKEN_LIFE), "project": {"id": project}}
        headers = {} if kind == "no token" else {"X-Subject-Token": token}
        return _spoilt(kind, Reply(201, _json({"token": told}), headers))

    def _is_good(self, token: str, project: str) -> bool:
        now = time.monotonic()
        if now - self._revoked > REVOKED_EVERY:
            self._revoked = now
            self._tokens = {name: known for name, known in self._tokens.items() if now - known[1] < SPARED}
            self._account.counts["revocations"] += 1
        of, made = self._tokens.get(token, ("", 0.0))
        return of == project and now - made < TOKEN_LIFE.total_seconds()

    def _shown(self, name: str, looks: int, kind: str | None) -> Reply:
        scenario = self._account.scenario
        task = scenario.task(name)
        log = scenario.log(task, looks) if task else None
        if log is None:
            return Reply(404, _json({"error_code": "BackupService.6500", "error_msg": "no such operation log"}))
        if kind == "wrong id":
            log |= {"id": "00000000-dead-4000-8000-000000000000"}
        return Reply(200, _json({"operation_log": log}))

    def _page(self, resource: str) -> Reply:
        scenario = self._account.scenario
        logs = [log for task in scenario.listed(resource) if (log := scenario.log(task, task.looks))]
        return Reply(200, _json({"operation_logs": logs, "count": len(logs), "limit": 1000, "offset": 0}))


class Hooks:
    """The receivers of webhooks, one a path."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        """Take a message, or not."""
        del method
        channel, name = target.strip("/"), headers.get("webhook-id", "")
        place = channel if channel == "shaky" else "hook"
        kind = self._account.fault(place, f"{channel} {name}")
        reply = _spoilt(kind, Reply(410 if channel == ALWAYS_REFUSES else 200, b"thank you " * 20))
        # the status line decides: what becomes of the body does not matter
        taken = reply.status == 200 and reply.wire in (None, "cut body", "late body", "stroll")
        told, wrong = _read(body), "" if _signed(headers, body) else "its signature is not right"
        data = told.get("data", {})
        log = data.get("operation_log", {})
        kind_told = str(told.get("type"))
        blind = kind_told == "cbr.task.unverified"
        subject = str(data.get("project_id") if blind else log.get("id"))
        wrong = wrong or self._wrong(kind_told, subject, data)
        past = "failures_in_row" in data
        self._account.came(channel, (kind_told, subject, name), body, wrong, past=past, taken=taken)
        return reply

    def _wrong(self, kind: str, subject: str, data: dict[str, Any]) -> str:
        """What in a message is not what the cloud has said."""
        outcome, log = kind.rpartition(".")[2], data.get("operation_log")
        if outcome == "unverified":
            return "" if subject == LOCKED else "a project that nobody has locked"
        scenario = self._account.scenario
        task = scenario.task(subject) if _TASK.fullmatch(subject) else None
        if task is None:
            return "a task that no event names"
        expected = scenario.log(task, task.looks) or {"id": task.id, "project_id": task.project}
        severity = "info" if outcome == "resolved" else SEVERITY.get(outcome)
        if task.recovers and "recovered_at" in data:
            severity = "warning"
        if log != expected:
            return "the operation log is another one"
        return (
            "" if (data.get("severity"), data.get("project_id")) == (severity, task.project) else "severity or project"
        )


def _read(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _signed(headers: dict[str, str], body: bytes) -> bool:
    """Whether the signature is right, as Standard Webhooks has it."""
    signed = f"{headers.get('webhook-id')}.{headers.get('webhook-timestamp')}.".encode() + body
    right = base64.b64encode(hmac.digest(KEY, signed, "sha256")).decode()
    return f"v1,{right}" in headers.get("webhook-signature", "").split()


def _spoilt(kind: str | None, reply: Reply) -> Reply:
    """The answer that this fault makes of one."""
    match kind:
        case None | "no token" | "wrong id":
            return reply
        case "503" | "500" | "408" | "425":
            return Reply(int(kind), _json({"error_code": "APIGW.9999", "error_msg": "told to fail"}))
        case "502":
            return Reply(502, PAGE, {"Content-Type": "text/html"})
        case "429":
            return Reply(429, b"", {"Retry-After": "1"})
        case "429 long":
            return Reply(429, b"", {"Retry-After": str(LONG)})
        case "429 date":
            return Reply(
                429, b"", {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)}
            )
        case "not JSON" | "empty":  # with status 404 it would be a gateway's word for good
            status = 200 if reply.status == 404 else reply.status
            return Reply(status, PAGE if kind == "not JSON" else b"{}", reply.headers if kind == "not JSON" else {})
        case "expired":
            return _unauthorized("token expires")
        case "auth 500":
            return Reply(500, _json({"error_code": "BackupService.9998", "error_msg": "no log-in"}))
        case _:
            reply.wire = kind
            return reply


def _unauthorized(words: str) -> Reply:
    return Reply(401, _json({"error_code": "APIGW.0301", "error_msg": words}))


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _zulu(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Wire(asyncio.Protocol):
    """A connection that can be reset, hang and trickle."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.transport = cast("asyncio.Transport", transport)

    def send(self, data: bytes, wire: str | None) -> bool:
        """Send, as far as the fault lets it; whether the connection can go on."""
        match wire:
            case None:
                self.transport.write(data)
                return True
            case "reset":
                peer: socket.socket = self.transport.get_extra_info("socket")
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.transport.abort()
            case "garbage":
                self.transport.write(b"\x16\x03 this is none of it\r\n\r\n")
                self.transport.close()
            case "cut head":
                self.transport.write(data[:12])
                self.transport.close()
            case "hang":
                self._later(HANGS, self.transport.close)
            case "crawl":
                self._drip(data, 1, STEP)
            case "stroll":
                self._drip(data, max(len(data) // 10, 1), 0.03)
            case _:
                raise ValueError(wire)
        return False

    def _drip(self, data: bytes, step: int, pause: float) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(data[:step])
        if data[step:]:
            self._later(pause, lambda: self._drip(data[step:], step, pause))
        else:
            self.transport.close()

    def _later(self, seconds: float, then: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, then)


class Http(Wire):
    """A connection on which requests are answered, one after the other."""

    def __init__(self, answer: Callable[[str, str, dict[str, str], bytes], Reply]) -> None:
        self._answer = answer
        self._arrived = b""

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        self._arrived += data
        while (end := self._arrived.find(b"\r\n\r\n")) >= 0:
            start, *lines = self._arrived[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            size = end + 4 + int(headers.get("content-length", 0))
            if len(self._arrived) < size:
                return
            body, self._arrived = self._arrived[end + 4 : size], self._arrived[size:]
            method, target, _ = start.split(" ")
            if not self._sent(self._answer(method, target, headers, body)):
                self._arrived = b""
                return

    def _sent(self, reply: Reply) -> bool:
        head, body = reply.written()
        if reply.wire not in ("cut body", "late body"):
            return self.send(head + body, reply.wire)
        self.transport.write(head + body[: len(body) // 2])
        self._later(0.0 if reply.wire == "cut body" else HANGS, self.transport.close)
        return False


class Smtp(Wire):
    """A mail server's side of a connection (RFC 5321), as far as it goes."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._arrived = b""
        self._in_mail = False
        self._over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        super().connection_made(transport)
        connection = str(self._account.turn("connection", ""))
        self._say("220 mail.example.org", self._account.fault("greeting", connection, 0))

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        self._arrived += data
        while not self._over:
            end = b"\r\n.\r\n" if self._in_mail else b"\r\n"
            part, found, rest = self._arrived.partition(end)
            if not found:
                return
            self._arrived = rest
            if self._in_mail:
                self._in_mail = False
                self._mail(part)
            else:
                self._command(part.decode("latin-1").upper())

    def _command(self, line: str) -> None:
        word = line[:4]
        self._in_mail = word == "DATA"
        replies = {"EHLO": "250-mail.example.org\r\n250 8BITMIME", "DATA": "354 Go on", "QUIT": "221 Bye"}
        self._say(replies.get(word, "250 2.0.0 Fine"))
        if word == "QUIT":
            self._over = True
            self.transport.close()

    def _mail(self, raw: bytes) -> None:
        text = raw.replace(b"=\r\n", b"").decode("latin-1")  # quoted-printable breaks lines so; all else stays readable
        head = dict(_HEADER.findall(text))
        name, outcome = head["Message-ID"].strip("<>").partition("@")[0], head["X-Vaultbell-Outcome"]
        found = _TASK.search(text)
        subject = found[0] if found else "?"
        kind = self._account.fault("mail", name)
        taken = kind in (None, "stroll")
        task = self._account.scenario.task(subject) if found else None
        right = task is not None and task.told_as == outcome and head["X-Vaultbell-Severity"] == SEVERITY[outcome]
        wrong = "" if right else "the outcome or the severity is not the task's"
        past = "\r\nHistory: " in text
        self._account.came("mail", (f"cbr.task.{outcome}", subject, name), raw, wrong, past=past, taken=taken)
        self._say("250 2.0.0 Taken", kind)

    def _say(self, text: str, kind: str | None = None) -> None:
        said = f"{kind} 4.3.2 Not now" if (kind or "").isdecimal() else text
        goes_on = self.send(f"{said}\r\n".encode(), None if (kind or "").isdecimal() else kind)
        if said[:3] == "421" or not goes_on:
            self._over = True
            if goes_on:
                self.transport.close()


async def serve(scenario: Scenario) -> None:
    """Serve until standard input ends; the ports are the first line of standard output."""
    account = Account(scenario)
    cloud, hooks = Cloud(account), Hooks(account)

    def own(_method: str, target: str, _headers: dict[str, str], _body: bytes) -> Reply:
        told: object = account.arrivals() if urlsplit(target).path == "/-/arrivals" else account.counts
        return Reply(200, _json(told))

    loop = asyncio.get_running_loop()
    parts: list[Callable[[], asyncio.Protocol]] = [
        lambda: Http(cloud.answer),
        lambda: Http(hooks.answer),
        lambda: Smtp(account),
        lambda: Http(own),
    ]
    servers = [await loop.create_server(part, "127.0.0.1", 0, backlog=1024) for part in parts]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@dataclass(frozen=True, slots=True)
class World:
    """The world, as whoever has started it sees it: its ports, and its account."""

    api: int
    hooks: int
    mail: int
    own: int

    def counts(self) -> dict[str, int]:
        """How often what was asked for."""
        return cast("dict[str, int]", self._told("/-/counts"))

    def arrivals(self) -> list[Arrival]:
        """What has come."""
        return [Arrival(**told) for told in cast("list[dict[str, Any]]", self._told("/-/arrivals"))]

    def _told(self, path: str) -> object:
        asked = http.client.HTTPConnection("127.0.0.1", self.own, timeout=60)
        asked.request("GET", path)
        return json.loads(asked.getresponse().read())


@contextmanager
def running(scenario: Scenario) -> Iterator[World]:
    """The world of a scenario, in a process of its own."""
    command = [sys.executable, "-m", "soak.world", *map(str, (scenario.seed, scenario.number, scenario.at))]
    folder = Path(__file__).parents[1]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield World(*json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()
            process.kill()


if __name__ == "__main__":
    asyncio.run(serve(Scenario(*map(int, sys.argv[1:4]))))
