"""The natural gradient: the gradient seen in the geometry of the model's distribution, by Fisher products."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from autodiff import Tensor
from autodiff.backward import gradients
from autodiff.tensor import plain
from autodiff.transforms.flat import assign

from ..hyperparameters import at_least, hyperparameters, one_of, optional, positive, within
from .base import SecondOrder
from .conjugate_gradient import conjugate_gradients, norm


class NaturalGradient(SecondOrder):
    """Natural gradient descent: with the Fisher matrix F of the model's distribution,

        d = −(F + λI)⁻¹ g        by conjugate gradients, up to a relative residual
        w ← w + min(η, √(2 κ / dᵀFd)) d

    so that no step changes the distribution by more than about κ, in Kullback–Leibler divergence for each sample. The
    loss is not evaluated again, so that mini-batches will do.

    Args:
        params: parameters (one group of them).
        lr: η.
        damping: λ, greater than 0, in the units of F, which is scaled like a mean over samples.
        max_kl: κ; None for no limit.
        kind: of Fisher matrix: "exact", "mc" (targets drawn from the model) or "empirical" (the loss's own gradients).
        likelihood: "softmax" (the output holds logits, classes along the last axis) or "gaussian" (means, variance 1).
        samples: for "mc", targets drawn for each sample.
        cg_tol: the relative residual at which conjugate gradients end.
        cg_max: products in one step at most.
        weight_decay: μ of a penalty ½ μ ‖w‖².
        preconditioner: ``preconditioner(damping)`` is called in each step and returns a guess of the damped curvature's
            inverse, such as ``KFAC(...).inverse(damping)`` (`autodiff.curvature`). It is no part of a snapshot.
        rng: for "mc": a `numpy.random.Generator`, a seed or None.

    `step` needs a closure that returns the pair (output, loss), the loss being the mean over samples of −log p of the
    distribution whose parameters the output holds (cross-entropy; ½ ‖output − target‖² averaged over the first axis).
    It need not call backward, and is called once. Returns the loss before the step. For the empirical kind of a loss
    that ignores some targets or weights them, ``step(closure, count)`` is told what its mean divides by, in place of
    the number of samples: ``criterion.count(target)`` for the losses of nn.

    Raises:
        TypeError, ValueError: hyper-parameters out of range, several groups, a closure that returns anything else.
        FloatingPointError: loss or gradient are not finite.
        numpy.linalg.LinAlgError: F is not finite. The parameters are as before.

    Source: Amari, "Natural gradient works efficiently in learning", 1998; Martens, "New insights and perspectives on
    the natural gradient method", 2020.

    >>> import numpy as np, autodiff as ad, optim
    >>> X, y = np.array([[1.0], [100.0]]), np.array([[3.0], [300.0]])
    >>> w = ad.Tensor([[0.0]], requires_grad=True)
    >>> optimizer = optim.NaturalGradient([w], likelihood="gaussian", max_kl=None)
    >>> def closure():
    ...     output = X @ w
    ...     return output, 0.5 * ((output - y) ** 2).sum() / len(X)
    >>> loss = optimizer.step(closure)
    >>> w.numpy().round(4)
    array([[3.]])
    """

    pair = True
    limits = (
        at_least(0, "lr", "weight_decay")
        | positive("damping")
        | optional(positive("max_kl"))
        | one_of(("exact", "mc", "empirical"), "kind")
        | one_of(("softmax", "gaussian"), "likelihood")
        | at_least(1, "samples", "cg_max")
        | within(0, 0.99, "cg_tol")
    )

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        damping: float = 1e-3,
        *,
        max_kl: float | None = 0.1,
        kind: str = "exact",
        likelihood: str = "softmax",
        samples: int = 1,
        cg_tol: float = 1e-2,
        cg_max: int = 100,
        weight_decay: float = 0.0,
        preconditioner: Callable[[float], Any] | None = None,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        defaults = hyperparameters(locals())
        self.rng = np.random.default_rng(defaults.pop("rng"))
        super().__init__(params, defaults)

    def step(self, closure: Callable[[], Any] | None = None, count: float | None = None) -> Any:
        """Make one step; returns the loss before it, as the closure did."""
        from autodiff.curvature import Fisher  # needs SciPy

        output, loss, x, g = self.opened(closure)
        group, params = self.param_groups[0], self._all()
        if not output.requires_grad:
            raise ValueError("NaturalGradient.step: the output that the closure returned was not recorded")
        fisher = Fisher(
            output, _linear(output, loss, self.share) if group["kind"] == "empirical" else None, params,
            kind=group["kind"], likelihood=group["likelihood"], samples=int(group["samples"]), rng=self.rng,
            damping=float(group["damping"]) + float(group["weight_decay"]), count=lambda: count, comm=self.comm,
        )  # fmt: skip
        d, r = np.zeros_like(g), -g
        for step in conjugate_gradients(
            fisher.matvec,
            -g,
            tol=float(group["cg_tol"]) * norm(g),
            most=int(group["cg_max"]),
            inverse=self.preconditioner_at(fisher.damping),
        ):
            if step.curvature <= 0:  # rounding alone can do that: F is positive semi-definite
                break
            d, r = step.end, step.residual
        t = float(group["lr"])
        if group["max_kl"] is not None:
            change = float(d @ (-g - r)) - fisher.damping * float(d @ d)  # dᵀFd
            if change > 0:
                t = min(t, math.sqrt(2 * float(group["max_kl"]) / change))
        assign(params, x + x.dtype.type(t) * d)
        return loss


def _linear(output: Tensor, loss: Tensor, share: float) -> Callable[[Any], Any]:
    """A function of the output with the gradient of the recorded loss, of which that is a share; it is all that the
    empirical form takes."""
    slope = gradients(loss, output, allow_unused=True)[0]
    if slope is None:
        raise ValueError("NaturalGradient.step: the loss was not computed from the output returned with it")
    constant = plain(slope) / loss.dtype.type(share)
    return lambda z: (z * constant).sum()
