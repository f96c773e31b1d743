"""A Tensor that a module owns and an optimiser trains."""

from __future__ import annotations

from typing import Any

from autodiff import Tensor

from ..random import floating


class Parameter(Tensor):
    """A leaf tensor that a `Module` registers when it is assigned to an attribute.

    Args:
        data: an array or Tensor (copied, its dtype kept), or numbers (which take the default dtype).
        requires_grad: False freezes it.
        dtype: a floating-point NumPy dtype, in place of the data's own.
        name: shown in pictures and tables; by default the module's name for it.

    Raises:
        TypeError: for integer data that should require a gradient, or data that are not real numbers.

    >>> Parameter([1.0, 2.0])
    Parameter([1., 2.], dtype=float32, requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True, dtype: Any = None, name: str | None = None) -> None:
        if dtype is None and not hasattr(data, "dtype"):
            dtype = floating(None)
        super().__init__(data, requires_grad, dtype, name)
