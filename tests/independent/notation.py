"""Sections 1 to 5, 11 and 12 of docs/protocol.md: the forms of texts and bytes. No input, no output."""

from __future__ import annotations

import base64
import datetime
import hmac
import json
import os
import re
import struct
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

REASONS = ("words", "program", "declined", "interrupted", "protocol", "error", "path", "done")
DATA, GOODBYE, FIN, ACK = range(4)  # kinds of frames
CONTROL_LINK, DATA_LINK = range(2)  # kinds of channels and links


class Fault(Exception):
    """What ends a session: with which exit code, and what the others are told. `culprit`: another party's number."""

    code, told = 4, "protocol"

    def __init__(self, text: str, code: int = 0, told: str = "", culprit: int | None = None) -> None:
        super().__init__(text)
        self.code, self.told, self.culprit = code or self.code, told or self.told, culprit


class Left(Fault):
    """Another party has said that it leaves, to everybody."""

    told = ""


class Malformed(Fault):
    """Not in the form that the protocol describes, or out of place."""


class Unverified(Fault):
    """A key, a hash or a seal that is another one."""

    code = 3


# Section 1


def digest(label: str, *parts: bytes) -> bytes:
    """H of section 1."""
    parts = (f"comity/1 {label}".encode(), *parts)
    return sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


def derive(secret: bytes, salt: bytes, label: str, length: int = 32) -> bytes:
    """K of section 1."""
    return HKDF(SHA256(), length, salt, f"comity/1 {label}".encode()).derive(secret)


def seal(key: bytes, body: bytes, context: bytes, nonce: bytes | None = None) -> bytes:
    nonce = nonce or os.urandom(12)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, body, context)


def unseal(key: bytes, sealed: bytes, context: bytes) -> bytes:
    try:
        return ChaCha20Poly1305(key).decrypt(sealed[:12], sealed[12:], context)
    except (InvalidTag, ValueError) as error:
        raise Unverified("a body does not open") from error


# Section 2


def encode(value: Any) -> bytes:
    """The canonical text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def decode(text: bytes) -> Any:
    try:
        value = json.loads(text.decode())
        _judge(value, 12)
        same = encode(value) == text
    except (ValueError, RecursionError) as error:
        raise Malformed("a text that is no canonical JSON") from error
    if not same:
        raise Malformed("a text that is not canonical")
    return value


def _judge(value: Any, levels: int) -> None:
    if levels < 0:
        raise Malformed("nested too deeply")
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            _judge(item, levels - 1)
    elif isinstance(value, float) or (isinstance(value, int) and abs(value) > 2**53 - 1):
        raise Malformed("a number that is not allowed")


Check = Callable[[Any], Any]


def fields(value: Any, checks: dict[str, Check]) -> dict[str, Any]:
    """An object with exactly these fields, each as its check gives it back."""
    if not isinstance(value, dict) or value.keys() != checks.keys():
        raise Malformed("missing or unknown fields")
    return {key: check(value[key]) for key, check in checks.items()}


def integer(low: int, high: int) -> Check:
    def check(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise Malformed(f"no integer from {low} to {high}")
        return value

    return check


def text(longest: int, inside: bool = False) -> Check:
    """`inside` a list or an object of texts, control characters may stand."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > longest:
            raise Malformed(f"no text of at most {longest} characters")
        if not inside and any(letter < " " or letter == "\x7f" for letter in value):
            raise Malformed("a control character")
        return value

    return check


def texts(most: int, longest: int) -> Check:
    def check(value: Any) -> list[str]:
        if not isinstance(value, list) or len(value) > most:
            raise Malformed(f"no list of at most {most}")
        return [text(longest, inside=True)(item) for item in value]

    return check


def octets(least: int, most: int | None = None) -> Check:
    def check(value: Any) -> bytes:
        if not isinstance(value, str) or not re.fullmatch("([0-9a-f]{2})*", value):
            raise Malformed("no bytes in hex")
        if not least <= len(value) // 2 <= (least if most is None else most):
            raise Malformed("another number of bytes")
        return bytes.fromhex(value)

    return check


