"""Every limit on what a stranger, a peer or a server may send, with its reason."""

from __future__ import annotations

from typing import Final

MAX_PARTIES: Final = 64
"""A roster carries every HELLO: 64 of them fit one body; MPyC's default PRSS keys end near 15."""

MAX_HELLO: Final = 12 * 1024
"""Bytes of one HELLO in its envelope: keys and name need 600, the list of what differs at most 10 KiB."""

MAX_BODY: Final = 1024 * 1024
"""Bytes of one sealed body in a mailbox: a roster of MAX_PARTIES full HELLOs and its manifest."""

MAX_NAME: Final = 32
"""Characters of a party's name: it must fit a line of the question beside others."""

MAX_PARTS: Final = 96
"""Entries in what a program is made of; more files than this are folded into one digest."""

MAX_PART: Final = 96
"""Characters of one label or value of a part."""

MAX_PROGRAM: Final = 9 * 1024
"""Bytes of all that a program is made of, arguments included: what MAX_HELLO leaves for it."""

MAX_ARGUMENTS: Final = 32
"""Public arguments of a program."""

MAX_ARGUMENT: Final = 256
"""Characters of one public argument; all are shown to every joiner."""

MAX_PRIVATE: Final = 4096
"""Characters of all private arguments of a party: they travel to the program in one message of MAX_CONTROL."""

MAX_FILES: Final = 4096
"""Files that a program is made of."""

MAX_FILES_BYTES: Final = 64 << 20
"""Bytes of all files that a program is made of: its node keeps them until they run."""

MAX_ENVELOPES: Final = 8 * MAX_PARTIES
"""Bodies of one ceremony: six of each party, and leaves. More is a flood."""

MAX_FRAME: Final = 1 << 20
"""Bytes of one frame's data: what it acknowledges and says of depth is not older than this."""

MAX_MESSAGE: Final = 64 << 20
"""Bytes of one MPyC message: an array of 2**23 elements of 8 bytes; MPyC itself would accept 4 GiB."""

MAX_UNSENT: Final = 256 << 20
"""Bytes kept for a peer that does not take them: four of the largest messages at once. Past it the run ends and names
that peer."""

MAX_SIGNAL: Final = 16 * 1024
"""Bytes of one signal: an offer with every candidate of a machine with many interfaces."""

MAX_DEPTH: Final = 64
"""Levels of lists in lists in a value that a program sends: reading one stays clear of Python's recursion limit."""

ITEM: Final = 48
"""Bytes of Python's memory that an item of a value stands for: an integer, and its place in a list."""

MAX_ITEMS: Final = 1 << 22
"""Items of one value that a program sends, or receives: an array of 2048 x 2048; with its copies at most 192 MiB."""

MAX_ALIKE: Final = 64
"""Keys of one hash in a dictionary or set that a program sends: integers can be chosen to collide, and a table of them
takes the square of their number in time."""

MAX_SIGNALS: Final = 2000
"""Signals of one party in a session: a new set of candidates every two seconds for an hour."""

MAX_DETAIL: Final = 200
"""Characters of a goodbye's detail: a line on a terminal."""

MAX_GOODBYE: Final = 4 * MAX_DETAIL + 64
"""Bytes of a goodbye: its detail in UTF-8, and its reason."""

MAX_IDLE_FRAMES: Final = 1024
"""Frames in a row that bring neither data nor an acknowledgement of more: an honest peer sends none."""

MAX_NODE_MESSAGE: Final = 2 * MAX_SIGNAL + 1024
"""Bytes of one message between two nodes, as canonical JSON: a signal in hexadecimal and what surrounds it."""

MAX_NODE_MESSAGES: Final = 256
"""Messages of another node that wait to be read: signals for every transport that is raced, and the rest."""

MAX_PINGS: Final = 64
"""Pings of another node between two of ours: one, or a few after a stop; each is work for us, and an answer."""

MAX_NODE_UNSENT: Final = 4 << 20
"""Bytes kept for a node that does not take them: a hundred signals."""

MAX_ROOM_BODIES: Final = 16384
"""Bodies of one room: a ceremony of MAX_PARTIES, a signal from each to each other, and again where networks change."""

