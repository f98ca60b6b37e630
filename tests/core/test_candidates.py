from ipaddress import ip_address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core import encoding
from comity.core.candidates import (
    Candidate,
    Offer,
    decode,
    encode,
    is_name,
    own,
    parse_advertised,
    to_dial,
    usable,
)
from comity.core.limits import MAX_CANDIDATES, MAX_SIGNAL
from comity.errors import PeerError, UsageError

MACHINE = b"m" * 16
INTERFACES = [
    ip_interface(text)
    for text in ("127.0.0.1/8", "::1/128", "192.168.1.5/24", "2001:4860::5/64", "fd00::5/64", "10.0.0.5/8")
]

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).filter(lambda a: usable(a, same_machine=True))
candidates = st.builds(Candidate, addresses.map(str), st.integers(1, 65535), st.booleans())


def wire(*hosts: object, port: object = 7000, **more: object) -> bytes:
    listed = [{"host": host, "port": port, "advertised": False} for host in hosts]
    return encoding.encode({"version": 1, "machine": MACHINE.hex(), "candidates": listed} | more)


@given(st.lists(candidates, max_size=MAX_CANDIDATES), st.binary(max_size=16))
def test_an_offer_comes_back_as_it_was_sent(offered: list[Candidate], machine: bytes) -> None:
    offer = Offer(machine, tuple(offered))
    assert decode(encode(offer)) == offer


def test_the_largest_offer_fits_a_signal() -> None:
    name = ".".join(["a" * 62] * 4)
    offer = Offer(MACHINE, (Candidate(name, 65535, True),) * MAX_CANDIDATES)
    assert is_name(name) and len(encode(offer)) <= MAX_SIGNAL
    assert decode(encode(offer)) == offer


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 40,
        b"x" * (MAX_SIGNAL + 1),
        wire(*["192.0.2.1"] * (MAX_CANDIDATES + 1)),
        wire("192.0.2.1", version=2),
        wire("192.0.2.1", more=1),
        wire("192.0.2.1", machine="00" * 17),
        wire("192.0.2.1", candidates=["192.0.2.1"]),
        wire("192.0.2.1", candidates=[{"host": "192.0.2.1", "port": 1, "advertised": False, "more": 1}]),
        wire("192.0.2.1", port=0),
        wire("192.0.2.1", port=65536),
        wire("192.0.2.1", port="7000"),
        wire("192.0.2.1", port=True),
        wire(7),
    ],
)
def test_an_offer_that_is_not_one_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError):
        decode(data)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",  # noqa: S104
        "0.1.2.3",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "169.254.169.254",
        "::",
        "ff02::1",
        "fe80::1",
        "fe80::1%eth0",
        "2001:db8::1%1",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "2001:DB8::1",
        "2001:db8:0::1",
        "192.0.2.01",
        "127.1",
        "0x7f.1",
        "a.0x7f000001",
        "2130706433",
        "",
        ".",
        "a..b",
        "-a.example",
        "a_b.example",
        "A.example",
        "party.example.org.",
        "bücher.example",
        "a b",
        "a/b",
        "x" * 64 + ".example",
        "a." * 127 + "b",
        "\x00",
    ],
)
def test_a_host_that_nobody_may_make_us_dial_is_refused(host: str) -> None:
    with pytest.raises(PeerError):
        decode(wire(host))


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "127.0.0.1", "::1", "64:ff9b::c000:201", "a-1.example"])
def test_a_host_that_can_be_dialled_is_accepted(host: str) -> None:
    assert decode(wire(host)).candidates == (Candidate(host, 7000),)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.7", "192.0.2.7", 4711),
        ("192.0.2.7:7000", "192.0.2.7", 7000),
        (" 192.0.2.7:1 ", "192.0.2.7", 1),
        ("2001:DB8:0::7", "2001:db8::7", 4711),
        ("[2001:db8::7]", "2001:db8::7", 4711),
        ("[2001:db8::7]:65535", "2001:db8::7", 65535),
        ("Party.Example.org:7000", "party.example.org", 7000),
        ("bücher.example", "xn--bcher-kva.example", 4711),
        ("localhost", "localhost", 4711),
    ],
)
def test_what_is_advertised_is_read(text: str, host: str, port: int) -> None:
    assert parse_advertised(text, 4711) == Candidate(host, port, advertised=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":7000",
        "192.0.2.7:",
        "192.0.2.7:0",
        "192.0.2.7:65536",
        "192.0.2.7:7e3",
        "192.0.2.7:٧",
        "192.0.2.7:+1",
        "[2001:db8::7",
        "[2001:db8::7]7000",
        "[2001:db8::7]:",
        "2001:db8::7::1",
        "fe80::1%eth0",
        "0.0.0.0",  # noqa: S104
        "::",
        "a b",
        "http://example.org",
        "x" * 70 + ".example",
        "١٢٧.1",
    ],
)
def test_what_others_cannot_dial_is_not_advertised(text: str) -> None:
    with pytest.raises(UsageError, match="that others can dial"):
        parse_advertised(text, 4711)


