"""What cannot work is said before anybody is called together."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tests.sessions.parties import stage

from comity.reach.tcp import bind

pytestmark = [pytest.mark.session, pytest.mark.timeout(60)]


async def test_a_busy_port_is_said_before_anybody_is_invited(tmp_path: Path) -> None:
    with bind(0) as server:
        port = server.getsockname()[1]
        async with stage(tmp_path) as s:
            host = await s.start("alice", "host", "--listen", str(port), "sum", "4")
            assert await host.end() == 2
            assert host.error["message"] == f"port {port} cannot be listened on: address already in use"
            assert host.error["hints"] == ["choose another one by --listen PORT"]
            assert not host.all("invite")


async def test_a_busy_port_of_a_guest_is_nothing_to_the_others(tmp_path: Path) -> None:
    with bind(0) as server:
        async with stage(tmp_path) as s:
            host = await s.start("alice", "host", "-n", "2", "--allow-no-secrecy", "sum", "4")
            link = (await host.event("invite"))["link"]
            options = ("--allow-no-secrecy", "--listen", str(server.getsockname()[1]))
            bob = await s.start("bob", "join", *options, link)
            assert await bob.end() == 2 and not bob.all("session")
            again = await s.start("bob", "join", "--allow-no-secrecy", link)
            for party in (host, again):
                await party.event("check")
                party.answer("y")
            assert [await party.end() for party in (host, again)] == [0, 0]
            assert len(host.all("joined")) == 1 and not host.all("left")


async def test_a_port_is_kept_from_the_invitation_on(tmp_path: Path) -> None:
    """Nobody takes it while people still gather, and the session is reached by it."""
    with bind(0) as server:
        port = server.getsockname()[1]
    async with stage(tmp_path) as s:
        options = ["--allow-no-secrecy", "--listen", str(port), "--record", str(tmp_path / "record")]
        host = await s.start("alice", "host", "-n", "2", *options, "sum", "4")
        link = (await host.event("invite"))["link"]
        with socket.socket(socket.AF_INET6) as other, pytest.raises(OSError, match="in use"):
            other.bind(("::", port))
        bob = await s.start("bob", "join", "--allow-no-secrecy", link)
        await s.agree()
        assert await s.ends() == [0, 0] and bob.output == host.output
    with bind(port):
        pass


async def test_words_that_nobody_could_answer_for_are_said_before_anybody_hears_of_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        host = await s.start("alice", "host", "--no-input", "sum", "4")
        assert await host.end() == 2 and not host.all("invite")
        assert host.error["hints"] == ["answer beforehand with --verify link"]
        host = await s.start("alice", "host", "-n", "2", "--allow-no-secrecy", "sum", "4")
        bob = await s.start("bob", "join", "--no-input", (await host.event("invite"))["link"])
        assert await bob.end() == 2 and not bob.all("session")
        assert bob.error["hints"] == ["answer beforehand with --verify link"]
        assert not host.all("joined")


async def test_one_party_alone_has_nothing_to_answer(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        host = await s.start("alice", "host", "-n", "1", "--no-input", "sum", "4")
        assert await host.end() == 0


async def test_a_record_that_cannot_be_written_is_said_before_anybody_is_invited(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        where = tmp_path / "no-folder" / "record"
        host = await s.start("alice", "host", "--record", str(where), "sum", "4")
        assert await host.end() == 2 and not host.all("program")
        assert host.error["message"] == f"the record cannot be written to {where}: no such file or directory"


async def test_without_a_common_transport_each_party_says_who_has_what(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        both = ("--transport", "direct", "--transport", "unix")
        host = await s.start("alice", "host", *both, "sum", "4")
        link = (await host.event("invite"))["link"]
        await s.start("bob", "join", "--transport", "direct", link)
        await host.event("joined")
        await s.start("carol", "join", "--transport", "unix", link)
        assert await s.ends() == [5, 5, 5]
        for party in s.parties:
            assert party.error["message"] == "there is no transport that all have"
            assert party.error["hints"][0] == "alice by direct or unix; bob by direct; carol by unix"
