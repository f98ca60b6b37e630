"""Links on real channels: loopback and socket pairs, asyncio and uvloop."""

import asyncio
import socket
import time
from collections.abc import Callable

import pytest
from tests.links.ends import End, SocketRogue, alice_and_bob, meet, on_every_loop, tcp_pair, unix_pair
from tests.links.parties import ALICE, BOB, CAROL, certificate_of, seed

from comity.core.encoding import Malformed
from comity.core.frames import ACK, DATA, GOODBYE, HELLO_SIZE, parse_goodbye
from comity.errors import PeerError, VerificationError
from comity.links import stream
from comity.links.link import Goodbye
from comity.links.stream import ACKNOWLEDGE_EVERY, attach

PAIRS = [tcp_pair, unix_pair]
Pair = Callable[[], tuple[socket.socket, socket.socket]]


@pytest.mark.parametrize("pair", PAIRS)
@on_every_loop
async def test_bytes_go_both_ways_and_both_sides_end_clean(pair: Pair) -> None:
    alice, bob = await alice_and_bob(pair())
    alice.stream.write(b"hello")
    assert await bob.received(5) == b"hello"
    bob.stream.write(b"hello yourself")
    assert await alice.received(14) == b"hello yourself"
    assert (alice.stream.sent, alice.stream.received, bob.stream.sent, bob.stream.received) == (5, 14, 14, 5)
    alice.stream.finish()
    bob.stream.finish()
    assert await alice.verdict() is None and await bob.verdict() is None
    assert all(0 < (end.stream.round_trip or 0) < 5 for end in (alice, bob))


@pytest.mark.parametrize("pair", PAIRS)
@on_every_loop
async def test_large_data_goes_both_ways_at_once(pair: Pair) -> None:
    alice, bob = await alice_and_bob(pair())
    there, back = bytes(range(256)) * 20_000, bytes(range(255, -1, -1)) * 30_000
    alice.stream.write(there)
    bob.stream.write(back[:100])
    bob.stream.write(back[100:])
    alice.stream.finish()
    bob.stream.finish()
    assert await alice.verdict() is None and await bob.verdict() is None
    assert bob.got == there and alice.got == back
    assert bob.finished_at == [len(there)] and alice.finished_at == [len(back)]


@on_every_loop
async def test_what_is_written_and_finished_before_the_peer_is_there_waits_for_it() -> None:
    alice, bob = End(ALICE, BOB), End(BOB, ALICE)
    alice.stream.write(b"early")
    alice.stream.finish()
    bob.stream.finish()
    await meet(alice, bob, tcp_pair())
    assert await bob.verdict() is None and await alice.verdict() is None
    assert bob.got == b"early"


@on_every_loop
async def test_one_side_may_go_on_after_the_other_has_finished() -> None:
    alice, bob = await alice_and_bob()
    alice.stream.finish()
    await bob.finished()
    bob.stream.write(b"still here")
    await alice.received(10)
    assert not alice.ended.is_set() and not bob.ended.is_set()
    bob.stream.finish()
    assert await alice.verdict() is None and await bob.verdict() is None


@on_every_loop
async def test_writes_of_one_turn_leave_as_one_frame() -> None:
    mine, theirs = tcp_pair()
    bob, alice = End(BOB, ALICE), SocketRogue(ALICE, BOB, theirs)
    await attach(bob.stream, mine)
    await alice.greet()
    await alice.say(alice.frame(ACK))
    await bob.ready.wait()
    for i in range(100):
        bob.stream.write(bytes([i]) * 10)
    await alice.listen(lambda: len(alice.heard) >= HELLO_SIZE + 1000)
    assert [(kind, len(body)) for kind, _, _, _, body in alice.frames_heard()] == [(DATA, 1000)]
    bob.stream.abort()
    theirs.close()


