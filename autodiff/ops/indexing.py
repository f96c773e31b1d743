"""Indexing: elements picked out of a tensor by any index NumPy takes, and tensors made by writing into a copy.

Order: what an index is, picking (`getitem`) and its transpose (`scatter_add`), picking by position (`take` and its
family), functional updates (``t.at[i].set(v)`` …), counts. Uses elementwise operations only.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backward import unbroadcast
from ..opaque import Opaque
from ..primitive import NUMBERS, Sample, as_tensor, constant, declare, internal, polymorphic, without_gradient
from ..protocols import implements
from ..tensor import NATIVE, Tensor, is_foreign, plain, wrap
from .elementwise import astype, divide, multiply, negative, where
from .guards import checked_axis, common, raw
from .precision import in_single
from .samples import draw

__all__ = [
    "argwhere",
    "bincount",
    "choose",
    "compress",
    "diag_indices_from",
    "digitize",
    "extract",
    "flatnonzero",
    "ix_",
    "piecewise",
    "ravel_multi_index",
    "select",
    "take",
    "take_along_axis",
    "tril_indices_from",
    "triu_indices_from",
    "unravel_index",
]  # fmt: skip

# What an index is

_FIXED = frozenset({int, type(None), type(Ellipsis), bool})
"""Parts of an index that nobody can change later."""

_BASIC = frozenset({int, slice, type(None), type(Ellipsis)})
"""Parts that reach no element twice and make a view."""


def _part(i: Any) -> Any:
    """One part of an index, safe from later changes: arrays are copied, Tensors and sequences become arrays."""
    if type(i) in _FIXED:
        return i
    if type(i) is slice:
        if type(i.start) in _FIXED and type(i.stop) in _FIXED and type(i.step) in _FIXED:
            return i
        return slice(*(operator.index(v) if hasattr(v, "__index__") else v for v in (i.start, i.stop, i.step)))
    if isinstance(i, Tensor):
        i = i._ndarray
    elif not isinstance(i, (np.ndarray, np.generic)) and not is_foreign(i):
        if hasattr(i, "__index__"):
            return operator.index(i)
        sequence = isinstance(i, Sequence)
        i = np.array(plain(i))
        if sequence and i.size == 0:
            i = i.astype(np.intp)  # as NumPy: an empty list picks nothing, though it would make a float array
    if i.dtype.kind in "iu":
        return i.astype(np.intp) if i.ndim or is_foreign(i) else int(i)
    if i.dtype.kind == "b":
        return i.copy() if i.ndim or is_foreign(i) else bool(i)
    raise TypeError(f"only integers, slices, None, Ellipsis, and arrays of integers or booleans can be, not {i!r}")


def _frozen(index: Any) -> Any:
    """An index as it is recorded."""
    if type(index) is tuple:
        return tuple([i if type(i) in _FIXED else _part(i) for i in index])
    return _part(index)


def _is_basic(index: Any) -> bool:
    return type(index) in _BASIC or (type(index) is tuple and all(type(i) in _BASIC for i in index))


def _rows(index: Any, shape: tuple[int, ...]) -> tuple[Any, int, bool]:
    """The axes that arrays and integers of an index pick from, taken together as one: the positions along it, its
    length, and whether these axes are the leading ones with nothing else in the index."""
    parts = index if type(index) is tuple else (index,)
    taken = sum(0 if i is None or i is Ellipsis or type(i) is bool else i.ndim if _is_mask(i) else 1 for i in parts)
    rows: Any = 0
    length, axis, leading = 1, 0, True
    for i in parts:
        if i is None or i is Ellipsis or type(i) in (slice, bool):
            leading = False
            axis += len(shape) - taken if i is Ellipsis else type(i) is slice
            continue
        for along in i.nonzero() if _is_mask(i) else (i,):
            n = shape[axis]
            rows = rows * n + along % n if n else rows * n + along
            length *= n
            axis += 1
    return rows, length, leading


def _is_mask(i: Any) -> bool:
    return isinstance(i, np.ndarray) and bool(i.dtype.kind == "b")


def _unknown(index: Any) -> bool:
    """Whether positions are in arrays of another type than NumPy's."""
    return any(map(is_foreign, index)) if type(index) is tuple else is_foreign(index)


