"""Shape: the same elements in another arrangement.

Order: broadcasting, reshaping, reordering axes, joining and splitting, repeating, flipping, padding, diagonals,
sorting, questions without a derivative. Their derivatives move the cotangent's elements back.
"""

from __future__ import annotations

import math
import operator
from itertools import accumulate, pairwise
from typing import Any, cast

import numpy as np

from ..backward import unbroadcast
from ..primitive import Sample, as_tensor, declare, internal, without_gradient
from ..protocols import implements, optioned
from ..tensor import Tensor, is_foreign, plain
from .elementwise import astype, not_equal, subtract
from .guards import checked_axes, checked_axis
from .indexing import picked, scatter_add, take
from .samples import Samples, draw

__all__ = [
    "append",
    "array_split",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "block",
    "broadcast_arrays",
    "broadcast_to",
    "column_stack",
    "concat",
    "concatenate",
    "delete",
    "diag",
    "diagflat",
    "diagonal",
    "diff",
    "dsplit",
    "dstack",
    "ediff1d",
    "expand_dims",
    "flip",
    "fliplr",
    "flipud",
    "hsplit",
    "hstack",
    "insert",
    "matrix_transpose",
    "meshgrid",
    "moveaxis",
    "ndim",
    "pad",
    "partition",
    "permute_dims",
    "ravel",
    "repeat",
    "reshape",
    "resize",
    "roll",
    "rollaxis",
    "rot90",
    "shape",
    "size",
    "sliding_window_view",
    "sort",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "tile",
    "trace",
    "transpose",
    "tril",
    "trim_zeros",
    "triu",
    "unstack",
    "vsplit",
    "vstack",
]  # fmt: skip


def _on(*cases: tuple[tuple[int, ...], dict[str, Any]]) -> Samples:
    """One input of each shape, with these options."""
    return lambda rng: [Sample((draw(rng, shape),), options) for shape, options in cases]


# Broadcasting


def _spread(x: Any, shape: tuple[int, ...]) -> Any:
    """`numpy.broadcast_to`, a read-only view, for contiguous arrays in a tenth of its time."""
    if type(x) is not np.ndarray:
        if is_foreign(x):
            return x if x.shape == shape else np.broadcast_to(x, shape)
        x = np.asarray(x)
    if x.shape == shape:
        return x
    if x.size == 1 and x.ndim <= len(shape):
        strides: tuple[int, ...] = (0,) * len(shape)
    else:
        extra = len(shape) - x.ndim
        if not x.flags.forc or (
            x.shape != shape[extra:] and any(n not in (m, 1) for n, m in zip(x.shape, shape[extra:]))
        ):
            return np.broadcast_to(x, shape)
        strides = (0,) * extra + tuple([s if n == m else 0 for n, m, s in zip(x.shape, shape[extra:], x.strides)])
    view = np.ndarray(shape, x.dtype, x, 0, strides)
    view.flags.writeable = False
    return view


_broadcast_to = declare(
    "broadcast_to", _spread, [lambda g, y, x, shape: unbroadcast(g, x.shape)],
    jvps="linear", complex=True, formula="{0}", derivatives=["1"],
    samples=_on(((), {"shape": ()}), ((), {"shape": (2, 3)}), ((3,), {"shape": (2, 3)}), ((2, 1), {"shape": (4, 2, 3)}),
                ((1,), {"shape": (0,)})),
)  # fmt: skip


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any) -> Tensor:
    """`array` repeated along new or length-1 axes to a shape, as `numpy.broadcast_to`."""
    return _broadcast_to(array, shape=_integers("broadcast_to", shape))


def _integers(name: str, values: Any) -> tuple[int, ...]:
    """An integer or integers (lengths, axes, counts) as a tuple; Tensors and NumPy's integers become Python's."""
    try:
        if not isinstance(values, (tuple, list)):
            values = (values,) if np.ndim(values) == 0 else plain(values)
        return tuple([operator.index(n) for n in values])
    except TypeError:
        raise TypeError(f"{name}: takes an integer or a tuple of integers, not {values!r}") from None


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Tensor, ...]:
    """All of them broadcast to their common shape, as `numpy.broadcast_arrays`."""
    tensors = [as_tensor(a, "broadcast_arrays") for a in args]
    try:
        shape = np.broadcast_shapes(*(t.shape for t in tensors))
    except ValueError:
        shapes = ", ".join(str(t.shape) for t in tensors)
        raise ValueError(f"broadcast_arrays: shapes {shapes} do not broadcast together") from None
    return tuple(broadcast_to(t, shape) for t in tensors)


@internal
def spread(g: Any, shape: tuple[int, ...]) -> Any:
    """A cotangent broadcast to a shape it fits, as a view where it is an array."""
    return _broadcast_to(g, shape=shape) if isinstance(g, Tensor) else _spread(g, shape)


# Reshaping

_reshape = declare(
    "reshape", lambda x, shape, order="C": x.reshape(shape, order=order),
    [lambda g, y, x, shape, order="C": g.reshape(x.shape, order=order)],
    jvps="linear", complex=True, formula="{0}", derivatives=["1"],
    samples=_on(((2, 3), {"shape": (6,)}), ((2, 3), {"shape": (3, -1)}), ((), {"shape": (1, 1)}),
                ((0, 2), {"shape": (0,)}), ((2, 3), {"shape": (3, 2), "order": "F"})),
)  # fmt: skip


