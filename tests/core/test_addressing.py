from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.addressing import MIRROR, Machine, Opening, Plan, plain, plan, visiting
from comity.core.topology import Firewall, Forward, Host, Nat, Path, Site, Topology, parse
from comity.errors import UsageError

TEXT = """
[rtt]
north = [1]
south = [80, 1]

[nats.carrier]
pool = 4

[nats.home]
hairpin = true

[sites.house]
region = "south"
nats = ["carrier", "home"]
firewall = { udp = false }
families = [4, 6]
forwards = [
  { port = 5000, host = "alice", to = 5001 },
  { port = 6000, host = "bob" },
  { port = 7000, host = "zoe" },
]

[sites.flat]
region = "south"
nats = ["home"]

[sites.office]
region = "north"
families = [4, 6]
forwards = [{ port = 80, host = "dave" }]

[sites.modern]
region = "north"
families = [6]

[hosts.alice]
site = "house"

[hosts.bob]
site = "house"
families = [4]

[hosts.zoe]
site = "house"
families = [6]

[hosts.carol]
site = "flat"

[hosts.dave]
site = "office"

[hosts.erin]
site = "modern"

[hosts.meet]
region = "north"

[hosts.six]
region = "south"
families = [6]
"""


@pytest.fixture(scope="module")
def made() -> Plan:
    return plan(parse(TEXT, "x"))


def addresses(machine: Machine) -> list[str]:
    return [*machine.wan.addresses, *(machine.lan.addresses if machine.lan else ())]


def test_a_public_host_is_attached_with_addresses_of_its_families(made: Plan) -> None:
    assert made.machine("meet").wan.addresses == ("51.0.0.65/32",)
    assert made.machine("six").wan.addresses == ("2a00:51:1::1/128",)
    assert made.machine("six").networks == ("51.1.0.0/26", "2a00:51:1::/60")
    assert made.machine(MIRROR).publics == ("51.0.0.1", "51.0.0.2")


def test_a_host_behind_two_nats_has_a_private_address_and_a_public_one_by_ipv6(made: Plan) -> None:
    carrier, router, alice = (made.machine(name) for name in ("house-carrier", "house-router", "alice"))
    assert carrier.publics == ("51.1.0.65", "51.1.0.66", "51.1.0.67", "51.1.0.68")
    assert (carrier.region, router.region) == ("south", "")
    assert carrier.lan and carrier.lan.members == ("house-router",)
    assert router.lan and router.lan.members == ("alice", "bob", "zoe")
    assert router.publics == ("100.64.0.2",)
    assert router.wan.gateways == ("100.64.0.1", "2a00:51:1:11::1")
    assert carrier.routes == (("2a00:51:1:12::/64", "2a00:51:1:11::2"),)
    assert alice.wan.addresses == ("192.168.0.10/24", "2a00:51:1:12::a/64")
    assert alice.wan.gateways == ("192.168.0.1", "2a00:51:1:12::1")
    assert made.machine("bob").wan.gateways == ("192.168.0.1",)
    assert (carrier.nat, router.nat) == (Nat(pool=4), Nat(hairpin=True))
    assert (carrier.firewall, router.firewall) == (Firewall(udp=False), Firewall(stateful=False))


def test_a_forwarded_port_leads_through_both_nats_and_by_ipv6_through_the_firewalls(made: Plan) -> None:
    six = Opening(5001, "2a00:51:1:12::a", 5001), Opening(7000, "2a00:51:1:12::c", 7000)
    assert made.machine("house-carrier").openings == (
        Opening(5000, "100.64.0.2", 5000),
        six[0],
        Opening(6000, "100.64.0.2", 6000),
        six[1],
    )
    assert made.machine("house-router").openings == (
        Opening(5000, "192.168.0.10", 5001),
        six[0],
        Opening(6000, "192.168.0.11", 6000),
        six[1],
    )
    assert made.machine("office-router").openings == (
        Opening(80, "51.0.0.162", 80),
        Opening(80, "2a00:51:0:21::2", 80),
    )


def test_a_routed_site_has_public_addresses_inside(made: Plan) -> None:
    assert made.machine("dave").wan.addresses == ("51.0.0.162/27", "2a00:51:0:21::2/64")
    assert made.machine("office-router").nat is None
    assert made.machine("erin").wan.addresses == ("2a00:51:0:31::2/64",)
    assert made.machine("modern-router").wan.addresses == ("2a00:51:0:30::1/128",)


