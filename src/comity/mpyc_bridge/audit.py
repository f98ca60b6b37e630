"""What a program does with local files besides importing them, seen by an audit hook of Python.

- It opens an agreed file to read it: the file must still be what was agreed on.
- It opens another one: it is warned once, since the others may have another such file, or none.
- It executes code from a local file that is not agreed on, past all imports: refused.

Reads of cached bytecode fail, as where there is none: then Python takes the source. Extensions that read files by
themselves are not seen.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from types import CodeType
from typing import Any, NoReturn

from comity.mpyc_bridge.agreed import Agreed
from comity.mpyc_bridge.imports import refusal

MAX_WARNINGS = 100
"""Files of which a run warns: a line for each would bury everything else."""


_HEEDED = frozenset(("open", "exec", "ctypes.dlopen"))


class Audit:
    """Looks at what `hook` hears."""

    def __init__(self, agreed: Agreed, warn: Callable[[str], None], differs: Callable[[str], NoReturn]) -> None:
        """`warn` is told the label of a file that is read but not agreed on, `differs` of one that has changed."""
        self._agreed, self._warn, self._differs = agreed, warn, differs
        self._warned: set[str] = set()
        self._here = threading.local()  # set while we look at files ourselves

    def hook(self) -> Callable[[str, tuple[Any, ...]], None]:
        """For sys.addaudithook, which takes it for good.

        It hears of each task that MPyC makes, since that asks for a frame: a plain function costs a third of a method.
        """
        heed = self._heed

        def hear(event: str, arguments: tuple[Any, ...]) -> None:
            if event in _HEEDED:
                heed(event, arguments)

        return hear

    def _heed(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if type(flags) is int and (flags & os.O_ACCMODE == os.O_WRONLY or flags & os.O_TRUNC):
                return
            self._reads(path)
        elif event == "exec":
            self._executes(arguments[0])
        else:
            self._reads(arguments[0])

    def _reads(self, path: Any) -> None:
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, str) or getattr(self._here, "busy", False):
            return
        self._here.busy = True
        try:
            self._look_at(path)
        finally:
            self._here.busy = False

    def _look_at(self, path: str) -> None:
        label = self._agreed.label(path)
        if label is None:
            return
        if label.endswith(".pyc") and "__pycache__" in label.split("/"):
            raise FileNotFoundError(errno.ENOENT, "cached bytecode is not agreed on", path)
        agreed = self._agreed.content(path)
        if agreed is None:
            if label not in self._warned and len(self._warned) < MAX_WARNINGS and _is_file(path):
                self._warned.add(label)
                self._warn(label)
        elif not _holds(path, agreed):
            if label.endswith(".py"):  # Python may only want to show a line of it
                raise OSError(errno.ESTALE, "it has changed since it was agreed on", path)
            self._differs(label)

    def _executes(self, code: Any) -> None:
        if not isinstance(code, CodeType) or code.co_filename.startswith("<"):
            return
        label = self._agreed.label(code.co_filename)
        if label is not None and self._agreed.content(code.co_filename) is None:
            raise refusal(label)


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _holds(path: str, content: bytes) -> bool:
    """Whether the file at `path` has this content; a file that cannot be read says so when it is opened."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size != len(content):
            return False
        with open(path, "rb") as file:
            return file.read(len(content) + 1) == content
    except OSError:
        return True
