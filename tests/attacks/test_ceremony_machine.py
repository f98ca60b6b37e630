"""Any order of delivery, any mixture of what mallory and eve can do: honest parties hold one session, or none.

Alice and bob are honest; mallory has as many identities as she likes, hosts or joins, and owns the rendezvous: one
room for all, or a room for each, in which she plays the other one or carries over what the other one says. She repeats
what was said, forges what she can sign, and keeps, doubles and turns round what is on its way.
"""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.core.log import Party, Room, remake, secrets_of

from comity.core import messages
from comity.core.ceremony import State
from comity.core.commands import Frozen
from comity.core.messages import Envelope

ANY = st.integers(0, 2**16)
"""Which of several, whatever their number turns out to be."""


class Meeting(RuleBasedStateMachine):
    ended: list[str] = []  # noqa: RUF012  # over all examples: how it ended for alice and for bob

    def __init__(self) -> None:
        super().__init__()
        self.rooms: list[Room] = []
        self.honest: list[Party] = []
        self.puppets: list[Party] = []
        self.cheated = self.carries = False

    @initialize(
        layout=st.sampled_from(["alice hosts", "mallory hosts", "she plays the other", "she carries over"]),
        verify=st.sampled_from(["words", "link"]),
        seed=ANY,
        steps=st.integers(0, 40),
    )
    def sit_down(self, layout: str, verify: str, seed: int, steps: int) -> None:
        one, two = Room(), Room()
        self.rooms = [one, two] if layout.startswith("she") else [one]
        self.carries = layout == "she carries over"
        if layout == "alice hosts":
            alice, bob = one.host("alice", 3), one.join("bob")
            one.join("mallory", verify=verify)
        elif layout == "mallory hosts":
            one.host("mallory", 3, verify=verify)
            alice, bob = one.join("alice"), one.join("bob")
        else:
            for room in self.rooms:
                room.host("mallory", 3, verify=verify)
            alice, bob = one.join("alice"), two.join("bob")
            if not self.carries:
                one.join("bob", secrets=secrets_of("mallory as bob"))
                two.join("alice", secrets=secrets_of("mallory as alice"))
        self.honest = [alice, bob]
        self.puppets = [p for room in self.rooms for p in room.parties if p not in self.honest]
        self.some_time_passes(seed, steps)

    # -- what happens by itself --------------------------------------------------------------------------------------

    @rule(seed=ANY, steps=st.integers(1, 12))
    def some_time_passes(self, seed: int, steps: int) -> None:
        for room in self.rooms:
            room.run(seed, steps)
        if self.carries:
            for room, party in zip(self.rooms, self.honest[::-1], strict=True):
                carried = {e.raw for e in room.log()}
                for raw in (e.raw for e in party.room.log() if e.sender == party.key):
                    if raw not in carried:
                        room.post(raw)

    @rule()
    def people_answer(self) -> None:
        """Alice and bob call one another once both see words; mallory says whatever they like to hear."""
        waiting = [p for p in (*self.honest, *self.puppets) if p.ceremony.state is State.COMPARING and not p.answered]
        same = len({p.words for p in self.honest}) == 1
        for party in waiting:
            if party in self.puppets or all(p.words for p in self.honest):
                party.answer(party in self.puppets or same)

    # -- what mallory and eve do -------------------------------------------------------------------------------------

    @rule(what=ANY, where=ANY)
    def repeats_something(self, what: int, where: int) -> None:
        """In any room, whatever anybody said in any."""
        self.post(pick(self.said(), what).raw, where)

    @rule(what=ANY, who=ANY, where=ANY, how=st.tuples(ANY, ANY, ANY))
    def forges_something(self, what: int, who: int, where: int, how: tuple[int, int, int]) -> None:
        """A message like another one, with something of a third, under an identity of hers."""
        self.post(self.forged(pick(self.said(), what), pick(self.puppets, who), how), where)

    @rule(kind=st.sampled_from(messages.TYPES), who=ANY, how=st.tuples(ANY, ANY, ANY))
    def plans_to_cheat(self, kind: str, who: int, how: tuple[int, int, int]) -> None:
        """In the place of what she should say."""
        puppet = pick(self.puppets, who)
        puppet.instead[kind] = lambda envelope: [self.forged(envelope, puppet, how)]
        self.cheated = True

    @rule(who=ANY, act=st.sampled_from(["keep", "double", "turn round"]))
    def touches_what_is_on_its_way(self, who: int, act: str) -> None:
        inbox = pick(self.honest, who).inbox
        if len(inbox) > 1:
            first, second = inbox[:2]
            inbox[:2] = {"keep": [second], "double": [first, first, second], "turn round": [second, first]}[act]
            self.cheated = True

    def post(self, raw: bytes, where: int) -> None:
        pick(self.rooms, where).post(raw)
        self.cheated = True

    def said(self) -> list[Envelope]:
        return [envelope for room in self.rooms for envelope in room.log()]

    def forged(self, like: Envelope, by: Party, how: tuple[int, int, int]) -> bytes:
        third = pick([e for e in self.said() if e.type == like.type] or [like], how[0])
        name = pick(sorted(like.body), how[1])
        mine, others = like.body[name], third.body.get(name)
        turned = mine[::-1] if isinstance(mine, list) else "00" * 32
        return remake(by.secrets, like, **{name: pick([others, turned, turned, 0, "link"], how[2])})

    # -- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        done = [p.session for p in self.honest if p.session]
        assert len({(s.transcript, s.members) for s in done}) <= 1
        if done:  # then each of them is in it, saw the same words, and said yes
            assert {p.key for p in self.honest} < {member.identity for member in done[0].members}
            assert self.honest[0].words == self.honest[1].words != ()
            assert all(p.answered for p in self.honest)
        for party in self.honest:
            for other in self.honest:
                if party.words and other.key in party.members:  # words stand on the signatures of all in the roster
                    assert party.said("agree").body["transcript"] == other.said("agree").body["transcript"]
            revealed = any(party.secrets.nonce.hex().encode() in raw for raw in party.posts)
            assert revealed == any(isinstance(c, Frozen) for c in party.told) == party.ceremony.spent
            assert self.cheated or party.error is None or not self.same_room()

    def same_room(self) -> bool:
        return len(self.rooms) == 1

    def teardown(self) -> None:
        """Whatever still can go on does."""
        for _ in range(6):  # carrying over takes turns
            self.some_time_passes(0, 1000)
            self.people_answer()
        self.holds()
        self.ended += ["a session" if p.done else "an error" if p.error else "waits" for p in self.honest]


def pick(among: list[Any], which: int) -> Any:
    return among[which % len(among)]


def test_honest_parties_hold_one_session_or_none() -> None:
    Meeting.ended.clear()
    run_state_machine_as_test(
        Meeting,
        settings=settings(
            max_examples=100, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
    assert {"a session", "an error"} <= set(Meeting.ended)  # the rules reach both
