"""What may stand in a setting: texts, addresses, durations, secrets. A refusal never quotes the value."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, SecretStr
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from vaultbell import standard_webhooks, times

T = TypeVar("T", str, SecretStr)

FILE_MOST = 1 << 20

_MAIL_ADDRESS = re.compile(r"[^\s@<>(),;:\"\\]+@[A-Za-z0-9._-]+")
_NAMED = re.compile(r"[^<>]*<([^<>]*)>")


def read_file(path: str) -> str:
    """A text file of 1 MiB at most. Raises ValueError, which names it."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(FILE_MOST + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the file {path} is not UTF-8") from None
    if len(content) > FILE_MOST:
        raise ValueError(f"the file {path} is longer than 1 MiB")
    return text


def read_secret(path: str) -> str:
    """What the file holds, without its last line break. Raises ValueError."""
    if not (text := read_file(path).removesuffix("\n").removesuffix("\r")):
        raise ValueError(f"the file {path} is empty")
    return text


def that(check: Callable[[str], object]) -> AfterValidator:
    """A text or secret that `check` does not refuse by a ValueError, whose words are shown."""

    def validate(value: T) -> T:
        check(value.get_secret_value() if isinstance(value, SecretStr) else value)
        return value

    return AfterValidator(validate)


def fits(pattern: str, words: str) -> AfterValidator:
    """A text that the pattern fits as a whole; else `words` are shown."""

    def check(text: str) -> None:
        if not re.fullmatch(pattern, text):
            raise ValueError(words)

    return that(check)


def one_of(*words: str) -> AfterValidator:
    """One of the words."""
    return fits("|".join(map(re.escape, words)), f"one of these is wanted: {', '.join(words)}")


def parted(separator: str | None) -> BeforeValidator:
    """One text stands for the list of its parts."""

    def part(value: object) -> object:
        given: list[object] = value if isinstance(value, list) else [value]
        texts = [text for text in given if isinstance(text, str)]
        if not texts or len(texts) < len(given):
            return value
        if not (parts := [part.strip() for text in texts for part in text.split(separator) if part.strip()]):
            raise ValueError("is empty")
        return parts

    return BeforeValidator(part)


def _duration(value: object) -> timedelta:
    text = str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    length = times.length(text.strip()) if isinstance(text, str) else None
    if length is None:
        raise ValueError("a duration is 90s, 15m, 24h, 7d or seconds, above 0 and 366d at most")
    return length


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is wanted")
    return value


def address(text: str, *schemes: str) -> SplitResult:
    """The parts of an address with one of the schemes (none given: any) and a host that can be asked for."""
    wanted = " or ".join(f"{scheme}://" for scheme in schemes) or "a scheme, ://"
    words = f"an address is {wanted} and a host, without blanks"
    if not text.isprintable() or " " in text or "\\" in text:
        raise ValueError(words)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
        plain = host if ":" in host else host.encode("idna").decode()  # urlsplit has judged what stands in brackets
    except ValueError:
        raise ValueError(words) from None
    known = parts.scheme in schemes if schemes else bool(parts.scheme)
    if not known or port == 0 or not (":" in host or re.fullmatch(r"[A-Za-z0-9._-]+", plain)):
        raise ValueError(words)
    return parts


def _web(text: str) -> SplitResult:
    parts = address(text, "http", "https")
    try:
        parse_url(text)  # as it is read when it is asked for
    except LocationParseError:
        raise ValueError("an address is http:// or https:// and a host, without blanks") from None
    return parts


def _endpoint(text: str) -> None:
    parts = _web(text)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("an endpoint is scheme, host and path alone")


def _mail_address(text: str) -> None:
    named = _NAMED.fullmatch(text)
    if not text.isprintable() or not _MAIL_ADDRESS.fullmatch(named[1] if named else text):
        raise ValueError("a mail address is name@host or Name <name@host>, the host in ASCII")


def readable(path: str) -> None:
    """Raise ValueError unless the file can be read and holds a certificate."""
    if "-----BEGIN " not in read_file(path):
        raise ValueError(f"the file {path} holds no certificate in PEM form")


