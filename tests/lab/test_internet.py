"""The emulated internet, with time that a test tells."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.lab.packets import ipv4, ipv6

from comity.lab.internet import BUFFER, MAX_FLOWS, MAX_HELD, Attachment, Internet, Shape

A, B, C = "203.0.114.1", "203.0.115.1", "203.0.116.1"


class World:
    """Three attachments in three regions."""

    def __init__(self, seed: int = 0) -> None:
        self.net = Internet(seed)
        self.a = self.net.attach("a", "north", [f"{A}/32", "2001:db8:a::/48"])
        self.b = self.net.attach("b", "south", ["203.0.115.0/24", "2001:db8:b::/48"])
        self.c = self.net.attach("c", "west", [f"{C}/32"])

    def send(self, packet: bytes, now: float = 0.0, source: Attachment | None = None) -> Attachment | None:
        return self.net.send(source or self.a, packet, now)

    def run(self) -> list[tuple[float, str]]:
        """All that is under way, with when it was due and for whom."""
        found = []
        while (due := self.net.due) is not None:
            found += [(when, attachment.name) for when, attachment, _ in self.net.deliver(due)]
        return found


def test_a_packet_is_due_after_the_paths_delay_both_ways() -> None:
    world = World()
    world.net.path("south", "north", Shape(delay=0.04))
    assert world.send(ipv4(A, B), 1.0) is None
    assert world.send(ipv4(B, A), 2.0, world.b) is None
    assert world.send(ipv6("2001:db8:a::1", "2001:db8:b::1"), 3.0) is None
    assert list(world.net.deliver(1.0399)) == []
    assert world.run() == [(pytest.approx(1.04), "b"), (pytest.approx(2.04), "a"), (pytest.approx(3.04), "b")]
    assert world.a.held == world.b.held == 0


def test_without_a_delay_a_packet_is_due_at_once() -> None:
    world = World()
    assert world.send(ipv4(A, B)) is world.b
    assert world.net.due is None


def test_the_lines_of_both_ends_come_on_top() -> None:
    world = World()
    world.net.path("north", "south", Shape(delay=0.04))
    world.net.link("a", Shape(delay=0.003), up=True)
    world.net.link("b", Shape(delay=0.005), up=True)
    world.send(ipv4(A, B))
    assert world.run() == [(pytest.approx(0.048), "b")]


def test_the_longest_prefix_decides() -> None:
    world = World()
    world.net.detach("c")
    inner = world.net.attach("inner", "west", ["203.0.115.128/25"])
    assert world.send(ipv4(A, "203.0.115.127")) is world.b
    assert world.send(ipv4(A, "203.0.115.129")) is inner


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (ipv4(B, C), "foreign source"),
        (ipv4("192.168.0.2", C), "foreign source"),
        (ipv4(A, "198.51.100.1"), "no route"),
        (ipv4(A, "224.0.0.1"), "multicast"),
        (ipv6("fe80::1", "ff02::2"), "multicast"),
        (bytes(10), "not ip"),
        (bytes(24), "not ip"),
    ],
)
def test_what_has_no_way_is_dropped_and_counted(packet: bytes, reason: str) -> None:
    world = World()
    assert world.send(packet) is None
    assert world.net.due is None
    assert world.a.counts == {reason: 1}


def test_a_line_that_is_down_loses_what_is_under_way_and_comes_back() -> None:
    world = World()
    world.net.path("north", "south", Shape(delay=0.1))
    world.send(ipv4(A, B), 0.0)
    world.net.link("b", Shape(), up=False)
    world.send(ipv4(A, B), 0.05)
    assert world.run() == []
    assert (world.a.counts["down"], world.b.counts["down"], world.a.held) == (1, 1, 0)
    world.net.link("b", Shape(), up=True)
    world.send(ipv4(A, B), 1.0)
    assert world.run() == [(pytest.approx(1.1), "b")]


def test_an_attachment_moves_to_another_region() -> None:
    world = World()
    world.net.path("north", "south", Shape(delay=0.1))
    world.net.path("west", "south", Shape(delay=0.02))
    world.send(ipv4(A, B), 0.0)
    world.net.move("a", "west")
    world.send(ipv4(A, B), 0.0)
    assert world.run() == [(pytest.approx(0.02), "b"), (pytest.approx(0.1), "b")]


def test_groups_are_cut_off_from_one_another_and_not_from_the_rest() -> None:
    world = World()
    world.net.partition([["a"], ["b"]])
    assert world.send(ipv4(A, B)) is None
    assert world.send(ipv4(B, A), source=world.b) is None
    assert world.send(ipv4(A, C)) is world.c
    assert world.send(ipv4(C, B), source=world.c) is world.b
    assert world.a.counts["partition"] == 1
    world.net.partition([])
    assert world.send(ipv4(A, B)) is world.b


def test_jitter_stays_around_the_delay_and_reorders_nothing() -> None:
    world = World()
    world.net.path("north", "south", Shape(delay=0.05, jitter=0.01))
    times = []
    for k in range(2000):
        world.send(ipv4(A, B, b"%04d" % k), k * 0.1)
        times.append(world.run()[0][0] - k * 0.1)
    assert min(times) == pytest.approx(0.04, abs=5e-4) and max(times) == pytest.approx(0.06, abs=5e-4)
    assert sum(times) / len(times) == pytest.approx(0.05, abs=1e-3)
    for k in range(200):
        world.send(ipv4(A, B, b"%04d" % k), 1000 + k * 1e-4)
    packets = [packet for _, _, packet in world.net.deliver(2000)]
    assert packets == sorted(packets, key=lambda packet: packet[-4:])


def test_as_many_packets_are_lost_as_asked_for() -> None:
    world = World(seed=1)
    world.net.path("north", "south", Shape(loss=0.02))
    world.net.link("b", Shape(loss=0.03), up=True)
    for k in range(20000):
        world.send(ipv4(A, B), float(k))
    arrived = len(world.run())
    assert world.a.counts["loss"] == 20000 - arrived
    assert 1 - arrived / 20000 == pytest.approx(1 - 0.98 * 0.97, abs=0.006)  # four standard deviations
    assert world.a.held == 0


def test_a_path_sends_one_packet_after_another_at_its_rate() -> None:
    world = World()
    world.net.path("north", "south", Shape(delay=0.1, rate=8e6))
    packet = ipv4(A, B, bytes(980))  # 1000 bytes: one millisecond
    for _ in range(3):
        world.send(packet, 5.0)
    assert [when for when, _ in world.run()] == pytest.approx([5.101, 5.102, 5.103])


def test_a_pipes_buffer_is_bounded() -> None:
    world = World()
    world.net.path("north", "south", Shape(rate=8e6))
    packet = ipv4(A, B, bytes(980))
    for _ in range(200):
        world.send(packet, 0.0)
    arrived = world.run()
    assert arrived[-1][0] == pytest.approx(BUFFER, abs=0.0011)
    assert world.a.counts["queue"] == 200 - len(arrived) > 90


def test_a_downlink_is_filled_in_the_order_of_arrival() -> None:
    """A packet from far away does not hold up what arrives before it."""
    world = World()
    world.net.path("north", "south", Shape(delay=1.0))
    world.net.path("west", "south", Shape(delay=0.01))
    world.net.link("b", Shape(rate=8e6), up=True)
    world.send(ipv4(A, B, bytes(980)), 0.0)
    world.send(ipv4(C, B, bytes(980)), 0.0, world.c)
    assert [when for when, _ in world.run()] == pytest.approx([0.011, 1.001])


def test_what_one_attachment_has_under_way_is_bounded() -> None:
    world = World()
    world.net.path("north", "south", Shape(delay=1.0))
    packet = ipv4(A, B, bytes(60000))
    for _ in range(MAX_HELD // 60000 + 10):
        world.send(packet, 0.0)
    assert world.a.counts["queue"] > 0 and world.a.held <= MAX_HELD + len(packet)
    world.send(ipv4(C, B), 0.0, world.c)
    assert world.c.counts["sent"] == 1
    world.run()
    assert world.a.held == 0


def test_a_scan_of_addresses_does_not_fill_the_memory() -> None:
    world = World()
    for k in range(2 * MAX_FLOWS):
        world.send(ipv4(A, f"10.{k >> 16}.{k >> 8 & 255}.{k & 255}"))
    assert len(world.a.flows) <= MAX_FLOWS


def test_single_packets_are_wanted_where_they_are_counted() -> None:
    world = World()
    world.net.path("north", "south", Shape(delay=0.1))
    world.net.path("north", "elsewhere", Shape(loss=0.1))
    assert world.net.counting() == set()
    world.net.path("north", "south", Shape(delay=0.1, loss=0.01))
    assert world.net.counting() == {"north", "south"}
    world.net.path("north", "south", Shape(rate=1e6))
    assert world.net.counting() == {"north", "south"}
    world.net.move("b", "elsewhere")
    assert world.net.counting() == {"north", "elsewhere"}
    world.net.link("b", Shape(rate=1e6), up=True)
    assert world.net.counting() == {"north", "elsewhere", "west"}


def test_what_makes_no_sense_is_refused() -> None:
    world = World()
    with pytest.raises(ValueError, match="a is attached already"):
        world.net.attach("a", "north", [])
    with pytest.raises(ValueError, match="belongs to a"):
        world.net.attach("d", "north", [f"{A}/32"])
    with pytest.raises(ValueError, match="nothing is attached as d"):
        world.net.move("d", "north")
    with pytest.raises(ValueError, match="two groups"):
        world.net.partition([["a"], ["a", "b"]])
    with pytest.raises(ValueError, match="between 0 and 1"):
        Shape(loss=1.5)
    with pytest.raises(ValueError, match="not negative"):
        Shape(delay=-1)


class Books(RuleBasedStateMachine):
    """Whatever happens: every packet is delivered once, is under way, or is counted with a reason; never too early."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.now, self.taken = Internet(3), 0.0, 0
        self.there = [self.net.attach(name, "north", [f"203.0.{k}.1/32"]) for k, name in enumerate("abc")]
        self.delivered = 0

    names = st.sampled_from("abc")
    regions = st.sampled_from(["north", "south"])
    shapes = st.builds(
        Shape,
        delay=st.floats(0, 1),
        jitter=st.floats(0, 1),
        loss=st.sampled_from([0.0, 0.3]),
        rate=st.sampled_from([0.0, 1e4, 1e6]),
    )

    @rule(a=st.integers(0, 2), b=st.integers(0, 3), size=st.integers(0, 1400))
    def send(self, a: int, b: int, size: int) -> None:
        self.taken += 1
        self.delivered += (
            self.net.send(self.there[a], ipv4(f"203.0.{a}.1", f"203.0.{b}.1", bytes(size)), self.now) is not None
        )

    @rule(seconds=st.floats(0, 2))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for due, _, _ in self.net.deliver(self.now):
            assert due <= self.now
            self.delivered += 1
        assert self.net.due is None or self.net.due > self.now

    @rule(a=regions, b=regions, shape=shapes)
    def path(self, a: str, b: str, shape: Shape) -> None:
        self.net.path(a, b, shape)

    @rule(name=names, shape=shapes, up=st.booleans())
    def link(self, name: str, shape: Shape, up: bool) -> None:
        self.net.link(name, shape, up=up)

    @rule(name=names, region=regions)
    def move(self, name: str, region: str) -> None:
        self.net.move(name, region)

    @rule(groups=st.sampled_from([[], [["a"], ["b"]], [["a", "b"], ["c"]]]))
    def partition(self, groups: list[list[str]]) -> None:
        self.net.partition(groups)

    @invariant()
    def every_packet_is_accounted_for(self) -> None:
        counts = sum((attachment.counts for attachment in self.there), Counter())
        lost = sum(counts[reason] for reason in ("loss", "queue", "down", "partition", "no route"))
        assert self.taken == self.delivered + lost + len(self.net._heap)

    def teardown(self) -> None:
        self.wait(1e6)
        assert [attachment.held for attachment in self.there] == [0, 0, 0]
        assert self.net.due is None


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=40, deadline=None)
