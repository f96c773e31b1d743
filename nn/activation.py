"""Activations, each as a function and as a module: primitives (a table of derivatives), functions, modules.

At a kink the derivative is PyTorch's: the left slope for leaky ReLU, PReLU, ELU, SELU and CELU, 0 for the others.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.ops.samples import draw, unary, with_params
from autodiff.primitive import Sample, declare, polymorphic

from .arguments import choice, count, floats, number, positive
from .module import Module
from .parameter import Parameter, as_tensor
from .random import floating

# Primitives. Masks are looked up in the raw values: they are constants of the derivative.


def _raw(v: Any) -> Any:
    return v._data if isinstance(v, Tensor) else v


_relu_of: Any = polymorphic(ad.relu)
_sigmoid_of: Any = polymorphic(ad.sigmoid)
_softplus_of: Any = polymorphic(ad.softplus)
_ndtr_of: Any = polymorphic(ad.special.ndtr)


def _leaky(x: Any, slope: float) -> Any:
    return np.maximum(x, slope * x) if 0 < slope <= 1 else np.maximum(x, 0) + slope * np.minimum(x, 0)


def _leaky_rule(g: Any, y: Any, x: Any, slope: float) -> Any:
    taken = _raw(x) > 0
    return g * np.maximum(taken.astype(x.dtype), slope) if 0 <= slope <= 1 else np.where(taken, g, slope * g)


_leaky_relu = declare(
    "leaky_relu", _leaky, [_leaky_rule], formula="max({0}, a · {0})", derivatives=["1 if {0} > 0 else a"],
    samples=with_params(unary(smooth=2), {"slope": 0.1}, {"slope": 3.0}, {"slope": -0.5}, {"slope": 0.0}),
)  # fmt: skip

_prelu = declare(
    "prelu", lambda x, w: np.maximum(x, 0) + w * np.minimum(x, 0),
    [lambda g, y, x, w: np.where(_raw(x) > 0, g, w * g), lambda g, y, x, w: np.where(_raw(x) > 0, 0, g * x)],
    arity=2, formula="max(0, {0}) + {1} · min(0, {0})",
    derivatives=["1 if {0} > 0 else {1}", "0 if {0} > 0 else {0}"],
    samples=lambda rng: [Sample((draw(rng, (2, 3, 2)), draw(rng, (3, 1))), smooth=2),
                         Sample((draw(rng, (4,)), draw(rng, (1,))), smooth=2),
                         Sample((draw(rng, (0, 3)), draw(rng, (3,))), smooth=2)],
)  # fmt: skip


def _elu_forward(x: Any, alpha: float, scale: float = 1.0, rate: float = 1.0) -> Any:
    return scale * np.maximum(x, 0) + (scale * alpha) * np.expm1(rate * np.minimum(x, 0))


def _elu_rule(g: Any, y: Any, x: Any, alpha: float, scale: float = 1.0, rate: float = 1.0) -> Any:
    """The left slope is r (y + s·a), which y itself gives; relu(−y) has derivative 0 at 0, and so the second
    derivative there is PyTorch's, 0."""
    left = scale * alpha * rate
    return g * ((_raw(x) > 0) * _like(x, scale - left) + left - rate * _relu_of(-y))


def _like(x: Any, value: float) -> Any:
    """A number in x's dtype: multiplied with a mask it stays there."""
    return x.dtype.type(value)


_elu = declare(
    "elu", _elu_forward, [_elu_rule], formula="s · ({0} if {0} > 0 else a (exp(r · {0}) − 1))",
    derivatives=["s if {0} > 0 else r ({y} + s · a)"],
    samples=with_params(unary(), {"alpha": 1.0}, {"alpha": 0.5, "scale": 1.5}, {"alpha": 2.0, "rate": 0.5}),
)  # fmt: skip

_hardtanh = declare(
    "hardtanh", lambda x, low, high: np.clip(x, low, high),
    [lambda g, y, x, low, high: g * ((_raw(x) > low) & (_raw(x) < high))],
    formula="min(max({0}, l), h)", derivatives=["1 if l < {0} < h else 0"],
    samples=with_params(unary(smooth=2), {"low": -0.7, "high": 1.1}),
)  # fmt: skip
hardtanh_of: Any = polymorphic(_hardtanh)


