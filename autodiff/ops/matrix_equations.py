"""Linear systems with structure, part of `ad.linalg`: Sylvester's equation, banded systems, systems with a known
Cholesky factor, and LU factors.
"""

from __future__ import annotations

from operator import index
from typing import Any, NamedTuple

import numpy as np

from ..opaque import opaque
from ..primitive import Sample, as_tensor, declare, polymorphic
from ..protocols import optioned
from ..tensor import Tensor
from .guards import common, raw
from .linalg import as_matrices, as_real, cholesky, solve_triangular
from .samples import draw

__all__ = ["LUResult", "cho_factor", "cho_solve", "lu", "solve_banded", "solve_sylvester"]


def _t(x: Any) -> Any:
    return x.swapaxes(-1, -2)


# Sylvester's equation


def _sylvester_forward(a: Any, b: Any, q: Any) -> Any:
    from scipy.linalg import solve_sylvester

    with np.errstate(all="ignore"):
        x = solve_sylvester(a, b, q)
    size = (np.abs(a).max() + np.abs(b).max()) * np.abs(x).max()
    if not size * np.finfo(x.dtype).eps * 100 <= np.abs(q).max():  # LAPACK perturbs what is singular
        raise np.linalg.LinAlgError(
            f"solve_sylvester: a of shape {a.shape} and −b of shape {b.shape} have an eigenvalue in common, so that "
            f"there is no single solution"
        )
    return x


def _sylvester_left(g: Any, x: Any, a: Any, b: Any, q: Any) -> Any:
    return -(_sylvester_of(_t(a), _t(b), g) @ _t(x))


def _sylvester_right(g: Any, x: Any, a: Any, b: Any, q: Any) -> Any:
    return -(_t(x) @ _sylvester_of(_t(a), _t(b), g))


def _sylvester_samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample((draw(rng, (m, m)) + 4 * np.eye(m), draw(rng, (n, n)) + 3 * np.eye(n), draw(rng, (m, n))), smooth=2)
        for m, n in ((2, 3), (1, 2))
    ]


_sylvester = declare(
    "solve_sylvester", _sylvester_forward,
    [_sylvester_left, _sylvester_right, lambda g, x, a, b, q: _sylvester_of(_t(a), _t(b), g)],
    formula="x with {0} x + x {1} = {2}", derivatives=["−z {y}ᵀ with {0}ᵀ z + z {1}ᵀ = ·", "−{y}ᵀ z", "z"],
    opaque="LAPACK", samples=_sylvester_samples,
)  # fmt: skip
_sylvester_of: Any = polymorphic(_sylvester)


def solve_sylvester(a: Any, b: Any, q: Any) -> Tensor:
    """The solution x of a x + x b = q, as `scipy.linalg.solve_sylvester`.

    Args:
        a, b, q: matrices (m, m), (n, n) and (m, n).

    Raises:
        LinAlgError: a matrix is not square, or a and −b have an eigenvalue in common.
        ValueError: the shapes do not fit.

    >>> solve_sylvester([[1.0]], [[2.0]], [[6.0]])
    Tensor([[2.]])
    """
    a, b = (as_matrices(as_real(v, "solve_sylvester"), "solve_sylvester", square=True) for v in (a, b))
    q = as_real(q, "solve_sylvester")
    if a.ndim != 2 or b.ndim != 2 or q.shape != (a.shape[0], b.shape[0]):
        raise ValueError(
            f"solve_sylvester: a of shape {a.shape}, b of shape {b.shape} and q of shape {q.shape} do not fit; they "
            f"are (m, m), (n, n) and (m, n)"
        )
    return _sylvester(a, b, q)


# Banded systems


def _banded_forward(ab: Any, b: Any, lower: int, upper: int) -> Any:
    from scipy.linalg import solve_banded

    return solve_banded((lower, upper), ab, b)


def _places(lower: int, upper: int, ab: Any) -> tuple[Any, Any, Any]:
    """For each place of the diagonals of an n × n matrix its row and column, and whether they are in it."""
    n = ab.shape[1]
    r, column = np.ogrid[: lower + upper + 1, :n]
    row = r + column - upper
    there = np.arange(lower + upper + 1, like=raw(ab))[:, None] + np.arange(n, like=raw(ab)) - upper
    return np.clip(row, 0, n - 1), np.broadcast_to(column, row.shape), (there >= 0) & (there < n)


def _banded_transposed(ab: Any, lower: int, upper: int) -> Any:
    """The diagonals of the transpose."""
    row, column, there = _places(upper, lower, ab)
    return np.where(there, ab[np.clip(upper + column - row, 0, lower + upper), row], 0)


