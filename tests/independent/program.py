"""The program's process: sections 8 (what a program is) and 14 (MPyC's messages on data links) of docs/protocol.md."""

from __future__ import annotations

import ast
import asyncio
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import math
import os
import socket
import struct
import sys
import traceback
import types
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from tests.independent import codec
from tests.independent.links import Depth, Ends, Event, Slot, Stream
from tests.independent.notation import DATA_LINK, Fault, Malformed, digest, encode

ROOT = Path(__file__).parents[2]
NOT_COMPARED = {"VERSION", "HELP", "help", "config", "parties", "M", "index", "threshold", "base_port", "ssl"}
NOT_COMPARED |= {"log_level", "no_log", "output_windows", "output_file", "f"}
MAX_MESSAGE, MAX_UNCLAIMED, COST = 64 << 20, 192 << 20, 192


# What a program is


def examine(path: Path, m: int, arguments: list[str]) -> dict[str, Any]:
    """The program's description and its files, in a process of its own: it imports MPyC as the program would."""
    found, modules = closure(path)
    files = {name: sha256(data).hexdigest() for name, data in found.items()}
    parts = [*_mpyc(path, m, arguments), *_packages(modules)]
    parts += sorted((f"file {name}", value) for name, value in files.items())
    program: dict[str, Any] = {"name": path.stem, "arguments": arguments, "parts": {}, "python": sys.version.split()[0]}
    program["parts"] = _fold(parts, 9 * 1024 - len(encode(program)) - 2 * 96)
    return {"program": program, "files": files}


def closure(path: Path) -> tuple[dict[str, bytes], set[str]]:
    """The local files, by their paths from the program's folder, and the names of the other modules imported."""
    folder, files, others = path.parent, {path.name: path.read_bytes()}, set[str]()
    waiting = [(path, "")]
    while waiting:
        file, package = waiting.pop()
        for name, certain in _imports(file, package):
            there, found = _local(folder, name)
            if not there and certain:
                others.add(name.partition(".")[0])
            for near, inside in found:
                if str(near.relative_to(folder)) not in files:
                    files[str(near.relative_to(folder))] = near.read_bytes()
                    if near.suffix == ".py":
                        waiting.append((near, inside))
    return files, others - sys.stdlib_module_names - {"mpyc", "numpy"}


def _imports(file: Path, package: str) -> Iterator[tuple[str, bool]]:
    """Names that may be modules, and whether they must be; `package`: what the file's relative imports start from."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, True) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join(part for part in (*above, node.module) if part)
            yield base, not node.level
            yield from ((f"{base}.{alias.name}", False) for alias in node.names)


def _local(folder: Path, name: str) -> tuple[bool, list[tuple[Path, str]]]:
    """Whether a module is local, and the files that importing it reads, each with the package that it is in."""
    there, found, where, package = False, [], str(folder), ""
    for part in name.split("."):
        spec = importlib.machinery.PathFinder.find_spec(part, [where])
        if spec is None:
            break
        there = True
        inside = f"{package}.{part}".lstrip(".")
        if spec.origin is not None:
            found.append((Path(spec.origin), inside if spec.submodule_search_locations else package))
        if not spec.submodule_search_locations:
            break
        where, package = next(iter(spec.submodule_search_locations)), inside
    return there, found


def _mpyc(path: Path, m: int, arguments: list[str]) -> list[tuple[str, str]]:
    sys.argv = [str(path), f"-M{m}", "-I0", "--no-log", *arguments]
    import mpyc.runtime

    options = vars(mpyc.runtime.mpc.options)
    parts = [(f"option {name}", str(value)) for name, value in options.items() if name not in NOT_COMPARED]
    files = sorted(Path(mpyc.__file__).parent.glob("*.py"))
    source = digest("mpyc source", *(part for file in files for part in (file.name.encode(), file.read_bytes())))
    numpy = importlib.metadata.version("numpy").partition(".")[0] if importlib.util.find_spec("numpy") else "absent"
    versions = [("mpyc", mpyc.__version__), ("mpyc source", source.hex()), ("numpy", numpy)]
    return [*parts, *versions, ("word size", str(struct.calcsize("P") * 8))]


def _packages(modules: set[str]) -> list[tuple[str, str]]:
    owners, parts = importlib.metadata.packages_distributions(), set()
    for module in modules:
        parts |= {(f"package {name}", importlib.metadata.version(name)) for name in owners.get(module, ())}
        if module not in owners:
            there = importlib.util.find_spec(module)
            parts.add((f"module {module}", "without version" if there else "absent"))
    return sorted(parts)


def _fold(parts: list[tuple[str, str]], room: int) -> dict[str, str]:
    shown, rest = dict[str, str](), []
    for label, part in parts:
        size = len(encode({label: part}))
        if label.isprintable() and max(len(label), len(part)) <= 96 and len(shown) < 95 and size <= room:
            shown[label] = part
            room -= size
        else:
            rest.append(f"{label}\0{part}".encode())
    return {**shown, f"{len(rest)} more parts": digest("parts", *rest).hex()} if rest else shown


# MPyC's messages


class Peer(Protocol):
    """What is used of MPyC's MessageExchanger."""

    buffers: dict[int, Any]

    def connection_made(self, transport: Any) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def connection_lost(self, exc: None) -> None: ...


