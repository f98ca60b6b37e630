"""Write the test vectors: python tools/make_vectors.py

Everything in them follows from fixed seeds, so that the same protocol gives the same files to the byte;
tests/core/test_vectors.py compares them with the committed ones, and reads them as another implementation would.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from comity.core import frames, messages, preface
from comity.core.ceremony import Ceremony
from comity.core.commands import Compare, Finished, Opened, Post
from comity.core.encoding import decode, digest, encode
from comity.core.frames import ACK, DATA, FIN, GOODBYE, pack_goodbye, pack_header
from comity.core.identity import (
    Secrets,
    derive,
    exchange_public,
    fingerprint,
    pair_secret,
    public_key,
    show_fingerprint,
    sign,
)
from comity.core.invitation import Invitation
from comity.core.limits import MAX_FRAME, MAX_GOODBYE
from comity.core.manifest import Session
from comity.core.messages import Open
from comity.core.preface import CONTROL, Preface
from comity.core.program import Program
from comity.core.sealing import room_key, room_name, seal
from comity.core.words import own_word
from comity.links.certificate import make_certificate

FOLDER = Path(__file__).parent.parent / "vectors"
NAMES = ("alice", "bob", "carol")
CONTEXT = b"ceremony"
PROGRAM = Program("secretsanta", ("8", "dé jà", None), {"file gift.py": "00ff" * 8, "mpyc": "0.11"}, "3.11.7")
INVITATION = Invitation(bytes(range(16)), b"", ("https://meet.example.org/", "http://[2001:db8::7]:8787"), bytes(32))


def secrets_of(name: str) -> Secrets:
    return Secrets(*(digest(f"vector {what}", name.encode()) for what in ("identity", "session", "exchange", "nonce")))


def host_fingerprint() -> bytes:
    return fingerprint(public_key(secrets_of("alice").identity))


# encoding.json


def encoding_vectors() -> dict[str, Any]:
    deepest: list[Any] = []
    for _ in range(12):
        deepest = [deepest]
    values: list[Any] = [
        *(None, True, False, 0, -1, 2**53 - 1, 1 - 2**53, "", [], {}),
        *(["a", ["b"]], {"b": 1, "a": {"": None}, "B": True}, {"\U0001f642": 1, "\uffff": 2, "z": 3}),
        *('quote " backslash \\ slash /', "\b\t\n\f\r\x00\x1f\x7f", "é \u2028 \U0001f642"),
        deepest,
    ]
    refused = {
        '{"a":1,"a":1}': "a key twice",
        '{"b":1,"a":2}': "keys out of order",
        '{"\U0001f642":1,"\uffff":2}': "keys in the order of UTF-16",
        "[1, 2]": "a space",
        "1\n": "a line end",
        "1.0": "a float",
        "1e3": "a float",
        "-0": "another text of 0",
        "9007199254740992": "2**53",
        "NaN": "not JSON",
        '"\\u0041"': "an escape that is not needed",
        '"\\u000A"': "an escape that is not the shortest",
        '"\\/"': "an escape that is not needed",
        '"\\ud800"': "half a character",
        "[" * 14 + "]" * 14: "14 levels",
        "": "nothing",
    }
    parts = [("", []), ("a", []), ("a", [b""]), ("a", [b"bc"]), ("ab", [b"c"]), ("a", [b"b", b"c"])]
    return {
        "about": "the canonical text of a value, as the hexadecimal of its UTF-8; texts that are refused; digests",
        "canonical": [{"value": value, "text": encode(value).hex()} for value in values],
        "refused": [{"text": text.encode().hex(), "why": why} for text, why in refused.items()],
        "digests": [
            {"label": label, "parts": [part.hex() for part in several], "digest": digest(label, *several).hex()}
            for label, several in parts
        ],
    }


# invitation.json


def invitation_vectors() -> dict[str, Any]:
    host = host_fingerprint()
    accepted = [
        Invitation(INVITATION.secret, host, INVITATION.rendezvous, INVITATION.certificate),
        Invitation(b"\xff" * 16, host, ("http://127.0.0.1:8787",)),
        Invitation(bytes(16), host, tuple(f"wss://münchen.example:{i + 1}/" for i in range(8)), b"\x7f" * 32),
    ]
    return {
        "about": "links and what is in them; the room's name and key, from the secret; links that are refused",
        "accepted": [
            {
                "link": i.link(),
                "page_link": i.page_link("https://meet.example.org/"),
                "secret": i.secret.hex(),
                "host": i.host.hex(),
                "rendezvous": list(i.rendezvous),
                "certificate": i.certificate.hex(),
                "room": room_name(i.secret),
                "key": room_key(i.secret).hex(),
            }
            for i in accepted
        ],
        "refused": [{"link": link, "why": why} for link, why in refused_links(accepted[1])],
    }


def refused_links(good: Invitation) -> Iterator[tuple[str, str]]:
    def checked(body: bytes) -> str:
        return base64.urlsafe_b64encode(body + hashlib.sha256(body).digest()[:4]).decode().rstrip("=")

    link, body = good.link(), base64.urlsafe_b64decode(good.payload() + "===")[:-4]
    yield link[:-1], "the last letter is missing"
    yield link[:20] + ("B" if link[20] == "A" else "A") + link[21:], "a letter is changed"
    yield link.replace("_", "/"), "the letters of another base64"
    yield link + "=", "padding"
    yield "comity://", "nothing"
    yield "https://meet.example.org/" + good.payload(), "no # before the payload"
    yield "comity://" + checked(b"\x02" + body[1:]), "version 2"
    yield "comity://" + checked(body[:33] + b"\x00" + body[-1:]), "no address"
    yield "comity://" + checked(body + b"\x00"), "a byte too many"
    yield "comity://" + checked(body[:-1] + b"\x01x"), "a certificate's digest of one byte"
    yield Invitation(good.secret, good.host, ("ftp://192.0.2.7",)).link(), "no address of a rendezvous"
    yield Invitation(good.secret, good.host, ("http://someone@192.0.2.7",)).link(), "an address with a name in it"


# ceremony.json


def meet() -> tuple[list[bytes], tuple[str, ...], list[Session]]:
    """Alice hosts, bob and carol join: the log of what they post, the words, and each one's session."""
    opened = Open(len(NAMES), 1, PROGRAM, ("direct", "relay"), "alice", "words")
    hosts: list[bytes | Open] = [opened, host_fingerprint(), host_fingerprint()]
    parties = [
        Ceremony(secrets_of(name), make_certificate(secrets_of(name).session), name, ("direct",), "words", host)
        for name, host in zip(NAMES, hosts, strict=True)
    ]
    log = [command.body for command in parties[0].start() if isinstance(command, Post)]
    sessions: list[Session] = []
    words: tuple[str, ...] = ()
    at = 0
    while at < len(log):
        for party in parties:
            todo = party.receive(log[at])
            while todo:
                match todo.pop(0):
                    case Post(body):
                        log.append(body)
                    case Opened(open_):
                        todo += party.choose(open_.program)
                    case Compare(words=shown):
                        words = shown
                        todo += party.answer()
                    case Finished(session=session):
                        sessions.append(session)
        at += 1
    return log, words, sessions


