"""Parts of a trace as programs of their own: what the step of a loop or a branch computes of what it is given.

Order: a part of a graph of Tensors, a part of the nodes of a trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tensor import Tensor, number_of
from .program import Node, Program, copied, program_of, replaced
from .tracer import Trace, stripped

Spans = tuple[tuple[int, int], ...]
"""Pairs of counts, after the first and up to the second."""


def within(number: int, spans: Spans) -> bool:
    """Whether a number lies in one of them."""
    return any(begin < number <= end for begin, end in spans)


class Graph:
    """What was recorded in a part of a run, from the outputs to what it was given and to older Tensors.

    Args:
        outputs: Tensors that were computed there, or given.
        given: Tensors that stand for what another run of this part is given.
        spans: numbers of the Tensors that were made in it.
    """

    def __init__(self, outputs: Sequence[Tensor], given: Sequence[Tensor], spans: Spans) -> None:
        self.nodes: dict[int, Tensor] = {}
        """The results in between, by number, from old to young."""
        self.older: dict[int, Tensor] = {}
        """Tensors from outside on which outputs depend, by number."""
        known = {x._number for x in given if x._requires_grad}
        ends: dict[int, set[int]] = {n: {n} for n in known}
        found: dict[int, Tensor] = {}
        stack = [y for y in outputs if y._requires_grad]
        while stack:
            x = stack.pop()
            n = number_of(x)
            if n in ends or n in found:
                continue
            if within(n, spans):
                found[n] = x
                stack += [z for z in x._inputs if isinstance(z, Tensor) and z._requires_grad]
            else:
                self.older[n], ends[n] = x, {n}
        for n in sorted(found):
            x = found[n]
            ends[n] = {m for z in x._inputs if isinstance(z, Tensor) and z._requires_grad for m in ends[z._number]}
            if x._primitive is not None:
                self.nodes[n] = x
        self.leaves = [ends[y._number] if y._requires_grad else set[int]() for y in outputs]
        """For each output: the numbers of what is given and older on which it depends."""


def program_within(
    trace: Trace, given: Sequence[Any], outputs: Sequence[Any], spans: Spans = ()
) -> tuple[Program, list[Node]]:
    """A part of a trace as a program, and the nodes outside of which it reads, its inputs after those that are given.

    Args:
        trace: which holds the nodes.
        given: tracers that stand for the first inputs.
        outputs: tracers and arrays.
        spans: counts of the nodes that belong to the part; where there are none, those that depend on what is given do,
            and all others are computed once, outside.

    Raises:
        Unrolled: it depends on a value which way it goes.
    """
    starts = [x.node for x in given]
    results = [stripped(x) for x in outputs]
    first = min([x.number for x in starts] + [begin + 1 for begin, _ in spans])
    assumed = [x for x in trace.assumptions if x.number >= first]
    decided = [x for x in trace.guards if x.number >= first]
    found: set[Node] = set()
    stack = [x for x in (*results, *assumed, *decided) if isinstance(x, Node)]
    while stack:
        node = stack.pop()
        if node not in found and node.number >= first and node.op != "input":
            found.add(node)
            stack += node.operands
    own: set[Node] = set(starts)
    for node in sorted(found, key=lambda node: node.number):
        if within(node.number, spans) if spans else any(x in own for x in node.operands):
            own.add(node)
    if any(x in own for x in decided):
        trace.unroll()
    outside: dict[Node, Node] = {}

    def inner(x: Node) -> Node:
        if x in copies:
            return copies[x]
        if x not in outside:
            weak = {"weak": True} if x.options.get("weak") else {}
            outside[x] = Node("input", (), weak, x.shape, x.dtype, x.strides, name=x.name)
        return outside[x]

    copies: dict[Node, Node] = {x: copied(x, inner) for x in starts}
    for node in sorted(own.difference(starts), key=lambda node: node.number):
        copies[node] = copied(node, inner)
    ends = [replaced(x if isinstance(x, Node) else np.asarray(x), inner) for x in results]
    checks = [copies[x] for x in assumed if x in own]
    for x in assumed:
        if x in own:
            del trace.assumptions[x]
    inputs = [*(copies[x] for x in starts), *outside.values()]
    return program_of(inputs, ends, None, checks), list(outside)
