import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core import invitation
from comity.core.invitation import Invitation, check_address, parse
from comity.errors import UsageError

ONE = Invitation(b"a" * 16, b"b" * 16, ("http://127.0.0.1:8787", "http://[::1]:8787"))
ADDRESSES = st.sampled_from(
    [
        "http://127.0.0.1:8787",
        "https://meet.example.org/",
        "ws://[::1]:1",
        "wss://münchen.example/rendezvous",
        "http://a",
    ]
)
INVITATIONS = st.builds(
    Invitation,
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=16, max_size=16),
    st.lists(ADDRESSES, min_size=1, max_size=8).map(tuple),
    st.just(b"") | st.binary(min_size=32, max_size=32),
)


def sealed(body: bytes) -> str:
    """A link whose checksum is right, whatever is in it."""
    text = base64.urlsafe_b64encode(body + hashlib.sha256(body).digest()[:4]).decode()
    return "comity://" + text.rstrip("=")


def body(count: int, rest: bytes, version: int = 1) -> bytes:
    return bytes([version]) + b"s" * 16 + b"h" * 16 + bytes([count]) + rest


ADDRESS = b"\x08http://a"


@given(INVITATIONS)
def test_a_link_comes_back_from_both_forms(invited: Invitation) -> None:
    assert parse(invited.link()) == invited
    assert parse(f"  {invited.page_link('https://meet.example.org/')}\n") == invited
    assert len(invited.link()) <= invitation.MAX_TEXT


def test_what_follows_the_mark_is_all_that_is_secret() -> None:
    link = ONE.page_link("https://meet.example.org/")
    assert link == f"https://meet.example.org/#{ONE.payload()}" and ONE.link() == f"comity://{ONE.payload()}"
    assert "aaaa" not in repr(ONE) and "secret" not in repr(ONE) and "8787" in repr(ONE)


@given(INVITATIONS, st.integers(0), st.integers(1, 127))
def test_a_changed_link_is_refused(invited: Invitation, at: int, change: int) -> None:
    link = invited.link()
    at %= len(link)
    with pytest.raises(UsageError) as caught:
        parse(link[:at] + chr(ord(link[at]) ^ change) + link[at + 1 :])
    assert "invitation" in caught.value.message and caught.value.hints


@given(INVITATIONS, st.data())
def test_a_link_with_a_part_missing_is_refused(invited: Invitation, data: st.DataObject) -> None:
    link = invited.link()
    start = data.draw(st.integers(0, len(link) - 1))
    end = data.draw(st.integers(start + 1, len(link)))
    with pytest.raises(UsageError):
        parse(link[:start] + link[end:])


@given(INVITATIONS, st.integers(1))
def test_a_link_that_was_cut_off_is_said_to_be(invited: Invitation, letters: int) -> None:
    link = invited.link()
    with pytest.raises(UsageError, match="it is too short, as if its end were cut off"):
        parse(link[: max(len("comity://"), len(link) - letters)])


@given(st.text(max_size=60), st.sampled_from(["", "comity://", "https://x/#", "COMITY://"]))
def test_whatever_else_is_a_usage_error(text: str, prefix: str) -> None:
    with pytest.raises(UsageError):
        parse(prefix + text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not start"),
        ("comity:/abc", "does not start"),
        ("http://meet.example.org/#abc", "does not start"),
        ("https://meet.example.org/abc", "does not start"),
        ("comity://", "it is too short, as if its end were cut off"),
        ("comity://AAAA", "cut off"),
        ("comity://é", "no invitation has 'é' in it"),
        ("comity://A B", "no invitation has ' ' in it"),
        ("comity://A", "cut off"),
        (ONE.link()[:30] + "…", "cut off"),
        (ONE.link()[:30] + "...", "cut off"),
        (ONE.link()[:30] + "...x", "no invitation has '.' in it"),
        ("x" * 4097, "too long"),
        ("comity://" + "A" * 5000, "too long"),
        (ONE.link() + "=", "no invitation has '=' in it"),
        (ONE.link() + "AAAA", "missing or changed"),
        (ONE.link()[:20] + ONE.link()[24:], "cut off"),  # three bytes less: its end is not where it should be
        (ONE.link()[:-1] + chr(ord(ONE.link()[-1]) + 1), "missing or changed"),
        (ONE.link() + ".", "no invitation has '.' in it"),
        (sealed(b""), "cut off"),
        (sealed(body(1, b"")), "missing or changed"),
        (sealed(body(1, ADDRESS)), "missing or changed"),
        (sealed(body(1, ADDRESS + b"\x00" + b"x")), "missing or changed"),
        (sealed(body(1, ADDRESS + b"\x05" + b"x" * 5)), "missing or changed"),
        (sealed(body(1, ADDRESS + b"\x20" + b"x" * 31)), "missing or changed"),
        (sealed(body(2, ADDRESS)), "missing or changed"),
        (sealed(b"\x01" + b"s" * 20), "missing or changed"),
        (sealed(body(0, b"\x00")), "no rendezvous, or too many"),
        (sealed(body(9, ADDRESS * 9 + b"\x00")), "no rendezvous, or too many"),
        (sealed(body(1, b"\x08\xff" + b"x" * 7 + b"\x00")), "an address is not text"),
        (sealed(body(1, b"\x08ftp://ab\x00")), "is no address of a rendezvous"),
    ],
)
def test_what_is_wrong_is_said(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse(text)


def test_the_smallest_link_is_accepted() -> None:
    assert parse(sealed(body(1, ADDRESS + b"\x00"))) == Invitation(b"s" * 16, b"h" * 16, ("http://a",))


def test_another_version_says_to_update() -> None:
    with pytest.raises(UsageError, match="version 2, not 1") as caught:
        parse(sealed(body(1, ADDRESS + b"\x00", version=2)))
    assert caught.value.hints == ("update comity",)


def test_standard_base64_is_another_text_of_the_same_bytes_and_refused() -> None:
    payload = Invitation(b"\xff" * 16, b"\xfe" * 16, ("http://a",)).payload()
    assert "_" in payload
    with pytest.raises(UsageError, match=r"no invitation has '[+/]' in it"):
        parse("comity://" + payload.replace("_", "/").replace("-", "+"))


@pytest.mark.parametrize(
    "address",
    ["http://192.0.2.7:8787", "https://meet.example.org", "ws://[2001:db8::1]:80/x", "wss://münchen.example/a/b/"],
)
def test_an_address_of_a_rendezvous_is_accepted(address: str) -> None:
    assert check_address(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "meet.example.org",
        "ftp://meet.example.org",
        "javascript://meet.example.org/%0aalert(1)",
        "file:///etc/passwd",
        "http://",
        "http://:80",
        "http:///path",
        "http://a:0",
        "http://a:65536",
        "http://a:b",
        "http://[::1",
        "http://[zz]:1",
        "http://user@a",
        "http://user:password@a",
        "http://a b",
        "http://a\n",
        "http://a\x1b[2J",
        "http://a\u202e",
        "http://\ud800",
        " http://a",
        "http://a/?x=1",
        "http://a/#x",
        "http://a\\@b",
        "http://a/" + "x" * 192,
        "http://" + "é" * 100,
    ],
)
def test_what_is_no_address_of_a_rendezvous_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is no address of a rendezvous") as caught:
        check_address(address)
    assert "192.0.2.7" in caught.value.hints[0] and len(caught.value.message) < 400
