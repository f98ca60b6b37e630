"""The six messages and LEAVE against whoever forges, swaps, swells or twists them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from comity.core import messages
from comity.core.encoding import Malformed, decode, digest, encode
from comity.core.identity import Secrets, exchange_public, public_key, sign
from comity.core.limits import MAX_ARGUMENT, MAX_ARGUMENTS, MAX_BODY, MAX_HELLO, MAX_PART, MAX_PARTIES, MAX_PARTS
from comity.core.messages import Envelope, Hello, Open
from comity.core.program import Program
from comity.errors import PeerError, UsageError

SUM = Program("sum", ("8",), {"mpyc": "0.11"}, "3.11.7")
OPEN = Open(3, 1, SUM, ("direct", "relay"), "alice", "words", b"k" * 32)
SMALL = bytes([1]) + bytes(31)
"""An Ed25519 key of order 1."""


def secrets(letter: str) -> Secrets:
    return Secrets(*(digest(what, letter.encode()) for what in ("identity", "session", "exchange", "nonce")))


ALICE, BOB, CAROL, MALLORY = map(secrets, "abcm")


@cache
def certificate(seed: bytes, key: bytes = b"") -> bytes:
    """Self-signed by `seed`'s key; for `key` in its place, if given: whoever made it does not hold that."""
    signer = Ed25519PrivateKey.from_private_bytes(seed)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "party")])
    held = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(7)
    held = held.not_valid_before(datetime(2020, 1, 1, tzinfo=UTC)).not_valid_after(datetime(2099, 1, 1, tzinfo=UTC))
    der = held.public_key(signer.public_key()).sign(signer, None).public_bytes(Encoding.DER)
    return der.replace(public_key(seed), key) if key else der


def other_kind_of_certificate() -> bytes:
    signer = ec.derive_private_key(7, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "party")])
    held = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(7)
    held = held.not_valid_before(datetime(2020, 1, 1, tzinfo=UTC)).not_valid_after(datetime(2099, 1, 1, tzinfo=UTC))
    return held.public_key(signer.public_key()).sign(signer, SHA256()).public_bytes(Encoding.DER)


def hello(who: Secrets, name: str, /, **change: Any) -> Hello:
    fields: dict[str, Any] = {
        "open_digest": b"o" * 32,
        "name": name,
        "program": SUM,
        "transports": ("relay", "direct"),
        "verify": "words",
        "certificate": certificate(who.session),
        **change,
    }
    return messages.make_hello(who, **fields)


HELLOS = (hello(ALICE, "alice"), hello(BOB, "bob"), hello(CAROL, "carol"))
T = b"T" * 32
ENVELOPES: dict[str, Envelope] = {
    "open": messages.make("open", ALICE.identity, OPEN.body()),
    "hello": HELLOS[1].envelope,
    "roster": messages.make_roster(ALICE.identity, b"o" * 32, OPEN, HELLOS),
    "reveal": messages.make("reveal", BOB.identity, {"roster": "00" * 32, "nonce": BOB.nonce.hex()}),
    "agree": messages.make("agree", BOB.identity, {"transcript": T.hex()}),
    "confirm": messages.make("confirm", BOB.identity, {"transcript": T.hex(), "how": "words", "verified": [0, 2]}),
    "leave": messages.make("leave", BOB.identity, {"open": "00" * 32, "hello": "11" * 32, "reason": "declined"}),
}
READ: dict[str, Callable[[Envelope], Any]] = {
    "open": messages.read_open,
    "hello": messages.read_hello,
    "roster": messages.read_roster,
    "reveal": messages.read_reveal,
    "agree": messages.read_agree,
    "confirm": messages.read_confirm,
    "leave": messages.read_leave,
}


def forged(kind: str, **change: Any) -> Envelope:
    """A message of `kind` with other fields (... takes one away), properly signed by its own sender."""
    seed = ALICE.identity if kind in ("open", "roster") else BOB.identity
    body = {k: v for k, v in {**ENVELOPES[kind].body, **change}.items() if v is not ...}
    return messages.parse(messages.make(kind, seed, body).raw)