def ceremony_vectors() -> dict[str, Any]:
    log, words, sessions = meet()
    session = sessions[0]
    envelopes = [messages.parse(raw) for raw in log]
    key = room_key(INVITATION.secret)
    return {
        "about": "a whole ceremony of three; messages stand as their text (UTF-8), all other bytes in hexadecimal",
        "invitation": Invitation(INVITATION.secret, host_fingerprint(), INVITATION.rendezvous).link(),
        "parties": [party_vector(name) for name in NAMES],
        "log": [{"message": raw.decode(), "digest": e.digest.hex()} for raw, e in zip(log, envelopes, strict=True)],
        "sealed": [sealed_vector(key, digest("vector seal", bytes([i]))[:12], raw) for i, raw in enumerate(log[:2])],
        "transcript": session.transcript.hex(),
        "words": list(words),
        "own_words": [own_word(session.transcript, i) for i in range(len(NAMES))],
        "tag": session.tag.hex(),
        "threshold": session.threshold,
        "transport": session.transport,
        "program_digest": session.program_digest,
        "pairs": [pair_vector(session, a, b) for a in range(len(NAMES)) for b in range(a + 1, len(NAMES))],
        "leave": messages.make(
            "leave",
            secrets_of("bob").identity,
            {"open": envelopes[0].digest.hex(), "hello": envelopes[2].digest.hex(), "reason": "declined"},
        ).raw.decode(),
        "refused": [{"message": raw.decode(), "why": why} for raw, why in refused_messages(log)],
    }


