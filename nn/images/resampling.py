"""Another number of elements along each spatial axis: the nearest ones, or weighted sums of several.

A sum, its weights fixed, is linear and comes with its transpose, which is its derivative; both go along one axis, one
element of all sums at a time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.flags import flagged
from autodiff.ops.precision import in_single
from autodiff.primitive import Sample, declare, polymorphic

from ..arguments import as_tensor, choice, counts, floats, number
from ..module.module import Module
from .pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d, spread_over

Taps = list[tuple[Any, Any, Any]]
"""Which elements of the output receive something, from which elements of the input, and how much of them."""

_RANKS = {
    "nearest": (3, 4, 5), "linear": (3,), "bilinear": (4,), "bicubic": (4,), "trilinear": (5,), "area": (3, 4, 5),
    "nearest-exact": (3, 4, 5),
}  # fmt: skip
"""By mode: how many axes the input may have."""


# Weights along one axis


def _cubic(t: Any, a: float) -> Any:
    """Keys' kernel at the distance t."""
    t = np.abs(t)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = (((t - 5) * t + 8) * t - 4) * a
    return np.where(t < 1, near, np.where(t < 2, far, 0.0))


def _triangle(t: Any) -> Any:
    return np.maximum(1 - np.abs(t), 0.0)


@lru_cache(maxsize=256)
def _weights(n: int, size: int, rule: str, step: float, corners: bool, smooth: bool) -> tuple[Any, Any, Any]:
    """Which outputs sum which inputs with which weights: three arrays as long as there are such pairs."""
    i = np.arange(size)[:, None]
    cubic = rule == "bicubic"
    if smooth:
        wide = max(step, 1.0)
        centre = step * (i + 0.5)
        reach = (2 if cubic else 1) * wide
        first = np.maximum((centre - reach + 0.5).astype(int), 0)
        last = np.minimum((centre + reach + 0.5).astype(int), n)
        index = first + np.arange(int(np.max(last - first, initial=0)))
        t = (index - centre + 0.5) / wide
        weights = np.where(index < last, _cubic(t, -0.5) if cubic else _triangle(t), 0.0)
        weights = weights / weights.sum(axis=1, keepdims=True)
    else:
        place = i * step if corners else (i + 0.5) * step - 0.5
        if not cubic:
            place = np.clip(place, 0, n - 1)
        index = np.floor(place).astype(int) + (np.arange(-1, 3) if cubic else np.arange(2))
        weights = _cubic(place - index, -0.75) if cubic else _triangle(place - index)
    index, rows = np.clip(index, 0, n - 1), np.broadcast_to(i, index.shape)
    there = weights != 0
    return rows[there], index[there], weights[there]


@lru_cache(maxsize=256)
def _taps(transposed: bool, **how: Any) -> Taps:
    """The sums, or their transpose, as one element of all of them at a time."""
    rows, index, weights = _weights(**how)
    if transposed:
        order = np.argsort(index, kind="stable")
        rows, index, weights = index[order], rows[order], weights[order]
    number = np.arange(len(rows)) - np.searchsorted(rows, rows)  # of an element in its sum
    found = [number == k for k in range(int(np.max(number, initial=-1)) + 1)]
    return [(rows[chosen], index[chosen], weights[chosen]) for chosen in found]


@in_single
def _summed(x: Any, axis: int, transposed: bool = False, **how: Any) -> Any:
    size = how["n"] if transposed else how["size"]
    y = np.zeros_like(x, shape=(*x.shape[:axis], size, *x.shape[axis + 1 :]))
    before = (slice(None),) * axis
    for there, here, weights in _taps(transposed, **how):
        part = x.take(here, axis=axis)
        part *= weights.astype(x.dtype).reshape((-1,) + (1,) * (x.ndim - 1 - axis))
        y[*before, slice(None) if len(there) == size else there] += part
    return y


def _spread(g: Any, axis: int, **how: Any) -> Any:
    return _summed(g, axis=axis, transposed=True, **how)


