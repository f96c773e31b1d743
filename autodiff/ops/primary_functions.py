"""Exponential, logarithm and square root of square matrices, part of `ad.linalg`: to any order of derivative.

The derivatives of a primary matrix function f along E₁ … Eₖ are a block of f of one larger matrix: f([[A, E], [0, A]])
has the derivative at its upper right, and so on, doubled for each direction (Mathias 1996; Higham and Relton 2014).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..primitive import Sample, declare, polymorphic
from ..tensor import Tensor
from .linalg import as_matrices, as_real
from .samples import draw

__all__ = ["expm", "logm", "sqrtm"]


def _block(a: Any, directions: Any) -> Any:
    """The matrix whose function has the derivative of f(a) along all directions at its upper right."""
    x = a
    for k, e in enumerate(directions):
        n = 2**k
        corner = np.kron(np.eye(n), e) if n > 1 else e
        x = np.block([[x, corner], [np.zeros_like(x), x]])
    return x


def _expm(x: Any) -> Any:
    from scipy.linalg import expm

    return expm(x)


def _sqrtm(x: Any) -> Any:
    """The square root, NaN where its square is not the matrix: a singular one may have none, and its block has none."""
    from scipy.linalg import sqrtm

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        y = sqrtm(x)
        if np.iscomplexobj(y):
            if not np.abs(y.imag).max(initial=0) <= 1e-10 * np.abs(y).max(initial=0):
                raise np.linalg.LinAlgError(
                    f"a matrix of shape {x.shape} has an eigenvalue on the negative real axis, and so no real "
                    f"principal square root or logarithm"
                )
            y = y.real
        gap = np.abs(y @ y - x).max(initial=0)
    return y if gap <= 1e-8 * np.abs(x).max(initial=0) else np.full_like(x, np.nan)


def _logm(x: Any) -> Any:
    """2ᵏ log(x^(1/2ᵏ)), the logarithm of what is near the identity from log(1 + y) = ∫₀¹ y (1 + t y)⁻¹ dt. (SciPy's
    draws random numbers, which a compiled function must not.)"""
    eye, halvings = np.eye(len(x)), 0
    while not np.abs(x - eye).sum(axis=0).max(initial=0) <= 0.5:
        x, halvings = _sqrtm(x), halvings + 1
        if np.isnan(x).any() or halvings > 60:
            return np.full_like(x, np.nan)
    nodes, weights = np.polynomial.legendre.leggauss(12)
    y = x - eye
    parts = [w / 2 * np.linalg.solve(eye + (t + 1) / 2 * y, y) for t, w in zip(nodes, weights)]
    return 2.0**halvings * sum(parts, np.zeros_like(y))


def _declared(
    name: str, function: Callable[[Any], Any], formula: str, of: Callable[[Any], Any], derivative: str
) -> Any:
    """The record of f and of its derivatives along directions, which are further inputs."""

    def forward(a: Any, *along: Any) -> Any:
        n = a.shape[-1]
        a, *directions = np.broadcast_arrays(a, *along)
        batch = a.shape[:-2]
        y = np.empty(a.shape)
        for i in np.ndindex(*batch if a.size else (0,)):
            x, *es = (np.asarray(v[i], np.float64) for v in (a, *directions))
            size = np.abs(x).max() or 1.0
            scales = [
                (np.abs(e).max() or 1.0) / size for e in es
            ]  # directions as large as the matrix: f is taken of both
            y[i] = function(_block(x, [e / s for e, s in zip(es, scales)]))[:n, -n:] * math.prod(scales)
        return y.astype(a.dtype)

    def rule(i: int, g: Any, y: Any, a: Any, *directions: Any) -> Any:
        """g takes a direction's place, or is one more: the transpose of E ↦ Dᵏf(A)[…, E] is E ↦ Dᵏf(Aᵀ)[…ᵀ, E]."""
        others = [d.swapaxes(-1, -2) for j, d in enumerate(directions, 1) if j != i]
        return either(a.swapaxes(-1, -2), *others, g)

    record = declare(
        name, forward, each=rule,
        jvps=(), formula=formula, derivatives=[derivative], opaque="SciPy, matrix by matrix", stacks="leading",
        samples=lambda rng: [Sample((of(draw(rng, s)),), smooth=2) for s in [(2, 2), (2, 1, 1), (0, 2, 2)]],
    )  # fmt: skip
    either: Any = polymorphic(record)
    return record


def _stable(x: Any) -> Any:
    """Away from the negative real axis."""
    return x / 3 + 2 * np.eye(x.shape[-1])


_expm_of = _declared("expm", _expm, "exp({0})", lambda x: x, "D exp({0}ᵀ)[·]")
_logm_of = _declared("logm", _logm, "log({0})", _stable, "D log({0}ᵀ)[·]")
_sqrtm_of = _declared("sqrtm", _sqrtm, "{0}^½", _stable, "D ({0}ᵀ)^½ [·]")


def expm(a: Any) -> Tensor:
    """The exponential of square matrices, Σ aᵏ/k!, as `scipy.linalg.expm`.

    Args:
        a: matrices (..., n, n), float32 or float64 (others become float64).

    Returns:
        Matrices (..., n, n) of that dtype. The k-th derivative takes the exponential of a matrix 2ᵏ times as large.

    Raises:
        LinAlgError: a matrix is not square.

    Source: Higham and Relton, "Higher order Fréchet derivatives of matrix functions", 2014.

    >>> expm([[0.0, 1.0], [0.0, 0.0]])
    Tensor([[1., 1.],
            [0., 1.]])
    """
    return _expm_of(as_matrices(as_real(a, "expm"), "expm", square=True))


def logm(a: Any) -> Tensor:
    """The principal logarithm of square matrices, whose exponential they are, as `scipy.linalg.logm`.

    Args:
        a: matrices (..., n, n), float32 or float64 (others become float64), with no eigenvalue on the negative real
            axis.

    Returns:
        Real matrices (..., n, n) of that dtype, NaN for a singular one.

    Raises:
        LinAlgError: a matrix is not square, or has an eigenvalue on the negative real axis, so that its logarithm is
            complex.

    >>> logm([[1.0, 1.0], [0.0, 1.0]])
    Tensor([[0., 1.],
            [0., 0.]])
    """
    return _logm_of(as_matrices(as_real(a, "logm"), "logm", square=True))


def sqrtm(a: Any) -> Tensor:
    """The principal square root of square matrices, as `scipy.linalg.sqrtm`.

    Args:
        a: matrices (..., n, n), float32 or float64 (others become float64), with no eigenvalue on the negative real
            axis.

    Returns:
        Real matrices (..., n, n) of that dtype; the derivative at a singular one is NaN.

    Raises:
        LinAlgError: a matrix is not square, or has an eigenvalue on the negative real axis: its root is complex.

    >>> sqrtm([[4.0, 0.0], [0.0, 9.0]])
    Tensor([[2., 0.],
            [0., 3.]])
    """
    return _sqrtm_of(as_matrices(as_real(a, "sqrtm"), "sqrtm", square=True))
