"""docs/hostile-behaviours.md is a whole run of the table as it is now, and all in it is as it must be."""

import re

from tests.attacks.malicious.behaviours import TABLE
from tests.attacks.malicious.table import SOON, Ends, Waits
from tests.docs.pages import page, tables

from comity.core.limits import MAX_PEER

TEXT = page("docs/hostile-behaviours.md")
ROWS = [row for table in tables(TEXT) for row in table]
BASE = 64
"""MiB of a process that nobody attacks, at most."""


def test_every_behaviour_has_been_recorded() -> None:
    assert [name for name, *_ in ROWS] == [behaviour.name for behaviour in TABLE]
    assert len(ROWS) >= 100 and f"**{len(ROWS)} behaviours**, 0 of them not as they must be" in TEXT


def test_every_run_ended_as_it_must() -> None:
    for behaviour, (name, alice, carol, seconds, *_) in zip(TABLE, ROWS, strict=True):
        codes = {int(alice.split()[0]), int(carol.split()[0])}
        if isinstance(behaviour.ends, Ends):
            assert behaviour.ends.code in codes <= {3, 4, 5} and "mallory" in alice and "mallory" in carol, name
            assert float(seconds) <= SOON, name
        else:
            assert codes == ({130} if isinstance(behaviour.ends, Waits) else {0}), name


def test_memory_stays_under_what_is_stated() -> None:
    nodes, programs = ([int(row[column]) for row in ROWS] for column in (4, 5))
    assert max(programs) < BASE + (MAX_PEER >> 20) and max(nodes) < 2 * BASE
    assert re.search(rf"at most {max(nodes)} MiB", TEXT) and re.search(rf"\b{max(programs)} MiB", TEXT)
