"""The program's process: MPyC, the program, and the links under it.

    python -P -m comity.mpyc_bridge.child DESCRIPTOR-OF-THE-CONTROL-SOCKET

It imports MPyC with the party's number, says so, waits for the session, and runs the program as `__main__`: from the
agreed bytes, with its own arguments and standard streams. MPyC does not see private arguments. A thread follows the
control socket, since the program may block the loop for seconds: it hands channels to the loop, and notices when the
node is gone.

However it ends - the program's end or error, a peer's fault, SIGTERM, the node's death - it ends in one place,
`_leave`, which finishes the links or says goodbye to every peer. What must not wait for the program is a SystemExit
raised into its main thread, and, should the program hold that up, the process's end after GRACE seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import io
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from typing import Any, NoReturn

from comity.core.encoding import Malformed
from comity.errors import ComityError, UsageError, VerificationError
from comity.mpyc_bridge import codec, control
from comity.mpyc_bridge.agreed import Agreed, Files, read_sealed
from comity.mpyc_bridge.audit import Audit
from comity.mpyc_bridge.control import Fault, Given, Keys, Message, Ready, Task, Totals, Unagreed
from comity.mpyc_bridge.epochs import Epochs
from comity.mpyc_bridge.imports import Finder
from comity.mpyc_bridge.loop import FIRST_PORT, host, make_loop
from comity.mpyc_bridge.main_program import run_as_main, show_exception
from comity.mpyc_bridge.memory import peak_memory
from comity.mpyc_bridge.private import marks, placed

GRACE = 1.5
"""Seconds that a program which must end may hold up its process."""

GOODBYE = 0.5
"""Seconds for goodbyes to leave: they wait for no answer."""

FINISH = 10.0
"""Seconds for the peers to take the last bytes: MPyC may keep one from reading as long."""

STOPS = 5
"""How often what the program has left behind may stop the loop meanwhile: MPyC does so for a failed coroutine."""

COLLECT_AFTER = 20_000
"""New objects after which Python looks for cycles. MPyC makes many objects and next to no cycles: Python's own 700 cost
some 4 % of secret santa, and without any collection neither it nor arrays of 256 x 256 took more memory."""

TERMINATED = 128 + signal.SIGTERM


class Stop(SystemExit):
    """Raised into the program when it must end."""


class Log(io.TextIOBase):
    """MPyC's log, on stderr; kept while people are still asked, so that it stands behind no open question."""

    def __init__(self) -> None:
        self._kept: list[str] | None = []

    def write(self, text: str, /) -> int:
        if self._kept is None:
            return sys.stderr.write(text)
        self._kept.append(text)
        return len(text)

    def flush(self) -> None:
        if self._kept is None:
            sys.stderr.flush()

    def release(self) -> None:
        kept, self._kept = self._kept, None
        sys.stderr.write("".join(kept or ()))
        sys.stderr.flush()


