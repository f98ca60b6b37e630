"""A run's record: its file is opened before the run, so that what was measured is not lost at the end."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from comity.cli.running import INTERRUPTED
from comity.cli.talk import Talk
from comity.core.record import Record
from comity.errors import ComityError, UsageError
from comity.mpyc_bridge.memory import peak_memory
from comity.node.home import versions
from comity.node.person import warn

DISTRIBUTIONS = ("comity", "mpyc", "numpy", "gmpy2", "uvloop", "cryptography", "aiohttp")
"""On what a measurement depends."""


@contextmanager
def recording(path: Path | None, record: Record, talk: Talk) -> Iterator[None]:
    """Appends the record of the run inside to a file, however that ended; None: no record is wanted.

    Raises UsageError when the file cannot be written: at once where that shows then. What ended the run comes first.
    """
    if path is None:
        yield
        return
    fd = _open(path)
    try:
        try:
            yield
        except BaseException as exc:
            _conclude(record, exc)
            try:
                _append(fd, path, record)
            except UsageError as second:
                warn(talk, second.message)
            raise
        _conclude(record, None)
        _append(fd, path, record)
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    """Descriptor of a file of which nothing is cut off. A FIFO that nobody reads is refused, not waited for."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
    except OSError as exc:
        raise _unwritable(path, exc) from exc
    os.set_blocking(fd, True)
    return fd


def _append(fd: int, path: Path, record: Record) -> None:
    line = record.line().encode()
    try:
        while line:  # one write, so that parties may share a file, unless a disk was full for a moment
            line = line[os.write(fd, line) :]
    except OSError as exc:
        raise _unwritable(path, exc) from exc


def _unwritable(path: Path, exc: OSError) -> UsageError:
    reason = (exc.strerror or str(exc)).lower()
    return UsageError(f"the record cannot be written to {path}: {reason}", hint="name another file: --record FILE")


def _conclude(record: Record, exc: BaseException | None) -> None:
    if exc is None:
        record.outcome, record.error, record.exit = "done", "", 0
    elif isinstance(exc, ComityError):
        record.outcome, record.error, record.exit = "error", exc.kind, exc.exit_code
    elif isinstance(exc, KeyboardInterrupt | asyncio.CancelledError):
        record.outcome, record.error, record.exit = "error", "interrupted", INTERRUPTED
    else:
        record.outcome, record.error, record.exit = "error", "bug", 1
    usage = resource.getrusage(resource.RUSAGE_SELF)
    record.cpu_seconds = round(record.cpu_seconds + usage.ru_utime + usage.ru_stime, 4)
    record.node_memory = peak_memory()
    record.versions |= versions(DISTRIBUTIONS)
