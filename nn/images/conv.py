"""Convolution and its transpose over any number of spatial axes: as functions and as modules.

Three bilinear operations carry everything: convolution, convolution transposed (its derivative by the input) and the
product of inputs and outputs (its derivative by the weight). The derivatives of each are the other two, so that second
and higher derivatives are as fast as the first. Each is a matrix product with the windows of the input as columns, a
block of them at a time, so that a block stays in the processor's cache.

In memory the batch is the last axis, (C, H, W, N), whatever the order of the axes a user sees: a window, moved over the
image, is then a few long runs of memory.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.lib.stride_tricks import as_strided

from autodiff import Tensor
from autodiff.machine.kernels import SMALL, enabled
from autodiff.machine.kernels import plain as plain_arrays
from autodiff.primitive import Multiplication, Sample, declare, polymorphic
from autodiff.tensor import plain

from ..arguments import as_tensor, choice, count, counts, floats
from ..axes import LENGTHS, OverAxes, over_axes
from ..module.parameter import Parameter
from ..random import floating, generator
from .folding import folded, unfolded
from .kernels import CONVOLVE, WEIGH
from .padding import padded
from .windows import by_pixel, laid_out

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

# The options of the three, `how`: stride, padding (zeros before and after each axis), dilation and groups.

_BLOCK, _BLOCK_BACK = 1 << 19, 1 << 21
"""Bytes of columns at a time: within the cache of one core, with more where every block costs a loop over offsets."""


LIGHT = 8
"""Products and sums that cost as much as what else is done to a number."""


def _batch_last(x: Any) -> Any:
    return x.transpose(*range(1, x.ndim), 0)


def _batch_first(x: Any) -> Any:
    return x.transpose(x.ndim - 1, *range(x.ndim - 1))


def _padded(x: Any, padding: Pairs) -> Any:
    """With its zeros and with the batch as the last axis, in memory too where that needs a copy anyway or pays."""
    x = _batch_last(x)
    if any(map(any, padding)):
        lengths = tuple(n + before + after for n, (before, after) in zip(x.shape[1:], padding))
        full = np.zeros(x.shape[:1] + lengths + x.shape[-1:], x.dtype)
        full[_inside(x.shape, padding)] = x
        return full
    if x.shape[-1] > 1 and x.strides[-1] != x.itemsize:
        return np.ascontiguousarray(x)
    return x


def _inside(shape: Ints, padding: Pairs) -> tuple[slice, ...]:
    """Where an array of this shape, (C, *lengths, N), lies in the padded one."""
    return (slice(None), *[slice(before, before + n) for n, (before, _) in zip(shape[1:], padding)])


def _windows(x: Any, kernel: Ints, size: Ints, stride: Ints, dilation: Ints) -> Any:
    """The view (C, *kernel, *size, N) of x, (C, *lengths, N)."""
    channel, *steps, image = x.strides
    strides = (channel, *[s * d for s, d in zip(steps, dilation)], *[s * t for s, t in zip(steps, stride)], image)
    return as_strided(x, x.shape[:1] + kernel + size + x.shape[-1:], strides, writeable=False)


def _columns(windows: Any, rows: slice, room: Any, groups: int) -> Any:
    """The windows of some rows as matrices (groups, window, places), in `room` if they must be copied."""
    n = (windows.ndim - 2) // 2
    part = windows[(slice(None),) * (n + 1) + (rows,)]
    shape = (groups, math.prod(part.shape[: n + 1]) // groups, math.prod(part.shape[n + 1 :]))
    if math.prod(part.shape[1 : n + 1]) == 1:
        return part.reshape(shape)
    copy = room[: part.size].reshape(part.shape)
    copy[...] = part
    return copy.reshape(shape)


def _rows_of(y: Any, rows: slice, groups: int) -> Any:
    """Some rows of y, (C, *size, N), as matrices (groups, C / groups, places): a view where memory allows."""
    part = y[:, rows]
    return part.reshape(groups, y.shape[0] // groups, math.prod(part.shape[1:]))


def _room(rows: int, per_row: int, dtype: Any, nbytes: int) -> tuple[Any, list[slice]]:
    """The first spatial axis of an output in blocks whose columns have about so many bytes, and memory for one."""
    step = max(1, min(rows, nbytes // max(1, per_row * dtype.itemsize)))
    blocks = [slice(i, min(i + step, rows)) for i in range(0, rows, step)]
    return np.empty(per_row * step, dtype), blocks


def _of_one_type(*arrays: Any) -> Any:
    kind = np.result_type(*[a for a in arrays if a is not None])
    return [a if a is None or a.dtype == kind else a.astype(kind) for a in arrays]


def _size(lengths: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Ints:
    """The spatial lengths of a convolution's output."""
    return tuple([
        (n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(lengths, kernel, stride, padding, dilation)
    ])  # fmt: skip


# Each channel by itself, as machine code


class _Planes(NamedTuple):
    """The padded input (planes, numbers), and how the kernels of kernels.py go through it."""

    x: Any
    how: Any
    columns: int
    last: bool
    """Whether the batch is the last axis in memory."""

    def of(self, a: Any) -> Any:
        """An array (N, C, ...) as planes."""
        a = _batch_last(a) if self.last else a
        return np.ascontiguousarray(a).reshape(len(self.x), -1)

    def weights(self, w: Any) -> Any:
        """A weight (C, 1, *kernel) for each plane."""
        return np.tile(w.reshape(len(w), -1), (len(self.x) // len(w), 1))


def _planes(
    x: Any, others: Any, channels: int, kernel: Ints, size: Ints, *,
    stride: Ints, padding: Pairs, dilation: Ints, groups: int,
) -> _Planes | None:  # fmt: skip
    """The input as planes; None where no kernel runs on it, or it would not pay."""
    if (
        groups != channels or x.shape[1] != channels or stride[-1] != 1 or len(kernel) > 2 or x.size <= SMALL
        or not math.prod(size) or not plain_arrays(x, *others) or not enabled()
    ):  # fmt: skip
        return None
    last = x.shape[0] > 1 and x.strides[0] == x.itemsize
    if last or not any(map(any, padding)):
        full = np.ascontiguousarray(_padded(x, padding) if last else x)
        lengths, inner = (full.shape[1:-1], x.shape[0]) if last else (full.shape[2:], 1)
    else:
        lengths, inner = tuple([n + sum(p) for n, p in zip(x.shape[2:], padding)]), 1
        full = np.zeros(x.shape[:2] + lengths, x.dtype)
        full[:, *_inside(x.shape[1:], padding)] = x
    row = lengths[-1] * inner
    rows, kernel_rows, down, apart = 1, 1, 0, 0
    if len(kernel) == 2:
        rows, kernel_rows, down, apart = size[0], kernel[0], stride[0] * row, dilation[0] * row
    columns = size[-1] * inner
    how = np.array([[rows, kernel_rows, kernel[-1], down, apart, dilation[-1] * inner, columns]])
    return _Planes(full.reshape(channels if last else channels * x.shape[0], -1), how, columns, last)


def _convolved(
    x: Any, w: Any, b: Any = None, *, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:  # fmt: skip
    """Columns from the left times the weight, a block of output rows at a time."""
    x, w, b = _of_one_type(x, w, b)
    out, kernel = w.shape[0], w.shape[2:]
    size = _size(x.shape[2:], kernel, stride, padding, dilation)
    how: dict[str, Any] = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
    if planes := _planes(x, [w], out, kernel, size, **how):
        shape = (out, *size, x.shape[0]) if planes.last else (x.shape[0], out, *size)
        y = np.empty(shape, x.dtype)
        work = y.size * math.prod(kernel) // LIGHT
        CONVOLVE.rows(planes.x, planes.weights(w), y.reshape(len(planes.x), -1), planes.how,
                      columns=planes.columns, work=work)  # fmt: skip
        y = _batch_first(y) if planes.last else y
        return y if b is None else np.add(y, b.reshape(-1, *[1] * len(kernel)), out=y)
    windows = _windows(_padded(x, padding), kernel, size, stride, dilation)
    w = w.reshape(groups, out // groups, -1)
    y = np.empty((out, *size, x.shape[0]), x.dtype)
    room, blocks = _room(size[0], windows.size // max(1, size[0]), x.dtype, _BLOCK)
    for rows in blocks:
        part = _rows_of(y, rows, groups)
        np.matmul(w, _columns(windows, rows, room, groups), out=part)
        if b is not None:
            part += b.reshape(groups, -1, 1)
    return _batch_first(y)


def _convolved_back(
    x: Any, w: Any, b: Any = None, *, lengths: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    """The weight's transpose times x gives columns, which are added up where their windows lie, in `lengths` places."""
    x, w, b = _of_one_type(x, w, b)
    kernel, size, batch = w.shape[2:], x.shape[2:], x.shape[0]
    channels = w.shape[1] * groups
    ends = [(d * (k - 1) - p, d * (k - 1) - q) for k, d, (p, q) in zip(kernel, dilation, padding)]
    if (
        all(s == 1 for s in stride)
        and min(map(min, ends)) >= 0
        and w.shape[0] * math.prod(size) <= channels * math.prod(lengths)
    ):
        # Then the convolution with the mirrored kernels, which has no sums to make, is no larger.
        mirrored = np.flip(w, tuple(range(2, w.ndim))).reshape(groups, -1, *w.shape[1:]).swapaxes(1, 2)
        mirrored = np.ascontiguousarray(mirrored.reshape(channels, -1, *kernel))  # matmul is slow on reversed ones
        return _convolved(x, mirrored, b, stride=stride, padding=tuple(ends), dilation=dilation, groups=groups)
    full = tuple([n + sum(p) for n, p in zip(lengths, padding)])
    y = np.zeros((channels, *full, batch), x.dtype)
    w = w.reshape(groups, w.shape[0] // groups, w.shape[1] * math.prod(kernel)).swapaxes(1, 2)
    x = _batch_last(x)
    offsets = list(product(*map(range, kernel)))
    per_row = channels * len(offsets) * math.prod(size[1:]) * batch
    room, blocks = _room(size[0], per_row, x.dtype, _BLOCK_BACK)
    for rows in blocks:
        part = (rows.stop - rows.start, *size[1:])
        columns = room[: per_row * part[0]].reshape(groups, w.shape[1], -1)
        np.matmul(w, _rows_of(x, rows, groups), out=columns)
        columns = columns.reshape(channels, *kernel, *part, batch)
        for offset in offsets:
            begin = [o * d for o, d in zip(offset, dilation)]
            begin[0] += rows.start * stride[0]
            place = [slice(i, i + (m - 1) * s + 1, s) for i, m, s in zip(begin, part, stride)]
            y[:, *place] += columns[:, *offset]
    if b is not None:
        y += b.reshape(-1, *[1] * (y.ndim - 1))
    inside = y[_inside((channels, *lengths), padding)]
    return _batch_first(inside)


def _weighed(
    g: Any, x: Any, *, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:  # fmt: skip
    """The columns times the output's cotangent, summed over blocks: (groups, window, out / groups), which BLAS does
    faster than its transpose."""
    g, x = _of_one_type(g, x)
    out, size = g.shape[1], g.shape[2:]
    how: dict[str, Any] = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
    if planes := _planes(x, [g], out, kernel, size, **how):
        w = np.empty((len(planes.x), math.prod(kernel)), x.dtype)
        work = g.size * math.prod(kernel) // LIGHT
        WEIGH.rows(planes.x, planes.of(g), w, planes.how, columns=planes.columns, work=work)
        return w.reshape(-1, out, 1, *kernel).sum(axis=0, dtype=np.float64).astype(x.dtype)
    windows = _windows(_padded(x, padding), kernel, size, stride, dilation)
    g = _batch_last(g)
    room, blocks = _room(size[0], windows.size // max(1, size[0]), x.dtype, _BLOCK)
    total = None
    for rows in blocks:
        part = np.matmul(_columns(windows, rows, room, groups), _rows_of(g, rows, groups).swapaxes(1, 2))
        if total is None:
            total = part
        else:
            total += part
    shape = (out, x.shape[1] // groups, *kernel)
    return np.zeros(shape, x.dtype) if total is None else np.ascontiguousarray(total.swapaxes(1, 2)).reshape(shape)


# The same with all columns at once, in functions that other array types have too


def _grouped(a: Any, groups: int) -> Any:
    """(N, C, *places) as matrices (N, groups, C / groups, places)."""
    return a.reshape(a.shape[0], groups, a.shape[1] // groups, math.prod(a.shape[2:]))


def _all_columns(x: Any, kernel: Ints, size: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Any:
    how: dict[str, Any] = dict(stride=stride, padding=tuple([p for p, _ in padding]), dilation=dilation)
    return _grouped(unfolded(x, x.shape[2:], size, kernel, **how), groups)


def _convolved_written(x: Any, w: Any, b: Any = None, **how: Any) -> Any:
    x, w, b = _of_one_type(x, w, b)
    out, kernel = w.shape[0], w.shape[2:]
    size = _size(x.shape[2:], kernel, how["stride"], how["padding"], how["dilation"])
    w = w.reshape(how["groups"], out // how["groups"], math.prod(w.shape[1:]))
    y = np.matmul(w, _all_columns(x, kernel, size, **how)).reshape(x.shape[0], out, *size)
    return y if b is None else y + b.reshape(-1, *[1] * len(kernel))


def _convolved_back_written(
    x: Any, w: Any, b: Any = None, *, lengths: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    x, w, b = _of_one_type(x, w, b)
    kernel, size = w.shape[2:], x.shape[2:]
    matrices = w.reshape(groups, w.shape[0] // groups, math.prod(w.shape[1:])).swapaxes(1, 2)
    columns = np.matmul(matrices, _grouped(x, groups))
    columns = columns.reshape(x.shape[0], groups * math.prod(w.shape[1:]), math.prod(size))
    begins = tuple([p for p, _ in padding])
    y = folded(columns, lengths, size, kernel, stride=stride, padding=begins, dilation=dilation)
    return y if b is None else y + b.reshape(-1, *[1] * len(kernel))


def _weighed_written(g: Any, x: Any, *, kernel: Ints, **how: Any) -> Any:
    g, x = _of_one_type(g, x)
    groups, out = how["groups"], g.shape[1]
    columns = _all_columns(x, kernel, g.shape[2:], **how)
    rows = [a.transpose(1, 2, 0, 3) for a in (_grouped(g, groups), columns)]
    g, columns = (a.reshape(groups, a.shape[1], math.prod(a.shape[2:])) for a in rows)
    return np.matmul(g, columns.swapaxes(1, 2)).reshape(out, x.shape[1] // groups, *kernel)


def _per_channel(g: Any) -> Any:
    """The sum over all axes but the channels'."""
    return g.sum(axis=(0, *range(2, g.ndim)))


_CASES: list[tuple[Ints, Ints, dict[str, Any]]] = [
    ((2, 2, 5), (2, 2, 3), dict(stride=(1,), padding=((0, 0),), dilation=(1,), groups=1)),
    ((1, 2, 5), (2, 1, 2), dict(stride=(2,), padding=((1, 2),), dilation=(2,), groups=2)),
    ((2, 1, 4, 3), (2, 1, 2, 2), dict(stride=(1, 2), padding=((1, 1), (0, 1)), dilation=(2, 1), groups=1)),
    ((1, 2, 2, 3), (1, 2, 1, 1), dict(stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1)),
    ((1, 1, 2), (1, 1, 2), dict(stride=(2,), padding=((1, 0),), dilation=(1,), groups=1)),
    ((0, 1, 3), (1, 1, 2), dict(stride=(1,), padding=((0, 0),), dilation=(1,), groups=1)),
]  # fmt: skip


def _samples(kind: str, bias: bool = False) -> Any:
    def samples(rng: np.random.Generator) -> list[Sample]:
        found = []
        for x, w, how in _CASES:
            kernel, options = w[2:], dict(how)
            size = _size(x[2:], kernel, how["stride"], how["padding"], how["dilation"])
            y = (x[0], w[0], *size)
            if kind == "back":
                shapes, options["lengths"] = [y, w, (x[1],)], x[2:]
            elif kind == "weight":
                shapes, options["kernel"] = [y, x], kernel
            else:
                shapes = [x, w, w[:1]]
            found.append(Sample(tuple(rng.normal(size=s) for s in shapes[: 3 if bias else 2]), options))
        return found

    return samples


_RULES = [
    lambda g, y, x, w, b=None, **how: _back(g, w, lengths=x.shape[2:], **how),
    lambda g, y, x, w, b=None, **how: _weigh(g, x, kernel=w.shape[2:], **how),
    lambda g, y, x, w, b=None, **how: _per_channel(g),
]

_BACK_RULES = [
    lambda g, y, x, w, b=None, lengths=(), **how: _convolve(g, w, **how),
    lambda g, y, x, w, b=None, lengths=(), **how: _weigh(x, g, kernel=w.shape[2:], **how),
    lambda g, y, x, w, b=None, lengths=(), **how: _per_channel(g),
]


def _products(patches: Tensor, w: Tensor, b: Tensor | None, groups: int) -> Tensor:
    """Patches (N, C, pixels, *kernel) times the weight, (N, out, pixels)."""
    batch, _, pixels, out = *patches.shape[:3], w.shape[0]
    length = w.size // max(out, 1)
    patches = patches.swapaxes(1, 2)
    if groups == 1:
        y = patches.reshape((batch, pixels, length)) @ w.reshape((out, length)).T
    else:
        rows = patches.reshape((batch, pixels, groups, length)).transpose((2, 0, 1, 3))
        weights = w.reshape((groups, 1, out // groups, length)).swapaxes(2, 3)
        y = (rows @ weights).transpose((1, 2, 0, 3)).reshape((batch, pixels, out))
    return (y if b is None else y + b).swapaxes(1, 2)


def _expansion(
    x: Tensor, w: Tensor, b: Tensor | None = None, *, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    """Each pixel of the output is a patch of the input times the weight: the first by itself, then all the others."""
    size = _size(x.shape[2:], w.shape[2:], stride, padding, dilation)
    if any(map(any, padding)):
        yield "padding"
        x = cast(Tensor, np.pad(cast(Any, x), ((0, 0), (0, 0), *padding)))
    return (
        yield from by_pixel(x, w.shape[2:], size, stride, dilation, lambda patches: _products(patches, w, b, groups))
    )


def _expansion_back(
    x: Tensor, w: Tensor, b: Tensor | None = None, *,
    lengths: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int,
) -> Any:  # fmt: skip
    """Each pixel of the output is the sum of what the input's pixels that reach it contribute: of the input laid out
    with zeros between its pixels, a patch times the weight, turned over."""
    kernel = w.shape[2:]
    if not (math.prod(x.shape[2:]) and math.prod(lengths) and np.isfinite(plain(w)).all()):
        return None  # of nothing there is no patch; and 0 · ∞ would be one of the products
    reach = [(k - 1) * d for k, d in zip(kernel, dilation)]
    yield "zeros between the pixels and around"
    x = laid_out(
        x, tuple([n + r for n, r in zip(lengths, reach)]), stride, tuple([r - p for r, (p, _) in zip(reach, padding)])
    )  # fmt: skip
    yield "weight turned over"
    w = w.reshape((groups, w.shape[0] // groups, *w.shape[1:])).swapaxes(1, 2)
    w = w.reshape((-1, *w.shape[2:]))[(slice(None), slice(None), *[slice(None, None, -1)] * len(kernel))]
    ones = (1,) * len(kernel)
    return (
        yield from by_pixel(x, kernel, lengths, ones, dilation, lambda patches: _products(patches, w, b, groups))
    )  # fmt: skip


def _multiplications(
    x: Any, w: Any, b: Any = None, *, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> list[Multiplication]:
    """The windows of each group of channels times the group's weight."""
    kernel, place = "uvw"[: w.ndim - 2], "xyz"[: w.ndim - 2]
    size = _size(x.shape[2:], w.shape[2:], stride, padding, dilation)

    def windows() -> Any:
        found = _windows(_padded(plain(x), padding), w.shape[2:], size, stride, dilation)
        return found.reshape(groups, w.shape[1], *found.shape[1:])

    return [Multiplication(
        w, windows, f"gc{kernel}{place}n,goc{kernel}->ngo{place}", b, (groups, w.shape[0] // groups, *w.shape[1:]),
        (x.shape[0], groups, w.shape[0] // groups, *size),
    )]  # fmt: skip


_WINDOWS = "windows are views of memory, copied block by block"

_convolution = declare(
    "convolution", _convolved, _RULES, formula="{1} ∗ {0} + {2}", derivatives=["{1} ∗ᵀ", "{0} ∗", "1"],
    samples=_samples("forward", bias=True), multiplies=_multiplications,
    written=_convolved_written, opaque=_WINDOWS, stacks=(0,),
    doc="The cross-correlation of x, (N, C, *lengths), with a weight, (out, C / groups, *kernel), and a bias.",
    expansion=_expansion,
)  # fmt: skip

_convolution_without_bias = declare(
    "convolution_without_bias", _convolved, _RULES[:2], jvps="multilinear", formula="{1} ∗ {0}",
    derivatives=["{1} ∗ᵀ", "{0} ∗"],
    samples=_samples("forward"), multiplies=_multiplications, written=_convolved_written, opaque=_WINDOWS, stacks=(0,),
    doc="The cross-correlation of x, (N, C, *lengths), with a weight, (out, C / groups, *kernel).",
    expansion=_expansion,
)  # fmt: skip

_transposed_convolution = declare(
    "transposed_convolution", _convolved_back, _BACK_RULES, expansion=_expansion_back,
    formula="{1} ∗ᵀ {0} + {2}", derivatives=["{1} ∗", "∗ {0}", "1"], samples=_samples("back", bias=True),
    doc="The transpose of the cross-correlation with a weight, (C, out / groups, *kernel), and a bias.",
    written=_convolved_back_written, opaque=_WINDOWS, stacks=(0,),
)  # fmt: skip

_transposed_convolution_without_bias = declare(
    "transposed_convolution_without_bias", _convolved_back, _BACK_RULES[:2], expansion=_expansion_back,
    jvps="multilinear", formula="{1} ∗ᵀ {0}", derivatives=["{1} ∗", "∗ {0}"], samples=_samples("back"),
    doc="The transpose of the cross-correlation with a weight, (C, out / groups, *kernel).",
    written=_convolved_back_written, opaque=_WINDOWS,
    stacks=(0,),
)  # fmt: skip

_convolution_by_weight = declare(
    "convolution_by_weight", _weighed,
    [lambda v, y, g, x, kernel, **how: _convolve(x, v, **how),
     lambda v, y, g, x, kernel, **how: _back(g, v, lengths=x.shape[2:], **how)],
    jvps="multilinear", formula="{0} ∗ {1}", derivatives=["∗ {1}", "{0} ∗ᵀ"], samples=_samples("weight"),
    doc="What a weight receives: of each of its elements, the products of what it joined, summed.",
    written=_weighed_written, opaque=_WINDOWS,
)  # fmt: skip

_convolve: Any = polymorphic(_convolution_without_bias)
_back: Any = polymorphic(_transposed_convolution_without_bias)
_weigh: Any = polymorphic(_convolution_by_weight)


# What users call


def _options(name: str, n: int, stride: Any, padding: Any, dilation: Any, groups: Any) -> dict[str, Any]:
    """The options, checked, with one value for each spatial axis; padding "same" and "valid" as they are."""
    how: dict[str, Any] = {
        "stride": counts(name, "stride", stride, n, 1),
        "padding": padding if isinstance(padding, str) else counts(name, "padding", padding, n),
        "dilation": counts(name, "dilation", dilation, n, 1),
        "groups": count(name, "groups", groups, 1),
    }
    if isinstance(padding, str):
        choice(name, "padding", padding, ["valid", "same"])
        if padding == "same" and any(s != 1 for s in how["stride"]):
            raise ValueError(f"{name}: padding='same' needs stride 1, not {how['stride']}")
    return how


def _widths(padding: Any, kernel: Ints, dilation: Ints) -> Pairs:
    """How many zeros are put before and after each axis."""
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return tuple([(t // 2, t - t // 2) for t in totals])
    return tuple([(p, p) for p in padding])


def _batched(name: str, n: int, input: Any, weight: Tensor, channels: int) -> tuple[Tensor, bool]:
    """The input with a batch axis, and whether it had one."""
    x = as_tensor(input)
    if x.ndim not in (n + 1, n + 2) or x.shape[-n - 1] != channels:
        raise ValueError(
            f"{name}: got input of shape {x.shape}, expects (N, {channels}, {LENGTHS[n]}) or ({channels}, {LENGTHS[n]})"
        )
    floats(name, x, weight)
    if x.ndim == n + 2:
        return x, True
    batch: Tensor = x[None]
    return batch, False


def _apply(name: str, n: int, input: Any, w: Any, b: Any, how: dict[str, Any], mode: str = "zeros") -> Tensor:
    """A convolution, its options checked."""
    kernel = w.shape[2:]
    x, batched = _batched(name, n, input, w, w.shape[1] * how["groups"])
    widths = _widths(how["padding"], kernel, how["dilation"])
    if mode != "zeros" and any(map(any, widths)):
        x = padded(name, x, tuple([p for pair in reversed(widths) for p in pair]), mode)
        widths = ((0, 0),) * n
    for length, k, pair, d in zip(x.shape[2:], kernel, widths, how["dilation"]):
        if length + sum(pair) < d * (k - 1) + 1:
            raise ValueError(
                f"{name}: got input of spatial shape {x.shape[2:]}, which with padding {widths} is smaller than the "
                f"kernel {kernel}, dilation {how['dilation']}"
            )
    how = how | {"padding": widths}
    y = _convolution_without_bias(x, w, **how) if b is None else _convolution(x, w, b, **how)
    return y if batched else y[0]


def _apply_back(name: str, n: int, input: Any, w: Any, b: Any, how: dict[str, Any], more: Any, size: Any) -> Tensor:
    """A transposed convolution, its options checked; `size`, if given, decides in place of output_padding, `more`."""
    kernel, stride, padding, dilation = w.shape[2:], how["stride"], how["padding"], how["dilation"]
    x, batched = _batched(name, n, input, w, w.shape[0])
    least = [
        (m - 1) * s - 2 * p + d * (k - 1) + 1 for m, s, p, d, k in zip(x.shape[2:], stride, padding, dilation, kernel)
    ]
    if size is not None:
        size = tuple(size) if isinstance(size, (tuple, list)) else (size,) * n
        whole = n + 2 if batched else n + 1
        sizes = counts(name, "output_size", size[-n:] if len(size) == whole else size, n)
        if any(not m <= want < m + s for want, m, s in zip(sizes, least, stride)):
            most = [m + s - 1 for m, s in zip(least, stride)]
            raise ValueError(f"{name}: output_size is within {tuple(least)} … {tuple(most)}, not {sizes}")
        more = [want - m for want, m in zip(sizes, least)]
    if any(extra and extra >= max(s, d) for extra, s, d in zip(more, stride, dilation)):
        raise ValueError(f"{name}: output_padding {tuple(more)} is less than stride {stride} or dilation {dilation}")
    # A convolution of that many more places, from the stride on, would have more outputs than this has inputs: they
    # come of the padding that was cut off, and where that ends, from nothing.
    uncut = [min(p, max(0, extra - s + 1)) for p, extra, s in zip(padding, more, stride)]
    beyond = [max(0, extra - s + 1) - m for m, extra, s in zip(uncut, more, stride)]
    pairs = tuple([(p, p - m) for p, m in zip(padding, uncut)])
    lengths = tuple([m + extra - o for m, extra, o in zip(least, more, beyond)])
    if any(m < 1 for m in lengths):
        raise ValueError(
            f"{name}: got input of spatial shape {x.shape[2:]}, of which padding {padding} leaves nothing: {lengths}"
        )
    how = how | {"padding": pairs, "lengths": lengths}
    if b is None or any(beyond):
        y = _transposed_convolution_without_bias(x, w, **how)
        if any(beyond):
            y = padded(name, y, tuple([m for extra in reversed(beyond) for m in (0, extra)]))
            y = y if b is None else y + b.reshape(-1, *[1] * n)
    else:
        y = _transposed_convolution(x, w, b, **how)
    return y if batched else y[0]


def _weights(name: str, n: int, weight: Any, bias: Any, groups: int, back: bool) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a function, checked."""
    w = as_tensor(weight)
    b = None if bias is None else as_tensor(bias)
    first, second = ("in", "out") if back else ("out", "in")
    if w.ndim != n + 2 or 0 in w.shape:
        raise ValueError(
            f"{name}: got weight of shape {w.shape}, expects ({first}, {second} / groups, *kernel), none 0"
        )
    if w.shape[0] % groups:
        raise ValueError(f"{name}: got weight of shape {w.shape}, whose first length groups={groups} does not divide")
    out = w.shape[1] * groups if back else w.shape[0]
    if b is not None and b.shape != (out,):
        raise ValueError(f"{name}: got bias of shape {b.shape}, expects ({out},)")
    floats(name, w, what="weight")
    return w, b


def _conv_nd(
    n: int, input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """The convolution over {axes}; see `Conv{n}d`.

    Args:
        input: shape (N, C, {L}) or (C, {L}).
        weight: shape (out, C / groups, {kernel}).
        bias: shape (out,), or None.
        stride, padding, dilation, groups: as `Conv{n}d`'s.

    Raises:
        TypeError, ValueError: for other options and shapes that do not fit.

    >>> conv{n}d(np.ones((5, 2, {4 ...})), np.ones((3, 2, {3 ...}))).shape
    (5, 3, {2 ...})
    """
    name = f"conv{n}d"
    how = _options(name, n, stride, padding, dilation, groups)
    w, b = _weights(name, n, weight, bias, how["groups"], False)
    return _apply(name, n, input, w, b, how)


def _conv_transpose_nd(
    n: int, input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """The transposed convolution over {axes}; see `ConvTranspose{n}d`.

    Args:
        input: shape (N, C, {L}) or (C, {L}).
        weight: shape (C, out / groups, {kernel}).
        bias: shape (out,), or None.
        stride, padding, output_padding, groups, dilation: as `ConvTranspose{n}d`'s.

    Raises:
        TypeError, ValueError: for other options and shapes that do not fit.

    >>> conv_transpose{n}d(np.ones((5, 3, {2 ...})), np.ones((3, 2, {3 ...}))).shape
    (5, 2, {4 ...})
    """
    name = f"conv_transpose{n}d"
    how = _options(name, n, stride, counts(name, "padding", padding, n), dilation, groups)
    w, b = _weights(name, n, weight, bias, how["groups"], True)
    return _apply_back(name, n, input, w, b, how, counts(name, "output_padding", output_padding, n), None)


conv1d, conv2d, conv3d = over_axes(_conv_nd)
conv_transpose1d, conv_transpose2d, conv_transpose3d = over_axes(_conv_transpose_nd)


class Convolution(OverAxes):
    """What the layers share: options, parameters and their initial values."""

    _back = False

    weight: Parameter
    bias: Parameter | None

    def _make(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
        groups: int, bias: bool, padding_mode: str, dtype: Any, rng: np.random.Generator | None,
        output_padding: Any = 0,
    ) -> None:  # fmt: skip
        name, n = type(self).__name__, self._axes
        self.in_channels = count(name, "in_channels", in_channels, 1)
        self.out_channels = count(name, "out_channels", out_channels, 1)
        self.kernel_size = counts(name, "kernel_size", kernel_size, n, 1)
        self._how = _options(name, n, stride, padding, dilation, groups)
        self.stride, self.padding = self._how["stride"], self._how["padding"]
        self.dilation, self.groups = self._how["dilation"], self._how["groups"]
        self.output_padding = counts(name, "output_padding", output_padding, n)
        self.padding_mode = choice(
            name, "padding_mode", padding_mode,
            ["zeros"] if self._back else ["zeros", "reflect", "replicate", "circular"],
        )  # fmt: skip
        for what, channels in ("in_channels", self.in_channels), ("out_channels", self.out_channels):
            if channels % self.groups:
                raise ValueError(f"{name}: {what}={channels} is a multiple of groups={groups}")
        first, second = self.out_channels, self.in_channels
        if self._back:
            first, second = second, first
        dtype = floating(dtype)
        self.weight = Parameter(np.empty((first, second // self.groups, *self.kernel_size), dtype))
        self.register_parameter("bias", Parameter(np.empty(self.out_channels, dtype)) if bias else None)
        self.reset_parameters(rng)

    def reset_parameters(self, rng: np.random.Generator | None = None) -> None:
        """Draw the initial values again: weight, then bias, uniform within ±1/√n, n the number of elements of
        ``weight[0]`` (PyTorch's default)."""
        rng = generator(rng)
        bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
        for p in self.parameters():
            p.data = rng.uniform(-bound, bound, p.shape).astype(p.dtype)

    def multiply_adds(self, input_shapes: tuple[Any, ...], output_shape: Any) -> int:
        """A kernel's size, over the channels of a group, for each output (transposed: for each input)."""
        places = input_shapes[0] if self._back else output_shape
        return int(math.prod(places)) * math.prod(self.weight.shape[1:])

    def _name(self) -> str:
        return f"{type(self).__name__}({self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size})"

    def extra_repr(self) -> str:
        n = self._axes
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        for name, default in {
            "padding": (0,) * n, "dilation": (1,) * n, "output_padding": (0,) * n, "groups": 1,
        }.items():  # fmt: skip
            if getattr(self, name) != default:
                parts.append(f"{name}={getattr(self, name)}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Conv(Convolution):
    _text = """The convolution (as in all libraries, the cross-correlation) over {axes},

    y[n, o, i] = b[o] + Σ_c Σ_k w[o, c, k] · x[n, c, stride · i + dilation · k − padding],

    where i and k are places along {axes}.

    Args:
        in_channels: C.
        out_channels: number of kernels.
        kernel_size: their length K{each}. (So are stride, padding and dilation.)
        stride: distance between places of the output, measured in the input.
        padding: how many elements are put at both ends; "valid" for none, "same" for as many as make the output as
            long as the input (one more at the end if they are odd; stride 1 only).
        dilation: distance between the elements a kernel joins.
        groups: into how many parts the channels are divided, each with kernels of its own.
        bias: whether there is a b.
        padding_mode: what is put there: "zeros", "reflect" (mirrored at the element at the end), "replicate" (the
            element at the end) or "circular" (from the other end).
        dtype: of the parameters; `nn.get_default_dtype()` by default.
        rng: generator of the initial values, which are uniform within ±1/√n, n the elements of a kernel over the
            channels of a group (PyTorch's default); the one that `nn.manual_seed` sets by default.

    Shapes: input (N, C, {L}) or (C, {L}), output with `out_channels` in place of C and ⌊(length + 2 padding − dilation
    (K − 1) − 1) / stride⌋ + 1 in place of each length; `weight` (out_channels, C / groups, {kernel}), `bias`
    (out_channels,).

    Raises:
        TypeError, ValueError: for other options, `groups` that do not divide both numbers of channels, and inputs of
            another number of axes or channels or kind, or smaller than a kernel.

    >>> import numpy as np, nn
    >>> layer = nn.Conv{n}d(2, 4, 3, padding="same")
    >>> layer(np.ones((5, 2, {6 ...}), "float32")).shape
    (5, 4, {6 ...})
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:  # fmt: skip
        self._make(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, dtype, rng
        )  # fmt: skip

    def forward(self, input: Any) -> Tensor:
        """The convolution."""
        return _apply(self._name(), self._axes, input, self.weight, self.bias, self._how, self.padding_mode)


class Conv1d(_Conv, axes=1): ...


class Conv2d(_Conv, axes=2): ...


class Conv3d(_Conv, axes=3): ...


class _ConvTranspose(Convolution):
    _text = """The transposed convolution over {axes}: what `Conv{n}d` with these options does in its backward pass,

    y[n, o, stride · i + dilation · k − padding] receives w[c, o, k] · x[n, c, i] from all c, i, k; and b[o] is added.

    Args:
        in_channels: C.
        out_channels: channels of the output.
        kernel_size: length K of a kernel{each}. (So are stride, padding, output_padding and dilation.)
        stride: distance, in the output, between places of the input.
        padding: how many elements of the output are cut off at both ends.
        output_padding: how many are added at the end; less than stride or dilation.
        groups: into how many parts the channels are divided, each with kernels of its own.
        bias: whether there is a b.
        dilation: distance, in the output, between the elements of a kernel.
        padding_mode: "zeros".
        dtype: of the parameters; `nn.get_default_dtype()` by default.
        rng: generator of the initial values, which are uniform within ±1/√n, n the elements of a kernel over the
            output's channels of a group (PyTorch's default); the one that `nn.manual_seed` sets by default.

    Shapes: input (N, C, {L}) or (C, {L}), output with `out_channels` in place of C and (length − 1) stride − 2 padding
    + dilation (K − 1) + output_padding + 1 in place of each length; `weight` (C, out_channels / groups, {kernel}),
    `bias` (out_channels,).

    Raises:
        TypeError, ValueError: for other options, `groups` that do not divide both numbers of channels, and inputs of
            another number of axes or channels or kind.

    >>> import numpy as np, nn
    >>> nn.ConvTranspose{n}d(2, 4, 3, stride=2)(np.ones((5, 2, {4 ...}), "float32")).shape
    (5, 4, {9 ...})
    """

    _back = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1, padding_mode: str = "zeros",
        dtype: Any = None, rng: np.random.Generator | None = None,
    ) -> None:  # fmt: skip
        padding = counts(type(self).__name__, "padding", padding, self._axes)
        self._make(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, dtype, rng,
            output_padding,
        )  # fmt: skip

    def forward(self, input: Any, output_size: Any = None) -> Tensor:
        """The transposed convolution. Several lengths of its output belong to one of its input if stride is not 1;
        `output_size`, the spatial lengths or the whole shape, chooses among them in place of `output_padding`."""
        return _apply_back(
            self._name(), self._axes, input, self.weight, self.bias, self._how, self.output_padding, output_size
        )  # fmt: skip


class ConvTranspose1d(_ConvTranspose, axes=1): ...


class ConvTranspose2d(_ConvTranspose, axes=2): ...


class ConvTranspose3d(_ConvTranspose, axes=3): ...
