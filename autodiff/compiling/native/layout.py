"""Where values lie: each node's memory, as a byte offset and strides within that of a root node, of which views share.

A `Place` says it for a node, an access for one use of it within a loop nest: strides along the nest's axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..program import Node


class Place(NamedTuple):
    """Where a node's values lie."""

    root: Node
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def dense(node: Node) -> tuple[int, ...]:
    """The strides of memory without gaps whose axes are in the order in which the trace met them."""
    strides, step = [0] * len(node.shape), node.dtype.itemsize
    for axis in sorted(range(len(node.shape)), key=lambda a: (abs(node.strides[a]), -a)):
        strides[axis] = step
        step *= node.shape[axis]
    return tuple(strides)


def viewed(node: Node, place: Place) -> Place | None:
    """Where a view of a place lies; None where the operation can give no view of it."""
    root, offset, shape, strides = place
    options = node.options
    match node.op:
        case "transpose":
            axes = options["axes"]
            return Place(root, offset, node.shape, tuple(strides[a] for a in axes))
        case "axes":  # of the source for each axis, None for a new one
            return Place(root, offset, node.shape, tuple(0 if a is None else strides[a] for a in options["axes"]))
        case "broadcast_to":
            lead = len(node.shape) - len(shape)
            kept = [0 if a != b else s for a, b, s in zip(shape, node.shape[lead:], strides, strict=True)]
            return Place(root, offset, node.shape, (0,) * lead + tuple(kept))
        case "reshape":
            turn = {"C": 1, "F": -1}.get(options.get("order", "C"))
            if turn is None:
                return None
            found = reshaped(shape[::turn], strides[::turn], node.shape[::turn])
            return None if found is None else Place(root, offset, node.shape, found[::turn])
        case "getitem" if len(node.inputs) == 1:
            moved, _, inner = part(shape, strides, node.dtype, options["index"])
            return Place(root, offset + moved, node.shape, inner)
    return None


def part(
    shape: Sequence[int], strides: Sequence[int], dtype: np.dtype[Any], index: Any
) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Offset, shape and strides of what a basic index picks.

    Raises:
        IndexError: the index does not fit.
    """
    whole = np.lib.stride_tricks.as_strided(np.empty(1, dtype), shape, strides)  # whose memory must not be read
    parts = index if isinstance(index, tuple) else (index,)
    picked = whole[parts if any(p is Ellipsis for p in parts) else (*parts, ...)]
    start, first = (int(x.__array_interface__["data"][0]) for x in (whole, picked))
    return first - start, picked.shape, picked.strides


def is_basic(index: Any) -> bool:
    """Whether an index picks a view: integers, slices, ``...`` and None alone."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, (slice, int, np.integer)) for p in parts) and not any(
        isinstance(p, (bool, np.bool_)) for p in parts
    )


def reshaped(shape: Sequence[int], strides: Sequence[int], new: Sequence[int]) -> tuple[int, ...] | None:
    """The strides of the same memory under another shape, neither with zeros; None where it would have to be copied."""
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    result: list[int] = []
    i = j = 0
    while j < len(new):
        if new[j] == 1:
            result.append(0)
            j += 1
            continue
        count, wanted, first, last = old[i][0], new[j], i, j
        while count != wanted:
            if count < wanted:
                i += 1
                count *= old[i][0]
            else:
                j += 1
                wanted *= new[j]
        if any(old[k][1] != old[k + 1][0] * old[k + 1][1] for k in range(first, i)):
            return None
        step, parts = old[i][1], []
        for k in range(j, last - 1, -1):
            parts.append(step if new[k] != 1 else 0)
            step *= new[k]
        result.extend(reversed(parts))
        i, j = i + 1, j + 1
    return tuple(result)


class Places:
    """Where every node lies."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.known: dict[int, Place] = {}
        self.copied: set[int] = set()
        """Views that must be copied after all."""
        wholes = {id(x): node for node in nodes if node.op == "whole" for x in node.inputs}
        for node in nodes:
            if node.op == "part":
                continue
            place = None
            if node.view:
                place = viewed(node, self.of(node.inputs[0]))
                if place is None:
                    self.copied.add(id(node))
            if place is None:
                strides = node.strides if node.op in ("input", "constant") else dense(node)
                place = Place(node, 0, node.shape, strides)
            self.known[id(node)] = place
        for node in nodes:
            if node.op == "part":
                root = wholes[id(node)]
                offset, shape, strides = part(root.shape, dense(root), root.dtype, node.options["index"])
                self.known[id(node)] = Place(root, offset, shape, strides)

    def of(self, node: Node) -> Place:
        return self.known[id(node)]
