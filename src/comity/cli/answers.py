"""Where answers come from: the terminal, or a descriptor that a script hands us. Waiting can be cancelled."""

from __future__ import annotations

import asyncio
import os
import select
import termios
from collections.abc import Iterator
from contextlib import contextmanager

from comity.errors import UsageError

MAX_ANSWER = 8192
"""Bytes of one answer: twice the longest invitation."""


class Answers:
    """Lines of a descriptor, which stays open and blocking: it may be shared with other processes."""

    def __init__(self, fd: int, *, terminal: bool) -> None:
        self.fd = fd
        self.terminal = terminal
        self._rest = b""

    async def line(self) -> str | None:
        """The next line without its end; None where no more come. Raises UsageError for one that is too long."""
        while b"\n" not in self._rest:
            if len(self._rest) > MAX_ANSWER:
                raise UsageError("an answer is too long", hint=f"at most {MAX_ANSWER} bytes")
            data = await self._read()
            if not data:  # on a terminal, half a line and Ctrl-D is no answer
                last, self._rest = b"" if self.terminal else self._rest, b""
                return last.decode(errors="replace") if last else None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.removesuffix(b"\r").decode(errors="replace")

    def forget(self) -> None:
        """Drop what was typed so far, finished lines too: nobody answers a question before having seen it."""
        termios.tcflush(self.fd, termios.TCIFLUSH)
        self._rest = b""

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """A terminal shows nothing of what is typed meanwhile."""
        if not self.terminal:
            yield
            return
        before = termios.tcgetattr(self.fd)
        quiet = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
        termios.tcsetattr(self.fd, termios.TCSAFLUSH, quiet)
        try:
            yield
        finally:
            termios.tcsetattr(self.fd, termios.TCSADRAIN, before)

    def finished(self) -> bool:
        """Whether a whole line waits to be read."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(0))

    async def _read(self) -> bytes:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        try:
            loop.add_reader(self.fd, ready.set)
        except PermissionError:  # a file or /dev/null, which never make us wait
            ready.set()
        try:
            await ready.wait()
            return os.read(self.fd, MAX_ANSWER)
        except OSError as exc:
            raise UsageError(f"answers cannot be read: {exc.strerror}") from exc
        finally:
            loop.remove_reader(self.fd)


def from_descriptor(fd: int) -> Answers:
    """For --answers FD. Raises UsageError where there is no such descriptor."""
    hint = "for example: --answers 3 3< FILE"
    if fd < 3:
        raise UsageError(f"answers cannot come from descriptor {fd}, which is the program's", hint=hint)
    try:
        os.set_inheritable(fd, False)
    except OSError as exc:
        raise UsageError(f"answers cannot come from descriptor {fd}: {exc.strerror}", hint=hint) from exc
    return Answers(fd, terminal=False)


def from_terminal(path: str) -> Answers | None:
    """The terminal that `path` names, else the one that standard input is; None: there is nobody to ask.

    Whoever calls this closes the descriptor.
    """
    try:
        return Answers(os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC), terminal=True)
    except OSError:
        return Answers(os.dup(0), terminal=True) if os.isatty(0) else None
