"""Normalisation: of a batch per channel, of each sample over its last axes, over groups of its channels.

One fused operation serves all of them, x̂ = (x − μ)/√(σ² + ε) and then w x̂ + b; a `View` says over which axes the
statistics are taken and where the weight applies. Its derivative by x is an operation too, whose derivatives are made
of the two, so they close to any order. First the views and sums, then the operations, functions and layers.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from autodiff import Tensor
from autodiff.batching.batch import Batch, BatchError
from autodiff.flags import flagged
from autodiff.machine.kernels import rows_of
from autodiff.ops.guards import common
from autodiff.primitive import Operation, Sample, declare, polymorphic
from autodiff.tensor import clock, is_foreign, plain, writable

from .arguments import as_tensor, count, floats, number
from .axes import OverAxes, written
from .module.module import Module
from .module.parameter import Parameter
from .normalization_kernels import BY_WEIGHT, LAYER_NORM, LAYER_NORM_PULLBACK, RMS_NORM, RMS_NORM_PULLBACK
from .random import floating

# Views: the shapes in which an input is seen


class View(NamedTuple):
    """How a normalisation sees its input."""

    shape: tuple[int, ...]
    """The shape in which statistics are taken."""
    axes: tuple[int, ...]
    """The axes over which they are taken."""
    applied: tuple[int, ...]
    """The shape in which weight and bias apply."""
    weight: tuple[int, ...]
    """The shape of weight and bias there."""
    over: tuple[int, ...]
    """The axes along which they are constant."""

    def __repr__(self) -> str:
        return f"{self.axes} of {self.shape}"

    @property
    def joint(self) -> bool:
        """Whether all values that share their statistics share their weight."""
        return self.axes == self.over and self.shape == self.applied

    def of_row(self, count: int) -> View:
        """The same of one of `count` examples."""
        shape, applied = ((n[0] // count, *n[1:]) for n in (self.shape, self.applied))
        return self._replace(shape=shape, applied=applied)


@lru_cache(maxsize=256)
def _per_channel(shape: tuple[int, ...]) -> View:
    """(N, C, ...): statistics of each channel, over all else."""
    if len(shape) == 2:
        return View(shape, (0,), shape, shape[1:], (0,))
    seen = (shape[0], shape[1], math.prod(shape[2:]))
    return View(seen, (0, 2), seen, (shape[1], 1), (0, 2))


@lru_cache(maxsize=256)
def _per_sample(shape: tuple[int, ...], n: int) -> View:
    """Statistics over the last n axes, a weight for each place in them."""
    first = len(shape) - n
    seen = (math.prod(shape[:first]), math.prod(shape[first:]))
    return View(seen, (1,), seen, seen[1:], (0,))


@lru_cache(maxsize=256)
def _per_group(shape: tuple[int, ...], groups: int) -> View:
    """(N, C, ...): statistics of each sample over a group of channels, a weight for each channel."""
    n, channels, rest = shape[0], shape[1], math.prod(shape[2:])
    seen = (n * groups, channels // groups * rest)
    return View(seen, (1,), (n, channels, rest), (channels, 1), (0, 2))


# Sums over the axes of a view, keeping these axes: on arrays, by BLAS and einsum, in one pass and without temporaries

_ROWS = 4096
"""So many rows are added in single precision; sums of blocks of them in double."""


@lru_cache(maxsize=256)
def _ones(n: int, kind: str) -> Any:
    return np.ones(n, kind)


def _down(a: Any, b: Any = None) -> Any:
    """The sums of the columns of a, or of a · b."""
    if len(a) > _ROWS and a.dtype.char == "f":
        if is_foreign(a):
            return np.add.reduce(a if b is None else a * b, axis=0, dtype=np.float64).astype(a.dtype)
        total = np.zeros(a.shape[1])
        for i in range(0, len(a), _ROWS):
            total += _down(a[i : i + _ROWS], None if b is None else b[i : i + _ROWS])
        return total.astype("f")
    if b is not None:
        return np.einsum("ij,ij->j", a, b)
    n = len(a)
    return np.dot(np.ones(n, a.dtype, like=a), a) if is_foreign(a) else _ones(n, a.dtype.char).dot(a)


def _across(a: Any, b: Any = None) -> Any:
    """The sums of the rows of a, or of a · b."""
    if b is not None:
        return np.einsum("ij,ij->i", a, b)
    n = a.shape[1]
    return np.dot(a, np.ones(n, a.dtype, like=a)) if is_foreign(a) else a.dot(_ones(n, a.dtype.char))


def _values(view: View) -> int:
    """How many values share their statistics, at least 1."""
    return max(math.prod([view.shape[a] for a in view.axes]), 1)


def _total(axes: tuple[int, ...], a: Any, b: Any = None) -> Any:
    """Σ a, or Σ a · b, over the axes."""
    if axes == (0,):
        return _down(a, b)[None]
    if axes == (1,):
        return _across(a, b)[:, None]
    n, channels, rest = a.shape
    flat = (n * channels, rest)
    inner = _across(a.reshape(flat), None if b is None else b.reshape(flat))
    return _down(inner.reshape(n, channels)).reshape(1, channels, 1)


# The operations


class Statistics:
    """What a forward pass leaves for the backward pass and for running averages: mean, variance and 1/√(variance + ε)
    of the input, as arrays that broadcast against it in its view."""

    __slots__ = ("_product", "far", "inverse", "mean", "variance")
    internal = True

    mean: Any
    variance: Any
    inverse: Any
    far: bool
    """Whether some mean is so far from zero that x itself may not stand for x − μ in sums and products."""
    _product: tuple[int, int, Any]

    def __init__(self) -> None:
        self._product = (0, -1, None)

    def of_row(self, count: int) -> Statistics:
        """None yet."""
        return Statistics()

    def leave_product(self, g: Any, product: Any) -> None:
        """Note Σ g (x − μ), which the rule of the input needs and that of the weight, which comes next, as well."""
        self._product = (id(g), clock(), product)

    def product(self, g: Any) -> Any:
        """What was noted for this g just before, or None. Tensors are numbered as they are made, and none is made
        between two rules of one operation: g is the same array with the same values."""
        noted, number, product = self._product
        return product if noted == id(g) and clock() == number + 1 else None

    def __repr__(self) -> str:
        return "Statistics"


def _centred(x: Any, kept: Statistics | None, view: View, eps: float, centred: bool) -> tuple[Any, Any, Statistics]:
    """x − μ in the view, as a pair t, o of which it is the difference, and the statistics, taken if there are none yet.
    Where x may stand for it, t is x and o is μ, which saves a pass over the array; else t is x − μ and o is 0. Where
    nothing is to be centred, t is x and o is 0."""
    x = x.reshape(view.shape)
    if kept is not None and hasattr(kept, "inverse"):
        return (x, 0.0, kept) if not centred else (x - kept.mean, 0.0, kept) if kept.far else (x, kept.mean, kept)
    kept = Statistics() if kept is None else kept
    n = _values(view)
    kept.variance = _total(view.axes, x, x) / n
    offset: Any = 0.0
    kept.far = False
    if centred:
        kept.mean = offset = _total(view.axes, x) / n
        square = offset * offset
        kept.variance -= square
        kept.far = not common((square <= 16 * kept.variance).all())
    if kept.far:
        x = x - kept.mean
        rest = _total(view.axes, x) / n  # what the mean is off by, from rounding
        x -= rest
        kept.mean += rest
        kept.variance = _total(view.axes, x, x) / n
        offset = 0.0
    kept.inverse = 1 / np.sqrt(kept.variance + eps)
    return x, offset, kept


def _into(out: Any, operation: Any, a: Any, b: Any) -> Any:
    """The operation, in place where there is an array that may be written and that has the result's dtype."""
    own = out is not None and type(a) is type(b) is type(out) and np.result_type(a, b) == out.dtype
    return operation(a, b, out=out if own else None)


