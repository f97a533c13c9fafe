"""SMN as a sender: a certificate of its own, and messages signed by it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

TOPIC = "urn:smn:eu-de:0123456789abcdef0123456789abcdef:backups"
CERTIFICATE_URL = "https://smn.eu-de.otc.t-systems.com/smn/SMN_eu-de_3190c26a56fb435f9882e3435b000000.pem"
CONFIRM_URL = "https://console.otc.t-systems.com/smn/subscription/confirm?token=t0ken&region=eu-de"
SIGNED = ("message", "message_id", "subject", "subscribe_url", "timestamp", "topic_urn", "type")


class Sender:
    """Signs messages. Its certificate, PEM, is valid around `now`."""

    def __init__(self, now: datetime | None = None, *, valid: timedelta = timedelta(days=1)) -> None:
        now = now or datetime.now(UTC)
        self._key = rsa.generate_private_key(65_537, 2_048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "smn.example.org")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + valid)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM)

    def notification(self, message: str, **changes: str) -> dict[str, str]:
        """A message of the topic, signed."""
        return self.signed(
            {
                "type": "Notification",
                "message_id": "d84bd6629ef04513ad2e37bffd6e17cb",
                "message": message,
                "topic_urn": TOPIC,
                "timestamp": "2026-11-23T09:45:00Z",
                "unsubscribe_url": "https://console.otc.t-systems.com/smn/subscription/unsubscribe",
                **changes,
            }
        )

    def confirmation(self, kind: str = "SubscriptionConfirmation", **changes: str) -> dict[str, str]:
        """An invitation to the topic, or the news that it is over."""
        return self.signed(
            {
                "type": kind,
                "message_id": "54bb04eddfc842e9b44ca36393f77cd3",
                "message": "You are invited, or you are out.",
                "topic_urn": TOPIC,
                "timestamp": "2026-11-23T09:43:44Z",
                "subscribe_url": CONFIRM_URL,
                **changes,
            }
        )

    def signed(self, message: Mapping[str, str]) -> dict[str, str]:
        """The message with its signature: over lines of names and values, in the order of the names."""
        lines = "".join(f"{name}\n{message[name]}\n" for name in SIGNED if name in message)
        signature = self._key.sign(lines.encode(), padding.PKCS1v15(), hashes.SHA256())
        return {
            **message,
            "signature_version": "v1",
            "signing_cert_url": message.get("signing_cert_url", CERTIFICATE_URL),
            "signature": base64.b64encode(signature).decode(),
        }
