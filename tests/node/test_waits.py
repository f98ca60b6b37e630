"""What people are told of waiting, second by second, and when a silent peer is lost."""

from typing import Any

import pytest

from comity.node.waits import LATE_SECONDS, LOOK_SECONDS, MAX_STALLS, SILENCE_SECONDS, Lost, Waits

NAMES = ("alice", "bob", "carol", "dave")


class Screen:
    """A person who is told, and never asked."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.events: list[dict[str, Any]] = []

    def line(self, label: str, /, *lines: str, event: str, **fields: object) -> None:
        self.lines.append(f"{label}: {' '.join(lines)}")
        self.events.append({"event": event, **fields})

    def detail(self, *lines: str, event: str, **fields: object) -> None:
        raise AssertionError

    async def ask(self, label: str, /, *lines: str, option: str, event: str = "question", **fields: object) -> bool:
        raise AssertionError


class Run:
    """alice's, whose looks come one second after another."""

    def __init__(self) -> None:
        self.screen, self.now = Screen(), 100.0
        self.waits = Waits(NAMES, self.screen, self.now)

    def pass_(
        self,
        seconds: int,
        silent: dict[int, float] | None = None,
        pathless: tuple[int, ...] = (),
        idle: tuple[int, ...] = (),
        stalled: dict[int, tuple[str, float]] | None = None,
    ) -> None:
        """`silent`, `stalled`: since when; whoever is in neither answers all the time."""
        for _ in range(seconds):
            self.now += LOOK_SECONDS
            since = dict.fromkeys((1, 2, 3), self.now) | (silent or {})
            silences = {peer: self.now - then for peer, then in since.items() if peer not in pathless}
            waits = {peer: (why, self.now - then) for peer, (why, then) in (stalled or {}).items()}
            self.waits.look(self.now, silences, pathless, idle, waits)


def test_where_all_is_well_nothing_is_said() -> None:
    run = Run()
    run.pass_(100)
    assert not run.screen.lines


def test_peers_without_a_path_are_named_less_and_less_often() -> None:
    run = Run()
    run.pass_(30, pathless=(2, 1), idle=(2, 1))
    run.pass_(10, pathless=(2,), idle=(2, 1))
    run.pass_(20)
    assert run.screen.lines == [
        "Waiting: bob, carol: no path yet after 6 s",
        "Waiting: bob, carol: no path yet after 12 s",
        "Waiting: bob, carol: no path yet after 24 s",
    ]
    assert run.screen.events[0] == {"event": "waiting", "names": ["bob", "carol"], "why": "path", "seconds": 6.0}


def test_programs_that_have_not_started_are_told_apart_from_paths() -> None:
    run = Run()
    run.pass_(13, idle=(3,))
    run.pass_(20)
    assert run.screen.lines == [
        f"Waiting: dave: connected; a program there or here has not started after {n} s" for n in (6, 12)
    ]


def test_two_who_do_not_start_may_miss_each_other() -> None:
    run = Run()
    run.pass_(7, idle=(1, 3))
    (line,) = run.screen.lines
    assert line.endswith("has not started after 6 s; perhaps two others have no path to one another yet")
    assert run.screen.events[0] == {"event": "waiting", "names": ["bob", "dave"], "why": "program", "seconds": 6.0}


def test_a_silent_peer_is_told_of_and_then_lost() -> None:
    run = Run()
    with pytest.raises(Lost) as caught:
        run.pass_(60, silent={2: run.now})
    assert run.now == 100 + SILENCE_SECONDS
    assert run.screen.lines == [f"Waiting: carol: no answer for {n} s" for n in (6, 12)]
    assert (caught.value.peer, caught.value.message) == (2, "no answer from carol for 15 s")
    assert caught.value.hints == ("carol's machine or the network between may be down",)


def test_a_peer_that_is_heard_again_is_told_of() -> None:
    run = Run()
    run.pass_(9, silent={2: run.now})
    run.pass_(60)
    assert run.screen.lines == ["Waiting: carol: no answer for 6 s", "Connected: carol again, after 9 s"]
    assert run.screen.events[1] == {"event": "again", "names": ["carol"], "seconds": 9.0}


