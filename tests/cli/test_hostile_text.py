"""Whatever others can make appear on somebody's terminal, generated: it is shown, and does nothing."""

import asyncio
import io
import logging
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.cli.running import Log
from comity.cli.talk import Talk
from comity.core.wordlist import WORDS
from comity.errors import PeerError

OURS = re.compile(r"\x1b\[(?:0|1|33|1;31)m")
"""Bold for labels, red for errors, yellow for hints, and back."""

PIECES = (
    *("\x1b[2J", "\x1b]0;title\x07", "\x1bP", "\x1b[6n", "\x1b[?1049h", "\x9b31m", "\x1b(0", "\x0e", "\x1bc", "\x07"),
    *("\r", "\n", "\x0b", "\x0c", "\x85", "\u2028", "\b\b\b", "\x7f", "\x00", "\t", "\ud800"),
    *("\u202e", "\u2066", "\u200f", "\u061c", "\u200b", "\ufeff", "\u00ad", "\u3164", "\U000e0041", "\u034f"),
    *("e" + "\u0301" * 40, "\u0489", "עדה", "عمر", "山田", "А", "ﷺ", "𒐫", "👩\u200d👧", "a" * 100),
    *("error: ", "hint: ", "Agreed     alice, bob", "[y/n] y", "  comity join "),
)
NASTY = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=12).map("".join) | st.text(max_size=50)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def check(shown: str, lines: int) -> None:
    """As many lines as there must be, of letters and our own styles; a terminal is afterwards as it was."""
    plain = OURS.sub("", shown)
    assert plain.count("\n") == lines
    assert all(unicodedata.category(c)[0] in "LMNPS" or c in " \n" for c in plain)
    screen = pyte.Screen(80, 24)
    answers: list[str] = []
    screen.write_process_input = answers.append
    modes, charset = set(screen.mode), screen.charset
    pyte.Stream(screen).feed(shown.replace("\n", "\r\n"))
    assert (set(screen.mode), screen.charset, screen.title, answers) == (modes, charset, "", [])
    assert screen.cursor.x == 0 and not screen.cursor.hidden and screen.cursor.attrs == screen.default_char


@settings(deadline=None)
@given(NASTY, NASTY)
def test_whatever_others_send_moves_nothing_on_a_terminal(one: str, other: str) -> None:
    stream = Terminal()
    talk = Talk(stream=stream, environ={}, verbose=True)
    talk.line("Joined", one, event="joined", name=one)
    talk.line("Session", f"from {one}: {other}", f"{other}.", event="session")
    talk.detail(f"{one}.", event="rendezvous")
    talk.error(PeerError(f"{one} left: {other}", hint=(one, other)))
    check(stream.getvalue(), 7)


@settings(deadline=None)
@given(NASTY.filter(bool), st.sampled_from("yn"))
def test_nor_do_names_in_a_question(name: str, answer: str) -> None:
    reading, writing = os.pipe()
    os.write(writing, answer.encode() + b"\n")
    stream = Terminal()
    asked = Talk(stream=stream, environ={}, answers=reading).compare(
        WORDS[:3], WORDS[3], {name: WORDS[4]}, option="--verify link"
    )
    assert asyncio.run(asked) is (answer == "y")
    os.close(reading)
    os.close(writing)
    check(stream.getvalue(), 5)


@settings(deadline=None)
@given(NASTY)
def test_what_libraries_log_is_one_of_our_lines(text: str) -> None:
    stream = Terminal()
    talk = Talk(stream=stream, environ={})
    logger = logging.Logger("somebody's")
    logger.addHandler(Log(talk))
    logger.warning("%s", text)  # for those who want to know more
    assert stream.getvalue() == ""
    logger.error("%s", text, exc_info=ValueError(text))
    check(stream.getvalue(), 1)
    Log(Talk(stream=stream, environ={}, verbose=True)).handle(logging.makeLogRecord({"msg": text, "levelno": 30}))
    check(stream.getvalue(), 2)


HOSTILE = """
import sys
print("all is \\x1b[2Jwell\\r\\u202e")
print("\\x1b]0;title\\x07", file=sys.stderr)
"""


def test_a_demo_shows_what_its_program_writes(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(HOSTILE)
    command = [sys.executable, "-P", "-m", "comity", "demo", "-n", "1", "own.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=20, check=True)
    assert done.stdout == b"alice | all is \\x1b[2Jwell\\r\\u202e\n"
    assert b"alice: \\x1b]0;title\\x07" in done.stderr and b"\x1b" not in done.stderr


@pytest.mark.parametrize("argument", ["\x1b[2J", "8\nAgreed     alice, bob", "\u202e8"])
def test_an_argument_that_could_is_never_sent(argument: str) -> None:
    command = [sys.executable, "-P", "-m", "comity", "digest", "sum", argument]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: argument 1 cannot be shown to the others\n")