def one_of(*values: str) -> Check:
    def check(value: Any) -> str:
        if value not in values or not isinstance(value, str):
            raise Malformed(f"none of {', '.join(values)}")
        return value

    return check


# Section 3

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P


def of_small_order(key: bytes) -> bool:
    """Whether 8 times the point is the neutral one: y is 0, 1 or -1, or a double of it has y = 0."""
    y = int.from_bytes(key, "little") % 2**255 % _P
    return y in (0, 1, _P - 1) or (_D * y**4 + 2 * y**2 - 1) % _P == 0


def check_signature(key: bytes, signature: bytes, message: bytes) -> None:
    try:
        if of_small_order(key):
            raise InvalidSignature
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise Unverified("a signature does not hold") from error


def fingerprint(identity: bytes) -> bytes:
    return digest("identity", identity)[:16]


def show_fingerprint(identity: bytes) -> str:
    letters = base64.b32encode(fingerprint(identity)).decode().rstrip("=").lower()
    return "-".join(letters[i : i + 4] for i in range(0, len(letters), 4))


@dataclass(frozen=True)
class Keys:
    """A party's secrets: seeds of its identity and session keys, its exchange key, its nonce."""

    identity: bytes
    session: bytes
    exchange: bytes
    nonce: bytes

    @classmethod
    def fresh(cls) -> Keys:
        return cls(*(os.urandom(32) for _ in range(4)))

    @property
    def public(self) -> tuple[bytes, bytes, bytes]:
        """Of identity, session and exchange."""
        identity, session = (
            Ed25519PrivateKey.from_private_bytes(seed).public_key() for seed in (self.identity, self.session)
        )
        exchange = X25519PrivateKey.from_private_bytes(self.exchange).public_key()
        return identity.public_bytes_raw(), session.public_bytes_raw(), exchange.public_bytes_raw()

    def shared(self, exchange_key: bytes) -> bytes:
        """X of section 9."""
        try:
            private = X25519PrivateKey.from_private_bytes(self.exchange)
            return private.exchange(X25519PublicKey.from_public_bytes(exchange_key))
        except ValueError as error:  # the all-zero secret
            raise Unverified("an exchange key of small order") from error


def certificate(session: bytes) -> bytes:
    """The self-signed certificate (DER) of a session key, from its seed."""
    key = Ed25519PrivateKey.from_private_bytes(session)
    serial = digest("certificate", key.public_key().public_bytes_raw())[:16]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, serial.hex())])
    builder = x509.CertificateBuilder(name, name, key.public_key(), int.from_bytes(serial, "big") | 1)
    builder = builder.not_valid_before(datetime.datetime(2000, 1, 1))
    builder = builder.not_valid_after(datetime.datetime(9999, 12, 31, 23, 59, 59))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    return builder.sign(key, None).public_bytes(Encoding.DER)


def check_certificate(der: bytes, session_key: bytes) -> None:
    try:
        key = x509.load_der_x509_certificate(der).public_key()
    except Exception as error:  # the parser's errors are of many kinds
        raise Malformed("no certificate") from error
    if not isinstance(key, Ed25519PublicKey) or key.public_bytes_raw() != session_key or of_small_order(session_key):
        raise Unverified("a certificate of another key")


ALIKE = {
    **dict(zip("авекмнорстухіјѕԁгпьзһӏԛԝүѵ", "abekmhopctyxijsdrnbehlqwyv", strict=True)),
    **dict(zip("αβεζηικμνορτυχω", "abezhikmnoptuxw", strict=True)),
    **dict(zip("ıɪɩɑɡɢʀʏʙʜʟᴀᴄᴅᴇᴊᴋᴍɴᴏᴘꜱᴛᴜᴠᴡᴢꜰ", "iiiaggrybhlacdejkmnopstuvwzf", strict=True)),
    **dict(zip("ロカニエタトハヘリーチオ", "口力二工夕卜八へり一千才", strict=True)),
    **dict(zip("0153", "olse", strict=True)),
}
EAST_ASIAN = {"BOPOMOFO", "CJK", "HANGUL", "HIRAGANA", "IDEOGRAPHIC", "KATAKANA"}
EVERYDAY = EAST_ASIAN | {
    *"ARABIC ARMENIAN BENGALI CYRILLIC DEVANAGARI ETHIOPIC GEORGIAN GREEK GUJARATI GURMUKHI HEBREW KANNADA".split(),
    *"KHMER LAO LATIN MALAYALAM MYANMAR ORIYA SINHALA TAMIL TELUGU THAANA THAI TIBETAN".split(),
}
INVISIBLE = {*"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"}
INVISIBLE |= {chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))}


