"""Polynomials given by their coefficients from the highest power down, as NumPy's functions of that name take them.

Order: values and powers, arithmetic, calculus, roots, fits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import Sample, as_tensor, declare
from ..protocols import implements
from ..tensor import Tensor, wrap
from .elementwise import astype, where
from .guards import common, raw
from .linalg import as_floating, as_real, eigvals, inv, lstsq, repeated, unless
from .norms import norm
from .sampled import convolve
from .samples import draw
from .shape import concatenate, stack

__all__ = [
    "poly", "polyadd", "polyder", "polydiv", "polyfit", "polyint", "polymul", "polysub", "polyval", "roots", "vander",
]  # fmt: skip


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


@implements(np.polydiv)
def polydiv(u: Any, v: Any) -> tuple[Tensor, Tensor]:
    """The coefficients of the quotient and the remainder of two polynomials, as `numpy.polydiv`.

    >>> polydiv([1.0, 5.0, 7.0], [1.0, 2.0])
    (Tensor([1., 3.]), Tensor([1.]))
    """
    u, v = _coefficients("polydiv", u), _coefficients("polydiv", v)
    rest, n, quotient = list(u + 0.0 * v[0]), v.size - 1, []
    for k in range(max(u.size - n, 0)):
        d = rest[k] / v[0]
        quotient.append(d)
        rest[k : k + n + 1] = [rest[k + i] - d * v[i] for i in range(n + 1)]
    first = 0
    while first < u.size - 1 and np.isclose(raw(rest[first]), 0, rtol=1e-14):
        first += 1
    return stack(quotient or [0.0 * rest[0]]), stack(rest[first:])


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


# Roots


@implements(np.poly)
def poly(seq_of_zeros: Any) -> Tensor:
    """The coefficients of the polynomial with these roots, 1 first, as `numpy.poly`.

    Args:
        seq_of_zeros: a vector, or a square matrix, whose eigenvalues are meant.

    Raises:
        ValueError: another shape.

    >>> poly([1.0, 2.0])
    Tensor([ 1., -3.,  2.])
    """
    r = as_tensor(seq_of_zeros, "poly")
    if r.ndim == 2 and r.shape[0] == r.shape[1] and r.size:
        r = eigvals(r)
    if r.ndim > 1:
        raise ValueError(f"poly: takes a vector of roots or a square matrix, not shape {r.shape}")
    c = wrap(np.ones_like(raw(r), shape=(1,)))
    for k in range(r.size):
        c = convolve(c, concatenate([np.ones_like(raw(r[k : k + 1])), -r[k : k + 1]]))
    v = raw(r)
    if v.dtype.kind == "c" and common(np.all(np.sort(v) == np.sort(v.conj()))):
        return c.real
    return c


def _moved(y: Any, p: Any) -> tuple[Any, Any]:
    """Of p(y) = 0 the derivatives by each coefficient, the powers of y, and by y."""
    powers = np.vander(y, p.shape[0])
    exponents = np.arange(p.shape[0] - 1, 0, -1, dtype=y.dtype, like=raw(y))
    return powers, unless(repeated(y), (powers[:, 1:] * exponents) @ p[:-1])


def _roots_rule(g: Any, y: Any, p: Any) -> Any:
    powers, slopes = _moved(y, p)
    return -(g / slopes) @ powers


def _roots_moved(t: Any, y: Any, p: Any) -> Any:
    powers, slopes = _moved(y, p)
    return -(powers @ t) / slopes


_roots = declare(
    "roots", lambda p: np.roots(p).astype(np.result_type(p, np.complex64)), [_roots_rule], jvps=[_roots_moved], arity=1,
    complex=True, singular=True, opaque="as many as the first and last coefficients that are not 0 say", public=False,
    formula="x with Σᵢ {0}ᵢ xⁿ⁻ⁱ = 0", derivatives=["−xⁿ⁻ⁱ / Σᵢ (n − i) {0}ᵢ xⁿ⁻ⁱ⁻¹"],
    samples=lambda rng: [Sample((draw(rng, (n,)),)) for n in (4, 3, 2)],
)  # fmt: skip


@implements(np.roots, passing=True)
def roots(p: Any) -> Tensor:
    """The roots of the polynomial with these coefficients, as `numpy.roots`: eigenvalues of its companion matrix.

    Args:
        p: coefficients (n,), the highest power first.

    Returns:
        The roots, in NumPy's order, complex where one of them is. Each moves as p(x) = 0 says, with a first coefficient
        that is 0 as well. Those that repeat have no derivative: it is NaN, as for `eig`.

    Raises:
        ValueError: another shape.

    >>> roots([1.0, -3.0, 2.0])
    Tensor([2., 1.])
    """
    p = as_floating(_coefficients("roots", p), "roots")
    y: Any = _roots(p)
    return y if p.dtype.kind == "c" or not common((raw(y).imag == 0).all()) else y.real


# Fits


@implements(np.polyfit)
def polyfit(
    x: Any, y: Any, deg: int, rcond: float | None = None, full: bool = False, w: Any = None, cov: Any = False
) -> Any:
    """The coefficients of the polynomial of least squares through points, as `numpy.polyfit`; with gradients to all.

    Args:
        x: places (m,). y: values (m,) or (m, k).
        deg: the degree.
        rcond: singular values up to this times the largest count as 0; by default the precision times m.
        full: False; its diagnosis is NumPy's alone.
        w: weights (m,) of the residuals, not of their squares.
        cov: also return the coefficients' covariance matrix; "unscaled" leaves the variance of the residuals out.

    Returns:
        Coefficients (deg + 1,) or (deg + 1, k), and the covariance (deg + 1, deg + 1) or (deg + 1, deg + 1, k).

    Raises:
        ValueError: shapes that do not fit, a negative degree, or too few points for `cov`. TypeError: `full`.

    >>> polyfit([0.0, 1.0, 2.0], [1.0, 3.0, 5.0], 1).round(12)
    Tensor([2., 1.])
    """
    if full:
        raise TypeError("polyfit: full=True has no rule; call ad.linalg.lstsq(np.vander(x, deg + 1), y)")
    x, y = as_real(x, "polyfit"), as_tensor(y, "polyfit") + 0.0
    order = int(deg) + 1
    if order < 1 or x.ndim != 1 or not x.size or y.ndim not in (1, 2) or y.shape[0] != x.shape[0]:
        raise ValueError(
            f"polyfit: x of shape {x.shape}, y of shape {y.shape}, degree {deg}: needs (m,), (m,) or (m, k)"
        )
    rows, target = vander(x, order), y
    if w is not None:
        w = as_tensor(w, "polyfit") + 0.0
        if w.shape != x.shape:
            raise ValueError(f"polyfit: weights of shape {w.shape} for {x.shape[0]} points")
        rows, target = rows * w[:, None], (target.T * w).T
    scale = norm(rows, axis=0)
    scale = scale if common((raw(scale) > 0).all()) else where(raw(scale) > 0, scale, 1)
    rows = rows / scale
    rcond = len(x) * np.finfo(x.dtype).eps if rcond is None else rcond
    c, squares, _, _ = lstsq(rows, target, rcond)
    c = (c.T / scale).T
    if not cov:
        return c
    spread = inv(rows.T @ rows) / np.outer(scale, scale)
    if isinstance(cov, str) and cov == "unscaled":
        factor: Any = np.ones(())
    elif x.size <= order:
        raise ValueError(f"polyfit: {x.size} points do not show how far those of degree {deg} are off; cov='unscaled'")
    else:
        factor = squares / (x.size - order)
    return c, spread[:, :, None] * factor if y.ndim == 2 else spread * factor.reshape(())
