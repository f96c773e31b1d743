"""Modules that only change shapes, or nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from autodiff import Tensor

from .arguments import as_tensor, count, integer
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


def pixel_shuffle(input: Any, upscale_factor: int) -> Tensor:
    """Channels as pixels: y[…, c, h r + i, w r + j] = x[…, c r² + i r + j, h, w], r the factor.

    Args:
        input: x, shape (..., C r², H, W).
        upscale_factor: r.

    Returns:
        shape (..., C, H r, W r).

    Raises:
        TypeError, ValueError: for another factor, and channels that r² does not divide.

    Source: Shi et al., Real-Time Single Image and Video Super-Resolution, 2016.

    >>> import numpy as np
    >>> pixel_shuffle(np.arange(4.0).reshape(4, 1, 1), 2)
    Tensor([[[0., 1.],
             [2., 3.]]])
    """
    r, x = count("pixel_shuffle", "upscale_factor", upscale_factor, 1), as_tensor(input)
    if x.ndim < 3 or x.shape[-3] % r**2:
        raise ValueError(f"pixel_shuffle: got input of shape {x.shape}, expects (..., C · {r**2}, H, W)")
    *batch, channels, h, w = x.shape
    n = len(batch)
    x = x.reshape((*batch, channels // r**2, r, r, h, w))
    x = x.transpose((*range(n), n, n + 3, n + 1, n + 4, n + 2))
    shuffled: Tensor = x.reshape((*batch, channels // r**2, h * r, w * r))
    return shuffled


def pixel_unshuffle(input: Any, downscale_factor: int) -> Tensor:
    """Pixels as channels, the inverse of `pixel_shuffle`: shape (..., C, H r, W r) becomes (..., C r², H, W).

    Raises:
        TypeError, ValueError: for another factor, and lengths that r does not divide.

    >>> import numpy as np
    >>> pixel_unshuffle(np.arange(4.0).reshape(1, 2, 2), 2).shape
    (4, 1, 1)
    """
    r, x = count("pixel_unshuffle", "downscale_factor", downscale_factor, 1), as_tensor(input)
    if x.ndim < 3 or x.shape[-1] % r or x.shape[-2] % r:
        raise ValueError(f"pixel_unshuffle: got input of shape {x.shape}, expects (..., C, H · {r}, W · {r})")
    *batch, channels, h, w = x.shape
    n = len(batch)
    x = x.reshape((*batch, channels, h // r, r, w // r, r))
    x = x.transpose((*range(n), n, n + 2, n + 4, n + 1, n + 3))
    unshuffled: Tensor = x.reshape((*batch, channels * r**2, h // r, w // r))
    return unshuffled


class PixelShuffle(Module):
    """Channels as pixels, as `pixel_shuffle`: shape (..., C r², H, W) becomes (..., C, H r, W r).

    >>> import numpy as np, nn
    >>> nn.PixelShuffle(2)(np.ones((5, 12, 3, 4))).shape
    (5, 3, 6, 8)
    """

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = count("PixelShuffle", "upscale_factor", upscale_factor, 1)

    def forward(self, input: Any) -> Tensor:
        """The channels as pixels."""
        return pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Pixels as channels, as `pixel_unshuffle`: shape (..., C, H r, W r) becomes (..., C r², H, W).

    >>> import numpy as np, nn
    >>> nn.PixelUnshuffle(2)(np.ones((5, 3, 6, 8))).shape
    (5, 12, 3, 4)
    """

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = count("PixelUnshuffle", "downscale_factor", downscale_factor, 1)

    def forward(self, input: Any) -> Tensor:
        """The pixels as channels."""
        return pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"
