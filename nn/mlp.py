"""The multilayer perceptron, a `Sequential` that builds its layers from a list of sizes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from . import activation as activations
from .activation import ReLU
from .arguments import number
from .dropout import Dropout
from .linear import Linear
from .module.container import Sequential
from .module.function import as_module
from .module.module import Module
from .normalization import BatchNorm1d, LayerNorm


def _activation(value: Any) -> Module | None:
    """A new activation: of a class, a name as in `nn.functional`, a module (copied), a function or None."""
    if isinstance(value, str):
        modules = [getattr(activations, name) for name in activations.__all__ if name[0].isupper()]
        names = {module.__name__.lower(): module for module in modules}
        found = names.get(value.lower().replace("_", ""))
        if found is None:
            raise ValueError(f"MLP: no activation is named {value!r}; there are: {', '.join(sorted(names))}")
        value = found
    if value is None:
        return None
    if isinstance(value, type) and issubclass(value, Module):
        return value()
    if isinstance(value, Module):
        return copy.deepcopy(value)
    if isinstance(as_module(value), Module):
        return as_module(value)
    raise TypeError(
        f"MLP: activation is a module, its class, its name such as 'tanh', a function or None, not {value!r}"
    )


_NORMS = {"batch": BatchNorm1d, "layer": LayerNorm}


def _norm(value: Any, width: int, dtype: Any) -> Module | None:
    if value is None:
        return None
    if isinstance(value, str):
        if value not in _NORMS:
            raise ValueError(f"MLP: norm is 'batch', 'layer', a class of modules or None, not {value!r}")
        value = _NORMS[value]
    if not (isinstance(value, type) and issubclass(value, Module)):
        raise TypeError(f"MLP: norm is 'batch', 'layer', a class of modules or None, not {value!r}")
    return value(width, dtype=dtype)


class MLP(Sequential):
    """A multilayer perceptron: linear layers with an activation between each two.

    Args:
        sizes: the number of inputs, of units in each hidden layer, and of outputs: at least two.
        activation: after each hidden layer: a class (``nn.ReLU``), a name as in `nn.functional` (``"leaky_relu"``), a
            module (of which each place gets a copy), a function (``ad.sigmoid``), or None for none.
        output_activation: after the last layer, likewise.
        dropout: p of a `Dropout` after each hidden activation; none for 0.
        norm: "batch", "layer", or a class that is called with the width, between a hidden layer and its activation.
        bias: whether the linear layers have one.
        dtype: of the parameters; `nn.get_default_dtype()` by default.
        rng: generator of the initial values (and of dropout).

    It is a `Sequential` of linear layer, norm, activation, dropout, again and again: indexing, slicing and state_dict
    keys are its.

    Shapes: input (..., sizes[0]), output (..., sizes[-1]).

    Raises:
        TypeError, ValueError: for less than two sizes, sizes that are not counts, unknown activations and norms.

    >>> import nn
    >>> nn.MLP([3, 16, 2], activation="tanh")
    MLP(
      (0): Linear(in_features=3, out_features=16, bias=True) · 64 parameters
      (1): Tanh()
      (2): Linear(in_features=16, out_features=2, bias=True) · 34 parameters
    ) · 98 parameters
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: Any = ReLU,
        output_activation: Any = None,
        dropout: float = 0.0,
        norm: Any = None,
        bias: bool = True,
        dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        sizes = list(sizes) if isinstance(sizes, Iterable) and not isinstance(sizes, str) else [sizes]
        if len(sizes) < 2:
            raise ValueError(f"MLP: sizes are at least two numbers, of inputs and of outputs, not {sizes}")
        p = number("MLP", "dropout", dropout, 0, 1)
        if len(sizes) == 2:  # where neither has a place, they are checked all the same
            _activation(activation), _norm(norm, 1, dtype)
        modules: list[Module | None] = []
        for i, (n, m) in enumerate(pairwise(sizes)):
            last = i == len(sizes) - 2
            modules.append(Linear(n, m, bias, dtype, rng))
            if not last:
                modules.append(_norm(norm, m, dtype))
            modules.append(_activation(output_activation if last else activation))
            if p and not last:
                modules.append(Dropout(p, rng=rng))
        super().__init__(*[module for module in modules if module is not None])
