"""Sort: every party puts in its own numbers, and all learn them in order, not whose they are.

usage: sort.py [low | medium | high | N]

N is how many numbers each party puts in. Many comparisons side by side: some rounds, many messages in each.
"""

import argparse

from mpyc.runtime import mpc

SIZES = {"low": 4, "medium": 16, "high": 64}


def size(text: str) -> int:
    number = SIZES[text] if text in SIZES else int(text) if text.isascii() and text.isdecimal() else 0
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(SIZES)} and no number from 1 to 1000")
    return number


def own_number(party: int, k: int) -> int:
    """A number that looks random and is the same in every run, so that runs can be compared."""
    return (7919 * (party + 1) + 104_729 * (k + 1)) % 1000


async def main(count: int) -> None:
    secint = mpc.SecInt(16)
    async with mpc:
        everyones = mpc.input([secint(own_number(mpc.pid, k)) for k in range(count)])
        ordered = mpc.sorted([number for numbers in everyones for number in numbers])
        print("sorted", await mpc.output(ordered), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Sort numbers of all parties.")
    parser.add_argument("size", nargs="?", type=size, default="low", help="low, medium, high, or N itself")
    mpc.run(main(parser.parse_args().size))
