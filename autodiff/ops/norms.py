"""Norms of vectors and matrices, any order, over any axes: part of the namespace `ad.linalg`. At the zero vector the
gradient is 0; second derivatives do not exist there, and are NaN."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import Sample, declare
from ..protocols import implements
from ..tensor import Tensor
from .elementwise import absolute, quotient_or_zero, sign
from .guards import checked_axes, common, count_of, inverse_or_zero, raw, restored
from .linalg import as_floating, as_matrices, inv, svdvals
from .precision import at_any_scale, in_single, ordinary, power_below
from .samples import draw

__all__ = ["cond", "matrix_norm", "norm", "vector_norm"]


@in_single
@at_any_scale
def _norm_forward(x: Any, ord: float = 2, axis: Any = None, keepdims: Any = False) -> Any:
    if ord == 2:
        if axis is None and not keepdims:
            return np.sqrt(np.vdot(x, x).real)
        squares = x * x if x.dtype.kind != "c" else x.real * x.real + x.imag * x.imag
        return np.sqrt(np.add.reduce(squares, axis=axis, keepdims=keepdims))
    return np.add.reduce(np.abs(x) ** ord, axis=axis, keepdims=keepdims) ** (1 / ord)


@in_single
def _norm_rule(g: Any, y: Any, x: Any, ord: float = 2, axis: Any = None, keepdims: bool = False) -> Any:
    """sign(x) (|x|/y)^(p−1), and 0 where x or y is 0 (x/y alone for p = 2); of complex numbers the conjugate."""
    x = x.conj() if x.dtype.kind == "c" else x
    y, g = restored(y, axis, x.ndim, keepdims), restored(g, axis, x.ndim, keepdims)
    if ord == 2:
        return g * quotient_or_zero(x, y)
    ratio, off = quotient_or_zero(np.abs(x), y), (raw(x) == 0) | (raw(y) == 0)
    if common(~off.any()):
        return g * (np.sign(x) * ratio ** (ord - 1))
    # An element that is 0 by itself, so that a second derivative that does not exist stays with it
    scale, alone = power_below(raw(y)), 0
    if ord >= 1:
        size, whole = np.where(off, np.abs(x) / scale, 0), inverse_or_zero(y / scale)
        alone = np.sign(x) * size ** (ord - 1) * whole ** (ord - 1)
    return g * np.where(off, alone, np.sign(x) * np.where(off, 1, ratio) ** (ord - 1))


def _norm_of_zeros(x: Any, **params: Any) -> Any:
    return _p_norm(x * 0.0, **params)


_NORMS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((3,), {}), ((2, 3), {}), ((), {}), ((2, 3), {"axis": 0}), ((2, 3, 2), {"axis": (0, -1), "keepdims": True}),
    ((3,), {"ord": 3.0}), ((2, 3), {"ord": 1.5, "axis": 1}), ((3,), {"ord": 0.5}), ((3,), {"ord": -1.0}),
    ((0, 3), {"axis": 1}),
]  # fmt: skip


@in_single
def _norm_opened(x: Tensor, ord: float = 2, axis: Any = None, keepdims: bool = False) -> Tensor | None:
    """The root of a sum of powers, of real numbers; where an element of x (unless they are squared) or the norm is 0 it
    has no plain derivative, and beyond the range of the powers no plain value."""
    if x.dtype.kind == "c":
        return None
    powers: Any = x * x if ord == 2 else absolute(x) ** ord
    if ord != 2 and not ordinary(powers):
        return None
    total = powers.sum(axis=axis, keepdims=keepdims)
    if not ordinary(total):
        return None
    return np.sqrt(total) if ord == 2 else total ** (1 / ord)


_p_norm = declare(
    "norm", _norm_forward, [_norm_rule], expansion=_norm_opened,
    jvps="reduction", complex=True, formula="‖{0}‖", derivatives=["sign({0}) (|{0}| / {y})^(p − 1)"],
    samples=lambda rng: [Sample((draw(rng, s),), p) for s, p in _NORMS]
    + [Sample((draw(rng, (2, 3)),), p, smooth=1, function=_norm_of_zeros) for p in ({}, {"ord": 1.5})],
)  # fmt: skip


def _vector_norm(x: Any, ord: Any, axis: Any, keepdims: bool, name: str) -> Tensor:
    if ord is None or ord == 2:
        return _p_norm(x, axis=axis, keepdims=True) if keepdims else _p_norm(x, axis=axis)
    if isinstance(ord, str) or not np.isreal(ord):
        raise ValueError(f"{name}: ord={ord!r} is no norm of vectors; it is a number, inf or -inf")
    if ord in (np.inf, -np.inf):
        if count_of(x.shape, axis) == 0 and ord > 0:
            return x.sum(axis, keepdims=keepdims)
        sizes = absolute(x)
        return sizes.max(axis, keepdims=keepdims) if ord > 0 else sizes.min(axis, keepdims=keepdims)
    if ord in (0, 1):
        return absolute(x if ord else sign(x)).sum(axis, keepdims=keepdims)
    return _p_norm(x, ord=float(ord), axis=axis, keepdims=bool(keepdims))


def _matrix_norm(x: Any, ord: Any, axes: tuple[int, int], keepdims: bool, name: str) -> Tensor:
    row, column = axes
    if ord is None or ord in ("fro", "f"):
        return _p_norm(x, axis=axes, keepdims=bool(keepdims))
    if ord not in ("nuc", 1, -1, 2, -2, np.inf, -np.inf):
        raise ValueError(f'{name}: ord={ord!r} is no norm of matrices; it is "fro", "nuc", 1, -1, 2, -2, inf or -inf')
    if ord in ("nuc", 2, -2):
        values, last = svdvals(np.moveaxis(x, axes, (-2, -1))), -1
        values = values * (raw(values) != 0)  # no other values, but derivatives of 0 where one is 0 and has a kink
    else:
        values = absolute(x).sum(row if ord in (1, -1) else column, keepdims=True)
        last = column if ord in (1, -1) else row
    if ord == "nuc" or (values.shape[last] == 0 and ord > 0):
        y = values.sum(last)
    else:
        y = values.max(last) if ord > 0 else values.min(last)
    lengths = [1 if i in axes else n for i, n in enumerate(x.shape) if keepdims or i not in axes]
    return y.reshape(tuple(lengths))


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Norm of vectors or matrices, as `numpy.linalg.norm`.

    Args:
        x: a tensor of any rank.
        ord: for vectors any number p, (Σ |x|^p)^(1/p), with inf, -inf and 0 as their limits; for matrices "fro",
            "nuc", 1, -1, 2, -2, inf, -inf. By default the square root of the sum of squares.
        axis: an axis, whose vectors are measured; two axes, whose matrices are; None for the whole of `x`.
        keepdims: keep the measured axes, with length 1.

    Raises:
        ValueError: an `ord` that does not exist for vectors or for matrices, or `ord` without `axis` for other ranks.
        AxisError: an axis that does not exist.

    The derivative at a zero vector or matrix is 0, and for p ≠ 2 every derivative is 0 by an element that is 0.

    >>> x = Tensor([3.0, 4.0], requires_grad=True)
    >>> norm(x).backward()
    >>> x.grad
    Tensor([0.6, 0.8])
    """
    x = as_floating(x, "norm")
    if axis is None:
        if ord is None:
            return _p_norm(x, axis=tuple(range(x.ndim)), keepdims=True) if keepdims else _p_norm(x)
        if x.ndim not in (1, 2):
            raise ValueError(f"norm: ord={ord!r} for shape {x.shape}; name one axis (vectors) or two (matrices)")
        axes = tuple(range(x.ndim))
    else:
        axes = checked_axes("norm", axis, x.shape)
    if len(axes) == 1:
        return _vector_norm(x, ord, axes[0], keepdims, "norm")
    if len(axes) == 2:
        return _matrix_norm(x, ord, axes, keepdims, "norm")
    raise ValueError(f"norm: axis={axis!r} for shape {x.shape}; one axis (vectors) or two (matrices)")


@implements(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Tensor:
    """Norm of the elements along any axes (all by default), taken as one vector, as `numpy.linalg.vector_norm`."""
    x = as_floating(x, "vector_norm")
    axes = tuple(range(x.ndim)) if axis is None else checked_axes("vector_norm", axis, x.shape)
    return _vector_norm(x, ord, axes, keepdims, "vector_norm")


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """Norm of matrices (..., m, n), as `numpy.linalg.matrix_norm`; see `norm`."""
    x = as_matrices(as_floating(x, "matrix_norm"), "matrix_norm")
    return _matrix_norm(x, ord, (x.ndim - 2, x.ndim - 1), keepdims, "matrix_norm")


@implements(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Tensor:
    """The condition number of matrices in a norm (by default the ratio of extreme singular values), as
    `numpy.linalg.cond`."""
    x = as_matrices(as_floating(x, "cond"), "cond")
    if p is None or p in (2, -2):
        s = svdvals(x)
        return s[..., 0] / s[..., -1] if p != -2 else s[..., -1] / s[..., 0]
    x = as_matrices(x, "cond", square=True)
    return matrix_norm(x, ord=p) * matrix_norm(inv(x), ord=p)