@implements(np.reshape)
def reshape(a: Any, shape: Any, order: str = "C", *, copy: bool | None = None) -> Tensor:
    """The same elements in another shape, as `numpy.reshape`.

    Args:
        a: a Tensor or array.
        shape: an integer or integers; one of them may be -1, which stands for what is left.
        order: "C" (last axis fastest), "F" (first axis fastest) or "A" ("F" if the elements lie so in memory).
        copy: accepted for NumPy's sake; a result is never written, so copying changes nothing.

    Raises:
        ValueError: the number of elements differs.

    >>> reshape([1.0, 2.0, 3.0, 4.0], (2, -1))
    Tensor([[1., 2.],
            [3., 4.]])
    """
    shape = (shape,) if type(shape) is int else _integers("reshape", shape)
    if order == "C":
        return _reshape(as_tensor(a, "reshape"), shape=shape)
    a = as_tensor(a, "reshape")
    return _reshape(a, shape=shape, order=_order("reshape", a, order))


def _order(name: str, a: Tensor, order: str) -> str:
    """The order "C" or "F" that is meant, so that the cotangent, which lies otherwise in memory, is treated alike."""
    if order in ("C", "F"):
        return order
    flags = getattr(a._ndarray, "flags", None)
    if order in ("A", "K") and flags is not None and (flags.c_contiguous or flags.f_contiguous or order == "A"):
        return "F" if flags.f_contiguous and not flags.c_contiguous else "C"
    raise ValueError(f"{name}: order is 'C', 'F' or 'A', not {order!r} (for an array that is not contiguous)")


@implements(np.ravel)
def ravel(a: Any, order: str = "C") -> Tensor:
    """All elements along one axis, as `numpy.ravel`."""
    if order == "C":
        return _reshape(as_tensor(a, "ravel"), shape=(-1,))
    a = as_tensor(a, "ravel")
    return _reshape(a, shape=(-1,), order=_order("ravel", a, order))


