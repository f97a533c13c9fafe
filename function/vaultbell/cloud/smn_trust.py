"""Whether an SMN message over HTTP is to be believed, and the confirming of our subscription.

Source: SMN user guide, "HTTP or HTTPS Message Format" and "Message Signature Verification": RSA (PKCS #1 v1.5, SHA-256)
over lines of names and values, by the key of the certificate that `signing_cert_url` names. Everything that a message
names is pinned before it is asked for: the topic to those of the settings, the certificate to the SMN host of the
topic's region, the confirming to that host or the console's.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
import threading
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from vaultbell import strict_json
from vaultbell.budget import Budget
from vaultbell.cloud import answers
from vaultbell.cloud.endpoints import domain_of
from vaultbell.errors import InvalidEvent, Permanent, Transient
from vaultbell.report import Object
from vaultbell.sources import smn
from vaultbell.telemetry import log
from vaultbell.transport import Answer, Transport

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

# What is signed, in this order, by type.
_CONFIRMATION = ("message", "message_id", "subscribe_url", "timestamp", "topic_urn", "type")
SIGNED = {
    "Notification": ("message", "message_id", "subject", "timestamp", "topic_urn", "type"),
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
CERTIFICATE_MOST = 64 * 1024
CERTIFICATES_MOST = 32
FRESH_SECONDS = 60.0  # a certificate that does not fit is fetched anew, but not at every forged message


class SmnTrust:
    """Believes the messages of some topics. Certificates are fetched once and kept, and checked at each message."""

    def __init__(
        self, topics: Collection[str], http: Transport, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._topics = topics
        self._http = http
        self._now = now
        self._lock = threading.Lock()
        self._certificates: dict[str, tuple[float, Certificate]] = {}

    def admit(self, body: bytes, budget: Budget) -> None:
        """Let a message in; one that invites us to a topic is answered by confirming.

        Raises InvalidEvent (400 no SMN message, 401 unsigned or forged, 403 another topic), Transient where the
        certificate could not be had, or the confirming could not be done, for now.
        """
        message = strict_json.loads(body)
        if not isinstance(message, dict) or str(message.get("type")) not in SIGNED:
            raise InvalidEvent("this is no SMN message: its type is missing, or not known")
        signature, certificate_url = message.get("signature"), message.get("signing_cert_url")
        if not isinstance(signature, str) or not isinstance(certificate_url, str):
            raise _forged("the SMN message is not signed")
        topic = message.get("topic_urn")
        if not isinstance(topic, str) or topic not in self._topics:
            raise smn.not_allowed()
        region = topic.split(":")[2]
        try:
            self._verify(message, signature, self._certificate(certificate_url, region, budget))
        except InvalidEvent:
            if not self._has_aged(certificate_url):
                raise
            self._verify(message, signature, self._certificate(certificate_url, region, budget))
        if message["type"] == "SubscriptionConfirmation":
            self._confirm(message.get("subscribe_url"), region, budget)
            log(logging.INFO, "the SMN subscription is confirmed", topic=topic)
        elif message["type"] == "UnsubscribeConfirmation":
            log(logging.ERROR, "SMN says that we are unsubscribed: nothing comes from this topic any more", topic=topic)

    def _verify(self, message: Object, signature: str, certificate: Certificate) -> None:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - dear at a cold start
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415 - dear as well
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415 - dear as well
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - dear as well

        if not certificate.not_valid_before_utc <= self._now() <= certificate.not_valid_after_utc:
            raise _forged("the certificate that signs the SMN message is not valid now")
        key = certificate.public_key()
        try:
            given = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            raise _forged("the signature of the SMN message is not base64") from None
        for text in _texts(message):
            try:
                if isinstance(key, RSAPublicKey):
                    key.verify(given, text, PKCS1v15(), SHA256())
                    return
            except InvalidSignature:
                continue
        raise _forged("the signature does not fit the SMN message")

    def _certificate(self, url: str, region: str, budget: Budget) -> Certificate:
        parts = _pinned(url, (f"smn.{region}.{domain_of(region)}",))
        if not parts or parts.query or not re.fullmatch(rf"/smn/SMN_{re.escape(region)}_[0-9A-Za-z]+\.pem", parts.path):
            raise _forged("the SMN message names a certificate elsewhere than at its region's SMN host")
        with self._lock:
            if url in self._certificates:
                return self._certificates[url][1]
        answer = self._get(url, budget, "the certificate of the SMN message")
        if answer.status != 200:
            raise _forged("the certificate of the SMN message is not there")
        from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415 - dear as well

        try:
            certificate = load_pem_x509_certificate(answer.body)
        except ValueError:
            raise Transient("what stands for the certificate of the SMN message is none") from None
        with self._lock:
            if len(self._certificates) >= CERTIFICATES_MOST:
                self._certificates.clear()
            self._certificates[url] = time.monotonic(), certificate
        return certificate

    def _has_aged(self, url: str) -> bool:
        """Forget a certificate that was not fetched just now: another one may stand in its place since."""
        with self._lock:
            if url not in self._certificates or time.monotonic() - self._certificates[url][0] < FRESH_SECONDS:
                return False
            del self._certificates[url]
            return True

    def _confirm(self, url: object, region: str, budget: Budget) -> None:
        domain = domain_of(region)
        hosts = (f"smn.{region}.{domain}", f"console.{domain}", f"console.{region}.{domain}")
        if not isinstance(url, str) or not _pinned(url, hosts):
            raise _forged("the SMN message is to be confirmed elsewhere than at SMN or the console")
        answer = self._get(url, budget, "the confirming of the SMN subscription")
        if not 200 <= answer.status < 300:
            told = f"the confirming of the SMN subscription was answered {answer.status}"
            raise InvalidEvent(told, code="not_confirmed")

    def _get(self, url: str, budget: Budget, what: str) -> Answer:
        def once() -> Answer:
            answer = self._http.send("GET", url, headers={}, budget=budget, read=CERTIFICATE_MOST)
            if answer.status in answers.MAY_PASS or answer.status >= 500:
                raise Transient(f"{what}: the host answered {answer.status}", status=answer.status)
            return answer

        try:
            return answers.tried(once, budget)
        except Permanent as error:
            raise _forged(f"{what}: {error.message}") from None


def _texts(message: Object) -> list[bytes]:
    """What may have been signed: an empty subject is left out by some senders and kept by others."""
    names = SIGNED[str(message["type"])]
    ways = [[name for name in names if message.get(name) or name != "subject"]]
    if message.get("subject") == "":
        ways.append(list(names))
    texts = []
    for way in ways:
        values = [message.get(name) for name in way]
        if not all(isinstance(value, str) for value in values):
            raise _forged("the SMN message lacks something that is signed")
        lines = "".join(f"{name}\n{value}\n" for name, value in zip(way, values, strict=True))
        texts.append(lines.encode(errors="surrogatepass"))
    return texts


def _pinned(url: str, hosts: Collection[str]) -> SplitResult | None:
    """The parts of an https address at one of the hosts, on its usual port and without a user; None for any other."""
    try:
        parts = urlsplit(url)
        right = parts.scheme == "https" and parts.netloc.lower() in {*hosts, *(f"{host}:443" for host in hosts)}
    except ValueError:
        return None
    return parts if right and url.isascii() and url.isprintable() and " " not in url and "\\" not in url else None


def _forged(message: str) -> InvalidEvent:
    return InvalidEvent(message, status=401, code="unauthenticated")