def _hardswish_rule(g: Any, y: Any, x: Any) -> Any:
    a = _raw(x)
    return np.where((a > -3) & (a < 3), g * (x * (1 / 3) + 0.5), np.where(a >= 3, g, 0))


_hardswish = declare(
    "hardswish", lambda x: x * np.clip(x + 3, 0, 6) * (1 / 6), [_hardswish_rule], arity=1,
    formula="{0} · min(max({0} + 3, 0), 6) / 6", derivatives=["{0} / 3 + ½ within ±3, 0 below, 1 above"],
    samples=unary(-5, 5, smooth=2),
)  # fmt: skip


def _shrink_rule(g: Any, y: Any, x: Any, lambd: float) -> Any:
    return g * (np.abs(_raw(x)) > lambd)


_hardshrink = declare(
    "hardshrink", lambda x, lambd: x * (np.abs(x) > lambd), [_shrink_rule],
    formula="{0} if |{0}| > λ else 0", derivatives=["1 if |{0}| > λ else 0"],
    samples=with_params(unary(smooth=2), {"lambd": 0.53}),
)  # fmt: skip

_softshrink = declare(
    "softshrink", lambda x, lambd: x - np.clip(x, -lambd, lambd), [_shrink_rule],
    formula="{0} − min(max({0}, −λ), λ)", derivatives=["1 if |{0}| > λ else 0"],
    samples=with_params(unary(smooth=2), {"lambd": 0.53}),
)  # fmt: skip


def _silu_rule(g: Any, y: Any, x: Any) -> Any:
    s = _sigmoid_of(x)
    return g * (s + x * (s * (1 - s)))


_silu = declare(
    "silu", lambda x: x * _sigmoid_of(x), [_silu_rule], arity=1,
    formula="{0} · σ({0})", derivatives=["σ({0}) + {y} · (1 − σ({0}))"], samples=unary(-4, 4),
)  # fmt: skip


def _mish_rule(g: Any, y: Any, x: Any) -> Any:
    t = np.tanh(_softplus_of(x))
    return g * (t + (x * _sigmoid_of(x)) * (1 - t * t))


_mish = declare(
    "mish", lambda x: x * np.tanh(_softplus_of(x)), [_mish_rule], arity=1,
    formula="{0} · tanh(log(1 + exp({0})))", derivatives=["t + {0} · σ({0}) · (1 − t²), t = {y} / {0}"],
    samples=unary(-4, 4),
)  # fmt: skip


def _density(x: Any) -> Any:
    """φ(x), the standard normal density."""
    return np.exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))


# Φ(−a) = exp(−a²/2) Σ cₖ tᵏ with t = 1 / (1 + 0.3 a), for a ≥ 0: relative error 1.5e-7, which is as good as float32.
_TAIL = (
    0.1196292659884783, 0.12075446489402819, 0.09991030266163385, 0.12857212549783079, -0.053703307466653506,
    0.2063745412231555, -0.1572150324143415, 0.035677566216158536,
)  # fmt: skip
_BLOCK = 32768  # elements: all that a block needs stays in the second-level cache


def _gelu_float32(x: Any) -> Any:
    """max(x, 0) − |x| Φ(−|x|), block by block: many times faster than SciPy's error function."""
    x = np.ascontiguousarray(x)
    y = np.empty_like(x)
    flat, out = x.reshape(-1), y.reshape(-1)
    p, t = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    for start in range(0, flat.size, _BLOCK):
        v, w = flat[start : start + _BLOCK], out[start : start + _BLOCK]
        p, t = p[: v.size], t[: v.size]
        np.abs(v, out=w)
        np.minimum(w, 30, out=w)  # where the density is 0 already: infinity would make it NaN
        np.multiply(w, np.float32(0.3), out=t)
        t += 1
        np.reciprocal(t, out=t)
        p.fill(_TAIL[-1])
        for c in _TAIL[-2::-1]:
            p *= t
            p += np.float32(c)
        p *= t
        p *= w
        np.multiply(v, v, out=t)
        t *= np.float32(-0.5)
        np.exp(t, out=t)
        p *= t
        np.maximum(v, 0, out=w)
        w -= p
    return y


