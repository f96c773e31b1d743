"""Where the nodes of a page's groups are: each group laid out once by Graphviz, with all that is in it closed; groups
of the same form share one layout. Opening a group in the page only makes room for it.

Sizes are reckoned here, so that no name ever comes to the layout program.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from . import layout
from .hierarchy import Group, Hierarchy
from .looks import Line, length

SIZES = {"title": 13, "note": 10}
"""Of a font, in pixels, by style; others have 11."""

LEADING = 1.3
ACROSS = {"LR": "TB", "RL": "TB"}
"""Passes stand below each other where what they hold leads to the side: three in a row would be all width."""

LONG = 1500
"""From this total length of a group's edges (in ranks) on, they are straight lines, as in a picture."""

STEP = 12
"""Widths are multiples of this, so that more groups have the same form."""


def width_of(text: str, size: float) -> float:
    """About how wide a text is in a sans-serif font, rather too wide."""
    return size * sum(_advance(c) for c in text)


def _advance(c: str) -> float:
    if unicodedata.east_asian_width(c) in "WF":
        return 1.05
    if c in "iljtfrI.,:;'|!()[]· ":
        return 0.36
    return 0.95 if c in "mwMW@%…" else 0.74 if c.isupper() else 0.6


def box(lines: list[Line]) -> tuple[float, float]:
    """Width and height of a node of these lines."""
    sizes = [SIZES.get(style, 11) for style, _ in lines]
    width = max(width_of(text, size * (1.06 if style == "title" else 1)) for (style, text), size in zip(lines, sizes))
    return -(-(width + 20) // STEP) * STEP, round(sum(sizes) * LEADING + 12)


def placed(hierarchy: Hierarchy, direction: str) -> tuple[list[dict[str, Any]], list[int]]:
    """The layouts, and which of them each group has. A layout has the whole `size`, for each port that comes in, each
    node, and each port that goes out its `boxes` (centre, width, height), and `edges`: from, to, points of curves.

    Raises:
        LayoutError: without a layout program.
    """
    boxes = [box(node.lines) for node in hierarchy.nodes]
    sources: dict[str, int] = {}
    chosen = list[int]()
    for group in hierarchy.groups:
        inner = {hierarchy.groups[g].kind for i in group.nodes if (g := hierarchy.nodes[i].group) is not None}
        across = ACROSS.get(direction, direction) if "band" in inner else direction
        chosen.append(sources.setdefault(_source(group, boxes, across), len(sources)))
    plain = layout.layout(list(sources), "plain").decode().split("stop\n")
    return [_read(text) for text in plain if text.strip()], chosen


def _source(group: Group, boxes: list[tuple[float, float]], direction: str) -> str:
    """A group as DOT: nodes are numbered as they come, ports before and behind them."""
    ports = [[("in", key) for key in group.ins], [("out", key) for key in group.outs]]
    ends: list[Any] = [*ports[0], *group.nodes, *ports[1]]
    place = {end: i for i, end in enumerate(ends)}
    lines = [
        f"digraph {{ rankdir={direction} nodesep=0.25 ranksep=0.35 edge [dir=none]",
        'node [shape=box fixedsize=true label=""]',
    ]
    if len(group.edges) > 300 or length([(str(a), str(b)) for a, b in group.edges]) > LONG:
        lines.append("splines=line nslimit=2 nslimit1=2 mclimit=0.5")  # curves would take long
    for end, i in place.items():
        if isinstance(end, int):
            width, height = boxes[end]
        else:
            width, height = box([("note", (group.ins if end[0] == "in" else group.outs)[end[1]])])
        lines.append(f"n{i} [width={width / 72:.4f} height={height / 72:.4f}]")
    for rank, side in zip(("source", "sink"), ports):
        if side and len(ends) > len(side):
            lines.append(f"{{rank={rank}; {' '.join(f'n{place[port]}' for port in side)}}}")
    lines += [f"n{place[a]} -> n{place[b]}" for a, b in group.edges]
    return "\n".join([*lines, "}"])


def _read(plain: str) -> dict[str, Any]:
    """Graphviz's plain format, in pixels from the top left corner."""
    found: dict[str, Any] = {"size": [0, 0], "boxes": [], "edges": []}
    boxes: dict[int, list[float]] = {}
    for line in plain.replace("\\\n", "").splitlines():
        kind, *rest = line.split(" ")
        if kind == "graph":
            height = float(rest[2])
            found["size"] = [_pixels(rest[1]), _pixels(rest[2])]
        elif kind == "node":
            boxes[int(rest[0][1:])] = [
                _pixels(rest[1]), _pixels(height - float(rest[2])), _pixels(rest[3]), _pixels(rest[4])
            ]  # fmt: skip
        elif kind == "edge":
            n = 2 * int(rest[2])
            points = [_pixels(v if i % 2 == 0 else height - float(v)) for i, v in enumerate(rest[3 : 3 + n])]
            found["edges"].append([int(rest[0][1:]), int(rest[1][1:]), *points])
    found["boxes"] = [boxes[i] for i in sorted(boxes)]
    return found


def _pixels(inches: str | float) -> float:
    return round(float(inches) * 72, 1)
