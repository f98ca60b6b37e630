"""What MPyC programs send beyond plain data, as an extension of core.codec: arrays, and elements of fields and groups.

The class of an element travels as a digest of its parameters. The receiver knows only the classes that its own program
has made: so nothing is made at a peer's word, no number is tested for being prime, and an unknown class is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

from mpyc.finfields import FiniteFieldArray, FiniteFieldElement
from mpyc.fingroups import FiniteGroupElement
from mpyc.gfpx import BinaryPolynomial, Polynomial
from mpyc.numpy import np

from comity.core.codec import Unsupported, dumps
from comity.core.encoding import Malformed, digest
from comity.core.limits import MAX_ITEMS
from comity.mpyc_bridge import algebra, arrays, groups

_PARAMETERS: dict[Any, Callable[[Any], tuple[object, ...]]] = {**algebra.PARAMETERS, **groups.PARAMETERS}


POLYNOMIAL = 3
"""What a polynomial over GF(2) costs in items, beside its number."""


class _Kind(IntEnum):
    MACHINE = 0  # array of numbers of the machine: type, shape, bytes
    SCALAR = 1  # one such number
    INTEGERS = 2  # array of objects that are integers: shape, width, bytes
    BINARY = 3  # array of objects that are polynomials over GF(2): the same
    OBJECTS = 4  # array of any objects: shape, list
    POLYNOMIAL = 5  # class, content; so are the next
    ELEMENT = 6
    FIELD_ARRAY = 7
    GROUP_ELEMENT = 8


class Values:
    """The extension; it remembers the classes that it has met."""

    def __init__(self) -> None:
        self._classes = _Classes()

    def pack(self, value: Any, /) -> tuple[int, object] | None:
        if np and type(value) is np.ndarray:
            return _pack_array(value)
        if np and isinstance(value, np.generic):
            return _Kind.SCALAR, arrays.pack_machine(np.asarray(value))
        of_array = isinstance(value, FiniteFieldArray)
        name = self._classes.digest(value.field if of_array else type(value))
        if name is None:
            return None
        if of_array:
            return _Kind.FIELD_ARRAY, (name, value.value)
        if isinstance(value, FiniteFieldElement):
            return _Kind.ELEMENT, (name, algebra.pack_element(value))
        if isinstance(value, Polynomial):
            return _Kind.POLYNOMIAL, (name, algebra.pack_polynomial(value))
        return _Kind.GROUP_ELEMENT, (name, groups.pack(value))

    def unpack(self, kind: int, content: Any, spend: Callable[[int], None], /) -> object:
        if np is None and kind <= _Kind.OBJECTS:
            raise Malformed("an array, where NumPy is not in use")
        try:
            if kind in (_Kind.MACHINE, _Kind.SCALAR):
                spend(arrays.weight(content))
                array = arrays.unpack_machine(content)
                return array if kind == _Kind.MACHINE else array[()]
            if kind in (_Kind.INTEGERS, _Kind.BINARY, _Kind.OBJECTS):
                return _unpack_objects(kind, content, spend)
            if type(content) is not tuple or len(content) != 2:
                raise Malformed("an element has a wrong form")
            return self._unpack_element(kind, *content)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
            # what NumPy's and MPyC's constructors raise for values that they refuse
            raise Malformed(f"an array or element was refused: {exc}"[:200]) from exc

    def _unpack_element(self, kind: int, name: object, content: Any) -> object:
        match kind:
            case _Kind.POLYNOMIAL:
                return algebra.unpack_polynomial(self._classes.find(name, Polynomial), content)
            case _Kind.ELEMENT:
                return algebra.unpack_element(self._classes.find(name, FiniteFieldElement), content)
            case _Kind.FIELD_ARRAY:
                return algebra.unpack_array(self._classes.find(name, FiniteFieldElement), content)
            case _Kind.GROUP_ELEMENT:
                return groups.unpack(self._classes.find(name, FiniteGroupElement), content)
        raise Malformed(f"a value has the unknown kind {kind}")


def _pack_array(array: Any) -> tuple[int, object]:
    if array.dtype != object:
        return _Kind.MACHINE, arrays.pack_machine(array)
    if array.size > MAX_ITEMS:
        raise Unsupported(
            f"the program sends an array of {array.size} items, {MAX_ITEMS} are allowed", hint="send it in parts"
        )
    flat = array.reshape(-1)
    items = flat.tolist()
    kinds = set(map(type, items))
    if kinds <= {int}:
        return _Kind.INTEGERS, (array.shape, *arrays.pack_integers(flat))
    if kinds == {BinaryPolynomial}:
        numbers = arrays.of_objects([item.value for item in items])
        return _Kind.BINARY, (array.shape, *arrays.pack_integers(numbers))
    return _Kind.OBJECTS, (array.shape, items)


def _unpack_objects(kind: int, content: Any, spend: Callable[[int], None]) -> Any:
    if kind == _Kind.OBJECTS:
        shape, items = arrays.fields(content, tuple, list)
        arrays.check_size(shape, len(items), 1)
        return arrays.of_objects(items).reshape(shape)
    shape, width, data = arrays.fields(content, tuple, int, bytes)
    count = arrays.check_size(shape, len(data), abs(width))
    spend(count * (arrays.cost(width) + (kind == _Kind.BINARY) * POLYNOMIAL))
    flat = arrays.unpack_integers(width, data)
    if kind == _Kind.BINARY:
        if width < 0:
            raise Malformed("a polynomial is no number in its range")
        flat = arrays.of_objects([BinaryPolynomial(item, check=False) for item in flat.tolist()])
    return flat.reshape(shape)


class _Classes:
    """The classes of elements that MPyC has made for this program, by digest."""

    def __init__(self) -> None:
        self._digests: dict[type, bytes] = {}
        self._classes: dict[bytes, type] = {}

    def digest(self, cls: type) -> bytes | None:
        """16 bytes that stand for a class; None for one that MPyC did not make."""
        known = self._digests.get(cls)
        if known is None and _derived(cls):
            base: Any = cls.__base__
            known = digest("class of elements", dumps((base.__name__, *_PARAMETERS[base](cls))))[:16]
            self._digests[cls] = known
            self._classes.setdefault(known, cls)
        return known

    def find(self, name: object, family: type) -> Any:
        """The class of a digest. Raises Malformed when the program has not made it, or it is of another family."""
        if type(name) is not bytes:
            raise Malformed("an element has no class")
        if name not in self._classes:
            for base in _PARAMETERS:
                for made in base.__subclasses__():
                    self.digest(made)
        cls = self._classes.get(name)
        if cls is None:
            raise Malformed(
                "an element of a field or group that this program has not made",
                hint="every party must make the same fields and groups before values are exchanged",
            )
        if not issubclass(cls, family):
            raise Malformed("an element has a class of another kind")
        return cls


def _derived(cls: type) -> bool:
    """Whether MPyC made this class by giving parameters to one of its own."""
    return cls.__base__ in _PARAMETERS and cls not in _PARAMETERS and cls.__module__.startswith("mpyc.")
