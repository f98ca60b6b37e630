"""Run MPyC programs twice, by themselves and in a comity session, and compare what party 0 prints.

    python tools/compare_programs.py FOLDER [-n PARTIES] ["PROGRAM ARGUMENTS" ...]

FOLDER holds the programs, for example a checkout of MPyC's own demos; without programs the list below is run.
Exit code 1 when an output differs.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from comity.core.display import harmless

PROGRAMS = (
    "helloworld.py",
    "oneliners.py",
    "indextounitvector.py",
    "id3gini.py -i1",
    "np_id3gini.py -i1",
    "lpsolver.py -i1",
    "np_lpsolver.py -i1",
    "aes.py -1",
    "np_aes.py -1",
    "sha3.py",
    "np_bnnmnist.py -b1 -o0",
    "unanimous.py",
    "ot.py",
)
TIMEOUT = 300


def plain(folder: Path, program: list[str], m: int) -> list[str]:
    command = [sys.executable, program[0], f"-M{m}", "--no-log", *program[1:]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    return [harmless(line) for line in done.stdout.splitlines()]


def session(folder: Path, program: list[str], m: int) -> list[str]:
    command = [sys.executable, "-P", "-m", "comity", "demo", "-q", "-n", str(m), *program]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        return [f"exit code {done.returncode}", *done.stderr.splitlines()]
    lines = [line.partition(" | ")[::2] for line in done.stdout.splitlines()]
    return [text for name, text in lines if name.strip() == "alice"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-n", "--parties", type=int, default=3)
    parser.add_argument("programs", nargs="*", default=PROGRAMS)
    options = parser.parse_args()
    different = equal_count = 0
    for text in options.programs:
        began = time.monotonic()
        try:
            expected = plain(options.folder, text.split(), options.parties)
        except subprocess.SubprocessError as exc:
            print(f"{'skipped':8} {text}: plain MPyC does not run it here: {exc}")
            continue
        middle = time.monotonic()
        got = session(options.folder, text.split(), options.parties)
        equal = got == expected
        different += not equal
        equal_count += equal
        seconds = f"plain {middle - began:.1f} s, session with its set-up {time.monotonic() - middle:.1f} s"
        print(f"{'equal' if equal else 'DIFFERS':8} {text}: {len(expected)} lines, {seconds}", flush=True)
        for ours, theirs in zip(got, expected, strict=False):
            if ours != theirs:
                print(f"         session {ours[:100]!r}\n         plain   {theirs[:100]!r}")
                break
        else:
            if not equal:
                print(f"         session has {len(got)} lines, plain {len(expected)}: {got[-3:]}")
    print(f"{equal_count} equal, {different} differ, {len(options.programs) - equal_count - different} skipped")
    return bool(different)


if __name__ == "__main__":
    sys.exit(main())
