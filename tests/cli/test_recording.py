"""A run's record is not lost, and what stood in its file before stays."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from comity.cli.recording import recording
from comity.cli.talk import Talk
from comity.core.record import Record, parse
from comity.errors import PeerError, UsageError


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def talk(said: io.StringIO) -> Talk:
    return Talk(as_json=True, stream=said)


def test_a_record_is_appended_to_what_stands_there(tmp_path: Path, talk: Talk) -> None:
    file = tmp_path / "records"
    file.write_text("before\n")
    with recording(file, Record(1, 3, 1), talk):
        assert file.read_text() == "before\n"
    first, line = file.read_text().splitlines(keepends=True)
    done = parse(line)
    assert first == "before\n" and (done.outcome, done.exit, done.party) == ("done", 0, 1)
    assert done.cpu_seconds > 0 and done.node_memory > 1_000_000 and "cryptography" in done.versions


@pytest.mark.parametrize(
    ("problem", "error", "code"),
    [(PeerError("bob left"), "peer", 4), (KeyboardInterrupt(), "interrupted", 130), (ValueError("!"), "bug", 1)],
)
def test_a_run_that_failed_is_recorded_too(
    tmp_path: Path, talk: Talk, problem: BaseException, error: str, code: int
) -> None:
    with pytest.raises(type(problem)), recording(tmp_path / "records", Record(0, 3, 1), talk):
        raise problem
    failed = parse((tmp_path / "records").read_text())
    assert (failed.outcome, failed.error, failed.exit) == ("error", error, code)


@pytest.mark.parametrize("where", [".", "no folder/records", "pipe"])
def test_a_file_that_cannot_be_written_is_known_before_the_run(tmp_path: Path, talk: Talk, where: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    told = pytest.raises(UsageError, match=f"the record cannot be written to {tmp_path}")
    with told as caught, recording(tmp_path / where, Record(0, 3, 1), talk):
        raise AssertionError
    assert caught.value.hints == ("name another file: --record FILE",)


def test_a_disk_that_is_full_at_the_end_is_said_after_what_ended_the_run(said: io.StringIO, talk: Talk) -> None:
    full = Path("/dev/full")
    told = pytest.raises(UsageError, match="cannot be written to /dev/full: no space left")
    with told, recording(full, Record(0, 3, 1), talk):
        pass
    assert said.getvalue() == ""
    with pytest.raises(PeerError, match="bob left"), recording(full, Record(0, 3, 1), talk):
        raise PeerError("bob left")
    assert json.loads(said.getvalue())["text"] == "the record cannot be written to /dev/full: no space left on device"


def test_no_record_costs_nothing(tmp_path: Path, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("comity.cli.recording.versions")
    record = Record(0, 3, 1)
    with recording(None, record, talk):
        pass
    assert record == Record(0, 3, 1)
