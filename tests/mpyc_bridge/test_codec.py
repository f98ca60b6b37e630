import pickle
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpyc import fingroups
from mpyc.finfields import GF
from mpyc.gfpx import GFpX
from tests.plain import run_plain

from comity.core import codec as core_codec
from comity.core.codec import Unsupported
from comity.errors import ComityError
from comity.mpyc_bridge import codec, values
from comity.mpyc_bridge.codec import RefusedValueError, received_from

PRIME, BINARY, TERNARY = GF(2**61 - 1), GF(GFpX(2)("x^8+x^4+x^3+x+1")), GF(GFpX(3)("x^2+1"))
PERMUTATIONS, RESIDUES = fingroups.SymmetricGroup(5), fingroups.QuadraticResidues(l=64)
SCHNORR, FORMS = fingroups.SchnorrGroup(l=64, n=32), fingroups.ClassGroup(l=64)
CURVES = [
    fingroups.EllipticCurve(name, coordinates)
    for name, all_coordinates in (
        ("Ed25519", ("affine", "projective", "extended")),
        ("Ed448", ("affine", "projective")),  # MPyC's sums in extended coordinates leave this curve
        ("BN256", ("affine", "projective", "jacobian")),
        ("BN256_twist", ("affine", "projective", "jacobian")),
        ("secp256k1", ("affine", "projective", "jacobian")),
    )
    for coordinates in all_coordinates
]
DIVISORS = hasattr(fingroups, "HyperellipticCurve")  # since MPyC 0.11
JACOBIAN = fingroups.HyperellipticCurve(l=8, genus=2) if DIVISORS else None
KUMMER = fingroups.HyperellipticCurve("kummer1271") if DIVISORS else None
ELEMENTS = [
    PRIME(-5),
    BINARY(200),
    TERNARY(7),
    GFpX(2)(2**100 + 1),
    GFpX(2)(0),
    GFpX(7)([1, 0, 3]),
    GFpX(7)(0),
    PERMUTATIONS([1, 0, 2, 4, 3]),
    RESIDUES.generator ^ 5,
    SCHNORR.generator ^ 77,
    *(element for curve in CURVES for element in (curve.generator, curve.identity, curve.generator ^ 5)),
    FORMS.generator ^ 9,
    *(element for group in (JACOBIAN, KUMMER) if group for element in (group.generator ^ 4, group.identity)),
]
FIELD_ARRAYS = [
    PRIME.array([[1, 2, -3]]),
    BINARY.array([1, 255]),
    TERNARY.array([[0], [8]]),
    PRIME.array(np.empty((0, 3), dtype=object)),
]


class FailedError(Exception):
    def __init__(self, error: ComityError) -> None:
        super().__init__(error.message)
        self.error = error


def fail(error: ComityError) -> NoReturn:
    raise FailedError(error) from error


@pytest.fixture(scope="module")
def installed() -> Any:
    """What stands in mpyc.runtime in place of pickle."""
    module = SimpleNamespace(pickle=pickle)
    codec.install(module, fail)
    return module.pickle


class Raw:
    """A kind and a content that nobody honest writes."""

    def __init__(self, kind: int, content: object) -> None:
        self.kind, self.content = kind, content


class Forger:
    def pack(self, value: object, /) -> tuple[int, object] | None:
        return (value.kind, value.content) if isinstance(value, Raw) else None

    def unpack(self, kind: int, content: object, spend: Callable[[int], None], /) -> object:
        return Raw(kind, content)


def refused(installed: Any, data: bytes) -> RefusedValueError:
    with pytest.raises(FailedError) as caught:
        installed.loads(received_from(2)(data))
    error = caught.value.error
    assert isinstance(error, RefusedValueError) and error.peer == 2 and error.exit_code == 4
    assert error.message.startswith("party 2 sent what is no value: ")
    return error


def items(value: Any) -> list[Any]:
    """The items of an array or of an array over a field, with types."""
    return [(type(item), item) for item in np.asarray(getattr(value, "value", value)).reshape(-1).tolist()]


