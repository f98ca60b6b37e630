"""Imports of a program's process: local modules from the agreed bytes, and no others.

What is local is decided as `closure` does, by where a module lies. `Finder` stands before all other finders: what they
find below the program's folder, and what is not agreed, it refuses, however it was asked for. Cached bytecode is
neither read nor written.
"""

from __future__ import annotations

import importlib.util
import linecache
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    ExtensionFileLoader,
    FrozenImporter,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
)
from types import CodeType, ModuleType

from comity.mpyc_bridge.agreed import Agreed, sealed

SUFFIXES = (*EXTENSION_SUFFIXES, ".py")
"""Of modules, in Python's order."""


def refusal(label: str, name: str | None = None) -> ModuleNotFoundError:
    """As where there is no such module: so a program that can do without it does so at every party."""
    what = label if name is None else f"{name} is {label}, which"
    return ModuleNotFoundError(f"{what} is local but not agreed on: --include {label}", name=name)


def show_source(path: str, source: bytes) -> None:
    """Have tracebacks show these lines, whatever lies at `path` by then."""
    try:
        lines = importlib.util.decode_source(source).splitlines(keepends=True)
    except (SyntaxError, ValueError):  # what cannot be decoded cannot be compiled, either
        return
    linecache.cache[path] = (len(source), None, lines, path)


class AgreedLoader(SourceFileLoader):
    """A module or package from the agreed bytes."""

    def __init__(self, name: str, path: str, agreed: Agreed) -> None:
        super().__init__(name, path)
        self._agreed = agreed

    def get_data(self, path: str) -> bytes:
        content = self._agreed.content(path)
        return super().get_data(path) if content is None else content

    def get_code(self, fullname: str) -> CodeType:
        return self.compiled(self.get_data(self.path), self.path)

    def compiled(self, source: bytes, path: str) -> CodeType:
        show_source(path, source)
        return compile(source, path, "exec", dont_inherit=True)


class AgreedExtension(ExtensionFileLoader):
    """A compiled module from the agreed bytes: they are loaded from memory."""

    def __init__(self, name: str, path: str, agreed: Agreed) -> None:
        super().__init__(name, path)
        self._agreed = agreed

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        # the descriptor stays open: the system's loader knows what it has loaded by this name
        descriptor = sealed(self._agreed.content(self.path) or b"")
        return super().create_module(ModuleSpec(spec.name, self, origin=f"/proc/self/fd/{descriptor}"))


class Finder:
    def __init__(self, agreed: Agreed) -> None:
        self._agreed = agreed

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raises ModuleNotFoundError for a local module that is not agreed on."""
        entries = [entry for entry in (sys.path if path is None else path) if isinstance(entry, str)]
        if path is None and (fullname in sys.builtin_module_names or FrozenImporter.find_spec(fullname) is not None):
            return None  # these come before all folders
        tail = fullname.rpartition(".")[2]
        for i, folder in self._folders(entries):
            found = self._module(folder, tail)
            if found is not None:
                if i and (before := PathFinder.find_spec(fullname, entries[:i])) is not None and before.has_location:
                    break
                return self._spec(fullname, found)
        spec = self._others(fullname, path, target)
        if spec is not None and spec.has_location and spec.origin is not None:
            label = self._agreed.label(spec.origin)
            if label is not None and not self._is_agreed(spec.origin):
                raise refusal(label, fullname)
            return spec
        return spec or self._namespace(fullname, tail, entries)

    def _folders(self, entries: list[str]) -> Iterator[tuple[int, str]]:
        """Those of the entries that hold agreed files, with their places."""
        for i, entry in enumerate(entries):
            folder = os.path.abspath(entry)
            if folder not in self._agreed.folders:
                folder = os.path.realpath(folder)
            if folder in self._agreed.folders:
                yield i, folder

    def _module(self, folder: str, tail: str) -> str | None:
        stem = os.path.join(folder, tail)
        paths = (os.path.join(stem, "__init__.py"), *(stem + suffix for suffix in SUFFIXES))
        return next((path for path in paths if self._agreed.holds(path)), None)

    def _spec(self, fullname: str, path: str) -> ModuleSpec | None:
        folder, name = os.path.split(path)
        is_package = name == "__init__.py" and not fullname.endswith("__init__")
        loader = (AgreedLoader if path.endswith(".py") else AgreedExtension)(fullname, path, self._agreed)
        return importlib.util.spec_from_file_location(
            fullname, path, loader=loader, submodule_search_locations=[folder] if is_package else None
        )

    def _others(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is not self and find is not None:
                spec: ModuleSpec | None = find(fullname, path, target)
                if spec is not None:
                    return spec
        return None

    def _namespace(self, fullname: str, tail: str, entries: list[str]) -> ModuleSpec | None:
        """A folder of agreed files without __init__.py, wherever the disk has it no more."""
        places = [os.path.join(folder, tail) for _, folder in self._folders(entries)]
        places = [place for place in places if place in self._agreed.folders]
        if not places:
            return None
        spec = ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = places
        return spec

    def _is_agreed(self, path: str) -> bool:
        """Also what lies in an agreed archive: it is compared when it is opened."""
        while path != os.path.dirname(path):
            if self._agreed.content(path) is not None:
                return True
            path = os.path.dirname(path)
        return False