def test_a_name_means_the_nearest_address(made: Plan) -> None:
    alice, meet = made.names("alice"), made.names("meet")
    assert list(alice) == list(meet) == [machine.name for machine in made.machines]
    assert alice["bob"] == ("192.168.0.11",)
    assert meet["bob"] == meet["house-router"][:1] == ("51.1.0.65",)
    assert meet["alice"] == ("51.1.0.65", "2a00:51:1:12::a")
    assert meet["zoe"] == ("2a00:51:1:12::c",)
    assert meet["dave"] == alice["dave"] == ("51.0.0.162", "2a00:51:0:21::2")
    assert meet["erin"] == ("2a00:51:0:31::2",)
    assert meet["mirror"] == alice["mirror"] == ("51.0.0.1", "51.0.0.2", "2a00:51::1")
    assert made.outside("carol") == made.machine("flat-router").publics


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    regions = ("a", "b", "c")
    sites, hosts = [], []
    for i in range(draw(st.integers(0, 6))):
        families = draw(st.sampled_from([(4,), (6,), (4, 6)]))
        nats = draw(st.lists(st.builds(Nat, pool=st.integers(1, 8)), max_size=2)) if 4 in families else []
        inside = [Host(f"h{i}x{k}", f"s{i}", "", families) for k in range(draw(st.integers(0, 28)))]
        forwards = tuple(Forward(1000 + k, host.name, 80) for k, host in enumerate(inside[:3]))
        sites.append(Site(f"s{i}", draw(st.sampled_from(regions)), tuple(nats), forwards=forwards, families=families))
        hosts += inside
    for i in range(draw(st.integers(0, 5))):
        hosts.append(Host(f"p{i}", "", draw(st.sampled_from(regions)), draw(st.sampled_from([(4,), (6,), (4, 6)]))))
    matrix = tuple(tuple(Path(1) for _ in range(i + 1)) for i in range(3))
    return Topology("x", "", regions, tuple(sites), tuple(hosts), matrix, 1, "")


@given(topologies())
def test_no_address_is_used_twice_and_every_way_out_begins_next_door(topology: Topology) -> None:
    made = plan(topology)
    every = [plain(a) for machine in made.machines for a in addresses(machine)]
    assert len(set(every)) == len(every)
    networks = [ip_network(n) for machine in made.machines for n in machine.networks]
    assert all(not a.overlaps(b) for i, a in enumerate(networks) for b in networks[:i] if a.version == b.version)
    seen: set[str] = set()
    behind = {name: m for m in made.machines if m.lan for name in m.lan.members}
    for machine in made.machines:
        assert machine.name not in seen
        seen.add(machine.name)
        if machine.region:
            assert not machine.wan.gateways
            assert all(
                any(
                    ip_address(plain(a)) in ip_network(n)
                    for n in machine.networks
                    if ip_address(plain(a)).version == ip_network(n).version
                )
                for a in machine.wan.addresses
            )
            continue
        router = behind[machine.name]
        assert router.name in seen and router.lan
        assert len(machine.wan.gateways) == len({ip_interface(a).version for a in machine.wan.addresses})
        for gateway in machine.wan.gateways:
            link = next(
                ip_interface(a).network
                for a in machine.wan.addresses
                if ip_interface(a).version == ip_address(gateway).version
            )
            assert ip_address(gateway) in link
            assert gateway in [plain(a) for a in router.lan.addresses]
        for opening in router.openings:
            assert opening.address in every


@given(topologies())
def test_the_same_topology_gives_the_same_plan(topology: Topology) -> None:
    assert plan(topology) == plan(replace(topology))


def test_a_host_that_visits_another_site_gets_an_address_there(made: Plan) -> None:
    alice = visiting(made, made, "alice", "flat")
    assert (alice.site, alice.wan.addresses, alice.wan.gateways) == ("flat", ("192.168.1.254/24",), ("192.168.1.1",))
    moved = made.with_machine(alice)
    assert moved.machine("alice") == alice
    bob = visiting(moved, made, "bob", "flat")
    assert bob.wan.addresses == ("192.168.1.253/24",)
    assert visiting(moved, made, "alice", "house") == made.machine("alice")


def test_a_visitor_uses_the_families_that_both_have(made: Plan) -> None:
    office = visiting(made, made, "alice", "office").wan
    assert office.addresses == ("51.0.0.190/27", "2a00:51:0:21::1e/64")
    assert office.gateways == tuple(plain(address) for address in made.router("office").lan.addresses)  # type: ignore[union-attr]
    assert visiting(made, made, "zoe", "office").wan.addresses == ("2a00:51:0:21::fe/64",)
    with pytest.raises(UsageError, match="bob and modern have no family of addresses in common"):
        visiting(made, made, "bob", "modern")


def test_who_is_in_no_site_visits_none(made: Plan) -> None:
    with pytest.raises(UsageError, match="meet is a public host"):
        visiting(made, made, "meet", "flat")


def test_a_site_may_have_no_room() -> None:
    sites = "".join(f"[sites.{site}]\nregion = 'here'\n" for site in "ab")
    hosts = "".join(f"[hosts.h{k}]\nsite = '{'a' if k < 28 else 'b'}'\n" for k in range(30))
    first = plan(parse(f"[rtt]\nhere = [1]\n{sites}{hosts}", "x"))
    now = first.with_machine(visiting(first, first, "h28", "a"))
    inside = [address for machine in now.machines if machine.site == "a" for address in addresses(machine)]
    assert len(set(inside)) == len(inside) == 28 + 1 + 2  # and two of its router
    with pytest.raises(UsageError, match="a has no room for h29"):
        visiting(now, first, "h29", "a")
