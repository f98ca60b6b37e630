"""Mallory: a party that was invited, is verified by all, and cheats. A real process of her own.

    python mallory.py KIND COMMAND [ARGUMENTS]...

runs the comity command at the end of COMMAND (`python -P -m comity join ...`) in this process, with one thing changed
as KIND says; where the change is in her program's process, that one is started as

    python mallory.py KIND child DESCRIPTOR
"""

from __future__ import annotations

import asyncio
import os
import pickle
import random
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from comity.core import frames, messages, preface
from comity.core.commands import Post
from comity.core.identity import Secrets
from comity.core.limits import MAX_MESSAGE
from comity.core.messages import Envelope
from comity.core.sealing import seal
from comity.links import link as links
from comity.links.stream import Stream
from comity.mpyc_bridge import child, codec, control, process
from comity.mpyc_bridge.exchange import Exchange, MessageTransport
from comity.node import channels, meeting, pairs, run

MARK = "MALLORY_MARK"
"""The environment variable that names the file which her pickle would make."""

FLOOD = 200
"""Of what there should be one."""

Lie = Callable[[Envelope, Secrets], Iterable[bytes]]


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


def hostile_pickle(path: str) -> bytes:
    return pickle.dumps(Touch(path))


# -- in the ceremony ---------------------------------------------------------------------------------------------------


def remade(envelope: Envelope, secrets: Secrets, **fields: object) -> bytes:
    """The same message with other fields, properly signed."""
    return messages.make(envelope.type, secrets.identity, {**envelope.body, **fields}).raw


def says(**lies: Lie) -> Callable[[], None]:
    """She posts other messages in place of her own ones of a type."""

    def change() -> None:
        obey = meeting.Meeting._obey

        async def lie(self: meeting.Meeting, commands: list[Any]) -> None:
            told: list[Any] = []
            for command in commands:
                envelope = messages.parse(command.body) if isinstance(command, Post) else None
                if envelope is None or envelope.type not in lies:
                    told.append(command)
                else:
                    told += [Post(raw) for raw in lies[envelope.type](envelope, self.ceremony._secrets)]
            await obey(self, told)

        meeting.Meeting._obey = lie  # type: ignore[method-assign]

    return change


def _reveal_in_front(hello: Envelope, secrets: Secrets) -> list[bytes]:
    body = {"roster": "00" * 32, "nonce": secrets.nonce.hex()}
    return [hello.raw, messages.make("reveal", secrets.identity, body).raw]


def _roster_of_a_guest(reveal: Envelope, secrets: Secrets) -> list[bytes]:
    body = {"open": "00" * 32, "hellos": [], "manifest": {}}
    return [messages.make("roster", secrets.identity, body).raw, reveal.raw]


def _without_the_last(roster: Envelope, secrets: Secrets) -> list[bytes]:
    """Whoever hosts may not leave out who has joined and still go on with the rest."""
    return [remade(roster, secrets, hellos=roster.body["hellos"][:-1])]


def _name_that_moves_the_cursor(hello: Envelope, secrets: Secrets) -> list[bytes]:
    return [remade(hello, secrets, name="\x1b[2J\u202eecila")]


def _oversized(hello: Envelope, secrets: Secrets) -> list[bytes]:
    messages._LIMITS["hello"] = messages.MAX_BODY
    return [remade(hello, secrets, transports=["direct"], padding="x" * 20_000)]


def unsealed() -> None:
    """What she posts is sealed with a key that nobody else has."""
    meeting.seal = lambda key, nonce, body, context: seal(b"k" * 32, nonce, body, context)  # type: ignore[attr-defined]


# -- at her node -------------------------------------------------------------------------------------------------------


def claims_another_seat() -> None:
    """Her prefaces are in the third party's name."""
    honest = pairs.Pairs.preface

    def claim(self: pairs.Pairs, peer: int, kind: int, epoch: int, number: int) -> bytes:
        data = honest(self, peer, kind, epoch, number)
        said = preface.parse(data)
        assert said is not None
        other = next(i for i in range(self.session.m) if i not in (self.me, peer))
        return preface.Preface(said.tag, other, peer, kind, epoch, number, said.nonce).pack(self.prefaces[peer])

    pairs.Pairs.preface = claim  # type: ignore[method-assign]


