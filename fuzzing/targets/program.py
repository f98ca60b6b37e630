"""The program's side: values, the socket between node and program, the agreed files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache

from mpyc import fingroups, gfpx
from mpyc.finfields import GF
from mpyc.numpy import np

from comity.core import codec
from comity.core.encoding import Malformed, encode
from comity.errors import PeerError
from comity.mpyc_bridge import control
from comity.mpyc_bridge.agreed import Files, Root
from comity.mpyc_bridge.values import Values
from fuzzing.edits import Template
from fuzzing.target import target, text
from fuzzing.targets.messages import _scripts

PLAIN: tuple[object, ...] = (
    *(None, True, 0, -1, 127, 128, -128, 2**64, -(2**300)),
    *(1.5, float("nan"), 1 - 2j, "", "é \ud800", b"ab", bytearray(3)),
    *([], [1, [2, (3,)]], (), {}, {"a": 1, 2: b"", (1, "x"): None}, {1, 2, 3}, frozenset({"a", b"b"})),
    *(list(range(20)), "a" * 300, [[]] * 5),
)  # fmt: skip


def _values() -> Iterator[bytes]:
    yield from map(codec.dumps, PLAIN)
    yield b"l\1" * 40 + b"N"
    yield from (b"i\2\1\0", b"l\xff\0\0\0\0\0", b"e\2NN", b"d\1l\0N", b"x\0N", b"l\xff\xff\xff\xff\xff\xff")


@target(_values, size=600, share=3, fresh=1500)
def a_value(data: bytes) -> None:
    """core.codec.loads"""
    try:
        value = codec.loads(data)
    except Malformed:
        return
    again = codec.dumps(value)
    assert len(again) == len(data)
    if not any(tag in data for tag in b"ez"):  # a set has no order of its own
        assert again == data


@cache
def _extension() -> tuple[Values, list[bytes]]:
    """Ours, and values of every kind that it carries."""
    f, g, h = GF(101), GF(gfpx.GFpX(2)(283)), GF(gfpx.GFpX(3)([2, 2, 1]))
    symmetric, residues, schnorr = (
        fingroups.SymmetricGroup(5),
        fingroups.QuadraticResidues(l=16),
        fingroups.SchnorrGroup(23, 11, 2),
    )
    curve, classes = fingroups.EllipticCurve("Ed25519", "extended"), fingroups.ClassGroup(l=32)
    weierstrass = fingroups.EllipticCurve("secp256k1", "affine")
    values = [
        *(f(7), g(19), h([1, 2]), gfpx.GFpX(2)(19), gfpx.GFpX(3)([1, 2]), symmetric([1, 0, 2, 4, 3])),
        *(residues.generator, schnorr.generator, curve.generator, curve.identity, weierstrass.generator),
        *(weierstrass.identity, classes.generator, [f(1), f(2)], {f(3): g(1)}),
        *(np.arange(6).reshape(2, 3), np.array([True, False]), np.float32(1.5), np.array([1 << 70, -3], dtype=object)),
        *(np.array([5, 1], dtype=object), np.array([f(1), None], dtype=object), np.zeros((0, 3)), np.array(7)),
        *(f.array([1, 2, 100]), g.array([1, 2]), f.array([[1], [2]]), np.array([gfpx.GFpX(2)(5)], dtype=object)),
    ]  # fmt: skip
    extension = Values()
    return extension, [codec.dumps(value, extension) for value in values]


def _elements() -> Iterator[bytes]:
    yield from _extension()[1]
    yield b"x\0t\3s\3<i4t\1i\1\2b\x08" + bytes(8)
    yield b"x\2t\3t\1i\1\2i\1\2b\4abcd"


@target(_elements, size=600, share=3, fresh=1500)
def an_element(data: bytes) -> None:
    """mpyc_bridge.codec with MPyC's types: mpyc_bridge.values, arrays, algebra, groups"""
    extension = _extension()[0]
    try:
        value = codec.loads(data, extension)
    except Malformed:
        return
    again = codec.dumps(value, extension)  # its own normal form: MPyC reduces numbers, and drops zeros in front
    if not any(tag in data for tag in b"ez"):
        assert codec.dumps(codec.loads(again, extension), extension) == again


MESSAGES: tuple[control.Message, ...] = (
    control.Task("file", "/a/b.py", ("8", None), 1, 3, 1, ("alice", "bob", "carol"), True, False, ("secret",)),
    control.Keys(bytes(32), bytes(32), b"certificate", ((bytes(32), b"c"), (b"\1" * 32, b"d"))),
    control.Given(1, 0, 2**32 - 1, 5),
    control.Ready({"bit_length": "32", "no_prss": "False"}),
    control.Wants(1, (0, 2)),
    control.Linked(2, 0, 0.25),
    control.Running(3),
    control.Unagreed("data/input.csv"),
    control.Fault(PeerError("bob sent what is no value", hint="ask bob"), 1),
    control.Closed(9),
    control.Totals(4, 1, 1.5, 0.5, 1 << 26, (dict.fromkeys(control.Totals.PEER, 3),)),
)
TEMPLATES = tuple(Template(json.loads(control.pack(message))) for message in MESSAGES)


def _processes() -> Iterator[bytes]:
    yield from (bytes([kind]) + script for kind in range(len(MESSAGES)) for script in _scripts())
    yield b"\xffa \x1b[31m fault\nof two lines \xed\xa0\x80"


@target(_processes, size=128, fresh=300)
def a_process(data: bytes) -> None:
    """mpyc_bridge.control.parse; and a peer's own words in a fault"""
    if data[:1] == b"\xff":
        words = text(data[1:])
        fault = control.parse(control.pack(control.Fault(PeerError(words, hint=(words, "b")), 1)))
        assert isinstance(fault, control.Fault) and fault.error.message.isprintable() and fault.peer == 1
        return
    try:
        raw = encode(TEMPLATES[data[0] % len(TEMPLATES) if data else 0].edited(data[1:]))
        message = control.parse(raw)
    except Malformed:
        return
    again = control.pack(message)
    assert control.pack(control.parse(again)) == again


def _files() -> Iterator[bytes]:
    files = Files(roots=[Root("/home/alice", ""), Root("/opt", "helper")])
    files.add(files.roots[0], "program.py", b"print(1)")
    files.add(files.roots[1], "helper/a.py", b"")
    yield files.pack()
    yield Files().pack()
    for table in (
        "[]",
        "{}",
        '{"roots":[],"files":[[0,"a",1]]}',
        '{"roots":1,"files":2}',
        '{"roots":[["/",null]],"files":[[0,1,2]]}',
    ):
        yield len(table).to_bytes(8, "big") + table.encode() + b"a"


@target(_files, size=256, share=2, fresh=9000)
def agreed_files(data: bytes) -> None:
    """mpyc_bridge.agreed.Files.unpack"""
    try:
        files = Files.unpack(data)
    except Malformed:
        return
    assert Files.unpack(files.pack()).contents == files.contents
    assert sum(map(len, files.contents.values())) <= len(data)
