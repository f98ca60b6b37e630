import asyncio
import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from comity.cli import answers as answers_module
from comity.cli.answers import MAX_ANSWER
from comity.cli.screen import COLUMNS
from comity.cli.talk import Talk
from comity.core import invitation
from comity.errors import ComityError, PeerError, UsageError

WORDS = ["ratio", "opulent", "sunfish"]
SAME = "do all three see the same?"


class Output(io.StringIO):
    """A stream that tells when something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


class Person:
    """Somebody in front of a pseudo-terminal."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.terminal = os.ttyname(self.slave)
        self.screen = open(self.slave, "w", closefd=False)  # noqa: SIM115 - closed in close()
        self.seen = ""
        self._at = 0

    async def sees(self, text: str) -> None:
        """Wait until `text` stands on the screen, after what was waited for before."""
        loop = asyncio.get_running_loop()
        while text not in self.seen[self._at :]:
            more = asyncio.Event()
            loop.add_reader(self.master, more.set)
            await more.wait()
            loop.remove_reader(self.master)
            self.seen += os.read(self.master, 65536).decode().replace("\r\n", "\n")
        self._at = self.seen.index(text, self._at) + len(text)

    def types(self, text: str) -> None:
        os.write(self.master, text.encode())

    def close(self) -> None:
        self.screen.close()
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def person() -> Iterator[Person]:
    person = Person()
    yield person
    person.close()


@pytest.fixture
def talk(person: Person) -> Talk:
    return Talk(stream=person.screen, terminal=person.terminal, environ={"NO_COLOR": "1"})


@pytest.fixture
def pipe() -> Iterator[tuple[int, Callable[[str], None]]]:
    """A descriptor for --answers, and how to write into it."""
    reading, writing = os.pipe()
    yield reading, lambda text: os.write(writing, text.encode()) and None
    os.close(reading)
    os.close(writing)


def check(talk: Talk) -> "asyncio.Task[bool]":
    question = talk.ask(
        "Check", "call one another:", "  ratio  opulent", SAME, option="--verify link", event="check", words=WORDS
    )
    return asyncio.create_task(question)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


# Telling


def test_a_line_has_its_label_and_more_lines_stand_under_it() -> None:
    stream = io.StringIO()
    talk = Talk(stream=stream)
    talk.line("Invite", "two others:", "  comity join comity://AA", event="invite", link="comity://AA")
    talk.line("Running", event="running")
    talk.line("Rendezvous", "ok", event="x")
    talk.line("A label too long", "ok", event="x")
    assert stream.getvalue() == (
        "Invite     two others:\n             comity join comity://AA\nRunning\nRendezvous ok\nA label too long ok\n"
    )


def test_json_is_an_object_a_line_and_ascii() -> None:
    stream = io.StringIO()
    talk = Talk(as_json=True, quiet=True, stream=stream)
    talk.line("Joined", "bob", "and more", event="joined", name="b\u202eob\x1b[2J\n")
    talk.detail("hidden", event="detail")
    assert events(stream) == [{"event": "joined", "name": "b\u202eob\x1b[2J\n"}]
    assert stream.getvalue().isascii() and stream.getvalue().count("\n") == 1 and "\x1b" not in stream.getvalue()


def test_quiet_says_errors_only_and_verbose_says_more() -> None:
    stream = io.StringIO()
    Talk(quiet=True, stream=stream).line("Joined", "bob", event="joined")
    Talk(stream=stream).detail("ip link add", event="command")
    assert stream.getvalue() == ""
    Talk(verbose=True, stream=stream).detail("ip link add", event="command")
    Talk(quiet=True, stream=stream).error(PeerError("carol left", hint=("her terminal shows why", "ask her")))
    assert stream.getvalue() == (
        " " * COLUMNS + "ip link add\nerror: carol left\nhint: her terminal shows why\nhint: ask her\n"
    )


def test_an_error_is_an_event_with_its_exit_code() -> None:
    stream = io.StringIO()
    Talk(as_json=True, stream=stream).error(PeerError("carol left", hint="ask her"))
    Talk(as_json=True, stream=stream).error(ComityError("oh"))
    assert events(stream) == [
        {"event": "error", "kind": "peer", "message": "carol left", "hints": ["ask her"], "exit": 4},
        {"event": "error", "kind": "bug", "message": "oh", "hints": [], "exit": 1},
    ]


