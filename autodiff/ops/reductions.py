"""Reductions over any axes: sums and means, products, extremes, moments, running sums, and counts without a gradient.

Names here shadow Python's `sum`, `max`, `any` …, as NumPy's do; rules below use methods of what they are given.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..primitive import Operation, Sample, declare, polymorphic, without_gradient
from ..protocols import REDUCTIONS, implements
from ..tensor import Tensor
from .elementwise import astype, quotient_or_zero, sqrt
from .guards import axes_of, common, count_of, raw, restored, times
from .precision import HALF, at_any_scale, in_single, ordinary
from .samples import Samples, draw
from .shape import spread

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


def _of_numbers(a: Any, axis: Any) -> Any:
    """The axis, None for the 0 and −1 that NumPy's reductions by ufunc accept of a single number."""
    return None if type(axis) is int and axis in (0, -1) and np.ndim(a) == 0 else axis


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
def sum(a: Any, axis: Any = None, *, keepdims: Any = False) -> Tensor:
    """Sum over some axes (all by default), as `numpy.sum`.

    >>> sum([[1.0, 2.0], [3.0, 4.0]], axis=0)
    Tensor([4., 6.])
    """
    return _sum(a) if axis is None and keepdims is False else _sum(a, **_options(_of_numbers(a, axis), keepdims))


REDUCTIONS[np.add, "reduce"] = lambda a, axis=0, keepdims=False: sum(a, axis, keepdims=keepdims)


@in_single
def _mean_rule(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return spread(restored(g, axis, x.ndim, keepdims) / count_of(x.shape, axis), x.shape)


_mean = declare(
    "mean", np.mean, [_mean_rule], jvps="linear", complex=True, formula="mean {0}", derivatives=["1 / n"],
    samples=_samples(),
)  # fmt: skip


@implements(np.mean, passing=True)
def mean(a: Any, axis: Any = None, *, keepdims: Any = False) -> Tensor:
    """Mean over some axes (all by default), as `numpy.mean`."""
    return _mean(a, **_options(axis, keepdims))


@implements(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, *, keepdims: Any = False) -> Tensor:
    """Mean weighted by `weights` (of a's shape, or one for each element along `axis`), as `numpy.average`."""
    if weights is None:
        return mean(a, axis, keepdims=keepdims)
    a = a if isinstance(a, Tensor) else Tensor(a)
    w = weights if isinstance(weights, Tensor) else Tensor(weights)
    if w.shape != a.shape:
        if not isinstance(axis, int) or w.ndim != 1 or w.shape[0] != a.shape[axis]:
            raise ValueError(f"average: weights of shape {w.shape} fit neither shape {a.shape} nor its axis {axis}")
        shape = [1] * a.ndim
        shape[axis] = w.shape[0]
        w = w.reshape(shape) * Tensor(np.ones(a.shape, a.dtype))
    kind = np.result_type(a.dtype, w.dtype)
    if kind == HALF:  # products and sums exceed 65504 long before their ratio does
        a, w = astype(a, np.float32), astype(w, np.float32)
    y = sum(a * w, axis, keepdims=keepdims) / sum(w, axis, keepdims=keepdims)
    return astype(y, kind) if kind == HALF else y


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
def cumsum(a: Any, axis: int | None = None) -> Tensor:
    """Running sum along an axis (of the flattened tensor by default), as `numpy.cumsum`."""
    return _cumsum(a, **_options(_of_numbers(a, axis), False))


REDUCTIONS[np.add, "accumulate"] = lambda a, axis=0: cumsum(a, axis)


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
    derivatives=["hᵢ₋₁ carried on", "1 carried on"], opaque="step by step in memory",
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
def cumprod(a: Any, axis: int | None = None) -> Tensor:
    """Running product along an axis (of the flattened tensor by default), as `numpy.cumprod`."""
    return _cumprod(a, **_options(_of_numbers(a, axis), False))


REDUCTIONS[np.multiply, "accumulate"] = lambda a, axis=0: cumprod(a, axis)


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
def prod(a: Any, axis: Any = None, *, keepdims: Any = False) -> Tensor:
    """Product over some axes (all by default), as `numpy.prod`; exact where factors are 0."""
    return _prod(a, **_options(_of_numbers(a, axis), keepdims))


REDUCTIONS[np.multiply, "reduce"] = lambda a, axis=0, keepdims=False: prod(a, axis, keepdims=keepdims)


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
def max(a: Any, axis: Any = None, *, keepdims: Any = False) -> Tensor:
    """Maximum over some axes (all by default), as `numpy.max`; equal maxima share the gradient equally."""
    return _max(a, **_options(_of_numbers(a, axis), keepdims))


@implements(np.min, np.amin, passing=True)
def min(a: Any, axis: Any = None, *, keepdims: Any = False) -> Tensor:
    """Minimum over some axes (all by default), as `numpy.min`; equal minima share the gradient equally."""
    return _min(a, **_options(_of_numbers(a, axis), keepdims))


amax, amin = max, min
REDUCTIONS[np.maximum, "reduce"] = lambda a, axis=0, keepdims=False: max(a, axis, keepdims=keepdims)
REDUCTIONS[np.minimum, "reduce"] = lambda a, axis=0, keepdims=False: min(a, axis, keepdims=keepdims)


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
    y, g = restored(y, axis, x.ndim, keepdims), restored(g, axis, x.ndim, keepdims)
    return g * (_per(count_of(x.shape, axis) - ddof) * quotient_or_zero(centred, y))


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


@implements(np.var, passing=True)
def var(a: Any, axis: Any = None, *, ddof: float = 0, keepdims: Any = False, correction: Any = None) -> Tensor:
    """Variance over some axes, the squares (of complex numbers, those of their sizes) divided by n − ddof, as
    `numpy.var`."""
    return _var(a, **_options(axis, keepdims, ddof if correction is None else correction))


@implements(np.std, passing=True)
def std(a: Any, axis: Any = None, *, ddof: float = 0, keepdims: Any = False, correction: Any = None) -> Tensor:
    """Standard deviation over some axes, as `numpy.std`; where it is 0 its gradient is 0."""
    return _std(a, **_options(axis, keepdims, ddof if correction is None else correction))


# No derivative

any = without_gradient("any", np.any, np.any)
all = without_gradient("all", np.all, np.all)
argmax = without_gradient("argmax", np.argmax, np.argmax)
argmin = without_gradient("argmin", np.argmin, np.argmin)
argsort = without_gradient("argsort", np.argsort, np.argsort)
argpartition = without_gradient("argpartition", np.argpartition, np.argpartition)
count_nonzero = without_gradient("count_nonzero", np.count_nonzero, np.count_nonzero)
searchsorted = without_gradient("searchsorted", np.searchsorted, np.searchsorted)
