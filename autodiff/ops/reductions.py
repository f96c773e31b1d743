"""Reductions over any axes: sums and means, products, extremes, moments, running sums, and counts without a gradient.

Without options they are one operation each; ``where=``, ``initial=`` and ``dtype=`` are put together from others.
Names here shadow Python's `sum`, `max`, `any` …, as NumPy's do; rules below use methods of what they are given.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..primitive import Operation, Sample, as_tensor, declare, internal, polymorphic, without_gradient
from ..protocols import REDUCTIONS, implements
from ..tensor import Tensor, plain
from . import elementwise
from .elementwise import add, astype, hypot, logaddexp, logaddexp2, maximum, minimum, multiply, quotient_or_zero, sqrt
from .guards import axes_of, checked_axes, checked_axis, common, count_of, raw, restored, times
from .indexing import picked, scatter_add
from .precision import HALF, at_any_scale, in_single, ordinary
from .samples import Samples, draw
from .shape import concatenate, spread, stack

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "argpartition",
    "argsort",
    "average",
    "count_nonzero",
    "cumprod",
    "cumsum",
    "cumulative_prod",
    "cumulative_sum",
    "max",
    "mean",
    "min",
    "prod",
    "ptp",
    "searchsorted",
    "std",
    "sum",
    "var",
]  # fmt: skip


def _samples(smooth: int = 3, low: float = -2.0, high: float = 2.0, empty: bool = False) -> Samples:
    def samples(rng: np.random.Generator) -> list[Sample]:
        found = [Sample((draw(rng, (), low, high),), smooth=smooth)]
        for params in ({}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (0, 1)}):
            found.append(Sample((draw(rng, (2, 3), low, high),), dict(params), smooth=smooth))
        found.append(Sample((draw(rng, (2, 3, 2), low, high),), {"axis": (0, -1)}, smooth=smooth))
        found.append(Sample((draw(rng, (0, 3)),), {"axis": 1}, smooth=smooth))
        if empty:
            found.append(Sample((draw(rng, (0, 3)),), {"axis": 0}, smooth=smooth))
        return found

    return samples


def _options(axis: Any, keepdims: Any, ddof: Any = 0) -> dict[str, Any]:
    """The options that are not the default; none at all on the common path."""
    options: dict[str, Any] = {}
    if axis is not None:
        options["axis"] = tuple(axis) if isinstance(axis, list) else axis
    if isinstance(keepdims, (int, np.integer, np.bool_)):  # not NumPy's mark for an option left out
        if keepdims:
            options["keepdims"] = True
    elif isinstance(keepdims, Tensor):
        options["keepdims"] = keepdims  # refused, if it requires a gradient
    if isinstance(ddof, Tensor) or ddof:
        options["ddof"] = ddof
    return options


@internal
def of_numbers(a: Any, axis: Any) -> Any:
    """The axis, None for the 0 and −1 that NumPy's reductions by ufunc accept of a single number."""
    return None if type(axis) is int and axis in (0, -1) and np.ndim(a) == 0 else axis


# NumPy's options


def _left_out(name: str, out: Any) -> None:
    if out is not None:
        raise TypeError(f"np.{name}: out= is refused on a Tensor; write result = np.{name}(...), a new Tensor.")


@internal
def mask_of(name: str, where: Any, shape: tuple[int, ...]) -> Any:
    """The mask of ``where=``, booleans that broadcast to a shape."""
    mask = plain(where)
    mask = mask if hasattr(mask, "dtype") else np.asarray(mask)
    if mask.dtype.kind != "b":
        raise TypeError(f"{name}: where= is a mask of booleans, such as t > 0, not of {mask.dtype}")
    try:
        fits = np.broadcast_shapes(mask.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name}: where= of shape {mask.shape} does not broadcast to shape {shape}")
    return mask


def _require_fractions(name: str, dtype: Any) -> None:
    """A mean, a variance or a standard deviation is no sum of integers."""
    if dtype is not None and np.dtype(dtype).kind not in "fc":
        raise TypeError(
            f"{name}: dtype={np.dtype(dtype)} cuts its fractions off; leave it out, and .astype() the result"
        )


def _of(name: str, a: Any, dtype: Any, out: Any, where: Any = True, neutral: Any = 0) -> Tensor:
    """The input as a reduction's options have it: in their dtype, with what changes no result where it is left out."""
    _left_out(name, out)
    a = as_tensor(a, name)
    a = a if dtype is None or a.dtype == dtype else astype(a, dtype)
    return a if where is True else elementwise.where(mask_of(name, where, a.shape), a, neutral)