def _gelu_rule(g: Any, y: Any, x: Any) -> Any:
    """g (Φ(x) + x φ(x)). In an ordinary backward pass Φ is y / x, which costs little (but cannot be differentiated)."""
    if isinstance(g, Tensor) or not x.ndim or x.dtype != np.float32:
        return g * (_ndtr_of(x) + x * _density(x))
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
    d = np.empty_like(x)
    flat, values, out = x.reshape(-1), y.reshape(-1), d.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        v, w = flat[start : start + _BLOCK], out[start : start + _BLOCK]
        np.multiply(v, v, out=w)
        w *= np.float32(-0.5)
        np.exp(w, out=w)
        w *= np.float32(1 / math.sqrt(2 * math.pi))
        w *= v
        zero = v == 0
        if zero.any():
            w += values[start : start + _BLOCK] / (v + zero)
            w += zero * np.float32(0.5)
        else:
            w += values[start : start + _BLOCK] / v
    d *= g
    return d


_gelu = declare(
    "gelu", lambda x: _gelu_float32(x) if x.dtype == np.float32 and x.ndim else x * _ndtr_of(x), [_gelu_rule], arity=1,
    formula="{0} · Φ({0})", derivatives=["Φ({0}) + {0} · φ({0})"], samples=unary(-4, 4),
)  # fmt: skip

_C, _A = math.sqrt(2 / math.pi), 0.044715


def _gelu_tanh_rule(g: Any, y: Any, x: Any) -> Any:
    square = x * x
    t = np.tanh(x * (square * (_C * _A) + _C))
    return g * ((t + 1) * 0.5 + x * (1 - t * t) * (square * (1.5 * _C * _A) + 0.5 * _C))


_gelu_tanh = declare(
    "gelu_tanh", lambda x: (x * 0.5) * (np.tanh(x * (x * x * (_C * _A) + _C)) + 1), [_gelu_tanh_rule], arity=1,
    formula="½ · {0} · (1 + tanh u)", derivatives=["½ (1 + tanh u) + ½ · {0} · (1 − tanh² u) · u′"],
    samples=unary(-4, 4), doc="½ x (1 + tanh u) with u = √(2/π) (x + 0.044715 x³).",
)  # fmt: skip


def _softplus_forward(x: Any, beta: float, threshold: float) -> Any:
    z = x * beta
    y, above = _softplus_of(z) / beta, z > threshold
    return np.where(above, x, y) if above.any() else y


def _softplus_rule(g: Any, y: Any, x: Any, beta: float, threshold: float) -> Any:
    z = x * beta
    d, above = g * _sigmoid_of(z), _raw(z) > threshold
    return np.where(above, g, d) if above.any() else d


_softplus = declare(
    "softplus_of_beta", _softplus_forward, [_softplus_rule],
    formula="log(1 + exp(b · {0})) / b", derivatives=["σ(b · {0})"],
    samples=with_params(unary(-4, 4), {"beta": 1.0, "threshold": 20.0}, {"beta": 1.7, "threshold": 20.0}),
    doc="log(1 + exp(b x)) / b, and x where b x is above the threshold.",
)  # fmt: skip


def _softsign_rule(g: Any, y: Any, x: Any) -> Any:
    d = np.abs(x) + 1
    return g / d / d


_softsign = declare(
    "softsign", lambda x: x / (np.abs(x) + 1), [_softsign_rule], arity=1,
    formula="{0} / (1 + |{0}|)", derivatives=["1 / (1 + |{0}|)²"], samples=unary(smooth=2),
)  # fmt: skip


def _halves(x: Any, axis: int) -> Any:
    n = x.shape[axis] // 2
    before = (slice(None),) * axis
    return x[(*before, slice(None, n))], x[(*before, slice(n, None))]


def _glu_forward(x: Any, axis: int) -> Any:
    a, b = _halves(x, axis)
    return a * _sigmoid_of(b)