def test_a_peer_that_ended_well_is_not_waited_for() -> None:
    run = Run()
    run.pass_(7, silent={2: run.now})
    run.now += 1
    run.waits.look(run.now, {1: 0.0, 3: 0.0}, (), ())
    assert run.screen.lines == ["Waiting: carol: no answer for 6 s"]


@pytest.mark.parametrize(
    ("silent", "who", "hint"),
    [
        ((1, 3), "bob and dave", "their machines or the network between may be down"),
        ((1, 2, 3), "bob and carol and dave", "nobody answers: this machine's own network may be down"),
    ],
)
def test_several_silent_peers_are_named_together(silent: tuple[int, ...], who: str, hint: str) -> None:
    """Heartbeats are not heard at the same moment; who is silent for longest is blamed."""
    run = Run()
    run.pass_(5)
    with pytest.raises(Lost) as caught:
        run.pass_(60, silent={peer: run.now - (peer == 3) for peer in silent})
    assert (caught.value.peer, caught.value.message) == (3, f"no answer from {who} for 15 s")
    assert caught.value.hints == (hint,)


def test_a_process_that_was_stopped_itself_listens_before_it_judges() -> None:
    run = Run()
    run.pass_(3)
    run.now += LATE_SECONDS + 60
    run.pass_(1, silent={2: 103.0})
    run.pass_(5, silent={2: 103.0})
    assert not run.screen.lines
    with pytest.raises(Lost, match="no answer from carol for 15 s"):
        run.pass_(20, silent={2: 103.0})


def test_a_peer_whose_message_the_program_needs_is_named_less_and_less_often() -> None:
    run = Run()
    run.pass_(30, stalled={2: ("message", run.now)})
    assert run.screen.lines == [f"Waiting: carol: {n} s for a message" for n in (6, 12, 24)]
    assert run.screen.events[0] == {
        "event": "waiting",
        "names": ["carol"],
        "why": "message",
        "seconds": 6.0,
    }


def test_who_owes_a_message_after_another_one_came_is_told_of_again_after_as_long() -> None:
    run = Run()
    for _ in range(3):
        run.pass_(7, stalled={2: ("message", run.now)})
        run.pass_(1)
    assert run.screen.lines == ["Waiting: carol: 6 s for a message"] * 3


def test_each_reason_for_waiting_has_its_words() -> None:
    run = Run()
    run.pass_(6, stalled={1: ("start", run.now), 2: ("unread", run.now), 3: ("message", run.now)})
    assert run.screen.lines == [
        "Waiting: bob: 6 s for another start of the program there",
        "Waiting: dave: 6 s for a message",
        "Waiting: carol: nothing was taken for 6 s",
    ]


def test_whose_node_is_silent_is_not_waited_for_twice() -> None:
    run = Run()
    run.pass_(9, silent={2: run.now}, stalled={2: ("message", run.now)})
    assert run.screen.lines == ["Waiting: carol: no answer for 6 s"]


def test_what_was_waited_for_stands_in_the_record() -> None:
    run = Run()
    run.pass_(3, pathless=(3,), idle=(2, 3))
    run.pass_(1)
    run.pass_(14, stalled={2: ("message", run.now)})
    run.pass_(1, stalled={1: ("message", run.now)})
    run.pass_(7, silent={1: run.now - 1})
    run.pass_(4, stalled={3: ("unread", run.now)})
    stalls = [(stall.party, stall.why, stall.seconds) for stall in run.waits.end()]
    assert stalls == [
        (3, "path", 3.0),
        (2, "program", 3.0),
        (2, "message", 14.0),
        (1, "silence", 8.0),
        (3, "unread", 4.0),
    ]
    assert run.waits.end() == run.waits.end()


def test_of_too_many_waits_the_longest_are_recorded() -> None:
    run = Run()
    for seconds in (5, *[2] * MAX_STALLS, 3):
        run.pass_(seconds, stalled={2: ("message", run.now)})
        run.pass_(1)
    stalls = [stall.seconds for stall in run.waits.end()]
    assert stalls == [5.0, *[2.0] * (MAX_STALLS - 2), 3.0]
