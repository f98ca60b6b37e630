import math
import struct
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comity.core import codec
from comity.core.codec import Unsupported, dumps, loads
from comity.core.encoding import Malformed
from comity.core.limits import MAX_ALIKE, MAX_DEPTH, MAX_ITEMS

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**600), 2**600)
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text(st.characters(codec=None), max_size=300)
    | st.binary(max_size=300)
)
KEYS = st.recursive(SCALARS, lambda v: st.tuples(v, v) | st.frozensets(v, max_size=3), max_leaves=6)
VALUES = st.recursive(
    KEYS | st.binary(max_size=9).map(bytearray),
    lambda v: (
        st.lists(v, max_size=4) | st.tuples(v, v, v) | st.dictionaries(KEYS, v, max_size=4) | st.sets(KEYS, max_size=4)
    ),
    max_leaves=20,
)


class Celsius:
    """A type that plain data does not know."""

    def __init__(self, degrees: object) -> None:
        self.degrees = degrees


class Thermometer:
    """An extension that carries Celsius as kind 7, and makes as many values as it is told."""

    def pack(self, value: object, /) -> tuple[int, object] | None:
        return (7, [value.degrees]) if isinstance(value, Celsius) else None

    def unpack(self, kind: int, content: object, spend: Callable[[int], None], /) -> object:
        if kind == 8:
            assert isinstance(content, int)
            spend(content)
            return content
        if kind != 7 or not isinstance(content, list):
            raise Malformed("no temperature")
        return Celsius(content[0])