MAX_ROOM_BYTES: Final = 32 << 20
"""Bytes of one room, BODY_COST for each body included: MAX_ROOM_BODIES small ones, a full roster and every HELLO."""

BODY_COST: Final = 1024
"""Bytes counted for a body beside its own: its hash, its place in tables, its frame on the wire."""

MAX_ROOM_MEMBERS: Final = 2 * MAX_PARTIES
"""Connections into one room: a party that reconnects may be there twice until its old connection is noticed dead."""

ROOM_LIFE: Final = 65 * 60
"""Seconds from a room's first member to its end: an invitation's hour, and the ceremony's last minutes."""

ROOM_MEMORY: Final = 60
"""Seconds for which a room without members is kept: everybody may be reconnecting."""

MAX_ROOMS: Final = 1024
"""Rooms of one server."""

MAX_ROOMS_BYTES: Final = 256 << 20
"""Bytes in all rooms of a server: what a small machine has to spare."""

MAX_ROOMS_BYTES_OF_ADDRESS: Final = 64 << 20
"""Bytes in all rooms made from one address: two full rooms, so that no address fills a server by itself."""

MAX_UNFINISHED: Final = 64 << 20
"""Bytes of all messages that a server has half read or half sent; past it, who began first is cut off. Honest ones are
done in a moment, but for rosters of MAX_BODY on slow lines: 64 of those."""

MESSAGE_PATIENCE: Final = 60
"""Seconds for one message: MAX_BODY at 140 kbit/s."""

MAX_ROOMS_OF_ADDRESS: Final = 64
"""Rooms made from one address: an office behind one address; loopback is exempt."""

MAX_CONNECTIONS: Final = 512
"""Connections of one server: below the 1 024 descriptors that a process usually may have."""

MAX_CONNECTIONS_SERVED: Final = 4096
"""Connections of `comity serve`, where the system allows as many: two for each party of MAX_ROOMS / 2 sessions."""

MAX_CONNECTIONS_OF_ADDRESS: Final = 192
"""Connections from one address: MAX_PARTIES behind one address, reconnecting, and a second session."""

POST_RATE: Final = 1 << 20
"""Bytes a second, BODY_COST for each body included, that one member may post for long; past it, it is read slower."""

POST_BURST: Final = 16 << 20
"""Bytes that one member may post at once: everything in a large room again, when a server came back empty."""

MAX_CANDIDATES: Final = 16
"""Addresses of one offer, and addresses dialled in one attempt: a machine with many interfaces; no port scan."""

MAX_HOST: Final = 253
"""Characters of a DNS name (RFC 1035); an address is shorter."""

MAX_RESOLVED: Final = 4
"""Addresses taken of what one of a peer's names resolves to."""

MAX_ARRIVALS: Final = 256
"""Arrivals that wait to be routed: two channels from each of MAX_PARTIES at once, twice over; then the oldest goes."""

MAX_CONTROL: Final = 192 * 1024
"""Bytes of one message between a node and its program's process: the keys of MAX_PARTIES parties take 100 KiB, and the
kernel passes at most 208 KiB at once."""

LARGE: Final = 64 << 10
"""Bytes from which on a received MPyC message is counted for as long as anything holds it."""

MAX_HELD: Final = 128 << 20
"""Bytes of large messages of one peer that are there at once, asked for or not: two of the largest."""

MESSAGE_COST: Final = 192
"""Bytes counted for a small message beside its own: Python's object, its place in a table and in a larger one."""

MAX_UNCLAIMED: Final = 64 << 20
"""Bytes of small messages that came before the program asked for them, of one peer: 300 000 of 8 bytes. They are looked
at when as many may have come again, so twice as many may be there."""

MAX_PEER: Final = MAX_UNSENT + 2 * MAX_UNCLAIMED + MAX_HELD + MAX_MESSAGE + MAX_ITEMS * ITEM
"""Bytes that one verified peer can make a program's process hold, 768 MiB: what waits for it, its small messages, its
large ones, the copy of one that is just complete, and the value that is made of it."""

MAX_CHANNELS: Final = 8
"""Channels of one link among which the right one is looked for: both sides dial, and the network may have lost some."""
