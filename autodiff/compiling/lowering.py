"""What NumPy's functions are on traced arrays: calls that program.py names. Those without a line here become a "call".

Each takes the trace first, and NotImplemented stands for a form of the call that has no shorter name.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..standing_in import BY_METHODS
from .tracer import FUNCTIONS, Trace, Tracer, values_of


def _as(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(lowered: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS.update(dict.fromkeys(functions, lowered))
        return lowered

    return register


def _tracer(trace: Trace, x: Any) -> Any:
    return x if isinstance(x, Tracer) else trace.constant(np.asarray(x))


def _passive(function: Any) -> None:
    FUNCTIONS[function] = lambda _, *args, **kwargs: function(*map(values_of, args), **kwargs)


for _function in (np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.iscomplexobj, np.isrealobj,
                  np.broadcast_shapes):  # fmt: skip
    _passive(_function)


@_as(np.may_share_memory, np.shares_memory)
def _share_memory(trace: Trace, *_: Any, **__: Any) -> Any:
    trace.refuse("whether arrays share memory is asked, which may be otherwise at the next call", "ask outside")


def _filler(function: Any) -> Callable[..., Any]:
    def filled(trace: Trace, like: Any, *args: Any, **kwargs: Any) -> Any:
        return trace.constant(function(values_of(like), *args, **kwargs))

    return filled


FUNCTIONS.update({f: _filler(f) for f in (np.zeros_like, np.ones_like)})
FUNCTIONS[np.empty_like] = _filler(np.zeros_like)  # whose values nobody may read


def _by_method(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda trace, *args, **kwargs: method(*args, **kwargs)


FUNCTIONS.update({function: _by_method(method) for function, method in BY_METHODS.items()})


@_as(np.full_like)
def _full_like(trace: Trace, like: Any, value: Any, dtype: Any = None, shape: Any = None, **_: Any) -> Any:
    dtype = values_of(like).dtype if dtype is None else dtype
    shape = np.shape(values_of(like)) if shape is None else shape
    if not isinstance(value, Tracer):
        return trace.constant(np.full(shape, value, dtype))
    return np.broadcast_to(value.astype(dtype), shape).copy()


@_as(np.broadcast_to)
def _broadcast_to(trace: Trace, x: Any, shape: Any, subok: bool = False) -> Any:
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    if x.shape == shape:
        return x
    return x.view_as("broadcast_to", {"shape": shape}, np.broadcast_to(x.current().value, shape))


@_as(np.broadcast_arrays)
def _broadcast_arrays(trace: Trace, *xs: Any, subok: bool = False) -> Any:
    shape = np.broadcast_shapes(*(np.shape(values_of(x)) for x in xs))
    return tuple(np.broadcast_to(x, shape) for x in xs)


@_as(np.moveaxis)
def _moveaxis(trace: Trace, x: Any, source: Any, destination: Any) -> Any:
    source, destination = normalize_axis_tuple(source, x.ndim), normalize_axis_tuple(destination, x.ndim)
    order = [n for n in range(x.ndim) if n not in source]
    for to, axis in sorted(zip(destination, source)):
        order.insert(to, axis)
    return x.transpose(tuple(order))


@_as(np.rollaxis)
def _rollaxis(trace: Trace, x: Any, axis: int, start: int = 0) -> Any:
    axis = normalize_axis_index(axis, x.ndim)
    start = start + x.ndim if start < 0 else start
    order = [n for n in range(x.ndim) if n != axis]
    order.insert(start - (axis < start), axis)
    return x.transpose(tuple(order))


@_as(np.expand_dims)
def _expand_dims(trace: Trace, x: Any, axis: Any) -> Any:
    return x.reshape(np.expand_dims(x.value, axis).shape)


@_as(np.copy)
def _copy(trace: Trace, x: Any, order: str = "K", subok: bool = False) -> Any:
    return x.copy(order)


@_as(np.copyto)
def _copyto(trace: Trace, target: Any, value: Any, casting: str = "same_kind", where: Any = True) -> None:
    if not isinstance(target, Tracer):
        trace.refuse("np.copyto writes traced values into a NumPy array", "make a new array")
    np.copyto(np.empty_like(target.value), values_of(value), casting)  # type: ignore[arg-type]  # NumPy's own errors
    target[...] = value if where is True else np.where(where, value, target)


@_as(np.flip)
def _flip(trace: Trace, x: Any, axis: Any = None) -> Any:
    axes = range(x.ndim) if axis is None else normalize_axis_tuple(axis, x.ndim)
    return x[tuple(slice(None, None, -1) if n in axes else slice(None) for n in range(x.ndim))]


# Reductions

_EXTREMES: dict[Any, Any] = {np.max: np.maximum, np.min: np.minimum, np.any: np.logical_or, np.all: np.logical_and}
_LEAST = {np.maximum: -np.inf, np.minimum: np.inf}
_TOTALS: dict[Any, Any] = {np.sum: np.add, np.prod: np.multiply}
_RUNNING: dict[Any, Any] = {np.cumsum: np.add, np.cumprod: np.multiply}

for _reduce, _ufunc in _EXTREMES.items():

    def _reduced(trace: Trace, x: Any, axis: Any = None, keepdims: bool = False, _ufunc: Any = _ufunc,
                 **options: Any) -> Any:  # fmt: skip
        if set(options) == {"initial", "where"}:  # what is left out counts as the initial value
            x, options = np.where(options["where"], x, options["initial"]), {"initial": options["initial"]}
            return _ufunc(_ufunc.reduce(x, axis=axis, keepdims=keepdims), options["initial"])
        if x.dtype.kind == "f" and x.size and options == {"initial": _LEAST.get(_ufunc)}:  # which changes nothing
            options = {}
        return NotImplemented if options else _ufunc.reduce(x, axis=axis, keepdims=keepdims)

    FUNCTIONS[_reduce] = _reduced

for _reduce, _ufunc in _TOTALS.items():

    def _total(trace: Trace, x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, _ufunc: Any = _ufunc,
               **options: Any) -> Any:  # fmt: skip
        return NotImplemented if options else _ufunc.reduce(x, axis=axis, dtype=dtype, keepdims=keepdims)

    FUNCTIONS[_reduce] = _total

for _running, _ufunc in _RUNNING.items():

    def _accumulated(trace: Trace, x: Any, axis: Any = None, dtype: Any = None, _ufunc: Any = _ufunc) -> Any:
        if dtype is not None:
            x = x.astype(dtype)
        elif x.dtype.kind == "b":
            return NotImplemented
        return _ufunc.accumulate(x.reshape(-1) if axis is None else x, axis=0 if axis is None else axis)

    FUNCTIONS[_running] = _accumulated


@_as(np.mean)
def _mean(trace: Trace, x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, **options: Any) -> Any:
    if options or dtype is not None or x.dtype.char not in "fd" or x.size == 0:
        return NotImplemented
    total = x.sum(axis=axis, keepdims=keepdims)
    return total / total.dtype.type(x.size // max(total.size, 1))


@_as(np.clip)
def _clip(trace: Trace, x: Any, low: Any = None, high: Any = None, **options: Any) -> Any:
    low, high = options.pop("min", low), options.pop("max", high)
    low, high = options.pop("a_min", low), options.pop("a_max", high)
    kinds = [type(values_of(v)) for v in (low, high) if v is not None]
    if options or (x.dtype.kind in "iu" and int in kinds) or not kinds:  # where a bound beyond the dtype is none
        return NotImplemented
    if low is None or high is None:
        return np.minimum(x, high) if low is None else np.maximum(x, low)
    return np.minimum(high, np.maximum(low, x))  # in this order x stays where both are zeros, as in NumPy


# Products


@_as(np.dot)
def _dot(trace: Trace, a: Any, b: Any) -> Any:
    if not np.ndim(values_of(a)) or not np.ndim(values_of(b)):
        return np.multiply(a, b)
    return trace.record("dot", (a, b), {}, np.dot(values_of(a), values_of(b)))


@_as(np.vdot)
def _vdot(trace: Trace, a: Any, b: Any) -> Any:
    a, b = _tracer(trace, a), _tracer(trace, b)
    if (a.shape, a.value.strides) == (
        b.shape,
        b.value.strides,
    ):  # in the order of memory, without a copy
        axes = tuple(sorted(range(a.ndim), key=lambda i: -abs(a.value.strides[i])))
        a, b = (x.transpose(axes) for x in (a, b))
    a, b = a.reshape(-1), b.reshape(-1)
    a = a.conj()
    return trace.record("dot", (a, b), {}, np.dot(a.value, b.value))


@_as(np.outer)
def _outer(trace: Trace, a: Any, b: Any) -> Any:
    a, b = (_tracer(trace, x).reshape(-1) for x in (a, b))
    return np.multiply(a[:, None], b)


@_as(np.einsum)
def _einsum(trace: Trace, subscripts: Any, *operands: Any, optimize: Any = False) -> Any:
    if not isinstance(subscripts, str) or optimize:
        return NotImplemented
    value = np.einsum(subscripts, *map(values_of, operands))
    if any(np.may_share_memory(value, values_of(x)) for x in operands):
        return NotImplemented
    return trace.record("einsum", operands, {"subscripts": subscripts}, value)


@_as(np.tensordot)
def _tensordot(trace: Trace, a: Any, b: Any, axes: Any = 2) -> Any:
    a, b = _tracer(trace, a), _tracer(trace, b)
    try:
        of_a, of_b = axes
    except TypeError:
        of_a, of_b = list(range(a.ndim - operator.index(axes), a.ndim)), list(range(operator.index(axes)))
    of_a, of_b = normalize_axis_tuple(of_a, a.ndim), normalize_axis_tuple(of_b, b.ndim)
    if [a.shape[i] for i in of_a] != [b.shape[i] for i in of_b]:
        raise ValueError("shape-mismatch for sum")
    rest_a = tuple(i for i in range(a.ndim) if i not in of_a)
    rest_b = tuple(i for i in range(b.ndim) if i not in of_b)
    n = int(np.prod([a.shape[i] for i in of_a], dtype=int))
    rows = a.transpose(rest_a + of_a).reshape(int(np.prod([a.shape[i] for i in rest_a], dtype=int)), n)
    columns = b.transpose(of_b + rest_b).reshape(n, int(np.prod([b.shape[i] for i in rest_b], dtype=int)))
    return np.dot(rows, columns).reshape([a.shape[i] for i in rest_a] + [b.shape[i] for i in rest_b])


# Choosing and joining


@_as(np.where)
def _where(trace: Trace, condition: Any, *branches: Any) -> Any:
    if not branches:
        trace.refuse("np.where(mask): its shape depends on values", "give both branches, np.where(mask, a, b)")
    value = np.where(*map(values_of, (condition, *branches)))
    return trace.record("where", (condition, *branches), {}, value)


@_as(np.concatenate)
def _concatenate(trace: Trace, arrays: Any, axis: Any = 0, **options: Any) -> Any:
    arrays = tuple(arrays)
    if options:
        return NotImplemented
    if axis is None:
        arrays, axis = tuple(_tracer(trace, x).reshape(-1) for x in arrays), 0
    arrays = tuple(x if isinstance(x, Tracer) else np.asarray(x) for x in arrays)
    value = np.concatenate([values_of(x) for x in arrays], axis)
    return trace.record("concatenate", arrays, {"axis": normalize_axis_index(axis, value.ndim)}, value)


@_as(np.stack)
def _stack(trace: Trace, arrays: Any, axis: int = 0, **options: Any) -> Any:
    if options:
        return NotImplemented
    arrays = [_tracer(trace, x) for x in arrays]
    axis = normalize_axis_index(axis, arrays[0].ndim + 1)
    return np.concatenate([np.expand_dims(x, axis) for x in arrays], axis)


@_as(np.take)
def _take(trace: Trace, x: Any, index: Any, axis: Any = None, **options: Any) -> Any:
    if options:
        return NotImplemented
    x = _tracer(trace, x)
    x, axis = (x.reshape(-1), 0) if axis is None else (x, normalize_axis_index(axis, x.ndim))
    return trace.record("take", (x, index), {"axis": axis}, np.take(x.value, values_of(index), axis))


@_as(np.take_along_axis)
def _take_along_axis(trace: Trace, x: Any, index: Any, axis: Any = -1) -> Any:
    if axis is None:
        return NotImplemented
    value = np.take_along_axis(values_of(x), values_of(index), axis)
    return trace.record("take_along_axis", (x, index), {"axis": axis % value.ndim}, value)


@_as(np.put_along_axis)
def _put_along_axis(trace: Trace, x: Any, index: Any, values: Any, axis: Any) -> None:
    if not isinstance(x, Tracer):
        trace.refuse("np.put_along_axis writes traced values into a NumPy array", "make it by np.zeros_like(x)")
    at = list(np.ix_(*[np.arange(n) for n in np.shape(values_of(index))]))
    at[axis] = index
    x[tuple(at)] = values


@_as(np.sort)
def _sort(trace: Trace, x: Any, axis: Any = -1, kind: Any = None, **options: Any) -> Any:
    return _sorted(trace, "sort", np.sort, x, axis, kind, options)


@_as(np.argsort)
def _argsort(trace: Trace, x: Any, axis: Any = -1, kind: Any = None, **options: Any) -> Any:
    return _sorted(trace, "argsort", np.argsort, x, axis, kind, options)


def _sorted(trace: Trace, op: str, function: Any, x: Any, axis: Any, kind: Any, options: dict[str, Any]) -> Any:
    if options:
        return NotImplemented
    x, axis = (x.reshape(-1), 0) if axis is None else (x, normalize_axis_index(axis, x.ndim))
    return trace.record(op, (x,), {"axis": axis, "kind": kind}, function(x.value, axis, kind))
