"""The messages of the ceremony: canonical, signed, size-limited, one of each type from each sender.

An envelope is {"type", "body", "signature"}; the signature is the sender's identity's over a digest labelled with the
type. Every body names its sender ("from"). Receivers check what the ceremony's essay says before going on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from comity.core.encoding import Fields, Malformed, decode, digest, encode
from comity.core.identity import (
    Secrets,
    check_name,
    exchange_public,
    pair_secret,
    public_key,
    sign,
    small_order,
    verify,
)
from comity.core.limits import MAX_BODY, MAX_HELLO, MAX_NAME, MAX_PARTIES
from comity.core.manifest import Manifest, Member
from comity.core.program import Program
from comity.errors import PeerError, UsageError

VERSION = 1
TYPES = ("open", "hello", "roster", "reveal", "agree", "confirm", "leave")
VERIFY = ("words", "contacts", "link")
REASONS = ("words", "program", "declined", "interrupted", "protocol", "error", "path")
MAX_CERTIFICATE = 640  # bytes of DER: a self-signed Ed25519 certificate has about 300
MAX_TRANSPORTS = 16
SMALL = 1024  # bytes of a message without lists
_LIMITS = {"roster": MAX_BODY, "hello": MAX_HELLO, "open": MAX_HELLO}


@dataclass(frozen=True)
class Envelope:
    """A message whose signature holds; its body's fields are checked by the class of its type."""

    type: str
    sender: bytes  # identity key that signed
    body: dict[str, Any]
    raw: bytes

    @property
    def digest(self) -> bytes:
        return digest("message", self.raw)


def make(kind: str, seed: bytes, body: dict[str, Any]) -> Envelope:
    """Raises UsageError for what no receiver would take."""
    body = {**body, "from": public_key(seed).hex()}
    signature = sign(seed, digest(kind, encode(body)))
    raw = encode({"type": kind, "body": body, "signature": signature.hex()})
    if len(raw) > _limit(kind):
        raise UsageError(
            f"your {kind} message has {len(raw)} bytes, {_limit(kind)} are allowed",
            hint="give the program fewer or shorter arguments",
        )
    return Envelope(kind, public_key(seed), body, raw)


def parse(raw: bytes) -> Envelope:
    """Raises Malformed for anything that is not a signed message of at most its type's size."""
    return _envelope(decode(raw, MAX_BODY), raw)


def _envelope(value: Any, raw: bytes) -> Envelope:
    fields = Fields(value, "a message")
    kind = fields.choice("type", TYPES)
    if len(raw) > _limit(kind):
        raise Malformed(f"{kind} has {len(raw)} bytes, {_limit(kind)} are allowed")
    body = dict(fields.mapping("body"))
    signature = fields.data("signature", 64)
    fields.end()
    sender = Fields({"from": body.get("from")}, kind).data("from", 32)
    if not verify(sender, signature, digest(kind, encode(body))):
        raise Malformed(f"{kind} is not signed by its sender")
    return Envelope(kind, sender, body, raw)


def _limit(kind: str) -> int:
    return _LIMITS.get(kind, SMALL)


@dataclass(frozen=True)
class Open:
    m: int
    threshold: int
    program: Program
    transports: tuple[str, ...]  # in the order the host prefers
    name: str
    verify: str
    session_key: bytes = b""  # the host's, 32 bytes, set by its ceremony: so no two openings are the same

    def body(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "m": self.m,
            "t": self.threshold,
            "program": self.program.to_dict(),
            "transports": list(self.transports),
            "name": self.name,
            "verify": self.verify,
            "session_key": self.session_key.hex(),
        }


