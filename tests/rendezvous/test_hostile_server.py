"""A rendezvous that lies: its members end with a plain error, in bounded time and memory, and never crash."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from comity.core.limits import MAX_BODY, MAX_ROOM_BODIES, MAX_ROOM_BYTES
from comity.errors import ComityError, UnreachableError, VerificationError
from comity.interfaces import Mailbox
from comity.rendezvous import client, dialling, wire
from comity.rendezvous.client import Patience, WebRendezvous
from comity.rendezvous.log import Full, key_of
from comity.rendezvous.rooms import Reason
from comity.rendezvous.server import Server

ROOM = "0a" * 16
SHORT = Patience(start=0.1, later=0.4)
WELCOME = wire.Welcome(b"i" * 16, 0).pack()

Script = Callable[[web.WebSocketResponse], Awaitable[None]]


@asynccontextmanager
async def hostile(script: Script, protocols: tuple[str, ...] = (wire.SUBPROTOCOL,)) -> AsyncIterator[str]:
    """A server that upgrades every request and then does what its script says."""

    async def answer(request: web.BaseRequest) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(protocols=protocols, max_msg_size=0, timeout=0.1)
        await ws.prepare(request)
        with suppress(ConnectionError):
            await script(ws)
        return ws

    http = web.Server(answer)
    listener = await asyncio.get_running_loop().create_server(http, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        await http.shutdown(0.1)


@asynccontextmanager
async def answering(reply: bytes) -> AsyncIterator[str]:
    """A server that answers every request with the same bytes and hangs up."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


async def first(mailbox: Mailbox) -> bytes:
    async for _, body in mailbox.read():
        return body
    raise AssertionError("reading never ends by itself")


def says(*messages: bytes | str, then: Script | None = None) -> Script:
    """Sends messages, and then waits for whatever comes, until the member leaves."""

    async def script(ws: web.WebSocketResponse) -> None:
        for message in messages:
            await (ws.send_str(message) if isinstance(message, str) else ws.send_bytes(message))
        if then is not None:
            await then(ws)
        async for _ in ws:
            pass

    return script


async def open_fails(address: str, certificate: bytes = b"") -> ComityError:
    with pytest.raises(ComityError) as raised:
        async with WebRendezvous([address], certificate, patience=SHORT).open(ROOM):
            pass
    return raised.value


@pytest.mark.parametrize(
    "message",
    [
        b"",
        "text",
        wire.Entry(1, b"first").pack(),
        WELCOME[:-1],
        wire.Welcome(b"i" * 16, MAX_ROOM_BODIES + 1).pack(),
        bytes(wire.MAX_ENTRY + 1),
    ],
)
async def test_a_server_that_does_not_begin_with_its_welcome_is_no_rendezvous(message: bytes | str) -> None:
    async with hostile(says(message)) as address:
        error = await open_fails(address)
        assert isinstance(error, UnreachableError) and address in error.message


async def test_a_server_of_another_version_is_no_rendezvous() -> None:
    for protocols in ((), ("comity.mailbox.2",)):
        async with hostile(says(WELCOME), protocols) as address:
            assert "no rendezvous of this version" in (await open_fails(address)).message


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n<html>", "status 200"),
        (b"HTTP/1.1 404 \x1b[31mred\r\n\r\n", "it is no rendezvous|it does not speak HTTP"),
        (b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", "status 101"),
        (b"220 mail.example.org ESMTP\r\n", "it does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 5000 + b"\r\n", "it does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", "it does not speak HTTP"),
        (b"", "it does not speak HTTP|reset"),
    ],
)
async def test_whatever_else_answers_is_named_and_none_of_its_words_are_shown(reply: bytes, why: str) -> None:
    async with answering(reply) as address:
        error = await open_fails(address)
        assert isinstance(error, UnreachableError)
        with pytest.raises(UnreachableError, match=why):
            raise error
        assert error.message.isprintable() and "mail" not in error.message


@pytest.mark.parametrize("address", ["http://a..b", "http://%zz", f"http://{'a' * 64}", "http://[::1%x]:1"])
async def test_an_address_that_leads_nowhere_is_named(address: str) -> None:
    error = await open_fails(address)
    assert isinstance(error, UnreachableError) and f"{address}: " in error.message


async def test_a_redirect_is_not_followed() -> None:
    async with Server([("127.0.0.1", 0)]) as server:
        target = f"http://127.0.0.1:{server.port}/room/{ROOM}"
        reply = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
        async with answering(reply.encode()) as address:
            assert "redirect" in (await open_fails(address)).message
        assert len(server.rooms) == 0


