from pathlib import Path

from tools.make_diagram import diagram

from comity.core.ceremony import TABLE, State

PAGE = Path(__file__).parents[2] / "docs" / "ceremony-diagram.md"


def test_the_page_shows_the_table_as_it_is() -> None:
    assert PAGE.read_text() == diagram(), "run: python tools/make_diagram.py > docs/ceremony-diagram.md"


def test_every_state_and_every_transition_is_drawn_once() -> None:
    lines = [line.strip() for line in diagram().splitlines()]
    arrows = [line for line in lines if " --> " in line]
    for state, row in TABLE.items():
        assert lines.count(f"{state.name} : {state.value}") == 1
        for after in set(row.values()):
            drawn = [line for line in arrows if line.startswith(f"{state.name} --> {after.name} :")]
            assert len(drawn) == sum(other is after for other in row.values())
    assert len(arrows) == 1 + sum(map(len, TABLE.values())) + len([s for s in State if not TABLE[s]])