@on_every_loop
async def test_a_side_that_only_receives_acknowledges_by_itself() -> None:
    """So a limit far below the total is never reached."""
    alice, bob = await alice_and_bob(limit=4 * ACKNOWLEDGE_EVERY)
    for i in range(1, 25):
        alice.stream.write(bytes(ACKNOWLEDGE_EVERY))
        await bob.received(i * ACKNOWLEDGE_EVERY)
    alice.stream.finish()
    bob.stream.finish()
    assert await alice.verdict() is None


# Ends


@on_every_loop
async def test_a_goodbye_ends_both_sides_and_names_who_said_it() -> None:
    alice, bob = await alice_and_bob()
    alice.stream.write(b"last words")
    await bob.received(10)
    alice.stream.goodbye("error", "in line 7")
    said = await bob.verdict()
    assert isinstance(said, Goodbye) and (said.reason, said.detail) == ("error", "in line 7")
    assert said.message == "alice said goodbye: error (in line 7)"
    assert await alice.verdict() is None


@on_every_loop
async def test_a_goodbye_passes_what_waits_for_a_slow_peer() -> None:
    mine, theirs = tcp_pair()
    bob, alice = End(BOB, ALICE), SocketRogue(ALICE, BOB, theirs)
    await attach(bob.stream, mine)
    await alice.greet()
    await alice.say(alice.frame(ACK))
    await bob.ready.wait()
    bob.stream.write(bytes(64 << 20))
    await asyncio.get_running_loop().run_in_executor(
        None, lambda: None
    )  # the loop turns: the kernel's buffers are full
    bob.stream.goodbye("interrupted")
    await alice.listen()
    *_, last = alice.frames_heard()
    assert last[0] == GOODBYE and parse_goodbye(last[4]) == ("interrupted", "")
    assert len(alice.heard) < 32 << 20
    theirs.close()
    assert await bob.verdict() is None


@on_every_loop
async def test_small_writes_for_a_slow_peer_wait_unencrypted_too() -> None:
    mine, theirs = tcp_pair()
    bob, alice = End(BOB, ALICE), SocketRogue(ALICE, BOB, theirs)
    await attach(bob.stream, mine)
    await alice.greet()
    await alice.say(alice.frame(ACK))
    await bob.ready.wait()
    for _ in range(400):
        bob.stream.write(bytes(50_000))
        await asyncio.sleep(0)
        assert bob.stream._transport.get_write_buffer_size() < 1 << 20
    assert bob.stream.sent < 18_000_000
    bob.stream.finish()
    await alice.listen(lambda: len(alice.heard) > 20_000_000 + HELLO_SIZE)
    assert bob.stream.sent == 20_000_000
    bob.stream.abort()
    theirs.close()


@on_every_loop
async def test_a_goodbye_to_a_peer_that_never_closes_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LINGER", 0.05)
    mine, theirs = tcp_pair()
    bob, alice = End(BOB, ALICE), SocketRogue(ALICE, BOB, theirs)
    await attach(bob.stream, mine)
    await alice.greet()
    await alice.say(alice.frame(ACK))
    await bob.ready.wait()
    bob.stream.goodbye("done")
    bob.stream.goodbye("error")
    assert await bob.verdict() is None
    theirs.close()


@on_every_loop
async def test_a_goodbye_without_a_channel_ends_it() -> None:
    bob = End(BOB, ALICE)
    bob.stream.goodbye("interrupted")
    assert await bob.verdict() is None
    mine, theirs = tcp_pair()
    await attach(bob.stream, mine)
    assert await asyncio.get_running_loop().sock_recv(theirs, 10) == b""
    theirs.close()
    assert len(bob.verdicts) == 1


@on_every_loop
async def test_after_abort_nothing_is_called() -> None:
    alice, bob = await alice_and_bob()
    bob.stream.write(b"unheard")
    alice.stream.abort()
    lost = await bob.verdict()
    assert isinstance(lost, PeerError) and lost.message == "the channel to alice was lost"
    assert alice.verdicts == [] and alice.got == b""
    alice.stream.write(b"ignored")
    alice.stream.finish()
    alice.stream.goodbye("error")
    await asyncio.sleep(0)
    assert alice.verdicts == []


