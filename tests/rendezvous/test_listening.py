import socket
from ipaddress import IPv4Address, ip_interface

import pytest

from comity.errors import UsageError
from comity.rendezvous import listening
from comity.rendezvous.listening import DEFAULT_PORT, open_sockets, parse_listen, urls

HERE = [ip_interface(text) for text in ("127.0.0.1/8", "192.0.2.7/24", "fe80::1/64", "2001:db8::7/64", "::1/128")]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("127.0.0.1", ("127.0.0.1", DEFAULT_PORT)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:80", ("::1", 80)),
        ("[fe80::1%eth0]", ("fe80::1%eth0", DEFAULT_PORT)),
        (":80", ("", 80)),
        ("80", ("", 80)),
        ("", ("", DEFAULT_PORT)),
    ],
)
def test_where_to_listen_is_written_as_people_write_it(text: str, meaning: tuple[str, int]) -> None:
    assert parse_listen(text) == meaning


@pytest.mark.parametrize("text", ["::1", "::1:80", "[::1", "[]:80", "a:b", "a:", "a b:80", "a:1:2", "a:123456", "a:٣"])
def test_what_could_mean_two_things_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no address to listen on"):
        parse_listen(text)


def test_a_server_everywhere_is_found_at_each_address_loopback_last() -> None:
    assert urls("http", [("::", 1)], HERE) == (
        "http://192.0.2.7:1",
        "http://[2001:db8::7]:1",
        "http://127.0.0.1:1",
        "http://[::1]:1",
    )
    assert urls("https", [(str(IPv4Address(0)), 2)], HERE) == ("https://192.0.2.7:2", "https://127.0.0.1:2")
    assert urls("http", [("127.0.0.1", 3), ("192.0.2.7", 3), ("127.0.0.1", 3)], HERE) == (
        "http://192.0.2.7:3",
        "http://127.0.0.1:3",
    )


async def test_a_machine_without_ipv6_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    create = socket.create_server

    def without_ipv6(address: tuple[str, int], *, family: int = socket.AF_INET, **options: object) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(99, "cannot assign requested address")
        return create(address, family=family, backlog=int(str(options["backlog"])))

    monkeypatch.setattr(listening.socket, "create_server", without_ipv6)
    for has_socket in (True, False):
        monkeypatch.setattr(listening.socket, "has_dualstack_ipv6", lambda has_socket=has_socket: has_socket)
        (sock,) = await open_sockets([("", 0)])
        with sock:
            assert sock.getsockname()[0] == str(IPv4Address(0))


async def test_a_port_in_use_on_one_address_closes_the_others() -> None:
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.2, port {port}: address already in use"):
            await open_sockets([("127.0.0.1", port), ("127.0.0.2", port)])
        with socket.create_server(("127.0.0.1", port)):
            pass  # it is free again
