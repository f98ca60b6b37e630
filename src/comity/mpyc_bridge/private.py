"""Private arguments: holes in a program's argument list, which each party fills for itself.

What fills them is seen by the program alone. Whoever else must see a list of arguments, MPyC's own parser and `ps`
among them, sees marks in their places.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from comity.core.limits import MAX_ARGUMENTS, MAX_PRIVATE
from comity.core.program import Argument
from comity.errors import UsageError

_MARK = "\x1aprivate "
"""Not printable, as every public argument is; and no option."""


def placed(arguments: tuple[Argument, ...]) -> tuple[str, ...]:
    """The list with marks for holes."""
    return tuple(_MARK + str(i) if argument is None else argument for i, argument in enumerate(arguments, 1))


def unplaced(arguments: tuple[str, ...]) -> tuple[Argument, ...]:
    """The list with holes for marks."""
    return tuple(None if argument.startswith(_MARK) else argument for argument in arguments)


def marks(arguments: tuple[Argument, ...]) -> dict[int, str]:
    """The mark of each hole, by its place from 1."""
    return {i: mark for i, (a, mark) in enumerate(zip(arguments, placed(arguments), strict=True), 1) if a is None}


def with_holes(arguments: tuple[str, ...], private: Iterable[int]) -> tuple[Argument, ...]:
    """All arguments in order: holes at these places, from 1, and public ones at the rest. Raises UsageError."""
    holes = frozenset(private)
    public, total = iter(arguments), len(arguments) + len(holes)
    if total > MAX_ARGUMENTS:
        raise UsageError(f"the program has {total} arguments, {MAX_ARGUMENTS} are allowed", hint="put them into a file")
    for place in holes:
        if not 1 <= place <= total:
            raise UsageError(
                f"argument {place} cannot be private: with it there are {total}",
                hint="count the program's arguments from 1, private ones too",
            )
    return tuple(None if place in holes else next(public) for place in range(1, total + 1))


def check_private(private: Mapping[int, str]) -> tuple[str, ...]:
    """The values in the order of their places. Raises UsageError for too much, and does not show it."""
    if sum(map(len, private.values())) > MAX_PRIVATE:
        raise UsageError("the private arguments are too long", hint=f"at most {MAX_PRIVATE} characters together")
    return tuple(private[place] for place in sorted(private))
