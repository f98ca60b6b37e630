"""A plain MPyC program, for all parties: passes values of every kind that can be sent, in two starts of the runtime."""

import sys

import numpy as np
from mpyc import finfields, fingroups, gfpx
from mpyc.runtime import mpc

LETTERS = ["b", "h", "i", "q", "B", "H", "I", "Q", "e", "f", "d", "F", "D"]


def plain():
    numbers = [0, -1, 127, 128, -128, 255, 256, 2**64, -(2**64), 10**700, 1.5, -0.0, float("inf"), 1e-310, 1 + 2j]
    texts = ["", "é \U0001f642", "\ud800", "x" * 300, b"", b"abc" * 100, bytearray(b"xyz")]
    containers = [[], [1, [2, (3,)]], (), {"a": 1, 2: [3], (1, 2): None}, {1, "x", b"y"}, set(), frozenset({3, (4,)})]
    return [None, True, False, *numbers, *texts, *containers, {True: 0}, bytes(3_000_000)]


def arrays():
    machine = [np.array([[1, 2], [3, 4]], dtype=letter) for letter in LETTERS]
    machine += [np.array([True, False]), np.zeros((0, 3)), np.array(5), np.arange(12).reshape(3, 4).T]
    machine += [np.float32(1.5), np.int64(-3), np.bool_(True)]
    lists = [[1, 2**70, 3], [-1, 2**70], [[1, -128]], [], ["a", None, 3, -4], 7, [0, 0]]
    return [*machine, *(np.array(value, dtype=object) for value in lists)]


def elements():
    prime, large, two, five = finfields.GF(101), finfields.GF(2**61 - 1), gfpx.GFpX(2), gfpx.GFpX(5)
    extension, binary = finfields.GF(gfpx.GFpX(3)("x^2+1")), finfields.GF(two("x^8+x^4+x^3+x+1"))
    fields = [prime(7), large(2**60), extension([1, 2]), binary(0x57), two(0b1011), two(0), five([1, 2, 3]), five(0)]
    fields += [prime.array([1, 2]), prime.array([]), large.array([[1], [2]]), binary.array([1, 2, 255])]
    polynomials = np.empty(3, dtype=object)
    polynomials[:] = [two(1), two(5), two(2**40)]
    return [*fields, extension.array([1, 2, 3]), polynomials, *points()]


def points():
    groups = [fingroups.EllipticCurve("Ed25519", form) for form in ("affine", "projective", "extended")]
    groups += [fingroups.EllipticCurve("Ed448", form) for form in ("affine", "projective")]
    groups += [fingroups.EllipticCurve("secp256k1", form) for form in ("affine", "projective", "jacobian")]
    groups += [fingroups.QuadraticResidues(l=32), fingroups.SchnorrGroup(l=256), fingroups.ClassGroup(l=64)]
    groups += [fingroups.HyperellipticCurve("DGS", l=40, genus=2), fingroups.HyperellipticCurve("kummer1271")]
    some = [fingroups.SymmetricGroup(3)((1, 0, 2))]
    for group in groups:
        some += [group.identity, group.generator, group.generator ^ 5]
    return some


def same(value, other):
    if type(value) is not type(other):
        return False
    if isinstance(value, np.ndarray):
        items = zip(value.ravel().tolist(), other.ravel().tolist(), strict=True)
        return (value.dtype, value.shape) == (other.dtype, other.shape) and all(same(*pair) for pair in items)
    if isinstance(value, finfields.FiniteFieldArray):
        return same(value.value, other.value)
    if isinstance(value, set | frozenset):  # its order depends on the hashes, and on what came first
        return value == other and sorted(map(repr, value)) == sorted(map(repr, other))
    return value == other and repr(value) == repr(other)


async def main():
    for _ in range(2):
        await mpc.start()
        for make in plain, arrays, elements:
            values = make()
            for value in values:
                for sender, other in enumerate(await mpc.transfer(value)):
                    if not same(value, other):
                        sys.exit(f"{mpc.pid} got {str(other)[:99]} of {sender} for {str(value)[:99]}")
            print(make.__name__, len(values))
        integers = mpc.SecInt(16)
        numbers = mpc.input(integers.array(np.arange(50) + mpc.pid))
        print(await mpc.output(numbers[0] * numbers[1] + numbers[2]))
        await mpc.shutdown()


mpc.run(main())
