"""The fully connected layer and the bilinear one: each as a function and as a module."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.ops.products import times, transposed_times
from autodiff.primitive import Multiplication, Sample, declare

from .arguments import as_tensor, count, floats
from .module.module import Module
from .module.parameter import Parameter
from .random import floating, generator


def _rows(x: Any) -> Any:
    """All leading axes as one."""
    return x if x.ndim == 2 else x.reshape((math.prod(x.shape[:-1]), x.shape[-1]))


def _affine(x: Any, weight: Any, bias: Any = None) -> Any:
    rows = _rows(x)
    y = rows.dot(weight.T) if type(weight) is type(rows) else np.dot(rows, weight.T)
    if bias is not None:
        if bias.dtype == y.dtype and type(bias) is type(y):
            y += bias
        else:
            y = y + bias
    return y if x.ndim == 2 else y.reshape(x.shape[:-1] + weight.shape[:1])


_RULES = [
    lambda g, y, x, w, b=None: times(_rows(g), w).reshape(x.shape) if g.ndim != 2 else times(g, w),
    lambda g, y, x, w, b=None: transposed_times(_rows(g), _rows(x)),
    lambda g, y, x, w, b=None: _rows(g).sum(axis=0),
]

_SHAPES = [((4, 3), (2, 3)), ((3,), (2, 3)), ((2, 2, 3), (1, 3)), ((0, 3), (2, 3))]

_linear = declare(
    "linear", _affine, _RULES, formula="{0} · {1}ᵀ + {2}", derivatives=["{1}", "{0}", "1"],
    multiplies=lambda x, w, b: [Multiplication(w, x, "...i,oi->...o", b)],
    jvps=[lambda t, y, x, w, b: t @ w.T, lambda t, y, x, w, b: x @ t.T, lambda t, y, x, w, b: t],
    complex=True,
    samples=lambda rng: [Sample((rng.normal(size=x), rng.normal(size=w), rng.normal(size=w[:1]))) for x, w in _SHAPES],
    doc="x · Wᵀ + b over the last axis of x.",
    expansion=lambda x, w, b: x @ w.T + b,
)  # fmt: skip

_linear_without_bias = declare(
    "linear_without_bias", _affine, _RULES[:2], formula="{0} · {1}ᵀ", derivatives=["{1}", "{0}"],
    jvps="multilinear", multiplies=lambda x, w: [Multiplication(w, x, "...i,oi->...o")], complex=True,
    samples=lambda rng: [Sample((rng.normal(size=x), rng.normal(size=w))) for x, w in _SHAPES],
    doc="x · Wᵀ over the last axis of x.",
    expansion=lambda x, w: x @ w.T,
)  # fmt: skip


def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """The affine map y = x Wᵀ + b over the last axis.

    Args:
        input: x, shape (..., in_features).
        weight: W, shape (out_features, in_features).
        bias: b, shape (out_features,), or None.

    Returns:
        y, shape (..., out_features).

    Raises:
        ValueError: for shapes that do not fit.
    """
    input, weight, bias = as_tensor(input), as_tensor(weight), None if bias is None else as_tensor(bias)
    x, w, b = input.shape, weight.shape, None if bias is None else bias.shape
    if len(w) != 2 or not x or x[-1] != w[1] or (b is not None and b != w[:1]):
        raise ValueError(
            f"linear: needs input (..., in), weight (out, in) and bias (out,); got input {x}, weight {w}"
            + ("" if b is None else f", bias {b}")
        )
    if bias is None:
        return _linear_without_bias(input, weight)
    return _linear(input, weight, bias)


def _uniform(rng: np.random.Generator, bound: float, like: Tensor) -> Any:
    """Initial values within ±bound, the parts of a complex one each."""
    values = rng.uniform(-bound, bound, like.shape)
    return (values + 1j * rng.uniform(-bound, bound, like.shape) if like.dtype.kind == "c" else values).astype(
        like.dtype
    )


class Linear(Module):
    """The fully connected layer y = x Wᵀ + b.

    Args:
        in_features: length of the input's last axis.
        out_features: length of the output's last axis.
        bias: whether there is a b.
        dtype: of the parameters, which may be complex; `nn.get_default_dtype()` by default.
        rng: generator of the initial values, which are uniform within ±1/√in_features (PyTorch's default; of complex
            ones both parts); the one that `nn.manual_seed` sets by default.

    Shapes: input (..., in_features), output (..., out_features), `weight` (out_features, in_features), `bias`
    (out_features,).

    Raises:
        TypeError, ValueError: for sizes that are not counts, and inputs of another length or kind.

    >>> import numpy as np, nn
    >>> layer = nn.Linear(3, 2, rng=np.random.default_rng(0))
    >>> layer
    Linear(in_features=3, out_features=2, bias=True) · 8 parameters
    >>> layer(np.ones((5, 3), "float32")).shape
    (5, 2)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.in_features = count("Linear", "in_features", in_features)
        self.out_features = count("Linear", "out_features", out_features)
        dtype = floating(dtype, or_complex=True)
        self.weight = Parameter(np.empty((out_features, in_features), dtype))
        self.register_parameter("bias", Parameter(np.empty(out_features, dtype)) if bias else None)
        self.reset_parameters(rng)

    def reset_parameters(self, rng: np.random.Generator | None = None) -> None:
        """Draw the initial values again: weight, then bias, uniform within ±1/√in_features."""
        rng = generator(rng)
        bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
        for p in self.parameters():
            p.data = _uniform(rng, bound, p)

    def forward(self, input: Any) -> Tensor:
        """x Wᵀ + b."""
        input = as_tensor(input)
        if input.shape[-1:] != (self.in_features,) or input.dtype.kind not in "fc":
            self._refuse(input)
        if self.bias is None:
            return _linear_without_bias(input, self.weight)
        return _linear(input, self.weight, self.bias)

    def _refuse(self, input: Tensor) -> None:
        name = f"Linear(in_features={self.in_features}, out_features={self.out_features})"
        if input.shape[-1:] != (self.in_features,):
            raise ValueError(f"{name}: got input of shape {input.shape}, expects (..., {self.in_features})")
        floats(name, input, self.weight)

    def multiply_adds(self, input_shapes: tuple[Any, ...], output_shape: Any) -> int:
        """in_features for each output."""
        return int(math.prod(output_shape)) * self.in_features

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Tensor:
    """y = x₁ᵀ W x₂ + b, for each of the matrices in W.

    Args:
        input1: x₁, shape (..., in1).
        input2: x₂, shape (..., in2), with the same axes before.
        weight: W, shape (out, in1, in2).
        bias: b, shape (out,), or None.

    Returns:
        y, shape (..., out).

    Raises:
        ValueError: for shapes that do not fit.

    >>> bilinear([1.0, 2.0], [3.0], [[[1.0], [10.0]]])
    Tensor([63.])
    """
    x1, x2, w = (as_tensor(v) for v in (input1, input2, weight))
    b = None if bias is None else as_tensor(bias)
    fits = x1.ndim and x2.ndim and x1.shape[:-1] == x2.shape[:-1] and w.shape[1:] == x1.shape[-1:] + x2.shape[-1:]
    if not fits or (b is not None and b.shape != w.shape[:1]):
        raise ValueError(
            f"bilinear: needs inputs (..., in1) and (..., in2), weight (out, in1, in2) and bias (out,); got inputs "
            f"{x1.shape} and {x2.shape}, weight {w.shape}" + ("" if b is None else f", bias {b.shape}")
        )
    y = ad.einsum("...i,oij,...j->...o", x1, w, x2)
    return y if b is None else y + b


