import hmac
from contextlib import suppress

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from comity.core import identity
from comity.core.identity import Secrets, check_name, fold
from comity.errors import PeerError, UsageError

A, B = b"a" * 32, b"b" * 32
P = 2**255 - 19


# Keys


def test_signatures_are_those_of_rfc_8032() -> None:
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")  # 7.1, test 2
    key = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    assert identity.public_key(seed) == key
    assert identity.sign(seed, b"\x72").hex().startswith("92a009a9f0d4cab8720e820b5f642540")


def test_derived_keys_are_those_of_rfc_5869() -> None:
    extracted = hmac.digest(b"salt", A, "sha256")
    first = hmac.digest(extracted, b"comity/1 label\x01", "sha256")
    second = hmac.digest(extracted, first + b"comity/1 label\x02", "sha256")
    assert identity.derive(A, b"salt", "label", 40) == (first + second)[:40]


def test_a_signature_holds_for_its_key_and_message_alone() -> None:
    key, signature = identity.public_key(A), identity.sign(A, b"message")
    assert identity.verify(key, signature, b"message")
    for other in (
        (identity.public_key(B), signature, b"message"),
        (key, identity.sign(B, b"message"), b"message"),
        (key, signature, b"massage"),
        (key, signature[:-1], b"message"),
        (key, b"", b"message"),
        (key[:-1], signature, b"message"),
        (b"", signature, b"message"),
        (b"\xff" * 32, signature, b"message"),
    ):
        assert not identity.verify(*other)


def small_order_keys() -> list[bytes]:
    """Every encoding of every point of order 1, 2, 4 and 8, found by solving the curve's equation."""

    def root(a: int) -> int | None:
        r = pow(a, (P + 3) // 8, P)
        r = r if r * r % P == a % P else r * pow(2, (P - 1) // 4, P) % P
        return r if r * r % P == a % P else None

    d = -121665 * pow(121666, -1, P) % P
    ys = {0, 1, P - 1, P, P + 1}  # the neutral point, (0, -1), and the two of order 4; also as y + p
    for s in (root(1 + d), -(root(1 + d) or 0)):  # doubling gives y = 0: d y^4 + 2 y^2 = 1
        y = root((s - 1) * pow(d, -1, P)) if s else None
        ys |= {y, P - y} if y else set()
    assert len(ys) == 7
    return [(y | sign << 255).to_bytes(32, "little") for y in sorted(ys) for sign in (0, 1)]


@pytest.mark.parametrize("key", small_order_keys())
def test_mallory_signs_under_a_key_that_has_no_secret(key: bytes) -> None:
    forged = bytes([1]) + bytes(63)  # the neutral point and 0: an equation that holds when 8 divides the challenge
    openssl_was_fooled = 0
    for i in range(64):
        with suppress(InvalidSignature):
            Ed25519PublicKey.from_public_bytes(key).verify(forged, bytes([i]))
            openssl_was_fooled += 1
        assert not identity.verify(key, forged, bytes([i]))
    assert openssl_was_fooled
    assert identity.small_order(key)


def test_an_honest_key_is_not_of_small_order() -> None:
    assert not any(identity.small_order(identity.public_key(bytes([i]) * 32)) for i in range(64))


def test_two_parties_share_a_secret_that_depends_on_both() -> None:
    ab = identity.pair_secret(A, identity.exchange_public(B))
    assert ab == identity.pair_secret(B, identity.exchange_public(A))
    assert ab != identity.pair_secret(A, identity.exchange_public(A)) and len(ab) == 32


@pytest.mark.parametrize("key", [bytes(32), (1).to_bytes(32, "little"), (P - 1).to_bytes(32, "little"), b"", b"k" * 31])
def test_an_exchange_key_that_fixes_the_secret_is_refused(key: bytes) -> None:
    with pytest.raises(PeerError, match="unusable exchange key"):
        identity.pair_secret(A, key)


def test_derived_keys_differ_by_secret_salt_and_label() -> None:
    keys = {
        identity.derive(A, b"", "label"),
        identity.derive(B, b"", "label"),
        identity.derive(A, b"salt", "label"),
        identity.derive(A, b"", "lapel"),
        identity.derive(A, b"", "label", 16),
    }
    assert len(keys) == 5 and sorted(map(len, keys)) == [16, 32, 32, 32, 32]


def test_a_mac_depends_on_key_and_message() -> None:
    assert len(identity.authenticate(A, b"m")) == 16
    assert len({identity.authenticate(k, m) for k in (A, B) for m in (b"m", b"n")}) == 4


def test_a_fingerprint_is_read_in_groups_of_four() -> None:
    shown = identity.show_fingerprint(identity.public_key(A))
    assert len(identity.fingerprint(identity.public_key(A))) == 16
    assert [len(group) for group in shown.split("-")] == [4, 4, 4, 4, 4, 4, 2]
    assert set(shown) <= set("abcdefghijklmnopqrstuvwxyz234567-")
    assert shown != identity.show_fingerprint(identity.public_key(B))


def test_secrets_do_not_show_themselves() -> None:
    secrets = Secrets(b"AAAA" * 8, b"BBBB" * 8, b"CCCC" * 8, b"DDDD" * 8)
    for shown in (repr(secrets), str(secrets), f"{secrets}", repr([secrets])):
        assert not any(letters in shown for letters in ("AA", "BB", "CC", "DD"))


# Names


@pytest.mark.parametrize(
    "twin",
    [
        "ALICE",
        "a1ice",
        "al1ce",
        "Alíce",
        "a.l-i c.e",
        "a'lice",
        "a_lice",
        "\U0001d4d0lice",  # styled letters
        "ａｌｉｃｅ",  # full width
        "alıce",  # Turkish dotless i
        "ɑlice",
        "ᴀʟɪᴄᴇ",
        "alic\u0065\u0323",  # a dot below
    ],
)
def test_a_name_that_looks_like_alice_folds_to_alice(twin: str) -> None:
    assert check_name(twin) and fold(twin) == fold("alice")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Burn", "Bum"),
        ("0scar", "Oscar"),
        ("vvill", "will"),
        ("Анна", "ahha"),
        ("асе", "ace"),
        ("ΑΝΝΑ", "ANNA"),
        ("Straße", "strasse"),
        ("Zoe\u0308", "Zoë"),
        ("ロ", "口"),
        ("エ", "工"),
        ("\ufb01nn", "finn"),
    ],
)
def test_names_that_look_alike_fold_to_the_same(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    "name",
    [
        "alice",
        "Zoë",
        "O'Brien",
        "J.-P. Dupont",
        "Ŋ",
        "Əli",
        "山田",
        "佐々木",
        "やまだタロウ",
        "김철수",
        "עדה",
        "محمد",
        "Анна",
        "Ελένη",
        "สมชาย",
        "अमित",
        "bob2",
        "x" * 32,
    ],
)
def test_people_may_use_their_names(name: str) -> None:
    assert check_name(name) == name


