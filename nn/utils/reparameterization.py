"""Weights that are computed from others at each call: of bounded spectral norm, and with a length of their own."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from autodiff import Tensor
from autodiff.devices import place_of, put
from autodiff.tensor import plain, writable

from ..arguments import count, number
from ..images.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ..module.module import Module
from ..module.parameter import Parameter
from ..random import generator

ModuleType = TypeVar("ModuleType", bound=Module)

TRANSPOSED = (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)


def spectral_norm(
    module: ModuleType, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None,
    *, rng: np.random.Generator | None = None,
) -> ModuleType:  # fmt: skip
    """Divide a weight by its largest singular value σ, so that the layer stretches no input by more than 1::

        v ← normalised Wᵀ u,   u ← normalised W v   (`n_power_iterations` times at each call in training)
        σ = uᵀ W v,   weight = W / σ

    PyTorch's `torch.nn.utils.spectral_norm`, with its state_dict keys: the parameter W is ``weight_orig``, u and v are
    the buffers ``weight_u`` and ``weight_v``, constants for the derivative (which is exact where u and v are singular
    vectors); they begin with 15 steps of the power method. ``module.weight`` is computed whenever it is read. Make the
    optimiser afterwards.

    Args:
        module: a layer with the parameter, which is changed; also returned.
        name: of the parameter.
        n_power_iterations: steps of the power method, at least 1.
        eps: least norm that a vector is divided by.
        dim: the axis of the weight that makes the rows of W, all others being its columns; by default that of the
            outputs, 1 for transposed convolutions, else 0.
        rng: generator that u is drawn from; the one that `nn.manual_seed` sets by default.

    Raises:
        TypeError, ValueError: for a module without such a parameter of two axes or more, and options out of range.

    Source: Miyato et al. 2018, "Spectral normalization for generative adversarial networks".

    >>> import numpy as np, nn
    >>> layer = nn.utils.spectral_norm(nn.Linear(4, 3, dtype="float64"), n_power_iterations=50)
    >>> _ = layer(np.ones((2, 4)))
    >>> round(np.linalg.norm(layer.weight.numpy(), 2), 9)
    np.float64(1.0)
    """
    weight = _weight("spectral_norm", module, name)
    if weight.ndim < 2:
        raise ValueError(f"spectral_norm: {name} has shape {weight.shape}; a matrix needs two axes")
    steps = count("spectral_norm", "n_power_iterations", n_power_iterations, 1)
    axis = int(isinstance(module, TRANSPOSED)) if dim is None else _axis("spectral_norm", dim, weight)
    norm = _SpectralNorm(name, axis, steps, number("spectral_norm", "eps", eps, 0.0))
    array = plain(weight)
    u = put(generator(rng).normal(size=weight.shape[axis]).astype(weight.dtype), place_of(array))
    u, v = norm.iterated(norm.matrix(array), u, 15)
    _replaced(module, norm, {"orig": array}, {"u": Tensor(u), "v": Tensor(v)})
    module.register_forward_pre_hook(norm)
    return module


def weight_norm(module: ModuleType, name: str = "weight", dim: int | None = 0) -> ModuleType:
    """Give a weight's length and its direction parameters of their own::

        weight = g v / ‖v‖

    with a g, and a norm over all other axes, for each place along `dim`. PyTorch's `torch.nn.utils.weight_norm`, with
    its state_dict keys: the parameters are ``weight_g`` and ``weight_v``. ``module.weight`` is computed
    whenever it is read. Make the optimiser afterwards.

    Args:
        module: a layer with the parameter, which is changed; also returned.
        name: of the parameter.
        dim: the axis, or None for one g and the norm of all.

    Raises:
        TypeError, ValueError: for a module without such a parameter, and an axis that it has not.

    Source: Salimans and Kingma 2016, "Weight normalization: a simple reparameterization to accelerate training of deep
    neural networks".

    >>> import numpy as np, nn
    >>> layer = nn.utils.weight_norm(nn.Linear(4, 3))
    >>> sorted(layer.state_dict()), layer.weight_g.shape
    (['bias', 'weight_g', 'weight_v'], (3, 1))
    """
    weight = _weight("weight_norm", module, name)
    norm = _WeightNorm(name, None if dim is None else _axis("weight_norm", dim, weight))
    array = plain(weight)
    _replaced(module, norm, {"g": norm.length(array), "v": array}, {})
    return module


@dataclass
class _SpectralNorm:
    """The weight of a module, and the hook before a call in training; a class of its own, that can be pickled."""

    name: str
    axis: int
    steps: int
    eps: float

    def weight(self, module: Any) -> Any:
        """W / σ, recorded."""
        weight, *kept = self.parts(module)
        u, v = (plain(vector).copy() for vector in kept)  # a graph must not read memory that a call in training writes
        return weight / (u @ (self.matrix(weight) @ v))

    def __call__(self, module: Any, args: Any) -> None:
        if module.training:
            weight, *kept = self.parts(module)
            for vector, new in zip(kept, self.iterated(self.matrix(plain(weight)), plain(kept[0]), self.steps)):
                memory = writable(vector)
                memory[...] = new
                vector.data = memory

    def parts(self, module: Any) -> list[Any]:
        """W, u and v."""
        return [getattr(module, f"{self.name}_{part}") for part in ("orig", "u", "v")]

    def matrix(self, weight: Any) -> Any:
        """The weight as a matrix whose rows lie along the axis; recorded for a Tensor."""
        rows = np.moveaxis(weight, self.axis, 0)
        return rows.reshape(rows.shape[0], -1)

    def iterated(self, matrix: Any, u: Any, steps: int) -> tuple[Any, Any]:
        """u and v after steps of the power method."""
        for _ in range(steps):
            v = self._normalised(matrix.T @ u)
            u = self._normalised(matrix @ v)
        return u, v

    def _normalised(self, x: Any) -> Any:
        return x / np.maximum(np.sqrt((x * x).sum()), x.dtype.type(self.eps))


@dataclass
class _WeightNorm:
    """The weight of a module."""

    name: str
    axis: int | None

    def weight(self, module: Any) -> Any:
        """g v / ‖v‖, recorded."""
        g, v = (getattr(module, f"{self.name}_{part}") for part in ("g", "v"))
        return v * (g / self.length(v))

    def length(self, v: Any) -> Any:
        """The norm for each place along the axis; recorded for a Tensor."""
        others = tuple(i for i in range(v.ndim) if i != self.axis)
        return np.sqrt((v * v).sum(axis=others, keepdims=self.axis is not None))


def _weight(where: str, module: Any, name: str) -> Parameter:
    if not isinstance(module, Module):
        raise TypeError(f"{where}: takes a layer, not {module!r:.80}")
    own = dict(module.named_parameters(recurse=False))
    if name not in own:
        inside = "; give it the layers inside, one by one" if any(module.children()) else ""
        raise ValueError(
            f"{where}: {type(module).__name__} has no parameter {name!r} of its own, but {', '.join(own) or 'none'}"
            f"{inside}"
        )
    return own[name]


def _axis(where: str, dim: Any, weight: Tensor) -> int:
    if not isinstance(dim, (int, np.integer)) or not -weight.ndim <= dim < weight.ndim:
        raise ValueError(f"{where}: dim is an axis of the weight (shape {weight.shape}), not {dim!r}")
    return int(dim) % weight.ndim


def _replaced(module: Module, norm: Any, parameters: dict[str, Any], buffers: dict[str, Any]) -> None:
    """Put others in the place of a parameter, which is computed of them whenever it is read."""
    name = norm.name
    delattr(module, name)
    for part, value in parameters.items():
        module.register_parameter(f"{name}_{part}", Parameter(value))
    for part, value in buffers.items():
        module.register_buffer(f"{name}_{part}", value)
    setattr(module, f"{name}_norm", norm)
    kind: Any = type(module)
    layer, names = getattr(kind, "computes", (kind, ()))
    module.__class__ = _computing(layer, (*names, name))


@functools.cache
def _computing(layer: Any, names: tuple[str, ...]) -> type[Module]:
    """The class of layers that compute weights of these names."""

    def reduced(module: Module) -> tuple[Any, ...]:
        return _without_state, (layer, names), module.__getstate__()

    weights = {name: property(functools.partial(_weight_of, name=name)) for name in names}
    further = {"computes": (layer, names), "__reduce__": reduced, "__module__": layer.__module__}
    return type(layer.__name__, (layer,), {**weights, **further})


def _weight_of(module: Module, name: str) -> Any:
    return getattr(module, f"{name}_norm").weight(module)


def _without_state(layer: Any, names: tuple[str, ...]) -> Any:
    """An instance for pickle and copy to fill."""
    kind = _computing(layer, names)
    return kind.__new__(kind)
