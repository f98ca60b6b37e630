"""Messages between a node and its program's process."""

import os
import socket
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mpyc_bridge.parties import NAMES, member, seed

from comity.core.encoding import Malformed, decode, encode
from comity.core.limits import MAX_CONTROL, MAX_PARTIES
from comity.core.manifest import Member
from comity.errors import ComityError, PeerError, ProgramError, UnreachableError, UsageError, VerificationError
from comity.links.certificate import make_certificate
from comity.mpyc_bridge import control
from comity.mpyc_bridge.control import (
    Closed,
    Fault,
    Given,
    Keys,
    Linked,
    Message,
    Ready,
    Running,
    Stalled,
    Task,
    Totals,
    Unagreed,
    Wants,
    pack,
    parse,
)

PEER = {"party": 2, "bytes_sent": 10, "bytes_received": 11, "messages_sent": 1, "messages_received": 0}
MESSAGES: list[Message] = [
    Task("file", "/tmp/ü.py", ("8", "--flag"), 1, 3, 1, NAMES[:3], True, False),  # noqa: S108  only a name
    Task("module", "game", ("8", None, None), 0, 1, 0, NAMES[:1], False, False, ("4711\n", "-x")),
    Unagreed("data/other file.csv"),
    Keys.of(b"T" * 32, seed(0), make_certificate(seed(0)), (member(0), member(1))),
    Given(2, 1, 7, 12),
    Ready({"bit_length": "32", "no_prss": "False"}),
    Wants(3, (0, 2)),
    Linked(1, 0, 0.25),
    Linked(1, 0, None),
    Running(4),
    Stalled(()),
    Stalled.of({2: ("message", 14.0), 0: ("unread", 2.5)}),
    Closed(9),
    Totals(100, 2, 1.5, 0.75, 1 << 30, (PEER,)),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: str(message.type))
def test_what_is_said_is_understood(message: Message) -> None:
    assert parse(pack(message)) == message


@pytest.mark.parametrize(
    "kind", [ComityError, UsageError, VerificationError, PeerError, UnreachableError, ProgramError]
)
@pytest.mark.parametrize("peer", [None, 2])
def test_an_error_keeps_its_class_its_words_and_whose_it_is(kind: type[ComityError], peer: int | None) -> None:
    fault = parse(pack(Fault(kind("bob left", hint=("ask bob", "or not")), peer)))
    assert isinstance(fault, Fault)
    assert type(fault.error) is kind
    assert (fault.error.message, fault.error.hints, fault.peer) == ("bob left", ("ask bob", "or not"), peer)


def test_an_error_of_a_class_below_comes_as_the_class_that_people_know() -> None:
    fault = parse(pack(Fault(Malformed("a message is not JSON"))))
    assert isinstance(fault, Fault) and type(fault.error) is PeerError


def test_an_error_cannot_write_on_the_terminal_what_it_likes() -> None:
    fault = parse(pack(Fault(ComityError("a\x1b[2Jb\nc" + "d" * 9000))))
    assert isinstance(fault, Fault)
    assert fault.error.message.startswith("a [2Jb c") and len(fault.error.message) <= control.MAX_TEXT


def test_a_session_of_the_most_parties_fits_one_message() -> None:
    full = Member("m" * 32, b"i" * 32, b"k" * 32, b"x" * 32, b"c" * 640)
    keys = Keys.of(b"T" * 32, b"s" * 32, b"c" * 640, (full,) * MAX_PARTIES)
    assert len(pack(keys)) <= MAX_CONTROL
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        control.send(left, pack(keys))
        data, descriptor = control.receive(right)
        assert parse(data) == keys and descriptor is None


def test_the_secret_seed_is_in_no_text_about_a_message() -> None:
    keys = MESSAGES[1]
    assert seed(0).hex() not in repr(keys) and repr(seed(0)) not in repr(keys)


@given(st.sampled_from(MESSAGES), st.data())
def test_a_message_that_was_changed_is_refused_or_says_something_else(message: Message, data: st.DataObject) -> None:
    value = decode(pack(message), MAX_CONTROL)
    name = data.draw(st.sampled_from(sorted(value)))
    value[name] = data.draw(st.none() | st.booleans() | st.integers(-2, 2**52) | st.text(max_size=4) | st.just([{}]))
    with suppress(Malformed):
        assert type(parse(encode(value))) in {type(m) for m in MESSAGES} | {Fault}


@pytest.mark.parametrize("value", [{}, {"type": "nothing"}, [], {"type": "running"}, {"type": "running", "epoch": -1}])
def test_what_is_no_message_is_refused(value: object) -> None:
    with pytest.raises(Malformed):
        parse(encode(value))


@pytest.mark.parametrize("peers", [["1"], [True], [-1], [MAX_PARTIES]])
def test_nobody_can_be_wanted_who_is_no_party(peers: list[object]) -> None:
    with pytest.raises(Malformed):
        parse(encode({"type": "wants", "epoch": 0, "peers": peers}))


def test_a_descriptor_goes_with_its_message_and_is_not_inherited() -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one, other = socket.socketpair()
    with left, right, one, other:
        control.send(left, pack(Given(1, 0, 1, 1)), one.fileno())
        control.send(left, pack(Running(0)))
        data, descriptor = control.receive(right)
        assert parse(data) == Given(1, 0, 1, 1) and descriptor is not None
        assert not os.get_inheritable(descriptor)
        with socket.socket(fileno=descriptor) as passed:
            passed.sendall(b"x")
            assert other.recv(1) == b"x"
        assert control.receive(right) == (pack(Running(0)), None)
        left.close()
        assert control.receive(right) == (b"", None)
