"""Section 15 of docs/protocol.md: the codec that stands in the place of pickle."""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from tests.independent.notation import Malformed, digest

MAX_LEVELS, MAX_ITEMS, MAX_ALIKE = 64, 1 << 22, 64
ITEM, CONTAINER, KEY = 48, 8, 6  # bytes; and items that a container and a key cost
CONTAINERS: dict[str, type] = {"l": list, "t": tuple, "e": set, "z": frozenset}
MACHINE = ("|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16")


class Uncarried(TypeError):
    """A value of a type that the codec does not carry."""


def dumps(value: Any) -> bytes:
    out: list[bytes] = []
    _write(value, out, extend)
    return b"".join(out)


def loads(data: bytes) -> Any:
    return Reader(data).whole()


def _count(number: int) -> bytes:
    return bytes([number]) if number < 255 else b"\xff" + number.to_bytes(5, "little")


def _write(value: Any, out: list[bytes], extension: Callable[[Any], tuple[int, Any]] | None) -> None:
    kind = type(value)
    if value is None or kind is bool:
        out.append({None: b"N", True: b"T", False: b"F"}[value])
    elif kind is int:
        size = value.bit_length() // 8 + 1
        out.append(b"i" + _count(size) + value.to_bytes(size, "little", signed=True))
    elif kind is float:
        out.append(b"f" + struct.pack("<d", value))
    elif kind is complex:
        out.append(b"c" + struct.pack("<dd", value.real, value.imag))
    elif kind in (str, bytes, bytearray):
        data = value.encode("utf-8", "surrogatepass") if kind is str else bytes(value)
        out.append({str: b"s", bytes: b"b", bytearray: b"a"}[kind] + _count(len(data)) + data)
    elif kind in (list, tuple, set, frozenset, dict):
        tag = "d" if kind is dict else next(tag for tag, container in CONTAINERS.items() if container is kind)
        out.append(tag.encode() + _count(len(value)))
        for item in (part for pair in value.items() for part in pair) if kind is dict else value:
            _write(item, out, extension)
    elif extension is not None:
        number, content = extension(value)
        out.append(b"x" + bytes([number]))
        _write(content, out, extension)
    else:
        raise Uncarried(f"a value of type {kind.__name__} cannot be sent")


class Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._items = data, 0, 0

    def whole(self) -> Any:
        value = self._read(MAX_LEVELS)
        if self._at != len(self._data):
            raise Malformed("something follows a value")
        return value

    def _take(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise Malformed("a value that is cut")
        self._at += size
        return part

    def _count(self) -> int:
        number = self._take(1)[0]
        if number == 255:
            number = int.from_bytes(self._take(5), "little")
            if number < 255:
                raise Malformed("a count that is too long")
        return number

    def _spend(self, items: int) -> None:
        self._items += items
        if self._items > MAX_ITEMS:
            raise Malformed("a value that is too large")

    def _text(self) -> str:
        data = self._take(self._count())
        self._spend(1 + len(data) * (1 if data.isascii() else 4) // ITEM)
        try:
            value = data.decode("utf-8", "surrogatepass")
        except UnicodeError as error:
            raise Malformed("no text") from error
        return value

    def _read(self, levels: int) -> Any:
        self._items += 1
        if levels < 0 or self._items > MAX_ITEMS:
            raise Malformed("a value that is too deep or too large")
        tag = chr(self._take(1)[0])
        if tag in "NTF":
            return {"N": None, "T": True, "F": False}[tag]
        if tag == "i":
            data = self._take(self._count())
            self._spend(len(data) // ITEM)
            value = int.from_bytes(data, "little", signed=True)
            if len(data) != value.bit_length() // 8 + 1:
                raise Malformed("an integer of another length")
            return value
        if tag == "f":
            return struct.unpack("<d", self._take(8))[0]
        if tag == "c":
            return complex(*struct.unpack("<dd", self._take(16)))
        if tag == "s":
            return self._text()
        if tag in "ba":
            data = self._take(self._count())
            self._spend(1 + len(data) // ITEM)
            return data if tag == "b" else bytearray(data)
        if tag == "d":
            pairs = [(self._read(levels - 1), self._read(levels - 1)) for _ in range(self._container())]
            return dict(zip(self._keys([key for key, _ in pairs]), [value for _, value in pairs], strict=True))
        if tag in CONTAINERS:
            items = [self._read(levels - 1) for _ in range(self._container())]
            return CONTAINERS[tag](items if tag in "lt" else self._keys(items))
        if tag == "x":
            kind = self._take(1)[0]
            return build(kind, self._read(levels - 1))
        raise Malformed("an unknown tag")

    def _container(self) -> int:
        count = self._count()
        if self._items + CONTAINER + count > MAX_ITEMS:
            raise Malformed("a value that is too large")
        self._items += CONTAINER
        return count

    def _keys(self, keys: list[Any]) -> list[Any]:
        self._spend(KEY * len(keys))
        return _keys(keys)


def _keys(keys: list[Any]) -> list[Any]:
    try:
        hashes = Counter(map(hash, keys))
    except TypeError as error:
        raise Malformed("a key that is not hashable") from error
    if hashes and max(hashes.values()) > MAX_ALIKE:
        raise Malformed("too many keys of one hash")
    if len(set(keys)) < len(keys):
        raise Malformed("a key twice")
    return keys


# The extension: arrays, and elements of MPyC's fields, rings and groups. MPyC is there once a program runs.


def _bases() -> dict[type, tuple[str, Callable[[Any], tuple[Any, ...]]]]:
    """MPyC's base classes, with the parameters of a class made from them."""
    from mpyc import finfields, fingroups, gfpx

    def curve(cls: Any) -> tuple[Any, ...]:
        return (cls.curvename,)

    def hyperelliptic(cls: Any) -> tuple[Any, ...]:
        return (cls.curvename, int(cls.field.modulus), cls.genus)

    edwards = (fingroups.EdwardsAffine, fingroups.EdwardsProjective, fingroups.EdwardsExtended)
    weierstrass = (fingroups.WeierstrassAffine, fingroups.WeierstrassProjective, fingroups.WeierstrassJacobian)
    found: dict[Any, Any] = {
        finfields.PrimeFieldElement: lambda cls: (int(cls.modulus), cls.nth, cls.root),
        finfields.ExtensionFieldElement: lambda cls: (int(cls.characteristic), int(cls.modulus)),
        finfields.BinaryFieldElement: lambda cls: (int(cls.modulus),),
        gfpx.Polynomial: lambda cls: (int(cls.p),),
        fingroups.SymmetricGroupElement: lambda cls: (cls.degree,),
        fingroups.QuadraticResidue: lambda cls: (int(cls.field.modulus),),
        fingroups.SchnorrGroupElement: lambda cls: (int(cls.field.modulus), int(cls.order), int(cls.generator)),
        **dict.fromkeys((*edwards, *weierstrass), curve),
        **dict.fromkeys((fingroups.HCDivisorCL, fingroups.HyperellipticCurveDivisor), hyperelliptic),
        fingroups.ClassGroupForm: lambda cls: (int(cls.discriminant),),
    }
    return {base: (base.__name__, parameters) for base, parameters in found.items()}


def _made(base: Any) -> Iterator[Any]:
    for cls in base.__subclasses__():
        yield cls
        yield from _made(cls)


def _class_digest(cls: type) -> bytes | None:
    """None for a class that is abstract, or none of MPyC's."""
    bases = _bases()
    for base in cls.__mro__[1:]:
        if base in bases:
            name, parameters = bases[base]
            try:
                return digest("class of elements", dumps((name, *parameters(cls))))[:16]
            except (AttributeError, TypeError):
                return None
    return None


def _class(said: Any) -> Any:
    for base in _bases():
        for cls in _made(base):
            if _class_digest(cls) == said:
                return cls
    raise Malformed("a class that this program has not made")


def extend(value: Any) -> tuple[int, Any]:
    """An extension's kind and content."""
    import numpy
    from mpyc import finfields, fingroups, gfpx

    cls: Any = type(value)
    if isinstance(value, numpy.generic):
        if value.dtype.str not in MACHINE:
            raise Uncarried(f"a number of type {value.dtype} cannot be sent")
        return 1, (value.dtype.str, (), value.tobytes())
    if cls is numpy.ndarray:
        return _extend_array(value)
    if isinstance(value, finfields.FiniteFieldArray):
        return 7, (_class_digest(cls.field), value.value)
    name = _class_digest(cls)
    if name is None:
        raise Uncarried(f"a value of type {cls.__name__} cannot be sent")
    if isinstance(value, gfpx.Polynomial):
        return 5, (name, _polynomial(value))
    if isinstance(value, finfields.FiniteFieldElement):
        return 6, (name, value.value if isinstance(value.value, int) else _polynomial(value.value))
    assert isinstance(value, fingroups.FiniteGroupElement)
    single = not isinstance(value.value, tuple)
    return 8, (name, _coordinate(value.value) if single else [_coordinate(part) for part in value.value])


def _coordinate(part: Any) -> Any:
    from mpyc import finfields, gfpx

    if isinstance(part, gfpx.Polynomial):
        return _polynomial(part)
    return int(part.value if isinstance(part, finfields.FiniteFieldElement) else part)


def _polynomial(value: Any) -> Any:
    return int(value) if type(value).p == 2 else [int(coefficient) for coefficient in value.value]


def _extend_array(value: Any) -> tuple[int, Any]:
    from mpyc import gfpx

    if value.dtype.str in MACHINE:
        return 0, (value.dtype.str, value.shape, value.tobytes())
    if value.dtype != object:
        raise Uncarried(f"an array of type {value.dtype} cannot be sent")
    items = value.flatten().tolist()
    kinds = {type(item) for item in items}
    if kinds == {int}:
        return 2, (value.shape, *_wide(items))
    if kinds and all(issubclass(kind, gfpx.Polynomial) and kind.p == 2 for kind in kinds):
        return 3, (value.shape, *_wide([int(item) for item in items]))
    return 4, (value.shape, items)


def _wide(items: list[int]) -> tuple[int, bytes]:
    signed = min(items) < 0
    width = max(1, *((item.bit_length() + signed + 7) // 8 for item in items))
    return -width if signed else width, b"".join(item.to_bytes(width, "little", signed=signed) for item in items)


def build(kind: int, content: Any) -> Any:
    """An extension's value."""
    from mpyc import finfields, fingroups, gfpx

    sizes = {0: 3, 1: 3, 2: 3, 3: 3, 4: 2, 5: 2, 6: 2, 7: 2, 8: 2}
    if type(content) is not tuple or len(content) != sizes.get(kind):
        raise Malformed("an unknown extension")
    try:
        if kind <= 4:
            return _build_array(kind, *content)
        name, value = content
        cls = _class(name)
        if kind == 5 and issubclass(cls, gfpx.Polynomial):
            return cls(value)
        if kind == 6 and issubclass(cls, finfields.FiniteFieldElement):
            return cls(value)
        if kind == 7 and issubclass(cls, finfields.FiniteFieldElement):
            return cls.array(value)
        if kind == 8 and issubclass(cls, fingroups.HCDivisorCL):
            return _divisor(cls, value)
        if kind == 8 and issubclass(cls, fingroups.FiniteGroupElement):
            return cls(tuple(value) if isinstance(value, list) else value)
    except (TypeError, ValueError, AssertionError, OverflowError) as error:
        raise Malformed("an extension's content that does not hold") from error
    raise Malformed("an extension of another class")


def _divisor(cls: Any, value: list[int]) -> Any:
    """MPyC's own check of these looks at what is not there yet."""
    made = cls(tuple(cls.field(part) for part in value), check=False)
    u1, u0, _, _, square, product = made.value
    if u1**2 != square or u1 * u0 != product or (cls.f - made.v**2) % made.u:
        raise ValueError("value not in Jacobian")
    return made


def _build_array(kind: int, *content: Any) -> Any:
    import numpy
    from mpyc import gfpx

    if kind in (0, 1):
        form, shape, data = content
        if form not in MACHINE or (kind == 1 and shape != ()):
            raise Malformed("an array of another type")
        array = numpy.frombuffer(data, form).copy().reshape(_shape(shape))
        return array[()] if kind == 1 else array
    if kind == 4:
        shape, items = content
    else:
        shape, width, data = content
        size = abs(width)
        if len(data) != size * math.prod(_shape(shape)):
            raise Malformed("an array of another size")
        items = [int.from_bytes(data[i : i + size], "little", signed=width < 0) for i in range(0, len(data), size or 1)]
        if kind == 3:
            items = [gfpx.GFpX(2)(item) for item in items]
    array = numpy.empty(len(items), object)
    array[:] = items
    return array.reshape(_shape(shape))


def _shape(shape: Any) -> tuple[int, ...]:
    if type(shape) is not tuple or len(shape) > 32 or not all(type(n) is int and n >= 0 for n in shape):
        raise Malformed("no shape")
    return shape
