"""Modules that only change shapes, or nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from autodiff import Tensor

from .arguments import as_tensor, integer
from .module.module import Module


class Identity(Module):
    """The input as it is; any arguments are accepted and forgotten.

    >>> import nn
    >>> nn.Identity()(3.0)
    3.0
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, input: Any) -> Any:
        """The input."""
        return input


def _place(layer: str, name: str, axis: int, shape: tuple[int, ...]) -> int:
    if not -len(shape) <= axis < len(shape):
        raise IndexError(f"{layer}: got input of shape {shape}, which has no axis {name}={axis}")
    return axis % len(shape)


class Flatten(Module):
    """Join the axes from `start_dim` to `end_dim` to one; all but the batch's by default.

    Raises:
        IndexError: for an input without these axes.

    >>> import numpy as np, nn
    >>> nn.Flatten()(np.ones((5, 2, 3))).shape
    (5, 6)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = integer("Flatten", "start_dim", start_dim)
        self.end_dim = integer("Flatten", "end_dim", end_dim)

    def forward(self, input: Any) -> Tensor:
        """The input in its new shape."""
        input = as_tensor(input)
        name, shape = f"Flatten({self.extra_repr()})", input.shape
        start = _place(name, "start_dim", self.start_dim, shape or (1,))
        end = _place(name, "end_dim", self.end_dim, shape or (1,))
        if start > end:
            raise ValueError(f"{name}: got input of shape {shape}, in which start_dim comes after end_dim")
        flat: Tensor = input.reshape(shape[:start] + (math.prod(shape[start : end + 1]),) + shape[end + 1 :])
        return flat

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Divide the axis `dim` into axes of the lengths `unflattened_size`, one of which may be −1 (what is left).

    Raises:
        IndexError: for an input without this axis.
        ValueError: for lengths whose product is not the axis's.

    >>> import numpy as np, nn
    >>> nn.Unflatten(1, (2, -1))(np.ones((5, 6))).shape
    (5, 2, 3)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        self.dim = integer("Unflatten", "dim", dim)
        if not isinstance(unflattened_size, (tuple, list)) or not unflattened_size:
            raise TypeError(f"Unflatten: unflattened_size is a tuple of lengths, not {unflattened_size!r}")
        sizes = tuple(integer("Unflatten", "unflattened_size", n) for n in unflattened_size)
        if sizes.count(-1) > 1 or min(sizes) < -1:
            raise ValueError(f"Unflatten: unflattened_size has lengths of at least 0 and one −1 at most, not {sizes}")
        self.unflattened_size = sizes

    def forward(self, input: Any) -> Tensor:
        """The input in its new shape."""
        input = as_tensor(input)
        name, shape, sizes = f"Unflatten({self.extra_repr()})", input.shape, self.unflattened_size
        axis = _place(name, "dim", self.dim, shape)
        if -1 in sizes:
            known = math.prod(n for n in sizes if n != -1)
            rest = shape[axis] // known if known and not shape[axis] % known else -1
            sizes = tuple(rest if n == -1 else n for n in sizes)
        if math.prod(sizes) != shape[axis] or -1 in sizes:
            raise ValueError(f"{name}: got input of shape {shape}, whose axis {axis} cannot be divided so")
        divided: Tensor = input.reshape(shape[:axis] + sizes + shape[axis + 1 :])
        return divided

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
