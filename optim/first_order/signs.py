"""Rprop and Lion: optimisers that use the gradient's sign only."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..array import Array
from ..hyperparameters import at_least, decay_rates, hyperparameters, number_pair
from ..optimizer import Optimizer
from .adaptive import averaged


class Rprop(Optimizer):
    """Resilient backpropagation, in PyTorch's form: each weight has its own step size, which grows while its gradient
    keeps its sign. For full batches.

    With factors η⁻ < 1 < η⁺, for each weight w with gradient g, the gradient p before and the step size s::

        g p > 0:  s ← min(η⁺ s, s_max)
        g p < 0:  s ← max(η⁻ s, s_min),   g ← 0
        w ← w − s · sign g

    Args:
        params: parameters or groups of them.
        lr: the first step size, at least 0.
        etas: (η⁻, η⁺), 0 < η⁻ < 1 < η⁺.
        step_sizes: (s_min, s_max), each at least 0.
        maximize: ascend instead.

    Raises:
        TypeError, ValueError: for hyper-parameters out of range and parameters that cannot be trained.

    Source: Riedmiller & Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm",
    1993.

    >>> import autodiff as ad, optim
    >>> w = ad.Tensor(1.0, requires_grad=True)
    >>> optimizer = optim.Rprop([w], lr=0.25)
    >>> (w**2).backward()
    >>> optimizer.step()
    >>> w
    Tensor(0.75, requires_grad=True)
    """

    limits = at_least(0, "lr")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, hyperparameters(locals()))

    def check(self, options: dict[str, Any]) -> None:
        """Raise TypeError or ValueError for hyper-parameters out of range."""
        super().check(options)
        low, high = number_pair("Rprop: etas", options["etas"])
        if not 0 < low < 1 < high < math.inf:
            raise ValueError(f"Rprop: etas must be (η⁻, η⁺) with 0 < η⁻ < 1 < η⁺, not {options['etas']!r}")
        low, high = number_pair("Rprop: step_sizes", options["step_sizes"])
        if not 0 <= low <= high:
            raise ValueError(f"Rprop: step_sizes must be (least, most), at least 0, not {options['step_sizes']!r}")

    def buffers(self, options: dict[str, Any]) -> tuple[str, ...]:
        """p and s."""
        return ("prev", "step_size")

    def initial(self, name: str, options: dict[str, Any]) -> float:
        """No gradient before, and the first step size."""
        return float(options["lr"]) if name == "step_size" else 0.0

    def advance(self, numbers: dict[str, Any], options: dict[str, Any]) -> Any:
        """Count the step."""
        numbers["step"] = int(numbers.get("step", 0)) + 1
        return (*map(float, options["etas"]), *map(float, options["step_sizes"]))

    def update(self, w: Array, g: Array, state: dict[str, Array], coefficients: Any) -> None:
        """One step, in place."""
        shrink, grow, least, most = coefficients
        p, s, d = state["prev"], state["step_size"], self.scratch(w)
        np.sign(g, out=d)
        d *= np.sign(p)
        turned = d < 0
        np.multiply(s, grow, out=s, where=d > 0)
        np.multiply(s, shrink, out=s, where=turned)
        np.clip(s, least, most, out=s)
        p[...] = np.where(turned, 0, g)
        np.sign(p, out=d)
        d *= s
        w -= d


class Lion(Optimizer):
    """Lion: the sign of a momentum that looks ahead, with weight decay of its own.

    With learning rate η, decay rates β₁ and β₂ and weight decay λ, for each weight w with gradient g::

        w ← w − η λ w − η sign(β₁ m + (1 − β₁) g)
        m ← β₂ m + (1 − β₂) g

    Args:
        params: parameters or groups of them.
        lr: η, at least 0; a tenth of what suits Adam.
        betas: (β₁, β₂), each in [0, 1).
        weight_decay: λ, at least 0.
        maximize: ascend instead.

    Raises:
        TypeError, ValueError: for hyper-parameters out of range and parameters that cannot be trained.

    Source: Chen et al., "Symbolic discovery of optimization algorithms", 2023.

    >>> import autodiff as ad, optim
    >>> w = ad.Tensor(1.0, requires_grad=True)
    >>> optimizer = optim.Lion([w], lr=0.25)
    >>> (w**2).backward()
    >>> optimizer.step()
    >>> w
    Tensor(0.75, requires_grad=True)
    """

    limits = at_least(0, "lr", "weight_decay") | decay_rates("betas")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, hyperparameters(locals()))

    def buffers(self, options: dict[str, Any]) -> tuple[str, ...]:
        """The momentum m."""
        return ("exp_avg",)

    def advance(self, numbers: dict[str, Any], options: dict[str, Any]) -> Any:
        """The hyper-parameters; there are no numbers."""
        return (float(options["lr"]), *map(float, options["betas"]), float(options["weight_decay"]))

    def update(self, w: Array, g: Array, state: dict[str, Array], coefficients: Any) -> None:
        """One step, in place."""
        lr, beta1, beta2, decay = coefficients
        m, d, e = state["exp_avg"], self.scratch(w), self.scratch(w, "second")
        np.multiply(m, beta1, out=d)
        d += np.multiply(g, 1 - beta1, out=e)
        np.sign(d, out=d)
        d *= lr
        if decay:
            w *= 1 - lr * decay
        w -= d
        averaged(m, g, beta2, d)
