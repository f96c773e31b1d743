"""Adagrad, RMSprop and Adadelta: each weight's step scaled by the size of its gradients so far."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..array import Array
from ..hyperparameters import at_least, hyperparameters, within
from ..optimizer import Optimizer, decayed


class Adagrad(Optimizer):
    """Adagrad, in PyTorch's form: steps shrink with the sum of all squared gradients.

    With learning rate η, its decay δ, and weight decay λ, for each weight w with gradient g at step t::

        g ← g + λ w
        s ← s + g²
        w ← w − η / (1 + (t − 1) δ) · g / (√s + ε)

    Args:
        params: parameters or groups of them.
        lr: η, at least 0.
        lr_decay: δ, at least 0.
        weight_decay: λ, at least 0.
        initial_accumulator_value: what s starts with, at least 0.
        eps: ε, at least 0.
        maximize: ascend instead.
        eps_inside_sqrt: divide by √(s + ε) instead.

    Raises:
        TypeError, ValueError: for hyper-parameters out of range and parameters that cannot be trained.

    Source: Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning and stochastic optimization", 2011.

    >>> import autodiff as ad, optim
    >>> w = ad.Tensor(1.0, requires_grad=True)
    >>> optimizer = optim.Adagrad([w], lr=0.25)
    >>> (w**2).backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.75
    """

    limits = at_least(0, "lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")
    beyond = ("eps_inside_sqrt",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        eps_inside_sqrt: bool = False,
    ) -> None:
        super().__init__(params, hyperparameters(locals()))

    def buffers(self, options: dict[str, Any]) -> tuple[str, ...]:
        """The sum of squares s."""
        return ("sum",)

    def initial(self, name: str, options: dict[str, Any]) -> float:
        """What s starts with."""
        return float(options["initial_accumulator_value"])

    def advance(self, numbers: dict[str, Any], options: dict[str, Any]) -> Any:
        """Count the step, and from it the learning rate."""
        t = numbers["step"] = int(numbers.get("step", 0)) + 1
        rate = options["lr"] / (1 + (t - 1) * options["lr_decay"])
        return float(rate), float(options["eps"]), bool(options["eps_inside_sqrt"]), float(options["weight_decay"])

    def update(self, w: Array, g: Array, state: dict[str, Array], coefficients: Any) -> None:
        """One step, in place."""
        rate, eps, inside, decay = coefficients
        g = decayed(self, w, g, decay)
        s, d = state["sum"], self.scratch(w)
        np.multiply(g, g, out=d)
        s += d
        rooted(s, eps, inside, out=d)
        np.divide(g, d, out=d)
        d *= rate
        w -= d


class RMSprop(Optimizer):
    """RMSprop, in PyTorch's form: steps scaled by a running mean of squared gradients.

    With learning rate η, smoothing α, momentum μ and weight decay λ, for each weight w with gradient g::

        g ← g + λ w
        v ← α v + (1 − α) g²
        r = √v + ε               (centered:  m ← α m + (1 − α) g,  r = √(v − m²) + ε)
        b ← μ b + g / r
        w ← w − η b              (without momentum:  w ← w − η g / r)

    Args:
        params: parameters or groups of them.
        lr: η, at least 0.
        alpha: α, at least 0.
        eps: ε, at least 0.
        weight_decay: λ, at least 0.
        momentum: μ, at least 0.
        centered: divide by the running standard deviation instead.
        maximize: ascend instead.
        eps_inside_sqrt: r = √(v + ε) instead.

    Raises:
        TypeError, ValueError: for hyper-parameters out of range and parameters that cannot be trained.

    Source: Hinton, "Neural networks for machine learning", lecture 6e, 2012; Graves 2013 for the centred form.

    >>> import autodiff as ad, optim
    >>> w = ad.Tensor(1.0, requires_grad=True)
    >>> optimizer = optim.RMSprop([w], lr=0.1)
    >>> (w**2).backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.0
    """

    limits = at_least(0, "lr", "alpha", "eps", "weight_decay", "momentum")
    beyond = ("eps_inside_sqrt",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
        eps_inside_sqrt: bool = False,
    ) -> None:
        super().__init__(params, hyperparameters(locals()))

    def buffers(self, options: dict[str, Any]) -> tuple[str, ...]:
        """v, and where they are used b and m."""
        return (
            "square_avg",
            *(("momentum_buffer",) if options["momentum"] else ()),
            *(("grad_avg",) if options["centered"] else ()),
        )

    def advance(self, numbers: dict[str, Any], options: dict[str, Any]) -> Any:
        """Count the step."""
        numbers["step"] = int(numbers.get("step", 0)) + 1
        lr, alpha, momentum, eps, decay = (
            float(options[k]) for k in ("lr", "alpha", "momentum", "eps", "weight_decay")
        )
        return lr, alpha, momentum, eps, bool(options["eps_inside_sqrt"]), decay

    def update(self, w: Array, g: Array, state: dict[str, Array], coefficients: Any) -> None:
        """One step, in place."""
        lr, alpha, momentum, eps, inside, decay = coefficients
        g = decayed(self, w, g, decay)
        v, d = state["square_avg"], self.scratch(w)
        averaged(v, np.multiply(g, g, out=d), alpha, d)
        if "grad_avg" in state:
            m = state["grad_avg"]
            averaged(m, g, alpha, d)
            v = np.subtract(v, np.multiply(m, m, out=d), out=d)
            np.maximum(v, 0, out=v)  # a variance that rounding makes negative
        rooted(v, eps, inside, out=d)
        np.divide(g, d, out=d)
        moved(w, d, lr, momentum, state)


class Adadelta(Optimizer):
    """Adadelta, in PyTorch's form: the ratio of running means of squared steps and squared gradients.

    With learning rate η, decay ρ and weight decay λ, for each weight w with gradient g::

        g ← g + λ w
        v ← ρ v + (1 − ρ) g²
        d = √(u + ε) / √(v + ε) · g
        u ← ρ u + (1 − ρ) d²
        w ← w − η d

    Args:
        params: parameters or groups of them.
        lr: η, at least 0.
        rho: ρ, in [0, 1].
        eps: ε, at least 0.
        weight_decay: λ, at least 0.
        maximize: ascend instead.

    Raises:
        TypeError, ValueError: for hyper-parameters out of range and parameters that cannot be trained.

    Source: Zeiler, "ADADELTA: an adaptive learning rate method", 2012.

    >>> import autodiff as ad, optim
    >>> w = ad.Tensor(1.0, requires_grad=True)
    >>> optimizer = optim.Adadelta([w])
    >>> (w**2).backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.996838
    """

    limits = at_least(0, "lr", "eps", "weight_decay") | within(0, 1, "rho")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, hyperparameters(locals()))

    def buffers(self, options: dict[str, Any]) -> tuple[str, ...]:
        """v and u."""
        return ("square_avg", "acc_delta")

    def advance(self, numbers: dict[str, Any], options: dict[str, Any]) -> Any:
        """Count the step."""
        numbers["step"] = int(numbers.get("step", 0)) + 1
        return tuple(float(options[key]) for key in ("lr", "rho", "eps", "weight_decay"))

    def update(self, w: Array, g: Array, state: dict[str, Array], coefficients: Any) -> None:
        """One step, in place."""
        lr, rho, eps, decay = coefficients
        g = decayed(self, w, g, decay)
        v, u, d, e = state["square_avg"], state["acc_delta"], self.scratch(w), self.scratch(w, "second")
        averaged(v, np.multiply(g, g, out=d), rho, d)
        np.sqrt(np.add(v, eps, out=d), out=d)
        np.sqrt(np.add(u, eps, out=e), out=e)
        e /= d
        e *= g
        averaged(u, np.multiply(e, e, out=d), rho, d)
        e *= lr
        w -= e


def averaged(mean: Array, x: Array, kept: float, scratch: Array) -> None:
    """mean ← kept · mean + (1 − kept) · x, in place; `scratch` may be x."""
    mean *= kept
    mean += np.multiply(x, 1 - kept, out=scratch)


def moved(w: Array, d: Array, lr: float, momentum: float, state: dict[str, Array]) -> None:
    """b ← μ b + d and w ← w − η b, in place; without momentum w ← w − η d. `d` is overwritten."""
    if momentum:
        b = state["momentum_buffer"]
        b *= momentum
        b += d
        np.multiply(b, lr, out=d)
    else:
        d *= lr
    w -= d


def rooted(v: Array, eps: float, inside: bool, out: Array) -> None:
    """√v + ε, or √(v + ε); `out` may be v."""
    if inside:
        np.sqrt(np.add(v, eps, out=out), out=out)
    else:
        np.sqrt(v, out=out)
        out += eps
