"""Sum: every party puts in its own numbers, and all learn the total, nothing else.

usage: sum.py [low | medium | high | N]

N is how many numbers each party puts in; party i's are i + 1, 2 (i + 1), .. N (i + 1).
Few rounds: what remains is the time to meet.
"""

import argparse

from mpyc.runtime import mpc

SIZES = {"low": 1, "medium": 100, "high": 1000}


def size(text: str) -> int:
    number = SIZES[text] if text in SIZES else int(text) if text.isascii() and text.isdecimal() else 0
    if not 1 <= number <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(SIZES)} and no number from 1 to 10000")
    return number


async def main(count: int) -> None:
    secint = mpc.SecInt(48)
    async with mpc:
        mine = [secint((mpc.pid + 1) * k) for k in range(1, count + 1)]
        everyones = mpc.input(mine)
        total = mpc.sum([number for numbers in everyones for number in numbers])
        print("sum", await mpc.output(total), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Add up numbers of all parties.")
    parser.add_argument("size", nargs="?", type=size, default="low", help="low, medium, high, or N itself")
    mpc.run(main(parser.parse_args().size))
