"""Which program a party means: a built-in demo, a file, or a module."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import comity.demos
from comity.core.limits import MAX_ARGUMENT, MAX_PART
from comity.core.program import Argument
from comity.errors import UsageError
from comity.mpyc_bridge.private import check_private, with_holes

_DEMOS = Path(comity.demos.__path__[0])


@dataclass(frozen=True)
class FoundProgram:
    """A program before anything of it has run."""

    kind: Literal["builtin", "file", "module"]
    target: str  # absolute path of the file, or the module's dotted name
    name: str  # as people see it: the demo's, the file's without .py, the module's
    arguments: tuple[Argument, ...]  # the program's own list; None for each private one
    private: tuple[str, ...] = field(default=(), repr=False)  # what fills these, in order
    include: tuple[str, ...] = ()  # patterns of files that it is made of besides


def builtin_names() -> tuple[str, ...]:
    """The built-in demos, in order."""
    return tuple(sorted(path.stem for path in _DEMOS.glob("*.py") if not path.stem.startswith("_")))


def find(
    target: str,
    arguments: tuple[str, ...] = (),
    *,
    module: bool = False,
    private: Mapping[int, str] | None = None,
    include: tuple[str, ...] = (),
) -> FoundProgram:
    """The program that `target` names. Raises UsageError with a hint.

    `private`: arguments by their place among all, from 1; the others stand in the remaining places.
    """
    _check_arguments(arguments)
    kind, path, name = _locate(target, module)
    places = with_holes(arguments, private or {})
    return FoundProgram(kind, path, name, places, check_private(private or {}), include)


def _locate(target: str, module: bool) -> tuple[Literal["builtin", "file", "module"], str, str]:
    """Kind, path or module name, and shown name."""
    if module:
        if not all(part.isidentifier() for part in target.split(".")) or len(target) > MAX_PART:
            raise UsageError(f"{target[:MAX_PART]!r} is no module name", hint="a file is named without -m")
        return "module", target, target
    if target in builtin_names():
        return "builtin", str(_DEMOS / f"{target}.py"), target
    path = Path(target)
    if path.is_dir():
        raise UsageError(f"{target!r} is a folder", hint=_inside(path))
    if path.suffix != ".py":
        if path.is_file():
            raise UsageError(
                f"{target!r} is no .py file", hint="a program's file ends in .py: name that one, or rename it"
            )
        raise UsageError(f"there is no program {target!r}", hint=_nearest(target))
    if not path.is_file():
        raise UsageError(f"there is no file {target!r}", hint=_nearest(path.stem))
    if not path.stem.isprintable() or len(path.stem) > MAX_PART:
        raise UsageError(f"the file's name {path.name[:MAX_PART]!r} cannot be shown to the others", hint="rename it")
    return "file", str(path.absolute()), path.stem


def _check_arguments(arguments: tuple[str, ...]) -> None:
    """Arguments are shown to every party: short and printable."""
    for i, argument in enumerate(arguments, 1):
        if len(argument) > MAX_ARGUMENT or not argument.isprintable():
            raise UsageError(
                f"argument {i} cannot be shown to the others",
                hint=f"at most {MAX_ARGUMENT} printable characters; put more into a file",
            )


def _nearest(name: str) -> tuple[str, ...]:
    close = difflib.get_close_matches(name, builtin_names(), n=1, cutoff=0.5)
    names = f"built in: {', '.join(builtin_names())}; or the path of a .py file; or -m MODULE"
    if name.startswith("-"):
        return ("options stand in front of everything else", names)
    if Path(f"{name}.py").is_file():
        return (f"the file here is {name}.py", names)
    return (f"did you mean {close[0]}?", names) if close else (names,)


def _inside(folder: Path) -> str:
    """What to name in place of a folder."""
    if (folder / "__main__.py").is_file() and folder.name.isidentifier():
        return f"to run it as a module, from the folder above: -m {folder.name}"
    return "name the .py file in it that is to run"
