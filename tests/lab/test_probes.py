"""What is expected of NATs, in words; that it is found is shown in tests/lab/test_nat_lab.py."""

from comity.core.topology import BEHAVIOURS, Firewall, Nat
from comity.lab.probes import Behaviour, expected

INDEPENDENT, BY_ADDRESS, BY_PORT = BEHAVIOURS


def test_one_nat_is_what_it_says() -> None:
    nat = Nat(BY_ADDRESS, INDEPENDENT, "sequential", hairpin=True)
    assert expected([nat], Firewall()) == Behaviour(True, True, BY_ADDRESS, INDEPENDENT, "sequential", True)


def test_the_outermost_that_does_not_keep_ports_decides_on_them() -> None:
    kept, counted, thrown = (Nat(ports=ports) for ports in ("preserving", "sequential", "random"))
    assert expected([kept, counted], Firewall()).ports == "sequential"
    assert expected([counted, thrown], Firewall()).ports == "sequential"
    assert expected([thrown, counted], Firewall()).ports == "random"
    assert expected([kept, kept], Firewall()).ports == "preserving"


def test_without_a_nat_the_firewall_is_what_filters() -> None:
    assert expected([], Firewall()) == Behaviour(True, False, None, BY_PORT)
    assert expected([], Firewall(stateful=False)) == Behaviour(True, False, None, INDEPENDENT)
    assert expected([Nat()], Firewall(udp=False)) == expected([], Firewall(only=(443,))) == Behaviour(udp=False)


def test_differences_are_told_in_words() -> None:
    wanted = expected([Nat(hairpin=True)], Firewall())
    found = Behaviour(True, True, BY_PORT, None, "preserving", False)
    assert wanted.differences(found) == [
        "mapping: address-and-port-dependent, not endpoint-independent",
        "filtering: unknown, not address-and-port-dependent",
        "hairpin: no, not yes",
    ]
    assert wanted.differences(wanted) == []
    unknown = expected([Nat(BY_PORT, BY_ADDRESS)], Firewall())
    assert unknown.hairpin is None
    assert unknown.differences(Behaviour(True, True, BY_PORT, BY_ADDRESS, "preserving", True)) == []
