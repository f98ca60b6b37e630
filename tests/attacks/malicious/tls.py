"""What she does inside TLS, with the right key and with wrong ones."""

from __future__ import annotations

import asyncio
import datetime
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.attacks.malicious.channels import LOST, NO_PATH, NO_TLS, carried
from tests.attacks.malicious.party import ALICE, CAROL, PEERS, Mallory, RawLink, Wire
from tests.attacks.malicious.records import (
    ALERT,
    CERTIFICATE_REQUEST,
    CHANGE_CIPHER,
    CLIENT_HELLO,
    DATA,
    FINISHED,
    HANDSHAKE,
    HEARTBEAT,
    NEW_TICKET,
    Machine,
    RecordLink,
    handshake,
)
from tests.attacks.malicious.table import PEER, STOP, Act, Behaviour, Ends, Goes, Prepare, Waits
from tests.independent.links import Ends as LinkEnds
from tests.independent.notation import CONTROL_LINK, DATA_LINK, Preface, certificate

CHANGED = Ends(PEER, "what came from mallory was changed on the way")
STRANGER = Ends(STOP, "who answered for mallory has not mallory's key")


def by_hand(mallory: Mallory) -> None:
    mallory.make_link = lambda *arguments: RecordLink(*arguments, mallory._depth)


def records(act: Callable[[Machine], None], at: tuple[int, ...] = PEERS) -> Act:
    """On each data link, records by hand from now on."""

    async def run(mallory: Mallory) -> None:
        for peer in at:
            wire = mallory.data[peer, 0]
            assert isinstance(wire.link, RecordLink)
            act(wire.link.take())
            wire.flush()

    return run


def _tiny(machine: Machine) -> None:
    machine.size = 1


def _padded(machine: Machine) -> None:
    machine.size, machine.padding = 16, 16000


def repeated(count: int, kind: int, data: bytes, padding: int = 0) -> Callable[[Machine], None]:
    def act(machine: Machine) -> None:
        for _ in range(count):
            machine.record(kind, data, padding)

    return act


def _updates(count: int, requested: bool) -> Callable[[Machine], None]:
    def act(machine: Machine) -> None:
        for _ in range(count):
            machine.update_key(requested)

    return act


def _replayed(machine: Machine) -> None:
    record = machine.seal(DATA, b"")
    machine.clear(record + record)


def _changed(machine: Machine) -> None:
    record = machine.seal(DATA, bytes(50))
    machine.clear(record[:-1] + bytes([record[-1] ^ 1]))


def clear(data: bytes, count: int = 1) -> Callable[[Machine], None]:
    return lambda machine: machine.clear(data * count)


def _half(machine: Machine) -> None:
    machine.clear(machine.seal(DATA, bytes(5000))[:3000])


async def updates_unread(mallory: Mallory) -> None:
    """Each update asks for one of the other side, which she never reads."""
    for wire in mallory.data.values():
        wire.pause()
        assert isinstance(wire.link, RecordLink)
        machine = wire.link.take()
        for _ in range(30):
            for _ in range(500):
                machine.update_key(True)
            wire.flush()
            await wire.drained()


# -- other certificates, other versions --------------------------------------------------------------------------------


@dataclass(frozen=True)
class OtherEnds(LinkEnds):
    """Ends with another TLS."""

    change: Callable[[LinkEnds, ssl.SSLContext], ssl.SSLContext] = lambda ends, context: context

    def tls(self) -> ssl.SSLContext:
        return self.change(self, super().tls())


def shaking(
    change: Callable[[LinkEnds, ssl.SSLContext], Any],
    kinds: tuple[int, ...] = (DATA_LINK,),
    at: tuple[int, ...] = PEERS,
) -> Prepare:
    """On the links of these kinds her TLS is another one."""

    def prepare(mallory: Mallory) -> None:
        def make(ends: LinkEnds, kind: int, epoch: int, number: int) -> RawLink:
            if kind not in kinds or ends.peer not in at:
                return mallory.honest_link(ends, kind, epoch, number)

            def tls(ends: LinkEnds, context: ssl.SSLContext) -> ssl.SSLContext:
                return change(ends, context) or context

            return RawLink(OtherEnds(**vars(ends), change=tls), kind, epoch, number, mallory._depth)

        mallory.make_link = make

    return prepare


