"""Gradient descent, plain, with momentum and with Nesterov's correction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..array import Array
from ..hyperparameters import at_least, finite, hyperparameters
from ..optimizer import Optimizer, decayed


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
        averaged: b ← μ b + (1 − μ) g from b = 0, an average of the gradients, in place of the classical form (which
            `dampening` = μ is not: there b starts with the whole first gradient). Not with `nesterov` or `dampening`.
        lr_in_velocity: b ← μ b + (1 − τ) η g and w ← w − b: the same path while η is constant; after a change of η,
            the old velocity keeps the old one. Not with `nesterov`.

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

    limits = at_least(0, "lr", "momentum", "weight_decay") | finite("dampening")
    beyond = ("averaged", "lr_in_velocity")

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
        averaged: bool = False,
        lr_in_velocity: bool = False,
    ) -> None:
        super().__init__(params, hyperparameters(locals()))

    def check(self, options: dict[str, Any]) -> None:
        """Raise TypeError or ValueError for hyper-parameters out of range, or that do not go together."""
        super().check(options)
        if options["averaged"] and (options["nesterov"] or options["dampening"] != 0 or options["momentum"] > 1):
            raise ValueError("SGD: averaged=True needs a momentum of at most 1, nesterov=False and dampening=0")
        if options["lr_in_velocity"] and options["nesterov"]:
            raise ValueError("SGD: lr_in_velocity=True goes with nesterov=False")
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            raise ValueError("SGD: nesterov=True needs a momentum greater than 0 and dampening=0")

    def buffers(self, options: dict[str, Any]) -> tuple[str, ...]:
        """The momentum b."""
        return ("momentum_buffer",) if options["momentum"] else ()

    def advance(self, numbers: dict[str, Any], options: dict[str, Any]) -> Any:
        """Whether b is new, and the hyper-parameters."""
        momentum, kept = float(options["momentum"]), 1 - float(options["dampening"])
        if options["averaged"]:
            kept = 1 - momentum
        elif momentum:
            kept = kept if numbers.get("started") else 1.0
            numbers["started"] = True
        lr = float(options["lr"])
        if momentum and options["lr_in_velocity"]:
            lr, kept = 1.0, kept * lr
        return lr, momentum, kept, float(options["weight_decay"]), bool(options["nesterov"])

    def update(self, w: Array, g: Array, state: dict[str, Array], coefficients: Any) -> None:
        """One step, in place."""
        lr, momentum, kept, decay, nesterov = coefficients
        g = decayed(self, w, g, decay)
        d = self.scratch(w)
        if momentum:
            b = state["momentum_buffer"]
            b *= momentum
            b += g if kept == 1 else np.multiply(g, kept, out=d)
            if nesterov:
                np.multiply(b, momentum, out=d)
                d += g
                g = d
            else:
                g = b
        np.multiply(g, lr, out=d)
        w -= d

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a snapshot, PyTorch's too, which does not say that a momentum has started."""
        super().load_state_dict(state_dict)
        for state in self.state.values():
            if state.get("momentum_buffer") is not None:
                state["started"] = True
