"""A program in the few kinds of nodes that machine code is made of: views, elementwise operations, reductions, parts
written into a whole, matrix products; all others stay calls.

New operations: ``"constant"`` (an array, in ``options["value"]``), ``"axes"`` (a view: for each axis that of the
source, None for a new one), ``"whole"`` (memory, zeros if ``options["zeros"]``, into which its inputs, nodes
``"part"``, have been written at ``options["index"]``), ``"product"`` (of matrices, by BLAS; of more than two, the sum
of the products of each two).
"""

from __future__ import annotations

from dataclasses import replace
from math import inf, prod
from typing import Any

import numpy as np

from ...machine.ir import LETTER
from ..program import Node, Program, contiguous, replaced
from .elementwise import is_weak, signature
from .layout import dense, is_basic, part

REDUCTIONS = {
    "add.reduce": "fdi", "multiply.reduce": "fdi", "maximum.reduce": "fdib", "minimum.reduce": "fdib",
    "logical_or.reduce": "b", "logical_and.reduce": "b",
}  # fmt: skip
"""By the types in which they are computed."""
STARTS = {"add.reduce": 0.0, "multiply.reduce": 1.0, "maximum.reduce": -inf, "minimum.reduce": inf}
"""Initial values that change nothing, but for the sign of a zero."""
SMALL = 16384
"""Multiplications up to which a product is a loop here and no call of BLAS."""
TILE = 4
"""Rows and columns from which a small product is computed in tiles of it, and not number by number."""
VIEWS = ("reshape", "transpose", "getitem", "broadcast_to", "axes")


def kind(node: Node) -> str:
    """What a node is: input, view, elementwise, reduction, part, whole, product, loop, piece or call."""
    if node.op in ("input", "constant"):
        return "input"
    if node.view:
        return "view"
    if is_weak(node):
        return "call"
    if node.op in ("part", "whole", "product", "loop", "piece"):
        return node.op
    if 0 in node.shape or any(0 in x.shape for x in node.operands):
        return "call"
    if node.op in REDUCTIONS:
        source, types = node.inputs[0], REDUCTIONS[node.op]
        good = isinstance(source, Node) and source.dtype in LETTER and LETTER.get(node.dtype, "?") in types
        floats = good and source.dtype.kind == "f" and node.dtype.kind != "f"
        return "reduction" if good and not floats and set(node.options) <= {"axis", "keepdims"} else "call"
    return "elementwise" if signature(node) is not None else "call"


def lowered(program: Program) -> tuple[list[Node], list[Any]]:
    """All nodes of a program, its inputs first, and its results: outputs, assumptions, guards."""
    made = Lowering()
    for node in program.inputs:
        made.known[id(node)] = node
        made.nodes.append(node)
    for node in sorted(program.nodes, key=lambda node: not is_weak(node)):  # which depend on each other alone
        made.known[id(node)] = made.of(node)
    results = [*program.outputs, *program.assumptions, *(node for node, _ in program.guards)]
    return _live(made.nodes, [made.translated(x) for x in results])


def _live(nodes: list[Node], results: list[Any]) -> tuple[list[Node], list[Any]]:
    live = {id(x) for x in Node("", tuple(results), {}, (), np.dtype(bool), ()).operands}
    for node in reversed(nodes):
        if id(node) in live:
            live.update(id(x) for x in node.operands)
    return [node for node in nodes if id(node) in live or node.op == "input"], results


