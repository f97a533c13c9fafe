"""Mail, in text and HTML, threaded by the incident: SMTP (RFC 5321, 3207, 4954) and the message (RFC 5322, 3834)."""

from __future__ import annotations

import base64
import smtplib
import socket
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing, suppress
from datetime import tzinfo
from email.headerregistry import Address, HeaderRegistry
from email.message import EmailMessage
from email.policy import SMTP
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from vaultbell.budget import Budget
from vaultbell.channels import Taken, shown
from vaultbell.errors import Permanent, Transient
from vaultbell.notification import Notification
from vaultbell.outcome import NO_TIME
from vaultbell.text import one_line
from vaultbell.transport import certificates

if TYPE_CHECKING:
    from io import BufferedReader

    from jinja2 import Environment

    from vaultbell.transport import Transport
    from vaultbell.values import SmtpServer

T = TypeVar("T")

SUBJECT_LIMIT, ANSWER_LIMIT = 200, 200
TAKEN = 250  # the one answer to a mail that smtplib takes for success
QUIT_SECONDS = 1.0
REPLY_MOST = 64 * 1024  # bytes
OUR_NAME = "[127.0.0.1]"  # RFC 5321 4.1.3 allows a literal; smtplib's own choice would ask the DNS, without a time-out

# Ids stand in a mail as they are: as prose, which the library takes these two for, a long one would be encoded.
_HEADERS = HeaderRegistry()
for _name in ("references", "in-reply-to"):
    _HEADERS.map_to_type(_name, _HEADERS["message-id"])
_POLICY = SMTP.clone(header_factory=_HEADERS)


class Email:
    """Mail to one or several addresses. Taken for one of them is delivered."""

    def __init__(
        self,
        server: SmtpServer,
        sender: str,
        recipients: Sequence[str],
        transport: Transport,
        zone: tzinfo | None = None,
    ) -> None:
        self._server = server
        self._sender = sender
        self._recipients = recipients
        self._transport = transport
        self._zone = zone

    def send(self, notification: Notification, budget: Budget) -> Taken:
        """Hand the mail in once. The remark names the recipients for which it was not taken.

        Raises Transient (4yz, no connection or a lost one, no time) or Permanent (5yz, no STARTTLS, bad certificate).
        """
        message = compose(notification, self._sender, self._recipients, self._zone)
        refused = self._dialogue(lambda client: self._hand_in(client, message), budget)
        return Taken(TAKEN, f"not taken for {self._refusals(refused)}" if refused else None)

    def log_in(self, budget: Budget) -> tuple[bytes, ...]:
        """All that comes before a mail: connect, TLS, log in. The server's certificates (`transport.certificates`)."""

        def enter(client: _Client) -> tuple[bytes, ...]:
            self._enter(client)
            return certificates(client.sock)

        return self._dialogue(enter, budget)

    def _dialogue(self, work: Callable[[_Client], T], budget: Budget) -> T:
        """What comes of the work in a dialogue with the server. Raises what `send` raises."""
        host = self._server.host
        try:
            with self._transport.bound(budget), closing(_Client(self._server, self._transport, budget)) as client:
                try:
                    return work(client)
                finally:  # the mail's fate is known by now: how the server says goodbye changes nothing
                    with suppress(OSError, ValueError), self._transport.bound(budget.capped(QUIT_SECONDS)):
                        client.docmd("QUIT")
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise _by_code(f"{host} takes no recipient: {self._refusals(error.recipients)}", codes) from None
        except smtplib.SMTPResponseException as error:
            told = self._answer(error.smtp_code, error.smtp_error)
            raise _by_code(f"{host} answered {told}", [error.smtp_code]) from None
        except smtplib.SMTPNotSupportedError:
            raise Permanent(f"{host} takes no address with letters beyond ASCII (it has no SMTPUTF8)") from None
        except ssl.SSLCertVerificationError as error:
            raise Permanent(f"the certificate of {host} is not trusted: {error.verify_message}", reason="tls") from None
        except OSError as error:  # smtplib's own are such; behind a lost connection stands what the socket said
            late = isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError)
            told = f"no answer of {host} in time" if late else f"the connection to {host} was lost"
            raise Transient(told, reason="timeout" if late else "connection") from None
        except ValueError:
            raise Transient(f"{host} answered what is not SMTP", reason="protocol") from None

    def _hand_in(self, client: _Client, message: EmailMessage) -> Mapping[str, tuple[int, bytes]]:
        self._enter(client)
        recipients = [_address(recipient).addr_spec for recipient in self._recipients]
        return client.send_message(message, _address(self._sender).addr_spec, recipients)

    def _enter(self, client: _Client) -> None:
        server = self._server
        client.ehlo_or_helo_if_needed()
        if server.tls == "starttls":
            if not client.has_extn("starttls"):
                raise Permanent(f"{server.host} does not offer STARTTLS: ?tls=off would send without it", reason="tls")
            client.starttls(context=self._transport.tls)
            client.ehlo_or_helo_if_needed()
        if server.user:
            self._log_in(client, server.user, server.password or "")

    def _log_in(self, client: _Client, user: str, password: str) -> None:
        """Try once, by one method: smtplib's `login` tries them all, and each refusal brings a lock-out nearer."""
        if not (user + password).isascii():
            raise Permanent(f"{self._server.host}: user and password have to be ASCII")
        client.user, client.password = user, password
        offered = client.esmtp_features.get("auth", "").upper().split()
        for method, answers in (("PLAIN", client.auth_plain), ("LOGIN", client.auth_login)):
            if method in offered:
                client.auth(method, answers)
                return
        raise Permanent(f"{self._server.host} offers neither PLAIN nor LOGIN to log in with")

    def _refusals(self, refused: Mapping[str, tuple[int, bytes]]) -> str:
        return "; ".join(f"{address} ({self._answer(*answer)})" for address, answer in refused.items())

    def _answer(self, code: int, text: bytes | str) -> str:
        """The server's answer, fit to be shown: should it repeat the password, as it is or as it was sent, without."""
        words = text.decode(errors="replace") if isinstance(text, bytes) else text
        if password := self._server.password:
            sent = (f"\0{self._server.user}\0{password}", password)
            for secret in (*(base64.b64encode(form.encode()).decode() for form in sent), password):
                words = words.replace(secret, "***")
        return f"{code} {one_line(words, ANSWER_LIMIT)}".strip()


