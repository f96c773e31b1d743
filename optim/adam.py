"""Adam: each parameter's step scaled by running moments of its gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .optimizer import Array, Optimizer, require, require_betas


class Adam(Optimizer):
    """Adam, in PyTorch's form.

    With learning rate η, decay rates β₁ and β₂ and weight decay λ, for each parameter w with gradient g at step t::

        g ← g + λ w
        m ← m + (1 − β₁) (g − m)
        v ← β₂ v + (1 − β₂) g²
        m̂ = m / (1 − β₁ᵗ),   v̂ = v / (1 − β₂ᵗ)      (with amsgrad: the largest v so far)
        w ← w − η m̂ / (√v̂ + ε)

    Args:
        params: parameters or groups of them.
        lr: η, at least 0.
        betas: (β₁, β₂), each in [0, 1).
        eps: ε, at least 0.
        weight_decay: λ, at least 0, added to the gradient.
        amsgrad: keep the largest v.
        maximize: ascend instead.

    Raises:
        TypeError, ValueError: for hyper-parameters out of range and parameters that cannot be trained.

    Source: Kingma & Ba, "Adam: a method for stochastic optimization", 2015; Reddi et al. 2018 for AMSGrad.

    >>> import autodiff as ad, optim
    >>> w = ad.Tensor(1.0, requires_grad=True)
    >>> optimizer = optim.Adam([w], lr=0.25)
    >>> (w**2).backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.75
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize),
        )

    def check(self, options: dict[str, Any]) -> None:
        """Raise ValueError for hyper-parameters out of range."""
        require("Adam", options, lr=(0, math.inf), eps=(0, math.inf), weight_decay=(0, math.inf))
        require_betas("Adam", options["betas"])

    def update(self, w: Array, g: Array, state: dict[str, Any], options: dict[str, Any]) -> None:
        """One step, in place."""
        lr, eps, decay = float(options["lr"]), float(options["eps"]), float(options["weight_decay"])
        beta1, beta2 = (float(beta) for beta in options["betas"])
        if not state:
            state.update(step=0, exp_avg=np.zeros_like(w), exp_avg_sq=np.zeros_like(w))
        if options["amsgrad"] and "max_exp_avg_sq" not in state:
            state["max_exp_avg_sq"] = np.zeros_like(w)
        t = state["step"] = int(state["step"]) + 1
        m, v = state["exp_avg"], state["exp_avg_sq"]
        d = self.scratch(w)
        if decay:
            decayed = self.scratch(w, 1)
            np.multiply(w, decay, out=decayed)
            decayed += g
            g = decayed
        np.subtract(g, m, out=d)
        d *= 1 - beta1
        m += d
        np.multiply(g, g, out=d)
        d *= 1 - beta2
        v *= beta2
        v += d
        if options["amsgrad"]:
            v = np.maximum(state["max_exp_avg_sq"], v, out=state["max_exp_avg_sq"])
        # √v̂ + ε = (√v + ε √(1 − β₂ᵗ)) / √(1 − β₂ᵗ): the division is done on the numbers, not on the arrays.
        root = math.sqrt(1 - beta2**t)
        np.sqrt(v, out=d)
        d += eps * root
        np.divide(m, d, out=d)
        d *= lr * root / (1 - beta1**t)
        w -= d
