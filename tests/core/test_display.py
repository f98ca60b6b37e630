import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.display import MAX_LINE, harmless, harmless_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("alice", "alice"),
        ("Zoë Đặng 山田 עדה", "Zoë Đặng 山田 עדה"),
        ("a\tb\r\n", "a\\tb\\r\\n"),
        ("\x1b[31m\x9b1m\x7f", "\\x1b[31m\\x9b1m\\x7f"),
        ("\u202eecila\u2066\u200f", "\\u202eecila\\u2066\\u200f"),
        ("a\u200bb\ufeff\u00ad\U000e0041", "a\\u200bb\\ufeff\\xad\\U000e0041"),
        ("a\u3164\u2800b", "a\\u3164\\u2800b"),
        ("a\u00a0\u3000b", "a  b"),
        ("\ud800\ue000\u0378", "\\ud800\\ue000\\u0378"),
        ("e" + "\u0301" * 5, "e" + "\u0301" * 3 + "\\u0301" * 2),
        ("\u0301a", "\\u0301a"),
    ],
)
def test_what_does_more_than_show_a_letter_is_spelled_out(text: str, shown: str) -> None:
    assert harmless(text) == shown


@given(st.text(st.characters() | st.sampled_from("\x1b\n\u202e\u0301\u3164")), st.integers(1, 40))
def test_whatever_comes_is_one_harmless_line_of_bounded_length(text: str, limit: int) -> None:
    line = harmless(text, limit)
    assert len(line) <= limit
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)
    assert all(unicodedata.category(c)[0] in "LMNPS" or c == " " for c in line)
    assert harmless(line, limit) == line


def test_a_long_text_is_cut_visibly_and_at_once() -> None:
    assert harmless("x" * 10, 10) == "x" * 10
    assert harmless("x" * 11, 10) == "x" * 9 + "…"
    assert len(harmless("\x1b" * 10_000_000)) == MAX_LINE


def test_lines_stay_lines_and_are_harmless_each() -> None:
    assert harmless_lines("a\x1b[2J\n\tb\r\n\n  c\u202ed\n") == "a\\x1b[2J\n    b\\r\n\n  c\\u202ed\n"