def redis_store(text: str) -> None:
    """Raise ValueError unless this is a Redis's address, and what is needed to talk to it is installed."""
    parts = address(text, "redis", "rediss")
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = {"db"} if parts.scheme == "redis" else {"db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
    if asked.keys() - known or parts.fragment:
        raise ValueError(f"only these may follow the host and its number: {', '.join(sorted(known))}")
    if not re.fullmatch(r"(/[0-9]{0,4})?", parts.path) or not re.fullmatch(r"[0-9]{1,4}", asked.get("db", "0")):
        raise ValueError("what follows the host is a database's number: redis://host/2, or redis://host?db=2")
    installed("redis", "vaultbell[redis]")


def installed(module: str, extra: str) -> None:
    """Raise ValueError, which names the extra that brings it, unless the module is there; it is not imported."""
    if find_spec(module) is None:
        raise ValueError(f"{module} is not installed: it comes with the extra {extra}")


def time_zone(text: str) -> None:
    """Raise ValueError unless the name is that of a zone that is known here."""
    try:
        ZoneInfo(text)
    except (LookupError, ValueError, OSError):
        raise ValueError("no time zone of this name is known here (a name is Europe/Berlin, say)") from None


Duration = Annotated[timedelta, PlainValidator(_duration)]
Seconds = Annotated[float, PlainValidator(lambda value: _duration(value).total_seconds())]
Count = Annotated[int, BeforeValidator(_no_bool), Field(ge=1, le=10_000)]
Text = Annotated[str, fits(r"(?s).*\S.*", "is empty")]
LISTED = BeforeValidator(lambda value: [value] if isinstance(value, str) else value)  # one stands for a list of one
Texts = Annotated[tuple[Text, ...], LISTED, Field(min_length=1)]
WebUrl = Annotated[SecretStr, that(_web)]
ServiceUrl = Annotated[SecretStr, fits(r"[A-Za-z][A-Za-z0-9+.-]*://[\x21-\x7e]+", "an Apprise address is service://…")]
Endpoint = Annotated[str, that(_endpoint)]
Token = Annotated[SecretStr, fits(r"[\x21-\x7e]+", "printable ASCII without blanks is wanted")]
Secrets = Annotated[tuple[Annotated[SecretStr, that(standard_webhooks.key_of)], ...], parted(None)]
Region = Annotated[str, fits(r"[a-z0-9-]+", "a region is lower-case letters, digits and -")]
ProjectId = Annotated[str, AfterValidator(str.lower), fits(r"[0-9a-f]{32}", "a project id is 32 hex digits")]
MailAddress = Annotated[str, that(_mail_address)]
ChannelName = Annotated[
    str, fits(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", "a channel's name is letters, digits, _ and -, 64 at most")
]
Topic = Annotated[str, fits(r"urn:smn:[a-z0-9-]+:[0-9a-f]{32}:[\w-]+", "a topic is urn:smn:region:project_id:name")]


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mail is handed in. `starttls`: used where it is offered, and required; `implicit`: TLS from the start."""

    host: str
    port: int
    user: str | None
    password: str | None = field(repr=False)
    tls: Literal["starttls", "implicit", "off"]

    @classmethod
    def of(cls, url: str) -> SmtpServer:
        """`smtp://user:password@host:587` (`?tls=off`) or `smtps://…`; user and password percent-encoded.

        Raises ValueError, without the value.
        """
        parts = address(url, "smtp", "smtps")
        implicit = parts.scheme == "smtps"
        if parts.path not in ("", "/") or parts.fragment or parts.query not in ("" if implicit else "tls=off", ""):
            raise ValueError("only ?tls=off may follow the host, and that of smtp:// alone")
        try:
            user, password = (unquote(text or "", errors="strict") for text in (parts.username, parts.password))
        except UnicodeDecodeError:
            raise ValueError("user and password are percent-encoded UTF-8") from None
        if bool(user) != bool(password) or not (user + password).isprintable():
            raise ValueError("user and password belong together, and hold no control characters")
        port = parts.port or (465 if implicit else 587)
        tls: Literal["starttls", "implicit", "off"] = "implicit" if implicit else "off" if parts.query else "starttls"
        return cls(parts.hostname or "", port, user or None, password or None, tls)