class Closed(dict[int, Any]):
    """MPyC's buffers of a peer that has left."""

    def __init__(self, buffers: dict[int, Any], fault: Callable[[], None]) -> None:
        super().__init__(buffers)
        self._fault = fault
        if any(isinstance(value, asyncio.Future) for value in buffers.values()):
            fault()

    def __setitem__(self, counter: int, value: Any) -> None:
        self._fault()
        super().__setitem__(counter, value)


class Pipe:
    """Between a link and MPyC: the transport that MPyC writes to, and a reader that judges what MPyC is fed."""

    def __init__(self, stream: Stream, head: int) -> None:
        self._stream, self._head = stream, head
        self._in, self._out = bytearray(), bytearray()
        self._peer: Peer | None = None
        self._unclaimed = 0
        self._loop = asyncio.get_running_loop()
        self.closing = False

    def left(self, fault: Callable[[], None]) -> None:
        """The peer will say no more: a fault as soon as the program waits for it."""
        if self._peer is not None:
            self._peer.buffers = Closed(self._peer.buffers, fault)

    def attach(self, peer: Peer) -> None:
        self._peer = peer
        peer.connection_made(self)
        self.feed(b"")

    def write(self, data: bytes) -> None:
        if self.closing:
            return  # as TCP does
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out += data

    def writelines(self, parts: list[bytes]) -> None:
        self.write(b"".join(parts))

    def close(self) -> None:
        self._flush()
        self.closing = True
        self._stream.link.fin()
        self._stream.flush()

    def complete(self) -> None:
        if self._peer is not None:
            self._peer.connection_lost(None)

    def _flush(self) -> None:
        if self._out and not self._stream.link.ended:
            data, self._out = bytes(self._out), bytearray()
            self._stream.link.write(data)
            self._stream.flush()

    def feed(self, data: bytes) -> None:
        self._in += data
        if self._peer is None:
            return
        if self._head:
            if len(self._in) < self._head:
                return
            if int.from_bytes(self._in[:2], "little") != self._stream.link.ends.peer:
                raise Malformed("another number than the verified party's")
            self._pass(self._head)
            self._head = 0
        while len(self._in) >= 12:
            counter, length = struct.unpack_from("<qI", self._in)
            if length > MAX_MESSAGE:
                raise Malformed("a message above the limit")
            if len(self._in) < 12 + length:
                return
            buffers = self._peer.buffers
            if not isinstance(buffers.get(counter), asyncio.Future | None):
                raise Malformed("a counter that comes twice")
            if counter not in buffers:
                self._unclaimed += length + COST
                if self._unclaimed > MAX_UNCLAIMED:
                    parts = [len(part) for part in buffers.values() if isinstance(part, bytes)]
                    self._unclaimed = length + COST + sum(parts) + COST * len(parts)
                if self._unclaimed > MAX_UNCLAIMED:
                    raise Malformed("too many messages that nobody has asked for")
            self._pass(12 + length)

    def _pass(self, size: int) -> None:
        assert self._peer is not None
        data = bytes(self._in[:size])
        del self._in[:size]
        self._peer.data_received(data)


