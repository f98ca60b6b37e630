"""What a program's process notices of local files besides imports."""

import os
from pathlib import Path

import pytest
from tests.mpyc_bridge.parties import Party
from tests.mpyc_bridge.test_imports import check, run_later, write

from comity.errors import VerificationError
from comity.mpyc_bridge.audit import MAX_WARNINGS
from comity.mpyc_bridge.process import Unagreed
from comity.mpyc_bridge.program import find


def warned(party: Party) -> list[str]:
    return [event.label for event in party.events if isinstance(event, Unagreed)]


async def test_each_local_file_that_is_read_is_warned_of_once_and_nothing_else_is(tmp_path: Path) -> None:
    folder = tmp_path / "game"
    write(
        folder,
        {
            "game.py": """
                import io, json, os, pathlib, socket, sys, tempfile
                here = os.path.dirname(__file__)
                at = lambda name: os.path.join(here, name)
                for _ in range(3):
                    open(at("data.csv")).read()
                pathlib.Path(at("deep/other.csv")).read_bytes()
                os.close(os.open(at("low.csv").encode(), os.O_RDONLY))
                os.chdir(here)
                io.open("relative.csv").close()
                open("both.csv", "r+").close()
                open("../linked/link.csv").close()
                open("agreed.csv").close()
                # and now what is no matter of the others
                open("new.csv", "w").close()
                open("more.csv", "a").close()
                open("new2.csv", "w+").close()
                open("../outside.csv").close()
                tempfile.TemporaryFile().close()
                socket.socketpair()
                os.listdir(".")
                os.close(os.open(".", os.O_RDONLY))
                for missing in ("missing.csv", "deep"):
                    try:
                        open(missing)
                    except OSError as exc:
                        print(type(exc).__name__)
                open(json.__file__).close()
                open(os.devnull).close()
                open(sys.stderr.fileno(), "w", closefd=False).close()
                print(sys.stdin.read())
            """,
            **dict.fromkeys(("data.csv", "low.csv", "relative.csv", "both.csv", "agreed.csv"), "1,2\n"),
            **dict.fromkeys(("deep/other.csv", "real.csv", "unread.csv"), "1,2\n"),
        },
    )
    write(tmp_path, {"outside.csv": ""})
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "link.csv").symlink_to(folder / "real.csv")
    party = await run_later(find(str(folder / "game.py"), include=("agreed.csv",)))
    check(party, "FileNotFoundError\nIsADirectoryError\n\n")
    assert warned(party) == ["data.csv", "deep/other.csv", "low.csv", "relative.csv", "both.csv", "real.csv"]


async def test_a_program_that_reads_very_many_files_is_warned_of_some(tmp_path: Path) -> None:
    write(tmp_path, {f"data/{i}.csv": "" for i in range(MAX_WARNINGS + 10)})
    write(
        tmp_path,
        {"game.py": "import glob\nfor name in glob.glob(__file__[:-7] + 'data/*'):\n    open(name)\nprint('read')\n"},
    )
    party = await run_later(find(str(tmp_path / "game.py")))
    check(party, "read\n")
    assert len(warned(party)) == len(set(warned(party))) == MAX_WARNINGS


@pytest.mark.parametrize("how", ["changed", "longer", "emptied", "a pipe", "by os.open", "caught"])
async def test_an_included_file_that_has_changed_ends_the_run_before_a_byte_is_read(tmp_path: Path, how: str) -> None:
    reading = "os.read(os.open(path, os.O_RDONLY), 9)" if how == "by os.open" else "open(path).read()"
    source = f"import os\npath = __file__[:-7] + 'data.csv'\nprint('first')\nprint({reading})\n"
    if how == "caught":
        source = source.replace("print(open", "try:\n    print(open") + "except Exception:\n    print('another')\n"
    write(tmp_path, {"game.py": source, "data.csv": "1,2\n"})
    data = tmp_path / "data.csv"

    def meanwhile() -> None:
        match how:
            case "longer":
                data.write_text("1,2\n3")
            case "emptied":
                data.write_text("")
            case "a pipe":
                data.unlink()
                os.mkfifo(data)
            case _:
                data.write_text("1,3\n")

    party = await run_later(find(str(tmp_path / "game.py"), include=("*.csv",)), meanwhile)
    assert isinstance(party.error, VerificationError) and party.code == 3
    assert party.error.message == "data.csv is not the file that was agreed on: it has changed since"
    assert party.out in ("first\n", "")  # the end may come before what it has printed is written
    assert warned(party) == []


async def test_an_included_file_that_is_gone_or_touched_is_as_on_any_disk(tmp_path: Path) -> None:
    write(tmp_path, {"game.py": "print(open(__file__[:-7] + 'data.csv').read())\n", "data.csv": "1,2"})
    program = find(str(tmp_path / "game.py"), include=("data.csv",))
    check(await run_later(program, lambda: os.utime(tmp_path / "data.csv", (1, 1))), "1,2\n")
    party = await run_later(program, lambda: (tmp_path / "data.csv").unlink())
    assert (party.code, party.error) == (1, None) and "FileNotFoundError" in party.err


async def test_a_program_cannot_read_its_own_changed_source(tmp_path: Path) -> None:
    write(tmp_path, {"game.py": "print(open(__file__).read())\n"})
    party = await run_later(find(str(tmp_path / "game.py")), lambda: write(tmp_path, {"game.py": "print('other')\n"}))
    assert party.out == "" and party.code == 1
    assert party.err.endswith(f"it has changed since it was agreed on: '{tmp_path}/game.py'\n")


async def test_what_a_thread_fails_with_is_shown_though_its_source_has_changed(tmp_path: Path) -> None:
    source = "import threading\ndef f():\n    1 / 0\nt = threading.Thread(target=f)\nt.start()\nt.join()\nprint('on')\n"
    write(tmp_path, {"game.py": source})
    party = await run_later(find(str(tmp_path / "game.py")), lambda: write(tmp_path, {"game.py": "# other\n" * 9}))
    assert (party.error, party.code, party.out) == (None, 0, "on\n") and "ZeroDivisionError" in party.err
    assert "# other" not in party.err
