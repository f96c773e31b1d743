"""Relatives of Adam: AdamW, Adamax, NAdam and RAdam."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from autodiff.ops.guards import common

from ..array import Array
from ..hyperparameters import at_least, hyperparameters
from ..optimizer import Optimizer, decayed
from .adam import Adam
from .adaptive import averaged


class AdamW(Adam):
    """Adam with weight decay of its own: w ← w − η λ w, apart from the gradient, in PyTorch's form.

    Args:
        params: parameters or groups of them.
        lr, betas, eps, amsgrad, maximize, bias_correction, eps_inside_sqrt: as those of `Adam`.
        weight_decay: λ, at least 0.

    Raises:
        TypeError, ValueError: for hyper-parameters out of range and parameters that cannot be trained.

    Source: Loshchilov & Hutter, "Decoupled weight decay regularization", 2019.

    >>> import autodiff as ad, optim
    >>> w = ad.Tensor(1.0, requires_grad=True)
    >>> optimizer = optim.AdamW([w], lr=0.25, weight_decay=0.1)
    >>> (w**2).backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.725
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        bias_correction: bool = True,
        eps_inside_sqrt: bool = False,
    ) -> None:
        super().__init__(params, **hyperparameters(locals()), decoupled_weight_decay=True)

    def advance(self, numbers: dict[str, Any], options: dict[str, Any]) -> Any:
        """As Adam, whatever a snapshot of Adam has said of the decay."""
        return super().advance(numbers, {**options, "decoupled_weight_decay": True})


class Adamax(Optimizer):
    """Adam with the largest gradient in place of the root of the second moment, in PyTorch's form.

    With learning rate η, decay rates β₁ and β₂ and weight decay λ, for each weight w with gradient g at step t::

        g ← g + λ w
        m ← m + (1 − β₁) (g − m)
        u ← max(β₂ u, |g| + ε)
        w ← w − η / (1 − β₁ᵗ) · m / u

    Args:
        params: parameters or groups of them.
        lr: η, at least 0.
        betas: (β₁, β₂), each in [0, 1).
        eps: ε, at least 0.
        weight_decay: λ, at least 0.
        maximize: ascend instead.

    Raises:
        TypeError, ValueError: for hyper-parameters out of range and parameters that cannot be trained.

    Source: Kingma & Ba, "Adam: a method for stochastic optimization", 2015, section 7.1.

    >>> import autodiff as ad, optim
    >>> w = ad.Tensor(1.0, requires_grad=True)
    >>> optimizer = optim.Adamax([w], lr=0.25)
    >>> (w**2).backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.75
    """

    limits = Adam.limits

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, hyperparameters(locals()))

    def buffers(self, options: dict[str, Any]) -> tuple[str, ...]:
        """m and u."""
        return ("exp_avg", "exp_inf")

    def advance(self, numbers: dict[str, Any], options: dict[str, Any]) -> Any:
        """Count the step, and from it the learning rate."""
        t = numbers["step"] = int(numbers.get("step", 0)) + 1
        beta1, beta2 = (float(beta) for beta in options["betas"])
        rate = float(options["lr"]) / (1 - beta1**t)
        return rate, beta1, beta2, float(options["eps"]), float(options["weight_decay"])

    def update(self, w: Array, g: Array, state: dict[str, Array], coefficients: Any) -> None:
        """One step, in place."""
        rate, beta1, beta2, eps, decay = coefficients
        g = decayed(self, w, g, decay)
        m, u, d = state["exp_avg"], state["exp_inf"], self.scratch(w)
        averaged(m, g, beta1, d)
        np.abs(g, out=d)
        d += eps
        u *= beta2
        np.maximum(u, d, out=u)
        np.divide(m, u if common(u.all()) else np.where(u == 0, 1, u), out=d)  # 0 where no gradient has ever been
        d *= rate
        w -= d


