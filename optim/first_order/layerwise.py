"""LARS and LAMB: steps scaled for each parameter as a whole, for training with large batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from autodiff.ops.guards import common
from autodiff.tensor import is_foreign

from ..array import Array
from ..hyperparameters import at_least, hyperparameters
from ..optimizer import Optimizer, decayed
from .adam import Adam, Coefficients
from .adaptive import moved


def _norm(x: Array) -> Any:
    norm = np.linalg.norm(x.ravel())
    return norm if is_foreign(norm) else float(norm)


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling: momentum with a step in proportion to the parameter's norm.

    With learning rate η, trust coefficient c, momentum μ and weight decay λ, for each parameter w with gradient g::

        r = c ‖w‖ / (‖g‖ + λ ‖w‖)        (1 if ‖w‖ or ‖g‖ is 0)
        b ← μ b + r (g + λ w)            (from b = 0)
        w ← w − η b

    Args:
        params: parameters or groups of them.
        lr: η, at least 0.
        momentum: μ, at least 0.
        weight_decay: λ, at least 0.
        trust_coefficient: c, at least 0.
        maximize: ascend instead.

    Raises:
        TypeError, ValueError: for hyper-parameters out of range and parameters that cannot be trained.

    Source: You, Gitman & Ginsburg, "Large batch training of convolutional networks", 2017; with the learning rate
    outside of the momentum, as in `SGD`.

    >>> import autodiff as ad, optim
    >>> w = ad.Tensor([3.0, 4.0], requires_grad=True)
    >>> optimizer = optim.LARS([w], lr=1.0, trust_coefficient=0.1)
    >>> (w**2).sum().backward()
    >>> optimizer.step()
    >>> w
    Tensor([2.7, 3.6], requires_grad=True)
    """

    elementwise = False
    limits = at_least(0, "lr", "momentum", "weight_decay", "trust_coefficient")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        weight_decay: float = 0,
        trust_coefficient: float = 1e-3,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, hyperparameters(locals()))

    def buffers(self, options: dict[str, Any]) -> tuple[str, ...]:
        """The momentum b."""
        return ("momentum_buffer",) if options["momentum"] else ()

    def advance(self, numbers: dict[str, Any], options: dict[str, Any]) -> Any:
        """The hyper-parameters; there are no numbers."""
        return tuple(float(options[key]) for key in ("lr", "momentum", "weight_decay", "trust_coefficient"))

    def update(self, w: Array, g: Array, state: dict[str, Array], coefficients: Any) -> None:
        """One step, in place."""
        lr, momentum, decay, trust = coefficients
        length, slope = _norm(w), _norm(g)
        ratio = trust * length / (slope + decay * length) if common((length != 0) & (slope != 0)) else 1.0
        d = self.scratch(w)
        np.multiply(decayed(self, w, g, decay), ratio, out=d)
        moved(w, d, lr, momentum, state)


class LAMB(Adam):
    """Adam with a step in proportion to the parameter's norm.

    With Adam's corrected moments m̂ and v̂, learning rate η and weight decay λ, for each parameter w::

        d = m̂ / (√v̂ + ε) + λ w
        w ← w − η ‖w‖ / ‖d‖ · d          (a ratio of 1 if a norm is 0)

    Args:
        params: parameters or groups of them.
        lr, betas, eps, maximize, bias_correction, eps_inside_sqrt: as those of `Adam`.
        weight_decay: λ, at least 0.

    Raises:
        TypeError, ValueError: for hyper-parameters out of range and parameters that cannot be trained.

    Source: You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", 2020.

    >>> import autodiff as ad, optim
    >>> w = ad.Tensor([3.0, 3.0], requires_grad=True)
    >>> optimizer = optim.LAMB([w], lr=0.1)
    >>> (w**2).sum().backward()
    >>> optimizer.step()
    >>> w.numpy().round(6).tolist()
    [2.7, 2.7]
    """

    elementwise = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        bias_correction: bool = True,
        eps_inside_sqrt: bool = False,
    ) -> None:
        super().__init__(params, **hyperparameters(locals()))

    def decay(self, w: Array, g: Array, c: Coefficients) -> Array:
        """Weight decay comes with the step."""
        return g

    def move(self, w: Array, d: Array, c: Coefficients, scale: float) -> None:
        """The step, as long as w allows."""
        d *= scale
        if c.decay:
            d += np.multiply(w, c.decay, out=self.scratch(w, "decayed"))
        length, size = _norm(w), _norm(d)
        d *= c.lr * (length / size if common((length != 0) & (size != 0)) else 1.0)
        w -= d