class Node:
    """The other end of the socket to the node: JSON messages, one descriptor with a channel."""

    def __init__(self, descriptor: int) -> None:
        self.sock = socket.socket(fileno=descriptor)
        self.task, _ = self.receive()

    def receive(self) -> tuple[dict[str, Any], socket.socket | None]:
        data, descriptors, _, _ = socket.recv_fds(self.sock, 1 << 17, 1)
        if not data:
            os._exit(1)  # the node is gone
        return json.loads(data), socket.socket(fileno=descriptors[0]) if descriptors else None

    def send(self, **message: Any) -> None:
        self.sock.send(json.dumps(message).encode())

    def blame(self, fault: Fault) -> None:
        self.send(fault=str(fault), code=fault.code, told=fault.told, culprit=fault.culprit)


class Loop(asyncio.SelectorEventLoop):
    """An event loop on which MPyC's connections are links."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node, self.me, self.m = node, node.task["me"], node.task["m"]
        self._depth, self._incarnation = Depth(), os.urandom(16)
        self._slots: dict[tuple[int, int], Slot] = {}
        self._pipes: dict[Stream, Pipe] = {}
        self._starts: Counter[int] = Counter()  # by peer
        self._tasks: set[asyncio.Task[Any]] = set()
        self.add_reader(node.sock, self._told)

    def _told(self) -> None:
        message, sock = self.node.receive()
        if sock is not None:
            sock.setblocking(False)
            self._slot(message["peer"], message["epoch"]).offer(sock, message["number"])
        else:
            self.goodbye(message["told"], message["detail"])
            self.call_later(0.2, os._exit, 1)

    def goodbye(self, reason: str, detail: str = "") -> None:
        for slot in self._slots.values():
            if slot.stands.done():
                slot.stands.result().goodbye(reason, detail)

    async def finish(self) -> None:
        """The program has ended: so do the links that still stand."""
        for stream, pipe in self._pipes.items():
            pipe.close()
            with suppress(TimeoutError):
                await asyncio.wait_for(stream.closed.wait(), 1)

    def _slot(self, peer: int, epoch: int) -> Slot:
        if (peer, epoch) not in self._slots:
            task = self.node.task
            transcript, session, mine, theirs = (
                bytes.fromhex(text)
                for text in (task["transcript"], task["session"], task["certificate"], task["certificates"][peer])
            )
            ends = Ends(transcript, self.me, peer, session, mine, theirs, self._incarnation)
            slot = Slot(ends, DATA_LINK, epoch, self._depth, self._take, self._fail)
            slot.failed = lambda: self.node.send(failed=[peer, epoch])
            self._slots[peer, epoch] = slot
        return self._slots[peer, epoch]

    def _fail(self, fault: Fault) -> None:
        self.node.blame(fault)

    def _take(self, stream: Stream, event: Event) -> None:
        link = stream.link
        peer = link.ends.peer
        match event:
            case ("open",):
                self._pipes[stream] = Pipe(stream, self._head(peer) if peer < self.me else 0)
                self.node.send(stands=[peer, link.epoch])
            case ("data", data):
                self._pipes[stream].feed(data)
            case ("fin",):
                pipe = self._pipes[stream]
                if not pipe.closing:
                    pipe.left(lambda: self._fail(Fault("a party has left early", culprit=peer)))
                    pipe.close()
            case ("complete",):
                self._pipes[stream].complete()
                link.ended = True
                self.call_soon(stream.close)
            case ("goodbye", reason, detail):
                self.node.send(heard=[peer, reason, detail])
            case ("lost",) if not (link.ended or link.heard):
                self.node.send(lost=peer)

    def _head(self, peer: int) -> int:
        import mpyc.runtime

        runtime = mpyc.runtime.mpc
        sets = math.comb(self.m - peer - 2, self.m - runtime.threshold - 2)
        return 2 + (0 if runtime.options.no_prss else 16 * sets)

    async def _connect(self, factory: Any, peer: int) -> tuple[Pipe, Peer]:
        epoch = self._starts[peer]
        self._starts[peer] += 1
        self.node.send(epoch=epoch)
        stream = await self._slot(peer, epoch).stands
        protocol: Peer = factory()
        self._pipes[stream].attach(protocol)
        return self._pipes[stream], protocol

    async def create_connection(  # type: ignore[override]
        self, factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        if host is None:
            return await super().create_connection(factory, host, port, **options)
        return await self._connect(factory, int(host.removeprefix("party").partition(".")[0]))

    async def create_server(  # type: ignore[override]
        self, factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        for peer in range(self.me):
            task = self.create_task(self._connect(factory, peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return asyncio.Server(self, [], factory, None, 0, None)


class Codec:
    """In the place of MPyC's module `pickle`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def dumps(self, value: Any) -> bytes:
        try:
            return codec.dumps(value)
        except codec.Uncarried as error:
            self._end(Fault(str(error), 6, "error"))
            raise

    def loads(self, data: bytes) -> Any:
        try:
            return codec.loads(data)
        except Malformed as fault:
            self._end(fault)
            raise

    def _end(self, fault: Fault) -> None:
        """MPyC would pass over an exception here, and everybody would wait."""
        self._node.blame(fault)
        raise SystemExit(fault.code)


