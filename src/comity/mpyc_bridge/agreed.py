"""The files that a program is made of, as bytes: what a probe has read, the parties agree on, and the child executes.

    8 bytes, big endian: length of the table | table, JSON: roots, files (root, label, size) | the files' bytes in a row

The same form goes from the probe to the node and, sealed in memory, from the node to the program's process. Nothing is
read from the disk a second time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field

from comity.core.encoding import Malformed


@dataclass(frozen=True)
class Root:
    """A folder whose modules and data are local; `only`: just this module or package of it."""

    folder: str
    only: str = ""

    def label(self, path: str) -> str | None:
        """An absolute path as it is written from here; None outside."""
        if not path.startswith(self.folder.rstrip("/") + "/"):
            return None
        label = path[len(self.folder.rstrip("/")) + 1 :]
        first = label.partition("/")[0]
        return label if not self.only or first.partition(".")[0] == self.only else None


@dataclass
class Files:
    """Files by label: their path from their root, with slashes."""

    contents: dict[str, bytes] = field(default_factory=dict)
    roots: list[Root] = field(default_factory=list, compare=False)
    _places: dict[str, int] = field(default_factory=dict, compare=False)  # of a label's root

    def add(self, root: Root, label: str, content: bytes) -> None:
        self.contents[label] = content
        self._places[label] = self.roots.index(root)

    def path(self, label: str) -> str:
        """Where the file lies, or lay."""
        return os.path.join(self.roots[self._places[label]].folder, *label.split("/"))

    def digests(self) -> list[tuple[str, str]]:
        """Labels and hexadecimal SHA-256, in order."""
        return [(label, hashlib.sha256(content).hexdigest()) for label, content in sorted(self.contents.items())]

    def pack(self) -> bytes:
        table = {
            "roots": [[root.folder, root.only] for root in self.roots],
            "files": [[self._places[label], label, len(content)] for label, content in self.contents.items()],
        }
        head = json.dumps(table).encode()
        return b"".join((len(head).to_bytes(8, "big"), head, *self.contents.values()))

    @classmethod
    def unpack(cls, data: bytes) -> Files:
        """Raises Malformed for what `pack` does not make."""
        at = 8 + int.from_bytes(data[:8], "big")
        try:
            table = json.loads(data[8:at])
            files = cls(roots=[Root(folder, only) for folder, only in table["roots"]])
            for place, label, size in table["files"]:
                files.add(files.roots[place], label, data[at : at + size])
                at += size
        except (ValueError, TypeError, LookupError, RecursionError) as exc:
            raise Malformed("the program's files have no proper table") from exc
        if at != len(data):
            raise Malformed("the program's files are not as long as they say")
        return files


def sealed(data: bytes) -> int:
    """A descriptor of these bytes, which nobody can change any more; whoever calls this closes it."""
    if not hasattr(os, "memfd_create"):  # not Linux: a file without a name
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            return os.dup(file.fileno())
    descriptor = os.memfd_create("comity", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def read_sealed(descriptor: int) -> bytes:
    """All of it; the descriptor is closed."""
    with open(descriptor, "rb") as file:
        file.seek(0)
        return file.read()


class Agreed:
    """The agreed files where the program runs, and what is local there."""

    def __init__(self, files: Files, foreign: Iterable[str]) -> None:
        """`foreign`: folders of what is installed; what lies there is not local, though it be inside a root."""
        self._roots = tuple(files.roots)
        self._contents = {files.path(label): content for label, content in files.contents.items()}
        self.folders = {parent for path in self._contents for parent in _parents(path, self._roots)}
        """Those that hold agreed files."""
        others = {folder.rstrip("/") + "/" for folder in map(os.path.abspath, foreign)}
        self._foreign = tuple(others)
        self._inside = tuple(other for other in others if any(root.label(other[:-1]) for root in self._roots))

    def also(self, path: str, content: bytes) -> None:
        """Another name of an agreed file."""
        self._contents.setdefault(os.path.abspath(path), content)

    def holds(self, path: str) -> bool:
        """Whether an agreed file lies at an absolute path."""
        return path in self._contents

    def content(self, path: str) -> bytes | None:
        """Of an agreed file, by any of its paths."""
        content = self._contents.get(os.path.abspath(path))
        return self._contents.get(os.path.realpath(path)) if content is None else content

    def label(self, path: str) -> str | None:
        """A local path from its root, agreed or not; None for what is not local."""
        path = os.path.abspath(path)
        label = self._label(path)
        if label is None and not path.startswith(self._foreign):
            label = self._label(path := os.path.realpath(path))
        return None if label is None or path.startswith(self._inside) else label

    def _label(self, path: str) -> str | None:
        return next((label for root in self._roots if (label := root.label(path)) is not None), None)


def _parents(path: str, roots: tuple[Root, ...]) -> set[str]:
    """The folders above a file, up to a root."""
    tops = {root.folder for root in roots}
    found: set[str] = set()
    while path not in tops and path != os.path.dirname(path):
        path = os.path.dirname(path)
        found.add(path)
    return found
