"""What people are told of waiting, second by second, and when a silent peer is lost."""

from typing import Any

import pytest

from comity.node.waits import LATE_SECONDS, LOOK_SECONDS, SILENCE_SECONDS, Lost, Waits

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
    ) -> None:
        """`silent`: since when; whoever is in neither answers all the time."""
        for _ in range(seconds):
            self.now += LOOK_SECONDS
            since = dict.fromkeys((1, 2, 3), self.now) | (silent or {})
            silences = {peer: self.now - then for peer, then in since.items() if peer not in pathless}
            self.waits.look(self.now, silences, pathless, idle)


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
