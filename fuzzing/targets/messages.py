"""The ceremony: canonical JSON, its messages, the roster, programs; and offers and signals of nodes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from ipaddress import ip_interface
from typing import Any

from comity.core import candidates, messages
from comity.core.candidates import Candidate, Offer
from comity.core.encoding import Malformed, decode, encode
from comity.core.identity import check_name, public_key
from comity.core.limits import MAX_BODY, MAX_CANDIDATES, MAX_NAME, MAX_SIGNAL
from comity.core.messages import Envelope, Hello
from comity.core.program import Program
from comity.core.roster import Opening, check_roster
from comity.core.sealing import seal, unseal
from comity.errors import ComityError, PeerError, VerificationError
from comity.node.signals import NUMBER, SignalRoom, _context
from comity.transports import unix
from fuzzing.edits import Template
from fuzzing.target import target, vectors

SEED = b"\5" * 32
"""Of the identity that signs what a fuzzer has changed."""
EDITED = b"\0\0\3abc\1\1\2\7\x08\2\2\1\x05\3\3\1\2\4\4\0\5\5\2zz\6\6\4\1a\2b\7\7\1\3\x08\x08\1\2\x09\x09\1\1"
"""An edit of every kind."""


def _scripts() -> Iterator[bytes]:
    """None, one edit of every kind at the first places, and an edit of every place."""
    yield b""
    said = (b"", b" A", b"\2!", b"01234567")
    yield from (bytes([what, where, len(s)]) + s for what in range(10) for where in range(9) for s in said)
    yield from (bytes([2, where, 1, 5]) for where in range(256))
    yield EDITED


def _texts() -> Iterator[bytes]:
    yield from (bytes.fromhex(v["text"]) for v in vectors("encoding")["canonical"])
    yield from (bytes.fromhex(v["text"]) for v in vectors("encoding")["refused"])


@target(_texts, size=256, share=3, fresh=9000)
def canonical_json(data: bytes) -> None:
    """core.encoding.decode: one value, one text"""
    try:
        value = decode(data, 200)
    except Malformed:
        return
    assert len(data) <= 200 and encode(value) == data
    assert json.loads(data) == value


@cache
def _log() -> tuple[dict[str, Any], ...]:
    """The messages of a whole ceremony, one of each type."""
    found = {value["type"]: value for value in (json.loads(entry["message"]) for entry in vectors("ceremony")["log"])}
    found["leave"] = json.loads(vectors("ceremony")["leave"])
    return tuple(found[kind] for kind in messages.TYPES)


def _of(kind: str) -> dict[str, Any]:
    return _log()[messages.TYPES.index(kind)]


@cache
def _template(kind: str) -> Template:
    return Template(_of(kind)["body"])


def _envelope(kind: str, script: bytes) -> Envelope | None:
    """A message of this type as if its signature had held; None for what cannot be written down."""
    body = _template(kind).edited(script)
    try:
        encode(body)
    except Malformed:
        return None
    return Envelope(kind, public_key(SEED), body, b"")


def _read(kind: str, script: bytes, read: Callable[[Envelope], Any]) -> Any:
    """What it says; None for what is refused, which the template is not."""
    envelope = _envelope(kind, script)
    try:
        return envelope and read(envelope)
    except Malformed:
        assert script
        return None


@target(_scripts, size=128, fresh=1500)
def an_opening(data: bytes) -> None:
    """core.messages.read_open, core.program.Program.from_dict"""
    body = _template("open").edited(data)
    try:
        said = messages.read_open(Envelope("open", b"", body, b""))
    except Malformed:
        assert data
        return
    sender = body.pop("from")
    assert said.body() == body and len(bytes.fromhex(sender)) == 32
    assert 0 <= said.threshold <= (said.m - 1) // 2 and 0 < len(said.name) <= MAX_NAME
    assert check_name(said.name) == said.name


@target(_scripts, size=128, fresh=200)
def a_hello(data: bytes) -> None:
    """core.messages.read_hello: keys, certificate, name, program"""
    said = _read("hello", data, messages.read_hello)
    if said is None:
        return
    body, member = said.envelope.body, said.member
    assert body["certificate"] == member.certificate.hex() and body["session_key"] == member.session_key.hex()
    assert said.program.to_dict() == body["program"] and list(said.transports) == body["transports"]
    messages.opens(said, bytes(32))


SMALL: tuple[tuple[str, Callable[[Envelope], Any]], ...] = (
    ("reveal", messages.read_reveal),
    ("agree", messages.read_agree),
    ("confirm", messages.read_confirm),
    ("leave", messages.read_leave),
)


def _small() -> Iterator[bytes]:
    yield from (bytes([kind]) + script for kind in range(len(SMALL)) for script in _scripts())


@target(_small, size=96, fresh=600)
def a_small_message(data: bytes) -> None:
    """core.messages.read_reveal, read_agree, read_confirm, read_leave"""
    kind, read = SMALL[data[0] % len(SMALL) if data else 0]
    said = _read(kind, data[1:], read)
    if said is None:
        return
    if kind == "confirm":
        body = {"transcript": said[0].hex(), "how": said[1], "verified": list(said[2])}
    elif kind == "reveal":
        body = {"roster": said[0].hex(), "nonce": said[1].hex()}
    elif kind == "agree":
        body = {"transcript": said.hex()}
    else:
        body = {"open": said[0].hex(), "hello": said[1].hex(), "reason": said[2]}
    again = _template(kind).edited(data[1:])
    assert {**body, "from": again["from"]} == again and not isinstance(body.get("verified"), bool)


def _signed() -> Iterator[bytes]:
    yield from (bytes([kind]) + script for kind in range(len(messages.TYPES)) for script in (b"", b"\0\0\3abc", EDITED))
    yield from (bytes([128 + kind]) + b"\6\0\2\1x" for kind in range(len(messages.TYPES)))


@target(_signed, size=128, fresh=75)
def an_envelope(data: bytes) -> None:
    """core.messages.parse: signed by a test's key after the edits, or edited as a whole"""
    kind, script = messages.TYPES[(data[0] & 127) % len(messages.TYPES) if data else 0], data[1:]
    if data[:1] > b"\x7f":
        value = Template(_of(kind)).edited(script)
    else:
        body = {**_template(kind).edited(script), "from": public_key(SEED).hex()}
        try:
            value = json.loads(messages.make(kind, SEED, body).raw)
        except ComityError:
            return  # not to be written down, or too long
    try:
        raw = encode(value)
        said = messages.parse(raw)
    except Malformed:
        assert data[:1] > b"\x7f", "what was made is refused"
        return
    assert encode({"type": said.type, "body": said.body, "signature": value["signature"]}) == raw
    assert len(raw) <= MAX_BODY and said.sender.hex() == said.body["from"]


