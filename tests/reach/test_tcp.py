import socket

import pytest

from comity.errors import UsageError
from comity.reach.tcp import bind, channel, show


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (("192.0.2.7", 7000), "192.0.2.7:7000"),
        (("2001:db8::7", 7000, 0, 0), "[2001:db8::7]:7000"),
        (("::ffff:192.0.2.7", 7000, 0, 0), "192.0.2.7:7000"),
    ],
)
def test_an_address_is_shown_as_people_write_it(address: tuple[str | int, ...], shown: str) -> None:
    assert show(address) == shown


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_one_port_serves_both_families(host: str) -> None:
    with bind(0) as server, socket.create_connection((host, server.getsockname()[1])) as near:
        far, _ = server.accept()
        with far:
            made = channel(far, "direct")
            assert made.path.remote == show(near.getsockname()) and made.path.local == show(near.getpeername())
            assert far.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) and not far.getblocking()


def test_a_port_in_use_is_named() -> None:
    with bind(0) as server:
        port = server.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} cannot be listened on: address already in use"):
            bind(port)


def test_a_port_is_free_again_at_once_for_the_next_session() -> None:
    with bind(0) as server, socket.create_connection(("127.0.0.1", server.getsockname()[1])):
        port = server.getsockname()[1]
        far, _ = server.accept()
        far.close()  # first, so that this side keeps the connection in TIME_WAIT
    with bind(port) as again:
        assert again.getsockname()[1] == port


def test_a_machine_without_ipv6_listens_by_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with bind(0) as server:
        assert server.family == socket.AF_INET


def test_a_channel_that_was_reset_stays_the_callers() -> None:
    with socket.socket() as sock, pytest.raises(OSError, match="not connected"):
        channel(sock, "direct")
