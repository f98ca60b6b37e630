"""The certificates that MPyC's --ssl wants in .config: an authority and one per party."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def write(folder: Path, m: int) -> None:
    folder.mkdir(parents=True)
    authority = ec.generate_private_key(ec.SECP256R1())
    root = _certificate("MPyC authority", authority, "MPyC authority", authority, is_authority=True)
    (folder / "mpyc_ca.crt").write_bytes(root)
    for i in range(m):
        key, name = ec.generate_private_key(ec.SECP256R1()), f"MPyC party {i}"
        (folder / f"party_{i}.crt").write_bytes(_certificate(name, key, "MPyC authority", authority))
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        (folder / f"party_{i}.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    is_authority: bool = False,
) -> bytes:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
