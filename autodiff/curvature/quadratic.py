"""The second-order picture of a loss at a point: its quadratic model, and the kind of a stationary point."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..tensor import Array, Tensor
from .eigen import DENSE, dense, extremes, symmetric, vector_of
from .operators import Hessian
from .presentation import presented


@dataclass(frozen=True)
class QuadraticModel:
    """m(s) = f + gᵀs + ½ sᵀHs, what a loss looks like at a step s from a point.

    Steps are vectors over the flattened parameters, or lists of arrays in their shapes. What needs the eigenbasis
    forms the matrix: for small problems.

    Attributes:
        value: f.
        gradient: g, flattened.
        curvature: H, a `Hessian`.
    """

    value: float
    gradient: Array
    curvature: Hessian

    def __repr__(self) -> str:
        return presented(self, value=self.value, gradient=self.gradient, curvature=self.curvature)

    def __call__(self, step: Any) -> float:
        """The predicted loss after a step."""
        return self.value - self.predicted_decrease(step)

    def predicted_decrease(self, step: Any) -> float:
        """m(0) − m(s) = −gᵀs − ½ sᵀHs."""
        s = vector_of("quadratic_model", self.curvature, step)
        return -float(self.gradient @ s) - 0.5 * float(s @ (self.curvature @ s))

    @cached_property
    def _eigen(self) -> tuple[Array, Array]:
        values, vectors = np.linalg.eigh(dense(symmetric("quadratic_model", self.curvature)))
        return values, vectors

    @property
    def eigenvalues(self) -> Array:
        """λ of H, in rising order."""
        return self._eigen[0]

    @property
    def eigenvectors(self) -> Array:
        """The unit eigenvectors, as columns."""
        return self._eigen[1]

    def convergence_factors(self, lr: float) -> Array:
        """1 − ηλ for each eigenvalue: what a step of gradient descent multiplies that direction's distance by.
        Beyond ±1 it diverges, below 0 it zig-zags."""
        return 1 - lr * self.eigenvalues

    @property
    def stationary_step(self) -> Array:
        """−H⁻¹g, the step to the model's stationary point (a minimum only if H is positive definite).

        Raises:
            numpy.linalg.LinAlgError: if H is singular within rounding.
        """
        values, vectors = self._eigen
        size = np.abs(values)
        if not size.min() > len(values) * np.finfo(self.gradient.dtype).eps * size.max():
            raise np.linalg.LinAlgError(
                f"quadratic_model: the Hessian is singular (its eigenvalues run from {values[0]:.6g} to "
                f"{values[-1]:.6g}, the smallest magnitude is {size.min():.6g}), so the model has no single "
                f"stationary point; add damping or restrict the parameters"
            )
        return -(vectors @ ((vectors.T @ self.gradient) / values))

    @property
    def coefficients(self) -> Array:
        """α: where the point stands, seen from the stationary point, in the eigenbasis: E = E* + ½ Σ λᵢ αᵢ²."""
        return -(self.eigenvectors.T @ self.stationary_step)

    def descent(self, lr: float, steps: int) -> Array:
        """The step that `steps` iterations of gradient descent on the model make together: along each eigenvector
        −g (1 − (1 − ηλ)ᵗ) / λ, which is −ηtg where λ is 0."""
        values, vectors = self._eigen
        flat = lr * values == 0
        with np.errstate(over="ignore", invalid="ignore"):
            travelled = np.where(flat, lr * steps, (1 - (1 - lr * values) ** steps) / np.where(flat, 1, values))
            return -(vectors @ (travelled * (vectors.T @ self.gradient)))

    @property
    def best_lr(self) -> float:
        """2 / (λmin + λmax), the fixed learning rate that converges fastest.

        Raises:
            numpy.linalg.LinAlgError: if H is not positive definite.
        """
        return 2 / sum(self._definite("best_lr"))

    @property
    def best_rate(self) -> float:
        """(λmax − λmin) / (λmax + λmin), the factor by which the distance shrinks in each step with `best_lr`.

        Raises:
            numpy.linalg.LinAlgError: if H is not positive definite.
        """
        low, high = self._definite("best_rate")
        return (high - low) / (high + low)

    def _definite(self, what: str) -> tuple[float, float]:
        low, high = float(self.eigenvalues[0]), float(self.eigenvalues[-1])
        if low <= 0:
            raise np.linalg.LinAlgError(
                f"quadratic_model: {what} needs a positive definite Hessian, but its eigenvalues run from {low:.6g} "
                f"to {high:.6g}"
            )
        return low, high


def quadratic_model(
    loss: Tensor | Callable[..., Any], params: Tensor | Iterable[Tensor], **options: Any
) -> QuadraticModel:
    """The second-order Taylor polynomial of a loss at the parameters' values.

    Args:
        loss, params: as for `Hessian`; `options` too (`batches`, `reduction`; `damping` adds to the curvature).

    Returns:
        a `QuadraticModel` with `.value .gradient .curvature .predicted_decrease(step)` and, from the eigenbasis,
        `.eigenvalues .eigenvectors .convergence_factors(lr) .stationary_step .coefficients .descent(lr, steps)
        .best_lr .best_rate`.

    Raises:
        TypeError, ValueError, RuntimeError: as `Hessian`.

    >>> import autodiff as ad
    >>> w = ad.Tensor([1.0, 1.0], requires_grad=True)
    >>> model = quadratic_model(50 * w[0] ** 2 + 0.5 * w[1] ** 2, w)
    >>> model.predicted_decrease([-1.0, -1.0])
    50.5
    >>> model.convergence_factors(0.015)
    array([ 0.985, -0.5  ])
    """
    curvature = Hessian(loss, params, **options)
    return QuadraticModel(curvature.value, curvature.gradient, curvature)


@dataclass(frozen=True)
class StationaryPoint:
    """What a stationary point is.

    Attributes:
        kind: "minimum", "maximum", "saddle" or "degenerate".
        eigenvalues: of the Hessian, in rising order; only the least and the largest where there are over 1000.
    """

    kind: str
    eigenvalues: Array

    def __repr__(self) -> str:
        return presented(self, kind=self.kind, eigenvalues=self.eigenvalues)


def classify_stationary_point(
    loss: Tensor | Callable[..., Any],
    params: Tensor | Iterable[Tensor],
    *,
    tol: float = 1e-8,
    gradient_tol: float = 1e-6,
    **options: Any,
) -> StationaryPoint:
    """The kind of a stationary point, by the signs of the Hessian's eigenvalues.

    Eigenvalues of both signs make a saddle, even if others are zero. If none is zero, one sign makes a minimum or a
    maximum. Else the point is degenerate: second derivatives do not decide.

    Args:
        loss, params: as for `Hessian`; `options` too.
        tol: an eigenvalue counts as zero up to tol · max|λ|.
        gradient_tol: the gradient counts as zero up to gradient_tol · max|λ| · max(1, ‖w‖), about that relative
            distance from the stationary point.

    Raises:
        ValueError: if the gradient is not zero.
        numpy.linalg.LinAlgError: the curvature is not finite.

    >>> import autodiff as ad
    >>> w = ad.Tensor([0.0, 0.0], requires_grad=True)
    >>> classify_stationary_point(w[0] ** 2 - w[1] ** 2, w)
    StationaryPoint(kind='saddle', eigenvalues=array([-2.,  2.]))
    """
    where = "classify_stationary_point"
    H = Hessian(loss, params, **options)
    if H.size <= DENSE:
        values = np.linalg.eigvalsh(dense(symmetric(where, H)))
    else:
        values = np.array(extremes(where, H, 0.0, None))
    size = float(np.abs(values).max())
    slope = float(np.linalg.norm(H.gradient))
    reach = max(1.0, float(np.sqrt(sum(float(np.vdot(p.data, p.data)) for p in H.params))))
    if not slope <= gradient_tol * size * reach:
        raise ValueError(
            f"{where}: the gradient is not zero here (its norm is {slope:.6g}, the largest curvature {size:.6g}), "
            f"so this is no stationary point; go there first, or raise gradient_tol (now {gradient_tol:g})"
        )
    low, high = values[0], values[-1]
    zero = tol * size
    if low < -zero and high > zero:
        kind = "saddle"
    elif low > zero:
        kind = "minimum"
    elif high < -zero:
        kind = "maximum"
    else:
        kind = "degenerate"
    return StationaryPoint(kind, values)
