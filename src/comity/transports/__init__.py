"""Ways to reach the other parties: one file each.

A module here offers its class as `transport`; other distributions register theirs by an entry point of the group
comity.transports that names such a class. One that cannot be loaded does not disturb the others. The tests in
tests/contracts run over every one that is found, which is how a new one shows that it keeps the contract.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from comity.errors import UsageError
from comity.interfaces import Settings, Traits, Transport

GROUP = "comity.transports"


class Kind(Protocol):
    """A transport's class."""

    name: str
    traits: Traits

    def __call__(self, settings: Settings, /) -> Transport: ...


@dataclass(frozen=True)
class Found:
    kinds: dict[str, Kind] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)  # name to reason, of other distributions' ones


def find() -> Found:
    """All transports, our own first, each group by name."""
    found = Found()
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name):
        kind: Kind = importlib.import_module(f"{__name__}.{module.name}").transport
        found.kinds[kind.name] = kind
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        reason = _add(found.kinds, point)
        if reason:
            found.broken[point.name] = reason
    return found


def _add(kinds: dict[str, Kind], point: EntryPoint) -> str:
    """Why it cannot be used; empty once it is among `kinds`."""
    try:
        kind = point.load()
    except Exception as exc:  # somebody else's module: whatever it raises, it is not usable
        return f"{point.value} cannot be imported: {type(exc).__name__}: {exc}"
    if not callable(kind) or getattr(kind, "name", None) != point.name or not hasattr(kind, "traits"):
        return f"{point.value} is no transport of that name"
    if point.name in kinds:
        return "another transport has that name"
    kinds[point.name] = kind
    return ""


def available() -> dict[str, Kind]:
    return find().kinds


def make(name: str, settings: Settings) -> Transport:
    """Raises UsageError for a name that no transport has, or one that cannot be used here."""
    found = find()
    if name not in found.kinds:
        why = f": {found.broken[name]}" if name in found.broken else ""
        useful = [other for other, kind in found.kinds.items() if kind.traits.layer != "process"]
        raise UsageError(f"there is no transport {name[:40]!r}{why}", hint=f"there are: {', '.join(useful)}")
    transport = found.kinds[name](settings)
    reason = transport.missing()
    if reason:
        usable = [other for other, kind in found.kinds.items() if other != name and not kind(settings).missing()]
        raise UsageError(f"{name} cannot be used here: {reason}", hint=f"usable now: {', '.join(usable)}")
    return transport
