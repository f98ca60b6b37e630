"""Any order of delivery, any mixture of what mallory and eve can do: honest parties hold one session, or none.

Some of the parties are honest, at least one. Mallory is all the others, hosts or joins, and owns the rendezvous: one
room for all, or a room for each half of the honest, in which she plays the other half or carries over what it says. She
repeats what was said, forges what she can sign, plans lies, and keeps, doubles, turns round, brings back and changes
what is on its way. Longer: COMITY_EFFORT=20 pytest tests/attacks/test_ceremony_machine.py
"""

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as search
from tests.core.log import Party, Room, parse, remake, secrets_of
from tests.effort import examples, patient

from comity.core import messages
from comity.core.ceremony import Ended, State
from comity.core.commands import Compare, Finished, Frozen
from comity.core.messages import REASONS, Envelope
from comity.core.roster import CHEAT
from comity.errors import ComityError, PeerError, ProgramDiffers, VerificationError, WordsDiffer

NAMES = ("alice", "bob", "carol", "dave")
ANY = st.integers(0, 2**16)
"""Which of several, whatever their number turns out to be."""
PLANS = st.tuples(st.sampled_from(("reveal", "agree", "confirm", *messages.TYPES)), ANY, st.tuples(ANY, ANY, ANY))
"""What another message she says in place of one of which type, and who of hers."""
busy = precondition(lambda self: self.puppets and not self.plain)
ONCE = ("hello", "reveal", "agree", "confirm")
ORDER = list(State)