def check_name(value: Any) -> str:
    name: str = text(32)(value)
    plain = unicodedata.normalize("NFKC", name)
    if name != name.strip() or not fold(name) or INVISIBLE & {*plain}:
        raise Malformed("not a name")
    if any(letter not in " -_.'" and unicodedata.category(letter)[0] not in "LMN" for letter in name):
        raise Malformed("a name with a character that is not allowed")
    marked = [letter for letter in plain if unicodedata.category(letter)[0] in "LN" and letter not in "0123456789"]
    scripts = {re.split("[ -]", unicodedata.name(letter, "?"))[0] for letter in marked}
    if not scripts <= EVERYDAY or (len(scripts) > 1 and not scripts <= EAST_ASIAN):
        raise Malformed("a name of letters that could be taken for others")
    return name


def fold(name: str) -> str:
    """Names that fold to the same text are alike."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    plain = "".join(ALIKE.get(letter, letter) for letter in plain)
    letters = "".join(letter for letter in plain if letter.isalnum() or _is_vowel(letter))
    return letters.replace("rn", "m").replace("vv", "w").replace("i", "l")


def _is_vowel(letter: str) -> bool:
    return unicodedata.category(letter)[0] == "M" and not unicodedata.combining(letter)


# Section 4


@dataclass(frozen=True)
class Invitation:
    secret: bytes
    host: bytes
    rendezvous: tuple[str, ...]
    certificate: bytes

    @property
    def room(self) -> str:
        return derive(self.secret, b"", "room", 16).hex()

    @property
    def key(self) -> bytes:
        return derive(self.secret, b"", "seal")

    @property
    def signals(self) -> str:
        return derive(derive(self.secret, b"", "signals", 16), b"", "room", 16).hex()

    @property
    def link(self) -> str:
        addresses = [address.encode() for address in self.rendezvous]
        data = b"\1" + self.secret + self.host + bytes([len(addresses)])
        data += b"".join(bytes([len(part)]) + part for part in (*addresses, self.certificate))
        return "comity://" + base64.urlsafe_b64encode(data + sha256(data).digest()[:4]).decode().rstrip("=")


def read_invitation(link: str) -> Invitation:
    if link.startswith("https://"):
        payload = link.partition("/#")[2]
    elif link.startswith("comity://"):
        payload = link.removeprefix("comity://")
    else:
        payload = ""
    if len(link) > 4096 or not re.fullmatch("[A-Za-z0-9_-]+", payload):
        raise Malformed("no invitation")
    try:
        data = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        rest, check = data[:-4], data[-4:]
        if base64.urlsafe_b64encode(data).decode().rstrip("=") != payload or sha256(rest).digest()[:4] != check:
            raise Malformed("a damaged invitation")
        if rest[0] != 1:
            raise Malformed("an invitation of another version")
        secret, host, count, rest = rest[1:17], rest[17:33], rest[33], rest[34:]
        parts = []
        for _ in range(count + 1):
            size = rest[0]
            part, rest = rest[1 : size + 1], rest[size + 1 :]
            if len(part) != size:
                raise Malformed("an invitation that is cut")
            parts.append(part)
        addresses, pin = tuple(part.decode() for part in parts[:-1]), parts[-1]
    except (IndexError, ValueError) as error:
        raise Malformed("no invitation") from error
    if rest or len(pin) not in (0, 32) or not 1 <= count <= 8 or not all(map(_is_address, addresses)):
        raise Malformed("an invitation with something else in it")
    return Invitation(secret, host, addresses, pin)


def _is_address(address: str) -> bool:
    try:
        url = urlsplit(address)
        return (
            url.scheme in ("http", "https", "ws", "wss")
            and bool(url.hostname)
            and url.port != 0
            and not (url.username or url.password or url.query or url.fragment)
            and len(address.encode()) <= 200
        )
    except ValueError:
        return False


# Section 11

_PREFACE = struct.Struct(">2sB16sHHBII16s")
PREFACE_SIZE = _PREFACE.size + 16
PROOF_SIZE = 16


@dataclass(frozen=True)
class Preface:
    tag: bytes
    sender: int
    to: int
    kind: int
    epoch: int
    number: int
    nonce: bytes

    def pack(self, key: bytes) -> bytes:
        fields = self.tag, self.sender, self.to, self.kind, self.epoch, self.number, self.nonce
        head = _PREFACE.pack(b"cy", 2, *fields)
        return head + hmac.digest(key, head, "sha256")[:16]

    def answer(self, nonce: bytes) -> Preface:
        return Preface(self.tag, self.to, self.sender, self.kind, self.epoch, self.number, nonce)


def proof(key: bytes, question: Preface, answer: Preface) -> bytes:
    return hmac.digest(key, b"proof" + question.pack(key) + answer.pack(key), "sha256")[:PROOF_SIZE]


def read_preface(data: bytes, key_of: Callable[[Preface], bytes]) -> Preface:
    """`key_of` chooses the pair's key by what the preface says."""
    if len(data) != PREFACE_SIZE:
        raise Malformed("a preface of another size")
    magic, version, *rest = _PREFACE.unpack(data[:-16])
    preface = Preface(*rest)
    if magic != b"cy" or version != 2 or preface.kind not in (CONTROL_LINK, DATA_LINK):
        raise Malformed("no preface")
    if not hmac.compare_digest(preface.pack(key_of(preface)), data):
        raise Unverified("a preface that is not authentic")
    return preface


