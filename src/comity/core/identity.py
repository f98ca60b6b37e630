"""Keys: who a party is, what one session uses, and what two parties share."""

from __future__ import annotations

import base64
import hmac
import re
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


_P = 2**255 - 19
_Y8 = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
_SMALL_ORDER = frozenset({0, 1, _P - 1, _P, _P + 1, _Y8, _P - _Y8})
"""The y coordinates of edwards25519's points whose order divides 8, in every encoding (RFC 8032, 5.1.3)."""


def small_order(key: bytes) -> bool:
    """Whether anybody can make signatures that hold under this Ed25519 key: OpenSSL lets them pass."""
    return int.from_bytes(key, "little") & (2**255 - 1) in _SMALL_ORDER


def verify(key: bytes, signature: bytes, message: bytes) -> bool:
    if small_order(key):
        return False
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
    **dict(zip(map(ord, "авекмнорстухіјѕԁгпьзһӏԛԝүѵ"), "abekmhopctyxijsdrnbehlqwyv", strict=True)),  # Cyrillic
    **dict(zip(map(ord, "αβεζηικμνορτυχω"), "abezhikmnoptuxw", strict=True)),  # Greek
    **dict(zip(map(ord, "ıɪɩɑɡɢʀʏʙʜʟᴀᴄᴅᴇᴊᴋᴍɴᴏᴘꜱᴛᴜᴠᴡᴢꜰ"), "iiiaggrybhlacdejkmnopstuvwzf", strict=True)),  # Latin
    **dict(zip(map(ord, "ロカニエタトハヘリーチオ"), "口力二工夕卜八へり一千才", strict=True)),
    **dict(zip(map(ord, "01|!5$3@"), "ollls" + "sea", strict=True)),
}
"""Letters, and digits, that look like another one; lower case."""

INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0").union(
    map(chr, range(0xFE00, 0xFE10)), map(chr, range(0xE0100, 0xE01F0))
)
"""Letters, marks and symbols that show nothing (Unicode's Default_Ignorable_Code_Point, and the empty Braille cell)."""

_EAST_ASIAN = frozenset({"BOPOMOFO", "CJK", "HANGUL", "HIRAGANA", "IDEOGRAPHIC", "KATAKANA"})
"""Scripts that one name may mix; all others stand alone, so that no letter is borrowed for its looks."""

_SCRIPTS = _EAST_ASIAN | frozenset(
    """ARABIC ARMENIAN BENGALI CYRILLIC DEVANAGARI ETHIOPIC GEORGIAN GREEK GUJARATI GURMUKHI HEBREW KANNADA KHMER LAO
    LATIN MALAYALAM MYANMAR ORIYA SINHALA TAMIL TELUGU THAANA THAI TIBETAN""".split()
)
"""Scripts in everyday use, by the first word of their characters' names: the list of UAX #31, table 5. Others hold
whole alphabets of look-alikes (Cherokee, Lisu, Coptic ...) that no reader expects."""


def fold(name: str) -> str:
    """What two names share if a person could take one for the other."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold()).translate(_ALIKE)
    letters = "".join(c for c in plain if c.isalnum() or _vowel(c))
    return letters.replace("rn", "m").replace("vv", "w").replace("i", "l")


def _vowel(c: str) -> bool:
    """A mark that is a letter of its script, as in Devanagari or Thai, and no accent."""
    return unicodedata.category(c)[0] == "M" and unicodedata.combining(c) == 0


def _scripts(name: str) -> set[str]:
    """Of its letters and of digits other than 0-9; NFKC first, which makes styled letters plain ones."""
    marked = (
        c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c)[0] in "LN" and c not in "0123456789"
    )
    return {re.split("[ -]", unicodedata.name(c, "?"))[0] for c in marked}


def check_name(name: str) -> str:
    """Raises UsageError for a name that could mislead in a line of text."""
    if (
        name.strip() != name
        or len(name) > MAX_NAME
        or not fold(name)
        or any(unicodedata.category(c)[0] not in "LNM" and c not in " -_.'" for c in name)
        or not INVISIBLE.isdisjoint(unicodedata.normalize("NFKC", name))
    ):
        raise UsageError(
            f"{name[:MAX_NAME]!r} cannot be a name",
            hint=f"letters, digits, space and -_.' in at most {MAX_NAME} characters",
        )
    scripts = _scripts(name)
    if not scripts <= _SCRIPTS or (len(scripts) > 1 and not scripts <= _EAST_ASIAN):
        raise UsageError(
            f"{name!r} cannot be a name: its letters could be taken for others",
            hint="letters of one everyday script only",
        )
    return name