def _known(index: Any) -> Any:
    """An index of the same shape, with zeros for what is unknown."""
    if type(index) is tuple:
        return tuple(map(_known, index))
    return np.zeros(index.shape, index.dtype) if is_foreign(index) else index


def _placed(function: Any, name: str, written: Any = None) -> Any:
    """A function of arrays, an index and shapes; unless the index is basic, positions are worked out in memory."""
    whole = Opaque(function, name, "positions that may repeat", written=written)

    def either(*arrays: Any, index: Any, **shape: Any) -> Any:
        if _is_basic(index) or not (_unknown(index) or any(map(is_foreign, arrays))):
            return function(*arrays, index, **shape)
        return whole(*arrays, index, **shape)

    return either


def _repeats(index: Any, shape: tuple[int, ...]) -> bool:
    """Whether an index reaches some element more than once."""
    if _is_basic(index) or _is_mask(index):
        return False
    rows, length, _ = _rows(index, shape)
    if np.ndim(rows) == 0:
        return False
    seen = np.zeros(length, bool)
    seen[rows] = True
    return bool(np.count_nonzero(seen) != rows.size)


def _positions(index: Any, shape: tuple[int, ...]) -> Any:
    """For each element that an index picks, in order, its position in the flattened array."""
    rows, length, leading = _rows(index, shape)
    if not leading:
        return np.arange(math.prod(shape)).reshape(shape)[index].reshape(-1)
    width = math.prod(shape) // max(length, 1)
    rows = np.reshape(rows, (-1, 1))
    return (rows * width + np.arange(width) if width != 1 else rows).reshape(-1)


def _kept_in_memory(index: Any, shape: tuple[int, ...]) -> Any:
    """Of the values assigned to an index, which are still there afterwards: all but those written over by another."""
    owner = np.empty(shape, np.intp)
    shape = owner[index].shape
    order = np.arange(math.prod(shape)).reshape(shape)
    owner[index] = order
    return owner[index] == order


_kept = Opaque(_kept_in_memory, "kept", "positions that may repeat")


# Picking, and its transpose


@in_single
def _scattered_in_memory(v: Any, index: Any, shape: tuple[int, ...]) -> Any:
    repeats = _repeats(index, shape)
    whole = (math.prod(shape),) if repeats else shape  # flat, it is the fastest way in NumPy
    if type(v) is np.ndarray or not is_foreign(v):
        z = np.zeros(whole, v.dtype)
    else:
        z = np.zeros_like(v, shape=whole, order="C")
    if repeats:
        np.add.at(z, _positions(index, shape), v.reshape(-1))
        return z.reshape(shape)
    z[index] = v
    return z


_INDICES: tuple[tuple[tuple[int, ...], Any], ...] = (
    ((), ()), ((), None), ((4,), 1), ((4,), slice(None, None, -2)), ((2, 3), (slice(1), -1)), ((2, 3), (..., None, 0)),
    ((4,), np.array([0, 2, 0, -1])), ((3, 2), np.array([[0, 2], [2, 1]])), ((3, 2), np.array([True, False, True])),
    ((2, 3), np.array([[True, False, True], [False, True, False]])),
    ((3, 2, 2), (np.array([0, 0]), slice(None), np.array([1, 1]))), ((2, 3), (slice(None), np.array([1, 1, 0]))),
    ((0, 2), slice(None)), ((3,), np.zeros(0, np.intp)),
)  # fmt: skip


@internal
def taken(x: Any, index: Any) -> Any:
    try:
        return x[index]
    except TypeError:
        if is_foreign(x) or not _unknown(index):
            raise
        return taken_by_others(x, index)


