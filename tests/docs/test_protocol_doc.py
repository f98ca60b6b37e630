"""docs/protocol.md against the code: its constants, and the fields of real messages."""

import importlib
import json
import re
from typing import Any

import pytest
from tests.docs.pages import ROOT, named, page, section, tables

from comity.core import limits
from comity.core.ceremony import TABLE, State

TEXT = page("docs/protocol.md")
_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def _number(cell: str) -> float:
    match = re.fullmatch(r"([0-9.]+) ?(KiB|MiB|GiB|)", cell)
    assert match, cell
    return float(match[1]) * _UNITS[match[2]]


def test_the_table_of_limits_is_the_code_s() -> None:
    documented = {named(name)[0]: _number(value) for name, value, _ in tables(section(TEXT, "## 16. Limits"))[0]}
    assert documented == {name: value for name, value in vars(limits).items() if name.isupper()}


def test_the_table_of_times_is_the_code_s() -> None:
    for cell, value, _ in tables(section(TEXT, "## 17. Times"))[0]:
        module, _, name = named(cell)[0].rpartition(".")
        assert getattr(importlib.import_module(f"comity.{module}"), name) == float(value), cell


def _documented_fields(heading: str) -> set[str]:
    rows = next(rows for rows in tables(section(TEXT, heading)) if rows)
    return {name for row in rows for name in named(row[0])}


HEADINGS = {
    "open": "### OPEN, from the host",
    "hello": "### HELLO, from each",
    "roster": "### ROSTER, from the host",
    "reveal": "### REVEAL, from each in the roster",
    "agree": "### AGREE, from each",
    "confirm": "### CONFIRM, from each",
}


@pytest.fixture(scope="module")
def bodies() -> dict[str, dict[str, Any]]:
    """One body of each type, from the test vectors."""
    log = json.loads((ROOT / "vectors/ceremony.json").read_text(encoding="utf-8"))["log"]
    messages = [json.loads(entry["message"]) for entry in log]
    return {message["type"]: message["body"] for message in messages}


def test_every_field_of_every_message_is_described(bodies: dict[str, dict[str, Any]]) -> None:
    assert set(bodies) == set(HEADINGS)
    for kind, body in bodies.items():
        assert _documented_fields(HEADINGS[kind]) == set(body), kind
    assert _documented_fields("## 7. Manifest and session") == set(bodies["roster"]["manifest"])
    assert _documented_fields("## 8. Program") == set(bodies["open"]["program"])


def test_the_states_are_those_of_the_table() -> None:
    rows = next(rows for rows in tables(section(TEXT, "### Rules")) if rows)
    documented = [row[0].partition(":")[0] for row in rows]
    assert documented == [state.name for state in TABLE if state is not State.ENDED]
