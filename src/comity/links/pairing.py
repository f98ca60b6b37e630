"""What a link needs to know of the pair that it joins."""

from __future__ import annotations

from dataclasses import dataclass, field

from comity.errors import PeerError


@dataclass(frozen=True)
class Pairing:
    transcript: bytes  # T, 32 bytes
    me: int
    peer: int
    name: str  # the peer's, for messages
    kind: int  # preface.CONTROL or preface.DATA
    epoch: int
    incarnation: bytes  # 16 random bytes of this process
    seed: bytes = field(repr=False)  # of my session's Ed25519 key, 32 bytes
    certificate: bytes = field(repr=False)  # mine, DER
    peer_certificate: bytes = field(repr=False)  # DER
    peer_key: bytes = field(repr=False)  # the peer's session key, 32 bytes

    @property
    def client(self) -> bool:
        """Whether this end is TLS client: the lower number is, whoever dialled (both may have, when punching)."""
        return self.me < self.peer

    def lost(self) -> PeerError:
        return lost(self.name)


def lost(name: str) -> PeerError:
    """What the end of a channel is when nobody has said anything about it. `name`: the peer's."""
    return PeerError(f"the channel to {name} was lost", hint=f"{name}'s machine or the network between ended it")