# Section 12

_HELLO = struct.Struct(">2sB32sHHBI16sIQ")
HELLO_SIZE = _HELLO.size
_FRAME = struct.Struct(">BIQQII")
FRAME_SIZE = _FRAME.size


@dataclass(frozen=True)
class Hello:
    transcript: bytes
    sender: int
    to: int
    kind: int
    epoch: int
    incarnation: bytes
    number: int
    expected: int

    def pack(self) -> bytes:
        head = (self.transcript, self.sender, self.to, self.kind, self.epoch)
        return _HELLO.pack(b"cl", 1, *head, self.incarnation, self.number, self.expected)


def read_hello(data: bytes) -> Hello:
    magic, version, *rest = _HELLO.unpack(data)
    if magic != b"cl" or version != 1:
        raise Malformed("no hello")
    return Hello(*rest)


@dataclass(frozen=True)
class Frame:
    kind: int
    epoch: int
    offset: int
    acknowledged: int
    depth: int
    length: int

    def pack(self) -> bytes:
        return _FRAME.pack(self.kind, self.epoch, self.offset, self.acknowledged, self.depth, self.length)


_LENGTHS = {DATA: range(1, 2**20 + 1), GOODBYE: range(865), FIN: range(1), ACK: range(1)}


def read_frame(header: bytes, epoch: int) -> Frame:
    frame = Frame(*_FRAME.unpack(header))
    if frame.epoch != epoch or frame.length not in _LENGTHS.get(frame.kind, ()):
        raise Malformed("no frame of this link")
    return frame


def pack_goodbye(reason: str, detail: str) -> bytes:
    return encode({"detail": detail[:200], "reason": reason})


def read_goodbye(body: bytes) -> tuple[str, str]:
    said = fields(decode(body), {"detail": text(200), "reason": one_of(*REASONS)})
    if not said["detail"].isprintable():
        raise Malformed("a detail that is not printable")
    return said["reason"], said["detail"]
