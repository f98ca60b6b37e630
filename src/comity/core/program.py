"""What a party runs: the name, the public arguments, and all that could make honest parties differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from comity.core.encoding import Fields, Malformed, digest, encode
from comity.core.limits import MAX_ARGUMENT, MAX_ARGUMENTS, MAX_PART, MAX_PARTS


@dataclass(frozen=True)
class Program:
    name: str
    arguments: tuple[str, ...]
    parts: dict[str, str]  # label to value: files, options, versions
    python: str  # shown, not compared

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over all but Python's version."""
        agreed = {k: v for k, v in self.to_dict().items() if k != "python"}
        return digest("program", encode(agreed)).hex()

    @property
    def short(self) -> str:
        return f"{self.digest[:4]} {self.digest[4:8]}"

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
        name, arguments = fields.text("name", MAX_PART), fields.texts("arguments", MAX_ARGUMENTS, MAX_ARGUMENT)
        parts = fields.mapping("parts")
        if len(parts) > MAX_PARTS or any(
            type(v) is not str or len(v) > MAX_PART or len(k) > MAX_PART for k, v in parts.items()
        ):
            raise Malformed("a program lists too many parts, or too long ones")
        result = cls(name, arguments, dict(parts), fields.text("python", 32))
        fields.end()
        return result

    def difference(self, other: Program, whose: str) -> str:
        """What differs from another party's program, in one phrase; empty when nothing does."""
        if self.name != other.name:
            return f"the program is {self.name} here and {other.name} at {whose}"
        for i, (mine, theirs) in enumerate(zip(self.arguments, other.arguments, strict=False), 1):
            if mine != theirs:
                return f"argument {i} is {mine} here and {theirs} at {whose}"
        if len(self.arguments) != len(other.arguments):
            return f"{len(self.arguments)} arguments here and {len(other.arguments)} at {whose}"
        for label in sorted({*self.parts, *other.parts}):
            ours, others = self.parts.get(label), other.parts.get(label)
            if ours != others:
                return f"{label} is {_show(ours)} here and {_show(others)} at {whose}"
        return ""


def _show(value: str | None) -> str:
    return "absent" if value is None else value
