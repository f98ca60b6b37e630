import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.encoding import Malformed
from comity.core.record import MAX_LINE, PHASES, PeerRecord, Record, parse, session_name


def record() -> Record:
    made = Record(1, 3, 1, session_name(b"T" * 32), "direct", "sum", "ab" * 32)
    made.peers = [PeerRecord(0, "direct", 1.5, 10, 20, 1, 2), PeerRecord(2)]
    for i, phase in enumerate(PHASES):
        made.passed(phase, i / 3)
    return made


def test_a_record_is_one_line_and_comes_back() -> None:
    line = record().line()
    assert line.count("\n") == 1 and line.endswith("\n")
    assert parse(line) == record()
    assert list(json.loads(line)["phases"]) == list(PHASES)
    assert json.loads(line)["phases"]["joined"] == 0.6667


def test_the_parties_of_a_session_share_its_name_and_others_do_not() -> None:
    assert session_name(b"T" * 32) == session_name(b"T" * 32) != session_name(b"U" * 32)
    assert "54" * 8 not in session_name(b"T" * 32)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"version":1}',
        '{"version":2}',
        record().line().replace('"version":1', '"version":9'),
        record().line().replace('"party":1', '"party":1,"more":2', 1),
        record().line().replace('"peers":[', '"peers":[3,'),
        "[" * 100_000,
        " " * (MAX_LINE + 1),
    ],
)
def test_what_is_no_record_is_refused(line: str) -> None:
    with pytest.raises(Malformed):
        parse(line)


@given(st.text(max_size=200))
def test_no_text_makes_reading_fail_otherwise(text: str) -> None:
    with pytest.raises(Malformed):
        parse(text)
