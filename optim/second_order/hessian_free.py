"""Hessian-free optimisation: Gauss–Newton steps by conjugate gradients, with damping that adapts itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from autodiff.transforms.flat import assign

from ..array import Array
from ..hyperparameters import at_least, hyperparameters, positive, within
from .base import SecondOrder
from .conjugate_gradient import SPACING, Path, conjugate_gradients, norm


class HessianFree(SecondOrder):
    """Hessian-free optimisation: a step p that about minimises the damped Gauss–Newton model

        m(p) = f + gᵀp + ½ pᵀ(G + λI)p,    G = Jᵀ H J

    with J the Jacobian of the model's output by the parameters and H the Hessian of the loss by the output. G is
    positive semi-definite where the loss is convex in the output. The parts:

    - Conjugate gradients on (G + λI) p = −g begin at `warm_start` times the last solution, and end when the last k of i
      steps brought too little: (m_i − m_{i−k}) / (m_i − f) < k `progress`, k = max(10, i / 10).
    - They are preconditioned by the inverse L-BFGS matrix of up to `memory` directions of the last solution, whose
      products with G are there already (Morales & Nocedal).
    - Backtracking: of the points they went through (every 1.3-fold number of steps), from the last one back as long as
      the loss, computed anew, decreases. Then p is shrunk by 0.8 until the loss is below f (Armijo, 0.01).
    - Levenberg–Marquardt: with ρ = (f(w) − f(w + p)) / (m(0) − m(p)), m without damping, λ becomes λ / `factor` if
      ρ > ¾, and λ · `factor` if ρ < ¼. It stays above what rounding hides beside the
      largest curvature.
    - Should a loss that is not convex in the output make G indefinite, λ is raised as far as conjugate gradients ask.

    Args:
        params: parameters (one group of them).
        damping: λ at first, greater than 0; the present one is in ``param_groups[0]["damping"]``. In the units of the
            curvature: for a mean loss less than for a sum.
        factor: of λ's change.
        cg_max: products in one step at most. Training gets on faster with about 30, since the next step begins where
            this one ended.
        progress: see above.
        warm_start: from 0 (begin at 0) to 1.
        memory: directions that precondition the next solution; 0 for none.
        preconditioner: ``preconditioner(damping)`` is called in each step and returns a guess of the damped curvature's
            inverse, such as ``KFAC(...).inverse(damping)`` (`autodiff.curvature`), in the
            place of the one that is made of directions. It is no part of a snapshot.
        weight_decay: μ of a penalty ½ μ ‖w‖², which belongs here rather than into the loss, whose curvature is taken by
            way of the output only.

    `step` needs a closure that returns the pair (output, loss): the model's output, a Tensor of any shape, and the loss
    computed from that Tensor. Where these two are cut is where the Gauss–Newton approximation is made: logits and
    cross-entropy, say. It need not call backward (one that does works, and wastes it). It is called once more for each
    trial point. `step` returns the loss before the step, as the closure did (without the penalty).

    ``step(closure, curvature=other)`` takes G from another closure of the same kind, such as one of fewer samples,
    which makes the products cheaper; gradient and trials remain the first one's.

    Raises:
        TypeError, ValueError: hyper-parameters out of range, several groups, a closure that returns anything else, or a
            loss that was not computed from the output.
        FloatingPointError: loss or gradient are not finite before the step; a trial point is merely not taken.
        numpy.linalg.LinAlgError: the curvature is not finite. The parameters are as before.

    Source: Martens, "Deep learning via Hessian-free optimization", 2010; Martens & Sutskever, "Training deep and
    recurrent networks with Hessian-free optimization", 2012.

    >>> import numpy as np, autodiff as ad, optim
    >>> X, y = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([3.0, 4.0])
    >>> w = ad.Tensor([0.0, 0.0], requires_grad=True)
    >>> optimizer = optim.HessianFree([w], damping=1e-3)
    >>> def closure():
    ...     output = X @ w
    ...     return output, ((output - y) ** 2).sum()
    >>> for _ in range(10):
    ...     loss = optimizer.step(closure)
    >>> w.numpy().round(6).tolist()
    [3.0, 2.0]
    """

    pair = True
    limits = (
        positive("damping")
        | at_least(1, "factor", "cg_max")
        | within(0, 1, "progress", "warm_start")
        | at_least(0, "memory", "weight_decay")
    )

    def __init__(
        self,
        params: Iterable[Any],
        damping: float = 1.0,
        *,
        factor: float = 1.5,
        cg_max: int = 100,
        progress: float = 5e-4,
        warm_start: float = 0.95,
        memory: int = 20,
        weight_decay: float = 0.0,
        preconditioner: Callable[[float], Any] | None = None,
    ) -> None:
        super().__init__(params, hyperparameters(locals()))

    def step(self, closure: Callable[[], Any] | None = None, curvature: Callable[[], Any] | None = None) -> Any:
        """Make one step; returns the loss before it, as the closure did."""
        output, loss, x, g = self.opened(closure)
        assert closure is not None
        f, noise = self.height(loss, x)
        if not g.any():
            return loss
        with self.guarded(x):
            product = self.gauss_newton(*((output, loss) if curvature is None else self.recorded(curvature)))
            del output
            path = self._solve(product, -g)
            del product  # and with it the graph
            self._backtrack(closure, x, f, g, path, noise)
        return loss

    def _solve(self, product: Callable[[Array], Array], b: Array) -> Path:
        """The way of conjugate gradients, thinned out, with damping raised where they meet negative curvature."""
        group = self.param_groups[0]
        start = self.memory.get("direction")
        start = np.zeros_like(b) if start is None else (float(group["warm_start"]) * start).astype(b.dtype)
        while True:
            shift = b.dtype.type(group["damping"] + group["weight_decay"])

            def damped(v: Array, shift: Any = shift) -> Array:
                return np.asarray(product(v) + shift * v)

            path, lacking = self._path(damped, b, start, float(shift))
            if not lacking:
                self.memory["direction"] = path.points[-1][0]
                return path
            group["damping"] = float(group["damping"]) + 2 * lacking
            start = np.zeros_like(b)

    def _path(self, product: Callable[[Array], Array], b: Array, start: Array, shift: float) -> tuple[Path, float]:
        """The points that the path keeps, and by how much the damping must grow (0: it suffices)."""
        group = self.param_groups[0]
        r = b - product(start) if start.any() else b
        if not float(start @ (b + r)) >= 0:  # a warm start that is worse than none
            start, r = np.zeros_like(b), b
        path = Path(b, start, r)
        fallen = [path.decrease(start, r)]
        kept, end = 1.0, (start, r)
        inverse = self.preconditioner_at(shift) or self._preconditioner(shift)
        pairs, spacing, steepest = [], 1, 0.0
        steps = conjugate_gradients(product, b, start, most=int(group["cg_max"]), tol=1e-12 * norm(b), inverse=inverse)
        for i, step in enumerate(steps, 1):
            square = float(step.direction @ step.direction)
            if not square:  # underflow: next to a minimum the gradient's square is less than the least number
                break
            if step.curvature <= 0:
                floor = float(np.finfo(b.dtype).eps) * norm(step.product) / math.sqrt(square)
                return path, max(-step.curvature / square, floor, float(group["damping"]))
            if i % spacing == 0 and group["memory"]:
                pairs.append((step.direction, step.product - step.direction.dtype.type(shift) * step.direction))
                if len(pairs) > group["memory"]:
                    pairs, spacing = pairs[1::2], 2 * spacing
            steepest = max(steepest, step.curvature / square)
            end = step.end, step.residual
            fallen.append(path.decrease(*end))
            if i >= kept:
                path.add(*end)
                kept = math.ceil(max(kept * SPACING, kept + 1))
            k = max(10, i // 10)
            if i > k and fallen[i] > 0 and fallen[i] - fallen[i - k] < k * float(group["progress"]) * fallen[i]:
                break
        if path.points[-1][0] is not end[0]:
            path.add(*end)
        if pairs:
            self.memory["directions"], self.memory["products"] = (np.array(side) for side in zip(*pairs))
        self.negligible = float(np.finfo(b.dtype).eps) * steepest
        return path, 0.0

    def _preconditioner(self, shift: float) -> Callable[[Array], Array] | None:
        """The inverse of G + shift I as the directions d and products y = (G + shift I) d of the last solution show it:

        r ↦ Pᵀ γ P r + Σ d (dᵀr) / dᵀy,   P = I − Σ y dᵀ / dᵀy,   γ = dᵀy / yᵀy of the last
        """
        if "directions" not in self.memory:
            return None
        D = self.memory["directions"]
        Y = self.memory["products"] + D.dtype.type(shift) * D
        curvature = np.einsum("ij,ij->i", D, Y)
        keep = curvature > 0
        D, Y, curvature = D[keep], Y[keep], curvature[keep]
        if not len(D):
            return None
        gamma = curvature[-1] / (Y[-1] @ Y[-1])

        def inverse(r: Array) -> Array:
            a = (D @ r) / curvature
            z = gamma * (r - a @ Y)
            return np.asarray(z + (a - (Y @ z) / curvature) @ D)

        return inverse

    def _backtrack(self, closure: Callable[[], Any], x: Array, f: float, g: Array, path: Path, noise: float) -> None:
        group = self.param_groups[0]
        points = path.points[:0:-1] or path.points
        p, r = points[0]
        value = self.trial(closure, x + p)
        for other in points[1:]:
            earlier = self.trial(closure, x + other[0])
            if not earlier < value:
                break
            (p, r), value = other, earlier
        predicted = path.decrease(p, r) + 0.5 * float(group["damping"]) * float(p @ p)
        ratio = (f - value + noise) / (predicted + noise) if predicted > 0 else -math.inf
        slope = float(g @ p)
        if value <= f + 0.01 * slope + noise:
            assign(self._all(), x + p)
        else:
            t, _ = self.backtrack(closure, x, p, f, min(slope, 0.0), noise, t=0.8, shrink=0.8, c=0.01)
            if not t:
                self.memory.pop("direction", None)
        if ratio > 0.75:
            lower = max(float(group["damping"]) / float(group["factor"]), self.negligible, 1e-300)
            group["damping"] = min(float(group["damping"]), lower)
        elif not ratio >= 0.25:
            group["damping"] = float(group["damping"]) * float(group["factor"])
