"""For whom a run waits: peers without a path yet, programs that have not started, nodes that are not heard any more.

A node answers heartbeats whatever its program does, so silence means that its machine, or the network between, is gone.
TCP alone would go on asking for a quarter of an hour.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from comity.errors import PeerError
from comity.interfaces import PartyId
from comity.node.person import Person

LOOK_SECONDS = 1.0
"""How often to look."""
TELL_SECONDS = 6.0
"""After which people are told, and again after twice as long: three heartbeats."""
SILENCE_SECONDS = 15.0
"""After which a peer is lost: seven heartbeats, more than a change of route or of access point takes."""
LATE_SECONDS = 4.0
"""Between two looks: this process was stopped, so that what the others said meanwhile may not have been read yet."""

_TEXTS = {
    "path": "{names}: no path yet after {seconds} s",
    "program": "{names}: connected; a program there or here has not started after {seconds} s{perhaps}",
    "silence": "{names}: no answer for {seconds} s",
}
_PERHAPS = "; perhaps two others have no path to one another yet"
"""A program starts when its node has reached every other one."""


class Lost(PeerError):
    """a peer is not heard any more"""

    def __init__(self, peer: PartyId, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.peer = peer  # has been silent for longest


class Waits:
    """Keeps what people have been told. `names`: of all parties; times are in seconds, of any one clock."""

    def __init__(self, names: tuple[str, ...], person: Person, now: float) -> None:
        self._names, self._person = names, person
        self._began = self._awake = self._looked = now
        self._due = dict.fromkeys(_TEXTS, TELL_SECONDS)
        self._silent: dict[PartyId, float] = {}

    def look(
        self, now: float, silences: Mapping[PartyId, float], pathless: Collection[PartyId], idle: Collection[PartyId]
    ) -> None:
        """`silences`: how long ago each peer with a control link was heard; `idle`: those without a data link.

        Raises Lost.
        """
        if now - self._looked > LATE_SECONDS:
            self._awake = now
        self._looked = now
        self._tell("path", pathless, now - self._began)
        self._tell("program", () if pathless else idle, now - self._began)
        heard = {peer: min(seconds, now - self._awake) for peer, seconds in silences.items()}
        silent = {peer: seconds for peer, seconds in heard.items() if seconds >= TELL_SECONDS}
        longest = max(silent.values(), default=0.0)
        if longest >= SILENCE_SECONDS:
            raise self._lost(silent)
        self._tell("silence", silent, longest)
        back = {peer: seconds for peer, seconds in self._silent.items() if heard.get(peer, seconds) < seconds}
        self._silent = silent
        if back:
            names, seconds = self._listed(back), max(back.values())
            self._person.line(
                "Connected",
                f"{names} again, after {int(seconds)} s",
                event="again",
                names=self._all(back),
                seconds=round(seconds, 3),
            )

    def _tell(self, why: str, peers: Collection[PartyId], seconds: float) -> None:
        if not peers:
            self._due[why] = TELL_SECONDS
        elif seconds >= self._due[why]:
            while seconds >= self._due[why]:
                self._due[why] *= 2
            perhaps = _PERHAPS if len(peers) > 1 else ""
            text = _TEXTS[why].format(names=self._listed(peers), seconds=int(seconds), perhaps=perhaps)
            self._person.line(
                "Waiting", text, event="waiting", names=self._all(peers), why=why, seconds=round(seconds, 3)
            )

    def _lost(self, silent: Mapping[PartyId, float]) -> Lost:
        names = " and ".join(self._all(silent))
        peer, seconds = max(silent.items(), key=lambda item: item[1])
        if len(silent) == 1:
            hint = f"{names}'s machine or the network between may be down"
        elif len(silent) == len(self._names) - 1:
            hint = "nobody answers: this machine's own network may be down"
        else:
            hint = "their machines or the network between may be down"
        return Lost(peer, f"no answer from {names} for {int(seconds)} s", hint)

    def _all(self, peers: Collection[PartyId]) -> list[str]:
        return [self._names[peer] for peer in sorted(peers)]

    def _listed(self, peers: Collection[PartyId]) -> str:
        return ", ".join(self._all(peers))
