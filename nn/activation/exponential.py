"""Activations made of exponentials: sigmoid and its kin, and ELU and its kin, which have the left slope at 0."""

from __future__ import annotations

from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.flags import flagged
from autodiff.ops.guards import common
from autodiff.ops.samples import unary, with_params
from autodiff.primitive import declare, polymorphic
from autodiff.tensor import plain

from ..arguments import float_input, number, positive
from .base import Activation, Inplace, number_like
from .piecewise import relu_of

# Primitives

sigmoid_of: Any = polymorphic(ad.sigmoid)
softplus_of: Any = polymorphic(ad.softplus)


def _elu_forward(x: Any, alpha: float, scale: float = 1.0, rate: float = 1.0) -> Any:
    return scale * np.maximum(x, 0) + (scale * alpha) * np.expm1(rate * np.minimum(x, 0))


def _elu_rule(g: Any, y: Any, x: Any, alpha: float, scale: float = 1.0, rate: float = 1.0) -> Any:
    """The left slope is s·a·r exp(r x): of y, as r (y + s·a), it would cancel. relu(−x) has derivative 0 at 0, and so
    the second derivative there is PyTorch's, 0."""
    left = scale * alpha * rate
    return g * ((plain(x) > 0) * number_like(x, scale - left) + left * np.exp(-rate * relu_of(-x)))


def _elu_expansion(x: Tensor, alpha: float, scale: float = 1.0, rate: float = 1.0) -> Tensor | None:
    """Two branches; at 0 itself they have no second derivative in common."""
    above = plain(x) > 0
    if (plain(x) == 0).any():
        return None
    y = ad.where(above, x, np.expm1(rate * ad.where(above, 0, x)) * alpha)
    return y if scale == 1 else y * scale


_elu = declare(
    "elu", _elu_forward, [_elu_rule], jvps="elementwise", expansion=_elu_expansion,
    formula="s · ({0} if {0} > 0 else a (exp(r · {0}) − 1))",
    derivatives=["s if {0} > 0 else s · a · r exp(r · {0})"],
    samples=with_params(unary(), {"alpha": 1.0}, {"alpha": 0.5, "scale": 1.5}, {"alpha": 2.0, "rate": 0.5}),
)  # fmt: skip


def _softplus_forward(x: Any, beta: float, threshold: float) -> Any:
    z = x * beta
    y, above = softplus_of(z) / beta, z > threshold
    return y if common(~above.any()) else np.where(above, x, y)


def _softplus_rule(g: Any, y: Any, x: Any, beta: float, threshold: float) -> Any:
    z = x * beta
    d, above = g * sigmoid_of(z), plain(z) > threshold
    return d if common(~above.any()) else np.where(above, g, d)


def _softplus_expansion(x: Tensor, beta: float, threshold: float) -> Tensor:
    z = x * beta
    y, above = ad.softplus(z) / beta, z > threshold
    return ad.where(above, x, y) if above.any() else y


_softplus = declare(
    "softplus_of_beta", _softplus_forward, [_softplus_rule],
    jvps="elementwise", formula="log(1 + exp(b · {0})) / b", derivatives=["σ(b · {0})"],
    samples=with_params(unary(-4, 4), {"beta": 1.0, "threshold": 20.0}, {"beta": 1.7, "threshold": 20.0}),
    doc="log(1 + exp(b x)) / b, and x where b x is above the threshold.",
    expansion=_softplus_expansion,
)  # fmt: skip


def _softsign_rule(g: Any, y: Any, x: Any) -> Any:
    d = np.abs(x) + 1
    return g / d / d


_softsign = declare(
    "softsign", lambda x: x / (np.abs(x) + 1), [_softsign_rule], arity=1,
    expansion=lambda x: x / (np.abs(x) + 1),
    jvps="elementwise", formula="{0} / (1 + |{0}|)", derivatives=["1 / (1 + |{0}|)²"], samples=unary(smooth=2),
)  # fmt: skip


# Functions


def sigmoid(input: Any) -> Tensor:
    """1 / (1 + e^(−x))."""
    return ad.sigmoid(input)


def logsigmoid(input: Any) -> Tensor:
    """log σ(x) = −log(1 + e^(−x)), without overflow.

    >>> logsigmoid([0.0, -1000.0])
    Tensor([-6.93147181e-01, -1.00000000e+03])
    """
    return ad.special.log_expit(float_input("logsigmoid", input))


