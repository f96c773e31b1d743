"""Activations made of pieces, most of them straight, and steps.

At a kink the derivative is PyTorch's: the left slope for leaky ReLU and PReLU, 0 for the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.flags import flagged
from autodiff.ops.guards import gated
from autodiff.ops.samples import draw, unary, with_params
from autodiff.primitive import Sample, declare, polymorphic
from autodiff.tensor import plain

from ..arguments import count, float_input, number
from ..module.parameter import Parameter
from ..random import floating
from .base import Activation, Inplace, number_like

# Primitives


def _leaky(x: Any, slope: float) -> Any:
    return np.maximum(x, slope * x) if 0 < slope <= 1 else np.maximum(x, 0) + slope * np.minimum(x, 0)


def _leaky_rule(g: Any, y: Any, x: Any, slope: float) -> Any:
    taken = plain(x) > 0
    if slope == 0:
        return gated(g, taken, lambda: plain(x) < 0)
    return g * np.maximum(taken.astype(x.dtype), slope) if 0 < slope <= 1 else np.where(taken, g, slope * g)


_leaky_relu = declare(
    "leaky_relu", _leaky, [_leaky_rule],
    jvps="elementwise", formula="max({0}, a · {0})", derivatives=["1 if {0} > 0 else a"],
    samples=with_params(unary(smooth=2), {"slope": 0.1}, {"slope": 3.0}, {"slope": -0.5}, {"slope": 0.0}),
)  # fmt: skip

_prelu = declare(
    "prelu", lambda x, w: np.maximum(x, 0) + w * np.minimum(x, 0),
    [lambda g, y, x, w: np.where(plain(x) > 0, g, w * g), lambda g, y, x, w: np.where(plain(x) > 0, 0, g * x)],
    arity=2, jvps="elementwise", formula="max(0, {0}) + {1} · min(0, {0})",
    derivatives=["1 if {0} > 0 else {1}", "0 if {0} > 0 else {0}"],
    samples=lambda rng: [Sample((draw(rng, (2, 3, 2)), draw(rng, (3, 1))), smooth=2),
                         Sample((draw(rng, (4,)), draw(rng, (1,))), smooth=2),
                         Sample((draw(rng, (0, 3)), draw(rng, (3,))), smooth=2)],
)  # fmt: skip


def _hardtanh_rule(g: Any, y: Any, x: Any, low: float, high: float) -> Any:
    a = plain(x)
    return gated(g, (a > low) & (a < high), lambda: (a < low) | (a > high))


_hardtanh = declare(
    "hardtanh", lambda x, low, high: np.clip(x, low, high),
    [_hardtanh_rule],
    jvps="elementwise", formula="min(max({0}, l), h)", derivatives=["1 if l < {0} < h else 0"],
    samples=with_params(unary(smooth=2), {"low": -0.7, "high": 1.1}),
)  # fmt: skip

hardtanh_of: Any = polymorphic(_hardtanh)
relu_of: Any = polymorphic(ad.relu)


def _hardswish_rule(g: Any, y: Any, x: Any) -> Any:
    a = plain(x)
    return np.where((a > -3) & (a < 3), g * (x * (1 / 3) + 0.5), np.where(a >= 3, g, 0))


_hardswish = declare(
    "hardswish", lambda x: x * (np.clip(x + 3, 0, 6) * (1 / 6)), [_hardswish_rule], arity=1,
    jvps="elementwise", formula="{0} · min(max({0} + 3, 0), 6) / 6",
    derivatives=["{0} / 3 + ½ within ±3, 0 below, 1 above"],
    samples=unary(-5, 5, smooth=2), expansion=lambda x: x * (hardtanh_of(x + 3, low=0, high=6) * (1 / 6)),
)  # fmt: skip


def _shrink_rule(g: Any, y: Any, x: Any, lambd: float) -> Any:
    size = np.abs(plain(x))
    return gated(g, size > lambd, lambda: size < lambd)


_hardshrink = declare(
    "hardshrink", lambda x, lambd: x * (np.abs(x) > lambd), [_shrink_rule],
    jvps="elementwise", formula="{0} if |{0}| > λ else 0", derivatives=["1 if |{0}| > λ else 0"],
    samples=with_params(unary(smooth=2), {"lambd": 0.53}),
)  # fmt: skip

_softshrink = declare(
    "softshrink", lambda x, lambd: x - np.clip(x, -lambd, lambd), [_shrink_rule],
    jvps="elementwise", formula="{0} − min(max({0}, −λ), λ)", derivatives=["1 if |{0}| > λ else 0"],
    samples=with_params(unary(smooth=2), {"lambd": 0.53}),
)  # fmt: skip


# Functions


@flagged
def relu(input: Any, inplace: bool = False) -> Tensor:
    """max(x, 0), with derivative 0 at 0. `inplace` is accepted for PyTorch's sake and changes nothing.

    Args:
        input: any shape. (So for all activations; the output has the same shape and dtype.)
        inplace: accepted, without effect.
    """
    return ad.relu(input)


@flagged
def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, `negative_slope` · x elsewhere.

    >>> leaky_relu([-1.0, 2.0])
    Tensor([-0.01,  2.  ])
    """
    return _leaky_relu(float_input("leaky_relu", input), slope=number("leaky_relu", "negative_slope", negative_slope))