# Envelopes


@pytest.mark.parametrize("kind", messages.TYPES)
def test_every_message_comes_back_as_it_was_made(kind: str) -> None:
    made = ENVELOPES[kind]
    parsed = messages.parse(made.raw)
    assert parsed == made and parsed.digest == digest("message", made.raw)
    assert READ[kind](parsed) == READ[kind](made)


def test_what_the_messages_say_is_read() -> None:
    assert READ["open"](ENVELOPES["open"]) == OPEN
    assert READ["reveal"](ENVELOPES["reveal"]) == (bytes(32), BOB.nonce)
    assert READ["agree"](ENVELOPES["agree"]) == T
    assert READ["confirm"](ENVELOPES["confirm"]) == (T, "words", (0, 2))
    assert READ["leave"](ENVELOPES["leave"]) == (bytes(32), b"\x11" * 32, "declined")
    said = HELLOS[1]
    assert (said.member.name, said.member.identity) == ("bob", public_key(BOB.identity))
    assert said.member.session_key == public_key(BOB.session)
    assert said.member.exchange_key == exchange_public(BOB.exchange)
    assert (said.program, said.transports, said.open) == (SUM, ("relay", "direct"), b"o" * 32)
    assert "envelope" not in repr(said)


@pytest.mark.parametrize("kind", messages.TYPES)
@given(at=st.integers(0), byte=st.integers(0, 255))
def test_no_byte_of_a_message_can_be_changed(kind: str, at: int, byte: int) -> None:
    raw = bytearray(ENVELOPES[kind].raw)
    at %= len(raw)
    if raw[at] == byte:
        return
    raw[at] = byte
    with pytest.raises(Malformed):
        messages.parse(bytes(raw))


@given(st.binary(max_size=60))
def test_noise_is_no_message(noise: bytes) -> None:
    with pytest.raises(Malformed):
        messages.parse(noise)


@pytest.mark.parametrize(
    "change",
    [
        {"type": "welcome"},
        {"type": 1},
        {"type": None},
        {"body": []},
        {"body": None},
        {"body": {}},
        {"body": {"from": 1}},
        {"body": {"from": "00" * 31}},
        {"body": {"from": "00" * 32}},
        {"signature": ""},
        {"signature": "00" * 63},
        {"signature": "00" * 64},
        {"signature": None},
        {"more": 1},
    ],
)
def test_an_envelope_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    value = {**json.loads(ENVELOPES["agree"].raw), **change}
    with pytest.raises(Malformed):
        messages.parse(encode(value))
    for key in change:
        with pytest.raises(Malformed):
            messages.parse(encode({k: v for k, v in value.items() if k != key} | {"x": 1}))


def test_a_signature_for_one_type_does_not_hold_for_another() -> None:
    value = json.loads(ENVELOPES["agree"].raw)
    with pytest.raises(Malformed, match="confirm is not signed by its sender"):
        messages.parse(encode({**value, "type": "confirm"}))


def test_mallory_signs_in_bobs_name() -> None:
    body = ENVELOPES["agree"].body
    signature = sign(MALLORY.identity, digest("agree", encode(body))).hex()
    with pytest.raises(Malformed, match="agree is not signed by its sender"):
        messages.parse(encode({"type": "agree", "body": body, "signature": signature}))


def test_mallory_has_a_key_that_anybody_can_sign_under() -> None:
    body = {"transcript": T.hex(), "from": SMALL.hex()}
    forged_signature = (bytes([1]) + bytes(63)).hex()
    with pytest.raises(Malformed, match="not signed by its sender"):
        messages.parse(encode({"type": "agree", "body": body, "signature": forged_signature}))


def test_the_sender_is_who_signs_whatever_the_body_said() -> None:
    made = messages.make("agree", MALLORY.identity, {"transcript": T.hex(), "from": public_key(BOB.identity).hex()})
    assert made.sender == public_key(MALLORY.identity) == messages.parse(made.raw).sender


