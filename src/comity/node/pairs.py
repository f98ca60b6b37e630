"""What a party shares with each of the others, once the session stands."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from comity.core.identity import Secrets, derive, pair_secret
from comity.core.manifest import Session
from comity.core.preface import Preface
from comity.interfaces import PartyId


@dataclass(frozen=True)
class Pairs:
    """My session, my number, and a key per peer and purpose."""

    session: Session
    me: PartyId
    signals: dict[PartyId, bytes] = field(repr=False)
    prefaces: dict[PartyId, bytes] = field(repr=False)

    @classmethod
    def of(cls, session: Session, me: PartyId, secrets: Secrets) -> Pairs:
        """X25519 with each peer, salted with T. Raises PeerError for an unusable key."""
        shared = {
            i: pair_secret(secrets.exchange, member.exchange_key) for i, member in enumerate(session.members) if i != me
        }
        return cls(
            session,
            me,
            {i: derive(secret, session.transcript, "signals") for i, secret in shared.items()},
            {i: derive(secret, session.transcript, "preface") for i, secret in shared.items()},
        )

    @property
    def peers(self) -> tuple[PartyId, ...]:
        return tuple(self.prefaces)

    def preface(self, peer: PartyId, kind: int, epoch: int, number: int) -> bytes:
        """Mine, for a channel to `peer`; each time another one."""
        key = self.prefaces[peer]
        return Preface(self.session.tag, self.me, peer, kind, epoch, number, os.urandom(16)).pack(key)
