import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.identity import check_name, public_key, show_fingerprint
from comity.errors import ComityError, UsageError
from comity.node import home as module
from comity.node.home import Home, default_name, find_home, write_report

SEED = bytes(range(32))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return find_home({"HOME": str(tmp_path)})


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Folders


def test_folders_follow_the_specification_and_ignore_relative_ones() -> None:
    assert find_home({"HOME": "/h"}) == Home(
        Path("/h/.local/share/comity"), Path("/h/.config/comity"), Path("/h/.local/state/comity")
    )
    found = find_home({"XDG_DATA_HOME": "/d", "XDG_CONFIG_HOME": "relative", "XDG_STATE_HOME": "", "HOME": "/h"})
    assert found == Home(Path("/d/comity"), Path("/h/.config/comity"), Path("/h/.local/state/comity"))


def test_without_home_the_user_database_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/of-the-process")
    assert find_home().config == Path("/of-the-process/.config/comity") or "XDG_CONFIG_HOME" in os.environ
    assert find_home({}).data.is_absolute()

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(module.pwd, "getpwuid", nobody)
    with pytest.raises(UsageError, match="no home folder"):
        find_home({})
    assert default_name({}) == "somebody"


# The identity


def test_an_identity_is_made_once_for_its_user_alone(home: Home) -> None:
    assert home.identity_since() is None
    seed = home.identity(lambda size: SEED[:size])
    assert seed == SEED == home.identity()
    assert home.identity_since() is not None
    assert mode(home.identity_file) == 0o600 and mode(home.data) == 0o700
    assert [p.name for p in home.data.iterdir()] == ["identity"]
    assert show_fingerprint(public_key(SEED)) in home.identity_file.read_text()
    assert not home.config.exists() and not home.state.exists()


def test_two_machines_draw_different_identities(tmp_path: Path) -> None:
    a, b = (find_home({"HOME": str(tmp_path / name)}).identity() for name in "ab")
    assert a != b and len(a) == len(b) == 32


def test_processes_that_start_at_once_agree_on_one_identity(tmp_path: Path) -> None:
    code = (
        "import sys; from comity.node.home import find_home; print('ready', flush=True); sys.stdin.read();"
        "print(find_home({'HOME': sys.argv[1]}).identity().hex())"
    )
    several = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in several:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in several:
        process.stdin.close()
        process.stdin = None
    seeds = {process.communicate()[0] for process in several}
    assert all(process.returncode == 0 for process in several)
    assert len(seeds) == 1 and re.fullmatch("[0-9a-f]{64}\n", *seeds)


def test_one_that_was_faster_is_believed(home: Home) -> None:
    def slow(size: int) -> bytes:
        assert home.identity(lambda size: SEED[:size]) == SEED  # the other process, meanwhile
        return b"x" * size

    assert home.identity(slow) == SEED
    assert [p.name for p in home.data.iterdir()] == ["identity"]


@pytest.mark.parametrize("change", ["", "x", "short", "long", "line", "seed", "letter", "binary"])
def test_a_damaged_identity_is_named_and_never_overwritten(home: Home, change: str) -> None:
    home.identity(lambda size: SEED)
    text = home.identity_file.read_text()
    first, seed, last = text.splitlines()
    damaged = {
        "short": text[:-1],
        "long": text + "\n",
        "line": text.replace("identity 1", "identity 2"),
        "seed": f"{first}\n{'0' * 64}\n{last}\n",
        "letter": f"{first}\n{seed.upper()}\n{last}\n",
        "binary": "\xff" * 32,
    }.get(change, change)
    home.identity_file.write_text(damaged)
    with pytest.raises(UsageError, match="is damaged") as caught:
        home.identity()
    assert caught.value.hints and SEED.hex() not in str(caught.value)
    assert home.identity_file.read_text() == damaged


@pytest.mark.parametrize("rights", [0o604, 0o640, 0o620, 0o666])
def test_an_identity_that_others_may_touch_is_refused(home: Home, rights: int) -> None:
    home.identity()
    home.identity_file.chmod(rights)
    with pytest.raises(UsageError, match="open to others") as caught:
        home.identity()
    assert f"chmod 600 {home.identity_file}" in caught.value.hints[0]
    assert mode(home.identity_file) == rights


def test_another_users_identity_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.identity()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UsageError, match="belongs to another user"):
        home.identity()


def test_what_is_no_file_is_refused_without_waiting(home: Home) -> None:
    home.data.mkdir(parents=True, mode=0o700)
    for make in (os.mkdir, os.mkfifo):
        make(home.identity_file)
        with pytest.raises(UsageError, match="is no file"):
            home.identity()
        home.identity_file.rmdir() if home.identity_file.is_dir() else home.identity_file.unlink()
    home.identity_file.symlink_to("nothing")
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        home.identity()