@cache
def _meeting() -> tuple[Opening, dict[bytes, Hello], bytes, Program]:
    opening = messages.parse(encode(_of("open")))
    open_ = messages.read_open(opening)
    said = [messages.read_hello(_parsed(encode(value))) for value in _of("roster")["body"]["hellos"]]
    return Opening(opening, open_), {h.member.identity: h for h in said}, said[1].member.identity, open_.program


_parsed = cache(messages.parse)


@target(_scripts, size=64, fresh=60)
def a_roster(data: bytes) -> None:
    """core.messages.read_roster, core.roster.check_roster: nothing but what was said stands"""
    envelope = _envelope("roster", data)
    if envelope is None:
        return
    opening, said, me, program = _meeting()
    try:
        hellos = check_roster(envelope, opening, said, set(), me, program)
    except ComityError as exc:
        assert data and type(exc) is not ComityError
        return
    assert {h.member.identity for h in hellos} == set(said)
    assert all(said[h.member.identity].envelope.raw == h.envelope.raw for h in hellos)
    assert encode(envelope.body["manifest"]) == encode(messages.manifest_of(opening.open, hellos).to_dict())


PROGRAM = Template(
    Program("secretsanta", ("8", "dé jà", None), {"file a.py": "00ff", "mpyc": "0.11"}, "3.11").to_dict()
)


@target(_scripts, size=128, fresh=750)
def a_program(data: bytes) -> None:
    """core.program.Program.from_dict, and what two of them differ in"""
    value = PROGRAM.edited(data)
    fair = Program.from_dict(PROGRAM.edited(b""))
    try:
        said = Program.from_dict(value)
        digest = said.digest
    except Malformed:
        assert data
        return
    assert said.to_dict() == value and Program.from_dict(said.to_dict()) == said
    assert (digest == fair.digest) == (fair.difference(said, "bob") == ""), (digest, fair.difference(said, "bob"))
    assert isinstance(said.command, str) and isinstance(said.private, str)


OFFER = Template(
    json.loads(
        candidates.encode(
            Offer(
                bytes(16),
                (
                    Candidate("192.0.2.7", 7000, True),
                    Candidate("2001:db8::7", 1),
                    Candidate("party.example.org", 65535, True),
                    Candidate("127.0.0.1", 9),
                ),
            )
        )
    )
)
INTERFACES = tuple(map(ip_interface, ("127.0.0.1/8", "::1/128", "192.0.2.9/24", "fe80::1/64", "2001:db8::9/32")))


