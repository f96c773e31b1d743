"""In whose memory each result of a program lies: one piece of memory for all that does not leave, planned by lifetimes.

Results that leave are made anew; a parameter that is written at the end is written by the call that computes it, where
nothing reads it after and nothing can fail any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from .program import Node, Program, nodes_in

VIEWS = {"reshape", "transpose", "getitem", "broadcast_to"}
"""Calls whose result may show the memory of the first input."""


_FAILING = {"call", "take", "getitem", "at", "scan", "cond", "while"}


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Elementwise calls that run in one loop, block by block, and sums and the like over all of what they give.

    Attributes:
        nodes: the calls, which follow each other in the program; the first is elementwise.
        inside: those whose results nothing else reads.
        size: numbers of each elementwise result.
        length: numbers of a block.
    """

    nodes: tuple[Node, ...]
    inside: frozenset[Node]
    size: int
    length: int


@dataclass(frozen=True, slots=True)
class Place:
    """A piece of the program's memory, seen as an array."""

    offset: int
    shape: tuple[int, ...]
    dtype: str
    order: tuple[int, ...]
    """The axes from the slowest to the fastest."""
    nbytes: int


def elementwise(node: Node) -> bool:
    """Whether a call is a ufunc with one result, of NumPy or, of one operand, of SciPy."""
    ufunc = getattr(np, node.op, None)
    if node.op.startswith("special.") and len(node.inputs) == 1:
        from scipy import special  # 0.1 s at import, and here already where a program calls it

        ufunc = getattr(special, node.op.removeprefix("special."), None)
    return isinstance(ufunc, np.ufunc) and ufunc.nout == 1 and ufunc.signature is None and not node.options


def takes_out(node: Node) -> bool:
    """Whether a call can write its result into memory that is there."""
    if node.dtype.kind not in "fiub" or node.options.get("weak") or node.size == 0:
        return False
    if elementwise(node) or node.op in ("astype", "copy", "setitem", "concatenate", "padded_sum"):
        return True
    if node.op.endswith(".reduce"):
        return True
    if node.op in ("dot", "matmul"):
        kinds = {x.dtype if isinstance(x, (Node, np.ndarray)) else None for x in node.inputs}
        order = _order(node)
        if node.op == "dot" or len(node.shape) < 2 or any(len(np.shape(x)) < 2 for x in node.inputs):
            fits = order == tuple(range(len(node.shape)))
        else:
            fits = order is not None and order[-1] == len(order) - 1  # rows without gaps, which BLAS writes
        return kinds == {node.dtype} and node.dtype.kind == "f" and fits
    return node.op == "where" and node.nbytes >= 1 << 16


def _order(node: Node) -> tuple[int, ...] | None:
    """The axes of an array from the slowest to the fastest, None where it has gaps."""
    order = sorted(range(len(node.shape)), key=lambda i: (-abs(node.strides[i]), i))
    step = node.dtype.itemsize
    for i in reversed(order):
        if node.shape[i] != 1 and node.strides[i] != step:
            return None
        step *= node.shape[i]
    if all(n == 1 or i == order[i] for i, n in enumerate(node.shape)):
        return tuple(range(len(node.shape)))
    return tuple(order)