async def test_colours_are_for_terminals_that_want_them(person: Person) -> None:
    Talk(stream=person.screen, environ={}).line("Joined", "bob", event="joined")
    await person.sees("\x1b[1mJoined\x1b[0m     bob\n")
    Talk(stream=person.screen, environ={"NO_COLOR": ""}).error(PeerError("left", hint="ask"))
    await person.sees("\x1b[1;31merror:\x1b[0m left\n\x1b[33mhint:\x1b[0m ask\n")
    for environ in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        Talk(stream=person.screen, environ=environ).line("Joined", "bob", event="joined")
        await person.sees("Joined     bob\n")
    assert "\x1b" not in person.seen[person.seen.index("ask") :]


def test_a_name_cannot_write_a_line_of_its_own() -> None:
    stream = io.StringIO()
    talk = Talk(stream=stream)
    talk.line("Joined", "bob\nAgreed     alice, bob", event="joined")
    talk.error(PeerError("\x1b]0;title\x07 left\r", hint="x\u2028y"))
    assert stream.getvalue() == (
        "Joined     bob\\nAgreed     alice, bob\nerror: \\x1b]0;title\\x07 left\\r\nhint: x\\u2028y\n"
    )


def test_nobody_who_reads_does_not_end_the_session() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        os.close(reading)
        talk = Talk(stream=stream)
        for _ in range(3):
            talk.line("Joined", "bob", event="joined")
        assert os.fstat(writing).st_rdev == Path(os.devnull).stat().st_rdev


# Asking on a terminal


@pytest.mark.parametrize(("typed", "meant"), [("y", True), ("YES ", True), ("n", False), ("no", False)])
async def test_a_question_is_answered_on_the_terminal(person: Person, talk: Talk, typed: str, meant: bool) -> None:
    answer = check(talk)
    await person.sees(f"Check      call one another:\n             ratio  opulent\n           {SAME} [y/n] ")
    person.types(typed + "\n")
    assert await answer is meant
    talk.line("Agreed", "all", event="agreed")
    await person.sees(f"{typed}\nAgreed     all\n")


async def test_an_unclear_answer_is_asked_again(person: Person, talk: Talk) -> None:
    answer = check(talk)
    await person.sees(SAME)
    person.types("\x16\x1b[2Jmaybe\n")  # ^V takes the next key as it is
    await person.sees(f"           '\\x1b[2Jmaybe' is neither y nor n\n           {SAME} [y/n] ")
    person.types("y\n")
    assert await answer is True


async def test_what_was_typed_before_the_question_is_no_answer(person: Person, talk: Talk) -> None:
    person.types("y\n")
    await person.sees("y\n")  # the terminal's echo
    answer = check(talk)
    await person.sees(SAME)
    person.types("n\n")
    assert await answer is False


async def test_a_question_is_repeated_under_what_is_said_meanwhile(person: Person, talk: Talk) -> None:
    answer = check(talk)
    await person.sees("[y/n] ")
    talk.line("Waiting", "carol: no answer for 12 s", event="waiting")
    await person.sees("\r\x1b[JWaiting    carol: no answer for 12 s\n           do all three")
    await person.sees("[y/n] ")
    talk.error(PeerError("bob left"))
    await person.sees("\r\x1b[Jerror: bob left\n           do all three")
    await person.sees("[y/n] ")
    person.types("y\n")
    assert await answer is True


async def test_half_an_answer_typed_before_a_repetition_is_dropped(person: Person, talk: Talk) -> None:
    answer = check(talk)
    await person.sees("[y/n] ")
    person.types("y")
    await person.sees("y")
    talk.line("Waiting", "carol", event="waiting")
    await person.sees("[y/n] ")
    person.types("\n")
    await person.sees(f"type y or n\n           {SAME} [y/n] ")  # nobody said no
    person.types("y\n")
    assert await answer is True


async def test_a_whole_answer_given_before_a_repetition_counts(person: Person, talk: Talk) -> None:
    answer = check(talk)
    await person.sees("[y/n] ")
    person.types("y\n")
    assert select.select([person.slave], [], [], 10)[0]  # the kernel hands it over without this loop
    talk.line("Waiting", "carol", event="waiting")
    assert await answer is True
    talk.line("End", "", event="end")
    await person.sees("Waiting    carol\nEnd")


async def test_control_d_is_an_error_that_names_the_option(person: Person, talk: Talk) -> None:
    for typed in ("\x04", "half\x04\x04"):
        answer = check(talk)
        await person.sees("[y/n] ")
        person.types(typed)
        with pytest.raises(UsageError, match="was not answered") as caught:
            await answer
        assert "--verify link" in caught.value.hints[0]
    talk.error(caught.value)
    await person.sees("half\nerror: ")


