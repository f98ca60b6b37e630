from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from comity.core.identity import public_key
from comity.core.messages import MAX_CERTIFICATE
from comity.links.certificate import certified_key, make_certificate

SEED = b"s" * 32


def test_a_seed_has_one_certificate_and_it_holds_its_key() -> None:
    assert make_certificate(SEED) == make_certificate(SEED)
    assert certified_key(make_certificate(SEED)) == public_key(SEED)
    assert len(make_certificate(SEED)) <= MAX_CERTIFICATE


def test_two_seeds_have_certificates_of_different_subjects() -> None:
    one, other = (x509.load_der_x509_certificate(make_certificate(s)) for s in (SEED, b"o" * 32))
    assert one.subject != other.subject and one.serial_number != other.serial_number
    assert one.subject == one.issuer


def test_a_clock_that_is_wrong_by_years_does_not_matter() -> None:
    certificate = x509.load_der_x509_certificate(make_certificate(SEED))
    assert certificate.not_valid_before_utc < datetime(2001, 1, 1, tzinfo=UTC)
    assert certificate.not_valid_after_utc > datetime(2100, 1, 1, tzinfo=UTC)


def test_other_certificates_and_garbage_certify_nothing() -> None:
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "p256")])
    foreign = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, datetime(2020, 1, 1), datetime(2050, 1, 1))
        .sign(key, SHA256())
        .public_bytes(Encoding.DER)
    )
    assert certified_key(foreign) == b""
    for garbage in (b"", b"\x30", make_certificate(SEED)[:-1], b"-----BEGIN CERTIFICATE-----"):
        assert certified_key(garbage) == b""
