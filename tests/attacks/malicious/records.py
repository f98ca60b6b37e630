"""TLS 1.3's records by hand, on a connection whose handshake OpenSSL made: what no library would send."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from tests.attacks.malicious.party import RawLink
from tests.independent.links import Depth, Ends

CHANGE_CIPHER, ALERT, HANDSHAKE, DATA, HEARTBEAT = range(20, 25)
CLIENT_HELLO, NEW_TICKET, CERTIFICATE_REQUEST, FINISHED, KEY_UPDATE = 1, 4, 13, 20, 24
MOST = 1 << 14


def _expand(secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand-Label of RFC 8446, with an empty context."""
    name = b"tls13 " + label.encode()
    info = size.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0"
    return HKDFExpand(SHA384(), size, info).derive(secret)


def handshake(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


@dataclass(frozen=True)
class KeyedEnds(Ends):
    """Ends whose TLS tells its secrets into a file in memory."""

    secrets: int = -1

    @classmethod
    def of(cls, ends: Ends) -> KeyedEnds:
        return cls(**vars(ends), secrets=os.memfd_create("secrets"))

    def tls(self) -> ssl.SSLContext:
        context = super().tls()
        context.keylog_filename = f"/proc/self/fd/{self.secrets}"
        return context


class Machine:
    """In place of the TLS object: counts its records, and after `take` writes them itself."""

    def __init__(self, honest: Any, out: Any) -> None:
        self._honest, self._out = honest, out
        self._taken = False
        self._number = 0
        self.size, self.padding = MOST, 0  # of the data in each record, and zeros beside it

    def __getattr__(self, name: str) -> Any:
        return getattr(self._honest, name)

    def write(self, data: bytes) -> None:
        if not self._taken:
            self._number += -(-len(data) // MOST)
            self._honest.write(data)
            return
        for start in range(0, len(data), self.size):
            self.record(DATA, data[start : start + self.size], padding=self.padding)

    def take(self, secret: bytes) -> None:
        self._taken = True
        self._key(secret)

    def _key(self, secret: bytes) -> None:
        self._secret = secret
        self._cipher, self._iv = AESGCM(_expand(secret, "key", 32)), _expand(secret, "iv", 12)

    def seal(self, kind: int, data: bytes, padding: int = 0) -> bytes:
        inner = data + (bytes([kind]) if kind else b"") + bytes(padding)
        header = bytes([DATA, 3, 3]) + (len(inner) + 16).to_bytes(2, "big")
        nonce = (int.from_bytes(self._iv, "big") ^ self._number).to_bytes(12, "big")
        self._number += 1
        return header + self._cipher.encrypt(nonce, inner, header)

    def record(self, kind: int, data: bytes, padding: int = 0) -> None:
        self._out.write(self.seal(kind, data, padding))

    def clear(self, data: bytes) -> None:
        self._out.write(data)

    def update_key(self, requested: bool) -> None:
        self.record(HANDSHAKE, handshake(KEY_UPDATE, bytes([requested])))
        self._key(_expand(self._secret, "traffic upd", 48))
        self._number = 0


class RecordLink(RawLink):
    """A link of which she writes the records herself, once it is told to."""

    def __init__(self, ends: Ends, kind: int, epoch: int, number: int, depth: Depth) -> None:
        self._keyed = KeyedEnds.of(ends)
        super().__init__(self._keyed, kind, epoch, number, depth)
        self._tls: Any = Machine(self._tls, self._out)

    def take(self) -> Machine:
        assert self._tls.cipher()[0] == "TLS_AES_256_GCM_SHA384"
        with os.fdopen(self._keyed.secrets) as file:
            file.seek(0)
            lines = dict(line.split(" ", 1) for line in file.read().splitlines())
        side = "CLIENT" if self.ends.controls else "SERVER"
        self._tls.take(bytes.fromhex(lines[f"{side}_TRAFFIC_SECRET_0"].split()[1]))
        machine: Machine = self._tls
        return machine