class Bilinear(Module):
    """The layer y = x₁ᵀ W x₂ + b of two inputs.

    Args:
        in1_features: length of the first input's last axis.
        in2_features: length of the second input's last axis.
        out_features: length of the output's last axis.
        bias: whether there is a b.
        dtype: of the parameters, which may be complex; `nn.get_default_dtype()` by default.
        rng: generator of the initial values, which are uniform within ±1/√in1_features (PyTorch's default; of complex
            ones both parts); the one that `nn.manual_seed` sets by default.

    Shapes: inputs (..., in1_features) and (..., in2_features), output (..., out_features), `weight` (out_features,
    in1_features, in2_features), `bias` (out_features,).

    Raises:
        TypeError, ValueError: for sizes that are not counts, and inputs of another shape or kind.

    >>> import numpy as np, nn
    >>> nn.Bilinear(3, 4, 2)(np.ones((5, 3), "float32"), np.ones((5, 4), "float32")).shape
    (5, 2)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.in1_features = count("Bilinear", "in1_features", in1_features, 1)
        self.in2_features = count("Bilinear", "in2_features", in2_features)
        self.out_features = count("Bilinear", "out_features", out_features)
        dtype = floating(dtype, or_complex=True)
        self.weight = Parameter(np.empty((out_features, in1_features, in2_features), dtype))
        self.register_parameter("bias", Parameter(np.empty(out_features, dtype)) if bias else None)
        self.reset_parameters(rng)

    def reset_parameters(self, rng: np.random.Generator | None = None) -> None:
        """Draw the initial values again: weight, then bias, uniform within ±1/√in1_features."""
        rng = generator(rng)
        bound = 1 / math.sqrt(self.in1_features)
        for p in self.parameters():
            p.data = _uniform(rng, bound, p)

    def forward(self, input1: Any, input2: Any) -> Tensor:
        """x₁ᵀ W x₂ + b."""
        input1, input2 = as_tensor(input1), as_tensor(input2)
        name = f"Bilinear({self.extra_repr()})"
        n, m = self.in1_features, self.in2_features
        if input1.shape[-1:] != (n,) or input2.shape[-1:] != (m,) or input1.shape[:-1] != input2.shape[:-1]:
            raise ValueError(
                f"{name}: got inputs of shapes {input1.shape} and {input2.shape}, expects (..., {n}) and (..., {m}) "
                f"with the same axes before"
            )
        for x in (input1, input2):
            if x.dtype.kind != "c":
                floats(name, x, self.weight)
        return bilinear(input1, input2, self.weight, self.bias)

    def multiply_adds(self, input_shapes: tuple[Any, ...], output_shape: Any) -> int:
        """in1_features · (in2_features + 1) for each output."""
        return int(math.prod(output_shape)) * self.in1_features * (self.in2_features + 1)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
