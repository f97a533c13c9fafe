"""Mail over a real dialogue: TLS, log-in, refusals, and servers that misbehave."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Literal

import pytest

from standin.certificates import Authority, Certificate
from standin.sinks import Mailbox
from told import FAILED
from vaultbell.budget import Budget
from vaultbell.channels import Taken
from vaultbell.channels.email import Email
from vaultbell.errors import Permanent, Transient
from vaultbell.notification import Notification
from vaultbell.transport import Transport
from vaultbell.values import SmtpServer

Tls = Literal["starttls", "implicit", "off"]

LOGIN = ("bell", "s3cret pass")
TAKEN = Taken(250)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    return authority.certificate()


def email(
    port: int,
    tls: Tls = "off",
    *,
    login: tuple[str, str] | None = None,
    to: tuple[str, ...] = ("ops@example.com",),
    sender: str = "Vaultbell <bell@example.org>",
    trust: str | None = None,
    host: str = "127.0.0.1",
) -> Email:
    user, password = login or (None, None)
    return Email(SmtpServer(host, port, user, password, tls), sender, to, Transport(ca_file=trust))


def told(channel: Email, seconds: float = 5.0, notification: Notification = FAILED) -> Taken:
    return channel.send(notification, Budget(time.monotonic() + seconds))


def final(channel: Email) -> Permanent:
    with pytest.raises(Permanent) as raised:
        told(channel)
    return raised.value


def passing(channel: Email, seconds: float = 5.0) -> Transient:
    with pytest.raises(Transient) as raised:
        told(channel, seconds)
    return raised.value


def test_mail_goes_in_over_starttls_with_a_log_in(certificate: Certificate, authority: Authority) -> None:
    with Mailbox("starttls", certificate, LOGIN) as mailbox:
        assert told(email(mailbox.port, "starttls", login=LOGIN, trust=authority.file)) == TAKEN
        (mail,) = mailbox.wait_for(1)
    assert (mail.tls, mail.user, mail.sender) == (True, "bell", "bell@example.org")
    assert mail.recipients == ("ops@example.com",)
    assert mail.message["Subject"] == "[CRITICAL] Backup of ECS-0001 failed"


def test_mail_goes_in_over_tls_from_the_start_with_a_log_in(certificate: Certificate, authority: Authority) -> None:
    with Mailbox("implicit", certificate, LOGIN) as mailbox:
        assert told(email(mailbox.port, "implicit", login=LOGIN, trust=authority.file)) == TAKEN
        (mail,) = mailbox.wait_for(1)
    assert (mail.tls, mail.user) == (True, "bell")


def test_a_repeat_goes_over_the_wire_byte_for_byte(mailbox: Mailbox) -> None:
    channel = email(mailbox.port)
    told(channel)
    told(channel)
    first, second = mailbox.wait_for(2)
    assert first.raw == second.raw


def test_without_starttls_nothing_is_sent_and_nobody_logs_in() -> None:
    with Mailbox("plain", login=LOGIN) as mailbox, Script() as seen_by:
        error = final(email(mailbox.port, "starttls", login=LOGIN))
        assert "does not offer STARTTLS" in error.message
        final(email(seen_by.port, "starttls", login=LOGIN))
        assert mailbox.messages == []
    assert [line.split()[0] for line in seen_by.heard] == ["ehlo", "QUIT"]


def test_with_tls_off_none_is_used_even_where_it_is_offered(certificate: Certificate) -> None:
    with Mailbox("starttls", certificate, LOGIN) as mailbox:
        assert told(email(mailbox.port, "off", login=LOGIN)) == TAKEN
        (mail,) = mailbox.wait_for(1)
    assert (mail.tls, mail.user) == (False, "bell")


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
def test_an_untrusted_certificate_is_final_and_nothing_is_sent(
    mode: Literal["starttls", "implicit"], certificate: Certificate
) -> None:
    with Mailbox(mode, certificate, LOGIN) as mailbox:
        error = final(email(mailbox.port, mode, login=LOGIN))
        assert error.message.startswith("the certificate of 127.0.0.1 is not trusted: ")
        assert mailbox.messages == []


def test_a_certificate_for_another_name_is_final(certificate: Certificate, authority: Authority) -> None:
    with Mailbox("starttls", certificate) as mailbox:
        error = final(email(mailbox.port, "starttls", trust=authority.file, host="localhost"))
    assert "not trusted" in error.message


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
def test_a_wrong_password_is_final_and_not_shown(
    mode: Literal["starttls", "implicit"], certificate: Certificate, authority: Authority
) -> None:
    with Mailbox(mode, certificate, LOGIN) as mailbox:
        error = final(email(mailbox.port, mode, login=("bell", "wr0ng"), trust=authority.file))
    assert error.status == 535
    assert "wr0ng" not in error.message


@pytest.mark.parametrize(
    ("stage", "reply", "status"),
    [
        ("auth", "454 4.7.0 Later", 454),
        ("mail", "451 4.3.0 Busy", 451),
        ("rcpt", "450 4.2.0 Greylisted", 450),
        ("data", "452 4.3.1 Full", 452),
        ("mail", "421 4.3.2 Closing", 421),
        ("rcpt", "421 4.3.2 Closing", 421),
    ],
)
def test_what_the_server_refuses_for_now_may_be_tried_again(
    stage: Literal["auth", "mail", "rcpt", "data"], reply: str, status: int
) -> None:
    with Mailbox(login=LOGIN) as mailbox:
        mailbox.refuse(stage, reply, times=1)
        error = passing(email(mailbox.port, login=LOGIN))
        assert error.status == status
        assert reply in error.message
        assert told(email(mailbox.port, login=LOGIN)) == TAKEN


@pytest.mark.parametrize(
    ("stage", "reply", "status"),
    [
        ("auth", "535 5.7.8 Wrong", 535),
        ("auth", "530 5.7.0 Not so", 530),
        ("mail", "553 5.1.8 Not you", 553),
        ("rcpt", "550 5.1.1 Unknown", 550),
        ("data", "554 5.7.1 Spam", 554),
    ],
)
def test_what_the_server_refuses_for_good_is_final(
    stage: Literal["auth", "mail", "rcpt", "data"], reply: str, status: int
) -> None:
    with Mailbox(login=LOGIN) as mailbox:
        mailbox.refuse(stage, reply)
        error = final(email(mailbox.port, login=LOGIN))
    assert error.status == status
    assert reply in error.message
    assert error.message.startswith("127.0.0.1 ")


@pytest.mark.parametrize("stage", ["auth", "mail", "rcpt", "data"])
def test_a_lost_connection_may_be_tried_again(stage: Literal["auth", "mail", "rcpt", "data"]) -> None:
    with Mailbox(login=LOGIN) as mailbox:
        mailbox.refuse(stage, "", times=1)
        assert passing(email(mailbox.port, login=LOGIN)).message == "the connection to 127.0.0.1 was lost"
        assert told(email(mailbox.port, login=LOGIN)) == TAKEN


def test_taken_for_one_recipient_is_delivered_and_the_refused_are_named(mailbox: Mailbox) -> None:
    mailbox.refuse("rcpt", "550 5.1.1 Unknown", of="gone@")
    mailbox.refuse("rcpt", "450 4.2.0 Later", of="grey@")
    to = ("gone@example.com", "ops@example.com", "Grey <grey@example.com>")
    remark = "not taken for gone@example.com (550 5.1.1 Unknown); grey@example.com (450 4.2.0 Later)"
    assert told(email(mailbox.port, to=to)) == Taken(250, remark)
    (mail,) = mailbox.wait_for(1)
    assert mail.recipients == ("ops@example.com",)


def test_all_refused_is_final_only_if_each_is(mailbox: Mailbox) -> None:
    mailbox.refuse("rcpt", "550 5.1.1 Unknown", of="gone@")
    mailbox.refuse("rcpt", "450 4.2.0 Later", of="grey@")
    mailbox.refuse("rcpt", "552 5.2.2 Full", of="full@")
    error = final(email(mailbox.port, to=("gone@example.com", "full@example.com")))
    assert error.status in (550, 552)
    for name in ("gone@example.com (550 5.1.1 Unknown)", "full@example.com (552 5.2.2 Full)"):
        assert name in error.message
    assert passing(email(mailbox.port, to=("gone@example.com", "grey@example.com"))).status == 450
    assert mailbox.messages == []


def test_an_address_with_letters_beyond_ascii_gets_its_mail(mailbox: Mailbox) -> None:
    assert told(email(mailbox.port, to=("jürgen@example.com", "ops@example.com"))) == TAKEN
    (mail,) = mailbox.wait_for(1)
    assert mail.recipients == ("jürgen@example.com", "ops@example.com")
    assert "To: jürgen@example.com, ops@example.com\r\n".encode() in mail.raw


def test_a_server_without_smtputf8_refuses_such_an_address_for_good() -> None:
    with Script() as server:
        error = final(email(server.port, to=("jürgen@example.com",)))
    assert "SMTPUTF8" in error.message
    assert not any(line.lower().startswith(("mail", "data")) for line in server.heard)


def test_our_host_is_not_asked_for_its_name(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> str:
        raise AssertionError("the name of the host was asked for")

    monkeypatch.setattr(socket, "getfqdn", never)
    monkeypatch.setattr(socket, "gethostname", never)
    assert told(email(mailbox.port)) == TAKEN


class Script:
    """A server that keeps to a script: an answer a command; `""` breaks the connection, None is silence."""

    def __init__(self, answers: Mapping[str, str | None] | None = None, greeting: str = "220 mail.example.org") -> None:
        offers = "250-mail.example.org\r\n250 AUTH PLAIN LOGIN"
        said = {"EHLO": offers, "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on", ".": "250 taken"}
        self._answers: dict[str, str | None] = {**said, "AUTH": "235 ok", "QUIT": "221 bye", **(answers or {})}
        self._greeting = greeting
        self.heard: list[str] = []
        self._done = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Script:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        try:
            while True:
                connection, _ = self._socket.accept()
                with connection, connection.makefile("rb") as lines:
                    self._converse(connection, (line.decode(errors="replace").strip() for line in lines))
        except OSError:  # the client has gone, or the test is over
            return

    def _converse(self, connection: socket.socket, lines: Iterator[str]) -> None:
        connection.sendall(f"{self._greeting}\r\n".encode())
        in_mail = False
        for line in lines:
            if in_mail and line != ".":
                continue
            self.heard.append(line)
            verb = line.split(" ")[0].upper()
            in_mail = verb == "DATA" and str(self._answers[verb]).startswith("354")
            answer = self._answers.get(verb, "500 what?")
            if answer is None:
                self._done.wait(10)
                return
            if not answer:
                return
            connection.sendall(f"{answer}\r\n".encode())


@pytest.mark.parametrize("answer", ["", "421 4.3.2 Closing", "nonsense"])
def test_a_bad_goodbye_after_the_mail_was_taken_changes_nothing(answer: str) -> None:
    with Script({"QUIT": answer}) as server:
        assert told(email(server.port)) == TAKEN
    assert "." in server.heard


def test_a_refused_log_in_is_tried_once_even_if_the_server_hangs_up_after_it() -> None:
    with Script({"AUTH": "535 5.7.8 No"}) as server:
        assert final(email(server.port, login=LOGIN)).status == 535
    assert sum(line.startswith("AUTH") for line in server.heard) == 1


def test_the_password_is_not_shown_where_the_server_repeats_it() -> None:
    plain = base64.b64encode(f"\0{LOGIN[0]}\0{LOGIN[1]}".encode()).decode()
    alone = base64.b64encode(LOGIN[1].encode()).decode()
    with Script({"AUTH": f"535 no: {plain} {alone} {LOGIN[1]}"}) as server:
        error = final(email(server.port, login=LOGIN))
    assert error.message == "127.0.0.1 answered 535 no: *** *** ***"


def test_what_the_server_says_is_shown_on_one_line_and_cut() -> None:
    with Script({"MAIL": "550-one\r\n550-\x1b[31mtwo\u202e\r\n550 " + "x" * 400}) as server:
        error = final(email(server.port))
    assert error.message.startswith("127.0.0.1 answered 550 one [31mtwo xxx")
    assert error.message.endswith("…")
    assert len(error.message) < 250


def test_a_server_that_offers_no_known_log_in_is_final() -> None:
    with Script({"EHLO": "250-mail.example.org\r\n250 AUTH GSSAPI"}) as server:
        assert "neither PLAIN nor LOGIN" in final(email(server.port, login=LOGIN)).message
    with Script({"EHLO": "250 mail.example.org"}) as server:
        assert "neither PLAIN nor LOGIN" in final(email(server.port, login=LOGIN)).message


def test_a_server_that_offers_login_alone_is_logged_in_to() -> None:
    class Asking(Script):
        def _converse(self, connection: socket.socket, lines: Iterator[str]) -> None:
            challenges = {base64.b64encode(b"bell").decode(): "334 UGFzc3dvcmQ6"}
            self._answers |= {word.upper(): answer for word, answer in challenges.items()}
            self._answers[base64.b64encode(LOGIN[1].encode()).decode().upper()] = "235 ok"
            super()._converse(connection, lines)

    with Asking({"EHLO": "250-mail.example.org\r\n250 AUTH LOGIN", "AUTH": "334 VXNlcm5hbWU6"}) as server:
        assert told(email(server.port, login=LOGIN)) == TAKEN
    assert "." in server.heard


def test_a_password_beyond_ascii_is_a_clear_word_and_does_not_show() -> None:
    with Script() as server:
        error = final(email(server.port, login=("bell", "pässword")))
    assert error.message == "127.0.0.1: user and password have to be ASCII"


@pytest.mark.parametrize(
    ("script", "greeting"),
    [
        ({}, "HTTP/1.1 400 Bad Request"),
        ({}, "\x16\x03\x01 hello"),
        ({"EHLO": "nonsense"}, "220 hello"),
        ({"RCPT": "nonsense"}, "220 hello"),
        ({"DATA": "xyz"}, "220 hello"),
        ({"EHLO": "250-hello\r\n250 AUTH LOGIN", "AUTH": "334 a"}, "220 hello"),
    ],
)
def test_an_answer_that_is_not_smtp_may_pass(script: dict[str, str], greeting: str) -> None:
    with Script(script, greeting) as server:
        error = passing(email(server.port, login=LOGIN if "AUTH" in script else None))
    assert error.message.startswith("127.0.0.1 answered ")
    assert error.status is None or error.status > 0


@pytest.mark.parametrize(("greeting", "status"), [("421 4.3.2 Busy", 421), ("450 4.3.2 Busy", 450)])
def test_a_server_that_is_busy_may_pass(greeting: str, status: int) -> None:
    with Script(greeting=greeting) as server:
        assert passing(email(server.port)).status == status


def test_a_server_that_takes_no_mail_at_all_is_final() -> None:
    with Script(greeting="554 5.3.2 No mail here") as server:
        assert final(email(server.port)).status == 554


@pytest.mark.parametrize("verb", ["EHLO", "MAIL", "DATA", "."])
def test_a_silent_server_costs_no_more_than_the_budget(verb: str) -> None:
    with Script({verb: None}) as server:
        began = time.monotonic()
        error = passing(email(server.port), 0.3)
        assert time.monotonic() - began < 2
    assert error.message == "no answer of 127.0.0.1 in time"


def test_plain_text_where_tls_was_wanted_may_pass() -> None:
    with Script() as server:
        passing(email(server.port, "implicit"))


def test_a_closed_port_may_pass() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    passing(email(port), 0.5)


def test_hostile_names_go_through_a_real_server_and_stay_names(mailbox: Mailbox) -> None:
    evil = "x\r\n.\r\nMAIL FROM:<y@example.com>\r\n\ud800\u202e<b>"
    hostile = FAILED._replace(headline=f"Backup of {evil}", reason=f"{evil}\n.\n", facts={"vault_name": f".{evil}"})
    assert told(email(mailbox.port), notification=hostile) == TAKEN
    (mail,) = mailbox.wait_for(1)
    assert mail.message["Subject"] == "[CRITICAL] Backup of x . MAIL FROM:<y@example.com> \ufffd <b>"
    assert mail.message["To"] == "ops@example.com"