def _present(value: Any) -> bool:
    """Whether there is a weight or bias, and not the number that stands for none."""
    return not isinstance(value, (int, float))


# Rows as machine code


def _native_rows(view: View, weight: Any, bias: Any, *arrays: Any) -> list[Any] | None:
    """The arrays as rows for kernels; None where these do not run on them."""
    rows = view.axes == (1,) and view.over == (0,) and view.shape == view.applied
    if not rows or type(arrays[0]) is not np.ndarray:
        return None
    of_one_type = all(not _present(v) or (type(v) is np.ndarray and v.dtype == arrays[0].dtype) for v in (weight, bias))
    return rows_of(*[a.reshape(view.shape) for a in arrays]) if of_one_type else None


def _as_row(value: Any, like: Any) -> Any:
    """A weight or bias as a row of an array of rows, or the number that stands for it."""
    if _present(value):
        return np.ascontiguousarray(value).reshape(1, -1)
    return np.full((1, like.shape[1]), value, like.dtype)


def _kept_columns(kept: Statistics, like: Any) -> tuple[Any, Any]:
    """Mean and inverse of each row, the mean 0 where nothing was centred."""
    mean = kept.mean if hasattr(kept, "mean") else np.zeros((1, 1), like.dtype)
    return mean, kept.inverse


def _normalised_rows(x: Any, weight: Any, bias: Any, eps: float, centred: bool, kept: Statistics) -> Any:
    y = np.empty_like(x)
    mean, kept.variance, kept.inverse = np.empty((3, len(x), 1), x.dtype)
    kernel = LAYER_NORM if centred else RMS_NORM
    kernel.rows(
        x, _as_row(weight, x), _as_row(bias, x), np.full((1, 1), eps, x.dtype), mean, kept.variance, kept.inverse, y
    )
    kept.far = False
    if centred:
        kept.mean = mean
        kept.far = not (mean * mean <= 16 * kept.variance).all()
    return y


def _normalise(
    x: Any, weight: Any, bias: Any = 0.0, *, view: View, eps: float, centred: bool = True, kept: Any = None
) -> Any:
    if hasattr(kept, "inverse"):
        del kept.inverse  # of another run
    if rows := _native_rows(view, weight, bias, x):
        kept = Statistics() if kept is None else kept
        return _normalised_rows(rows[0], weight, bias, eps, centred, kept).reshape(x.shape)
    t, offset, kept = _centred(x, kept, view, eps, centred)
    own = t if kept.far else None  # an array that may be written
    scale = kept.inverse
    if _present(weight) and view.joint:
        scale = scale * weight.reshape(view.weight)
    t = own = _into(own, np.multiply, t, scale)
    if view.joint:
        shift = -offset * scale
        if _present(bias):
            shift = shift + bias.reshape(view.weight)
        if _present(shift):
            t = _into(own, np.add, t, shift)
        return t.reshape(x.shape)
    if _present(offset):
        t -= offset * scale
    t = own = t.reshape(view.applied)
    if _present(weight):
        t = own = _into(own, np.multiply, t, weight.reshape(view.weight))
    if _present(bias):
        t = _into(own, np.add, t, bias.reshape(view.weight))
    return t.reshape(x.shape)