HOSTS = """169.254.169.254 224.0.0.1 ::ffff:127.0.0.1 0x7f.1 127.1 fe80::1%eth0 a.b- :: 0.0.0.0 10.0.0.1""".split()


def _offers() -> Iterator[bytes]:
    yield from (b"\0" + script for script in _scripts())
    yield from (b"\0" + bytes([0, where, len(host)]) + host.encode() for host in HOSTS for where in (3, 7))
    yield b"\1" + candidates.encode(Offer(b"", ()))
    yield b"\1" + candidates.encode(Offer(b"", (Candidate("192.0.2.7", 7000),)))


@target(_offers, size=160, fresh=150)
def an_offer(data: bytes) -> None:
    """core.candidates.decode, to_dial: what a peer makes us dial"""
    try:
        raw = data[1:] if data[:1] == b"\1" else encode(OFFER.edited(data[1:]))
        said = candidates.decode(raw)
    except Malformed:
        assert data
        return
    assert candidates.encode(said) == raw and len(raw) <= MAX_SIGNAL
    for same_machine in (False, True):
        dialled = candidates.to_dial(said.candidates, INTERFACES, same_machine=same_machine, listening=7000)
        assert len(dialled) <= MAX_CANDIDATES and set(dialled) <= set(said.candidates)
        for address in (ip_interface(c.host).ip for c in dialled):
            assert not (address.is_multicast or address.is_unspecified or address.is_link_local)
            assert same_machine or not address.is_loopback
        assert Candidate("192.0.2.9", 7000) not in dialled


def _folders() -> Iterator[bytes]:
    yield from (b"comity-12345678", b"comity-abcdefgh/../../x", b"comity-", b"comity-1234567\xff", b"comity-1234567\n")


@target(_folders, size=32, fresh=20_000)
def a_folder(data: bytes) -> None:
    """transports.unix: the folder that a peer offers"""
    try:
        folder = unix._read(data)
    except PeerError:
        return
    assert folder.encode() == data and "/" not in folder and "\0" not in folder and folder.isprintable()
    assert unix._path(folder).endswith(f"/{folder}/socket")


def _bodies() -> Iterator[bytes]:
    yield from (bytes([flag]) + body for flag in range(4) for body in (b"", b"body", bytes(40)))


@target(_bodies, size=128, share=2, fresh=6500)
def a_sealed_body(data: bytes) -> None:
    """core.sealing.unseal: sealed by the fuzzer with the key, changed afterwards, or without it"""
    flag, body = data[0] & 3 if data else 0, data[1:]
    if flag == 0:
        assert unseal(SEED, seal(SEED, bytes(12), body, b"c"), b"c") == body
        return
    change = int.from_bytes(body[:4], "little")
    sealed = body if flag == 1 else seal(SEED, bytes(12), body[4:], b"c")
    if flag == 2:
        at, change = change % len(sealed), change >> 24 or 1
        sealed = sealed[:at] + bytes([sealed[at] ^ change]) + sealed[at + 1 :]
    elif flag == 3:
        sealed = sealed[: change % len(sealed)]
    try:
        unseal(SEED, sealed, b"c")
    except VerificationError:
        return
    raise AssertionError("what was not sealed with the key was taken")


PAIR_SECRETS = {0: b"\1" * 32, 2: b"\2" * 32}


def _signals() -> Iterator[bytes]:
    yield from (bytes([flag]) + script for flag in range(2) for script in _scripts())
    yield b"\0" + bytes(7) + b"\1a signal"


@target(_signals, size=128, fresh=450)
def a_signal(data: bytes) -> None:
    """node.signals: what stands in a room body, and the box of its pair"""
    flag, script = data[0] if data else 0, data[1:]
    transport, signal = "direct" if flag & 2 else "unix", script[:40]
    box = seal(PAIR_SECRETS[2 if flag & 4 else 0], bytes(12), signal, _context(0, 1, transport))
    value = Template({"from": 0, "to": 1, "transport": transport, "box": box.hex()}).edited(script if flag & 1 else b"")
    room = SignalRoom(None, bytes(32), 1, PAIR_SECRETS)  # type: ignore[arg-type]  # nothing is posted
    try:
        raw = encode(value)
        for _ in range(2):  # the second time it is a repetition
            room._take(decode(raw, MAX_SIGNAL * 3))
    except (Malformed, VerificationError):
        return
    queued = [(name, queue.get_nowait()) for name, queue in room._queues.items()]
    # the template may only have been changed where it makes no difference
    assert queued in ([], [(transport, (0, signal[NUMBER:]))])
    assert not queued or (int.from_bytes(signal[:NUMBER]) > 0 and not flag & 4)
