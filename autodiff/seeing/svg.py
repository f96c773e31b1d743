"""Graphviz's SVG made small, for a page whose style sheet colours it: what it says of each shape the style sheet says
once, a node's parts are placed from its middle, all in tenths of a point.

Order: numbers and points, shapes, edges, the whole.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence

Element = ElementTree.Element
Point = tuple[int, int]
"""In tenths of the picture's points."""

FONT = {"font-family": "Helvetica,Arial,sans-serif", "font-size": "11", "text-anchor": "middle"}
"""Said once for the whole picture."""
TITLE = {"font-weight": "bold", "font-size": "13"}
"""What the style sheet says of class ``title``."""
STRAIGHT = 2
"""A curve that is nowhere farther from its chord, in tenths, is drawn as a line."""


def numbers(values: Iterable[int]) -> str:
    """Tenths as SVG writes them, with as little between them as can be.

    >>> numbers([1234, -5, 10, 0, 7])
    '123.4-.5 1 0 .7'
    """
    text = ""
    for n in values:
        each = f"{n / 10:.1f}".removesuffix(".0")
        each = each.replace("0.", ".", 1) if abs(n) < 10 else each
        text += each if not text or each.startswith("-") else f" {each}"
    return text


def tenths(value: str | None) -> int:
    return round(float(value or 0) * 10)


def points_of(part: Element) -> list[Point]:
    """The corners of a polygon, or the points between which a path of cubic curves leads, its handles included."""
    found = [tenths(n) for n in re.findall(r"-?[\d.]+(?:e-?\d+)?", part.get("points") or part.get("d") or "")]
    return list(zip(found[::2], found[1::2]))


def path(points: Sequence[Point]) -> str:
    """A path of cubic curves, from each point to the next.

    >>> path([(0, 0), (10, 0), (20, 0), (30, 0), (30, 10), (40, 10), (50, 20)])
    'm0 0l3 0c0 1 1 1 2 2'
    """
    text, before = f"m{numbers(points[0])}", ""
    for i in range(0, len(points) - 3, 3):
        (x, y), end = points[i], points[i + 3]
        command, way = ("l", [end]) if _is_straight(points[i : i + 4]) else ("c", [*points[i + 1 : i + 3], end])
        more = numbers(n for a, b in way for n in (a - x, b - y))
        text += command + more if command != before else more if more.startswith("-") else f" {more}"
        before = command
    return text


def _is_straight(points: Sequence[Point]) -> bool:
    (x0, y0), (x1, y1) = points[0], points[3]
    dx, dy = x1 - x0, y1 - y0
    length = (dx * dx + dy * dy) ** 0.5
    for x, y in points[1:3]:
        along, across = (x - x0) * dx + (y - y0) * dy, (x - x0) * dy - (y - y0) * dx
        if abs(across) > STRAIGHT * length or not -STRAIGHT * length <= along <= length * (length + STRAIGHT):
            return False
    return True


# Shapes


def _middle(group: Element) -> Point:
    """The middle of a node's first shape, or of its text."""
    for part in group:
        if part.tag == "ellipse":
            return tenths(part.get("cx")), tenths(part.get("cy"))
        if corners := points_of(part):
            xs, ys = zip(*corners)
            return (min(xs) + max(xs)) // 2, (min(ys) + max(ys)) // 2
    text = group.find("text")
    return (tenths(text.get("x")), tenths(text.get("y"))) if text is not None else (0, 0)


def _rounded(points: Sequence[Point]) -> dict[str, str] | None:
    """A box with rounded corners, which Graphviz draws as eight curves, as the attributes of a rectangle."""
    if len(points) != 25 or any(points[i] != points[i + 1] or points[i + 2] != points[i + 3] for i in (0, 6, 12, 18)):
        return None
    (left, right), (top, bottom) = ((min(side), max(side)) for side in zip(*points))
    radius = min(right - points[0][0], points[0][0] - left)
    sides = {"x": left, "y": top, "width": right - left, "height": bottom - top, "rx": radius}
    return {side: numbers([n]) for side, n in sides.items()}


