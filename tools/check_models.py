"""Ask ProVerif about the models and compare with what is expected (a test does so, too).

    python tools/check_models.py [NAME ...]          all of them, or only these
    python tools/check_models.py --show NAME         what ProVerif reads, a control's changes made
    python tools/check_models.py > models/expected.txt

Verdicts go to stdout in the form of models/expected.txt; differences, and the reason for a skip, to stderr. Exit code 1
when a verdict is not the expected one. Without ProVerif on PATH nothing is checked, and that is said.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

MODELS = Path(__file__).parents[1] / "models"
SKIPPED = (
    "skipped: ProVerif is not on PATH, so no model was checked "
    "(hint: get it from https://proverif.inria.fr, or from opam as proverif; models/expected.txt is by version 2.05)"
)
LIMIT = 900
"""Seconds for one model; the largest takes half a minute."""

LABEL = re.compile(r"^\(\*([?!]) (\w+) \*\)\nquery ", re.MULTILINE)
"""Before a query: its name, and whether it is a claim (?) or something that must be able to happen (!)."""
SUMMARY = re.compile(r"^Query .* (is true|is false|cannot be proved)\.$", re.MULTILINE)
VERDICTS = {
    ("?", "is true"): "holds",
    ("?", "is false"): "attack",
    ("?", "cannot be proved"): "unknown",
    ("!", "is false"): "happens",
    ("!", "is true"): "never",
    ("!", "cannot be proved"): "unknown",
}


@dataclass(frozen=True)
class Model:
    name: str
    text: str
    of: str = ""  # of a control: the model that it breaks

    @property
    def queries(self) -> tuple[str, ...]:
        return tuple(name for _, name in LABEL.findall(self.text))


def models() -> dict[str, Model]:
    """The models and their controls, by name. Raises ValueError for a change that does not fit its model."""
    found = {path.stem: Model(path.stem, path.read_text(encoding="utf-8")) for path in sorted(MODELS.glob("*.pv"))}
    for variant in tomllib.loads((MODELS / "variants.toml").read_text(encoding="utf-8"))["variant"]:
        name, text = variant["name"], found[variant["of"]].text
        for old, new in variant["changes"]:
            if text.count(old) != 1:
                raise ValueError(f"{name}: this stands {text.count(old)} times in {variant['of']}.pv: {old!r}")
            text = text.replace(old, new)
        if name in found:
            raise ValueError(f"{name}: there are two of this name")
        found[name] = Model(name, text, variant["of"])
    return found


def expected() -> dict[str, dict[str, str]]:
    """The expected verdicts, by model and query."""
    table: dict[str, dict[str, str]] = {}
    for line in (MODELS / "expected.txt").read_text(encoding="utf-8").splitlines():
        model, query, verdict = line.split()
        table.setdefault(model, {})[query] = verdict
    return table


def missing() -> str | None:
    """Why nothing can be checked here, and what to do about it."""
    return None if shutil.which("proverif") else SKIPPED


def verdicts(model: Model, output: str) -> dict[str, str]:
    """What ProVerif's summary says of each query. Raises ValueError when it does not speak of all of them."""
    labels, answers = LABEL.findall(model.text), SUMMARY.findall(output.partition("Verification summary:")[2])
    if len(labels) != len(answers):
        errors = [line for line in output.splitlines() if "rror" in line]
        raise ValueError(
            f"{model.name}: {len(labels)} queries, {len(answers)} answers. {' '.join(errors[:3])}".rstrip()
        )
    return {name: VERDICTS[kind, answer] for (kind, name), answer in zip(labels, answers, strict=True)}


def check(model: Model) -> dict[str, str]:
    """Run ProVerif on it. Raises ValueError for an output without verdicts, TimeoutExpired past LIMIT."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{model.name}.pv")
        path.write_text(model.text, encoding="utf-8")
        done = subprocess.run(["proverif", path], capture_output=True, encoding="utf-8", timeout=LIMIT, check=False)
    return verdicts(model, done.stdout + done.stderr)


def lines(name: str, found: dict[str, str]) -> list[str]:
    return [f"{name:31} {query:33} {verdict}" for query, verdict in found.items()]


def main() -> int:
    parser = argparse.ArgumentParser(description="Check the models with ProVerif.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--show", metavar="NAME", help="print what ProVerif reads")
    options = parser.parse_args()
    known = models()
    asked = [options.show] if options.show else options.names or list(known)
    if unknown := [name for name in asked if name not in known]:
        parser.error(f"there is no model {unknown[0]}; there are {', '.join(known)}")
    if options.show:
        print(known[options.show].text, end="")
        return 0
    if reason := missing():
        print(reason, file=sys.stderr)
        return 0
    wanted, differ = expected(), 0
    for name in asked:
        found = check(known[name])
        print(*lines(name, found), sep="\n", flush=True)
        for query, verdict in found.items():
            if verdict != (due := wanted.get(name, {}).get(query)):
                differ += 1
                print(f"{name}: {query}: {verdict}, expected {due}", file=sys.stderr)
    print(f"{len(asked)} models, {differ} verdicts differ", file=sys.stderr)
    return 1 if differ else 0


if __name__ == "__main__":
    raise SystemExit(main())
