"""Captures: their bytes by hand, and tcpdump's reading of them."""

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.lab.packets import ipv4

from comity.lab import pcap


def test_the_checksum_is_that_of_rfc_1071() -> None:
    assert pcap.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2  # the example of its section 3
    assert pcap.checksum(b"\x01") == 0xFFFF - 0x0100


def test_a_checksum_that_was_left_to_the_card_is_put_in() -> None:
    """UDP with two bytes: the field holds the pseudo header's sum, as the kernel leaves it."""
    pseudo = bytes.fromhex("0a0000010a0000020011000a")
    field = (0xFFFF - pcap.checksum(pseudo)).to_bytes(2, "big")
    udp = bytes.fromhex("00010002000a") + field + b"hi"
    packet = ipv4("10.0.0.1", "10.0.0.2", udp, header=bytes.fromhex("0100000000001400") + b"\x06\x00")
    data = pcap.whole(packet)
    assert len(data) == 30
    assert pcap.checksum(pseudo + data[20:]) == 0  # what a receiver checks
    assert pcap.whole(bytes(10) + data) == data


@pytest.mark.skipif(not shutil.which("tcpdump"), reason="tcpdump is not installed")
def test_tcpdump_reads_a_capture(tmp_path: Path) -> None:
    file = tmp_path / "a.pcap"
    packet = ipv4("203.0.114.1", "203.0.115.1", bytes.fromhex("00350036000c0000") + b"abcd")
    file.write_bytes(pcap.FILE_HEADER + pcap.record(packet, 1_500_000_000_123_456_789))
    done = subprocess.run(["tcpdump", "--nano", "-tt", "-n", "-r", file], check=True, capture_output=True, text=True)
    assert "1500000000.123456789 IP 203.0.114.1.53 > 203.0.115.1.54" in done.stdout
    assert "RAW" in done.stderr
