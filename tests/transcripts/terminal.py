"""A party's terminal: a pseudo-terminal with a shell on it, in which people type `comity ...`."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

SHELL = "import os; os.login_tty(0); os.execvp('sh', ['sh', '+o', 'emacs', '-i'])"
"""A session of its own, so that Ctrl-C reaches what runs in the foreground; no line editor, which paints."""

_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_BACK = re.compile(r"[^\n]*\r\x1b\[J")
"""A line that is taken off the screen, to stand there again under what is said meanwhile."""


class Terminal:
    """`screen` grows as things are shown; line ends are plain, bold and colours taken out unless `raw`."""

    def __init__(self, name: str, folder: Path, programs: Path, *, raw: bool) -> None:
        self.name, self.screen = name, ""
        self.prompt = f"{name}$ "
        self._raw = raw
        self._changed = asyncio.Event()
        self._rest = b""
        home = folder / "home"
        home.mkdir(parents=True)
        for program in programs.iterdir():
            (folder / program.name).symlink_to(program)
        self.fd, theirs = pty.openpty()
        self._loop = asyncio.get_running_loop()
        try:
            self.shell = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", SHELL],
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                cwd=folder,
                env={
                    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                    "HOME": str(home),
                    "LOGNAME": name,
                    "PS1": self.prompt,
                    "TERM": "xterm-256color",
                    "LANG": "C.UTF-8",
                },
            )
        finally:
            os.close(theirs)
        self._loop.add_reader(self.fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # nobody holds the other end any more
            data = b""
        if not data:
            self._loop.remove_reader(self.fd)
        self._rest += data
        text = self._rest.replace(b"\r\n", b"\n").decode(errors="ignore")  # half a character waits for its rest
        text = _BACK.sub("", text)
        self.screen = text.replace("\x1b", "␛") if self._raw else _STYLE.sub("", text)
        self._changed.set()

    async def until(self, there: Callable[[], bool]) -> None:
        """Until something is on the screen."""
        while not there():
            self._changed.clear()
            await self._changed.wait()

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def modes(self) -> list[Any]:
        """How the terminal is set: echo, line by line, and what its keys do."""
        return termios.tcgetattr(self.fd)

    def left(self) -> list[str]:
        """The commands of this terminal's session that still run."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                name, _, fields = stat.read_text().rpartition(")")
                state, _, _, session, *_ = fields.split()
                if session == str(self.shell.pid) and state != "Z":
                    found.append(name)
        return found

    def close(self) -> None:
        """Hang up, as a closed window does, and leave nothing behind."""
        self._loop.remove_reader(self.fd)
        os.close(self.fd)
        self.shell.kill()
        self.shell.wait()
