"""A peer of one link that makes its TLS records itself: of any size, padding and type."""

from __future__ import annotations

import ssl
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.attacks.malicious.records import ALERT, DATA, HANDSHAKE, KEY_UPDATE, NEW_TICKET, Machine, handshake
from tests.links.parties import ALICE, BOB, Rogue, link, pairing

from comity.core.frames import ACK
from comity.links.link import Link

CLOSE_NOTIFY, USER_CANCELED = b"\1\0", b"\1\x5a"
TICKET = handshake(NEW_TICKET, b"\0\0\1\0" + bytes(4) + b"\1n" + b"\0\5later" + b"\0\0")
"""What a server may offer after the handshake: lifetime, age, nonce, ticket, no extensions."""
UPDATE = handshake(KEY_UPDATE, b"\1")
"""New keys, for the other side too."""


class Records(Rogue):
    """Its handshake is OpenSSL's; from then on it says what it likes."""

    def begin(self, victim: Link) -> None:
        with TemporaryDirectory() as folder:
            secrets = Path(folder, "secrets")
            self.tls._machine.context.keylog_filename = str(secrets)  # type: ignore[misc]
            self.meet(victim)
            lines = dict(line.split(" ", 1) for line in secrets.read_text().splitlines())
        assert self.tls._machine.cipher()[0] == "TLS_AES_256_GCM_SHA384"  # type: ignore[index]
        self._out = ssl.MemoryBIO()
        self._records = Machine(self.tls._machine, self._out)
        side = "CLIENT" if self.pairing.client else "SERVER"
        self._records.take(bytes.fromhex(lines[f"{side}_TRAFFIC_SECRET_0"].split()[1]))

    def record(self, content: bytes, kind: int = DATA, padding: int = 0) -> bytes:
        return self._records.seal(kind, content, padding)

    def key_update(self, *, both: bool = False) -> bytes:
        self._records.update_key(both)
        return self._out.read()

    def hear(self, data: bytes | bytearray) -> None:
        """What the victim sends must be right TLS."""
        self.tls.feed(data)
        self.heard += b"".join(self.tls.read())


def records_and_victim(rogue: int = ALICE, *, opened: bool = True) -> tuple[Records, Link]:
    """After the handshake; `opened`: and after the hellos, so that the link is open."""
    bad, good = Records(pairing(rogue, ALICE + BOB - rogue)), link(ALICE + BOB - rogue, rogue)
    bad.begin(good)
    if opened:
        good.receive(bad.record(bad.hello()) + bad.record(bad.frame(ACK)))
        bad.hear(good.tls.output())
        assert good.open and not good.over
    return bad, good


__all__ = ["ALERT", "CLOSE_NOTIFY", "HANDSHAKE", "TICKET", "UPDATE", "USER_CANCELED", "Records", "records_and_victim"]
