"""A program: the NumPy calls that a traced function made, as nodes in the order in which they ran.

Back ends read this file alone. `Node.op` is one of a fixed set of names:

- ``"input"``; every ufunc by its name (``"add"``; ``"special.ndtr"`` of SciPy), without options; ``"add.reduce"``
  (options ``axis``, a tuple, and ``keepdims``), ``"add.accumulate"`` (``axis``), ``"add.outer"``. With the option
  ``weak`` an input is a Python number, and a ufunc of such numbers is Python's own operation and gives another.
- ``"dot"``, ``"matmul"``, ``"einsum"`` (``subscripts``).
- ``"reshape"`` (``shape``, ``order``), ``"transpose"`` (``axes``), ``"broadcast_to"`` (``shape``), ``"getitem"``
  (``index``, or a traced index as the second input), ``"astype"`` (``dtype``), ``"copy"``.
- ``"setitem"``: a copy of the first input with the second written at ``index``, or at a traced index, the third input;
  ``"at"`` (``ufunc``): a copy of the first input, changed by ``ufunc.at(copy, *others)``; ``"scatter"``: zeros of
  ``shape`` with the input added at a basic ``index``; ``"scatter_add"``: the same at a traced or advanced index.
- ``"where"``, ``"concatenate"`` (``axis``), ``"take"`` (``axis``), ``"take_along_axis"`` (``axis``), ``"sort"``,
  ``"argsort"`` (``axis``, ``kind``).
- ``"call"`` (``function``, ``name``): a Python function of arrays, called as it is, whose result has the shape and
  dtype of the node; where it returns several, ``shape`` is () and ``"item"`` nodes (``index``) take them apart. Of a
  function of NumPy's, ``path`` and ``keywords`` are how it is written; with ``draw`` it draws from a generator among
  its inputs, and each such call is to be made, in order.
- ``"scan"``: a loop of a program ``step``, of a carry, slices along the first axis and what stays the same, which gives
  the next carry and more, to be stacked; ``carry`` and ``slices`` say how many there are of these (``length`` and
  ``reverse``: steps). Its inputs are the first carry, arrays and what stays the same, its "items" the last carry and
  what was stacked. ``"cond"``: one of two programs, ``true`` and ``false``, of all inputs but the first, which decides.
  ``"while"``: a program ``step`` of a state (``carry`` says of how many) and what stays the same, as long as the
  program ``holds`` of both gives True, at most ``limit`` times (None: any number of times).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np


@dataclass(slots=True, eq=False)
class Node:
    """One call of a program."""

    op: str
    inputs: tuple[Any, ...]
    """Nodes, NumPy arrays (constants, by reference) and Python numbers (weak, as they are for NumPy)."""
    options: dict[str, Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...]
    """Of the array that the trace met; a back end lays results out so that later views are views again."""
    view: bool = False
    """Whether the result shares the memory of the first input."""
    name: str = ""
    """What the user calls it, where that is known."""
    line: tuple[str, int] | None = None
    """File and number of the user's line that made it."""
    number: int = -1
    """Its place in the program."""

    @property
    def size(self) -> int:
        """Number of elements."""
        n = 1
        for length in self.shape:
            n *= length
        return n

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize

    @property
    def operands(self) -> Iterator[Node]:
        """The inputs that are nodes, those inside tuples of inputs too."""
        return nodes_in(self.inputs)

    def __repr__(self) -> str:
        given = ", ".join(f"%{x.number}" if isinstance(x, Node) else _shown(x) for x in self.inputs)
        options = "".join(f", {key}={_shown(value)}" for key, value in self.options.items())
        return f"%{self.number} = {self.op}({given}{options}): {self.dtype}{list(self.shape)}"


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size > 4:
        return f"<{value.dtype}{list(value.shape)}>"
    return getattr(value, "__name__", None) or repr(value)


def nodes_in(values: Iterable[Any]) -> Iterator[Node]:
    """The nodes among values and in the tuples and lists among them."""
    for x in values:
        if isinstance(x, Node):
            yield x
        elif isinstance(x, (tuple, list)):
            yield from nodes_in(x)


def replaced(x: Any, value: Callable[[Node], Any]) -> Any:
    """An input with something in place of each node, in tuples, lists and slices too."""
    if isinstance(x, Node):
        return value(x)
    if type(x) in (tuple, list):
        return type(x)(replaced(v, value) for v in x)
    if isinstance(x, slice):
        return slice(*(replaced(v, value) for v in (x.start, x.stop, x.step)))
    return x


