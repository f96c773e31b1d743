"""An index as it is written between brackets."""

from __future__ import annotations

from typing import Any

import numpy as np

from .printable import printable


def index_text(index: Any) -> str:
    """
    >>> index_text((slice(1, None), ..., None, np.array([0, 2])))
    '1:, ..., newaxis, [0, 2]'
    >>> index_text((slice(None), np.indices((1, 3, 3))[1], np.indices((1, 3, 3))[2]))
    ':, 0…2, 0…2'
    """
    if isinstance(index, tuple):
        return ", ".join(map(index_text, index))
    if isinstance(index, slice):
        ends = [("" if v is None else str(v)) for v in (index.start, index.stop, index.step)]
        return ":".join(ends if ends[2] else ends[:2])
    if index is Ellipsis or index is None:
        return "newaxis" if index is None else "..."
    array = np.asarray(index)
    if array.size <= 8:
        return printable(str(array.tolist()))
    distinct = np.unique(array)
    if array.dtype.kind in "iu" and distinct[-1] - distinct[0] == len(distinct) - 1:
        return f"{distinct[0]}…{distinct[-1]}"  # all between, as of the patch behind a pixel
    return f"{array.dtype} array of shape {array.shape}"
