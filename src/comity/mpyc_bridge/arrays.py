"""NumPy arrays as plain data: of numbers of the machine, of Python's integers of any size, and of any objects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import repeat
from typing import Any

from mpyc.numpy import np

from comity.core.codec import Unsupported
from comity.core.encoding import Malformed
from comity.core.limits import ITEM

_MACHINE = frozenset(
    ("|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16")
)
_SIZES = (1, 2, 4, 8)
_WRAPS = np is not None and np.__version__.startswith("1.")  # NumPy 1 makes a large number of -1; NumPy 2 refuses


def pack_machine(array: Any) -> tuple[str, tuple[int, ...], bytes]:
    """Type, shape and items of an array of booleans, integers, floats or complex numbers."""
    dtype = array.dtype.newbyteorder("<")
    if dtype.str not in _MACHINE:
        raise Unsupported(f"the program sends NumPy's {array.dtype}, which cannot be carried")
    return dtype.str, array.shape, array.astype(dtype, copy=False).tobytes()


def unpack_machine(content: Any) -> Any:
    name, shape, data = fields(content, str, tuple, bytes)
    if name not in _MACHINE:
        raise Malformed("an array has an unknown type")
    dtype = np.dtype(name)
    check_size(shape, len(data), dtype.itemsize)
    if name == "|b1" and data.translate(None, b"\0\1"):
        raise Malformed("an array of booleans holds something else")
    return np.frombuffer(data, dtype).reshape(shape).copy()  # a copy can be written to


def pack_integers(flat: Any) -> tuple[int, bytes]:
    """Width and items of a flat array of Python's integers: bytes of each, little endian; below 0 when signed."""
    if not flat.size:
        return 1, b""
    if _WRAPS and flat.min() < 0:
        return _pack_wide(flat)
    try:
        items = flat.astype("<u8")
    except OverflowError:
        return _pack_wide(flat)
    top = int(items.max())
    size = next(size for size in _SIZES if top >> (8 * size) == 0)
    return size, items.astype(f"<u{size}", copy=False).tobytes()


def _pack_wide(flat: Any) -> tuple[int, bytes]:
    items = flat.tolist()
    low, high = min(items), max(items)
    if low >= 0:
        size = (high.bit_length() + 7) // 8
        return size, b"".join([item.to_bytes(size, "little") for item in items])
    bits = max(high.bit_length(), (-low - 1).bit_length()) + 1
    if bits <= 64:
        size = next(size for size in _SIZES if bits <= 8 * size)
        return -size, flat.astype(f"<i{size}").tobytes()
    size = (bits + 7) // 8
    return -size, b"".join([item.to_bytes(size, "little", signed=True) for item in items])


def unpack_integers(width: int, data: bytes) -> Any:
    """The flat array, of dtype object."""
    size = abs(width)
    if not size or len(data) % size:
        raise Malformed("an array of integers has a wrong size")
    if size in _SIZES:
        return np.frombuffer(data, f"<{'u' if width > 0 else 'i'}{size}").astype(object)
    if width < 0:
        starts = range(0, len(data), size)
        items = [int.from_bytes(data[at : at + size], "little", signed=True) for at in starts]
    else:  # strings of NumPy lose zero bytes at their end, which here are the high ones
        chunks = np.frombuffer(data, f"S{size}").tolist()
        items = list(map(int.from_bytes, chunks, repeat("little")))  # type: ignore[arg-type]  # passed by position
    return of_objects(items)


def cost(width: int) -> int:
    """What an integer of an array costs in items while it is made: wide ones are there as bytes, too, and in lists."""
    return 1 if abs(width) in _SIZES else 2 + abs(width) // 20


def weight(content: Any) -> int:
    """What the copy of an array of the machine's numbers costs in items; its bytes themselves have been counted."""
    return len(fields(content, str, tuple, bytes)[2]) // ITEM


def of_objects(items: Sequence[object]) -> Any:
    """The flat array of these, also of sequences: NumPy looks no deeper than the array it assigns to."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def fields(content: Any, *kinds: type) -> Any:
    """The members of a tuple of these types exactly."""
    if type(content) is not tuple or tuple(map(type, content)) != kinds:
        raise Malformed("a value has a wrong form")
    return content


def check_size(shape: tuple[Any, ...], size: int, itemsize: int) -> int:
    """The number of items of an array that takes `size` bytes."""
    if len(shape) > 32 or any(type(length) is not int or not 0 <= length < 2**40 for length in shape):
        raise Malformed("an array has a wrong shape")
    count: int = math.prod(shape)
    if count * itemsize != size:
        raise Malformed("an array has a wrong size")
    return count
