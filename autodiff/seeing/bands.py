"""The picture of an explanation with a Hessian-vector product: the forward pass, the first backward pass down to
s = ∇fᵀu, and the second backward pass, one band each, with the nodes that the steps belong to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..tensor import Tensor
from .graph import results_behind
from .looks import DIRECTIONS, FONT, Frames, kind_of, operation_lines, operation_tip, tensor_lines, tensor_tip
from .printable import printable
from .repeats import FEWEST, runs
from .rows import Step
from .selection import Selection, in_bands

if TYPE_CHECKING:
    from .picture import Graph

MAX_NODES = 300
"""Of larger passes the middle is left out; a second backward pass of more than twice as many steps is folded."""


def drawn_in_bands(
    output: Tensor,
    slope: Tensor,
    wrt: Sequence[Tensor],
    rows: Sequence[Step],
    kinds: Sequence[str],
    names: Mapping[int, str],
) -> tuple[Graph, dict[str, int], dict[str, str]]:
    """The picture, for each node the band it is in, and for what is not shown the box that stands for it.

    Args:
        output: f.
        slope: s.
        wrt: the tensors differentiated by; the vector for each is the node ``u`` and its number.
        rows: the steps. A cotangent ∂s/∂x is the node ``d`` and the number of x, the rule of the operation that made x
            in the second pass the node ``p`` and that number; all else is called as by `graph`.
        kinds: the roles of the steps.
        names: the names of the tensors, by number.
    """
    from .picture import TITLE, Graph  # graphviz is imported only by who draws

    forward = {node._number: node for node in results_behind(output, "explain")}
    merged = forward | {node._number: node for node in results_behind(slope, "explain")}
    results = [merged[number] for number in sorted(merged)]
    of, s = printable(names.get(output._number, "f"), 16), printable(names.get(slope._number, "s"), 16)
    labels = [
        "forward pass",
        f"first backward pass, from {of} to {s} = ∇{of}ᵀu",
        f"second backward pass, from {s} to H·u",
    ]
    layers = {number: int(number not in forward) for number in merged}
    homes, bands = in_bands({}, results, layers, {}, labels)
    drawing = Selection(results, homes, MAX_NODES, shown=set(map(id, results)), bands=True).arranged()
    titles = {id(x): names[x._number] for node in results for x in (*node._inputs, node)
              if isinstance(x, Tensor) and x._number in names}  # fmt: skip

    picture = Graph(
        graph_attr={"rankdir": DIRECTIONS[0], "bgcolor": "white", "fontname": FONT, "nodesep": "0.2", "ranksep": "0.3",
                    "fontsize": "11", "tooltip": TITLE},
        node_attr={"fontname": FONT, "fontsize": "11", "fontcolor": "#111111", "margin": "0.12,0.06", "height": "0.3"},
        edge_attr={"color": "#555555", "arrowsize": "0.7"},
    )  # fmt: skip
    frames = Frames(picture, DIRECTIONS[0])
    for unit, _, nodes in drawing.units:
        node = nodes[0]
        root = of if node._number in forward else None  # its rule has a node in the second pass
        lines, tip = operation_lines(node, titles, ()), operation_tip(node, titles, root)
        frames.node(homes[node._number], unit, "operation", lines, tip)
    for name, x, home in drawing.tensors.values():
        kind = kind_of(x, output, set())
        frames.node(home, name, kind, tensor_lines(x, kind, None, ("value",)), tensor_tip(x, kind, None))
    for name, x, home in drawing.references:
        title = printable(titles.get(id(x), name if isinstance(x, Tensor) else "constant"))
        frames.node(home, name, "reference", [("value", title)], [f"value from an earlier pass: {title}"])
    for name, (text, home) in drawing.gaps.items():
        frames.node(home, name, "gap", [("value", text)], [text])
    place = drawing.place(id(slope))
    if place is None:  # f is linear: no operation leads to s
        place = user = f"t{slope._number}"
        frames.node(bands[1], place, "result", [("title", s)], [s])
    else:
        user = f"op{slope._number}"
    for x in wrt:
        frames.node(bands[1], f"u{x._number}", "constant", [("title", "u")], ["u"])
        drawing.edges.append((f"u{x._number}", user))

    second = _SecondBand(rows, kinds, slope, {x._number for x in wrt})
    for name, (title, note) in second.boxes.items():
        lines = [("title", title), ("note", note)] if title else [("value", note)]
        frames.node(bands[2], name, "module" if title else "gap", lines, [text for _, text in lines])
    for name, x in second.cotangents.items():
        if name not in second.hidden:
            kind = "seed" if x is slope else "gradient" if x._number in second.wanted else "result"
            frames.node(bands[2], name, kind, [("title", "d")], ["d"])
    for name, operation in second.rules.items():
        if name not in second.hidden:
            (_, title), tip = operation_lines(operation, titles, ())[0], operation_tip(operation, titles, s)
            frames.node(bands[2], name, "operation", [("title", f"∂ {title}")], [f"rule of {tip[0]}", *tip[2:]])
    drawing.edges += second.drawn_edges()
    if (start := f"d{slope._number}") in second.cotangents:
        drawing.turns.append((place, second.hidden.get(start, start)))
    frames.close()
    frames.edges(drawing)
    return picture, dict(frames.layer), second.hidden


class _SecondBand:
    """The rules of the second backward pass and the cotangents between them. Where they are too many, the middle of
    what repeats is a box, and if that is not enough the middle of all is left out."""

    def __init__(self, rows: Sequence[Step], kinds: Sequence[str], slope: Tensor, wanted: set[int]) -> None:
        self.slope, self.wanted = slope, wanted
        self.rules: dict[str, Tensor] = {}
        self.cotangents: dict[str, Tensor] = {}
        self.edges: dict[tuple[str, str], None] = {}
        """Each once, in their order."""
        self.hidden: dict[str, str] = {}
        """The box of each node that is in one."""
        self.boxes: dict[str, tuple[str, str]] = {}
        """What each box says: what is repeated in it, if anything, and how many steps it stands for."""
        steps = Counter[str]()
        for row, following, kind in zip(rows, [*rows[1:], None], kinds):
            if row.phase != "second" or row.tensor is None:
                continue
            name = f"{'p' if kind == 'local' else 'd'}{row.tensor._number}"
            steps[name] += 1
            if kind != "local":
                self.cotangents.setdefault(name, row.tensor)
            elif following is not None and following.tensor is not None:
                self.rules.setdefault(name, row.tensor)
                self.edges |= {(f"d{row.tensor._number}", name): None, (name, f"d{following.tensor._number}"): None}
        if sum(steps.values()) > 2 * MAX_NODES:
            for box, title in self._folded().items():
                n = sum(steps[name] for name, home in self.hidden.items() if home == box)
                self.boxes[box] = title, f"… {n:,} step{'s' * (n != 1)} not shown"

    def drawn_edges(self) -> list[tuple[str, str]]:
        ends = ((self.hidden.get(a, a), self.hidden.get(b, b)) for a, b in self.edges)
        return list(dict.fromkeys((a, b) for a, b in ends if a != b))

    def _folded(self) -> dict[str, str]:
        """Put rules into boxes, and with them the cotangents that only they have to do with; returns what is repeated
        in each box."""
        names, known = list(self.rules), dict[tuple[object, tuple[int, ...]], int]()
        ids = [known.setdefault((x._primitive, x.shape), len(known)) for x in self.rules.values()]
        units, titles, start = list[list[str]](), list[str](), 0
        for first, period, count in [*runs(np.array(ids)), (len(names), 0, 0)]:
            if count and period * (count - 2) < FEWEST:
                continue
            begin = first + period
            units += [[name] for name in names[start:begin]]
            titles += [""] * (begin - start)
            if count:
                start = begin + period * (count - 2)
                words = [operation_lines(self.rules[name], {}, ())[0][1] for name in names[first:begin]]
                units.append(names[begin:start])
                titles.append(f"∂ ({' · '.join(words if len(words) <= 4 else [*words[:3], '…'])}) ×{count - 2:,}")
        if len(units) > (room := MAX_NODES // 2):
            middle = slice(room // 2, len(units) - room // 2)
            units[middle] = [[name for unit in units[middle] for name in unit]]
            titles[middle] = [""]
        boxes = dict[str, str]()
        for unit, title in zip(units, titles):
            if len(unit) > 1:
                box = f"gap2x{len(boxes)}"
                boxes[box] = title
                self.hidden |= dict.fromkeys(unit, box)
        around = dict[str, list[str]]()
        """For each cotangent the boxes of the rules that it comes from, then that of the one it goes into; empty for a
        rule that is in none."""
        for a, b in sorted(self.edges, key=lambda edge: edge[1] in self.rules):
            rule, cotangent = (b, a) if b in self.rules else (a, b)
            around.setdefault(cotangent, []).append(self.hidden.get(rule, ""))
        for name, x in self.cotangents.items():
            homes = around.get(name, [""])
            if x is not self.slope and x._number not in self.wanted and all(homes):
                self.hidden[name] = homes[-1]
        return boxes