class Meeting(RuleBasedStateMachine):
    ended: list[str] = []  # noqa: RUF012  # over all examples: how it ended for each honest party

    def __init__(self) -> None:
        super().__init__()
        self.rooms: list[Room] = []
        self.honest: list[Party] = []
        self.puppets: list[Party] = []
        self.earlier: list[Party] = []  # processes of the honest that have left, and came back as another
        self.cheated = self.carries = self.plain = False
        self.processes = 1  # whose keys have been drawn
        self.reached: dict[str, int] = {}  # how far each honest party has come

    @initialize(
        m=st.integers(2, 4),
        count=st.integers(1, 4),
        hosts=st.booleans(),
        layout=st.sampled_from(["one room", "she plays the others", "she carries over"]),
        verify=st.sampled_from(["words", "link"]),
        seed=ANY,
        steps=st.integers(0, 40),
        plan=PLANS | PLANS | st.none(),
        plain=st.sampled_from([False, False, True]),
    )
    def sit_down(
        self,
        m: int,
        count: int,
        hosts: bool,
        layout: str,
        verify: str,
        seed: int,
        steps: int,
        plan: tuple[str, int, tuple[int, int, int]] | None,
        plain: bool,
    ) -> None:
        """`hosts`: an honest party does; then there is one room. `plain`: nothing is done but what is planned here."""
        count = min(count, m if hosts else m - 1)
        names = list(NAMES[:count])
        if hosts or count < 2 or layout == "one room":
            groups = [names]
        else:
            groups = [names[:1], names[1:]]
            self.carries = layout == "she carries over"
        for group in groups:
            room = Room()
            self.rooms.append(room)
            absent = [name for name in names if name not in group]
            crowd = [f"mallory {i}" for i in range(m - count)]
            first = group[0] if hosts else crowd[0]
            room.host(first, m, verify="words" if hosts else verify)
            for name in (*group, *crowd):
                if name != first:
                    room.join(name, verify="words" if name in group else verify)
            if not self.carries:
                for name in absent:
                    room.join(name, secrets=secrets_of(f"mallory as {name}"))
        mine = {secrets_of(name).identity for name in names}
        everyone = [party for room in self.rooms for party in room.parties]
        self.honest = [party for party in everyone if party.secrets.identity in mine]
        self.puppets = [party for party in everyone if party not in self.honest]
        self.plain = plain
        if plan is not None and self.puppets:
            self.plan(*plan)
        self.some_time_passes(seed, steps)

    # -- what happens by itself --------------------------------------------------------------------------------------

    @rule(seed=ANY, steps=st.integers(1, 12))
    def some_time_passes(self, seed: int, steps: int) -> None:
        for room in self.rooms:
            room.run(seed, steps)
        if self.carries:
            for room in self.rooms:
                carried = {e.raw for e in room.log()}
                said = [(p, e) for other in self.rooms if other is not room for p in other.parties for e in other.log()]
                for raw in dict.fromkeys(e.raw for p, e in said if p in self.honest and e.sender == p.key):
                    if raw not in carried:
                        room.post(raw)

    @rule()
    def people_answer(self) -> None:
        """The honest call one another once all see words; mallory says whatever they like to hear."""
        same = len({p.words for p in self.honest}) == 1
        for party in (*self.honest, *self.puppets):
            if party.ceremony.state is State.COMPARING and not party.answered and party.error is None:
                if party in self.puppets:
                    party.answer(True)
                elif all(p.words for p in self.honest):
                    party.answer(same)

    @precondition(lambda self: not self.plain)
    @rule(who=ANY, reason=st.sampled_from(REASONS))
    def somebody_leaves(self, who: int, reason: str) -> None:
        """An honest party whose person, clock or network ends it."""
        party = pick(self.honest, who)
        if not party.left and not party.done:
            party.leave(reason)
            self.cheated = True  # for the others that is no way to a session either

    @precondition(lambda self: not self.plain)
    @rule(who=ANY)
    def who_has_left_comes_back(self, who: int) -> None:
        """In a new process, with the same identity."""
        party = pick(self.honest, who)
        if party.left and party.error is None and not any(e.type == "open" for e in map(parse, party.posts)):
            again = party.room.join(party.name, secrets=secrets_of(party.name, self.processes))
            self.honest[self.honest.index(party)] = again
            self.earlier.append(party)
            self.processes += 1
            self.reached.pop(party.name, None)

    # -- what mallory and eve do -------------------------------------------------------------------------------------

    @precondition(lambda self: not self.plain)
    @rule(what=ANY, where=ANY)
    def repeats_something(self, what: int, where: int) -> None:
        """In any room, whatever anybody said in any."""
        self.post(pick(self.said(), what).raw, where)

    @busy
    @rule(what=ANY, who=ANY, where=ANY, how=st.tuples(ANY, ANY, ANY))
    def forges_something(self, what: int, who: int, where: int, how: tuple[int, int, int]) -> None:
        """A message like another one, with something of a third, under an identity of hers."""
        self.post(self.forged(pick(self.said(), what), pick(self.puppets, who), how), where)

    @busy
    @rule(plan=PLANS)
    def plans_to_cheat(self, plan: tuple[str, int, tuple[int, int, int]]) -> None:
        self.plan(*plan)

    def plan(self, kind: str, who: int, how: tuple[int, int, int]) -> None:
        """She will say something else in the place of what she should say."""
        puppet = pick(self.puppets, who)
        puppet.instead[kind] = lambda envelope: [self.forged(envelope, puppet, how)]
        self.cheated = True

    @precondition(lambda self: not self.plain)
    @rule(who=ANY, which=ANY, act=st.sampled_from(["keep", "double", "turn round", "bring back", "change"]))
    def touches_what_is_on_its_way(self, who: int, which: int, act: str) -> None:
        party = pick(self.honest, who)
        inbox = party.inbox
        if not inbox:
            return
        self.cheated = True
        at = which % len(inbox)
        match act:
            case "keep":
                del inbox[at]
            case "double":
                inbox.insert(at, inbox[at])
            case "turn round":
                inbox.insert(0, inbox.pop(at))
            case "bring back":
                inbox.insert(0, pick(party.room.bodies, which))
            case "change":
                body = bytearray(inbox[at])
                body[which % len(body)] ^= 1 + which % 255
                inbox[at] = bytes(body)

    @rule(who=ANY, what=ANY)
    def speaks_to_who_has_ended(self, who: int, what: int) -> None:
        """Nothing brings an ended ceremony back."""
        party = pick(self.honest, who)
        if party.ceremony.state is State.ENDED:
            for act in (lambda: party.ceremony.receive(pick(self.said(), what).raw), party.ceremony.answer):
                try:
                    act()
                except Ended:
                    continue
                raise AssertionError("an ended ceremony went on")

    def post(self, raw: bytes, where: int) -> None:
        pick(self.rooms, where).post(raw)
        self.cheated = True

    def said(self) -> list[Envelope]:
        return [envelope for room in self.rooms for envelope in room.log()]

    def forged(self, like: Envelope, by: Party, how: tuple[int, int, int]) -> bytes:
        third = pick([e for e in self.said() if e.type == like.type] or [like], how[0])
        name = pick(sorted(like.body.keys() - {"from"}), how[1])
        mine, others = like.body[name], third.body.get(name)
        turned = mine[::-1] if isinstance(mine, list) else "00" * 32
        return remake(by.secrets, like, **{name: pick([others, turned, turned, 0, "link"], how[2])})

    # -- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def honest_parties_hold_one_session(self) -> None:
        done = [p.session for p in self.honest if p.session]
        assert len({(s.transcript, s.members, s.threshold, s.program_digest, s.transport) for s in done}) <= 1
        if done:  # then all are in it, saw the same words, said yes, and revealed for this roster
            assert {p.key for p in self.honest} <= {member.identity for member in done[0].members}
            one = next(p for p in self.honest if p.session)
            sure = [p for p in (*self.honest, *self.earlier) if p.answered and p.words == one.words != ()]
            sure = [p for p in sure if p.said("reveal").body["roster"] == one.said("reveal").body["roster"]]
            assert {p.key for p in sure} == {p.key for p in self.honest}  # who said so and left may be back
        for party in self.honest:
            for other in self.honest:
                if party.words and other.key in party.members:  # words stand on the signatures of all in the roster
                    agreed = [
                        e for p in (*self.honest, *self.earlier) if p.key == other.key for e in map(parse, p.posts)
                    ]
                    transcripts = [e.body["transcript"] for e in agreed if e.type == "agree"]
                    assert party.said("agree").body["transcript"] in transcripts

    @invariant()
    def each_step_stands_on_all_before_it(self) -> None:
        for party in self.honest:
            frozen = [c for c in party.told if isinstance(c, Frozen)]
            revealed = any(party.secrets.nonce.hex().encode() in raw for raw in party.posts)
            assert revealed == bool(frozen) == party.ceremony.spent
            if frozen:
                assert party.said("reveal").body["roster"] == frozen[0].shared.hex()
                assert heard(party, "roster") and len(heard(party, "hello")) >= len(frozen[0].names)
            for told, kind in ((Compare, "agree"), (Finished, "confirm")):
                if any(isinstance(c, told) for c in party.told):
                    transcript = party.said("agree").body["transcript"]
                    signed = {e.sender for e in heard(party, kind) if e.body["transcript"] == transcript}
                    assert party.members <= signed

    @invariant()
    def nothing_is_tried_again(self) -> None:
        for party in self.honest:
            kinds = [parse(raw).type for raw in party.posts]
            assert all(kinds.count(kind) <= 1 for kind in (*ONCE, "open", "roster", "leave"))
            assert "leave" not in kinds[:-1]
            reached = ORDER.index(party.ceremony.state)
            assert reached >= self.reached.get(party.name, 0)
            self.reached[party.name] = reached

    @invariant()
    def who_goes_on_has_read_nothing_wrong(self) -> None:
        for party in self.honest:
            if party.error is None and not party.left:
                assert all(readable(party, raw) for raw in party.heard)
                said = [(e.type, e.sender) for raw in party.heard if (e := parse(raw)).type not in ("hello", "leave")]
                assert len(set(said)) == len(said)
                for envelope in heard(party, "reveal"):
                    assert envelope.body["roster"] == party.said("reveal").body["roster"]
                    assert envelope.sender in party.members
                for envelope in (*heard(party, "agree"), *heard(party, "confirm")):
                    assert envelope.body["transcript"] == party.said("agree").body["transcript"]
                    assert envelope.sender in party.members

    @invariant()
    def errors_say_what_was_wrong(self) -> None:
        for party in self.honest:
            assert self.cheated or party.error is None or len(self.rooms) > 1
            if party.error is not None:
                judge(party, party.error)

    def teardown(self) -> None:
        """Whatever still can go on does."""
        for _ in range(6):  # carrying over takes turns
            self.some_time_passes(0, 1000)
            self.people_answer()
        self.honest_parties_hold_one_session()
        self.each_step_stands_on_all_before_it()
        self.nothing_is_tried_again()
        self.who_goes_on_has_read_nothing_wrong()
        self.errors_say_what_was_wrong()
        self.ended += ["a session" if p.done else "an error" if p.error else "waits" for p in self.honest]