class _Client(smtplib.SMTP):
    """An SMTP dialogue over the transport's sockets."""

    def __init__(self, server: SmtpServer, transport: Transport, budget: Budget) -> None:
        self._server, self._transport, self._budget = server, transport, budget
        super().__init__(server.host, server.port, OUR_NAME)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:  # noqa: ARG002 - the budget binds
        """Connect. It is the one seam that smtplib has for this, and its own SMTP_SSL uses it."""
        tls = self._transport.tls if self._server.tls == "implicit" else None
        connection = self._transport.connect(host, port, self._budget)
        return tls.wrap_socket(connection, server_hostname=host) if tls else connection

    def getreply(self) -> tuple[int, bytes]:
        """Read one answer. Raises ValueError where it has no code, or no end."""
        if self.file is None:
            self.file = _Lines(cast("socket.socket", self.sock).makefile("rb"))
        self.file.left = REPLY_MOST
        code, text = super().getreply()
        if code < 0:
            self.close()
            raise ValueError
        return code, text


class _Lines:
    """The lines of a server, `left` bytes at most: smtplib keeps all that one answer has, and it may go on for ever."""

    def __init__(self, file: BufferedReader) -> None:
        self._file, self.left = file, 0
        self.close = file.close

    def readline(self, most: int) -> bytes:
        line = self._file.readline(most)
        self.left -= len(line)
        return line if self.left >= 0 else b"no answer"  # for it has no code


def _by_code(text: str, codes: Collection[int]) -> Transient | Permanent:
    """Permanent if each is 5yz; what is neither that nor 4yz is an answer to something else, and may pass too."""
    passing = [code for code in codes if not 500 <= code <= 599]
    return Transient(text, status=max(passing)) if passing else Permanent(text, status=max(codes))


def compose(
    notification: Notification, sender: str, recipients: Sequence[str], zone: tzinfo | None = None
) -> EmailMessage:
    """The mail, made of the notification alone. Times are told in UTC, and in `zone` as well."""
    from_ = _address(sender)
    label = shown.label(notification)
    message = EmailMessage(_POLICY)
    # The library reads encoded words where there should be none, and what is in one may be the end of the headers.
    subject = f"[{label}] {notification.headline}".replace("=?", "=\u200b?")
    message["Subject"] = one_line(subject, SUBJECT_LIMIT)
    message["From"] = from_
    message["To"] = [_address(recipient) for recipient in recipients]
    if notification.timestamp > NO_TIME:  # else the server dates it (RFC 6409 8.2): 1970 would sort it out of sight
        message["Date"] = notification.timestamp
    message["Message-ID"] = f"<{notification.id}@{from_.domain}>"
    message["In-Reply-To"] = message["References"] = f"<{notification.incident}@{from_.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message["X-Vaultbell-Outcome"] = notification.outcome
    message["X-Vaultbell-Severity"] = notification.severity
    if notification.severity == "critical":
        message["Importance"] = "high"
    known = shown.known(notification, zone) | {"label": label}
    parts = {"facts": shown.facts(known), "tables": shown.tables(notification, zone), "counted": notification.tally}
    text, html = (_templates().get_template(f"mail.{kind}.j2").render(known, **parts) for kind in ("txt", "html"))
    message.set_content(text, cte="quoted-printable")
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    message.set_boundary(f"=_{notification.id}")
    return message


def _address(mailbox: str) -> Address:
    """`name@host` or `Name <name@host>`, whose name may hold commas: the library would split there."""
    name, _, address = mailbox.rpartition("<")
    local, _, domain = address.rstrip("> ").rpartition("@")
    return Address(name.strip(' "'), local, domain)


@cache
def _templates() -> Environment:
    """The templates beside this file, read on the first mail."""
    from jinja2 import Environment, FileSystemLoader, select_autoescape  # noqa: PLC0415 - dear at a cold start

    return Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=select_autoescape(["html.j2"]),
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
