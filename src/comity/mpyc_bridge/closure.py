"""The files that a program is made of, found without running it: its own, the local ones that it imports, and those
that are included by hand.

Local is what lies in the program's folder (for `-m MODULE`, in the current one, or in MODULE's own package). Imports
are taken wherever they stand, also inside functions. What only running could tell - names made at run time, changes of
sys.path, data - is not seen: it is included by patterns, or refused when it is imported.
"""

from __future__ import annotations

import ast
import glob
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

from comity.core.limits import MAX_FILES, MAX_FILES_BYTES
from comity.errors import ProgramError, UsageError
from comity.mpyc_bridge.agreed import Files, Root
from comity.mpyc_bridge.imports import SUFFIXES
from comity.mpyc_bridge.program import FoundProgram


@dataclass
class Closure:
    """What a program is made of."""

    files: Files = field(default_factory=Files)
    foreign: set[str] = field(default_factory=set)  # top-level modules that are neither local nor Python's own


def closure_of(program: FoundProgram) -> Closure:
    """Raises ProgramError for source that is no Python and for a module missing beside it, UsageError for a file that
    cannot be read or is too large."""
    walk = _Walk()
    if program.kind == "module":
        walk.start_module(program.target)
    else:
        path = Path(program.target).resolve()  # as Python does for the first entry of sys.path
        walk.roots.append(Root(str(path.parent)))
        walk.add(walk.roots[0], path, "")
    for pattern in program.include:
        walk.include(pattern)
    walk.run()
    return walk.closure


def _holds(root: Root, top: str) -> bool:
    """Whether a top-level module is this root's."""
    if root.only or top == "mpyc":  # MPyC is imported before the program's folder counts
        return top == root.only
    stem = Path(root.folder, top)
    # a folder without __init__.py is a package only where no proper module has the name
    return _module_file(stem) is not None or (stem.is_dir() and installed(top) is None)


def installed(top: str) -> ModuleSpec | None:
    """Where Python finds a top-level module; nothing is imported for that."""
    try:
        return find_spec(top)
    except (ImportError, ValueError):  # by finders of other packages, and for modules that have no spec
        return None


def _module_file(stem: Path) -> Path | None:
    """The file of the module or package at a path without suffix."""
    if (stem / "__init__.py").is_file():
        return stem / "__init__.py"
    return next((path for suffix in SUFFIXES if (path := stem.with_name(stem.name + suffix)).is_file()), None)


class _Walk:
    def __init__(self) -> None:
        self.closure = Closure()
        self.roots = self.closure.files.roots
        self._size = 0
        self._waiting: list[tuple[str, str, bytes]] = []  # label, package, source

    def start_module(self, name: str) -> None:
        here = Path.cwd()
        top = name.partition(".")[0]
        self.roots.append(Root(str(here)))
        if not _holds(self.roots[0], top):
            spec = installed(top)
            places = list((spec and spec.submodule_search_locations) or ())
            if spec is None or not (places or spec.has_location):
                raise UsageError(f"there is no module {top}", hint=f"looked in {here} and among the installed ones")
            self.roots.append(Root(str(Path(places[0] if places else str(spec.origin)).parent), top))
        root = next(root for root in self.roots if _holds(root, top))
        stem = Path(root.folder, *name.split("."))
        path, package = _module_file(stem), name.rpartition(".")[0]
        if path is None or path.name == "__init__.py":  # python -m package runs its __main__
            path, package = _module_file(stem / "__main__"), name
        if path is None or path.suffix != ".py":
            raise UsageError(f"there is no module {name} that can be run", hint=f"looked in {root.folder}")
        self.imported(name)
        self.add(root, path, package)

    def include(self, pattern: str) -> None:
        """Add files by a pattern from the program's folder. Python files among them are modules like others."""
        root = self.roots[0]
        if pattern.startswith("/") or ".." in pattern.split("/"):
            raise UsageError(f"--include {pattern} leads out of the program's folder", hint=f"it is {root.folder}")
        matches = sorted(glob.glob(pattern, root_dir=root.folder, recursive=True))  # noqa: PTH207  its ** takes files
        paths = [path for match in matches if (path := Path(root.folder, match)).is_file()]
        if not paths:
            hint = f"looked in {root.folder}; a folder's files are PATTERN/*, all below it PATTERN/**"
            raise UsageError(f"--include {pattern} matches no file", hint=hint)
        for path in paths:
            parts = path.relative_to(root.folder).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if path.suffix == ".py" and name and all(part.isidentifier() for part in parts):
                self.imported(name)  # the packages around it, too
            self.add(root, path, ".".join(parts[:-1]))

    def run(self) -> None:
        while self._waiting:
            label, package, source = self._waiting.pop()
            tree = _parse(label, source)
            top_level = {id(statement) for statement in tree.body}
            for node in ast.walk(tree):
                for name, needed in _imports(node, package):
                    found = self.imported(name)
                    if needed and not found and id(node) in top_level:
                        line = getattr(node, "lineno", 0)
                        raise ProgramError(f"{label}, line {line}: there is no module {name}")

    def imported(self, name: str) -> bool:
        """Add the files behind a dotted name, as far as they are local; whether the whole of it was found."""
        parts = name.split(".")
        root = next((root for root in self.roots if _holds(root, parts[0])), None)
        if root is None:
            if parts[0] not in sys.stdlib_module_names:
                self.closure.foreign.add(parts[0])
            return True
        stem = Path(root.folder)
        for i, part in enumerate(parts, 1):
            stem = stem / part
            path = _module_file(stem)
            if path is not None:
                package = parts[:i] if path.stem == "__init__" else parts[: i - 1]
                self.add(root, path, ".".join(package))
            elif not stem.is_dir():
                return False
        return True

    def add(self, root: Root, path: Path, package: str) -> None:
        """A file, once; `package`: what its relative imports start from."""
        files, label = self.closure.files, path.relative_to(root.folder).as_posix()
        if label in files.contents:
            return
        try:
            with path.open("rb") as file:
                source = file.read(MAX_FILES_BYTES - self._size + 1)
        except OSError as exc:
            raise UsageError(f"{label} cannot be read: {exc.strerror}") from exc
        self._size += len(source)
        if self._size > MAX_FILES_BYTES or len(files.contents) >= MAX_FILES:
            raise UsageError(
                f"the program's files are more than {MAX_FILES}, or have more than {MAX_FILES_BYTES >> 20} MiB",
                hint=f"the last one was {label}; what is read but not included is only warned of",
            )
        files.add(root, label, source)
        if path.suffix == ".py":
            self._waiting.append((label, package, source))


def _parse(label: str, source: bytes) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # running it will show them
            return ast.parse(source, label)
    except SyntaxError as exc:
        raise ProgramError(f"{label}, line {exc.lineno or 1}: {exc.msg}") from exc
    except (ValueError, RecursionError, MemoryError) as exc:
        raise ProgramError(f"{label} cannot be compiled: {exc}") from exc


def _imports(node: ast.AST, package: str) -> Iterator[tuple[str, bool]]:
    """Dotted names that a statement imports, and whether each must be a module beside the program's own."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, False) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parents = package.split(".") if package else []
            if node.level > len(parents):
                return  # Python will say so: an import from beyond the top
            base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
        yield base, bool(node.level and node.module)
        yield from ((f"{base}.{alias.name}", False) for alias in node.names if alias.name != "*")
