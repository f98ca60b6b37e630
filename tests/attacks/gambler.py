"""Mallory gambles: two honest people shall see the same check words, each in a session of its own.

She hosts, owns the rendezvous, and sits in all seats of a room but those of the honest. So she shows everyone what she
likes, in any order, and knows every nonce that is out. What she plays for is a coincidence of words, so here words have
a few bits only (`short_words`); everything else is the product's ceremony. A strategy is a generator that gives one Try
after another: a ceremony in which somebody honest revealed a nonce. The strategies look at the words as soon as they
can be known, which is before any person sees them, and leave when they differ.

A Table is one room. The same strategies play against the weaker ceremonies of tests/attacks/weakened.py, to show that
they are good players.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import combinations, permutations
from unittest import mock

from tests.core.log import SANTA, TRANSPORTS, Party, Room, hello_of, parse, remake

from comity.core import ceremony, messages
from comity.core.ceremony import Ceremony
from comity.core.encoding import decode, digest
from comity.core.identity import Secrets, public_key
from comity.core.limits import MAX_BODY
from comity.core.messages import Envelope, Hello, Open
from comity.errors import ComityError

Words = tuple[str, ...]
PATIENCE = 8
"""How often carol's person starts again while bob waits for her call."""
MAX_TRIES = 200
"""How often mallory goes on with a node that tries again by itself."""


@contextmanager
def short_words(bits: int) -> Iterator[None]:
    """One word of so many bits, the first of those that the product takes."""

    def check_words(transcript: bytes) -> Words:
        return (str(digest("words", transcript)[0] >> 8 - bits),)

    with mock.patch.object(ceremony, "check_words", check_words):
        yield


@dataclass(frozen=True)
class Try:
    """A ceremony in which somebody honest revealed a nonce."""

    alike: bool = False  # two honest people saw the same words in different sessions
    deceived: bool = False  # and, having compared with everyone, both hold a session
    again: int = 0  # what honest nodes tried once more by themselves


def draw(rng: random.Random, _name: str) -> Secrets:
    return Secrets(*(rng.randbytes(32) for _ in range(4)))


@dataclass(frozen=True)
class World:
    """What mallory plays against: honest people with honest nodes, if nothing else is said."""

    rng: random.Random
    ceremony: type[Ceremony] = Ceremony
    draw: Callable[[random.Random, str], Secrets] = draw  # an honest node's secrets for one ceremony
    careless: bool = False  # people compare with the host only, and she says whatever they like to hear
    others: tuple[str, ...] = ()  # more puppets at each table: more orders to choose from


