import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core import frames
from comity.core.encoding import Malformed, encode
from comity.core.frames import ACK, DATA, FIN, GOODBYE, FrameReader, Hello, Piece, pack_header
from comity.core.limits import MAX_DETAIL, MAX_FRAME, MAX_GOODBYE

HELLO = Hello(b"T" * 32, 1, 2, 1, 5, b"i" * 16, 9, 77)


def frame(kind: int, body: bytes = b"", *, epoch: int = 0, offset: int = 0, acknowledged: int = 0) -> bytes:
    return pack_header(kind, epoch, offset, acknowledged, 3, len(body)) + body


def test_a_hello_comes_back() -> None:
    assert frames.parse_hello(HELLO.pack()) == HELLO
    assert len(HELLO.pack()) == frames.HELLO_SIZE == 72


def test_a_hello_of_another_version_or_none_at_all_is_refused() -> None:
    packed = HELLO.pack()
    with pytest.raises(Malformed, match="version 2 of links, not 1"):
        frames.parse_hello(packed[:2] + b"\2" + packed[3:])
    with pytest.raises(Malformed, match="alice sent something else"):
        frames.parse_hello(b"GET / HTTP/1.1\r\n".ljust(frames.HELLO_SIZE), "alice")


def test_a_header_is_as_the_protocol_says() -> None:
    assert pack_header(DATA, 1, 2, 3, 4, 5) == struct.pack("!BIQQII", 0, 1, 2, 3, 4, 5)
    assert frames.HEADER_SIZE == 29


@pytest.mark.parametrize("reason", frames.GOODBYE_REASONS)
def test_a_goodbye_comes_back(reason: str) -> None:
    assert frames.parse_goodbye(frames.pack_goodbye(reason, "über 9")) == (reason, "über 9")


def test_the_longest_detail_fits_a_goodbye() -> None:
    for letter in ("x", '"', "\\", "\U0001f600", "\n"):
        body = frames.pack_goodbye("interrupted", letter * 1000)
        assert len(body) <= MAX_GOODBYE
        assert len(frames.parse_goodbye(body)[1]) == MAX_DETAIL


def test_a_goodbye_without_a_known_reason_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no reason"):
        frames.pack_goodbye("bored", "")


def test_what_could_move_a_cursor_leaves_as_spaces() -> None:
    assert frames.parse_goodbye(frames.pack_goodbye("error", "a\x1b[2Jb\u202ec\x9bd"))[1] == "a [2Jb c d"


@pytest.mark.parametrize(
    "value",
    [
        {"reason": "bored", "detail": ""},
        {"reason": "error", "detail": "\x1b[2J"},
        {"reason": "error", "detail": "a\nb"},
        {"reason": "error", "detail": "c1 \x9b2J"},
        {"reason": "error", "detail": "right to left \u202e"},
        {"reason": "error", "detail": "x" * (MAX_DETAIL + 1)},
        {"reason": "error", "detail": "", "more": 1},
        {"reason": "error"},
        ["error"],
    ],
)
def test_a_malformed_goodbye_is_refused(value: object) -> None:
    with pytest.raises(Malformed):
        frames.parse_goodbye(encode(value))


def test_a_goodbye_that_is_no_canonical_json_is_refused() -> None:
    for body in (b"", b"\xff", b'{"reason": "error", "detail": ""}', b"x" * (MAX_GOODBYE + 1)):
        with pytest.raises(Malformed):
            frames.parse_goodbye(body)


def test_whole_frames_come_out_in_order() -> None:
    goodbye = frames.pack_goodbye("done", "")
    data = frame(DATA, b"abc", offset=5, acknowledged=1) + frame(ACK, acknowledged=2) + frame(FIN, offset=8)
    assert FrameReader(0).feed(data + frame(GOODBYE, goodbye)) == [
        (DATA, 5, 1, 3, b"abc"),
        (ACK, 0, 2, 3, b""),
        (FIN, 8, 0, 3, b""),
        (GOODBYE, 0, 0, 3, goodbye),
    ]


