"""Polynomials given by their coefficients from the highest power down, as NumPy's functions of that name take them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import as_tensor
from ..protocols import implements
from ..tensor import Tensor, wrap
from .elementwise import astype
from .guards import raw
from .sampled import convolve
from .shape import concatenate

__all__ = ["polyadd", "polyder", "polyint", "polymul", "polysub", "polyval", "vander"]


def _coefficients(name: str, p: Any) -> Tensor:
    p = as_tensor(getattr(p, "coeffs", p), name)  # of a numpy.poly1d
    p = p if p.ndim else p.reshape(1)
    if p.ndim > 1 or not p.size:
        raise ValueError(f"{name}: coefficients have one axis and are not none, unlike shape {p.shape}")
    return p


@implements(np.polyval, passing=True)
def polyval(p: Any, x: Any) -> Tensor:
    """The polynomial p[0] xⁿ⁻¹ + … + p[n−1] by Horner's rule, as `numpy.polyval`; with gradients to both.

    Args:
        p: coefficients along the first axis, the highest power first; more axes broadcast against x.
        x: where, a Tensor or array of any shape (no `numpy.poly1d`: write ``p(q)`` for that).

    Raises:
        ValueError: no coefficient. TypeError: x is a polynomial.

    >>> polyval([3.0, 0.0, 1.0], Tensor(5.0))
    Tensor(76.)
    """
    if isinstance(x, np.poly1d):
        raise TypeError("polyval: a polynomial at a polynomial has no rule for Tensors; evaluate one after the other")
    p, x = as_tensor(getattr(p, "coeffs", p), "polyval"), as_tensor(x, "polyval")
    if not p.ndim or not p.shape[0]:
        raise ValueError(f"polyval: coefficients lie along an axis and are not none, unlike shape {p.shape}")
    y = x * 0 + p[0]
    for k in range(1, p.shape[0]):
        y = y * x + p[k]
    return y


@implements(np.vander)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of each element of a vector as the rows of a matrix, as `numpy.vander`.

    Args:
        x: a Tensor or array of one axis.
        N: how many powers, those from N − 1 down to 0; as many as elements by default.
        increasing: from 0 up instead.

    Raises:
        ValueError: x has another number of axes, or N is negative.

    >>> vander(Tensor([1.0, 2.0, 3.0]), 3)
    Tensor([[1., 1., 1.],
            [4., 2., 1.],
            [9., 3., 1.]])
    """
    x = as_tensor(x, "vander")
    if x.ndim != 1:
        raise ValueError(f"vander: takes a vector, not shape {x.shape}")
    n = x.shape[0] if N is None else N
    if n < 0:
        raise ValueError(f"vander: the number of powers must not be negative, not {n}")
    x = astype(x, np.promote_types(x.dtype, int), copy=False)
    powers = np.arange(n, dtype=x.dtype, like=raw(x))
    y: Tensor = x[:, None] ** (powers if increasing else powers[::-1])
    return y


def _aligned(name: str, a1: Any, a2: Any) -> tuple[Any, Any]:
    """Both with zeros for the powers that one of them has not."""
    a, b = _coefficients(name, a1), _coefficients(name, a2)
    n = max(a.size, b.size)
    a, b = (v if v.size == n else concatenate([wrap(np.zeros_like(raw(v), shape=(n - v.size,))), v]) for v in (a, b))
    return a, b


@implements(np.polyadd)
def polyadd(a1: Any, a2: Any) -> Tensor:
    """The coefficients of the sum of two polynomials, as `numpy.polyadd`."""
    a, b = _aligned("polyadd", a1, a2)
    total: Tensor = a + b
    return total


@implements(np.polysub)
def polysub(a1: Any, a2: Any) -> Tensor:
    """The coefficients of the difference of two polynomials, as `numpy.polysub`."""
    a, b = _aligned("polysub", a1, a2)
    difference: Tensor = a - b
    return difference


@implements(np.polymul)
def polymul(a1: Any, a2: Any) -> Tensor:
    """The coefficients of the product of two polynomials, as `numpy.polymul`."""
    return convolve(_coefficients("polymul", a1), _coefficients("polymul", a2))


@implements(np.polyder, passing=True)
def polyder(p: Any, m: int = 1) -> Tensor:
    """The coefficients of a polynomial's m-th derivative, as `numpy.polyder`.

    >>> polyder([1.0, 1.0, 1.0, 1.0])
    Tensor([3., 2., 1.])
    """
    if m < 0:
        raise ValueError(f"polyder: the order must not be negative, not {m}")
    p = _coefficients("polyder", p)
    for _ in range(m):
        p = p[:-1] * np.arange(p.size - 1, 0, -1)
    return p


@implements(np.polyint, passing=True)
def polyint(p: Any, m: int = 1, k: Any = None) -> Tensor:
    """The coefficients of a polynomial's m-th integral, with integration constants `k` (0 by default), as
    `numpy.polyint`."""
    if m < 0:
        raise ValueError(f"polyint: the order must not be negative, not {m}")
    p = _coefficients("polyint", p)
    constants = np.zeros(m) if k is None else as_tensor(k, "polyint").reshape(-1)
    if constants.shape[0] == 1 and m > 1:
        constants = constants * np.ones(m)
    if constants.shape[0] < m:
        raise ValueError(f"polyint: {constants.shape[0]} integration constants for {m} integrations")
    for i in range(m):
        p = concatenate([p / np.arange(p.size, 0, -1), constants[i : i + 1]])
    return p