def heard(party: Party, kind: str) -> list[Envelope]:
    """What this party has read of a type."""
    envelopes = (parse(raw) for raw in party.heard if readable(party, raw))
    return [envelope for envelope in envelopes if envelope.type == kind]


def readable(party: Party, raw: bytes) -> bool:
    return party.room.describe(raw) != "something malformed"


def judge(party: Party, error: ComityError) -> None:
    """Whether an error is of the right kind for what was read last, by what can be seen from outside."""
    assert error.message and not error.message.endswith(".")
    if error.message == WordsDiffer().message:
        assert party.words  # and its own person said no
        return
    raw = party.heard[-1]
    if not raw:
        assert type(error) is VerificationError and "was not sealed with this invitation" in error.message
        return
    if not readable(party, raw):
        assert type(error) is not VerificationError and CHEAT in error.hints
        return
    last = parse(raw)
    before = [parse(raw) for raw in party.heard[:-1] if readable(party, raw)]
    if last.type == "leave":
        expected = {"words": WordsDiffer, "program": ProgramDiffers}.get(last.body["reason"], PeerError)
        assert isinstance(error, expected) or "in your name" in error.message
    elif any((e.type, e.sender) == (last.type, last.sender) for e in before) and "twice" in error.message:
        assert type(error) is PeerError and CHEAT in error.hints
    else:
        assert isinstance(error, PeerError | VerificationError) and error.hints
    if last.sender != party.key and (name := known(party, last.sender)):
        blamed = [other for other in NAMES if re.search(rf"\b{other}\b", error.message)]
        assert not blamed or name in error.message or last.type in ("roster", "hello")


def known(party: Party, sender: bytes) -> str:
    """The name that somebody has given to this party."""
    return next((str(e.body["name"]) for e in heard(party, "hello") if e.sender == sender), "")


def pick(among: list[Any], which: int) -> Any:
    return among[which % len(among)]


@patient
def test_honest_parties_hold_one_session_or_none() -> None:
    Meeting.ended.clear()
    search(
        Meeting,
        settings=settings(
            max_examples=examples(150),
            stateful_step_count=10,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert {"a session", "an error", "waits"} <= set(Meeting.ended)  # the rules reach all


@pytest.mark.parametrize("steps", range(30))
def test_who_left_after_any_step_and_came_back_has_said_what_it_had_said(steps: int) -> None:
    meeting = Meeting()
    meeting.sit_down(2, 2, True, "one room", "words", 0, steps, None, False)
    meeting.somebody_leaves(1, "words")
    meeting.who_has_left_comes_back(1)
    meeting.teardown()
