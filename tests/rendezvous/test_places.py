"""Who is connected, and what is half said."""

from collections import Counter
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from comity.core.encoding import Malformed
from comity.rendezvous.places import Place, Places, client_of, parse_address, who
from comity.rendezvous.rooms import Limits


@pytest.mark.parametrize(
    ("host", "whose"),
    [
        ("127.0.0.1", ""),
        ("::1", ""),
        ("::ffff:127.9.9.9", ""),
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "20010db800010002"),
        ("2001:db8:1:2::9", "20010db800010002"),
        ("fe80::1%eth0", "fe80000000000000"),
    ],
)
def test_an_address_stands_for_its_network(host: str, whose: str) -> None:
    assert who(parse_address(host)) == whose


PROXIES = (ip_network("127.0.0.1"), ip_network("10.0.0.0/8"))


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["192.0.2.7"], "192.0.2.7"),
        (["2001:db8::1"], "2001:db8::1"),
        (["::ffff:192.0.2.7"], "192.0.2.7"),
        (["198.51.100.1, 192.0.2.7"], "192.0.2.7"),  # what the client made up stands before
        (["198.51.100.1", "192.0.2.7 , 10.1.2.3"], "192.0.2.7"),  # two proxies
        (["10.1.2.3"], "10.1.2.3"),  # one of the proxies' own network
    ],
)
def test_the_client_is_the_last_address_that_is_no_proxys(forwarded: list[str], client: str) -> None:
    assert client_of(forwarded, PROXIES) == ip_address(client)


@pytest.mark.parametrize("forwarded", [[], [""], ["unknown"], ["192.0.2.7:80"], ["192.0.2.7,"], ["x, 192.0.2.7"]])
def test_a_proxy_that_names_nobody_is_refused(forwarded: list[str]) -> None:
    with pytest.raises(Malformed):
        client_of(forwarded, PROXIES)


def places(**limits: float) -> Places:
    return Places(Limits(**limits), Counter())  # type: ignore[arg-type]


def test_connections_are_counted_in_all_and_by_address() -> None:
    p = places(connections=4, connections_of_address=2)
    taken = [p.admit(address) for address in ("x", "x", "x", "y", "", "z")]
    assert [place is not None for place in taken] == [True, True, False, True, True, False]
    assert p.turned_away == {"connections_of_address": 1, "connections": 1} and len(p) == 4
    assert taken[0] is not None
    taken[0].leave()
    taken[0].leave()
    assert len(p) == 3 and p.admit("x") and not p.admit("x")


def test_a_client_that_a_proxy_names_is_counted_by_its_own_address() -> None:
    p = places(connections_of_address=1)
    a, b = p.admit(""), p.admit("")
    assert a and b and a.belongs_to("x") and not b.belongs_to("x")
    assert p.turned_away == {"connections_of_address": 1}
    a.leave()
    assert b.belongs_to("x") and not p.admit("x")
    b.leave()
    assert len(p) == 0 and not p._taken_of


def test_of_too_much_that_is_half_said_what_began_first_is_cut_off() -> None:
    p, cut = places(unfinished=100), list[str]()
    a, b, c = (p.admit(name) for name in "abc")
    assert a and b and c
    for name, place in zip("abc", (a, b, c), strict=True):
        place.cut = lambda name=name: cut.append(name)  # type: ignore[misc]
    a.hold(40)
    b.hold(40)
    a.hold(10)
    a.let_go(20)  # it made progress, so it counts as having begun later
    c.hold(31)
    assert cut == ["b"] and p.held == 61 and p.turned_away == {"unfinished": 1}
    b.hold(1000)
    b.let_go(1000)
    assert p.held == 61
    c.hold(70)
    assert cut == ["b", "a", "c"] and p.held == 0 and len(p) == 0


def test_who_does_not_come_to_the_end_of_a_message_is_cut_off_in_time() -> None:
    now, cut = 0.0, list[str]()
    p = Places(Limits(patience=60), Counter(), clock=lambda: now)
    a, b = p.admit(""), p.admit("")
    assert a and b
    a.cut, b.cut = lambda: cut.append("a"), lambda: cut.append("b")
    a.hold(1)
    now = 30.0
    b.hold(1)
    for later, gone in ((59.0, []), (60.0, ["a"]), (89.0, ["a"]), (90.0, ["a", "b"])):
        now = later
        a.hold(1)  # a drop more does not help
        p.sweep()
        assert cut == gone


class Crowd(RuleBasedStateMachine):
    """Whatever happens, what is counted is what is there, within the limits."""

    limits = Limits(connections=5, connections_of_address=2, unfinished=50)

    def __init__(self) -> None:
        super().__init__()
        self.places = Places(self.limits, Counter())
        self.inside: list[Place] = []
        self.held: Counter[Place] = Counter()

    def forget(self, place: Place) -> None:
        self.inside.remove(place)
        del self.held[place]

    @rule(address=st.sampled_from(["", "x", "y"]))
    def come(self, address: str) -> None:
        if place := self.places.admit(address):
            place.cut = lambda: self.forget(place)
            self.inside.append(place)

    @precondition(lambda self: self.inside)
    @rule(index=st.integers(0, 9), address=st.sampled_from(["", "x", "y"]))
    def be_named(self, index: int, address: str) -> None:
        self.inside[index % len(self.inside)].belongs_to(address)

    @precondition(lambda self: self.inside)
    @rule(index=st.integers(0, 9), size=st.integers(1, 60))
    def hold(self, index: int, size: int) -> None:
        place = self.inside[index % len(self.inside)]
        self.held[place] += size
        place.hold(size)

    @precondition(lambda self: self.inside)
    @rule(index=st.integers(0, 9), size=st.integers(1, 60))
    def let_go(self, index: int, size: int) -> None:
        place = self.inside[index % len(self.inside)]
        self.held[place] -= min(size, self.held[place])
        place.let_go(size)

    @precondition(lambda self: self.inside)
    @rule(index=st.integers(0, 9))
    def leave(self, index: int) -> None:
        place = self.inside[index % len(self.inside)]
        place.leave()
        self.forget(place)

    @invariant()
    def counts_are_true(self) -> None:
        assert len(self.places) == len(self.inside) <= self.limits.connections
        named = [place.address for place in self.inside if place.address]
        assert dict(self.places._taken_of) == dict(Counter(named))
        assert all(named.count(address) <= self.limits.connections_of_address for address in named)
        assert self.places.held == sum(self.held.values()) <= self.limits.unfinished
        assert set(self.places._holding) == {place for place, size in self.held.items() if size}


Crowd.TestCase.settings = settings(max_examples=60, deadline=None)
test_a_crowd = Crowd.TestCase
