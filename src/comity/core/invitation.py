"""The invitation: a text that finds and authenticates one session.

    comity://PAYLOAD     or     https://PAGE/#PAYLOAD

PAYLOAD is base64url without padding of: version (1 byte), room secret (16), fingerprint of the host (16), number of
rendezvous addresses (1), each as length (1) and UTF-8 text, length (1) and SHA-256 of the rendezvous's certificate
(none or 32 bytes), and the first 4 bytes of SHA-256 of all that, which tell a mistyped link from a strange one.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from comity.core.identity import FINGERPRINT_SIZE
from comity.errors import UsageError

VERSION = 1
SECRET_SIZE = 16
MAX_ADDRESSES = 8  # a machine's addresses in its LAN, and a name
MAX_ADDRESS = 200  # bytes; an https page with a path
CHECK_SIZE = 4
MAX_TEXT = 4096  # characters of a link: all addresses at their longest, with room to spare

_CUT = "it is too short, as if its end were cut off"
_CHANGED = "a part is missing or changed"


def _wrong(why: str) -> UsageError:
    return UsageError(
        f"this is not an invitation: {why}", hint="copy the whole link, from comity:// to its last letter"
    )


@dataclass(frozen=True)
class Invitation:
    secret: bytes  # 16 bytes
    host: bytes  # the host's fingerprint, 16 bytes
    rendezvous: tuple[str, ...]  # http, https, ws or wss addresses of one and the same server
    certificate: bytes = b""  # SHA-256 of its certificate, if it has one of its own

    def __repr__(self) -> str:
        return f"Invitation(rendezvous={self.rendezvous!r}, ...)"

    def payload(self) -> str:
        addresses = b"".join(bytes([len(a.encode())]) + a.encode() for a in self.rendezvous)
        body = bytes([VERSION]) + self.secret + self.host + bytes([len(self.rendezvous)]) + addresses
        body += bytes([len(self.certificate)]) + self.certificate
        return base64.urlsafe_b64encode(body + hashlib.sha256(body).digest()[:CHECK_SIZE]).decode().rstrip("=")

    def link(self) -> str:
        return "comity://" + self.payload()

    def page_link(self, page: str) -> str:
        """`page`: an https address; what follows # is never sent to its server."""
        return page.rstrip("/") + "/#" + self.payload()


def parse(text: str) -> Invitation:
    """Raises UsageError saying what is wrong with the text."""
    text = text.strip()
    if len(text) > MAX_TEXT:
        raise _wrong("it is too long")
    if text.startswith("comity://"):
        payload = text.removeprefix("comity://")
    elif text.startswith("https://") and "#" in text:
        payload = text.partition("#")[2]
    else:
        raise _wrong("it does not start with comity:// or https://")
    if strange := re.search(r"[^A-Za-z0-9_-]", payload):
        if payload[strange.start() :] in ("…", "..."):
            raise _wrong(_CUT)
        raise _wrong(f"no invitation has {strange[0]!r} in it")
    whole = payload if len(payload) % 4 != 1 else payload[:-1]  # one letter alone is no byte
    data = base64.urlsafe_b64decode(whole + "=" * (-len(whole) % 4))
    body, check = data[:-CHECK_SIZE], data[-CHECK_SIZE:]
    if not body or hashlib.sha256(body).digest()[:CHECK_SIZE] != check:
        raise _wrong(_CUT if len(data) < _due(data) else _CHANGED)
    if body[0] != VERSION:
        raise UsageError(f"this invitation is of version {body[0]}, not {VERSION}", hint="update comity")
    result = _fields(body)
    if result.payload() != payload:  # base64 has several texts for the same bytes
        raise _wrong(_CHANGED)
    return result


def _due(data: bytes) -> int:
    """How many bytes an invitation has that begins so; if it ends before that is known, more than are there."""
    at, parts = 1 + SECRET_SIZE + FINGERPRINT_SIZE, 1
    if at < len(data):
        parts += data[at]
        at += 1
    for _ in range(parts):  # the addresses and the certificate, each behind its length
        if at >= len(data):
            return at + 1
        at += 1 + data[at]
    return at + CHECK_SIZE


def _fields(body: bytes) -> Invitation:
    at = 1

    def take(size: int) -> bytes:
        nonlocal at
        part = body[at : at + size]
        if len(part) != size:
            raise _wrong(_CHANGED)
        at += size
        return part

    secret, host, count = take(SECRET_SIZE), take(FINGERPRINT_SIZE), take(1)[0]
    if not 1 <= count <= MAX_ADDRESSES:
        raise _wrong("it names no rendezvous, or too many")
    try:
        addresses = tuple(check_address(take(take(1)[0]).decode()) for _ in range(count))
    except UnicodeDecodeError:
        raise _wrong("an address is not text") from None
    certificate = take(take(1)[0])
    if len(certificate) not in (0, 32) or at != len(body):
        raise _wrong(_CHANGED)
    return Invitation(secret, host, addresses, certificate)


def check_address(address: str) -> str:
    """A rendezvous's address, which paths are added to. Raises UsageError."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https", "ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if (
        not usable
        or not address.isprintable()
        or len(address.encode()) > MAX_ADDRESS
        or any(c in ' "#<>?@\\^`{|}' for c in address)
    ):
        raise UsageError(f"{address[:80]!r} is no address of a rendezvous", hint="for example http://192.0.2.7:8787")
    return address
