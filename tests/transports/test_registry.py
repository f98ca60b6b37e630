from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from comity import transports
from comity.errors import UsageError
from comity.interfaces import Settings
from comity.transports import available, find, make
from comity.transports.memory import Memory


class Elsewhere(Memory):
    name = "elsewhere"


class Unusable(Memory):
    name = "unusable"

    def missing(self) -> str | None:
        return "no /dev/net/tun"


class Nameless:
    traits = Memory.traits


Registered = Callable[..., None]


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Registered:
    """Entry points as other distributions bring them, by name and what each names in this module or anywhere."""

    def register(**points: str) -> None:
        made = EntryPoints(EntryPoint(name, value, transports.GROUP) for name, value in points.items())
        monkeypatch.setattr(transports, "entry_points", lambda group: made.select(group=group))
        monkeypatch.setattr(EntryPoint, "load", lambda point: _load(point.value))

    return register


def _load(value: str) -> object:
    if value == "broken":
        raise ImportError("no module named 'libbroken'")
    return globals()[value]


def test_every_module_of_the_package_is_found() -> None:
    assert {"direct", "memory", "unix"} <= set(available())
    assert find().broken == {}


def test_another_distributions_transport_is_found_by_its_entry_point(registered: Registered) -> None:
    registered(elsewhere="Elsewhere")
    assert available()["elsewhere"] is Elsewhere and "direct" in available()
    assert isinstance(make("elsewhere", Settings()), Elsewhere)


def test_a_broken_one_is_recorded_with_its_reason_and_disturbs_no_other(registered: Registered) -> None:
    registered(a="broken", b="Nameless", c="Elsewhere", memory="Memory", d="Registered", elsewhere="Elsewhere")
    found = find()
    assert found.broken == {
        "a": "broken cannot be imported: ImportError: no module named 'libbroken'",
        "b": "Nameless is no transport of that name",
        "c": "Elsewhere is no transport of that name",
        "d": "Registered is no transport of that name",
        "memory": "another transport has that name",
    }
    assert found.kinds["memory"] is Memory and found.kinds["elsewhere"] is Elsewhere
    with pytest.raises(UsageError, match="there is no transport 'a': broken cannot be imported"):
        make("a", Settings())


def test_an_unknown_name_is_answered_with_those_that_exist() -> None:
    with pytest.raises(UsageError, match="there is no transport 'carrier pigeon'") as caught:
        make("carrier pigeon", Settings())
    assert "direct" in caught.value.hints[0]


def test_what_cannot_be_used_here_says_why_and_what_can(registered: Registered) -> None:
    registered(unusable="Unusable")
    with pytest.raises(UsageError, match="unusable cannot be used here: no /dev/net/tun") as caught:
        make("unusable", Settings())
    assert caught.value.hints[0].startswith("usable now: direct, ")


def test_a_wrong_address_to_advertise_is_told_before_anything_starts() -> None:
    with pytest.raises(UsageError, match=r"'0\.0\.0\.0' is no address that others can dial"):
        make("direct", Settings(advertise=("party.example.org", "0.0.0.0")))  # noqa: S104