def _joined(operation: Any, name: str, y: Tensor, initial: Any) -> Tensor:
    """A result joined with the value that the reduction starts with."""
    if initial is None or initial is getattr(np, "_NoValue", None):
        return y
    initial = as_tensor(initial, name)
    if initial.ndim:
        raise ValueError(f"{name}: initial= is a single number, not of shape {initial.shape}")
    if not np.can_cast(initial.dtype, y.dtype, "same_kind"):
        raise TypeError(f"{name}: initial= of {initial.dtype} does not fit a result of {y.dtype}")
    result: Tensor = operation(y, initial if initial.dtype == y.dtype else astype(initial, y.dtype))
    return result


@internal
def count(mask: Any, shape: tuple[int, ...], axis: Any, keepdims: Any = False) -> Any:
    """How many elements of a mask are true along some axes of the shape it broadcasts to."""
    axis = tuple(axis) if isinstance(axis, list) else axis
    return np.sum(np.broadcast_to(mask, shape), axis=axis, keepdims=bool(keepdims), dtype=np.intp)


# Sums and means


def _added(x: Any, axis: Any = None, keepdims: Any = False) -> Any:
    if x.dtype == HALF:
        return np.add.reduce(x, axis=axis, keepdims=keepdims, dtype=np.float32).astype(HALF)
    return np.add.reduce(x, axis=axis, keepdims=keepdims)


_sum = declare(
    "sum", _added,
    [lambda g, y, x, axis=None, keepdims=False: spread(restored(g, axis, x.ndim, keepdims), x.shape)],
    jvps="linear", complex=True, formula="Σ {0}", derivatives=["1"], samples=_samples(empty=True),
)  # fmt: skip


@implements(np.sum, passing=True)
def sum(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
    where: Any = True,
) -> Tensor:  # fmt: skip
    """Sum over some axes (all by default), as `numpy.sum`.

    Args:
        a: a Tensor or array.
        axis: an axis or several.
        dtype: in which it is added up, and the result's dtype; the gradient comes back in a's own.
        out: nothing; a result is a new Tensor.
        keepdims: keep the axes, with length 1.
        initial: a number that is added, which may be a Tensor with gradient.
        where: a mask that broadcasts to a's shape: elements where it is false do not count, and have gradient 0.

    Raises:
        TypeError: `out`, or a mask that is not of booleans. ValueError: one that does not fit a's shape.

    >>> sum([[1.0, 2.0], [3.0, 4.0]], axis=0)
    Tensor([4., 6.])
    >>> sum([1.0, np.nan, 3.0], where=[True, False, True], initial=10.0)
    Tensor(14.)
    """
    if dtype is out is initial is None and where is True:
        return _sum(a) if axis is None and keepdims is False else _sum(a, **_options(of_numbers(a, axis), keepdims))
    return _joined(add, "sum", sum(_of("sum", a, dtype, out, where), axis, keepdims=keepdims), initial)


REDUCTIONS[np.add, "reduce"] = lambda a, axis=0, **options: sum(a, axis, **options)


@in_single
def _mean_rule(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return spread(restored(g, axis, x.ndim, keepdims) / count_of(x.shape, axis), x.shape)


_mean = declare(
    "mean", np.mean, [_mean_rule], jvps="linear", complex=True, formula="mean {0}", derivatives=["1 / n"],
    samples=_samples(),
)  # fmt: skip


@implements(np.mean, passing=True)
def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True
) -> Tensor:
    """Mean over some axes (all by default), as `numpy.mean`; with the options of `sum`. The mean of nothing is NaN."""
    if dtype is out is None and where is True:
        return _mean(a, **_options(axis, keepdims))
    _require_fractions("mean", dtype)
    a = _of("mean", a, dtype, out)
    if where is True:
        return mean(a, axis, keepdims=keepdims)
    return _mean_where(a, mask_of("mean", where, a.shape), of_numbers(a, axis), keepdims)


@in_single
def _mean_where(a: Tensor, mask: Any, axis: Any, keepdims: Any) -> Any:
    n = count(mask, a.shape, axis, keepdims)
    whole = np.finfo(a.dtype).dtype if a.dtype.kind in "fc" else np.dtype(float)
    y = sum(elementwise.where(mask, a, 0), axis, keepdims=keepdims) / np.maximum(n, 1).astype(whole)
    return y if common((n > 0).all()) else elementwise.where(n > 0, y, np.nan)


@internal
def weights_like(name: str, w: Tensor, shape: tuple[int, ...], axis: Any) -> Tensor:
    """Weights in a shape, given in it or in that of its `axis`.

    Raises:
        ValueError: naming the function `name`, for others.
    """
    if w.shape == shape:
        return w
    axes = () if axis is None else checked_axes(name, axis, shape)
    if not axes or w.shape != tuple([shape[i] for i in axes]):
        raise ValueError(f"{name}: weights of shape {w.shape} fit neither shape {shape} nor its axis {axis}")
    w = w.transpose(tuple(np.argsort(axes))).reshape([n if i in axes else 1 for i, n in enumerate(shape)])
    return spread(w, shape)


