import asyncio
import errno
import resource
import socket
from pathlib import Path as File

import pytest

from comity.core.limits import MAX_ARRIVALS
from comity.interfaces import Channel
from comity.reach import listener
from comity.reach.listener import listening
from comity.reach.tcp import bind, channel


def admit(sock: socket.socket) -> Channel:
    return channel(sock, "direct")


async def connected(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


async def test_a_flood_is_bounded_and_the_latest_arrival_is_not_lost() -> None:
    with bind(0) as server:
        port = server.getsockname()[1]
        with listening(server, admit, lambda _: None) as arrivals:
            flood = [await connected(port) for _ in range(MAX_ARRIVALS + 40)]
            honest = await connected(port)
            await asyncio.get_running_loop().sock_sendall(honest, b"!")
            for stranger in flood[:41]:
                assert await asyncio.get_running_loop().sock_recv(stranger, 1) == b""
            waiting = [await anext(arrivals) for _ in range(MAX_ARRIVALS)]
            assert waiting[-1].path.remote.endswith(f":{honest.getsockname()[1]}")
            assert await asyncio.get_running_loop().sock_recv(waiting[-1].sock, 1) == b"!"
        for sock in (*flood, honest, *(c.sock for c in waiting)):
            sock.close()


async def test_without_descriptors_it_pauses_says_so_once_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "PAUSE", 0.01)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    told = asyncio.Event()
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        told.set()

    with bind(0) as server, listening(server, admit, report) as arrivals:
        strangers = [socket.socket() for _ in range(3)]
        highest = max(int(entry.name) for entry in File("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
        try:
            fill = []
            while True:
                try:
                    fill.append(socket.socket())
                except OSError:
                    break
            for sock in strangers:
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.getsockname()[1]))
            await told.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for sock in fill:
            sock.close()
        accepted = [await anext(arrivals) for _ in strangers]
        assert lines == ["no connection can be accepted for the moment: too many open files"]
        for sock in (*strangers, *(c.sock for c in accepted)):
            sock.close()


async def test_an_arrival_that_is_reset_before_it_is_admitted_is_dropped() -> None:
    seen: list[socket.socket] = []

    def refuse_the_first(sock: socket.socket) -> Channel:
        seen.append(sock)
        if len(seen) == 1:
            raise ConnectionResetError
        return admit(sock)

    with bind(0) as server, listening(server, refuse_the_first, lambda _: None) as arrivals:
        strangers = [await connected(server.getsockname()[1]) for _ in range(2)]
        arrived = await anext(arrivals)
        assert seen[0].fileno() == -1 and arrived.sock is seen[1]
        for sock in (*strangers, arrived.sock):
            sock.close()


async def test_one_that_went_away_before_it_was_accepted_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    accept, failures = socket.socket.accept, [ConnectionAbortedError()]

    def abort_first(server: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop()
        return accept(server)

    monkeypatch.setattr(socket.socket, "accept", abort_first)
    with bind(0) as server, listening(server, admit, lambda _: None) as arrivals:
        honest = await connected(server.getsockname()[1])
        arrived = await anext(arrivals)
        honest.close()
        arrived.sock.close()


async def test_pauses_repeat_are_told_once_and_end_with_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0
    third = asyncio.Event()
    lines: list[str] = []

    def full(_: socket.socket) -> None:
        nonlocal tries
        tries += 1
        if tries == 3:
            third.set()
        raise OSError(errno.EMFILE, "full")

    monkeypatch.setattr(listener, "PAUSE", 0.01)
    with bind(0) as server, socket.create_connection(server.getsockname()[:2]):
        monkeypatch.setattr(socket.socket, "accept", full)
        with listening(server, admit, lines.append) as arrivals:
            await third.wait()
        assert [c async for c in arrivals] == []
        assert not asyncio.get_running_loop().remove_reader(server)
    assert len(lines) == 1