class Table:
    """A room that mallory hosts for `honest` people. `absent`: whom else they expect, all puppets."""

    def __init__(self, world: World, honest: Sequence[str], absent: Sequence[str]) -> None:
        self.room = Room(ceremony=world.ceremony)
        self.puppets = {name: draw(world.rng, name) for name in ("mallory", *absent, *world.others)}
        self.m = len(honest) + len(self.puppets)
        self.nonces = {name: secrets.nonce for name, secrets in self.puppets.items()}
        host = public_key(self.puppets["mallory"].identity)
        self.honest = [self.room.join(name, secrets=world.draw(world.rng, name), host=host) for name in honest]

    def opens(self) -> None:
        """OPEN; the honest say HELLO."""
        self.revealed = False
        key = public_key(self.puppets["mallory"].session)
        opened = Open(self.m, (self.m - 1) // 2, SANTA, TRANSPORTS, "mallory", "words", key)
        self.opening, self.open = self._say("mallory", "open", opened.body()), opened
        self.room.run()
        self.hellos: dict[str, Hello] = {}
        self.listen()

    def sits_down(self) -> None:
        """HELLO of every puppet."""
        for name, secrets in self.puppets.items():
            self.hellos[name] = hello_of(secrets, self.opening.digest, name)
            self.room.post(self.hellos[name].envelope.raw)
        self.room.run()

    def freezes(self, order: Iterable[str] = ()) -> None:
        """ROSTER; the honest reveal, and mallory knows all that T is made of."""
        self.order = tuple(order or self.hellos)
        self.roster = self.roster_of(self.order)
        self.revealed = False
        self.room.post(self.roster.raw)
        self.room.run()
        self.listen()

    def listen(self) -> None:
        """What the honest have said and revealed, also where they should not have."""
        for party in self.honest:
            for envelope in map(parse, party.posts):
                if envelope.type == "hello":
                    self.hellos[party.name] = messages.read_hello(envelope)
                elif envelope.type == "reveal":
                    self.nonces[party.name] = messages.read_reveal(envelope)[1]

    def reveals(self, **other: bytes) -> None:
        """REVEAL of every puppet, some perhaps of another nonce; the honest agree."""
        self.nonces |= other
        self.revealed = True
        for name in self.puppets:
            body = {"roster": self.roster.digest.hex(), "nonce": self.nonces[name].hex()}
            self._say(name, "reveal", body)
        self.room.run()

    def agrees(self, other: bytes = b"") -> None:
        """AGREE of every puppet, perhaps to another T; the honest see the words."""
        for name in self.puppets:
            self._say(name, "agree", {"transcript": (other or self.transcript()).hex()})
        self.room.run()

    def confirms(self, other: bytes = b"") -> None:
        """CONFIRM of every puppet."""
        for name in self.puppets:
            others = [i for i, party in enumerate(self.order) if party != name]
            body = {"transcript": (other or self.transcript()).hex(), "how": "words", "verified": others}
            self._say(name, "confirm", body)
        self.room.run()

    def draws_again(self, name: str) -> None:
        """A puppet leaves, comes back with a fresh nonce, and is seated anew."""
        self._leave(name)
        self.puppets[name] = replace(self.puppets[name], nonce=self.room.key)
        self.nonces[name] = self.room.key
        self.sits_down()
        self.freezes(self.order)

    def leaves(self) -> None:
        """LEAVE of the host."""
        self._leave("mallory")
        self.room.run()

    def _leave(self, name: str) -> None:
        hello = self.hellos[name].envelope.digest.hex()
        self._say(name, "leave", {"open": self.opening.digest.hex(), "hello": hello, "reason": "interrupted"})

    def _say(self, name: str, kind: str, body: dict[str, object]) -> Envelope:
        envelope = messages.make(kind, self.puppets[name].identity, body)
        self.room.post(envelope.raw)
        return envelope

    # -- what she computes -------------------------------------------------------------------------------------------

    def transcript(self) -> bytes:
        return self._transcript(self.roster, self.order, self.nonces)

    def words(self) -> Words:
        return ceremony.check_words(self.transcript())

    def _transcript(self, roster: Envelope, order: Sequence[str], nonces: dict[str, bytes]) -> bytes:
        return digest("transcript", self.opening.raw, roster.raw, *(nonces[name] for name in order))

    def roster_of(self, order: Sequence[str]) -> Envelope:
        hellos: tuple[Hello, ...] = tuple(self.hellos[name] for name in order)
        return messages.make_roster(self.puppets["mallory"].identity, self.opening.digest, self.open, hellos)

    def order_for(self, aim: Words, **guess: bytes) -> tuple[str, ...]:
        """The order of the parties under which the words are these, if the honest nonces are as she guesses."""
        order: tuple[str, ...] = ()
        for order in permutations(self.hellos):
            roster = self.roster_of(order)
            if ceremony.check_words(self._transcript(roster, order, self.nonces | guess)) == aim:
                break
        return order

    def nonce_for(self, aim: Words, name: str) -> bytes:
        """A nonce of a puppet under which the words are these."""
        for i in range(1 << 16):
            nonce = i.to_bytes(32)
            if ceremony.check_words(self._transcript(self.roster, self.order, self.nonces | {name: nonce})) == aim:
                return nonce
        raise AssertionError("no nonce in 65 536 gives these words")


# -- how a ceremony ends -----------------------------------------------------------------------------------------------


def abort(world: World, *tables: Table) -> Try:
    """She leaves, or falls silent."""
    if world.rng.random() < 0.5:
        for table in tables:
            table.leaves()
    return Try(again=sum(map(again, people_at(tables))))


def go_on(world: World, *tables: Table) -> Try:
    """To the end, with people who call one another."""
    for table in tables:
        if not table.revealed:
            table.reveals()
        table.agrees()
    return call(world, *tables)


def call(world: World, *tables: Table) -> Try:
    """Everyone compares with everyone, and says yes only when all the words are the same."""
    people = people_at(tables)
    same = world.careless or len({party.words for party in people}) == 1
    for party in people:
        if party.compare is not None and party.error is None:
            party.answer(same)
    for table in tables:
        table.room.run()
        table.confirms()
    pairs = [(p, q) for p, q in combinations(people, 2) if p.room is not q.room]
    return Try(
        alike=any(p.words == q.words != () for p, q in pairs),
        deceived=any(p.session and q.session for p, q in pairs),
        again=sum(map(again, people)),
    )


def people_at(tables: Iterable[Table]) -> list[Party]:
    return [party for table in tables for party in table.honest]


def again(party: Party) -> int:
    """What a node has done a second time, and what it still does when everything is said to it once more."""
    kinds = [parse(raw).type for raw in party.posts]
    more = sum(max(0, kinds.count(kind) - 1) for kind in ("hello", "reveal"))
    if "reveal" in kinds:
        for envelope in party.room.log():
            try:
                more += len(party.ceremony.receive(envelope.raw))
            except ComityError:
                continue
    return more


def fit(world: World, *tables: Table) -> bool:
    """Whether people will find nothing wrong."""
    return world.careless or len({table.words() for table in tables}) == 1


# -- strategies --------------------------------------------------------------------------------------------------------


def two_tables(world: World) -> tuple[Table, Table]:
    return Table(world, ["bob"], ["carol"]), Table(world, ["carol"], ["bob"])


def both_frozen(world: World) -> tuple[Table, Table]:
    tables = two_tables(world)
    for table in tables:
        table.opens()
        table.sits_down()
        table.freezes()
    return tables


def looks(world: World) -> Iterator[Try]:
    """looks at the words of both rooms, and leaves when they differ"""
    while True:
        bob, carol = both_frozen(world)
        yield go_on(world, bob, carol) if fit(world, bob, carol) else abort(world, bob, carol)


def guesses(world: World) -> Iterator[Try]:
    """makes the second room fit the first, for the nonce that carol used last (or has let out)"""
    last = bytes(32)
    while True:
        bob, carol = two_tables(world)
        bob.opens()
        bob.sits_down()
        bob.freezes()
        carol.opens()
        carol.sits_down()
        carol.listen()
        carol.freezes(carol.order_for(bob.words(), carol=carol.nonces.get("carol", last)))
        last = carol.nonces["carol"]
        yield go_on(world, bob, carol) if fit(world, bob, carol) else abort(world, bob, carol)


def reveals_otherwise(world: World) -> Iterator[Try]:
    """looks, then searches another nonce of her own that fits"""
    while True:
        bob, carol = both_frozen(world)
        if bob.words() != carol.words():
            carol.reveals(bob=carol.nonce_for(bob.words(), "bob"))
        yield go_on(world, bob, carol)


def freezes_again(world: World) -> Iterator[Try]:
    """looks, then searches another order that fits, and sends a second roster"""
    while True:
        bob, carol = both_frozen(world)
        if bob.words() != carol.words():
            carol.freezes(carol.order_for(bob.words()))
        yield go_on(world, bob, carol)


def keeps_bob(world: World) -> Iterator[Try]:
    """lets bob wait for carol's call, while carol's person starts again and again"""
    while True:
        bob = Table(world, ["bob"], ["carol"])
        bob.opens()
        bob.sits_down()
        bob.freezes()
        bob.reveals()
        bob.agrees()
        for _ in range(PATIENCE):
            carol = Table(world, ["carol"], ["bob"])
            carol.opens()
            carol.sits_down()
            carol.freezes()
            if bob.words() == carol.words():
                carol.reveals()
                carol.agrees()
                yield call(world, bob, carol)
                break
            yield abort(world, carol)


def three_rooms(world: World) -> Iterator[Try]:
    """gives three people a room each: three pairs (a third person would still notice)"""
    people = ("bob", "carol", "dave")
    while True:
        tables = [Table(world, [name], [other for other in people if other != name]) for name in people]
        for table in tables:
            table.opens()
            table.sits_down()
            table.freezes()
        hit = len({table.words() for table in tables}) < len(tables)
        yield go_on(world, *tables) if hit else abort(world, *tables)


def two_and_one(world: World) -> Iterator[Try]:
    """puts bob and carol into one room, dave into another"""
    while True:
        tables = Table(world, ["bob", "carol"], ["dave"]), Table(world, ["dave"], ["bob", "carol"])
        for table in tables:
            table.opens()
            table.sits_down()
            table.freezes()
        yield go_on(world, *tables) if fit(world, *tables) else abort(world, *tables)


def drives_on(world: World) -> Iterator[Try]:
    """looks, leaves, and goes on with a node that tries again by itself"""
    while True:
        bob, carol = both_frozen(world)
        for _ in range(MAX_TRIES):
            said = carol.hellos["carol"]
            if fit(world, bob, carol):
                break
            carol.leaves()
            carol.listen()
            if carol.hellos["carol"] == said:
                break
            carol.sits_down()
            carol.freezes()
        yield go_on(world, bob, carol) if fit(world, bob, carol) else abort(world, bob, carol)


def stirs(world: World) -> Iterator[Try]:
    """looks, then repeats, carries over, comes back, says things twice, in any order"""
    rng = world.rng
    while True:
        bob, carol = both_frozen(world)
        if not fit(world, bob, carol):
            said = [envelope.raw for table in (bob, carol) for envelope in table.room.log()]
            acts: list[Callable[[], object]] = [
                lambda: carol.room.post(rng.choice(said)),  # noqa: B023  # used up in this round
                lambda: carol.draws_again("bob"),  # noqa: B023
                lambda: carol.freezes(rng.sample(carol.order, carol.m)),  # noqa: B023
                lambda: carol.reveals(bob=carol.nonce_for(bob.words(), "bob")),  # noqa: B023
                lambda: carol.agrees(bob.transcript()),  # noqa: B023
                lambda: carol.confirms(bob.transcript()),  # noqa: B023
                carol.reveals,
            ]
            for act in rng.choices(acts, k=rng.randint(1, 5)):
                act()
        yield go_on(world, bob, carol)


def honest_host(world: World) -> Iterator[Try]:
    """does not host: gives alice a false bob, and bob a false roster"""
    while True:
        one, two = Room(ceremony=world.ceremony), Room(ceremony=world.ceremony)
        alice = one.host("alice", 3, secrets=world.draw(world.rng, "alice"))
        bob = two.join("bob", secrets=world.draw(world.rng, "bob"), host=alice.key)
        puppets = [one.join(name, secrets=draw(world.rng, name)) for name in ("bob", "mallory")]
        one.run()  # as far as alice's words
        two.post(alice.said("open").raw)
        two.run()
        said = [party.said("hello") for party in (alice, bob, puppets[1])]
        roster = alice.said("roster").raw
        if world.rng.random() < 0.5:
            hellos = [decode(hello.raw, MAX_BODY) for hello in said]
            roster = remake(puppets[1].secrets, alice.said("roster"), hellos=hellos)
        for raw in (said[0].raw, said[2].raw, roster, alice.said("reveal").raw):
            two.post(raw)
        two.run()
        for party in (*puppets, alice):
            party.answer(party in puppets or alice.words == bob.words)
        one.run()
        two.run()
        yield Try(alice.words == bob.words, bool(alice.session and bob.session), again(alice) + again(bob))


@dataclass(frozen=True)
class Strategy:
    play: Callable[[World], Iterator[Try]]
    chance: Callable[[float], float] = field(default=lambda one: one)
    """Of a try with equal words, given the chance that two given words are the same."""

    @property
    def title(self) -> str:
        return self.play.__doc__ or ""


STRATEGIES = {
    "looks": Strategy(looks),
    "guesses": Strategy(guesses),
    "reveals otherwise": Strategy(reveals_otherwise),
    "freezes again": Strategy(freezes_again),
    "keeps bob": Strategy(keeps_bob),
    "three rooms": Strategy(three_rooms, lambda one: 1 - (1 - one) * (1 - 2 * one)),
    "two and one": Strategy(two_and_one),
    "drives on": Strategy(drives_on),
    "stirs": Strategy(stirs),
    "honest host": Strategy(honest_host, lambda _: 0.0),
}