def _banded_solved(g: Any, ab: Any, lower: int, upper: int) -> Any:
    return _banded_of(_banded_transposed(ab, lower, upper), g, lower=upper, upper=lower)


def _banded_matrix(g: Any, x: Any, ab: Any, b: Any, lower: int, upper: int) -> Any:
    z = _banded_solved(g, ab, lower, upper)
    row, column, there = _places(lower, upper, ab)
    product = z[row] * x[column]
    return np.where(there, -(product if b.ndim == 1 else product.sum(axis=-1)), 0)


def _banded_samples(rng: np.random.Generator) -> list[Sample]:
    found = []
    for lower, upper, n, s in ((1, 1, 4, (4,)), (2, 0, 3, (3, 2)), (0, 1, 3, (3,)), (0, 0, 2, (2,))):
        ab = draw(rng, (lower + upper + 1, n))
        ab[upper] += 6
        found.append(Sample((ab, draw(rng, s)), {"lower": lower, "upper": upper}, smooth=2))
    return found


_banded = declare(
    "solve_banded", _banded_forward,
    [_banded_matrix, lambda g, x, ab, b, lower, upper: _banded_solved(g, ab, lower, upper)],
    formula="x with banded {0} x = {1}", derivatives=["−z {y}ᵀ in the band, {0}ᵀ z = ·", "{0}⁻ᵀ"], opaque="LAPACK",
    samples=_banded_samples,
)  # fmt: skip
_banded_of: Any = polymorphic(_banded)


@optioned
def solve_banded(
    l_and_u: Any, ab: Any, b: Any, overwrite_ab: bool = False, overwrite_b: bool = False, check_finite: bool = True
) -> Tensor:
    """The solution x of a x = b for a banded matrix, as `scipy.linalg.solve_banded`.

    Args:
        l_and_u: the numbers of diagonals below and above the main one.
        ab: the diagonals (l + u + 1, n), the upper ones first: a[i, j] is ``ab[u + i - j, j]``. The places outside the
            matrix are not read, and have gradient 0.
        b: (n,) or (n, k).
        overwrite_ab, overwrite_b, check_finite: accepted for SciPy's sake; nothing is written.

    Raises:
        LinAlgError: the matrix is singular.
        ValueError: the shapes do not fit, or NaN or infinity (where `check_finite`).

    >>> solve_banded((1, 0), [[2.0, 2.0], [1.0, 0.0]], [2.0, 3.0])
    Tensor([1., 1.])
    """
    lower, upper = (index(v) for v in l_and_u)
    ab, b = as_real(ab, "solve_banded"), as_real(b, "solve_banded")
    if ab.ndim != 2 or ab.shape[0] != lower + upper + 1 or b.ndim not in (1, 2) or b.shape[0] != ab.shape[1]:
        raise ValueError(
            f"solve_banded: ({lower}, {upper}), ab of shape {ab.shape} and b of shape {b.shape} do not fit; ab is "
            f"({lower + upper + 1}, n) and b (n,) or (n, k)"
        )
    for name, x in (("ab", ab), ("b", b)):
        if check_finite and not common(np.isfinite(raw(x)).all()):
            raise ValueError(f"solve_banded: {name} of shape {x.shape} holds NaN or infinity")
    return _banded(ab, b, lower=lower, upper=upper)


# Cholesky


@optioned
def cho_factor(
    a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Tensor, bool]:
    """A triangular factor of a symmetric positive definite matrix and whether it is the lower one, for `cho_solve`, as
    `scipy.linalg.cho_factor` (whose other triangle holds what was there; here it is 0).

    Raises:
        LinAlgError: not positive definite, or not square. ValueError: not symmetric, where it requires a gradient.

    >>> cho_factor([[4.0, 2.0], [2.0, 5.0]], lower=True)[0]
    Tensor([[2., 0.],
            [1., 2.]])
    """
    a = as_real(a, "cho_factor")
    return (cholesky(a) if lower else cholesky(a, upper=True)), bool(lower)


