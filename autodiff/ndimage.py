"""Images, as `scipy.ndimage`: ``ad.ndimage.map_coordinates(image, coordinates, order=1)``."""

from __future__ import annotations

import functools
import itertools
import operator
from typing import Any

import numpy as np

from .ops.guards import common, raw
from .ops.linalg import as_real
from .tensor import Tensor

__all__ = ["map_coordinates"]


def _constant(i: Any, n: int) -> tuple[Any, Any]:
    return np.clip(i, 0, n - 1), (i >= 0) & (i < n)


def _nearest(i: Any, n: int) -> tuple[Any, Any]:
    return np.clip(i, 0, n - 1), True


def _grid_wrap(i: Any, n: int) -> tuple[Any, Any]:
    return i % n, True


def _mirror(i: Any, n: int) -> tuple[Any, Any]:
    if n == 1:
        return i * 0, True
    size = np.abs(i) % (2 * n - 2)
    return np.where(size >= n - (i < 0), 2 * n - 2 - size, size), True


def _reflect(i: Any, n: int) -> tuple[Any, Any]:
    i = i % (2 * n)
    return np.where(i >= n, 2 * n - 1 - i, i), True


_MODES = {"constant": _constant, "grid-constant": _constant, "nearest": _nearest, "mirror": _mirror,
          "reflect": _reflect, "grid-mirror": _reflect, "grid-wrap": _grid_wrap}  # fmt: skip
"""From the whole places along an axis of n points, those inside that they stand for, and where there are any."""


def map_coordinates(
    input: Any, coordinates: Any, *, order: int, mode: str = "constant", cval: float = 0.0
) -> Tensor:  # fmt: skip
    """The values of an image between its points, as `scipy.ndimage.map_coordinates` of order 0 or 1.

    Args:
        input: an image of d axes.
        coordinates: shape (d, ...), one coordinate for each axis.
        order: 0 takes the nearest point and has no derivative by the coordinates (it is 0 between steps); 1 is
            multilinear, and its slope at a point is that on its right.
        mode: what lies outside: "constant" (`cval` beyond the edge) or "grid-constant" (which goes over to it),
            "nearest", "mirror", "reflect" (also "grid-mirror"), "grid-wrap".
        cval: the value outside, a number.

    Returns:
        Shape (...).

    Raises:
        ValueError: coordinates that do not fit, another order or mode.

    >>> map_coordinates([[0.0, 1.0], [2.0, 3.0]], [[0.5], [0.25]], order=1)
    Tensor([1.25])
    """
    x, places = as_real(input, "map_coordinates"), as_real(coordinates, "map_coordinates")
    if order not in (0, 1):
        raise ValueError(f"map_coordinates: order={order!r} has no derivative here; take 0 or 1")
    if mode not in _MODES:
        raise ValueError(f"map_coordinates: mode={mode!r}; it is one of {', '.join(_MODES)}")
    if places.ndim == 0 or places.shape[0] != x.ndim or x.ndim == 0 or 0 in x.shape:
        raise ValueError(
            f"map_coordinates: an image of shape {x.shape} and coordinates of shape {places.shape} do not fit; "
            f"coordinates are ({x.ndim}, ...)"
        )
    values = raw(places)
    finite = np.isfinite(values)
    start = np.where(finite, values, 0)
    if order == 0:
        if mode in ("mirror", "reflect", "grid-mirror"):  # halves are rounded up after they are reflected
            start = np.stack([_MODES[mode](start[i], n)[0] for i, n in enumerate(x.shape)])
        start = start + 0.5
    start = np.floor(start).astype(int)
    total: Any = 0.0
    for corner in itertools.product((0, 1), repeat=x.ndim if order else 0):
        index, inside, weight = [], np.True_, 1.0
        for axis, n in enumerate(x.shape):
            step = corner[axis] if order else 0
            i, there = _MODES[mode](start[axis] + step, n)
            index.append(i)
            inside = inside & there
            if order:
                past = places[axis] - start[axis]
                weight = weight * (past if step else 1 - past)
        found = x[tuple(index)]
        total = total + weight * (found if common(np.all(inside)) else np.where(inside, found, cval))
    if mode == "constant":
        beyond = functools.reduce(operator.or_, [(values[i] < 0) | (values[i] > n - 1) for i, n in enumerate(x.shape)])
        total = total if common(~beyond.any()) else np.where(beyond, cval, total)
    return total if common(finite.all()) else total * np.where(finite.all(axis=0), 1, np.nan).astype(total.dtype)