def _expansion(x: Tensor, axis: int, **how: Any) -> Any:
    """Each element of the output as the weighted sum of some of the input."""
    if not x.size or not how["size"]:
        return None
    rows, index, weights = _weights(**how)
    total: Any = 0.0
    for k in range(int(np.bincount(rows).max())):
        yield f"element {k + 1} of each sum"
        found = [np.flatnonzero(rows == i) for i in range(how["size"])]
        chosen = np.array([f[min(k, len(f) - 1)] for f in found])
        w = np.where([k < len(f) for f in found], weights[chosen], 0.0).astype(x.dtype)
        total = ad.take(x, index[chosen], axis=axis) * w.reshape((-1,) + (1,) * (x.ndim - 1 - axis)) + total
    return total


_HOW: list[tuple[tuple[int, ...], int, dict[str, Any]]] = [
    ((1, 2, 3), 2, dict(n=3, size=5, rule="linear", step=0.6, corners=False, smooth=False)),
    ((2, 1, 4, 2), 2, dict(n=4, size=3, rule="bicubic", step=1.5, corners=True, smooth=False)),
    ((1, 1, 2, 5), 3, dict(n=5, size=2, rule="bilinear", step=2.5, corners=False, smooth=True)),
    ((0, 1, 3), 2, dict(n=3, size=4, rule="linear", step=0.75, corners=False, smooth=False)),
]  # fmt: skip


def _samples(backwards: bool) -> Any:
    def samples(rng: np.random.Generator) -> list[Sample]:
        shapes = [(*s[:i], how["size"] if backwards else how["n"], *s[i + 1 :]) for s, i, how in _HOW]
        return [Sample((rng.normal(size=s),), dict(axis=i, **how)) for s, (_, i, how) in zip(shapes, _HOW)]

    return samples


_SUMS = "elements of memory, one of all sums at a time"

_resampling = declare(
    "resample", _summed, [lambda g, y, x, **how: _spread_over(g, **how)],
    jvps="linear", formula="weighted sums of {0}", derivatives=["the weights"], samples=_samples(False),
    doc="Weighted sums of near elements along one axis.", expansion=_expansion, opaque=_SUMS, stacks=(0,),
)  # fmt: skip

_resampling_transposed = declare(
    "resample_transposed", _spread, [lambda h, y, g, **how: _sum_over(h, **how)],
    jvps="linear", formula="{0} times weights, to what was summed", derivatives=["weighted sums"],
    samples=_samples(True), doc="The transpose of resample.", opaque=_SUMS, stacks=(0,),
)  # fmt: skip
_sum_over: Any = polymorphic(_resampling)
_spread_over: Any = polymorphic(_resampling_transposed)


# What users call