def prelu(input: Any, weight: Any) -> Tensor:
    """x where x > 0, w · x elsewhere, with slopes that are learned.

    Args:
        input: any shape.
        weight: w, one element, or one for each channel (axis 1 of the input).

    Raises:
        ValueError: if there is another number of channels.

    >>> prelu([[-1.0, -1.0]], [0.1, 0.5])
    Tensor([[-0.1, -0.5]])
    """
    input, weight = float_input("prelu", input), float_input("prelu", weight)
    if weight.size == 1:
        shape: tuple[int, ...] = ()
    else:
        shape = weight.shape + (1,) * (input.ndim - 2)
        if weight.ndim != 1 or input.ndim < 2 or input.shape[1] != weight.size:
            raise ValueError(
                f"prelu: weight of shape {weight.shape} does not fit input of shape {input.shape}; it has one element, "
                f"or one for each channel (axis 1)"
            )
    return _prelu(input, weight if weight.shape == shape else weight.reshape(shape))


@flagged
def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x cut off at `min_val` and `max_val`.

    Raises:
        ValueError: unless `min_val` < `max_val`.

    >>> hardtanh([-2.0, 0.3])
    Tensor([-1. ,  0.3])
    """
    return _hardtanh(float_input("hardtanh", input), **_limits("hardtanh", min_val, max_val))


def _limits(name: str, low: Any, high: Any) -> dict[str, float]:
    low, high = number(name, "min_val", low), number(name, "max_val", high)
    if not low < high:
        raise ValueError(f"{name}: max_val is greater than min_val, not {high} after {low}")
    return {"low": low, "high": high}


@flagged
def relu6(input: Any, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6).

    >>> relu6([-2.0, 3.0, 7.0])
    Tensor([0., 3., 6.])
    """
    return _hardtanh(float_input("relu6", input), low=0.0, high=6.0)


@flagged
def hardsigmoid(input: Any, inplace: bool = False) -> Tensor:
    """(x + 3) / 6 cut off at 0 and 1.

    >>> hardsigmoid([-4.0, 0.0, 1.5])
    Tensor([0.  , 0.5 , 0.75])
    """
    return _hardtanh(float_input("hardsigmoid", input) + 3, low=0.0, high=6.0) * (1 / 6)


@flagged
def hardswish(input: Any, inplace: bool = False) -> Tensor:
    """x · relu6(x + 3) / 6 (Howard et al., 2019).

    >>> hardswish([-4.0, 1.0, 4.0])
    Tensor([-0.        ,  0.66666667,  4.        ])
    """
    return _hardswish(float_input("hardswish", input))


def hardshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """x where |x| > λ, 0 elsewhere.

    >>> hardshrink([-2.0, 0.3])
    Tensor([-2.,  0.])
    """
    return _hardshrink(float_input("hardshrink", input), lambd=number("hardshrink", "lambd", lambd, 0))


def softshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """x drawn towards 0 by λ: x − λ, x + λ, or 0 where |x| ≤ λ.

    >>> softshrink([-2.0, 0.3])
    Tensor([-1.5,  0. ])
    """
    return _softshrink(float_input("softshrink", input), lambd=number("softshrink", "lambd", lambd, 0))


def step(input: Any, value: float = 0.0) -> Tensor:
    """1 where x > 0, 0 where x < 0, `value` at 0; the gradient is 0.

    >>> step([-1.0, 0.0, 2.0])
    Tensor([0., 0., 1.])
    """
    input = float_input("step", input)
    return ad.heaviside(input, number_like(input, number("step", "value", value)))


def sign(input: Any) -> Tensor:
    """−1, 0 or 1 by the sign of x; the gradient is 0.

    >>> sign([-2.0, 0.0, 2.0])
    Tensor([-1.,  0.,  1.])
    """
    return ad.sign(float_input("sign", input))


# Modules


class ReLU(Inplace):
    """max(x, 0), elementwise. `inplace` is accepted for PyTorch's sake and changes nothing (so in all activations).

    >>> ReLU()(ad.Tensor([-1.0, 2.0]))
    Tensor([0., 2.])
    """

    def forward(self, input: Any) -> Tensor:
        """max(x, 0)."""
        return ad.relu(input)


