"""Which elementwise calls of large arrays run together, block by block: what one leaves for the next stays in the
cache, and what nobody else reads is no array of the whole length at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .memory import VIEWS, Run, elementwise
from .program import Node, Program, apart, contiguous, nodes_in

LARGE = 1 << 20
"""Bytes of an array from which its calls run in blocks: several of that size leave the cache."""
LONGEST, SHORTEST = 1 << 15, 1 << 12
"""Numbers of a block: all blocks are of one length, which divides the whole."""
WORTH = 2
"""Calls for each array that passes through the cache, and one more, for which a loop is worth its while."""
FAR = 400
"""Nodes among which calls for one loop are looked for."""


def blocked(program: Program) -> tuple[Program, list[Run]]:
    """The same program in an order in which calls that run in one loop follow each other, and these."""
    if not any(fits(node) for node in program.nodes):
        return program, []
    program = apart(program)
    written = {x for k in program.donated for x in nodes_in([program.outputs[k]])}
    left, made, found = [*program.nodes], list[Node](), list[tuple[Node, ...]]()
    while left:
        first = left[0]
        run, before, after = _run(left, written) if first not in written and fits(first) else ([], [], left)
        if not run:
            made.append(left.pop(0))
            continue
        made += [*before, *run]
        found.append(tuple(run))
        left = after
    for number, node in enumerate(made, len(program.inputs)):
        node.number = number
    program.nodes = made
    return program, [_with_inside(program, nodes) for nodes in found]


def _with_inside(program: Program, nodes: tuple[Node, ...]) -> Run:
    own = set(nodes)
    others = {x for node in program.nodes if node not in own for x in node.operands}
    others.update(nodes_in([*program.outputs, *program.assumptions, *(node for node, _ in program.guards)]))
    inside = {node for node in own - others if reduced(node) is None}
    return Run(nodes, frozenset(inside), nodes[0].size, length_of(nodes[0].size))


def reduced(node: Node) -> str | None:
    """The ufunc with which a call adds up, or the like, all of one large array, part by part; None where it does not.

    >>> x = Node("input", (), {}, (8,), np.dtype(float), (8,))
    >>> reduced(Node("dot", (x, x), {}, (), np.dtype(float), ()))
    'add'
    """
    x = node.inputs[0] if node.inputs else None
    if node.shape != () or not isinstance(x, Node) or not _plain(x):
        return None
    if node.op == "dot":
        return "add" if node.inputs[1] is x and len(x.shape) == 1 else None
    name = node.op.removesuffix(".reduce")
    known = name in ("add", "maximum", "minimum", "logical_and", "logical_or") and node.op != name
    return name if known and node.dtype.kind in "fiub" else None


def _run(nodes: Sequence[Node], written: set[Node]) -> tuple[list[Node], list[Node], list[Node]]:
    """The calls that can run in one loop with the first of these; the others that run before it, and after."""
    run: dict[Node, None] = {}
    before: list[Node] = []
    after: list[Node] = []
    late: set[Node] = set()  # all that is known after the loop alone
    size = nodes[0].size
    rest: Sequence[Node] = []
    for k, node in enumerate(nodes):
        if k == FAR or not (elementwise(node) or node.op in _QUIET or node.op.endswith(".reduce")) or node in written:
            rest = nodes[k:]
            break
        waits = any(x in late for x in node.operands)
        if not waits and node.size == size and fits(node):
            run[node] = None
        elif not waits and reduced(node) and node.inputs[0] in run:
            run[node] = None
            late.add(node)
        elif waits or any(x in run for x in node.operands):
            after.append(node)
            late.add(node)
        else:
            before.append(node)
    found = [*run]
    others = {x for node in (*after, *rest) for x in node.operands}
    passing = {x for node in found for x in node.operands if x.size == size and x not in run}
    passing.update(node for node in found if node.size == size and node in others)
    return (found if len(found) >= WORTH * (len(passing) + 1) else []), before, [*after, *rest]


_QUIET = {*VIEWS - {"getitem"}, "dot", "matmul", "einsum", "vecdot", "astype", "copy", "padded_sum"}
"""Calls that others may overtake: they neither fail nor draw."""


def length_of(size: int) -> int:
    """The length of blocks of which an array has so many numbers, 0 where there is none.

    >>> length_of(1_000_000), length_of(1_000_003)
    (20000, 0)
    """
    lengths = [n for n in range(LONGEST, SHORTEST - 1, -1) if size % n == 0]
    return next((n for n in lengths if n % 16 == 0), lengths[0] if lengths else 0)


def fits(node: Node) -> bool:
    """Whether a call of large arrays without gaps can run in blocks."""
    if not elementwise(node) or node.options.get("weak") or node.dtype.kind not in "fiub" or not _plain(node):
        return False
    arrays = [x for x in node.inputs if isinstance(x, (Node, np.ndarray)) and x.shape != ()]
    arrays = [x for x in arrays if isinstance(x, Node) or any(x.strides)]  # others are one number
    if any(x.shape != node.shape or not _plain(x) for x in arrays):
        return False
    return max(x.nbytes for x in (node, *arrays)) >= LARGE and length_of(node.size) > 0


def _plain(x: Any) -> bool:
    return bool(x.strides == contiguous(x.shape, x.dtype))
