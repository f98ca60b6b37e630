"""Secret Santa: random derangements, drawn so that no party can steer or foresee them.

usage: secretsanta.py [low | medium | high | N]

For n = 2 .. N a permutation of n people is drawn in secret, again until nobody would give to themselves, and printed.
Many rounds of small messages: its time is the network's latency.
"""

import argparse

from mpyc.runtime import mpc

SIZES = {"low": 4, "medium": 8, "high": 16}


def size(text: str) -> int:
    number = SIZES[text] if text in SIZES else int(text) if text.isascii() and text.isdecimal() else 0
    if not 2 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(SIZES)} and no number from 2 to 100")
    return number


async def main(people: int) -> None:
    secint = mpc.SecInt(16)
    async with mpc:
        for n in range(2, people + 1):
            derangement = await mpc.output(mpc.random.random_derangement(secint, n))
            print(n, derangement, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw secret Santas for 2 .. N people.")
    parser.add_argument("size", nargs="?", type=size, default="low", help="low, medium, high, or N itself")
    mpc.run(main(parser.parse_args().size))
