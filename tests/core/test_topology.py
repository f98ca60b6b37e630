import re
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.topology import Firewall, Forward, Host, Nat, Path, parse, routers, with_parties
from comity.errors import UsageError

SHIPPED = sorted(
    file.name.removesuffix(".toml") for file in resources.files("comity.lab").joinpath("topologies").iterdir()
)

FULL = """
title = "Two houses"
tolerance = 2
rendezvous = "meet"

[rtt]
north = [0.2]
south = [80, 0.4]
moon = [2_560.5, 2600, 1]

[defaults]
jitter = 0.5
loss = 0.01

[[paths]]
between = ["north", "moon"]
loss = 0.1
rate = 1e6

[[paths]]
between = ["south", "south"]
jitter = 0

[nats.carrier]
mapping = "address-and-port-dependent"
ports = "random"
pool = 4

[nats.home]
filtering = "endpoint-independent"
hairpin = true
timeout = 30

[sites.house]
region = "north"
nats = ["carrier", "home"]
firewall = { udp = false, only = [80, 443] }
forwards = [{ port = 5000, host = "alice" }, { port = 22, host = "bob", to = 2222 }]
services = ["upnp", "pcp"]
families = [6, 4]

[sites.office]
region = "moon"
families = [6]
firewall = { stateful = false }

[hosts.alice]
site = "house"

[hosts.bob]
site = "house"
families = [4]

[hosts.carol]
site = "office"

[hosts.meet]
region = "south"
families = [4, 6]

[hosts.pub]
region = "moon"
"""

SMALL = """[rtt]
here = [1]
there = [10, 1]

[nats.plain]

[sites.home]
region = "here"
nats = ["plain"]

[hosts.alice]
site = "home"
"""

SPREAD = """[rtt]
a = [1]
b = [10, 1]
c = [20, 5, 1]

[nats.plain]

[hosts.meet]
region = "b"

[spread]
nats = ["plain"]
forwards = [{ port = 5000, to = 5001 }]
"""


def test_everything_that_a_file_says_is_there() -> None:
    topology = parse(FULL, "houses")
    assert (topology.name, topology.title, topology.tolerance) == ("houses", "Two houses", 2.0)
    assert topology.regions == ("north", "south", "moon")
    assert topology.path("north", "south") == topology.path("south", "north") == Path(80, 0.5, 0.01, 0)
    assert topology.path("moon", "north") == Path(2560.5, 0.5, 0.1, 1e6)
    assert topology.path("south", "south") == Path(0.4, 0, 0.01, 0)
    house = topology.site("house")
    assert house.nats == (
        Nat("address-and-port-dependent", "address-and-port-dependent", "random", 4, False, 120),
        Nat("endpoint-independent", "endpoint-independent", "preserving", 1, True, 30),
    )
    assert house.firewall == Firewall(False, (80, 443), True)
    assert house.forwards == (Forward(5000, "alice", 5000), Forward(22, "bob", 2222))
    assert (house.services, house.families) == (("upnp", "pcp"), (4, 6))
    assert topology.site("office").firewall == Firewall(stateful=False)
    assert topology.inside(house) == (Host("alice", "house", "", (4, 6)), Host("bob", "house"))
    assert topology.host("meet") == Host("meet", "", "south", (4, 6))
    assert [topology.region_of(topology.host(name)) for name in ("alice", "carol", "meet")] == [
        "north",
        "moon",
        "south",
    ]
    assert topology.rendezvous == "meet"
    assert topology.parties == ("alice", "bob", "carol", "pub")
    assert routers(house) == ("house-carrier", "house-router")
    assert routers(topology.site("office")) == ("office-router",)


def test_parties_meet_at_the_first_public_host_when_the_file_does_not_say() -> None:
    assert parse(FULL.replace('rendezvous = "meet"', ""), "x").rendezvous == "meet"
    assert parse(SMALL, "x").rendezvous == ""
    assert parse(SMALL.replace('site = "home"', 'region = "here"'), "x").rendezvous == "", "it is the only host"


