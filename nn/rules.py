"""What the derivative rules of several layers use: the raw values, for masks (constants of a derivative), and functions
that take arrays and Tensors alike.
"""

from __future__ import annotations

from typing import Any

import autodiff as ad
from autodiff import Tensor
from autodiff.primitive import polymorphic


def raw(v: Any) -> Any:
    """The array of a Tensor; anything else as it is."""
    return v._data if isinstance(v, Tensor) else v


relu_of: Any = polymorphic(ad.relu)
sigmoid_of: Any = polymorphic(ad.sigmoid)
softplus_of: Any = polymorphic(ad.softplus)
