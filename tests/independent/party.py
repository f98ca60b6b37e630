"""One party, written from docs/protocol.md alone: `join LINK PROGRAM ...` or `host PROGRAM ...`, behind options.

Says on stderr what happens, one JSON object a line, and takes the answer about the words from --answers FD.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.independent.ceremony import LEAVES, Ceremony
from tests.independent.direct import Direct
from tests.independent.links import Depth, Ends, Event, Slot, Stream
from tests.independent.notation import (
    CONTROL_LINK,
    DATA_LINK,
    Fault,
    Invitation,
    Keys,
    Malformed,
    Preface,
    decode,
    encode,
    fields,
    fingerprint,
    integer,
    read_invitation,
    seal,
    unseal,
)
from tests.independent.program import ROOT
from tests.independent.room import Room
from tests.independent.session import Session, check_words, own_word

STEP, COMPARE, JOIN = 60, 900, 3600  # seconds given to the others
WORD = 1.5  # seconds for a word on the cause of a loss
BEAT, SILENCE = 2, 15
LATER = 0.4  # the higher number dials later
FIRST, AGAIN = 0.05, 2.5  # pauses between dialling
GIVE_UP = 60
LAST = 1  # for the last words to arrive
MAX_MESSAGE = 33 << 10


class Done(Fault):
    """No fault: the program has ended well."""

    code, told = 0, "done"

    def __init__(self) -> None:
        super().__init__("done")


def say(event: str, **what: Any) -> None:
    print(json.dumps({"event": event, **what}), file=sys.stderr, flush=True)


class Control:
    """Section 13: what is said on the control link to one peer."""

    def __init__(self) -> None:
        self._in = b""
        self._asked = self._answered = 0
        self.heard = time.monotonic()

    def take(self, data: bytes) -> list[bytes]:
        """What to answer."""
        self.heard = time.monotonic()
        self._in += data
        answers = []
        while len(self._in) >= 2:
            size = int.from_bytes(self._in[:2], "big")
            if size > MAX_MESSAGE:
                raise Malformed("a message above the limit")
            if len(self._in) < 2 + size:
                break
            message, self._in = decode(self._in[2 : 2 + size]), self._in[2 + size :]
            if isinstance(message, dict) and message.keys() == {"ping"}:
                number = fields(message, {"ping": integer(1, 2**53 - 1)})["ping"]
                answers.append(self.pack({"pong": number}))
            else:
                number = fields(message, {"pong": integer(1, self._asked)})["pong"]
                self._answered = max(self._answered, number)
        return answers

    def ping(self) -> bytes:
        if self._answered == self._asked:
            self._asked += 1
        return self.pack({"ping": self._asked})

    @staticmethod
    def pack(message: dict[str, int]) -> bytes:
        text = encode(message)
        return len(text).to_bytes(2, "big") + text


class Party:
    """The node: everything but the program and its data links, which are in a process of their own."""

    def __init__(self, ceremony: Ceremony, program: Path, arguments: list[str], answers: int) -> None:
        self._ceremony, self._program, self._arguments, self._answers = ceremony, program, arguments, answers
        self._invitation = ceremony.invitation
        self._room = Room(self._invitation, self._invitation.room)
        self._signals = Room(self._invitation, self._invitation.signals)
        self._cause: asyncio.Future[Fault] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []
        self._slots: dict[int, Slot] = {}  # control links, by peer
        self._said: dict[int, Control] = {}
        self._heard: dict[int, str] = {}  # the reasons of goodbyes, by peer
        self._files: dict[str, str] = {}  # of the program: path and SHA-256
        self._child: asyncio.subprocess.Process | None = None
        self._pipe: socket.socket | None = None
        self._early: list[tuple[Preface, socket.socket]] = []
        self._standing: set[tuple[int, int]] = set()  # data links, by peer and epoch
        self._held: set[tuple[int, int]] = set()  # those that this party controls and has a channel for
        self._linked = asyncio.Event()  # every control link and every data link of epoch 0 stands
        self._arrived = 0  # the program's next epoch

    async def run(self) -> int:
        try:
            self._start(self._live())
            fault = await self._cause
            if fault.code:
                say("error", message=str(fault), exit=fault.code)
                await self._tell(fault)
            return fault.code
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._child is not None and self._child.returncode is None:
                self._child.kill()
                await self._child.wait()

    def _start(self, coroutine: Any) -> asyncio.Task[None]:
        async def watched() -> None:
            try:
                await coroutine
            except Fault as fault:
                self._blame(fault)
            except Exception as error:
                traceback.print_exc()
                self._blame(Fault(f"a bug: {error!r}", 1, "error"))

        self._tasks.append(asyncio.create_task(watched()))
        return self._tasks[-1]

    def _blame(self, fault: Fault, wait: float = 0) -> None:
        """The first cause counts; a symptom has to wait for one."""

        def settle() -> None:
            if not self._cause.done():
                self._cause.set_result(fault)

        asyncio.get_running_loop().call_later(wait, settle) if wait else settle()

    async def _tell(self, fault: Fault) -> None:
        """By goodbye on each link that stands, and by LEAVE until all do."""
        detail = "" if fault.culprit is None else str(fault.culprit)
        self._send_child(told=fault.told, detail=detail)
        for slot in self._slots.values():
            if slot.stands.done() and fault.told:
                slot.stands.result().goodbye(fault.told, detail)
        if not self._linked.is_set() and fault.told in LEAVES:
            self._ceremony.leave(fault.told)
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await self._post()
                    await self._room.posted()
        await self._finish()

    async def _finish(self) -> None:
        """What was said on control links arrives: a channel that is closed with unread bytes could lose it."""
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(LAST):
                streams = [slot.stands.result() for slot in self._slots.values() if slot.stands.done()]
                for stream in streams:
                    await stream.end()
                for stream in streams:
                    await stream.closed.wait()

    # From the invitation to the session

    async def _live(self) -> None:
        rooms = [self._start(self._room.run())]
        session = await self._meet()
        say("agreed", names=[session.name(i) for i in range(len(session.others) + 1)])
        self._start(self._watch_room())
        rooms.append(self._start(self._signals.run()))
        await self._connect(session)
        self._start(self._forget_rooms(rooms))
        await self._compute(session)

    async def _forget_rooms(self, rooms: list[asyncio.Task[None]]) -> None:
        """From then on only goodbyes count, and the rendezvous is not needed any more."""
        await self._linked.wait()
        say("connected")
        say("running")
        for task in rooms:
            task.cancel()

    async def _post(self) -> None:
        out, self._ceremony.out = self._ceremony.out, []
        for message in out:
            await self._room.post(seal(self._invitation.key, message, b"ceremony"))

    async def _meet(self) -> Session:
        ceremony = self._ceremony
        if ceremony.hosting:
            ceremony.program = await self._examine(ceremony.m)
            ceremony.open(ceremony.transports)
            await self._post()
            say("invite", link=self._invitation.link)
        times = {"GATHERING": JOIN, "COMPARING": COMPARE}
        try:
            async with asyncio.timeout(STEP) as limit:
                async for body in self._room:
                    before = ceremony.state
                    ceremony.take(unseal(self._invitation.key, body, b"ceremony"))
                    if ceremony.state == "CHOOSING":
                        assert ceremony.opening is not None
                        ceremony.choose(await self._examine(ceremony.opening.body["m"]))
                    await self._post()
                    if ceremony.state == "COMPARING" != before:
                        self._start(self._compare())
                    if ceremony.state != before:
                        seconds = times.get(ceremony.state, STEP)
                        limit.reschedule(asyncio.get_running_loop().time() + seconds)
                    if ceremony.state == "DONE":
                        break
        except TimeoutError as error:
            raise Fault("the others take too long", told="error") from error
        assert ceremony.session is not None
        return ceremony.session

    async def _examine(self, m: int) -> dict[str, Any]:
        command = (sys.executable, "-m", "tests.independent.program", "examine", str(self._program), str(m))
        process = await asyncio.create_subprocess_exec(
            *command, *self._arguments, cwd=ROOT, env=_environment(), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise Fault("the program cannot be examined", 2, "error")
        examined = json.loads(output.splitlines()[-1])
        self._files = examined["files"]
        program: dict[str, Any] = examined["program"]
        return program

    async def _compare(self) -> None:
        session = self._ceremony.session
        assert session is not None
        people = [session.name(i) for i in session.others]
        words, own = check_words(session.transcript), own_word(session.transcript, session.me)
        say("check", words=words, people=people, own=own)
        reader = asyncio.StreamReader()
        pipe = os.fdopen(self._answers, "rb")
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        answer = (await reader.readline()).strip()
        if answer == b"n":
            raise Fault("the words differ", 3, "words")
        if answer != b"y":
            raise Fault("no answer", 2, "error")
        self._ceremony.confirm()
        await self._post()

    async def _watch_room(self) -> None:
        """Until every link stands, a LEAVE still ends the session."""
        async for body in self._room:
            self._ceremony.take(unseal(self._invitation.key, body, b"ceremony"))

    # From the session to links

    async def _connect(self, session: Session) -> None:
        incarnation, depth = os.urandom(16), Depth()
        for peer in session.others:
            ends = self._ends(session, peer, incarnation)
            self._slots[peer] = Slot(ends, CONTROL_LINK, 0, depth, self._take, self._blame)
            self._said[peer] = Control()
        self._direct = Direct(session, self._channel)
        self._start(self._read_signals(session))
        self._start(self._direct.listen())
        for peer in session.others:
            await self._signals.post(session.seal_signal(peer, "direct", 1, self._direct.offer))
            self._start(self._dial(peer, CONTROL_LINK, 0))
        await asyncio.wait([slot.stands for slot in self._slots.values()], timeout=GIVE_UP)
        for peer, slot in self._slots.items():
            if not slot.stands.done():
                raise Fault("no path to a party", 5, "path", peer)

    @staticmethod
    def _ends(session: Session, peer: int, incarnation: bytes) -> Ends:
        certificates = session.certificate(session.me), session.certificate(peer)
        return Ends(session.transcript, session.me, peer, session.keys.session, *certificates, incarnation)

    async def _read_signals(self, session: Session) -> None:
        count, newest = dict.fromkeys(session.others, 0), dict.fromkeys(session.others, 0)
        async for body in self._signals:
            if (opened := session.open_signal(body, "direct")) is not None:
                peer, number, signal = opened
                if number <= newest[peer]:
                    continue
                newest[peer] = number
                count[peer] += 1
                if count[peer] > 2000:
                    raise Malformed("too many signals", culprit=peer)
                with suppress(Fault):  # an offer that cannot be read is passed over
                    self._direct.offered(peer, signal)

    def _stands(self, peer: int, kind: int, epoch: int) -> bool:
        return self._slots[peer].stands.done() if kind == CONTROL_LINK else (peer, epoch) in self._standing

    async def _dial(self, peer: int, kind: int, epoch: int) -> None:
        session = self._ceremony.session
        assert session is not None
        pause = FIRST
        await asyncio.sleep(0 if session.me < peer else LATER)
        while not self._stands(peer, kind, epoch):
            if self._slots[peer].wants if kind == CONTROL_LINK else (peer, epoch) not in self._held:
                await self._direct.dial(peer, kind, epoch)
            await asyncio.sleep(pause)
            pause = min(2 * pause, AGAIN)

    def _channel(self, preface: Preface, sock: socket.socket) -> None:
        if preface.kind == CONTROL_LINK:
            self._slots[preface.sender].offer(sock, preface.number)
        elif preface.epoch > max(self._arrived - 1, 0) + 1:
            sock.close()
        elif self._pipe is None:
            self._early.append((preface, sock))  # the program's process is not there yet
        else:
            if self._slots[preface.sender].ends.controls:
                self._held.add((preface.sender, preface.epoch))
            message = {"peer": preface.sender, "epoch": preface.epoch, "number": preface.number}
            socket.send_fds(self._pipe, [json.dumps(message).encode()], [sock.fileno()])
            sock.close()

    def _take(self, stream: Stream, event: Event) -> None:
        """What happens on a control link that stands."""
        peer = stream.link.ends.peer
        match event:
            case ("open",):
                self._start(self._beat(stream))
            case ("data", data):
                for answer in self._said[peer].take(data):
                    stream.link.write(answer)
            case ("goodbye", reason, detail):
                self._hear(peer, reason, detail)
            case ("lost",) if peer not in self._heard:
                self._blame(Fault("the channel to a party was lost", 4, "protocol", peer), WORD)

    async def _beat(self, stream: Stream) -> None:
        peer = stream.link.ends.peer
        while not (stream.link.ended or stream.link.heard):
            stream.link.write(self._said[peer].ping())
            stream.flush()
            await asyncio.sleep(BEAT)
            if time.monotonic() - self._said[peer].heard > SILENCE:
                self._blame(Fault("a party's machine does not answer", 4, "protocol", peer))

    def _hear(self, peer: int, reason: str, detail: str) -> None:
        self._heard[peer] = reason
        if reason != "done":
            other = reason == "protocol" and detail.isdigit()
            blamed = int(detail) if other else peer
            fault = Fault(f"party {peer} said goodbye: {reason} {detail}", 4, "protocol", blamed)
            self._blame(fault, WORD if other else 0)

    # The program

    async def _compute(self, session: Session) -> None:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = (sys.executable, "-m", "tests.independent.program", "run", str(theirs.fileno()))
        self._child = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env={**_environment(), "PYTHONHASHSEED": str(session.hash_seed)},
            pass_fds=(theirs.fileno(),),
            stdin=asyncio.subprocess.DEVNULL,
        )
        theirs.close()
        mine.setblocking(False)
        self._pipe = mine
        self._send_child(
            me=session.me,
            m=len(session.others) + 1,
            threshold=session.manifest["threshold"],
            path=str(self._program),
            files=self._files,
            arguments=self._arguments,
            transcript=session.transcript.hex(),
            session=session.keys.session.hex(),
            certificate=session.certificate(session.me).hex(),
            certificates=[member["certificate"] for member in session.manifest["members"]],
        )
        early, self._early = self._early, []
        for preface, sock in early:
            self._channel(preface, sock)
        self._start(self._hear_child(session))
        code = await self._child.wait()
        if code:
            self._blame(Fault("the program failed", 6, "error"), 0.2)
            return
        for slot in self._slots.values():
            slot.stands.result().goodbye("done")
        await self._finish()
        say("done")
        self._blame(Done())

    def _send_child(self, **message: Any) -> None:
        if self._pipe is not None:
            with suppress(OSError):
                self._pipe.send(json.dumps(message).encode())

    async def _hear_child(self, session: Session) -> None:
        assert self._pipe is not None
        while data := await asyncio.get_running_loop().sock_recv(self._pipe, 1 << 17):
            message = json.loads(data)
            match message:
                case {"epoch": epoch} if epoch == self._arrived:
                    self._arrived += 1
                    for peer in session.others:
                        self._start(self._dial(peer, DATA_LINK, epoch))
                case {"stands": [peer, epoch]}:
                    self._standing.add((peer, epoch))
                    if all((other, 0) in self._standing for other in session.others):
                        self._linked.set()
                case {"failed": [peer, epoch]}:
                    self._held.discard((peer, epoch))
                case {"heard": [peer, reason, detail]}:
                    self._hear(peer, reason, detail)
                case {"lost": peer}:
                    self._blame(Fault("the channel to a party was lost", 4, "protocol", peer), WORD)
                case {"fault": text, "code": code, "told": told, "culprit": culprit}:
                    self._blame(Fault(text, code, told, culprit))


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("MPYC_", "PYTHON"))}


async def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("join", "host"))
    parser.add_argument("--answers", type=int, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--rendezvous", default="")
    parser.add_argument("-n", type=int, default=3)
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    keys = Keys.fresh()
    if options.command == "join":
        invitation, options.rest = read_invitation(options.rest[0]), options.rest[1:]
    else:
        invitation = Invitation(os.urandom(16), fingerprint(keys.public[0]), (options.rendezvous,), b"")
    ceremony = Ceremony(invitation, keys, options.name, ["direct"], m=options.n, t=(options.n - 1) // 2)
    return await Party(ceremony, Path(options.rest[0]), options.rest[1:], options.answers).run()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
