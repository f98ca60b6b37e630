"""One party of test_direct_lab.py, started in a namespace of its own: python lab_party.py ME

Signals travel as lines of hexadecimal on its stdin and stdout; at the end it prints the path that carried its dial.
"""

import asyncio
import sys
from collections.abc import AsyncIterator

from tests.contracts.parties import session

from comity.interfaces import PartyId, Settings
from comity.transports.direct import Direct


class Lines:
    def __init__(self, reader: asyncio.StreamReader, peer: PartyId) -> None:
        self._reader = reader
        self._peer = peer

    async def send(self, to: PartyId, body: bytes, /) -> None:
        print(body.hex(), flush=True)

    async def receive(self) -> AsyncIterator[tuple[PartyId, bytes]]:
        while line := await self._reader.readline():
            yield self._peer, bytes.fromhex(line.decode())


async def main(me: PartyId) -> None:
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with Direct(Settings()).connect(session(2), me, Lines(reader, 1 - me), print) as reach:
        near = await reach.dial(1 - me)
        await loop.sock_sendall(near.sock, bytes([me]))
        far = await anext(aiter(reach.arrivals()))
        said = await loop.sock_recv(far.sock, 1)
        near.sock.shutdown(1)
        assert await loop.sock_recv(far.sock, 1) == b""  # the other side has got its byte
        print(f"{near.path.remote} {said[0]}", flush=True)
        near.sock.close()
        far.sock.close()


asyncio.run(main(int(sys.argv[1])))
