"""Runs a command's work: errors, signals, exit codes and reports of bugs in one place."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn

from comity.cli.options import Talking
from comity.cli.talk import Talk
from comity.errors import ComityError, UsageError
from comity.node.home import find_home, write_report

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM, as shells have it."""


class Log(logging.Handler):
    """What libraries log, told as everything else is: a message may quote what others sent."""

    def __init__(self, talk: Talk) -> None:
        super().__init__(logging.WARNING)
        self._talk = talk

    def emit(self, record: logging.LogRecord) -> None:
        exc = record.exc_info[1] if record.exc_info else None
        text = record.getMessage() + ("" if exc is None else f": {exc!r}")
        if record.levelno >= logging.ERROR or self._talk.verbose:
            self._talk.line("Log", text, event="log", text=text)


def run(command: str, talking: Talking, work: Callable[[Talk], Awaitable[int | None]]) -> NoReturn:
    """Ends the process with the exit code of design.md, section 9."""
    sys.exit(_run(command, talking, work))


def _run(command: str, talking: Talking, work: Callable[[Talk], Awaitable[int | None]]) -> int:
    talk: Talk | None = None

    async def main() -> int:
        nonlocal talk
        talk = Talk(**vars(talking))
        logging.getLogger().addHandler(Log(talk))
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            if task is not None:
                loop.add_signal_handler(number, task.cancel)
        return await work(talk) or 0

    try:
        with asyncio.Runner() as runner:
            return runner.run(main())
    except (KeyboardInterrupt, asyncio.CancelledError) as exc:
        if talk is not None:
            if isinstance(exc, KeyboardInterrupt):
                talk.key_pressed()
            talk.line("Stopped", "interrupted", event="interrupted", exit=INTERRUPTED)
        return INTERRUPTED
    except Exception as exc:
        return _failed(command, talk, exc)


def _failed(command: str, talk: Talk | None, exc: Exception) -> int:
    """Says it, with a report when it is a bug of ours; returns the exit code."""
    shown = exc if isinstance(exc, ComityError) and exc.kind != "bug" else report_bug(command, exc)
    (talk or Talk()).error(shown)
    return shown.exit_code


def report_bug(command: str, exc: Exception) -> ComityError:
    """Writes a report, and returns what to say of it."""
    try:
        where = f"please report it with the file {write_report(find_home(), command, exc)}"
    except UsageError as second:
        where = second.message
    return ComityError("a bug of comity", hint=where)