class Plan:
    """Where the results of a program lie.

    Args:
        program: what is planned.
        reuse_outputs: whether results lie in the program's memory too.
        runs: calls that run in one loop, block by block. Results that stay inside have a place for one block; the
            others have theirs before the loop begins, and all that it reads keeps its own until it ends.
    """

    def __init__(self, program: Program, reuse_outputs: bool = False, runs: Sequence[Run] = ()) -> None:
        self.places: dict[Node, Place] = {}
        """By node whose result has a place: where it is."""
        self.into: dict[Node, Node] = {}
        """By node that is computed in the memory of an input: that input."""
        self.size = 0
        self._free: list[tuple[int, int]] = []
        self._root: dict[Node, Node] = {}
        for node in program.nodes:
            source = node.inputs[0] if node.op in VIEWS and node.inputs else None
            self._root[node] = self.root(source) if isinstance(source, Node) else node
        last = self._last(program)
        for run in runs:
            for x in (x for node in run.nodes for x in (node, *node.operands) if x not in run.inside):
                last[self.root(x)] = max(last[self.root(x)], run.nodes[-1].number)
        kept = {self.root(x) for k, x in enumerate(program.outputs) if isinstance(x, Node) and k not in program.donated}
        if reuse_outputs:
            kept = set()
        donated = {program.outputs[k]: program.inputs[i] for k, i in program.donated.items()}
        checked = max((node.number for node in (*program.assumptions, *(n for n, _ in program.guards))), default=-1)
        fails = max((node.number for node in program.nodes if node.op in _FAILING), default=-1)
        dying: dict[int, list[Node]] = {}
        for root, number in last.items():
            dying.setdefault(number, []).append(root)
        taken: dict[Node, tuple[int, int]] = {}
        first = {run.nodes[0]: run for run in runs}
        inside = {node: run.length for run in runs for node in run.inside}
        for node in program.nodes:
            target = donated.get(node)
            for x in first[node].nodes if node in first else ():
                if x not in inside and x not in kept:
                    self._put(x, x.shape, taken, self._take(x.nbytes))
            if node in taken or node in kept:
                pass
            elif node in inside:
                shape = (inside[node],)
                again = self._reused(node, shape, taken, last)
                self._put(node, shape, taken, again or self._take(inside[node] * node.dtype.itemsize))
            elif target is not None and self._straight(node, target, last, max(checked, fails)):
                self.into[node] = target
            elif self._root[node] is node and takes_out(node) and _order(node) is not None:
                again = self._reused(node, node.shape, taken, last)
                self._put(node, node.shape, taken, again or self._take(node.nbytes))
            for root in dying.get(node.number, ()):
                if root in taken:
                    self._give(taken.pop(root))

    def _put(
        self, node: Node, shape: tuple[int, ...], taken: dict[Node, tuple[int, int]], block: tuple[int, int]
    ) -> None:
        """Give a node's result, as an array of this shape, a place."""
        taken[node] = block
        order = _order(node) if shape == node.shape else (0,)
        assert order is not None
        self.places[node] = Place(block[0], shape, node.dtype.str, order, prod(shape) * node.dtype.itemsize)

    def root(self, node: Node) -> Node:
        """The node whose memory a result may show."""
        return self._root.get(node, node)

    def _last(self, program: Program) -> dict[Node, int]:
        """By node that owns memory: the number of the last call that reads it."""
        last: dict[Node, int] = {self.root(node): node.number for node in program.nodes}
        for node in program.nodes:
            for x in node.operands:
                last[self.root(x)] = node.number
        end = 1 << 62
        for x in nodes_in(program.outputs):
            last[self.root(x)] = end
        return last

    def _straight(self, node: Node, target: Node, last: dict[Node, int], safe: int) -> bool:
        """Whether a new value of an input can be written by the call that computes it."""
        return (
            node.number > safe
            and elementwise(node)
            and self._root[node] is node
            and node.shape == target.shape
            and node.dtype == target.dtype
            and last.get(target, -1) <= node.number
            and all(x is target or self.root(x) is not target for x in node.operands)
        )

    def _reused(
        self, node: Node, shape: tuple[int, ...], taken: dict[Node, tuple[int, int]], last: dict[Node, int]
    ) -> tuple[int, int] | None:
        """The memory of an operand of the same shape that nobody reads after this call."""
        if not elementwise(node):
            return None
        order = _order(node) if shape == node.shape else (0,)
        for x in node.operands:
            if x in taken and last[x] == node.number and x.dtype == node.dtype and self.places[x].shape == shape:
                others = [y for y in node.operands if y is not x and self.root(y) is x]
                if not others and self.places[x].order == order:
                    return taken.pop(x)
        return None

    def _take(self, nbytes: int) -> tuple[int, int]:
        size = -(-max(nbytes, 1) // 64) * 64
        fitting = [block for block in self._free if block[1] >= size]
        if fitting:
            offset, length = min(fitting, key=lambda block: block[1])
            self._free.remove((offset, length))
            if length > size:
                self._free.append((offset + size, length - size))
            return offset, size
        self.size += size
        return self.size - size, size

    def _give(self, block: tuple[int, int]) -> None:
        """Take a block back, together with its free neighbours."""
        offset, size = block
        for other in list(self._free):
            if other[0] + other[1] == offset:
                offset, size = other[0], other[1] + size
                self._free.remove(other)
            elif offset + size == other[0]:
                size += other[1]
                self._free.remove(other)
        self._free.append((offset, size))