def test_my_offer_begins_with_what_is_advertised_and_ends_with_loopback() -> None:
    forwarded = Candidate("party.example.org", 7000, True)
    local = [*INTERFACES, ip_interface("fe80::5/64"), ip_interface("169.254.3.4/16")]
    assert [c.host for c in own(local, 4711, [forwarded])] == [
        "party.example.org",
        "2001:4860::5",
        "fd00::5",
        "192.168.1.5",
        "10.0.0.5",
        "::1",
        "127.0.0.1",
    ]


def test_a_machine_with_many_addresses_offers_the_best_of_them() -> None:
    local = [ip_interface(f"10.0.{i}.1/24") for i in range(40)] + [ip_interface("8.8.8.8/24")]
    offered = own(local, 4711, [])
    assert len(offered) == MAX_CANDIDATES and offered[0].host == "8.8.8.8"


def test_a_peer_is_dialled_as_advertised_then_nearby_then_by_the_internet_and_last_by_loopback() -> None:
    offered = [Candidate(host, 1) for host in ("127.0.0.1", "172.16.0.9", "8.8.8.8", "192.168.1.9", "2001:4860::9")]
    offered.append(Candidate("9.9.9.9", 2, True))
    ordered = to_dial(offered, INTERFACES, same_machine=True)
    assert [c.host for c in ordered] == [
        "9.9.9.9",
        "2001:4860::9",
        "192.168.1.9",
        "8.8.8.8",
        "172.16.0.9",
        "127.0.0.1",
    ]


def test_families_take_turns() -> None:
    offered = [Candidate(h, 1) for h in ("8.8.8.1", "8.8.8.2", "8.8.8.3", "2001:4860:1::1", "2001:4860:1::2")]
    ordered = [ip_address(c.host).version for c in to_dial(offered, [], same_machine=False)]
    assert ordered == [6, 4, 6, 4, 4]


def test_loopback_is_dialled_only_on_one_machine() -> None:
    offered = [Candidate(h, 1, a) for h in ("127.0.0.1", "127.9.9.9", "::1") for a in (True, False)]
    assert to_dial(offered, INTERFACES, same_machine=False) == ()
    assert len(to_dial(offered, INTERFACES, same_machine=True)) == 3


def test_a_party_does_not_dial_itself() -> None:
    offered = [Candidate("192.168.1.5", 7000), Candidate("192.168.1.5", 7001), Candidate("192.168.1.6", 7000)]
    ordered = to_dial(offered, INTERFACES, same_machine=False, listening=7000)
    assert [(c.host, c.port) for c in ordered] == [("192.168.1.5", 7001), ("192.168.1.6", 7000)]


@given(st.lists(candidates, max_size=60), st.booleans())
def test_however_much_a_peer_offers_few_addresses_are_dialled_each_once(offered: list[Candidate], same: bool) -> None:
    ordered = to_dial([*offered, Candidate("party.example.org", 1)], INTERFACES, same_machine=same)
    assert len(ordered) <= MAX_CANDIDATES
    assert len({(c.host, c.port) for c in ordered}) == len(ordered)
    assert all(usable(ip_address(c.host), same_machine=same) for c in ordered)