async def test_a_server_that_upgrades_and_says_nothing_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ATTEMPT_TIMEOUT", 0.1)
    async with hostile(says()) as address:
        assert "no answer" in (await open_fails(address)).message


@pytest.mark.parametrize(
    ("code", "why"),
    [(Reason.BUSY, "no place for another room"), (Reason.CROWDED, "too many members"), (1000, "it closed")],
)
async def test_why_a_server_lets_nobody_in_is_said(code: int, why: str) -> None:
    async def closes(ws: web.WebSocketResponse) -> None:
        await ws.close(code=code, message=b"\x1b[31mred")

    async with hostile(closes) as address:
        error = await open_fails(address)
        assert why in error.message and "red" not in error.message


@pytest.mark.parametrize(
    "messages",
    [
        [wire.Entry(2, b"x").pack()],
        [wire.Entry(0, b"x").pack()],
        [wire.Entry(1, b"x").pack(), wire.Entry(1, b"y").pack()],
        [wire.Entry(1, b"x").pack(), wire.Entry(2, b"x").pack()],
        [wire.Entry(1, b"x").pack(), WELCOME],
        [wire.Refusal(key_of(b"never posted")).pack()],
        [wire.Entry(1, bytes(MAX_BODY)).pack() + b"x"],
        ["text"],
        [b""],
        [b"\x10post"],
    ],
)
async def test_a_server_that_breaks_the_protocol_ends_the_mailbox_and_is_named(messages: list[bytes | str]) -> None:
    async with (
        hostile(says(WELCOME, *messages)) as address,
        WebRendezvous([address], patience=SHORT).open(ROOM) as mailbox,
    ):
        with pytest.raises(UnreachableError, match=f"the rendezvous at {address} broke the protocol"):
            async for _, body in mailbox.read():
                assert body == b"x"
        with pytest.raises(UnreachableError, match="broke the protocol"):
            await mailbox.post(b"more")


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack("!BBQ", 0x82, 127, 2**62),
        b"\xf2\x01x",
        b"\x83\x01x",
        b"\x80\x01x",
        b"\x89\x7e\x01\x00" + bytes(256),
        b"\x88\x01x",
    ],
)
async def test_a_frame_that_is_no_websocket_frame_ends_the_mailbox(frame: bytes) -> None:
    async def write(ws: web.WebSocketResponse) -> None:
        transport = ws._req.transport  # type: ignore[union-attr]
        assert transport is not None
        transport.write(frame)

    async with (
        hostile(says(WELCOME, then=write)) as address,
        WebRendezvous([address], patience=SHORT).open(ROOM) as mailbox,
    ):
        with pytest.raises(UnreachableError, match="broke the protocol"):
            await first(mailbox)