def _glu_rule(g: Any, y: Any, x: Any, axis: int) -> Any:
    s = _sigmoid_of(_halves(x, axis)[1])
    return np.concatenate([g * s, g * y * (1 - s)], axis=axis)


_glu = declare(
    "glu", _glu_forward, [_glu_rule], formula="a · σ(b), (a, b) = {0}", derivatives=["(σ(b), {y} · (1 − σ(b)))"],
    samples=lambda rng: [Sample((draw(rng, (4,)),), {"axis": 0}), Sample((draw(rng, (2, 4)),), {"axis": 1}),
                         Sample((draw(rng, (2, 2)),), {"axis": 0}), Sample((draw(rng, (0, 2)),), {"axis": 1})],
)  # fmt: skip

_snake = declare(
    "snake", lambda x, alpha: x + np.square(np.sin(x * alpha)) * (1 / alpha),
    [lambda g, y, x, alpha: g + g * np.sin(x * (2 * alpha))],
    formula="{0} + sin²(a · {0}) / a", derivatives=["1 + sin(2a · {0})"],
    samples=with_params(unary(), {"alpha": 1.0}, {"alpha": 2.5}),
)  # fmt: skip


def _phase(x: Any, period: float) -> Any:
    return np.mod(x * (1 / period) - 0.25, 1)


def _triangle_rule(g: Any, y: Any, x: Any, period: float) -> Any:
    u = _phase(_raw(x), period)
    return g * (np.sign(u - 0.5) * (u != 0) * _like(x, 4 / period))


_triangle = declare(
    "triangle_wave", lambda x, period: np.abs(_phase(x, period) - 0.5) * 4 - 1, [_triangle_rule],
    formula="4 |({0} / P − ¼) mod 1 − ½| − 1", derivatives=["±4 / P, 0 at the peaks"],
    samples=lambda rng: [Sample((np.array([0.3, -1.1, 2.2, 5.1]),), {"period": 2.0}, smooth=2),
                         Sample((np.array(0.1),), {"period": 0.7}, smooth=2),
                         Sample((np.zeros((0, 2)),), {"period": 1.0}, smooth=2)],
)  # fmt: skip


# Functions


def given(name: str, input: Any) -> Tensor:
    """The input as a Tensor of floating-point values; TypeError otherwise."""
    tensor = as_tensor(input)
    floats(name, tensor)
    return tensor


def _axis(name: str, dim: int | None, input: Tensor) -> int:
    """The axis, or where none was named PyTorch's choice, which nobody expects beyond matrices: then with a warning."""
    if dim is not None:
        return dim
    if input.ndim > 2:
        warnings.warn(f"{name}: no dim given for shape {input.shape}; name the axis", UserWarning, stacklevel=4)
    return 0 if input.ndim in (0, 1, 3) else 1


def relu(input: Any, inplace: bool = False) -> Tensor:
    """max(x, 0), with derivative 0 at 0. `inplace` is accepted for PyTorch's sake and changes nothing.

    Args:
        input: any shape. (So for all activations; the output has the same shape and dtype.)
        inplace: accepted, without effect.
    """
    return ad.relu(input)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, `negative_slope` · x elsewhere.

    >>> leaky_relu([-1.0, 2.0])
    Tensor([-0.01,  2.  ])
    """
    return _leaky_relu(given("leaky_relu", input), slope=number("leaky_relu", "negative_slope", negative_slope))


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
    input, weight = given("prelu", input), given("prelu", weight)
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


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, α (eˣ − 1) elsewhere.

    >>> elu([-1.0, 2.0])
    Tensor([-0.63212056,  2.        ])
    """
    return _elu(given("elu", input), alpha=number("elu", "alpha", alpha, 0))


SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def selu(input: Any, inplace: bool = False) -> Tensor:
    """λ · elu(x, α) with the λ and α that keep mean 0 and variance 1 through the layers (Klambauer et al., 2017).

    >>> selu([-1.0, 2.0])
    Tensor([-1.11133074,  2.10140197])
    """
    return _elu(given("selu", input), alpha=SELU_ALPHA, scale=SELU_SCALE)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, α (exp(x/α) − 1) elsewhere: smooth at 0 for every α (Barron, 2017).

    >>> celu([-1.0, 2.0], alpha=2.0)
    Tensor([-0.78693868,  2.        ])
    """
    alpha = positive("celu", "alpha", alpha)
    return _elu(given("celu", input), alpha=alpha, rate=1 / alpha)


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """x Φ(x), Φ the normal distribution function (Hendrycks and Gimpel, 2016).

    Args:
        input: any shape.
        approximate: "none", or "tanh" for ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))).

    Raises:
        ValueError: for another `approximate`.

    >>> gelu([-1.0, 2.0])
    Tensor([-0.15865525,  1.95449974])
    """
    exact = choice("gelu", "approximate", approximate, ("none", "tanh")) == "none"
    return (_gelu if exact else _gelu_tanh)(given("gelu", input))


def silu(input: Any, inplace: bool = False) -> Tensor:
    """x σ(x), also known as swish.

    >>> silu([-1.0, 2.0])
    Tensor([-0.26894142,  1.76159416])
    """
    return _silu(given("silu", input))


def mish(input: Any, inplace: bool = False) -> Tensor:
    """x tanh(softplus(x)) (Misra, 2019).

    >>> mish([-1.0, 2.0])
    Tensor([-0.30340146,  1.94395896])
    """
    return _mish(given("mish", input))


def sigmoid(input: Any) -> Tensor:
    """1 / (1 + e^(−x))."""
    return ad.sigmoid(input)


def logsigmoid(input: Any) -> Tensor:
    """log σ(x) = −log(1 + e^(−x)), without overflow.

    >>> logsigmoid([0.0, -1000.0])
    Tensor([-6.93147181e-01, -1.00000000e+03])
    """
    return ad.special.log_expit(given("logsigmoid", input))


def hardsigmoid(input: Any, inplace: bool = False) -> Tensor:
    """(x + 3) / 6 cut off at 0 and 1.

    >>> hardsigmoid([-4.0, 0.0, 1.5])
    Tensor([0.  , 0.5 , 0.75])
    """
    return _hardtanh(given("hardsigmoid", input) + 3, low=0.0, high=6.0) * (1 / 6)


def tanh(input: Any) -> Tensor:
    """The hyperbolic tangent."""
    return ad.tanh(input)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x cut off at `min_val` and `max_val`.

    Raises:
        ValueError: unless `min_val` < `max_val`.

    >>> hardtanh([-2.0, 0.3])
    Tensor([-1. ,  0.3])
    """
    return _hardtanh(given("hardtanh", input), **_limits("hardtanh", min_val, max_val))


def _limits(name: str, low: Any, high: Any) -> dict[str, float]:
    low, high = number(name, "min_val", low), number(name, "max_val", high)
    if not low < high:
        raise ValueError(f"{name}: max_val is greater than min_val, not {high} after {low}")
    return {"low": low, "high": high}


def relu6(input: Any, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6).

    >>> relu6([-2.0, 3.0, 7.0])
    Tensor([0., 3., 6.])
    """
    return _hardtanh(given("relu6", input), low=0.0, high=6.0)


def hardswish(input: Any, inplace: bool = False) -> Tensor:
    """x · relu6(x + 3) / 6 (Howard et al., 2019).

    >>> hardswish([-4.0, 1.0, 4.0])
    Tensor([-0.        ,  0.66666667,  4.        ])
    """
    return _hardswish(given("hardswish", input))


def hardshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """x where |x| > λ, 0 elsewhere.

    >>> hardshrink([-2.0, 0.3])
    Tensor([-2.,  0.])
    """
    return _hardshrink(given("hardshrink", input), lambd=number("hardshrink", "lambd", lambd, 0))


def softshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """x drawn towards 0 by λ: x − λ, x + λ, or 0 where |x| ≤ λ.

    >>> softshrink([-2.0, 0.3])
    Tensor([-1.5,  0. ])
    """
    return _softshrink(given("softshrink", input), lambd=number("softshrink", "lambd", lambd, 0))


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(β x)) / β, and x itself where β x > `threshold`; never overflows.

    Raises:
        ValueError: unless β is positive.

    >>> softplus([0.0, 1000.0])
    Tensor([6.93147181e-01, 1.00000000e+03])
    """
    beta, threshold = positive("softplus", "beta", beta), number("softplus", "threshold", threshold)
    return _softplus(given("softplus", input), beta=beta, threshold=threshold)


