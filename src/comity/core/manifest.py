"""The manifest: what everyone agrees on; with everyone's signature it is a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from comity.core.program import Argument


@dataclass(frozen=True)
class Member:
    """One party as the others know it. A party's number is its place in the manifest."""

    name: str
    identity: bytes  # Ed25519 public key of the installation, 32 bytes
    session_key: bytes  # Ed25519 public key of this session, 32 bytes
    exchange_key: bytes  # X25519 public key of this session, 32 bytes
    certificate: bytes = b""  # self-signed X.509 of session_key, DER
    verify: str = "words"  # what it demanded: words, contacts or link

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "identity": self.identity.hex(),
            "session_key": self.session_key.hex(),
            "exchange_key": self.exchange_key.hex(),
            "certificate": self.certificate.hex(),
            "verify": self.verify,
        }


@dataclass(frozen=True)
class Manifest:
    """The agreed session, derived by each party from OPEN and the HELLOs, never taken from the host's word."""

    members: tuple[Member, ...]
    threshold: int
    transport: str
    program_digest: str  # hexadecimal SHA-256
    program_name: str
    arguments: tuple[Argument, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "members": [member.to_dict() for member in self.members],
            "threshold": self.threshold,
            "transport": self.transport,
            "program": {
                "name": self.program_name,
                "arguments": list(self.arguments),
                "digest": self.program_digest,
            },
        }


@dataclass(frozen=True)
class Session:
    """A manifest that every party has signed, and the transcript that the signatures cover."""

    members: tuple[Member, ...]
    threshold: int
    transcript: bytes  # T: H(OPEN, ROSTER, every r), 32 bytes
    tag: bytes  # marks this session's channels, 16 bytes
    transport: str
    program_digest: str

    @property
    def m(self) -> int:
        return len(self.members)

    def name(self, party: int) -> str:
        return self.members[party].name
