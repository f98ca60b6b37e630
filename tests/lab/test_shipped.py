from pathlib import Path

import pytest

from comity.errors import UsageError
from comity.lab import shipped


def test_the_shipped_topologies_are_found_by_name() -> None:
    assert shipped.names() == ("grid", "home-office-phone", "one-region", "two-far", "two-near", "world")
    world = shipped.find("world", 12)
    assert len(world.regions) == 10
    assert [world.region_of(world.host(name)) for name in world.parties[:3]] == ["frankfurt", "washington", "tokyo"]
    assert [len([s for s in world.sites if s.region == region]) for region in world.regions] == [2, 2, *[1] * 8]


def test_the_grid_has_every_nat_against_every_nat() -> None:
    grid = shipped.find("grid", 1)
    kinds = {side: {s.nats[0] for s in grid.sites if s.region == side} for side in grid.regions}
    assert kinds["west"] == kinds["east"]
    assert len(kinds["west"]) == 4


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[rtt]\nhere = [1]\n[hosts.ann]\nregion = 'here'\n")
    assert shipped.find(str(file), 1).parties == ("ann",)


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "there is no topology"), (b"\xff", "no text in UTF-8"), (b"#" * (shipped.MAX_FILE + 1), "too large")],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, content: bytes | None, why: str) -> None:
    file = tmp_path / "mine.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=why):
        shipped.find(str(file), 1)
    with pytest.raises(UsageError, match="cannot be read"):
        shipped.find(str(tmp_path), 1)