def _pull(x: Any, g: Any, weight: Any = 1.0, *, view: View, eps: float, centred: bool = True, kept: Any = None) -> Any:
    """(h − mean h − x̂ mean(h x̂)) / √(σ² + ε), with h = w g, of arrays."""
    if hasattr(kept, "inverse") and (rows := _native_rows(view, weight, 0.0, x, g)):
        d = np.empty(x.shape, x.dtype)
        kernel = LAYER_NORM_PULLBACK if centred else RMS_NORM_PULLBACK
        kernel.rows(*rows, _as_row(weight, rows[0]), *_kept_columns(kept, d), d.reshape(view.shape))
        return d
    t, offset, kept = _centred(x, kept, view, eps, centred)
    r, n = kept.inverse, _values(view)
    h = g.reshape(view.shape)
    if _present(weight):
        weight = weight.reshape(view.weight)
        if view.joint:
            r = r * weight
        else:
            h = (g.reshape(view.applied) * weight).reshape(view.shape)
    total = _total(view.axes, h) if centred else 0.0
    product = _total(view.axes, h, t) - offset * total
    slope = product * (kept.inverse * kept.inverse / -n)
    t = own = _into(t if kept.far else None, np.multiply, t, slope)
    t = own = _into(own, np.add, t, h)
    if centred:
        t = own = _into(own, np.subtract, t, total / n + offset * slope)
    t = _into(own, np.multiply, t, r)
    if view.joint:
        kept.leave_product(g, product)
    return t.reshape(x.shape)


def _of_input(g: Any, y: Any, x: Any, weight: Any, bias: Any = 0.0, **p: Any) -> Any:
    if not isinstance(g, Tensor):
        return _pull(x, g, weight, **p)
    if _present(weight):
        view = p["view"]
        g = (g.reshape(view.applied) * weight.reshape(view.weight)).reshape(x.shape)
    return _pullback(x, g, **p)


def _fitted(sums: Any, weight: Any) -> Any:
    """Sums for each weight in its shape; of the one number that stands for all weights, their sum."""
    return sums.reshape(weight.shape) if hasattr(weight, "shape") else sums.sum()


def _of_weight(g: Any, y: Any, x: Any, weight: Any, bias: Any = 0.0, **p: Any) -> Any:
    view = p["view"]
    if isinstance(g, Tensor):
        h = (g * _normalised(x, 1.0, **p)).reshape(view.applied)
        return _fitted(h.sum(axis=view.over), weight)
    kept: Any = p.get("kept")
    product = kept.product(g) if view.joint and kept is not None else None
    if product is None:
        if hasattr(kept, "inverse") and (rows := _native_rows(view, weight, 0.0, x, g)):
            return _fitted(BY_WEIGHT.sums(*rows, *_kept_columns(kept, rows[0])), weight)
        t, offset, kept = _centred(x, kept, view, p["eps"], p.get("centred", True))
        if not view.joint:
            t = _into(t if kept.far else None, np.multiply, t, kept.inverse)
            if _present(offset):
                t -= offset * kept.inverse
            return _fitted(_total(view.over, g.reshape(view.applied), t.reshape(view.applied)), weight)
        h = g.reshape(view.applied)
        product = _total(view.over, h, t) - offset * _total(view.over, h)
    return _fitted(product * kept.inverse, weight)


def _of_bias(g: Any, y: Any, x: Any, weight: Any, bias: Any, **p: Any) -> Any:
    view = p["view"]
    g = g.reshape(view.applied)
    return _fitted(g.sum(axis=view.over) if isinstance(g, Tensor) else _total(view.over, g), bias)


def _inverse(x: Any, view: View, eps: float, centred: bool = True, kept: Any = None) -> Any:
    """1/√(σ² + ε)."""
    if not isinstance(x, Tensor):
        return _centred(x, kept, view, eps, centred)[2].inverse
    t, n = x.reshape(view.shape), _values(view)
    if centred:
        t = t - t.sum(axis=view.axes, keepdims=True) / n
    return ((t * t).sum(axis=view.axes, keepdims=True) / n + eps) ** -0.5


def _pullback_of_input(c: Any, d: Any, x: Any, h: Any, **p: Any) -> Any:
    """The cotangent of x where d is the pullback of h: −(x̂ Σ c d + e Σ h x̂ + d Σ c x̂) / (n √(σ² + ε)), where e is the
    pullback of c."""
    view = p["view"]
    n = _values(view)
    hat, e = _normalised(x, 1.0, **p), _pullback(x, c, **p)
    hat, e, c, d, h = (v.reshape(view.shape) for v in (hat, e, c, d, h))
    cd, hx, cx = ((a * b).sum(axis=view.axes, keepdims=True) for a, b in ((c, d), (h, hat), (c, hat)))
    return ((hat * cd + e * hx + d * cx) * (_inverse(x, **p) / -n)).reshape(x.shape)


_RULES = [_of_input, _of_weight, _of_bias]


