"""docs/hostile-behaviours.md, from the results of a whole run."""

from __future__ import annotations

import textwrap
from itertools import groupby

from tests.attacks.malicious.running import GIVE_UP, Honest, Result
from tests.attacks.malicious.table import SOON, Ends, Waits

from comity.core.limits import MAX_PEER

SHOWN = 110
"""Characters of a message."""


def page(results: list[Result]) -> str:
    layers = [(layer, list(group)) for layer, group in groupby(results, lambda result: result.behaviour.layer)]
    return _head(results) + "".join(map(_section, *zip(*layers, strict=True)))


def _head(results: list[Result]) -> str:
    largest = max(results, key=lambda result: result.program)
    node = max(results, key=lambda result: result.node)
    nothing = results[0]
    ending = [result for result in results if isinstance(result.behaviour.ends, Ends)]
    slowest = max(ending, key=lambda result: result.seconds)
    waiting = sum(isinstance(result.behaviour.ends, Waits) for result in results)
    wrong = sum(bool(result.wrong) for result in results)
    parts = f"""# Hostile behaviours
What a verified party can do to the others, tried in real sessions and measured. Made by `python -m
tests.attacks.malicious --write docs/hostile-behaviours.md`; the table is `tests/attacks/malicious`, a part of it runs
with every check. How it is meant: [threat-model.md](threat-model.md), A35 to A46.
<>
alice and carol are `comity` commands in processes of their own. mallory is party 1 of three, in the ceremony as
everybody else and verified by all; from then on she does what the row says. alice is TLS client towards her, carol TLS
server. They look for a path for {GIVE_UP} s where there is none.
<>
- **{len(results)} behaviours**, {wrong} of them not as they must be.
<>
- {len(ending)} end the run, within {SOON:g} s: exit code and message of alice and of carol. Each names her, and who saw
what she did says what it was. Seconds are those from the standing session to the end, starting the programs included.
The slowest: {slowest.behaviour.name}, {slowest.seconds:.1f} s.
<>
- {waiting} look like a party that takes long. The run goes on, and both say on stderr and in the record that they wait
for her; the runs here were interrupted then (130).
<>
- All others do no harm: both compute on (0).
<>
- **Memory**: a node had at most {_mib(node.node)} MiB ({node.behaviour.name}), a program's process at most
{_mib(largest.program)} MiB ({largest.behaviour.name}); {_mib(nothing.node)} and {_mib(nothing.program)} MiB when she
does nothing wrong. What one peer can make a program's process hold is limited to {_mib(MAX_PEER)} MiB beside its own
(`MAX_PEER`, [known-weaknesses.md](known-weaknesses.md), W22). The columns hold the peaks of the larger of both parties
(VmHWM), in MiB.
""".replace("behaviours\n", "behaviours\n<>\n", 1).split("<>\n")
    text = "\n\n".join(_wrapped(part) for part in parts)
    return text.replace("\n\n- ", "\n- ").replace("\n- ", "\n\n- ", 1) + "\n"


def _wrapped(part: str) -> str:
    inner = "  " if part.startswith("- ") else ""
    return textwrap.fill(part, 120, subsequent_indent=inner, break_long_words=False, break_on_hyphens=False)


def _section(layer: str, results: list[Result]) -> str:
    lines = [f"\n## {layer}\n", "| behaviour | alice | carol | seconds | node | program |", "|---|---|---|---|---|---|"]
    for result in results:
        alice, carol = map(_end, result.parties)
        name = result.behaviour.name + (f" **wrong: {_plain(result.wrong)}**" if result.wrong else "")
        sizes = f"{_mib(result.node)} | {_mib(result.program)}"
        lines.append(f"| {name} | {alice} | {carol} | {result.seconds:.1f} | {sizes} |")
    return "\n".join(lines) + "\n"


def _end(party: Honest) -> str:
    return f"{party.code} {_plain(party.message)}".strip()


def _plain(text: str) -> str:
    shown = text if len(text) <= SHOWN else text[:SHOWN] + "…"
    return shown.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("<", "\\<")


def _mib(size: int) -> int:
    return round(size / (1 << 20))