class Lowering:
    """The nodes made so far, and what has become of the program's."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.known: dict[int, Node] = {}
        self.constants: dict[int, Node] = {}

    def translated(self, x: Any) -> Any:
        return replaced(x, lambda node: self.known[id(node)])

    def add(self, node: Node) -> Node:
        self.nodes.append(node)
        return node

    def new(self, op: str, inputs: tuple[Any, ...], shape: tuple[int, ...], dtype: Any, **options: Any) -> Node:
        """A node whose result is contiguous."""
        return self.add(Node(op, inputs, options, shape, dtype, contiguous(shape, dtype)))

    def view(self, op: str, x: Node, shape: tuple[int, ...], options: dict[str, Any]) -> Node:
        return self.add(Node(op, (x,), options, shape, x.dtype, (0,) * len(shape), True))

    def array(self, x: Any) -> Any:
        """An array as a constant node, since it may be written to between calls; numbers as they are."""
        if not isinstance(x, np.ndarray):
            return x
        if id(x) not in self.constants:
            node = Node("constant", (), {"value": x}, x.shape, x.dtype, x.strides)
            self.constants[id(x)] = self.add(node)
        return self.constants[id(x)]

    def of(self, node: Node) -> Node:
        """What a node becomes."""
        inputs = tuple(self.translated(x) for x in node.inputs)
        if node.view and node.op in VIEWS and isinstance(inputs[0], Node):
            return self.add(replace(node, inputs=inputs))
        node = replace(node, inputs=inputs, view=False)
        special = self.special(node)
        if special is not None:
            return special
        plain = replace(node, inputs=tuple(map(self.array, inputs)))
        flat = self.flattened(plain) if kind(plain) == "elementwise" else None
        return flat or self.add(plain if kind(plain) != "call" else node)

    def flattened(self, node: Node) -> Node | None:
        """An elementwise operation of a matrix that is seen with more axes as one of the matrix, seen so: it then runs
        in one loop with what made that."""
        shape = (prod(node.shape[:-1]), *node.shape[-1:])
        seen = [x for x in node.operands if x.op == "reshape" and x.view and x.shape == node.shape]
        if len(node.shape) < 3 or node.strides != contiguous(node.shape, node.dtype):
            return None
        if not any(x.inputs[0].shape == shape for x in seen):
            return None
        inputs: list[Any] = []
        for x in node.inputs:
            if isinstance(x, Node) and x.shape[:-1] == node.shape[:-1]:
                to = (shape[0], *x.shape[-1:])
                known = x in seen and x.inputs[0].shape == to
                inputs.append(x.inputs[0] if known else self.view("reshape", x, to, {"shape": to, "order": "C"}))
            elif isinstance(x, Node) and len(x.shape) > 1:
                return None
            else:
                inputs.append(x)
        made = self.add(replace(node, inputs=tuple(inputs), shape=shape, strides=contiguous(shape, node.dtype)))
        return self.view("reshape", made, node.shape, {"shape": node.shape, "order": "C"})

    def special(self, node: Node) -> Node | None:
        """What becomes of operations that are written by others; None where nothing does."""
        if is_weak(node) or node.dtype not in LETTER or node.size == 0 or any(x.size == 0 for x in node.operands):
            return None
        match node.op:
            case "reshape" | "getitem" | "transpose" if isinstance(node.inputs[0], Node):
                return self.copied(node)
            case "dot" | "matmul":
                return self.product(node)
            case "einsum":
                return self.einsum(node)
            case "vecdot" if node.dtype.kind == "f":
                return self.rows_times_rows(node)
            case name if name in REDUCTIONS and node.options.get("axis") == ():
                return self.add(replace(node, op="astype", options={}))
            case "scatter" if is_basic(node.options["index"]):
                return self.whole(node, [(node.inputs[0], node.options["index"])], zeros=True)
            case "setitem" if len(node.inputs) == 2 and is_basic(node.options["index"]):
                x, value = node.inputs
                return self.whole(node, [(x, ...), (value, node.options["index"])])
            case "call":
                return self.reduction(node)
            case "concatenate":
                return self.concatenated(node)
        return None

    def copied(self, node: Node) -> Node | None:
        """A copy of what is no view: of the view where there is one; a reshape of a copy."""
        x = node.inputs[0]
        if node.op == "getitem" and (len(node.inputs) > 1 or not is_basic(node.options["index"])):
            return None
        if node.op == "reshape":
            if node.options.get("order", "C") != "C":
                return None
            x = self.new("copy", (x,), x.shape, x.dtype)
        seen = self.view(node.op, x, node.shape, node.options)
        return seen if node.op == "reshape" else self.add(replace(node, op="copy", inputs=(seen,), options={}))

    def reduction(self, node: Node) -> Node | None:
        """A reduction that starts from what changes nothing."""
        path, options = node.options.get("path", ""), node.options.get("keywords", {})
        start = STARTS.get(path.removeprefix("np."))
        if start is None or set(options) != {"axis", "keepdims", "initial"} or len(node.inputs) != 1:
            return None
        if options["initial"] != start or node.dtype.kind != "f" or not options["axis"]:
            return None
        kept = {"axis": options["axis"], "keepdims": options["keepdims"]}
        return self.add(replace(node, op=path.removeprefix("np."), options=kept))

    # Products

    def product(self, node: Node) -> Node | None:
        """A product of matrices and vectors: a sum, where one is small or a vector of ones; BLAS's otherwise."""
        a, b = map(self.array, node.inputs)
        if not (isinstance(a, Node) and isinstance(b, Node)) or node.dtype.kind != "f":
            return None
        if node.dtype != a.dtype or node.dtype != b.dtype or not a.shape or not b.shape:
            return None
        if node.op == "dot" and len(b.shape) > 2:
            return None
        for ones, other, axis in ((a, b, 0), (b, a, -1)):
            if len(ones.shape) == 1 and len(other.shape) == 2 and _are_ones(ones):
                return self.add(
                    replace(node, op="add.reduce", inputs=(other,), options={"axis": (axis % 2,), "keepdims": False})
                )
        rows, inner, columns = (a.shape[:-1], a.shape[-1], b.shape[-1:] if len(b.shape) > 1 else ())
        if len(a.shape) == 1 or len(b.shape) <= 2:
            small = prod(rows) * inner * prod(columns) <= SMALL or not rows + columns
            lead = () if len(b.shape) <= 2 else b.shape[:-2]
        else:
            small = prod(node.shape) * inner <= SMALL or prod(node.shape[-2:]) * inner <= 512
            lead = node.shape[:-2]
        if small and not self.tiled(node, a, b):
            return self.summed(node, a, b, lead)
        if len(a.shape) == 1 and len(b.shape) > 2:
            return None
        return self.add(replace(node, op="product", inputs=(a, b), options={"of": node.op, "small": small}))

    @staticmethod
    def tiled(node: Node, a: Node, b: Node) -> bool:
        """Whether the result has rows or columns without gaps, as long as tiles."""
        if min(len(a.shape), len(b.shape)) < 2 or a.shape[-1] < 2 or min(node.shape[-2:]) < TILE:
            return False
        return node.dtype.itemsize in dense(node)[-2:]

    def summed(self, node: Node, a: Node, b: Node, lead: tuple[int, ...]) -> Node:
        """Σ a b over the inner axis, the last of both operands' views."""
        row = a.shape[-2:-1] if lead or len(a.shape) == 1 else a.shape[:-1]
        column = b.shape[-1:] if len(b.shape) > 1 else ()
        shape = (*lead, *row, *column, a.shape[-1])
        n = len(a.shape)
        own = n - 1 - len(row)  # leading axes
        axes: list[int | None] = [None] * (len(lead) - own) + [*range(own), *range(own, n - 1)]
        left = self.picked(a, [*axes, *[None] * len(column), n - 1])
        n = len(b.shape)
        if n == 1:
            right = b
        else:
            axes = [None] * (len(lead) - (n - 2)) + [*range(n - 2)] + [None] * len(row)
            right = self.picked(b, [*axes, n - 1, n - 2])
        both = self.new("multiply", (left, right), shape, node.dtype)
        options = {"axis": (len(shape) - 1,), "keepdims": False}
        return self.add(replace(node, op="add.reduce", inputs=(both,), options=options))

    def picked(self, x: Node, axes: list[int | None]) -> Node:
        return self.view("axes", x, tuple(1 if a is None else x.shape[a] for a in axes), {"axes": tuple(axes)})

    def einsum(self, node: Node) -> Node | None:
        """Of two arrays, where no index of the sum is missing in either, or all is small: products, summed."""
        inputs = tuple(map(self.array, node.inputs))
        text = node.options["subscripts"]
        if not isinstance(text, str) or "." in text or "->" not in text or len(inputs) != 2 or " " in text:
            return None
        sources, target = text.split("->")
        terms = sources.split(",")
        if any(not isinstance(x, Node) or x.dtype != node.dtype for x in inputs) or node.dtype.kind != "f":
            return None
        summed = [c for c in dict.fromkeys("".join(terms)) if c not in target]
        if any(len(set(term)) != len(term) for term in (*terms, target)) or not summed:
            return None
        size = {c: n for x, term in zip(inputs, terms) for c, n in zip(term, x.shape)}
        if any(size[c] != n for x, term in zip(inputs, terms) for c, n in zip(term, x.shape)):
            return None
        letters = [*target, *summed]
        shape = tuple(size[c] for c in letters)
        if any(set(term) != set(letters) for term in terms) and prod(shape) > SMALL:
            return None
        views = tuple(
            self.picked(x, [term.index(c) if c in term else None for c in letters]) for x, term in zip(inputs, terms)
        )
        both = self.new("multiply", views, shape, node.dtype)
        options = {"axis": tuple(range(len(target), len(letters))), "keepdims": False}
        return self.add(replace(node, op="add.reduce", inputs=(both,), options=options))

    def rows_times_rows(self, node: Node) -> Node | None:
        """Σ a b over the last axis, in one loop with what reads it."""
        a, b = map(self.array, node.inputs)
        if not (isinstance(a, Node) and isinstance(b, Node)) or {a.dtype, b.dtype} != {node.dtype}:
            return None
        both = self.new("multiply", (a, b), (*node.shape, a.shape[-1]), node.dtype)
        options = {"axis": (len(node.shape),), "keepdims": False}
        return self.add(replace(node, op="add.reduce", inputs=(both,), options=options))

    # Parts of a whole

    def whole(self, node: Node, parts: list[tuple[Any, Any]], zeros: bool = False) -> Node | None:
        """A node's memory, into which one value after another is written."""
        written = []
        for value, index in parts:
            try:
                shape = part(node.shape, dense(node), node.dtype, index)[1]
            except IndexError:
                return None
            made = Node("part", (self.array(value),), {"index": index}, shape, node.dtype, (0,) * len(shape))
            dtype = getattr(value, "dtype", None)
            if dtype is not None and (dtype not in LETTER or (dtype.kind == "f" and node.dtype.kind != "f")):
                return None
            if len(np.shape(value) if not isinstance(value, Node) else value.shape) > len(shape):
                return None
            if isinstance(value, float) and node.dtype.kind != "f":
                return None
            written.append(made)
        self.nodes.extend(written)
        return self.add(replace(node, op="whole", inputs=tuple(written), options={"zeros": zeros}))

    def concatenated(self, node: Node) -> Node | None:
        given, axis = node.inputs, node.options["axis"]
        if any(not isinstance(x, (Node, np.ndarray)) for x in given):
            return None
        axis %= len(node.shape)
        parts, start = [], 0
        for x in given:
            stop = start + x.shape[axis]
            if x.shape[axis]:
                parts.append((x, (*[slice(None)] * axis, slice(start, stop))))
            start = stop
        return self.whole(node, parts)


def _are_ones(x: Node) -> bool:
    """A constant that nobody can write to."""
    if x.op != "constant" or x.options["value"].flags.writeable:
        return False
    return bool((x.options["value"] == 1).all())