@pytest.mark.parametrize("already_open", [False, True])
@on_every_loop
async def test_whoever_aborts_while_data_is_delivered_gets_no_more(already_open: bool) -> None:
    mine, theirs = tcp_pair()
    bob, alice = End(BOB, ALICE), SocketRogue(ALICE, BOB, theirs)
    taken: list[bytes] = []

    def first_only(data: bytes) -> None:
        taken.append(data)
        bob.stream.abort()

    bob.stream._data = first_only
    await attach(bob.stream, mine)
    await alice.greet()
    if already_open:
        await alice.say(alice.frame(ACK))
        await bob.ready.wait()
    await alice.say(alice.frame(DATA, b"one", 0) + alice.frame(DATA, b"two", 3))
    await alice.listen()
    assert taken == [b"one"] and bob.verdicts == []
    theirs.close()


@pytest.mark.parametrize("finished", [False, True])
@on_every_loop
async def test_the_end_of_a_channel_without_both_fins_is_a_lost_channel(finished: bool) -> None:
    mine, theirs = tcp_pair()
    bob, alice = End(BOB, ALICE), SocketRogue(ALICE, BOB, theirs)
    await attach(bob.stream, mine)
    await alice.greet()
    await alice.say(alice.frame(DATA, b"x"))
    await bob.received(1)
    if finished:
        bob.stream.finish()
    theirs.close()
    lost = await bob.verdict()
    assert isinstance(lost, PeerError) and lost.message == "the channel to alice was lost"


@on_every_loop
async def test_a_channel_that_ends_in_the_handshake_is_a_lost_channel() -> None:
    mine, theirs = tcp_pair()
    bob = End(BOB, ALICE)
    await attach(bob.stream, mine)
    theirs.close()
    lost = await bob.verdict()
    assert isinstance(lost, PeerError) and "lost" in lost.message and not bob.ready.is_set()


@pytest.mark.parametrize("trouble", [OSError("no such socket"), asyncio.CancelledError()])
@on_every_loop
async def test_a_channel_that_cannot_be_used_is_closed(monkeypatch: pytest.MonkeyPatch, trouble: BaseException) -> None:
    mine, theirs = tcp_pair()
    bob = End(BOB, ALICE)

    async def refuse(*_: object) -> None:
        raise trouble

    monkeypatch.setattr(type(asyncio.get_running_loop()), "connect_accepted_socket", refuse, raising=False)
    if isinstance(trouble, OSError):
        await attach(bob.stream, mine)
        lost = await bob.verdict()
        assert isinstance(lost, PeerError) and "lost" in lost.message
    else:
        with pytest.raises(asyncio.CancelledError):
            await attach(bob.stream, mine)
    assert mine.fileno() == -1
    theirs.close()


# Peers that are not who or what they should be


@pytest.mark.parametrize(("me", "peer"), [(ALICE, BOB), (BOB, ALICE)])
@on_every_loop
async def test_another_party_at_the_other_end_is_refused_and_hears_it(me: int, peer: int) -> None:
    victim = End(me, peer)
    rogue = End(peer, me, seed=seed(CAROL), certificate=certificate_of(seed(CAROL)))
    mine, theirs = tcp_pair()
    await asyncio.gather(attach(victim.stream, mine), attach(rogue.stream, theirs))
    assert isinstance(await victim.verdict(), VerificationError)
    assert isinstance(await rogue.verdict(), VerificationError)
    assert not victim.ready.is_set() and not rogue.ready.is_set()


