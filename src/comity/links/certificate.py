"""The certificate of a session key: X.509 only because TLS wants it; what counts is the key."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from comity.core.encoding import digest

_FROM, _UNTIL = datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
# A session ends long before either; a clock that is wrong by years must not matter.


def make_certificate(seed: bytes) -> bytes:
    """The self-signed certificate of an Ed25519 seed (32 bytes), DER: the same for the same seed."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    mark = digest("certificate", key.public_key().public_bytes_raw())[:16]
    # Two certificates with one subject shadow each other in a store: each has its own.
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, mark.hex())])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(mark, "big") | 1)
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    return builder.sign(key, None).public_bytes(Encoding.DER)


def certified_key(certificate: bytes) -> bytes:
    """The Ed25519 public key in a certificate (DER), 32 bytes; empty for any other certificate."""
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except Exception:  # the parser's errors are many; all mean the same
        return b""
    return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else b""


def pem_chain(seed: bytes, certificate: bytes) -> bytes:
    """Private key and certificate as the one text that OpenSSL loads."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret + x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)
