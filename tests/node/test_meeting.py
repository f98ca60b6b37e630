"""Meetings over rooms of this process: what people see, and what the others are told when one leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from tests.core.log import SANTA, TRANSPORTS, secrets_of

from comity.core import messages
from comity.core.ceremony import Ceremony
from comity.core.identity import fingerprint, public_key
from comity.core.messages import Open
from comity.core.program import Program
from comity.core.sealing import room_key, room_name, unseal
from comity.errors import ComityError, PeerError, UnreachableError, UsageError, VerificationError
from comity.links.certificate import make_certificate
from comity.node import meeting
from comity.node.meeting import Meeting
from comity.rendezvous.memory import MemoryRendezvous

SECRET = b"s" * 16
HOST = fingerprint(public_key(secrets_of("alice").identity))


class Person:
    """Sees, and says what the test has it say; a question without an answer waits."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._news = asyncio.Event()

    def line(self, label: str, /, *lines: str, event: str, **fields: object) -> None:
        self.lines.append(f"{label}: {' '.join(lines)}")
        self._news.set()

    def detail(self, *lines: str, event: str, **fields: object) -> None:
        raise AssertionError

    async def ask(self, label: str, /, *lines: str, option: str, event: str = "question", **fields: object) -> bool:
        raise AssertionError

    def expect(self, question: str, /, *, option: str) -> None:
        raise AssertionError

    async def ask_hidden(self, question: str, /, *, option: str) -> str:
        raise AssertionError

    async def compare(self, words: tuple[str, ...], own: str, others: Mapping[str, str], /, *, option: str) -> bool:
        self.line("Check", *others, event="check")
        return await self.answer

    async def sees(self, line: str) -> None:
        while line not in self.lines:
            self._news.clear()
            await self._news.wait()


class Room:
    def __init__(self, stack: AsyncExitStack, m: int) -> None:
        self._stack, self._m, self._rendezvous = stack, m, MemoryRendezvous()
        self.people: dict[str, Person] = {}
        self.held: dict[str, Meeting] = {}
        self.meetings: dict[str, asyncio.Task[Any]] = {}

    async def enter(
        self, name: str, *, transports: tuple[str, ...] = TRANSPORTS, wants: tuple[str, ...] = ("",)
    ) -> Person:
        """alice hosts. `wants`: the names that a joiner takes, the first that is free."""
        secrets = secrets_of(name)
        opened = Open(self._m, (self._m - 1) // 2, SANTA, TRANSPORTS, name, "words")
        host = opened if name == "alice" else HOST
        ceremony = Ceremony(secrets, make_certificate(secrets.session), name, transports, "words", host)
        mailbox = await self._stack.enter_async_context(self._rendezvous.open(room_name(SECRET)))
        person = self.people[name] = Person()

        async def choose(_: Open) -> Program:
            return SANTA

        def naming(taken: Sequence[str]) -> str:
            return next(want for want in wants if want not in taken)

        held = Meeting(ceremony, mailbox, room_key(SECRET), person, 60, choose, naming, lambda _: None, lambda _: None)
        self.held[name] = held
        self.meetings[name] = task = asyncio.create_task(held.hold())
        self._stack.push_async_callback(cancel, task)
        return person

    async def reasons(self, count: int) -> list[str]:
        """Of the first LEAVEs in the log."""
        said: list[str] = []
        async with self._rendezvous.open(room_name(SECRET)) as mailbox:
            async for _, body in mailbox.read():
                envelope = messages.parse(unseal(room_key(SECRET), body, meeting.CONTEXT))
                if envelope.type == "leave":
                    said.append(messages.read_leave(envelope)[2])
                if len(said) == count:
                    break
        return said

    async def error(self, name: str) -> ComityError:
        with pytest.raises(ComityError) as caught:
            await self.meetings[name]
        return caught.value


async def cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def room(m: int) -> AsyncIterator[Room]:
    async with AsyncExitStack() as stack:
        yield Room(stack, m)


async def test_a_session_comes_of_it() -> None:
    async with room(2) as r:
        people = [await r.enter(name) for name in ("alice", "bob")]
        for person in people:
            person.answer.set_result(True)
        finished = await asyncio.gather(*r.meetings.values())
        assert finished[0].session == finished[1].session
        assert people[0].lines[:2] == ["Joined: bob", "Check: bob"]


@pytest.mark.parametrize(
    ("exc", "told"),
    [
        (UsageError("a question without an answer"), "alice left: an error there"),
        (ComityError("a bug"), "alice left: an error there"),
        (UnreachableError("no way"), "alice left: no path to another party"),
        (VerificationError("another key"), "alice left: somebody broke the protocol"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_the_others_are_told_whose_trouble_it_is(exc: ComityError, told: str) -> None:
    """What ends a party for a reason of its own is nobody's no, and nobody's cheat."""
    async with room(2) as r:
        alice, bob = await r.enter("alice"), await r.enter("bob")
        await bob.sees("Check: alice")
        alice.answer.set_exception(exc)
        assert await r.error("alice") is exc
        assert (await r.error("bob")).message == told


async def test_who_waited_too_long_accuses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async with room(2) as r:
        alice, _ = await r.enter("alice"), await r.enter("bob")
        monkeypatch.setattr(r.held["alice"], "_patience", lambda _: 0.2)
        alice.answer.set_result(True)
        late = await r.error("alice")
        assert isinstance(late, PeerError) and late.message == "no answer from bob for 0 s"
        assert (await r.error("bob")).message == "alice left: an error there"


async def test_who_ends_because_another_left_repeats_its_reason() -> None:
    async with room(3) as r:
        people = [await r.enter(name) for name in ("alice", "bob", "carol")]
        for person, others in zip(people, ("bob carol", "alice carol", "alice bob"), strict=True):
            await person.sees(f"Check: {others}")
        await cancel(r.meetings["carol"])
        for name in ("alice", "bob"):
            assert (await r.error(name)).message == "carol left: interrupted"
        assert await r.reasons(3) == ["interrupted"] * 3


async def test_a_room_without_its_host_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "REMIND_SECONDS", 0.01)
    async with room(2) as r:
        bob = await r.enter("bob")
        said = "Waiting: the host: not here yet, or not any more; is this its newest invitation?"
        await bob.sees(said)
        alice = await r.enter("alice")
        await alice.sees("Joined: bob")
        assert bob.lines.count(said) == 1


async def test_who_was_too_late_for_a_name_takes_another() -> None:
    """Two who enter at once both say HELLO before they can see the other's."""
    async with room(3) as r:
        alice, wants = await r.enter("alice"), ("pat", "pat-2")
        bob, carol = await r.enter("bob", wants=wants), await r.enter("carol", wants=wants)
        await alice.sees("Check: pat pat-2")
        await bob.sees("Check: alice pat-2")
        await carol.sees("Check: alice pat")
        assert alice.lines.count("Refused: pat: the name is taken") == 1


async def test_a_name_that_is_taken_is_told_to_its_bearer_and_to_the_rest() -> None:
    async with room(3) as r:
        alice, _ = await r.enter("alice"), await r.enter("bob")
        await alice.sees("Joined: bob")
        await r.enter("eve", wants=("b0b",))
        assert (await r.error("eve")).message == "the name b0b looks like bob, who is here already"
        carol = await r.enter("carol")
        await carol.sees("Check: alice bob")
        assert [line for line in alice.lines if line != "Refused: b0b: the name looks like bob"] == [
            "Joined: bob",
            "Joined: carol",
            "Check: bob carol",
        ]
