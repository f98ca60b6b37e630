"""What a target asks must be able to fail: decoders with a planted fault, each found by what is kept."""

import asyncio
import json
import re
from typing import Any

import fuzzing.targets  # noqa: F401  # fills TARGETS
import pytest
from fuzzing.target import TARGETS
from fuzzing.targets import messages as message_targets

from comity.cli import answers
from comity.core import candidates, codec, display, frames, identity, invitation, messages, preface, record, roster
from comity.core.encoding import Fields
from comity.lab import names, pcap, stun
from comity.links import control, link
from comity.mpyc_bridge import agreed, arrays, exchange
from comity.mpyc_bridge import control as process_control
from comity.node.signals import SignalRoom
from comity.rendezvous import wire
from comity.transports import unix
from fuzzing import corpus


def swallow(reader: Any, data: bytes, pieces: list[frames.Piece]) -> int:
    """As FrameReader._continue, but the offset stands still."""
    body = data[: reader._left]
    pieces.append((frames.DATA, reader._offset, reader._acknowledged, reader._depth, body))
    reader._left -= len(body)
    return len(body)


def lenient(self: Fields, name: str, low: int, high: int | None = None) -> bytes:
    return bytes.fromhex(self._take(name, str))


async def half_a_line(self: answers.Answers) -> str | None:
    data = await self._read()
    return data.decode(errors="replace") if data else None


FAULTS: list[tuple[str, Any, str, Any]] = [
    (
        "a_stun_message",
        stun,
        "_xor",
        lambda packed, transaction: packed[::-1] if transaction[:1] == b"t" else packed[1:],
    ),
    ("a_question", names, "RESPONSE", 0),
    ("a_packet", pcap, "SNAPLEN", 20),
    ("a_preface", preface, "authentic", lambda data, key: True),
    ("link_hello", frames.Hello, "pack", lambda self: self.transcript),
    ("some_frames", frames.FrameReader, "_continue", swallow),
    ("a_goodbye", frames, "decode", lambda data, *_: json.loads(data)),
    ("a_link", link.Link, "_take_acknowledgement", lambda self, n: setattr(self, "acknowledged", n)),
    ("control_link", control, "decode", lambda data, *_: json.loads(data)),
    ("an_exchange", exchange, "_KEY", 15),
    ("canonical_json", message_targets, "decode", lambda data, *_: json.loads(data)),
    ("an_opening", messages, "check_name", lambda name: name.strip()),
    ("a_hello", messages.x509, "load_der_x509_certificate", lambda data: None),
    ("a_small_message", Fields, "data", lenient),
    ("an_envelope", messages, "verify", lambda key, signature, message: False),
    ("a_roster", roster, "encode", lambda value: b""),
    ("a_program", Fields, "end", lambda self: None),
    ("an_offer", candidates, "usable", lambda address, same_machine: True),
    ("a_folder", unix, "_read", lambda data: data.decode(errors="replace")),
    ("a_sealed_body", message_targets, "unseal", lambda key, sealed, context: sealed[12:-16]),
    ("a_signal", SignalRoom, "_queue", lambda self, transport: self._queues.setdefault("", asyncio.Queue())),
    ("a_value", codec._Reader, "_integer", lambda self: int.from_bytes(self._take(self._count()), "big", signed=True)),
    ("an_element", arrays, "pack_integers", lambda flat: (1, bytes(flat[::-1].tolist()))),
    ("a_process", process_control, "_plain", lambda text: text),
    ("agreed_files", agreed, "LookupError", ZeroDivisionError),
    ("from_a_server", wire.Welcome, "pack", lambda self: self.incarnation),
    ("from_a_member", wire, "_AFTER", re.compile("[0-9]{1,9}")),
    ("an_invitation", invitation, "SECRET_SIZE", 15),
    ("an_address", candidates, "_plain", lambda host: host),
    ("a_name", identity, "INVISIBLE", frozenset()),
    ("a_line", display, "INVISIBLE", frozenset()),
    ("some_answers", answers.Answers, "line", half_a_line),
    ("a_record", record, "_fits", lambda value, kind: True),
]


def test_there_is_a_planted_fault_for_every_target() -> None:
    assert [name for name, *_ in FAULTS] == list(TARGETS)


@pytest.mark.parametrize(("name", "holder", "attribute", "fault"), FAULTS, ids=[name for name, *_ in FAULTS])
def test_a_planted_fault_is_found(
    name: str, holder: Any, attribute: str, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = corpus.everything(TARGETS[name])
    monkeypatch.setattr(holder, attribute, fault, raising=False)
    with pytest.raises(Exception) as found:  # whatever it is, it would be reported
        for data in inputs:
            TARGETS[name].check(data)
    assert not isinstance(found.value, TypeError), "the planted fault is called in another way by now"
