"""What a ceremony tells its node to do, in order."""

from __future__ import annotations

from dataclasses import dataclass

from comity.core.manifest import Session
from comity.core.messages import Open


@dataclass(frozen=True)
class Post:
    """Append this to the log."""

    body: bytes


@dataclass(frozen=True)
class Opened:
    """A joiner knows what is to run: call `choose`."""

    open: Open


@dataclass(frozen=True)
class Joined:
    name: str


@dataclass(frozen=True)
class Left:
    name: str
    reason: str


@dataclass(frozen=True)
class Refused:
    """Somebody's HELLO does not count: `name` is that of `holder`, or looks like it. If it is mine: call `rename`."""

    name: str
    holder: str
    mine: bool


@dataclass(frozen=True)
class Frozen:
    """The roster stands: my number among `names`, and 32 bytes that all share from here on (not secret)."""

    number: int
    names: tuple[str, ...]
    shared: bytes


@dataclass(frozen=True)
class Compare:
    """Show the words; if `ask`, the person compares with everyone in `people` and the result goes to `answer`.

    `own`: the word that only we see; `theirs`: those that only the people see, which are not to be shown.
    """

    words: tuple[str, ...]
    people: tuple[str, ...]
    ask: bool
    own: str
    theirs: tuple[str, ...]


@dataclass(frozen=True)
class Confirmed:
    name: str


@dataclass(frozen=True)
class Finished:
    session: Session
    number: int


Command = Post | Opened | Joined | Left | Refused | Frozen | Compare | Confirmed | Finished
