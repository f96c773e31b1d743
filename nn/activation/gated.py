"""Activations that multiply by a gate: x Φ(x), x σ(x), x tanh(softplus(x)) and a σ(b)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.flags import flagged
from autodiff.machine.kernels import SHARED
from autodiff.machine.threads import count, ranges, together
from autodiff.ops.elementwise import over_cosh_squared
from autodiff.ops.precision import in_single
from autodiff.ops.samples import draw, unary
from autodiff.primitive import Sample, declare, polymorphic
from autodiff.tensor import plain

from ..arguments import DIMS, choice, float_input, integer
from . import kernels
from .base import Activation, Inplace
from .exponential import sigmoid_of, softplus_of
from .kernels import A, C

# Primitives

_ndtr_of: Any = polymorphic(ad.special.ndtr)

_BLOCK = 32768  # elements: all that a block needs stays in the second-level cache
_SMALL = 10_000  # elements up to which the calls cost more than what blocks save


def _blockwise(kernel: Any, x: Any, *others: Any) -> Any:
    """``kernel(out, room, x, *others)`` of arrays of one shape, block by block: what it needs stays in the cache.
    Threads share many blocks."""
    flat = [np.ascontiguousarray(a).reshape(-1) for a in (x, *others)]
    y = np.empty(x.shape, flat[0].dtype)
    whole = y.reshape(-1)

    def some(first: int, last: int, _: int) -> None:
        room = np.empty((2, min(_BLOCK, y.size)), y.dtype)
        for block in range(first, last):
            part = slice(block * _BLOCK, (block + 1) * _BLOCK)
            out = whole[part]
            kernel(out, room[:, : out.size], *[a[part] for a in flat])

    parts = count() if y.size >= SHARED else 1
    together(some, (), ranges(-(-y.size // _BLOCK), parts))
    return y


def _in_blocks(*arrays: Any) -> bool:
    """Whether that pays, and these are what blocks are made of: not Tensors or arrays of other types."""
    x = arrays[0]
    return all(isinstance(a, np.ndarray) and a.size > _SMALL and a.dtype == x.dtype for a in arrays)


def _gelu_block(y: Any, room: Any, x: Any) -> None:
    """max(x, 0) − |x| Φ(−|x|): many times faster than SciPy's error function."""
    p, t = room
    np.abs(x, out=y)
    np.minimum(y, 30, out=y)  # where the density is 0 already: infinity would make it NaN
    np.multiply(y, np.float32(0.3), out=t)
    t += 1
    np.reciprocal(t, out=t)
    p.fill(kernels.TAIL[0])
    for c in kernels.TAIL[1:]:
        p *= t
        p += np.float32(c)
    p *= t
    p *= y
    np.multiply(x, x, out=t)
    t *= np.float32(-0.5)
    np.exp(t, out=t)
    p *= t
    np.maximum(x, 0, out=y)
    y -= p


def _density(x: Any) -> Any:
    """φ(x), the standard normal density."""
    return np.exp(x * x * -0.5) * kernels.DENSITY


def _tail(x: Any) -> Any:
    """Φ(−|x|) in single precision, of NumPy's calls alone: what a program of them takes half of SciPy's time for."""
    t = 1 / (1 + 0.3 * np.minimum(np.abs(x), 30))
    p = kernels.TAIL[0] * t
    for c in kernels.TAIL[1:]:
        p = (p + c) * t
    return p * np.exp(x * x * -0.5)


def _is_single(*arrays: Any) -> bool:
    """Whether these are arrays that no derivative follows, in single precision."""
    return all(not isinstance(a, Tensor) and a.ndim and a.dtype == np.float32 for a in arrays)


def _gelu_forward(x: Any) -> Any:
    if type(x) is not np.ndarray or not x.ndim:
        if _is_single(x):
            return np.maximum(x, 0) - np.minimum(np.abs(x), 30) * _tail(x)
        return x * _ndtr_of(x)
    if (kernel := kernels.GELU.get(x.dtype.char)) and (y := kernel(x)) is not None:
        return y
    return _blockwise(_gelu_block, x) if x.dtype == np.float32 else x * _ndtr_of(x)


def _gelu_block_rule(d: Any, room: Any, x: Any, y: Any, g: Any) -> None:
    """g (Φ(x) + x φ(x)), where Φ is y / x, which costs little (but cannot be differentiated)."""
    np.multiply(x, x, out=d)
    d *= np.float32(-0.5)
    np.exp(d, out=d)
    d *= np.float32(kernels.DENSITY)
    d *= x
    near = np.abs(x, out=room[0]) < 1e-30  # where y may have lost its digits, and Φ is ½
    if near.any():
        d += y / (x + near)
        d += near * np.float32(0.5)
    else:
        d += np.divide(y, x, out=room[0])
    d *= g


def _gelu_rule(g: Any, y: Any, x: Any) -> Any:
    """g (Φ(x) + x φ(x))."""
    if type(g) is np.ndarray and x.ndim:
        if (kernel := kernels.GELU_SLOPE.get(x.dtype.char)) and (d := kernel(g, x)) is not None:
            return d
        if x.dtype == np.float32 == g.dtype:
            return _blockwise(_gelu_block_rule, x, y, g)
    elif _is_single(g, x):
        tail = _tail(x)
        return g * ((x > 0) * (1 - 2 * tail) + tail + x * _density(x))
    return g * (_ndtr_of(x) + x * _density(x))


