"""The words that make a machine."""

from comity.core.addressing import plan
from comity.core.topology import parse
from comity.lab import batch

PLAN = plan(
    parse(
        """
[rtt]
here = [1]

[nats.carrier]
pool = 2

[nats.home]

[sites.house]
region = "here"
nats = ["carrier", "home"]
families = [4, 6]

[hosts.ann]
site = "house"

[hosts.ben]
site = "house"
families = [4]

[hosts.meet]
region = "here"
""",
        "x",
    )
)


def space(name: str) -> str:
    return f"/space/{name}"


def words(name: str) -> list[str]:
    machine = PLAN.machine(name)
    return (batch.links(machine, space) + batch.addresses(machine)).splitlines()


def test_a_public_host_has_its_device_as_the_way_out() -> None:
    assert words("meet") == [
        "link set lo up",
        "address add 51.0.0.65/32 dev wan",
        "link set wan txqueuelen 2000 up",
        "route add 0.0.0.0/0 dev wan",
    ]


def test_a_carrier_has_a_cable_to_the_router_behind_it() -> None:
    assert words("house-carrier") == [
        "link set lo up",
        "link add lan address 02:00:00:00:00:01 type bridge",
        "link add b0 type veth peer name wan netns /space/house-router",
        "link set b0 master lan up",
        "address add 100.64.0.1/24 dev lan",
        "address add 2a00:51:0:21::1/64 dev lan nodad",
        "link set lan up",
        "address add 51.0.0.129/32 dev wan",
        "address add 51.0.0.130/32 dev wan",
        "address add 2a00:51:0:20::1/128 dev wan nodad",
        "link set wan txqueuelen 2000 up",
        "route add 0.0.0.0/0 dev wan",
        "route add ::/0 dev wan",
        "route add 2a00:51:0:22::/64 via 2a00:51:0:21::2",
    ]


def test_a_router_joins_its_hosts_by_a_bridge() -> None:
    assert words("house-router") == [
        "link set lo up",
        "link add lan address 02:00:00:00:00:01 type bridge",
        "link add b0 type veth peer name wan netns /space/ann",
        "link set b0 master lan up",
        "link add b1 type veth peer name wan netns /space/ben",
        "link set b1 master lan up",
        "address add 192.168.0.1/24 dev lan",
        "address add 2a00:51:0:22::1/64 dev lan nodad",
        "link set lan up",
        "address add 100.64.0.2/24 dev wan",
        "address add 2a00:51:0:21::2/64 dev wan nodad",
        "link set wan up",
        "route add 0.0.0.0/0 via 100.64.0.1",
        "route add ::/0 via 2a00:51:0:21::1",
    ]


def test_one_more_cable() -> None:
    assert batch.cable(29, "ann", space).splitlines() == [
        "link add b29 type veth peer name wan netns /space/ann",
        "link set b29 master lan up",
    ]


def test_a_host_leaves_by_its_router() -> None:
    assert words("ben") == [
        "link set lo up",
        "address add 192.168.0.11/24 dev wan",
        "link set wan up",
        "route add 0.0.0.0/0 via 192.168.0.1",
    ]


def test_routers_forward_and_who_has_no_ipv6_does_not_speak_it() -> None:
    assert batch.variables(PLAN.machine("house-router")) == {
        "ipv4/ping_group_range": "0 0",
        "ipv4/ip_forward": "1",
        "ipv4/conf/all/send_redirects": "0",
        "ipv6/conf/all/accept_ra": "0",
        "ipv6/conf/all/accept_dad": "0",
        "ipv6/conf/default/accept_ra": "0",
        "ipv6/conf/default/accept_dad": "0",
        "ipv6/conf/all/forwarding": "1",
    }
    assert batch.variables(PLAN.machine("ben")) == {
        "ipv4/ping_group_range": "0 0",
        "ipv6/conf/all/disable_ipv6": "1",
        "ipv6/conf/default/disable_ipv6": "1",
    }
