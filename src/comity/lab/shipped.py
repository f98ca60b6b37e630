"""The topologies that come with the package, and reading others."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from comity.core.topology import Topology, parse, with_parties
from comity.errors import UsageError

FOLDER = resources.files("comity.lab") / "topologies"
SUFFIX = ".toml"
USUAL = 3
MAX_FILE = 1 << 20
"""Bytes: a thousand machines, described one by one."""


def names() -> tuple[str, ...]:
    return tuple(sorted(file.name.removesuffix(SUFFIX) for file in FOLDER.iterdir() if file.name.endswith(SUFFIX)))


def find(name: str, parties: int | None = None) -> Topology:
    """A shipped topology, or a file; with so many parties, or 3 where it takes any number. Raises UsageError."""
    shipped = name in names()
    text = (FOLDER / f"{name}{SUFFIX}").read_text(encoding="utf-8") if shipped else _read(Path(name))
    found = parse(text, name)
    if parties is None:
        return found if found.spread is None else with_parties(found, USUAL)
    return with_parties(found, parties)


def _read(path: Path) -> str:
    hint = f"there are: {', '.join(names())}; or the name of a file"
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_FILE + 1)
    except FileNotFoundError as exc:
        raise UsageError(f"there is no topology {str(path)[:80]!r}", hint=hint) from exc
    except OSError as exc:
        raise UsageError(f"the topology cannot be read from {path}: {exc.strerror}", hint=hint) from exc
    except ValueError as exc:
        raise UsageError(f"the topology cannot be read from {path}: it is no text in UTF-8") from exc
    if len(text) > MAX_FILE:
        raise UsageError(f"{path} is too large for a topology", hint=f"at most {MAX_FILE} characters")
    return text