def tanh(input: Any) -> Tensor:
    """The hyperbolic tangent."""
    return ad.tanh(input)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(β x)) / β, and x itself where β x > `threshold`; never overflows.

    Raises:
        ValueError: unless β is positive.

    >>> softplus([0.0, 1000.0])
    Tensor([6.93147181e-01, 1.00000000e+03])
    """
    beta, threshold = positive("softplus", "beta", beta), number("softplus", "threshold", threshold)
    return _softplus(float_input("softplus", input), beta=beta, threshold=threshold)


def softsign(input: Any) -> Tensor:
    """x / (1 + |x|).

    >>> softsign([-1.0, 3.0])
    Tensor([-0.5 ,  0.75])
    """
    return _softsign(float_input("softsign", input))


@flagged
def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, α (eˣ − 1) elsewhere.

    >>> elu([-1.0, 2.0])
    Tensor([-0.63212056,  2.        ])
    """
    return _elu(float_input("elu", input), alpha=number("elu", "alpha", alpha, 0))


SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


@flagged
def selu(input: Any, inplace: bool = False) -> Tensor:
    """λ · elu(x, α) with the λ and α that keep mean 0 and variance 1 through the layers (Klambauer et al., 2017).

    >>> selu([-1.0, 2.0])
    Tensor([-1.11133074,  2.10140197])
    """
    return _elu(float_input("selu", input), alpha=SELU_ALPHA, scale=SELU_SCALE)


@flagged
def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, α (exp(x/α) − 1) elsewhere: smooth at 0 for every α (Barron, 2017).

    >>> celu([-1.0, 2.0], alpha=2.0)
    Tensor([-0.78693868,  2.        ])
    """
    alpha = positive("celu", "alpha", alpha)
    return _elu(float_input("celu", input), alpha=alpha, rate=1 / alpha)


# Modules


class Sigmoid(Activation):
    """1 / (1 + e^(−x)), elementwise.

    >>> Sigmoid()(ad.Tensor([0.0]))
    Tensor([0.5])
    """

    def forward(self, input: Any) -> Tensor:
        """1 / (1 + e^(−x))."""
        return ad.sigmoid(input)


class LogSigmoid(Activation):
    """log σ(x), as `logsigmoid`.

    >>> LogSigmoid()(ad.Tensor([0.0]))
    Tensor([-0.69314718])
    """

    def forward(self, input: Any) -> Tensor:
        """log σ(x)."""
        return logsigmoid(input)


class Tanh(Activation):
    """The hyperbolic tangent, elementwise.

    >>> Tanh()(ad.Tensor([0.0]))
    Tensor([0.])
    """

    def forward(self, input: Any) -> Tensor:
        """tanh x."""
        return ad.tanh(input)


class Softplus(Activation):
    """log(1 + exp(β x)) / β, as `softplus`.

    >>> Softplus()(ad.Tensor([0.0, 1000.0]))
    Tensor([6.93147181e-01, 1.00000000e+03])
    """

    _options = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = positive("Softplus", "beta", beta)
        self.threshold = number("Softplus", "threshold", threshold)

    def forward(self, input: Any) -> Tensor:
        """log(1 + exp(β x)) / β."""
        return softplus(input, self.beta, self.threshold)


class Softsign(Activation):
    """x / (1 + |x|), as `softsign`.

    >>> Softsign()(ad.Tensor([-1.0, 3.0]))
    Tensor([-0.5 ,  0.75])
    """

    def forward(self, input: Any) -> Tensor:
        """x / (1 + |x|)."""
        return softsign(input)


class ELU(Activation):
    """x where x > 0, α (eˣ − 1) elsewhere, as `elu`.

    >>> ELU()(ad.Tensor([-1.0, 2.0]))
    Tensor([-0.63212056,  2.        ])
    """

    _options = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha = number("ELU", "alpha", alpha, 0)

    def forward(self, input: Any) -> Tensor:
        """x or α (eˣ − 1)."""
        return elu(input, self.alpha)


class SELU(Inplace):
    """The self-normalising λ · elu(x, α), as `selu`.

    >>> SELU()(ad.Tensor([-1.0, 2.0]))
    Tensor([-1.11133074,  2.10140197])
    """

    def forward(self, input: Any) -> Tensor:
        """λ · elu(x, α)."""
        return selu(input)


class CELU(Activation):
    """x where x > 0, α (exp(x/α) − 1) elsewhere, as `celu`.

    >>> CELU(2.0)(ad.Tensor([-1.0, 2.0]))
    Tensor([-0.78693868,  2.        ])
    """

    _options = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha = positive("CELU", "alpha", alpha)

    def forward(self, input: Any) -> Tensor:
        """x or α (exp(x/α) − 1)."""
        return celu(input, self.alpha)
