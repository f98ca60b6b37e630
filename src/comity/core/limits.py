"""Every limit on what a stranger, a peer or a server may send, with its reason."""

from __future__ import annotations

MAX_PARTIES = 64
"""A roster carries every HELLO: 64 of them fit one body; MPyC's default PRSS keys end near 15."""

MAX_HELLO = 12 * 1024
"""Bytes of one HELLO in its envelope: keys and name need 600, the list of what differs at most 10 KiB."""

MAX_BODY = 1024 * 1024
"""Bytes of one sealed body in a mailbox: a roster of MAX_PARTIES full HELLOs and its manifest."""

MAX_NAME = 32
"""Characters of a party's name: it must fit a line of the question beside others."""

MAX_PARTS = 96
"""Entries in what a program is made of; more files than this are folded into one digest."""

MAX_PART = 96
"""Characters of one label or value of a part."""

MAX_ARGUMENTS = 32
"""Public arguments of a program."""

MAX_ARGUMENT = 256
"""Characters of one public argument; all are shown to every joiner."""

MAX_ENVELOPES = 8 * MAX_PARTIES
"""Bodies of one ceremony: six of each party, and leaves. More is a flood."""

MAX_FRAME = 1 << 20
"""Bytes of one frame's data: bounds what a link holds before it may deliver."""

MAX_MESSAGE = 1 << 30
"""Bytes of one MPyC message: an array of 2**27 elements of 8 bytes; MPyC itself would accept 4 GiB."""

MAX_UNSENT = 512 << 20
"""Bytes kept for a peer that does not take them; past it the run ends and names that peer."""

MAX_SIGNAL = 16 * 1024
"""Bytes of one signal: an offer with every candidate of a machine with many interfaces."""
