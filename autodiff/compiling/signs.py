"""Fewer passes over arrays: signs and doublings of a program moved into the sums and constants next to them.

``a + (−b)`` becomes ``a − b``, ``(−x) · y`` in a sum the product with a minus, ``−(e + e)`` the product with −2, and a
constant factor takes up what it meets. All of it has the same bits as what was written, zeros with their signs too,
but beyond the largest and the smallest numbers that the dtype has in full.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .program import Node, Program, nodes_in, program_of, replaced

_SUMS = {"add", "subtract"}
_PRODUCTS = {"multiply", "divide"}
_SMALL = 16
"""Constants of more elements are left alone, of which there would be two."""


def gathered(program: Program) -> Program:
    """The same with fewer calls.

    >>> x = Node("input", (), {}, (2,), np.dtype(float), (8,))
    >>> y = Node("negative", (x,), {}, (2,), np.dtype(float), (8,), number=1)
    >>> z = Node("add", (1.0, y), {}, (2,), np.dtype(float), (8,), number=2)
    >>> gathered(program_of([x], [z]))
    %0 = input(): float64[2]
    %1 = subtract(1.0, %0): float64[2]
    return [%1 = subtract(1.0, %0): float64[2]]
    """
    if not any(node.op == "negative" or (node.op == "add" and node.inputs[0] is node.inputs[1])
               for node in program.nodes):  # fmt: skip
        return program
    return _Gathering(program).program


def _is_linear(node: Node) -> bool:
    """Whether it is a call through which a sign may go."""
    if node.op != "negative" and node.op not in _SUMS | _PRODUCTS:
        return False
    if node.options or node.dtype.char not in "fd":
        return False
    return all(
        x.dtype == node.dtype and (not isinstance(x, Node) or not x.options.get("weak"))
        if isinstance(x, (Node, np.ndarray))
        else type(x) in (int, float)
        for x in node.inputs
    )


class _Gathering:
    """One pass over a program from its first call to its last. Each value is a factor, ± a power of two, of a node."""

    def __init__(self, program: Program) -> None:
        self.nodes: list[Node] = []
        self.factors: dict[Node, tuple[int, Node]] = {}
        self.made: dict[tuple[Node, int], Node] = {}
        ends = [*program.outputs, *program.assumptions, *(node for node, _ in program.guards)]
        self.kept = set(nodes_in(ends))
        self.readers: dict[Node, list[Node]] = {}
        for node in program.nodes:
            for x in node.operands:
                self.readers.setdefault(x, []).append(node)
        self.takes_sign: dict[Node, bool] = {}
        for node in reversed(program.nodes):
            readers = self.readers.get(node, ())
            self.takes_sign[node] = node not in self.kept and bool(readers) and all(map(self._into, readers))
        for node in program.nodes:
            if _is_linear(node):
                self.factors[node] = self._factor(node)
            else:
                self.factors[node] = 1, self._add(node, tuple(replaced(x, self._value) for x in node.inputs), node.op)
        self.program = program_of(
            program.inputs,
            [replaced(x, self._value) for x in program.outputs],
            program.donated,
            [self._value(x) for x in program.assumptions],
            [(self._value(x), value) for x, value in program.guards],
        )

    def _into(self, reader: Node) -> bool:
        """Whether a call takes the sign of an operand in without another pass."""
        if not _is_linear(reader):
            return False
        constant = any(_is_constant(x, reader) for x in reader.inputs)
        return reader.op not in _PRODUCTS or constant or self.takes_sign[reader]

    def _add(self, node: Node, inputs: tuple[Any, ...], op: str) -> Node:
        """A call that is made, in place of one of the program's, which stays as it is."""
        made = replace(node, op=op, inputs=inputs, number=len(self.nodes))
        self.nodes.append(made)
        return made

    def _known(self, x: Any) -> tuple[int, Any]:
        return self.factors.get(x, (1, x)) if isinstance(x, Node) else (1, x)

    def _value(self, x: Node) -> Node:
        """An array that has the value."""
        return self._times(x, *self._known(x))

    def _times(self, x: Node, factor: int, node: Node) -> Node:
        """A factor of a node as an array, in place of a node of the program."""
        if factor == 1:
            return node
        key = node, factor
        if key not in self.made:
            if factor == -1:
                self.made[key] = self._add(x, (node,), "negative")
            elif factor == 2:
                self.made[key] = self._add(x, (node, node), "add")
            else:
                self.made[key] = self._add(x, (float(factor), node), "multiply")
        return self.made[key]

    def _factor(self, node: Node) -> tuple[int, Node]:
        """The factor and the node that a call gives."""
        given = [self._known(x) for x in node.inputs]
        (c, x), (d, y) = given[0], given[-1]
        if node.op == "negative":
            return self._taken_up(node, -c, x)
        if node.op in _SUMS:
            d = -d if node.op == "subtract" else d
            if x is y and c == d:
                return self._taken_up(node, 2 * c, x)
            if d == -1:
                return 1, self._add(node, (self._operand(node, 0, c), y), "subtract")
            if c == -1:
                return 1, self._add(node, (self._operand(node, 1, d), x), "subtract")
            return 1, self._add(node, (self._operand(node, 0, c), self._operand(node, 1, d)), "add")
        sign = 1
        if not isinstance(x, Node) or not isinstance(y, Node):
            f, z = (c, x) if isinstance(x, Node) else (d, y)
            constant = node.inputs[0] if z is y else node.inputs[1]
            if f == -1 or (f != 1 and node.op == "multiply"):
                constant = _multiplied(constant, f, node)
                if constant is not None:
                    return 1, self._add(node, (constant, z) if z is y else (z, constant), node.op)
        elif self.takes_sign[node] or c == d == -1:
            sign = (c if c == -1 else 1) * (d if d == -1 else 1)
            c, d = (1 if c == -1 else c), (1 if d == -1 else d)
        return sign, self._add(node, (self._operand(node, 0, c), self._operand(node, 1, d)), node.op)

    def _operand(self, node: Node, k: int, factor: int) -> Any:
        """The operand of a call as it is given to it, where this factor is left of its own."""
        x = node.inputs[k]
        return self._times(x, factor, self._known(x)[1]) if isinstance(x, Node) else x

    def _taken_up(self, node: Node, factor: int, x: Node) -> tuple[int, Node]:
        """The factor of a node that nothing else reads is taken up by its own constant."""
        given = next(y for y in node.inputs if isinstance(y, Node))
        alone = given not in self.kept and all(r is node for r in self.readers[given])
        if factor != 1 and alone and x.op == "multiply" and _is_linear(x):
            for k in (0, 1):
                constant = _multiplied(x.inputs[k], factor, x)
                if constant is not None:
                    return 1, self._add(x, (constant, x.inputs[1]) if k == 0 else (x.inputs[0], constant), "multiply")
        return factor, x


def _is_constant(x: Any, reader: Node) -> bool:
    return _multiplied(x, 2, reader) is not None


def _multiplied(x: Any, factor: int, reader: Node) -> Any:
    """A constant times a power of two, which is exact; None where it is not, and of what is no constant."""
    if isinstance(x, Node) or (isinstance(x, np.ndarray) and x.size > _SMALL):
        return None
    with np.errstate(all="ignore"):
        value = np.asarray(np.multiply(x, factor, dtype=reader.dtype))
        whole = bool(np.all(np.isfinite(value) & (np.abs(value) >= np.finfo(reader.dtype).tiny)))
    if not whole:
        return None
    return value if isinstance(x, np.ndarray) else x * factor
