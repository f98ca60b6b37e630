"""The vectors are what the code makes today, and reading them gives what they say they are."""

import hashlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from comity.core import frames, identity, invitation, messages, preface
from comity.core.ceremony import Ceremony, State
from comity.core.commands import Compare, Finished, Opened
from comity.core.encoding import Malformed, decode, digest, encode
from comity.core.identity import Secrets, derive, fingerprint
from comity.core.invitation import Invitation
from comity.core.messages import Hello
from comity.core.preface import Preface
from comity.core.sealing import room_key, room_name, unseal
from comity.core.words import WORDS, check_words, own_word
from comity.errors import UsageError, VerificationError

ROOT = Path(__file__).parent.parent.parent
FILES = sorted((ROOT / "vectors").glob("*.json"))


def load(name: str) -> Any:
    return json.loads((ROOT / "vectors" / name).read_text())


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_vectors", ROOT / "tools" / "make_vectors.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ENCODING, INVITATION, CEREMONY, PREFACE, FRAMES = map(
    load, ("encoding.json", "invitation.json", "ceremony.json", "preface.json", "frames.json")
)


def test_the_files_are_what_the_code_makes_today() -> None:
    made = maker().files()
    assert sorted(made) == [path.name for path in FILES]
    for path in FILES:
        assert path.read_text() == made[path.name], f"{path.name}: run python tools/make_vectors.py, and say why"


# encoding.json


@pytest.mark.parametrize("vector", ENCODING["canonical"])
def test_a_value_has_its_text(vector: dict[str, Any]) -> None:
    text = bytes.fromhex(vector["text"])
    assert encode(vector["value"]) == text and decode(text, 1000) == vector["value"]


@pytest.mark.parametrize("vector", ENCODING["refused"], ids=lambda v: v["why"])
def test_a_text_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        decode(bytes.fromhex(vector["text"]), 1000)


@pytest.mark.parametrize("vector", ENCODING["digests"])
def test_a_digest_is_sha256_over_prefixed_parts(vector: dict[str, Any]) -> None:
    parts = [b"comity/1 " + vector["label"].encode(), *map(bytes.fromhex, vector["parts"])]
    joined = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    assert hashlib.sha256(joined).hexdigest() == vector["digest"] == digest(vector["label"], *parts[1:]).hex()


# invitation.json


@pytest.mark.parametrize("vector", INVITATION["accepted"])
def test_an_invitation_has_its_link_room_and_key(vector: dict[str, Any]) -> None:
    secret, host, certificate = (bytes.fromhex(vector[key]) for key in ("secret", "host", "certificate"))
    invited = Invitation(secret, host, tuple(vector["rendezvous"]), certificate)
    assert invitation.parse(vector["link"]) == invitation.parse(vector["page_link"]) == invited
    assert invited.link() == vector["link"]
    assert (room_name(secret), room_key(secret).hex()) == (vector["room"], vector["key"])


@pytest.mark.parametrize("vector", INVITATION["refused"], ids=lambda v: v["why"])
def test_a_link_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        invitation.parse(vector["link"])


# ceremony.json

LOG = [vector["message"].encode() for vector in CEREMONY["log"]]
T = bytes.fromhex(CEREMONY["transcript"])


def secrets_of(vector: dict[str, Any]) -> Secrets:
    return Secrets(**{name: bytes.fromhex(seed) for name, seed in vector["secrets"].items()})


def hellos() -> list[Hello]:
    """In the order of the party numbers, from the roster in the log."""
    roster = next(e for e in map(messages.parse, LOG) if e.type == "roster")
    return list(messages.read_roster(roster)[1])


@pytest.mark.parametrize("vector", CEREMONY["parties"], ids=lambda v: v["name"])
def test_a_partys_keys_follow_from_its_seeds(vector: dict[str, Any]) -> None:
    secrets = secrets_of(vector)
    assert identity.public_key(secrets.identity).hex() == vector["identity"]
    assert identity.public_key(secrets.session).hex() == vector["session_key"]
    assert identity.exchange_public(secrets.exchange).hex() == vector["exchange_key"]
    assert identity.show_fingerprint(bytes.fromhex(vector["identity"])) == vector["fingerprint"]
    said = next(hello for hello in hellos() if hello.member.name == vector["name"])
    assert said.member.identity.hex() == vector["identity"] and said.member.certificate.hex() == vector["certificate"]
    assert messages.opens(said, secrets.nonce)