_gelu = declare(
    "gelu", in_single(_gelu_forward), [in_single(_gelu_rule)], arity=1,
    jvps="elementwise", formula="{0} · Φ({0})", derivatives=["Φ({0}) + {0} · φ({0})"], samples=unary(-4, 4),
    expansion=in_single(lambda x: x * ad.special.ndtr(x)),
)  # fmt: skip


def _gelu_tanh_forward(x: Any) -> Any:
    if (y := kernels.GELU_TANH(x)) is not None:
        return y
    z = x.clip(-kernels.FLAT, kernels.FLAT)
    return x * sigmoid_of(z * (z * z * (2 * C * A) + 2 * C))


def _gelu_tanh_rule(g: Any, y: Any, x: Any) -> Any:
    """g (σ(2u) + x σ′(2u) 2u′): ½ (1 + tanh u), which is σ(2u), would cancel on the left."""
    if (d := kernels.GELU_TANH_SLOPE(g, x)) is not None:
        return d
    z = np.clip(x, -kernels.FLAT, kernels.FLAT)
    square = z * z
    u = z * (square * (C * A) + C)
    return g * (sigmoid_of(2 * u) + over_cosh_squared(z * (square * (1.5 * C * A) + 0.5 * C), u))


@in_single
def _gelu_tanh_expansion(x: Tensor) -> Tensor:
    z = np.clip(x, -kernels.FLAT, kernels.FLAT) if np.abs(plain(x)).max(initial=0) > kernels.FLAT else x
    return 0.5 * x * (1 + np.tanh(C * (z + A * z**3)))


_gelu_tanh = declare(
    "gelu_tanh", in_single(_gelu_tanh_forward), [in_single(_gelu_tanh_rule)], arity=1, singular=True,
    jvps="elementwise", formula="½ · {0} · (1 + tanh u)", derivatives=["½ (1 + tanh u) + ½ · {0} · u′ / cosh² u"],
    samples=unary(-4, 4), doc="½ x (1 + tanh u) with u = √(2/π) (x + 0.044715 x³).",
    expansion=_gelu_tanh_expansion,
)  # fmt: skip


def _exp_of_minus(out: Any, x: Any) -> bool:
    """e⁻ˣ, unless that, or x times that, is too large somewhere."""
    if not x.min() > (-77 if x.dtype == np.float32 else -700):  # or there is NaN
        return False
    np.negative(x, out=out)
    np.exp(out, out=out)
    return True


def _silu_block(y: Any, room: Any, x: Any) -> None:
    if _exp_of_minus(y, x):
        y += 1
        np.divide(x, y, out=y)
    else:
        np.multiply(x, sigmoid_of(x), out=y)


def _silu_block_rule(d: Any, room: Any, x: Any, g: Any) -> None:
    """g (1 + x e / (1 + e)) / (1 + e), e = e⁻ˣ. (With y, as g σ(x) (1 + x − y), it would cancel on the right.)"""
    e = room[0]
    if _exp_of_minus(e, x):
        np.multiply(x, e, out=d)
        e += 1
        d /= e
        d += 1
        d /= e
        d *= g
    else:
        np.multiply(g, _silu_slope(x), out=d)


def _silu_slope(x: Any) -> Any:
    return sigmoid_of(x) * (1 + x * sigmoid_of(-x))


@in_single
def _silu_forward(x: Any) -> Any:
    if (y := kernels.SILU(x)) is not None:
        return y
    return _blockwise(_silu_block, x) if _in_blocks(x) else x * sigmoid_of(x)


@in_single
def _silu_rule(g: Any, y: Any, x: Any) -> Any:
    if (d := kernels.SILU_SLOPE(g, x)) is not None:
        return d
    return _blockwise(_silu_block_rule, x, g) if _in_blocks(x, g) else g * _silu_slope(x)


_silu = declare(
    "silu", _silu_forward, [_silu_rule], arity=1,
    jvps="elementwise", formula="{0} · σ({0})", derivatives=["σ({0}) (1 + {0} · σ(−{0}))"], samples=unary(-4, 4),
    expansion=lambda x: x * ad.sigmoid(x),
)  # fmt: skip


def _mish_block(y: Any, room: Any, x: Any) -> None:
    """x n / (n + 2) with e = eˣ and n = e (e + 2), which is x tanh(log(1 + e)): one exponential, and nothing cancels.
    Beyond 20, n / (n + 2) is 1 in any precision."""
    n = room[0]
    np.minimum(x, 20, out=y)
    np.exp(y, out=y)
    np.add(y, 2, out=n)
    n *= y
    np.add(n, 2, out=y)
    np.divide(n, y, out=y)
    y *= x