def _seen(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return x if x.shape == shape else x.reshape(shape)


def _named(x: Tensor, name: str) -> Tensor:
    x.name = name
    return x


def _expansion(
    x: Tensor, weight: Any, bias: Any = 0.0, *, view: View, eps: float, centred: bool = True, kept: Any = None
) -> Any:
    """Mean, variance, x̂, and what weight and bias make of it."""
    if not x.size:
        return None
    shape, t = x.shape, _seen(x, view.shape)
    if centred:
        yield "mean"
        mean = _named(t.mean(axis=view.axes, keepdims=True), "μ")
        yield "variance"
        t = t - mean
    else:
        yield "mean square"
    variance = _named((t * t).mean(axis=view.axes, keepdims=True), "σ²" if centred else "mean x²")
    yield "normalise"
    hat = _named(_seen(t / np.sqrt(variance + eps), view.applied), "x̂")
    if _present(weight) or _present(bias):
        yield "scale"
        hat = hat * _seen(weight, view.weight) if _present(weight) else hat
        hat = hat + _seen(bias, view.weight) if _present(bias) else hat
    return _seen(hat, shape)


def _sample(rng: np.random.Generator, view: View, shape: tuple[int, ...], weight: Any, plain: bool, **p: Any) -> Sample:
    x = rng.normal(size=shape)
    w = [1.0, 0.0] if plain else [rng.uniform(0.5, 1.5, weight), rng.normal(size=weight)]
    return Sample((x, *(w[:1] if p.get("centred") is False else w)), {"view": view, "eps": 0.1, **p})


_batch_norm: Operation = declare(
    "batch_norm", _normalise, _RULES, formula="({0} − μ)/√(σ² + ε) · {1} + {2}, μ and σ² of the batch",
    derivatives=["{1}/√(σ² + ε) · (I − 1/n − x̂ x̂ᵀ/n)", "x̂ = ({0} − μ)/√(σ² + ε)", "1"],
    samples=lambda rng: [_sample(rng, _per_channel(s), s, s[1], plain)
                         for s, plain in [((4, 2), False), ((2, 2, 3), False), ((3, 1), True), ((0, 2), False)]],
    doc="x̂ = (x − μ)/√(σ² + ε) with the mean and variance of each channel, then w x̂ + b.", expansion=_expansion,
)  # fmt: skip

_layer_norm: Operation = declare(
    "layer_norm", _normalise, _RULES, formula="({0} − μ)/√(σ² + ε) · {1} + {2}, μ and σ² of each sample",
    derivatives=["(I − 1/n − x̂ x̂ᵀ/n)/√(σ² + ε) · {1}", "x̂ = ({0} − μ)/√(σ² + ε)", "1"],
    samples=lambda rng: [_sample(rng, _per_sample(s, n), s, s[-n:], plain)
                         for s, n, plain in [((2, 3), 1, False), ((2, 2, 3), 2, False), ((3,), 1, True),
                                             ((0, 3), 1, False)]],
    doc="x̂ = (x − μ)/√(σ² + ε) with the mean and variance over the last axes, then w x̂ + b.", expansion=_expansion,
)  # fmt: skip

_group_norm: Operation = declare(
    "group_norm", _normalise, _RULES, formula="({0} − μ)/√(σ² + ε) · {1} + {2}, μ and σ² of each sample's groups",
    derivatives=["(I − 1/n − x̂ x̂ᵀ/n)/√(σ² + ε) · {1}", "x̂ = ({0} − μ)/√(σ² + ε)", "1"],
    samples=lambda rng: [_sample(rng, _per_group(s, g), s, s[1], plain)
                         for s, g, plain in [((2, 4, 2), 2, False), ((1, 4), 1, False), ((2, 2, 3), 2, True),
                                             ((0, 2, 2), 1, False)]],
    doc="x̂ = (x − μ)/√(σ² + ε) with the mean and variance of a sample's group of channels, then w x̂ + b.",
    expansion=_expansion,
)  # fmt: skip

_rms_norm: Operation = declare(
    "rms_norm", _normalise, _RULES[:2], formula="{0}/√(mean {0}² + ε) · {1}",
    derivatives=["(I − x̂ x̂ᵀ/n)/√(mean {0}² + ε) · {1}", "x̂ = {0}/√(mean {0}² + ε)"],
    samples=lambda rng: [_sample(rng, _per_sample(s, n), s, s[-n:], plain, centred=False)
                         for s, n, plain in [((2, 3), 1, False), ((2, 2, 2), 2, False), ((3,), 1, True),
                                             ((0, 3), 1, False)]],
    doc="x̂ = x/√(mean x² + ε) over the last axes, then w x̂.", expansion=_expansion,
)  # fmt: skip

_normalised: Any = polymorphic(_batch_norm)

_pullback: Any = polymorphic(declare(
    "normalization_pullback", _pull,
    [_pullback_of_input, lambda c, d, x, h, **p: _pullback(x, c, **p)],
    formula="({1} − mean {1} − x̂ mean({1} x̂))/√(σ² + ε), x̂ = ({0} − μ)/√(σ² + ε)",
    derivatives=["−(x̂ Σ c {y} + c' Σ {1} x̂ + {y} Σ c x̂)/(n √(σ² + ε)), c' the same of the cotangent c",
                 "the same of the cotangent"],
    samples=lambda rng: [Sample((rng.normal(size=s), rng.normal(size=s)), {"view": view, "eps": 0.1, "centred": c})
                         for s, view in [((3, 1), _per_channel((3, 1))), ((2, 2, 2), _per_channel((2, 2, 2))),
                                         ((2, 3), _per_sample((2, 3), 1)), ((0, 3), _per_channel((0, 3)))]
                         for c in (True, False)],
    doc="The cotangent of a normalisation's input, for weights of 1.",
))  # fmt: skip


def _shift(x: Any, weight: Any, bias: Any, *, mean: Any, inverse: Any) -> Any:
    y = x - mean
    y = _into(y, np.multiply, y, inverse * weight)
    return y if isinstance(bias, float) else _into(y, np.add, y, bias)


def _inference_expansion(x: Tensor, weight: Any, bias: Any, *, mean: Any, inverse: Any) -> Tensor:
    y = _named((x - mean) * inverse, "x̂")
    y = y * weight if _present(weight) else y
    return y + bias if _present(bias) else y


_batch_norm_inference: Operation = declare(
    "batch_norm_inference", _shift,
    [lambda g, y, x, weight, bias, mean, inverse: g * (weight * inverse),
     lambda g, y, x, weight, bias, mean, inverse: g * ((x - mean) * inverse),
     lambda g, y, x, weight, bias, mean, inverse: g],
    formula="({0} − μ)/√(σ² + ε) · {1} + {2}, μ and σ² running averages",
    derivatives=["{1}/√(σ² + ε)", "({0} − μ)/√(σ² + ε)", "1"],
    samples=lambda rng: [Sample((rng.normal(size=s), *rng.normal(size=(2,) + w)),
                                {"mean": rng.normal(size=w), "inverse": rng.uniform(0.5, 1.5, w)})
                         for s, w in [((3, 2), (2,)), ((2, 2, 3), (2, 1)), ((0, 2), (2,))]],
    doc="w (x − μ)/√(σ² + ε) + b with a given mean and variance.", expansion=_inference_expansion,
)  # fmt: skip


# The functions


def _fitting(layer: str, name: str, value: Any, shape: tuple[int, ...], default: float) -> Any:
    """A weight or bias as a Tensor, or the number that stands for it where there is none."""
    if value is None:
        return default
    value = as_tensor(value)
    if value.shape != shape:
        raise ValueError(f"{layer}: {name} has shape {value.shape}, expects {shape}")
    floats(layer, value, what=name)
    return value


def _widened(layer: str, input: Any) -> tuple[Tensor, Any]:
    """The input with floating values, half types in single precision (sums overflow there), and its own dtype."""
    input = as_tensor(input)
    floats(layer, input)
    return (input.astype(np.float32), input.dtype) if input.dtype.itemsize == 2 else (input, None)


@flagged
def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    unbiased_running_var: bool = True,
) -> Tensor:
    """w (x − μ)/√(σ² + ε) + b for each channel, with the batch's statistics or the running ones.

    Args:
        input: x, shape (N, C) or (N, C, ...).
        running_mean, running_var: shape (C,), Tensors or arrays, or both None (then the batch's statistics are used
            always). In training they are written: new = (1 − momentum) · old + momentum · batch. Without training they
            may require a gradient too.
        weight, bias: w and b, shape (C,), or None for 1 and 0.
        training: whether the batch's mean and (biased) variance are used.
        momentum: the batch's part in the running averages.
        eps: ε.
        unbiased_running_var: whether the running average takes the variance divided by n − 1, as PyTorch's; with False
            the biased one, as in the source documents.

    Raises:
        ValueError: for shapes that do not fit, one value per channel in training, no statistics to use.
        TypeError: for values that are not floating-point.
    """
    return _batch("batch_norm", input, running_mean, running_var, weight, bias, training, momentum, eps,
                  unbiased_running_var)  # fmt: skip