@implements(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Tensor:
    """Without the axes of length 1 (or only those named), as `numpy.squeeze`.

    Raises:
        ValueError: an axis that is named has another length than 1.
    """
    a = as_tensor(a, "squeeze")
    if axis is None:
        return _reshape(a, shape=tuple([n for n in a.shape if n != 1]))
    gone = checked_axes("squeeze", axis, a.shape)
    if any(a.shape[i] != 1 for i in gone):
        raise ValueError(f"squeeze(shape {a.shape}, axis={axis}): only axes of length 1 can be taken away")
    return _reshape(a, shape=tuple([n for i, n in enumerate(a.shape) if i not in gone]))


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Tensor:
    """With new axes of length 1 at these places of the result, as `numpy.expand_dims`."""
    a = as_tensor(a, "expand_dims")
    n = a.ndim + (len(axis) if isinstance(axis, (tuple, list)) else 1)
    try:
        new, old = checked_axes("expand_dims", axis, (1,) * n), iter(a.shape)
    except np.exceptions.AxisError:
        raise np.exceptions.AxisError(
            f"expand_dims(shape {a.shape}, axis={axis}): the result has {n} axes, numbered {-n} … {n - 1}"
        ) from None
    return _reshape(a, shape=tuple([1 if i in new else next(old) for i in range(n)]))


def _at_least(name: str, arrays: tuple[Any, ...], shaped: Any) -> Any:
    tensors = tuple([reshape(t, shaped(t.shape)) for t in (as_tensor(a, name) for a in arrays)])
    return tensors[0] if len(tensors) == 1 else tensors


@implements(np.atleast_1d)
def atleast_1d(*arys: Any) -> Any:
    """Each with at least one axis, as `numpy.atleast_1d`; a tuple if there are several."""
    return _at_least("atleast_1d", arys, lambda s: s or (1,))


@implements(np.atleast_2d)
def atleast_2d(*arys: Any) -> Any:
    """Each with at least two axes, new ones in front, as `numpy.atleast_2d`; a tuple if there are several."""
    return _at_least("atleast_2d", arys, lambda s: (1,) * (2 - len(s)) + s)


@implements(np.atleast_3d)
def atleast_3d(*arys: Any) -> Any:
    """Each with at least three axes, as `numpy.atleast_3d`: (n,) becomes (1, n, 1) and (m, n) becomes (m, n, 1)."""
    return _at_least("atleast_3d", arys, lambda s: (1, *(s or (1,)), 1) if len(s) < 2 else s + (1,) * (3 - len(s)))


# Reordering axes


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes one."""
    inverse = [0] * len(axes)
    for i, a in enumerate(axes):
        inverse[a] = i
    return tuple(inverse)


_transpose = declare(
    "transpose", lambda x, axes=None: x.T if axes is None else x.transpose(axes),
    [lambda g, y, x, axes=None: g.T if axes is None else g.transpose(_inverse(axes))],
    jvps="linear", complex=True, formula="{0}ᵀ", derivatives=["1"],
    samples=_on(((2, 3), {}), ((2, 3, 2), {"axes": (1, -1, 0)}), ((), {}), ((3,), {})),
)  # fmt: skip

_swapaxes = declare(
    "swapaxes", lambda x, axis1, axis2: x.swapaxes(axis1, axis2),
    [lambda g, y, x, axis1, axis2: g.swapaxes(axis1, axis2)], jvps="linear", complex=True, formula="{0}ᵀ",
    derivatives=["1"],
    samples=_on(((2, 3, 2), {"axis1": 0, "axis2": -1}), ((3,), {"axis1": 0, "axis2": 0})),
)  # fmt: skip


@implements(np.transpose)
def transpose(a: Any, axes: Any = None) -> Tensor:
    """The axes in reverse order, or in the order given, as `numpy.transpose`."""
    a = as_tensor(a, "transpose")
    return _transpose(a) if axes is None else _transpose(a, axes=_integers("transpose", axes))


permute_dims = transpose


@implements(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged, as `numpy.swapaxes`."""
    return _swapaxes(as_tensor(a, "swapaxes"), axis1=axis1, axis2=axis2)


@implements(np.matrix_transpose)
def matrix_transpose(x: Any, /) -> Tensor:
    """The last two axes exchanged, as `numpy.matrix_transpose`."""
    x = as_tensor(x, "matrix_transpose")
    if x.ndim < 2:
        raise ValueError(f"matrix_transpose: needs at least two axes, not shape {x.shape}")
    return _swapaxes(x, axis1=-1, axis2=-2)


@implements(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Tensor:
    """Axes moved to other places, the rest in their order, as `numpy.moveaxis`."""
    a = as_tensor(a, "moveaxis")
    here, there = checked_axes("moveaxis", source, a.shape), checked_axes("moveaxis", destination, a.shape)
    if len(here) != len(there):
        raise ValueError(f"moveaxis: source {source} and destination {destination} must be equally many")
    order = [i for i in range(a.ndim) if i not in here]
    for to, i in sorted(zip(there, here)):
        order.insert(to, i)
    return _transpose(a, axes=tuple(order))


@implements(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Tensor:
    """An axis moved to stand before another, as `numpy.rollaxis`; prefer `moveaxis`."""
    a = as_tensor(a, "rollaxis")
    axis = checked_axis("rollaxis", axis, a.shape)
    start = checked_axis("rollaxis", start, (*a.shape, 1)) if start >= 0 else start + a.ndim
    if start < 0:
        raise np.exceptions.AxisError(f"rollaxis(shape {a.shape}): start {start - a.ndim} is out of bounds")
    return moveaxis(a, axis, start - 1 if axis < start else start)


# Joining


def _joined_parts(g: Any, y: Any, *arrays: Any, axis: int) -> list[Any]:
    before, start, parts = (slice(None),) * (axis % g.ndim), 0, []
    for a in arrays:
        start, end = start + a.shape[axis], start
        parts.append(g[(*before, slice(end, start))])
    return parts


def _stacked_parts(g: Any, y: Any, *arrays: Any, axis: int) -> list[Any]:
    before = (slice(None),) * (axis % g.ndim)
    return [g[(*before, i)] for i in range(len(arrays))]


_concatenate = declare(
    "concatenate", lambda *arrays, axis: np.concatenate(arrays, axis), joint=_joined_parts,
    jvps="linear", complex=True, formula="[{0}, {1}, …]", derivatives=["its part", "its part"],
    samples=lambda rng: [Sample((draw(rng, (2, 3)), draw(rng, (1, 3))), {"axis": 0}),
                         Sample((draw(rng, (2, 1)), draw(rng, (2, 0)), draw(rng, (2, 2))), {"axis": -1}),
                         Sample((draw(rng, (3,)),), {"axis": 0})],
)  # fmt: skip

_stack = declare(
    "stack", lambda *arrays, axis: np.stack(arrays, axis),
    joint=_stacked_parts,
    jvps="linear", complex=True, formula="[{0}, {1}, …]", derivatives=["its part", "its part"],
    samples=lambda rng: [Sample((draw(rng, ()), draw(rng, ())), {"axis": 0}),
                         Sample((draw(rng, (2, 3)), draw(rng, (2, 3))), {"axis": -1}),
                         Sample((draw(rng, (2,)),), {"axis": 1})],
)  # fmt: skip


def _several(name: str, arrays: Any) -> list[Any]:
    """What a function of a sequence of arrays was given; a Tensor or array counts as the sequence of its slices."""
    if isinstance(arrays, (Tensor, np.ndarray)) and arrays.ndim == 0:
        raise TypeError(f"{name}: takes a sequence of tensors, not one of shape ()")
    if not hasattr(arrays, "__iter__"):
        raise TypeError(f"{name}: takes a sequence of tensors, not {type(arrays).__name__}")
    tensors = list(arrays)
    if not tensors:
        raise ValueError(f"{name}: needs at least one tensor")
    return tensors


def _cast(name: str, y: Tensor, dtype: Any, casting: str) -> Tensor:
    if dtype is None or y.dtype == dtype:
        return y
    if not np.can_cast(y.dtype, dtype, casting):  # type: ignore[arg-type]
        raise TypeError(
            f"{name}: {y.dtype} becomes no {np.dtype(dtype)} with casting={casting!r}; pass casting='unsafe'"
        )
    return astype(y, dtype)


@implements(np.concatenate)
def concatenate(arrays: Any, axis: int | None = 0, *, dtype: Any = None, casting: str = "same_kind") -> Tensor:
    """Tensors joined along an axis that they have, as `numpy.concatenate`.

    Args:
        arrays: Tensors or arrays whose shapes differ along `axis` at most.
        axis: where to join; None joins the flattened ones.
        dtype: the result's dtype.
        casting: which changes of dtype are allowed, as NumPy's.

    Raises:
        ValueError: shapes that do not fit, or nothing to join. AxisError: no such axis. TypeError: a dtype that
            `casting` does not allow.

    >>> concatenate([[1.0, 2.0], Tensor([3.0])])
    Tensor([1., 2., 3.])
    """
    arrays = _several("concatenate", arrays)
    if axis is None:
        arrays, axis = [ravel(a) for a in arrays], 0
    return _cast("concatenate", _concatenate(*arrays, axis=axis), dtype, casting)


concat = concatenate


@implements(np.stack)
def stack(arrays: Any, axis: int = 0, *, dtype: Any = None, casting: str = "same_kind") -> Tensor:
    """Tensors of one shape joined along a new axis, as `numpy.stack`.

    >>> stack([Tensor(1.0), 2.0])
    Tensor([1., 2.])
    """
    return _cast("stack", _stack(*_several("stack", arrays), axis=axis), dtype, casting)


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Tensor:
    """Joined along the first of at least two axes, as `numpy.vstack`."""
    return concatenate([atleast_2d(a) for a in _several("vstack", tup)], 0, dtype=dtype, casting=casting)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Tensor:
    """Joined along the second axis, the first for tensors of one axis, as `numpy.hstack`."""
    arrays = [atleast_1d(a) for a in _several("hstack", tup)]
    return concatenate(arrays, 0 if arrays[0].ndim == 1 else 1, dtype=dtype, casting=casting)


@implements(np.dstack)
def dstack(tup: Any) -> Tensor:
    """Joined along the third axis, as `numpy.dstack`."""
    return concatenate([atleast_3d(a) for a in _several("dstack", tup)], 2)


@implements(np.column_stack)
def column_stack(tup: Any) -> Tensor:
    """Tensors of one axis as columns of a matrix, beside matrices, as `numpy.column_stack`."""
    columns = (as_tensor(a, "column_stack") for a in _several("column_stack", tup))
    return concatenate([reshape(c, (-1, 1)) if c.ndim < 2 else c for c in columns], 1)


@implements(np.append)
def append(arr: Any, values: Any, axis: int | None = None) -> Tensor:
    """`values` joined to the end of `arr`, as `numpy.append`; both flattened if no axis is given."""
    return concatenate([arr, values], axis)


@implements(np.block)
def block(arrays: Any) -> Tensor:
    """A tensor put together from nested lists of blocks, as `numpy.block`: the innermost lists are joined along the
    last axis, the lists around them along the axis before, and so on.

    >>> block([[Tensor([[1.0]]), np.zeros((1, 2))], [np.zeros((1, 3))]]).shape
    (2, 3)
    """
    depth, level = 0, arrays
    while isinstance(level, list):
        if not level:
            raise ValueError("block: a list of blocks is empty")
        depth, level = depth + 1, level[0]

    def leaves(part: Any, left: int) -> Any:
        if isinstance(part, list) != (left > 0):
            raise ValueError(f"block: lists must be nested equally deep everywhere, here {depth} deep")
        return [leaf for p in part for leaf in leaves(p, left - 1)] if left else [as_tensor(part, "block")]

    n = max(depth, *(t.ndim for t in leaves(arrays, depth)), 1)

    def join(part: Any, left: int) -> Tensor:
        if left:
            return concatenate([join(p, left - 1) for p in part], -left)
        t = as_tensor(part, "block")
        return reshape(t, (1,) * (n - t.ndim) + t.shape)

    y = join(arrays, depth)
    return y if depth or np.ndim(plain(arrays)) else reshape(y, ())


# Splitting


@implements(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """Split along an axis before the given places, or into that many parts of nearly equal length, as
    `numpy.array_split`."""
    return _split("array_split", ary, indices_or_sections, axis, equal=False)


@implements(np.split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """Split along an axis before the given places, or into that many equal parts, as `numpy.split`.

    Raises:
        ValueError: the length is not a multiple of the number of parts.

    >>> split(Tensor([1.0, 2.0, 3.0, 4.0]), 2)
    [Tensor([1., 2.]), Tensor([3., 4.])]
    """
    return _split("split", ary, indices_or_sections, axis, equal=True)


def _split(name: str, ary: Any, places: Any, axis: int, equal: bool) -> list[Tensor]:
    x = as_tensor(ary, name)
    axis = checked_axis(name, axis, x.shape)
    n = x.shape[axis]
    if np.ndim(places) == 0:
        (parts,) = _integers(name, places)
        if parts < 1:
            raise ValueError(f"{name}: the number of parts must be positive, not {parts}")
        if equal and n % parts:
            raise ValueError(
                f"{name}(shape {x.shape}, axis={axis}): length {n} is no multiple of {parts}; array_split allows that"
            )
        each, more = divmod(n, parts)
        bounds = list(accumulate([each + 1] * more + [each] * (parts - more), initial=0))
    else:
        bounds = [0, *_integers(name, places), n]
    before = (slice(None),) * axis
    return [picked(x, index=(*before, slice(a, b))) for a, b in pairwise(bounds)]


@implements(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> list[Tensor]:
    """`split` along the second axis, the first for tensors of one axis, as `numpy.hsplit`."""
    return _split("hsplit", ary, indices_or_sections, 1 if _ndim_of("hsplit", ary, 1) > 1 else 0, equal=True)


@implements(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> list[Tensor]:
    """`split` along the first of at least two axes, as `numpy.vsplit`."""
    _ndim_of("vsplit", ary, 2)
    return _split("vsplit", ary, indices_or_sections, 0, equal=True)


@implements(np.dsplit)
def dsplit(ary: Any, indices_or_sections: Any) -> list[Tensor]:
    """`split` along the third axis, as `numpy.dsplit`."""
    _ndim_of("dsplit", ary, 3)
    return _split("dsplit", ary, indices_or_sections, 2, equal=True)


def _ndim_of(name: str, a: Any, least: int) -> int:
    dims = np.ndim(plain(a))
    if dims < least:
        raise ValueError(f"{name}: needs at least {least} axes, not shape {np.shape(plain(a))}")
    return dims


@optioned
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis, which they lose, as `numpy.unstack`."""
    x = as_tensor(x, "unstack")
    if not x.ndim:
        raise ValueError("unstack: a single number, of shape (), has no axis to take slices along")
    axis = checked_axis("unstack", axis, x.shape)
    return tuple([picked(x, index=(slice(None),) * axis + (i,)) for i in range(x.shape[axis])])


if hasattr(np, "unstack"):  # NumPy 2.1
    implements(np.unstack)(unstack)


@implements(np.delete)
def delete(arr: Any, obj: Any, axis: int | None = None) -> Tensor:
    """Without the slices at some places along an axis (of the flattened tensor by default), as `numpy.delete`."""
    x = as_tensor(arr, "delete")
    if axis is None:
        x, axis = ravel(x), 0
    axis = checked_axis("delete", axis, x.shape)
    try:
        left = np.delete(np.arange(x.shape[axis]), plain(obj))
    except (IndexError, ValueError) as error:
        raise type(error)(f"delete(shape {x.shape}, axis={axis}): {error}") from None
    return take(x, left, axis)


@implements(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Tensor:
    """With slices put in before some places along an axis (of the flattened tensor by default), as `numpy.insert`.

    Args:
        arr: a Tensor or array.
        obj: a place, several, a slice, or a mask of places.
        values: what is put in, broadcast to the shape of the slices; in arr's dtype, with gradient.
        axis: where.

    Raises:
        IndexError: a place out of range. ValueError: values that do not fit, or not as many as places.

    >>> insert([1.0, 2.0, 3.0], 1, [10.0, 20.0])
    Tensor([ 1., 10., 20.,  2.,  3.])
    """
    x, new = as_tensor(arr, "insert"), as_tensor(values, "insert")
    if axis is None:
        x, axis = ravel(x), 0
    axis = checked_axis("insert", axis, x.shape)
    n, places = x.shape[axis], plain(obj)
    new = new if new.dtype == x.dtype else astype(new, x.dtype)
    single = not isinstance(places, slice) and np.ndim(places) == 0
    if single and new.ndim:
        new = reshape(new, (1,) * (x.ndim - new.ndim) + new.shape)  # one place takes all that there is along the axis
        new = moveaxis(new, 0, axis)
    met = f"insert(shape {x.shape}, axis={axis}): "
    try:
        count = new.shape[axis] if single and new.ndim else len(np.insert(np.arange(n), places, 0)) - n
        new = broadcast_to(new, (*x.shape[:axis], count, *x.shape[axis + 1 :]))
        order = np.insert(np.arange(n), places, np.arange(n, n + count))
    except (IndexError, ValueError) as error:
        raise type(error)(f"{met}values of shape {np.shape(plain(values))} before {obj!r}: {error}") from None
    return take(concatenate([x, new], axis), order, axis)


@implements(np.trim_zeros)
def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Tensor:
    """Without the zeros at the ends of each axis (or of some), at the front ("f") and the back ("b"), as
    `numpy.trim_zeros`."""
    x = as_tensor(filt, "trim_zeros")
    if not trim or set(trim.lower()) - set("fb"):
        raise ValueError(f"trim_zeros: trim names the front, 'f', the back, 'b', or both, not {trim!r}")
    axes = range(x.ndim) if axis is None else checked_axes("trim_zeros", axis, x.shape)
    index: list[Any] = [slice(None)] * x.ndim
    for i, places in enumerate(np.nonzero(plain(x))):
        if i in axes:
            first, last = (int(places.min()), int(places.max()) + 1) if places.size else (x.shape[i], x.shape[i])
            index[i] = slice(first if "f" in trim.lower() else None, last if "b" in trim.lower() else None)
            index[i] = slice(0, 0) if not places.size else index[i]
    return picked(x, index=tuple(index))


# Repeating


@implements(np.tile)
def tile(A: Any, reps: Any) -> Tensor:
    """The tensor repeated as a whole along each axis, as `numpy.tile`.

    >>> tile([1.0, 2.0], 2)
    Tensor([1., 2., 1., 2.])
    """
    a, times = as_tensor(A, "tile"), _integers("tile", reps)
    if any(r < 0 for r in times):
        raise ValueError(f"tile: repetitions must not be negative, not {reps}")
    n = max(a.ndim, len(times))
    lengths, times = (1,) * (n - a.ndim) + a.shape, (1,) * (n - len(times)) + times
    apart = reshape(a, tuple([m for length in lengths for m in (1, length)]))
    repeated = _broadcast_to(apart, shape=tuple([m for pair in zip(times, lengths) for m in pair]))
    return reshape(repeated, tuple([r * length for r, length in zip(times, lengths)]))


@implements(np.repeat)
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Tensor:
    """Each element (or slice along an axis) repeated, as `numpy.repeat`.

    Args:
        a: a Tensor or array.
        repeats: an integer, or one for each element along the axis.
        axis: where to repeat; the flattened tensor by default.

    >>> repeat([1.0, 2.0], [1, 2])
    Tensor([1., 2., 2.])
    """
    x, counts = as_tensor(a, "repeat"), np.asarray(plain(repeats))
    if axis is None:
        x, axis = ravel(x), 0
    axis = checked_axis("repeat", axis, x.shape)
    if counts.dtype.kind not in "iub":
        raise TypeError(f"repeat: repeats must be integers, not {counts.dtype}")
    if counts.size and counts.min() < 0:
        raise ValueError(f"repeat: repeats must not be negative, not {repeats}")
    n = x.shape[axis]
    if counts.size != 1:
        if counts.shape != (n,):
            raise ValueError(f"repeat(shape {x.shape}, axis={axis}): repeats of shape {counts.shape} must be ({n},)")
        return take(x, np.repeat(np.arange(n), counts), axis)
    before, after, times = x.shape[:axis], x.shape[axis + 1 :], int(counts.item())
    apart = _broadcast_to(reshape(x, (*before, n, 1, *after)), shape=(*before, n, times, *after))
    return reshape(apart, (*before, n * times, *after))


@implements(np.resize)
def resize(a: Any, new_shape: Any) -> Tensor:
    """The elements in order, over and over until a shape is full (or as many as it holds), as `numpy.resize`.

    >>> resize([1.0, 2.0, 3.0], (2, 2))
    Tensor([[1., 2.],
            [3., 1.]])
    """
    x, shape = ravel(a), _integers("resize", new_shape)
    if any(n < 0 for n in shape):
        raise ValueError(f"resize: lengths must not be negative, not {new_shape}")
    size = math.prod(shape)
    if not x.size:
        return broadcast_to(np.zeros((), x.dtype), shape)
    return reshape(take(x, np.arange(size) % x.size, 0), shape)


@implements(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(
    x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> Tensor:
    """All windows of a shape, one step apart, as `numpy.lib.stride_tricks.sliding_window_view`; a copy, not a view.

    Args:
        x: a Tensor or array.
        window_shape: the window's lengths.
        axis: the axis of each, all in order by default; one may be named more than once.
        subok, writeable: False; a result is a new Tensor.

    Returns:
        A Tensor: of x's shape, each axis shorter by the window's length less 1, then the window's.

    Raises:
        ValueError: a window longer than its axis, or not as many lengths as axes.

    >>> sliding_window_view([1.0, 2.0, 3.0, 4.0], 3)
    Tensor([[1., 2., 3.],
            [2., 3., 4.]])
    """
    name = "sliding_window_view"
    x, lengths = as_tensor(x, name), _integers(name, window_shape)
    if subok or writeable:
        raise TypeError(f"{name}: the result is a copy; leave subok= and writeable= out")
    axes = range(x.ndim) if axis is None else [checked_axis(name, i, x.shape) for i in np.atleast_1d(axis).tolist()]
    if len(axes) != len(lengths):
        raise ValueError(f"{name}(shape {x.shape}): {len(lengths)} lengths of a window for {len(axes)} axes")
    for i, n in zip(axes, lengths):
        steps = x.shape[i] - n + 1
        if n < 0 or steps < 1:
            raise ValueError(f"{name}: a window of length {n} does not fit into length {x.shape[i]} of axis {i}")
        x = picked(x, index=(slice(None),) * i + (np.arange(steps)[:, None] + np.arange(n),))
        x = moveaxis(x, i + 1, -1)
    return x


@implements(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Coordinate grids from vectors of coordinates, as `numpy.meshgrid`.

    Args:
        xi: Tensors of one axis.
        copy: accepted for NumPy's sake; a result is never written, so copying changes nothing.
        sparse: leave length 1 along the other axes.
        indexing: "xy" (the first varies along the second axis) or "ij".
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing is 'xy' or 'ij', not {indexing!r}")
    vectors = [ravel(x) for x in xi]
    n = len(vectors)
    place = list(range(n))
    if indexing == "xy" and n > 1:
        place[:2] = 1, 0
    lengths = [0] * n
    for v, i in zip(vectors, place):
        lengths[i] = v.size
    grids = [reshape(v, tuple([v.size if i == j else 1 for j in range(n)])) for v, i in zip(vectors, place)]
    return tuple(grids if sparse else [broadcast_to(g, tuple(lengths)) for g in grids])


# Flipping and rolling


@implements(np.flip)
def flip(m: Any, axis: Any = None) -> Tensor:
    """Reversed along some axes (all by default), as `numpy.flip`."""
    m = as_tensor(m, "flip")
    axes = range(m.ndim) if axis is None else checked_axes("flip", axis, m.shape)
    back, whole = slice(None, None, -1), slice(None)
    return picked(m, index=tuple([back if i in axes else whole for i in range(m.ndim)]))


@implements(np.flipud)
def flipud(m: Any) -> Tensor:
    """Reversed along the first axis, as `numpy.flipud`."""
    _ndim_of("flipud", m, 1)
    return flip(m, 0)


@implements(np.fliplr)
def fliplr(m: Any) -> Tensor:
    """Reversed along the second axis, as `numpy.fliplr`."""
    _ndim_of("fliplr", m, 2)
    return flip(m, 1)


def _backwards(shift: Any) -> Any:
    return tuple([-s for s in shift]) if isinstance(shift, tuple) else -shift


_roll = declare(
    "roll", lambda x, shift, axis=None: np.roll(x, shift, axis),
    [lambda g, y, x, shift, axis=None: np.roll(g, _backwards(shift), axis)],
    jvps="linear", complex=True, formula="{0} rolled", derivatives=["1, rolled back"],
    samples=_on(((2, 3), {"shift": 2}), ((2, 3), {"shift": -1, "axis": 1}), ((0,), {"shift": 1}), ((), {"shift": 1}),
                ((3, 2), {"shift": (1, -2), "axis": (0, 1)})),
)  # fmt: skip


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Tensor:
    """Moved along some axes, what leaves at one end coming in at the other, as `numpy.roll`."""
    shift = operator.index(shift) if np.ndim(shift) == 0 else _integers("roll", shift)
    return _roll(a, shift=shift, axis=tuple(axis) if isinstance(axis, list) else axis)


@implements(np.rot90)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Tensor:
    """Turned by k right angles in the plane of two axes, from the first towards the second, as `numpy.rot90`."""
    m, k = as_tensor(m, "rot90"), k % 4
    plane = checked_axes("rot90", tuple(axes), m.shape)
    if len(plane) != 2:
        raise ValueError(f"rot90: axes are two different ones, not {axes}")
    if k in (0, 2):
        return flip(m, plane if k else ())
    return swapaxes(flip(m, plane[1]), *plane) if k == 1 else flip(swapaxes(m, *plane), plane[1])


# Padding


def _inside(g: Any, shape: tuple[int, ...], width: tuple[tuple[int, int], ...]) -> Any:
    return g[tuple([slice(before, before + n) for (before, _), n in zip(width, shape)])]


_pad = declare(
    "pad", lambda x, width, value=0: np.pad(x, width or 0, constant_values=value),
    [lambda g, y, x, width, value=0: _inside(g, x.shape, width)], complex=True, formula="pad {0}",
    derivatives=["the inside"],
    samples=_on(((2, 3), {"width": ((1, 0), (0, 2))}), ((2,), {"width": ((1, 2),), "value": 3.0}),
                ((0, 2), {"width": ((1, 1), (0, 0))}), ((), {"width": ()})),
)  # fmt: skip


@implements(np.pad)
def pad(
    array: Any, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0, reflect_type: str = "even"
) -> Tensor:
    """Lengthened at both ends of each axis, as `numpy.pad`.

    Args:
        array: a Tensor or array.
        pad_width: how many elements are put before and after: an integer, a pair, a pair for each axis, or a dict from
            an axis to one of these.
        mode: "constant", "edge", "reflect", "symmetric" or "wrap".
        constant_values: what "constant" puts there, in the forms of `pad_width`; numbers, without a derivative.
        reflect_type: "even"; NumPy's "odd" has no rule.

    Raises:
        ValueError: another mode, a negative or ill-formed width, or an empty axis where there is nothing to repeat.

    >>> pad([1.0, 2.0, 3.0], (1, 2), mode="reflect")
    Tensor([2., 1., 2., 3., 2., 1.])
    """
    x = as_tensor(array, "pad")
    width = _widths(x, plain(pad_width))
    if mode == "constant":
        if isinstance(constant_values, Tensor) and constant_values.requires_grad:
            raise TypeError("pad: constant_values has no derivative; pass numbers, or join with ad.concatenate")
        return _pad(
            x, width=width, value=constant_values if np.isscalar(constant_values) else np.asarray(constant_values)
        )
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise ValueError(f"pad: mode {mode!r} has no rule; use 'constant', 'edge', 'reflect', 'symmetric' or 'wrap'")
    if reflect_type != "even":
        raise ValueError(f"pad: reflect_type {reflect_type!r} has no rule; only 'even'")
    try:
        sources = [np.pad(np.arange(n), w, mode=cast(Any, mode)) for n, w in zip(x.shape, width)]
    except ValueError as error:
        raise ValueError(f"pad(shape {x.shape}, mode={mode!r}): {error}") from None
    return picked(x, index=np.ix_(*sources))


def _widths(x: Tensor, width: Any) -> tuple[tuple[int, int], ...]:
    if isinstance(width, dict):
        named = {checked_axis("pad", a, x.shape): w for a, w in width.items()}
        width = [tuple(np.broadcast_to(named.get(i, 0), 2)) for i in range(x.ndim)]
    try:
        pairs = np.broadcast_to(np.asarray(width), (x.ndim, 2)) if x.ndim else np.zeros((0, 2), int)
    except ValueError:
        raise ValueError(f"pad: pad_width {width} gives no pair for each axis of shape {x.shape}") from None
    if pairs.dtype.kind not in "iu" or (pairs < 0).any():
        raise ValueError(f"pad: pad_width holds integers from 0, not {width}")
    return tuple((int(before), int(after)) for before, after in pairs)


# Diagonals and triangles


def _diagonal_index(rows: int, columns: int, offset: int) -> tuple[Any, Any]:
    i = np.arange(max(0, min(rows + min(offset, 0), columns - max(offset, 0))))
    return i + max(-offset, 0), i + max(offset, 0)


@implements(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The diagonals of the matrices that two axes span, along a last axis, as `numpy.diagonal`.

    >>> diagonal([[1.0, 2.0], [3.0, 4.0]])
    Tensor([1., 4.])
    """
    a = as_tensor(a, "diagonal")
    if a.ndim < 2:
        raise ValueError(f"diagonal: needs at least two axes, not shape {a.shape}")
    plane = checked_axes("diagonal", (axis1, axis2), a.shape)
    if plane != (a.ndim - 2, a.ndim - 1):
        a = moveaxis(a, plane, (-2, -1))
    return picked(a, index=(..., *_diagonal_index(a.shape[-2], a.shape[-1], offset)))


@implements(np.diag)
def diag(v: Any, k: int = 0) -> Tensor:
    """The k-th diagonal of a matrix, or a matrix with a vector there and zeros elsewhere, as `numpy.diag`."""
    v = as_tensor(v, "diag")
    if v.ndim == 2:
        return diagonal(v, k)
    if v.ndim != 1:
        raise ValueError(f"diag: takes a vector or a matrix, not shape {v.shape}")
    n = v.shape[0] + abs(k)
    return scatter_add(v, shape=(n, n), index=_diagonal_index(n, n, k))


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Tensor:
    """A matrix with the flattened elements on its k-th diagonal, as `numpy.diagflat`."""
    return diag(ravel(v), k)


@implements(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The sum of the diagonal, as `numpy.trace`."""
    a = as_tensor(a, "trace")
    if a.ndim < 2:
        raise ValueError(f"trace: needs at least two axes, not shape {a.shape}")
    return diagonal(a, offset, axis1, axis2).sum(axis=-1)


_triangles = _on(((3, 3), {}), ((2, 2, 3), {"k": 1}), ((3, 2), {"k": -1}), ((3,), {}), ((0, 2), {}))

_tril = declare(
    "tril", np.tril, [lambda g, y, x, k=0: np.tril(g, k)],
    jvps="linear", complex=True, formula="tril {0}", derivatives=["1 in the triangle, else 0"], samples=_triangles,
)  # fmt: skip
_triu = declare(
    "triu", np.triu, [lambda g, y, x, k=0: np.triu(g, k)],
    jvps="linear", complex=True, formula="triu {0}", derivatives=["1 in the triangle, else 0"], samples=_triangles,
)  # fmt: skip


@implements(np.tril)
def tril(m: Any, k: int = 0) -> Tensor:
    """Zero above the k-th diagonal of the last two axes, as `numpy.tril`."""
    return _tril(m, k=int(k))


@implements(np.triu)
def triu(m: Any, k: int = 0) -> Tensor:
    """Zero below the k-th diagonal of the last two axes, as `numpy.triu`."""
    return _triu(m, k=int(k))


# Sorting: a permutation, constant in a neighbourhood; its derivative permutes back


def _rank(x: Any, axis: int) -> Any:
    return np.argsort(np.argsort(x, axis=axis, kind="stable"), axis=axis, kind="stable")


def _sort_rule(g: Any, y: Any, x: Any, axis: int = -1, **options: Any) -> Any:
    return np.take_along_axis(g, _rank(x._ndarray if isinstance(x, Tensor) else x, axis), axis)


def _partition_rule(g: Any, y: Any, x: Any, axis: int = -1, **options: Any) -> Any:
    order = np.argsort(y._ndarray if isinstance(y, Tensor) else y, axis=axis, kind="stable")
    return _sort_rule(np.take_along_axis(g, order, axis), y, x, axis)


_sort = declare(
    "sort", np.sort, [_sort_rule], formula="sort {0}", derivatives=["1 at its place"],
    samples=_on(((4,), {}), ((3, 2), {"axis": 0}), ((2, 3), {"axis": -1}), ((0, 3), {"axis": 0})),
)  # fmt: skip
_partition = declare(
    "partition", np.partition, [_partition_rule], formula="partition {0}", derivatives=["1 at its place"],
    samples=_on(((5,), {"kth": 2}), ((3, 2), {"kth": (0, 1), "axis": 0})),
)  # fmt: skip


@implements(np.sort)
def sort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Tensor:
    """Sorted along an axis (None: flattened), as `numpy.sort`; among equal elements the first comes first, also for
    the gradient.

    >>> sort(Tensor([3.0, 1.0, 2.0]))
    Tensor([1., 2., 3.])
    """
    _no_fields("sort", order)
    if axis is None:
        a, axis = ravel(a), 0
    options = {} if kind is None else {"kind": kind}
    return _sort(a, axis=axis, **options)


@implements(np.partition)
def partition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: Any = None) -> Tensor:
    """Arranged so that the kth element is where sorting would put it, no greater one before and no smaller one behind,
    as `numpy.partition`."""
    _no_fields("partition", order)
    if axis is None:
        a, axis = ravel(a), 0
    return _partition(a, kth=_integers("partition", kth), axis=axis, kind=kind)


def _no_fields(name: str, order: Any) -> None:
    if order is not None:
        raise TypeError(f"{name}: order= names fields of a structured array, and a Tensor has none")


# Differences of neighbours

_MISSING: Any = object()


@implements(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = _MISSING, append: Any = _MISSING) -> Tensor:
    """Differences of neighbours along an axis, taken n times, as `numpy.diff`.

    >>> diff([1.0, 4.0, 9.0])
    Tensor([3., 5.])
    """
    a = as_tensor(a, "diff")
    if n < 0:
        raise ValueError(f"diff: n must not be negative, not {n}")
    axis = checked_axis("diff", axis, a.shape)
    ends = [_end(e, a, axis) for e in (prepend, append)]
    parts = [*ends[0], a, *ends[1]]
    a = concatenate(parts, axis) if n and len(parts) > 1 else a
    before = (slice(None),) * axis
    for _ in range(n):
        later, earlier = picked(a, index=(*before, slice(1, None))), picked(a, index=(*before, slice(None, -1)))
        a = not_equal(later, earlier) if a.dtype.kind == "b" else subtract(later, earlier)
    return a


def _end(value: Any, a: Tensor, axis: int) -> list[Tensor]:
    if value is _MISSING or value is getattr(np, "_NoValue", None):
        return []
    value = as_tensor(value, "diff")
    return [value if value.ndim else broadcast_to(value, (*a.shape[:axis], 1, *a.shape[axis + 1 :]))]


@implements(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Tensor:
    """Differences of neighbours in the flattened tensor, with more elements put around, as `numpy.ediff1d`."""
    middle = diff(ravel(ary))
    ends = [[] if end is None else [ravel(end)] for end in (to_begin, to_end)]
    for end in (*ends[0], *ends[1]):
        if not np.can_cast(end.dtype, middle.dtype, "same_kind"):
            raise TypeError(f"ediff1d: elements of {end.dtype} do not fit differences of {middle.dtype}")
    return concatenate([*ends[0], middle, *ends[1]], dtype=middle.dtype) if ends[0] or ends[1] else middle


# Questions about arrays: plain answers, no derivative

shape = without_gradient("shape", np.shape, np.shape, "The lengths of the axes, a tuple.")
ndim = without_gradient("ndim", np.ndim, np.ndim, "The number of axes.")
size = without_gradient("size", np.size, np.size, "The number of elements, or the length of an axis.")
result_type = without_gradient(
    "result_type", np.result_type, np.result_type, "The dtype that promotion gives.", public=False
)
can_cast = without_gradient(
    "can_cast", np.can_cast, np.can_cast, "Whether a dtype can be cast to another.", public=False
)
min_scalar_type = without_gradient("min_scalar_type", np.min_scalar_type, np.min_scalar_type, public=False)
common_type = without_gradient("common_type", np.common_type, np.common_type, public=False)
iscomplexobj = without_gradient("iscomplexobj", np.iscomplexobj, np.iscomplexobj, public=False)
isrealobj = without_gradient("isrealobj", np.isrealobj, np.isrealobj, public=False)
may_share_memory = without_gradient("may_share_memory", np.may_share_memory, np.may_share_memory, public=False)
shares_memory = without_gradient("shares_memory", np.shares_memory, np.shares_memory, public=False)
array_repr = without_gradient("array_repr", np.array_repr, np.array_repr, public=False)
array_str = without_gradient("array_str", np.array_str, np.array_str, public=False)
array2string = without_gradient("array2string", np.array2string, np.array2string, public=False)
