"""TLS 1.3 with one pinned peer, as a machine over memory: bytes in, bytes out.

The context holds the expected peer's certificate and no other. A certificate that the peer issued to somebody else
passes OpenSSL's check of the chain, so the leaf itself is compared. A client believes itself connected before the
server has checked it: only the link's hello, which a server sends after its check, says that it was accepted.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from comity.core.encoding import Malformed
from comity.errors import ComityError, VerificationError
from comity.links.certificate import certified_key, pem_chain
from comity.links.pairing import Pairing

RECORD: Final = 16 * 1024
"""Bytes of data in one TLS record (RFC 8446); a larger read only allocates more."""

AROUND: Final = 22
"""Bytes of a record around its data: 5 of header, 1 of type, 16 that authenticate (RFC 8446, 5.2; without padding)."""


class Tls:
    def __init__(self, pairing: Pairing) -> None:
        self._pairing = pairing
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        machine = _context(pairing).wrap_bio(self._incoming, self._outgoing, server_side=not pairing.client)
        self._machine = machine
        self.verified = False  # the handshake is done and the certificate is the peer's
        self.broken = False  # nothing more can be said by this machine
        self.between = True  # everything that was fed has been read; `take` leaves it to its caller
        # Once per message each: methods of the machine itself, not of ours around them, nor of Python's.
        core = getattr(machine, "_sslobj", machine)
        self.feed: Callable[[bytes | memoryview], object] = self._incoming.write  # bytes from the channel
        self.write: Callable[[bytes | memoryview], object] = core.write  # encrypt; `output` then has it
        self.output: Callable[[], bytes] = self._outgoing.read  # what is to go on the channel
        self.take: Callable[[int], bytes] = core.read  # of one record, as `ssl` does it, errors and all

    def handshake(self) -> bool:
        """Go on with the handshake; True once it is done. Raises VerificationError and Malformed."""
        try:
            self._machine.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as exc:
            raise self.translate(exc) from exc
        if self._machine.getpeercert(True) != self._pairing.peer_certificate:
            raise self._stranger()
        self.verified = True
        return True

    def read(self) -> Iterator[bytes]:
        """What the bytes fed so far say, a record at a time.

        Raises, behind what was right, Malformed for changed or foreign bytes, and PeerError at the end of TLS.
        """
        read, incoming = self.take, self._incoming
        size = incoming.pending
        if not size:
            return
        if not self.between:
            size = RECORD  # the rest of a record says more than it has bytes
        self.between = False
        try:
            while size:
                # A record says less than it has bytes: asking for no more keeps small ones out of large allocations.
                most = min(RECORD, size)
                chunk = read(most)
                if not chunk:
                    raise self._pairing.lost()  # TLS's own end says no more than the channel's
                yield chunk
                # Asking once too often costs an exception, more than a small record.
                size = incoming.pending or (self._machine.pending() if len(chunk) == most else 0)
            self.between = True
        except ssl.SSLWantReadError:
            pass  # an incomplete record waits for its rest
        except ssl.SSLError as exc:
            raise self.translate(exc) from exc

    def check(self) -> None:
        """When all is read that can be: what waits for its rest must be a record, and no message of TLS's own.

        OpenSSL writes nothing while it has the beginning of one, so a peer could make writing fail. A message that fits
        a record is never sent in two. Raises Malformed.
        """
        try:
            self._machine.do_handshake()  # done long ago: it goes on with such a message, if there is one
        except ssl.SSLError as exc:
            self.broken = True
            raise Malformed(f"{self._pairing.name} began a message of TLS and did not end it") from exc

    def waiting(self) -> int:
        """How many bytes, encrypted or not, can be read now."""
        return self._incoming.pending or self._machine.pending()

    def translate(self, exc: ssl.SSLError) -> ComityError:
        """What an error of `ssl`'s says of the peer; this machine is of no more use."""
        self.broken = True
        name, reason = self._pairing.name, str(getattr(exc, "reason", None))  # it may have none
        if isinstance(exc, ssl.SSLCertVerificationError):
            return self._stranger()
        if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
            return VerificationError(f"who answered for {name} does not accept this party's certificate")
        if self.verified:
            return Malformed(f"what came from {name} was changed on the way")
        return Malformed(f"what answered for {name} does not speak this protocol's TLS")

    def _stranger(self) -> VerificationError:
        name = self._pairing.name
        return VerificationError(
            f"who answered for {name} has not {name}'s key",
            hint="somebody stands between you, or a channel led to the wrong party",
        )


def _context(pairing: Pairing) -> ssl.SSLContext:
    if certified_key(pairing.peer_certificate) != pairing.peer_key:
        raise VerificationError(f"{pairing.name}'s certificate holds another key than the session key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if pairing.client else ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the key is compared, not a name
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=pairing.peer_certificate)
    if not pairing.client:
        context.num_tickets = 0  # sessions are never resumed by TLS
    _load_chain(context, pem_chain(pairing.seed, pairing.certificate))
    return context


def _load_chain(context: ssl.SSLContext, chain: bytes) -> None:
    """Python loads a private key only by path: give it one that no disk ever sees, where the system can."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("comity")
        try:
            os.write(descriptor, chain)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
    else:
        with tempfile.TemporaryDirectory(prefix="comity-") as folder:  # readable by this user only
            path = Path(folder, "key.pem")
            path.write_bytes(chain)
            context.load_cert_chain(path)
