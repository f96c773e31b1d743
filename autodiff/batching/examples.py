"""In and out of a batch: operations that make a batch of an array of examples, and the array of a batch.

What is recorded between the two lies in the one graph that everything is recorded in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..primitive import Primitive, general
from ..tensor import Tensor, plain
from . import functions as functions  # the forms of NumPy's functions
from .batch import Batch, Level, spread_in

_depth: ContextVar[int] = ContextVar("autodiff_vmap_depth", default=0)


def _enter(x: Any, axis: int, level: Level) -> Any:
    value = np.moveaxis(x, axis, 0)
    if type(value) is np.ndarray:
        value.flags.writeable = False  # the memory is that of the argument
    return Batch(level, value)


def _leave(x: Any, axis: int, level: Level) -> Any:
    value = spread_in(x, level)
    return np.moveaxis(value, 0, axis) if axis else value


entering = Primitive(
    "batch",
    _enter,
    (lambda g, y, x, axis, level: left(g, axis, level),),
    jvps="linear",
    complex=True,
    formula="{0} of all examples",
)
leaving = Primitive(
    "unbatch",
    _leave,
    (lambda g, y, x, axis, level: entered(g, axis, level),),
    jvps="linear",
    complex=True,
    formula="{0}",
)
_record_entering, _record_leaving = general(entering), general(leaving)


def entered(x: Any, axis: int, level: Level) -> Any:
    """An array or Tensor with an axis of examples as a batch."""
    return _record_entering(x, axis=axis, level=level) if isinstance(x, Tensor) else _enter(x, axis, level)


def left(x: Any, axis: int, level: Level) -> Any:
    """A batch as an array or Tensor with an axis of examples."""
    if not isinstance(x, Tensor):
        return _leave(x, axis, level)
    y = _record_leaving(x, axis=axis, level=level)
    if y._requires_grad and y._primitive is not None:
        y._hooks = {**(y._hooks or {}), "shared": None}
    return y


class _Shared:
    """On duty in a reverse pass from outside through what a `vmap` computed: what all examples have in common gets the
    sum of their cotangents, the transpose of sharing it."""

    def __init__(self, watch: Any, level: Level) -> None:
        self.watch, self.levels = watch, {level}

    def pulled(self, d: Any, g: Any, node: Tensor, x: Tensor) -> Any:
        if self.watch is not None:
            d = self.watch.pulled(d, g, node, x)
        return summed(d, x, self.levels) if isinstance(plain(d), Batch) else d


def summed(d: Any, x: Tensor, levels: Collection[Level] | None = None) -> Any:
    """A cotangent of x without the axes of examples that share x, at every depth: of these levels, or of all."""
    array = plain(d)
    if not isinstance(array, Batch):
        return d
    level = array.level
    if (levels is None or level in levels) and not _differs(x._ndarray, level):
        return summed(left(d, 0, level).sum(axis=0), x, levels)
    if not isinstance(array.value, Batch):
        return d
    inside = left(d, 0, level)
    found = summed(inside, x, levels)
    return d if found is inside else entered(found, 0, level)


def _watching(watch: Any, level: Level) -> Any:
    """What is on duty in a reverse pass, and a level more: one knows all of them, as they are met in any order."""
    on_duty = watch
    while on_duty is not None:
        if isinstance(on_duty, _Shared):
            on_duty.levels.add(level)
            return watch
        on_duty = getattr(on_duty, "watch", None)
    return _Shared(watch, level)


def _differs(array: Any, level: Level) -> bool:
    while isinstance(array, Batch):
        if array.level is level:
            return True
        array = array.value
    return False


def depth() -> int:
    """How many levels are inside one another here."""
    return _depth.get()


@contextmanager
def no_less(deep: int) -> Iterator[None]:
    """Levels inside the with statement lie as deep as they did where there were so many around: a function that a
    reverse pass runs again meets batches of levels that have ended since."""
    token = _depth.set(max(deep, _depth.get()))
    try:
        yield
    finally:
        _depth.reset(token)


@contextmanager
def batched(size: int, values: Iterable[Any] = ()) -> Iterator[Level]:
    """The level of a `vmap` that runs inside the with statement, deeper than those of the values it is given."""
    deep = max([_depth.get(), *(x.level.depth for x in map(plain, values) if isinstance(x, Batch))]) + 1
    token = _depth.set(deep)
    try:
        yield Level(size, deep, _watching)
    finally:
        _depth.reset(token)
