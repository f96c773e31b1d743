"""A run that is made once more, or comes to nothing: what it changed is as it was before."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..random import generator
from .closures import Closure


def undoing(closure: Closure) -> Callable[[], None]:
    """What sets all back as it is now: the places that a function reaches, its arrays, and what draws random numbers.

    >>> counts = np.zeros(2)
    >>> def count(x):
    ...     counts[0] += 1
    >>> undo = undoing(Closure([count]))
    >>> count(1.0)
    >>> undo()
    >>> counts
    array([0., 0.])
    """
    steps: list[Callable[[], None]] = [partial(_written, x, x.copy()) for x in closure.arrays if x.flags.writeable]
    steps += [_state(g) for g in closure.generators.values()] + [_state(generator()), _state(random)]
    if "numpy.random" in sys.modules:
        steps.append(_state(np.random))

    def undo() -> None:
        closure.undo()
        for step in steps:
            step()

    return undo


def _written(array: Any, values: Any) -> None:
    if array.flags.writeable and not np.array_equal(array, values, equal_nan=array.dtype.kind in "fc"):
        array[...] = values


def _state(source: Any) -> Callable[[], None]:
    """What sets what draws random numbers back to the state that it is in."""
    if isinstance(source, np.random.Generator):
        return partial(setattr, source.bit_generator, "state", source.bit_generator.state)
    old = hasattr(source, "set_state")  # as NumPy's first generators have it
    return partial(source.set_state, source.get_state()) if old else partial(source.setstate, source.getstate())
