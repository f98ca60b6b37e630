import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from comity.core.limits import BODY_COST
from comity.errors import UsageError
from comity.rendezvous.log import Full
from comity.rendezvous.rooms import Bucket, Limits, Reason, Refused, Room, Rooms, check_room

A, B = "0a" * 16, "0b" * 16


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def refusal(rooms: Rooms, name: str, address: str = "") -> Reason:
    with pytest.raises(Refused) as refused:
        rooms.enter(name, address)
    return refused.value.reason


def test_a_room_is_kept_for_its_memory_after_its_last_member_left(clock: Clock) -> None:
    rooms = Rooms(Limits(memory=60), clock=clock)
    room, twin = rooms.enter(A), rooms.enter(A)
    assert room is twin
    rooms.post(room, b"said")
    rooms.leave(room)
    clock.now = 1000
    rooms.sweep()
    assert rooms.enter(A) is room  # one member never left
    rooms.leave(room)
    rooms.leave(room)
    clock.now = 1059.9
    assert rooms.enter(A) is room
    rooms.leave(room)
    clock.now = 1119.9
    another = rooms.enter(A)
    assert another is not room and another.incarnation != room.incarnation and len(another.log) == 0
    assert room.expired


def test_a_room_in_which_nothing_was_said_is_forgotten_at_once(clock: Clock) -> None:
    rooms = Rooms(clock=clock)
    rooms.leave(rooms.enter(A))
    assert len(rooms) == 0


def test_a_room_expires_under_its_members(clock: Clock) -> None:
    rooms = Rooms(Limits(life=100), clock=clock)
    room = rooms.enter(A)
    rooms.post(room, b"said")
    clock.now = 99.9
    rooms.sweep()
    assert not room.expired
    clock.now = 100
    rooms.sweep()
    assert room.expired and len(rooms) == 0
    rooms.post(room, b"late")  # counts for nobody
    rooms.leave(room)
    assert rooms.enter(A) is not room


def test_rooms_members_and_rooms_of_an_address_are_counted(clock: Clock) -> None:
    rooms = Rooms(Limits(rooms=3, rooms_of_address=1, members=2), clock=clock)
    first = rooms.enter(A, "192.0.2.1")
    rooms.enter(A, "192.0.2.1")
    assert refusal(rooms, A, "192.0.2.1") is Reason.CROWDED
    assert refusal(rooms, B, "192.0.2.1") is Reason.BUSY
    rooms.enter(B, "192.0.2.2")
    rooms.enter("0c" * 16)
    assert refusal(rooms, "0d" * 16) is Reason.BUSY
    rooms.leave(first)
    rooms.leave(first)
    rooms.enter("0d" * 16, "192.0.2.1")


def test_a_server_of_one_room_holds_no_other() -> None:
    rooms = Rooms(only={A})
    assert rooms.exists(A) and not rooms.exists(B)
    assert Rooms().exists(B)


def test_names_of_rooms_have_one_form() -> None:
    assert check_room(A) == A
    for name in (A.upper(), A[1:], A + "0", "", "٣" * 32):
        with pytest.raises(UsageError):
            check_room(name)


def test_a_bucket_lets_a_burst_pass_and_then_the_rate(clock: Clock) -> None:
    bucket = Bucket(rate=10, burst=100, clock=clock)
    assert [bucket.take(50), bucket.take(50), bucket.take(20), bucket.take(10)] == [0, 0, 2, 3]
    clock.now = 3
    assert bucket.take(0) == 0
    clock.now = 1000
    assert [bucket.take(100), bucket.take(1)] == [0, 0.1]


class Life(RuleBasedStateMachine):
    """Whatever happens, what is counted is what is there, within the limits."""

    limits = Limits(
        rooms=3,
        rooms_of_address=2,
        members=2,
        bodies=3,
        stored=4 * BODY_COST + 8,
        stored_of_address=2 * BODY_COST + 4,
        life=50,
        memory=10,
    )

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.rooms = Rooms(self.limits, clock=self.clock)
        self.inside: list[Room] = []

    @rule(name=st.sampled_from("abcd"), address=st.sampled_from(["", "x", "y"]))
    def enter(self, name: str, address: str) -> None:
        try:
            self.inside.append(self.rooms.enter(name * 32, address))
        except Refused as exc:
            assert exc.reason in (Reason.CROWDED, Reason.BUSY)

    @precondition(lambda self: self.inside)
    @rule(index=st.integers(0, 99), body=st.binary(max_size=3))
    def post(self, index: int, body: bytes) -> None:
        room = self.inside[index % len(self.inside)]
        before = room.log.items()
        try:
            position = self.rooms.post(room, body)
            assert room.log[position] == body
        except Full:
            assert room.log.items() == before

    @precondition(lambda self: self.inside)
    @rule(index=st.integers(0, 99))
    def leave(self, index: int) -> None:
        self.rooms.leave(self.inside.pop(index % len(self.inside)))

    @rule(seconds=st.sampled_from([1, 9, 10, 49]))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds
        self.rooms.sweep()

    @invariant()
    def counts_are_true(self) -> None:
        living = self.rooms._rooms
        assert self.rooms.stored == sum(room.log.size for room in living.values()) <= self.limits.stored
        for address in ("x", "y"):
            stored = sum(room.log.size for room in living.values() if room.made_by == address)
            assert self.rooms._stored_of[address] == stored <= self.limits.stored_of_address
        made = [room.made_by for room in living.values() if room.made_by]
        assert dict(self.rooms._made) == {address: made.count(address) for address in made}
        assert len(living) <= self.limits.rooms and all(made.count(a) <= self.limits.rooms_of_address for a in made)
        for room in living.values():
            assert room.members == self.inside.count(room) <= self.limits.members
            assert not room.expired


Life.TestCase.settings = settings(max_examples=60, deadline=None)
test_a_life_of_rooms = Life.TestCase
