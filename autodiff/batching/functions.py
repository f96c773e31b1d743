"""What NumPy's functions are on batches of a level. Those without a line here are run example by example.

Each takes the level first, and NotImplemented stands for a form of the call that is run example by example.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..ops.indexing import assigned
from ..standing_in import BY_METHODS
from ..tensor import is_foreign
from .batch import (
    FUNCTIONS,
    OPAQUE,
    Batch,
    BatchError,
    Level,
    Place,
    get,
    made,
    ndim_of,
    picked,
    product_of,
    spread_in,
    value_in,
    within,
)  # fmt: skip

_function: Any


def _as(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(form: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS.update(dict.fromkeys(functions, form))
        return form

    return register


def _many(x: Any, level: Level) -> Batch:
    return x if within(x, level) else Batch(level, spread_in(x, level))


def _one(x: Any, level: Level) -> Any:
    """An example, for functions that look at shapes and dtypes alone."""
    if within(x, level):
        return np.broadcast_to(np.zeros((), x.dtype), x.shape)
    return type(x)(_one(v, level) for v in x) if type(x) in (tuple, list) else x


def _passive(function: Any) -> None:
    FUNCTIONS[function] = lambda level, *args, **kwargs: function(*(_one(x, level) for x in args), **kwargs)


FUNCTIONS[np.shape] = lambda level, x: x.shape
FUNCTIONS[np.ndim] = lambda level, x: x.ndim
for _function in (np.size, np.result_type, np.can_cast, np.iscomplexobj, np.isrealobj,
                  np.broadcast_shapes, np.min_scalar_type):  # fmt: skip
    _passive(_function)


@_as(np.may_share_memory, np.shares_memory)
def _shares(level: Level, a: Any, b: Any, *args: Any) -> bool:
    return bool(np.may_share_memory(*(x.value if within(x, level) else x for x in (a, b))))


def _by_method(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda level, *args, **kwargs: method(*args, **kwargs)


FUNCTIONS.update({function: _by_method(method) for function, method in BY_METHODS.items()})


# Creation


def _filler(function: Any) -> Callable[..., Any]:
    def filled(
        level: Level, like: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None, **_: Any
    ) -> Any:
        shape = like.shape if shape is None else (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        return Batch(level, function(like.value, dtype=dtype, shape=(level.size, *shape)))

    return filled


FUNCTIONS.update({f: _filler(f) for f in (np.zeros_like, np.ones_like, np.empty_like)})


@_as(np.full_like)
def _full_like(
    level: Level, like: Any, value: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None,
    **_: Any,
) -> Any:  # fmt: skip
    shape = np.shape(like) if shape is None else (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    dtype = like.dtype if dtype is None else dtype
    whole = np.empty_like(spread_in(like, level) if not within(value, level) else value.value, dtype=dtype,
                          shape=(level.size, *shape))  # fmt: skip
    whole[...] = value_in(value, level, len(shape))
    return Batch(level, whole)


def _of_like(function: Any) -> Callable[..., Any]:
    def filled(level: Level, shape: Any, *args: Any, **kwargs: Any) -> Any:
        """Made with ``like=`` of a batch, to be written: an array for each example."""
        x = function(shape, *args, **kwargs)
        return Batch(level, np.broadcast_to(x, (level.size, *x.shape)).copy())

    return filled


FUNCTIONS.update({f: _of_like(f) for f in (np.zeros, np.empty, np.full, np.ones)})
for _function in (np.arange, np.eye, np.identity, np.tri):
    _passive(_function)


@_as(np.array, np.asarray, np.asanyarray, np.ascontiguousarray)
def _array(level: Level, x: Any, dtype: Any = None, copy: Any = True, order: Any = None, **_: Any) -> Any:
    if isinstance(x, (list, tuple)):
        x = np.stack([_many(v, level) for v in x])
    x = _many(x, level)
    x = x if dtype is None else x.astype(dtype, copy=False)
    return x.copy() if copy or not x.value.flags.writeable else x


@_as(np.copy)
def _copy(level: Level, x: Any, *_: Any, **__: Any) -> Any:
    return x.copy()


@_as(np.copyto)
def _copyto(level: Level, target: Any, value: Any, casting: str = "same_kind", where: Any = True) -> None:
    target[...] = value if where is True else np.where(where, value, target)


# Shape


@_as(np.broadcast_to)
def _broadcast_to(level: Level, x: Any, shape: Any, subok: bool = False) -> Any:
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    return Batch(level, np.broadcast_to(value_in(x, level, len(shape)), (level.size, *shape)), x)


@_as(np.broadcast_arrays)
def _broadcast_arrays(level: Level, *xs: Any, subok: bool = False) -> Any:
    shape = np.broadcast_shapes(*map(np.shape, xs))
    return tuple(np.broadcast_to(x, shape) for x in xs)


@_as(np.moveaxis)
def _moveaxis(level: Level, x: Any, source: Any, destination: Any) -> Any:
    source, destination = normalize_axis_tuple(source, x.ndim), normalize_axis_tuple(destination, x.ndim)
    moved = np.moveaxis(x.value, [i + 1 for i in source], [i + 1 for i in destination])
    return Batch(level, moved, x)


@_as(np.rollaxis)
def _rollaxis(level: Level, x: Any, axis: int, start: int = 0) -> Any:
    axis = normalize_axis_index(axis, x.ndim)
    start = start + x.ndim if start < 0 else start
    return Batch(level, np.rollaxis(x.value, axis + 1, start + 1), x)


@_as(np.expand_dims)
def _expand_dims(level: Level, x: Any, axis: Any) -> Any:
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = normalize_axis_tuple(axes, x.ndim + len(axes))
    return Batch(level, np.expand_dims(x.value, tuple(i + 1 for i in axes)), x)


@_as(np.atleast_1d)
def _atleast_1d(level: Level, *xs: Any) -> Any:
    found = tuple(x if x.ndim else x.reshape(1) for x in (_many(v, level) for v in xs))
    return found[0] if len(xs) == 1 else found


@_as(np.flip)
def _flip(level: Level, x: Any, axis: Any = None) -> Any:
    axes = range(x.ndim) if axis is None else normalize_axis_tuple(axis, x.ndim)
    return Batch(level, np.flip(x.value, tuple(i + 1 for i in axes)), x)


@_as(np.roll)
def _roll(level: Level, x: Any, shift: Any, axis: Any = None) -> Any:
    if axis is None:
        return np.roll(x.reshape(-1), shift, 0).reshape(x.shape)
    axes = normalize_axis_tuple(axis, x.ndim)
    return Batch(level, np.roll(x.value, shift, tuple(i + 1 for i in axes)))


@_as(np.pad)
def _pad(level: Level, x: Any, pad_width: Any, mode: Any = "constant", **options: Any) -> Any:
    if any(within(v, level) for v in options.values()) or callable(mode):
        return NotImplemented
    if isinstance(pad_width, dict):
        widths = [(0, 0)] * x.ndim
        for k, v in pad_width.items():
            widths[k] = (v, v) if isinstance(v, int) else v
    else:
        widths = np.broadcast_to(pad_width, (x.ndim, 2)).tolist()
    options = {
        k: v if not ndim_of(v) else ((0, 0), *np.broadcast_to(v, (x.ndim, 2)).tolist())
        for k, v in options.items()
    }  # fmt: skip
    return Batch(level, np.pad(x.value, ((0, 0), *map(tuple, widths)), mode, **options))


@_as(np.repeat)
def _repeat(level: Level, x: Any, repeats: Any, axis: Any = None) -> Any:
    if within(repeats, level):
        return NotImplemented
    x = x.reshape(-1) if axis is None else x
    axis = 0 if axis is None else normalize_axis_index(axis, x.ndim)
    return Batch(level, np.repeat(x.value, repeats, axis + 1))


@_as(np.tile)
def _tile(level: Level, x: Any, reps: Any) -> Any:
    reps = (reps,) if isinstance(reps, (int, np.integer)) else tuple(reps)
    n = max(x.ndim, len(reps))
    return Batch(level, np.tile(value_in(x, level, n), (1, *(1,) * (n - len(reps)), *reps)))


@_as(np.diagonal, np.linalg.diagonal)
def _diagonal(level: Level, x: Any, offset: int = 0, axis1: Any = None, axis2: Any = None) -> Any:
    axis1 = 0 if axis1 is None else axis1
    axis2 = 1 if axis2 is None else axis2
    axes = [normalize_axis_index(i, x.ndim) + 1 for i in (axis1, axis2)]
    return Batch(level, np.diagonal(x.value, offset, *axes))


@_as(np.trace)
def _trace(level: Level, x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Any:
    return np.diagonal(x, offset, axis1, axis2).sum(-1, dtype=dtype)


@_as(np.diag)
def _diag(level: Level, x: Any, k: int = 0) -> Any:
    if x.ndim == 2:
        return np.diagonal(x, k)
    n = x.shape[0] + abs(k)
    whole = np.zeros_like(x, shape=(n, n))
    i = np.arange(x.shape[0])
    whole[i + max(-k, 0), i + max(k, 0)] = x
    return whole


@_as(np.tril)
def _tril(level: Level, x: Any, k: int = 0) -> Any:
    return np.where(np.tri(x.shape[-2], x.shape[-1], k, bool), x, x.dtype.type(0)) if x.ndim > 1 else NotImplemented


@_as(np.triu)
def _triu(level: Level, x: Any, k: int = 0) -> Any:
    return np.where(np.tri(x.shape[-2], x.shape[-1], k - 1, bool), x.dtype.type(0), x) if x.ndim > 1 else NotImplemented


# Reductions: a function with an axis, None for all


def _along(function: Any, flat: bool = True, default: Any = None) -> None:
    """`flat`: without an axis an example is taken as one row."""

    def form(level: Level, x: Any, *args: Any, axis: Any = default, **options: Any) -> Any:
        if args:
            axis, *args = args  # type: ignore[assignment]
        if any(within(v, level) for v in (*args, *options.values())):
            return NotImplemented
        n = x.ndim
        if axis is None and flat:
            keep = options.pop("keepdims", False) is True
            rows = function(x.value.reshape((level.size, x.size)), *args, axis=1, **options)
            return Batch(level, rows.reshape((level.size,) + (1,) * n) if keep else rows)
        axes: Any
        if axis is None:
            value, axes = x.value, tuple(range(1, n + 1))
        elif isinstance(axis, (tuple, list)):
            value, axes = x.value, tuple(i + 1 for i in normalize_axis_tuple(axis, n))
        else:
            value, axes = x.value, normalize_axis_index(operator.index(axis), n) + 1 if n else 1
            value = value.reshape((level.size, 1)) if not n else value
        return made(level, function(value, *args, axis=axes, **options))

    FUNCTIONS[function] = form


for _function in (np.argmax, np.argmin, np.cumsum, np.cumprod, np.nanargmax, np.nanargmin):
    _along(_function)
for _function in (np.mean, np.var, np.std, np.median, np.ptp, np.nansum, np.nanmean, np.nanmax, np.nanmin, np.nanvar,
                  np.nanstd, np.nanprod, np.count_nonzero, np.average):  # fmt: skip
    _along(_function, flat=False)

_REDUCTIONS: dict[Any, Any] = {
    np.sum: np.add, np.prod: np.multiply, np.max: np.maximum, np.min: np.minimum, np.amax: np.maximum,
    np.amin: np.minimum, np.any: np.logical_or, np.all: np.logical_and,
}  # fmt: skip

for _function, _ufunc in _REDUCTIONS.items():

    def _reduced(level: Level, x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False,
                 _ufunc: Any = _ufunc, **options: Any) -> Any:  # fmt: skip
        options |= {} if dtype is None else {"dtype": dtype}
        return _ufunc.reduce(x, axis=axis, keepdims=keepdims, **options)

    FUNCTIONS[_function] = _reduced


def _sorted(function: Any) -> None:
    def form(level: Level, x: Any, *args: Any, axis: Any = -1, **options: Any) -> Any:
        partition = function in (np.partition, np.argpartition)
        if partition:
            kth, *rest = args or (options.pop("kth"),)
            args = (kth,)
            axis = rest[0] if rest else axis
        elif args:
            axis, *args = args  # type: ignore[assignment]
        x, axis = (x.reshape(-1), 0) if axis is None else (x, normalize_axis_index(axis, x.ndim))
        if partition:
            return Batch(level, function(x.value, *args, axis=axis + 1, **options))
        return Batch(level, function(x.value, axis + 1, *args, **options))

    FUNCTIONS[function] = form


for _function in (np.sort, np.argsort, np.partition, np.argpartition):
    _sorted(_function)


@_as(np.diff)
def _diff(level: Level, x: Any, n: int = 1, axis: int = -1, **options: Any) -> Any:
    if options:
        return NotImplemented
    return Batch(level, np.diff(x.value, n, normalize_axis_index(axis, x.ndim) + 1))


@_as(np.clip)
def _clip(level: Level, x: Any, low: Any = None, high: Any = None, **options: Any) -> Any:
    low, high = options.pop("min", low), options.pop("max", high)
    low, high = options.pop("a_min", low), options.pop("a_max", high)
    n = max(ndim_of(v) for v in (x, low, high) if v is not None)
    return Batch(level, np.clip(*(None if v is None else value_in(v, level, n) for v in (x, low, high)), **options))


def _elementwise(function: Any) -> None:
    def form(level: Level, *xs: Any, **options: Any) -> Any:
        if any(within(v, level) for v in options.values()):
            return NotImplemented
        n = max(map(ndim_of, xs))
        return Batch(level, function(*(value_in(x, level, n) for x in xs), **options))

    FUNCTIONS[function] = form


for _function in (np.real, np.imag, np.angle, np.round, np.around, np.isclose, np.nan_to_num, np.sinc, np.i0,
                  np.iscomplex, np.isreal, np.real_if_close):  # fmt: skip
    _elementwise(_function)


@_as(np.nonzero, np.flatnonzero, np.argwhere, np.unique, np.compress, np.extract)
def _refused(level: Level, *_: Any, **__: Any) -> Any:
    raise BatchError("ad.vmap: positions that depend on values have another shape for each example; use np.where")


@_as(np.isin)
def _isin(level: Level, x: Any, those: Any, assume_unique: Any = False, invert: bool = False, **options: Any) -> Any:
    if not within(those, level):
        return Batch(level, np.isin(x.value, those, invert=invert, **options))
    x = x if hasattr(x, "shape") else np.asarray(x)
    found = (x[..., None] == those.reshape(-1)).any(axis=-1)
    return ~found if invert else found


@_as(np.where)
def _where(level: Level, condition: Any, *branches: Any) -> Any:
    if not branches:
        raise BatchError("ad.vmap: np.where(mask) has another shape for each example; give both branches")
    n = max(map(ndim_of, (condition, *branches)))
    return Batch(level, np.where(*(value_in(x, level, n) for x in (condition, *branches))))


# Products


@_as(np.dot)
def _dot(level: Level, a: Any, b: Any) -> Any:
    n, m = ndim_of(a), ndim_of(b)
    if not n or not m:
        return np.multiply(a, b)
    if (n <= 2 and m <= 2) or m == 1:
        return Batch(level, product_of(level, a, b, n, m))
    return np.tensordot(a, b, (n - 1, m - 2))


@_as(np.vdot)
def _vdot(level: Level, a: Any, b: Any) -> Any:
    a, b = (x if hasattr(x, "shape") else np.asarray(x) for x in (a, b))
    a = np.conjugate(a) if a.dtype.kind == "c" else a
    return np.vecdot(a.reshape(-1), b.reshape(-1)) if a.dtype.kind != "c" else (a.reshape(-1) * b.reshape(-1)).sum()


@_as(np.inner)
def _inner(level: Level, a: Any, b: Any) -> Any:
    n, m = ndim_of(a), ndim_of(b)
    return np.multiply(a, b) if not n or not m else np.tensordot(a, b, (-1, -1))


@_as(np.outer, np.linalg.outer)
def _outer(level: Level, a: Any, b: Any) -> Any:
    a, b = (x if hasattr(x, "shape") else np.asarray(x) for x in (a, b))
    return np.multiply(a.reshape(-1)[:, None], b.reshape(-1))


@_as(np.tensordot)
def _tensordot(level: Level, a: Any, b: Any, axes: Any = 2) -> Any:
    a, b = (x if hasattr(x, "shape") else np.asarray(x) for x in (a, b))
    try:
        of_a, of_b = axes
    except TypeError:
        count = operator.index(axes)
        of_a, of_b = range(a.ndim - count, a.ndim), range(count)
    of_a, of_b = (normalize_axis_tuple(tuple(i) if ndim_of(i) else i, x.ndim) for i, x in ((of_a, a), (of_b, b)))
    if [a.shape[i] for i in of_a] != [b.shape[i] for i in of_b]:
        raise ValueError("shape-mismatch for sum")
    rest_a = tuple(i for i in range(a.ndim) if i not in of_a)
    rest_b = tuple(i for i in range(b.ndim) if i not in of_b)
    shape_a, shape_b = [a.shape[i] for i in rest_a], [b.shape[i] for i in rest_b]
    n = int(np.prod([a.shape[i] for i in of_a], dtype=int))
    rows = a.transpose(rest_a + of_a).reshape((int(np.prod(shape_a, dtype=int)), n))
    columns = b.transpose(of_b + rest_b).reshape((n, int(np.prod(shape_b, dtype=int))))
    return np.matmul(rows, columns).reshape((*shape_a, *shape_b))


@_as(np.einsum)
def _einsum(level: Level, subscripts: Any, *operands: Any, **options: Any) -> Any:
    if not isinstance(subscripts, str):
        return NotImplemented
    given, arrow, result = subscripts.replace(" ", "").partition("->")
    inputs = given.split(",")
    if not arrow:
        letters = [c for c in given if c.isalpha()]
        result = ("..." if "..." in given else "") + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    free = next(c for c in "zyxwvutsrqponmlkjihgfedcbaZYXWVUTSRQPONMLKJIHGFEDCBA" if c not in given)
    if "..." in given:  # their axes are as many as the longest has: name them
        counts = [ndim_of(x) - len(s.replace("...", "")) for s, x in zip(inputs, operands) if "..." in s]
        names = [c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBAzyxwvutsrqponmlkjihgfedcba" if c not in given + free]
        names = names[: max(counts)]
        broadcast = any(
            np.shape(x)[s.index("...") + i] == 1
            for s, x in zip(inputs, operands) if "..." in s
            for i in range(ndim_of(x) - len(s.replace("...", "")))
        )  # fmt: skip
        if broadcast:
            return NotImplemented
        inputs = [
            s.replace("...", "".join(names[len(names) - (ndim_of(x) - len(s.replace("...", ""))) :]) if names else "")
            for s, x in zip(inputs, operands)
        ]
        result = result.replace("...", "".join(names))
    inputs = [free + s if within(x, level) else s for s, x in zip(inputs, operands)]
    values = [x.value if within(x, level) else x for x in operands]
    return Batch(level, np.einsum(f"{','.join(inputs)}->{free}{result}", *values, **options))


@_as(np.kron)
def _kron(level: Level, a: Any, b: Any) -> Any:
    n = max(ndim_of(a), ndim_of(b))
    a, b = (np.reshape(x, (1,) * (n - ndim_of(x)) + np.shape(x)) for x in (a, b))
    wide = a.reshape(tuple(k for length in a.shape for k in (length, 1)))
    other = b.reshape(tuple(k for length in b.shape for k in (1, length)))
    return (wide * other).reshape(tuple(i * j for i, j in zip(a.shape, b.shape)))


@_as(np.cross)
def _cross(level: Level, a: Any, b: Any, *axes: Any, **options: Any) -> Any:
    if axes or any(v != -1 for v in options.values()):
        return NotImplemented
    return Batch(level, np.cross(spread_in(a, level), spread_in(b, level)))


# Choosing and joining


@_as(np.concatenate, np.concat)
def _concatenate(level: Level, arrays: Any, axis: Any = 0, **options: Any) -> Any:
    arrays = [_many(x, level) for x in arrays]
    if axis is None:
        arrays, axis = [x.reshape(-1) for x in arrays], 0
    axis = normalize_axis_index(axis, arrays[0].ndim) + 1
    return Batch(level, np.concatenate([x.value for x in arrays], axis, **options))


@_as(np.stack)
def _stack(level: Level, arrays: Any, axis: int = 0, **options: Any) -> Any:
    arrays = [_many(x, level) for x in arrays]
    return Batch(level, np.stack([x.value for x in arrays], normalize_axis_index(axis, arrays[0].ndim + 1) + 1,
                                 **options))  # fmt: skip


@_as(np.hstack)
def _hstack(level: Level, arrays: Any, **options: Any) -> Any:
    arrays = [_atleast_1d(level, x) for x in arrays]
    return np.concatenate(arrays, 0 if arrays[0].ndim == 1 else 1, **options)


@_as(np.vstack)
def _vstack(level: Level, arrays: Any, **options: Any) -> Any:
    arrays = [_many(x, level) for x in arrays]
    return np.concatenate([x if x.ndim >= 2 else x.reshape((1, -1)) for x in arrays], 0, **options)


@_as(np.split, np.array_split)
def _split(level: Level, x: Any, sections: Any, axis: int = 0) -> Any:
    axis = normalize_axis_index(axis, x.ndim)
    parts = np.split if ndim_of(sections) else np.array_split
    n = x.shape[axis]
    if not ndim_of(sections) and n % sections:
        return [x[(slice(None),) * axis + (slice(int(i[0]), int(i[-1]) + 1) if len(i) else slice(0, 0),)]
                for i in np.array_split(np.arange(n), sections)]  # fmt: skip
    return made(level, parts(x.value, sections, axis + 1), x)


@_as(*([np.unstack] if hasattr(np, "unstack") else []))  # NumPy 2.1
def _unstack(level: Level, x: Any, axis: int = 0) -> Any:
    return tuple(np.moveaxis(x, axis, 0))


@_as(np.take)
def _take(level: Level, x: Any, index: Any, axis: Any = None, **options: Any) -> Any:
    x = x if hasattr(x, "shape") else np.asarray(x)
    x, axis = (x.reshape(-1), 0) if axis is None else (x, normalize_axis_index(axis, x.ndim))
    if not within(index, level):
        return Batch(level, np.take(x.value, index, axis + 1, **options))
    if options.get("mode", "raise") != "raise":
        return NotImplemented
    return get(x, (slice(None),) * axis + (index,), level)


@_as(np.take_along_axis)
def _take_along_axis(level: Level, x: Any, index: Any, axis: Any = -1) -> Any:
    if axis is None:
        x, index, axis = x.reshape(-1), index.reshape(-1), 0
    axis = normalize_axis_index(axis, x.ndim) + 1
    return Batch(level, np.take_along_axis(spread_in(x, level), spread_in(index, level), axis))


@_as(np.put_along_axis)
def _put_along_axis(level: Level, x: Any, index: Any, values: Any, axis: Any) -> None:
    if not within(x, level):
        raise BatchError("ad.vmap: np.put_along_axis writes examples into an array that they share; use np.zeros_like")
    axis = normalize_axis_index(axis, x.ndim) + 1
    np.put_along_axis(x.value, spread_in(index, level), value_in(values, level, x.ndim), axis)


@_as(np.searchsorted)
def _searchsorted(level: Level, a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    if within(a, level) or within(sorter, level):
        return NotImplemented
    return Batch(level, np.searchsorted(a, v.value, side, sorter))  # type: ignore[call-overload]


@_as(np.digitize)
def _digitize(level: Level, x: Any, bins: Any, right: bool = False) -> Any:
    return NotImplemented if within(bins, level) else Batch(level, np.digitize(x.value, bins, right))


@_as(np.array_equal)
def _array_equal(level: Level, a: Any, b: Any, equal_nan: bool = False) -> Any:
    if np.shape(a) != np.shape(b):
        return False
    same = np.equal(a, b) | (np.isnan(a) & np.isnan(b)) if equal_nan else np.equal(a, b)
    return same.all()


# Matrices and Fourier transforms, whose first axes are examples already


def _stacked(function: Any, axes: tuple[int, ...]) -> None:
    """A function of stacks of matrices: so many axes of each argument are its own."""

    def form(level: Level, *args: Any, **options: Any) -> Any:
        arrays, rest = args[: len(axes)], args[len(axes) :]
        if any(within(v, level) for v in (*rest, *options.values())):
            return NotImplemented
        loops = max(ndim_of(x) - n for x, n in zip(arrays, axes))
        return made(level, function(*(value_in(x, level, loops + n) for x, n in zip(arrays, axes)), *rest, **options))

    FUNCTIONS[function] = form


for _name in ("inv", "det", "slogdet", "cholesky", "qr", "svd", "svdvals", "eig", "eigh", "eigvals", "eigvalsh", "pinv",
              "matrix_rank", "matrix_power", "cond"):  # fmt: skip
    _stacked(getattr(np.linalg, _name), (2,))


@_as(np.linalg.solve)
def _solve(level: Level, a: Any, b: Any) -> Any:
    if ndim_of(b) == 1:
        return np.linalg.solve(a, b[:, None])[..., 0]
    loops = max(ndim_of(a), ndim_of(b)) - 2
    return Batch(level, np.linalg.solve(value_in(a, level, loops + 2), value_in(b, level, loops + 2)))


def _fourier(function: Any, several: bool) -> None:
    def form(level: Level, x: Any, n: Any = None, axis: Any = None, norm: Any = None, **options: Any) -> Any:
        axis = options.pop("axes", axis)
        n = options.pop("s", n)
        if several:
            if axis is None:
                axis = tuple(range(x.ndim))[-len(n) :] if n is not None else range(x.ndim)
                axis = (-2, -1) if function.__name__.endswith("2") else axis
            axes = tuple(i + 1 for i in normalize_axis_tuple(tuple(axis), x.ndim))
            return Batch(level, function(x.value, n, axes, norm))
        return Batch(level, function(x.value, n, normalize_axis_index(-1 if axis is None else axis, x.ndim) + 1, norm))

    FUNCTIONS[function] = form


for _name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
    _fourier(getattr(np.fft, _name), False)
for _name in ("fft2", "ifft2", "fftn", "ifftn", "rfft2", "irfft2", "rfftn", "irfftn"):
    _fourier(getattr(np.fft, _name), True)


def _shifted(function: Any) -> None:
    def form(level: Level, x: Any, axes: Any = None) -> Any:
        axes = range(x.ndim) if axes is None else normalize_axis_tuple(axes, x.ndim)
        return Batch(level, function(x.value, tuple(i + 1 for i in axes)))

    FUNCTIONS[function] = form


_shifted(np.fft.fftshift)
_shifted(np.fft.ifftshift)


# Operations of this project that are taken whole


def _scatter_add(level: Level, v: Any, index: Any, shape: Any = None) -> Any:
    v = v if within(v, level) else Batch(level, spread_in(v, level))
    whole = (level.size, *shape)
    numbers = Batch(level, np.arange(math.prod(whole)).reshape(whole))
    place = Place(numbers, index, level)
    positions = picked(numbers.value, place.index)
    values = np.broadcast_to(place.fitted(v, level), positions.shape)
    like = v.value
    if is_foreign(positions):  # perhaps of another type than the values, or of other levels further out
        like = like.reshape(-1)[:1] + positions.reshape(-1)[:1]
    sums = np.zeros_like(
        like, dtype=v.dtype, shape=(math.prod(whole),)
    )  # flat: to flatten what is not contiguous copies it
    np.add.at(sums, positions.reshape(-1), values.reshape(-1))
    return Batch(level, sums.reshape(whole))


def _assigned(level: Level, t: Any, v: Any, index: Any) -> Any:
    t = Batch(level, spread_in(t, level))
    place = Place(t, index, level)
    return Batch(level, assigned(t.value, place.fitted(v, level), index=place.index))


OPAQUE["index_set"] = _assigned
OPAQUE["scatter_add"] = _scatter_add
OPAQUE["getitem"] = lambda level, x, index: get(x, index, level)
