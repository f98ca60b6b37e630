"""MPyC's polynomials and field elements as plain data.

They are made by MPyC's constructors, which check them; what those would take long over is refused before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mpyc.finfields import BinaryFieldElement, ExtensionFieldElement, PrimeFieldElement
from mpyc.gfpx import BinaryPolynomial, Polynomial

from comity.core.encoding import Malformed

PARAMETERS: dict[type, Callable[[Any], tuple[object, ...]]] = {
    PrimeFieldElement: lambda c: (c.modulus, c.nth, c.root),
    ExtensionFieldElement: lambda c: (c.characteristic, int(c.modulus)),
    BinaryFieldElement: lambda c: (int(c.modulus),),
    Polynomial: lambda c: (c.p,),
}
"""The classes that MPyC derives others from, and what tells two derived ones apart."""


def pack_polynomial(value: Any) -> int | list[int]:
    """Over GF(2) an integer, whose bits are the coefficients; else the list of coefficients."""
    return value.value if isinstance(value, BinaryPolynomial) else list(value.value)


def unpack_polynomial(ring: Any, content: Any, size: int | None = None) -> Any:
    """A polynomial of at most `size` coefficients."""
    if ring is BinaryPolynomial:
        if type(content) is not int or content < 0 or (size is not None and content.bit_length() > size):
            raise Malformed("a polynomial is no number in its range")
    elif type(content) is not list or (size is not None and len(content) > size):
        raise Malformed("a polynomial has no list of coefficients in its range")
    elif any(type(item) is not int for item in content):
        raise Malformed("a polynomial has a coefficient that is no integer")
    return ring(content)


def pack_element(value: Any) -> int | list[int]:
    return value.value if isinstance(value, PrimeFieldElement) else pack_polynomial(value.value)


def unpack_element(field: Any, content: Any) -> Any:
    if issubclass(field, ExtensionFieldElement):
        return field(unpack_polynomial(type(field.modulus), content, field.ext_deg))
    if type(content) is not int or not 0 <= content < field.modulus:
        raise Malformed("a field element is no number in its range")
    return field(content)


def unpack_array(field: Any, content: Any) -> Any:
    """An array over a field, from an array of integers, or of polynomials of an extension field's ring."""
    items = content.reshape(-1).tolist()
    ring = type(field.modulus)
    if any(type(item) is not int and (type(item) is not ring or item.degree() >= field.ext_deg) for item in items):
        raise Malformed("an array over a field has an item that is none of its elements")
    return field.array(content)  # reduces
