"""The delay core's process: `python -m comity.lab.delaycore DESCRIPTOR SEED`, started by `comity.lab.delay`.

It holds a TUN device for each WAN interface, and ends when the control socket does, its devices with it. One thread, so
that a packet costs two system calls and a place in a heap. Requests are JSON objects with descriptors beside them, each
answered in order: {"serial": the request's, "answer": {...} or "error": text}.
"""

from __future__ import annotations

import gc
import json
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from comity.lab import pcap
from comity.lab.internet import Attachment, Internet, Shape
from comity.lab.tun import superpackets

PRIORITY = 10
"""Above every normal process, below the kernel's own threads."""

BATCH = 16
"""Packets read from one device before the others and what is due have their turn."""

STEP = 10e-6
"""Seconds: the width of a class of the histogram of latenesses."""

CLASSES = 100_000
"""The histogram's length: a second. What is later counts in the last class; the largest is kept exactly."""

MAX_CAPTURE = 1 << 30
"""Bytes of one capture: a disk is not filled by a lab that somebody forgot."""

Answer = dict[str, Any]


class Latenesses:
    """How long after they were due packets were delivered, as a histogram."""

    def __init__(self) -> None:
        self.classes = [0] * CLASSES
        self.largest = 0.0

    def add(self, seconds: float) -> None:
        self.classes[min(int(seconds / STEP), CLASSES - 1)] += 1
        if seconds > self.largest:
            self.largest = seconds

    def quantile(self, share: float) -> float:
        """The upper end of the class that holds it."""
        left = share * sum(self.classes)
        for k, count in enumerate(self.classes):
            left -= count
            if count and left <= 0:
                return min((k + 1) * STEP, self.largest)
        return 0.0

    def answer(self) -> Answer:
        return {
            "p50": self.quantile(0.5),
            "p99": self.quantile(0.99),
            "max": self.largest,
            "packets": sum(self.classes),
        }


