"""A malformed or oversized message in the place of every message of the ceremony ends it there, for everyone."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.attacks.story import (
    CHEAT,
    PEER,
    ends,
    goes_on,
    hello_with,
    hosted_by_mallory,
    signed_by_another,
    with_mallory,
)
from tests.core.log import SANTA, Party, remake, secrets_of

from comity.core import messages
from comity.core.encoding import decode, digest, encode
from comity.core.identity import Secrets, public_key, sign
from comity.core.limits import MAX_BODY, MAX_HELLO
from comity.core.messages import SMALL, Envelope


def value_of(envelope: Envelope) -> dict[str, Any]:
    value: dict[str, Any] = decode(envelope.raw, MAX_BODY)
    return value


def field_of(envelope: Envelope) -> str:
    """A field that is no name of the sender."""
    return next(name for name in sorted(envelope.body) if name != "from")


def without(secrets: Secrets, envelope: Envelope, field: str) -> bytes:
    body = {k: v for k, v in envelope.body.items() if k != field}
    return messages.make(envelope.type, secrets.identity, body).raw


def oversized(secrets: Secrets, envelope: Envelope) -> bytes:
    """Our own `make` refuses to write it."""
    limit = {"roster": MAX_BODY, "open": MAX_HELLO, "hello": MAX_HELLO}.get(envelope.type, SMALL)
    body = {**envelope.body, "more": "x" * limit}
    signature = sign(secrets.identity, digest(envelope.type, encode(body)))
    return encode({"type": envelope.type, "body": body, "signature": signature.hex()})


BOB = public_key(secrets_of("bob").identity)

Mangle = Callable[[Party, Envelope], bytes]

MANGLED: dict[str, tuple[Mangle, str]] = {
    "nothing at all": (lambda _, e: b"", "a message is not JSON"),
    "its first half": (lambda _, e: e.raw[: len(e.raw) // 2], "a message is not JSON"),
    "a byte too many": (lambda _, e: e.raw + b" ", "a message is not in canonical form"),
    "bytes that are no text": (lambda _, e: e.raw[:-1] + b"\xff", "a message is not JSON"),
    "another value": (lambda _, e: b"[]", "a message is not an object"),
    "a thousand brackets": (lambda _, e: b"[" * 10_000, "a message is not JSON"),
    "nested objects": (lambda _, e: b'{"a":' * 13 + b"1" + b"}" * 13, "nested too deeply"),
    "a huge number": (lambda p, e: e.raw.replace(b'"type"', b'"n":' + b"9" * 400 + b',"type"'), "a number that is too"),
    "a field twice": (lambda _, e: b'{"type":"x",' + e.raw[1:], "a message is not in canonical form"),
    "an unknown type": (lambda _, e: encode({**value_of(e), "type": "gossip"}), "a message: type is none of"),
    "no type": (lambda _, e: encode({k: v for k, v in value_of(e).items() if k != "type"}), "has no proper type"),
    "a field more outside": (lambda _, e: encode({**value_of(e), "more": 1}), "a message has an unknown field 'more'"),
    "a field more inside": (lambda p, e: remake(p.secrets, e, more=1), "has an unknown field 'more'"),
    "a field less": (lambda p, e: without(p.secrets, e, field_of(e)), "has no proper"),
    "a field of another type": (lambda p, e: remake(p.secrets, e, **{field_of(e): {"a": 1}}), "has no proper"),
    "null for a field": (lambda p, e: remake(p.secrets, e, **{field_of(e): None}), "has no proper"),
    "a body that is a list": (lambda _, e: encode({**value_of(e), "body": []}), "a message has no proper body"),
    "no signature": (lambda _, e: encode({**value_of(e), "signature": ""}), "signature is not 64 bytes"),
    "a wrong signature": (lambda _, e: encode({**value_of(e), "signature": "00" * 64}), "is not signed by its sender"),
    "a long signature": (lambda _, e: encode({**value_of(e), "signature": "00" * 65}), "signature is too long"),
    "another body": (lambda _, e: encode({**value_of(e), "body": {**e.body, "x": 1}}), "is not signed by its sender"),
    "another sender": (lambda _, e: signed_by_another(e.raw, BOB), "is not signed by its sender"),
    "no sender": (lambda _, e: encode({**value_of(e), "body": {}}), "has no proper from"),
    "a sender that is no key": (lambda _, e: signed_by_another(e.raw, b"\xff" * 32), "is not signed by its sender"),
    "a key that anybody can sign for": (lambda _, e: signed_by_another(e.raw, bytes(32)), "is not signed by its"),
    "more than its type may have": (lambda p, e: oversized(p.secrets, e), " are allowed"),
    "more than any may have": (lambda _, e: b" " * (MAX_BODY + 1), f"{MAX_BODY} are allowed"),
}


def honest_to_whom_mallory_sends(kind: str, mangle: Mangle) -> list[Party]:
    room, mallory, *honest = hosted_by_mallory()
    if kind not in ("open", "roster"):
        room, alice, mallory, bob = with_mallory()
        honest = [alice, bob]
    mallory.instead = {kind: lambda envelope: [mangle(mallory, envelope)]}
    if kind == "open":  # it is in the log already
        for party in honest:
            party.inbox.clear()
        room.post(mangle(mallory, mallory.said("open")))
    if kind == "leave":
        room.run()
        mallory.leave("declined")
        room.flush(mallory)
        room.run()
    else:
        goes_on(room)
    return honest


@pytest.mark.parametrize("kind", messages.TYPES)
@pytest.mark.parametrize("how", MANGLED)
def test_mallory_sends_something_malformed(kind: str, how: str) -> None:
    mangle, piece = MANGLED[how]
    for party in honest_to_whom_mallory_sends(kind, mangle):
        ends(party, PEER, piece, CHEAT)
        assert party.words == () or kind in ("confirm", "leave")


def program(**changes: object) -> dict[str, object]:
    return {**SANTA.to_dict(), **changes}


@pytest.mark.parametrize(
    ("fields", "piece"),
    [
        ({"certificate": "00"}, "mallory's certificate cannot be read"),
        ({"certificate": ""}, "HELLO: certificate is not 1 bytes"),
        ({"certificate": "00" * 641}, "HELLO: certificate is too long"),
        ({"session_key": "11" * 32}, "mallory's certificate holds another key than the session key"),
        ({"exchange_key": "00" * 32}, "mallory's exchange key gives everybody the same secret"),
        ({"exchange_key": "AA" * 32}, "HELLO: exchange_key is not 32 bytes in hexadecimal"),
        ({"exchange_key": "zz" * 32}, "HELLO: exchange_key is not hexadecimal"),
        ({"verify": "nothing"}, "HELLO: verify is none of words, contacts, link"),
        ({"transports": "direct"}, "HELLO has no proper transports"),
        ({"transports": [1]}, "HELLO: transports is not a list of at most 16 texts"),
        ({"transports": ["x" * 33]}, "HELLO: transports is not a list of at most 16 texts"),
        ({"program": []}, "HELLO has no proper program"),
        ({"program": {}}, "a program has no proper name"),
        ({"program": program(arguments=["8"] * 33)}, "a program: arguments has more than 32 entries"),
        ({"program": program(parts={"mpyc": 0})}, "a program lists too many parts, or too long ones"),
        ({"program": program(parts={str(i): "" for i in range(97)})}, "a program lists too many parts"),
        ({"program": program(parts={"x": "y" * 97})}, "a program lists too many parts"),
        ({"program": program(more=1)}, "a program has an unknown field 'more'"),
    ],
)
def test_mallory_says_hello_with_something_that_cannot_be(fields: dict[str, object], piece: str) -> None:
    for party in honest_to_whom_mallory_sends("hello", lambda p, e: hello_with(p.secrets, e, **fields)):
        ends(party, PEER, piece, CHEAT)


def with_hellos(mallory: Party, roster: Envelope, change: Callable[[list[object]], list[object]]) -> bytes:
    return remake(mallory.secrets, roster, hellos=change(roster.body["hellos"]))


@pytest.mark.parametrize(
    ("change", "piece"),
    [
        (lambda hellos: [*hellos[:2], 1], "a message is not an object"),
        (lambda hellos: [*hellos[:2], {**hellos[2], "type": "open"}], "open is not signed by its sender"),
        (lambda hellos: [*hellos[:2], {**hellos[2], "signature": "00" * 64}], "hello is not signed by its sender"),
        (lambda hellos: [*hellos[:2], {**hellos[2], "more": 1}], "a message has an unknown field 'more'"),
        (lambda hellos: hellos * 22, "ROSTER: hellos has more than 64 entries"),
    ],
)
def test_mallory_puts_something_malformed_into_her_roster(
    change: Callable[[list[object]], list[object]], piece: str
) -> None:
    for party in honest_to_whom_mallory_sends("roster", lambda p, e: with_hellos(p, e, change)):
        ends(party, PEER, piece, CHEAT)


def test_mallory_puts_another_message_into_her_roster() -> None:
    def mangle(mallory: Party, roster: Envelope) -> bytes:
        return with_hellos(mallory, roster, lambda hellos: [*hellos[:2], value_of(mallory.said("open"))])

    for party in honest_to_whom_mallory_sends("roster", mangle):
        ends(party, PEER, "ROSTER holds something that is no HELLO", CHEAT)


@pytest.mark.parametrize("verified", [[64], [-1], [True], ["0"], [[0]], [0] * 65, {}])
def test_mallory_confirms_whom_there_cannot_be(verified: object) -> None:
    for party in honest_to_whom_mallory_sends("confirm", lambda p, e: remake(p.secrets, e, verified=verified)):
        ends(party, PEER, "", CHEAT)
        assert party.error and (
            "verifies somebody who is no party" in party.error.message or "verified" in party.error.message
        )


def test_mallory_leaves_for_a_reason_that_there_is_not() -> None:
    for party in honest_to_whom_mallory_sends("leave", lambda p, e: remake(p.secrets, e, reason="\x1b[2J")):
        ends(party, PEER, "LEAVE: reason is none of words, program", CHEAT)