def test_parties_are_spread_evenly_and_the_remainder_goes_to_the_first_regions() -> None:
    topology = with_parties(parse(SPREAD, "x"), 5)
    assert topology.parties == ("alice", "bob", "carol", "dave", "erin")
    assert [topology.region_of(topology.host(name)) for name in topology.parties] == ["a", "b", "c", "a", "b"]
    assert [len(topology.inside(site)) for site in topology.sites] == [1] * 5
    assert topology.site("dave").nats == (Nat(),)
    assert topology.site("dave").forwards == (Forward(5000, "dave", 5001),)
    assert with_parties(parse(SPREAD, "x"), 11).parties[-1] == "party10"


@given(st.integers(1, 200), st.integers(1, 200))
def test_a_party_stays_where_it_is_when_there_are_more(fewer: int, more: int) -> None:
    spread = parse(SPREAD, "x")
    small, large = (with_parties(spread, n) for n in sorted((fewer, more)))
    assert large.sites[: len(small.sites)] == small.sites
    assert len(set(large.hosts)) == len(large.hosts) == max(fewer, more) + 1


def test_a_topology_with_fixed_hosts_takes_no_more_parties_than_it_has() -> None:
    topology = parse(FULL, "houses")
    assert with_parties(topology, 4) is topology
    with pytest.raises(UsageError, match="houses has 4 hosts for parties, not 5"):
        with_parties(topology, 5)
    with pytest.raises(UsageError, match="1000 parties are too many"):
        with_parties(parse(SPREAD, "x"), 1000)
    with pytest.raises(UsageError, match="500 parties are too many") as caught:
        with_parties(parse(SPREAD, "x"), 500)
    assert caught.value.hints == ("at most 499 here, each with its routers",)
    assert len(with_parties(parse(SPREAD, "x"), 499).sites) == 499


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_topology_is_one(name: str) -> None:
    text = resources.files("comity.lab").joinpath(f"topologies/{name}.toml").read_text(encoding="utf-8")
    topology = parse(text, name)
    assert topology.title
    made = with_parties(topology, 2)
    assert len(made.parties) >= 2
    assert made.rendezvous not in made.parties