def softsign(input: Any) -> Tensor:
    """x / (1 + |x|).

    >>> softsign([-1.0, 3.0])
    Tensor([-0.5 ,  0.75])
    """
    return _softsign(given("softsign", input))


def softmax(input: Any, dim: int | None = None) -> Tensor:
    """eˣ / Σ eˣ along the axis `dim`.

    Without `dim` it is PyTorch's choice: the last axis of vectors and matrices; beyond, axis 0 for 3 axes and 1 for
    more, with a warning.

    >>> softmax([0.0, 0.0])
    Tensor([0.5, 0.5])
    """
    input = as_tensor(input)
    return ad.softmax(input, axis=_axis("softmax", dim, input))


def log_softmax(input: Any, dim: int | None = None) -> Tensor:
    """x − log Σ eˣ along the axis `dim`, which is chosen as for `softmax`.

    >>> log_softmax([1000.0, 0.0])
    Tensor([    0., -1000.])
    """
    input = as_tensor(input)
    return ad.log_softmax(input, axis=_axis("log_softmax", dim, input))


def softmin(input: Any, dim: int | None = None) -> Tensor:
    """softmax(−x) along the axis `dim`, which is chosen as for `softmax`.

    >>> softmin([1000.0, 0.0])
    Tensor([0., 1.])
    """
    input = as_tensor(input)
    return ad.softmax(-input, axis=_axis("softmin", dim, input))


def glu(input: Any, dim: int = -1) -> Tensor:
    """a σ(b), where a and b are the halves of the input along `dim` (Dauphin et al., 2017).

    Args:
        input: of even length along `dim`.
        dim: the axis, which the output has half of.

    Raises:
        ValueError: for an odd length or an axis that does not exist.

    >>> glu([1.0, 2.0, 0.0, 0.0])
    Tensor([0.5, 1. ])
    """
    input = given("glu", input)
    if not -input.ndim <= dim < input.ndim or input.shape[dim] % 2:
        raise ValueError(f"glu: input of shape {input.shape} has no axis {dim} of even length")
    return _glu(input, axis=dim % input.ndim)


def sine(input: Any, w0: float = 30.0) -> Tensor:
    """sin(w0 · x), the activation of SIREN (Sitzmann et al., 2020); `nn.init.siren_` draws weights for it.

    >>> sine([0.0, 0.5], w0=np.pi)
    Tensor([0., 1.])
    """
    return ad.sin(given("sine", input) * number("sine", "w0", w0))


def snake(input: Any, alpha: float = 1.0) -> Tensor:
    """x + sin²(α x) / α, periodic and monotone (Ziyin et al., 2020).

    Raises:
        ValueError: unless α is positive.

    >>> snake([0.0, np.pi / 2])
    Tensor([0.        , 2.57079633])
    """
    return _snake(given("snake", input), alpha=positive("snake", "alpha", alpha))


def triangle_wave(input: Any, period: float = 2 * math.pi) -> Tensor:
    """The triangle wave between −1 and 1 that rises through 0 at 0, a sine with straight sides.

    Its derivative is ±4 / `period`, and 0 at the peaks.

    Raises:
        ValueError: unless `period` is positive.

    >>> triangle_wave([0.0, 0.5, 1.0, 2.5, 3.0], period=4.0)
    Tensor([ 0. ,  0.5,  1. , -0.5, -1. ])
    """
    return _triangle(given("triangle_wave", input), period=positive("triangle_wave", "period", period))


def step(input: Any, value: float = 0.0) -> Tensor:
    """1 where x > 0, 0 where x < 0, `value` at 0; the gradient is 0.

    >>> step([-1.0, 0.0, 2.0])
    Tensor([0., 0., 1.])
    """
    input = given("step", input)
    return ad.heaviside(input, _like(input, number("step", "value", value)))


def sign(input: Any) -> Tensor:
    """−1, 0 or 1 by the sign of x; the gradient is 0.

    >>> sign([-2.0, 0.0, 2.0])
    Tensor([-1.,  0.,  1.])
    """
    return ad.sign(given("sign", input))