def _shorten(part: Element, x: int, y: int) -> None:
    """Write a part of a node, or of a frame, from this point, without what the style sheet says of it."""
    attributes = part.attrib
    if part.tag == "text":
        _shorten_text(part, x, y)
        return
    corners = [(a - x, b - y) for a, b in points_of(part)]
    for name in ("fill", "stroke"):
        if attributes.get(name) not in (None, "none", "transparent"):
            del attributes[name]
    if part.tag == "path":
        if (box := _rounded(corners)) is not None:
            del attributes["d"]
            part.tag = "rect"
            attributes.update(box)
        else:
            attributes["d"] = path(corners)
    elif part.tag in ("polygon", "polyline"):
        closed = part.tag == "polygon" and corners[0] == corners[-1]
        attributes["points"] = numbers(n for corner in corners[: -1 if closed else None] for n in corner)
    else:  # an ellipse, or the rectangle of a slot
        for name, start in {"cx": x, "cy": y, "x": x, "y": y, "rx": 0, "ry": 0, "width": 0, "height": 0}.items():
            if name in attributes:
                attributes[name] = numbers([tenths(attributes[name]) - start])
        for name in ("cx", "cy"):
            if attributes.get(name) == "0":
                del attributes[name]


def _shorten_text(part: Element, x: int, y: int) -> None:
    look = {name: value for name in ("font-weight", "font-size") if (value := part.get(name))}
    if "font-size" in look:
        look["font-size"] = numbers([tenths(look["font-size"])])
    if look == TITLE:
        look = {"class": "title"}
    # (Lines of two fonts are given by their left ends, but all are in the middle.)
    aside = 0 if part.get("text-anchor") == "start" else tenths(part.get("x")) - x
    place = {"x": numbers([aside])} if abs(aside) > 1 else {}
    place["y"] = numbers([tenths(part.get("y")) - y])
    part.attrib = place | {name: value for name, value in look.items() if value != FONT.get(name)}


# Edges


def _shorten_edge(group: Element) -> None:
    """An edge as one path from where it starts to where it ends, its head drawn by the style sheet; with more than a
    plain head it keeps its parts."""
    parts = list(group)
    line = next((part for part in parts if part.tag == "path"), None)
    if line is None:
        return
    points = points_of(line)
    heads = [part for part in parts if part is not line and part.tag != "title"]
    if len(heads) == 1 and heads[0].tag == "polygon" and len(corners := points_of(heads[0])) == 4:
        group.remove(heads[0])
        x, y = (sum(side[:3]) / 3 for side in zip(*corners))
        from_ends = [(a - x) ** 2 + (b - y) ** 2 for a, b in (points[0], points[-1])]
        if from_ends[0] < from_ends[1]:  # (where Graphviz draws it backwards)
            points.reverse()
    else:
        for part in heads:
            _shorten(part, 0, 0)
    for name in ("fill", "stroke"):
        line.attrib.pop(name, None)
    line.set("d", path(points))


# The whole


def shortened(root: Element) -> str:
    """The text of an SVG of Graphviz, without namespaces and ids, made small.

    Its nodes, edges and frames have the classes ``node``, ``edge`` and ``cluster``; parts of a node may be in groups of
    their own.
    """
    for group in root.iter("g"):
        group.text = None
        kind = group.get("class", "").split(" ")[0]
        if kind == "edge":
            _shorten_edge(group)
        elif kind in ("node", "cluster"):
            x, y = _middle(group) if kind == "node" else (0, 0)
            if kind == "node":
                group.set("transform", f"translate({numbers([x, y])})")
            for part in [part for part in group.iter() if part.tag not in ("g", "title")]:
                _shorten(part, x, y)
    for part in root.iter():
        part.tail = None
        if width := part.get("stroke-width"):
            part.set("stroke-width", numbers([tenths(width)]))
    root.text = None
    root.attrib |= FONT
    return ElementTree.tostring(root, "unicode").replace(" />", "/>")