class Agreed(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports local modules from the very bytes that all have agreed on, and no others."""

    def __init__(self, folder: Path, files: dict[str, str]) -> None:
        self._folder, self._files = folder, files

    def read(self, path: Path) -> bytes:
        data = path.read_bytes()
        if self._files.get(str(path.relative_to(self._folder))) != sha256(data).hexdigest():
            raise ImportError(f"{path.name} is not as agreed")
        return data

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.origin is None or not Path(spec.origin).is_relative_to(self._folder):
            return None
        spec.loader = self
        return spec

    def get_source(self, name: str) -> str:
        raise NotImplementedError

    def exec_module(self, module: Any) -> None:
        origin = Path(module.__spec__.origin)
        exec(compile(self.read(origin), origin, "exec"), vars(module))  # noqa: S102 - what all have agreed on


def run(descriptor: int) -> None:
    node = Node(descriptor)
    path, me, m = node.task["path"], node.task["me"], node.task["m"]
    own = [f"-Pparty{i}.session.invalid:1" for i in range(m)] + [f"-I{me}", f"-T{node.task['threshold']}", "--no-log"]
    sys.argv = [path, *own, *node.task["arguments"]]
    loop = Loop(node)
    import mpyc

    asyncio.set_event_loop(loop)
    import mpyc.runtime

    runtime = mpyc.runtime.mpc
    assert (runtime.pid, len(runtime.parties), runtime.options.ssl) == (me, m, False)
    mpyc.runtime.pickle = Codec(node)
    sys.path[0] = str(Path(path).parent)
    agreed = Agreed(Path(path).parent, node.task["files"])
    sys.meta_path.insert(0, agreed)
    main = types.ModuleType("__main__")
    main.__file__ = path
    sys.modules["__main__"] = main
    try:
        exec(compile(agreed.read(Path(path)), path, "exec"), vars(main))  # noqa: S102 - what all have agreed on
        code: Any = 0
    except SystemExit as ending:
        code = ending.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    if code not in (0, None):
        loop.goodbye("error")
    loop.run_until_complete(loop.finish())
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    if sys.argv[1] == "examine":
        print(json.dumps(examine(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])))
    else:
        run(int(sys.argv[2]))
