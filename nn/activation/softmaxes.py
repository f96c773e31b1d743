"""Activations over an axis: softmax, its logarithm, and softmin."""

from __future__ import annotations

import warnings
from typing import Any

import autodiff as ad
from autodiff import Tensor
from autodiff.leaving import user_level

from ..arguments import DIMS, as_tensor, integer
from ..random import floating
from .base import Activation

# Functions


def _axis(name: str, dim: int | None, input: Tensor) -> int:
    """The axis, or where none was named PyTorch's choice, which nobody expects beyond matrices: then with a warning."""
    if dim is not None:
        return integer(name, "dim", dim)
    if input.ndim > 2:
        warnings.warn(
            f"{name}: no dim given for shape {input.shape}; name the axis", UserWarning, stacklevel=user_level()
        )
    return 0 if input.ndim in (0, 1, 3) else 1


def _cast(input: Any, dtype: Any) -> Tensor:
    x = as_tensor(input)
    return x if dtype is None else x.astype(floating(dtype))


@DIMS.checked
def softmax(input: Any, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """eˣ / Σ eˣ along the axis `dim`.

    Without `dim` it is PyTorch's choice: the last axis of vectors and matrices; beyond, axis 0 for 3 axes and 1 for
    more, with a warning. It is computed and returned in the floating-point `dtype`, the input's by default.

    Raises:
        TypeError: for `axis=`, which here is called `dim`, and another dtype.

    >>> softmax([0.0, 0.0])
    Tensor([0.5, 0.5])
    """
    input = _cast(input, dtype)
    return ad.softmax(input, axis=_axis("softmax", dim, input))


@DIMS.checked
def log_softmax(input: Any, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """x − log Σ eˣ along the axis `dim`, which is chosen as for `softmax`, as `dtype` is.

    >>> log_softmax([1000.0, 0.0])
    Tensor([    0., -1000.])
    """
    input = _cast(input, dtype)
    return ad.log_softmax(input, axis=_axis("log_softmax", dim, input))


@DIMS.checked
def softmin(input: Any, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """softmax(−x) along the axis `dim`, which is chosen as for `softmax`, as `dtype` is.

    >>> softmin([1000.0, 0.0])
    Tensor([0., 1.])
    """
    input = _cast(input, dtype)
    return ad.softmax(-input, axis=_axis("softmin", dim, input))


# Modules


class _OverAxis(Activation):
    _options = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        self.dim = None if dim is None else integer(type(self).__name__, "dim", dim)


class Softmax(_OverAxis):
    """eˣ / Σ eˣ along the axis `dim`, as `softmax`.

    >>> Softmax(dim=1)(ad.Tensor([[0.0, 0.0]]))
    Tensor([[0.5, 0.5]])
    """

    def forward(self, input: Any) -> Tensor:
        """eˣ / Σ eˣ."""
        return softmax(input, self.dim)


class LogSoftmax(_OverAxis):
    """x − log Σ eˣ along the axis `dim`, as `log_softmax`.

    >>> LogSoftmax(dim=1)(ad.Tensor([[1000.0, 0.0]]))
    Tensor([[    0., -1000.]])
    """

    def forward(self, input: Any) -> Tensor:
        """x − log Σ eˣ."""
        return log_softmax(input, self.dim)


class Softmin(_OverAxis):
    """softmax(−x) along the axis `dim`, as `softmin`.

    >>> Softmin(dim=1)(ad.Tensor([[1000.0, 0.0]]))
    Tensor([[0., 1.]])
    """

    def forward(self, input: Any) -> Tensor:
        """softmax(−x)."""
        return softmin(input, self.dim)
