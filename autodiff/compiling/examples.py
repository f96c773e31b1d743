"""What the examples of a `vmap` have each for themselves, as arrays of a program: the axes of examples are in front.

Order: which levels there are, arrays in and out, Tensors that all examples share.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..batching.batch import Batch, Level
from ..tensor import plain, wrap

Levels = tuple[Level, ...]
"""Of running `vmap`s, the outermost first."""


def levels_of(values: Iterable[Any]) -> Levels:
    """The levels at which any of these arrays and Tensors differs between examples."""
    found: dict[Level, None] = {}
    for x in map(plain, values):
        while isinstance(x, Batch):
            found[x.level] = None
            x = x.value
    return tuple(sorted(found, key=lambda level: level.depth))


def as_examples(array: Any, levels: Levels) -> Any:
    """An array with an axis in front for each level, as what one example has."""
    for level in levels:
        array = Batch(level, array)
    return array


def along_steps(array: Any, levels: Levels) -> Any:
    """The first axis of an example in front of those of the levels, in an array that has these in front."""
    return array.transpose(_order(array, len(levels))) if levels else array


def along_examples(array: Any, levels: Levels) -> Any:
    """The first axis behind those of the levels."""
    return array.transpose(tuple(np.argsort(_order(array, len(levels))).tolist())) if levels else array


def _order(array: Any, n: int) -> tuple[int, ...]:
    return (n, *range(n), *range(n + 1, array.ndim))


def spread(x: Any, levels: Sequence[Level]) -> Any:
    """A Tensor that differs at all these levels, as another one with a derivative.

    >>> spread(wrap(np.ones(2)), [Level(3, 1, lambda watch, level: watch)])
    Tensor(<3 examples of float64[2]>)
    """
    there = levels_of([x])
    for level in levels:
        if level not in there:
            zeros = wrap(Batch(level, np.zeros((level.size, *[1] * x.ndim), x.dtype)))
            x = np.logical_or(x, zeros) if x.dtype.kind == "b" else x - zeros
    return x
