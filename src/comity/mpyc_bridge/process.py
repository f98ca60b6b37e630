"""The program's process, as the node holds it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import IO

from comity.core.encoding import Malformed
from comity.core.manifest import Member
from comity.errors import ComityError, UsageError
from comity.mpyc_bridge import control
from comity.mpyc_bridge.agreed import sealed
from comity.mpyc_bridge.control import (
    Closed,
    Fault,
    Given,
    Keys,
    Linked,
    Ready,
    Running,
    Stalled,
    Task,
    Totals,
    Unagreed,
    Wants,
)
from comity.mpyc_bridge.environment import child_command, child_environment, shielded
from comity.mpyc_bridge.program import FoundProgram

MODULE = "comity.mpyc_bridge.child"


@dataclass(frozen=True)
class Ended:
    """The process is gone. `code`: the program's own exit code, or that of the fault; negative: the signal."""

    code: int


Stream = int | IO[bytes] | None
Event = Ready | Wants | Linked | Running | Stalled | Unagreed | Fault | Totals | Ended


class ProgramProcess:
    """A child that runs one program. Whoever starts it awaits `end`, whatever happened."""

    def __init__(self, process: asyncio.subprocess.Process, sock: socket.socket, files: int) -> None:
        """`files`: a descriptor, which belongs to this object from now on."""
        self._process, self._sock, self._files = process, sock, files
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._outgoing: deque[tuple[bytes, int | None]] = deque()
        self._channels: dict[int, tuple[Given, socket.socket]] = {}  # our descriptors of them, by serial number
        self._serial = 0
        self._gone = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._read)
        self._watching = self._loop.create_task(self._watch())

    @classmethod
    async def start(
        cls,
        program: FoundProgram,
        files: bytes,
        *,
        number: int,
        m: int,
        threshold: int,
        seed: int,
        names: tuple[str, ...],
        verbose: bool = False,
        pickle: bool = False,
        streams: tuple[Stream, Stream, Stream] = (None, None, None),
    ) -> ProgramProcess:
        """Start it: it imports MPyC and then waits for the session.

        `files`: the agreed ones, packed; it executes these and nothing else that is local.
        `seed`: of Python's hashes, 32 bits, the same for all parties. `pickle`: without our codec, as everyone agreed.
        `streams`: its standard input, output and error; None: this process's own.
        """
        stdin, stdout, stderr = streams
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            with theirs, shielded():
                process = await asyncio.create_subprocess_exec(
                    *child_command(MODULE),
                    str(theirs.fileno()),
                    pass_fds=(theirs.fileno(),),
                    env=child_environment(seed),
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                )
        except OSError as exc:
            ours.close()
            raise UsageError(f"the program's process does not start: {exc}") from exc
        self = cls(process, ours, sealed(files))
        self._send(
            Task(
                program.kind,
                program.target,
                program.arguments,
                number,
                m,
                threshold,
                names,
                verbose,
                pickle,
                program.private,
            ),
            self._files,
        )
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    def give_session(self, transcript: bytes, seed: bytes, certificate: bytes, members: tuple[Member, ...]) -> None:
        """Everyone has confirmed: the program may start. `seed`: of this party's session key."""
        self._send(Keys.of(transcript, seed, certificate, members))

    def give_channel(self, peer: int, epoch: int, number: int, sock: socket.socket) -> None:
        """A channel for the link to `peer` in an epoch; it belongs to this object from now on.

        A descriptor stays here, so that the channel is shut when the child is gone, and not before `end`: by then the
        node has told its peers what happened.
        """
        if self._gone.is_set():
            sock.close()
            return
        self._serial += 1
        given = Given(peer, epoch, number, self._serial)
        self._channels[self._serial] = given, sock
        self._send(given, sock.fileno())

    def held(self, peer: int, epoch: int) -> int:
        """How many channels of a link were given and are not done with."""
        return sum((given.peer, given.epoch) == (peer, epoch) for given, _ in self._channels.values())

    async def events(self) -> AsyncIterator[Event]:
        """What happens, in order; the last is Ended."""
        while True:
            event = await self._events.get()
            yield event
            if isinstance(event, Ended):
                return

    async def end(self, grace: float = 2.0) -> None:
        """Have it say goodbye and leave within `grace` seconds, kill it if it does not, and shut its channels."""
        try:
            if not self._gone.is_set():
                self._signal(signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(grace):
                        await self._gone.wait()
        finally:
            if not self._gone.is_set():
                self._signal(signal.SIGKILL)
            await self._watching
            for _, channel in self._channels.values():
                with contextlib.suppress(OSError):  # it is unconnected already
                    channel.shutdown(socket.SHUT_RDWR)  # what the program forked may hold it too
                channel.close()
            self._channels.clear()

    def _signal(self, number: int) -> None:
        """Not by the methods of asyncio, which look first whether it has ended, and lose its exit code if so."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    async def _watch(self) -> None:
        """The process's end, told after everything that it said. Its own children may still hold the socket."""
        code = await self._process.wait()
        self._gone.set()
        self._read()
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        os.close(self._files)
        self._events.put_nowait(Ended(code))

    def _read(self) -> None:
        while True:
            try:
                data, _ = control.receive(self._sock)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:  # it ends; `_watch` says how
                self._loop.remove_reader(self._sock)
                return
            try:
                self._take(control.parse(data))
            except Malformed as exc:
                self._events.put_nowait(
                    Fault(ComityError(f"the program's process cannot be understood: {exc.message}"))
                )
                self._loop.remove_reader(self._sock)
                self._signal(signal.SIGKILL)
                return

    def _take(self, message: control.Message) -> None:
        if isinstance(message, Closed):
            known = self._channels.pop(message.serial, None)
            if known is not None:
                known[1].close()  # the child's descriptor ends it, once its last bytes have left
        elif isinstance(message, Task | Keys | Given):
            raise Malformed("it says what only a node says")
        else:
            self._events.put_nowait(message)

    def _send(self, message: control.Message, descriptor: int | None = None) -> None:
        self._outgoing.append((control.pack(message), descriptor))
        self._write()

    def _write(self) -> None:
        """Send what the child takes now, the rest when it reads. One that is gone is noticed elsewhere."""
        if self._gone.is_set():
            return
        try:
            while self._outgoing:
                control.send(self._sock, *self._outgoing[0])
                self._outgoing.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._sock, self._write)
            return
        except OSError:
            self._outgoing.clear()
        self._loop.remove_writer(self._sock)