def _batch(
    layer: str, input: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, training: bool,
    momentum: float, eps: float, unbiased: bool,
) -> Tensor:  # fmt: skip
    input, narrow = _widened(layer, input)
    shape, eps = input.shape, number(layer, "eps", eps, 0.0)
    if len(shape) < 2:
        raise ValueError(f"{layer}: got input of shape {shape}, expects (N, C) or (N, C, ...)")
    channels = shape[1:2]
    weight = _fitting(layer, "weight", weight, channels, 1.0)
    bias = _fitting(layer, "bias", bias, channels, 0.0)
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{layer}: running_mean and running_var are given both or not at all")
    running = [] if running_mean is None else [as_tensor(running_mean), as_tensor(running_var)]
    for name, value in zip(("running_mean", "running_var"), running):
        _fitting(layer, name, value, channels, 0.0)
    if not training:
        if not running:
            raise ValueError(f"{layer}: without training, running_mean and running_var are needed")
        tail = channels + (1,) * (len(shape) - 2)
        weight, bias = (v if isinstance(v, float) else v.reshape(tail) for v in (weight, bias))
        if any(r.requires_grad for r in running):
            centre, spread = (r.reshape(tail) for r in running)
            y = (input - centre) * (weight / np.sqrt(spread + eps)) + bias
            return y if narrow is None else y.astype(narrow)
        # A copy: the averages may be written before the backward pass.
        mean, variance = (r.astype(np.result_type(r, plain(input))) for r in map(plain, running))
        inverse = (1 / np.sqrt(variance + eps)).reshape(tail)
        y = _batch_norm_inference(input, weight, bias, mean=mean.reshape(tail), inverse=inverse)
        return y if narrow is None else y.astype(narrow)
    values = math.prod(shape) // max(shape[1], 1)
    if values == 1 and shape[1]:
        raise ValueError(
            f"{layer}: one value per channel has no variance: got input of shape {shape} in training, expects more "
            f"than one value per channel; use a larger batch, or eval()"
        )
    kept = Statistics()
    y = _batch_norm(input, weight, bias, view=_per_channel(shape), eps=eps, kept=kept)
    if running and values:
        variance = kept.variance * (values / (values - 1)) if unbiased else kept.variance
        _average(layer, (running_mean, running_var), (kept.mean, variance), momentum)
    return y if narrow is None else y.astype(narrow)


def _average(layer: str, running: tuple[Any, Any], batch: tuple[Any, Any], momentum: float) -> None:
    """Move running averages towards a batch's mean and variance."""
    for given, new in zip(running, batch):
        average = as_tensor(given)
        old, part = writable(average), momentum * new.reshape(average.shape)
        if isinstance(part, Batch) and not isinstance(old, Batch):
            raise BatchError(
                f"{layer}: inside ad.vmap the statistics differ between examples, which share the running averages "
                f"that training moves; use eval(), or track_running_stats=False, or map the averages too"
            )
        old *= 1 - momentum
        old += part
        if isinstance(given, Tensor):
            given.data = old