# Sizes


def padded(kind: str, size: int) -> bytes:
    """A signed message of just that many bytes, whatever its fields mean."""
    key = BOB.identity

    def raw(padding: str) -> bytes:
        body = {"from": public_key(key).hex(), "padding": padding}
        return encode({"type": kind, "body": body, "signature": sign(key, digest(kind, encode(body))).hex()})

    return raw("x" * (size - len(raw(""))))


@pytest.mark.parametrize(
    ("kind", "limit"),
    [("open", MAX_HELLO), ("hello", MAX_HELLO), ("roster", MAX_BODY)]
    + [(kind, messages.SMALL) for kind in ("reveal", "agree", "confirm", "leave")],
)
def test_each_type_has_its_size(kind: str, limit: int) -> None:
    assert messages.parse(padded(kind, limit)).type == kind
    with pytest.raises(Malformed, match=f"has {limit + 1} bytes, {limit} are allowed"):
        messages.parse(padded(kind, limit + 1))


def test_nobody_sends_what_nobody_takes() -> None:
    assert len(messages.make("hello", BOB.identity, {"padding": "x" * (MAX_HELLO - 500)}).raw) <= MAX_HELLO
    with pytest.raises(UsageError, match=rf"your hello message has \d+ bytes, {MAX_HELLO} are allowed") as caught:
        hello(BOB, "bob", program=Program("sum", ("x" * MAX_ARGUMENT,) * MAX_ARGUMENTS, large_parts(), "3"))
    assert "fewer or shorter arguments" in caught.value.hints[0]


def large_parts() -> dict[str, str]:
    return {f"{i:0{MAX_PART}}": "x" * MAX_PART for i in range(MAX_PARTS)}


def test_the_largest_roster_fits_a_body() -> None:
    parts = dict(list(large_parts().items())[:50])
    full = Program("n" * MAX_PART, (), parts, "3" * 32)
    open_ = Open(MAX_PARTIES, 31, full, ("direct",), "alice", "words", b"k" * 32)
    several = tuple(hello(secrets(str(i)), f"party {i:026}", program=full) for i in range(MAX_PARTIES))
    assert all(10_000 < len(h.envelope.raw) <= MAX_HELLO for h in several)
    roster = messages.make_roster(ALICE.identity, b"o" * 32, open_, several)
    assert len(messages.read_roster(messages.parse(roster.raw))[1]) == MAX_PARTIES


# Fields

WRONG: dict[str, dict[str, list[Any]]] = {
    "open": {
        "version": [0, 2, 256, "1", None, True],
        "m": [1, 0, -3, MAX_PARTIES + 1, "3", None, True],
        "t": [2, -1, "1", None],
        "program": [[], None, "sum", {}, {**SUM.to_dict(), "more": 1}, {**SUM.to_dict(), "name": "a\n"}],
        "transports": [["x"] * 17, ["x" * 33], [1], "direct", None],
        "name": ["", " alice", "a\u202eb", "x" * 33, 1, None, "a\nb", "аlice"],
        "verify": ["", "nothing", "WORDS", None, ["words"]],
        "session_key": ["", "00" * 31, "00" * 33, "zz" * 32, None],
    },
    "hello": {
        "open": ["", "00" * 31, "00" * 33, None],
        "session_key": ["00" * 31, public_key(MALLORY.session).hex(), None, 1],
        "exchange_key": ["00" * 31, "00" * 33, None, "ZZ" * 32],
        "certificate": ["", "00", "zz", None, "00" * 641, certificate(MALLORY.session).hex()],
        "name": ["", "bob ", "a\x7fb", "x" * 33, None],
        "program": [None, {}, {**SUM.to_dict(), "parts": {"x": 1}}],
        "transports": [["x"] * 17, None],
        "verify": ["trust", None],
        "commitment": ["", "00" * 31, "AA" * 32, None],
    },
    "roster": {
        "open": ["", None],
        "hellos": [None, {}, [1], [{}], ["00"], [json.loads(ENVELOPES["agree"].raw)]],
        "manifest": [None, [], "x"],
    },
    "reveal": {"roster": ["", None, "00" * 31], "nonce": ["", "00" * 31, "00" * 33, None]},
    "agree": {"transcript": ["", "00" * 31, "00" * 33, None, 1]},
    "confirm": {
        "transcript": ["", None],
        "how": ["", "trust", None],
        "verified": [None, {}, [-1], [MAX_PARTIES], ["1"], [True], [None], [1] * (MAX_PARTIES + 1)],
    },
    "leave": {
        "open": ["", None],
        "hello": ["00", "00" * 31, "00" * 33, None],
        "reason": ["", "because", None, "words "],
    },
}


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [(kind, name, v) for kind, fields in WRONG.items() for name, values in fields.items() for v in (*values, ...)],
)
def test_a_wrong_field_is_refused_although_it_is_signed(kind: str, name: str, value: Any) -> None:
    with pytest.raises(Malformed) as caught:
        READ[kind](forged(kind, **{name: value}))
    assert caught.value.exit_code == PeerError.exit_code and len(caught.value.message) < 300