@given(st.lists(st.integers(-(2**200), 2**200) | st.integers(0, 2**64) | st.integers(-200, 300), max_size=12))
def test_arrays_of_integers_come_back(installed: Any, numbers: list[int]) -> None:
    for shape in ((len(numbers),), (1, len(numbers), 1)):
        array = np.array(numbers, dtype=object).reshape(shape)
        read = installed.loads(installed.dumps(array))
        assert read.dtype == object and read.shape == shape and items(read) == items(array)


@pytest.mark.parametrize(
    "numbers",
    [
        [0],
        [255],
        [256],
        [2**16],
        [2**32 - 1],
        [2**63],
        [2**64 - 1],
        [2**64, 0],
        [-1],
        [-128, 127],
        [-129],
        [-1, 2**63],
        [-(2**63)],
        [-(2**63) - 1, 3],
        [-1, 2**64],
    ],
)
def test_integers_of_every_width_come_back(installed: Any, numbers: list[int]) -> None:
    array = np.array(numbers, dtype=object)
    assert items(installed.loads(installed.dumps(array))) == items(array)


def test_small_integers_take_a_byte_each(installed: Any) -> None:
    assert len(installed.dumps(np.array([7] * 1000, dtype=object))) < 1050
    assert len(installed.dumps(np.array([GFpX(2)(7)] * 1000, dtype=object))) < 1050


@pytest.mark.parametrize(
    "array",
    [
        *(np.array([[1, 0], [1, 1]]).astype(code) for code in "?bhilqBHILQefdFD"),
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.arange(12).reshape(3, 4)[::2, ::-1],
        np.asfortranarray([[1.5, 2], [3, 4]]),
        np.zeros((0, 5)),
        np.array(3.5),
        np.array(5, dtype=object),
        np.array([True, 1, np.int64(1), 1.5, "a", None, (1, [2])], dtype=object),
        np.array([GFpX(2)(5), GFpX(2)(0)], dtype=object),
        np.array([GFpX(2)(5), 1], dtype=object),
        np.array([GFpX(3)([1, 2])] * 4, dtype=object).reshape(2, 2),
        np.array([PRIME(3), PRIME(4)], dtype=object),
    ],
)
def test_arrays_come_back(installed: Any, array: Any) -> None:
    read = installed.loads(installed.dumps(array))
    assert type(read) is np.ndarray and read.shape == array.shape and read.dtype == array.dtype.newbyteorder("=")
    assert items(read) == items(array)
    read[...] = read  # it can be written to


@pytest.mark.parametrize("value", [np.int64(-3), np.uint8(200), np.bool_(True), np.float32(1.5), np.complex128(2j)])
def test_numbers_of_numpy_come_back(installed: Any, value: Any) -> None:
    read = installed.loads(installed.dumps([value]))[0]
    assert type(read) is type(value) and read == value


@pytest.mark.parametrize("value", ELEMENTS, ids=lambda value: f"{type(value).__name__[:20]} {value!r:.20}")
def test_elements_come_back(installed: Any, value: Any) -> None:
    for sent in (value, (value,), {"a": [value]}):
        read = installed.loads(received_from(1)(installed.dumps(sent)))
        while not isinstance(read, type(value)):
            read = read["a"] if isinstance(read, dict) else read[0]
        assert type(read) is type(value) and read == value and repr(read) == repr(value)


@pytest.mark.parametrize("value", FIELD_ARRAYS, ids=repr)
def test_arrays_over_fields_come_back(installed: Any, value: Any) -> None:
    read = installed.loads(installed.dumps(value))
    assert type(read) is value.field.array  # MPyC 0.10 makes a new class of arrays whenever a field is asked for
    assert read.shape == value.shape and items(read) == items(value)


def test_classes_of_other_parameters_are_told_apart(installed: Any) -> None:
    for one, other in [
        (GF((101, 2, 100)), GF((101, 4, 10))),
        (GF(GFpX(2)("x^3+x+1")), GF(GFpX(2)("x^3+x^2+1"))),
        (fingroups.EllipticCurve("Ed25519"), fingroups.EllipticCurve("Ed25519", "extended")),
        (fingroups.SchnorrGroup(23, 11, 2), fingroups.SchnorrGroup(23, 11, 3)),
    ]:
        for cls in (one, other):
            value = cls(1) if hasattr(cls, "modulus") else cls.identity
            assert type(installed.loads(installed.dumps(value))) is cls


