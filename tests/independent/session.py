"""Sections 7, 9 and 10 of docs/protocol.md: what a session is, its words, the keys of a pair, and sealed signals."""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.independent.notation import (
    Fault,
    Keys,
    decode,
    derive,
    digest,
    encode,
    fields,
    integer,
    octets,
    seal,
    text,
    unseal,
)


@dataclass(frozen=True)
class Session:
    """The manifest and T, and where this party stands in it."""

    manifest: dict[str, Any]
    transcript: bytes
    roster: bytes
    me: int
    keys: Keys

    @property
    def tag(self) -> bytes:
        return derive(self.transcript, b"", "tag", 16)

    @property
    def hash_seed(self) -> int:
        return int.from_bytes(self.roster[:4], "big")

    @property
    def others(self) -> list[int]:
        return [i for i in range(len(self.manifest["members"])) if i != self.me]

    def name(self, party: int) -> str:
        name: str = self.manifest["members"][party]["name"]
        return name

    def certificate(self, party: int) -> bytes:
        return bytes.fromhex(self.manifest["members"][party]["certificate"])

    def pair_key(self, party: int, label: str) -> bytes:
        """Section 9."""
        theirs = bytes.fromhex(self.manifest["members"][party]["exchange_key"])
        return derive(self.keys.shared(theirs), self.transcript, label)

    def seal_signal(self, to: int, transport: str, number: int, signal: bytes) -> bytes:
        context = digest("signal", bytes([self.me, to]), transport.encode())
        box = seal(self.pair_key(to, "signals"), number.to_bytes(8, "big") + signal, context)
        value = {"from": self.me, "to": to, "transport": transport, "box": box.hex()}
        return seal(derive(self.transcript, b"", "signals"), encode(value), b"")

    def open_signal(self, sealed: bytes, transport: str) -> tuple[int, int, bytes] | None:
        """Who says what to this party, and the number of it; None for whatever does not open or is for another one."""
        try:
            value = fields(
                decode(unseal(derive(self.transcript, b"", "signals"), sealed, b"")),
                {"from": integer(0, 63), "to": integer(0, 63), "transport": text(32), "box": octets(0, 24 << 10)},
            )
            if value["to"] != self.me or value["from"] not in self.others or value["transport"] != transport:
                return None
            context = digest("signal", bytes([value["from"], self.me]), transport.encode())
            signal = unseal(self.pair_key(value["from"], "signals"), value["box"], context)
        except Fault:
            return None
        number, signal = int.from_bytes(signal[:8], "big"), signal[8:]
        return (value["from"], number, signal) if len(signal) <= 16 << 10 else None


@cache
def wordlist() -> list[str]:
    """The list that the document names, read as data."""
    package = importlib.util.find_spec("comity")
    assert package is not None and package.submodule_search_locations
    source = Path(package.submodule_search_locations[0]) / "core" / "wordlist.py"
    constants = (node.value for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Constant))
    (words,) = (value.split() for value in constants if isinstance(value, str) and len(value.split()) == 2048)
    return words


def check_words(transcript: bytes) -> list[str]:
    number = int.from_bytes(digest("words", transcript)[:5], "big") >> 7
    return [wordlist()[i] for i in (number >> 22, (number >> 11) % 2048, number % 2048)]


def own_word(transcript: bytes, number: int) -> str:
    return wordlist()[int.from_bytes(digest("own word", transcript, bytes([number]))[:2], "big") >> 5]