def party_vector(name: str) -> dict[str, Any]:
    secrets = secrets_of(name)
    return {
        "name": name,
        "secrets": {
            "identity": secrets.identity.hex(),
            "session": secrets.session.hex(),
            "exchange": secrets.exchange.hex(),
            "nonce": secrets.nonce.hex(),
        },
        "identity": public_key(secrets.identity).hex(),
        "session_key": public_key(secrets.session).hex(),
        "exchange_key": exchange_public(secrets.exchange).hex(),
        "certificate": make_certificate(secrets.session).hex(),
        "fingerprint": show_fingerprint(public_key(secrets.identity)),
    }


def sealed_vector(key: bytes, nonce: bytes, body: bytes) -> dict[str, Any]:
    sealed = seal(key, nonce, body, CONTEXT)
    return {"context": CONTEXT.decode(), "nonce": nonce.hex(), "body": body.decode(), "sealed": sealed.hex()}


def pair_vector(session: Session, a: int, b: int) -> dict[str, Any]:
    secret = pair_secret(secrets_of(NAMES[a]).exchange, session.members[b].exchange_key)
    keys = {label: derive(secret, session.transcript, label).hex() for label in ("preface", "signals")}
    return {"parties": [a, b], "secret": secret.hex(), "keys": keys}


def refused_messages(log: list[bytes]) -> Iterator[tuple[bytes, str]]:
    bob = secrets_of("bob")
    by_type: dict[str, dict[str, Any]] = {}
    for raw in log:
        value = decode(raw, len(raw))
        by_type.setdefault(value["type"], value)

    def signed(kind: str, body: dict[str, Any], seed: bytes = bob.identity) -> bytes:
        return encode({"type": kind, "body": body, "signature": sign(seed, digest(kind, encode(body))).hex()})

    agree = by_type["agree"]
    yield encode({**agree, "signature": "00" * 64}), "no signature"
    yield encode({**agree, "type": "confirm"}), "a signature for another type"
    yield signed("agree", agree["body"]), "signed by somebody else than its sender"
    yield signed("agree", {"from": public_key(bob.identity).hex(), "transcript": "00" * 31}), "31 bytes"
    yield signed("agree", {"from": public_key(bob.identity).hex(), "transcript": "AA" * 32}), "capital letters"
    yield signed("welcome", {"from": public_key(bob.identity).hex()}), "an unknown type"
    yield signed("agree", {"from": public_key(bob.identity).hex(), "transcript": "00" * 32, "x": 1}), "an unknown field"
    neutral = (bytes([1]) + bytes(31)).hex()
    nobody = {"type": "agree", "body": {"from": neutral, "transcript": "00" * 32}, "signature": neutral + "00" * 32}
    yield encode(nobody), "signed under a key of small order, as anybody can"
    padded = {"from": public_key(bob.identity).hex(), "reason": "x" * messages.SMALL}
    yield signed("leave", padded), "more bytes than its type may have"
    alice, opened = secrets_of("alice"), by_type["open"]["body"]
    change: dict[str, Any]
    for change, why in (
        ({"version": 2}, "another version"),
        ({"m": 1}, "one party"),
        ({"m": 65}, "too many parties"),
        ({"t": 2}, "a threshold of half or more"),
        ({"name": "аlice"}, "a name with a letter of another script"),
        ({"name": "alice\u202e"}, "a name that turns the direction of writing"),
        ({"verify": "nothing"}, "an unknown demand"),
    ):
        yield signed("open", {**opened, **change}, alice.identity), why
    hello = by_type["hello"]["body"]
    for change, why in (
        ({"session_key": public_key(bob.session).hex()}, "a certificate of another key than the session key"),
        ({"exchange_key": "00" * 32}, "an exchange key of small order"),
        ({"program": {**hello["program"], "parts": {"mpyc": 11}}}, "a part that is no text"),
    ):
        yield signed("hello", {**hello, **change}, alice.identity), why


# preface.json and frames.json


