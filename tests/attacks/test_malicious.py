"""A verified party that misbehaves, in real sessions: the quick part of tests/attacks/malicious.

All of it: `python -m tests.attacks.malicious`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.attacks.malicious.behaviours import TABLE
from tests.attacks.malicious.running import rendezvous, run

pytestmark = [pytest.mark.session, pytest.mark.timeout(60)]

QUICK = [
    "preface: 150 without a proof, held open",
    "2 001 signals",
    "noise at carol alone",
    "closes a spare control channel once the link stands",
    "TLS: every byte in a record of its own",
    "TLS: 20 key updates that ask for one",
    "hello: another session",
    "frame: each begins with all that was said before",
    "frame: goodbye in the other's name",
    "control: pings without end, whose answers she does not read",
    "message: as much as is allowed at once",
    "message: never reads, and is sent a lot",
    "message: stops after the values",
    "share: empty",
    "share of a result: two of them",
    "shares in an array: of texts",
]


@pytest.mark.parametrize("name", QUICK)
async def test_it_ends_as_the_table_says(tmp_path: Path, name: str) -> None:
    (behaviour,) = (behaviour for behaviour in TABLE if behaviour.name == name)
    async with rendezvous() as address:
        result = await run(behaviour, tmp_path, address)
    assert not result.wrong, result


def test_no_behaviour_stands_in_the_table_twice() -> None:
    names = [behaviour.name for behaviour in TABLE]
    assert len(names) == len(set(names))