def _mish_block_rule(d: Any, room: Any, x: Any, g: Any) -> None:
    """g e (e + 2 + 4 x (e + 1) / (n + 2)) / (n + 2), n = e (e + 2). Beyond the limits the slope is 0 or 1."""
    if not np.vdot(x, x) < math.inf:  # as a small array: NaN at the infinities
        np.multiply(g, _mish_slope(x), out=d)
        return
    z, e = room
    low, high = (-110, 20) if x.dtype == np.float32 else (-750, 40)
    np.clip(x, low, high, out=z)
    np.exp(z, out=e)
    np.add(e, 1, out=d)
    z *= d
    z *= 4
    np.add(e, 2, out=d)
    d *= e
    d += 2
    z /= d
    z += 2
    z += e
    z *= e
    z /= d
    np.multiply(z, g, out=d)


def _mish_slope(x: Any) -> Any:
    s = softplus_of(x)
    return np.tanh(s) + over_cosh_squared(x * sigmoid_of(x), s)


@in_single
def _mish_forward(x: Any) -> Any:
    if (y := kernels.MISH(x)) is not None:
        return y
    return _blockwise(_mish_block, x) if _in_blocks(x) else x * np.tanh(softplus_of(x))


@in_single
def _mish_rule(g: Any, y: Any, x: Any) -> Any:
    if (d := kernels.MISH_SLOPE(g, x)) is not None:
        return d
    return _blockwise(_mish_block_rule, x, g) if _in_blocks(x, g) else g * _mish_slope(x)


_mish = declare(
    "mish", _mish_forward, [_mish_rule], arity=1, singular=True,
    jvps="elementwise", formula="{0} · tanh(log(1 + exp({0})))",
    derivatives=["tanh s + {0} · σ({0}) / cosh² s, s = log(1 + exp({0}))"],
    samples=unary(-4, 4), expansion=in_single(lambda x: x * ad.tanh(ad.softplus(x))),
)  # fmt: skip


def _halves(x: Any, axis: int) -> Any:
    n = x.shape[axis] // 2
    before = (slice(None),) * axis
    return x[(*before, slice(None, n))], x[(*before, slice(n, None))]


def _glu_forward(x: Any, axis: int) -> Any:
    a, b = _halves(x, axis)
    return a * sigmoid_of(b)


def _glu_rule(g: Any, y: Any, x: Any, axis: int) -> Any:
    b = _halves(x, axis)[1]
    return np.concatenate([g * sigmoid_of(b), g * y * sigmoid_of(-b)], axis=axis)


def _glu_expansion(x: Tensor, axis: int) -> Tensor:
    a, b = _halves(x, axis)
    return a * ad.sigmoid(b)


_glu = declare(
    "glu", _glu_forward, [_glu_rule], formula="a · σ(b), (a, b) = {0}", derivatives=["(σ(b), {y} · σ(−b))"],
    samples=lambda rng: [Sample((draw(rng, (4,)),), {"axis": 0}), Sample((draw(rng, (2, 4)),), {"axis": 1}),
                         Sample((draw(rng, (2, 2)),), {"axis": 0}), Sample((draw(rng, (0, 2)),), {"axis": 1})],
    expansion=_glu_expansion,
)  # fmt: skip


# Functions


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
    return (_gelu if exact else _gelu_tanh)(float_input("gelu", input))


@flagged
def silu(input: Any, inplace: bool = False) -> Tensor:
    """x σ(x), also known as swish.

    >>> silu([-1.0, 2.0])
    Tensor([-0.26894142,  1.76159416])
    """
    return _silu(float_input("silu", input))


@flagged
def mish(input: Any, inplace: bool = False) -> Tensor:
    """x tanh(softplus(x)) (Misra, 2019).

    >>> mish([-1.0, 2.0])
    Tensor([-0.30340146,  1.94395896])
    """
    return _mish(float_input("mish", input))


@DIMS.checked
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
    input = float_input("glu", input)
    dim = integer("glu", "dim", dim)
    if not -input.ndim <= dim < input.ndim or input.shape[dim] % 2:
        raise ValueError(f"glu: input of shape {input.shape} has no axis {dim} of even length")
    return _glu(input, axis=dim % input.ndim)


# Modules


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


class SiLU(Inplace):
    """x σ(x), as `silu`.

    >>> SiLU()(ad.Tensor([-1.0, 2.0]))
    Tensor([-0.26894142,  1.76159416])
    """

    def forward(self, input: Any) -> Tensor:
        """x σ(x)."""
        return silu(input)


class Mish(Inplace):
    """x tanh(softplus(x)), as `mish`.

    >>> Mish()(ad.Tensor([-1.0, 2.0]))
    Tensor([-0.30340146,  1.94395896])
    """

    def forward(self, input: Any) -> Tensor:
        """x tanh(softplus(x))."""
        return mish(input)


class GLU(Activation):
    """a σ(b) of the input's halves along `dim`, as `glu`.

    >>> GLU()(ad.Tensor([[1.0, 2.0, 0.0, 0.0]])).shape
    (1, 2)
    """

    _options = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        self.dim = integer("GLU", "dim", dim)

    def forward(self, input: Any) -> Tensor:
        """a σ(b)."""
        return glu(input, self.dim)