@dataclass(slots=True, eq=False)
class Program:
    """Calls in an order in which they can run, and what goes in and comes out."""

    inputs: list[Node]
    nodes: list[Node]
    """The calls that anything depends on, without the inputs, each after what it takes."""
    outputs: list[Any]
    """Nodes, arrays and Python numbers."""
    donated: dict[int, int] = field(default_factory=dict)
    """Number of an output → number of the input into whose memory it is written at the end."""
    assumptions: list[Node] = field(default_factory=list)
    """Booleans that must hold for the program to be right."""
    guards: list[tuple[Node, Any]] = field(default_factory=list)
    """Values on which the trace's way depended: a node and what it was."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, [*self.inputs, *self.nodes])) + f"\nreturn {self.outputs}"


def program_of(
    inputs: list[Node],
    outputs: list[Any],
    donated: dict[int, int] | None = None,
    assumptions: Iterable[Node] = (),
    guards: Iterable[tuple[Node, Any]] = (),
) -> Program:
    """The program that gives these outputs: the nodes that they depend on, in order of their numbers, renumbered.

    >>> x = Node("input", (), {}, (), np.dtype(float), ())
    >>> y = Node("exp", (x,), {}, (), np.dtype(float), (), number=0)
    >>> program_of([x], [y])
    %0 = input(): float64[]
    %1 = exp(%0): float64[]
    return [%1 = exp(%0): float64[]]
    """
    assumptions, guards = list(assumptions), list(guards)
    live: set[int] = set()
    found: list[Node] = []
    stack = [*nodes_in(outputs), *assumptions, *(node for node, _ in guards)]
    while stack:
        node = stack.pop()
        if id(node) not in live:
            live.add(id(node))
            if node.op != "input":
                found.append(node)
                stack.extend(node.operands)
    found.sort(key=lambda node: node.number)
    for number, node in enumerate([*inputs, *found]):
        node.number = number
    return Program(inputs, found, outputs, donated or {}, assumptions, guards)


def copied(node: Node, inner: Callable[[Node], Node]) -> Node:
    """A node of its own with others in place of its operands; of a loop or branch, with programs of its own."""
    options = {key: apart(value) if isinstance(value, Program) else value for key, value in node.options.items()}
    return replace(node, inputs=tuple(replaced(x, inner) for x in node.inputs), options=options)


def apart(program: Program) -> Program:
    """The same program, of nodes of its own."""
    copies: dict[Node, Node] = {}
    for node in (*program.inputs, *program.nodes):
        copies[node] = copied(node, copies.__getitem__)
    return program_of(
        [copies[x] for x in program.inputs],
        [replaced(x, copies.__getitem__) for x in program.outputs],
        program.donated,
        [copies[x] for x in program.assumptions],
        [(copies[x], value) for x, value in program.guards],
    )


def arranged(program: Program) -> Program:
    """The same, where a product of matrices that is turned and copied at once lies in memory as the copy would, which
    is then a view of it."""
    readers: dict[Node, list[Node | None]] = {}
    for node in program.nodes:
        for x in node.operands:
            readers.setdefault(x, []).append(node)
    for x in nodes_in([*program.outputs, *program.assumptions, *(node for node, _ in program.guards)]):
        readers.setdefault(x, []).append(None)
    for node in program.nodes:
        turned = node.inputs[0] if node.op == "reshape" and node.options["order"] == "C" else node
        if node.view or not isinstance(turned, Node) or turned.op != "transpose":
            continue
        product, axes = turned.inputs[0], turned.options["axes"]
        alone = len(readers[product]) == 1 and (
            None not in readers[node] if turned is node else len(readers[turned]) == 1
        )
        if product.op == "matmul" and alone and axes[-1] == len(axes) - 1:  # whose rows BLAS can write
            turned.strides = contiguous(turned.shape, turned.dtype)
            product.strides = tuple(turned.strides[axes.index(a)] for a in range(len(axes)))
            turned.view = node.view = True
    return program


def contiguous(shape: Sequence[int], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """The strides of memory without gaps whose axes are in order."""
    return tuple(dtype.itemsize * prod(shape[i + 1 :]) for i in range(len(shape)))


def trimmed(program: Program) -> Program:
    """The same without what its loops and branches compute for nothing: results that nobody takes, carries on which
    nothing depends that is taken, and inputs that are not read."""
    while True:
        items: dict[Node, list[Node]] = {}
        for node in program.nodes:
            if node.op == "item":
                items.setdefault(node.inputs[0], []).append(node)
        whole = {x for x in nodes_in(program.outputs) if x.op != "item"}
        changed = [
            _trimmed_node(node, items.get(node, []))
            for node in program.nodes
            if node.op in ("scan", "cond") and node not in whole
        ]
        if not any(changed):
            return program
        program = program_of(
            program.inputs, program.outputs, program.donated, program.assumptions, program.guards
        )  # fmt: skip


def _trimmed_node(node: Node, items: list[Node]) -> bool:
    """Whether something was taken out of a loop or a branch."""
    options = node.options
    n, m = options.get("carry", 0), options.get("slices", 0)
    names = ("step",) if node.op == "scan" else ("true", "false")
    first = 0 if node.op == "scan" else 1
    bodies = [trimmed(options[name]) for name in names]
    kept = {item.options["index"] for item in items}
    while True:  # until no more carries are needed
        shown = [k for k in range(len(bodies[0].outputs)) if k in kept]
        found = [program_of(b.inputs, [b.outputs[k] for k in shown], None, b.assumptions) for b in bodies]
        read = {x for b in found for x in nodes_in([*b.outputs, *b.assumptions])}
        read |= {x for b in found for inner in b.nodes for x in inner.operands}
        places = [k for k in range(len(bodies[0].inputs)) if any(b.inputs[k] in read for b in bodies)]
        more = {k for k in places if k < n} - kept
        if not more:
            break
        kept |= more
    places = [k for k in range(len(bodies[0].inputs)) if k in places or (k < n and k in kept)]
    same = len(places) == len(bodies[0].inputs) and len(shown) == len(bodies[0].outputs)
    if not same:
        node.inputs = (*node.inputs[:first], *(node.inputs[first + k] for k in places))
        for item in items:
            item.options = {"index": shown.index(item.options["index"])}
        for name, body, b in zip(names, bodies, found):
            options[name] = program_of([body.inputs[k] for k in places], b.outputs, None, b.assumptions)
        if node.op == "scan":
            options |= {"carry": sum(k < n for k in places), "slices": sum(n <= k < n + m for k in places)}
    return not same
