"""Sums of padded arrays, zeros but for a slice along one axis, as NumPy adds them fastest: where they overlap.

The gradient of ``x[1:]`` is such an array, and a sum of two of them, or of one and a full array, becomes a node
"padded_sum" (``axis``, ``starts``) of what is padded. Each part of the result is written once: the sum where both are,
one of them plus 0 (whose −0 is 0 then, as in the sum of the whole arrays), or 0.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from .program import Node, Program, apart, contiguous, program_of


def unpadded(program: Program) -> Program:
    """The same with sums of padded arrays as such nodes.

    >>> x = Node("input", (), {}, (2,), np.dtype(float), (8,))
    >>> zeros, kind = np.zeros(3), ((3,), np.dtype(float), (8,))
    >>> y = Node("setitem", (zeros, x), {"index": slice(1, None)}, *kind, number=1)
    >>> z = Node("setitem", (zeros, x), {"index": slice(None, -1)}, *kind, number=2)
    >>> unpadded(program_of([x], [Node("add", (y, z), {}, *kind, number=3)]))
    %0 = input(): float64[2]
    %1 = padded_sum(%0, %0, axis=0, starts=(1, 0)): float64[3]
    return [%1 = padded_sum(%0, %0, axis=0, starts=(1, 0)): float64[3]]
    """
    if not any(map(_sum_of, program.nodes)):
        return program
    program = apart(program)
    for node in program.nodes:
        found = _sum_of(node)
        if found is not None:
            axis, (x, start), (y, other) = found
            node.op, node.inputs, node.options = "padded_sum", (x, y), {"axis": axis, "starts": (start, other)}
    return program_of(program.inputs, program.outputs, program.donated, program.assumptions, program.guards)


def parts_of(node: Node) -> list[tuple[slice, list[tuple[Node, slice]]]]:
    """The parts of a "padded_sum" along its axis, and what is added there: which operands, and which slices of them."""
    axis, ends = node.options["axis"], [0, node.shape[node.options["axis"]]]
    spans = [(x, start, start + x.shape[axis]) for x, start in zip(node.inputs, node.options["starts"], strict=True)]
    ends = sorted({*ends, *(n for _, *span in spans for n in span)})
    return [
        (slice(low, high), [(x, slice(low - a, high - a)) for x, a, b in spans if a <= low and high <= b])
        for low, high in pairwise(ends)
    ]


def _sum_of(node: Node) -> tuple[int, tuple[Node, int], tuple[Node, int]] | None:
    """The axis along which operands of a sum are padded, and for both what is padded and where it begins."""
    if node.op != "add" or node.dtype.char not in "fd" or node.options or not all(map(_alike, node.inputs, [node] * 2)):
        return None
    if node.strides != contiguous(node.shape, node.dtype):
        return None
    found = [*map(_padded, node.inputs)]
    axis = next((part[0] for part in found if part is not None), None)
    if axis is None or any(part is not None and part[0] != axis for part in found):
        return None
    first, second = ((x, 0) if part is None else part[1:] for x, part in zip(node.inputs, found, strict=True))
    return axis, first, second


def _alike(x: Any, node: Node) -> bool:
    return isinstance(x, Node) and (x.shape, x.dtype) == (node.shape, node.dtype)


def _padded(node: Node) -> tuple[int, Node, int] | None:
    """Along which axis zeros were put before and after what, and how many before."""
    if node.op != "setitem" or len(node.inputs) != 2 or not isinstance(node.inputs[0], np.ndarray):
        return None
    zeros, x = node.inputs
    index = node.options["index"]
    index = index if isinstance(index, tuple) else (index,)
    if not all(isinstance(i, slice) for i in index) or zeros.any() or np.signbit(zeros).any():
        return None
    spans = [i.indices(n) for i, n in zip(index, node.shape)]
    short = [axis for axis, (start, stop, _) in enumerate(spans) if (start, stop) != (0, node.shape[axis])]
    if len(short) != 1:
        return None
    (axis,) = short
    start, stop, _ = spans[axis]
    shape = (*node.shape[:axis], stop - start, *node.shape[axis + 1 :])
    return (axis, x, start) if isinstance(x, Node) and x.dtype == node.dtype and x.shape == shape and x.size else None
