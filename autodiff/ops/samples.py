"""Inputs on which operations are checked: shapes an elementwise operation must take, and how to draw them.

Each operation names its samples in its declaration; tests sweep over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..primitive import Sample

Samples = Callable[..., Iterable[Sample]]  # of a numpy.random.Generator

SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (3,), (2, 3), (2, 1, 2))
PAIRS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((), ()),
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((), (2, 2)),
    ((2, 1), (1, 3)),
    ((1,), (2, 3)),
    ((0, 3), (3,)),
)


def draw(rng: np.random.Generator, shape: tuple[int, ...], low: float = -2.0, high: float = 2.0) -> Any:
    """Uniform numbers kept a little apart from each other, so that a small step changes no order."""
    n = int(np.prod(shape))
    grid = low + (high - low) * (rng.permutation(n) + rng.uniform(0.25, 0.75, n)) / max(n, 1)
    return grid.reshape(shape)


def unary(low: float = -2.0, high: float = 2.0, smooth: int = 3) -> Samples:
    """One input of every shape, with values in (low, high)."""
    return lambda rng: [Sample((draw(rng, shape, low, high),), smooth=smooth) for shape in SHAPES]


def binary(a: tuple[float, float] = (-2.0, 2.0), b: tuple[float, float] = (-2.0, 2.0), smooth: int = 3) -> Samples:
    """Two inputs of every pair of shapes, broadcast both ways, with values in the two intervals."""
    return lambda rng: [Sample((draw(rng, s, *a), draw(rng, t, *b)), smooth=smooth) for s, t in PAIRS]


def with_params(base: Samples, *options: dict[str, Any]) -> Samples:
    """The samples of `base`, each with each of the options."""
    return lambda rng: [Sample(s.inputs, params, s.wrap, s.smooth) for params in options for s in base(rng)]
