"""Figures of weights: the kernels of a convolution, and who attends to whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autodiff import Tensor
from autodiff.figures import DIVERGING, LARGEST, SEQUENTIAL, axes_for, axes_grid, drawable, pyplot
from autodiff.flags import flagged
from autodiff.lettering import families, legible
from autodiff.tensor import plain

from ..arguments import count, counts
from ..images.conv import ConvTranspose1d, ConvTranspose2d
from ..module.module import Module

Array = Any


@flagged
def filters(
    weight: Any, *, shape: tuple[int, int] | None = None, limit: int = 16, rgb: bool | None = None, ax: Any = None
) -> Any:
    """The kernels of a convolution as a grid of pictures, all in one scale, 0 in the middle.

    Over three input channels each output channel has one picture in colour, of red, green and blue: ½ + ½ w / max |w|,
    so that grey is 0. Otherwise a row holds the kernels of one output channel, one for each input channel. Pictures of
    colours, and of a single input channel, are arranged as a square. A one-dimensional convolution has a picture for
    each output channel, its rows the input channels. Weights that are not finite are left blank.

    Args:
        weight: a layer with a `weight`, or the weight itself: shape (out, in, height, width) or (out, in, length).
        shape: (height, width), for a linear layer's weight (out, height · width): each row as a picture.
        limit: how many output and input channels are shown, the first ones; of a square, so many in a row.
        rgb: whether the input channels are red, green and blue; by default if there are three of them, of a
            two-dimensional convolution without groups.
        ax: matplotlib axes to draw into; new ones by default.

    Returns:
        the axes.

    Raises:
        TypeError, ValueError: for weights of other shapes, and colours of other than three input channels.
        ImportError: without matplotlib.

    >>> import matplotlib.pyplot as plt, nn
    >>> ax = nn.plot.filters(nn.Conv2d(3, 9, 5))
    >>> ax.images[0].get_array().shape  # 3 × 3 kernels, red, green, blue and opacity
    (17, 17, 4)
    >>> gray = nn.plot.filters(nn.Conv2d(3, 9, 5), rgb=False)
    >>> gray.get_xlabel(), gray.get_ylabel()
    ('input channel', 'output channel')
    >>> plt.close(ax.figure), plt.close(gray.figure)
    (None, None)
    """
    where = "nn.plot.filters"
    limit = count(where, "limit", limit, 1)
    given = getattr(weight, "weight", None) if isinstance(weight, Module) else weight
    w = _floats(where, given, "a layer with a weight, or a weight")
    if shape is not None:
        height, width = counts(where, "shape", shape, 2, 1)
        if w.ndim != 2 or w.shape[1] != height * width:
            raise ValueError(
                f"{where}: shape {height, width} needs a weight of shape (n, {height * width}), not {w.shape}"
            )
        w = w.reshape(-1, 1, height, width)
    transposed = isinstance(weight, (ConvTranspose1d, ConvTranspose2d))  # whose first axis is that of the input
    grouped = getattr(weight, "groups", 1) != 1
    if transposed:
        w = w.swapaxes(0, 1)
    if rgb is None:
        rgb = w.ndim == 4 and w.shape[1] == 3 and not transposed and not grouped
    elif rgb and (w.ndim != 4 or w.shape[1] != 3):
        raise ValueError(f"{where}: rgb=True takes kernels of 3 input channels, (out, 3, height, width), not {w.shape}")
    if w.ndim == 3:
        w = w[:, None]
    if w.ndim != 4 or not w.size:
        hint = "; say shape=(height, width) for a linear layer's" if w.ndim == 2 else ""
        raise ValueError(
            f"{where}: takes a weight of shape (out, in, height, width) or (out, in, length), not {w.shape}{hint}"
        )
    kinds = np.moveaxis(w, 1, -1)[:, None] if rgb else w[..., None]  # the last axis is that of the colours
    square = kinds.shape[1] == 1
    shown = kinds[: limit * limit] if square else kinds[:limit, :limit]
    kernels, there = shown.shape[0] * shown.shape[1], kinds.shape[0] * kinds.shape[1]
    unknown = int((~np.isfinite(shown)).sum())
    shown = np.where(np.isfinite(shown), np.clip(shown, -LARGEST, LARGEST), np.nan)
    if square:
        columns = int(np.ceil(np.sqrt(len(shown))))
        rows = -(-len(shown) // columns)
        missing = np.full((rows * columns - len(shown), *shown.shape[1:]), np.nan)
        shown = np.concatenate([shown, missing]).reshape(rows, columns, *shown.shape[2:])
    rows, columns, height, width, colours = shown.shape
    picture = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, colours), np.nan)
    for i, j in np.ndindex(rows, columns):
        picture[i * (height + 1) :, j * (width + 1) :][:height, :width] = shown[i, j]
    tall, wide = picture.shape[:2]
    scale = 4.5 / max(tall, wide)
    ax = axes_for(where, ax, (max(3.0, wide * scale) + 1.3 * (not rgb), max(2.0, tall * scale) + 0.7))
    largest = float(np.nanmax(np.abs(picture), initial=0.0))
    largest = largest if largest > 1 / LARGEST else 1.0
    if rgb:
        opaque = np.isfinite(picture).all(axis=-1, keepdims=True)
        painted = np.concatenate([np.where(opaque, 0.5 + 0.5 * (picture / largest), 0.0), opaque], axis=-1)
        image = ax.imshow(painted, interpolation="nearest", aspect=_aspect(tall, wide))
    else:
        image = ax.imshow(
            picture[..., 0], cmap=DIVERGING, vmin=-largest, vmax=largest, interpolation="nearest",
            aspect=_aspect(tall, wide),
        )  # fmt: skip
    ax.grid(False)
    ax.set(xticks=[], yticks=[])
    for side in ax.spines.values():
        side.set_visible(False)
    if not square:
        for axis, n, size in ((ax.xaxis, columns, width), (ax.yaxis, rows, height)):
            at = list(range(0, n, -(-n // 8)))
            axis.set_ticks([k * (size + 1) + (size - 1) / 2 for k in at], [str(k) for k in at])
        of_group = " of a group" * grouped
        ax.set(xlabel="input channel" + of_group * (not transposed), ylabel="output channel" + of_group * transposed)
    said = [f"the first {kernels} of {there} kernels"] if kernels < there else []
    said += [f"grey is 0, brightest and darkest ±{largest:.2g}"] if rgb else []
    said += [f"{unknown} weights are not finite"] if unknown else []
    ax.set_title("\n".join(said), fontsize="medium" if not rgb and len(said) < 2 else "small")
    if not rgb:
        ax.figure.colorbar(image, ax=ax, shrink=0.8)
    return ax


def _aspect(tall: int, wide: int) -> str:
    """Square pixels, unless the picture would be a thread."""
    return "equal" if max(tall, wide) <= 10 * min(tall, wide) else "auto"


def attention(weights: Any, tokens: Sequence[Any] | None = None, *, ax: Any = None) -> Any:
    """Attention weights as heat maps, one for each head: rows are queries, columns keys, all in one scale from 0.

    Args:
        weights: shape (queries, keys) or (heads, queries, keys): what `MultiheadAttention` returns for one sample with
            ``average_attn_weights=False``.
        tokens: a name for each position, if queries and keys are the same; or a pair of lists, (queries, keys). They
            are drawn in an installed font that has their letters; letters that none has are drawn as escapes.
        ax: matplotlib axes to draw into, as many as there are heads; new ones by default.

    Returns:
        the axes of one head; an array of them for several.

    Raises:
        TypeError, ValueError: for weights of other shapes, and tokens of other lengths.
        ImportError: without matplotlib.

    >>> import matplotlib.pyplot as plt, nn
    >>> axes = nn.plot.attention(np.full((2, 3, 3), 1 / 3), tokens=["the", "cat", "sat"])
    >>> [ax.get_title() for ax in axes]
    ['head 0', 'head 1']
    >>> plt.close(axes[0].figure)
    """
    where = "nn.plot.attention"
    w = _floats(where, weights, "attention weights")
    if w.ndim not in (2, 3) or not w.size:
        hint = "; write weights[0] for the heads of one sample" if w.ndim == 4 else ""
        raise ValueError(
            f"{where}: takes weights of shape (queries, keys) or (heads, queries, keys), not {w.shape}{hint}"
        )
    heads = w[None] if w.ndim == 2 else w
    names = _names(where, tokens, heads.shape[1:])
    n, (queries, keys) = len(heads), heads.shape[1:]
    columns = min(n, 4)
    pyplot(where)
    font = families(name for line in names for name in line)
    names = [legible(name, 24) for name in names[0]], [legible(name, 24) for name in names[1]]
    longest = 0.06 * max((len(name) for line in names for name in line), default=0)
    wide, tall = (float(np.clip(0.28 * size, 1.8, 4.5)) + longest for size in (keys, queries))
    axes = axes_grid(where, n, ax, (wide * columns + 1.2, (tall + 0.4) * -(-n // columns)), columns)
    shown = drawable(heads)
    seen = shown[np.isfinite(shown)]
    low, high = min(0.0, float(seen.min(initial=0.0))), float(seen.max(initial=0.0))
    high = high if high - low > 1 / LARGEST else low + 1.0
    for i, (one, head) in enumerate(zip(axes, shown)):
        image = one.imshow(
            head, cmap=SEQUENTIAL, vmin=low, vmax=high, interpolation="nearest", aspect=_aspect(queries, keys)
        )
        one.grid(False)
        one.set(xlabel="key", ylabel="query", title=f"head {i}" if w.ndim == 3 else "")
        for axis, line, size in ((one.yaxis, names[0], queries), (one.xaxis, names[1], keys)):
            axis.get_major_locator().set_params(integer=True)
            if line:
                every = -(-size // 32)
                axis.set_ticks(range(0, size, every), line[::every], parse_math=False, fontsize="small", family=font)
        if any(len(name) > 2 for name in names[1]):
            one.tick_params(axis="x", rotation=90)
    bar = axes[0].figure.colorbar(image, ax=list(axes), shrink=0.8)
    if len(seen) < heads.size:
        bar.set_label("blank: not finite", fontsize="small")
    return axes if w.ndim == 3 else axes[0]


def _floats(where: str, value: Any, what: str) -> Array:
    array = np.asarray(plain(value) if isinstance(value, Tensor) else value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{where}: takes {what}, an array of numbers, not {type(value).__name__}")
    return array.astype(float)


def _names(where: str, tokens: Any, shape: tuple[int, int]) -> tuple[list[str], list[str]]:
    """What queries and keys are called."""
    if tokens is None:
        return [], []
    if not isinstance(tokens, (list, tuple, np.ndarray, str)):
        raise TypeError(f"{where}: tokens is a list of names, or a pair of lists (queries, keys), not {tokens!r}")
    pair = len(tokens) == 2 and all(isinstance(line, (list, tuple, np.ndarray)) for line in tokens)
    found = tuple([str(token) for token in line] for line in (tokens if pair else (tokens, tokens)))
    for line, size, what in zip(found, shape, ("queries", "keys")):
        if len(line) != size:
            raise ValueError(f"{where}: {len(line)} tokens for {size} {what}; tokens is a list, or (queries, keys)")
    return found[0], found[1]
