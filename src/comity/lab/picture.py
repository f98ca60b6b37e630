"""A lab as SVG, from its topology alone: a card for each region, its sites in it, and round trips as a map of heat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

from comity.core.addressing import Machine, Plan, plan
from comity.core.topology import Topology
from comity.lab.drawing import address_of, attached, impairments, remark

CARD, GAP, MARGIN = 320, 20, 30
"""Pixels: a region's width, what is between two of them, and around all."""
LINE, PAD = 18, 10
MOST_CARDS = 4
"""Side by side."""
MOST_SITES = 12
"""In a card; the others are counted."""
CELL = 58
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1b2733 }
.title { font-size: 20px; font-weight: 600 } .region { font-size: 15px; font-weight: 600 }
.small { font-size: 11px; fill: #5b6b7b } .cell { font-size: 11px; text-anchor: middle }
.card { fill: #f4f7fa; stroke: #c8d3de } .site { fill: #fff; stroke: #9fb2c4; stroke-dasharray: 4 3 }
.router { fill: #e3ecf7; stroke: #6f93bd } .host { fill: #e7f4ea; stroke: #74b085 }
.public { fill: #fdf1dc; stroke: #d5a54a } .wire { stroke: #9fb2c4; fill: none; stroke-width: 1.5 }
"""


@dataclass
class _Sheet:
    """What has been drawn, and how far down it reaches."""

    parts: list[str] = field(default_factory=list)

    def box(self, kind: str, x: float, y: float, width: float, height: float) -> None:
        self.parts.append(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"/>')

    def text(self, x: float, y: float, text: str, kind: str = "", room: float = 0) -> None:
        """`room`: pixels that it may take."""
        if room:
            most = int(room / (6.3 if kind == "small" else 7.4))
            text = text if len(text) <= most else text[: most - 1] + "…"
        self.parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>')

    def wire(self, *points: tuple[float, float]) -> None:
        path = " ".join(f"{'L' if i else 'M'}{x:g} {y:g}" for i, (x, y) in enumerate(points))
        self.parts.append(f'<path class="wire" d="{path}"/>')


def picture(topology: Topology) -> str:
    made = plan(topology)
    sheet = _Sheet()
    columns = min(MOST_CARDS, len(topology.regions))
    matrix = len(topology.regions) * CELL + 90
    width = max(columns * (CARD + GAP) - GAP, matrix, 420) + 2 * MARGIN
    sheet.text(MARGIN, MARGIN + 16, topology.name, "title")
    sheet.text(MARGIN, MARGIN + 38, topology.title)
    sheet.text(MARGIN, MARGIN + 70, "internet", "region")
    bottom: float = MARGIN + 78
    for first in range(0, len(topology.regions), columns):
        row = topology.regions[first : first + columns]
        top = bottom + 24
        sheet.wire((MARGIN, top - 16), (width - MARGIN, top - 16))
        bottom = top
        for i, region in enumerate(row):
            x = MARGIN + i * (CARD + GAP)
            sheet.wire((x + 20, top - 16), (x + 20, top))
            bottom = max(bottom, top + _region(sheet, topology, made, region, x, top))
    bottom = _matrix(sheet, topology, bottom + 40)
    for line in impairments(topology):
        bottom += LINE
        sheet.text(MARGIN, bottom, line, "small")
    height = bottom + MARGIN
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
    title = escape(f"{topology.name}: {topology.title}")
    body = "\n".join(sheet.parts)
    return (
        f'{head} height="{height:g}" role="img">\n<title>{title}</title>\n<style>{STYLE}</style>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )


def _region(sheet: _Sheet, topology: Topology, made: Plan, region: str, x: float, top: float) -> float:
    """Draws a card; returns its height."""
    there = attached(made, region)
    shown = there[:MOST_SITES]
    height = PAD + LINE + 4 + sum(_height(made, machine) + PAD for machine in shown)
    height += LINE if there[MOST_SITES:] else 0
    sheet.box("card", x, top, CARD, height)
    sheet.text(x + PAD, top + PAD + 12, region, "region")
    y = top + PAD + LINE + 4
    for machine in shown:
        _attached(sheet, topology, made, machine, x + PAD, y)
        y += _height(made, machine) + PAD
    if there[MOST_SITES:]:
        sheet.text(x + PAD, y + 12, f"and {len(there) - MOST_SITES} more", "small")
    return height


BOX = 2 * LINE + 4
"""A machine's height: its name, and a remark."""


def _chain(made: Plan, machine: Machine) -> Iterator[Machine]:
    """A machine and what is behind it, in the order of drawing."""
    yield machine
    for name in machine.lan.members if machine.lan else ():
        yield from _chain(made, made.machine(name))


def _height(made: Plan, machine: Machine) -> float:
    boxes = len(list(_chain(made, machine)))
    return boxes * (BOX + 6) - 6 + (2 * PAD if machine.lan else 0)


def _attached(sheet: _Sheet, topology: Topology, made: Plan, machine: Machine, x: float, y: float) -> None:
    width = CARD - 2 * PAD
    if not machine.lan:
        _box(sheet, topology, machine, x, y, width)
        return
    sheet.box("site", x, y, width, _height(made, machine))
    y += PAD
    depth = 0
    for one in _chain(made, machine):
        left = x + PAD + depth * 16
        if depth:
            sheet.wire((left - 8, y - 6), (left - 8, y + BOX / 2), (left, y + BOX / 2))
        _box(sheet, topology, one, left, y, width - 2 * PAD - depth * 16)
        depth += 1 if one.lan else 0
        y += BOX + 6


def _box(sheet: _Sheet, topology: Topology, machine: Machine, x: float, y: float, width: float) -> None:
    sheet.box(machine.kind, x, y, width, BOX)
    said = remark(topology, machine)
    sheet.text(x + 8, y + (16 if said else 25), f"{machine.name}  {address_of(machine)}", room=width - 12)
    if said:
        sheet.text(x + 8, y + 33, said, "small", room=width - 12)


def _matrix(sheet: _Sheet, topology: Topology, top: float) -> float:
    """Draws the round trips; returns where they end."""
    sheet.text(MARGIN, top, "round trips, ms", "region")
    most = max(path.rtt for row in topology.matrix for path in row) or 1
    left = MARGIN + 90
    top += 26
    for i, region in enumerate(topology.regions):
        sheet.text(left + i * CELL + 2, top - 6, region, "small", room=CELL)
        sheet.text(MARGIN, top + i * 24 + 16, region, "small", room=88)
        for k, path in enumerate(topology.matrix[i]):
            warm = path.rtt / most
            colour = f"rgb({int(255 - 30 * warm)},{int(250 - 120 * warm)},{int(235 - 145 * warm)})"
            cell = f'x="{left + k * CELL}" y="{top + i * 24}" width="{CELL - 2}" height="22"'
            sheet.parts.append(f'<rect {cell} rx="3" fill="{colour}"/>')
            sheet.text(left + k * CELL + CELL / 2 - 1, top + i * 24 + 15, f"{path.rtt:g}", "cell")
    return top + len(topology.regions) * 24 + 6
