"""Newton's method with the whole Hessian, for small problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from autodiff import Tensor
from autodiff.transforms.flat import assign

from ..array import Array
from ..hyperparameters import at_least, hyperparameters, one_of
from .base import SecondOrder, point, rounding
from .conjugate_gradient import norm

LARGEST = 10_000
"""More parameters than this are refused: the Hessian would not fit."""


class Newton(SecondOrder):
    """Newton's method: with the Hessian H, its eigenvalues λ and eigenvectors q,

        w ← w − t η Σ q (qᵀ∇f) / |λ|

    which is w − η H⁻¹∇f where H is positive definite. With H⁻¹ as it is, Newton–Raphson goes to any stationary point,
    saddles and maxima too; |λ| in place of λ makes every step lead down.

    Args:
        params: parameters (one group of them), at most 10,000 entries.
        lr: η.
        damping: added to every eigenvalue.
        indefinite: what to do about eigenvalues below 0. "abs": take |λ|. "raise": LinAlgError. "keep": take λ as it
            is, Newton–Raphson; a step that leads up is then taken as well, and not searched along.
        line_search: halve t, from 1, until the loss decreases enough (Armijo, 1e-4); if nothing does, the parameters
            stay. With False t is 1.

    `step` needs a closure that computes the loss and returns it; it need not call backward (one that does works, and
    wastes it). It is called once more for each t that is tried. Returns the loss before the step.

    Along directions without curvature (|λ| ≤ n ε max|λ|) the step is 0: for parameters without influence, say. If the
    loss falls along them, no Newton step exists: LinAlgError; damping helps.

    Raises:
        TypeError, ValueError: hyper-parameters out of range, several groups, too many parameters, a closure that
            returns no loss.
        FloatingPointError: loss or gradient are not finite before the step.
        numpy.linalg.LinAlgError: the Hessian is not finite, singular along the gradient, or indefinite when that is
            not allowed. The parameters are as before.

    Source: Nocedal & Wright, "Numerical optimization", 2006, section 3.4; Dauphin et al., "Identifying and attacking
    the saddle point problem in high-dimensional non-convex optimization", 2014.

    >>> import autodiff as ad, optim
    >>> x = ad.Tensor([3.0, 3.0], requires_grad=True)
    >>> optimizer = optim.Newton([x])
    >>> optimizer.step(lambda: (x**2).sum()).item()
    18.0
    >>> x
    Tensor([0., 0.], requires_grad=True)
    """

    limits = at_least(0, "lr", "damping") | one_of(("abs", "raise", "keep"), "indefinite")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        damping: float = 0.0,
        *,
        indefinite: str = "abs",
        line_search: bool = True,
    ) -> None:
        super().__init__(params, hyperparameters(locals()))

    def check(self, options: dict[str, Any]) -> None:
        """Raise TypeError or ValueError for hyper-parameters out of range, or too many parameters."""
        super().check(options)
        size = sum(p.size for p in options["params"] if isinstance(p, Tensor))
        if size > LARGEST:
            raise ValueError(
                f"Newton: {size} parameter entries would need a Hessian of {size} × {size}; use NewtonCG, which only "
                f"needs products"
            )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; returns the loss before it, as the closure did."""
        from autodiff.curvature import Hessian  # needs SciPy

        _, loss = self.recorded(closure)
        assert closure is not None
        group, params = self.param_groups[0], self._all()
        hessian = Hessian(loss, params, reduction="sum", comm=self.comm)
        g = self.finite_gradient(hessian.gradient).astype(float)
        matrix = hessian.to_dense().astype(float)
        x, f = point(params), hessian.value
        del hessian
        d = self._direction(matrix, g, norm(x)).astype(x.dtype)
        slope = float(g @ d)
        lr = float(group["lr"])
        with self.guarded(x):
            if group["line_search"] and slope < 0:
                self.backtrack(closure, x, d, f, slope, rounding(loss, f), t=lr)
            else:
                assign(params, x + x.dtype.type(lr) * d)
        return loss

    def _direction(self, matrix: Array, g: Array, size: float) -> Array:
        group = self.param_groups[0]
        if not np.isfinite(matrix).all():
            raise np.linalg.LinAlgError("Newton.step: the Hessian has NaN or infinite entries; parameters as before")
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        values = values + float(group["damping"])
        low, high = float(values[0]), float(np.abs(values).max())
        zero = len(values) * float(np.finfo(float).eps) * high
        if low < -zero and group["indefinite"] == "raise":
            raise np.linalg.LinAlgError(
                f"Newton.step: the Hessian is indefinite, its eigenvalues run from {low:.6g} to {values[-1]:.6g}, so "
                f"the step would not lead to a minimum; add damping (over {-low:.3g}), or pass indefinite='abs'"
            )
        flat = np.abs(values) <= zero
        along = vectors.T @ g
        slope = norm(along[flat])
        if slope > max(1e-8 * norm(g), 100 * zero * max(1.0, size)):
            raise np.linalg.LinAlgError(
                f"Newton.step: the Hessian is singular: the gradient (norm {norm(g):.6g}) has a part of {slope:.6g} "
                f"along {int(flat.sum())} directions without curvature, where there is no Newton step; add damping"
            )
        divisor = values if group["indefinite"] == "keep" else np.abs(values)
        return -(vectors @ np.where(flat, 0.0, along / np.where(flat, 1.0, divisor)))