@implements(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: Any = False, *, keepdims: Any = False) -> Any:
    """Mean weighted by `weights`, as `numpy.average`.

    Args:
        a: a Tensor or array.
        axis: an axis or several, all by default.
        weights: of a's shape, or of the lengths of a along `axis`; all equal by default.
        returned: return the sum of the weights as well, in the shape of the mean.
        keepdims: keep the axes, with length 1.

    Raises:
        ValueError: weights of another shape.

    >>> average([1.0, 4.0], weights=[3.0, 1.0], returned=True)
    (Tensor(1.75), Tensor(4.))
    """
    a = as_tensor(a, "average")
    if weights is None:
        y = mean(a, axis, keepdims=keepdims)
        return (y, Tensor(np.full(y.shape, count_of(a.shape, axis), y.dtype))) if returned else y
    w = as_tensor(weights, "average")
    w = weights_like("average", w, a.shape, axis)
    kind = np.result_type(a.dtype, w.dtype)
    if kind == HALF:  # products and sums exceed 65504 long before their ratio does
        a, w = astype(a, np.float32), astype(w, np.float32)
    whole = sum(w, axis, keepdims=keepdims)
    y = sum(a * w, axis, keepdims=keepdims) / whole
    y, whole = (astype(y, kind), astype(whole, kind)) if kind == HALF else (y, whole)
    return (y, whole if whole.dtype == y.dtype else astype(whole, y.dtype)) if returned else y


# Running sums and products


def _flipped(x: Any) -> Any:
    return x[..., ::-1]


def _shifted(x: Any, first: float) -> Any:
    """x moved one place to the right along the last axis, `first` put in front."""
    ahead = np.full_like(raw(x), first, shape=x.shape[:-1] + (1 if x.shape[-1] else 0,))
    return np.concatenate([ahead, x[..., :-1]], axis=-1)


def _along_last(function: Any, x: Any, axis: int | None) -> Any:
    """Apply a function along the last axis to x with `axis` put there (x flattened for None)."""
    if axis is None:
        return function(x.reshape(-1))
    return np.swapaxes(function(np.swapaxes(x, axis, -1)), axis, -1)


_cumsum = declare(
    "cumsum", in_single(np.cumsum),
    [in_single(lambda g, y, x, axis=None: _along_last(
        lambda h: _flipped(np.cumsum(_flipped(h), axis=-1)), g, -1 if axis is None else axis).reshape(x.shape))],
    jvps="linear", complex=True, formula="cumsum {0}", derivatives=["1"],
    samples=lambda rng: [Sample((draw(rng, (2, 3)),), p) for p in ({}, {"axis": 0}, {"axis": -1})]
    + [Sample((draw(rng, ()),)), Sample((draw(rng, (0, 2)),), {"axis": 0})],
)  # fmt: skip


