"""Conjugate gradients for A x = b, one step at a time, and the path they take, from which a shorter step can be had.

Who uses `conjugate_gradients` decides when to stop and what negative curvature means to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..array import Array

SPACING = 1.3
"""A path keeps a point when it is this much longer, or comes this much later, than the one before."""


class CGStep(NamedTuple):
    """One step of conjugate gradients, from `start` along `direction`.

    Attributes:
        start: where it begins, x.
        direction: d, conjugate to those before.
        product: A d.
        curvature: dᵀAd, not positive if A is not positive definite.
        alpha: rᵀz / dᵀAd, so that x + α d is stationary along d.
        end: x + α d.
        residual: b − A (x + α d).
    """

    start: Array
    direction: Array
    product: Array
    curvature: float
    alpha: float
    end: Array
    residual: Array


def conjugate_gradients(
    product: Callable[[Array], Array], b: Array, x: Array | None = None, *, tol: float = 0.0, most: int | None = None,
    inverse: Callable[[Array], Array] | None = None,
) -> Iterator[CGStep]:  # fmt: skip
    """The steps of conjugate gradients towards the solution of A x = b::

        r = b − A x,  d = z = M r;   then   α = rᵀz / dᵀAd,  x ← x + α d,  r' = r − α A d,  z' = M r',
        d ← z' + (r'ᵀz' / rᵀz) d,  r ← r',  z ← z'

    Args:
        product: v ↦ A v, A symmetric, with vectors of shape (n,).
        b: the right side, shape (n,).
        x: where to begin; 0 by default.
        tol: ends when ‖r‖ ≤ tol.
        most: ends after so many steps; by default n.
        inverse: r ↦ M r, the preconditioner, a positive definite guess of A⁻¹; M = I by default.

    Curvature is not tested: with an indefinite A a step may lead up, and the caller looks at its `curvature`. A step
    whose curvature is exactly 0 ends where it starts, and is the last.

    Raises:
        numpy.linalg.LinAlgError: a product is not finite.

    Source: Hestenes & Stiefel, "Methods of conjugate gradients for solving linear systems", 1952.

    >>> A = np.array([[4.0, 1.0], [1.0, 3.0]])
    >>> [step.end.round(4).tolist() for step in conjugate_gradients(A.dot, np.array([1.0, 2.0]))]
    [[0.25, 0.5], [0.0909, 0.6364]]
    """
    if x is None:
        x, r = np.zeros_like(b), b
    else:
        r = b - finite(product(x))
    d = z = r if inverse is None else inverse(r)
    square = float(r @ z)
    for _ in range(b.size if most is None else most):
        if float(r @ r) <= tol * tol or square == 0:
            return
        Ad = finite(product(d))
        curvature = float(d @ Ad)
        alpha = square / curvature if curvature else 0.0
        start, x, r = x, x + alpha * d, r - alpha * Ad
        yield CGStep(start, d, Ad, curvature, alpha, x, r)
        if not curvature:
            return
        z = r if inverse is None else inverse(r)
        before, square = square, float(r @ z)
        d = z + (square / before) * d


def finite(product: Array) -> Array:
    """A product of the curvature, after checking it."""
    if not np.isfinite(product).all():
        raise np.linalg.LinAlgError(
            "the curvature is not finite: its product with a finite vector has NaN or infinite entries; "
            "are the loss and its second derivatives finite at these parameters?"
        )
    return product


class Path:
    """The way conjugate gradients took from 0 or a warm start, thinned out: points x with their residuals r = b − A x.

    Between two points both are linear, so that the model ½ xᵀAx − bᵀx = −½ xᵀ(b + r) is known all along, without
    another product with A.
    """

    def __init__(self, b: Array, x: Array, r: Array) -> None:
        self.b = b
        self.points: list[tuple[Array, Array]] = [(x, r)]

    def add(self, x: Array, r: Array) -> None:
        """Go on to a point."""
        self.points.append((x, r))

    def extend(self, x: Array, r: Array) -> None:
        """Go on to a point; the last one is dropped if the one before it is nearly as long."""
        if len(self.points) > 2 and norm(x) < SPACING * norm(self.points[-2][0]):
            self.points.pop()
        self.points.append((x, r))

    def decrease(self, x: Array, r: Array) -> float:
        """By how much the model falls from 0 to x: ½ xᵀ(b + r)."""
        return 0.5 * float(x @ (self.b + r))

    def within(self, radius: float) -> tuple[Array, float]:
        """The last point no longer than `radius` of a path whose points grow, and the model's decrease there."""
        a, ra = self.points[0]
        for x, r in self.points[1:]:
            if norm(x) > radius:
                t = to_sphere(a, x - a, radius)
                a, ra = a + t * (x - a), ra + t * (r - ra)
                break
            a, ra = x, r
        return a, self.decrease(a, ra)


def to_sphere(x: Array, d: Array, radius: float) -> float:
    """The t ≥ 0 with ‖x + t d‖ = radius, for an x within."""
    a, b, c = float(d @ d), float(x @ d), max(radius * radius - float(x @ x), 0.0)
    root = float(np.sqrt(b * b + a * c))
    return c / (b + root) if b > 0 else (root - b) / a  # of the two forms the one that does not cancel


def norm(x: Any) -> float:
    """‖x‖."""
    return float(np.linalg.norm(x))