def preface_vectors() -> dict[str, Any]:
    key, tag = digest("vector pair"), digest("vector tag")[:16]
    nonces = [digest("vector nonce", name.encode())[:16] for name in ("question", "answer")]
    several = [
        Preface(tag, 0, 2, preface.DATA, 0, 1, nonces[0]),
        Preface(tag, 2, 0, preface.DATA, 0, 1, nonces[1]),
        Preface(tag, 2, 0, CONTROL, 0, 0, bytes(16)),
        Preface(bytes(16), 2**16 - 1, 2**15, preface.DATA, 2**32 - 1, 2**31, b"\xff" * 16),
    ]
    good, answer = several[0].pack(key), several[1].pack(key)
    refused = [
        (good[:-1], "a byte is missing"),
        (good + b"\x00", "a byte too many"),
        (b"cz" + good[2:], "another protocol"),
        (good[:2] + b"\x01" + good[3:], "version 1"),
        (good[:23] + b"\x02" + good[24:], "an unknown kind"),
        (good[:-1] + bytes([good[-1] ^ 1]), "not authentic"),
        (good[:20] + bytes([good[20] ^ 1]) + good[21:], "not authentic"),
    ]
    return {
        "about": f"prefaces of {preface.SIZE} bytes; kind: {CONTROL} control, {preface.DATA} data; "
        "and what the dialler says when it has the answer to its own",
        "key": key.hex(),
        "proof": {
            "question": good.hex(),
            "answer": answer.hex(),
            "proof": preface.proof(good, answer, key).hex(),
        },
        "accepted": [
            {
                "preface": p.pack(key).hex(),
                "tag": p.tag.hex(),
                "from": p.sender,
                "to": p.to,
                "kind": p.kind,
                "epoch": p.epoch,
                "number": p.number,
                "nonce": p.nonce.hex(),
            }
            for p in several
        ],
        "refused": [{"preface": data.hex(), "why": why} for data, why in refused],
    }


def frame_vectors() -> dict[str, Any]:
    hello = frames.Hello(digest("vector T"), 0, 2, preface.DATA, 1, digest("vector incarnation")[:16], 3, 4711)
    packed = hello.pack()
    goodbye = pack_goodbye("error", "über 9")
    sent: list[tuple[str, int, int, int, int, int, bytes]] = [
        ("data", DATA, 1, 0, 0, 0, b"\x00\x01the program's bytes"),
        ("data", DATA, 1, 2**40, 2**40 + 1, 2**32 - 1, b"x"),
        ("goodbye", GOODBYE, 1, 21, 0, 7, goodbye),
        ("fin", FIN, 1, 21, 5, 7, b""),
        ("ack", ACK, 1, 22, 6, 8, b""),
    ]
    refused: Iterable[tuple[bytes, str]] = [
        (pack_header(DATA, 2, 0, 0, 0, 1) + b"x", "another epoch"),
        (pack_header(DATA, 1, 0, 0, 0, 0), "data without bytes"),
        (pack_header(DATA, 1, 0, 0, 0, MAX_FRAME + 1), "data above the limit"),
        (pack_header(FIN, 1, 0, 0, 0, 1) + b"x", "a fin with bytes"),
        (pack_header(ACK, 1, 0, 0, 0, 1) + b"x", "an acknowledgement with bytes"),
        (pack_header(4, 1, 0, 0, 0, 0), "an unknown kind"),
        (pack_header(GOODBYE, 1, 0, 0, 0, MAX_GOODBYE + 1), "a goodbye above the limit"),
    ]
    return {
        "about": "the hello of a link and the frames of epoch 1 after it, numbers big endian, as they stand inside TLS",
        "hello": {
            "bytes": packed.hex(),
            "transcript": hello.transcript.hex(),
            "from": hello.sender,
            "to": hello.to,
            "kind": hello.kind,
            "epoch": hello.epoch,
            "incarnation": hello.incarnation.hex(),
            "number": hello.number,
            "expected": hello.expected,
        },
        "refused_hellos": [
            {"bytes": (b"cy" + packed[2:]).hex(), "why": "another protocol"},
            {"bytes": (packed[:2] + b"\x02" + packed[3:]).hex(), "why": "version 2"},
        ],
        "frames": [
            {
                "frame": (pack_header(kind, epoch, offset, acknowledged, depth, len(body)) + body).hex(),
                "kind": name,
                "epoch": epoch,
                "offset": offset,
                "acknowledged": acknowledged,
                "depth": depth,
                "body": body.hex(),
            }
            for name, kind, epoch, offset, acknowledged, depth, body in sent
        ],
        "goodbye": {"body": goodbye.hex(), "reason": "error", "detail": "über 9"},
        "refused": [{"frame": data.hex(), "why": why} for data, why in refused],
    }


def files() -> dict[str, str]:
    """Name and text of every file."""
    values = {
        "encoding.json": encoding_vectors(),
        "invitation.json": invitation_vectors(),
        "ceremony.json": ceremony_vectors(),
        "preface.json": preface_vectors(),
        "frames.json": frame_vectors(),
    }
    return {name: json.dumps(value, indent=1) + "\n" for name, value in values.items()}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