class LeakyReLU(Activation):
    """x where x > 0, `negative_slope` · x elsewhere, as `leaky_relu`.

    >>> LeakyReLU(0.1)(ad.Tensor([-1.0, 2.0]))
    Tensor([-0.1,  2. ])
    """

    _options = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope = number("LeakyReLU", "negative_slope", negative_slope)

    def forward(self, input: Any) -> Tensor:
        """x or negative_slope · x."""
        return leaky_relu(input, self.negative_slope)


class PReLU(Activation):
    """x where x > 0, w · x elsewhere, with learned slopes w (He et al., 2015).

    Args:
        num_parameters: 1, or the number of channels (the input's axis 1).
        init: initial value of the slopes.
        dtype: of the slopes; `nn.get_default_dtype()` by default.

    Shapes: any input; `weight` (num_parameters,).

    >>> layer = PReLU()
    >>> layer(ad.Tensor([-1.0, 2.0])).tolist(), layer
    ([-0.25, 2.0], PReLU(num_parameters=1) · 1 parameter)
    """

    _options = ("num_parameters",)

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: Any = None) -> None:
        self.num_parameters = count("PReLU", "num_parameters", num_parameters, 1)
        self.init = number("PReLU", "init", init)
        self.weight = Parameter(np.full(self.num_parameters, self.init, floating(dtype)))

    def reset_parameters(self) -> None:
        """Set all slopes to `init` again."""
        self.weight.data = np.full_like(self.weight.data, self.init)

    def forward(self, input: Any) -> Tensor:
        """x or w · x."""
        return prelu(input, self.weight)


class Hardtanh(Activation):
    """x cut off at `min_val` and `max_val`, as `hardtanh`.

    >>> Hardtanh()(ad.Tensor([-2.0, 0.3]))
    Tensor([-1. ,  0.3])
    """

    _options = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        self.min_val, self.max_val = _limits("Hardtanh", min_val, max_val).values()

    def forward(self, input: Any) -> Tensor:
        """x within min_val and max_val."""
        return hardtanh(input, self.min_val, self.max_val)


class ReLU6(Inplace):
    """min(max(x, 0), 6), as `relu6`.

    >>> ReLU6()(ad.Tensor([-2.0, 3.0, 7.0]))
    Tensor([0., 3., 6.])
    """

    def forward(self, input: Any) -> Tensor:
        """min(max(x, 0), 6)."""
        return relu6(input)


class Hardsigmoid(Inplace):
    """(x + 3) / 6 cut off at 0 and 1, as `hardsigmoid`.

    >>> Hardsigmoid()(ad.Tensor([-4.0, 0.0, 1.5]))
    Tensor([0.  , 0.5 , 0.75])
    """

    def forward(self, input: Any) -> Tensor:
        """(x + 3) / 6 within 0 and 1."""
        return hardsigmoid(input)


class Hardswish(Inplace):
    """x · relu6(x + 3) / 6, as `hardswish`.

    >>> Hardswish()(ad.Tensor([1.0, 4.0]))
    Tensor([0.66666667, 4.        ])
    """

    def forward(self, input: Any) -> Tensor:
        """x · relu6(x + 3) / 6."""
        return hardswish(input)


class Hardshrink(Activation):
    """x where |x| > λ, 0 elsewhere, as `hardshrink`.

    >>> Hardshrink()(ad.Tensor([-2.0, 0.3]))
    Tensor([-2.,  0.])
    """

    _options = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = number("Hardshrink", "lambd", lambd, 0)

    def forward(self, input: Any) -> Tensor:
        """x or 0."""
        return hardshrink(input, self.lambd)


class Softshrink(Activation):
    """x drawn towards 0 by λ, as `softshrink`.

    >>> Softshrink()(ad.Tensor([-2.0, 0.3]))
    Tensor([-1.5,  0. ])
    """

    _options = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = number("Softshrink", "lambd", lambd, 0)

    def forward(self, input: Any) -> Tensor:
        """x − λ, x + λ or 0."""
        return softshrink(input, self.lambd)


class Step(Activation):
    """1 where x > 0, 0 where x < 0, `value` at 0, without gradient, as `step`: the perceptron's output.

    >>> Step()(ad.Tensor([-1.0, 0.0, 2.0]))
    Tensor([0., 0., 1.])
    """

    _options = ("value",)

    def __init__(self, value: float = 0.0) -> None:
        self.value = number("Step", "value", value)

    def forward(self, input: Any) -> Tensor:
        """0, value or 1."""
        return step(input, self.value)


class Sign(Activation):
    """−1, 0 or 1, without gradient, as `sign`.

    >>> Sign()(ad.Tensor([-2.0, 0.0, 2.0]))
    Tensor([-1.,  0.,  1.])
    """

    def forward(self, input: Any) -> Tensor:
        """−1, 0 or 1."""
        return sign(input)
