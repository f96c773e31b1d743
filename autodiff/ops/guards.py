"""What the families share: products that keep a branch not taken at zero, the transpose of a reduction, and checks of
axes. All that rules call runs on arrays and on Tensors alike.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..primitive import declare
from ..tensor import Tensor
from ..untaken import Undecided, answer
from .samples import unary


def raw(v: Any) -> Any:
    """The values of a Tensor, for a mask, which is constant in a derivative; anything else as it is."""
    return v._ndarray if isinstance(v, Tensor) else v


def common(holds: Any) -> bool:
    """Take the common branch, and check: whether what nearly always holds does, for all entries. Rules decide on values
    here and nowhere else."""
    return bool(holds)


def times(g: Any, local: Any) -> Any:
    """``g * local``, but 0 where g is 0 in a branch that was not taken and the local derivative is infinite or NaN.

    ``np.where(x > 0, np.sqrt(x), 0)`` at 0, say, where g is 0 and 0 * inf would be NaN. Both factors are replaced
    there, so that derivatives of this product are 0 as well. Where g is 0 for another reason it is NaN, and so are
    its derivatives.

    Raises:
        Undecided: it is not known yet why g is 0; the reverse pass finds out, and runs the rule again.
    """
    a = raw(local)
    if common(np.vdot(a, a) < math.inf):  # one pass, no temporary; an overflow only costs the closer look below
        return g * local
    met = (raw(g) == 0) & ~np.isfinite(a)
    if common(~met.any()):
        return g * local
    changing = answer.get()
    if changing is None:
        raise Undecided
    taken = met & (changing if np.broadcast_shapes(changing.shape, met.shape) == met.shape else changing.any())
    off = met & ~taken
    product = np.where(off, 0, g) * np.where(off, 1, local)
    return product if common(~taken.any()) else product * np.where(taken, np.nan, 1).astype(product.dtype)


def defined(x: Any, inside: Any) -> Any:
    """x, and NaN where it is not inside the domain of a function, also in all derivatives; 0 in place of −0, from which
    the limit of a pole would have the other sign.

    >>> defined(np.array([-2.0, -0.0, 4.0]), np.array([False, True, True]))
    array([nan,  0.,  4.])
    """
    if common((inside & (raw(x) != 0)).all()):
        return x
    return x * np.where(inside, 1, np.nan).astype(x.dtype) + 0.0


def nonnegative(x: Any) -> Any:
    """x of a function that is defined from 0 on, or for all complex numbers."""
    a = raw(x)
    return x if common((a > 0).all()) or a.dtype.kind == "c" else defined(x, a >= 0)


def widened(x: Any, y: Any) -> Any:
    """An input in its result's dtype, in which its rule computes: 1 / b of a b in half precision has its three digits,
    also beside an a in double precision."""
    dtype = getattr(x, "dtype", None)
    return x if dtype is None or dtype is y.dtype or dtype == y.dtype else x.astype(y.dtype)


def gated(g: Any, on: Any, off: Callable[[], Any]) -> Any:
    """``g * on`` for a slope of 1 or 0, exactly 0 where it is `off`, an infinite g too. (Not `np.where` where all is
    finite, which is slow on random signs. At a kink, neither on nor off, an infinite g has no derivative.)

    >>> gated(np.array([1.0, np.inf]), np.array([True, False]), lambda: np.array([False, True]))
    array([1., 0.])
    """
    a = raw(g).ravel(order="K")  # a view, in whatever order the memory has it
    if common(np.vdot(a, a) < math.inf):  # not dot, which warns of its overflow
        return g * on
    closed = off()
    return np.where(closed, 0, np.where(closed, 0, g) * on)


def _inverted(y: Any) -> Any:
    zero = y == 0
    return np.where(zero, 0, 1 / np.where(zero, 1, y))


_inverse_or_zero = declare(
    "inverse_or_zero", _inverted, [lambda g, y, x: times(g, np.where(x == 0, np.nan, -(y * y)))], arity=1,
    singular=True, jvps="elementwise", complex=True, formula="1 / {0}, 0 at 0", derivatives=["−{y}², NaN at 0"],
    samples=unary(0.5, 2.0), public=False,
)  # fmt: skip


def inverse_or_zero(y: Any) -> Any:
    """1/y, and 0 where y is 0. Its derivative there is NaN: a norm whose gradient at 0 is taken as 0 has no second
    derivative at 0."""
    if common(~(raw(y) == 0).any()):
        return 1 / y
    return _inverse_or_zero(y) if isinstance(y, Tensor) else _inverted(y)


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
        span = f", −{len(shape)} … {len(shape) - 1}" if shape else ""
        raise np.exceptions.AxisError(
            f"{name}(shape {shape}): axis {number} is out of bounds for {len(shape)} axes{span}"
        )
    return number % len(shape)


def checked_axes(name: str, axis: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """One axis or several as a tuple of numbers from 0, all different."""
    axes = tuple([checked_axis(name, i, shape) for i in (axis if isinstance(axis, (tuple, list)) else (axis,))])
    if len(set(axes)) != len(axes):
        raise ValueError(f"{name}(shape {shape}): axis {axis} is named twice")
    return axes
