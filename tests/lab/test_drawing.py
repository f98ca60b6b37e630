"""Drawings, from topologies alone."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from comity.core.topology import Topology, parse
from comity.lab import drawing, shipped
from comity.lab.drawing import draw
from comity.lab.picture import picture

ASCII = str.maketrans({"├": "|", "│": "|", "└": "`", "─": "-"})
SVG = "{http://www.w3.org/2000/svg}"

WALLS = """
[rtt]
here = [1]
[defaults]
rate = 1500
loss = 1
[nats.x]
mapping = "address-dependent"
filtering = "address-dependent"
ports = "sequential"
[sites.mute]
region = "here"
nats = ["x"]
firewall = { udp = false }
[sites.bare]
region = "here"
families = [6]
firewall = { stateful = false }
[sites.calm]
region = "here"
[hosts.ann]
site = "mute"
[hosts.ben]
site = "bare"
"""


def all_of_them() -> list[Topology]:
    spread = [shipped.find(name, 40) for name in ("world", "one-region")]
    return [*(shipped.find(name) for name in shipped.names()), *spread]


@pytest.mark.parametrize("topology", all_of_them(), ids=lambda t: f"{t.name}-{len(t.hosts)}")
def test_every_host_is_in_a_drawing_that_fits(topology: Topology) -> None:
    text = draw(topology)
    assert max(map(len, text.splitlines())) <= 80
    for name in (*(host.name for host in topology.hosts), *topology.regions):
        assert re.search(rf"─ {name}\b", text), name


def test_the_drawing_at_the_head_of_the_module_is_one() -> None:
    shown = [line[4:] for line in (drawing.__doc__ or "").splitlines() if line.startswith("    ") or not line]
    assert draw(shipped.find("home-office-phone")).translate(ASCII).strip() == "\n".join(shown).strip()


def test_what_is_special_is_said() -> None:
    text = draw(parse(WALLS, "walls"))
    for words in (
        "NAT ADM ADF, sequential ports; no UDP",
        "routed; no firewall",
        "2a00:51:0:20::1",
        "loss 100 %, 1.5 kb/s: everywhere",
    ):
        assert words in text
    slow = parse(WALLS.replace("rate = 1500", "rate = 9"), "walls")
    assert "9 b/s" in draw(slow)


def test_many_regions_have_no_table() -> None:
    regions = "".join(f"r{i} = {list(range(i + 1))}\n" for i in range(30))
    text = draw(parse(f"[rtt]\n{regions}[hosts.ann]\nregion = 'r0'\n", "many"))
    assert "round trips: 0 to 29 ms" in text


@pytest.mark.parametrize("topology", all_of_them(), ids=lambda t: f"{t.name}-{len(t.hosts)}")
def test_a_picture_is_xml_in_which_nothing_leaves_the_sheet(topology: Topology) -> None:
    root = ET.fromstring(picture(topology))  # noqa: S314 - our own
    width, height = (float(root.attrib[key]) for key in ("width", "height"))
    said = [element.text or "" for element in root.iter(f"{SVG}text")]
    for region in topology.regions:
        assert region in said
    for box in root.iter(f"{SVG}rect"):
        if "x" in box.attrib:
            x, y, w, h = (float(box.attrib[key]) for key in ("x", "y", "width", "height"))
            assert min(x, y) >= 0 and x + w <= width and y + h <= height
    for text in root.iter(f"{SVG}text"):
        assert float(text.attrib["y"]) <= height


def test_a_title_is_text_and_never_markup() -> None:
    topology = replace(shipped.find("two-near"), title="<script>&")
    assert "<script>" not in picture(topology)


def test_what_has_no_room_is_counted() -> None:
    said = picture(shipped.find("one-region", 40))
    assert "and 29 more" in said
    assert "party30" not in said