@pytest.mark.parametrize("kind", messages.TYPES)
def test_a_field_that_nobody_knows_is_refused(kind: str) -> None:
    with pytest.raises(Malformed, match="unknown field 'surplus'"):
        READ[kind](forged(kind, surplus=1))


@pytest.mark.parametrize("kind", messages.TYPES)
def test_every_field_of_a_message_is_tried_above(kind: str) -> None:
    assert set(READ) == set(ENVELOPES) == set(messages.TYPES)
    assert set(WRONG[kind]) == set(ENVELOPES[kind].body) - {"from"}


def test_another_version_says_what_to_do() -> None:
    with pytest.raises(Malformed, match="version 2 of the protocol, not 1") as caught:
        READ["open"](forged("open", version=2))
    assert caught.value.hints == ("use the same comity",)


@pytest.mark.parametrize(("m", "largest"), [(2, 0), (3, 1), (4, 1), (5, 2), (64, 31)])
def test_the_threshold_is_below_half(m: int, largest: int) -> None:
    assert READ["open"](forged("open", m=m, t=largest)).threshold == largest
    with pytest.raises(Malformed, match=f"t must be from 0 to {largest}"):
        READ["open"](forged("open", m=m, t=largest + 1))


# Certificates


@pytest.mark.parametrize(
    "other",
    [
        certificate(MALLORY.session),
        other_kind_of_certificate(),
        certificate(BOB.session) + b"\x00",
        certificate(BOB.session)[:-1],
        b"\x30\x82\xff\xff" + bytes(60),
        b"-----BEGIN CERTIFICATE-----",
    ],
)
def test_a_certificate_must_hold_the_session_key(other: bytes) -> None:
    with pytest.raises(Malformed, match="bob's certificate"):
        READ["hello"](forged("hello", certificate=other.hex()))
    with pytest.raises(Malformed, match="bob's certificate"):
        hello(BOB, "bob", certificate=other)


def test_a_session_key_that_anybody_can_use_is_refused() -> None:
    with pytest.raises(Malformed, match="bob's session key is one that anybody can use"):
        held = certificate(BOB.session, SMALL).hex()
        READ["hello"](forged("hello", session_key=SMALL.hex(), certificate=held))


@pytest.mark.parametrize("key", [bytes(32), SMALL, (2**255 - 20).to_bytes(32, "little")])
def test_an_exchange_key_that_fixes_every_secret_is_refused(key: bytes) -> None:
    with pytest.raises(Malformed, match="bob's exchange key gives everybody the same secret"):
        READ["hello"](forged("hello", exchange_key=key.hex()))


# Commitments


