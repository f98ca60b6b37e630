"""A script of faults: what goes wrong in a lab, and when. One fault a line, words as a shell takes them apart.

    WHEN                     ACTION
    2.5                      cut alice                          seconds after the command has started
    alice/Running            cut alice                          when alice's output has a line with this text
    alice/Running +2         heal alice                         two seconds after that
    10                       move alice south                   her site is in another region from now
    10                       move alice cafe                    she is in another site, with an address there
    11                       line alice delay=100 loss=0.05     her line: ms each way, share, jitter=ms, rate=bit/s
    12                       path north south delay=40 jitter=3 the way between two regions, in place of what it was
    13                       part alice,bob carol               no packet between these groups; without any: all heals
    14                       reset alice                        her routers forget all connections and mappings
    15                       kill alice                         SIGKILL to the command there; stop, go: SIGSTOP, SIGCONT
    16                       restart meet                       the same, and then the same command again
    # a remark

cut, heal and line are of a site's outermost router, so of everybody in it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from comity.core.topology import Topology
from comity.errors import UsageError

MOST_FAULTS = 10_000
MOST_SECONDS = 1e6
ACTIONS = ("cut", "heal", "move", "line", "path", "part", "reset", "kill", "stop", "go", "restart")
LIMITS = {"delay": 60_000.0, "jitter": 60_000.0, "loss": 1.0, "rate": 1e12}
"""What line and path take: ms, ms, a share, bit/s."""
_SECONDS = re.compile(r"\+?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True)
class Fault:
    line: int
    seconds: float
    host: str  # whose output is waited for; empty: nobody's
    text: str  # in a line of it
    action: str
    names: tuple[tuple[str, ...], ...]  # hosts, regions, sites; groups of hosts for part
    values: tuple[tuple[str, float], ...] = ()  # of line and path

    def __str__(self) -> str:
        words = [",".join(group) for group in self.names] + [f"{key}={value:g}" for key, value in self.values]
        return " ".join((self.action, *words))


def parse(text: str, name: str, topology: Topology) -> tuple[Fault, ...]:
    """In the file's order. `name`: what the file is called. Raises UsageError that says which line is wrong."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        reader = _Line(name, number, topology)
        words = reader.split(line)
        if words:
            found.append(reader.read(words))
        if len(found) > MOST_FAULTS:
            reader.fail(f"more than {MOST_FAULTS} faults")
    return tuple(found)


class _Line:
    def __init__(self, name: str, number: int, topology: Topology) -> None:
        self._name, self._number, self._topology = name, number, topology
        self._hosts = tuple(host.name for host in topology.hosts)

    def fail(self, why: str) -> NoReturn:
        raise UsageError(f"{self._name}, line {self._number}: {why}")

    def split(self, line: str) -> list[str]:
        try:
            return shlex.split(line, comments=True)
        except ValueError as exc:
            self.fail(str(exc).lower())

    def read(self, words: list[str]) -> Fault:
        when, *rest = words
        host, slash, text = when.partition("/")
        seconds = 0.0
        if slash:
            self._check(host, self._hosts, "host")
            if rest and rest[0].startswith("+"):
                seconds = self._seconds(rest.pop(0))
        else:
            host, seconds = "", self._seconds(when)
        if not rest or rest[0] not in ACTIONS:
            self.fail(f"{rest[0]!r} is none of {', '.join(ACTIONS)}" if rest else "there is no action")
        action, *arguments = rest
        return Fault(self._number, seconds, host, text, action, *self._arguments(action, arguments))

    def _seconds(self, word: str) -> float:
        if not _SECONDS.fullmatch(word) or float(word) > MOST_SECONDS:
            self.fail(f"{word!r} is neither a number of seconds nor HOST/TEXT")
        return float(word)

    def _check(self, name: str, there: Sequence[str], what: str) -> None:
        if name not in there:
            self.fail(f"{name!r} is no {what}: there are {', '.join(there[:40])}")

    def _arguments(
        self, action: str, words: list[str]
    ) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, float], ...]]:
        if action == "part":
            return self._groups(words), ()
        plain = [word for word in words if "=" not in word]
        values = tuple(self._value(word) for word in words if "=" in word)
        regions = self._topology.regions
        places = (*regions, *(site.name for site in self._topology.sites))
        wanted = {"move": (self._hosts, places), "path": (regions, regions)}.get(action, (self._hosts,))
        if len(plain) != len(wanted):
            self.fail(f"{action} takes {'two names' if len(wanted) == 2 else 'one name'}, not {len(plain)}")
        for word, there in zip(plain, wanted, strict=True):
            self._check(word, there, {self._hosts: "host", regions: "region"}.get(there, "region or site"))
            if there is places and places.count(word) > 1:
                self.fail(f"{word!r} is a region and a site")
        if values and action not in ("line", "path"):
            self.fail(f"{action} takes no {values[0][0]}")
        if len({key for key, _ in values}) < len(values):
            self.fail("something is said twice")
        return tuple((word,) for word in plain), values

    def _groups(self, words: list[str]) -> tuple[tuple[str, ...], ...]:
        groups = tuple(tuple(word.split(",")) for word in words)
        every = [name for group in groups for name in group]
        for name in every:
            self._check(name, self._hosts, "host")
        if len(groups) == 1 or len(set(every)) < len(every):
            self.fail("part takes several groups, each host in one of them, or none at all")
        return groups

    def _value(self, word: str) -> tuple[str, float]:
        key, _, text = word.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if key not in LIMITS or not 0 <= value <= LIMITS[key]:
            self.fail(f"{word!r} is none of {', '.join(f'{k}=0..{most:g}' for k, most in LIMITS.items())}")
        return key, value
