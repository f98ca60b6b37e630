"""The two methods that lead MPyC to our links, and the one that hears of lost exceptions."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import logging
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from comity.core.encoding import encode
from comity.errors import ComityError, ProgramError
from comity.mpyc_bridge import loop as module
from comity.mpyc_bridge.control import Fault
from comity.mpyc_bridge.loop import FIRST_PORT, host, make_loop

KINDS = [
    False,
    pytest.param(True, marks=pytest.mark.skipif(not importlib.util.find_spec("uvloop"), reason="no uvloop")),
]


@dataclass
class Epochs:
    number: int = 1
    served: list[Any] = field(default_factory=list)
    connected: list[Any] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def serve(self, factory: Any) -> None:
        self.served.append(factory)

    async def connect(self, peer: int, factory: Any) -> tuple[str, str]:
        self.connected.append((peer, factory))
        return "transport", "protocol"

    def fault(self, fault: Fault) -> None:
        self.faults.append(fault)


class Closing(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class Waiting(asyncio.Protocol):
    def __init__(self) -> None:
        self.lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


def run(fast: bool, main: Callable[[], Coroutine[Any, Any, None]]) -> Epochs:
    epochs = Epochs()
    loop = make_loop(epochs, fast=fast)  # type: ignore[arg-type]
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    return epochs


@pytest.mark.parametrize("fast", KINDS)
def test_mpycs_server_and_connections_are_ours(fast: bool) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, port=FIRST_PORT + 1, ssl=None)
        assert server.is_serving() and server.get_loop() is loop
        server.close()
        await server.wait_closed()
        assert not server.is_serving()
        with pytest.raises(RuntimeError):
            await server.serve_forever()
        await server.start_serving()
        found = await loop.create_connection(asyncio.Protocol, host(2), FIRST_PORT + 2, ssl=None, server_hostname=None)
        assert found == ("transport", "protocol")

    epochs = run(fast, main)
    assert epochs.served == [asyncio.Protocol] and epochs.connected == [(2, asyncio.Protocol)]


@pytest.mark.parametrize("fast", KINDS)
def test_any_other_server_and_connection_is_the_programs_own(fast: bool) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Closing, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        transport, protocol = await loop.create_connection(Waiting, *address)
        assert transport.get_extra_info("peername") == address
        await protocol.lost.wait()
        server.close()
        with pytest.raises(OverflowError):  # another party's place is nobody's server
            await loop.create_server(asyncio.Protocol, "127.0.0.1", FIRST_PORT + 2)

    epochs = run(fast, main)
    assert epochs.served == [] and epochs.connected == []


def test_one_party_alone_has_a_plain_loop() -> None:
    loop = make_loop(None, fast=False)
    loop.close()
    assert type(loop) is asyncio.SelectorEventLoop


def test_without_uvloop_asyncio_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "uvloop", None)
    loop = make_loop(None, fast=True)
    loop.close()
    assert type(loop) is asyncio.SelectorEventLoop


class Shown(logging.Handler):
    """What a loop shows of exceptions: asyncio and uvloop both log it."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += self.format(record)


@pytest.fixture
def shown() -> Iterator[Shown]:
    log, handler = logging.getLogger("asyncio"), Shown()
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


@pytest.mark.parametrize("fast", KINDS)
def test_an_exception_in_a_callback_is_shown_as_ever(fast: bool, shown: Shown) -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(int, "no number")
        await asyncio.sleep(0)

    epochs = run(fast, main)
    assert "no number" in shown.text and epochs.faults == []


@pytest.mark.parametrize("fast", KINDS)
def test_mpycs_own_handler_is_asked_where_it_can_answer(fast: bool, shown: Shown) -> None:
    asked: list[dict[str, Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: asked.append(context))
        loop.call_soon(int, "no number")
        await asyncio.sleep(0)
        loop.call_exception_handler({"message": "of a task"})

    run(fast, main)
    assert len(asked) == (1 if fast else 2)
    assert ("no number" in shown.text) == fast


@pytest.mark.parametrize("fast", KINDS)
def test_a_coroutine_of_mpycs_that_fails_in_silence_ends_the_run(fast: bool, shown: Shown) -> None:
    class Marked(asyncio.Task):  # type: ignore[type-arg]
        f_back = None  # MPyC marks its tasks so

    async def main() -> None:
        async def fails() -> None:
            raise KeyError("lost")

        task = Marked(fails(), loop=asyncio.get_running_loop())
        await asyncio.wait([task])
        del task
        gc.collect()

    (fault,) = run(fast, main).faults
    assert isinstance(fault.error, ProgramError) and "lost" in fault.error.message
    assert "lost" in shown.text


@pytest.mark.parametrize("fast", KINDS)
def test_an_exception_of_our_own_code_is_a_bug_that_ends_the_run(fast: bool, shown: Shown) -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(encode, object())
        await asyncio.sleep(0)

    (fault,) = run(fast, main).faults
    assert type(fault.error) is ComityError and "a bug of comity" in fault.error.message
    assert "encode" in shown.text
