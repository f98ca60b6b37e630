"""Keys: who a party is, what one session uses, and what two parties share."""

from __future__ import annotations

import base64
import hmac
import unicodedata
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from comity.core.encoding import digest
from comity.core.limits import MAX_NAME
from comity.errors import PeerError, UsageError

FINGERPRINT_SIZE = 16
"""128 bits: a second key with the same fingerprint is out of reach."""


def fingerprint(identity: bytes) -> bytes:
    return digest("identity", identity)[:FINGERPRINT_SIZE]


def show_fingerprint(identity: bytes) -> str:
    """As people see it: groups of four, a-z and 2-7."""
    text = base64.b32encode(fingerprint(identity)).decode().rstrip("=").lower()
    return "-".join(text[i : i + 4] for i in range(0, len(text), 4))


def public_key(seed: bytes) -> bytes:
    """The Ed25519 public key of a 32-byte seed."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def exchange_public(seed: bytes) -> bytes:
    """The X25519 public key of a 32-byte seed."""
    return X25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(seed: bytes, message: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def verify(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def derive(secret: bytes, salt: bytes, label: str, size: int = 32) -> bytes:
    """HKDF-SHA256 (RFC 5869)."""
    return HKDF(SHA256(), size, salt, b"comity/1 " + label.encode()).derive(secret)


def pair_secret(exchange_seed: bytes, their_exchange_key: bytes) -> bytes:
    """X25519 (RFC 7748). Raises PeerError for a key of small order."""
    try:
        ours = X25519PrivateKey.from_private_bytes(exchange_seed)
        return ours.exchange(X25519PublicKey.from_public_bytes(their_exchange_key))
    except ValueError as exc:
        raise PeerError("a party sent an unusable exchange key") from exc


def authenticate(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256 cut to 16 bytes."""
    return hmac.digest(key, message, "sha256")[:16]


@dataclass(frozen=True)
class Secrets:
    """What a party draws for one session, and its identity's seed; 32 bytes each."""

    identity: bytes
    session: bytes
    exchange: bytes
    nonce: bytes

    def __repr__(self) -> str:
        return "Secrets(...)"


_ALIKE = {
    **dict(zip(map(ord, "авекмнорстухіјѕԁɡ"), "abekmhopctyxijsdg", strict=True)),  # Cyrillic and phonetic
    **dict(zip(map(ord, "αβεικνορτυχω"), "abeiknoptuxw", strict=True)),  # Greek
    **dict(zip(map(ord, "01|!5$3@"), "ollls" + "sea", strict=True)),
}
"""Letters of other scripts, and digits, that look like a Latin letter."""

INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters, marks and symbols that show nothing (Unicode's Default_Ignorable_Code_Point, and the empty Braille cell)."""


def fold(name: str) -> str:
    """What two names share if a person could take one for the other."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold()).translate(_ALIKE)
    letters = "".join(c for c in plain if c.isalnum())
    return letters.replace("rn", "m").replace("vv", "w").replace("i", "l")


def check_name(name: str) -> str:
    """Raises UsageError for a name that could mislead in a line of text."""
    fine = name.strip() == name and 0 < len(name) <= MAX_NAME and bool(fold(name))
    if not fine or any(unicodedata.category(c)[0] not in "LNM" and c not in " -_.'" for c in name):
        raise UsageError(
            f"{name[:MAX_NAME]!r} cannot be a name",
            hint=f"letters, digits, space and -_.' in at most {MAX_NAME} characters",
        )
    return name