@optioned
def cho_solve(c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Tensor:
    """The solution x of a x = b from the factor that `cho_factor` gives, as `scipy.linalg.cho_solve`.

    Args:
        c_and_lower: the pair of a triangular factor (..., n, n) and whether it is the lower one.
        b: (n,) or (..., n, k).

    Raises:
        LinAlgError, ValueError: as `solve_triangular`.

    >>> cho_solve(cho_factor([[4.0, 2.0], [2.0, 5.0]]), [6.0, 7.0])
    Tensor([1., 1.])
    """
    c, lower = c_and_lower
    first = solve_triangular(c, b, trans=0 if lower else 1, lower=lower, check_finite=check_finite)
    return solve_triangular(c, first, trans=1 if lower else 0, lower=lower, check_finite=check_finite)


# LU


def _pivoted(a: Any) -> Any:
    from scipy.linalg import lu

    p, lower, upper = lu(a)
    return p.astype(a.dtype), lower, upper


_factors = opaque(_pivoted, "lu", "LAPACK", stacks="leading")


def _lu_forward(a: Any) -> Any:
    """L − 1 + U of a square matrix whose rows need no exchange, in one matrix."""
    n = a.shape[-1]
    y = np.array(a)
    for k in range(n - 1):
        y[..., k + 1 :, k] /= y[..., k, k, None]
        y[..., k + 1 :, k + 1 :] -= y[..., k + 1 :, k, None] * y[..., k, None, k + 1 :]
    return y


def _lu_rule(g: Any, y: Any, a: Any) -> Any:
    """L⁻ᵀ (tril(Lᵀ ḡL, −1) + triu(ḡU Uᵀ)) U⁻ᵀ"""
    n = a.shape[-1]
    below = np.tri(n, k=-1, dtype=a.dtype, like=raw(a))
    eye = np.eye(n, dtype=a.dtype, like=raw(a))
    lower, upper = y * below + eye, y * (1 - below)
    inside = (_t(lower) @ (g * below)) * below + ((g * (1 - below)) @ _t(upper)) * (1 - below)
    return _t(np.linalg.solve(upper, _t(np.linalg.solve(_t(lower), inside))))


_lu = declare(
    "lu_square", _lu_forward, [_lu_rule], formula="L − 1 + U with L U = {0}",
    derivatives=["L⁻ᵀ (tril(Lᵀ ·, −1) + triu(· Uᵀ)) U⁻ᵀ"], opaque="row by row", stacks="leading",
    samples=lambda rng: [Sample((draw(rng, s) + 4 * np.eye(s[-1]),), smooth=2) for s in [(3, 3), (2, 2, 2), (1, 1)]],
)  # fmt: skip


class LUResult(NamedTuple):
    """A permutation matrix, a unit lower and an upper triangle."""

    P: Tensor
    L: Tensor
    U: Tensor


@optioned
def lu(a: Any, permute_l: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The factors of a = P L U, as `scipy.linalg.lu`.

    Args:
        a: matrices (..., m, n); k is the smaller of m and n. The derivative needs the first k columns independent, and
            is that at the permutation that was found.
        permute_l: give P L and U alone.
        overwrite_a, check_finite: accepted for SciPy's sake; nothing is written.

    Returns:
        P (..., m, m), which is constant, L (..., m, k), U (..., k, n).

    Raises:
        LinAlgError: less than two axes, or the first k columns are dependent and a gradient is required.
        ValueError: NaN or infinity (where `check_finite`).

    >>> lu([[0.0, 2.0], [4.0, 2.0]]).U
    Tensor([[4., 2.],
            [0., 2.]])
    """
    a = as_matrices(as_real(a, "lu"), "lu")
    if check_finite and not common(np.isfinite(raw(a)).all()):
        raise ValueError(f"lu: a matrix of shape {a.shape} holds NaN or infinity")
    p, lower, upper = _factors(raw(a))
    if a.requires_grad:
        m, n = a.shape[-2:]
        k = min(m, n)
        if not common((np.diagonal(upper, axis1=-2, axis2=-1) != 0).all()):
            raise np.linalg.LinAlgError(
                f"lu: has no derivative here: the first {k} columns of a matrix of shape {a.shape} are dependent"
            )
        rows = _t(p) @ a
        y = _lu(rows[..., :k, :k])
        below = np.tri(k, k=-1, dtype=bool)
        lower, upper = np.where(below, y, np.eye(k, dtype=a.dtype)), np.where(below, 0, y)
        if m > k:
            rest = _t(np.linalg.solve(_t(upper), _t(rows[..., k:, :])))
            lower = np.concatenate([lower, rest], axis=-2)
        if n > k:
            upper = np.concatenate([upper, np.linalg.solve(lower, rows[..., k:])], axis=-1)
    p, lower, upper = (as_tensor(v, "lu") for v in (p, lower, upper))
    return (p @ lower, upper) if permute_l else LUResult(p, lower, upper)
