"""Texts of people and about people: invitations, addresses, names, what a terminal shows, answers, records."""

from __future__ import annotations

import base64
import hashlib
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict

from comity.cli.answers import MAX_ANSWER, Answers
from comity.core import candidates, frames, identity, invitation, record
from comity.core.candidates import Offer
from comity.core.display import harmless, harmless_lines
from comity.core.encoding import Malformed
from comity.core.identity import INVISIBLE
from comity.core.invitation import Invitation
from comity.core.limits import MAX_DETAIL, MAX_NAME
from comity.core.record import PeerRecord, Record
from comity.errors import UsageError
from comity.rendezvous.listening import parse_listen
from fuzzing.edits import Template
from fuzzing.target import cut, target, text, vectors
from fuzzing.targets.messages import _scripts


def _invitations() -> Iterator[bytes]:
    for v in vectors("invitation")["accepted"]:
        yield b"\0" + base64.urlsafe_b64decode(v["link"].removeprefix("comity://") + "===")[:-4]
        yield b"\1" + v["page_link"].encode()
        yield b"\1" + v["link"].encode()
    yield from (b"\1" + v["link"].encode() for v in vectors("invitation")["refused"])
    yield from (b"\2" + bytes([number]) * 40 for number in range(8))


RENDEZVOUS = ("http://192.0.2.7:8787", "wss://münchen.example/", "https://[2001:db8::7]/a")


@target(_invitations, size=600, fresh=4000)
def an_invitation(data: bytes) -> None:
    """core.invitation.parse: a payload with its right check, any text, or a proper invitation"""
    body = data[1:]
    if data[:1] == b"\2":
        secret, host, rest = body[:16].ljust(16), body[16:32].ljust(16), body[32:]
        addresses = tuple(RENDEZVOUS[number % len(RENDEZVOUS)] for number in rest[:8]) or RENDEZVOUS
        fair = Invitation(secret, host, addresses, hashlib.sha256(rest).digest() if len(rest) > 8 else b"")
        assert invitation.parse(fair.link()) == fair
        return
    if data[:1] == b"\1":
        link = text(body)
    else:
        payload = base64.urlsafe_b64encode(body + hashlib.sha256(body).digest()[:4]).decode().rstrip("=")
        link = "comity://" + payload
    try:
        said = invitation.parse(link)
    except UsageError:
        return
    assert invitation.parse(said.link()) == said and said.payload() in link
    assert len(said.secret) == len(said.host) == 16 and len(said.certificate) in (0, 32)
    assert all(invitation.check_address(address) == address for address in said.rendezvous)


def _addresses() -> Iterator[bytes]:
    for said in (
        "192.0.2.7:7000",
        "[2001:db8::7]:7000",
        "party.example.org",
        "2001:db8::7",
        "münchen.example:1",
        "[::1]",
    ):
        yield from (bytes([kind]) + said.encode() for kind in range(3))
    yield from (
        b"\2https://meet.example.org/a",
        b"\2ws://[::1]:8787",
        b"\2http://a:b",
        b"\2http://[",
        b"\1:8787",
        b"\1\xd9\xa3",
    )


@target(_addresses, size=96, fresh=300)
def an_address(data: bytes) -> None:
    """core.candidates.parse_advertised, rendezvous.listening.parse_listen, core.invitation.check_address"""
    kind, said = data[0] % 3 if data else 0, text(data[1:])
    try:
        if kind == 0:
            candidate = candidates.parse_advertised(said, 7000)
            offer = Offer(b"", (candidate,))
            assert candidates.decode(candidates.encode(offer)) == offer
        elif kind == 1:
            host, port = parse_listen(said)
            assert 0 <= port <= 99999 and host in said
        else:
            assert invitation.check_address(said) == said and said.isprintable()
    except UsageError as exc:
        assert harmless(exc.message).isprintable()


def _names() -> Iterator[bytes]:
    for name in (
        "alice",
        "bob b.",
        "søren",
        "李明",
        "Аня",
        "раypal",
        "a\u202eb",
        "\u0301a",
        "한국",
        "ﬀ",
        "ａ",
        " x",
        "-",
        "a" * 33,
    ):
        yield name.encode()
    yield from (name.encode() for name in ("한\u3164국", "\u2800"))
    yield b"\xed\xa0\x80\x1b[31m\r\n\t\xff"
    yield ("e" + "\u0301" * 12 + "क्षि ☃ \u2066x\u2069 \U000e0041 \u3164").encode()


