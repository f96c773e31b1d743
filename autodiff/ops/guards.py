"""What the families share: products that keep a branch not taken at zero, the transpose of a reduction, and checks of
axes. All that rules call runs on arrays and on Tensors alike.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..tensor import Tensor


def raw(v: Any) -> Any:
    """The values of a Tensor, for a mask, which is constant in a derivative; anything else as it is."""
    return v._data if isinstance(v, Tensor) else v


def times(g: Any, local: Any) -> Any:
    """``g * local``, but 0 where g is 0 and the local derivative is infinite or NaN.

    Such a point lies in a branch that was not taken, ``np.where(x > 0, np.sqrt(x), 0)`` at 0 say, where g is 0 and
    0 * inf would be NaN. Both factors are replaced there, so that derivatives of this product are 0 as well.
    """
    a = local._data if isinstance(local, Tensor) else local
    if np.isfinite(np.vdot(a, a)):  # one pass, no temporary; an overflow only costs the closer look below
        return g * local
    off = ((g._data if isinstance(g, Tensor) else g) == 0) & ~np.isfinite(a)
    if not off.any():
        return g * local
    return np.where(off, 0, g) * np.where(off, 1, local)


def inverse_or_zero(y: Any) -> Any:
    """1/y, and 0 where y is 0, with derivatives 0 there too."""
    zero = (y._data if isinstance(y, Tensor) else y) == 0
    if not zero.any():
        return 1 / y
    return np.where(zero, 0, 1 / np.where(zero, 1, y))


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes a NumPy ``axis=`` argument means, as a tuple of numbers from 0."""
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if not isinstance(axis, (tuple, list)) else tuple(axis)
    return tuple([int(a) % ndim if ndim else 0 for a in axes])


def restored(g: Any, axis: Any, ndim: int, keepdims: bool) -> Any:
    """The cotangent of a reduction with its reduced axes put back, as axes of length 1, so that it broadcasts against
    the input (a single number does as it is)."""
    if keepdims or axis is None or ndim == 0:
        return g
    shape = list(g.shape)
    for a in sorted(axes_of(axis, ndim)):
        shape.insert(a, 1)
    return g.reshape(tuple(shape))


def count_of(shape: tuple[int, ...], axis: Any) -> int:
    """How many elements a reduction over these axes takes together."""
    n = 1
    for a in axes_of(axis, len(shape)):
        n *= shape[a]
    return n


def checked_axis(name: str, axis: Any, shape: tuple[int, ...]) -> int:
    """An axis a user gave as a number from 0.

    Raises:
        TypeError, numpy.exceptions.AxisError: naming the operation and the shape.
    """
    try:
        number = operator.index(axis)
    except TypeError:
        raise TypeError(f"{name}(shape {shape}): an axis is an integer, not {axis!r}") from None
    if not -len(shape) <= number < len(shape):
        raise np.exceptions.AxisError(f"{name}(shape {shape}): axis {number} is out of bounds for {len(shape)} axes")
    return number % len(shape)


def checked_axes(name: str, axis: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """One axis or several as a tuple of numbers from 0, all different."""
    axes = tuple([checked_axis(name, i, shape) for i in (axis if isinstance(axis, (tuple, list)) else (axis,))])
    if len(set(axes)) != len(axes):
        raise ValueError(f"{name}(shape {shape}): axis {axis} is named twice")
    return axes
