"""Initial values of parameters, under PyTorch's names: every function writes into a tensor and returns it.

``rng=`` is the generator to draw from; without it, the one that `nn.manual_seed` sets. Order: constants, plain
distributions, those whose width follows from the number of inputs and outputs, structured ones.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from autodiff import Tensor
from autodiff.devices import place_of, put
from autodiff.flags import flagged
from autodiff.tensor import writable

from .arguments import choice, count, number
from .random import generator

__all__ = [
    "calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_", "lecun_normal_", "normal_",
    "ones_", "orthogonal_", "siren_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
]  # fmt: skip

Rng = np.random.Generator | None


def _given(name: str, tensor: Any, axes: int = 0) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: writes into a Tensor (a layer's weight, say), not {type(tensor).__name__}")
    if not tensor.is_leaf:
        raise RuntimeError(f"{name}: writes into a parameter or another leaf, not into the result of {tensor.op}")
    if tensor.dtype.kind != "f":
        raise TypeError(f"{name}: writes floating-point values, got a tensor of {tensor.dtype}")
    if tensor.ndim < axes:
        raise ValueError(f"{name}: got a tensor of shape {tensor.shape}, expects at least {axes} axes, (out, in, ...)")
    return tensor


def _write(tensor: Tensor, values: Any) -> Tensor:
    data = writable(tensor)
    data[...] = put(values, place_of(data)) if isinstance(values, np.ndarray) else values
    tensor.data = data  # assigned, so that the engine knows of the write
    return tensor


# Constants


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value.

    >>> constant_(Tensor([1.0, 2.0]), 0.5)
    Tensor([0.5, 0.5])
    """
    return _write(_given("constant_", tensor), val)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return _write(_given("zeros_", tensor), 0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return _write(_given("ones_", tensor), 1)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix, so that a linear layer passes on as many inputs as it can.

    Raises:
        ValueError: for anything but a matrix.

    >>> eye_(Tensor([[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]))
    Tensor([[1., 0., 0.],
           [0., 1., 0.]])
    """
    if _given("eye_", tensor).ndim != 2:
        raise ValueError(f"eye_: got a tensor of shape {tensor.shape}, expects a matrix")
    return _write(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


# Plain distributions


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, rng: Rng = None) -> Tensor:
    """Uniform in [a, b).

    Raises:
        ValueError: for a > b.
    """
    _given("uniform_", tensor)
    a, b = number("uniform_", "a", a), number("uniform_", "b", b)
    if a > b:
        raise ValueError(f"uniform_: a is at most b, not {a} and {b}")
    return _write(tensor, generator(rng).uniform(a, b, tensor.shape))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, rng: Rng = None) -> Tensor:
    """Normal with this mean and standard deviation.

    Raises:
        ValueError: for a negative standard deviation.
    """
    _given("normal_", tensor)
    mean, std = number("normal_", "mean", mean), number("normal_", "std", std, 0.0)
    return _write(tensor, generator(rng).normal(mean, std, tensor.shape))


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, rng: Rng = None
) -> Tensor:
    """Normal with this mean and standard deviation (before the cut), cut off outside [a, b].

    Values are drawn by the inverse of the distribution function, x = Φ⁻¹(u) with u uniform between Φ at the bounds.

    Raises:
        ValueError: for a > b or a standard deviation that is not positive.
    """
    _given("trunc_normal_", tensor)
    mean, std = number("trunc_normal_", "mean", mean), number("trunc_normal_", "std", std, 0.0)
    a, b = number("trunc_normal_", "a", a), number("trunc_normal_", "b", b)
    if a > b or std == 0:
        raise ValueError(f"trunc_normal_: needs a ≤ b and std > 0, not a={a}, b={b}, std={std}")
    low, high, sign = (a - mean) / std, (b - mean) / std, 1.0
    if low > 0:  # in the upper tail Φ is 1 up to rounding: take the mirror image
        low, high, sign = -high, -low, -1.0
    values = ndtri(generator(rng).uniform(ndtr(low), ndtr(high), tensor.shape))
    return _write(tensor, np.clip(mean + sign * std * values, a, b))


# Widths that keep the variance of what goes through a layer


_GAINS = {
    "linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0, "conv_transpose1d": 1.0, "conv_transpose2d": 1.0,
    "conv_transpose3d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2.0), "selu": 0.75,
}  # fmt: skip


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights in front of a nonlinearity are made wider, PyTorch's table: 1 for linear layers and
    sigmoid, 5/3 for tanh, √2 for relu, √(2/(1 + slope²)) for leaky_relu, 3/4 for selu.

    Args:
        nonlinearity: its name, as in `nn.functional`.
        param: the slope of leaky_relu, 0.01 by default.

    Raises:
        ValueError: for another name.

    >>> calculate_gain("leaky_relu", 1.0)
    1.0
    """
    choice("calculate_gain", "nonlinearity", nonlinearity, (*_GAINS, "leaky_relu"))
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else number("calculate_gain", "param", param)
        return math.sqrt(2.0 / (1 + slope**2))
    return _GAINS[nonlinearity]


def _fans(name: str, tensor: Any) -> tuple[int, int]:
    """From how many inputs an output is made, and how many outputs an input goes to: for a weight (out, in, ...) of a
    convolution, times the number of taps."""
    out, into, *taps = _given(name, tensor, 2).shape
    return into * math.prod(taps), out * math.prod(taps)


def _deviation(gain: float, fan: float) -> float:
    return gain / math.sqrt(fan) if fan else 0.0


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, rng: Rng = None) -> Tensor:
    """Uniform within ± gain · √(6 / (fan_in + fan_out)): variance 2 gain² / (fan_in + fan_out).

    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010.

    Raises:
        ValueError: for a tensor with less than two axes.
    """
    bound = math.sqrt(3) * _deviation(
        number("xavier_uniform_", "gain", gain), sum(_fans("xavier_uniform_", tensor)) / 2
    )
    return _write(tensor, generator(rng).uniform(-bound, bound, tensor.shape))


def xavier_normal_(tensor: Tensor, gain: float = 1.0, rng: Rng = None) -> Tensor:
    """Normal with variance 2 gain² / (fan_in + fan_out).

    Raises:
        ValueError: for a tensor with less than two axes.
    """
    std = _deviation(number("xavier_normal_", "gain", gain), sum(_fans("xavier_normal_", tensor)) / 2)
    return _write(tensor, generator(rng).normal(0, abs(std), tensor.shape))


def _kaiming(name: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fan_in, fan_out = _fans(name, tensor)
    choice(name, "mode", mode, ("fan_in", "fan_out"))
    return _deviation(calculate_gain(nonlinearity, a), fan_in if mode == "fan_in" else fan_out)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", rng: Rng = None
) -> Tensor:
    """Uniform within ± gain · √(3 / fan): variance gain² / fan.

    Args:
        tensor: the weight, shape (out, in, ...).
        a: the slope, where `nonlinearity` is leaky_relu.
        mode: which fan, "fan_in" (keeps the variance forwards) or "fan_out" (backwards).
        nonlinearity: whose gain, see `calculate_gain`.
        rng: the generator.

    Source: He et al., Delving Deep into Rectifiers, 2015.

    Raises:
        ValueError: for a tensor with less than two axes, another mode or nonlinearity.
    """
    bound = math.sqrt(3) * _kaiming("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return _write(tensor, generator(rng).uniform(-bound, bound, tensor.shape))


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", rng: Rng = None
) -> Tensor:
    """Normal with variance gain² / fan; arguments and errors are those of `kaiming_uniform_`."""
    std = _kaiming("kaiming_normal_", tensor, a, mode, nonlinearity)
    return _write(tensor, generator(rng).normal(0, std, tensor.shape))


def lecun_normal_(tensor: Tensor, rng: Rng = None) -> Tensor:
    """Normal with variance 1 / fan_in, the rule that keeps the variance through a linear layer (and SELU).

    Source: LeCun et al., Efficient BackProp, 1998.

    Raises:
        ValueError: for a tensor with less than two axes.
    """
    std = _deviation(1.0, _fans("lecun_normal_", tensor)[0])
    return _write(tensor, generator(rng).normal(0, std, tensor.shape))


@flagged
def siren_(tensor: Tensor, w0: float = 30.0, first: bool = False, rng: Rng = None) -> Tensor:
    """For layers followed by sin(w0 x): uniform within ± √(6 / fan_in) / w0, or ± 1 / fan_in in the first layer.

    Source: Sitzmann et al., Implicit Neural Representations with Periodic Activation Functions, 2020, section 3.2.

    Raises:
        ValueError: for a tensor with less than two axes, or w0 = 0.
    """
    fan, w0 = _fans("siren_", tensor)[0], number("siren_", "w0", w0)
    if w0 == 0:
        raise ValueError("siren_: w0 is not 0")
    bound = 1 / max(fan, 1) if first else _deviation(math.sqrt(6) / abs(w0), fan)
    return _write(tensor, generator(rng).uniform(-bound, bound, tensor.shape))


# Structured ones


def orthogonal_(tensor: Tensor, gain: float = 1.0, rng: Rng = None) -> Tensor:
    """A random matrix with orthonormal rows or columns (whichever are fewer), times `gain`; all axes but the first
    count as one.

    Source: Saxe et al., Exact solutions to the nonlinear dynamics of learning in deep linear neural networks, 2013.

    Raises:
        ValueError: for a tensor with less than two axes.
    """
    _given("orthogonal_", tensor, 2)
    gain = number("orthogonal_", "gain", gain)
    if not tensor.size:
        return tensor
    rows, columns = tensor.shape[0], tensor.size // tensor.shape[0]
    q, r = np.linalg.qr(generator(rng).standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diagonal(r))  # without this the distribution would not be uniform
    return _write(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """For convolutions: each output channel passes on the input channel of its number, as far as there is one.

    Args:
        tensor: the weight, shape (out, in, *kernel) with one to three kernel axes.
        groups: each group of output channels begins anew.

    Raises:
        ValueError: for another rank, or out channels that cannot be divided into the groups.

    >>> dirac_(Tensor([[[5.0, 5.0, 5.0]]]))
    Tensor([[[0., 1., 0.]]])
    """
    _given("dirac_", tensor)
    groups = count("dirac_", "groups", groups, 1)
    if tensor.ndim not in (3, 4, 5) or tensor.shape[0] % groups:
        raise ValueError(
            f"dirac_: got a tensor of shape {tensor.shape}, expects (out, in, *kernel) with one to three kernel axes "
            f"and out a multiple of {groups} groups"
        )
    values = np.zeros(tensor.shape)
    size = tensor.shape[0] // groups
    centre = tuple(n // 2 for n in tensor.shape[2:])
    for i in range(groups):
        for j in range(min(size, tensor.shape[1])):
            values[(i * size + j, j, *centre)] = 1
    return _write(tensor, values)
