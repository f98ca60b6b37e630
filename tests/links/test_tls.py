import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from tests.links.parties import ALICE, BOB, CAROL, DAVE, certificate_of, pairing, seed

from comity.errors import ComityError, PeerError, VerificationError
from comity.links import tls
from comity.links.tls import Tls


def meet(a: Tls, b: Tls) -> dict[Tls, ComityError]:
    """Both handshakes, bytes passed until both are quiet; the error of each that has one."""
    errors: dict[Tls, ComityError] = {}

    def step(machine: Tls) -> bytes:
        if machine not in errors and not machine.verified:
            try:
                machine.handshake()
            except ComityError as exc:
                errors[machine] = exc
        return machine.output()

    while (to_b := step(a)) + (to_a := step(b)):
        b.feed(to_b)
        a.feed(to_a)
    for machine in (a, b):
        try:
            list(machine.read())
        except ComityError as exc:
            errors.setdefault(machine, exc)
    return errors


def issued(by: int, key: int, *, authority: bool) -> bytes:
    """A certificate of `key`, issued with the key and under the name of `by`."""
    issuer = Ed25519PrivateKey.from_private_bytes(seed(by))
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "below")])
    builder = x509.CertificateBuilder(
        x509.load_der_x509_certificate(certificate_of(seed(by))).subject,
        subject,
        Ed25519PrivateKey.from_private_bytes(seed(key)).public_key(),
        77,
        datetime(2000, 1, 1, tzinfo=UTC),
        datetime(2100, 1, 1, tzinfo=UTC),
    )
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(issuer, None).public_bytes(Encoding.DER)


def self_signed_authority(of: int) -> bytes:
    """What a party could put into its HELLO in place of what make_certificate gives: one that may issue."""
    key = Ed25519PrivateKey.from_private_bytes(seed(of))
    name = x509.load_der_x509_certificate(certificate_of(seed(of))).subject
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 5, datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    ).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, None).public_bytes(Encoding.DER)


def test_two_parties_verify_each_other_and_speak_tls_1_3() -> None:
    a, b = Tls(pairing(ALICE, BOB)), Tls(pairing(BOB, ALICE))
    assert meet(a, b) == {} and a.verified and b.verified
    assert a._machine.version() == b._machine.version() == "TLSv1.3"
    a.write(b"x" * 40_000)
    b.feed(a.output())
    assert b"".join(b.read()) == b"x" * 40_000


def test_a_server_says_nothing_by_itself_after_the_handshake() -> None:
    """No tickets: sessions are not resumed, and each byte on the channel is one that somebody meant."""
    a, b = Tls(pairing(ALICE, BOB)), Tls(pairing(BOB, ALICE))
    assert not a.handshake()
    b.feed(a.output())
    assert not b.handshake()
    a.feed(b.output())
    assert a.handshake()
    b.feed(a.output())
    assert b.handshake() and b.output() == b""


@pytest.mark.parametrize("rogue_is_client", [True, False])
def test_a_party_with_a_key_of_its_own_is_refused(rogue_is_client: bool) -> None:
    mallory = {"seed": seed(DAVE), "certificate": certificate_of(seed(DAVE))}
    rogue = Tls(pairing(ALICE, BOB, **mallory) if rogue_is_client else pairing(BOB, ALICE, **mallory))
    victim = Tls(pairing(BOB, ALICE) if rogue_is_client else pairing(ALICE, BOB))
    errors = meet(rogue, victim)
    assert isinstance(errors[victim], VerificationError) and not victim.verified
    name = "alice" if rogue_is_client else "bob"
    assert errors[victim].message == f"who answered for {name} has not {name}'s key"
    assert isinstance(errors[rogue], VerificationError), "the alert says why"


@pytest.mark.parametrize("rogue_is_client", [True, False])
def test_another_party_of_the_session_is_refused(rogue_is_client: bool) -> None:
    """Carol's certificate is right for carol: a channel of alice and bob that was given to her ends here."""
    carol = {"seed": seed(CAROL), "certificate": certificate_of(seed(CAROL))}
    rogue = Tls(pairing(ALICE, BOB, **carol) if rogue_is_client else pairing(BOB, ALICE, **carol))
    victim = Tls(pairing(BOB, ALICE) if rogue_is_client else pairing(ALICE, BOB))
    errors = meet(rogue, victim)
    assert isinstance(errors[victim], VerificationError) and not victim.verified


@pytest.mark.parametrize("authority", [True, False])
@pytest.mark.parametrize("rogue_is_client", [True, False])
def test_a_certificate_below_a_members_is_refused_though_the_chain_is_right(
    authority: bool, rogue_is_client: bool
) -> None:
    """Bob issues a certificate for dave's key with his own; dave answers in bob's place."""
    bob, peer = (ALICE, BOB) if rogue_is_client else (BOB, ALICE)
    above = self_signed_authority(bob) if authority else certificate_of(seed(bob))
    below = issued(bob, DAVE, authority=False)
    rogue = Tls(pairing(bob, peer, seed=seed(DAVE), certificate=below))
    victim = Tls(pairing(peer, bob, peer_certificate=above))
    errors = meet(rogue, victim)
    assert isinstance(errors[victim], VerificationError) and not victim.verified


