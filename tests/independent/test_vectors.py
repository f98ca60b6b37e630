"""vectors/ against the implementation that was written from docs/protocol.md."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.independent import notation
from tests.independent.ceremony import Ceremony, program_digest, read_envelope
from tests.independent.notation import Fault, Frame, Invitation, Keys, Preface
from tests.independent.session import check_words, own_word


def load(name: str) -> dict[str, Any]:
    folder = Path(__file__).parents[2] / "vectors"
    vectors: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return vectors


ENCODING, INVITATION, CEREMONY, PREFACE, FRAMES = (
    load(name) for name in ("encoding", "invitation", "ceremony", "preface", "frames")
)


def cases(vectors: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", vectors, ids=lambda case: case.get("why", "") or None)


@cases(ENCODING["canonical"])
def test_a_value_has_its_canonical_text(case: dict[str, Any]) -> None:
    text = bytes.fromhex(case["text"])
    assert notation.encode(case["value"]) == text
    assert notation.decode(text) == case["value"]


@cases(ENCODING["refused"])
def test_a_text_that_is_not_canonical_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(Fault):
        notation.decode(bytes.fromhex(case["text"]))


@cases(ENCODING["digests"])
def test_a_labelled_digest(case: dict[str, Any]) -> None:
    assert notation.digest(case["label"], *map(bytes.fromhex, case["parts"])).hex() == case["digest"]


@cases(INVITATION["accepted"])
def test_a_link_holds_an_invitation(case: dict[str, Any]) -> None:
    secret, host, pin = (bytes.fromhex(case[key]) for key in ("secret", "host", "certificate"))
    invitation = Invitation(secret, host, tuple(case["rendezvous"]), pin)
    assert invitation.link == case["link"]
    assert notation.read_invitation(case["link"]) == invitation == notation.read_invitation(case["page_link"])
    assert (invitation.room, invitation.key.hex()) == (case["room"], case["key"])


@cases(INVITATION["refused"])
def test_another_link_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(Fault):
        notation.read_invitation(case["link"])


def ceremony(number: int) -> Ceremony:
    invitation = notation.read_invitation(CEREMONY["invitation"])
    party = CEREMONY["parties"][number]
    keys = Keys(**{name: bytes.fromhex(secret) for name, secret in party["secrets"].items()})
    opening = json.loads(CEREMONY["log"][0]["message"])["body"]
    host = {key: opening[key] for key in ("m", "t", "program")} if number == 0 else {}
    return Ceremony(invitation, keys, party["name"], ["direct"], **host)


@pytest.mark.parametrize("number", range(3))
def test_a_party_says_and_takes_what_stands_in_the_log(number: int) -> None:
    party = ceremony(number)
    program = json.loads(CEREMONY["log"][0]["message"])["body"]["program"]
    if party.hosting:
        party.open(["direct", "relay"])
    for entry in CEREMONY["log"]:
        message = entry["message"].encode()
        assert read_envelope(message).hash.hex() == entry["digest"]
        if read_envelope(message).sender == party.me:
            if party.state == "COMPARING":
                party.confirm()
            assert party.out.pop(0) == message
        party.take(message)
        if entry is CEREMONY["log"][0] and not party.hosting:
            party.choose(program)
    assert party.state == "DONE" and not party.out and party.session is not None
    session = party.session
    assert session.me == number
    assert session.transcript.hex() == CEREMONY["transcript"]
    assert session.tag.hex() == CEREMONY["tag"]
    assert check_words(session.transcript) == CEREMONY["words"]
    assert [own_word(session.transcript, i) for i in range(3)] == CEREMONY["own_words"]
    assert session.manifest["threshold"] == CEREMONY["threshold"]
    assert session.manifest["transport"] == CEREMONY["transport"]
    assert session.manifest["program"]["digest"] == program_digest(program).hex() == CEREMONY["program_digest"]
    for pair in CEREMONY["pairs"]:
        if number in pair["parties"]:
            (other,) = {*pair["parties"]} - {number}
            theirs = bytes.fromhex(session.manifest["members"][other]["exchange_key"])
            assert session.keys.shared(theirs).hex() == pair["secret"]
            assert {label: session.pair_key(other, label).hex() for label in pair["keys"]} == pair["keys"]


@cases(CEREMONY["parties"])
def test_a_partys_keys(case: dict[str, Any]) -> None:
    keys = Keys(**{name: bytes.fromhex(secret) for name, secret in case["secrets"].items()})
    assert [key.hex() for key in keys.public] == [case["identity"], case["session_key"], case["exchange_key"]]
    assert notation.certificate(keys.session).hex() == case["certificate"]
    assert notation.show_fingerprint(keys.public[0]) == case["fingerprint"]


@cases(CEREMONY["sealed"])
def test_a_sealed_body(case: dict[str, Any]) -> None:
    key, context = notation.read_invitation(CEREMONY["invitation"]).key, case["context"].encode()
    sealed = notation.seal(key, case["body"].encode(), context, bytes.fromhex(case["nonce"]))
    assert sealed.hex() == case["sealed"]
    assert notation.unseal(key, sealed, context) == case["body"].encode()


def test_a_leave_is_read_and_takes_a_hello_back_before_the_roster() -> None:
    alice = ceremony(0)
    for entry in CEREMONY["log"][:3]:
        alice.take(entry["message"].encode())
    alice.take(CEREMONY["leave"].encode())
    alice.take(CEREMONY["log"][3]["message"].encode())
    assert [read_envelope(message).type for message in alice.out] == ["hello"]
    alice.take(CEREMONY["log"][2]["message"].encode())  # by somebody else: it was taken back
    assert [read_envelope(message).type for message in alice.out] == ["hello"]


@cases(CEREMONY["refused"])
def test_another_message_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(Fault):
        read_envelope(case["message"].encode())


@cases(PREFACE["accepted"])
def test_a_preface(case: dict[str, Any]) -> None:
    key, data = bytes.fromhex(PREFACE["key"]), bytes.fromhex(case["preface"])
    preface = notation.read_preface(data, lambda _: key)
    assert preface.pack(key) == data
    numbers = (case[name] for name in ("from", "to", "kind", "epoch", "number"))
    assert preface == Preface(bytes.fromhex(case["tag"]), *numbers, bytes.fromhex(case["nonce"]))


def test_the_proof_of_a_dialler() -> None:
    key, case = bytes.fromhex(PREFACE["key"]), PREFACE["proof"]
    question, answer = (
        notation.read_preface(bytes.fromhex(case[name]), lambda _: key) for name in ("question", "answer")
    )
    assert question.answer(answer.nonce) == answer
    assert notation.proof(key, question, answer).hex() == case["proof"]


@cases(PREFACE["refused"])
def test_another_preface_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(Fault):
        notation.read_preface(bytes.fromhex(case["preface"]), lambda _: bytes.fromhex(PREFACE["key"]))


def test_a_hello() -> None:
    case = FRAMES["hello"]
    hello = notation.read_hello(bytes.fromhex(case["bytes"]))
    assert hello.pack().hex() == case["bytes"]
    said = {name: value.hex() if isinstance(value, bytes) else value for name, value in asdict(hello).items()}
    assert {"from": said.pop("sender"), **said, "bytes": case["bytes"]} == case


@cases(FRAMES["refused_hellos"])
def test_another_hello_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(Fault):
        notation.read_hello(bytes.fromhex(case["bytes"]))


@cases(FRAMES["frames"])
def test_a_frame(case: dict[str, Any]) -> None:
    header, body = bytes.fromhex(case["frame"])[: notation.FRAME_SIZE], bytes.fromhex(case["body"])
    kind = ("data", "goodbye", "fin", "ack").index(case["kind"])
    frame = Frame(kind, *(case[key] for key in ("epoch", "offset", "acknowledged", "depth")), len(body))
    assert notation.read_frame(header, 1) == frame
    assert (frame.pack() + body).hex() == case["frame"]


@cases(FRAMES["refused"])
def test_another_frame_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(Fault):
        notation.read_frame(bytes.fromhex(case["frame"])[: notation.FRAME_SIZE], 1)


def test_a_goodbye() -> None:
    case = FRAMES["goodbye"]
    assert notation.pack_goodbye(case["reason"], case["detail"]).hex() == case["body"]
    assert notation.read_goodbye(bytes.fromhex(case["body"])) == (case["reason"], case["detail"])