@target(_names, size=96, fresh=400)
def a_name(data: bytes) -> None:
    """core.identity.check_name, fold"""
    name = text(data)
    try:
        assert identity.check_name(name) == name
    except UsageError as exc:
        assert harmless(exc.message).isprintable()
        return
    assert name.isprintable() and 0 < len(name) <= MAX_NAME and identity.fold(name)
    assert not any(
        unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI") for c in name
    )
    assert identity.fold(identity.fold(name)) == identity.fold(name) and INVISIBLE.isdisjoint(name)


@target(_names, size=128, fresh=750)
def a_line(data: bytes) -> None:
    """core.display.harmless, core.frames.pack_goodbye: any text on a terminal, any text to a peer"""
    said = text(data)
    limit = 1 + len(data) % 60
    shown = harmless(said, limit)
    assert len(shown) <= limit and shown.isprintable() and INVISIBLE.isdisjoint(shown)
    assert all(unicodedata.category(c)[0] in "LMNPSZ" for c in shown)
    lines = harmless_lines(said).split("\n")
    assert len(lines) == said.count("\n") + 1 and all(line.isprintable() for line in lines)
    reason, detail = frames.parse_goodbye(frames.pack_goodbye("error", said))
    assert reason == "error" and len(detail) == min(len(said), MAX_DETAIL) and detail.isprintable()


def _answers() -> Iterator[bytes]:
    yield from (
        b"\0yes\n",
        b"\3\1\1\2y\r\nno\nhalf",
        b"\1\x09a line\nanother\xff\n",
        b"\0",
        b"\0\n\n",
        b"\5\0\0\0\0\0ab\n",
    )


class Pieces(Answers):
    """Answers that come in pieces, and end."""

    def __init__(self, pieces: list[bytes], terminal: bool) -> None:
        super().__init__(-1, terminal=terminal)
        self._pieces = iter([piece for piece in pieces if piece])

    async def _read(self) -> bytes:
        return next(self._pieces, b"")


@target(_answers, size=128, fresh=3000)
def some_answers(data: bytes) -> None:
    """cli.answers.Answers.line: lines, however they come"""
    terminal, at = bool(data[:1] > b"\x7f"), 1 + data[0] % 8 if data else 0
    stream = data[at:]
    answers, said = Pieces(cut(stream, data[1:at]), terminal), list[str]()
    while (line := _now(answers)) is not None:
        said.append(line)
    lines = stream.split(b"\n")
    last = [] if terminal or not lines[-1] else [lines[-1].decode(errors="replace")]
    assert said == [line.removesuffix(b"\r").decode(errors="replace") for line in lines[:-1]] + last
    assert len(answers._rest) <= MAX_ANSWER


def _now(answers: Answers) -> str | None:
    """The next line, which needs no loop."""
    try:
        answers.line().send(None)
    except StopIteration as done:
        line: str | None = done.value
        return line
    raise AssertionError("it waits for something")


RECORD = Record(
    1,
    3,
    1,
    "00ff",
    "direct",
    "santa",
    "ab",
    "done",
    "",
    0,
    {"start": 0.1, "invite": 1.5},
    [PeerRecord(0, "direct", 0.2)],
)
RECORDS = Template({"version": record.VERSION, **asdict(RECORD)})


def _records() -> Iterator[bytes]:
    yield from (b"\0" + script for script in _scripts())
    yield b"\1" + RECORD.line().encode()
    yield b'\1{"version":1,"party":NaN,"m":1,"t":0,"peers":[]}\n'


@target(_records, size=600, fresh=450)
def a_record(data: bytes) -> None:
    """core.record.parse"""
    line = text(data[1:]) if data[:1] == b"\1" else json.dumps(RECORDS.edited(data[1:])) + "\n"
    try:
        said = record.parse(line)
    except Malformed:
        assert data
        return
    assert record.parse(said.line()) == said
    assert {type(said.party), type(said.exit)} == {int} and type(said.outcome) is str
    assert all(type(seconds) in (int, float) for seconds in said.phases.values())