def test_only_the_nonce_that_was_committed_to_opens_a_hello() -> None:
    assert messages.opens(HELLOS[1], BOB.nonce)
    for nonce in (ALICE.nonce, bytes(32), b"", BOB.nonce[:-1], BOB.nonce + b"x"):
        assert not messages.opens(HELLOS[1], nonce)


@pytest.mark.parametrize(
    "change",
    [
        {"open_digest": b"O" * 32},
        {"name": "bobby"},
        {"program": Program("sum", ("9",), SUM.parts, "3.11.7")},
        {"transports": ("relay",)},
        {"verify": "link"},
    ],
)
def test_a_commitment_covers_every_other_field(change: dict[str, Any]) -> None:
    other = hello(BOB, "bob", **change)
    assert other.commitment != HELLOS[1].commitment
    moved = messages.read_hello(forged("hello", **{**other.envelope.body, "commitment": HELLOS[1].commitment.hex()}))
    assert not messages.opens(moved, BOB.nonce)


def test_mallory_copies_bobs_commitment_under_her_own_name() -> None:
    copied = {**HELLOS[1].envelope.body, "name": "mallory", "from": public_key(MALLORY.identity).hex()}
    hers = messages.read_hello(messages.make("hello", MALLORY.identity, copied))
    assert hers.commitment == HELLOS[1].commitment and not messages.opens(hers, BOB.nonce)


def test_a_bad_name_is_refused_before_it_is_said() -> None:
    with pytest.raises(UsageError, match="cannot be a name"):
        hello(BOB, "bob\n")


# Rosters


def test_a_roster_holds_the_hellos_byte_for_byte() -> None:
    open_digest, hellos, manifest = READ["roster"](ENVELOPES["roster"])
    assert open_digest == b"o" * 32 and hellos == HELLOS
    assert [h.envelope.raw for h in hellos] == [h.envelope.raw for h in HELLOS]
    assert manifest == messages.manifest_of(OPEN, HELLOS).to_dict()


def test_the_host_changes_a_hello_inside_a_roster() -> None:
    values = [decode(h.envelope.raw, MAX_HELLO) for h in HELLOS]
    values[1]["body"]["transports"] = ["relay"]
    with pytest.raises(Malformed, match="hello is not signed by its sender"):
        READ["roster"](forged("roster", hellos=values))


def test_the_host_puts_something_else_into_a_roster() -> None:
    for kind in ("agree", "roster"):
        with pytest.raises(Malformed):
            READ["roster"](forged("roster", hellos=[json.loads(ENVELOPES[kind].raw)]))
    with pytest.raises(Malformed, match="more than 64 entries"):
        READ["roster"](forged("roster", hellos=[0] * 65))


def test_an_oversized_hello_does_not_hide_in_a_roster() -> None:
    with pytest.raises(Malformed, match=r"hello has \d+ bytes"):
        READ["roster"](forged("roster", hellos=[json.loads(padded("hello", MAX_HELLO + 1))]))


# The manifest


def test_the_manifest_is_made_of_what_was_said() -> None:
    manifest = messages.manifest_of(OPEN, HELLOS)
    assert [member.name for member in manifest.members] == ["alice", "bob", "carol"]
    assert (manifest.threshold, manifest.program_digest) == (1, SUM.digest)
    assert (manifest.program_name, manifest.arguments) == ("sum", ("8",))


@pytest.mark.parametrize(
    ("offers", "chosen"),
    [
        ([("direct", "relay"), ("relay", "direct")], "direct"),
        ([("relay",), ("relay", "direct")], "relay"),
        ([("relay",), ("direct",)], ""),
        ([("tor",), ("tor",)], ""),
        ([(), ("direct",)], ""),
    ],
)
def test_the_transport_is_the_hosts_first_that_all_can_use(offers: list[tuple[str, ...]], chosen: str) -> None:
    hellos = tuple(hello(who, name, transports=o) for who, name, o in zip((ALICE, BOB), "ab", offers, strict=True))
    assert messages.manifest_of(OPEN, hellos).transport == chosen