def splices() -> None:
    """She joins the first data channel of each of the others with one another, and stands between."""
    honest = run.Run._take
    held: list[socket.socket] = []

    def take(self: run.Run, slot: channels.Slot, number: int, channel: Any) -> bool:
        if slot.kind != preface.DATA:
            return honest(self, slot, number, channel)
        held.append(channel.sock)
        if len(held) == 2:
            loop = asyncio.get_running_loop()
            self._joined = [loop.create_task(_pump(*held)), loop.create_task(_pump(*reversed(held)))]  # type: ignore
        return True

    run.Run._take = take  # type: ignore[method-assign]


async def _pump(source: socket.socket, sink: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, 65536):
        await loop.sock_sendall(sink, data)


def connected(act: Callable[[run.Run], None]) -> Callable[[], None]:
    """She does something once every link stands."""

    def change() -> None:
        honest = run.Run._linked

        def linked(self: run.Run, party: int, epoch: int) -> None:
            before = self._connected.is_set()
            honest(self, party, epoch)
            if self._connected.is_set() and not before:
                act(self)

        run.Run._linked = linked  # type: ignore[method-assign]

    return change


def _blames_another(self: run.Run) -> None:
    for number, peer in self.peers.items():
        other = next(i for i in self.peers if i != number)
        assert peer.control is not None
        peer.control.goodbye("protocol", str(other))


def _blames_nobody_that_is(self: run.Run) -> None:
    for peer in self.peers.values():
        assert peer.control is not None
        peer.control.goodbye("protocol", "9" * 200)


def _says_goodbye_without_end(self: run.Run) -> None:
    body = frames.pack_goodbye("done", "")
    for peer in self.peers.values():
        assert peer.control is not None
        stream = peer.control._stream
        machine, transport = stream._link.tls, stream._transport
        assert transport is not None
        for _ in range(100 * FLOOD):
            machine.write(stream._link._header(frames.GOODBYE, len(body)) + body)
        transport.write(machine.output())


def _floods_the_node(self: run.Run) -> None:
    for peer in self.peers.values():
        assert peer.control is not None
        for number in range(5 * FLOOD):
            peer.control.send({"number": number})


def _dials_without_end(self: run.Run) -> None:
    """For her links' next epoch, which nobody has asked for, she offers one channel after another, and says so."""
    for peer in self.peers:
        self._start(_dial(self, peer))


async def _dial(self: run.Run, peer: int) -> None:
    assert self._channels is not None
    loop = asyncio.get_running_loop()
    held = []
    for number in range(1, FLOOD + 1):
        channel = await self._channels._reach.dial(peer)
        mine = self.pairs.preface(peer, preface.DATA, 1, number)
        await loop.sock_sendall(channel.sock, mine)
        with suppress(ConnectionError):
            answer = await loop.sock_recv(channel.sock, preface.SIZE)
            await loop.sock_sendall(channel.sock, preface.proof(mine, answer, self.pairs.prefaces[peer]))
            held.append(channel)
    self.person.line("Dialled", event="dialled", channels=len(held))
    await asyncio.Event().wait()


# -- in her program's process ------------------------------------------------------------------------------------------


def sending(change: Callable[[Any], None]) -> Callable[[], None]:
    """The change is to the class whose `send` MPyC calls."""

    def later() -> None:
        honest = Exchange._sending

        def made(self: Exchange, base: type[Any]) -> type[Any]:
            exchanger = honest(self, base)
            change(exchanger)
            return exchanger

        Exchange._sending = made  # type: ignore[method-assign]

    return later


def pickles() -> None:
    """MPyC's values go out as they do without comity: pickled, and one of them is hostile."""
    honest = codec.install

    def install(module: Any, *arguments: Any) -> None:
        honest(module, *arguments)
        module.pickle.dumps = lambda value: hostile_pickle(os.environ[MARK])
        module.pickle.loads = lambda data: 0  # she does not fall for it herself

    codec.install = install  # type: ignore[assignment]


def _announces_too_much(exchanger: Any) -> None:
    exchanger.send = lambda self, counter, payload: self.transport.write(struct.pack("<qI", counter, MAX_MESSAGE + 1))


def _sends_twice(exchanger: Any) -> None:
    honest = exchanger.send

    def send(self: Any, counter: int, payload: bytes) -> None:
        honest(self, counter, payload)
        honest(self, counter, payload)
        honest(self, counter, payload)

    exchanger.send = send


def _ends_inside_a_message(exchanger: Any) -> None:
    def send(self: Any, counter: int, payload: bytes) -> None:
        self.transport.write(struct.pack("<qI", counter, 1000) + payload)
        self.transport.close()

    exchanger.send = send


