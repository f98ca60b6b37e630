"""What arrives on a channel: prefaces, hellos, frames, the nodes' messages, MPyC's messages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

from comity.core import frames, preface
from comity.core.encoding import Malformed, encode
from comity.core.frames import DATA, HEADER_SIZE, HELLO_SIZE, FrameReader, Hello, Piece, pack_header
from comity.core.identity import public_key
from comity.core.limits import MAX_GOODBYE, MAX_NODE_MESSAGE
from comity.errors import ComityError, PeerError, VerificationError
from comity.links import control as control_module
from comity.links import link as link_module
from comity.links.certificate import make_certificate
from comity.links.pairing import Pairing
from comity.mpyc_bridge.exchange import Exchange
from fuzzing.target import cut, target, vectors

KEY = bytes(32)


def _prefaces() -> Iterator[bytes]:
    yield from (bytes.fromhex(v["preface"]) for v in vectors("preface")["accepted"])
    yield from (bytes.fromhex(v["preface"]) for v in vectors("preface")["refused"])
    yield preface.Preface(bytes(16), 1, 2, preface.DATA, 3, 4, bytes(16)).pack(KEY)


@target(_prefaces, size=preface.SIZE + 4, share=3, fresh=25_000)
def a_preface(data: bytes) -> None:
    """core.preface.parse, authentic"""
    said = preface.parse(data)
    if said is not None:
        packed = said.pack(KEY)
        assert packed[:-16] == data[:-16]
        assert preface.authentic(data, KEY) == (packed == data)


def _hellos() -> Iterator[bytes]:
    yield bytes.fromhex(vectors("frames")["hello"]["bytes"])
    yield from (bytes.fromhex(v["bytes"]) for v in vectors("frames")["refused_hellos"])


@target(_hellos, size=HELLO_SIZE, share=2, fresh=20_000)
def link_hello(data: bytes) -> None:
    """core.frames.parse_hello"""
    data = data.ljust(HELLO_SIZE, b"\0")  # links collect exactly as many
    try:
        said = frames.parse_hello(data)
    except Malformed:
        return
    assert said.pack() == data


def _frames() -> Iterator[bytes]:
    several = [bytes.fromhex(v["frame"]) for v in vectors("frames")["frames"]]
    several = [frame[:1] + bytes(4) + frame[5:] for frame in several]  # of epoch 0
    yield from (b"\0" + frame for frame in several)
    yield b"\3\1\x1e\x05" + b"".join(several)
    yield b"\2\x40\0" + pack_header(DATA, 0, 0, 0, 0, 100) + bytes(100)
    yield from (b"\0" + bytes.fromhex(v["frame"]) for v in vectors("frames")["refused"])


@target(_frames, size=256, share=4, fresh=4000)
def some_frames(data: bytes) -> None:
    """core.frames.FrameReader: the same pieces whatever the cuts"""
    at = 1 + data[0] % 8 if data else 0
    places, stream = data[1:at], data[at:]
    whole = _read([stream])
    pieces = _read(cut(stream, places))
    assert whole.error == pieces.error
    if not whole.error:
        assert (_joined(whole.pieces), whole.held, whole.left) == (_joined(pieces.pieces), pieces.held, pieces.left)
        if not whole.left:
            again = b"".join(
                pack_header(kind, 0, offset, told, depth, len(body)) + body
                for kind, offset, told, depth, body in whole.pieces
            )
            assert again + whole.held == stream


class Cut(NamedTuple):
    """What a reader makes of what arrives."""

    pieces: list[Piece]
    held: bytes
    left: int  # bytes that a data frame still owes
    error: str


def _read(parts: list[bytes]) -> Cut:
    reader, pieces = FrameReader(0), list[Piece]()
    try:
        for part in parts:
            pieces += reader.feed(part)
            assert len(reader._held) < HEADER_SIZE + MAX_GOODBYE
    except Malformed as exc:
        return Cut([], b"", 0, exc.message)
    assert all(body or kind != DATA for kind, _, _, _, body in pieces)
    return Cut(pieces, reader._held, reader._left, "")


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Pieces of data that go on with one another as one."""
    joined = list[Piece]()
    for piece in pieces:
        kind, offset, told, depth, body = piece
        if joined and kind == DATA == joined[-1][0]:
            _, start, *same, before = joined[-1]
            if start + len(before) == offset and same == [told, depth]:
                joined[-1] = (DATA, start, told, depth, before + body)
                continue
        joined.append(piece)
    return joined


def _goodbyes() -> Iterator[bytes]:
    yield bytes.fromhex(vectors("frames")["goodbye"]["body"])
    yield frames.pack_goodbye("done", "")
    yield frames.pack_goodbye("protocol", 'quote " and backslash \\')
    yield b'{"detail":"\\u001b","reason":"done"}'
    yield b'{"reason":"done","detail":""}'


