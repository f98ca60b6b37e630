"""The question about the words: what confirms them, what does not, and how it looks while others talk."""

import asyncio
import io
import json
import os
import select
from collections.abc import Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.cli.people import Watcher

from comity.cli.talk import TRIES, Talk, _Hearing
from comity.core.words import WORDS, meant
from comity.errors import PeerError, UsageError

CHECK = ("dial", "diner", "dynamic")
OTHERS = {"bob": "candle", "carol": "walnut"}
BOB, CAROL = (f"the same at {name}? type the own word of {name}, or no:" for name in OTHERS)
BLOCK = """\
Check      call one another: all three must see
             dial  diner  dynamic
           and you alone see your own word, which you tell the others:
             lemon
"""


@pytest.fixture
def person() -> Iterator[Watcher]:
    person = Watcher()
    yield person
    person.close()


def compare(talk: Talk) -> "asyncio.Task[bool]":
    return asyncio.create_task(talk.compare(CHECK, "lemon", OTHERS, option="--verify link"))


async def test_each_person_is_asked_about_and_a_word_of_each_is_typed(person: Watcher) -> None:
    answer = compare(person.talk())
    await person.sees(BOB)
    person.types("candle\n")
    await person.sees(CAROL)
    person.types(" WALnut \n")
    assert await answer is True
    await person.sees("WALnut")
    assert person.text == f"{BLOCK}           {BOB} candle\n           {CAROL}  WALnut"
    shown = person.text.replace("WALnut", "")
    assert "walnut" not in shown and shown.count("candle") == 1, "only what was typed"


@pytest.mark.parametrize("typed", ["no", "n", "NO"])
async def test_a_no_about_anybody_is_a_no(person: Watcher, typed: str) -> None:
    answer = compare(person.talk())
    await person.sees(BOB)
    person.types("cand\n")
    await person.sees(CAROL)
    person.types(typed + "\n")
    assert await answer is False


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "a yes is not enough: type the word that bob alone can tell you, or no"),
        ("y", "a yes is not enough: type the word that bob alone can tell you, or no"),
        ("yes", "a yes is not enough: type the word that bob alone can tell you, or no"),
        ("lemon", "lemon stands on your screen: bob has a word that does not"),
        ("dial", "dial stands on your screen: bob has a word that does not"),
        ("dyna", "dynamic stands on your screen: bob has a word that does not"),
        ("walnut", "walnut is not the own word of bob: have it spelled, or type no"),
        ("can", "'can' is none of the words"),
        ("candle walnut", "'candle walnut' is none of the words"),
        ("\x16\x1b[2J", "'\\x1b[2J' is none of the words"),
    ],
)
async def test_a_yes_and_what_stands_on_the_own_screen_confirm_nothing(person: Watcher, typed: str, said: str) -> None:
    answer = compare(person.talk())
    await person.sees(BOB)
    person.types(typed + "\n")
    await person.sees(BOB, above=said)
    assert not answer.done()
    person.types("candle\n")
    await person.sees(CAROL)
    answer.cancel()
    await asyncio.gather(answer, return_exceptions=True)


async def test_the_third_wrong_word_is_a_no(person: Watcher) -> None:
    answer = compare(person.talk())
    await person.sees(BOB)
    for word in ("abacus", "zoom"):
        person.types(word + "\n")
        await person.sees(BOB, above=f"{word} is not the own word of bob: have it spelled, or type no")
    person.types("abacus\n")
    assert await answer is False


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(WORDS),
    st.sampled_from(WORDS),
    st.sampled_from(WORDS) | st.text(st.sampled_from("acdelnw"), max_size=9),
)
def test_a_guess_is_never_helped(one: str, other: str, guess: str) -> None:
    """What is said about a wrong word depends on what was typed alone, so it says nothing about the right one."""
    assume(meant(guess) not in (one, other) and guess not in ("n", "no"))
    said = set()
    for right in (one, other):
        with pytest.raises(UsageError) as caught:
            _Hearing("bob", right, "lemon", CHECK).understand(guess)
        said.add((caught.value.message, caught.value.hints))
    assert len(said) == 1


def test_a_person_who_types_at_random_gets_through_once_in_2048() -> None:
    """Three tries of the 2 044 words that are not on the own screen, and the third ends it: two others, squared."""
    passed = 0
    for word in WORDS:
        hearing = _Hearing("bob", "candle", "lemon", CHECK)
        try:
            passed += hearing.understand(word)
        except UsageError:
            assert hearing.wrong <= 1 < TRIES
    assert passed == 1