def _load(context: ssl.SSLContext, key: Ed25519PrivateKey, *certificates: bytes) -> None:
    pem = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())]
    pem += [x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in certificates]
    with TemporaryDirectory() as folder:
        path = Path(folder, "chain.pem")
        path.write_bytes(b"".join(pem))
        context.load_cert_chain(path)


def _another_key(ends: LinkEnds, context: ssl.SSLContext) -> None:
    seed = os.urandom(32)
    _load(context, Ed25519PrivateKey.from_private_bytes(seed), certificate(seed))


def _issued(ends: LinkEnds) -> tuple[Ed25519PrivateKey, bytes]:
    """A certificate that her own session key has issued."""
    key, mine = Ed25519PrivateKey.generate(), x509.load_der_x509_certificate(ends.certificate)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mallory's daughter")])
    builder = x509.CertificateBuilder(mine.subject, subject, key.public_key(), 7)
    builder = builder.not_valid_before(datetime.datetime(2000, 1, 1))
    builder = builder.not_valid_after(datetime.datetime(2100, 1, 1))
    issuer = Ed25519PrivateKey.from_private_bytes(ends.session)
    return key, builder.sign(issuer, None).public_bytes(Encoding.DER)


def _below(ends: LinkEnds, context: ssl.SSLContext) -> None:
    key, leaf = _issued(ends)
    _load(context, key, leaf, ends.certificate)


def _long_chain(ends: LinkEnds, context: ssl.SSLContext) -> None:
    key = Ed25519PrivateKey.from_private_bytes(ends.session)
    _load(context, key, ends.certificate, *(_issued(ends)[1] for _ in range(60)))


def _no_certificate(ends: LinkEnds, context: ssl.SSLContext) -> ssl.SSLContext:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.load_verify_locations(cadata=ends.theirs)
    return bare


def _older(ends: LinkEnds, context: ssl.SSLContext) -> None:
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2


def _with_tickets(ends: LinkEnds, context: ssl.SSLContext) -> None:
    context.options &= ~ssl.OP_NO_TICKET
    context.num_tickets = 200


def _alpn(ends: LinkEnds, context: ssl.SSLContext) -> None:
    context.set_alpn_protocols(["x" * 250] * 20)


# -- channels that end or stop in the middle ---------------------------------------------------------------------------


async def shuts_down(mallory: Mallory, preface: Preface, sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_WR)
    await asyncio.Event().wait()


