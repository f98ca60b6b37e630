"""What a party runs: the name, the public arguments, and all that could make honest parties differ."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any

from comity.core.encoding import Fields, Malformed, digest, encode
from comity.core.limits import MAX_ARGUMENT, MAX_ARGUMENTS, MAX_PART, MAX_PARTS

_DIGEST = re.compile(r"[0-9a-f]{64}")

Argument = str | None
"""None: a private argument, a hole that each party fills for itself. No public argument can be taken for it."""


@dataclass(frozen=True)
class Program:
    name: str
    arguments: tuple[Argument, ...]
    parts: dict[str, str]  # label to value: files, options, versions
    python: str  # shown, not compared

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over all but Python's version."""
        agreed = {k: v for k, v in self.to_dict().items() if k != "python"}
        return digest("program", encode(agreed)).hex()

    @property
    def short(self) -> str:
        return short(self.digest)

    @property
    def command(self) -> str:
        """Name and arguments as people read them, and as a shell does: quoted where they hold more than a word."""
        arguments = ("?" if argument is None else shlex.quote(argument) for argument in self.arguments)
        return " ".join((shlex.quote(self.name), *arguments))

    @property
    def private(self) -> str:
        """Which arguments are private, as people read it; empty when none is."""
        places = [str(i) for i, argument in enumerate(self.arguments, 1) if argument is None]
        if not places:
            return ""
        what = "argument {} is" if len(places) == 1 else "arguments {} are"
        return what.format(", ".join(places)) + " private at everyone"

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "arguments": list(self.arguments),
            "parts": dict(self.parts),
            "python": self.python,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Program:
        """Raises Malformed."""
        fields = Fields(value, "a program")
        name, arguments = fields.text("name", MAX_PART), fields.items("arguments", MAX_ARGUMENTS)
        if any(a is not None and (type(a) is not str or len(a) > MAX_ARGUMENT) for a in arguments):
            raise Malformed("a program has an argument that is no text, or too long")
        parts = fields.mapping("parts")
        if len(parts) > MAX_PARTS or any(
            type(v) is not str or len(v) > MAX_PART or len(k) > MAX_PART for k, v in parts.items()
        ):
            raise Malformed("a program lists too many parts, or too long ones")
        result = cls(name, tuple(arguments), dict(parts), fields.text("python", 32))
        fields.end()
        return result

    def difference(self, other: Program, whose: str) -> str:
        """What differs from another party's program, in one phrase; empty when nothing does."""
        if self.name != other.name:
            return f"the program is {shlex.quote(self.name)} here and {shlex.quote(other.name)} at {whose}"
        for i, (mine, theirs) in enumerate(zip(self.arguments, other.arguments, strict=False), 1):
            if mine != theirs:
                return f"argument {i} is {_say(mine)} here and {_say(theirs)} at {whose}"
        if len(self.arguments) != len(other.arguments):
            number = len(self.arguments)
            return f"{number} argument{'' if number == 1 else 's'} here and {len(other.arguments)} at {whose}"
        for label in sorted({*self.parts, *other.parts}):
            ours, others = self.parts.get(label), other.parts.get(label)
            if ours != others:
                here, there = _show(ours), _show(others)
                if here == there and ours and others:  # digests that look alike are shown whole
                    here, there = ours, others
                return f"{label} is {here} here and {there} at {whose}"
        return ""


def _say(argument: Argument) -> str:
    return "? (private)" if argument is None else shlex.quote(argument)


def _show(value: str | None) -> str:
    if value is None:
        return "absent"
    return short(value) if _DIGEST.fullmatch(value) else value


def short(digest: str) -> str:
    """A digest as people see it."""
    return f"{digest[:4]} {digest[4:8]}"
