"""Averages of the parameters over training: exponential (EMA) and plain (stochastic weight averaging, SWA)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from autodiff import Tensor, no_grad
from autodiff.devices import as_numpy, place_of, put
from autodiff.transforms.flat import listed

from .array import Array


class _Average:
    """Averages beside the parameters: `shadow` holds them, one array for each parameter (float32 for float16)."""

    def __init__(self, params: Iterable[Tensor]) -> None:
        name = type(self).__name__
        self.params = listed(name, params)
        if not self.params:
            raise ValueError(f"{name}: got an empty parameter list")
        # In half precision the small steps of an average would be lost.
        self.shadow: list[Array] = [
            p.data.astype(np.float32) if p.dtype == np.float16 else p.data.copy() for p in self.params
        ]
        self.updates = 0

    def _kept(self) -> float:
        raise NotImplementedError

    def update(self) -> None:
        """Take the parameters as they are now into the average; call it after the optimiser's step."""
        kept = self._kept()
        self.updates += 1
        for average, p in zip(self.shadow, self.params):
            if average.dtype.kind in "fc":
                average += (1 - kept) * (p.data - average)
            else:
                average[...] = p.data

    def copy_to(self, params: Iterable[Tensor] | None = None) -> None:
        """Write the averages into these parameters, or those that were averaged.

        Raises:
            ValueError: for another number of parameters or other shapes; nothing is written then.
        """
        targets = self.params if params is None else list(params)
        if [p.shape for p in targets] != [a.shape for a in self.shadow]:
            raise ValueError(
                f"{type(self).__name__}.copy_to: the averages have shapes {[a.shape for a in self.shadow]}, the "
                f"parameters {[p.shape for p in targets]}"
            )
        for p, average in zip(targets, self.shadow):
            p.data = average.astype(p.dtype)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The parameters are the averages inside the ``with`` block (for evaluation), and themselves again after."""
        before = [p.data for p in self.params]
        self.copy_to()
        try:
            yield
        finally:
            for p, data in zip(self.params, before):
                p.data = data

    def __repr__(self) -> str:
        n, m = len(self.params), self.updates
        return f"{type(self).__name__}({n} parameter{'s' * (n != 1)}, {m} update{'s' * (m != 1)})"

    def state_dict(self) -> dict[str, Any]:
        """A snapshot: the averages, and how many updates they are of."""
        return {"updates": self.updates, "shadow": [a.copy() for a in self.shadow]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a snapshot that `state_dict` took.

        Raises:
            TypeError: if that is no such dict.
            ValueError: for another number of averages or other shapes.
        """
        if not isinstance(state_dict, Mapping) or set(state_dict) != {"updates", "shadow"}:
            raise TypeError(
                f"{type(self).__name__}.load_state_dict: takes what state_dict() returned, a dict with 'updates' and "
                f"'shadow'"
            )
        shadow = [as_numpy(a) for a in state_dict["shadow"]]
        if [a.shape for a in shadow] != [a.shape for a in self.shadow]:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: the snapshot has shapes {[a.shape for a in shadow]}, the "
                f"parameters {[a.shape for a in self.shadow]}"
            )
        self.shadow = [put(a.astype(own.dtype), place_of(own)) for a, own in zip(shadow, self.shadow)]
        self.updates = int(state_dict["updates"])


class EMA(_Average):
    """Exponential moving average of parameters: a ← β a + (1 − β) w at each `update`, from a = w.

    Args:
        params: the parameters.
        decay: β, in [0, 1].

    Raises:
        TypeError, ValueError: for anything but Tensors, or a decay out of range.

    >>> import autodiff as ad
    >>> w = ad.Tensor([1.0], requires_grad=True)
    >>> ema = EMA([w], decay=0.75)
    >>> w.data = w.data + 4.0
    >>> ema.update()
    >>> ema.shadow[0].tolist()
    [2.0]
    >>> with ema.applied():
    ...     print(w.numpy())
    [2.]
    >>> w.numpy()
    array([5.])
    """

    def __init__(self, params: Iterable[Tensor], decay: float = 0.999) -> None:
        if isinstance(decay, (bool, str)) or not hasattr(decay, "__float__"):
            raise TypeError(f"EMA: decay must be a number, not {decay!r}")
        if not 0 <= decay <= 1:
            raise ValueError(f"EMA: decay must be within [0, 1], not {decay!r}")
        super().__init__(params)
        self.decay = float(decay)

    def _kept(self) -> float:
        return self.decay


class SWA(_Average):
    """Stochastic weight averaging: the plain mean of the parameters at all calls of `update`.

    Batch normalisation needs its running statistics anew afterwards: `update_bn`.

    Source: Izmailov et al., "Averaging weights leads to wider optima and better generalization", 2018.

    >>> import autodiff as ad
    >>> w = ad.Tensor([1.0], requires_grad=True)
    >>> swa = SWA([w])
    >>> swa.update()
    >>> w.data = w.data + 4.0
    >>> swa.update()
    >>> swa.shadow[0].tolist()
    [3.0]
    """

    def _kept(self) -> float:
        return self.updates / (self.updates + 1)


def update_bn(batches: Iterable[Any], model: Any) -> None:
    """Compute the running statistics of a model's batch normalisation anew, as plain means over the batches.

    Args:
        batches: inputs, or tuples that begin with the input.
        model: the model, whose mode is kept.
    """
    layers = [m for m in model.modules() if hasattr(m, "reset_running_stats") and hasattr(m, "momentum")]
    modes = [(m, m.training) for m in model.modules()]
    momenta = [m.momentum for m in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    try:
        model.train()
        with no_grad():
            for batch in batches if layers else ():
                model(batch[0] if isinstance(batch, (tuple, list)) else batch)
    finally:
        for layer, momentum in zip(layers, momenta):
            layer.momentum = momentum
        for module, mode in modes:
            module.training = mode
