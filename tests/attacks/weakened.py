"""Weaker ceremonies, each without one rule: the strategies of tests/attacks/gambler.py must win against them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from tests.attacks.gambler import Try, World, draw, drives_on, freezes_again, guesses, looks, reveals_otherwise

from comity.core import messages
from comity.core.ceremony import Ceremony, State
from comity.core.commands import Command, Post
from comity.core.encoding import digest
from comity.core.identity import Secrets
from comity.core.program import Program
from comity.errors import PeerError


class RevealsEarly(Ceremony):
    """Its nonce is out with its HELLO."""

    _early = b""

    def choose(self, program: Program, name: str = "") -> list[Command]:
        commands = super().choose(program, name)
        body = {"roster": "00" * 32, "nonce": self._secrets.nonce.hex()}
        self._early = messages.make("reveal", self._secrets.identity, body).raw
        return [*commands, Post(self._early)]

    def receive(self, raw: bytes) -> list[Command]:
        return [] if raw == self._early else super().receive(raw)


class TakesAnotherRoster(Ceremony):
    """After its REVEAL a second roster counts."""

    def receive(self, raw: bytes) -> list[Command]:
        if messages.parse(raw).type == "roster" and self.state is State.REVEALING:
            self.state = State.GATHERING
            self._seen = {(kind, sender) for kind, sender in self._seen if kind not in ("roster", "reveal")}
            self._nonces = {}
        return super().receive(raw)


class TriesAgain(Ceremony):
    """When the others have left it says HELLO once more, with a fresh nonce."""

    def __init__(self, secrets: Secrets, *others: Any) -> None:
        super().__init__(secrets, *others)
        self._others = others

    def receive(self, raw: bytes) -> list[Command]:
        try:
            return super().receive(raw)
        except PeerError:
            if not self.spent or self._program is None:
                raise
            program, opening = self._program, self._opening.envelope.raw
            fresh = replace(self._secrets, nonce=digest("again", self._secrets.nonce))
            self.__init__(fresh, *self._others)  # type: ignore[misc]  # on purpose: all is forgotten
            super().receive(opening)
            return self.choose(program)


def same_nonce(rng: random.Random, name: str) -> Secrets:
    """Fresh keys, and the nonce of last time."""
    return replace(draw(rng, name), nonce=digest("the only nonce", name.encode()))


@contextmanager
def no_commitment() -> Iterator[None]:
    with mock.patch.object(messages, "opens", lambda *_: True):
        yield


@dataclass(frozen=True)
class Control:
    title: str
    play: Callable[[World], Iterator[Try]]
    ceremony: type[Ceremony] = Ceremony
    draw: Callable[[random.Random, str], Secrets] = draw
    careless: bool = False
    others: tuple[str, ...] = ()
    weakened: Callable[[], AbstractContextManager[None]] = nullcontext
    bits: int = 8
    quick: int = 3  # ceremonies in a quick run

    def world(self, rng: random.Random) -> World:
        return World(rng, self.ceremony, self.draw, self.careless, self.others)


CROWD = ("erin", "frank", "grace", "heidi")
"""Seven at a table can sit in 5 040 orders: enough for any word of 8 bits."""

CONTROLS = (
    Control("nonces are not compared with commitments", reveals_otherwise, weakened=no_commitment, quick=20),
    Control("a nonce is out before the roster is frozen", guesses, RevealsEarly, others=CROWD),
    Control("a second roster counts after the reveal", freezes_again, TakesAnotherRoster, others=CROWD),
    Control("a nonce is used in a second ceremony", guesses, draw=same_nonce, others=CROWD),
    Control("nodes try again by themselves", drives_on, TriesAgain, bits=4),
    Control("people compare with the host only", looks, careless=True, quick=20),
)
