"""https and wss: a certificate that the invitation names, one of an authority, and everything else."""

import datetime
import ssl
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from comity.errors import UnreachableError, UsageError, VerificationError
from comity.rendezvous.client import Patience, WebRendezvous
from comity.rendezvous.server import Server

ROOM = "0a" * 16
SHORT = Patience(start=5, later=0.5)  # what is no question of time must not wait so long


class Authority:
    """Issues certificates for "localhost"; its own is self-signed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.key = generate_private_key(SECP256R1())
        self.certificate = self._sign("authority", self.key, None)
        self.file = folder / "authority.pem"
        self.file.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def _sign(self, name: str, key: EllipticCurvePrivateKey, issuer: x509.Certificate | None) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(self.key if issuer else key, SHA256())
        )

    def issue(self, name: str, *, self_signed: bool) -> tuple[ssl.SSLContext, bytes]:
        """A server's context and its certificate's SHA-256."""
        key = generate_private_key(SECP256R1())
        certificate = self._sign(name, key, None if self_signed else self.certificate)
        pem, key_file = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        pem.write_bytes(certificate.public_bytes(Encoding.PEM))
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pem, key_file)
        return tls, sha256(certificate.public_bytes(Encoding.DER)).digest()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def own(authority: Authority) -> AsyncIterator[tuple[str, bytes]]:
    """Address and SHA-256 of a server with a self-signed certificate."""
    tls, pin = authority.issue("own", self_signed=True)
    async with Server([("127.0.0.1", 0)], tls=tls) as server:
        assert server.scheme == "https"
        yield f"https://127.0.0.1:{server.port}", pin


@pytest.mark.parametrize("scheme", ["https", "wss"])
async def test_a_certificate_that_the_invitation_names_needs_no_authority(own: tuple[str, bytes], scheme: str) -> None:
    address, pin = own
    async with WebRendezvous([address.replace("https", scheme)], pin, patience=SHORT).open(ROOM) as mailbox:
        assert await mailbox.post(bytes(1 << 20)) == 1


async def refused(addresses: list[str], pin: bytes) -> VerificationError:
    with pytest.raises(VerificationError) as error:
        async with WebRendezvous(addresses, pin, patience=SHORT).open(ROOM):
            pass
    assert error.value.hints
    return error.value


async def test_another_certificate_is_refused_at_once(own: tuple[str, bytes]) -> None:
    address, pin = own
    other = bytes([pin[0] ^ 1]) + pin[1:]
    assert f"{address}: its certificate is another one" in (await refused([address], other)).message


async def test_a_certificate_that_nobody_vouches_for_is_refused_without_a_pin(own: tuple[str, bytes]) -> None:
    assert "no authority" in (await refused([own[0]], b"")).message


async def test_an_authority_of_this_machine_vouches(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    tls, _ = authority.issue("localhost", self_signed=False)
    async with Server([("127.0.0.1", 0)], tls=tls) as server:
        async with WebRendezvous([f"https://localhost:{server.port}"], patience=SHORT).open(ROOM) as mailbox:
            assert await mailbox.post(b"x") == 1
        assert "no authority" in (await refused([f"https://127.0.0.1:{server.port}"], b"")).message


async def test_a_certificate_below_the_pinned_one_is_another_one(authority: Authority) -> None:
    tls, _ = authority.issue("below", self_signed=False)
    pin = sha256(authority.certificate.public_bytes(Encoding.DER)).digest()
    async with Server([("127.0.0.1", 0)], tls=tls) as server:
        await refused([f"https://127.0.0.1:{server.port}"], pin)


async def test_the_right_server_is_found_beside_one_with_another_certificate(
    own: tuple[str, bytes], authority: Authority
) -> None:
    tls, _ = authority.issue("stranger", self_signed=True)
    async with (
        Server([("127.0.0.1", 0)], tls=tls) as stranger,
        WebRendezvous([f"https://127.0.0.1:{stranger.port}", own[0]], own[1], patience=SHORT).open(ROOM) as mailbox,
    ):
        assert await mailbox.post(b"x") == 1
        assert len(stranger.rooms) == 0


async def test_tls_is_spoken_by_both_or_by_none(own: tuple[str, bytes]) -> None:
    address, pin = own
    brief = Patience(start=0.1)
    async with Server([("127.0.0.1", 0)]) as plain:
        for wrong, certificate in ((f"https://127.0.0.1:{plain.port}", pin), (address.replace("https", "http"), b"")):
            with pytest.raises(UnreachableError):
                async with WebRendezvous([wrong], certificate, patience=brief).open(ROOM):
                    pass
        assert "it has no certificate" in (await refused([f"ws://127.0.0.1:{plain.port}"], pin)).message


def test_a_pin_has_32_bytes() -> None:
    with pytest.raises(UsageError, match="32 bytes"):
        WebRendezvous(["https://localhost"], b"short")
