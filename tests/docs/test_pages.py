"""What holds for every document: links lead somewhere, and the tree that is drawn is the tree that there is."""

import re

import pytest
from tests.docs.pages import ROOT, page

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("name", PAGES)
def test_every_relative_link_leads_to_a_file(name: str) -> None:
    prose = re.sub(r"```.*?```", "", page(name), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", prose):
        if "://" not in target:
            assert (ROOT / name).parent.joinpath(target).exists(), target


def test_every_module_stands_in_the_tree_of_the_architecture() -> None:
    drawn = page("ARCHITECTURE.md").partition("src/comity/\n")[2].partition("```")[0]
    folder, listed = "", set()
    for line in drawn.splitlines():
        names = re.match(r"(\s*)((?:[a-z_0-9]+(?:\.py|/) ?)+)", line)
        if names is None:
            continue
        for name in names[2].split():
            if name.endswith("/"):
                folder = name
            else:
                listed.add(name if len(names[1]) == 2 else folder + name)
    package = ROOT / "src/comity"
    there = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if not path.stem.startswith("__")}
    assert listed == there


def test_every_decision_stands_in_the_list_of_decisions() -> None:
    names = [path.name for path in sorted((ROOT / "docs/adr").glob("0*.md"))]
    assert re.findall(r"\((0[^)]*\.md)\)", page("docs/adr/README.md")) == names


def test_what_the_architecture_names_is_there() -> None:
    """`FILE: NAME`: the file exists below src/comity and defines the name's first part."""
    package = ROOT / "src/comity"
    text = page("ARCHITECTURE.md").replace("\n", " ")
    found = re.findall(r"`([a-z_/]+\.py): ([A-Za-z_]+)", text)
    assert found
    for file, name in found:
        paths = [path for path in package.rglob("*.py") if path.relative_to(package).as_posix().endswith(file)]
        assert any(re.search(rf"\b(def|class) {name}\b", path.read_text(encoding="utf-8")) for path in paths), (
            file,
            name,
        )