def read_open(envelope: Envelope) -> Open:
    fields = Fields(envelope.body, "OPEN")
    fields.data("from", 32)
    version = fields.number("version", 0, 255)
    if version != VERSION:
        raise Malformed(f"the host speaks version {version} of the protocol, not {VERSION}", hint="use the same comity")
    m = fields.number("m", 2, MAX_PARTIES)
    result = Open(
        m,
        fields.number("t", 0, (m - 1) // 2),
        Program.from_dict(dict(fields.mapping("program"))),
        fields.texts("transports", MAX_TRANSPORTS, 32),
        _name(fields, "OPEN"),
        fields.choice("verify", VERIFY),
        fields.data("session_key", 32),
    )
    fields.end()
    return result


def _name(fields: Fields, what: str) -> str:
    try:
        return check_name(fields.text("name", MAX_NAME))
    except UsageError as exc:
        raise Malformed(f"{what}: {exc.message}") from exc


@dataclass(frozen=True)
class Hello:
    envelope: Envelope = field(repr=False)
    open: bytes  # H(OPEN)
    member: Member
    program: Program
    transports: tuple[str, ...]
    commitment: bytes


def make_hello(
    secrets: Secrets,
    *,
    open_digest: bytes,
    name: str,
    program: Program,
    transports: tuple[str, ...],
    verify: str,
    certificate: bytes,
) -> Hello:
    body: dict[str, Any] = {
        "open": open_digest.hex(),
        "from": public_key(secrets.identity).hex(),
        "session_key": public_key(secrets.session).hex(),
        "exchange_key": exchange_public(secrets.exchange).hex(),
        "certificate": certificate.hex(),
        "name": check_name(name),
        "program": program.to_dict(),
        "transports": list(transports),
        "verify": verify,
    }
    body["commitment"] = digest("commit", encode(body), secrets.nonce).hex()
    return read_hello(make("hello", secrets.identity, body))


def read_hello(envelope: Envelope) -> Hello:
    fields = Fields(envelope.body, "HELLO")
    identity, open_digest = fields.data("from", 32), fields.data("open", 32)
    member = Member(
        _name(fields, "HELLO"),
        identity,
        fields.data("session_key", 32),
        fields.data("exchange_key", 32),
        fields.data("certificate", 1, MAX_CERTIFICATE),
        fields.choice("verify", VERIFY),
    )
    _check_certificate(member)
    _check_exchange_key(member)
    program = Program.from_dict(dict(fields.mapping("program")))
    transports = fields.texts("transports", MAX_TRANSPORTS, 32)
    commitment = fields.data("commitment", 32)
    fields.end()
    return Hello(envelope, open_digest, member, program, transports, commitment)


def _check_certificate(member: Member) -> None:
    try:
        key = x509.load_der_x509_certificate(member.certificate).public_key()
    except Exception as exc:  # the parser's errors are many; all mean the same
        raise Malformed(f"{member.name}'s certificate cannot be read") from exc
    if not isinstance(key, Ed25519PublicKey) or key.public_bytes_raw() != member.session_key:
        raise Malformed(f"{member.name}'s certificate holds another key than the session key")
    if small_order(member.session_key):
        raise Malformed(f"{member.name}'s session key is one that anybody can use")


def _check_exchange_key(member: Member) -> None:
    try:
        pair_secret(bytes(32), member.exchange_key)
    except PeerError as exc:
        raise Malformed(f"{member.name}'s exchange key gives everybody the same secret") from exc


def opens(hello: Hello, nonce: bytes) -> bool:
    """Whether r opens the commitment of a HELLO."""
    others = {k: v for k, v in hello.envelope.body.items() if k != "commitment"}
    return digest("commit", encode(others), nonce) == hello.commitment


def manifest_of(open_: Open, hellos: tuple[Hello, ...]) -> Manifest:
    """What OPEN and the HELLOs say together; the transport is the host's first that all can use, else empty."""
    common = [t for t in open_.transports if all(t in hello.transports for hello in hellos)]
    return Manifest(
        tuple(hello.member for hello in hellos),
        open_.threshold,
        common[0] if common else "",
        open_.program.digest,
        open_.program.name,
        open_.program.arguments,
    )


def make_roster(seed: bytes, open_digest: bytes, open_: Open, hellos: tuple[Hello, ...]) -> Envelope:
    inner = [decode(hello.envelope.raw, MAX_HELLO) for hello in hellos]
    body = {"open": open_digest.hex(), "hellos": inner, "manifest": manifest_of(open_, hellos).to_dict()}
    return make("roster", seed, body)


def read_roster(envelope: Envelope) -> tuple[bytes, tuple[Hello, ...], dict[str, Any]]:
    """H(OPEN), the HELLOs with their signatures checked, and the host's manifest as it stands."""
    fields = Fields(envelope.body, "ROSTER")
    fields.data("from", 32)
    open_digest = fields.data("open", 32)
    hellos = []
    for value in fields.items("hellos", MAX_PARTIES):
        inner = _envelope(value, encode(value))
        if inner.type != "hello":
            raise Malformed("ROSTER holds something that is no HELLO")
        hellos.append(read_hello(inner))
    manifest = dict(fields.mapping("manifest"))
    fields.end()
    return open_digest, tuple(hellos), manifest


def read_reveal(envelope: Envelope) -> tuple[bytes, bytes]:
    """H(ROSTER) and r."""
    fields = Fields(envelope.body, "REVEAL")
    fields.data("from", 32)
    result = fields.data("roster", 32), fields.data("nonce", 32)
    fields.end()
    return result


def read_agree(envelope: Envelope) -> bytes:
    """T."""
    fields = Fields(envelope.body, "AGREE")
    fields.data("from", 32)
    transcript = fields.data("transcript", 32)
    fields.end()
    return transcript


def read_confirm(envelope: Envelope) -> tuple[bytes, str, tuple[int, ...]]:
    """T, how the sender verified, and the numbers of the parties it says it verified."""
    fields = Fields(envelope.body, "CONFIRM")
    fields.data("from", 32)
    transcript, how = fields.data("transcript", 32), fields.choice("how", VERIFY)
    verified = fields.items("verified", MAX_PARTIES)
    fields.end()
    if any(type(party) is not int or not 0 <= party < MAX_PARTIES for party in verified):
        raise Malformed("CONFIRM verifies somebody who is no party")
    return transcript, how, tuple(verified)


def read_leave(envelope: Envelope) -> tuple[bytes, bytes, str]:
    """H(OPEN), H(HELLO) of the sender's own or nothing where it has said none, and the reason."""
    fields = Fields(envelope.body, "LEAVE")
    fields.data("from", 32)
    opening, hello, reason = fields.data("open", 32), fields.data("hello", 0, 32), fields.choice("reason", REASONS)
    fields.end()
    if len(hello) not in (0, 32):
        raise Malformed("LEAVE: hello is not 32 bytes or none")
    return opening, hello, reason
