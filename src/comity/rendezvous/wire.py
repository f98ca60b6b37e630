"""The mailbox protocol, between a member and a rendezvous: one WebSocket (RFC 6455) for each member and room.

**Opening.** The member sends the upgrade request `GET BASE/room/ROOM?incarnation=I&after=N`, where BASE is the path of
the rendezvous's address (mostly empty), ROOM 32 lower-case hexadecimal digits, and the subprotocol is
`comity.mailbox.1`. I (32 lower-case hexadecimal digits) and N (decimal) say which log the member knows and how many of
its bodies it has; whoever knows none leaves both out. Answers other than 101: 400 for a query of another form, 404 for
another path or a room that this server does not hold, 426 without the subprotocol, 429 for one connection too many of
an address that a proxy speaks for. Any other connection too many is cut off without an answer, as is one that is in no
room after ten seconds, or in the middle of one message for MESSAGE_PATIENCE. There is no compression, and a redirect is
not followed. `GET /health` is answered with 200. With https or wss, TLS carries the whole; where the invitation names a
certificate, the server's must have that SHA-256, and an address without TLS is not used. A room is made by its first
member.

**Messages** are binary, one WebSocket message each; the first byte is the kind; numbers are big endian.

    server -> member
      1  WELCOME   incarnation 16 | count 4      first and once: this log, and the bodies it holds now
      2  ENTRY     position 4 | body             every body, in order, also the member's own
      3  REFUSED   SHA-256 of the body 32        a posted body was not appended: the room is full
    member -> server
      16 POST      body                          at most MAX_BODY bytes

**The log.** Positions count from 1 without gaps. Entries start at N + 1 when I is this log's incarnation, else at 1.
There is no other acknowledgement than the ENTRY that carries the body. A body that is in the log already is not
appended again, and nothing is sent: whoever posts it has read it, or is about to. So posting is idempotent, and a
member that lost its connection may post again whatever it has not read. Posts of one member keep their order.

**A log that is lost.** The incarnation is random, made with the room. A server that was restarted, or that forgot the
room, shows another one. The member then reads what is there (`count` entries) and posts everything else that it had
read or posted: first what it had read, in that order, then its own bodies that it never read. Each body was posted by
somebody who had read all that it answers; as every member posts again in the order of its reading, no member of the
new log reads an answer before what it answers. The body's first reading counts; a second one is passed over.

**Ends.** Either side closes. Codes of the server: 1001 it stops; 1009 a message was too large; 4400 a message or a
position was malformed; 4403 too many members in this room; 4410 the room has expired, ROOM_LIFE after its making;
4429 no place for another room. A room without members is forgotten after ROOM_MEMORY. After 4410 and 4400 a member
gives up, after all else it reconnects. Both sides ping; a side that hears nothing for long closes.

**Rates.** A server reads slower from a member that posts more than POST_BURST at once and POST_RATE after that.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from comity.core.encoding import Malformed
from comity.core.limits import MAX_BODY
from comity.rendezvous.rooms import INCARNATION_SIZE

SUBPROTOCOL = "comity.mailbox.1"
MAX_POST, MAX_ENTRY = MAX_BODY + 1, MAX_BODY + 5  # bytes of the largest message to a server and from one

_INCARNATION, _AFTER = re.compile("[0-9a-f]{32}"), re.compile("0|[1-9][0-9]{0,8}")
_WELCOME, _ENTRY, _REFUSED, _POST = 1, 2, 3, 16
_NUMBER = struct.Struct("!I")


@dataclass(frozen=True)
class Welcome:
    incarnation: bytes
    count: int

    def pack(self) -> bytes:
        return bytes([_WELCOME]) + self.incarnation + _NUMBER.pack(self.count)


@dataclass(frozen=True)
class Entry:
    position: int
    body: bytes

    def pack(self) -> bytes:
        return bytes([_ENTRY]) + _NUMBER.pack(self.position) + self.body


@dataclass(frozen=True)
class Refusal:
    key: bytes  # SHA-256 of the body

    def pack(self) -> bytes:
        return bytes([_REFUSED]) + self.key


def from_server(data: bytes) -> Welcome | Entry | Refusal:
    """Raises Malformed."""
    kind, rest = data[:1], data[1:]
    if kind == bytes([_WELCOME]) and len(rest) == INCARNATION_SIZE + 4:
        return Welcome(rest[:INCARNATION_SIZE], _NUMBER.unpack(rest[INCARNATION_SIZE:])[0])
    if kind == bytes([_ENTRY]) and 5 <= len(data) <= MAX_ENTRY:
        return Entry(_NUMBER.unpack(rest[:4])[0], rest[4:])
    if kind == bytes([_REFUSED]) and len(rest) == 32:
        return Refusal(rest)
    raise Malformed("the rendezvous sent a message of another protocol")


def post(body: bytes) -> bytes:
    return bytes([_POST]) + body


def from_member(data: bytes) -> bytes:
    """The body of a POST. Raises Malformed."""
    if data[:1] != bytes([_POST]) or len(data) > MAX_POST:
        raise Malformed("a member sent a message of another protocol")
    return data[1:]


def query(incarnation: bytes, after: int) -> dict[str, str]:
    return {"incarnation": incarnation.hex(), "after": str(after)} if incarnation else {}


def parse_query(values: dict[str, str]) -> tuple[bytes, int]:
    """The incarnation that the member knows, empty if none, and how many of its bodies. Raises Malformed."""
    if not values:
        return b"", 0
    known, after = values.get("incarnation", ""), values.get("after", "")
    if len(values) != 2 or not _INCARNATION.fullmatch(known) or not _AFTER.fullmatch(after):
        raise Malformed("a member asked for a position of another form")
    return bytes.fromhex(known), int(after)