class NAdam(Optimizer):
    """Adam with Nesterov's momentum, in PyTorch's form.

    With learning rate η, decay rates β₁ and β₂, momentum decay ψ and weight decay λ, for each weight w with gradient g
    at step t::

        μₜ = β₁ (1 − ½ · 0.96^(t ψ)),   π = μ₁ μ₂ … μₜ
        g ← g + λ w
        m ← m + (1 − β₁) (g − m)
        v ← β₂ v + (1 − β₂) g²
        w ← w − η ((1 − μₜ) / (1 − π) · g + μₜ₊₁ / (1 − π μₜ₊₁) · m) / (√(v / (1 − β₂ᵗ)) + ε)

    Args:
        params: parameters or groups of them.
        lr: η, at least 0.
        betas: (β₁, β₂), each in [0, 1).
        eps: ε, at least 0.
        weight_decay: λ, at least 0.
        momentum_decay: ψ, at least 0.
        decoupled_weight_decay: w ← w − η λ w instead, as `AdamW`.
        maximize: ascend instead.

    Raises:
        TypeError, ValueError: for hyper-parameters out of range and parameters that cannot be trained.

    Source: Dozat, "Incorporating Nesterov momentum into Adam", 2016.

    >>> import autodiff as ad, optim
    >>> w = ad.Tensor(1.0, requires_grad=True)
    >>> optimizer = optim.NAdam([w], lr=0.25)
    >>> (w**2).backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.735887
    """

    limits = Adam.limits | at_least(0, "momentum_decay")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, hyperparameters(locals()))

    def buffers(self, options: dict[str, Any]) -> tuple[str, ...]:
        """m and v."""
        return ("exp_avg", "exp_avg_sq")

    def advance(self, numbers: dict[str, Any], options: dict[str, Any]) -> Any:
        """Count the step, and from it the momenta."""
        t = numbers["step"] = int(numbers.get("step", 0)) + 1
        beta1, beta2 = (float(beta) for beta in options["betas"])
        now, ahead = (beta1 * (1 - 0.5 * 0.96 ** (s * options["momentum_decay"])) for s in (t, t + 1))
        product = numbers["mu_product"] = float(numbers.get("mu_product", 1.0)) * now
        lr, eps, decay = (float(options[key]) for key in ("lr", "eps", "weight_decay"))
        shrink = 1.0
        if options["decoupled_weight_decay"]:
            shrink, decay = 1 - lr * decay, 0.0
        root = math.sqrt(1 - beta2**t)
        of_g, of_m = lr * root * (1 - now) / (1 - product), lr * root * ahead / (1 - product * ahead)
        return of_g, of_m, beta1, beta2, eps * root, decay, shrink

    def update(self, w: Array, g: Array, state: dict[str, Array], coefficients: Any) -> None:
        """One step, in place."""
        of_g, of_m, beta1, beta2, eps, decay, shrink = coefficients
        if shrink != 1:
            w *= shrink
        g = decayed(self, w, g, decay)
        m, v, d, e = state["exp_avg"], state["exp_avg_sq"], self.scratch(w), self.scratch(w, "second")
        averaged(m, g, beta1, d)
        averaged(v, np.multiply(g, g, out=d), beta2, d)
        np.multiply(g, of_g, out=d)
        d += np.multiply(m, of_m, out=e)
        np.sqrt(v, out=e)
        e += eps
        d /= e
        w -= d


class RAdam(Optimizer):
    """Rectified Adam, in PyTorch's form: plain momentum until the second moment can be trusted.

    With learning rate η, decay rates β₁ and β₂ and weight decay λ, for each weight w with gradient g at step t::

        g ← g + λ w
        m ← m + (1 − β₁) (g − m),   v ← β₂ v + (1 − β₂) g²
        ρ∞ = 2 / (1 − β₂) − 1,   ρ = ρ∞ − 2 t β₂ᵗ / (1 − β₂ᵗ)
        if ρ > 5:   r = √((ρ − 4)(ρ − 2) ρ∞ / ((ρ∞ − 4)(ρ∞ − 2) ρ))
                    w ← w − η r m / (1 − β₁ᵗ) · √(1 − β₂ᵗ) / (√v + ε)
        else:       w ← w − η m / (1 − β₁ᵗ)

    Args:
        params: parameters or groups of them.
        lr: η, at least 0.
        betas: (β₁, β₂), each in [0, 1).
        eps: ε, at least 0.
        weight_decay: λ, at least 0.
        decoupled_weight_decay: w ← w − η λ w instead, as `AdamW`.
        maximize: ascend instead.

    Raises:
        TypeError, ValueError: for hyper-parameters out of range and parameters that cannot be trained.

    Source: Liu et al., "On the variance of the adaptive learning rate and beyond", 2020.

    >>> import autodiff as ad, optim
    >>> w = ad.Tensor(1.0, requires_grad=True)
    >>> optimizer = optim.RAdam([w], lr=0.25)
    >>> (w**2).backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.5
    """

    limits = Adam.limits

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, hyperparameters(locals()))

    def buffers(self, options: dict[str, Any]) -> tuple[str, ...]:
        """m and v."""
        return ("exp_avg", "exp_avg_sq")

    def advance(self, numbers: dict[str, Any], options: dict[str, Any]) -> Any:
        """Count the step, and from it the rectification."""
        t = numbers["step"] = int(numbers.get("step", 0)) + 1
        beta1, beta2 = (float(beta) for beta in options["betas"])
        lr, eps, decay = (float(options[key]) for key in ("lr", "eps", "weight_decay"))
        rate, second = lr / (1 - beta1**t), 1 - beta2**t
        most = 2 / (1 - beta2) - 1
        length = most - 2 * t * beta2**t / second
        rectified = length > 5
        if rectified:
            rate *= math.sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length) * second)
        shrink = 1.0
        if options["decoupled_weight_decay"]:
            shrink, decay = 1 - lr * decay, 0.0
        return rate, rectified, beta1, beta2, eps, decay, shrink

    def update(self, w: Array, g: Array, state: dict[str, Array], coefficients: Any) -> None:
        """One step, in place."""
        rate, rectified, beta1, beta2, eps, decay, shrink = coefficients
        if shrink != 1:
            w *= shrink
        g = decayed(self, w, g, decay)
        m, v, d = state["exp_avg"], state["exp_avg_sq"], self.scratch(w)
        averaged(m, g, beta1, d)
        averaged(v, np.multiply(g, g, out=d), beta2, d)
        if rectified:
            np.sqrt(v, out=d)
            d += eps
            np.divide(m, d, out=d)
            d *= rate
        else:
            np.multiply(m, rate, out=d)
        w -= d