async def test_a_cancelled_question_leaves_the_terminal_to_the_next(person: Person, talk: Talk) -> None:
    answer = check(talk)
    await person.sees("[y/n] ")
    before = open_descriptors()
    answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer
    assert open_descriptors() == before - 1
    await person.sees("\r\x1b[J")
    answer = check(talk)
    await person.sees("Check")
    await person.sees("[y/n] ")
    person.types("y\n")
    assert await answer is True


async def test_two_questions_are_asked_one_after_the_other(person: Person, talk: Talk) -> None:
    first, second = check(talk), asyncio.create_task(talk.ask("Secrecy", "go on?", option="--allow-no-secrecy"))
    await person.sees("[y/n] ")
    assert "Secrecy" not in person.seen
    person.types("y\n")
    await person.sees("go on? [y/n] ")
    person.types("n\n")
    assert (await first, await second) == (True, False)


async def test_a_text_is_asked_until_it_is_one(person: Person, talk: Talk) -> None:
    invited = invitation.Invitation(b"a" * 16, b"b" * 16, ("http://127.0.0.1:8787",))
    answer = asyncio.create_task(talk.ask_text("Code", option="comity join LINK", check=invitation.parse))
    await person.sees("Code       ")
    person.types("nonsense\n")
    await person.sees("           this is not an invitation: it does not start with comity:// or https://\n")
    await person.sees("Code       ")
    person.types(f"  {invited.link()} \n")
    assert await answer == invited


async def test_a_terminal_that_hangs_up_gives_no_answer(talk: Talk, person: Person) -> None:
    answer = check(talk)
    await person.sees("[y/n] ")
    os.close(person.master)
    with pytest.raises(UsageError, match="was not answered"):
        await answer
    talk.error(PeerError("left"))  # goes nowhere
    person.master = os.open(os.devnull, os.O_RDWR)