def _checked(name: str, mode: str, align_corners: bool | None, antialias: bool = False) -> None:
    choice(name, "mode", mode, list(_RANKS))
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        raise ValueError(f"{name}: align_corners does not go with mode {mode!r}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"{name}: antialias goes with mode 'bilinear' or 'bicubic', not {mode!r}")


def _factors(name: str, scale_factor: Any, n: int) -> tuple[float, ...]:
    values = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * n
    if len(values) != n:
        raise ValueError(f"{name}: scale_factor is one number or {n}, not {scale_factor!r}")
    for value in values:
        if number(name, "scale_factor", value) <= 0 or value == np.inf:
            raise ValueError(f"{name}: scale_factor is positive and finite, not {scale_factor!r}")
    return tuple(float(v) for v in values)


def _resampled(
    name: str, input: Any, size: Any, scale_factor: Any, mode: str, corners: bool, recompute: Any, smooth: bool = False
) -> Tensor:
    x = as_tensor(input)
    if x.ndim not in _RANKS[mode]:
        shapes = {3: "(N, C, L)", 4: "(N, C, H, W)", 5: "(N, C, D, H, W)"}
        expected = " or ".join(shapes[rank] for rank in _RANKS[mode])
        raise ValueError(f"{name}: got input of shape {x.shape}, expects {expected} with mode {mode!r}")
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
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[n - 1](x, sizes)
    if mode.startswith("nearest"):
        return _nearest(x, lengths, sizes, steps, 0.5 if mode == "nearest-exact" else 0.0)
    for axis, (m, k, step) in enumerate(zip(lengths, sizes, steps), 2):
        step = (m - 1) / max(k - 1, 1) if corners else step
        x = _resampling(x, axis=axis, n=m, size=k, rule=mode, step=step, corners=corners, smooth=smooth)
    return x


def _nearest(x: Tensor, lengths: Any, sizes: Any, steps: Any, offset: float) -> Tensor:
    if all(k % m == 0 and step == m / k for m, k, step in zip(lengths, sizes, steps)):
        window = tuple(k // m for m, k in zip(lengths, sizes))
        how = dict(kernel=window, stride=window, padding=(0,) * len(lengths), include=True, over=1)
        return x * 1 if sizes == lengths else spread_over(x, lengths=sizes, size=lengths, **how)
    for axis, (m, k, step) in enumerate(zip(lengths, sizes, steps), 2):
        # PyTorch's single precision decides which element is the nearest.
        source = (np.arange(k, dtype=np.float32) + np.float32(offset)) * np.float32(step)
        x = ad.take(x, np.minimum(source, m - 1).astype(np.int64), axis=axis)
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
    """The input in another spatial size.

    Args:
        input: shape (N, C, L), (N, C, H, W) or (N, C, D, H, W).
        size: lengths of the spatial axes of the output, one integer if they are equal.
        scale_factor: in its place, how many times longer they are than the input's.
        mode, align_corners: as `Upsample`'s.
        recompute_scale_factor: whether places follow from the rounded size in place of `scale_factor`.
        antialias: for "bilinear" and "bicubic" (then a = −1/2), whether a smaller output is made of sums as much wider.

    Raises:
        TypeError, ValueError: for other options and shapes.

    Source: Keys, Cubic convolution interpolation for digital image processing, 1981.

    >>> interpolate([[[1.0, 2.0]]], scale_factor=2)
    Tensor([[[1., 1., 2., 2.]]])
    >>> interpolate([[[1.0, 2.0]]], size=3, mode="linear", align_corners=True)
    Tensor([[[1. , 1.5, 2. ]]])
    """
    _checked("interpolate", mode, align_corners, antialias)
    if recompute_scale_factor and size is not None:
        raise ValueError("interpolate: recompute_scale_factor goes with scale_factor, not with size")
    return _resampled(
        "interpolate", input, size, scale_factor, mode, bool(align_corners), recompute_scale_factor, bool(antialias)
    )


@flagged
def upsample(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """The same as `interpolate`."""
    return interpolate(input, size, scale_factor, mode, align_corners)


class Upsample(Module):
    """The input in another spatial size, as `interpolate`.

    Args:
        size: lengths of the spatial axes of the output, one integer if they are equal.
        scale_factor: in its place, how many times longer they are than the input's.
        mode: "nearest" (the element at the place i · input/output, rounded down), "nearest-exact" (at the place of its
            middle), "linear", "bilinear", "trilinear" (of one, two, three axes; weighted by distance), "bicubic" (of
            two axes; Keys' kernel with a = −3/4) or "area" (means, as adaptive average pooling's).
        align_corners: of linear and cubic modes, whether the outer elements lie at the same places in both; else the
            outer edges of them do.
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
        _checked("Upsample", mode, align_corners)
        if size is None and scale_factor is None:
            raise ValueError("Upsample: takes size or scale_factor")
        if size is not None:
            counts("Upsample", "size", size, len(size) if isinstance(size, (tuple, list)) else 1, 1)
        if scale_factor is not None:
            n = len(scale_factor) if isinstance(scale_factor, (tuple, list)) else 1
            factors = _factors("Upsample", scale_factor, n)
            scale_factor = factors if isinstance(scale_factor, (tuple, list)) else factors[0]
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Any) -> Tensor:
        """The input in its new size."""
        return _resampled(
            "Upsample", input, self.size, self.scale_factor, self.mode, bool(self.align_corners),
            self.recompute_scale_factor,
        )  # fmt: skip

    def extra_repr(self) -> str:
        shown = f"scale_factor={self.scale_factor}" if self.scale_factor is not None else f"size={self.size}"
        return f"{shown}, mode={self.mode!r}"