taken_by_others = Opaque(lambda x, index: x[index], "getitem", "positions are of another array type")
"""``x[index]`` of NumPy's array x, where positions are in an array of another type."""

picked = declare(
    "getitem", taken,
    [lambda g, y, x, index: scatter_add(g, shape=x.shape, index=index)],
    public=False, jvps="linear", complex=True, formula="{0}[i]", derivatives=["1 at i, else 0"],
    samples=lambda rng: [Sample((draw(rng, shape),), {"index": index}) for shape, index in _INDICES],
)  # fmt: skip
_pick = polymorphic(picked)


@in_single
def _scattered_written(v: Any, index: Any, shape: tuple[int, ...]) -> Any:
    z = np.zeros_like(v, shape=shape, order="C")
    np.add.at(z, index, v)
    return z


_scattered_anywhere = _placed(_scattered_in_memory, "scatter_add", _scattered_written)


def _scattered(v: Any, index: Any, shape: tuple[int, ...]) -> Any:
    if type(v) is np.ndarray and not _unknown(index):  # the way that matters most is the shortest
        return _scattered_in_memory(v, index, shape)
    return _scattered_anywhere(v, index=index, shape=shape)


scatter_add: Any = polymorphic(declare(
    "scatter_add", _scattered, [lambda g, y, v, shape, index: _pick(g, index=index)],
    jvps="linear", complex=True, formula="zeros, {0} added at i", derivatives=["its element at i"],
    samples=lambda rng: [Sample((draw(rng, np.empty(shape)[index].shape),), {"shape": shape, "index": index})
                         for shape, index in _INDICES],
))  # fmt: skip


@internal
def getitem(x: Any, index: Any) -> Tensor:
    """``x[index]``, with every index NumPy takes, Tensors of integers or booleans included.

    Args:
        x: a Tensor or array.
        index: integers, slices, None, Ellipsis, integer and boolean arrays, Tensors, ranges or other sequences, or a
            tuple of those.

    Raises:
        IndexError: the index is out of range, has too many parts, or is neither integer nor boolean.

    >>> t = Tensor([10.0, 20.0, 30.0])
    >>> t[[0, 0, -1]]
    Tensor([10., 10., 30.])
    """
    kind = type(index)
    if kind is not int:
        try:
            index = _frozen(index)
        except (ValueError, TypeError) as error:
            raise IndexError(f"getitem(shape {np.shape(plain(x))}): not an index: {error}") from None
    return picked(as_tensor(x, "getitem"), index=index)


# Picking by position along an axis


def _as_integers(indices: Any) -> Any:
    i = plain(indices)
    return i if is_foreign(i) else np.asarray(i)


def _integers(name: str, indices: Any) -> Any:
    i = _as_integers(indices)
    if i.dtype.kind not in "iub" and i.size:
        raise TypeError(f"{name}: indices must be integers, not {i.dtype}")
    return i.astype(np.intp)