@implements(np.cumsum, passing=True)
def cumsum(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Tensor:
    """Running sum along an axis (of the flattened tensor by default), as `numpy.cumsum`."""
    a = a if dtype is out is None else _of("cumsum", a, dtype, out)
    return _cumsum(a, **_options(of_numbers(a, axis), False))


REDUCTIONS[np.add, "accumulate"] = lambda a, axis=0, **options: cumsum(a, axis, **options)


def _shifted_exponent(x: Any, exponents: Any) -> Any:
    """x · 2^exponents."""
    if x.dtype.kind != "c":
        return np.ldexp(x, exponents)
    return np.ldexp(x.real, exponents) + 1j * np.ldexp(x.imag, exponents)


def _recur(a: Any, b: Any, exponents: Any = None) -> Any:
    h = np.array(b, np.result_type(a, b))
    for i in range(1, h.shape[-1]):
        before = h[..., i - 1] if exponents is None else _shifted_exponent(h[..., i - 1], exponents[..., i])
        h[..., i] += a[..., i] * before
    return h


def _reverse_recurrence(a: Any, g: Any, exponents: Any = None) -> Any:
    """λᵢ = gᵢ + aᵢ₊₁ λᵢ₊₁ along the last axis: what the recurrence below is, seen from its end."""
    if exponents is None:
        return _flipped(_recurrence(_shifted(_flipped(a), 0.0), _flipped(g)))
    return _flipped(_recurrence(_shifted(_flipped(a), 0.0), _flipped(g), exponents=_shifted(_flipped(exponents), 0)))


def _of_factor(g: Any, h: Any, a: Any, b: Any, exponents: Any = None) -> Any:
    before = _shifted(h, 0.0)
    before = before if exponents is None else _scaled(before, exponents)
    return _reverse_recurrence(a, g, exponents) * before


_recurrence = polymorphic(declare(
    "linear_recurrence", _recur,
    [_of_factor, lambda g, h, a, b, exponents=None: _reverse_recurrence(a, g, exponents)],
    complex=True, formula="hᵢ = {1}ᵢ + {0}ᵢ hᵢ₋₁",
    derivatives=["hᵢ₋₁ carried on", "1 carried on"], opaque="step by step in memory", stacks="leading",
    samples=lambda rng: [Sample((draw(rng, (4,)), draw(rng, (4,)))), Sample((draw(rng, (2, 3)), draw(rng, (2, 3)))),
                         Sample((draw(rng, (4,)), draw(rng, (4,))), {"exponents": np.array([0, 1, -2, 1])})],
    doc="hᵢ = bᵢ + aᵢ hᵢ₋₁ along the last axis, or with exponents hᵢ = bᵢ + aᵢ 2^kᵢ hᵢ₋₁.",
))  # fmt: skip


def _before(x: Any) -> Any:
    """Product of all earlier elements along the last axis."""
    return np.cumprod(_shifted(x, 1.0), axis=-1)


# Products of some of the factors may over- or underflow where the product asked for does not. The factors are then
# taken as m · 2^e, the exponents such that every product of neighbouring m lies near 1.


def _exponents(x: Any) -> Any:
    """These exponents along the last axis, or None where all products of neighbours are in range as they are."""
    size = np.abs(raw(x))
    steps = np.log2(np.where((size > 0) & (size < np.inf), size, 1), dtype=np.float64)
    logs = np.cumsum(steps, axis=-1)
    width = np.max(logs, axis=-1, initial=0.0) - np.min(logs, axis=-1, initial=0.0)
    if common((width < 0.9 * np.finfo(size.dtype).maxexp).all()):
        return None
    return np.diff(np.rint(logs), axis=-1, prepend=0).astype(np.intc)


def _scaled(x: Any, exponents: Any) -> Any:
    """x · 2^exponents, in two steps: one factor alone may be out of range."""
    limits, half = np.finfo(x.dtype), exponents // 2
    one = limits.dtype.type(1)
    for part in (half, exponents - half):
        power = part.clip(limits.minexp - limits.nmant, limits.maxexp - 1)
        x = x * np.ldexp(one, power)
    return x


def _cumprod_pullback(x: Any, g: Any) -> Any:
    """xᵢ is in every product from i on: ∏_{j<i} xⱼ · Σ_{k≥i} gₖ ∏_{i<j≤k} xⱼ, the sum being a recurrence. No division,
    so zeros need no special case. Where x is m · 2^e, the recurrence is that of the sums times 2^−k, k their sizes."""
    e = _exponents(x)
    if e is None:
        return _before(x) * _reverse_recurrence(x, g)
    m, k = _scaled(x, -e), _sizes_of_sums(x, g)
    steps = np.minimum(e + np.diff(k, axis=-1, prepend=k[..., :1]), 4)  # larger only where the factor is 0
    sums = _reverse_recurrence(m, _scaled(g, -k), steps)
    return _scaled(_before(m) * sums, np.cumsum(e, axis=-1) - e + k)


def _sizes_of_sums(x: Any, g: Any) -> Any:
    """The exponents k with 2^k just above the largest term of Σ_{k≥i} gₖ ∏_{i<j≤k} xⱼ."""
    factors, terms = (np.log2(np.where((s := np.abs(raw(v))) < np.inf, s, 1), dtype=np.float64) for v in (x, g))
    for i in range(x.shape[-1] - 2, -1, -1):
        terms[..., i] = np.maximum(terms[..., i], factors[..., i + 1] + terms[..., i + 1])
    return np.ceil(np.where(np.isfinite(terms), terms, 0)).astype(np.intc)


@in_single
def _cumprod_rule(g: Any, y: Any, x: Any, axis: int | None = None) -> Any:
    if axis is None:
        return _cumprod_pullback(x.reshape(-1), g).reshape(x.shape)
    return np.swapaxes(_cumprod_pullback(np.swapaxes(x, axis, -1), np.swapaxes(g, axis, -1)), axis, -1)


_cumprod = declare(
    "cumprod", in_single(np.cumprod), [_cumprod_rule], complex=True, formula="cumprod {0}",
    derivatives=["∏ of the others"],
    samples=lambda rng: [Sample((draw(rng, (2, 3)),), p) for p in ({}, {"axis": 0}, {"axis": -1})]
    + [Sample((np.array([1.5, 0.0, 2.0, 0.0]),)), Sample((draw(rng, ()),)), Sample((draw(rng, (2, 0)),), {"axis": 0})],
)  # fmt: skip


@implements(np.cumprod, passing=True)
def cumprod(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Tensor:
    """Running product along an axis (of the flattened tensor by default), as `numpy.cumprod`."""
    a = a if dtype is out is None else _of("cumprod", a, dtype, out)
    return _cumprod(a, **_options(of_numbers(a, axis), False))


REDUCTIONS[np.multiply, "accumulate"] = lambda a, axis=0, **options: cumprod(a, axis, **options)


def _cumulative(operation: Any, first: float, x: Any, axis: Any, dtype: Any, out: Any, include_initial: Any) -> Tensor:
    name = f"cumulative_{operation.__name__[3:]}"
    x = as_tensor(x, name)
    if axis is None and x.ndim > 1:
        raise ValueError(f"{name}(shape {x.shape}): axis= says along which of the {x.ndim} axes")
    y: Tensor = operation(x.reshape(1) if x.ndim == 0 else x, 0 if axis is None else axis, dtype, out)
    if not include_initial:
        return y
    axis = checked_axis(name, 0 if axis is None else axis, y.shape)
    start = np.full((*y.shape[:axis], 1, *y.shape[axis + 1 :]), first, y.dtype)
    return concatenate([start, y], axis)


@implements(*([np.cumulative_sum] if hasattr(np, "cumulative_sum") else []))  # NumPy 2.1
def cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, out: Any = None, include_initial: bool = False
) -> Tensor:
    """Running sum along an axis, which a tensor of one axis need not name, as `numpy.cumulative_sum`;
    `include_initial` puts a 0 in front."""
    return _cumulative(cumsum, 0, x, axis, dtype, out, include_initial)


@implements(*([np.cumulative_prod] if hasattr(np, "cumulative_prod") else []))
def cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, out: Any = None, include_initial: bool = False
) -> Tensor:
    """Running product along an axis, as `numpy.cumulative_prod`; `include_initial` puts a 1 in front."""
    return _cumulative(cumprod, 1, x, axis, dtype, out, include_initial)


