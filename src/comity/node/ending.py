"""How a run ends, and who is to blame: the first cause wins over what it caused.

When carol's program fails she says so to everyone; bob, who heard it first, ends and says goodbye to alice too. So a
goodbye carries whose fault it is, and whoever only lost a channel waits a moment for somebody's word on why.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from comity.core.ceremony import SHOWN_THERE
from comity.errors import ComityError, PeerError
from comity.interfaces import PartyId
from comity.links.pairing import lost

YOU = "you"
"""What this party itself is called among the names."""

WORD_SECONDS = 1.5
"""How long a lost channel waits for a goodbye that explains it: a few round trips."""

GOODBYES = {
    "error": "{name} left: the program there ended with an error",
    "interrupted": "{name} left: interrupted",
    "declined": "{name} left: declined",
    "protocol": "{name} left: somebody broke the protocol",
    "program": "{name} left: another program",
    "words": "{name} left: the words did not match",
}


@dataclass
class Ending:
    """Collects what ends a run; `settled` says how it ended."""

    names: tuple[str, ...]  # of the parties; one's own is YOU
    blame: PartyId | None = None
    _done: bool = False
    _cause: ComityError | None = None
    _symptom: ComityError | None = None
    _hearsay: ComityError | None = None
    _happened: asyncio.Event = field(default_factory=asyncio.Event)
    _explained: asyncio.Event = field(default_factory=asyncio.Event)

    def done(self) -> None:
        """The program ended well."""
        if self._cause is None:
            self._done = True
        self._explained.set()
        self._happened.set()

    def cause(self, error: ComityError, peer: PartyId | None = None) -> None:
        """A first cause: nothing that comes later changes it."""
        if self._cause is None and not self._done:
            self._cause, self.blame = error, peer
        self._explained.set()
        self._happened.set()

    def symptom(self, error: ComityError, peer: PartyId | None = None) -> None:
        """Something that another failure may have caused."""
        if self._symptom is None and self._cause is None:
            self._symptom, self.blame = error, peer
        self._happened.set()

    def hearsay(self, error: ComityError, peer: PartyId) -> None:
        """Somebody leaves because of something that we may see ourselves, and then know better."""
        if self._symptom is None and self._cause is None and self._hearsay is None:
            self._hearsay, self.blame = error, peer
        self._happened.set()

    def goodbye(self, peer: PartyId, reason: str, about: PartyId | None = None) -> None:
        """A peer's last word. `about`: whom it blames itself."""
        name = self.names[peer]
        if reason == "path":
            whom = "another party" if about is None else self.names[about]
            error = PeerError(f"{name} left: no path to {whom}", hint=SHOWN_THERE["path"])
            if about is None:  # it may be us, who will find none to it either
                self.symptom(error, peer)
            else:
                self.cause(error, peer)
            return
        if about is not None and about != peer:
            if self._symptom is not None and self._symptom.message == lost(name).message:
                self._symptom = None  # this is why
            error = PeerError(f"{name} left, because of {self.names[about]}")
            if self.names[about] == YOU:  # who has said so to it will be heard here, too
                self.hearsay(error, about)
            else:
                self.symptom(error, about)
            return
        if reason == "protocol":
            self.hearsay(PeerError(GOODBYES[reason].format(name=name)), peer)
            return
        text = GOODBYES.get(reason, GOODBYES["error"]).format(name=name)
        self.cause(PeerError(text, hint=SHOWN_THERE.get(reason, ())), peer)

    async def settled(self) -> ComityError | None:
        """Waits for the end and, at most WORD_SECONDS more, for what caused it. None: it ended well."""
        await self._happened.wait()
        with contextlib.suppress(TimeoutError):  # nobody explained it: the symptom is what we know
            async with asyncio.timeout(WORD_SECONDS):
                await self._explained.wait()
        return None if self._done else self._cause or self._symptom or self._hearsay
