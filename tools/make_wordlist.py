"""Choose the 2 048 check words from a longer list: python tools/make_wordlist.py LIST > src/comity/core/wordlist.py

LIST is the EFF's large word list for passphrases (7 776 words, Creative Commons Attribution 3.0 US).
Short words first; no two share their first four letters, and none is within two edits of another of near length.
"""

import re
import sys
from pathlib import Path

COUNT = 2048


def distance(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def choose(words: list[str]) -> list[str]:
    chosen: dict[str, str] = {}
    for word in sorted(words, key=lambda w: (len(w), w)):
        near = (c for c in chosen.values() if abs(len(c) - len(word)) < 2)
        if word[:4] not in chosen and all(distance(word, c) > 1 for c in near):
            chosen[word[:4]] = word
        if len(chosen) == COUNT:
            return sorted(chosen.values())
    raise SystemExit(f"only {len(chosen)} words left of {COUNT}")


def main() -> None:
    words = re.findall(r"\b[a-z]{4,9}\b", Path(sys.argv[1]).read_text())
    print(
        '"""The 2 048 check words.\n\nChosen by tools/make_wordlist.py from the large word list for passphrases of the'
    )
    print("Electronic Frontier Foundation, Creative Commons Attribution 3.0 US; shortened by selection only.")
    print('"""\n\nWORDS: tuple[str, ...] = tuple(\n    """')
    line = ""
    for word in choose(words):
        if len(line) + len(word) > 100:
            print(line.rstrip())
            line = ""
        line += word + " "
    print(line.rstrip() + '\n""".split()\n)')


if __name__ == "__main__":
    main()
