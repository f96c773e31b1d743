"""What NumPy builds by an index: ``ad.r_[t, 0.0, 1:4]`` and ``ad.c_[t, u]``, with gradients to what is put together."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor
from .creation import arange, array, linspace
from .elementwise import astype
from .shape import concatenate, ravel

__all__ = ["c_", "r_"]


class _AxisConcatenator:
    """NumPy's object of that name, whose result it has: where each entry goes is read off its result for their places.

    >>> t = Tensor([3.0, 4.0], requires_grad=True)
    >>> r_[t, 0.0, 1:3].tolist()
    [3.0, 4.0, 0.0, 1.0, 2.0]
    >>> c_[t, t**2].tolist()
    [[3.0, 9.0], [4.0, 16.0]]
    """

    def __init__(self, name: str, theirs: Any) -> None:
        self.name, self.theirs = name, theirs

    def __getitem__(self, key: Any) -> Tensor:
        """Concatenated Tensors, arrays, numbers and ranges, after a directive (``"axis,ndmin,trans1d"``) of NumPy's.

        Raises:
            TypeError: a directive that asks for a matrix, or nothing to put together. ValueError: shapes that do not
                fit, or another directive, in NumPy's words.
        """
        key = key if isinstance(key, tuple) else (key,)
        words, given = [k for k in key if isinstance(k, str)], [k for k in key if not isinstance(k, str)]
        if not given or {"r", "c"} & set(words):
            raise TypeError(
                f"{self.name}: puts Tensors, arrays, numbers and ranges together, not {key}, and makes no matrix"
            )
        entries = [_range(k) if isinstance(k, slice) else array(k) for k in given]
        starts = np.cumsum([0, *(x.size for x in entries)])
        numbered = [start + np.arange(x.size).reshape(x.shape) for start, x in zip(starts, entries)]
        try:
            places = self.theirs[(*words, *numbered)]
        except (ValueError, IndexError) as error:
            shown = ", ".join(str(x.shape) for x in entries)
            raise ValueError(f"{self.name}: shapes {shown} do not fit: {error}") from None
        weak = (bool, int, float, complex)
        dtype = np.result_type(*[k if type(k) in weak else x.dtype for k, x in zip(given, entries)])
        y: Tensor = concatenate([astype(ravel(x), dtype) for x in entries])[places]
        return y


def _range(s: slice) -> Tensor:
    start, step = 0 if s.start is None else s.start, 1 if s.step is None else s.step
    if isinstance(step, complex):
        found: Tensor = linspace(start, s.stop, int(abs(step)))
        return found
    return arange(start, s.stop, step)


r_ = _AxisConcatenator("r_", np.r_)
c_ = _AxisConcatenator("c_", np.c_)
