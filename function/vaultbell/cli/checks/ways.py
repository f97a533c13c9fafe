"""The ways out: whether an address can be reached, is allowed, and proves who it is, and for how long yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

from vaultbell import compose
from vaultbell.budget import Budget
from vaultbell.channels import apprise
from vaultbell.channels.email import Email
from vaultbell.cli.checks import Check, Finding, failure, ok, warning
from vaultbell.cloud.endpoints import domain_of
from vaultbell.raw_settings import host_of
from vaultbell.settings import AppriseChannel, EmailChannel, Settings, WebhookChannel
from vaultbell.text import one_line
from vaultbell.transport import PORTS, Transport

SOON, VERY_SOON = timedelta(days=30), timedelta(days=7)
REACH = "See that its address is right, that it can be reached from here, and that the channel's ca_file knows its CA."
SMN = "Messages of SMN prove themselves by a certificate from there: let it be reached from here, or none is believed."
MAIL = "Check the mail server's address, user and password, and that it can be reached from here."


def checks(settings: Settings) -> Iterator[Check]:
    """Each channel, the heartbeat's address, and where SMN's certificates come from. Nobody is told anything."""
    for name, channel in settings.channels.items():
        thing = f"channel {name}"
        match channel:
            case WebhookChannel():
                way, url = _way(name, channel), channel.url.get_secret_value()
                yield Check(thing, partial(look, thing, way, url), REACH)
            case EmailChannel():
                mail = Email(channel.server, channel.sender, channel.to, _way(name, channel))
                words = f"{channel.server.host} lets us in ({_manner(channel)}); no mail was sent"
                yield Check(thing, partial(_mail, thing, mail, words), MAIL)
            case AppriseChannel():
                urls = [url.get_secret_value() for url in channel.urls]
                yield Check(thing, partial(_apprise, thing, urls), "Correct the channel's url.")
    if settings.heartbeat_url:
        way, url = Transport(name="VAULTBELL_HEARTBEAT_URL"), settings.heartbeat_url.get_secret_value()
        yield Check("heartbeat", partial(look, "heartbeat", way, url), REACH)
    if settings.platform != "functiongraph":  # which vouches for its own trigger
        for region in sorted({topic.split(":")[2] for topic in settings.smn_topics}):
            thing, (way, url) = f"SMN in {region}", smn(region)
            yield Check(thing, partial(look, thing, way, url), SMN)


def smn(region: str) -> tuple[Transport, str]:
    """The way to the host whose certificates prove the messages of SMN, as the door goes it."""
    return Transport(allow_private=False, name="VAULTBELL_SMN_TOPICS"), f"https://smn.{region}.{domain_of(region)}/"


def _way(name: str, channel: WebhookChannel | EmailChannel) -> Transport:
    way = Transport(ca_file=channel.ca_file, proxy=channel.proxy, allow_private=channel.allow_private)
    return way.named(name, compose.allowing(name))


def look(thing: str, way: Transport, url: str, budget: Budget) -> Iterator[Finding]:
    """Whether it can be reached, through whom, and its certificates. Raises Transient and Permanent."""
    parts = urlsplit(url)
    found = way.reach(url, budget)
    proxy = way.proxy_for(parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme])
    through = f" through the proxy {host_of(proxy)}" if proxy else ""
    unseen = proxy and parts.scheme == "https" and not found
    yield ok(thing, f"{parts.hostname} is reached{through}{'; what lies behind it is not looked at' if unseen else ''}")
    yield from lasting(thing, found)


def lasting(thing: str, certificates: Sequence[bytes]) -> Iterator[Finding]:
    """How long the certificates last, which were verified: the other side's own, and those that end before long."""
    from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415 - dear, and where TLS is alone

    now = datetime.now(UTC)
    for number, der in enumerate(certificates):
        read = load_der_x509_certificate(der)
        left = read.not_valid_after_utc - now
        whose = f"of {one_line(read.subject.rfc4514_string(), 100)}" if number else "of its own"
        words = f"the certificate {whose} is trusted, and ends in {left.days} d ({read.not_valid_after_utc:%Y-%m-%d})"
        to_do = "Renew it, or have it renewed."
        if left < SOON:
            yield (failure if left < VERY_SOON else warning)(f"{thing}: TLS", words, to_do)
        elif not number:
            yield ok(f"{thing}: TLS", words)


def _manner(channel: EmailChannel) -> str:
    tls = {"starttls": "STARTTLS", "implicit": "TLS", "off": "without TLS"}[channel.server.tls]
    return f"{tls}, {'log-in' if channel.server.user else 'no log-in'}"


def _mail(thing: str, mail: Email, words: str, budget: Budget) -> Iterator[Finding]:
    found = mail.log_in(budget)
    yield ok(thing, words)
    yield from lasting(thing, found)


def _apprise(thing: str, urls: Sequence[str], _budget: Budget) -> Iterator[Finding]:
    for url in urls:
        apprise.service(url)
    yield ok(thing, "Apprise knows the service; its requests are its own, and are not tried")