@implements(np.take)
def take(a: Any, indices: Any, axis: int | None = None, *, mode: str = "raise") -> Tensor:
    """The elements (or, with an axis, the slices) at integer positions, as `numpy.take`.

    Args:
        a: a Tensor or array.
        indices: integers of any shape, which takes the place of `axis` in the result's shape.
        axis: where to take; of the flattened tensor by default.
        mode: out of range is an error ("raise"), counted on from the start ("wrap") or moved to the end ("clip").

    Raises:
        IndexError: a position is out of range. TypeError: `indices` are not integers. ValueError: another mode.

    >>> take([[1.0, 2.0], [3.0, 4.0]], [1, 1], axis=1)
    Tensor([[2., 2.],
            [4., 4.]])
    """
    x, i = as_tensor(a, "take"), _integers("take", indices)
    if axis is None:
        x, axis = x.reshape(-1), 0
    axis = checked_axis("take", axis, x.shape)
    n = x.shape[axis]
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"take: mode is 'raise', 'wrap' or 'clip', not {mode!r}")
    if i.size and (n == 0 or (mode == "raise" and not common((-n <= i.min()) & (i.max() < n)))):
        raise IndexError(
            f"take(shape {x.shape}, axis={axis}): a position among {i.min()} … {i.max()} is outside its length {n}"
        )
    if mode != "raise" and i.size:
        i = i % n if mode == "wrap" else i.clip(0, n - 1)
    return picked(x, index=(slice(None),) * axis + (i,))


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Tensor:
    """Elements at `indices` along an axis, one set of indices for each line of `arr`, as `numpy.take_along_axis`.

    Args:
        arr: a Tensor or array.
        indices: integers, with as many axes as `arr`; the other axes broadcast against those of `arr`.
        axis: the axis along which to take; None flattens `arr` first.

    Raises:
        ValueError: the numbers of axes differ. IndexError: an index is out of range or shapes do not broadcast.

    >>> take_along_axis([[3.0, 1.0], [2.0, 5.0]], [[1], [0]], axis=1)
    Tensor([[1.],
            [2.]])
    """
    x, i = as_tensor(arr, "take_along_axis"), _as_integers(indices)
    if i.dtype.kind not in "iu":
        raise IndexError(f"take_along_axis: indices must be integers, not {i.dtype}")
    if axis is None:
        x, axis = x.reshape(-1), 0
    if i.ndim != x.ndim:
        raise ValueError(
            f"take_along_axis: indices of shape {i.shape} and arr of shape {x.shape} must have the same number of axes"
        )
    axis = checked_axis("take_along_axis", axis, x.shape)
    index = [np.arange(n).reshape((-1,) + (1,) * (x.ndim - 1 - d)) for d, n in enumerate(x.shape)]
    index[axis] = i.astype(np.intp)
    try:
        np.broadcast_shapes(*(v.shape for v in index))
    except ValueError:
        raise IndexError(
            f"take_along_axis: indices of shape {i.shape} do not broadcast against arr of shape {x.shape} "
            f"outside axis {axis}"
        ) from None
    return picked(x, index=tuple(index))


@implements(np.compress)
def compress(condition: Any, a: Any, axis: int | None = None) -> Tensor:
    """The slices where a 1-d condition holds, as `numpy.compress`."""
    chosen = np.asarray(plain(condition))
    if chosen.ndim != 1:
        raise ValueError(f"compress: condition must have one axis, not shape {chosen.shape}")
    return take(a, chosen.nonzero()[0], axis)


@implements(np.extract)
def extract(condition: Any, arr: Any) -> Tensor:
    """The elements where a condition holds, as `numpy.extract`."""
    return take(arr, np.asarray(plain(condition)).ravel().nonzero()[0])


