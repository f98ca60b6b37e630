import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.encoding import Malformed
from comity.core.record import MAX_LINE, PHASES, PeerRecord, Record, StallRecord, parse, session_name


def record() -> Record:
    made = Record(1, 3, 1, session_name(b"T" * 32), "direct", "sum", "ab" * 32)
    made.peers = [PeerRecord(0, "direct", 1.5, 10, 20, 1, 2), PeerRecord(2)]
    made.stalls = [StallRecord(2, "message", 14.0), StallRecord(0, "path", 2.5)]
    for i, phase in enumerate(PHASES):
        made.passed(phase, i / 3)
    return made


def test_a_record_is_one_line_and_comes_back() -> None:
    line = record().line()
    assert line.count("\n") == 1 and line.endswith("\n")
    assert parse(line) == record()
    assert list(json.loads(line)["phases"]) == list(PHASES)
    assert json.loads(line)["phases"]["joined"] == 0.6667


def test_a_line_from_before_there_were_stalls_is_read() -> None:
    value = json.loads(record().line())
    del value["stalls"]
    assert parse(json.dumps(value)).stalls == []


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
        record().line().replace('"party":1', '"party":"1"', 1),
        record().line().replace('"party":1', '"party":true', 1),
        record().line().replace('"outcome":"error"', '"outcome":null'),
        record().line().replace('"versions":{}', '"versions":{"mpyc":11}'),
        record().line().replace('"versions":{}', '"versions":[]'),
        record().line().replace('"joined":0.6667', '"joined":"soon"'),
        record().line().replace('"peers":[', '"peers":{"0":[').replace('],"stalls"', ']},"stalls"'),
        record().line().replace('"why":"path"', '"way":"path"'),
        "[" * 100_000,
        " " * (MAX_LINE + 1),
    ],
)
def test_what_is_no_record_is_refused(line: str) -> None:
    with pytest.raises(Malformed):
        parse(line)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_record_with_a_number_that_json_does_not_have_is_refused(number: str) -> None:
    """One was read, and could not be written again."""
    with pytest.raises(Malformed):
        parse(record().line().replace('"cpu_seconds":0.0', f'"cpu_seconds":{number}'))


def test_whole_numbers_will_do_for_seconds_and_an_older_line_may_lack_a_field() -> None:
    line = record().line().replace('"cpu_seconds":0.0', '"cpu_seconds":3').replace('"resumptions":0,', "")
    assert parse(line).cpu_seconds == 3 and parse(line).resumptions == 0


@given(st.text(max_size=200))
def test_no_text_makes_reading_fail_otherwise(text: str) -> None:
    with pytest.raises(Malformed):
        parse(text)
