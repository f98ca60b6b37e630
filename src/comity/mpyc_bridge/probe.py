"""What a program is made of, found by a child of its own that reads the program, imports MPyC, reports and ends.

The program itself does not run. MPyC reads its options when it is imported: hence a process for each program.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import io
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comity.core.encoding import Malformed, digest, encode
from comity.core.limits import MAX_PART, MAX_PARTS, MAX_PROGRAM
from comity.core.program import Program
from comity.errors import ComityError, ProgramError, UsageError
from comity.mpyc_bridge.agreed import Files
from comity.mpyc_bridge.closure import closure_of, installed
from comity.mpyc_bridge.environment import child_command, child_environment
from comity.mpyc_bridge.private import marks, placed, unplaced
from comity.mpyc_bridge.program import FoundProgram

TIMEOUT = 60.0
"""Seconds for a probe; it takes 0.3 on a machine with nothing else to do, and reads files that may lie on a network."""

_INDEX, _THRESHOLD = 1_000_000_007, -7
"""Party number and threshold of a probe. Nobody writes such an -I; a -T shows, and no PRSS keys are drawn."""

_REFUSED = ("VERSION", "HELP", "help", "config", "parties", "M", "index", "threshold", "ssl")  # or set by us
_OWN = ("base_port", "log_level", "no_log", "output_windows", "output_file", "f")  # what matters at one party only

_WHOSE = "MPyC takes its own options from the program's arguments; python -c 'import mpyc.runtime' -H lists them"


@dataclass(frozen=True)
class Examined:
    """What a party says it runs, and the bytes that it says so of."""

    program: Program
    parts: tuple[tuple[str, str], ...]  # all of them; the program's may be folded
    files: bytes = field(repr=False)  # agreed.Files, packed


async def probe(program: FoundProgram, *, m: int, threshold: int, timeout: float = TIMEOUT) -> Examined:
    """Examine a program. Raises UsageError for options that a session sets, ProgramError for no Python.

    Private arguments stay here: the probe sees marks in their places.
    """
    request = [str(m), str(threshold), program.kind, program.target, program.name, json.dumps(program.include)]
    try:
        process = await asyncio.create_subprocess_exec(
            *child_command(__name__),
            *request,
            *placed(program.arguments),
            env=child_environment(0),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as exc:
        raise UsageError(f"the probe of {program.name} does not start: {exc}") from exc
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate()
    except TimeoutError as exc:
        raise UsageError(f"{program.name} could not be examined within {timeout:g} s", hint="try again") from exc
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return _report(program, process.returncode, out, err)


def _report(program: FoundProgram, code: int | None, out: bytes, err: bytes) -> Examined:
    """The files are hashed here, so that the digest is of the very bytes that the program's process will get."""
    head, _, packed = out.partition(b"\n")
    try:
        report = json.loads(head)
        files = Files.unpack(packed) if packed else Files()
    except (ValueError, Malformed) as exc:
        last = err.decode(errors="replace").strip().rpartition("\n")[2]
        raise ComityError(f"the probe of {program.name} ended with {code}: {last or 'no message'}") from exc
    if "error" in report:
        kind = next(cls for cls in (UsageError, ProgramError) if cls.kind == report["error"])
        raise kind(report["message"], hint=tuple(report["hints"]))
    parts = [(label, value) for label, value in report["parts"]]
    return assemble(program, parts, files, report["python"])


def assemble(program: FoundProgram, parts: list[tuple[str, str]], files: Files, python: str) -> Examined:
    """What is agreed on, from what a probe has found. Raises UsageError for arguments that are too long together."""
    parts = parts + [(f"file {label}", sha256) for label, sha256 in files.digests()]
    bare = Program(program.name, program.arguments, {}, python)
    return Examined(Program(bare.name, bare.arguments, _folded(parts, bare), python), tuple(parts), files.pack())


def main(arguments: list[str]) -> None:
    """The child: m, threshold, kind, target, name, patterns, and the program's arguments; on stdout a line of JSON and
    the files."""
    m, threshold, kind, target, name, include, *rest = arguments
    result = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever MPyC prints is no result
    places = unplaced(tuple(rest))
    program = FoundProgram(kind, target, name, places, (), tuple(json.loads(include)))  # type: ignore[arg-type]  # ours
    packed = b""
    report: dict[str, Any]
    try:
        parts, files = examine(program, int(m), int(threshold))
        report, packed = {"parts": parts, "python": platform.python_version()}, files.pack()
    except (UsageError, ProgramError) as exc:
        report = {"error": exc.kind, "message": exc.message, "hints": list(exc.hints)}
    with result:
        result.write(json.dumps(report).encode() + b"\n" + packed)