@on_every_loop
async def test_another_session_is_refused_on_both_sides() -> None:
    alice, bob = End(ALICE, BOB), End(BOB, ALICE, transcript=b"U" * 32)
    mine, theirs = tcp_pair()
    await asyncio.gather(attach(alice.stream, mine), attach(bob.stream, theirs))
    assert isinstance(await alice.verdict(), VerificationError)
    assert isinstance(await bob.verdict(), VerificationError)


@on_every_loop
async def test_garbage_ends_it_and_closes_the_channel() -> None:
    mine, theirs = tcp_pair()
    bob = End(BOB, ALICE)
    await attach(bob.stream, mine)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(theirs, b"GET / HTTP/1.1\r\nHost: bob\r\n\r\n")
    assert isinstance(await bob.verdict(), Malformed)
    while await loop.sock_recv(theirs, 1000):
        pass
    theirs.close()


@on_every_loop
async def test_whoever_breaks_the_protocol_hears_why() -> None:
    mine, theirs = tcp_pair()
    bob, alice = End(BOB, ALICE), SocketRogue(ALICE, BOB, theirs)
    await attach(bob.stream, mine)
    await alice.greet()
    await alice.say(alice.frame(DATA, b"x", 5))
    assert isinstance(await bob.verdict(), Malformed)
    await alice.listen()
    assert parse_goodbye(alice.frames_heard()[-1][4]) == ("protocol", "alice left out 5 bytes")
    assert not bob.ready.is_set()
    theirs.close()


@pytest.mark.parametrize(("me", "peer"), [(ALICE, BOB), (BOB, ALICE)])
@on_every_loop
async def test_a_peer_that_connects_and_stays_silent_has_a_deadline(me: int, peer: int) -> None:
    mine, theirs = tcp_pair()
    victim = End(me, peer, timeout=0.1)
    await attach(victim.stream, mine)
    late = await victim.verdict()
    assert isinstance(late, PeerError) and late.message.endswith("did not answer the handshake within 0.1 s")
    theirs.close()


@on_every_loop
async def test_a_peer_that_stays_silent_after_tls_has_the_same_deadline() -> None:
    mine, theirs = tcp_pair()
    bob, alice = End(BOB, ALICE, timeout=0.3), SocketRogue(ALICE, BOB, theirs)
    await attach(bob.stream, mine)
    await alice.greet()
    await alice.listen(lambda: len(alice.heard) >= HELLO_SIZE)
    late = await bob.verdict()
    assert isinstance(late, PeerError) and "within 0.3 s" in late.message
    await alice.listen()
    assert parse_goodbye(alice.frames_heard()[-1][4]) == ("protocol", late.message)
    theirs.close()


@on_every_loop
async def test_a_handshake_byte_by_byte_has_the_same_deadline() -> None:
    mine, theirs = tcp_pair()
    bob, alice = End(BOB, ALICE, timeout=0.2), SocketRogue(ALICE, BOB, theirs)
    await attach(bob.stream, mine)
    alice.tls.handshake()
    drip = alice.tls.output()
    loop = asyncio.get_running_loop()
    for at in range(len(drip) - 1):
        if bob.ended.is_set():
            break
        await loop.sock_sendall(theirs, drip[at : at + 1])
    late = await bob.verdict()
    assert isinstance(late, PeerError) and "within 0.2 s" in late.message
    theirs.close()


@on_every_loop
async def test_a_handshake_byte_by_byte_in_time_succeeds() -> None:
    mine, theirs = tcp_pair()
    bob, alice = End(BOB, ALICE), SocketRogue(ALICE, BOB, theirs)
    await attach(bob.stream, mine)
    loop = asyncio.get_running_loop()
    alice.tls.handshake()
    for byte in alice.tls.output():
        await loop.sock_sendall(theirs, bytes([byte]))
    await alice.greet()
    await alice.say(alice.frame(ACK))
    await bob.ready.wait()
    bob.stream.abort()
    theirs.close()


