"""The inverse of a symmetric operator as an operator: a linear system for each vector, those of several in lockstep,
or what the factors of KFAC give at once.

Order: the operator, conjugate gradients, the method of minimal residuals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from ..tensor import Array, plain
from .eigen import symmetric
from .kfac import KFAC

Rows = Callable[[Array], Array]
"""A linear map of vectors that are the rows of an array, as rows."""


class Inverse(LinearOperator):  # type: ignore[misc]  # SciPy has no types
    """x ↦ (A + λI)⁻¹ x, by solving a linear system for each vector up to a relative residual, which is tested.

    Args:
        op: a symmetric operator or matrix A of size n.
        damping: λ, added to A (and to the operator's own damping); it may be negative, a shift.
        method: "cg", conjugate gradients, where A + λI is positive definite (that of a convex loss by `GaussNewton` or
            `Fisher`); "minres", minimal residuals, where it is only symmetric, as a Hessian; "kfac", without iteration,
            where op is a `KFAC` or `EKFAC`.
        tol: ‖b − (A + λI) x‖ / ‖b‖ at which x is taken; √ε of the operator's dtype by default.
        preconditioner: for "cg", a positive definite guess of (A + λI)⁻¹, an operator or matrix, such as the inverse of
            a `KFAC` of the same network, ``Inverse(G, λ, preconditioner=K.inverse(λ))``.
        maxiter: products for each vector, at most; 10 n by default.

    Every step takes one product with all vectors that are not solved yet, so that with ``batches=`` of the operator the
    columns of a matrix cost the recordings of one.

    Raises:
        TypeError, ValueError: an argument is not what it should be; by a product, a vector that is not real and finite.
        numpy.linalg.LinAlgError: by a product: A + λI is found not to be positive definite ("cg"), or not finite, or
            the residual is not that small after `maxiter` products. There is no approximate answer.

    Source: Hestenes & Stiefel, "Methods of conjugate gradients for solving linear systems", 1952; Paige & Saunders,
    "Solution of sparse indefinite systems of linear equations", 1975.

    >>> inverse = Inverse(np.diag([1.0, 3.0]), damping=1.0)
    >>> inverse @ np.array([2.0, 2.0])
    array([1. , 0.5])
    """

    def __init__(
        self, op: Any, damping: float = 0.0, method: str = "cg", tol: float | None = None, *,
        preconditioner: Any = None, maxiter: int | None = None,
    ) -> None:  # fmt: skip
        if method not in (*METHODS, "kfac"):
            raise ValueError(f"Inverse: method must be one of {', '.join(map(repr, METHODS))}, 'kfac', not {method!r}")
        if method == "kfac" and not isinstance(op, KFAC):
            raise TypeError(
                f"Inverse: method='kfac' inverts a KFAC or EKFAC, not {type(op).__name__}; to invert another with its "
                f"help, write Inverse(op, damping, preconditioner=kfac.inverse(damping))"
            )
        self.factored: KFAC | None = op if method == "kfac" else None
        number = (int, float, np.integer, np.floating)
        if not isinstance(damping, number) or not np.isfinite(damping):
            raise ValueError(f"Inverse: damping must be a finite number, not {damping!r}")
        self.operator = symmetric("Inverse", op)
        tol = float(np.finfo(self.operator.dtype).eps) ** 0.5 if tol is None else tol
        if not isinstance(tol, number) or not 0 < tol < 1:
            raise ValueError(f"Inverse: tol must be a number between 0 and 1, not {tol!r}")
        n = self.operator.shape[0]
        maxiter = 10 * n if maxiter is None else maxiter
        if isinstance(maxiter, bool) or not isinstance(maxiter, (int, np.integer)) or maxiter < 1:
            raise ValueError(f"Inverse: maxiter must be a whole number from 1, not {maxiter!r}")
        if preconditioner is not None and method != "cg":
            raise ValueError(f"Inverse: a preconditioner goes with method='cg', not with {method!r}")
        self.guess = None if preconditioner is None else symmetric("Inverse: the preconditioner", preconditioner)
        if self.guess is not None and self.guess.shape != self.operator.shape:
            raise ValueError(
                f"Inverse: the preconditioner has shape {self.guess.shape}, the operator {self.operator.shape}"
            )
        self.damping, self.method, self.tol, self.maxiter = float(damping), method, float(tol), int(maxiter)
        super().__init__(self.operator.dtype, self.operator.shape)

    def _product(self, V: Array) -> Array:
        return _applied(self.operator, V) + self.damping * V

    def _matmat(self, X: Array) -> Array:
        X = np.asarray(plain(X))
        if X.dtype.kind not in "fiub":
            raise TypeError(f"Inverse: the vector must hold real numbers, not {X.dtype}")
        if self.factored is not None:  # asked for anew, as the operator may be refreshed; its eigenvectors stay
            found: Array = self.factored.inverse(self.factored.damping + self.damping).matmat(X)
            return found
        B = X.T.astype(float)
        if not np.isfinite(B).all():
            raise ValueError("Inverse: the vector has NaN or infinite entries")
        size = np.linalg.norm(B, axis=1)
        solved, rest, left = np.zeros_like(B), B.copy(), self.maxiter
        off = size.copy()
        while (going := np.flatnonzero(off > self.tol * size)).size:
            limits = 0.5 * self.tol * size[going]  # half, for what rounding adds to the residual that is carried along
            inverse = None if self.guess is None else lambda R: _applied(self.guess, R)
            steps, products = METHODS[self.method](self._product, rest[going], limits, left, inverse)
            solved[going] += steps
            rest[going] = B[going] - self._product(solved[going])
            before, off[going] = off[going], np.linalg.norm(rest[going], axis=1)
            left -= products
            still = off[going] > self.tol * size[going]
            if (still & ((left < 1) | (off[going] > 0.5 * before))).any():
                worst = float((off[going] / size[going]).max())
                raise np.linalg.LinAlgError(
                    f"Inverse: {self.method} has not converged after {self.maxiter - left} products: the residual is "
                    f"{worst:.2g} of the right side, and tol is {self.tol:.2g}; add damping (now {self.damping:g}), or "
                    f"raise tol (in float32 it cannot be below about 1e-6) or maxiter"
                )
        return solved.T.astype(self.dtype, copy=False)

    def _matvec(self, x: Array) -> Array:
        return self._matmat(np.asarray(x).reshape(-1, 1))[:, 0]

    _rmatvec, _rmatmat = _matvec, _matmat

    def _adjoint(self) -> Inverse:
        return self

    _transpose = _adjoint


def _applied(operator: LinearOperator, V: Array) -> Array:
    """The products with the rows of V, as rows, in double precision."""
    product: Array = operator.matmat(V.T.astype(operator.dtype, copy=False)).T
    return product.astype(float, copy=False)


def _dots(U: Array, V: Array) -> Array:
    found: Array = np.einsum("kn,kn->k", U, V)
    return found


def _conjugate_gradients(product: Rows, B: Array, limits: Array, most: int, inverse: Rows | None) -> tuple[Array, int]:
    """For each row b of B the x with ‖b − A x‖ ≤ its limit, or as near as `most` products come; how many were taken."""
    X, R, D = np.zeros_like(B), B.copy(), np.zeros_like(B)
    squares, scale = np.ones(len(B)), np.zeros(len(B))
    going = np.arange(len(B))
    for count in range(most):
        going = going[np.linalg.norm(R[going], axis=1) > limits[going]]
        if not going.size:
            return X, count
        Z = R[going] if inverse is None else inverse(R[going])
        now = _dots(R[going], Z)
        if inverse is not None and not (now > 0).all():
            raise np.linalg.LinAlgError("Inverse: the preconditioner is not positive definite")
        D[going] = Z + (now / squares[going] if count else 0 * now)[:, None] * D[going]
        squares[going] = now
        P = product(D[going])
        curvature, size = _dots(D[going], P), _dots(D[going], D[going])
        scale[going] = np.maximum(scale[going], np.sqrt(_dots(P, P) / size))
        if not (curvature > np.finfo(float).eps * scale[going] * size).all():
            worst = (curvature / size).min()
            raise np.linalg.LinAlgError(
                f"Inverse: the operator is not positive definite, which method='cg' needs: its curvature along one "
                f"direction is {worst:.6g}; add damping, take the Gauss–Newton matrix, or method='minres'"
            )
        alpha = (now / curvature)[:, None]
        X[going] += alpha * D[going]
        R[going] -= alpha * P
    return X, most


def _minimal_residuals(product: Rows, B: Array, limits: Array, most: int, inverse: Rows | None) -> tuple[Array, int]:
    """The same where A is only symmetric: the residual is least over the span of b, Ab, A²b, …, from Lanczos's
    tridiagonal matrix by Givens rotations (c, s)."""
    X, V, V0, W, W0 = np.zeros_like(B), B.copy(), np.zeros_like(B), np.zeros_like(B), np.zeros_like(B)
    gamma = np.linalg.norm(B, axis=1)
    eta, s, s0, c, c0 = gamma.copy(), np.zeros(len(B)), np.zeros(len(B)), np.ones(len(B)), np.ones(len(B))
    scale = np.zeros(len(B))
    going = np.arange(len(B))
    for count in range(most):
        going = going[(np.abs(eta[going]) > limits[going]) & (gamma[going] > np.finfo(float).eps * scale[going])]
        if not going.size:
            return X, count
        g, v, i = gamma[going], V[going] / gamma[going, None], going
        P = product(v)
        delta = _dots(v, P)
        scale[i] = np.maximum(scale[i], np.linalg.norm(P, axis=1))
        P -= delta[:, None] * v + g[:, None] * V0[i]
        after = np.linalg.norm(P, axis=1)
        a0, a2, a3 = c[i] * delta - c0[i] * s[i] * g, s[i] * delta + c0[i] * c[i] * g, s0[i] * g
        a1 = np.hypot(a0, after)
        singular = a1 <= np.finfo(float).eps * scale[i]  # b is not in the range of A
        a1 = np.where(singular, 1.0, a1)
        w = np.where(singular[:, None], 0.0, (v - a3[:, None] * W0[i] - a2[:, None] * W[i]) / a1[:, None])
        c0[i], s0[i] = c[i], s[i]
        c[i], s[i] = a0 / a1, after / a1
        X[i] += (c[i] * eta[i])[:, None] * w
        eta[i] *= -s[i]
        gamma[i] = after
        V0[i], V[i], W0[i], W[i] = v, P, W[i], w
    return X, most


METHODS: dict[str, Callable[[Rows, Array, Array, int, Rows | None], tuple[Array, int]]] = {
    "cg": _conjugate_gradients,
    "minres": _minimal_residuals,
}