def _others(x: Any) -> Any:
    """The product of all the other factors along the last axis, from the left times from the right, so that zeros need
    no special case."""
    e = _exponents(x)
    if e is None:
        return _before(x) * _flipped(_before(_flipped(x)))
    m = _scaled(x, -e)
    return _scaled(_before(m) * _flipped(_before(_flipped(m))), e.sum(axis=-1, keepdims=True) - e)


@in_single
def _prod_rule(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    axes = axes_of(axis, x.ndim)
    if not axes:
        return g
    last = tuple(range(-len(axes), 0))
    moved = np.moveaxis(x, axes, last)
    flat = moved.reshape(moved.shape[: moved.ndim - len(axes)] + (count_of(x.shape, axes),))
    return times(restored(g, axis, x.ndim, keepdims), np.moveaxis(_others(flat).reshape(moved.shape), last, axes))


_prod = declare(
    "prod", np.prod, [_prod_rule], jvps="reduction", complex=True, formula="∏ {0}", derivatives=["∏ of the others"],
    samples=lambda rng: [*_samples(empty=True)(rng),
                         Sample((np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 1.5]]),), {"axis": 1})],
)  # fmt: skip


@implements(np.prod, passing=True)
def prod(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
    where: Any = True,
) -> Tensor:  # fmt: skip
    """Product over some axes (all by default), as `numpy.prod`, with the options of `sum`; exact at factors 0."""
    if dtype is out is initial is None and where is True:
        return _prod(a, **_options(of_numbers(a, axis), keepdims))
    return _joined(multiply, "prod", prod(_of("prod", a, dtype, out, where, 1), axis, keepdims=keepdims), initial)


REDUCTIONS[np.multiply, "reduce"] = lambda a, axis=0, **options: prod(a, axis, **options)


# Extremes: ties share the gradient equally


