"""Every decoder on the kept inputs; and, where atheris is, on fresh ones: as many as each target says."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import fuzzing.targets  # noqa: F401  # fills TARGETS
import pytest
from fuzzing.target import TARGETS, Target
from tests.docs.pages import ROOT

from comity.core import codec, sealing
from fuzzing import corpus

SEED = 7


def run(script: str, *arguments: object) -> tuple[int, str]:
    """A worker in a process of its own, that dies with this test; its exit code, and all that it says."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: it has packages for Linux on x86-64 only, and ./check installs them")
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return process.returncode, said.decode(errors="replace")


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_kept_is_read_or_properly_refused(name: str) -> None:
    for data in corpus.everything(TARGETS[name]):
        TARGETS[name].check(data)


@pytest.mark.timeout(180)
def test_fresh_inputs_are_read_or_properly_refused(tmp_path: Path) -> None:
    code, said = run(
        "import sys; from fuzzing import worker; sys.exit(worker.main())",
        tmp_path, *TARGETS, "--fresh", "--seed", SEED, "--crashes", tmp_path / "crashes",
    )  # fmt: skip
    assert code == 0, said[-4000:]
    for name, target in TARGETS.items():
        count = int.from_bytes((tmp_path / f"{name}.count").read_bytes(), sys.byteorder)
        assert count >= target.fresh, name


PLANTED = """
import sys
from fuzzing import worker
from fuzzing.target import Target

def wrong(data):
    assert len(data) < 6

def large(data):
    bytearray(1 << 31)

def slow(data):
    while data:
        pass

checks = (wrong, large, slow, len)
sys.exit(worker.main([Target(check.__name__, "", check, lambda: [b"a seed"], 8, 1, 50) for check in checks]))
"""


@pytest.mark.timeout(180)
def test_what_fails_or_takes_too_much_is_found_and_its_input_kept(tmp_path: Path) -> None:
    code, said = run(PLANTED, tmp_path, "--fresh", "--crashes", tmp_path / "crashes")
    assert code == 3, said[-2000:]
    assert all(found in said for found in ("AssertionError", "MemoryError", "TooSlow"))
    kept = sorted(path.name.partition("-crash-")[0] for path in (tmp_path / "crashes").iterdir())
    assert kept == ["large", "slow", "wrong"]


def test_few_and_short_inputs_are_kept_that_reach_what_the_seeds_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(data: bytes) -> None:
        if data[:1] == b"a":
            codec.dumps(data[:1])
        elif data[:1] == b"b":
            sealing.room_name(bytes(16))

    monkeypatch.setattr(corpus, "FOLDER", tmp_path)
    target = Target("some", "", check, lambda: [b"c"], 8, 1, 1)
    found = [b"a longer one", b"again", b"aN", b"b", b"be", b"cd"]
    assert corpus.keep(target, found) == 2 and corpus.kept(target) == [b"aN", b"b"]
    assert corpus.everything(target) == [b"c", b"aN", b"b"]
    corpus.unpack(corpus.everything(target), tmp_path / "some")
    assert sorted(path.read_bytes() for path in (tmp_path / "some").iterdir()) == [b"aN", b"b", b"c"]


@pytest.mark.timeout(180)
def test_a_run_counts_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    script = "import sys; from fuzzing.__main__ import main; sys.exit(main())"
    counts = []
    for seconds in (2, 4):
        code, said = run(script, seconds, "--resume", "--target", "a_folder", "--work", tmp_path)
        assert code == 0, said
        found = re.search(r"^a_folder +([\d,]+) .* 0$", said, re.MULTILINE)
        assert found is not None, said
        counts.append(int(found[1].replace(",", "")))
        assert json.loads((tmp_path / "run.json").read_text())["a_folder"]["executions"] == counts[-1]
    assert 0 < counts[0] < counts[1]


def test_the_page_names_every_target() -> None:
    rows = re.findall(r"^\| (\w+) \| (.*) \|$", (ROOT / "fuzzing/README.md").read_text(), re.MULTILINE)
    assert rows[1:] == [(target.name, target.about) for target in TARGETS.values()]


def test_corpora_are_small_and_their_inputs_no_longer_than_allowed() -> None:
    assert sum(path.stat().st_size for path in corpus.FOLDER.glob("*")) < 1 << 20
    assert {path.stem for path in corpus.FOLDER.glob("*")} <= set(TARGETS)
    for target in TARGETS.values():
        assert all(len(data) <= target.size for data in corpus.kept(target)), target.name
