"""KFAC: natural gradient steps with a Kronecker product for each weight in the place of the Fisher matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from autodiff.transforms.flat import assign

from ..array import Array
from ..hyperparameters import at_least, hyperparameters, one_of, positive, within
from .base import SecondOrder


class KFAC(SecondOrder):
    """Kronecker-factored approximate curvature: with B ⊗ A the factors of each weight (see `autodiff.curvature.KFAC`),
    averaged over the steps,

        d = −(B + √γ/π I)⁻¹ ⊗ (A + π √γ I)⁻¹ g
        p = α d + μ p′,   w ← w + p

    where p′ is the step before, and α and μ are those for which the model m(p) = gᵀp + ½ pᵀ(G + λI)p with the
    Gauss–Newton matrix G itself is least: two products with it make learning rate and momentum.

    - Of a factor, the average is ε · the average + (1 − ε) · the new one, ε = min(1 − 1/k, `decay`) in step k.
    - λ is Levenberg and Marquardt's: with ρ = (f(w) − f(w + p)) / (m(0) − m(p)), m without damping, it becomes
      λ / `factor` if ρ > ¾, and λ · `factor` if ρ < ¼.
    - γ is λ at first. With every new inverse it is divided or multiplied by `factor` to the power of `every`, or stays,
      as makes m(p) least. Neither is ever less than `min_damping`.
    - A step that does not make the loss less is not taken: it is halved until one does, and p′ forgotten.

    Args:
        params: parameters (one group of them).
        damping: λ at first, greater than 0; the present one is in ``param_groups[0]["damping"]``.
        min_damping: λ and γ at least; greater than 0.
        factor: of λ's change.
        decay: ε at most.
        every: steps from one inverse of the factors to the next.
        momentum: whether p′ takes part.
        kind: of the factors: "mc" (targets drawn from the model, one backward pass for each) or "exact".
        likelihood: "softmax" (the output holds logits, classes along the last axis) or "gaussian" (means, variance 1).
        samples: for "mc", targets drawn for each sample.
        sharing: "expand" or "reduce".
        weight_decay: ν of a penalty ½ ν ‖w‖².
        rng: for "mc": a `numpy.random.Generator`, a seed or None.

    `step` needs a closure that returns the pair (output, loss), the loss a mean over the samples of −log p, say
    cross-entropy, or ½ ‖output − target‖² averaged over the first axis. It need not call backward, and is called once
    more for each trial point. Returns the loss before the step. ``step(closure, curvature=other)`` takes the factors
    and G from another closure of the same kind, such as one of fewer samples.

    A snapshot has the averaged factors and the last step: who loads it goes on as if nothing had been.

    Raises:
        TypeError, ValueError: hyper-parameters out of range, several groups, a closure that returns anything else; a
            parameter that is no weight and too large (see `autodiff.curvature.KFAC`).
        FloatingPointError: loss or gradient are not finite before the step; a trial point is merely not taken.
        numpy.linalg.LinAlgError: the curvature is not finite. The parameters are as before.

    Source: Martens & Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", 2015.

    >>> import numpy as np, autodiff as ad, optim
    >>> X, y = np.array([[1.0], [100.0]]), np.array([[3.0], [300.0]])
    >>> w = ad.Tensor([[0.0]], requires_grad=True)
    >>> optimizer = optim.KFAC([w], damping=1e-5, likelihood="gaussian")
    >>> def closure():
    ...     output = X @ w
    ...     return output, 0.5 * ((output - y) ** 2).sum() / len(X)
    >>> loss = optimizer.step(closure)
    >>> w.numpy().round(4)
    array([[3.]])
    """

    pair = True
    limits = (
        positive("damping", "min_damping")
        | at_least(1, "factor", "every", "samples")
        | within(0, 1, "decay")
        | one_of(("mc", "exact"), "kind")
        | one_of(("softmax", "gaussian"), "likelihood")
        | one_of(("expand", "reduce"), "sharing")
        | one_of((True, False), "momentum")
        | at_least(0, "weight_decay")
    )

    def __init__(
        self,
        params: Iterable[Any],
        damping: float = 0.1,
        *,
        min_damping: float = 1e-5,
        factor: float = 1.05,
        decay: float = 0.95,
        every: int = 5,
        momentum: bool = True,
        kind: str = "mc",
        likelihood: str = "softmax",
        samples: int = 1,
        sharing: str = "expand",
        weight_decay: float = 0.0,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        defaults = hyperparameters(locals())
        seed = int(np.random.default_rng(defaults.pop("rng")).integers(2**63))
        super().__init__(params, defaults)
        self.memory |= {"seed": seed, "steps": 0}
        self._factors: Any = None  # what follows from the memory
        self._inverse: Any = None

    def step(self, closure: Callable[[], Any] | None = None, curvature: Callable[[], Any] | None = None) -> Any:
        """Make one step; returns the loss before it, as the closure did."""
        output, loss, x, g = self.opened(closure)
        assert closure is not None
        if not g.any():
            return loss
        f, noise = self.height(loss, x)
        with self.guarded(x):
            output, other = (output, loss) if curvature is None else self.recorded(curvature)
            product = self.gauss_newton(output, other)
            p, fall = self._proposed(output, product, g)
            del output, other, product  # and with them the graphs
            self._take(closure, x, f, g, p, fall, noise)
        self.memory["steps"] += 1
        return loss

    def _proposed(self, output: Any, product: Callable[[Array], Array], g: Array) -> tuple[Array, float]:
        """The step, and by how much the model without damping falls."""
        group, memory = self.param_groups[0], self.memory
        self._average(output)
        inverses = [(memory["tikhonov"], self._inverse)]
        if memory["steps"] % int(group["every"]) == 0:
            by = float(group["factor"]) ** int(group["every"])
            tried = [max(memory["tikhonov"] * c, float(group["min_damping"])) for c in (1.0, 1 / by, by)]
            inverses = [(damping, self._factors.inverse(damping, heuristic=True)) for damping in tried]
        before = [memory["direction"]] if group["momentum"] and "direction" in memory else []
        bent = [product(d) for d in before]
        found = []
        for damping, inverse in inverses:
            d = -(inverse @ g).astype(g.dtype, copy=False)
            found.append((*self._best(np.array([d, *before]), np.array([product(d), *bent]), g), damping, inverse))
        _, p, fall, memory["tikhonov"], self._inverse = max(found, key=lambda one: one[0])
        return p, fall

    def _average(self, output: Any) -> None:
        """Bring the factors up to date, and every so many steps take them for the inverse."""
        from autodiff import curvature  # needs SciPy
        from autodiff.curvature.kronecker import Block, Kronecker

        group, params, memory = self.param_groups[0], self._all(), self.memory
        now = curvature.KFAC(
            output, None, params, kind=group["kind"], likelihood=group["likelihood"], samples=int(group["samples"]),
            sharing=group["sharing"], rng=np.random.default_rng([memory["seed"], memory["steps"]]), comm=self.comm,
        )  # fmt: skip
        before = memory.get("factors") or [(0.0, 0.0)] * len(now.blocks)
        if [np.shape(one[0]) for one in before] != [block.left.shape for block in now.blocks] and "factors" in memory:
            raise ValueError("KFAC.step: the graph uses the parameters in another way than in the step before")
        share = min(1 - 1 / (memory["steps"] + 1), float(group["decay"]))
        memory["factors"] = [
            (share * left + (1 - share) * block.left, share * right + (1 - share) * block.right)
            for (left, right), block in zip(before, now.blocks)
        ]
        if memory["steps"] % int(group["every"]) == 0:
            memory["inverted"], self._factors = memory["factors"], None
        if self._factors is None:
            blocks = [Block(block.places, *pair) for block, pair in zip(now.blocks, memory["inverted"])]
            self._factors = Kronecker(params, blocks)
            memory.setdefault("tikhonov", float(group["damping"]) + float(group["weight_decay"]))
            self._inverse = self._factors.inverse(memory["tikhonov"], heuristic=True)

    def _best(self, D: Array, G: Array, g: Array) -> tuple[float, Array, float]:
        """By how much the damped model falls, for the combination of the directions (rows, and their products) with
        which it falls most, this step, and by how much the model without damping falls."""
        group = self.param_groups[0]
        G = G + D.dtype.type(group["weight_decay"]) * D
        if not np.isfinite(G).all():
            raise np.linalg.LinAlgError("KFAC.step: the curvature is not finite: a product with it has NaN or infinity")
        bent, square = (D @ G.T).astype(float), (D @ D.T).astype(float)
        slope = (D @ g).astype(float)
        scale = np.sqrt(np.diag(square)).clip(math.ulp(0.0))  # one direction may be far longer than the other
        damped = (bent + float(group["damping"]) * square) / np.outer(scale, scale)
        a = np.linalg.lstsq(damped, -slope / scale, rcond=1e-7)[0] / scale
        most = float(-0.5 * slope @ a)
        return most, (a @ D).astype(g.dtype), float(-slope @ a - 0.5 * a @ bent @ a)

    def _take(
        self, closure: Callable[[], Any], x: Array, f: float, g: Array, p: Array, fall: float, noise: float
    ) -> None:
        group = self.param_groups[0]
        value = self.trial(closure, x + p)
        self.memory["direction"] = p
        ratio = (f - value + noise) / (fall + noise) if fall > 0 else -math.inf
        if value > f + noise:
            self.memory.pop("direction")
            self.backtrack(closure, x, p, f, min(float(g @ p), 0.0), noise, t=0.5)
        else:
            assign(self._all(), x + p)
        if ratio > 0.75:
            lower = max(float(group["damping"]) / float(group["factor"]), float(group["min_damping"]))
            group["damping"] = min(float(group["damping"]), lower)
        elif not ratio >= 0.25:
            group["damping"] = float(group["damping"]) * float(group["factor"])

    def load_state_dict(self, state_dict: Any) -> None:
        """Continue from a snapshot that `state_dict` took for parameters of the same number and shapes."""
        super().load_state_dict(state_dict)
        self._factors = self._inverse = None