async def test_words_and_question_are_on_the_terminal_when_stderr_is_a_file(person: Person, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+") as log:
        talk = Talk(stream=log, terminal=person.terminal, environ={"NO_COLOR": "1"})
        answer = check(talk)
        await person.sees(f"Check      call one another:\n             ratio  opulent\n           {SAME} [y/n] ")
        talk.line("Waiting", "carol", event="waiting")
        person.types("y\n")
        assert await answer is True
        log.seek(0)
        assert log.read() == "Waiting    carol\n" and person.seen.count("Check") == 1


async def test_json_tells_scripts_what_is_asked_on_the_terminal(person: Person) -> None:
    stream = io.StringIO()
    answer = check(Talk(as_json=True, stream=stream, terminal=person.terminal))
    await person.sees("[y/n] ")
    asked = {"event": "check", "words": WORDS, "question": SAME, "option": "--verify link"}
    assert events(stream) == [asked]
    person.types("perhaps\n")
    await person.sees("neither")
    person.types("y\n")
    assert await answer is True and events(stream) == [asked]


@pytest.fixture
def no_terminal() -> Iterator[Callable[[int], None]]:
    """Standard input is a terminal only after it was made one; /dev/tty is out of reach."""
    kept, null = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    yield lambda fd: os.dup2(fd, 0) and None
    os.dup2(kept, 0)
    os.close(kept)
    os.close(null)


async def test_standard_input_is_asked_where_there_is_no_other_terminal(
    person: Person, no_terminal: Callable[[int], None]
) -> None:
    stream = io.StringIO()
    talk = Talk(stream=stream, terminal="/dev/no-such-terminal")
    with pytest.raises(UsageError, match="no terminal to ask on") as caught:
        await check(talk)
    assert "--verify link" in caught.value.hints[0] and "--answers" in caught.value.hints[1]
    no_terminal(person.slave)
    answer = check(talk)
    await person.sees("[y/n] ")
    person.types("y\n")
    assert await answer is True and stream.getvalue() == "" and os.isatty(0)


# Asking a script


async def test_answers_come_from_a_descriptor_line_by_line(pipe: tuple[int, Callable[[str], None]]) -> None:
    fd, write = pipe
    stream = Output()
    talk = Talk(stream=stream, answers=fd, terminal="/dev/no-such-terminal")
    write("y\r\nn\n\x1bx")
    assert await check(talk) is True
    assert await check(talk) is False
    assert stream.getvalue().endswith(f"{SAME} [y/n] n\n") and f"{SAME} [y/n] y\n" in stream.getvalue()
    stream.written.clear()
    answer = check(talk)
    await stream.written.wait()
    write("\n")
    with pytest.raises(UsageError, match="is neither y nor n"):
        await answer
    assert stream.getvalue().endswith("[y/n] \\x1bx\n")


async def test_a_secret_answer_is_not_shown(pipe: tuple[int, Callable[[str], None]]) -> None:
    fd, write = pipe
    stream = io.StringIO()
    write("comity://SECRET\n")
    answer = await Talk(stream=stream, answers=fd).ask_text("Code", "which?", option="comity join LINK", check=str)
    assert answer == "comity://SECRET" and stream.getvalue() == "Code       which? \n"


async def test_with_json_only_the_event_is_printed(pipe: tuple[int, Callable[[str], None]]) -> None:
    fd, write = pipe
    stream = Output()
    talk = Talk(as_json=True, stream=stream, answers=fd)
    answer = check(talk)
    await stream.written.wait()
    write("y\n")
    assert await answer is True
    assert events(stream) == [{"event": "check", "words": WORDS, "question": SAME, "option": "--verify link"}]


async def test_what_is_said_while_a_script_is_asked_repeats_the_question(
    pipe: tuple[int, Callable[[str], None]],
) -> None:
    fd, write = pipe
    stream = Output()
    talk = Talk(stream=stream, answers=fd)
    answer = asyncio.create_task(talk.ask("Secrecy", "go on?", option="--allow-no-secrecy"))
    await stream.written.wait()
    talk.line("Joined", "bob", event="joined")
    write("y\n")
    assert await answer is True
    assert stream.getvalue() == "Secrecy    go on? [y/n] \nJoined     bob\nSecrecy    go on? [y/n] y\n"


async def test_an_unclear_answer_of_a_script_does_not_shift_the_others(tmp_path: Path) -> None:
    (tmp_path / "answers").write_text("maybe\ny\n")
    with (tmp_path / "answers").open() as file, pytest.raises(UsageError, match="'maybe' is neither y nor n"):
        await check(Talk(stream=io.StringIO(), answers=file.fileno()))


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_a_file_and_nothing_at_all_can_answer(tmp_path: Path, kind: str) -> None:
    factory = pytest.importorskip("uvloop").new_event_loop if kind == "uvloop" else asyncio.new_event_loop

    async def asks(file: TextIO) -> tuple[bool, bool]:
        talk = Talk(stream=io.StringIO(), answers=file.fileno())
        return await check(talk), await check(talk)

    (tmp_path / "answers").write_text("n\ny")  # the last line has no end
    with asyncio.Runner(loop_factory=factory) as runner:
        with (tmp_path / "answers").open() as file:
            assert runner.run(asks(file)) == (False, True)
        with Path(os.devnull).open() as file, pytest.raises(UsageError, match="was not answered"):
            runner.run(asks(file))


async def test_an_answer_without_end_is_refused(pipe: tuple[int, Callable[[str], None]]) -> None:
    fd, write = pipe
    write("y" * (MAX_ANSWER + 1))
    with pytest.raises(UsageError, match="too long"):
        await check(Talk(stream=io.StringIO(), answers=fd))


def test_a_descriptor_that_is_not_there_is_named_at_once() -> None:
    for fd in (-1, 0, 2, 987):
        with pytest.raises(UsageError, match=f"descriptor {fd}") as caught:
            Talk(answers=fd)
        assert "--answers 3" in caught.value.hints[0]


async def test_a_descriptor_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as file, pytest.raises(UsageError, match="answers cannot be read"):
        await check(Talk(stream=io.StringIO(), answers=file.fileno()))


async def test_the_programs_process_does_not_inherit_the_answers(pipe: tuple[int, Callable[[str], None]]) -> None:
    fd, _ = pipe
    os.set_inheritable(fd, True)
    Talk(answers=fd)
    assert not os.get_inheritable(fd)


async def test_without_input_a_question_names_its_option(person: Person) -> None:
    stream = io.StringIO()
    talk = Talk(stream=stream, no_input=True, terminal=person.terminal)
    with pytest.raises(UsageError, match="'do all three see the same\\?' needs an answer") as caught:
        await check(talk)
    assert caught.value.hints == ("answer beforehand with --verify link",) and stream.getvalue() == ""
    with pytest.raises(UsageError, match="'Code' needs an answer"):
        await talk.ask_text("Code", option="comity join LINK", check=str)


async def test_a_question_that_nobody_can_answer_is_known_beforehand(
    person: Person, pipe: tuple[int, int], no_terminal: Callable[[int], None]
) -> None:
    stream = io.StringIO()
    before = open_descriptors()
    with pytest.raises(UsageError, match="'same\\?' needs an answer") as caught:
        Talk(stream=stream, no_input=True, terminal=person.terminal).expect("same?", option="--verify link")
    assert caught.value.hints == ("answer beforehand with --verify link",)
    with pytest.raises(UsageError, match="no terminal to ask on: same\\?"):
        Talk(stream=stream, terminal="/dev/no-such-terminal").expect("same?", option="--verify link")
    Talk(stream=stream, terminal=person.terminal).expect("same?", option="--verify link")
    Talk(stream=stream, terminal="/dev/no-such-terminal", answers=pipe[0]).expect("same?", option="--verify link")
    assert stream.getvalue() == "" and open_descriptors() == before


# A whole process with a controlling terminal

PROGRAM = """
import asyncio, os, sys
terminal = os.open(sys.argv[1], os.O_RDWR)  # a session's leader gets its controlling terminal so
os.dup2(terminal, 2)
from comity.cli.talk import Talk
async def main():
    talk = Talk()
    meant = await talk.ask("Check", "same?", option="--verify link")
    talk.line("Agreed", str(meant), event="agreed")
try:
    asyncio.run(main())
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture
def process(person: Person) -> Iterator["subprocess.Popen[bytes]"]:
    argv = [sys.executable, "-c", PROGRAM, person.terminal]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True) as started:
        yield started
        started.kill()


async def test_a_process_asks_on_its_controlling_terminal(person: Person, process: "subprocess.Popen[bytes]") -> None:
    await person.sees("same? [y/n] ")
    person.types("y\n")
    await person.sees("Agreed\x1b[0m     True\n")
    assert process.wait() == 0
    assert process.stdout is not None and process.stdout.read() == b""


async def test_control_c_ends_a_waiting_question(person: Person, process: "subprocess.Popen[bytes]") -> None:
    await person.sees("same? [y/n] ")
    person.types("\x03")
    await person.sees("^C\r\x1b[J")
    assert process.wait() == 130
    assert "Traceback" not in person.seen


async def test_a_terminated_question_ends(person: Person, process: "subprocess.Popen[bytes]") -> None:
    await person.sees("same? [y/n] ")
    process.terminate()
    assert process.wait() == -signal.SIGTERM
    assert answers_module.MAX_ANSWER > invitation.MAX_TEXT


async def test_a_hidden_answer_is_not_echoed_and_may_not_be_typed_ahead(person: Person, talk: Talk) -> None:
    person.types("too early\n")
    await person.sees("too early")
    before = termios.tcgetattr(person.slave)
    answer = asyncio.ensure_future(talk.ask_hidden("your argument 2 of sum", option="--private 2=FILE"))
    await person.sees("Private    your argument 2 of sum ")
    talk.line("Joined", "bob", event="joined")
    await person.sees("\r\x1b[JJoined     bob\nPrivate    your argument 2 of sum ")
    person.types(" geheim\n")
    assert await answer == "geheim"
    talk.line("Agreed", "all", event="agreed")
    await person.sees("\nAgreed     all\n")
    assert "geheim" not in person.seen
    assert termios.tcgetattr(person.slave) == before


async def test_a_hidden_question_that_is_cancelled_gives_the_terminal_its_echo_back(person: Person, talk: Talk) -> None:
    before = termios.tcgetattr(person.slave)
    answer = asyncio.ensure_future(talk.ask_hidden("your argument 2 of sum", option="--private 2=FILE"))
    await person.sees("of sum ")
    assert termios.tcgetattr(person.slave) != before
    answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer
    assert termios.tcgetattr(person.slave) == before


async def test_scripts_give_hidden_answers_as_others(pipe: tuple[int, Callable[[str], None]]) -> None:
    reading, write = pipe
    stream = io.StringIO()
    for as_json in (False, True):
        talk = Talk(as_json=as_json, stream=stream, answers=reading, environ={})
        write("geheim\n")
        assert await talk.ask_hidden("your argument 1 of sum", option="--private 1=FILE") == "geheim"
    assert "geheim" not in stream.getvalue()
    asked = {"event": "question", "question": "your argument 1 of sum", "option": "--private 1=FILE"}
    assert json.loads(stream.getvalue().splitlines()[-1]) == asked
    with pytest.raises(UsageError, match="'your argument 1 of sum' needs an answer") as caught:
        await Talk(no_input=True, stream=stream).ask_hidden("your argument 1 of sum", option="--private 1=FILE")
    assert caught.value.hints == ("answer beforehand with --private 1=FILE",)
