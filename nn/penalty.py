"""Penalties on weights, to be added to a loss: of linear and convolution layers only, never of biases, norms or
embeddings. Each weight counts once, also where layers share it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.ops.samples import draw, with_params
from autodiff.primitive import Sample, declare, polymorphic

from .arguments import number, positive
from .attention.vision import PatchEmbedding
from .images.conv import Convolution
from .linear import Bilinear, Linear
from .module.module import Module

Strength = float | Tensor | Mapping[str, Any]


def _power_forward(w: Any, p: float) -> Any:
    """|w|^p, and 0 at 0 for negative p: the derivatives of |w|^p at 0 are taken to be 0 where they are infinite."""
    size = np.abs(w)
    if p >= 0:
        return size**p
    zero = size == 0
    return np.where(zero, 0, np.where(zero, 1, size) ** p)


def _power_rule(g: Any, y: Any, w: Any, p: float) -> Any:
    return g * (np.sign(w) * (_power_of(w, p=p - 1) * p))


_power = declare(
    "absolute_power", _power_forward, [_power_rule], jvps="elementwise", formula="|{0}|^p",
    derivatives=["p |{0}|^(p − 1) sign({0})"],
    samples=with_params(
        lambda rng: [Sample((draw(rng, s, 0.3, 2.0) * rng.choice([-1, 1], s),)) for s in [(), (3,), (2, 3), (0,)]],
        {"p": 0.5}, {"p": 1.0}, {"p": 1.5}, {"p": 3.0},
    ),
)  # fmt: skip
_power_of: Any = polymorphic(_power)


_PENALISED = (Linear, Bilinear, Convolution, PatchEmbedding)


def _layers(model: Module) -> Iterator[tuple[str, Any]]:
    """The layers that penalties are about, with their names; a weight that layers share only in the first."""
    seen: set[int] = set()
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, _PENALISED) and id(weight) not in seen:
            seen.add(id(weight))
            yield name, weight


def _layer_of(name: str) -> str:
    """The layer's name, from its own or its weight's."""
    return "" if name == "weight" else name.removesuffix(".weight")


def _penalty(name: str, model: Module, coef: Strength, measure: Callable[[Tensor], Tensor]) -> Tensor:
    if not isinstance(model, Module):
        raise TypeError(f"{name}: takes a Module, not {type(model).__name__}")
    layers = dict(_layers(model))
    if isinstance(coef, Mapping):
        strengths = {_layer_of(key): value for key, value in coef.items()}
        unknown = [key for key in strengths if key not in layers]
        if unknown:
            raise ValueError(
                f"{name}: coef names {unknown[0]!r}, the model's linear and convolution layers are {list(layers)}"
            )
    else:
        strengths = dict.fromkeys(layers, coef)
    total: Tensor | None = None
    for key, strength in strengths.items():
        if not isinstance(strength, Tensor):
            strength = number(name, f"coef of {key!r}" if isinstance(coef, Mapping) else "coef", strength)
        term = measure(layers[key]) * strength
        total = term if total is None else total + term
    if total is None:
        if not isinstance(coef, (Mapping, Tensor)):
            number(name, "coef", coef)
        return Tensor(0.0)
    return total


def l1(model: Module, coef: Strength = 1.0) -> Tensor:
    """coef · Σ |w| over the weights of all linear and convolution layers.

    Args:
        model: a module, with layers inside or a layer itself.
        coef: the strength; or for layer-wise strengths a dict of them by layer name (as in `named_modules`, or the
            weight's name in `named_parameters`), where layers that are not named are not penalised.

    Returns:
        one number, a Tensor; 0 if there is no such layer.

    Raises:
        TypeError: if `model` is no module, or a strength no number.
        ValueError: if a dict names something else than those layers.

    >>> import nn
    >>> model = nn.Sequential(nn.Linear(2, 1), nn.Tanh(), nn.Linear(1, 1))
    >>> _ = model.load_state_dict({"0.weight": [[1.0, -2.0]], "2.weight": [[3.0]]}, strict=False)
    >>> l1(model, 0.5).item(), l1(model, {"0": 1.0, "2": 0.1}).item()
    (3.0, 3.29999...)
    """
    return _penalty("penalty.l1", model, coef, lambda w: ad.absolute(w).sum())


def l2(model: Module, coef: Strength = 1.0) -> Tensor:
    """coef · Σ w², whose gradient is 2 coef w; arguments and errors as `l1`.

    >>> import nn
    >>> layer = nn.Linear(2, 1)
    >>> _ = layer.load_state_dict({"weight": [[1.0, -2.0]]}, strict=False)
    >>> l2(layer, 0.5).item()
    2.5
    """
    return _penalty("penalty.l2", model, coef, lambda w: ad.square(w).sum())


def lp(model: Module, p: float, coef: Strength = 1.0) -> Tensor:
    """coef · Σ |w|^p, whose gradient is coef p |w|^(p−1) sign(w), 0 at 0; arguments and errors as `l1`.

    For the form (λ/p) Σ |w|^p, with gradient λ |w|^(p−1) sign(w), give ``coef=λ / p``.

    Args:
        model, coef: as `l1`.
        p: the exponent, greater than 0. Where a derivative at 0 is infinite it is taken to be 0.

    Raises:
        ValueError: unless p is positive; and as `l1`.

    >>> import nn
    >>> layer = nn.Linear(2, 1)
    >>> _ = layer.load_state_dict({"weight": [[1.0, -2.0]]}, strict=False)
    >>> lp(layer, 3).item()
    9.0
    """
    p = positive("penalty.lp", "p", p)
    return _penalty("penalty.lp", model, coef, lambda w: (ad.square(w) if p == 2 else _power(w, p=p)).sum())
