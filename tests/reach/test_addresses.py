import json
import shutil
import socket
import struct
import subprocess
from ipaddress import ip_interface
from pathlib import Path

import pytest

from comity.reach import addresses
from comity.reach.addresses import local_addresses, machine_mark


def test_it_finds_what_iproute2_finds() -> None:
    ip = shutil.which("ip")
    if not ip:
        pytest.skip("iproute2 is not installed")
    listed = json.loads(subprocess.run([ip, "-json", "address"], check=True, capture_output=True).stdout)
    expected = {
        ip_interface(f"{entry['local']}/{entry['prefixlen']}")
        for link in listed
        for entry in link.get("addr_info", [])
        if not any(entry.get(flag) for flag in ("tentative", "deprecated", "dadfailed"))
    }
    assert set(local_addresses()) == expected


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def new_address(host: str, prefix: int, *attributes: bytes, flags: int = 0) -> bytes:
    body = struct.pack("=BBBBI", socket.AF_INET6 if ":" in host else socket.AF_INET, prefix, flags, 0, 2)
    body += b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), 20, 2, 1, 0) + body


def packed(host: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)


def test_messages_of_the_kernel_are_read() -> None:
    data = (
        new_address("192.0.2.1", 24, attribute(3, b"eth0\0"), attribute(1, packed("192.0.2.1")))
        # a point-to-point interface: the other end's address, and ours
        + new_address("10.0.0.2", 32, attribute(1, packed("10.0.0.9")), attribute(2, packed("10.0.0.2")))
        + struct.pack("=IHHII", 16, 16, 2, 1, 0)
        + new_address("2001:db8::1", 64, attribute(1, packed("2001:db8::1")), attribute(8, struct.pack("=I", 0x80)))
        + new_address("2001:db8::2", 64, attribute(1, packed("2001:db8::2")), attribute(8, struct.pack("=I", 0x40)))
        + new_address("2001:db8::3", 64, attribute(1, packed("2001:db8::3")), flags=0x20)
        + new_address("2001:db8::4", 64)
        + struct.pack("=IHHIII", 20, 3, 2, 1, 0, 0)
    )
    assert [str(i) for i in addresses._addresses(data)] == ["192.0.2.1/24", "10.0.0.2/32", "2001:db8::1/64"]


def test_a_message_that_gives_no_length_does_not_hang() -> None:
    assert list(addresses._addresses(bytes(64))) == []
    assert list(addresses._attributes(bytes(8))) == [(0, b""), (0, b"")]


def test_without_rtnetlink_there_is_loopback_and_what_the_routes_use(monkeypatch: pytest.MonkeyPatch) -> None:
    known = set(local_addresses())
    monkeypatch.delattr(socket, "AF_NETLINK")
    found = local_addresses()
    assert {ip_interface("127.0.0.1/8"), ip_interface("::1/128")} <= set(found)
    assert {i.ip for i in found} <= {i.ip for i in known} | {ip_interface("::1").ip, ip_interface("127.0.0.1").ip}


def test_a_machine_without_routes_has_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.delattr(socket, "AF_NETLINK")
    monkeypatch.setattr(socket.socket, "connect", unreachable)
    assert local_addresses() == (ip_interface("127.0.0.1/8"), ip_interface("::1/128"))


def test_when_the_kernel_refuses_to_list_the_routes_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_GET_ADDRESS", 0xFF0)  # a type that no kernel knows: it answers with an error
    assert ip_interface("127.0.0.1/8") in local_addresses()


def test_a_machine_is_recognised_within_one_session_only() -> None:
    assert machine_mark(b"a" * 16) == machine_mark(b"a" * 16)
    assert machine_mark(b"a" * 16) != machine_mark(b"b" * 16)
    assert len(machine_mark(b"a" * 16)) == 16


def test_a_system_that_does_not_tell_has_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: Path) -> bytes:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_bytes", missing)
    assert machine_mark(b"a" * 16) == b""