async def test_a_script_says_y_or_n_once_for_everybody() -> None:
    for line, yes in (("y", True), ("n", False)):
        reading, writing = os.pipe()
        os.write(writing, f"{line}\n".encode())
        stream = io.StringIO()
        assert await compare(Talk(as_json=True, stream=stream, answers=reading)) is yes
        (event,) = map(json.loads, stream.getvalue().splitlines())
        assert event == {
            "event": "check",
            "words": list(CHECK),
            "people": ["bob", "carol"],
            "own": "lemon",
            "question": "did you hear these words from bob and from carol?",
            "option": "--verify link",
        }
        os.write(writing, b"candle\n")
        with pytest.raises(UsageError, match="neither y nor n"):
            await compare(Talk(as_json=True, stream=stream, answers=reading))
        os.close(reading)
        os.close(writing)


async def test_json_tells_once_what_a_terminal_asks_of_each(person: Watcher) -> None:
    stream = io.StringIO()
    answer = compare(Talk(as_json=True, stream=stream, terminal=person.terminal))
    await person.sees(BOB)
    person.types("candle\n")
    await person.sees(CAROL)
    person.types("walnut\n")
    assert await answer is True
    (event,) = map(json.loads, stream.getvalue().splitlines())
    assert event["event"] == "check" and event["own"] == "lemon" and "candle" not in stream.getvalue()


async def test_without_a_terminal_it_names_the_option() -> None:
    with pytest.raises(UsageError, match="needs an answer") as caught:
        await compare(Talk(no_input=True, stream=io.StringIO()))
    assert caught.value.hints == ("answer beforehand with --verify link",)


# What it looks like


@pytest.mark.parametrize("environ", [{}, {"NO_COLOR": "1"}])
@pytest.mark.parametrize("columns", [40, 60, 80, 200])
async def test_what_is_said_meanwhile_stands_above_and_the_question_below(
    columns: int, environ: dict[str, str]
) -> None:
    person = Watcher(columns, 14)
    talk = person.talk(environ)
    answer = compare(talk)
    await person.sees("no:", above="own word of bob")
    before = person.rows
    said = []
    for i in range(20):
        name = f"party{i}"
        talk.line("Confirmed", name, event="confirmed", name=name)
        said.append(f"Confirmed  {name}")
    talk.error(PeerError("bob is late"))
    talk.line("Waiting", "carol: no answer for 12 s", event="waiting")
    talk.line("End", event="end")
    said += ["error: bob is late", "Waiting    carol: no answer for 12 s", "End"]
    await person.sees("no:", above="12 s End")
    question = next(i for i, row in enumerate(before) if "the same at bob?" in row)
    assert person.rows == [*before[:question], *said, *before[question:]], "no stump, and nothing twice"
    assert all(len(row) <= columns for row in person.rows)
    person.types("candle\n")
    await person.sees("no:", above="own word of carol")
    assert person.text.count("candle") == 1
    answer.cancel()
    await asyncio.gather(answer, return_exceptions=True)
    person.close()


async def test_half_an_answer_typed_meanwhile_is_gone_from_the_screen_too(person: Watcher) -> None:
    talk = person.talk()
    answer = compare(talk)
    await person.sees(BOB)
    person.types("cac")
    await person.sees("cac")
    talk.line("Confirmed", "bob", event="confirmed")
    await person.sees(BOB)
    assert person.text == f"{BLOCK}Confirmed  bob\n           {BOB}"
    person.types("candle\n")
    await person.sees(CAROL)
    answer.cancel()
    await asyncio.gather(answer, return_exceptions=True)


async def test_a_question_that_nobody_needs_to_answer_any_more_goes(person: Watcher) -> None:
    talk = person.talk()
    answer = compare(talk)
    await person.sees(BOB)
    person.types("cac")
    await person.sees("cac")
    answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer
    talk.error(PeerError("bob left: interrupted"))
    await person.sees("interrupted")
    assert person.text == f"{BLOCK}error: bob left: interrupted"


async def test_half_an_answer_is_not_left_to_the_shell(person: Watcher) -> None:
    answer = compare(person.talk())
    await person.sees(BOB)
    person.types("rm -r")
    await person.sees("rm -r")
    answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer
    person.types("ls\n")
    assert select.select([person.slave], [], [], 10)[0] and os.read(person.slave, 100) == b"ls\n"


async def test_a_terminal_that_cannot_move_repeats_the_question(person: Watcher) -> None:
    talk = person.talk({"TERM": "dumb"})
    answer = compare(talk)
    await person.sees(BOB)
    talk.line("Confirmed", "bob", event="confirmed")
    await person.sees(BOB, above="Confirmed")
    assert person.text == f"{BLOCK}           {BOB}\nConfirmed  bob\n           {BOB}" and b"\x1b" not in person.raw
    answer.cancel()
    await asyncio.gather(answer, return_exceptions=True)


async def test_after_control_c_the_next_line_stands_by_itself(person: Watcher) -> None:
    talk = person.talk()
    person.types("\x03")
    await person.sees("^C")
    talk.key_pressed()
    talk.line("Stopped", "interrupted", event="interrupted")
    await person.sees("interrupted")
    assert person.text == "^C\nStopped    interrupted"