@flagged
def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """w (x − μ)/√(σ² + ε) + b, with mean and (biased) variance of each channel of each sample, or the running ones.

    Args:
        input: x, shape (N, C, L, ...).
        running_mean, running_var: shape (C,), or both None. With `use_input_stats` they are written: new = (1 −
            momentum) · old + momentum · the mean over samples of μ and of the variance divided by n − 1.
        weight, bias: w and b, shape (C,), or None for 1 and 0.
        use_input_stats: whether μ and σ² are the input's; else the running ones.
        momentum, eps: as `batch_norm`'s.

    Raises:
        ValueError: for shapes that do not fit, one value per channel and sample, no statistics to use.
        TypeError: for values that are not floating-point.

    >>> instance_norm([[[1.0, 3.0], [10.0, 30.0]]]).numpy().round(3)
    array([[[-1.,  1.],
            [-1.,  1.]]])
    """
    return _instance("instance_norm", input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def _instance(
    layer: str, input: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, from_input: bool,
    momentum: float, eps: float,
) -> Tensor:  # fmt: skip
    if not from_input:
        return _batch(layer, input, running_mean, running_var, weight, bias, False, momentum, eps, True)
    input, narrow = _widened(layer, input)
    if input.ndim < 3:
        raise ValueError(f"{layer}: got input of shape {input.shape}, expects (N, C, L, ...)")
    samples, channels, values = input.shape[0], input.shape[1], math.prod(input.shape[2:])
    if values == 1 and input.size:
        raise ValueError(
            f"{layer}: one value per channel and sample has no variance: got input of shape {input.shape}"
        )  # fmt: skip
    running = (running_mean, running_var)
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{layer}: running_mean and running_var are given both or not at all")
    for name, value in zip(("running_mean", "running_var"), running):
        _fitting(layer, name, value, (channels,), 0.0)
    weight = _fitting(layer, "weight", weight, (channels,), 1.0)
    bias = _fitting(layer, "bias", bias, (channels,), 0.0)
    kept, eps = Statistics(), number(layer, "eps", eps, 0.0)
    y = _group_norm(input, weight, bias, view=_per_group(input.shape, channels), eps=eps, kept=kept)
    if running_mean is not None and input.size:
        mean, variance = (a.reshape(samples, channels).mean(axis=0) for a in (kept.mean, kept.variance))
        _average(layer, running, (mean, variance * (values / (values - 1))), momentum)
    return y if narrow is None else y.astype(narrow)


def layer_norm(input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """w (x − μ)/√(σ² + ε) + b, with mean and (biased) variance of each sample over its last axes.

    Args:
        input: x, shape (..., *normalized_shape).
        normalized_shape: lengths of the last axes; an integer stands for one.
        weight, bias: w and b, of shape normalized_shape, or None for 1 and 0.
        eps: ε.

    Raises:
        ValueError: for shapes that do not fit.
        TypeError: for values that are not floating-point.
    """
    lengths = _lengths("layer_norm", normalized_shape)
    return _sample_norm("layer_norm", _layer_norm, input, lengths, weight, bias, eps)


def rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Tensor:
    """w x/√(mean x² + ε), with the mean of each sample over its last axes.

    Args:
        input: x, shape (..., *normalized_shape).
        normalized_shape: lengths of the last axes; an integer stands for one.
        weight: w, of shape normalized_shape, or None for 1.
        eps: ε; the spacing of floats at 1 in the input's dtype by default.

    Raises:
        ValueError: for shapes that do not fit.
        TypeError: for values that are not floating-point.
    """
    return _sample_norm("rms_norm", _rms_norm, input, _lengths("rms_norm", normalized_shape), weight, None, eps)


def _lengths(layer: str, normalized_shape: Any) -> tuple[int, ...]:
    if not isinstance(normalized_shape, (tuple, list)):
        normalized_shape = (normalized_shape,)
    if not normalized_shape:
        raise ValueError(f"{layer}: normalized_shape is a length or several, not {normalized_shape!r}")
    return tuple([count(layer, "normalized_shape", n) for n in normalized_shape])


def _sample_norm(
    layer: str, operation: Operation, input: Any, lengths: tuple[int, ...], weight: Any, bias: Any, eps: float | None
) -> Tensor:
    input, narrow = _widened(layer, input)
    if input.shape[-len(lengths) :] != lengths:
        raise ValueError(f"{layer}: got input of shape {input.shape}, expects (..., {', '.join(map(str, lengths))})")
    affine = [_fitting(layer, "weight", weight, lengths, 1.0)]
    if operation is _rms_norm:
        eps = float(np.finfo(input.dtype if narrow is None else narrow).eps) if eps is None else eps
        options: dict[str, Any] = {"centred": False}
    else:
        affine.append(_fitting(layer, "bias", bias, lengths, 0.0))
        options = {}
    view = _per_sample(input.shape, len(lengths))
    y = operation(input, *affine, view=view, eps=number(layer, "eps", eps, 0.0), kept=Statistics(), **options)
    return y if narrow is None else y.astype(narrow)


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """w (x − μ)/√(σ² + ε) + b, with mean and (biased) variance of each sample over a group of its channels.

    Args:
        input: x, shape (N, C, ...).
        num_groups: into how many groups of equal size the channels are divided.
        weight, bias: w and b, shape (C,), or None for 1 and 0.
        eps: ε.

    Raises:
        ValueError: for shapes that do not fit, or channels that cannot be divided so.
        TypeError: for values that are not floating-point.
    """
    return _grouped("group_norm", input, count("group_norm", "num_groups", num_groups, 1), weight, bias, eps)


def _grouped(layer: str, input: Any, groups: int, weight: Any, bias: Any, eps: float) -> Tensor:
    input, narrow = _widened(layer, input)
    shape = input.shape
    if len(shape) < 2 or shape[1] % groups:
        raise ValueError(
            f"{layer}: got input of shape {shape}, expects (N, C, ...) with C a multiple of {groups} groups"
        )
    weight = _fitting(layer, "weight", weight, shape[1:2], 1.0)
    bias = _fitting(layer, "bias", bias, shape[1:2], 0.0)
    eps = number(layer, "eps", eps, 0.0)
    y = _group_norm(input, weight, bias, view=_per_group(shape, groups), eps=eps, kept=Statistics())
    return y if narrow is None else y.astype(narrow)


# The layers


class _Affine(Module):
    """What the layers share: a weight that starts at 1 and a bias that starts at 0, or neither."""

    weight: Parameter | None
    bias: Parameter | None

    def _make(self, shape: tuple[int, ...], dtype: Any, **present: bool) -> None:
        dtype = floating(dtype)
        for name, wanted in present.items():
            self.register_parameter(name, Parameter(np.empty(shape, dtype)) if wanted else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weight to 1 and the bias to 0."""
        for name, p in self.named_parameters(recurse=False):
            p.data = np.full(p.shape, float(name == "weight"), p.dtype)


class _Running(_Affine, OverAxes):
    """What batch and instance norm share: parameters, and running averages of mean and variance."""

    _shapes = "{BatchNorm}"

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def _keep(
        self, num_features: int, eps: float, momentum: float | None, affine: bool, track_running_stats: bool,
        dtype: Any, bias: bool,
    ) -> None:  # fmt: skip
        name = type(self).__name__
        self.num_features = count(name, "num_features", num_features)
        self.eps = number(name, "eps", eps, 0.0)
        self.momentum = None if momentum is None else number(name, "momentum", momentum, 0.0, 1.0)
        self.affine = bool(affine)
        self.track_running_stats = bool(track_running_stats)
        dtype = floating(dtype)
        for buffer in ("running_mean", "running_var", "num_batches_tracked"):
            shape, kind = ((), np.int64) if buffer == "num_batches_tracked" else ((num_features,), dtype)
            self.register_buffer(buffer, np.empty(shape, kind) if track_running_stats else None)
        self._make((num_features,), dtype, weight=self.affine, bias=self.affine and bool(bias))

    def _input(self, input: Any, ranks: tuple[int, ...], along: int) -> tuple[str, Tensor]:
        """The layer with its argument, and the input, checked; `along` is the channels' axis."""
        x, name = as_tensor(input), f"{type(self).__name__}({self.num_features})"
        if x.ndim not in ranks or x.shape[along] != self.num_features:
            expected = written(self._shapes, self._axes).replace("C", str(self.num_features))
            raise ValueError(f"{name}: got input of shape {x.shape}, expects {expected}")
        floats(name, x, self.weight)
        return name, x

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the running variance to 1 and the number of batches to 0."""
        for tensor, value in ((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)):
            if tensor is not None:
                tensor.data = np.full_like(plain(tensor), value)

    def reset_parameters(self) -> None:
        """Set the weight to 1 and the bias to 0, and forget the running statistics."""
        self.reset_running_stats()
        super().reset_parameters()

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Running):
    _text = """Batch norm: w (x − μ)/√(σ² + ε) + b, with mean and variance of each channel over samples and places.

    Args:
        num_features: C.
        eps: ε.
        momentum: the batch's part in the running averages, new = (1 − momentum) · old + momentum · batch; None for the
            plain average over all batches so far.
        affine: whether there are w and b.
        track_running_stats: whether running averages are kept, which `eval` mode uses; without them, the batch's
            statistics are used always.
        unbiased_running_var: whether the running average takes the variance divided by n − 1 (PyTorch) or by n.
        dtype: of the parameters; `nn.get_default_dtype()` by default.
        bias: False for a layer with a weight only.

    Shapes: input and output {BatchNorm}, `weight` and `bias` (C,); buffers `running_mean` and `running_var` (C,),
    `num_batches_tracked` ().

    Raises:
        ValueError: for inputs of another shape, and in training for one value per channel.

    Source: Ioffe and Szegedy, Batch Normalization, 2015.

    >>> import numpy as np, nn
    >>> layer = nn.BatchNorm{n}d(1)
    >>> layer(np.array([1.0, 3.0], "float32").reshape((2, 1, {1 ...}))).numpy().round(3).ravel()
    array([-1.,  1.], dtype=float32)
    >>> layer.running_mean
    Tensor([0.2], dtype=float32)
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        unbiased_running_var: bool = True,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        self.unbiased_running_var = bool(unbiased_running_var)
        self._keep(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def forward(self, input: Any) -> Tensor:
        """w (x − μ)/√(σ² + ε) + b."""
        name, input = self._input(input, (2, 3) if self._axes == 1 else (self._axes + 2,), 1)
        mean, variance, momentum = self.running_mean, self.running_var, self.momentum
        if self.training and self.num_batches_tracked is not None and momentum is None:
            momentum = 1 / (plain(self.num_batches_tracked) + 1)
        training = self.training or mean is None
        momentum = 0.0 if momentum is None else momentum
        y = _batch(name, input, mean, variance, self.weight, self.bias, training, momentum, self.eps,
                   self.unbiased_running_var)  # fmt: skip
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.data = self.num_batches_tracked.data + 1
        return y

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.unbiased_running_var else ", unbiased_running_var=False")


class BatchNorm1d(_BatchNorm, axes=1): ...


class BatchNorm2d(_BatchNorm, axes=2): ...


class BatchNorm3d(_BatchNorm, axes=3): ...


class _InstanceNorm(_Running):
    _text = """Instance normalisation: w (x − μ)/√(σ² + ε) + b, with mean and variance of each channel of each sample.

    Args: those of `BatchNorm{n}d` but `unbiased_running_var`; by default there are neither w and b nor running
        averages. With them (`track_running_stats`), `eval` mode uses these, the averages over samples of mean and
        unbiased variance; `momentum` None then keeps them as they are.

    Shapes: input and output (N, C, {L}) or (C, {L}), parameters and buffers as `BatchNorm{n}d`'s.

    Raises:
        ValueError: for inputs of another shape, and one value per channel and sample.

    Source: Ulyanov, Vedaldi and Lempitsky, Instance Normalization, 2016.

    >>> import numpy as np, nn
    >>> nn.InstanceNorm{n}d(2)(np.ones((5, 2, {4 ...}), "float32")).shape
    (5, 2, {4 ...})
    """

    _shapes = "(N, C, {L}) or (C, {L})"

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        self._keep(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def forward(self, input: Any) -> Tensor:
        """w (x − μ)/√(σ² + ε) + b."""
        n = self._axes
        name, x = self._input(input, (n + 1, n + 2), -n - 1)
        whole = x if x.ndim == n + 2 else x[None]
        from_input = self.training or self.running_mean is None
        y = _instance(name, whole, self.running_mean, self.running_var, self.weight, self.bias, from_input,
                      self.momentum or 0.0, self.eps)  # fmt: skip
        return y if x.ndim == n + 2 else y[0]


class InstanceNorm1d(_InstanceNorm, axes=1): ...


class InstanceNorm2d(_InstanceNorm, axes=2): ...


class InstanceNorm3d(_InstanceNorm, axes=3): ...


class LayerNorm(_Affine):
    """Layer normalisation: w (x − μ)/√(σ² + ε) + b, with mean and variance of each sample over its last axes.

    Args:
        normalized_shape: lengths of the last axes; an integer stands for one.
        eps: ε.
        elementwise_affine: whether there are w and b.
        bias: False for a layer with a weight only.
        dtype: of the parameters; `nn.get_default_dtype()` by default.

    Shapes: input and output (..., *normalized_shape), `weight` and `bias` normalized_shape.

    Raises:
        ValueError: for inputs of another shape.

    Source: Ba, Kiros and Hinton, Layer Normalization, 2016.

    >>> import numpy as np, nn
    >>> nn.LayerNorm(2)(np.array([[1.0, 3.0]], "float32")).data.round(3)
    array([[-1.,  1.]], dtype=float32)
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        self.normalized_shape = _lengths("LayerNorm", normalized_shape)
        self.eps = number("LayerNorm", "eps", eps, 0.0)
        self.elementwise_affine = bool(elementwise_affine)
        self._make(self.normalized_shape, dtype, weight=self.elementwise_affine, bias=self.elementwise_affine and bias)

    def forward(self, input: Any) -> Tensor:
        """w (x − μ)/√(σ² + ε) + b."""
        name = f"LayerNorm({self.normalized_shape})"
        return _sample_norm(name, _layer_norm, input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(_Affine):
    """Normalisation by the root mean square: w x/√(mean x² + ε), with the mean of each sample over its last axes.

    Args:
        normalized_shape: lengths of the last axes; an integer stands for one.
        eps: ε; None for the spacing of floats at 1 in the input's dtype.
        elementwise_affine: whether there is a w.
        dtype: of the parameters; `nn.get_default_dtype()` by default.

    Shapes: input and output (..., *normalized_shape), `weight` normalized_shape.

    Raises:
        ValueError: for inputs of another shape.

    Source: Zhang and Sennrich, Root Mean Square Layer Normalization, 2019.

    >>> import numpy as np, nn
    >>> nn.RMSNorm(2)(np.array([[3.0, 4.0]], "float32")).data.round(3)
    array([[0.849, 1.131]], dtype=float32)
    """

    def __init__(
        self, normalized_shape: Any, eps: float | None = None, elementwise_affine: bool = True, dtype: Any = None
    ) -> None:
        self.normalized_shape = _lengths("RMSNorm", normalized_shape)
        self.eps = None if eps is None else number("RMSNorm", "eps", eps, 0.0)
        self.elementwise_affine = bool(elementwise_affine)
        self._make(self.normalized_shape, dtype, weight=self.elementwise_affine)

    def forward(self, input: Any) -> Tensor:
        """w x/√(mean x² + ε)."""
        name = f"RMSNorm({self.normalized_shape})"
        return _sample_norm(name, _rms_norm, input, self.normalized_shape, self.weight, None, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Affine):
    """Group normalisation: w (x − μ)/√(σ² + ε) + b, with mean and variance of each sample over a group of its channels.

    Args:
        num_groups: into how many groups of equal size the channels are divided.
        num_channels: C.
        eps: ε.
        affine: whether there are w and b.
        dtype: of the parameters; `nn.get_default_dtype()` by default.
        bias: False for a layer with a weight only.

    Shapes: input and output (N, C, ...), `weight` and `bias` (C,).

    Raises:
        ValueError: for channels that cannot be divided so, and inputs of another shape.

    Source: Wu and He, Group Normalization, 2018.

    >>> import numpy as np, nn
    >>> nn.GroupNorm(1, 2)(np.array([[1.0, 3.0]], "float32")).data.round(3)
    array([[-1.,  1.]], dtype=float32)
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        self.num_groups = count("GroupNorm", "num_groups", num_groups, 1)
        self.num_channels = count("GroupNorm", "num_channels", num_channels)
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: {num_channels} channels cannot be divided into {num_groups} equal groups")
        self.eps = number("GroupNorm", "eps", eps, 0.0)
        self.affine = bool(affine)
        self._make((num_channels,), dtype, weight=self.affine, bias=self.affine and bias)

    def forward(self, input: Any) -> Tensor:
        """w (x − μ)/√(σ² + ε) + b."""
        input = as_tensor(input)
        name = f"GroupNorm({self.num_groups}, {self.num_channels})"
        if input.ndim < 2 or input.shape[1] != self.num_channels:
            raise ValueError(f"{name}: got input of shape {input.shape}, expects (N, {self.num_channels}, ...)")
        return _grouped(name, input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )
