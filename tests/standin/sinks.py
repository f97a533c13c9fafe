"""Where notifications arrive: a webhook receiver and a mailbox that keep what they get and answer as they are told."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Literal

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from standin import ports
from standin.server import Server, server_context
from standin.state import Answer, Fault, Kind


@dataclass(frozen=True, slots=True)
class Got:
    """One request that a receiver got. Header names are in lower case, `time` is in seconds since 1970."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    time: float

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever was sent
        """The body, parsed."""
        return json.loads(self.body)


@dataclass(slots=True)
class _Scripted:
    answer: Answer
    times: int | None


class Receiver(Server):
    """A webhook receiver at `url`, as a context manager. Unless told otherwise it answers 200 with an empty body."""

    def __init__(self, port: int = 0, tls: tuple[str, str] | None = None) -> None:
        super().__init__(self._take, port, tls)
        self.requests: list[Got] = []
        self._news = threading.Condition()
        self._script: dict[str, list[_Scripted]] = {}

    def __enter__(self) -> Receiver:
        super().__enter__()
        return self

    def answer(
        self,
        path: str = "*",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        times: int | None = None,
        kind: Kind = "status",
        **args: Any,  # noqa: ANN401 - as Cloud.fault takes them
    ) -> None:
        """Answer the next `times` requests to a path (`*`: any) so, after what was said before; None: from then on.

        `kind`: `status`, or one of the wire's: hang(seconds), hang_body(seconds), reset, truncate(keep, head),
        trickle(pause, head), garbage (which sends the body alone, if there is one).
        """
        if kind == "garbage" and body:
            args["body"] = body.decode("latin-1")
        fault = None if kind == "status" else Fault("any", kind, args=args)
        with self._news:
            said = _Scripted(Answer(status, dict(headers or {}), body, fault), times)
            self._script.setdefault(path, []).append(said)

    def wait_for(self, number: int, timeout: float = 5.0) -> list[Got]:
        """The requests, once there are so many. Raises TimeoutError."""
        with self._news:
            if not self._news.wait_for(lambda: len(self.requests) >= number, timeout):
                raise TimeoutError(f"{len(self.requests)} requests came, not {number}")
            return list(self.requests)

    def verify(self, secret: str) -> list[bool]:
        """For each request, whether an independent Standard Webhooks library takes its signature."""
        return [_verified(secret, got) for got in self.requests]

    def _take(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Answer:
        with self._news:
            self.requests.append(Got(method, path, query, dict(headers), body, time.time()))
            self._news.notify_all()
            for said in self._script.get(path, []) + self._script.get("*", []):
                if said.times is None:
                    return said.answer
                if said.times:
                    said.times -= 1
                    return said.answer
            return Answer(200, {}, b"")


def _verified(secret: str, got: Got) -> bool:
    try:
        Webhook(secret).verify(got.body, dict(got.headers))
    except WebhookVerificationError:
        return False
    return True


Mode = Literal["plain", "starttls", "implicit"]
Stage = Literal["auth", "mail", "rcpt", "data"]


@dataclass(slots=True)
class _Refusal:
    stage: Stage
    reply: str
    times: int | None
    of: str


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail that was taken: envelope, message, and whether it came over TLS and by whose log-in."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage
    raw: bytes
    tls: bool
    user: str | None


class Mailbox:
    """An SMTP server at `port` of loopback, as a context manager, that keeps the mails that it takes.

    `tls`: certificate and key files; `mode` `starttls` offers it, `implicit` begins with it. `login`: the one user
    and password that may send; then nobody else can.
    """

    def __init__(
        self,
        mode: Mode = "plain",
        tls: tuple[str, str] | None = None,
        login: tuple[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.mode, self.tls, self.login, self.port = mode, tls, login, port
        self.messages: list[Mail] = []
        self.connections = 0
        self._script: list[_Refusal] = []
        self._news = threading.Condition()

    def __enter__(self) -> Mailbox:
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        self._thread.start()
        if not started.wait(5):
            raise TimeoutError("the mailbox did not open")
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    def refuse(self, stage: Stage, reply: str, times: int | None = None, of: str = "") -> None:
        """Answer `reply` (`550 5.1.1 unknown`; empty: break the connection) where a command has `of` in its address."""
        with self._news:
            self._script.append(_Refusal(stage, reply, times, of))

    def wait_for(self, number: int, timeout: float = 5.0) -> list[Mail]:
        """Return the mails, once there are so many. Raises TimeoutError."""
        with self._news:
            if not self._news.wait_for(lambda: len(self.messages) >= number, timeout):
                raise TimeoutError(f"{len(self.messages)} mails came, not {number}")
            return list(self.messages)

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        context = server_context(self.tls) if self.tls else None
        sessions: list[SMTP] = []

        def session() -> SMTP:
            self.connections += 1
            with warnings.catch_warnings():  # it warns of a log-in without TLS, which is what is wanted here
                warnings.simplefilter("ignore")
                smtp = SMTP(
                    self,
                    hostname="mail.example.org",
                    loop=self._loop,
                    enable_SMTPUTF8=True,
                    tls_context=context if self.mode == "starttls" else None,
                    authenticator=self._authenticate,
                    auth_required=self.login is not None,
                    auth_require_tls=False,
                )
            sessions.append(smtp)
            return smtp

        implicit = context if self.mode == "implicit" else None
        server = await self._loop.create_server(session, "127.0.0.1", self.port or ports.unused(), ssl=implicit)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._stop.wait()
        server.close()
        for smtp in sessions:
            _abort(smtp)
        await asyncio.sleep(0.01)  # the loop closes an aborted connection some turns later

    async def handle_MAIL(self, server: SMTP, _session: Session, envelope: Envelope, address: str, *_: object) -> str:  # noqa: N802 - the library calls it so
        """Take the sender, unless told otherwise."""
        if (reply := self._told("mail", address, server)) is None:
            envelope.mail_from = address
        return reply or "250 2.1.0 Sender ok"

    async def handle_RCPT(self, server: SMTP, _session: Session, envelope: Envelope, address: str, *_: object) -> str:  # noqa: N802 - the library calls it so
        """Take a recipient, unless told otherwise."""
        if (reply := self._told("rcpt", address, server)) is None:
            envelope.rcpt_tos.append(address)
        return reply or "250 2.1.5 Recipient ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - the library calls it so
        """Keep the mail, unless told otherwise."""
        if (reply := self._told("data", "", server)) is not None:
            return reply
        raw = envelope.content if isinstance(envelope.content, bytes) else b""
        message = message_from_bytes(raw, policy=policy.default)
        user = session.auth_data.login.decode() if isinstance(session.auth_data, LoginPassword) else None
        tls = session.ssl is not None or self.mode == "implicit"
        mail = Mail(str(envelope.mail_from), tuple(map(str, envelope.rcpt_tos)), message, raw, tls, user)
        with self._news:
            self.messages.append(mail)
            self._news.notify_all()
        return "250 2.0.0 Taken"

    def _authenticate(
        self, server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: LoginPassword
    ) -> AuthResult:
        if (reply := self._told("auth", given.login.decode(), server)) is not None:
            return AuthResult(success=False, handled=False, message=reply)
        right = self.login is None or (given.login.decode(), given.password.decode()) == self.login
        return AuthResult(success=right, handled=False, auth_data=given)

    def _told(self, stage: Stage, address: str, server: SMTP) -> str | None:
        with self._news:
            for said in self._script:
                if said.stage == stage and said.of in address and said.times != 0:
                    said.times = said.times and said.times - 1
                    if not said.reply:
                        _abort(server)
                    return said.reply or "421 4.3.2 Gone"
            return None


def _abort(smtp: SMTP) -> None:
    if isinstance(smtp.transport, asyncio.WriteTransport):
        smtp.transport.abort()
