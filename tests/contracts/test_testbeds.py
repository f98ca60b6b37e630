"""What every testbed promises. A new one is found by being in comity.testbeds."""

import asyncio
import importlib
import pkgutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

import comity.testbeds
from comity.core.topology import parse
from comity.errors import UsageError
from comity.interfaces import Host, Process
from comity.interfaces import Testbed as Bed

TOPOLOGY = """
[rtt]
here = [1]
there = [10, 1]

[nats.home]

[sites.home]
region = "there"
nats = ["home"]
forwards = [{ port = 5000, host = "ann", to = 6000 }]

[hosts.ann]
site = "home"

[hosts.ben]
region = "here"

[hosts.meet]
region = "here"
"""


def kinds_there() -> list[type[Bed]]:
    found = [
        importlib.import_module(f"comity.testbeds.{m.name}") for m in pkgutil.iter_modules(comity.testbeds.__path__)
    ]
    return [module.testbed for module in found if hasattr(module, "testbed")]


@pytest.fixture(params=kinds_there(), ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> type[Bed]:
    why = request.param().missing()
    if why:
        pytest.skip(why)
    return request.param


pytestmark = [pytest.mark.lab]


@asynccontextmanager
async def provisioned(kind: type[Bed]) -> AsyncIterator[Mapping[str, Host]]:
    async with kind().provision(parse(TOPOLOGY, "test")) as hosts:
        yield hosts


async def said(process: Process, data: bytes = b"") -> tuple[int, bytes, bytes]:
    """What a command says to this stdin: code, stdout, stderr."""
    process.write(data)
    process.close()
    out, err = await asyncio.gather(process.stdout.read(), process.stderr.read())
    return await process.wait(), out, err


def test_the_testbeds_are_found() -> None:
    assert {kind.name for kind in kinds_there()} >= {"local", "namespaces"}


async def test_every_host_of_the_topology_is_there(kind: type[Bed]) -> None:
    async with provisioned(kind) as hosts:
        assert [(name, host.name) for name, host in hosts.items()] == [(n, n) for n in ("ann", "ben", "meet")]
        assert len({host.home for host in hosts.values()}) == 3
        assert all(host.addresses for host in hosts.values())


async def test_a_command_has_three_streams_and_a_code(kind: type[Bed]) -> None:
    async with provisioned(kind) as hosts:
        text = "cat; echo $WORD >&2; exit 5"
        assert await said(await hosts["ann"].start("sh", "-c", text, env={"WORD": "err"}), b"in") == (
            5,
            b"in",
            b"err\n",
        )
        assert await said(await hosts["ben"].start("sh", "-c", "kill -9 $$")) == (-9, b"", b"")
        with pytest.raises(UsageError, match="no-such-command cannot be run on ann"):
            await hosts["ann"].start("no-such-command")


async def test_a_host_has_a_home_and_files(kind: type[Bed]) -> None:
    async with provisioned(kind) as hosts:
        ann, ben = hosts["ann"], hosts["ben"]
        assert await said(await ann.start("sh", "-c", "echo $HOME; ls -A $HOME")) == (0, f"{ann.home}\n".encode(), b"")
        data = bytes(range(256)) * 1000
        await ann.put("some/file", data)
        assert await ann.get("some/file") == data
        with pytest.raises(UsageError, match="some/file cannot be read on ben"):
            await ben.get("some/file")
        with pytest.raises(UsageError, match="some cannot be written on ann"):
            await ann.put("some", b"")


async def test_a_signal_reaches_a_command(kind: type[Bed]) -> None:
    async with provisioned(kind) as hosts:
        process = await hosts["ann"].start("sh", "-c", "trap 'exit 7' INT; echo on; sleep 1000 & wait")
        assert await process.stdout.readline() == b"on\n"
        await process.signal(signal.SIGINT)
        assert await process.wait() == 7
        await process.signal(signal.SIGINT)
        process.write(b"nobody reads this")


async def test_hosts_reach_public_ones_and_forwarded_ports(kind: type[Bed]) -> None:
    serve = """
import socket, sys
server = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print(server.getsockname()[1], flush=True)
connection, _ = server.accept()
print(connection.recv(9).decode(), flush=True)
"""
    dial = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).send(b'hello')"
    async with provisioned(kind) as hosts:
        for there, here in ((hosts["ben"], hosts["ann"]), (hosts["ann"], hosts["ben"])):
            forward = there.forwards[0] if there.forwards else (0, "")
            server = await there.start(there.python, "-c", serve, str(forward[0]))
            port = (await server.stdout.readline()).decode().strip()
            address, port = forward[1].split(":") if forward[1] else (there.addresses[0], port)
            if kind.name == "namespaces":
                assert bool(forward[1]) == (there.name == "ann")
            assert (await said(await here.start(here.python, "-c", dial, address, port)))[0] == 0
            assert await server.stdout.readline() == b"hello\n"
            assert await server.wait() == 0


async def test_what_still_runs_ends_with_the_testbed(kind: type[Bed]) -> None:
    async with provisioned(kind) as hosts:
        running = await hosts["ann"].start("sh", "-c", "echo on; exec sleep 1000")
        stubborn = await hosts["ben"].start("sh", "-c", "trap '' TERM; echo on; while :; do sleep 1; done")
        assert await running.stdout.readline() == await stubborn.stdout.readline() == b"on\n"


async def test_python_there_has_comity(kind: type[Bed]) -> None:
    async with provisioned(kind) as hosts:
        host = hosts["ann"]
        code, out, _ = await said(await host.start(host.python, "-P", "-m", "comity", "--version"))
        assert (code, out[:6]) == (0, b"comity")
        assert sys.version_info >= (3, 11)
