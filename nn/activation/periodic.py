"""Periodic activations: the sine of SIREN, snake, and the triangle wave."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.ops.precision import in_single
from autodiff.ops.samples import unary, with_params
from autodiff.primitive import Sample, declare
from autodiff.tensor import plain

from ..arguments import float_input, number, positive
from .base import Activation, number_like

# Primitives


_snake = declare(
    "snake", in_single(lambda x, alpha: x + np.square(np.sin(x * alpha)) * (1 / alpha)),
    [in_single(lambda g, y, x, alpha: g + g * (2 * np.sin(x * alpha) * np.cos(x * alpha)))],
    jvps="elementwise", formula="{0} + sin²(a · {0}) / a", derivatives=["1 + sin(2a · {0})"],
    samples=with_params(unary(), {"alpha": 1.0}, {"alpha": 2.5}),
    expansion=in_single(lambda x, alpha: x + np.sin(x * alpha) ** 2 * (1 / alpha)),
)  # fmt: skip


def _phase(x: Any, period: float) -> Any:
    return np.mod(x * (1 / period) - 0.25, 1)


def _triangle_rule(g: Any, y: Any, x: Any, period: float) -> Any:
    u = _phase(plain(x), period)
    return g * (np.sign(u - 0.5) * (u != 0) * number_like(x, 4 / period))


_triangle = declare(
    "triangle_wave", in_single(lambda x, period: np.abs(_phase(x, period) - 0.5) * 4 - 1), [in_single(_triangle_rule)],
    jvps="elementwise", formula="4 |({0} / P − ¼) mod 1 − ½| − 1", derivatives=["±4 / P, 0 at the peaks"],
    samples=lambda rng: [Sample((np.array([0.3, -1.1, 2.2, 5.1]),), {"period": 2.0}, smooth=2),
                         Sample((np.array(0.1),), {"period": 0.7}, smooth=2),
                         Sample((np.zeros((0, 2)),), {"period": 1.0}, smooth=2)],
)  # fmt: skip


# Functions


def sine(input: Any, w0: float = 30.0) -> Tensor:
    """sin(w0 · x), the activation of SIREN (Sitzmann et al., 2020); `nn.init.siren_` draws weights for it.

    >>> sine([0.0, 0.5], w0=np.pi)
    Tensor([0., 1.])
    """
    return _sine(float_input("sine", input), number("sine", "w0", w0))


@in_single
def _sine(x: Tensor, w0: float) -> Tensor:
    return ad.sin(x * w0)


def snake(input: Any, alpha: float = 1.0) -> Tensor:
    """x + sin²(α x) / α, periodic and monotone (Ziyin et al., 2020).

    Raises:
        ValueError: unless α is positive.

    >>> snake([0.0, np.pi / 2])
    Tensor([0.        , 2.57079633])
    """
    return _snake(float_input("snake", input), alpha=positive("snake", "alpha", alpha))


def triangle_wave(input: Any, period: float = 2 * math.pi) -> Tensor:
    """The triangle wave between −1 and 1 that rises through 0 at 0, a sine with straight sides.

    Its derivative is ±4 / `period`, and 0 at the peaks.

    Raises:
        ValueError: unless `period` is positive.

    >>> triangle_wave([0.0, 0.5, 1.0, 2.5, 3.0], period=4.0)
    Tensor([ 0. ,  0.5,  1. , -0.5, -1. ])
    """
    return _triangle(float_input("triangle_wave", input), period=positive("triangle_wave", "period", period))


# Modules


class Sine(Activation):
    """sin(w0 · x), as `sine`.

    >>> Sine(w0=np.pi)(ad.Tensor([0.0, 0.5]))
    Tensor([0., 1.])
    """

    _options = ("w0",)

    def __init__(self, w0: float = 30.0) -> None:
        self.w0 = number("Sine", "w0", w0)

    def forward(self, input: Any) -> Tensor:
        """sin(w0 · x)."""
        return sine(input, self.w0)


class Snake(Activation):
    """x + sin²(α x) / α, as `snake`.

    >>> Snake()(ad.Tensor([0.0, np.pi / 2]))
    Tensor([0.        , 2.57079633])
    """

    _options = ("alpha",)

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = positive("Snake", "alpha", alpha)

    def forward(self, input: Any) -> Tensor:
        """x + sin²(α x) / α."""
        return snake(input, self.alpha)


class TriangleWave(Activation):
    """The triangle wave of a period, as `triangle_wave`.

    >>> TriangleWave(4.0)(ad.Tensor([0.0, 0.5, 1.0, 2.5]))
    Tensor([ 0. ,  0.5,  1. , -0.5])
    """

    _options = ("period",)

    def __init__(self, period: float = 2 * math.pi) -> None:
        self.period = positive("TriangleWave", "period", period)

    def forward(self, input: Any) -> Tensor:
        """Straight sides between −1 and 1."""
        return triangle_wave(input, self.period)