def test_the_chain_check_alone_would_have_taken_it() -> None:
    """Why the leaf is compared: without that, the certificate below is accepted."""
    above, below = self_signed_authority(ALICE), issued(ALICE, DAVE, authority=False)
    rogue = Tls(pairing(ALICE, BOB, seed=seed(DAVE), certificate=below))
    victim = Tls(pairing(BOB, ALICE, peer_certificate=above))
    object.__setattr__(victim._pairing, "peer_certificate", below)
    assert meet(rogue, victim) == {}


def test_a_roster_whose_certificate_is_not_of_the_session_key_makes_no_link() -> None:
    with pytest.raises(VerificationError, match="another key than the session key"):
        Tls(pairing(ALICE, BOB, peer_certificate=certificate_of(seed(CAROL))))


def test_an_older_tls_is_refused() -> None:
    victim = Tls(pairing(BOB, ALICE))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out).do_handshake()
    victim.feed(out.read())
    with pytest.raises(PeerError, match="does not speak this protocol's TLS"):
        victim.handshake()


def test_a_client_without_a_certificate_is_refused() -> None:
    victim = Tls(pairing(BOB, ALICE))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    victim.feed(outgoing.read())
    assert not victim.handshake()
    incoming.write(victim.output())
    client.do_handshake()
    victim.feed(outgoing.read())
    with pytest.raises(ComityError):
        victim.handshake()
    assert not victim.verified


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(64),
        b"\x16\x03\x01\xff\xff" + bytes(200),  # a record of 64 KiB
        b"\x16\x03\x03\x40\x00\x01\xff\xff\xff" + bytes(0x3FFC),  # a ClientHello of 16 MiB
        b"\x16\x03\x03\x40\x00\x02\xff\xff\xff" + bytes(0x3FFC),  # a ServerHello of 16 MiB
    ],
)
@pytest.mark.parametrize("me", [ALICE, BOB])
def test_garbage_instead_of_tls_is_refused(garbage: bytes, me: int) -> None:
    victim = Tls(pairing(me, 1 - me))
    victim.handshake()
    victim.feed(garbage)
    with pytest.raises(PeerError, match="does not speak this protocol's TLS"):
        victim.handshake()


def test_a_changed_byte_is_noticed() -> None:
    a, b = Tls(pairing(ALICE, BOB)), Tls(pairing(BOB, ALICE))
    meet(a, b)
    a.write(b"pay alice")
    record = bytearray(a.output())
    record[-1] ^= 1
    b.feed(record)
    with pytest.raises(PeerError, match="what came from alice was changed on the way"):
        list(b.read())
    assert b.broken


def test_a_replayed_record_is_noticed() -> None:
    a, b = Tls(pairing(ALICE, BOB)), Tls(pairing(BOB, ALICE))
    meet(a, b)
    a.write(b"pay alice")
    record = a.output()
    b.feed(record)
    assert list(b.read()) == [b"pay alice"]
    b.feed(record)
    with pytest.raises(PeerError, match="changed on the way"):
        list(b.read())


def test_a_whole_recorded_conversation_says_nothing_to_a_new_link() -> None:
    """Whoever recorded alice's side cannot play it to bob again."""
    a, b, recorded = Tls(pairing(ALICE, BOB)), Tls(pairing(BOB, ALICE)), []
    for _ in range(3):
        a.verified or a.handshake()
        recorded.append(a.output())
        b.feed(recorded[-1])
        b.verified or b.handshake()
        a.feed(b.output())
    assert a.verified and b.verified
    again = Tls(pairing(BOB, ALICE))
    with pytest.raises(PeerError):
        for data in recorded:
            again.feed(data)
            again.handshake()
    assert not again.verified


def test_the_end_of_tls_is_seen() -> None:
    a, b = Tls(pairing(ALICE, BOB)), Tls(pairing(BOB, ALICE))
    meet(a, b)
    with pytest.raises(ssl.SSLWantReadError):
        a._machine.unwrap()
    b.feed(a.output())
    with pytest.raises(PeerError, match="the channel to alice was lost"):
        list(b.read())


def test_a_system_without_anonymous_files_loads_the_key_from_a_folder_that_is_gone_afterwards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr(tls.os, "memfd_create")
    monkeypatch.setattr(tls.tempfile, "tempdir", str(tmp_path))
    a, b = Tls(pairing(ALICE, BOB)), Tls(pairing(BOB, ALICE))
    assert meet(a, b) == {}
    assert list(tmp_path.iterdir()) == []


def test_a_pairing_shows_no_secret() -> None:
    shown = repr(pairing(ALICE, BOB))
    assert "seed" not in shown and repr(seed(ALICE)) not in shown and "certificate" not in shown
