"""Certificates for loopback: a CA of our own, and servers that it vouches for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOUR = timedelta(hours=1)
_NO_USE = dict.fromkeys(
    (
        *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"),
        *("digital_signature", "key_cert_sign", "encipher_only", "decipher_only"),
    ),
    False,
)


class Certificate(NamedTuple):
    """A server's certificate and key: their files, PEM."""

    cert: str
    key: str


class Authority:
    """A CA: `file` is its certificate, PEM, in this folder."""

    def __init__(self, folder: Path, lasts: timedelta = HOUR) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"CA of {folder.name}")])
        ca = x509.BasicConstraints(ca=True, path_length=0)
        made = self._signed(self._name, self._key, ca, "key_cert_sign", lasts=lasts)
        self.file = self._written("ca.pem", made.public_bytes(serialization.Encoding.PEM))

    def certificate(self, host: str = "127.0.0.1", lasts: timedelta = HOUR) -> Certificate:
        """A certificate for this host, a name or an address, that ends so long from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        try:
            holder: x509.GeneralName = x509.IPAddress(ip_address(host))
        except ValueError:
            holder = x509.DNSName(host)
        made = self._signed(
            name,
            key,
            x509.BasicConstraints(ca=False, path_length=None),
            "digital_signature",
            x509.SubjectAlternativeName([holder]),
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
            lasts=lasts,
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Certificate(
            self._written(f"{host}.pem", made.public_bytes(serialization.Encoding.PEM)),
            self._written(f"{host}.key", private),
        )

    def _signed(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        constraints: x509.BasicConstraints,
        use: str,
        *extensions: x509.ExtensionType,
        lasts: timedelta,
    ) -> x509.Certificate:
        now, ours = datetime.now(UTC), self._key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, now + lasts) - HOUR)
            .not_valid_after(now + lasts)
            .add_extension(constraints, critical=True)
            .add_extension(x509.KeyUsage(**{**_NO_USE, use: True}), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ours), critical=False)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _written(self, name: str, content: bytes) -> str:
        path = self._folder / name
        path.write_bytes(content)
        return str(path)