def test_an_observer_finds_the_transcript_and_the_words_in_the_log() -> None:
    envelopes = [messages.parse(raw) for raw in LOG]
    assert [e.digest.hex() for e in envelopes] == [vector["digest"] for vector in CEREMONY["log"]]
    by_type = {kind: [e for e in envelopes if e.type == kind] for kind in messages.TYPES}
    assert {kind: len(several) for kind, several in by_type.items()} == (
        {"open": 1, "hello": 3, "roster": 1, "reveal": 3, "agree": 3, "confirm": 3, "leave": 0}
    )
    (opening,), (roster,) = by_type["open"], by_type["roster"]
    nonces = {e.sender: messages.read_reveal(e)[1] for e in by_type["reveal"]}
    ordered = [nonces[hello.member.identity] for hello in hellos()]
    assert digest("transcript", opening.raw, roster.raw, *ordered) == T
    assert all(messages.read_agree(e) == T for e in by_type["agree"])
    assert check_words(T) == tuple(CEREMONY["words"])
    bits = int.from_bytes(digest("words", T)[:5], "big") >> 7
    assert [WORDS[bits >> shift & 2047] for shift in (22, 11, 0)] == CEREMONY["words"]
    assert [own_word(T, i) for i in range(len(CEREMONY["parties"]))] == CEREMONY["own_words"]
    assert derive(T, b"", "tag", 16).hex() == CEREMONY["tag"]


@pytest.mark.parametrize("vector", CEREMONY["parties"][1:], ids=lambda v: v["name"])
def test_a_joiner_who_reads_the_log_holds_the_session(vector: dict[str, Any]) -> None:
    host = invitation.parse(CEREMONY["invitation"]).host
    certificate = bytes.fromhex(vector["certificate"])
    party = Ceremony(secrets_of(vector), certificate, vector["name"], ("direct",), "words", host)
    told: list[Any] = []
    for raw in LOG:
        for command in party.receive(raw):
            told.append(command)
            if isinstance(command, Opened):
                party.choose(command.open.program)
            elif isinstance(command, Compare):
                assert list(command.words) == CEREMONY["words"]
                mine = next(i for i, hello in enumerate(hellos()) if hello.member.name == vector["name"])
                assert command.own == CEREMONY["own_words"][mine]
                assert (*command.theirs[:mine], command.own, *command.theirs[mine:]) == tuple(CEREMONY["own_words"])
                party.answer()
    assert party.state is State.DONE
    session = next(command.session for command in told if isinstance(command, Finished))
    assert (session.transcript, session.tag.hex()) == (T, CEREMONY["tag"])
    assert (session.threshold, session.transport) == (CEREMONY["threshold"], CEREMONY["transport"])
    assert session.program_digest == CEREMONY["program_digest"]
    assert [member.name for member in session.members] == [hello.member.name for hello in hellos()]
    assert fingerprint(session.members[0].identity) == host


@pytest.mark.parametrize("vector", CEREMONY["sealed"])
def test_a_sealed_body_opens_with_the_invitations_key(vector: dict[str, Any]) -> None:
    key = room_key(invitation.parse(CEREMONY["invitation"]).secret)
    sealed = bytes.fromhex(vector["sealed"])
    assert unseal(key, sealed, vector["context"].encode()) == vector["body"].encode()
    assert sealed[:12].hex() == vector["nonce"]
    with pytest.raises(VerificationError):
        unseal(key, sealed)


@pytest.mark.parametrize("vector", CEREMONY["pairs"], ids=lambda v: str(v["parties"]))
def test_both_parties_of_a_pair_derive_its_keys(vector: dict[str, Any]) -> None:
    a, b = (CEREMONY["parties"][i] for i in vector["parties"])
    for mine, theirs in ((a, b), (b, a)):
        secret = identity.pair_secret(secrets_of(mine).exchange, bytes.fromhex(theirs["exchange_key"]))
        assert secret.hex() == vector["secret"]
        for label, key in vector["keys"].items():
            assert derive(secret, T, label).hex() == key


