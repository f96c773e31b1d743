"""The picture of the page: where each step is in it, and slots in its nodes that fill as the steps come.

Order: where steps are, the picture with slots, SVG as a part of the page.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..tensor import Tensor
from . import layout
from .bands import drawn_in_bands
from .formats import size
from .graph import graph, walk
from .looks import escaped, kind_of, tensor_tip
from .printable import printable
from .rows import AGAIN, VALUES
from .slots import Fill, Numbered, fills, lines
from .svg import Element, points_of, shortened

if TYPE_CHECKING:
    from .picture import Graph


class Shown(Numbered, Protocol):
    """What is read of a step."""

    @property
    def quantity(self) -> str: ...
    @property
    def expression(self) -> str: ...


class Drawn(Protocol):
    """What is read of an explanation."""

    @property
    def rows(self) -> Sequence[Shown]: ...
    @property
    def output(self) -> Tensor: ...
    @property
    def names(self) -> Mapping[int, str]: ...
    @property
    def wrt(self) -> Sequence[Tensor]: ...
    @property
    def digits(self) -> int: ...


@dataclass(slots=True)
class Stage:
    """The picture, and what the steps do in it."""

    svg: str = ""
    nodes: int = 0
    operations: int = 0
    notice: str = ""
    """Why there is no picture."""
    places: list[str] = field(default_factory=list)
    """The node of each step; empty if there is none."""
    fills: list[Fill | None] = field(default_factory=list)
    """What each step writes into its node."""
    also: list[list[str]] = field(default_factory=list)
    """Other nodes, into whose values a step writes the same."""


def staged(explanation: Drawn, kinds: Sequence[str]) -> Stage:
    """The picture of an explanation whose steps have these roles; without one where none can be drawn."""
    rows = explanation.rows
    names = dict(explanation.names)
    for row in rows:
        if row.tensor is not None and row.phase in VALUES and not row.quantity.endswith(AGAIN):
            names[row.tensor._number] = row.quantity
    written = fills(rows, kinds, [slot_of(row) for row in rows], explanation.digits)
    empty = Stage(places=[""] * len(rows), fills=written, also=[[] for _ in rows])
    try:
        slope = next((row.tensor for row in reversed(rows) if row.phase == "slope" and row.tensor is not None), None)
        wanted = _places(explanation, kinds, slope)
        if slope is None or slope is explanation.output:
            tensors = _tensors(explanation.output)
            named = {names[number]: x for number, x in tensors.items() if number in names}
            picture, layers = _drawn(explanation.output, named), dict[str, int]()
            boxes = _boxes(explanation.output, wanted, rows, picture.boxes)
        else:
            tensors = _tensors(explanation.output) | _tensors(slope)
            picture, layers, boxes = drawn_in_bands(explanation.output, slope, explanation.wrt, rows, kinds, names)
        drawn = set(re.findall(r"^\t(\w+) \[", "".join(picture.body), re.MULTILINE))
        places = [
            _found(name if name in drawn else boxes.get(name, name), row, drawn) for name, row in zip(wanted, rows)
        ]
        also = _copies(rows, kinds, tensors, explanation.names, drawn)
        slots = _Slots(rows, places, written, also)
        slots.label(picture, drawn, tensors, names, explanation.output)
        svg, operations = _svg(layout.layout(picture.source), slots, layers)
        return Stage(svg, len(drawn), operations, "", places, written, also)
    except (RuntimeError, ImportError) as error:  # no layout program, or the graph was freed since
        empty.notice = f"There is no picture of the graph, only the table. {error}"
        return empty


def _drawn(output: Tensor, named: Mapping[str, Tensor]) -> Graph:
    """The whole graph; where it is too large for that, with its repeats folded."""
    for group in (False, True):
        picture = graph(
            output, names=named, show="value", compact=False, direction="LR", group=group, variables=False
        )  # fmt: skip
        if not any(re.match(r"\t(gap|rest)\w* \[", line) for line in picture.body):
            break
    return picture


# Where


def slot_of(row: Shown) -> str:
    """In which slot of its node a step writes."""
    return "grad" if row.phase in ("local", "backward", "gradient") else "value"


def _tensors(root: Tensor) -> dict[int, Tensor]:
    found = {x._number: x for node, _, _ in walk(root) for x in node._inputs if isinstance(x, Tensor)}
    return found | {root._number: root}


def _places(explanation: Drawn, kinds: Sequence[str], slope: Tensor | None) -> list[str]:
    """The node each step would have in a picture that shows all."""
    roots = [explanation.output] + ([slope] if slope is not None else [])
    arrays = _constant_arrays(roots)  # the table and the graph come upon them in the same order
    vectors = (f"u{x._number}" for x in explanation.wrt)
    found = []
    for row, kind in zip(explanation.rows, kinds):
        if row.tensor is None:
            found.append(next(arrays if row.expression == "constant" else vectors, ""))
        elif row.phase == "second":
            found.append(f"{'p' if kind == 'local' else 'd'}{row.tensor._number}")
        else:
            found.append(f"{'op' if kind == 'local' else 't'}{row.tensor._number}")
    return found


def _constant_arrays(roots: Iterable[Tensor]) -> Iterator[str]:
    seen: set[int] = set()
    for root in roots:
        results = [node for node, operation, _ in walk(root) if operation is not None]
        for node in reversed(results):
            for i, x in enumerate(node._inputs):
                if not isinstance(x, Tensor) and np.ndim(x) and id(x) not in seen:
                    seen.add(id(x))
                    yield f"t{node._number}i{i}"


def _boxes(
    output: Tensor, wanted: Sequence[str], rows: Sequence[Shown], boxes: Sequence[tuple[float, float, str]]
) -> dict[str, str]:
    """The box for the node of each step, if it is in one; a leaf is where the first operation is that takes it."""
    takers = {
        x._number: node._number for node, _, inputs in walk(output) for x in inputs if x._primitive is None
    }  # (from the last operation to the first)
    found: dict[str, str] = {}
    for name, row in zip(wanted, rows) if boxes else ():
        array = re.match(r"t(\d+)\w*i\d+$", name)
        own = row.tensor._number if row.tensor is not None else int(array[1]) if array else -1
        number = takers.get(own, own)
        for start, end, box in boxes:
            if start < number <= end:
                found[name] = box
    return found


def _found(name: str, row: Shown, drawn: set[str]) -> str:
    """The node, or that which stands for what is not shown."""
    band = {"slope": 1, "second": 2}.get(row.phase, 0)
    return next((each for each in (name, f"gap{band}", "gap", "rest") if each in drawn), "") if name else ""


def _copies(
    rows: Sequence[Shown],
    kinds: Sequence[str],
    tensors: Mapping[int, Tensor],
    names: Mapping[int, str],
    drawn: set[str],
) -> list[list[str]]:
    """For each step of the first backward pass, the nodes of the second band that hold what it computed."""
    numbers: dict[str, list[int]] = {}
    for number in tensors:
        if f"t{number}" in drawn:
            numbers.setdefault(names.get(number, ""), []).append(number)
    return [
        [f"t{number}" for number in numbers.get(row.quantity, ())] if kind != "local" and slot_of(row) == "grad" else []
        for row, kind in zip(rows, kinds)
    ]


# Slots


class _Slots:
    """What each node shows over time: of each slot the texts of its lines."""

    def __init__(
        self,
        rows: Sequence[Shown],
        places: Sequence[str],
        written: Sequence[Fill | None],
        also: Sequence[Sequence[str]],
    ) -> None:
        self.texts: dict[str, dict[str, list[tuple[str, ...]]]] = {}
        self.titles: dict[str, str] = {}
        """What nodes are called that are no tensors of the graph."""
        self.first: dict[str, int] = {}
        """How many lines of a node stand before its slots."""
        for row, place, fill, copies in zip(rows, places, written, also):
            if fill is None or not place or place.startswith(("rest", "gap", "module")):
                continue
            self.texts.setdefault(place, {}).setdefault(fill.slot, []).append(fill.lines)
            if place[0] in "du" or row.tensor is None:
                self.titles[place] = row.quantity
            for each in copies:
                self.texts.setdefault(each, {}).setdefault("value", []).append(tuple(lines(row.number, row.value)))

    def label(
        self, picture: Graph, drawn: set[str], tensors: Mapping[int, Tensor], names: Mapping[int, str], output: Tensor
    ) -> None:
        """Give every node of a tensor its name, and room for all that its slots will show."""
        by_text = {str(number): x for number, x in tensors.items()}
        for node in sorted(drawn & self.texts.keys()):
            x = by_text.get(node[1:])
            title = printable(self.titles.get(node) or (names.get(x._number, "") if x is not None else ""), 32)
            said = [title] if title else []
            if node[0] == "t" and x is not None:
                kind = kind_of(x, output, set())
                tip = tensor_tip(x, kind, names.get(x._number))[:2] + ([x._line] if x._line else [])
            else:
                tip = [printable(self.titles.get(node, ""), 200)]
            if x is not None and x.ndim:
                said.append(size(x._ndarray))
            self.first[node] = len(said)
            widest = [max(texts, key=len) for slot in self.texts[node].values() for texts in self._lines(slot)]
            picture.node(node, label=escaped([*said, *widest]), tooltip=escaped(tip))

    def _lines(self, texts: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """For each line of a slot, what it shows over time."""
        return list(zip_longest(*texts, fillvalue=""))

    def of(self, node: str) -> Iterator[tuple[str, int, int, tuple[str, ...], int]]:
        """The slots of a node: which, its first line, how many there are, what it shows in the end, and the width of
        all that it shows."""
        at = self.first.get(node, 0)
        for slot, texts in self.texts.get(node, {}).items():
            count = max(map(len, texts))
            yield slot, at, count, texts[-1], max(len(line) for each in texts for line in each)
            at += count


# SVG

_SVG = "{http://www.w3.org/2000/svg}"
_TOOLTIP = "{http://www.w3.org/1999/xlink}title"
_LETTER = 6.2
"""About the width of a letter, in the picture's points."""


