"""How results are shown: in one line, however large their arrays are."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

FEW = 6
"""So many entries of a vector are shown."""


def presented(result: Any, **fields: Any) -> str:
    """The class of a result with the fields that are shown, as its ``repr``.

    >>> presented(3, x=np.arange(10.0), y=np.eye(2), z="a")
    "int(x=array([0., 1., 2., ..., 7., 8., 9.], shape=(10,)), y=array of shape (2, 2), z='a')"
    """
    return f"{type(result).__name__}({', '.join(f'{name}={_shown(value)}' for name, value in fields.items())})"


def _shown(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return repr(value)
    if value.ndim != 1:
        return f"array of shape {value.shape}"
    text = np.array2string(
        value, threshold=FEW, edgeitems=FEW // 2, separator=", ", max_line_width=sys.maxsize, prefix="array("
    )
    return f"array({text})" if value.size <= FEW else f"array({text}, shape={value.shape})"