def claims_another_number() -> None:
    """What MPyC takes for the number of whoever connects."""
    honest = MessageTransport.writelines

    def writelines(self: MessageTransport, pieces: Any) -> None:
        number, *keys = pieces
        honest(self, [(int.from_bytes(number, "little") + 1).to_bytes(2, "little"), *keys])

    MessageTransport.writelines = writelines  # type: ignore[method-assign]


def speaks_no_tls() -> None:
    honest = Stream.connection_made

    def connection_made(self: Stream, transport: Any) -> None:
        honest(self, _Noise(transport))  # type: ignore[arg-type]

    Stream.connection_made = connection_made  # type: ignore[method-assign]


class _Noise:
    """A transport that says something else."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        self._transport.write(random.randbytes(len(data)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def with_keys(**changes: Callable[[control.Keys], Any]) -> Callable[[], None]:
    """Her links believe in another session than the others'."""

    def change() -> None:
        honest = control.Keys.read.__func__  # type: ignore[attr-defined]

        def read(cls: type[control.Keys], fields: Any) -> control.Keys:
            keys = honest(cls, fields)
            return control.Keys(**{**vars(keys), **{name: make(keys) for name, make in changes.items()}})

        control.Keys.read = classmethod(read)  # type: ignore[assignment, method-assign]

    return change


def leaves_gaps() -> None:
    """Her frames stand a little further on than they should."""
    honest = links.Link.frame

    def frame(self: links.Link, pieces: Any, size: int) -> bytes:
        self.sent += 7 * (self.sent > 0)
        return honest(self, pieces, size)

    links.Link.frame = frame  # type: ignore[method-assign]


def takes_the_channel_and_is_silent() -> None:
    Stream.connection_made = lambda self, transport: None  # type: ignore[method-assign]
    Stream.data_received = lambda self, data: None  # type: ignore[method-assign]


OTHER = bytes(31) + b"\1"
"""A key's seed that nobody agreed on."""


def _other_certificate(_: control.Keys) -> bytes:
    from comity.links.certificate import make_certificate

    return make_certificate(OTHER)


NODE: dict[str, Callable[[], None]] = {
    "roster-of-a-guest": says(reveal=_roster_of_a_guest),
    "roster-twice": says(roster=lambda e, _: [e.raw, e.raw]),
    "roster-without-the-last": says(roster=_without_the_last),
    "reveals-early": says(hello=_reveal_in_front),
    "reveals-twice": says(reveal=lambda e, _: [e.raw, e.raw]),
    "reveals-something-else": says(reveal=lambda e, s: [remade(e, s, nonce="11" * 32)]),
    "agrees-to-something-else": says(agree=lambda e, s: [remade(e, s, transcript="11" * 32)]),
    "confirms-otherwise": says(confirm=lambda e, s: [remade(e, s, how="link", verified=[])]),
    "confirms-something-else": says(confirm=lambda e, s: [remade(e, s, transcript="11" * 32)]),
    "name-that-moves-the-cursor": says(hello=_name_that_moves_the_cursor),
    "oversized-hello": says(hello=_oversized),
    "sealed-otherwise": unsealed,
    "claims-another-seat": claims_another_seat,
    "node-is-silent": takes_the_channel_and_is_silent,
    "splices": splices,
    "blames-another": connected(_blames_another),
    "blames-nobody-that-is": connected(_blames_nobody_that_is),
    "says-goodbye-without-end": connected(_says_goodbye_without_end),
    "floods-the-node": connected(_floods_the_node),
    "dials-without-end": connected(_dials_without_end),
}

CHILD: dict[str, Callable[[], None]] = {
    "pickles": pickles,
    "announces-too-much": sending(_announces_too_much),
    "sends-twice": sending(_sends_twice),
    "ends-inside-a-message": sending(_ends_inside_a_message),
    "claims-another-number": claims_another_number,
    "speaks-no-tls": speaks_no_tls,
    "other-certificate": with_keys(seed=lambda _: OTHER, certificate=_other_certificate),
    "other-session": with_keys(transcript=lambda _: b"t" * 32),
    "leaves-gaps": leaves_gaps,
    "silent": takes_the_channel_and_is_silent,
}


def main(kind: str, arguments: list[str]) -> None:
    if arguments[0] == "child":
        CHILD[kind]()
        sock = socket.socket(fileno=int(arguments[1]))
        sock.set_inheritable(False)
        child.Child(sock).live()
    if kind in CHILD:
        process.child_command = lambda module: [sys.executable, __file__, kind, "child"]  # type: ignore[attr-defined]
    else:
        NODE[kind]()
    from comity.cli.main import main as comity

    sys.argv = arguments[arguments.index("comity") :]
    comity()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
