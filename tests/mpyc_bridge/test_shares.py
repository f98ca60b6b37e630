"""Shares are looked at where MPyC reads them, and only there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from mpyc import finfields, gfpx
from tests.mpyc_bridge.parties import run, written

from comity.errors import ComityError
from comity.mpyc_bridge.codec import received_from
from comity.mpyc_bridge.shares import Shares, reading_input

P = 101
FIELD = finfields.GF(P)
BINARY = finfields.GF(gfpx.GFpX(2)("x^8+x^4+x^3+x+1"))

ARRAYS = """
import numpy as np
from mpyc.runtime import mpc

async def main():
    await mpc.start()
    secint, secfld, sec256 = mpc.SecInt(16), mpc.SecFld(101), mpc.SecFld(2**8)
    for values in ([1, 2, 3], [[1, 2], [3, 4]], [[[5]]]):
        for kind in (secint, secfld, sec256):
            x, y, z = mpc.input(kind.array(np.array(values)))
            print(np.array(await mpc.output(x * y + z)).tolist())
    for kind in (secint, secfld, mpc.SecFxp(16), mpc.SecFld(2**16)):
        x, y, z = mpc.input([kind(mpc.pid), kind(7)])
        print(await mpc.output(mpc.vector_add(mpc.schur_prod(x, y), z)))
        print(await mpc.output(mpc.input(kind(3), senders=1)))
    await mpc.shutdown()

mpc.run(main())
"""


class Refused(Exception):
    pass


def refuse(error: ComityError) -> NoReturn:
    raise Refused(error.message)


SHARES = Shares(refuse, ("alice", "bob", "carol").__getitem__)


def reader(name: str, body: str) -> Callable[..., Any]:
    """A function that could be MPyC's own."""
    space: dict[str, Any] = {"__name__": "mpyc.runtime", "sys": sys}
    exec(f"def {name}(read, x, shape, field):\n    return {body}", space)  # noqa: S102  it is ours
    made: Callable[..., Any] = space[name]
    return made


def decoded(value: object) -> Callable[[], object]:
    """What the codec does with bob's value for whoever asks."""

    def loads() -> object:
        SHARES.check(value, 1, sys._getframe(1))
        return value

    return loads


def objects(*items: object) -> Any:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


@pytest.mark.parametrize("name", ["_distribute", "output", "_reshare"])
@pytest.mark.parametrize("body", ["read()", "[read() for _ in range(1)]"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (objects(1, 2), ""),
        (objects(1, 2, 3), "an array of shape (3,) for 2 numbers"),
        (objects(1, 2).reshape(1, 2), "shape (1, 2)"),
        (objects(1, "a"), "an array of something else"),
        (objects(1, True), "an array of something else"),
        (np.array([1, 2]), "no array of numbers"),
        ([1, 2], "no array of numbers"),
        (None, "no array of numbers"),
    ],
)
def test_arrays_have_the_form_of_the_own_one(name: str, body: str, value: object, words: str) -> None:
    read = reader(name, body)
    for x, shape in ((objects(5, 6), (2, 1)), ([objects(5, 6)], (2,)) if name == "_distribute" else ([5, 6], (2,))):
        if words:
            with pytest.raises(Refused, match="bob sent what is no share") as caught:
                read(decoded(value), x, shape, FIELD)
            assert words in str(caught.value)
        else:
            read(decoded(value), x, shape, FIELD)


def test_a_program_may_give_a_shape_in_numbers_of_numpy() -> None:
    shape = (np.int64(2), np.int64(1))
    reader("_distribute", "read()")(decoded(objects(5, 6)), [None], shape, FIELD)
    with pytest.raises(Refused, match="for 2 numbers"):
        reader("_distribute", "read()")(decoded(objects(5)), [None], shape, FIELD)


def test_numbers_of_an_input_are_of_the_field() -> None:
    """Elsewhere MPyC itself takes them into the field."""
    for wrong in (P, -1, 2**4000):
        with pytest.raises(Refused, match="numbers that are not of the field"):
            reader("_distribute", "read()")(decoded(objects(5, wrong)), [None], (2,), FIELD)
        reader("output", "read()")(decoded(objects(5, wrong)), objects(1, 2), (2,), FIELD)


