"""The parties of a demo, on a stage where nothing is real but their words."""

import asyncio
import io
import json
import signal

import pytest

from comity.cli import troupe
from comity.cli.stage import Build
from comity.cli.talk import Talk
from comity.cli.troupe import Troupe
from comity.errors import ComityError


class Puppet:
    """A party that says what it is given and ends with a code, or when it is told to."""

    def __init__(self, said: list[dict[str, object]], code: int | None) -> None:
        self.stdout, self.stderr = asyncio.StreamReader(), asyncio.StreamReader()
        for event in said:
            self.stderr.feed_data(json.dumps(event).encode() + b"\n")
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.signals: list[int] = []
        if code is not None:
            self._end(code)

    def _end(self, code: int) -> None:
        self._code.set_result(code)
        self.stdout.feed_eof()
        self.stderr.feed_eof()

    def write(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass

    async def signal(self, number: int) -> None:
        self.signals.append(number)
        if not self._code.done():
            self._end(-number)

    async def wait(self) -> int:
        return await asyncio.shield(self._code)


class Puppets:
    names = ("alice", "bob")
    rendezvous = ("http://here:1",)
    where = "nowhere"

    def __init__(self) -> None:
        self.started: list[Puppet] = []
        self.commands: list[list[str]] = []

    async def start(self, i: int, build: Build) -> Puppet:
        self.commands.append(build(["--record", "file"]))
        invite = {"event": "invite", "link": "comity://x"}
        error = {"event": "error", "kind": "unreachable", "message": "no rendezvous", "hints": [], "exit": 5}
        self.started.append(Puppet([[invite], [error]][i], [None, 5][i]))
        return self.started[-1]

    async def record(self, i: int) -> str:
        raise AssertionError(f"nobody asks what {i} recorded")


async def test_the_others_do_not_wait_for_ever_for_one_that_never_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(troupe, "MISS_SECONDS", 0.01)
    stage = Puppets()
    talk = Talk(stream=io.StringIO(), environ={})
    with pytest.raises(ComityError, match="at bob: no rendezvous") as caught:
        await Troupe(talk, stage, None, (), ("sum", "4"), "built in").perform()
    assert caught.value.exit_code == 5
    assert stage.started[0].signals[0] == signal.SIGTERM
    host, join = stage.commands
    assert host[:5] == ["host", "-n", "2", "--rendezvous", "http://here:1"]
    assert join[0] == "join" and join[-3:] == ["-", "sum", "4"]
