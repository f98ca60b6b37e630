"""Which program a party means: a built-in demo, a file, or a module."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import comity.demos
from comity.core.limits import MAX_ARGUMENT, MAX_ARGUMENTS, MAX_PART
from comity.errors import UsageError

_DEMOS = Path(comity.demos.__path__[0])


@dataclass(frozen=True)
class FoundProgram:
    """A program before anything of it has run."""

    kind: Literal["builtin", "file", "module"]
    target: str  # absolute path of the file, or the module's dotted name
    name: str  # as people see it: the demo's, the file's without .py, the module's
    arguments: tuple[str, ...]  # the program's own list, as given


def builtin_names() -> tuple[str, ...]:
    """The built-in demos, in order."""
    return tuple(sorted(path.stem for path in _DEMOS.glob("*.py") if not path.stem.startswith("_")))


def find(target: str, arguments: tuple[str, ...] = (), *, module: bool = False) -> FoundProgram:
    """The program that `target` names. Raises UsageError with a hint."""
    _check_arguments(arguments)
    if module:
        if not all(part.isidentifier() for part in target.split(".")) or len(target) > MAX_PART:
            raise UsageError(f"{target[:MAX_PART]!r} is no module name", hint="a file is named without -m")
        return FoundProgram("module", target, target, arguments)
    if target in builtin_names():
        return FoundProgram("builtin", str(_DEMOS / f"{target}.py"), target, arguments)
    path = Path(target)
    if path.suffix != ".py":
        raise UsageError(f"there is no program {target!r}", hint=_nearest(target))
    if not path.is_file():
        raise UsageError(f"there is no file {target!r}", hint=_nearest(path.stem))
    if not path.stem.isprintable() or len(path.stem) > MAX_PART:
        raise UsageError(f"the file's name {path.name[:MAX_PART]!r} cannot be shown to the others", hint="rename it")
    return FoundProgram("file", str(path.absolute()), path.stem, arguments)


def _check_arguments(arguments: tuple[str, ...]) -> None:
    """Arguments are shown to every party: few, short and printable."""
    if len(arguments) > MAX_ARGUMENTS:
        raise UsageError(
            f"the program has {len(arguments)} arguments, {MAX_ARGUMENTS} are allowed", hint="put them into a file"
        )
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
    return (f"did you mean {close[0]}", names) if close else (names,)