def test_different_people_keep_different_names() -> None:
    names = ["alice", "bob", "carol", "Анна", "Иван", "राम", "रमा", "मीना", "मन", "山田", "田山", "Ελένη", "עדה"]
    assert len({fold(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " alice",
        "alice ",
        "x" * 33,
        "...",
        "-",
        "a\nb",
        "a\tb",
        "a\x1b[2Jb",
        "a\x7fb",
        "a\x9bb",
        "a\u2028b",
        "a\u202eb",
        "a\u2066b",
        "a\u200bb",
        "a\u00a0b",
        "a\ufeffb",
        "\ud800",
        "a/b",
        "a:b",
        "<b>",
        "a🙂",
        "alice\u3164",
        "alice\uffa0",
        "alice\u1160",
        "alice\ufe0f",
        "alice\U000e0100",
        "alice\u034f",
        "\u3164",
    ],
)
def test_a_name_that_could_mislead_in_a_line_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a name") as caught:
        check_name(name)
    assert "at most 32 characters" in caught.value.hints[0]


@pytest.mark.parametrize(
    "name",
    [
        "аlice",  # Cyrillic a
        "αlice",  # Greek alpha
        "ᎪᏞᏆᏟᎬ",  # Cherokee
        "ꓮꓡꓲꓚꓰ",  # Lisu
        "b〇b",  # the ideographic zero
        "b٥b",  # an Arabic digit
        "山lice",
        "ʻbob",  # a modifier letter
        "𐐈",  # Deseret
    ],
)
def test_mallory_borrows_letters_of_another_script(name: str) -> None:
    with pytest.raises(UsageError, match="could be taken for others") as caught:
        check_name(name)
    assert "one everyday script" in caught.value.hints[0]


@given(st.text(max_size=40))
def test_whatever_is_a_name_is_short_printable_and_seen(name: str) -> None:
    try:
        check_name(name)
    except UsageError:
        return
    assert 0 < len(name) <= 32 and name.isprintable() and fold(name) and name == name.strip()


@given(st.text(st.sampled_from("alicebo01rnmvw|!"), max_size=8))
def test_folding_again_changes_little_that_matters(name: str) -> None:
    assert fold(fold(name).upper()) == fold(fold(name))