@given(st.sampled_from([*ELEMENTS, *FIELD_ARRAYS, np.arange(3), np.array([2**70], dtype=object)]), st.data())
@settings(max_examples=300)
def test_changed_bytes_are_read_or_refused(installed: Any, value: Any, data: st.DataObject) -> None:
    sent = installed.dumps(value)
    at = data.draw(st.integers(0, len(sent) - 1))
    changed = sent[:at] + data.draw(st.binary(max_size=2)) + sent[at + data.draw(st.integers(0, 2)) :]
    try:
        installed.loads(received_from(2)(changed))
    except FailedError as exc:
        assert isinstance(exc.error, RefusedValueError)


def name_of(installed: Any, value: Any) -> bytes:
    """The digest of an element's class."""
    raw = core_codec.loads(installed.dumps(value), Forger())
    assert isinstance(raw, Raw) and isinstance(raw.content, tuple)
    name: bytes = raw.content[0]
    return name


MACHINE, SCALAR, INTEGERS, BINARIES, OBJECTS, POLYNOMIAL, ELEMENT, FIELD_ARRAY, GROUP = range(9)


@pytest.mark.parametrize(
    ("kind", "content", "complaint"),
    [
        (9, (b"", 1), "unknown kind 9"),
        (ELEMENT, None, "wrong form"),
        (ELEMENT, (b"n" * 16, 1), "has not made"),
        (ELEMENT, ("GF(101)", 1), "no class"),
        (MACHINE, ("|O", (1,), bytes(8)), "unknown type"),
        (MACHINE, ("<U2", (1,), bytes(8)), "unknown type"),
        (MACHINE, ("<i8", (1,), bytes(8), None), "wrong form"),
        (MACHINE, ("<i8", (2,), bytes(8)), "wrong size"),
        (MACHINE, ("<i8", (2**40,), b""), "wrong shape"),
        (MACHINE, ("<i8", (-1, -1), bytes(8)), "wrong shape"),
        (MACHINE, ("<i8", (True,), bytes(8)), "wrong shape"),
        (MACHINE, ("<i8", (1,) * 33, bytes(8)), "wrong shape"),
        (MACHINE, ("|b1", (2,), b"\1\2"), "booleans"),
        (INTEGERS, ((2,), 0, b""), "wrong size"),
        (INTEGERS, ((0,), 0, b""), "wrong size"),
        (INTEGERS, ((2,), 8, bytes(15)), "wrong size"),
        (INTEGERS, ([2], 8, bytes(16)), "wrong form"),
        (INTEGERS, ((1,), True, b"\1"), "wrong form"),
        (BINARIES, ((1,), -1, b"\xff"), "no number in its range"),
        (OBJECTS, ((2,), [1]), "wrong size"),
    ],
)
def test_forged_arrays_and_classes_are_refused(installed: Any, kind: int, content: object, complaint: str) -> None:
    assert complaint in refused(installed, core_codec.dumps(Raw(kind, content), Forger())).message


