"""Padding, and enlarging by repetition: as functions and as modules, over any number of spatial axes."""

from __future__ import annotations

from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.flags import flagged

from ..arguments import as_tensor, choice, counts, floats, integer, number
from ..module.module import Module
from .pooling import spread_over

_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _widths(name: str, width: Any, n: int | None = None) -> tuple[int, ...]:
    """PyTorch's list of widths: a pair for each axis, from the last axis on."""
    values = tuple(width) if isinstance(width, (tuple, list, np.ndarray)) else (width,) * (2 * n if n else 1)
    if len(values) % 2 or (n and len(values) != 2 * n):
        wanted = f"one integer or {2 * n}" if n else "a pair of integers for each axis, from the last axis on"
        raise ValueError(f"{name}: takes {wanted}, not {width!r}")
    return tuple(integer(name, "a width", v) for v in values)


def pad(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    """The input lengthened at both ends of its last axes.

    Args:
        input: any shape.
        pad: (before, after) of the last axis, then of the one before it, and so on; negative numbers shorten
            ("constant" only).
        mode: "constant", "reflect" (mirrored at the element at the end), "replicate" (the element at the end) or
            "circular" (from the other end).
        value: what "constant" puts there, 0 by default.

    Raises:
        TypeError, ValueError: for an odd number of widths, more pairs than axes, an unknown mode, or widths for which
            the input is too short.

    >>> pad([[1.0, 2.0, 3.0]], (1, 2), mode="reflect")
    Tensor([[2., 1., 2., 3., 2., 1.]])
    """
    return padded("pad", as_tensor(input), _widths("pad", pad), mode, value)


def padded(name: str, x: Tensor, widths: tuple[int, ...], mode: str = "constant", value: float | None = None) -> Tensor:
    """`pad` for the function or layer of this name."""
    choice(name, "mode", mode, list(_MODES))
    pairs = [(widths[i], widths[i + 1]) for i in range(0, len(widths), 2)]
    if len(pairs) > x.ndim:
        raise ValueError(f"{name}: got input of shape {x.shape} and widths for {len(pairs)} axes")
    pairs = [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]
    if mode == "constant":
        if any(n + before + after < 0 or min(n + before, n + after) < 0 for n, (before, after) in zip(x.shape, pairs)):
            raise ValueError(f"{name}: got input of shape {x.shape}, of which pad={widths} leaves nothing")
        if any(min(pair) < 0 for pair in pairs):
            x = x[tuple([slice(max(-b, 0), n - max(-a, 0)) for n, (b, a) in zip(x.shape, pairs)])]
            pairs = [(max(b, 0), max(a, 0)) for b, a in pairs]
        return x if not any(map(any, pairs)) else ad.pad(x, pairs, constant_values=0 if value is None else value)
    if value is not None:
        raise ValueError(f"{name}: value={value!r} is for mode 'constant', not {mode!r}")
    limits = {"reflect": "less than the length of its axis", "circular": "at most the length of its axis"}
    for n, pair in zip(x.shape, pairs):
        if min(pair) < 0:
            raise ValueError(f"{name}: mode {mode!r} takes widths of at least 0, not {widths}")
        if any(pair) and (n == 0 or (max(pair) > n - (mode == "reflect") and mode in limits)):
            limit = limits.get(mode, "for an axis that is not empty")
            raise ValueError(f"{name}: with mode {mode!r} a width is {limit}; got shape {x.shape} and pad={widths}")
    return x if not any(map(any, pairs)) else ad.pad(x, pairs, mode=_MODES[mode])


class ZeroPad2d(Module):
    """Zeros around the last two axes.

    Args:
        padding: how many on every side, or (left, right, top, bottom); negative numbers cut off.

    Shapes: input (N, C, H, W) or (C, H, W), output (…, top + H + bottom, left + W + right).

    Raises:
        TypeError, ValueError: for other widths, and inputs of another number of axes.

    >>> import numpy as np, nn
    >>> nn.ZeroPad2d((1, 1, 0, 2))(np.ones((5, 3, 4, 4))).shape
    (5, 3, 6, 6)
    """

    def __init__(self, padding: Any) -> None:
        self.padding = _widths("ZeroPad2d", padding, 2)

    def forward(self, input: Any) -> Tensor:
        """The input with zeros around it."""
        input = as_tensor(input)
        if input.ndim not in (3, 4):
            raise ValueError(f"ZeroPad2d: got input of shape {input.shape}, expects (N, C, H, W) or (C, H, W)")
        return padded("ZeroPad2d", input, self.padding)

    def extra_repr(self) -> str:
        return f"{self.padding}"


def _factors(name: str, scale_factor: Any, n: int) -> tuple[float, ...]:
    values = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * n
    if len(values) != n:
        raise ValueError(f"{name}: scale_factor is one number or {n}, not {scale_factor!r}")
    for value in values:
        if number(name, "scale_factor", value) <= 0 or value == np.inf:
            raise ValueError(f"{name}: scale_factor is positive and finite, not {scale_factor!r}")
    return tuple(float(v) for v in values)


def _nearest(name: str, input: Any, size: Any, scale_factor: Any, recompute: Any = None) -> Tensor:
    x = as_tensor(input)
    if x.ndim not in (3, 4, 5):
        raise ValueError(
            f"{name}: got input of shape {x.shape}, expects (N, C, L), (N, C, H, W) or (N, C, D, H, W)"
        )  # fmt: skip
    floats(name, x)
    lengths = x.shape[2:]
    n = len(lengths)
    if (size is None) == (scale_factor is None):
        raise ValueError(f"{name}: takes either size or scale_factor, got size={size!r}, scale_factor={scale_factor!r}")
    if size is not None:
        sizes = counts(name, "size", size, n, 1)
        steps = [m / k for m, k in zip(lengths, sizes)]
    else:
        factors = _factors(name, scale_factor, n)
        sizes = tuple(int(m * f) for m, f in zip(lengths, factors))
        steps = [m / max(k, 1) if recompute else 1 / f for m, k, f in zip(lengths, sizes, factors)]
    if 0 in lengths or 0 in sizes:
        raise ValueError(f"{name}: got input of shape {x.shape} for an output of spatial shape {sizes}: nothing there")
    if all(k % m == 0 and step == m / k for m, k, step in zip(lengths, sizes, steps)):
        window = tuple(k // m for m, k in zip(lengths, sizes))
        how = dict(kernel=window, stride=window, padding=(0,) * n, include=True, over=1)
        return x * 1 if sizes == lengths else spread_over(x, lengths=sizes, size=lengths, **how)
    for axis, (m, k, step) in enumerate(zip(lengths, sizes, steps), 2):
        # PyTorch's single precision decides which element is the nearest.
        source = np.minimum(np.arange(k, dtype=np.float32) * np.float32(step), m - 1).astype(np.int64)
        x = ad.take(x, source, axis=axis)
    return x


@flagged
def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """The input in another spatial size, each element of the output being that of the input whose place is nearest
    (rounded down, as PyTorch's); see `Upsample`.

    Args:
        input: shape (N, C, L), (N, C, H, W) or (N, C, D, H, W).
        size: lengths of the spatial axes of the output, one integer if they are equal.
        scale_factor: in its place, how many times longer they are than the input's.
        mode: "nearest".
        align_corners, antialias: for other modes of PyTorch's; None and False.
        recompute_scale_factor: whether places follow from the rounded size in place of `scale_factor`.

    Raises:
        TypeError, ValueError: for other options and shapes.

    >>> interpolate([[[1.0, 2.0]]], scale_factor=2)
    Tensor([[[1., 1., 2., 2.]]])
    """
    choice("interpolate", "mode", mode, ["nearest"])
    if align_corners is not None or antialias:
        raise ValueError("interpolate: align_corners and antialias do not go with mode 'nearest'")
    if recompute_scale_factor and size is not None:
        raise ValueError("interpolate: recompute_scale_factor goes with scale_factor, not with size")
    return _nearest("interpolate", input, size, scale_factor, recompute_scale_factor)


@flagged
def upsample(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """The same as `interpolate`."""
    return interpolate(input, size, scale_factor, mode, align_corners)


class Upsample(Module):
    """The input enlarged by repetition: each element of the output is the nearest of the input.

    Args:
        size: lengths of the spatial axes of the output, one integer if they are equal.
        scale_factor: in its place, how many times longer they are than the input's.
        mode: "nearest".
        align_corners: for other modes of PyTorch's; None.
        recompute_scale_factor: whether places follow from the rounded size in place of `scale_factor`.

    Shapes: input (N, C, L), (N, C, H, W) or (N, C, D, H, W), output with `size`, or ⌊length · scale_factor⌋, in place
    of the spatial axes.

    Raises:
        TypeError, ValueError: for other options, and inputs of another number of axes or kind.

    >>> import numpy as np, nn
    >>> nn.Upsample(scale_factor=2)(np.ones((5, 3, 4, 4))).shape
    (5, 3, 8, 8)
    """

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        choice("Upsample", "mode", mode, ["nearest"])
        if align_corners is not None:
            raise ValueError("Upsample: align_corners does not go with mode 'nearest'")
        if size is None and scale_factor is None:
            raise ValueError("Upsample: takes size or scale_factor")
        if scale_factor is not None:
            n = len(scale_factor) if isinstance(scale_factor, (tuple, list)) else 1
            factors = _factors("Upsample", scale_factor, n)
            scale_factor = factors if isinstance(scale_factor, (tuple, list)) else factors[0]
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Any) -> Tensor:
        """The input enlarged."""
        return _nearest("Upsample", input, self.size, self.scale_factor, self.recompute_scale_factor)

    def extra_repr(self) -> str:
        shown = f"scale_factor={self.scale_factor}" if self.scale_factor is not None else f"size={self.size}"
        return f"{shown}, mode={self.mode!r}"
