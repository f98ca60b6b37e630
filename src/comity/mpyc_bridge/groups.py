"""Elements of MPyC's finite groups as plain data: integers, or lists of coordinates.

They are made by MPyC's constructors, which check that an element belongs to its group.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mpyc import fingroups
from mpyc.fingroups import ClassGroupForm, QuadraticResidue, SchnorrGroupElement, SymmetricGroupElement

from comity.core.encoding import Malformed
from comity.mpyc_bridge.algebra import pack_element, pack_polynomial, unpack_element, unpack_polynomial


def _named(*names: str) -> tuple[Any, ...]:
    """Classes of mpyc.fingroups; hyperelliptic curves came with MPyC 0.11."""
    return tuple(getattr(fingroups, name) for name in names if hasattr(fingroups, name))


_RESIDUES = (QuadraticResidue, SchnorrGroupElement)
_EDWARDS = _named("EdwardsAffine", "EdwardsProjective", "EdwardsExtended")
_WEIERSTRASS = _named("WeierstrassAffine", "WeierstrassProjective", "WeierstrassJacobian")
_CURVES = (*_EDWARDS, *_WEIERSTRASS)
_EXTENDED_DIVISORS = _named("HCDivisorCL")  # six coordinates for a pair of polynomials
_DIVISORS = (*_named("HyperellipticCurveDivisor"), *_EXTENDED_DIVISORS)

PARAMETERS: dict[type, Callable[[Any], tuple[object, ...]]] = {
    SymmetricGroupElement: lambda c: (c.degree,),
    QuadraticResidue: lambda c: (c.field.modulus,),
    SchnorrGroupElement: lambda c: (c.field.modulus, c.order, c.generator.value.value),
    **dict.fromkeys(_CURVES, lambda c: (c.curvename,)),
    **dict.fromkeys(_DIVISORS, lambda c: (c.curvename, c.field.modulus, c.genus)),
    ClassGroupForm: lambda c: (c.discriminant,),
}
"""The classes that MPyC derives others from, and what tells two derived ones apart."""


def pack(value: Any) -> object:
    kind = type(value)
    if issubclass(kind, _RESIDUES):
        return pack_element(value.value)
    if issubclass(kind, (*_CURVES, *_EXTENDED_DIVISORS)):
        return [pack_element(item) for item in value.value]
    if issubclass(kind, _DIVISORS):
        return [pack_polynomial(item) for item in value.value]
    return list(value.value)  # a permutation, or a form of a class group


def unpack(group: Any, content: Any) -> Any:
    if issubclass(group, _RESIDUES):
        return group(unpack_element(group.field, content))
    if type(content) is not list:
        raise Malformed("a group element has no list of coordinates")
    if issubclass(group, _CURVES):
        return _point(group, content)
    if issubclass(group, _DIVISORS):
        return _divisor(group, content)
    if any(type(item) is not int for item in content):
        raise Malformed("a group element has a coordinate that is no integer")
    if issubclass(group, ClassGroupForm):
        return _form(group, content)
    return group(content)


def _point(group: Any, content: list[Any]) -> Any:
    # the neutral point in affine Weierstrass coordinates has none
    if len(content) != (len(group.identity.value) or (2 if content else 0)):
        raise Malformed("a point has a wrong number of coordinates")
    return group([unpack_element(group.field, item) for item in content])


def _divisor(group: Any, content: list[Any]) -> Any:
    if len(content) != len(group.identity.value):
        raise Malformed("a divisor has a wrong number of coordinates")
    if not issubclass(group, _EXTENDED_DIVISORS):
        ring = type(group.f)
        u, v = unpack_polynomial(ring, content[0], group.genus + 1), unpack_polynomial(ring, content[1], group.genus)
        return group((u, v))
    value = tuple(unpack_element(group.field, item) for item in content)
    made = group(value, check=False)  # its own check fails on every value (MPyC 0.11)
    if value[0] ** 2 != value[4] or value[0] * value[1] != value[5] or (group.f - made.v**2) % made.u:
        raise Malformed("a divisor does not belong to its curve")
    return made


def _form(group: Any, content: list[int]) -> Any:
    if len(content) != 3 or any(item.bit_length() > group.bit_length for item in content):
        raise Malformed("a form has wrong coefficients")
    return group(content)
