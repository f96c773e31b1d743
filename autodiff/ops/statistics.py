"""Statistics: order statistics, what NaN does not enter, covariances, histograms and different values.

In functions whose names begin with nan, a NaN counts as missing: no result depends on it, and its gradient is 0; where
nothing is left the result is NaN (of sums 0, of products 1). Order: reductions, quantiles, covariances, counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..primitive import Operation, Sample, as_tensor, declare, without_gradient
from ..protocols import REDUCTIONS, implements
from ..tensor import Tensor, is_foreign, plain, wrap
from . import elementwise
from .complex import conj
from .elementwise import astype, fmax, fmin, sqrt
from .guards import axes_of, checked_axes, common, count_of, raw, restored
from .indexing import scatter_add, take, take_along_axis
from .precision import in_single
from .products import dot
from .reductions import average, count, cumprod, cumsum, mask_of, mean, of_numbers, prod, std, sum, var, weights_like
from .samples import draw
from .shape import atleast_2d, concatenate, diagonal, moveaxis, ravel, reshape, sort

__all__ = [
    "corrcoef", "cov", "histogram", "histogram_bin_edges", "isin", "lexsort", "median", "nanargmax", "nanargmin",
    "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmedian", "nanmin", "nanpercentile", "nanprod", "nanquantile",
    "nanstd", "nansum", "nanvar", "percentile", "quantile", "unique", "unique_all", "unique_counts", "unique_inverse",
    "unique_values",
]  # fmt: skip


# Reductions of what is there


def _there(name: str, a: Tensor, where: Any = True) -> Any:
    """The mask of what counts: True, where that is everything."""
    missing = np.isnan(raw(a))
    if where is not True:
        return mask_of(name, where, a.shape) & ~missing
    return True if common(~missing.any()) else ~missing


@implements(np.nansum)
def nansum(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
    where: Any = True,
) -> Tensor:  # fmt: skip
    """Sum of what is not NaN, as `numpy.nansum`, with the options of `sum`.

    >>> nansum([1.0, np.nan, 3.0])
    Tensor(4.)
    """
    a = as_tensor(a, "nansum")
    return sum(a, axis, dtype, out, keepdims, initial, _there("nansum", a, where))


@implements(np.nanprod)
def nanprod(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
    where: Any = True,
) -> Tensor:  # fmt: skip
    """Product of what is not NaN, as `numpy.nanprod`, with the options of `sum`."""
    a = as_tensor(a, "nanprod")
    return prod(a, axis, dtype, out, keepdims, initial, _there("nanprod", a, where))


@implements(np.nancumsum)
def nancumsum(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Tensor:
    """Running sum in which a NaN counts as 0, as `numpy.nancumsum`."""
    a = as_tensor(a, "nancumsum")
    return cumsum(elementwise.where(_there("nancumsum", a), a, 0), axis, dtype, out)


@implements(np.nancumprod)
def nancumprod(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Tensor:
    """Running product in which a NaN counts as 1, as `numpy.nancumprod`."""
    a = as_tensor(a, "nancumprod")
    return cumprod(elementwise.where(_there("nancumprod", a), a, 1), axis, dtype, out)


@implements(np.nanmean)
def nanmean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True
) -> Tensor:
    """Mean of what is not NaN, as `numpy.nanmean`, with the options of `mean`.

    >>> x = Tensor([[1.0, np.nan], [np.nan, np.nan]], requires_grad=True)
    >>> y = nanmean(x, axis=1)
    >>> y.sum().backward()
    >>> y.detach(), x.grad[0]
    (Tensor([ 1., nan]), Tensor([1., 0.]))
    """
    a = as_tensor(a, "nanmean")
    return mean(a, axis, dtype, out, keepdims, where=_there("nanmean", a, where))


@implements(np.nanvar)
def nanvar(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: Any = False, *,
    where: Any = True, correction: Any = None,
) -> Tensor:  # fmt: skip
    """Variance of what is not NaN, as `numpy.nanvar`, with the options of `var`; NaN where only ddof are left."""
    a, ddof = as_tensor(a, "nanvar"), ddof if correction is None else correction
    there = _there("nanvar", a, where)
    if there is True and count_of(a.shape, axis) <= ddof:  # NaN, where `var` divides by 0
        there = np.ones(a.shape, bool)
    return var(a, axis, dtype, out, ddof, keepdims, where=there)


@implements(np.nanstd)
def nanstd(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: Any = False, *,
    where: Any = True, correction: Any = None,
) -> Tensor:  # fmt: skip
    """Standard deviation of what is not NaN, as `numpy.nanstd`, with the options of `std`."""
    a, ddof = as_tensor(a, "nanstd"), ddof if correction is None else correction
    there = _there("nanstd", a, where)
    if there is True and count_of(a.shape, axis) <= ddof:  # NaN, where `std` divides by 0
        there = np.ones(a.shape, bool)
    return std(a, axis, dtype, out, ddof, keepdims, where=there)


@in_single
def _extreme_rule(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    a = raw(x)
    chosen = a == restored(raw(y), axis, a.ndim, keepdims)
    ties = np.add.reduce(chosen, axis=None if axis is None else axes_of(axis, a.ndim), keepdims=True)
    return np.where(chosen, restored(g, axis, a.ndim, keepdims) / np.maximum(ties, 1).astype(a.dtype), 0)


def _extreme(name: str, ufunc: Any, symbol: str) -> Operation:
    return declare(
        name, lambda x, axis=None, keepdims=False: ufunc.reduce(x, axis=axis, keepdims=keepdims), [_extreme_rule],
        jvps="reduction", selects=True, formula=f"{symbol} {{0}} but NaN",
        derivatives=[f"1 at the {symbol}, else 0"], public=False,
        samples=lambda rng: [Sample((draw(rng, shape),), params, smooth=2)
                             for shape, params in _CASES],
    )  # fmt: skip


_CASES: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((), {}), ((2, 3), {}), ((2, 3), {"axis": -1, "keepdims": True}), ((2, 3, 2), {"axis": (0, 2)}),
]  # fmt: skip

_fmax, _fmin = _extreme("fmax_reduce", np.fmax, "max"), _extreme("fmin_reduce", np.fmin, "min")


def _extreme_of(name: str, a: Any, axis: Any, out: Any, keepdims: Any, initial: Any, where: Any) -> Tensor:
    record, join = (_fmax, fmax) if name == "nanmax" else (_fmin, fmin)
    if out is not None:
        raise TypeError(f"np.{name}: out= is refused on a Tensor; write result = np.{name}(...), a new Tensor.")
    a = as_tensor(a, name)
    if where is not True:
        if initial is None:
            raise ValueError(f"{name}: a mask, where=, may leave nothing; give its {name[3:]}imum as initial=")
        a = elementwise.where(mask_of(name, where, a.shape), astype(a, float) if a.dtype.kind in "iub" else a, np.nan)
    axis = of_numbers(a, axis)
    axes = axis if axis is None else checked_axes(name, axis, a.shape)
    if initial is not None and not count(True, a.shape, axes).all():
        return sum(a, axes, keepdims=keepdims) * 0 + initial
    y = record(a, axis=axes, keepdims=bool(keepdims))
    return y if initial is None else join(y, initial)


@implements(np.nanmax)
def nanmax(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Tensor:
    """Maximum of what is not NaN, as `numpy.nanmax`; equal maxima share the gradient equally.

    >>> nanmax([[1.0, np.nan], [np.nan, np.nan]], axis=1)
    Tensor([ 1., nan])
    """
    return _extreme_of("nanmax", a, axis, out, keepdims, initial, where)


@implements(np.nanmin)
def nanmin(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Tensor:
    """Minimum of what is not NaN, as `numpy.nanmin`; equal minima share the gradient equally."""
    return _extreme_of("nanmin", a, axis, out, keepdims, initial, where)


REDUCTIONS[np.fmax, "reduce"] = lambda a, axis=0, **options: nanmax(a, axis, **options)
REDUCTIONS[np.fmin, "reduce"] = lambda a, axis=0, **options: nanmin(a, axis, **options)
nanargmax = without_gradient("nanargmax", np.nanargmax, np.nanargmax)
nanargmin = without_gradient("nanargmin", np.nanargmin, np.nanargmin)


# Quantiles

Place = Callable[[Any, Any], Any]


def _continuous(alpha: float, beta: float) -> Place:
    return lambda n, q: n * q + (alpha + q * (1 - alpha - beta)) - 1


def _averaged(n: Any, q: Any) -> Any:
    at = n * q
    return np.where(at % 1 == 0, at - 0.5, np.ceil(at) - 1)


def _closest(n: Any, q: Any) -> Any:
    """The place nearest to nq − 1, of two that are as near the odd one (the even one counted from 1)."""
    at = n * q - 1.5
    below = np.floor(at)
    return np.where((at == below) & (below % 2 == 1), below, below + 1)


_PLACES: dict[str, Place] = {
    "inverted_cdf": lambda n, q: np.ceil(n * q) - 1,
    "averaged_inverted_cdf": _averaged,
    "closest_observation": _closest,
    "interpolated_inverted_cdf": _continuous(0, 1),
    "hazen": _continuous(0.5, 0.5),
    "weibull": _continuous(0, 0),
    "linear": lambda n, q: (n - 1) * q,
    "median_unbiased": _continuous(1 / 3, 1 / 3),
    "normal_unbiased": _continuous(3 / 8, 3 / 8),
    "lower": lambda n, q: np.floor((n - 1) * q),
    "higher": lambda n, q: np.ceil((n - 1) * q),
    "midpoint": lambda n, q: (np.floor((n - 1) * q) + np.ceil((n - 1) * q)) / 2,
    "nearest": lambda n, q: np.rint((n - 1) * q),
}
"""By method (Hyndman and Fan, The American Statistician 50, 1996, and NumPy's own): where the q-quantile lies among n
sorted values counted from 0; between two places it is interpolated."""


def _quantile(
    name: str, a: Any, q: Any, axis: Any, out: Any, method: str, keepdims: Any, weights: Any, skip: bool
) -> Tensor:
    if out is not None:
        raise TypeError(f"np.{name}: out= is refused on a Tensor; write result = np.{name}(...), a new Tensor.")
    if method not in _PLACES:
        raise ValueError(f"{name}: method {method!r} is none of {', '.join(_PLACES)}")
    if weights is not None and method != "inverted_cdf":
        raise ValueError(f"{name}: weights= takes method='inverted_cdf', as in NumPy, not {method!r}")
    for given, v in (("q", q), ("weights", weights)):
        if getattr(v, "requires_grad", False):
            raise TypeError(f"{name}: has no derivative by {given}; pass plain numbers, {given}.numpy()")
    q, whole = np.asarray(plain(q), float), 100 if "percentile" in name else 1
    if not ((q >= 0) & (q <= whole)).all():
        raise ValueError(f"{name}: q lies between 0 and {whole}, not {q}")
    q = q / whole
    a = as_tensor(a, name)
    if a.dtype.kind == "c":
        raise TypeError(f"{name}: complex numbers have no order; take those of t.real, of t.imag or of abs(t)")
    a = a if a.dtype.kind == "f" else astype(a, np.float64)
    axes = tuple(range(a.ndim)) if axis is None else checked_axes(name, axis, a.shape)
    rest = tuple([n for i, n in enumerate(a.shape) if i not in axes])

    def in_front(t: Tensor) -> Tensor:
        return reshape(moveaxis(t, axes, tuple(range(len(axes)))), (-1, *rest) if a.size or not rest else (0, *rest))

    x = in_front(a)
    kept = tuple([1 if i in axes else n for i, n in enumerate(a.shape)]) if keepdims else rest
    if x.shape[0] == 0:
        return wrap(np.full(q.shape + kept, np.nan, a.dtype))
    if weights is None:
        return reshape(_at_quantiles(x, q, _PLACES[method], skip), q.shape + kept)
    w = raw(in_front(weights_like(name, as_tensor(weights, name), a.shape, axis)))
    return reshape(_at_weighted_quantiles(name, x, w, q, skip), q.shape + kept)


@in_single
def _at_quantiles(x: Tensor, q: Any, place: Place, skip: bool) -> Tensor:
    """The quantiles along the first axis, of what is not NaN or, unless those are skipped, NaN where there is one."""
    missing = np.isnan(raw(x))
    whole = common(~missing.any())
    n: Any = x.shape[0] if whole or not skip else np.maximum((~missing).sum(axis=0), 1)
    q = q.reshape(-1, *(1,) * (x.ndim - 1))
    at = np.clip(place(n, np.asarray(q, like=n) if is_foreign(n) else q), 0, n - 1)
    low = np.floor(at)
    w = (at - low).astype(x.dtype)
    s = sort(x, axis=0)
    y = take_along_axis(s, low.astype(np.intp), 0)
    if not common((w == 0).all()):
        y = elementwise.where(w == 0, y, y * (1 - w) + take_along_axis(s, np.ceil(at).astype(np.intp), 0) * w)
    if whole:
        return y
    if skip:
        return elementwise.where(missing.all(axis=0), np.nan, y)
    return y * np.where(missing.any(axis=0), np.nan, 1).astype(x.dtype)


def _at_weighted_quantiles(name: str, x: Tensor, w: Any, q: Any, skip: bool) -> Tensor:
    """The quantiles along the first axis: the first elements below and at which a part q of the weights lies."""
    if not common(((w >= 0) & np.isfinite(w)).all()):
        raise ValueError(f"{name}: weights are finite and not negative")
    missing = np.isnan(raw(x))
    w = np.where(missing, 0, w) if skip else w
    order = np.argsort(raw(x), axis=0, kind="stable")
    part = np.cumsum(np.take_along_axis(w, order, 0), axis=0, dtype=float)
    empty = part[-1] == 0
    if not common(~(empty & ~missing.all(axis=0)).any()):
        raise ValueError(f"{name}: weights that are all 0 have no quantile")
    part = part / np.where(empty, 1, part[-1])
    before = (part < q.reshape(-1, *(1,) * x.ndim)) | (
        part == 0
    )  # what weighs nothing in front is passed over at q = 0
    place = np.minimum(before.sum(axis=1), x.shape[0] - 1)
    lost = missing.all(axis=0) if skip else missing.any(axis=0)
    y = take_along_axis(x, np.take_along_axis(order, place, 0), 0)
    return y if common(~lost.any()) else y * np.where(lost, np.nan, 1).astype(x.dtype)


@implements(np.quantile)
def quantile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
    keepdims: Any = False, *, weights: Any = None,
) -> Tensor:  # fmt: skip
    """The values below which a part `q` of the elements lies, as `numpy.quantile`.

    Args:
        a: a Tensor or array.
        q: a number from 0 to 1, or an array of them, whose axes come first in the result.
        axis: an axis or several, all by default.
        out: nothing; it has no rule.
        overwrite_input: accepted for NumPy's sake; nothing is overwritten.
        method: "linear" (between the two nearest of the sorted values), or another of NumPy's thirteen.
        keepdims: keep the axes, with length 1.
        weights: how much each element counts, of a's shape or that of its `axis`, for ``method="inverted_cdf"`` alone.

    Returns:
        A Tensor. The gradient goes to the one or two elements that it is taken from; of equal ones, to that which
        `sort` puts there. Where there is a NaN, the quantile is NaN.

    Raises:
        ValueError: q outside, another method, or weights that do not fit, are negative or all 0. TypeError: q or
            weights that require a gradient, by which there is none.

    >>> x = Tensor([3.0, 1.0, 2.0, 10.0], requires_grad=True)
    >>> y = quantile(x, 0.25)
    >>> y.backward()
    >>> y.item(), x.grad
    (1.75, Tensor([0.  , 0.25, 0.75, 0.  ]))
    """
    return _quantile("quantile", a, q, axis, out, method, keepdims, weights, False)


@implements(np.percentile)
def percentile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
    keepdims: Any = False, *, weights: Any = None,
) -> Tensor:  # fmt: skip
    """`quantile` for a `q` from 0 to 100, as `numpy.percentile`."""
    return _quantile("percentile", a, q, axis, out, method, keepdims, weights, False)


@implements(np.median)
def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False) -> Tensor:
    """The middle one of the sorted elements, of an even number the mean of the two in the middle, as `numpy.median`;
    the gradient goes to these, half to each of two.

    >>> median([3.0, 1.0, 10.0])
    Tensor(3.)
    """
    return _quantile("median", a, 0.5, axis, out, "linear", keepdims, None, False)


@implements(np.nanquantile)
def nanquantile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
    keepdims: Any = False, *, weights: Any = None,
) -> Tensor:  # fmt: skip
    """`quantile` of what is not NaN, as `numpy.nanquantile`."""
    return _quantile("nanquantile", a, q, axis, out, method, keepdims, weights, True)


@implements(np.nanpercentile)
def nanpercentile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
    keepdims: Any = False, *, weights: Any = None,
) -> Tensor:  # fmt: skip
    """`percentile` of what is not NaN, as `numpy.nanpercentile`."""
    return _quantile("nanpercentile", a, q, axis, out, method, keepdims, weights, True)


@implements(np.nanmedian)
def nanmedian(
    a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False
) -> Tensor:
    """`median` of what is not NaN, as `numpy.nanmedian`.

    >>> nanmedian([[1.0, np.nan, 3.0], [np.nan] * 3], axis=1)
    Tensor([ 2., nan])
    """
    return _quantile("nanmedian", a, 0.5, axis, out, "linear", keepdims, None, True)


# Covariances


@implements(np.cov)
def cov(
    m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None, fweights: Any = None,
    aweights: Any = None, *, dtype: Any = None,
) -> Tensor:  # fmt: skip
    """The covariance matrix of variables, as `numpy.cov`.

    Args:
        m: a Tensor or array of one or two axes, a row for each variable (a column without `rowvar`).
        y: more variables, in the same form.
        rowvar: whether the variables are the rows.
        bias: divide by n, not by n − 1.
        ddof: divide by n − ddof; it goes before `bias`.
        fweights: how often each observation counts, integers.
        aweights: how much each observation counts, with gradient.
        dtype: the result's, at least float64 by default.

    Raises:
        ValueError: more than two axes, other numbers of observations, or weights that do not fit.

    >>> cov([[1.0, 2.0, 4.0], [1.0, 0.0, -1.0]])
    Tensor([[ 2.33333333, -1.5       ],
            [-1.5       ,  1.        ]])
    """
    variables = [_variables("cov", v, rowvar) for v in ((m,) if y is None else (m, y))]
    if len({v.shape[1] for v in variables}) > 1:
        raise ValueError(f"cov: variables with {' and '.join(str(v.shape[1]) for v in variables)} observations")
    kind = np.dtype(dtype) if dtype is not None else np.result_type(*(v.dtype for v in variables), np.float64)
    x = concatenate([v if v.dtype == kind else astype(v, kind) for v in variables], 0)
    n = x.shape[1]
    f, w = _weights("fweights", fweights, n), _weights("aweights", aweights, n)
    if f is not None and f.dtype.kind not in "iu":
        raise TypeError(f"cov: fweights are integers, not {f.dtype}")
    both = f if w is None else w if f is None else f * w
    ddof = (0 if bias else 1) if ddof is None else ddof
    if int(ddof) != ddof:
        raise ValueError(f"cov: ddof is an integer, not {ddof!r}")
    total: Any = n if both is None else both.sum()
    means = mean(x, 1, keepdims=True) if both is None else average(x, 1, both, keepdims=True)
    deviations = x - means
    weighted = deviations if both is None else deviations * both
    if ddof == 0 or w is None:
        over = total - ddof
    else:
        over = total - ddof * (both * w).sum() / total
    if n == 0 or not common(raw(over) > 0):
        over = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        c = dot(deviations, (conj(weighted) if kind.kind == "c" else weighted).T) / over
    return reshape(c, tuple([k for k in c.shape if k != 1]))


def _variables(name: str, m: Any, rowvar: bool) -> Tensor:
    x = as_tensor(m, name)
    if x.ndim > 2:
        raise ValueError(f"{name}: takes one or two axes, not shape {x.shape}")
    flat, x = x.ndim < 2, atleast_2d(x)
    return x if rowvar or flat else x.T


def _weights(name: str, weights: Any, n: int) -> Any:
    if weights is None:
        return None
    w = as_tensor(weights, "cov")
    if w.shape != (n,):
        raise ValueError(f"cov: {name} of shape {w.shape} for {n} observations; they take ({n},)")
    if not common((raw(w) >= 0).all()):
        raise ValueError(f"cov: {name} must not be negative")
    return w


@implements(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Tensor:
    """The matrix of correlation coefficients of variables, as `numpy.corrcoef`; the arguments are those of `cov`.

    >>> corrcoef([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    Tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    c = cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c
    s = sqrt(diagonal(c).real)
    r = c / s[:, None] / s[None, :]
    a = raw(r)
    if common((np.abs(a) <= 1).all()):
        return r
    inside = np.clip(a.real, -1, 1) + (1j * np.clip(a.imag, -1, 1) if a.dtype.kind == "c" else 0)
    return r + wrap(inside - a)  # rounding, which no derivative depends on


# Counts


def _values_at(x: Tensor, index: Any, axis: int | None) -> Tensor:
    return take(ravel(x), index) if axis is None else take(x, index, axis)


@implements(np.unique)
def unique(
    ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False,
    axis: int | None = None, *, equal_nan: bool = True, sorted: bool = True,
) -> Any:  # fmt: skip
    """The different elements in order (or, with an axis, the different slices), as `numpy.unique`; indices and counts
    are constants, and the values have the gradient of the first element that has each.

    >>> unique(Tensor([2.0, 1.0, 2.0]), return_counts=True)
    (Tensor([1., 2.]), Tensor([1, 2]))
    """
    x = as_tensor(ar, "unique")
    _, index, inverse, counts = np.unique(plain(x), True, True, True, axis, equal_nan=equal_nan)
    found: tuple[Tensor, ...] = (_values_at(x, index, axis),)
    for wanted, part in ((return_index, index), (return_inverse, inverse), (return_counts, counts)):
        found += (wrap(part),) if wanted else ()
    return found if len(found) > 1 else found[0]


def _of_each(function: Any, name: str, doc: str) -> Any:
    """One of NumPy's newer functions, which do not count NaNs as equal and name their results."""

    def apply(x: Any, /) -> Any:
        x = as_tensor(x, name)
        found, values = function(plain(x)), unique(x, return_index=True, equal_nan=False)[0]
        return type(found)(values, *(wrap(part) for part in found[1:])) if isinstance(found, tuple) else values

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = f"{doc}, as `numpy.{name}`; see `unique`."
    implements(function)(apply)
    return apply


unique_values = _of_each(np.unique_values, "unique_values", "The different elements")
unique_counts = _of_each(np.unique_counts, "unique_counts", "The different elements and how often each occurs")
unique_inverse = _of_each(np.unique_inverse, "unique_inverse", "The different elements and which each element is")
unique_all = _of_each(np.unique_all, "unique_all", "The different elements, where each is first, and both of the above")


@implements(np.histogram)
def histogram(a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    """How many elements lie in each bin, and the bins' edges, as `numpy.histogram`: both constant, but for the sums of
    weights that require a gradient, and densities made of them."""
    values, w = plain(a), None if weights is None else as_tensor(weights, "histogram")
    try:
        plain_weights = None if w is None else plain(w)
        counts, edges = np.histogram(values, plain(bins), plain(range), density=density, weights=plain_weights)
    except (ValueError, TypeError) as error:
        raise type(error)(f"histogram(shape {np.shape(values)}): {error}") from None
    if w is None or not w.requires_grad:
        return wrap(counts), wrap(edges)
    at = np.searchsorted(edges, np.ravel(values), side="right") - 1
    at = np.where(np.ravel(values) == edges[-1], len(edges) - 2, at)
    inside = (at >= 0) & (at < len(edges) - 1)
    sums = scatter_add(take(ravel(w), np.flatnonzero(inside)), shape=(len(edges) - 1,), index=at[inside])
    return (sums / np.diff(edges) / sums.sum() if density else sums), wrap(edges)


histogram_bin_edges = without_gradient("histogram_bin_edges", np.histogram_bin_edges, np.histogram_bin_edges)
isin = without_gradient("isin", np.isin, np.isin)
lexsort = without_gradient("lexsort", lambda keys, axis=-1: np.lexsort(plain(keys), axis), np.lexsort)