def same(a: object, b: object) -> bool:
    """Equal, and of the same types all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return a == b


@given(VALUES)
@example([*range(-130, 130), 2**64, -(2**64), 1 << 5000])
@example("x" * 254 + "é")
@example(b"x" * 255)
@example("\ud800")
@example([[]] * 300)
def test_what_is_written_is_read(value: object) -> None:
    assert same(loads(dumps(value)), value)


@given(st.floats() | st.complex_numbers())
def test_numbers_keep_every_bit(value: float | complex) -> None:
    read = loads(dumps(value))
    assert isinstance(read, float | complex)
    assert struct.pack("<dd", read.real, read.imag) == struct.pack("<dd", value.real, value.imag)


def test_two_not_numbers_may_both_be_keys() -> None:
    read = loads(dumps({float("nan"), float("nan")}))
    assert isinstance(read, set) and len(read) == 2 and all(map(math.isnan, read))


@given(VALUES, st.integers(0), st.binary(max_size=3), st.integers(0, 3))
def test_changed_bytes_are_read_or_refused(value: object, at: int, change: bytes, cut: int) -> None:
    data = dumps(value)
    at %= len(data)
    try:
        loads(data[:at] + change + data[at + cut :])
    except Malformed as exc:
        assert exc.message


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value = loads(data)
    except Malformed:
        return
    assert same(loads(dumps(value)), value) or value != value or "nan" in repr(value)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "cut short"),
        (b"i\x02\x01", "cut short"),
        (b"f1234567", "cut short"),
        (b"l\xff\xff\xff\xff\xff\xff", "cut short"),  # a list of 2^40 values in seven bytes
        (b"d\x01N", "cut short"),
        (b"NN", "followed by something"),
        (b"?", "unknown tag 63"),
        (b"x\x07l\x01N", "unknown tag 120"),  # no extension
        (b"i\x00", "wrong length"),
        (b"i\x02\x01\x00", "wrong length"),
        (b"s\xff\x05\x00\x00\x00\x00hello", "count in the wrong form"),
        (b"s\x01\xff", "not UTF-8"),
        (b"d\x01l\x00N", "key that cannot be one"),
        (b"e\x01a\x00", "key that cannot be one"),
        (b"d\x02i\x01\x01NTN", "a key twice"),  # 1 and True
        (b"z\x02NN", "a key twice"),
        (b"t\x01" * (MAX_DEPTH + 1) + b"N", "nested too deeply"),
    ],
)
def test_what_is_no_value_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(Malformed, match=complaint):
        loads(data)


def test_keys_chosen_to_collide_are_refused() -> None:
    prime = 2**61 - 1  # Python's hash of an integer is its remainder
    loads(dumps({prime * i for i in range(MAX_ALIKE)}))
    with pytest.raises(Malformed, match="collide"):
        loads(dumps({prime * i for i in range(MAX_ALIKE + 1)}))
    with pytest.raises(Malformed, match="collide"):
        loads(dumps({(prime * i, "x"): None for i in range(MAX_ALIKE + 1)}))


def test_a_value_is_nested_as_deeply_as_is_allowed_and_no_deeper() -> None:
    value: object = None
    for _ in range(MAX_DEPTH):
        value = [value]
    assert same(loads(dumps(value)), value)
    with pytest.raises(Unsupported, match="a NoneType nested more than 64 deep"):
        dumps([value])
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(Unsupported, match="a list nested"):
        dumps(endless)


def test_a_few_bytes_do_not_become_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_ITEMS", 1000)
    loads(dumps([None] * 900))
    large: list[object] = ["é" * 6000, "x" * 48_000, b"x" * 48_000, bytearray(48_000), 1 << 400_000, [""] * 500]
    for value in ([None] * 1000, [[]] * 120, dict.fromkeys(range(130)), set(range(150)), *large):
        with pytest.raises(Unsupported, match="more than 1000 values at once"):
            dumps(value)
    with pytest.raises(Malformed, match="more than 1000 others"):
        loads(b"l\x78" + b"e\x00" * 120)  # empty sets: 2 bytes become 216


def test_who_writes_counts_as_who_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = dict.fromkeys(range(40), b"y" * 50)
    for value in (["é" * 300] * 3, ["x" * 100] * 20, pairs, {*range(60)}, [1 << 9000] * 9):
        monkeypatch.undo()
        data = dumps(value)
        low, high = 0, 20_000
        while low < high:  # the smallest limit for writing
            limit = (low + high) // 2
            monkeypatch.setattr(codec, "MAX_ITEMS", limit)
            try:
                dumps(value)
                high = limit
            except Unsupported:
                low = limit + 1
        monkeypatch.setattr(codec, "MAX_ITEMS", low)
        assert loads(data) == value
        monkeypatch.setattr(codec, "MAX_ITEMS", low - 1)
        with pytest.raises(Malformed, match="others"):
            loads(data)


def test_a_value_has_no_more_bytes_than_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_MESSAGE", 1000)
    assert len(dumps(b"x" * 993)) == 1000
    with pytest.raises(Unsupported, match="sends 1001 bytes at once, 1000 are allowed") as caught:
        dumps(b"x" * 994)
    assert caught.value.hints == ("send them in parts",)


class Money(int):
    pass


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (object(), "type object"),
        (print, "builtin_function_or_method"),
        (Money(3), f"{__name__}.Money"),
        (range(3), "type range"),
        (Celsius(3), f"{__name__}.Celsius"),
    ],
)
def test_what_cannot_be_carried_is_named(value: object, named: str) -> None:
    for carried in (value, [1, value], {"a": (value,)}):
        with pytest.raises(Unsupported, match=named) as caught:
            dumps(carried)
        assert caught.value.exit_code == 6 and caught.value.hints


def test_an_extension_carries_its_types_and_no_others() -> None:
    read = loads(dumps([Celsius({"low": -3})], Thermometer()), Thermometer())
    assert isinstance(read, list) and isinstance(read[0], Celsius) and read[0].degrees == {"low": -3}
    with pytest.raises(Unsupported, match="type object"):
        dumps(object(), Thermometer())
    with pytest.raises(Malformed, match="no temperature"):
        loads(b"x\x09N", Thermometer())


def test_an_extension_counts_what_it_makes() -> None:
    assert loads(b"x\x08" + dumps(MAX_ITEMS), Thermometer()) == MAX_ITEMS
    with pytest.raises(Malformed, match="others"):
        loads(b"x\x08" + dumps(MAX_ITEMS + 1), Thermometer())


def test_reading_runs_nothing() -> None:
    import pickle

    with pytest.raises(Malformed):
        loads(pickle.dumps([1, 2]))
