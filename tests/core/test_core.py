import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core import encoding, identity, invitation, preface, sealing, words
from comity.core.program import Program
from comity.errors import PeerError, UsageError, VerificationError

A = Program("sum", ("8",), {"mpyc": "0.11"}, "3.11.7")


def test_a_text_that_is_not_its_values_encoding_is_refused() -> None:
    for text in (
        b'{"a":1,"a":1}',
        b'{"b":1,"a":2}',
        b"1.0",
        b"[1, 2]",
        b"[" * 5000,
        b"9" * 5000,
        b"\xff",
        b'"\\ud800"',
    ):
        with pytest.raises(PeerError):
            encoding.decode(text, 10_000)


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5) | st.integers(-(2**52), 2**52),
        lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=3),
        max_leaves=8,
    )
)
def test_what_is_encoded_is_decoded(value: object) -> None:
    assert encoding.decode(encoding.encode(value), 100_000) == value


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_changed_link_is_refused(at: int, change: int) -> None:
    link = invitation.Invitation(b"a" * 16, b"b" * 16, ("http://127.0.0.1:8787", "http://[::1]:8787")).link()
    at %= len(link)
    mangled = link[:at] + chr(ord(link[at]) ^ change) + link[at + 1 :]
    try:
        assert invitation.parse(mangled) == invitation.parse(link)  # the unused low bits of base64's last letter
    except UsageError as exc:
        assert "invitation" in exc.message


def test_a_link_comes_back_from_both_forms() -> None:
    invited = invitation.Invitation(b"a" * 16, b"b" * 16, ("https://meet.example.org/",), b"c" * 32)
    assert (
        invitation.parse(invited.link()) == invitation.parse(invited.page_link("https://meet.example.org")) == invited
    )
    assert "aaaa" not in repr(invited)


def test_a_sealed_body_opens_only_unchanged_and_with_its_key() -> None:
    key = sealing.room_key(b"s" * 16)
    sealed = sealing.seal(key, b"n" * 12, b"body", b"room")
    assert sealing.unseal(key, sealed, b"room") == b"body"
    for other_key, body, context in (
        (b"k" * 32, sealed, b"room"),
        (key, sealed[:-1], b"room"),
        (key, sealed, b"x"),
        (key, b"", b"room"),
    ):
        with pytest.raises(VerificationError):
            sealing.unseal(other_key, body, context)


def test_a_preface_is_authentic_only_under_the_pairs_key() -> None:
    sent = preface.Preface(b"t" * 16, 0, 2, preface.DATA, 1, 3)
    data = sent.pack(b"k" * 32)
    assert preface.parse(data) == sent and preface.authentic(data, b"k" * 32)
    assert not preface.authentic(data, b"j" * 32)
    assert preface.parse(data[1:]) is None and preface.parse(b"x" * preface.SIZE) is None


def test_names_that_look_alike_fold_to_the_same() -> None:
    for twin in ("АLICE", "a1ice", "Alíce", "a.l-i c.e"):
        assert identity.fold(twin) == identity.fold("alice")
    assert identity.fold("bob") != identity.fold("carol")
    for bad in ("", " alice", "a\nb", "a\u202eb", "x" * 33, "..."):
        with pytest.raises(UsageError):
            identity.check_name(bad)


def test_two_parties_share_a_secret_and_refuse_a_key_of_small_order() -> None:
    a, b = b"a" * 32, b"b" * 32
    assert identity.pair_secret(a, identity.exchange_public(b)) == identity.pair_secret(b, identity.exchange_public(a))
    with pytest.raises(PeerError):
        identity.pair_secret(a, bytes(32))
    assert identity.verify(identity.public_key(a), identity.sign(a, b"m"), b"m")
    assert not identity.verify(identity.public_key(a), identity.sign(b, b"m"), b"m")


def test_the_list_has_2048_distinct_words_and_every_transcript_gets_three() -> None:
    assert len(set(words.WORDS)) == 2048 and len({w[:4] for w in words.WORDS}) == 2048
    assert len(words.check_words(b"T" * 32)) == 3 and words.check_words(b"T" * 32) != words.check_words(b"U" * 32)


@pytest.mark.parametrize(
    ("other", "phrase"),
    [
        (Program("sort", ("8",), A.parts, "3"), "the program is sum here and sort at bob"),
        (Program("sum", ("9",), A.parts, "3"), "argument 1 is 8 here and 9 at bob"),
        (Program("sum", (), A.parts, "3"), "1 arguments here and 0 at bob"),
        (Program("sum", ("8",), {"mpyc": "0.10"}, "3"), "mpyc is 0.11 here and 0.10 at bob"),
        (Program("sum", ("8",), A.parts, "3.13.0"), ""),
    ],
)
def test_a_difference_is_named(other: Program, phrase: str) -> None:
    assert A.difference(other, "bob") == phrase
    assert (A.digest == other.digest) == (phrase == "")
    assert Program.from_dict(other.to_dict()) == other
