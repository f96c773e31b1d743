"""Adam: each parameter's step scaled by running moments of its gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ..array import Array
from ..hyperparameters import at_least, decay_rates, hyperparameters
from ..optimizer import Optimizer, decayed


class Coefficients(NamedTuple):
    """The numbers of a step: η, β₁, β₂, the bias corrections 1 − β₁ᵗ and 1 − β₂ᵗ, ε and where it stands, λ and where it
    acts."""

    lr: float
    beta1: float
    beta2: float
    first: float
    second: float
    eps: float
    inside: bool
    decay: float
    decoupled: bool


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
        bias_correction: with False m̂ = m and v̂ = v.
        eps_inside_sqrt: divide by √(v̂ + ε) instead.
        decoupled_weight_decay: decay the weight itself, as `AdamW`: w ← w − η λ w in place of g ← g + λ w.

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

    limits = at_least(0, "lr", "eps", "weight_decay") | decay_rates("betas")
    beyond = ("bias_correction", "eps_inside_sqrt", "decoupled_weight_decay")

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
        bias_correction: bool = True,
        eps_inside_sqrt: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(params, hyperparameters(locals()))

    def buffers(self, options: dict[str, Any]) -> tuple[str, ...]:
        """m and v, and with amsgrad the largest v so far."""
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")[: 3 if options["amsgrad"] else 2]

    def advance(self, numbers: dict[str, Any], options: dict[str, Any]) -> Any:
        """Count the step, and from it the bias corrections."""
        t = numbers["step"] = int(numbers.get("step", 0)) + 1
        beta1, beta2 = (float(beta) for beta in options["betas"])
        first, second = (1 - beta1**t, 1 - beta2**t) if options["bias_correction"] else (1.0, 1.0)
        lr, eps, decay = (float(options[key]) for key in ("lr", "eps", "weight_decay"))
        inside, decoupled = bool(options["eps_inside_sqrt"]), bool(options["decoupled_weight_decay"])
        return Coefficients(lr, beta1, beta2, first, second, eps, inside, decay, decoupled)

    def decay(self, w: Array, g: Array, c: Coefficients) -> Array:
        """Weight decay: of w itself, or added to the gradient, which is returned."""
        if not c.decoupled:
            return decayed(self, w, g, c.decay)
        if c.decay:
            w *= 1 - c.lr * c.decay
        return g

    def update(self, w: Array, g: Array, state: dict[str, Array], coefficients: Coefficients) -> None:
        """One step, in place."""
        c = coefficients
        g = self.decay(w, g, c)
        m, v, d = state["exp_avg"], state["exp_avg_sq"], self.scratch(w)
        np.subtract(g, m, out=d)
        d *= 1 - c.beta1
        m += d
        np.multiply(g, g, out=d)
        d *= 1 - c.beta2
        v *= c.beta2
        v += d
        if "max_exp_avg_sq" in state:
            v = np.maximum(state["max_exp_avg_sq"], v, out=state["max_exp_avg_sq"])
        # √(v/c) + ε = (√v + ε √c) / √c: the division is done on the numbers, not on the arrays.
        root = math.sqrt(c.second) if type(c.second) is float else np.sqrt(c.second)
        if c.inside:
            np.add(v, c.eps * c.second, out=d)
            np.sqrt(d, out=d)
        else:
            np.sqrt(v, out=d)
            d += c.eps * root
        np.divide(m, d, out=d)
        self.move(w, d, c, root / c.first)

    def move(self, w: Array, d: Array, c: Coefficients, scale: float) -> None:
        """Take the step, `scale` times the direction d (which is overwritten)."""
        d *= c.lr * scale
        w -= d