def test_arrays_of_an_extension_field_hold_its_polynomials() -> None:
    ring = type(BINARY.modulus)
    reader("output", "read()")(decoded(objects(ring(5), ring(6))), objects(1, 2), (2,), BINARY)
    with pytest.raises(Refused, match="something else"):
        reader("output", "read()")(decoded(objects(5, 6)), objects(1, 2), (2,), BINARY)


def test_whoever_else_asks_gets_any_value() -> None:
    assert reader("transfer", "read()")(decoded("abc"), None, None, None) == "abc"
    assert decoded("abc")() == "abc"


def test_numbers_are_as_many_as_the_own_ones() -> None:
    read = SHARES._reading(finfields.FiniteFieldElement.from_bytes.__func__)
    bob = received_from(1)
    _distribute = reading_input(reader("_distribute", "[read(field, sent) for sent in x[1:]]"))
    wide = finfields.GF(finfields.find_prime_root(64)[0])
    for sent, words in ((bytes(16), ""), (bytes(8), "1 numbers for 2"), (b"", "0 numbers"), (bytes(15), "15 bytes")):
        if words:
            with pytest.raises(Refused, match=f"bob sent what is no share: {words}"):
                _distribute(read, [0, bob(sent)], None, wide)
        else:
            assert _distribute(read, [0, bob(sent)], None, wide) == [[0, 0]]
    assert _distribute(read, [0, bytes(8)], None, wide) == [[0]]  # the own ones
    assert reader("output", "read(field, x[0])")(read, [bob(bytes(8)), 0], None, wide) == [0]  # recombined later


def test_numbers_to_recombine_are_as_many_for_each_party() -> None:
    recombine = SHARES._recombining(lambda field, points, *others: len(points))
    output = reader("output", "read(field, shape or [(1, [5, 6]), (3, [7, 8])])")
    assert output(recombine, [5, 6], None, FIELD) == 2
    for short in ([], [5], [5, 6, 7]):
        for points, who in (([(2, short), (1, [5, 6])], "bob"), ([(1, [5, 6]), (2, short)], "bob")):
            asks = reader("_reshare", f"read(field, {points})")
            with pytest.raises(Refused, match=f"{who} sent what is no share: {len(short)} numbers for 2"):
                asks(recombine, [5, 6], None, FIELD)
    assert recombine(FIELD, [(1, [1]), (2, [1, 2])]) == 2  # nobody of MPyC's


async def test_a_program_of_numbers_and_arrays_of_every_kind_is_not_disturbed(tmp_path: Path) -> None:
    parties = await run(written(tmp_path, ARRAYS), 3)
    assert [(party.code, party.error, party.err) for party in parties] == [(0, None, "")] * 3
    assert len({party.out for party in parties}) == 1 and parties[0].out.count("\n") == 17


CHEATS = """
import sys
import numpy as np
from mpyc import thresha
from mpyc.fingroups import SymmetricGroup
from mpyc.runtime import mpc

def values(what):
    if what == "numbers":
        return [mpc.SecInt(16)(mpc.pid), mpc.SecInt(16)(7)]
    if what == "a number":
        return mpc.SecFld(101)(3)
    if what == "a float":
        return mpc.SecFlt(16)(1.5)
    if what == "an element":
        return mpc.SecGrp(SymmetricGroup(4))((1, 0, 3, 2))
    return mpc.SecInt(16).array(np.array([[1, 2], [3, 4]]))

async def main():
    await mpc.start()
    x = values(sys.argv[1])
    y = mpc.input(x)  # everybody is honest
    await mpc.output(y[1])
    if mpc.pid == 1:
        for name in ("random_split", "np_random_split"):
            split = getattr(thresha, name)
            setattr(thresha, name, lambda *args, split=split: [
                row if party == mpc.pid else row[:-1]  # else its own program fails, and says so first
                for party, row in enumerate(split(*args))
            ])
    y = mpc.input(x)
    print(await mpc.output(y[1]))
    await mpc.shutdown()

mpc.run(main())
"""


@pytest.mark.parametrize("what", ["numbers", "a number", "a float", "an element", "an array"])
async def test_a_short_share_of_an_input_is_refused_and_its_sender_named(tmp_path: Path, what: str) -> None:
    alice, _, carol = await run(written(tmp_path, CHEATS, what), 3)
    for party in (alice, carol):
        assert party.error is not None and party.error.message.startswith("bob sent what is no share"), party.err
        assert party.out == ""