@pytest.mark.parametrize(
    ("kind", "like", "content", "complaint"),
    [
        (ELEMENT, PRIME(1), 2**61 - 1, "no number in its range"),
        (ELEMENT, PRIME(1), -1, "no number in its range"),
        (ELEMENT, PRIME(1), True, "no number in its range"),
        (ELEMENT, PRIME(1), [1], "no number in its range"),
        (ELEMENT, BINARY(1), 256, "no number in its range"),
        (ELEMENT, BINARY(1), [1], "no number in its range"),
        (ELEMENT, TERNARY(1), [1, 1, 1], "no list of coefficients"),
        (ELEMENT, TERNARY(1), [3], "refused"),
        (ELEMENT, TERNARY(1), [True], "no integer"),
        (ELEMENT, PERMUTATIONS(), 1, "another kind"),
        (POLYNOMIAL, PRIME(1), 1, "another kind"),
        (POLYNOMIAL, GFpX(2)(1), -1, "no number in its range"),
        (POLYNOMIAL, GFpX(7)(1), [7], "refused"),
        (FIELD_ARRAY, PRIME(1), [1], "refused"),
        (FIELD_ARRAY, PRIME(1), np.array([1.5], dtype=object), "none of its elements"),
        (FIELD_ARRAY, PRIME(1), np.array([None], dtype=object), "none of its elements"),
        (FIELD_ARRAY, BINARY(1), np.array([GFpX(2)(256)], dtype=object), "none of its elements"),
        (FIELD_ARRAY, BINARY(1), np.array([GFpX(3)(1)], dtype=object), "none of its elements"),
        (GROUP, PRIME(1), 1, "another kind"),
        (GROUP, PERMUTATIONS(), [0, 0, 1, 2, 3], "refused"),
        (GROUP, PERMUTATIONS(), [0], "refused"),
        (GROUP, PERMUTATIONS(), ["0"] * 5, "no integer"),
        (GROUP, PERMUTATIONS(), 5, "no list"),
        (GROUP, RESIDUES(), 0, "refused"),
        (GROUP, RESIDUES(), RESIDUES.field.modulus - 1, "refused"),
        (GROUP, SCHNORR(), SCHNORR.field.modulus - 1, "refused"),
        (GROUP, CURVES[0].generator, [2, 2], "not on curve"),
        (GROUP, CURVES[0].generator, [0], "wrong number of coordinates"),
        (GROUP, CURVES[0].generator, [], "wrong number of coordinates"),
        (GROUP, CURVES[1].generator, [0, 1, 0], "refused"),
        (GROUP, CURVES[1].generator, [0, 1], "wrong number of coordinates"),
        (GROUP, FORMS.generator, [1, 1], "wrong coefficients"),
        (GROUP, FORMS.generator, [1, 1, 1], "wrong discriminant"),
        (GROUP, FORMS.generator, [1, 1, 1 << 100_000], "wrong coefficients"),
    ],
)
def test_forged_elements_are_refused(installed: Any, kind: int, like: Any, content: object, complaint: str) -> None:
    name = name_of(installed, like)
    if isinstance(content, np.ndarray):
        content = core_codec.loads(installed.dumps(content), Forger())
    assert complaint in refused(installed, core_codec.dumps(Raw(kind, (name, content)), Forger())).message


@pytest.mark.skipif(not DIVISORS, reason="hyperelliptic curves came with MPyC 0.11")
@pytest.mark.parametrize(
    ("group", "content", "complaint"),
    [
        (JACOBIAN, [[1]], "wrong number of coordinates"),
        (JACOBIAN, [[], []], "refused"),
        (JACOBIAN, [[0, 0, 1], [1, 1]], "not in Jacobian"),
        (JACOBIAN, [[1, 2, 3, 4], [1]], "no list of coefficients"),
        (KUMMER, [1, 2, 3, 4, 1, 3], "does not belong"),
        (KUMMER, [1, 2, 3, 4, 1, 2], "does not belong"),
    ],
)
def test_forged_divisors_are_refused(installed: Any, group: Any, content: object, complaint: str) -> None:
    forged = Raw(GROUP, (name_of(installed, group.generator), content))
    assert complaint in refused(installed, core_codec.dumps(forged, Forger())).message


def test_a_class_that_only_the_sender_made_is_refused_with_what_to_do(installed: Any) -> None:
    error = refused(installed, core_codec.dumps(Raw(ELEMENT, (b"n" * 16, 1)), Forger()))
    assert "every party must make the same fields and groups" in error.hints[0]


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_what_pickle_would_run_is_inert_and_names_its_sender(installed: Any, tmp_path: Path) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        refused(installed, pickle.dumps(Bomb(tmp_path / "run"), protocol))
    assert not (tmp_path / "run").exists()
    pickle.loads(pickle.dumps(Bomb(tmp_path / "run")))  # noqa: S301 - to show that it is live
    assert (tmp_path / "run").exists()


def test_a_sender_is_called_by_its_name() -> None:
    module = SimpleNamespace()
    codec.install(module, fail, ("alice", "bob", "carol").__getitem__)
    with pytest.raises(FailedError, match="carol sent what is no value: a value is cut short"):
        module.pickle.loads(received_from(2)(b""))
    assert received_from(2) is received_from(2) and received_from(2)(b"ab")[:1] == b"a"


