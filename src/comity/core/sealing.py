"""Bodies in a mailbox: sealed with the key that the invitation's secret gives, opaque to the rendezvous."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from comity.core.identity import derive
from comity.errors import VerificationError

NONCE = 12


def room_name(secret: bytes) -> str:
    """32 lower-case hexadecimal digits; tells the server nothing of the secret."""
    return derive(secret, b"", "room", 16).hex()


def room_key(secret: bytes) -> bytes:
    return derive(secret, b"", "seal")


def seal(key: bytes, nonce: bytes, body: bytes, context: bytes = b"") -> bytes:
    """ChaCha20-Poly1305 (RFC 8439); `nonce`: 12 fresh random bytes."""
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, body, context)


def unseal(key: bytes, sealed: bytes, context: bytes = b"") -> bytes:
    """Raises VerificationError for anything that was not sealed with this key."""
    try:
        return ChaCha20Poly1305(key).decrypt(sealed[:NONCE], sealed[NONCE:], context)
    except (InvalidTag, ValueError) as exc:
        raise VerificationError(
            "a message in the room was not sealed with this invitation",
            hint="the rendezvous or the network changed it; start again with another rendezvous",
        ) from exc
