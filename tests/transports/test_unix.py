import asyncio
import fcntl
import os
import sys
import tempfile
from pathlib import Path

import pytest
from tests.contracts.parties import Exchange, session

from comity.errors import PeerError, UnreachableError
from comity.interfaces import Settings
from comity.transports.unix import Unix, _read

AGREED = session(2)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


async def test_nobody_else_can_enter_the_folder_and_it_goes_with_the_session(folder: Path) -> None:
    async with Unix(Settings()).connect(AGREED, 0, Exchange(2).signals(0), lambda _: None):
        (made,) = folder.iterdir()
        assert made.stat().st_mode & 0o777 == 0o700 and [p.name for p in made.iterdir()] == ["socket"]
    assert list(folder.iterdir()) == []


async def test_what_a_killed_process_left_is_removed_and_what_lives_is_not(folder: Path) -> None:
    script = """
import asyncio, tempfile, sys, os, signal
tempfile.tempdir = sys.argv[1]
from comity.interfaces import Settings
from comity.transports.unix import Unix
from tests.contracts.parties import Exchange, session
async def main():
    async with Unix(Settings()).connect(session(2), 0, Exchange(2).signals(0), print):
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(folder), cwd=Path(__file__).parents[2]
    )
    assert await killed.wait() == -9
    (left,) = folder.iterdir()
    (folder / "another").mkdir()
    async with Unix(Settings()).connect(AGREED, 0, Exchange(2).signals(0), lambda _: None):
        assert not left.exists()
        mine = set(folder.iterdir())
        async with Unix(Settings()).connect(AGREED, 1, Exchange(2).signals(1), lambda _: None):
            assert mine < set(folder.iterdir())
        assert set(folder.iterdir()) == mine
    assert [p.name for p in folder.iterdir()] == ["another"]


async def test_a_folder_that_the_system_tidied_away_is_no_error_at_the_end(folder: Path) -> None:
    async with Unix(Settings()).connect(AGREED, 0, Exchange(2).signals(0), lambda _: None):
        (made,) = folder.iterdir()
        (made / "socket").unlink()
        made.rmdir()


async def test_a_folder_that_is_swept_before_it_is_held_is_made_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, swept = fcntl.flock, []

    def sweep_first(held: int, how: int) -> None:
        lock(held, how)
        if not swept:
            swept.extend(folder.iterdir())
            swept[0].rmdir()

    monkeypatch.setattr(fcntl, "flock", sweep_first)
    async with Unix(Settings()).connect(AGREED, 0, Exchange(2).signals(0), lambda _: None):
        (made,) = folder.iterdir()
        assert made != swept[0]
    assert list(folder.iterdir()) == []


async def test_what_another_user_left_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = folder / "comity-unix-abcdefgh"
    theirs.mkdir()
    (folder / "comity-unix-gone").symlink_to(theirs)
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    async with Unix(Settings()).connect(AGREED, 0, Exchange(2).signals(0), lambda _: None):
        assert theirs.exists()
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"/run/docker.sock",
        b"comity-unix-../..",
        b"comity-unix-abc/efgh",
        b"comity-unix-abcdefgh\n",
        b"comity-unix-abcdefgh" + b" " * 60,
        b"\xff" * 20,
    ],
)
def test_an_offer_points_nowhere_but_at_a_folder_of_a_session(body: bytes) -> None:
    assert _read(b"comity-unix-abcdefg_") == "comity-unix-abcdefg_"
    with pytest.raises(PeerError):
        _read(body)


async def test_a_party_of_another_machine_is_not_found() -> None:
    exchange = Exchange(2)
    exchange.inject(1, 0, b"comity-unix-abcdefgh")
    async with Unix(Settings()).connect(AGREED, 0, exchange.signals(0), lambda _: None) as alice:
        with pytest.raises(UnreachableError, match="no path to bob: no such file or directory"):
            await alice.dial(1)


def test_a_folder_whose_name_is_too_long_for_a_socket_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + "x" * 90)  # noqa: S108
    assert "TMPDIR" in (Unix(Settings()).missing() or "")