def test_data_is_passed_on_as_it_arrives_with_the_offset_of_each_piece() -> None:
    reader = FrameReader(0)
    data = frame(DATA, b"abcdef", offset=10, acknowledged=4)
    assert reader.feed(data[:29]) == []
    assert reader.feed(data[29:31]) == [(DATA, 10, 4, 3, b"ab")]
    assert reader.feed(data[31:32]) == [(DATA, 12, 4, 3, b"c")]
    assert reader.feed(data[32:] + frame(ACK)) == [(DATA, 13, 4, 3, b"def"), (ACK, 0, 0, 3, b"")]


def test_a_piece_that_is_a_whole_read_is_not_copied() -> None:
    reader = FrameReader(0)
    reader.feed(pack_header(DATA, 0, 0, 0, 0, 1 << 16))
    read = bytes(1 << 14)
    assert reader.feed(read)[0][4] is read


@pytest.mark.parametrize(
    ("data", "phrase"),
    [
        (frame(DATA, b"x", epoch=1), "of epoch 1, not 0"),
        (frame(4), "unknown kind 4"),
        (frame(255), "unknown kind 255"),
        (frame(DATA), "of 0 bytes"),
        (pack_header(DATA, 0, 0, 0, 0, MAX_FRAME + 1), f"of {MAX_FRAME + 1} bytes"),
        (pack_header(DATA, 0, 0, 0, 0, 2**32 - 1), "of 4294967295 bytes"),
        (frame(ACK, b"x"), "with 1 bytes"),
        (frame(FIN, b"x"), "with 1 bytes"),
        (pack_header(GOODBYE, 0, 0, 0, 0, MAX_GOODBYE + 1), f"kind {GOODBYE} with"),
    ],
)
def test_a_malformed_frame_is_refused_at_its_header(data: bytes, phrase: str) -> None:
    with pytest.raises(Malformed, match=phrase):
        FrameReader(0).feed(data)


def test_what_is_held_stays_small_whatever_comes() -> None:
    reader = FrameReader(0)
    for byte in pack_header(GOODBYE, 0, 0, 0, 0, MAX_GOODBYE) + bytes(MAX_GOODBYE - 1):
        assert reader.feed(bytes([byte])) == []
        assert len(reader._held) <= frames.HEADER_SIZE + MAX_GOODBYE
    assert [len(piece[4]) for piece in reader.feed(b"x" + frame(ACK))] == [MAX_GOODBYE, 0]


BODIES = st.one_of(
    st.tuples(st.just(DATA), st.binary(min_size=1, max_size=100)),
    st.tuples(st.just(GOODBYE), st.binary(max_size=100)),
    st.tuples(st.sampled_from((ACK, FIN)), st.just(b"")),
)


@given(st.lists(BODIES, max_size=8), st.lists(st.integers(1, 60), min_size=1))
def test_frames_come_out_the_same_however_they_are_cut(sent: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(frame(kind, body, offset=100 * i, acknowledged=i) for i, (kind, body) in enumerate(sent))
    reader, got, at, turn = FrameReader(0), list[Piece](), 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        got += reader.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    joined: list[Piece] = []
    for kind, offset, acknowledged, depth, body in got:
        if joined and kind == DATA and joined[-1][0] == DATA and joined[-1][1] + len(joined[-1][4]) == offset:
            joined[-1] = (*joined[-1][:4], joined[-1][4] + body)
        else:
            joined.append((kind, offset, acknowledged, depth, body))
    assert joined == [(kind, 100 * i, i, 3, body) for i, (kind, body) in enumerate(sent)]


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waits_and_never_crashes(data: bytes) -> None:
    try:
        pieces = FrameReader(0).feed(data)
    except Malformed:
        return
    assert sum(len(piece[4]) + frames.HEADER_SIZE for piece in pieces) <= len(data)