@target(_goodbyes, size=900, share=2, fresh=10_000)
def a_goodbye(data: bytes) -> None:
    """core.frames.parse_goodbye"""
    try:
        reason, detail = frames.parse_goodbye(data)
    except Malformed:
        return
    assert frames.pack_goodbye(reason, detail) == data
    assert detail.isprintable() and reason in frames.GOODBYE_REASONS


class Plain:
    """A TLS machine that has done its handshake and keeps nothing secret."""

    def __init__(self, pairing: Pairing) -> None:
        self.verified = self.between = True
        self.broken = False
        self._read: list[bytes] = []
        self.written: list[bytes] = []
        self.feed = self._read.append
        self.write = self.written.append

    def handshake(self) -> bool:
        return True

    def read(self) -> list[bytes]:
        chunks, self._read[:] = self._read[:], []
        return chunks

    def take(self, size: int) -> bytes:
        """As for a record with nothing around it."""
        chunk, *self._read[:] = self._read
        return chunk

    def waiting(self) -> int:
        return sum(map(len, self._read))

    def output(self) -> bytes:
        return b""


def _pairing(me: int, kind: int) -> Pairing:
    seeds = (bytes(32), b"\1" * 32)
    peer = 1 - me
    certificate, theirs = make_certificate(seeds[me]), make_certificate(seeds[peer])
    return Pairing(
        bytes(32), me, peer, "bob", kind, 0, bytes(16), seeds[me], certificate, theirs, public_key(seeds[peer])
    )


PAIRINGS = tuple(_pairing(me, preface.DATA) for me in (0, 1))
GREETINGS = tuple(Hello(bytes(32), 1 - me, me, preface.DATA, 0, b"\7" * 16, 0, 0).pack() for me in (0, 1))


def _links() -> Iterator[bytes]:
    data = pack_header(DATA, 0, 0, 0, 0, 5) + b"hello"
    more = pack_header(DATA, 0, 3, 0, 9, 4) + b"lo!!"
    fin = pack_header(frames.FIN, 0, 7, 3, 9, 0)
    for role in range(2):
        for first in (4, 0):  # a proper hello, or one of the fuzzer's
            yield bytes([role + first, 0]) + (b"" if first else GREETINGS[role]) + data + more + fin
    yield b"\6\x14\x02\x01" + data + more
    goodbye = frames.pack_goodbye("error", "9")
    yield b"\4\0" + data + pack_header(frames.GOODBYE, 0, 5, 3, 9, len(goodbye)) + goodbye
    yield from (b"\4\0" + pack_header(frames.ACK, 0, 0, told, 0, 0) for told in (3, 4))


@target(_links, size=256, share=3, fresh=1000)
def a_link(data: bytes) -> None:
    """links.link.Link behind its TLS: hello, frames, acknowledgements; the same whatever the cuts"""
    if len(data) < 2:
        return
    role, proper, at = data[0] & 1, data[0] & 4, 2 + data[1] % 8
    stream = (GREETINGS[role] if proper else b"") + data[at:]
    whole, pieces = _link(role, [stream]), _link(role, cut(stream, data[2:at]))
    if whole.over:  # what came in one piece with the end need not be looked at before it
        assert pieces.over and pieces.delivered.startswith(whole.delivered)
    else:
        assert whole == pieces


class Seen(NamedTuple):
    """What a link makes of what arrives."""

    delivered: bytes
    over: bool
    peer_finished: bool
    acknowledged: int
    complete: bool


def _link(role: int, parts: list[bytes]) -> Seen:
    made, link_module.Tls = link_module.Tls, Plain  # type: ignore[assignment,attr-defined]
    try:
        link = link_module.Link(PAIRINGS[role], 0, link_module.Depth())
    finally:
        link_module.Tls = made  # type: ignore[attr-defined]
    link.start()
    link.frame([b"abc"], 3)
    delivered, before = b"", 0
    for part in parts:
        delivered += b"".join(link.receive(part))
        assert link.acknowledged <= link.sent and link.received >= before
        before = link.received
    assert len(delivered) == link.received
    assert not link.over or isinstance(link.verdict, PeerError | VerificationError), repr(link.verdict)
    assert link.open or not delivered
    return Seen(delivered, link.over, link.peer_finished, link.acknowledged, link.complete)