@implements(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Tensor:
    """For each element the choice of the first condition that holds there, as `numpy.select`."""
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ValueError(f"select: needs as many choices as conditions, not {len(choicelist)} and {len(condlist)}")
    result = default
    for condition, choice in zip(condlist[::-1], choicelist[::-1]):
        if as_tensor(condition, "select").dtype.kind != "b":
            raise TypeError("select: conditions must be boolean arrays, such as t > 0")
        result = where(condition, choice, result)
    return result


@implements(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Tensor:
    """For each element of `a`, an integer, that of the choice it numbers, as `numpy.choose`.

    Args:
        a: integers; `a` and the choices broadcast to one shape.
        choices: a sequence of Tensors or arrays, or one whose slices they are; with gradients to each.
        out: nothing; a result is a new Tensor.
        mode: other numbers are an error ("raise"), counted round ("wrap") or moved to the ends ("clip").

    Raises:
        ValueError: a number for which there is no choice, or shapes that do not broadcast. TypeError: `a` is not of
            integers.

    >>> choose([1, 0, 1], [[1.0, 2.0, 3.0], Tensor([10.0, 20.0, 30.0])])
    Tensor([10.,  2., 30.])
    """
    if out is not None:
        raise TypeError("np.choose: out= is refused on a Tensor; write result = np.choose(...), a new Tensor.")
    i, parts = _integers("choose", a), [as_tensor(c, "choose") for c in choices]
    n = len(parts)
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"choose: mode is 'raise', 'wrap' or 'clip', not {mode!r}")
    if i.size and mode == "raise" and not common((i.min() >= 0) & (i.max() < n)):
        raise ValueError(f"choose: a number among {i.min()} … {i.max()} is not one of the {n} choices")
    try:
        shape = np.broadcast_shapes(i.shape, *(c.shape for c in parts))
    except ValueError:
        met = ", ".join(str(c.shape) for c in parts)
        raise ValueError(f"choose: numbers of shape {i.shape} and choices of shapes {met} do not broadcast") from None
    i = i % n if mode == "wrap" else i.clip(0, n - 1) if mode == "clip" else i
    chosen = np.stack([np.broadcast_to(c, shape) for c in parts])
    return take_along_axis(chosen, np.broadcast_to(i, shape)[None], 0)[0]


@implements(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Tensor:
    """A function given by pieces, each of the elements of `x` where its condition holds, as `numpy.piecewise`.

    Args:
        x: a Tensor or array; the result has its dtype.
        condlist: boolean arrays of x's shape; where several hold, the last one counts.
        funclist: a function of one Tensor, or a number, for each condition, and possibly one more for all that is left
            (0 by default).
        args, kw: given to the functions after their piece.

    Raises:
        ValueError: neither as many functions as conditions nor one more. TypeError: a condition that is not boolean.

    >>> piecewise(Tensor([-2.0, 3.0]), [np.array([True, False])], [np.negative, np.square])
    Tensor([2., 9.])
    """
    x = as_tensor(x, "piecewise")
    conditions: Any = plain(condlist)
    several = isinstance(conditions, (list, tuple)) or np.ndim(conditions)
    first = conditions[0] if several and len(conditions) else conditions
    if np.ndim(first) == 0 and (x.ndim or not isinstance(conditions, (list, tuple))):
        conditions = [conditions]
    masks = [c if is_foreign(c) else np.asarray(c) for c in conditions]
    if any(m.dtype.kind != "b" for m in masks):
        raise TypeError("piecewise: conditions must be boolean arrays, such as t > 0")
    if len(funclist) not in (len(masks), len(masks) + 1):
        raise ValueError(f"piecewise: {len(masks)} conditions take as many functions or one more, not {len(funclist)}")
    if len(funclist) > len(masks):
        masks.append(~functools.reduce(np.logical_or, masks))
    y = wrap(np.zeros_like(x._ndarray))
    for mask, function in zip(masks, funclist):
        if callable(function):
            piece = getitem(x, mask)
            y = at(y)[mask].set(function(piece, *args, **kw)) if piece.size else y
        else:
            y = at(y)[mask].set(function)
    return y


# Functional updates


def _copied(t: Any, v: Any, order: Any) -> Any:
    """A copy of t into which v can be written."""
    if type(t) is np.ndarray and type(v) in NATIVE:
        return np.array(t, order=order)
    return t[...].copy() if is_foreign(t) else np.array(t, order=order, like=v if is_foreign(v) else None)


def _assigned(t: Any, v: Any, index: Any) -> Any:
    if type(t) is not type(v) and is_foreign(t) and is_foreign(v):
        return _assigned_to_others(t, v, index)
    y = _copied(t, v, "K")
    if np.ndim(v) and _repeats(index, y.shape):
        v = np.ascontiguousarray(np.broadcast_to(v, y[index].shape))  # so that `_kept` sees the same order
    y[index] = v
    return y


_assigned_to_others = Opaque(_assigned, "index_set", "values of one array type are written into another's")

assigned = internal(_placed(_assigned, "index_set"))
"""A copy of the array t, in which v stands at an index."""


def _assigned_value(g: Any, y: Any, t: Any, v: Any, index: Any) -> Any:
    g = _pick(g, index=index)
    if _is_basic(index):
        return unbroadcast(g, v.shape)
    if _unknown(index):
        g = np.where(_kept(index, t.shape), g, 0)
    elif _repeats(index, t.shape):
        g = np.where(np.asarray(_kept(index, t.shape), like=raw(g)), g, 0)
    return unbroadcast(g, v.shape)


_index_set = declare(
    "index_set", assigned, [lambda g, y, t, v, index: _set(g, 0, index=index), _assigned_value],
    jvps="linear", complex=True, formula="{0}, with {1} at i",
    derivatives=["0 at i, else 1", "1 at i where it was kept"],
    samples=lambda rng: [*(Sample((draw(rng, shape), draw(rng, np.empty(shape)[index].shape)), {"index": index})
                           for shape, index in _INDICES),
                         Sample((draw(rng, (3, 2)), draw(rng, (2,))), {"index": slice(0, 2)}),
                         Sample((draw(rng, (3,)), draw(rng, ())), {"index": np.array([0, 0, 2])})],
)  # fmt: skip
_set: Any = polymorphic(_index_set)


def _extreme(g: Any, y: Any, t: Any, v: Any, index: Any) -> tuple[Any, Any, Any]:
    """The cotangent shared equally among the candidates that reached the extreme, and where t and v did."""
    top, a, b = (z._ndarray if isinstance(z, Tensor) else z for z in (y, t, v))
    picked = top[index]
    old = (a == top) | (top != top)
    new = np.broadcast_to((b == picked) | (picked != picked), picked.shape)
    ties = old + _scattered(new.astype(top.dtype), index=index, shape=top.shape)
    return g / ties, old, new


def _extreme_old(g: Any, y: Any, t: Any, v: Any, index: Any) -> Any:
    share, old, _ = _extreme(g, y, t, v, index)
    return np.where(old, share, 0)


def _extreme_new(g: Any, y: Any, t: Any, v: Any, index: Any) -> Any:
    share, _, new = _extreme(g, y, t, v, index)
    return unbroadcast(np.where(new, _pick(share, index=index), 0), v.shape)


def _accumulated(ufunc: Any) -> Any:
    def forward(t: Any, v: Any, index: Any) -> Any:
        y = _copied(t, v, "C")
        if _repeats(index, y.shape):  # flat, also because ufunc.at of NumPy 2.4 goes wrong where v has fewer axes
            v = np.broadcast_to(v, y[index].shape)
            ufunc.at(y.reshape(-1), _positions(index, y.shape), v.reshape(-1))
        else:
            y[index] = ufunc(y[index], v)
        return y

    return forward


def _extreme_samples(rng: np.random.Generator) -> list[Sample]:
    return [Sample((draw(rng, shape), draw(rng, np.empty(shape)[index].shape, -1.9, 1.9)), {"index": index}, smooth=2)
            for shape, index in _INDICES]  # fmt: skip


_index_max = declare(
    "index_max", _placed(_accumulated(np.maximum), "index_max"), [_extreme_old, _extreme_new], samples=_extreme_samples,
    formula="{0}, with max({0}, {1}) at i", derivatives=["1 where {0} is kept", "1 where {1} is greater"],
)  # fmt: skip
_index_min = declare(
    "index_min", _placed(_accumulated(np.minimum), "index_min"), [_extreme_old, _extreme_new], samples=_extreme_samples,
    formula="{0}, with min({0}, {1}) at i", derivatives=["1 where {0} is kept", "1 where {1} is less"],
)  # fmt: skip


@internal
class at:
    """``t.at[index]``: the place where a functional update happens; see `_Updates`.

    >>> t = Tensor([1.0, 2.0, 3.0])
    >>> t.at[0].set(5.0)
    Tensor([5., 2., 3.])
    >>> t.at[[1, 1]].add(10.0)
    Tensor([ 1., 22.,  3.])
    """

    __slots__ = ("_tensor",)

    def __init__(self, x: Any) -> None:
        self._tensor = as_tensor(x, "at")

    def __getitem__(self, index: Any) -> _Updates:
        return _Updates(self._tensor, index)

    def __repr__(self) -> str:
        return f"at({self._tensor!r})"


class _Updates:
    """What ``t.at[index]`` can become: new Tensors of t's shape and dtype, with gradients to `t` and to the value.

    A value broadcasts to the shape of ``t[index]``. Where an index repeats, `add`, `subtract`, `multiply`, `divide`,
    `min` and `max` apply every time, as `numpy.add.at` does; `set` keeps one of the values, the last, as NumPy's
    assignment, and only that one has a gradient.

    Raises:
        IndexError: the index does not fit t.
        ValueError: the value does not broadcast to the shape of ``t[index]``.
        TypeError: the value's dtype does not fit t's, a float into integers say.
    """

    __slots__ = ("_index", "_shape", "_tensor")

    def __init__(self, tensor: Tensor, index: Any) -> None:
        self._tensor = tensor
        try:
            self._index = _frozen(index)
            self._shape = np.broadcast_to(np.False_, tensor.shape)[_known(self._index)].shape
        except (IndexError, ValueError, TypeError) as error:
            raise IndexError(f"t.at[{index!r}] of shape {tensor.shape}: {error}") from None

    def __repr__(self) -> str:
        return f"{self._tensor!r}.at[{self._index!r}]"

    def _value(self, v: Any, name: str, whole: bool = False) -> Any:
        """A value fit to be written: of t's dtype, of a shape that broadcasts (or, `whole`, of the indexed shape)."""
        dtype = self._tensor.dtype
        v = constant(v, f"t.at[…].{name}")
        if not np.can_cast(np.result_type(dtype, plain(v)) if type(v) in NUMBERS else v.dtype, dtype, "same_kind"):
            met = f"{v!r}" if type(v) in NUMBERS else v.dtype
            raise TypeError(f"t.at[…].{name}: {met} does not fit a tensor of {dtype}; write t.astype(float).at[…]")
        v = v if isinstance(v, Tensor) else wrap(np.asarray(v, dtype))
        if v.dtype != dtype:
            v = astype(v, dtype)
        extra = v.ndim - len(self._shape)
        if extra > 0 and v.shape[:extra] == (1,) * extra:  # as NumPy's assignment: leading axes of length 1 go
            v = v.reshape(v.shape[extra:])
        try:
            fits = np.broadcast_shapes(v.shape, self._shape) == self._shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                f"t.at[…].{name}: a value of shape {v.shape} does not broadcast to the shape of t[…], {self._shape}"
            )
        return np.broadcast_to(v, self._shape) if whole and v.shape != self._shape else v

    def get(self) -> Tensor:
        """``t[index]``."""
        return picked(self._tensor, index=self._index)

    def set(self, v: Any) -> Tensor:
        """t with `v` in place of ``t[index]``."""
        return _index_set(self._tensor, self._value(v, "set"), index=self._index)

    def add(self, v: Any) -> Tensor:
        """t with `v` added to ``t[index]``: for t = 0, the transpose of indexing."""
        v = self._value(v, "add", whole=True)
        return self._tensor + scatter_add(v, shape=self._tensor.shape, index=self._index)

    def subtract(self, v: Any) -> Tensor:
        """t with `v` subtracted from ``t[index]``."""
        return self.add(negative(self._value(v, "subtract")))

    def multiply(self, v: Any) -> Tensor:
        """t with ``t[index]`` multiplied by `v`."""
        return self._scaled(multiply, v, "multiply")

    def divide(self, v: Any) -> Tensor:
        """t with ``t[index]`` divided by `v`."""
        if self._tensor.dtype.kind not in "fc":
            raise TypeError(f"t.at[…].divide: a quotient does not fit a tensor of {self._tensor.dtype}")
        return self._scaled(divide, v, "divide")

    def min(self, v: Any) -> Tensor:
        """t with the smaller of ``t[index]`` and `v`; equal ones share the gradient."""
        return _index_min(self._tensor, self._value(v, "min"), index=self._index)

    def max(self, v: Any) -> Tensor:
        """t with the greater of ``t[index]`` and `v`; equal ones share the gradient."""
        return _index_max(self._tensor, self._value(v, "max"), index=self._index)

    def _scaled(self, operation: Any, v: Any, name: str) -> Tensor:
        t, index = self._tensor, self._index
        v = self._value(v, name)
        if _repeats(index, t.shape):
            index, v = _multiplied(self._value(v, name, whole=True), _positions(index, t.shape), t.shape)
        scaled = operation(picked(t, index=index), v)
        return _index_set(t, scaled, index=index)


def _multiplied(v: Tensor, positions: Any, shape: tuple[int, ...]) -> tuple[Any, Tensor]:
    """The product of all values that meet at one position, and the index of those positions, now without repetition.
    Neighbours are multiplied in pairs until one is left of each: no division, so that zeros need no special case."""
    order = np.argsort(positions, kind="stable")
    v, positions = picked(v.reshape(-1), index=order), positions[order]
    while True:
        n = np.arange(len(positions))
        first = np.concatenate([[True], positions[1:] != positions[:-1]])
        if first.all():
            return np.unravel_index(positions, shape), v
        left = np.flatnonzero((n - np.maximum.accumulate(np.where(first, n, 0))) % 2 == 0)
        right = np.minimum(left + 1, n[-1])
        paired = (right > left) & ~first[right]
        v = multiply(picked(v, index=left), where(paired, picked(v, index=right), 1))
        positions = positions[left]


# Counts and positions: no derivative, but for the weights of bincount


@implements(np.bincount)
def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    """How often each integer from 0 occurs, or the sum of its weights (with gradient), as `numpy.bincount`."""
    i = plain(x)
    if weights is None:
        return wrap(np.bincount(i, minlength=minlength))
    w, i = as_tensor(weights, "bincount"), i if is_foreign(i) else np.asarray(i)
    if i.ndim != 1 or w.shape != i.shape:
        raise ValueError(
            f"bincount: x and weights must have one axis of equal length, not shapes {i.shape} and {w.shape}"
        )
    if w.dtype.kind == "c":
        raise TypeError(f"bincount: weights are real numbers, not {w.dtype}; count those of w.real and of w.imag")
    length = np.bincount(i, minlength=minlength).shape[-1]
    w = w if w.dtype == np.float64 else astype(w, np.float64)
    return scatter_add(w, shape=(length,), index=i.astype(np.intp))


flatnonzero = without_gradient("flatnonzero", np.flatnonzero, np.flatnonzero)
argwhere = without_gradient("argwhere", np.argwhere, np.argwhere)
digitize = without_gradient("digitize", np.digitize, np.digitize)
ix_ = without_gradient("ix_", np.ix_, np.ix_)
unravel_index = without_gradient("unravel_index", np.unravel_index, np.unravel_index)
ravel_multi_index = without_gradient("ravel_multi_index", np.ravel_multi_index, np.ravel_multi_index)
tril_indices_from = without_gradient("tril_indices_from", np.tril_indices_from, np.tril_indices_from)
triu_indices_from = without_gradient("triu_indices_from", np.triu_indices_from, np.triu_indices_from)
diag_indices_from = without_gradient("diag_indices_from", np.diag_indices_from, np.diag_indices_from)