def test_arrays_are_refused_where_numpy_is_not_in_use(installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {kind: installed.dumps(value) for kind, value in (("array", np.arange(3)), ("element", PRIME(3)))}
    monkeypatch.setattr(values, "np", None)
    assert "where NumPy is not in use" in refused(installed, data["array"]).message
    assert installed.loads(data["element"]) == installed.loads(installed.dumps(PRIME(3))) == PRIME(3)
    with pytest.raises(FailedError, match="ndarray, which cannot be carried"):
        installed.dumps(np.arange(3))


def test_small_arrays_cannot_become_large(installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = installed.dumps([np.array([7] * 600, dtype=object), np.array([7] * 600, dtype=object)])
    assert len(installed.loads(data)) == 2
    wide, polynomials = ([np.array([item] * 100, dtype=object)] for item in (1 << 1600, GFpX(2)(5)))
    more = [installed.dumps(value) for value in ([np.arange(7000)], wide, 3 * polynomials)]
    monkeypatch.setattr(core_codec, "MAX_ITEMS", 1000)
    for sent in (data, *more):
        assert "more than 1000 others" in refused(installed, sent).message
    monkeypatch.setattr(values, "MAX_ITEMS", 500)
    with pytest.raises(FailedError, match="an array of 600 items, 500 are allowed"):
        installed.dumps(np.array([7] * 600, dtype=object))


class Point3(fingroups.SymmetricGroupElement):
    degree = 3


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (object(), "type object"),
        (Point3(), "test_codec.Point3"),
        (np.array(["a"]), "NumPy's <U1"),
        (np.array([(1, 2.0)], dtype="i4,f8"), "NumPy's"),
        (np.datetime64("2026-01-01"), "NumPy's datetime64"),
        (np.ma.masked_array([1]), "MaskedArray"),
        (np.array([object()]), "type object"),
        (np.array([1, Ellipsis], dtype=object), "type ellipsis"),
    ],
)
def test_what_cannot_be_carried_is_named(installed: Any, value: object, named: str) -> None:
    with pytest.raises(FailedError, match=named) as caught:
        installed.dumps([value])
    assert isinstance(caught.value.error, Unsupported) and caught.value.error.exit_code == 6


def test_a_fault_of_ours_is_told_and_is_no_ones_else(installed: Any) -> None:
    broken = RESIDUES.__new__(RESIDUES)  # without a value
    for fault in (lambda: installed.dumps(broken), lambda: installed.loads(b"?"), lambda: installed.loads(None)):
        with pytest.raises(FailedError, match="the codec failed") as caught:
            fault()
        assert type(caught.value.error) is ComityError and caught.value.error.__cause__ is not None


PROGRAM = """
    import sys
    import numpy as np
    import mpyc.runtime
    from mpyc.runtime import mpc
    from comity.mpyc_bridge import codec, values

    def fail(error):
        sys.exit(f"{error!r}")

    codec.install(mpyc.runtime, fail)

    async def main():
        secfxp, secfld = mpc.SecFxp(24, 10), mpc.SecFld(2**8)
        group = mpyc.fingroups.EllipticCurve("Ed25519", "projective")
        async with mpc:
            a = mpc.input(secfxp.array(np.arange(6).reshape(2, 3) / 2), senders=0)
            print((await mpc.output(a @ a.T)).tolist())
            b = mpc.input(secfld.array(np.array([3, 200], dtype=object)), senders=1)
            print(await mpc.output(b * b))
            print(await mpc.transfer({"party": mpc.pid, "point": group.generator ^ mpc.pid}))
            await mpc.transfer(object() if "bad" in sys.argv else None)

    mpc.run(main())
"""


@pytest.mark.parametrize("kind", ["good", "bad"])
def test_mpyc_computes_with_our_codec(tmp_path: Path, kind: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    ended = run_plain(program, kind, m=3)
    for party in ended:
        assert party.stdout.splitlines()[:2] == [
            "[[1.25, 3.5], [3.5, 12.5]]",
            f"[{BINARY(3) ** 2} {BINARY(200) ** 2}]",
        ]
        if kind == "good":
            assert party.returncode == 0 and party.stdout.count("'party'") == 3
        else:
            assert party.returncode == 1 and "value of type object, which cannot be carried" in party.stderr
