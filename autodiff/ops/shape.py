"""Shape: the same elements in another arrangement.

Order: broadcasting, reshaping, reordering axes, joining and splitting, repeating, flipping, padding, diagonals,
sorting. Their derivatives move the cotangent's elements back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backward import unbroadcast
from ..primitive import Sample, declare, polymorphic, without_gradient
from ..protocols import implements
from ..tensor import Tensor
from .samples import draw

# Broadcasting


def _spread(x: Any, shape: tuple[int, ...]) -> Any:
    """`numpy.broadcast_to` for real arrays, a read-only view, in a tenth of its time."""
    x = np.asarray(x)
    if x.shape == shape:
        return x
    if x.size == 1:
        view = np.ndarray(shape, x.dtype, x, 0, (0,) * len(shape))
        view.flags.writeable = False
        return view
    extra = len(shape) - x.ndim
    strides = (0,) * extra + tuple(
        s if n == m else 0 for n, m, s in zip(x.shape, shape[extra:], x.strides, strict=True)
    )
    view = np.ndarray(shape, x.dtype, x, 0, strides)
    view.flags.writeable = False
    return view


_broadcast_to = declare(
    "broadcast_to", np.broadcast_to, [lambda g, y, x, shape: unbroadcast(g, x.shape)],
    formula="{0}", derivatives=["1"],
    samples=lambda rng: [Sample((draw(rng, s),), {"shape": t})
                         for s, t in [((), ()), ((), (2, 3)), ((3,), (2, 3)), ((2, 1), (4, 2, 3)), ((1,), (0,))]],
)  # fmt: skip


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any) -> Tensor:
    """`array` repeated along new or length-1 axes to a shape, as `numpy.broadcast_to`."""
    return _broadcast_to(array, shape=(shape,) if isinstance(shape, int) else tuple(shape))  # type: ignore[no-any-return]


def spread(g: Any, shape: tuple[int, ...]) -> Any:
    """A cotangent broadcast to a shape it fits, as a view where it is an array."""
    return _broadcast_to(g, shape=shape) if isinstance(g, Tensor) else _spread(g, shape)


# Reshaping

_reshape = declare(
    "reshape", lambda x, shape, order="C": x.reshape(shape, order=order),
    [lambda g, y, x, shape, order="C": g.reshape(x.shape, order=order)],
    formula="{0}", derivatives=["1"],
    samples=lambda rng: [Sample((draw(rng, s),), p) for s, p in [
        ((2, 3), {"shape": (6,)}), ((2, 3), {"shape": (3, -1)}), ((), {"shape": (1, 1)}), ((0, 2), {"shape": (0,)}),
        ((2, 3), {"shape": (3, 2), "order": "F"})]],
)  # fmt: skip


@implements(np.reshape)
def reshape(a: Any, shape: Any, order: str = "C") -> Tensor:
    """The same elements in another shape, as `numpy.reshape`; one length may be -1."""
    shape = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(shape)
    return _reshape(a, shape=shape) if order == "C" else _reshape(a, shape=shape, order=order)  # type: ignore[no-any-return]


@implements(np.ravel)
def ravel(a: Any, order: str = "C") -> Tensor:
    """All elements along one axis, as `numpy.ravel`."""
    return reshape(a, -1, order=order)


# Reordering axes

_transpose = declare(
    "transpose", lambda x, axes=None: x.transpose(axes) if axes is not None else x.T,
    [lambda g, y, x, axes=None: g.T if axes is None else g.transpose(tuple(int(i) for i in np.argsort([a % x.ndim for a in axes])))],
    formula="{0}ᵀ", derivatives=["1"],
    samples=lambda rng: [Sample((draw(rng, (2, 3)),)), Sample((draw(rng, (2, 3, 2)),), {"axes": (1, -1, 0)}),
                         Sample((draw(rng, ()),)), Sample((draw(rng, (3,)),))],
)  # fmt: skip


@implements(np.transpose)
def transpose(a: Any, axes: Any = None) -> Tensor:
    """The axes in reverse order, or in the order given, as `numpy.transpose`."""
    return _transpose(a) if axes is None else _transpose(a, axes=tuple(axes))  # type: ignore[no-any-return]
