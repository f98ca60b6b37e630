"""The text of NAT rules; tests/lab/test_nat_lab.py shows what it does."""

from pathlib import Path

import pytest

from comity.core.addressing import Opening
from comity.core.topology import BEHAVIOURS, Firewall, Nat
from comity.lab.nat import forget, ruleset

GOLDEN = Path(__file__).parent / "golden"
FORWARDS = Opening(5000, "192.168.9.9", 5001), Opening(5001, "2a00:51:1::9", 5001)
CASES = {
    "plain": ruleset(Nat(), Firewall(), publics=["51.0.0.1"]),
    "cone": ruleset(
        Nat(filtering=BEHAVIOURS[0], hairpin=True, timeout=30.5),
        Firewall(),
        publics=["51.0.0.1"],
        openings=FORWARDS,
    ),
    "carrier": ruleset(
        Nat(BEHAVIOURS[2], ports="random", pool=3), Firewall(), publics=["51.0.0.1", "51.0.0.2", "51.0.0.3"]
    ),
    "by-address": ruleset(Nat(BEHAVIOURS[1], BEHAVIOURS[1], hairpin=True), Firewall(udp=False), publics=["51.0.0.1"]),
    "services": ruleset(Nat(), Firewall(), publics=["51.0.0.1"], services=("upnp", "nat-pmp")),
    "https-only": ruleset(None, Firewall(only=(443,)), publics=["51.0.0.1"]),
    "routed": ruleset(None, Firewall(), publics=["51.0.0.1"], openings=[Opening(80, "51.0.0.34", 80), *FORWARDS[1:]]),
}


@pytest.mark.parametrize("name", CASES)
def test_the_text_is_what_was_looked_at(name: str) -> None:
    assert CASES[name] == (GOLDEN / f"{name}.nft").read_text()


def test_ports_in_sequence_are_listed() -> None:
    """nft has a counter, but not in a port's byte order: so a map stands between."""
    text = ruleset(Nat(ports="sequential"), Firewall(), publics=["51.0.0.1"])
    assert "0 : 20000, 1 : 20001, " in text and "1023 : 21023 }" in text
    assert "snat ip to 51.0.0.1:numgen inc mod 1024 map @sequence" in text


def test_what_a_restart_forgets_is_all_that_is_remembered() -> None:
    kind = Nat(BEHAVIOURS[1], BEHAVIOURS[1], pool=2)
    assert forget(kind, 2, ["pcp"]).splitlines() == [
        "flush map inet lab outward",
        "flush map inet lab inward",
        "flush set inet lab peers",
        "flush set inet lab used0",
        "flush set inet lab used1",
        "flush chain inet lab miniupnpd",
        "flush chain inet lab prerouting_miniupnpd",
        "flush chain inet lab postrouting_miniupnpd",
    ]
    assert forget(Nat(BEHAVIOURS[2], ports="random"), 1) == ""