def _svg(source: bytes, slots: _Slots, layers: Mapping[str, int]) -> tuple[str, int]:
    """Graphviz's SVG as a part of the page, and how many operations it has: no ids that could meet others, nodes and
    edges named for the script, slots marked."""
    root = _plain(ElementTree.fromstring(source))
    operations = 0
    for group in list(root.iter("g")):
        kind, title = group.get("class", ""), group.find("title")
        if kind == "graph":
            for child in list(group):
                if child.tag != "g" or not child.get("class"):
                    group.remove(child)  # the ground and the title of the picture; the page has its own
        elif title is not None and kind:
            group.remove(title)
            start, _, end = re.sub(r":\w+", "", title.text or "").partition("->")  # (without the sides of nodes)
            if kind.startswith("cluster"):
                continue
            if layers.get(start) == layers.get(end) == 1:
                start, end = end, start  # the first backward pass is drawn from right to left
            keys = ("data-from", "data-to") if kind.startswith("edge") else ("data-node",)
            group.attrib.update(zip(keys, (start, end)))
            if kind.startswith("node"):
                operations += kind.startswith("node operation")
                if layers.get(start):
                    group.set("class", f"{kind} in{layers[start]}")
                _mark(group, start, slots)
    for side, points in zip(("width", "height"), root.get("viewBox", "0 0 100 100").split()[2:]):
        root.set(side, f"{float(points) * 1.2:.0f}")
    root.attrib.pop("style", None)
    root.attrib["focusable"] = "false"
    return shortened(root), operations


