"""Newton's method without the Hessian's matrix: its system solved by truncated conjugate gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from autodiff.transforms.flat import assign

from ..array import Array
from ..hyperparameters import at_least, hyperparameters, one_of, optional, positive, require, within
from .base import SecondOrder, point, rounding
from .conjugate_gradient import Path, conjugate_gradients, norm, to_sphere


class NewtonCG(SecondOrder):
    """Newton–CG: a step p that about minimises the model m(p) = f + gᵀp + ½ pᵀHp, by conjugate gradients on H p = −g,
    one Hessian–vector product each, which are truncated where ‖H p + g‖ ≤ min(½, √‖g‖) ‖g‖, and safeguarded:

    - "trust_region" (Steihaug): ‖p‖ stays within a radius. Conjugate gradients end where they would leave it; on
      negative curvature they follow that direction to the boundary, which leads away from saddles. With
      ρ = (f(w) − f(w + p)) / (m(0) − m(p)), the radius becomes ‖p‖ / 4 if ρ < ¼, and doubles if ρ > ¾ at the boundary.
      p is taken if ρ > `accept`; otherwise the path to it is followed to the smaller radius, which costs a loss but no
      product.
    - "line_search": conjugate gradients end on negative curvature with what they have (−g if they have nothing), and
      the step along p is halved, from 1, until the loss decreases enough (Armijo, 1e-4).

    Args:
        params: parameters (one group of them).
        strategy: "trust_region" or "line_search".
        radius: of the trust region at first; the present one is in ``param_groups[0]["radius"]``.
        max_radius: of the trust region at most.
        accept: the least ρ of a step that is taken, below ¼.
        cg_tol: fixed relative residual in place of min(½, √‖g‖).
        cg_max: products in one step at most; by default 10 for each parameter entry (without rounding 1
            would do), but at most 1000.
        damping: added to the curvature.
        preconditioner: ``preconditioner(damping)`` is called in each step and returns a guess of the damped curvature's
            inverse, such as ``KFAC(...).inverse(damping)`` (`autodiff.curvature`). It is no part of a snapshot.

    `step` needs a closure that computes the loss and returns it; it need not call backward (one that does works, and
    wastes it). It is called once more for each trial point. Returns the loss before the step. Where nothing decreases
    the loss any more (as far as rounding lets see), the parameters stay.

    Raises:
        TypeError, ValueError: hyper-parameters out of range, several groups, a closure that returns no loss.
        FloatingPointError: loss or gradient are not finite before the step; a trial point is merely not taken.
        numpy.linalg.LinAlgError: the curvature is not finite. The parameters are as before.

    Source: Steihaug, "The conjugate gradient method and trust regions in large scale optimization", 1983; Nocedal &
    Wright, "Numerical optimization", 2006, algorithms 4.1, 7.1 and 7.2.

    >>> import autodiff as ad, optim
    >>> x = ad.Tensor([-1.2, 1.0], requires_grad=True)
    >>> def closure():
    ...     return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
    >>> optimizer = optim.NewtonCG([x])
    >>> for _ in range(30):
    ...     loss = optimizer.step(closure)
    >>> x.numpy().round(9).tolist()
    [1.0, 1.0]
    """

    limits = (
        one_of(("trust_region", "line_search"), "strategy")
        | positive("radius")
        | within(0, 0.249, "accept")
        | optional(within(0, 0.99, "cg_tol") | at_least(1, "cg_max"))
        | at_least(0, "damping")
    )

    def __init__(
        self,
        params: Iterable[Any],
        strategy: str = "trust_region",
        *,
        radius: float = 1.0,
        max_radius: float = 1e6,
        accept: float = 1e-3,
        cg_tol: float | None = None,
        cg_max: int | None = None,
        damping: float = 0.0,
        preconditioner: Callable[[float], Any] | None = None,
    ) -> None:
        super().__init__(params, hyperparameters(locals()))

    def check(self, options: dict[str, Any]) -> None:
        """Raise TypeError or ValueError for hyper-parameters out of range, or that do not go together."""
        super().check(options)
        require("NewtonCG", options, at_least(options["radius"], "max_radius"))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; returns the loss before it, as the closure did."""
        from autodiff.curvature import Hessian  # needs SciPy

        _, loss = self.recorded(closure)
        assert closure is not None
        group, params = self.param_groups[0], self._all()
        hessian = Hessian(loss, params, reduction="sum", damping=group["damping"], comm=self.comm)
        g, x, f = self.finite_gradient(hessian.gradient), point(params), hessian.value
        steepness = norm(g)
        if steepness == 0:
            return loss
        tol = steepness * (min(0.5, math.sqrt(steepness)) if group["cg_tol"] is None else float(group["cg_tol"]))
        most = min(10 * g.size, 1000) if group["cg_max"] is None else int(group["cg_max"])
        noise = rounding(loss, f)
        with self.guarded(x):
            inverse = self.preconditioner_at(float(group["damping"]))
            if group["strategy"] == "line_search":
                d = truncated(hessian.matvec, -g, tol, most, inverse)
                self.backtrack(closure, x, d, f, float(g @ d), noise)
            else:
                path = steihaug(hessian.matvec, -g, float(group["radius"]), tol, most, inverse)
                del hessian  # and with it the graph: a shorter step is found on the path
                self._within_radius(closure, x, f, path, noise)
        return loss

    def _within_radius(self, closure: Callable[[], Any], x: Array, f: float, path: Path, noise: float) -> None:
        group, resolution = self.param_groups[0], float(np.finfo(x.dtype).eps) * max(norm(x), 1e-300)
        while True:
            radius = float(group["radius"])
            p, predicted = path.within(radius)
            length = norm(p)
            ratio = (f - self.trial(closure, x + p) + noise) / (predicted + noise) if predicted > 0 else -math.inf
            if not ratio >= 0.25:
                group["radius"] = max(length / 4, math.ulp(0.0))
            elif ratio > 0.75 and length >= 0.999 * radius:
                group["radius"] = min(2 * radius, float(group["max_radius"]))
            if ratio > group["accept"]:
                return
            if length <= resolution or not length:
                group["radius"] = radius  # not the radius is to blame
                assign(self._all(), x)
                return


def steihaug(
    product: Callable[[Array], Array], b: Array, radius: float, tol: float, most: int,
    inverse: Callable[[Array], Array] | None = None,
) -> Path:  # fmt: skip
    """The path of conjugate gradients on A p = b from 0, whose points grow (preconditioned, nearly always), up to the
    radius: there because they would leave it, or because they met negative curvature and followed it."""
    path = Path(b, np.zeros_like(b), b)
    for step in conjugate_gradients(product, b, tol=tol, most=most, inverse=inverse):
        if step.curvature <= 0 or norm(step.end) >= radius:
            t = to_sphere(step.start, step.direction, radius)
            path.extend(step.start + t * step.direction, step.residual + (step.alpha - t) * step.product)
            break
        path.extend(step.end, step.residual)
    return path


def truncated(
    product: Callable[[Array], Array], b: Array, tol: float, most: int, inverse: Callable[[Array], Array] | None = None
) -> Array:
    """Conjugate gradients on A p = b from 0 that end on negative curvature with what they have; b (preconditioned)
    at first."""
    p = b if inverse is None else inverse(b)
    for step in conjugate_gradients(product, b, tol=tol, most=most, inverse=inverse):
        if step.curvature <= 0:
            break
        p = step.end
    return p
