"""A lab that is not as its topology says is not used."""

import pytest

from comity.core.topology import Path, parse
from comity.errors import UnreachableError
from comity.lab.echo import RoundTrips
from comity.lab.namespaces import lab, missing
from comity.lab.probes import Behaviour
from comity.lab.selftest import _judge, in_words

TEXT = """
tolerance = 0.5
[rtt]
north = [2]
south = [20, 2]
[defaults]
jitter = 1
[nats.x]
mapping = "address-dependent"
ports = "random"
[sites.home]
region = "south"
nats = ["x"]
[hosts.ann]
site = "home"
[hosts.meet]
region = "north"
"""
WHY = missing()


@pytest.mark.parametrize(
    ("median", "realtime", "fine"),
    [(0.0224, True, True), (0.0226, True, False), (0.0174, True, False), (0.0226, False, True), (0.028, False, False)],
)
def test_a_round_trip_may_be_off_by_the_tolerance_and_the_jitter(median: float, realtime: bool, fine: bool) -> None:
    found = _judge(parse(TEXT, "x"), ("north", "south"), RoundTrips((0.001, median, 1.0), 2), realtime)
    assert (found.kind, found.about, found.fine) == ("path", "north - south", fine)
    assert found.found == f"{median * 1000:.2f} ms"


def test_no_reply_is_off() -> None:
    found = _judge(parse(TEXT, "x"), ("south", "south"), RoundTrips((), 5), True)
    assert (found.about, found.found, found.fine) == ("inside south", "no reply", False)


def test_a_rate_takes_its_time() -> None:
    slow = parse(TEXT.replace("jitter = 1", "rate = 9600"), "x")
    assert slow.path("north", "south") == Path(20, rate=9600)
    assert _judge(slow, ("north", "south"), RoundTrips((0.1,), 0), True).fine
    assert not _judge(slow, ("north", "south"), RoundTrips((0.11,), 0), True).fine


def test_behaviours_in_words() -> None:
    assert in_words(Behaviour(udp=False)) == "no UDP"
    assert in_words(Behaviour(translated=False, filtering="endpoint-independent")) == "no NAT, filtering EIF"
    whole = Behaviour(True, True, "address-dependent", "address-and-port-dependent", "random", False)
    assert in_words(whole) == "mapping ADM, filtering APDF, ports random, no hairpin"


@pytest.mark.lab
@pytest.mark.skipif(WHY is not None, reason=str(WHY))
async def test_a_lab_that_is_off_stops_and_says_where() -> None:
    strict = parse(TEXT.replace("tolerance = 0.5", "tolerance = 0.01").replace("jitter = 1", ""), "x")
    with pytest.raises(UnreachableError, match="the lab is not as its topology says") as caught:
        async with lab(strict):
            pass
    assert [hint.partition(" is ")[0] for hint in caught.value.hints] == ["inside north", "north - south"]
    assert "not 20 ms" in caught.value.hints[1]
    async with lab(strict, strict=False) as made:
        assert {finding.about: finding.fine for finding in made.findings} == {
            "inside north": False,
            "north - south": False,
            "home": True,
        }