def _plain(root: Element) -> Element:
    """Without namespaces, which HTML does not know, ids and links; the tooltip of a link is a title."""
    for part in root.iter():
        part.tag = part.tag.removeprefix(_SVG)
        name = part.attrib.pop("id", "")
        if part.get("class") == "cluster" and (band := re.search(r"pass\d$", name)):
            part.set("class", f"cluster {band[0]}")
    for part in list(root.iter()):
        for inner in part.findall("g"):
            link = inner.find("a")
            if link is not None:
                tip = Element("title")
                tip.text = link.get(_TOOLTIP)
                place = list(part).index(inner)
                part[place : place + 1] = [tip] * bool(tip.text) + list(link)
    for part in root.iter():
        part.attrib = {key: value for key, value in part.attrib.items() if not key.startswith("{")}
    return root


def _mark(group: Element, node: str, slots: _Slots) -> None:
    """Draw a node's slots behind their lines, which say what they show in the end."""
    texts = group.findall("text")
    room = _width(group) - 4
    for slot, first, count, final, width in slots.of(node):
        mine = texts[first : first + count]
        if not mine:
            continue
        middle, top = float(mine[0].get("x", "0")), float(mine[0].get("y", "0"))
        wide = min(width * _LETTER + 6, room)
        edges = {
            "x": middle - wide / 2,
            "y": top - 10,
            "width": wide,
            "height": float(mine[-1].get("y", "0")) - top + 13,
        }
        inside = Element("g", {"data-slot": slot})
        inside.append(Element("rect", {side: str(value) for side, value in edges.items()}))
        group.insert(list(group).index(mine[0]), inside)
        for line, text in zip_longest(mine, final):
            if line is not None:
                group.remove(line)
                inside.append(line)
                line.text = text or ""


def _width(group: Element) -> float:
    """The width of the shape of a node."""
    corners: list[float] = []
    for part in group:
        if part.get("rx") is not None:  # an ellipse
            return 2 * float(part.get("rx", "0"))
        corners += [x / 10 for x, _ in points_of(part)]
    return max(corners, default=0.0) - min(corners, default=0.0)