def partly(size: int, then: Callable[[socket.socket], None] = lambda sock: None) -> Any:
    """The first bytes of a proper handshake, and then nothing more, or what `then` does."""

    async def first(mallory: Mallory, preface: Preface, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        link = mallory.honest_link(mallory.ends(preface.sender), preface.kind, preface.epoch, preface.number)
        if not link.ends.controls:  # a server answers
            link.feed(await loop.sock_recv(sock, 1 << 16))
        await loop.sock_sendall(sock, link.output()[:size])
        then(sock)
        await asyncio.Event().wait()

    return first


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def dripping(mallory: Mallory) -> None:
    """All that she says on every channel goes out a few bytes at a time."""
    honest = mallory.make_wire

    def make(link: RawLink, sock: socket.socket) -> Wire:
        wire = honest(link, sock)
        wire.drip = 40
        return wire

    mallory.make_wire = make


TICKET = bytes(8) + b"\1\0\0\1x\0\0"
HELLO = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\x02" + b"\1\0" + b"\0\0"

TABLE = [
    *(
        Behaviour(f"TLS: {name}", "TLS", ends, records(act, at), by_hand)
        for name, ends, act, at in (
            ("every byte in a record of its own", Goes(), _tiny, PEERS),
            ("16 000 bytes of padding in each record", Goes(), _padded, PEERS),
            ("20 empty records", Goes(), repeated(20, DATA, b""), PEERS),
            ("100 000 empty records", Ends(PEER, "mallory"), repeated(100_000, DATA, b""), PEERS),
            ("20 key updates", Goes(), _updates(20, requested=False), PEERS),
            ("20 key updates that ask for one", Goes(), _updates(20, requested=True), PEERS),
            ("5 000 key updates", Goes(), _updates(5_000, requested=False), PEERS),
            ("1 000 tickets to a client", Goes(), repeated(1000, HANDSHAKE, handshake(NEW_TICKET, TICKET)), (ALICE,)),
            ("a ticket to a server", CHANGED, repeated(1, HANDSHAKE, handshake(NEW_TICKET, TICKET)), (CAROL,)),
            (
                "a ticket of 200 kB",
                CHANGED,
                repeated(1, HANDSHAKE, handshake(NEW_TICKET, bytes(200_000))[:16000]),
                PEERS,
            ),
            ("a second ClientHello", CHANGED, repeated(1, HANDSHAKE, handshake(CLIENT_HELLO, HELLO)), PEERS),
            ("a second Finished", CHANGED, repeated(1, HANDSHAKE, handshake(FINISHED, bytes(48))), PEERS),
            (
                "a request for a certificate",
                CHANGED,
                repeated(1, HANDSHAKE, handshake(CERTIFICATE_REQUEST, b"\0\0\0")),
                PEERS,
            ),
            ("an unknown handshake message", CHANGED, repeated(1, HANDSHAKE, handshake(99, b"abc")), PEERS),
            (
                "a handshake message that announces 16 MB",
                CHANGED,
                repeated(9, HANDSHAKE, b"\x18\xff\xff\xff" + bytes(9000)),
                PEERS,
            ),
            ("a content type that there is not", CHANGED, repeated(1, 99, b"abc"), PEERS),
            ("a record of padding alone", CHANGED, repeated(1, 0, b"", 100), PEERS),
            ("a heartbeat that claims 64 KiB", CHANGED, repeated(1, HEARTBEAT, b"\1\xff\xff"), PEERS),
            ("its close", LOST, repeated(1, ALERT, b"\1\0"), PEERS),
            ("a warning that it is cancelled", Ends(PEER, "mallory"), repeated(1000, ALERT, b"\1\x5a"), PEERS),
            ("a fatal alert", CHANGED, repeated(1, ALERT, b"\2\x50"), PEERS),
            ("a fatal alert about the certificate", Ends(STOP, "mallory"), repeated(1, ALERT, b"\2\x2a"), PEERS),
            ("an alert of ten bytes", CHANGED, repeated(1, ALERT, bytes(10)), PEERS),
            ("a record above the limit", CHANGED, repeated(1, DATA, bytes((1 << 14) + 300)), PEERS),
            ("a record that comes twice", CHANGED, _replayed, PEERS),
            ("a changed record", CHANGED, _changed, PEERS),
            ("a record in clear", CHANGED, clear(b"\x17\3\3\0\5hello"), PEERS),
            ("noise between records", CHANGED, clear(os.urandom(100)), PEERS),
            ("a record that never ends", Waits(), _half, PEERS),
            (
                "1 000 changes of cipher in clear",
                Ends(PEER, "mallory"),
                clear(bytes([CHANGE_CIPHER, 3, 3, 0, 1, 1]), 1000),
                PEERS,
            ),
        )
    ),
    Behaviour("TLS: 15 000 key updates whose answers she does not read", "TLS", Waits(), updates_unread, by_hand),
    *(
        Behaviour(f"TLS: {name}", "TLS", ends, prepare=prepare)
        for name, ends, prepare in (
            ("another key", STRANGER, shaking(_another_key)),
            ("another key towards alice alone", STRANGER, shaking(_another_key, at=(ALICE,))),
            ("another key on control channels", STRANGER, shaking(_another_key, (CONTROL_LINK,))),
            ("a certificate below her own", STRANGER, shaking(_below)),
            ("sixty certificates beside her own", Goes(), shaking(_long_chain)),
            ("no certificate", Ends(PEER, "mallory"), shaking(_no_certificate, at=(CAROL,))),
            ("version 1.2", NO_TLS, shaking(_older)),
            ("200 tickets", Goes(), shaking(_with_tickets, (DATA_LINK, CONTROL_LINK), (ALICE,))),
            ("5 kB of protocol names", Goes(), shaking(_alpn, (DATA_LINK, CONTROL_LINK))),
            ("a few bytes at a time, from the first one on", Goes(), dripping),
            ("half closed before it", LOST, carried(shuts_down)),
            ("half closed before it, on control channels", NO_PATH, carried(shuts_down, kind=CONTROL_LINK)),
            ("stops in the middle of the handshake", Waits(), carried(partly(100))),
            ("stops in the middle of it on control channels", NO_PATH, carried(partly(100), kind=CONTROL_LINK)),
            ("is reset in the middle of the handshake", LOST, carried(partly(200, _reset))),
        )
    ),
]