class Core:
    def __init__(self, control: socket.socket, seed: int) -> None:
        self._control = control
        self._internet = Internet(seed)
        self._latenesses = Latenesses()
        self._poll = select.epoll()
        self._by_descriptor: dict[int, Attachment] = {}
        self._captures: dict[str, tuple[int, int]] = {}  # descriptor, bytes left
        self._ended = False
        self._poll.register(control, select.EPOLLIN)
        self._realtime = _realtime()

    def run(self) -> None:
        """Until the control socket ends."""
        internet, clock, waiting = self._internet, time.monotonic, [self._poll.fileno()]
        while not self._ended:
            now = clock()
            for due, attachment, packet in internet.deliver(now):
                now = clock()
                self._latenesses.add(now - due)
                self._write(attachment, packet)
            # epoll counts in milliseconds, select in microseconds: so the one waits for the other
            due_next = internet.due
            select.select(waiting, (), (), None if due_next is None else max(due_next - clock(), 0))
            for descriptor, _ in self._poll.poll(0):
                attachment_of = self._by_descriptor.get(descriptor)
                if attachment_of is not None:
                    self._read(attachment_of)
                else:
                    self._answer()

    def _read(self, attachment: Attachment) -> None:
        internet = self._internet
        for _ in range(BATCH):
            try:
                packet = os.read(attachment.descriptor, 1 << 17)
            except OSError:  # nothing more, or the device is down
                return
            if self._captures:
                self._capture(attachment, packet)
            target = internet.send(attachment, packet, time.monotonic())
            if target is not None:
                self._write(target, packet)

    def _write(self, attachment: Attachment, packet: bytes) -> None:
        if self._captures:
            self._capture(attachment, packet)
        try:
            os.write(attachment.descriptor, packet)
        except OSError:
            attachment.counts["refused"] += 1
        else:
            attachment.counts["received"] += 1

    def _capture(self, attachment: Attachment, packet: bytes) -> None:
        descriptor, left = self._captures.get(attachment.name, (-1, 0))
        if descriptor < 0:
            return
        record = pcap.record(packet, time.time_ns())
        try:
            if left < len(record) or os.write(descriptor, record) < len(record):
                raise OSError("full")
        except OSError:
            attachment.counts["capture full"] += 1
            self._end_capture(attachment.name)
            return
        self._captures[attachment.name] = descriptor, left - len(record)

    def _end_capture(self, name: str) -> None:
        descriptor, _ = self._captures.pop(name, (-1, 0))
        if descriptor >= 0:
            os.close(descriptor)

    def _answer(self) -> None:
        data, descriptors, _, _ = socket.recv_fds(self._control, 1 << 18, 1)
        if not data:
            self._ended = True
            return
        request = json.loads(data)
        serial = request.pop("serial")
        action: Callable[..., Answer] = getattr(self, f"do_{request.pop('do')}")
        if descriptors:
            request["descriptor"] = descriptors[0]
        try:
            answer: Answer = {"answer": action(**request)}
        except (ValueError, OSError) as exc:
            for descriptor in descriptors:
                os.close(descriptor)
            answer = {"error": str(exc)}
        self._adjust()
        self._control.send(json.dumps({"serial": serial, **answer}).encode())

    def _adjust(self) -> None:
        """Where packets are counted, the kernel cuts superpackets before it hands them over."""
        counting = self._internet.counting()
        for attachment in self._by_descriptor.values():
            whole = attachment.region not in counting
            if whole != attachment.whole:
                superpackets(attachment.descriptor, whole)
                attachment.whole = whole

    def do_start(self) -> Answer:
        return {"realtime": self._realtime}

    def do_attach(self, name: str, region: str, networks: list[str], descriptor: int) -> Answer:
        os.set_blocking(descriptor, False)
        attachment = self._internet.attach(name, region, networks, descriptor)
        self._by_descriptor[descriptor] = attachment
        self._poll.register(descriptor, select.EPOLLIN)
        return {}

    def do_detach(self, name: str) -> Answer:
        attachment = self._internet.detach(name)
        self._end_capture(name)
        del self._by_descriptor[attachment.descriptor]
        self._poll.unregister(attachment.descriptor)
        os.close(attachment.descriptor)
        return {}

    def do_path(self, a: str, b: str, **shape: float) -> Answer:
        self._internet.path(a, b, Shape(**shape))
        return {}

    def do_link(self, name: str, up: bool, **shape: float) -> Answer:
        self._internet.link(name, Shape(**shape), up=up)
        return {}

    def do_move(self, name: str, region: str) -> Answer:
        self._internet.move(name, region)
        return {}

    def do_partition(self, groups: list[list[str]]) -> Answer:
        self._internet.partition(groups)
        return {}

    def do_capture(self, name: str, descriptor: int = -1) -> Answer:
        """Into a new file, from now on; without one: no longer."""
        if name not in self._internet.attachments:
            raise ValueError(f"nothing is attached as {name}")
        self._end_capture(name)
        if descriptor >= 0:
            os.write(descriptor, pcap.FILE_HEADER)
            self._captures[name] = descriptor, MAX_CAPTURE
        return {}

    def do_lateness(self) -> Answer:
        """Since the last time that it was asked for."""
        answer = self._latenesses.answer()
        self._latenesses = Latenesses()
        return answer

    def do_counts(self) -> Answer:
        return {name: dict(attachment.counts) for name, attachment in self._internet.attachments.items()}


def _realtime() -> bool:
    """Be scheduled before normal processes, where that is allowed, and woken without the usual slack of 50 us."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    except PermissionError:
        Path("/proc/self/timerslack_ns").write_text("1")
        return False
    return True


def main() -> None:
    gc.disable()  # nothing here makes cycles, and a collection is a packet that is late
    with socket.socket(fileno=int(sys.argv[1])) as control:
        Core(control, int(sys.argv[2])).run()


if __name__ == "__main__":
    main()