class Recorder:
    """Stands for the stream of a control link."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.written, self.said, self.round_trip = list[bytes](), "", 0.0
        self.write = self.written.append

    def goodbye(self, reason: str, detail: str) -> None:
        self.said = reason


def _control() -> Iterator[bytes]:
    values: tuple[Any, ...] = ({"ping": 3}, {"pong": 0}, {"pong": 1}, {"message": {"n": 1, "text": "ü"}})
    yield from (b"\0" + encode(value) for value in (*values, {"message": []}, {"a": 1}))
    yield b"\3\4\1\x10" + b"\n".join(map(encode, values))
    yield from (b"\0!\0\x02{}\xff\xff", b'\0{"message": {}}', b"\0nothing")


@target(_control, size=256, fresh=1000)
def control_link(data: bytes) -> None:
    """links.control.ControlLink: messages between nodes; the same whatever the cuts"""
    at = 1 + data[0] % 8 if data else 0
    stream = b"".join(
        line[1:] if line[:1] == b"!" else len(line).to_bytes(2, "big") + line for line in data[at:].split(b"\n")
    )
    assert _controlled([stream]) == _controlled(cut(stream, data[1:at]))


def _controlled(parts: list[bytes]) -> tuple[object, ...]:
    made, control_module.Stream = control_module.Stream, Recorder  # type: ignore[assignment,attr-defined]
    try:
        link = control_module.ControlLink(PAIRINGS[0], 0, None)
    finally:
        control_module.Stream = made  # type: ignore[attr-defined]
    stream: Any = link._stream
    for part in parts:
        if stream.said:
            break  # the stream passes nothing on after a goodbye
        link._received(part)
        assert len(link._buffer) <= control_module.PREFIX + MAX_NODE_MESSAGE
    assert (stream.said == "protocol") == (link._error is not None)
    assert link._error is None or isinstance(link._error, PeerError)
    inbox = [link._inbox.get_nowait() for _ in range(link._inbox.qsize())]
    if link._error is None:
        assert all(encode({"message": message}) in b"".join(parts) for message in inbox)
    return inbox, str(link._error), stream.written


class Exchanger:
    """As much of MPyC's exchanger as an exchange uses; `data_received` gets no more than a greeting."""

    def __init__(self, peer: int | None, waited: dict[int, Any]) -> None:
        self.peer_pid, self.buffers = peer, waited
        self.runtime = SimpleNamespace(options=SimpleNamespace(no_prss=False), parties=(0, 1, 2), threshold=1, pid=2)

    def connection_made(self, transport: asyncio.Transport) -> None:
        pass

    def data_received(self, data: bytes) -> None:
        assert len(data) == 18
        self.peer_pid = int.from_bytes(data[:2], "little")


class Slot:
    """A future that needs no loop."""

    def __init__(self) -> None:
        self.value: bytes | None = None

    def done(self) -> bool:
        return self.value is not None

    def set_result(self, value: bytes) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slot) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]


class Nowhere:
    def write(self, data: bytes, /) -> None:
        pass

    def finish(self) -> None:
        pass


def _message(counter: int, payload: bytes) -> bytes:
    return counter.to_bytes(8, "little", signed=True) + len(payload).to_bytes(4, "little") + payload


def _exchanged() -> Iterator[bytes]:
    several = _message(1, b"one") + _message(-5, b"") + _message(0, b"z" * 30)
    yield b"\1\0" + several
    yield b"\0\0" + b"\1\0" + b"k" * 16 + several
    yield b"\0\3\1\x10\x0c" + b"\1\0" + b"k" * 16 + several
    yield b"\1\0" + _message(1, b"") * 2
    yield b"\1\0" + _message(1, b"")[:8] + b"\0\0\0\x40"
    yield b"\1\0" + _message(1, b"")[:8] + b"\1\0\0\x40"
    yield b"\0\0\2\0"


@target(_exchanged, size=256, share=3, fresh=2000)
def an_exchange(data: bytes) -> None:
    """mpyc_bridge.exchange.Exchange.feed: MPyC's messages; the same whatever the cuts"""
    if len(data) < 2:
        return
    greeted, at = data[0] & 1, 2 + data[1] % 8
    stream = data[at:]
    faults, buffers, received, rest = _feed(greeted, [stream])
    assert (faults, buffers, received, rest) == _feed(greeted, cut(stream, data[2:at]))
    if not faults and (greeted or len(stream) >= 18):
        again = 0 if greeted else 18
        again += received * 12 + sum(len(b.value or b"" if isinstance(b, Slot) else b) for b in buffers)
        assert again + len(rest) == len(stream)


def _feed(greeted: int, parts: list[bytes]) -> tuple[list[str], list[Any], int, bytes]:
    faults = list[ComityError]()
    exchange = Exchange(1, "bob", faults.append)
    slots = (Slot(), Slot())
    exchanger = Exchanger(1 if greeted else None, dict(enumerate(slots)))
    exchange.attach(exchanger, Nowhere())
    for part in parts:
        exchange.feed(part)
        if faults:
            break  # the process ends
    assert all(isinstance(fault, PeerError) for fault in faults), repr(faults)
    buffers = [] if faults else [*slots, *(v for v in exchanger.buffers.values() if not isinstance(v, Slot))]
    received = 0 if faults else exchange.messages_received
    return [str(fault) for fault in faults], buffers, received, b"" if faults else bytes(exchange._rest)