@on_every_loop
async def test_a_long_turn_of_this_loop_does_not_use_up_the_peers_time() -> None:
    """A program computes for longer than the deadline; the peer's part had come before that."""
    mine, theirs = tcp_pair()
    bob, alice = End(BOB, ALICE, timeout=0.3), SocketRogue(ALICE, BOB, theirs)
    await attach(bob.stream, mine)
    await alice.greet()
    time.sleep(0.4)  # noqa: ASYNC251  the loop stands still: that is the story
    await alice.listen(lambda: len(alice.heard) >= HELLO_SIZE)
    await alice.say(alice.frame(ACK))
    await bob.ready.wait()
    assert bob.verdicts == [] and bob.stream._timer is None, "the deadline is over with the handshake"
    bob.stream.abort()
    theirs.close()


@on_every_loop
async def test_a_peer_that_never_reads_ends_it_and_is_named() -> None:
    mine, theirs = tcp_pair()
    limit = 8 << 20
    bob, alice = End(BOB, ALICE, limit=limit), SocketRogue(ALICE, BOB, theirs)
    await attach(bob.stream, mine)
    await alice.greet()
    await alice.say(alice.frame(ACK))
    await bob.ready.wait()
    written = 0
    while not bob.ended.is_set():
        bob.stream.write(bytes(1 << 20))
        written += 1 << 20
        assert written <= limit + (2 << 20)
        await asyncio.sleep(0)
    full = await bob.verdict()
    assert isinstance(full, PeerError) and full.message.startswith("alice does not take its bytes")
    theirs.close()


@on_every_loop
async def test_a_peer_that_reads_and_never_acknowledges_ends_it_too() -> None:
    mine, theirs = tcp_pair()
    bob, alice = End(BOB, ALICE, limit=1 << 20), SocketRogue(ALICE, BOB, theirs)
    await attach(bob.stream, mine)
    await alice.greet()
    await alice.say(alice.frame(ACK))
    await bob.ready.wait()
    reading = asyncio.ensure_future(alice.listen())
    while not bob.ended.is_set():
        bob.stream.write(bytes(1 << 16))
        await asyncio.sleep(0)
    full = await bob.verdict()
    assert isinstance(full, PeerError) and full.message.startswith("alice does not take its bytes")
    await reading
    assert parse_goodbye(alice.frames_heard()[-1][4]) == ("protocol", full.message)
    theirs.close()


@on_every_loop
async def test_answers_that_tls_gives_by_itself_do_not_pile_up_for_a_peer_that_never_reads() -> None:
    """A peer may ask for new keys without end. Python's ssl cannot: what OpenSSL would answer is put in its place."""
    mine, theirs = tcp_pair()
    bob, alice = End(BOB, ALICE, limit=8 << 20), SocketRogue(ALICE, BOB, theirs)
    await attach(bob.stream, mine)
    await alice.greet()
    await alice.say(alice.frame(ACK))
    await bob.ready.wait()
    bob.stream.write(bytes(7 << 20))
    await asyncio.sleep(0)
    assert bob.stream._paused
    bob.stream._link.tls.output = lambda: bytes(1 << 20)
    while not bob.ended.is_set():
        await alice.say(alice.frame(ACK))
        await asyncio.sleep(0)
    full = await bob.verdict()
    assert isinstance(full, PeerError) and full.message.startswith("alice does not take its bytes")
    theirs.close()


@pytest.mark.parametrize("channel", [False, True])
@on_every_loop
async def test_bytes_for_a_peer_that_never_comes_are_limited(channel: bool) -> None:
    bob = End(BOB, ALICE, limit=1000, timeout=None)
    mine, theirs = tcp_pair()
    if channel:
        await attach(bob.stream, mine)
    else:
        mine.close()
    bob.stream.write(bytes(1001))
    full = await bob.verdict()
    assert isinstance(full, PeerError) and full.message.startswith("alice does not take its bytes")
    theirs.close()
