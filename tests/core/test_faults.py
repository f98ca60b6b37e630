import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core import faults
from comity.core.faults import Fault, parse
from comity.core.topology import parse as read_topology
from comity.errors import UsageError

TOPOLOGY = read_topology(
    """
[rtt]
north = [1]
south = [80, 1]

[sites.cafe]
region = "south"

[sites.north]
region = "north"

[hosts.alice]
region = "north"

[hosts.bob]
region = "south"

[hosts.carol]
region = "south"
""",
    "x",
)


def one(line: str) -> Fault:
    (found,) = parse(line, "script", TOPOLOGY)
    return found


def test_a_script_is_read_line_by_line() -> None:
    found = parse("# first\n\n2.5 cut alice  # why\n10 heal alice\n", "script", TOPOLOGY)
    assert found == (
        Fault(3, 2.5, "", "", "cut", (("alice",),)),
        Fault(4, 10.0, "", "", "heal", (("alice",),)),
    )


def test_a_fault_may_wait_for_a_line_of_output() -> None:
    assert one("alice/Running kill bob") == Fault(1, 0.0, "alice", "Running", "kill", (("bob",),))
    assert one("'alice/it is running' +1.5 reset bob") == Fault(1, 1.5, "alice", "it is running", "reset", (("bob",),))


@pytest.mark.parametrize(
    ("line", "names", "values"),
    [
        ("1 move alice south", (("alice",), ("south",)), ()),
        ("1 line bob delay=100 loss=0.05", (("bob",),), (("delay", 100.0), ("loss", 0.05))),
        ("1 line bob", (("bob",),), ()),
        ("1 path north south delay=40 rate=1e6", (("north",), ("south",)), (("delay", 40), ("rate", 1e6))),
        ("1 part alice,bob carol", (("alice", "bob"), ("carol",)), ()),
        ("1 part", (), ()),
        ("1 stop carol", (("carol",),), ()),
        ("1 move alice cafe", (("alice",), ("cafe",)), ()),
        ("1 restart carol", (("carol",),), ()),
    ],
)  # fmt: skip
def test_an_action_takes_names_and_values(line: str, names: object, values: object) -> None:
    found = one(line)
    assert (found.names, found.values) == (names, values)
    assert one(f"0 {found}") == Fault(1, 0.0, "", "", found.action, found.names, found.values), "it says what it is"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("cut alice", "'cut' is neither a number of seconds nor HOST/TEXT"),
        ("-1 cut alice", "neither a number"),
        ("1e9 cut alice", "neither a number"),
        ("99999999 cut alice", "neither a number"),
        ("1", "there is no action"),
        ("1 drop alice", "'drop' is none of cut, heal"),
        ("1 cut", "cut takes one name, not 0"),
        ("1 cut alice bob", "cut takes one name, not 2"),
        ("1 cut dora", "'dora' is no host: there are alice, bob, carol"),
        ("dora/x cut alice", "'dora' is no host"),
        ("alice/x +y cut alice", "'\\+y' is neither"),
        ("1 move alice west", "'west' is no region or site: there are north, south, cafe"),
        ("1 move alice north", "'north' is a region and a site"),
        ("1 move alice", "move takes two names, not 1"),
        ("1 path north alice", "'alice' is no region"),
        ("1 cut alice delay=5", "cut takes no delay"),
        ("1 line alice delay=5 delay=6", "something is said twice"),
        ("1 line alice delay=-5", "'delay=-5' is none of delay=0..60000"),
        ("1 line alice loss=2", "'loss=2' is none of"),
        ("1 line alice loss=nan", "'loss=nan' is none of"),
        ("1 line alice loss=x", "'loss=x' is none of"),
        ("1 line alice wind=2", "'wind=2' is none of"),
        ("1 part alice,bob", "part takes several groups"),
        ("1 part alice alice", "part takes several groups"),
        ("1 part alice dora", "'dora' is no host"),
        ("1 cut 'alice", "no closing quotation"),
    ],
)
def test_an_error_names_the_line(line: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"^script, line 2: .*{why}"):
        parse(f"# first\n{line}\n", "script", TOPOLOGY)


def test_a_script_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "MOST_FAULTS", 2)
    with pytest.raises(UsageError, match="line 3: more than 2 faults"):
        parse("1 cut bob\n" * 3, "script", TOPOLOGY)


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    try:
        assert all(fault.line for fault in parse(text, "script", TOPOLOGY))
    except UsageError as exc:
        assert "script, line" in exc.message
