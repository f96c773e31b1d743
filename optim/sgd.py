"""Gradient descent, plain, with momentum and with Nesterov's correction."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .optimizer import Array, Optimizer, require


class SGD(Optimizer):
    """Stochastic gradient descent, in PyTorch's form.

    With momentum μ, dampening τ, weight decay λ and learning rate η, for each parameter w with gradient g::

        g ← g + λ w
        b ← μ b + (1 − τ) g        (the first time: b ← g)
        g ← g + μ b  if nesterov,  else  b
        w ← w − η g

    Args:
        params: parameters or groups of them.
        lr: η, at least 0.
        momentum: μ, at least 0.
        dampening: τ.
        weight_decay: λ, at least 0.
        nesterov: needs a momentum and no dampening.
        maximize: ascend instead.

    Raises:
        TypeError, ValueError: for hyper-parameters out of range and parameters that cannot be trained.

    Source: Polyak 1964; Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.

    >>> import autodiff as ad, optim
    >>> w = ad.Tensor(1.0, requires_grad=True)
    >>> optimizer = optim.SGD([w], lr=0.1)
    >>> (w**2).backward()
    >>> optimizer.step()
    >>> w
    Tensor(0.8, requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            dict(
                lr=lr,
                momentum=momentum,
                dampening=dampening,
                weight_decay=weight_decay,
                nesterov=nesterov,
                maximize=maximize,
            ),
        )

    def check(self, options: dict[str, Any]) -> None:
        """Raise ValueError for hyper-parameters out of range."""
        inf = math.inf
        require("SGD", options, lr=(0, inf), momentum=(0, inf), dampening=(-inf, inf), weight_decay=(0, inf))
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            raise ValueError("SGD: nesterov=True needs a momentum greater than 0 and dampening=0")

    def update(self, w: Array, g: Array, state: dict[str, Any], options: dict[str, Any]) -> None:
        """One step, in place."""
        lr, momentum, decay = float(options["lr"]), float(options["momentum"]), float(options["weight_decay"])
        d = self.scratch(w)
        if decay:
            np.multiply(w, decay, out=d)
            d += g
            g = d
        if momentum:
            b = state.get("momentum_buffer")
            if b is None:
                b = state["momentum_buffer"] = np.array(g)
            else:
                kept = 1 - float(options["dampening"])
                b *= momentum
                b += g if kept == 1 else g * kept
            if options["nesterov"]:
                ahead = self.scratch(w, 1)
                np.multiply(b, momentum, out=ahead)
                ahead += g
                g = ahead
            else:
                g = b
        np.multiply(g, lr, out=d)
        w -= d