# Modules


class Activation(Module):
    """Base of the activations: a function of the input and of the options that `_options` names."""

    _options: tuple[str, ...] = ()

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self._options)


class _Inplace(Activation):
    def __init__(self, inplace: bool = False) -> None:
        pass


class ReLU(_Inplace):
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


class SELU(_Inplace):
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


class GELU(Activation):
    """x Φ(x), exact or ("tanh") approximate, as `gelu`.

    >>> GELU()(ad.Tensor([-1.0, 2.0]))
    Tensor([-0.15865525,  1.95449974])
    """

    _options = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = choice("GELU", "approximate", approximate, ("none", "tanh"))

    def forward(self, input: Any) -> Tensor:
        """x Φ(x)."""
        return gelu(input, self.approximate)


class SiLU(_Inplace):
    """x σ(x), as `silu`.

    >>> SiLU()(ad.Tensor([-1.0, 2.0]))
    Tensor([-0.26894142,  1.76159416])
    """

    def forward(self, input: Any) -> Tensor:
        """x σ(x)."""
        return silu(input)


class Mish(_Inplace):
    """x tanh(softplus(x)), as `mish`.

    >>> Mish()(ad.Tensor([-1.0, 2.0]))
    Tensor([-0.30340146,  1.94395896])
    """

    def forward(self, input: Any) -> Tensor:
        """x tanh(softplus(x))."""
        return mish(input)


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


class Hardsigmoid(_Inplace):
    """(x + 3) / 6 cut off at 0 and 1, as `hardsigmoid`.

    >>> Hardsigmoid()(ad.Tensor([-4.0, 0.0, 1.5]))
    Tensor([0.  , 0.5 , 0.75])
    """

    def forward(self, input: Any) -> Tensor:
        """(x + 3) / 6 within 0 and 1."""
        return hardsigmoid(input)


class Tanh(Activation):
    """The hyperbolic tangent, elementwise.

    >>> Tanh()(ad.Tensor([0.0]))
    Tensor([0.])
    """

    def forward(self, input: Any) -> Tensor:
        """tanh x."""
        return ad.tanh(input)


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


class ReLU6(_Inplace):
    """min(max(x, 0), 6), as `relu6`.

    >>> ReLU6()(ad.Tensor([-2.0, 3.0, 7.0]))
    Tensor([0., 3., 6.])
    """

    def forward(self, input: Any) -> Tensor:
        """min(max(x, 0), 6)."""
        return relu6(input)


class Hardswish(_Inplace):
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


class _OverAxis(Activation):
    _options = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        self.dim = dim


class Softmax(_OverAxis):
    """eˣ / Σ eˣ along the axis `dim`, as `softmax`.

    >>> Softmax(dim=1)(ad.Tensor([[0.0, 0.0]]))
    Tensor([[0.5, 0.5]])
    """

    def forward(self, input: Any) -> Tensor:
        """eˣ / Σ eˣ."""
        return softmax(input, self.dim)


class LogSoftmax(_OverAxis):
    """x − log Σ eˣ along the axis `dim`, as `log_softmax`.

    >>> LogSoftmax(dim=1)(ad.Tensor([[1000.0, 0.0]]))
    Tensor([[    0., -1000.]])
    """

    def forward(self, input: Any) -> Tensor:
        """x − log Σ eˣ."""
        return log_softmax(input, self.dim)


class Softmin(_OverAxis):
    """softmax(−x) along the axis `dim`, as `softmin`.

    >>> Softmin(dim=1)(ad.Tensor([[1000.0, 0.0]]))
    Tensor([[0., 1.]])
    """

    def forward(self, input: Any) -> Tensor:
        """softmax(−x)."""
        return softmin(input, self.dim)


class GLU(Activation):
    """a σ(b) of the input's halves along `dim`, as `glu`.

    >>> GLU()(ad.Tensor([[1.0, 2.0, 0.0, 0.0]])).shape
    (1, 2)
    """

    _options = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Tensor:
        """a σ(b)."""
        return glu(input, self.dim)


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
