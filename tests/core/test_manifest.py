from comity.core.encoding import decode, encode
from comity.core.manifest import Manifest, Member, Session

ALICE = Member("alice", b"A" * 32, b"a" * 32, b"\x01" * 32, b"certificate", "words")
BOB = Member("bob", b"B" * 32, b"b" * 32, b"\x02" * 32)


def manifest(*members: Member, **change: object) -> Manifest:
    fields = {
        "threshold": 1,
        "transport": "direct",
        "program_digest": "00ff",
        "program_name": "sum",
        "arguments": ("8",),
        **change,
    }
    return Manifest(members, **fields)  # type: ignore[arg-type]


def test_a_manifest_has_one_canonical_text() -> None:
    value = decode(encode(manifest(ALICE, BOB).to_dict()), 10_000)
    assert value["members"][0] == {
        "name": "alice",
        "identity": "41" * 32,
        "session_key": "61" * 32,
        "exchange_key": "01" * 32,
        "certificate": b"certificate".hex(),
        "verify": "words",
    }
    assert value["program"] == {"name": "sum", "arguments": ["8"], "digest": "00ff"}
    assert (value["threshold"], value["transport"]) == (1, "direct")


def test_whatever_changes_changes_the_text() -> None:
    carol = Member("carol", b"C" * 32, b"c" * 32, b"\x03" * 32)
    texts = [
        encode(m.to_dict())
        for m in (
            manifest(ALICE, BOB),
            manifest(BOB, ALICE),
            manifest(ALICE, carol),
            manifest(ALICE),
            manifest(ALICE, Member("bob", b"B" * 32, b"b" * 32, b"\x02" * 32, b"", "link")),
            manifest(ALICE, BOB, threshold=0),
            manifest(ALICE, BOB, transport="tor"),
            manifest(ALICE, BOB, program_digest="00"),
            manifest(ALICE, BOB, program_name="sort"),
            manifest(ALICE, BOB, arguments=("9",)),
            manifest(ALICE, BOB, arguments=()),
        )
    ]
    assert len(set(texts)) == len(texts)


def test_a_partys_number_is_its_place() -> None:
    session = Session((ALICE, BOB), 1, b"T" * 32, b"t" * 16, "direct", "00ff")
    assert session.m == 2 and [session.name(i) for i in range(2)] == ["alice", "bob"]