def test_a_leave_names_its_opening_its_hello_and_a_reason() -> None:
    opening, hello, reason = messages.read_leave(messages.parse(CEREMONY["leave"].encode()))
    assert [opening.hex(), hello.hex()] == [CEREMONY["log"][place]["digest"] for place in (0, 2)]
    assert reason == "declined"


@pytest.mark.parametrize("vector", CEREMONY["refused"], ids=lambda v: v["why"])
def test_a_message_is_refused(vector: dict[str, Any]) -> None:
    read = {"open": messages.read_open, "hello": messages.read_hello, "agree": messages.read_agree}
    with pytest.raises(Malformed):
        envelope = messages.parse(vector["message"].encode())
        read[envelope.type](envelope)


# preface.json


@pytest.mark.parametrize("vector", PREFACE["accepted"])
def test_a_preface_has_its_fields(vector: dict[str, Any]) -> None:
    data, key = bytes.fromhex(vector["preface"]), bytes.fromhex(PREFACE["key"])
    fields = [vector[name] for name in ("from", "to", "kind", "epoch", "number")]
    sent = Preface(bytes.fromhex(vector["tag"]), *fields, bytes.fromhex(vector["nonce"]))
    assert preface.parse(data) == sent and sent.pack(key) == data and preface.authentic(data, key)


@pytest.mark.parametrize("vector", PREFACE["refused"], ids=lambda v: v["why"])
def test_a_preface_is_refused(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["preface"])
    assert (preface.parse(data) is not None) is (vector["why"] == "not authentic")
    assert not preface.authentic(data, bytes.fromhex(PREFACE["key"]))


def test_a_dialler_proves_that_it_is_there() -> None:
    question, answer, proof = (bytes.fromhex(PREFACE["proof"][name]) for name in ("question", "answer", "proof"))
    key = bytes.fromhex(PREFACE["key"])
    assert preface.proof(question, answer, key) == proof and preface.authentic(answer, key)


# frames.json


def test_a_hello_has_its_fields() -> None:
    vector = FRAMES["hello"]
    hello = frames.parse_hello(bytes.fromhex(vector["bytes"]))
    assert (hello.transcript.hex(), hello.incarnation.hex()) == (vector["transcript"], vector["incarnation"])
    numbers = (hello.sender, hello.to, hello.kind, hello.epoch, hello.number, hello.expected)
    assert numbers == tuple(vector[name] for name in ("from", "to", "kind", "epoch", "number", "expected"))
    assert hello.pack().hex() == vector["bytes"]


@pytest.mark.parametrize("vector", FRAMES["refused_hellos"], ids=lambda v: v["why"])
def test_a_hello_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        frames.parse_hello(bytes.fromhex(vector["bytes"]))


def test_frames_are_cut_out_of_the_stream_that_they_form() -> None:
    kinds = {"data": frames.DATA, "goodbye": frames.GOODBYE, "fin": frames.FIN, "ack": frames.ACK}
    stream = b"".join(bytes.fromhex(vector["frame"]) for vector in FRAMES["frames"])
    pieces = frames.FrameReader(FRAMES["hello"]["epoch"]).feed(stream)
    assert pieces == [
        (kinds[v["kind"]], v["offset"], v["acknowledged"], v["depth"], bytes.fromhex(v["body"]))
        for v in FRAMES["frames"]
    ]


def test_a_goodbye_has_its_reason() -> None:
    vector = FRAMES["goodbye"]
    assert frames.parse_goodbye(bytes.fromhex(vector["body"])) == (vector["reason"], vector["detail"])


@pytest.mark.parametrize("vector", FRAMES["refused"], ids=lambda v: v["why"])
def test_a_frame_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        frames.FrameReader(FRAMES["hello"]["epoch"]).feed(bytes.fromhex(vector["frame"]))