class Child:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._fault: Fault | None = None
        self._reason, self._detail = "error", ""  # of the goodbye
        self._orphan = self._leaving = False
        self._stopping: asyncio.Handle | None = None
        self._confirmed = threading.Event()  # the session's keys are here
        self._began = time.perf_counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._mpc: Any = None  # MPyC's runtime
        self._log = Log()
        self._installed = (*sys.path, sys.prefix, sys.base_prefix)  # the program's folder does not stand there yet

    def live(self) -> NoReturn:
        """Everything; exits with the program's code or that of what ended it."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the node's to judge
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGTERM, self._terminated)
        code: Any = 1
        try:
            self._task = self._first()
            self._import_mpyc(self._task)
            threading.Thread(target=self._follow, daemon=True).start()
            self.report(Ready({name: str(value) for name, value in vars(self._mpc.options).items()}))
            self._confirmed.wait()
            self._log.release()
            self._began = time.perf_counter()
            code = self._run()
        except Stop as exc:
            code = exc.code
        except ComityError as exc:
            self._fault = Fault(exc)
            self.report(self._fault)
        self._leave(code)
        sys.exit(code if self._fault is None else self._fault.error.exit_code)

    def report(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # a node that is gone is noticed by `_follow`
            control.send(self._sock, control.pack(message))

    def fault(self, fault: Fault) -> None:
        """Something ends the session: tell the node, and have the program end. Returns, to callbacks of the loop."""
        if self._fault is None:
            self._fault = fault
            self.report(fault)
            if fault.peer is not None:  # the others learn whom to blame
                self._reason, self._detail = "protocol", str(fault.peer)
            self._stop(fault.error.exit_code)

    def fail(self, error: ComityError) -> NoReturn:
        """The same, for code that the program itself has called."""
        self.fault(Fault(error, getattr(error, "peer", None)))
        raise Stop(error.exit_code)

    # Preparation

    def _first(self) -> Task:
        data, descriptor = control.receive(self._sock)
        if not data:
            raise Stop(1)  # the node is gone before anything has begun
        message = control.parse(data)
        if not isinstance(message, Task) or descriptor is None:
            raise Malformed(f"the node begins with {message.type}")
        self._agreed = Agreed(Files.unpack(read_sealed(descriptor)), self._installed)
        return message

    def _import_mpyc(self, task: Task) -> None:
        """MPyC reads sys.argv as it is imported, and keeps what is the program's."""
        ours = [] if task.verbose else ["--no-log"]
        if task.m > 1:
            ours += [f"-M{task.m}", f"-I{task.number}", f"-T{task.threshold}"]
        marked = placed(task.arguments)
        sys.argv = [task.target, *ours, *marked]
        self._epochs = Epochs(task.number, task.names, self.report, self.fault)
        try:
            logging.getLogger().addFilter(lambda record: "package uvloop" not in str(record.msg))  # we bring it
            with contextlib.redirect_stdout(self._log):  # stdout is the program's
                import mpyc

                self._loop = make_loop(self._epochs if task.m > 1 else None, fast=_wants_uvloop(marked))
                asyncio.set_event_loop(self._loop)
                import mpyc.runtime
        except SystemExit as exc:
            raise UsageError("MPyC does not take the program's arguments") from exc
        self._mpc = getattr(mpyc.runtime, "mpc", None)
        if self._mpc is None or any(getattr(self._mpc.options, name) for name in ("ssl", "parties", "config")):
            raise UsageError("MPyC does not start with the program's arguments")
        if (self._mpc.pid, len(self._mpc.parties), self._mpc.threshold) != (task.number, task.m, task.threshold):
            raise UsageError("the program's arguments change the parties or the threshold")
        self._fill_in(task)
        if task.m > 1:
            for party in self._mpc.parties:
                party.host, party.port = host(party.pid), FIRST_PORT + party.pid
        from comity.mpyc_bridge.shares import Shares  # imports MPyC

        shares = Shares(self.fail, task.names.__getitem__)
        shares.install(mpyc.runtime.Runtime)
        if not task.pickle:
            codec.install(mpyc.runtime, self.fail, task.names.__getitem__, shares.check)

    def _fill_in(self, task: Task) -> None:
        """Put the private arguments where MPyC has left their marks."""
        values = dict(zip(marks(task.arguments).values(), task.private, strict=True))
        if any(sys.argv.count(mark) != 1 for mark in values):
            raise UsageError("an option of MPyC cannot be private")
        sys.argv = [values.get(argument, argument) for argument in sys.argv]

    # The control socket

    def _follow(self) -> None:
        """In a thread: what the node says, until it is gone."""
        with contextlib.suppress(OSError, Malformed):  # a broken socket, a node of another version: it ends the same
            while (received := control.receive(self._sock))[0]:
                data, descriptor = received
                message = control.parse(data)
                if isinstance(message, Keys):
                    self._epochs.keys = message
                    self._confirmed.set()
                elif isinstance(message, Given) and descriptor is not None:
                    self._give(message, socket.socket(fileno=descriptor))
        self._orphan = True
        self._cut_off(1)
        os.kill(os.getpid(), signal.SIGTERM)

    def _give(self, given: Given, channel: socket.socket) -> None:
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._epochs.give, given, channel)
            except RuntimeError:  # the program has closed its loop
                channel.close()

    # The end

    def _terminated(self, *_: object) -> None:
        if not self._leaving:
            self._reason, self._detail = ("error", "its node is gone") if self._orphan else ("interrupted", "")
            self._stop(TERMINATED)

    def _stop(self, code: int) -> None:
        """End the program: at once, or from the loop's next turn if this is a turn of it."""
        if self._leaving:
            return
        self._cut_off(code)
        if self._loop is not None and self._loop.is_running():
            self._stopping = self._loop.call_soon_threadsafe(_raise, code)
        else:
            raise Stop(code)

    def _cut_off(self, code: int) -> None:
        """Whatever the program does with a SystemExit, with threads or at exit: this is the end."""
        timer = threading.Timer(GRACE, os._exit, (code,))
        timer.daemon = True
        timer.start()

    def _run(self) -> Any:
        """The program; returns its exit code as sys.exit takes it."""
        try:
            gc.freeze()  # what stands by now stays: no collection needs to look at it
            gc.set_threshold(COLLECT_AFTER)
            sys.meta_path.insert(0, Finder(self._agreed))
            sys.addaudithook(Audit(self._agreed, lambda label: self.report(Unagreed(label)), self._differs).hook())
            run_as_main(self._task.kind, self._task.target, self._agreed)
        except (Stop, ComityError):
            raise
        except SystemExit as exc:
            return exc.code
        except BaseException as exc:
            show_exception(exc)
            return 1
        return 0

    def _differs(self, label: str) -> NoReturn:
        what = f"{label} is not the file that was agreed on: it has changed since"
        self.fail(VerificationError(what, hint="leave it alone while a session runs, and start again"))

    def _leave(self, code: Any) -> None:
        self._leaving = True
        ended = time.perf_counter()
        if self._stopping is not None:
            self._stopping.cancel()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, by the program or a reader
                stream.flush()
        loop = self._loop
        if loop is not None and not loop.is_closed() and not loop.is_running():
            loop.set_exception_handler(lambda *_: None)  # of tasks that the program has left behind
            parting = loop.create_task(self._part(code in (None, 0) and self._fault is None))
            for _ in range(STOPS):
                if not parting.done():
                    with contextlib.suppress(SystemExit, RuntimeError):
                        loop.run_until_complete(parting)
            self._report_totals(ended)

    async def _part(self, well: bool) -> None:
        if well or (self._fault is None and self._epochs.settled):
            self._epochs.finish()
            patience = FINISH
        else:
            self._epochs.goodbye(self._reason, self._detail)
            patience = GOODBYE
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._epochs.over()

    def _report_totals(self, ended: float) -> None:
        usage, epochs = resource.getrusage(resource.RUSAGE_SELF), self._epochs
        began = self._began if epochs.began is None else min(epochs.began, ended)  # it may start while we leave
        others = (party for party in range(self._task.m) if party != self._task.number)
        peers = {party: {**dict.fromkeys(Totals.PEER, 0), "party": party} for party in others}
        for link in epochs.links:
            total = peers[link.peer]
            if link.stream is not None:
                total["bytes_sent"] += link.stream.sent
                total["bytes_received"] += link.stream.received
            total["messages_sent"] += link.exchange.messages_sent
            total["messages_received"] += link.exchange.messages_received
        self.report(
            Totals(
                rounds=epochs.depth.value,
                epochs=epochs.count,
                program_seconds=(epochs.stopped or ended) - began,
                cpu_seconds=usage.ru_utime + usage.ru_stime,
                peak_memory=peak_memory(),
                peers=tuple(peers.values()),
            )
        )


def _raise(code: int) -> NoReturn:
    raise Stop(code)


def _wants_uvloop(arguments: tuple[str, ...]) -> bool:
    """What MPyC's own switch says; MPyC has been told to leave the loop to us."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--no-uvloop", action="store_true")
    return not parser.parse_known_args(list(arguments))[0].no_uvloop


if __name__ == "__main__":
    control_socket = socket.socket(fileno=int(sys.argv[1]))
    control_socket.set_inheritable(False)
    Child(control_socket).live()