@in_single
def _extreme_rule(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    a, top = (v._ndarray if isinstance(v, Tensor) else v for v in (x, y))
    top = restored(top, axis, a.ndim, keepdims)
    chosen = (a == top) | ((a != a) & (top != top))
    ties = np.add.reduce(chosen, axis=None if axis is None else axes_of(axis, a.ndim), keepdims=True)
    g = restored(g, axis, a.ndim, keepdims)
    return np.where(chosen, g if common((ties == 1).all()) else g / ties.astype(a.dtype), 0)


_max = declare(
    "max", np.max, [_extreme_rule], jvps="reduction", selects=True,
    formula="max {0}", derivatives=["1 at the maximum, else 0"], samples=_samples(2),
)  # fmt: skip
_min = declare(
    "min", np.min, [_extreme_rule], jvps="reduction", selects=True,
    formula="min {0}", derivatives=["1 at the minimum, else 0"], samples=_samples(2),
)  # fmt: skip


@implements(np.max, np.amax, passing=True)
def max(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Tensor:
    """Maximum over some axes (all by default), as `numpy.max`, with the options of `sum`; equal maxima share the
    gradient equally (an equal `initial` takes half of it). A mask needs an `initial`, the maximum of nothing."""
    if out is initial is None and where is True:
        return _max(a, **_options(of_numbers(a, axis), keepdims))
    return _extreme_with("max", maximum, a, axis, out, keepdims, initial, where)


@implements(np.min, np.amin, passing=True)
def min(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Tensor:
    """Minimum over some axes (all by default), as `numpy.min`, with the options of `sum`; equal minima share the
    gradient equally (an equal `initial` takes half of it). A mask needs an `initial`, the minimum of nothing."""
    if out is initial is None and where is True:
        return _min(a, **_options(of_numbers(a, axis), keepdims))
    return _extreme_with("min", minimum, a, axis, out, keepdims, initial, where)


def _extreme_with(
    name: str, operation: Any, a: Any, axis: Any, out: Any, keepdims: Any, initial: Any, where: Any
) -> Tensor:
    a = as_tensor(a, name)
    extreme = max if name == "max" else min
    if a.dtype.kind == "c":
        return extreme(a, axis, keepdims=keepdims)  # refused
    if where is not True:
        if initial is None:
            raise ValueError(f"{name}: a mask, where=, may leave nothing; give its {operation.__name__} as initial=")
        kind = a.dtype.kind
        lowest = -math.inf if kind == "f" else False if kind == "b" else np.iinfo(a.dtype).min
        highest = math.inf if kind == "f" else True if kind == "b" else np.iinfo(a.dtype).max
        a = _of(name, a, None, out, where, lowest if name == "max" else highest)
    _left_out(name, out)
    if not count_of(a.shape, axis) and initial is not None:
        y = sum(a, axis, keepdims=keepdims) * 0  # of the result's shape
        y = y if y.dtype == a.dtype else astype(y, a.dtype)
        return _joined(lambda y, initial: y * 0 + initial, name, y, initial)
    return _joined(operation, name, extreme(a, axis, keepdims=keepdims), initial)


amax, amin = max, min
REDUCTIONS[np.maximum, "reduce"] = lambda a, axis=0, **options: max(a, axis, **options)
REDUCTIONS[np.minimum, "reduce"] = lambda a, axis=0, **options: min(a, axis, **options)


def _accumulated_rule(g: Any, y: Any, x: Any, axis: int = 0) -> Any:
    """Each yᵢ belongs to the elements up to i that are equal to it. They lie in one stretch in which y does not change,
    along which the cotangents, each divided by how many share it, are added up from the end."""

    def along(v: Any) -> Any:
        return np.swapaxes(v, axis, -1)

    top, a = along(raw(y)), along(raw(x))
    chosen = (a == top) | ((a != a) & (top != top))
    before = _shifted(top, 0.0)
    same = ((top == before) | ((top != top) & (before != before))).astype(top.dtype)
    ties = _recurrence(same, chosen.astype(top.dtype))
    return along(_reverse_recurrence(same, along(g) / ties) * chosen)


def _by_axis(operation: Operation) -> Any:
    """``ufunc.accumulate`` by the operation of an array and an axis from 0."""

    def accumulate(a: Any, axis: int = 0, dtype: Any = None) -> Tensor:
        a = _of(operation.__name__, a, dtype, None)
        return operation(a, axis=checked_axis(operation.__name__, axis, a.shape))

    return accumulate


def _accumulate(name: str, ufunc: Any, symbol: str) -> Operation:
    return declare(
        name, lambda x, axis=0: ufunc.accumulate(x, axis=axis), [in_single(_accumulated_rule)], selects=True,
        formula=f"running {symbol} {{0}}",
        derivatives=[f"1 at the {symbol}, else 0"], public=False,
        samples=lambda rng: [Sample((draw(rng, (5,)),), smooth=2), Sample((draw(rng, (2, 3)),), {"axis": -1}, smooth=2),
                             Sample((draw(rng, (3, 2)),), {"axis": 0}, smooth=2)],
    )  # fmt: skip


REDUCTIONS[np.maximum, "accumulate"] = _by_axis(_accumulate("maximum_accumulate", np.maximum, "max"))
REDUCTIONS[np.minimum, "accumulate"] = _by_axis(_accumulate("minimum_accumulate", np.minimum, "min"))


def _doubled(operation: Any) -> Any:
    """The running result of an operation that is associative, by doubling: after k steps it is that of the last 2ᵏ."""

    def accumulate(a: Any, axis: int = 0, dtype: Any = None) -> Tensor:
        y = _of(f"{operation.__name__}.accumulate", a, dtype, None)
        axis, step = checked_axis(f"{operation.__name__}.accumulate", axis, y.shape), 1
        before = (slice(None),) * axis
        while step < y.shape[axis]:
            first, earlier, later = (
                picked(y, index=(*before, part)) for part in (slice(step), slice(-step), slice(step, None))
            )
            y = concatenate([first, operation(earlier, later)], axis)
            step *= 2
        return y

    return accumulate


for _ufunc, _operation in ((np.logaddexp, logaddexp), (np.logaddexp2, logaddexp2), (np.hypot, hypot)):
    REDUCTIONS[_ufunc, "accumulate"] = _doubled(_operation)


def _by_segments(ufunc: Any) -> Any:
    """``ufunc.reduceat``: the reductions of x[iₖ:iₖ₊₁] (of xₖ alone where that is empty), the last to the end."""

    def reduceat(a: Any, indices: Any, axis: int = 0, dtype: Any = None) -> Tensor:
        name = f"{ufunc.__name__}.reduceat"
        x, starts = _of(name, a, dtype, None), np.asarray(plain(indices))
        axis = checked_axis(name, axis, x.shape)
        n, before = x.shape[axis], (slice(None),) * axis
        if starts.ndim != 1 or starts.dtype.kind not in "iu" or ((starts < 0) | (starts >= n)).any():
            raise ValueError(f"{name}(shape {x.shape}, axis={axis}): takes a list of places from 0 to {n - 1}")
        stops = np.maximum([*starts[1:], n], starts + 1)
        if ufunc is np.add:  # many segments at once
            lengths = stops - starts
            places = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths - starts, lengths)
            segments = np.repeat(np.arange(len(starts)), lengths)
            shape = (*x.shape[:axis], len(starts), *x.shape[axis + 1 :])
            return scatter_add(picked(x, index=(*before, places)), shape=shape, index=(*before, segments))
        parts = [picked(x, index=(*before, slice(i, j))) for i, j in zip(starts, stops)]
        return stack([REDUCTIONS[ufunc, "reduce"](part, axis=axis) for part in parts], axis)

    return reduceat


for _reduced in (np.add, np.multiply, np.maximum, np.minimum):
    REDUCTIONS[_reduced, "reduceat"] = _by_segments(_reduced)


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, *, keepdims: Any = False) -> Tensor:
    """Maximum minus minimum, as `numpy.ptp`."""
    return max(a, axis, keepdims=keepdims) - min(a, axis, keepdims=keepdims)


# Moments


def _per(n: float, numerator: float = 1.0) -> float:
    return numerator / n if n > 0 else math.nan


def _conjugate(x: Any) -> Any:
    return x.conj() if x.dtype.kind == "c" else x


@in_single
def _var_rule(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False, ddof: float = 0) -> Any:
    centred = _conjugate(x - x.mean(axis=axis, keepdims=True))
    return restored(g, axis, x.ndim, keepdims) * (_per(count_of(x.shape, axis) - ddof, 2.0) * centred)


@in_single
def _std_rule(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False, ddof: float = 0) -> Any:
    centred = _conjugate(x - x.mean(axis=axis, keepdims=True))
    y, g, n = restored(y, axis, x.ndim, keepdims), restored(g, axis, x.ndim, keepdims), count_of(x.shape, axis)
    slope = centred if n == 1 else quotient_or_zero(centred, y)  # of one element it is always 0
    return g * (_per(n - ddof) * slope)


def _mean_of_squares(x: Tensor, axis: Any, keepdims: bool, n: float) -> Tensor:
    """Σ (x − μ)²/n: the deviations from the mean, their squares, and what these are on the average."""
    mean = x.mean(axis=axis, keepdims=True)
    mean.name = "μ"
    deviations = x - mean
    deviations.name = "x − μ"
    squares = deviations * deviations
    whole = n == count_of(x.shape, axis)
    return squares.mean(axis=axis, keepdims=keepdims) if whole else squares.sum(axis=axis, keepdims=keepdims) * _per(n)


@in_single
def _var_opened(x: Tensor, axis: Any = None, keepdims: bool = False, ddof: float = 0) -> Tensor | None:
    n = count_of(x.shape, axis) - ddof
    return _mean_of_squares(x, axis, keepdims, n) if n > 0 and x.dtype.kind != "c" else None


@in_single
def _std_opened(x: Tensor, axis: Any = None, keepdims: bool = False, ddof: float = 0) -> Tensor | None:
    """The root of the variance; at 0 it has no plain derivative, and beyond the range of the squares no plain value."""
    variance = _var_opened(x, axis, keepdims, ddof)
    if variance is None or not ordinary(variance):
        return None
    variance.name = "σ²"
    return sqrt(variance)


_var = declare(
    "var", in_single(np.var), [_var_rule], jvps="reduction", expansion=_var_opened,
    complex=True, formula="var {0}", derivatives=["2 ({0} − mean {0}) / (n − ddof)"],
    samples=lambda rng: [*_samples()(rng), Sample((draw(rng, (3, 2)),), {"axis": 0, "ddof": 1})],
)  # fmt: skip
_std: Operation = declare(
    "std", in_single(at_any_scale(np.std)), [_std_rule], jvps="reduction", expansion=_std_opened,
    complex=True, formula="std {0}", derivatives=["({0} − mean {0}) / ((n − ddof) · {y})"],
    samples=lambda rng: [*(s for s in _samples()(rng) if s.inputs[0].ndim),
                         Sample((draw(rng, (3, 2)),), {"axis": 0, "ddof": 1}),
                         Sample((draw(rng, ()),), smooth=1, function=lambda x: _std(x * 0.0))],
)  # fmt: skip


def _spread_of(
    moment: Operation, a: Any, axis: Any, dtype: Any, out: Any, keepdims: Any, ddof: Any, where: Any
) -> Tensor:
    name = moment.__name__
    _require_fractions(name, dtype)
    a = _of(name, a, dtype, out)
    if where is True:
        return moment(a, **_options(axis, keepdims, ddof))
    a = a if a.dtype.kind in "fc" else astype(a, np.float64)
    result: Tensor = _spread_where(a, mask_of(name, where, a.shape), moment, of_numbers(a, axis), keepdims, ddof)
    return result


@in_single
def _spread_where(a: Tensor, mask: Any, moment: Operation, axis: Any, keepdims: Any, ddof: Any) -> Tensor:
    """The variance or standard deviation of what a mask leaves: that of all deviations from its mean, with 0 in place
    of the others, in the proportion of the counts."""
    deviations = elementwise.where(mask, a - _mean_where(a, mask, axis, True), 0)
    n = count(mask, a.shape, axis, keepdims) - float(ddof)
    factor = np.where(n > 0, count_of(a.shape, axis) / np.where(n > 0, n, 1), np.nan)
    y: Tensor = moment(deviations, **_options(axis, keepdims))
    return y * (factor if moment is _var else np.sqrt(factor)).astype(y.dtype)


@implements(np.var, passing=True)
def var(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: Any = False, *,
    where: Any = True, correction: Any = None,
) -> Tensor:  # fmt: skip
    """Variance over some axes, the squares (of complex numbers, those of their sizes) divided by n − ddof, as
    `numpy.var`, with the options of `sum`."""
    ddof = ddof if correction is None else correction
    if dtype is out is None and where is True:
        return _var(a, **_options(axis, keepdims, ddof))
    return _spread_of(_var, a, axis, dtype, out, keepdims, ddof, where)


@implements(np.std, passing=True)
def std(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: Any = False, *,
    where: Any = True, correction: Any = None,
) -> Tensor:  # fmt: skip
    """Standard deviation over some axes, as `numpy.std`, with the options of `sum`; where it is 0 its gradient is 0."""
    ddof = ddof if correction is None else correction
    a = as_tensor(a, "std")
    a = a if a.dtype.kind in "fc" else astype(a, np.float64)
    if dtype is out is None and where is True:
        return _std(a, **_options(axis, keepdims, ddof))
    return _spread_of(_std, a, axis, dtype, out, keepdims, ddof, where)


# No derivative

any = without_gradient("any", np.any, np.any)
all = without_gradient("all", np.all, np.all)
REDUCTIONS[np.logical_or, "reduce"] = lambda a, axis=0, **options: any(a, axis, **options)
REDUCTIONS[np.logical_and, "reduce"] = lambda a, axis=0, **options: all(a, axis, **options)
argmax = without_gradient("argmax", np.argmax, np.argmax)
argmin = without_gradient("argmin", np.argmin, np.argmin)
argsort = without_gradient("argsort", np.argsort, np.argsort)
argpartition = without_gradient("argpartition", np.argpartition, np.argpartition)
count_nonzero = without_gradient("count_nonzero", np.count_nonzero, np.count_nonzero)
searchsorted = without_gradient("searchsorted", np.searchsorted, np.searchsorted)