@pytest.mark.parametrize(
    ("old", "new", "line", "why"),
    [
        ('nats = ["plain"]', 'nats = ["plane"]', 9, "sites.home.nats: 'plane' is none of plain"),
        ('nats = ["plain"]', 'nats = "plain"', 9, "sites.home.nats: 'plain' is not a list"),
        ('nats = ["plain"]', 'nats = ["plain", "plain", "plain"]', 9, "sites.home.nats: more than 2"),
        ('nats = ["plain"]', "families = [6]\nnats = ['plain']", 10, "sites.home.nats: a NAT is for IPv4"),
        ('nats = ["plain"]', "families = [4, 4]", 9, "sites.home.families: [4], [6] or [4, 6]"),
        ('nats = ["plain"]', "families = []", 9, "sites.home.families: [4], [6] or [4, 6]"),
        ('nats = ["plain"]', "families = [5]", 9, "sites.home.families: [4], [6] or [4, 6]"),
        ('nats = ["plain"]', 'services = ["upnp"]', 9, "sites.home.services: they need a NAT"),
        ('nats = ["plain"]', 'services = ["igd"]', 9, "sites.home.services: 'igd' is none of upnp, nat-pmp, pcp"),
        ('nats = ["plain"]', "nat = 3", 9, "sites.home.nat: there is no such key"),
        ('nats = ["plain"]', "firewall = { udb = true }", 9, "sites.home.firewall.udb: there is no such key"),
        ('nats = ["plain"]', "firewall = { udp = 1 }", 9, "sites.home.firewall.udp: 1 is not true or false"),
        ('nats = ["plain"]', "firewall = { only = [0] }", 9, "only: 0 is no whole number from 1 to 65535"),
        ('nats = ["plain"]', "firewall = { only = [true] }", 9, "only: True is no whole number"),
        ('nats = ["plain"]', "firewall = true", 9, "sites.home.firewall: True is not a table"),
        ('nats = ["plain"]', "forwards = [3]", 9, "sites.home.forwards: 3 is no table"),
        ('nats = ["plain"]', 'forwards = [{port = 0, host = "alice"}]', 9, "sites.home.forwards.port: 0 is no whole"),
        ('nats = ["plain"]', 'forwards = [{port = 5, host = "bob"}]', 9, "forwards: 'bob' is no host of this site"),
        (
            'nats = ["plain"]',
            'forwards = [{port = 5, host = "alice"}, {port = 5, host = "alice", to = 6}]',
            9,
            "port 5 is forwarded twice",
        ),
        ('region = "here"', "", 7, "sites.home.region: it is missing"),
        ('region = "here"', 'region = "nowhere"', 8, "sites.home.region: 'nowhere' is none of here, there"),
        ('region = "here"', "region = true", 8, "sites.home.region: True is not a text"),
        ("there = [10, 1]", "there = [10]", 3, "rtt.there: 1 numbers, not 2"),
        ("there = [10, 1]", "there = [10, 1, 1]", 3, "rtt.there: more than 2"),
        ("there = [10, 1]", "there = [-1, 1]", 3, "rtt.there: -1 is no number from 0 to 60000"),
        ("there = [10, 1]", "there = [nan, 1]", 3, "rtt.there: nan is no number"),
        ("there = [10, 1]", "there = [true, 1]", 3, "rtt.there: True is no number"),
        ("there = [10, 1]", "There = [10, 1]", 3, "rtt.There: a name is"),
        ("there = [10, 1]", "there = 10", 3, "rtt.there: 10 is not a list"),
        ("here = [1]\nthere = [10, 1]", "", 1, "rtt: a topology has 1 to 64 regions"),
        ("[nats.plain]", "[defaults]\nloss = 1.5", 6, "defaults.loss: 1.5 is no number from 0 to 1"),
        ("[nats.plain]", "[defaults]\nrtt = 5", 6, "defaults.rtt: there is no such key"),
        ("[nats.plain]", "[[paths]]\nbetween = ['here']", 6, "paths.between: two regions, or one twice"),
        (
            "[nats.plain]",
            "[[paths]]\nbetween = ['here', 'there']\n[[paths]]\nbetween = ['here', 'x']",
            8,
            "paths.between: 'x' is none of",
        ),
        ("[nats.plain]", "[nats.plain]\nmapping = 'cone'", 6, "nats.plain.mapping: 'cone' is none of endpoint-"),
        ("[nats.plain]", "[nats.plain]\npool = 0", 6, "nats.plain.pool: 0 is no whole number from 1 to 8"),
        ("[nats.plain]", "[nats.plain]\npool = 1.5", 6, "nats.plain.pool: 1.5 is not a whole number"),
        ("[nats.plain]", "[nats.plain]\ntimeout = 0", 6, "nats.plain.timeout: 0 is no number from 1 to 86400"),
        ("[nats.plain]", "[nats.plain]\ntimeout = '5'", 6, "nats.plain.timeout: '5' is not a number"),
        ('site = "home"', 'site = "home"\nregion = "here"', 12, "hosts.alice.site: a host has a site or a region"),
        ('site = "home"', "", 11, "hosts.alice.region: a host has a site or a region"),
        ('site = "home"', 'site = "home"\nfamilies = [6]', 13, "hosts.alice.families: its site has IPv4 only"),
        ("[hosts.alice]", "[hosts.mirror]", 11, "hosts.mirror: something else of the lab is called so"),
        ("[hosts.alice]", "[hosts.home-router]", 11, "hosts.home-router: something else"),
        ("[hosts.alice]", "[hosts.a-b-c]", 11, "hosts.a-b-c: a name is"),
        ('[hosts.alice]\nsite = "home"', "", 1, "hosts: there is none"),
        ("[rtt]", 'rendezvous = "alice"\n[rtt]', 1, "rendezvous: 'alice' is nowhere in this file"),
        ("[rtt]", "more = 1\n[rtt]", 1, "more: there is no such key"),
        ("[rtt]", "tolerance = 0\n[rtt]", 1, "tolerance: 0 is no number from 0.01"),
        ("[hosts.alice]", "[spread]\nregion = 'here'\n[hosts.bill]", 12, "spread.region: there is no such key"),
        ("[hosts.alice]", "[spread]\n[hosts.alice]", 11, "spread: 'alice' is taken, and a party is called so"),
        (
            "[hosts.alice]",
            "[spread]\nforwards = [{port = 5}, {port = 5, to = 6}]\n[hosts.bill]",
            12,
            "spread.forwards: port 5 is forwarded twice",
        ),
    ],
)  # fmt: skip
def test_an_error_names_the_line_and_the_key(old: str, new: str, line: int, why: str) -> None:
    assert old in SMALL
    with pytest.raises(UsageError) as caught:
        parse(SMALL.replace(old, new), "small.toml")
    assert caught.value.message.startswith(f"small.toml, line {line}, ")
    assert why in caught.value.message


def test_what_is_no_toml_is_said_with_its_line() -> None:
    with pytest.raises(UsageError, match=r"^broken, line 2: \w"):
        parse("title = 'x'\nname = \n", "broken")
    with pytest.raises(UsageError, match=r"^broken, line 3: "):
        parse("[a]\nx = [1,\n", "broken")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a" + ".a" * 3000 + " = 1", "x, line 1: it is longer than 4096 characters"),
        ("a = " + "[" * 4000, "x: lists or tables are nested too deeply"),
        ("tolerance = " + "9" * 4000 + "\n[rtt]", "x, line 1, tolerance: 9+… is no number from"),
        ("a = 2020-02-31", "x, line 1: invalid date"),
        ("rtt" + ".a" * 2000 + " = 1", "x, line 1, rtt.a: a table is not a list"),
        (SMALL.replace('"here"', f'"{"x" * 100}"'), "x, line 8, sites.home.region: 'x{59}… is none of here, there"),
        (SMALL.replace("[nats.plain]", '[nats."a.b;c"]'), "x, line 5, nats.a.b;c: a name is"),
        ('title = "\\u001b]0;x\\u0007"\n' + SMALL, "x, line 1, title: it has characters that do not belong"),
        (SMALL + "families = [[4]]", r"x, line 13, hosts.alice.families: \[4\], \[6\] or"),
        (SMALL + "families = [4.0]", r"x, line 13, hosts.alice.families: \[4\], \[6\] or"),
    ],
)
def test_a_file_made_to_harm_is_a_mistake_like_any_other(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse(text, "x")


def test_a_topology_of_too_many_machines_is_refused() -> None:
    hosts = "".join(f"[hosts.h{i}]\nregion = 'here'\n" for i in range(1001))
    with pytest.raises(UsageError, match="more than 1000 machines"):
        parse(f"[rtt]\nhere = [1]\n{hosts}", "x")
    hosts = "".join(f"[hosts.h{i}]\nsite = 'home'\n" for i in range(28))
    with pytest.raises(UsageError, match=r"line 7, sites\.home: more than 28 hosts"):
        parse(SMALL + hosts, "x")


def test_the_docstring_shows_a_topology_that_can_be_read() -> None:
    from comity.core import topology

    shown = re.findall(r"^    (.*)$", topology.__doc__ or "", re.MULTILINE)
    read = parse("\n".join(shown), "shown")
    assert read.sites[0].nats == (Nat(),)
    assert read.sites[0].firewall == Firewall()
    assert read.spread is not None