async def test_endless_entries_end_at_what_a_room_may_hold() -> None:
    async def endless(ws: web.WebSocketResponse) -> None:
        for position in range(1, 2 * MAX_ROOM_BODIES):
            await ws.send_bytes(wire.Entry(position, position.to_bytes(4, "big")).pack())

    async def large(ws: web.WebSocketResponse) -> None:
        for position in range(1, 2 * MAX_ROOM_BYTES // MAX_BODY):
            await ws.send_bytes(wire.Entry(position, position.to_bytes(4, "big") * (MAX_BODY // 4)).pack())

    for script, most in ((endless, MAX_ROOM_BODIES), (large, MAX_ROOM_BYTES // MAX_BODY)):
        read = 0
        async with (
            hostile(says(WELCOME, then=script)) as address,
            WebRendezvous([address], patience=SHORT).open(ROOM) as mailbox,
        ):
            with pytest.raises(UnreachableError, match="more than a room holds"):
                async for _ in mailbox.read():
                    read += 1
        assert read <= most


async def test_a_new_incarnation_each_time_brings_no_body_twice_and_no_more_than_a_room_holds() -> None:
    incarnations = iter(range(256))

    async def script(ws: web.WebSocketResponse) -> None:
        number = next(incarnations)
        await ws.send_bytes(wire.Welcome(bytes([number]) * 16, 1).pack())
        await ws.send_bytes(wire.Entry(1, b"same").pack())
        await ws.send_bytes(wire.Entry(2, bytes([number])).pack())
        await ws.close()

    read = []
    async with hostile(script) as address, WebRendezvous([address], patience=SHORT).open(ROOM) as mailbox:
        async for _, body in mailbox.read():
            read.append(body)
            if len(read) == 4:
                break
    assert read == [b"same", b"\0", b"\1", b"\2"]


async def test_a_log_that_became_shorter_is_no_log() -> None:
    entries = iter([[b"x", b"y"], [b"x"]])

    async def script(ws: web.WebSocketResponse) -> None:
        bodies = next(entries)
        await ws.send_bytes(wire.Welcome(b"i" * 16, len(bodies)).pack())
        for position, body in enumerate(bodies, start=1):
            await ws.send_bytes(wire.Entry(position, body).pack())
        await ws.close()

    async with hostile(script) as address, WebRendezvous([address], patience=SHORT).open(ROOM) as mailbox:
        with pytest.raises(UnreachableError, match="its log became shorter"):
            async for _, body in mailbox.read(2):
                raise AssertionError(body)


async def test_a_server_that_never_acknowledges_is_given_up() -> None:
    async with (
        hostile(says(WELCOME)) as address,
        WebRendezvous([address], patience=Patience(later=0.1)).open(ROOM) as mailbox,
    ):
        with pytest.raises(UnreachableError, match="did not take a message"):
            await mailbox.post(b"x")


async def test_a_server_that_promises_entries_and_sends_none_is_given_up() -> None:
    async with (
        hostile(says(wire.Welcome(b"i" * 16, 5).pack())) as address,
        WebRendezvous([address], patience=Patience(later=0.1)).open(ROOM) as mailbox,
    ):
        with pytest.raises(UnreachableError, match="did not take a message"):
            await mailbox.post(b"x")


async def test_a_server_that_welcomes_and_hangs_up_for_ever_is_given_up() -> None:
    async def script(ws: web.WebSocketResponse) -> None:
        await ws.send_bytes(WELCOME)
        await ws.close()

    async with hostile(script) as address, WebRendezvous([address], patience=SHORT).open(ROOM) as mailbox:
        with pytest.raises(UnreachableError, match="closes every connection"):
            await first(mailbox)


async def test_a_refusal_ends_one_post_and_the_body_may_be_posted_again() -> None:
    async def script(ws: web.WebSocketResponse) -> None:
        await ws.send_bytes(WELCOME)
        for reply in (wire.Refusal(key_of(b"x")), wire.Entry(1, b"x")):
            assert await ws.receive_bytes() == wire.post(b"x")
            await ws.send_bytes(reply.pack())
        await ws.receive()

    async with hostile(script) as address, WebRendezvous([address], patience=SHORT).open(ROOM) as mailbox:
        with pytest.raises(Full):
            await mailbox.post(b"x")
        assert await mailbox.post(b"x") == 1


async def test_a_server_that_does_not_read_is_left_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SEND_TIMEOUT", 0.1)
    monkeypatch.setattr(dialling, "CLOSE_TIMEOUT", 0.1)
    held: list[web.WebSocketResponse] = []

    async def script(ws: web.WebSocketResponse) -> None:
        await ws.send_bytes(WELCOME)
        held.append(ws)
        await asyncio.Event().wait()

    time = asyncio.get_running_loop().time
    began = time()
    async with (
        hostile(script) as address,
        WebRendezvous([address], patience=Patience(later=1.0)).open(ROOM) as mailbox,
    ):
        posts = [mailbox.post(bytes([i]) * MAX_BODY) for i in range(16)]
        results = await asyncio.gather(*posts, return_exceptions=True)
        assert all(isinstance(result, UnreachableError) for result in results)
        assert len(held) > 1  # it tried other connections
    assert time() - began < 8


async def test_a_server_whose_words_are_an_error_of_the_room_ends_it() -> None:
    for code, why in ((Reason.EXPIRED, "expired"), (Reason.MALFORMED, "did not understand")):

        async def script(ws: web.WebSocketResponse, code: int = code) -> None:
            await ws.send_bytes(WELCOME)
            await ws.close(code=code)

        async with hostile(script) as address, WebRendezvous([address], patience=SHORT).open(ROOM) as mailbox:
            with pytest.raises(UnreachableError, match=why):
                await first(mailbox)


async def test_one_hostile_address_does_not_spoil_the_others() -> None:
    async with (
        Server([("127.0.0.1", 0)]) as server,
        hostile(says("nonsense")) as bad,
        answering(b"") as worse,
        WebRendezvous([bad, worse, f"http://127.0.0.1:{server.port}"]).open(ROOM) as mailbox,
    ):
        assert await mailbox.post(b"x") == 1


async def test_an_address_without_a_certificate_is_not_tried_when_one_is_demanded() -> None:
    async with hostile(says(WELCOME)) as address:
        error = await open_fails(address, bytes(32))
        assert isinstance(error, VerificationError) and "no certificate" in error.message
