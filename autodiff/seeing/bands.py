"""The picture of an explanation with a Hessian-vector product: the forward pass, the first backward pass down to
s = ∇fᵀu, and the second backward pass, one band each, with the nodes that the steps belong to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..tensor import Tensor
from .graph import results_behind
from .looks import DIRECTIONS, FONT, Frames, kind_of, operation_lines, operation_tip, tensor_lines, tensor_tip
from .printable import printable
from .rows import Step
from .selection import Selection, in_bands

if TYPE_CHECKING:
    from .picture import Graph

MAX_NODES = 300
"""Of larger passes the middle is left out."""


def drawn_in_bands(
    output: Tensor,
    slope: Tensor,
    wrt: Sequence[Tensor],
    rows: Sequence[Step],
    kinds: Sequence[str],
    names: Mapping[int, str],
) -> tuple[Graph, dict[str, int]]:
    """The picture, and for each node the band it is in.

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
        lines, tip = operation_lines(node, titles, ()), operation_tip(node, titles)
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
    for x in wrt if place is not None else ():
        frames.node(bands[1], f"u{x._number}", "constant", [("title", "u")], ["u"])
        drawing.edges.append((f"u{x._number}", f"op{slope._number}"))

    pairs = [
        (row, following)
        for row, following, kind in zip(rows, rows[1:], kinds)
        if kind == "local" and row.phase == "second"
    ]
    cotangents = [row.tensor for row, kind in zip(rows, kinds) if row.phase == "second" and kind != "local"]
    if len(pairs) + len(cotangents) > 2 * MAX_NODES:
        text = f"… {len(pairs):,} steps not shown"
        frames.node(bands[2], "gap2", "gap", [("value", text)], [text])
    else:
        wanted, seen = {x._number for x in wrt}, set[str]()
        edges = dict[tuple[str, str], None]()  # each once, in their order

        def once(name: str, kind: str, title: str, tip: list[str]) -> None:
            if name not in seen:
                seen.add(name)
                frames.node(bands[2], name, kind, [("title", title)], tip)

        for x in cotangents:
            if x is not None:
                once(
                    f"d{x._number}",
                    "seed" if x is slope else "gradient" if x._number in wanted else "result",
                    "d",
                    ["d"],
                )
        for row, following in pairs:
            operation, x = row.tensor, following.tensor
            if operation is not None and x is not None:
                (_, title), tip = operation_lines(operation, titles, ())[0], operation_tip(operation, titles)
                name = f"p{operation._number}"
                once(name, "operation", f"∂ {title}", [f"rule of {tip[0]}", *tip[2:]])
                edges |= {(f"d{operation._number}", name): None, (name, f"d{x._number}"): None}
        drawing.edges += edges
        if place is not None and f"d{slope._number}" in seen:
            drawing.turns.append((place, f"d{slope._number}"))
    frames.close()
    frames.edges(drawing)
    return picture, dict(frames.layer)
