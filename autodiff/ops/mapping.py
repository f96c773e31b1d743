"""A function applied to parts of a tensor: to its lines along an axis, to one axis after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..primitive import as_tensor
from ..protocols import implements
from ..tensor import Tensor
from .creation import array
from .guards import checked_axis
from .indexing import picked
from .shape import expand_dims, moveaxis, stack

__all__ = ["apply_along_axis", "apply_over_axes"]


@implements(np.apply_along_axis)
def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any) -> Tensor:
    """A function of vectors applied to each line along an axis, in a loop, as `numpy.apply_along_axis`.

    Args:
        func1d: takes a Tensor of one axis, then `args` and `kwargs`; returns a number, Tensor or nested list, always of
            the same shape.
        axis: the axis along which the lines run; the axes of what is returned take its place.
        arr: a Tensor or array.

    Raises:
        ValueError: there is no line, or results differ in shape.

    >>> apply_along_axis(lambda line: line / line.sum(), 1, [[1.0, 3.0], [2.0, 2.0]])
    Tensor([[0.25, 0.75],
            [0.5 , 0.5 ]])
    """
    x = as_tensor(arr, "apply_along_axis")
    axis = checked_axis("apply_along_axis", axis, x.shape)
    others = x.shape[:axis] + x.shape[axis + 1 :]
    parts = []
    for place in np.ndindex(others):
        line = picked(x, index=(*place[:axis], slice(None), *place[axis:]))
        parts.append(array(func1d(line, *args, **kwargs)))
    if not parts:
        raise ValueError(f"apply_along_axis(shape {x.shape}, axis={axis}): there is no line to apply the function to")
    if any(part.shape != parts[0].shape for part in parts):
        met = " and ".join(sorted({str(part.shape) for part in parts}))
        raise ValueError(f"apply_along_axis: the function returned shapes {met}; it must return one")
    y, ndim = stack(parts).reshape(others + parts[0].shape), parts[0].ndim
    return moveaxis(y, tuple(range(len(others), y.ndim)), tuple(range(axis, axis + ndim)))


@implements(np.apply_over_axes)
def apply_over_axes(func: Callable[..., Any], a: Any, axes: Any) -> Tensor:
    """A function of a tensor and an axis applied to one axis after another, as `numpy.apply_over_axes`; axes that it
    removes are put back with length 1.

    >>> apply_over_axes(np.sum, np.ones((2, 3, 4)), (0, 2)).shape
    (1, 3, 1)
    """
    x = as_tensor(a, "apply_over_axes")
    for axis in np.atleast_1d(axes).tolist():
        axis = checked_axis("apply_over_axes", axis, x.shape)
        y = as_tensor(func(x, axis), "apply_over_axes")
        y = expand_dims(y, axis) if y.ndim == x.ndim - 1 else y
        if y.ndim != x.ndim:
            raise ValueError(
                f"apply_over_axes(shape {x.shape}): the function must keep the number of axes or remove the one it is "
                f"given, {axis}, not return shape {y.shape}"
            )
        x = y
    return x
