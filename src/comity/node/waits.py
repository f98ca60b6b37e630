"""For whom a run waits: peers without a path yet, programs that have not started, nodes that are not heard any more.
And, as the program's process says: peers whose message the program needs, or who do not take what it sends.

A node answers heartbeats whatever its program does, so silence means that its machine, or the network between, is gone.
TCP alone would go on asking for a quarter of an hour.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from comity.core.record import StallRecord
from comity.errors import PeerError
from comity.interfaces import PartyId
from comity.mpyc_bridge.stalls import MESSAGE, REASONS, START, UNREAD
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
    START: "{names}: {seconds} s for another start of the program there",
    MESSAGE: "{names}: {seconds} s for a message",
    UNREAD: "{names}: nothing was taken for {seconds} s",
}
WORTH_SECONDS = {why: TELL_SECONDS if why == "silence" else 2.0 for why in _TEXTS}
"""Of waiting, to stand in the record. Nobody is heard all the time."""
MAX_STALLS = 100
"""In the record: the longest."""
_PERHAPS = "; perhaps two others have no path to one another yet"
"""A program starts when its node has reached every other one."""


_NOBODY: Mapping[PartyId, tuple[str, float]] = MappingProxyType({})


class Lost(PeerError):
    """a peer is not heard any more"""

    def __init__(self, peer: PartyId, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.peer = peer  # has been silent for longest


class _Stalls:
    """The waits that are over and lasted, for the record; of many the longest."""

    def __init__(self) -> None:
        self.over: list[StallRecord] = []
        self._lasting: dict[tuple[PartyId, str], float] = {}

    def note(self, waits: Mapping[tuple[PartyId, str], float]) -> None:
        """For whom the run waits now and why, and for how long."""
        for (peer, why), seconds in self._lasting.items():
            if waits.get((peer, why), 0.0) < seconds and seconds >= WORTH_SECONDS[why]:
                self.over.append(StallRecord(peer, why, round(seconds, 3)))
                if len(self.over) > MAX_STALLS:
                    self.over.remove(min(self.over, key=lambda stall: stall.seconds))
        self._lasting = dict(waits)


class Waits:
    """Keeps what people have been told. `names`: of all parties; times are in seconds, of any one clock."""

    def __init__(self, names: tuple[str, ...], person: Person, now: float) -> None:
        self._names, self._person = names, person
        self._began = self._awake = self._looked = now
        self._due = dict.fromkeys(_TEXTS, TELL_SECONDS)
        self._silent: dict[PartyId, float] = {}
        self._stalls = _Stalls()

    def end(self) -> list[StallRecord]:
        """What has been waited for, also at the end."""
        self._stalls.note({})
        return self._stalls.over

    def look(
        self,
        now: float,
        silences: Mapping[PartyId, float],
        pathless: Collection[PartyId],
        idle: Collection[PartyId],
        stalled: Mapping[PartyId, tuple[str, float]] = _NOBODY,
    ) -> None:
        """`silences`: how long ago each peer with a control link was heard; `idle`: those without a data link;
        `stalled`: for whom the program waits, why, and for how long.

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
        wanted = {peer: wait for peer, wait in stalled.items() if peer not in silent}
        for why in REASONS:
            long = {p: seconds for p, (reason, seconds) in wanted.items() if reason == why and seconds >= TELL_SECONDS}
            self._tell(why, long, max(long.values(), default=0.0))
        self._note(now, pathless, idle, heard, wanted)
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

    def _note(
        self,
        now: float,
        pathless: Collection[PartyId],
        idle: Collection[PartyId],
        heard: Mapping[PartyId, float],
        wanted: Mapping[PartyId, tuple[str, float]],
    ) -> None:
        waits = {(peer, "path"): now - self._began for peer in pathless}
        waits |= {(peer, "program"): now - self._began for peer in idle if peer not in pathless}
        waits |= {(peer, "silence"): seconds for peer, seconds in heard.items()}
        waits |= {(peer, why): seconds for peer, (why, seconds) in wanted.items()}
        self._stalls.note(waits)

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