def examine(program: FoundProgram, m: int, threshold: int) -> tuple[list[tuple[str, str]], Files]:
    """Read the program, import MPyC with its arguments; the parts besides the files. Once in a process."""
    closure = closure_of(program)  # first: its errors are about the program, MPyC's about one option
    options = _options(program, m, threshold)
    parts = [
        *((f"option {name}", str(value)) for name, value in sorted(options.items()) if name not in _REFUSED + _OWN),
        *_versions(),
        *_packages(closure.foreign - {"mpyc", "numpy"}),
    ]
    return parts, closure.files


def _options(program: FoundProgram, m: int, threshold: int) -> dict[str, Any]:
    """MPyC's options as they are in effect: ours stand first, and what overrides them shows."""
    ours = ["-M", str(m), "-I", str(_INDEX), "-T", str(_THRESHOLD), "--no-log"]
    sys.argv = [program.target, *ours, *placed(program.arguments)]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            from mpyc.runtime import mpc
    except SystemExit as exc:
        if not exc.code:
            raise UsageError("-V and -H have MPyC print and end", hint="leave them away") from exc
        _check_marks(program, said.getvalue())
        raise UsageError(_last_line(said, "MPyC refuses an option"), hint=_WHOSE) from exc
    except Exception as exc:  # MPyC swallows what its set-up raises and has no mpc then; a broken one raises anything
        raise UsageError(f"MPyC cannot be set up: {_last_line(said, str(exc))}", hint=_WHOSE) from exc
    _check_marks(program)
    options: dict[str, Any] = vars(mpc.options)
    for name, fine, flag, why in (
        ("help", (False,), "-h", "asks for help only"),
        ("parties", (None,), "-P", "names parties, which the session does"),
        ("config", (None,), "-C", "names parties, which the session does"),
        ("index", (_INDEX,), "-I", "numbers this party, which the session does"),
        ("M", (m,), "-M", f"differs from the session's {m} parties"),
        ("threshold", (_THRESHOLD, threshold), "-T", f"differs from the session's threshold {threshold}"),
        ("ssl", (False,), "--ssl", "is not for a session: its links are encrypted already"),
    ):
        if options[name] not in fine:
            raise UsageError(f"MPyC's option {flag} {why}", hint=f"leave {flag} away")
    return options


def _check_marks(program: FoundProgram, said: str = "") -> None:
    """What MPyC has taken for itself is everybody's business. Raises UsageError for a private argument among it."""
    for i, mark in marks(program.arguments).items():
        if repr(mark) in said or sys.argv.count(mark) != 1:
            raise UsageError(f"argument {i} belongs to an option of MPyC and cannot be private", hint=_WHOSE)


def _last_line(said: io.StringIO, otherwise: str) -> str:
    """The last thing that MPyC said, without who said it."""
    line = said.getvalue().strip().rpartition("\n")[2]
    return line.rpartition("error: ")[2].rpartition("exception: ")[2] or otherwise


def _versions() -> Iterator[tuple[str, str]]:
    import mpyc

    folder = Path(mpyc.__path__[0])
    sources = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*.py"))
    contents = [part for label, path in sources for part in (label.encode(), path.read_bytes())]
    yield "mpyc", mpyc.__version__
    yield "mpyc source", digest("mpyc source", *contents).hex()
    yield "numpy", importlib.metadata.version("numpy").partition(".")[0] if installed("numpy") else "absent"
    yield "word size", str(sys.maxsize.bit_length() + 1)


def _packages(modules: Iterable[str]) -> list[tuple[str, str]]:
    """The versions of what the program imports from elsewhere."""
    if not modules:
        return []
    distributions = importlib.metadata.packages_distributions()
    found: set[tuple[str, str]] = set()
    for module in modules:
        names = distributions.get(module, ())
        found.update((f"package {name}", importlib.metadata.version(name)) for name in names)
        if not names:
            found.add((f"module {module}", "without version" if installed(module) else "absent"))
    return sorted(found)


def _folded(parts: list[tuple[str, str]], bare: Program) -> dict[str, str]:
    """As many parts as a message takes; the rest, and those that cannot be shown, as one digest."""
    room = MAX_PROGRAM - len(encode(bare.to_dict())) - 2 * MAX_PART
    if room < 0:
        raise UsageError("the program's arguments are too long together", hint="put them into a file")
    shown: dict[str, str] = {}
    rest: list[bytes] = []
    for label, value in parts:
        fine = label.isprintable() and max(len(label), len(value)) <= MAX_PART and len(shown) < MAX_PARTS - 1
        size = len(encode({label: value})) if fine else 0
        if fine and size <= room:
            shown[label] = value
            room -= size
        else:
            rest.append(f"{label}\0{value}".encode("utf-8", "surrogateescape"))
    if rest:
        shown[f"{len(rest)} more parts"] = digest("parts", *rest).hex()
    return shown


if __name__ == "__main__":
    main(sys.argv[1:])