def test_a_link_to_a_good_identity_is_followed(home: Home, tmp_path: Path) -> None:
    kept = find_home({"HOME": str(tmp_path / "kept")})
    seed = kept.identity()
    home.data.mkdir(parents=True, mode=0o700)
    home.identity_file.symlink_to(kept.identity_file)
    assert home.identity() == seed


def test_a_folder_that_others_may_change_gets_no_identity(home: Home) -> None:
    home.data.mkdir(parents=True)
    home.data.chmod(0o777)
    with pytest.raises(UsageError, match="others can change") as caught:
        home.identity()
    assert f"chmod 700 {home.data}" in caught.value.hints[0] and not home.identity_file.exists()


def test_a_place_that_takes_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    home = find_home({"XDG_DATA_HOME": str(tmp_path / "file"), "HOME": str(tmp_path)})
    with pytest.raises(UsageError, match=r"cannot be kept in .*: Not a directory") as caught:
        home.identity()
    assert "XDG_DATA_HOME" in caught.value.hints[0]


def test_a_full_disk_leaves_nothing_behind(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UsageError, match="No space left"):
            home.identity()
    assert list(home.data.iterdir()) == []
    assert len(home.identity()) == 32


# The default name


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"LOGNAME": "alice", "USER": "bob"}, "alice"),
        ({"LOGNAME": "", "USER": "bob"}, "bob"),
        ({"USER": "alice@example.org"}, "alice"),
        ({"USER": "OFFICE\\alice"}, "alice"),
        ({"USER": "a\x1b[31mlice"}, "a--31mlice"),
        ({"USER": "Zoe\u0301"}, "Zo\u00e9"),
        ({"USER": "x" * 99}, "x" * 32),
        ({"USER": "a" * 31 + " b"}, "a" * 31),
        ({"USER": "..."}, "somebody"),
        ({"USER": "\u202e"}, "somebody"),
    ],
)
def test_the_login_name_is_made_acceptable(environ: dict[str, str], name: str) -> None:
    assert default_name(environ) == name


@given(st.text(max_size=80))
def test_whatever_the_login_name_a_name_comes_out(login: str) -> None:
    name = default_name({"LOGNAME": login})
    assert check_name(name) == name


def test_without_variables_the_user_database_names() -> None:
    assert check_name(default_name({})) and check_name(default_name())


# Reports


def caught_bug(message: str) -> Exception:
    try:
        secret = b"never to be seen"
        raise KeyError(message) from ValueError(secret)
    except KeyError as exc:
        return exc


def test_a_report_says_where_and_with_what(home: Home) -> None:
    path = write_report(home, "join", caught_bug("why"))
    text = path.read_text()
    assert path.parent == home.state / "reports" and mode(path) == 0o600 and mode(path.parent) == 0o700
    assert "command join" in text and "caught_bug" in text and "KeyError: 'why'" in text
    assert re.search(r"^comity \d", text) and re.search(r"\nmpyc \d", text) and "Python 3." in text
    assert write_report(home, "join", caught_bug("why")) != path


@pytest.mark.parametrize("compiled", [True, False])
def test_our_version_says_whether_links_are_compiled(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPILED", compiled)
    found = module.versions(["comity", "mpyc", "no such distribution"])
    assert list(found) == ["comity", "mpyc"]
    assert found["comity"].endswith(" compiled") == compiled and "compiled" not in found["mpyc"]


@pytest.mark.parametrize(
    "secret",
    [
        "comity://AAECAwQFBgcICQoLDA0ODw",
        "https://meet.example.org/#AAECAwQFBgcICQoL",
        bytes(range(100, 132)).hex(),
        repr(b"two\n'words"),
        repr(b"it's \\"),
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
    ],
)
def test_what_a_message_quotes_of_a_secret_is_taken_out(home: Home, secret: str) -> None:
    text = write_report(home, "join", caught_bug(f"before {secret} after")).read_text()
    assert secret not in text and "never to be seen" not in text
    kept = secret.partition("#")[0] if "#" in secret else ""
    assert f"before {kept}[removed]" in text and "after" in text


def test_a_report_cannot_move_a_terminal_and_is_bounded(home: Home) -> None:
    data = write_report(home, "join", ComityError("\x1b[2J\u202e" + "long " * 200_000)).read_bytes()
    assert b"\\x1b[2J\\u202e" in data and b"\x1b" not in data and b"[...]" in data
    assert len(data) < 300_000 and data.isascii()


def test_a_report_goes_elsewhere_when_its_folder_takes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    home = find_home({"XDG_STATE_HOME": str(tmp_path / "file"), "HOME": str(tmp_path)})
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    path = write_report(home, "host", caught_bug("why"))
    assert path.parent == tmp_path and mode(path) == 0o600
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(UsageError, match="no report"):
        write_report(home, "host", caught_bug("why"))


def test_a_missing_distribution_is_said(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DISTRIBUTIONS", ("mpyc", "no-such-distribution"))
    assert "\nno-such-distribution absent\n" in write_report(home, "host", caught_bug("why")).read_text()
