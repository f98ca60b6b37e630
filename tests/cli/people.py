"""Somebody in front of a pseudo-terminal, who sees what a terminal shows and not what was written to it."""

import asyncio
import fcntl
import os
import pty
import struct
import termios
from collections.abc import Mapping

import pyte

from comity.cli.talk import Talk


class Watcher:
    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.terminal = os.ttyname(self.slave)
        self.stream = open(self.slave, "w", closefd=False)  # noqa: SIM115 - closed in close()
        self._screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=0.5)
        self._pyte = pyte.ByteStream(self._screen)
        self.raw = b""

    def talk(self, environ: Mapping[str, str] | None = None, *, verbose: bool = False, as_json: bool = False) -> Talk:
        return Talk(
            stream=self.stream,
            terminal=self.terminal,
            environ={} if environ is None else environ,
            verbose=verbose,
            as_json=as_json,
        )

    @property
    def rows(self) -> list[str]:
        """What can be seen by scrolling up, without the empty end."""
        above = ["".join(row[x].data for x in range(self._screen.columns)) for row in self._screen.history.top]
        rows = [row.rstrip() for row in (*above, *self._screen.display)]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    @property
    def text(self) -> str:
        return "\n".join(self.rows)

    async def sees(self, last: str, *, above: str = "") -> None:
        """Until the last row that holds something ends with `last`, and `above` stands somewhere, maybe folded."""
        loop = asyncio.get_running_loop()
        while not (self.rows and self.rows[-1].endswith(last) and above in " ".join(self.text.split())):
            more = asyncio.Event()
            loop.add_reader(self.master, more.set)
            await more.wait()
            loop.remove_reader(self.master)
            data = os.read(self.master, 65536)
            self.raw += data
            self._pyte.feed(data)

    def types(self, text: str) -> None:
        os.write(self.master, text.encode())

    def close(self) -> None:
        self.stream.close()
        os.close(self.slave)
        os.close(self.master)
