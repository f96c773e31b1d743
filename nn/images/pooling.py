"""Pooling: the maximum or the mean over windows, as functions and as modules, over any number of spatial axes.

A window is taken apart into offsets: at one offset, the elements of all windows are one strided slice of the input, so
that pooling is a few elementwise operations on slices. Each operation, with its choices fixed, is linear and comes with
its transpose, which is its derivative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.opaque import opaque
from autodiff.ops.samples import draw
from autodiff.primitive import Sample, declare, polymorphic
from autodiff.tensor import is_foreign, plain

from ..arguments import as_tensor, count, counts, floats
from ..axes import LENGTHS, OverAxes, over_axes
from .windows import by_pixel, laid_out, slices

Ints = tuple[int, ...]


def _ordered(g: Any, y: Any) -> Any:
    """A cotangent in the memory order of its output; only speed depends on it."""
    if type(g) is not np.ndarray or [s // g.itemsize for s in g.strides] == [s // y.itemsize for s in y.strides]:
        return g
    copy = np.empty_like(y, dtype=g.dtype)
    copy[...] = g
    return copy


def _zeros_as(x: Any, lengths: Ints) -> Any:
    """Zeros with other spatial lengths, in the memory order of x."""
    return np.zeros_like(x, shape=x.shape[:2] + lengths)


# The maximum: which of the elements is found again from input and output when the derivative asks for it


def _maximum(x: Any, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, size: Ints) -> Any:
    y = np.empty_like(x, shape=x.shape[:2] + size)
    first, *others = slices(x.shape[2:], kernel, stride, padding, dilation, size)
    if y[first[0]].shape == y.shape:
        y[...] = x[first[1]]
    else:
        y[...] = -np.inf
        y[first[0]] = x[first[1]]
    for there, here in others:
        np.maximum(y[there], x[here], out=y[there])
    return y


def _first_in_memory(y: Any, x: Any, kernel: Ints, **how: Ints) -> Any:
    """The number of the offset at which each window has its maximum for the first time: how many come before."""
    offsets = math.prod(kernel)
    chosen = np.zeros_like(y, dtype=np.min_scalar_type(max(offsets - 1, 0)))
    free = np.ones_like(y, dtype=bool)
    for there, here in slices(x.shape[2:], kernel, size=y.shape[2:], **how)[:-1] if offsets else ():
        free[there] &= x[here] != y[there]
        chosen += free
    return chosen


_SLICES = "slices of memory, window by window"
_first_maximum: Any = opaque(
    _first_in_memory, "first_maximum", _SLICES, stacks=(0, 1), written=_first_in_memory
)  # fmt: skip


def _only(values: Any, mask: Any) -> Any:
    """The values where the mask is true, else 0: by bits, as a product would make NaN of 0 · ∞."""
    if values.itemsize > 8 or is_foreign(values):
        return np.where(mask, values, 0)
    bits = values.view(f"i{values.itemsize}") & np.negative(mask.view(np.int8))
    return bits.view(values.dtype)


def _routed(g: Any, chosen: Any, lengths: Ints, size: Ints, **how: Ints) -> Any:
    """Each element of g to its place in the input."""
    g = _ordered(g, chosen)
    d = np.zeros_like(chosen, dtype=g.dtype, shape=g.shape[:2] + lengths)
    apart = _apart(how["kernel"], how["stride"], how["dilation"])
    for i, (there, here) in enumerate(slices(lengths, size=size, **how)):
        part = _only(g[there], chosen[there] == i)
        if apart:
            d[here] = part
        else:
            d[here] += part
    return d


def _chosen(h: Any, chosen: Any, lengths: Ints, size: Ints, **how: Ints) -> Any:
    """The transpose: the element of h at each window's place."""
    y = np.zeros_like(chosen, dtype=h.dtype)
    for i, (there, here) in enumerate(slices(lengths, size=size, **how)):
        y[there] += _only(h[here], chosen[there] == i)
    return y


def _apart(kernel: Ints, stride: Ints, dilation: Ints) -> bool:
    """Whether no element is in two windows."""
    return all((k - 1) * d < s for k, s, d in zip(kernel, stride, dilation))


_HOW = [
    ((1, 2, 4, 5), (2, 2), (2, 2), (0, 0), (1, 1)), ((2, 1, 3, 4), (3, 2), (2, 1), (1, 1), (1, 2)),
    ((1, 2, 7), (3,), (2,), (1,), (1,)), ((0, 1, 4), (2,), (2,), (0,), (1,)),
]  # fmt: skip


def _windows(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample((draw(rng, shape),), dict(kernel=k, stride=s, padding=p, dilation=d, size=_sizes("", shape, k, s, p, d)))
        for shape, k, s, p, d in _HOW
    ]


def _routes(backwards: bool) -> Any:
    def samples(rng: np.random.Generator) -> list[Sample]:
        found = []
        for x in _windows(rng):
            how, shape = x.params, x.inputs[0].shape
            y = _maximum(x.inputs[0], **how)
            size = how.pop("size")
            chosen = _first_maximum(y, x.inputs[0], **how)
            given = y.shape if backwards else shape
            how |= {"chosen": chosen, "lengths": shape[2:], "size": size}
            found.append(Sample((draw(rng, given),), how))
        return found

    return samples


def _surrounded(x: Tensor, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, size: Ints, value: float) -> Any:
    """x with what windows see beyond its edges, if they do."""
    lengths = [(m - 1) * s + (k - 1) * d + 1 for k, s, d, m in zip(kernel, stride, dilation, size)]
    if not any(padding) and all(n >= length for n, length in zip(x.shape[2:], lengths)):
        return x
    yield "padding"
    return laid_out(x, tuple(lengths), (1,) * len(size), padding, value)


def _max_pool_expansion(x: Tensor, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, size: Ints) -> Any:
    """Each pixel of the output is the first maximum of its window."""
    if not math.prod(kernel) * math.prod(size):
        return None

    def largest(windows: Tensor) -> Tensor:
        elements = windows.reshape((*windows.shape[:3], math.prod(kernel)))
        first = plain(elements).argmax(axis=-1, keepdims=True)
        return ad.take_along_axis(elements, first, -1)[..., 0]

    x = yield from _surrounded(x, kernel, stride, padding, dilation, size, -np.inf)
    return (yield from by_pixel(x, kernel, size, stride, dilation, largest))


_max_pool = declare(
    "max_pool", _maximum,
    [lambda g, y, x, size, **how: _route(
        g, chosen=_first_maximum(plain(y), plain(x), **how), lengths=x.shape[2:], size=size, **how)],
    formula="max over windows of {0}", derivatives=["1 at the first maximum, else 0"], samples=_windows,
    doc="The maximum over windows of the spatial axes.", expansion=_max_pool_expansion,
    written=_maximum, opaque=_SLICES, stacks=(0,),
)  # fmt: skip

_routed_back = declare(
    "max_pool_transposed", _routed, [lambda h, y, g, **how: _choose(h, **how)],
    formula="{0} to the maxima's places", derivatives=["at the maxima's places"], samples=_routes(True),
    doc="Every element to the place of its window's maximum, others 0: the transpose of max_pool.",
    written=_routed, opaque=_SLICES,
    stacks=(0, 1),
)  # fmt: skip

_choice = declare(
    "max_pool_choice", _chosen, [lambda g, y, h, **how: _route(g, **how)],
    formula="{0} at the maxima's places", derivatives=["to the maxima's places"], samples=_routes(False),
    doc="The elements at the places of the windows' maxima: max_pool with its choices fixed.",
    written=_chosen, opaque=_SLICES,
    stacks=(0, 1),
)  # fmt: skip
_route: Any = polymorphic(_routed_back)
_choose: Any = polymorphic(_choice)


# The mean: a sum over windows, divided by how many elements they have


@lru_cache(maxsize=256)
def _divisor(lengths: Ints, kernel: Ints, stride: Ints, padding: Ints, size: Ints, include: bool, over: Any) -> Any:
    """A number, or an array over the windows where they differ."""
    if over is not None:
        return over
    result: Any = 1.0
    for i, (n, k, s, p, m) in enumerate(zip(lengths, kernel, stride, padding, size)):
        begin = np.arange(m) * s - p
        end = np.minimum(begin + k, n + p)
        elements = end - begin if include else np.minimum(end, n) - np.maximum(begin, 0)
        result = result * elements.reshape((m,) + (1,) * (len(size) - 1 - i))
    if result.size and result.min() == result.max():
        return float(result.flat[0])
    result.flags.writeable = False
    return result


def _divided(
    x: Any, lengths: Ints, size: Ints, kernel: Ints, stride: Ints, padding: Ints, include: bool, over: Any
) -> Any:
    divisor = _divisor(lengths, kernel, stride, padding, size, include, over)
    if not isinstance(divisor, np.ndarray):
        return x if divisor == 1 else x / divisor
    divisor = divisor.astype(x.dtype)
    return x / (np.asarray(divisor, like=x) if is_foreign(x) else divisor)


def _mean(x: Any, lengths: Ints, size: Ints, kernel: Ints, stride: Ints, padding: Ints, **over: Any) -> Any:
    y = _zeros_as(x, size)
    for there, here in slices(lengths, kernel, stride, padding, (1,) * len(size), size):
        y[there] += x[here]
    return _divided(y, lengths, size, kernel, stride, padding, **over)


def _spread(g: Any, lengths: Ints, size: Ints, kernel: Ints, stride: Ints, padding: Ints, **over: Any) -> Any:
    g = _divided(g, lengths, size, kernel, stride, padding, **over)
    d = _zeros_as(g, lengths)
    apart = _apart(kernel, stride, (1,) * len(size))
    for there, here in slices(lengths, kernel, stride, padding, (1,) * len(size), size):
        if apart:
            d[here] = g[there]
        else:
            d[here] += g[there]
    return d


def _means(backwards: bool) -> Any:
    def samples(rng: np.random.Generator) -> list[Sample]:
        found = []
        for shape, k, s, p, _ in _HOW:
            for include, over in (True, None), (False, None), (True, 3):
                size = _sizes("", shape, k, s, p, (1,) * len(k), True)
                given = shape[:2] + size if backwards else shape
                how = dict(lengths=shape[2:], size=size, kernel=k, stride=s, padding=p, include=include, over=over)
                found.append(Sample((draw(rng, given),), how))
        return found

    return samples


def _avg_pool_expansion(
    x: Tensor, lengths: Ints, size: Ints, kernel: Ints, stride: Ints, padding: Ints, **over: Any
) -> Any:
    """Each pixel of the output is the sum of its window, divided by how many count."""
    ones = (1,) * len(size)
    if not math.prod(kernel) * math.prod(size):
        return None

    def total(windows: Tensor) -> Tensor:
        return windows.sum(axis=tuple(range(3, windows.ndim)))

    x = yield from _surrounded(x, kernel, stride, padding, ones, size, 0)
    y = yield from by_pixel(x, kernel, size, stride, ones, total)
    yield "divided by how many count"
    return _divided(y, lengths, size, kernel, stride, padding, **over)


_avg_pool = declare(
    "avg_pool", _mean, [lambda g, y, x, **how: spread_over(_ordered(g, y), **how)],
    jvps="linear", formula="mean over windows of {0}", derivatives=["1/n in the window"], samples=_means(False),
    doc="The mean over windows of the spatial axes.", expansion=_avg_pool_expansion,
    written=_mean, opaque=_SLICES, stacks=(0,),
)  # fmt: skip

_avg_pool_transposed = declare(
    "avg_pool_transposed", _spread, [lambda h, y, g, **how: _mean_over(h, **how)],
    jvps="linear", formula="{0}/n over windows", derivatives=["mean over windows"], samples=_means(True),
    doc="Every element, divided by its window's size, over its window: the transpose of avg_pool.",
    written=_spread, opaque=_SLICES,
    stacks=(0,),
)  # fmt: skip
_mean_over: Any = polymorphic(_avg_pool)
spread_over: Any = polymorphic(_avg_pool_transposed)


# The mean over windows of unequal lengths, along one axis


@lru_cache(maxsize=256)
def _edges(n: int, size: int) -> list[tuple[int, int]]:
    return [(i * n // size, -((i + 1) * -n // size)) for i in range(size)]


def _adaptive_mean(x: Any, axis: int, n: int, size: int) -> Any:
    y = np.empty_like(x, shape=x.shape[:axis] + (size,) + x.shape[axis + 1 :])
    before = (slice(None),) * axis
    for i, (begin, end) in enumerate(_edges(n, size)):
        x[*before, begin:end].mean(axis=axis, out=y[*before, i])
    return y


def _adaptive_spread(g: Any, axis: int, n: int, size: int) -> Any:
    d = np.zeros_like(g, shape=g.shape[:axis] + (n,) + g.shape[axis + 1 :])
    before = (slice(None),) * axis
    for i, (begin, end) in enumerate(_edges(n, size)):
        d[*before, begin:end] += g[*before, i : i + 1] / (end - begin)
    return d


def _adaptive_expansion(x: Tensor, axis: int, n: int, size: int) -> Any:
    """The mean of each part."""
    found = []
    for i, (begin, end) in enumerate(_edges(n, size), 1):
        yield f"part {i}"
        found.append(x[(slice(None),) * axis + (slice(begin, end),)].mean(axis=axis, keepdims=True))
    yield None
    return ad.concatenate(found, axis) if found else None


_ADAPTIVE = [((1, 2, 5), 2, 5, 3), ((2, 1, 3, 2), 2, 3, 4), ((1, 1, 2, 5), 3, 5, 1), ((0, 1, 3), 2, 3, 2)]

_adaptive_avg_pool = declare(
    "adaptive_avg_pool", _adaptive_mean, [lambda g, y, x, **how: _adaptive_spread_over(g, **how)],
    jvps="linear", formula="mean over parts of {0}", derivatives=["1/n in the part"],
    samples=lambda rng: [Sample((draw(rng, shape),), dict(axis=i, n=n, size=m)) for shape, i, n, m in _ADAPTIVE],
    doc="The mean over the parts into which one axis is divided.", expansion=_adaptive_expansion,
    written=_adaptive_mean, opaque=_SLICES,
    stacks=(0,),
)  # fmt: skip

_adaptive_avg_pool_transposed = declare(
    "adaptive_avg_pool_transposed", _adaptive_spread, [lambda h, y, g, **how: _adaptive_mean_over(h, **how)],
    jvps="linear", formula="{0}/n over parts", derivatives=["mean over parts"],
    samples=lambda rng: [Sample((draw(rng, (*shape[:i], m, *shape[i + 1 :])),), dict(axis=i, n=n, size=m))
                         for shape, i, n, m in _ADAPTIVE],
    doc="Every element, divided by its part's length, over its part: the transpose of adaptive_avg_pool.",
    written=_adaptive_spread, opaque=_SLICES, stacks=(0,),
)  # fmt: skip
_adaptive_mean_over: Any = polymorphic(_adaptive_avg_pool)
_adaptive_spread_over: Any = polymorphic(_adaptive_avg_pool_transposed)


# What users call


def _batched(name: str, input: Any, n: int) -> tuple[Tensor, bool]:
    """The input with a batch axis, and whether it had one."""
    x = as_tensor(input)
    if x.ndim not in (n + 1, n + 2):
        raise ValueError(f"{name}: got input of shape {x.shape}, expects (N, C, {LENGTHS[n]}) or (C, {LENGTHS[n]})")
    floats(name, x)
    if x.ndim == n + 2:
        return x, True
    batch: Tensor = x[None]
    return batch, False


def _sizes(
    name: str, shape: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil: bool = False
) -> Ints:
    """How many windows there are along each spatial axis."""
    found = []
    for n, k, s, p, d in zip(shape[2:], kernel, stride, padding, dilation):
        room = n + 2 * p - d * (k - 1) - 1
        size = (room + (s - 1 if ceil else 0)) // s + 1
        if ceil and (size - 1) * s >= n + p:  # the last window would begin beyond the input
            size -= 1
        if size < 1:
            raise ValueError(
                f"{name}: got input of spatial shape {shape[2:]}, in which, with padding {padding}, no window of "
                f"kernel_size={kernel}, dilation={dilation} fits"
            )
        found.append(size)
    return tuple(found)


def _window(name: str, n: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1) -> dict[str, Ints]:
    """The options, checked, with one value for each spatial axis."""
    kernel = counts(name, "kernel_size", kernel_size, n, 1)
    how = {
        "kernel": kernel,
        "stride": kernel if stride is None else counts(name, "stride", stride, n, 1),
        "padding": counts(name, "padding", padding, n),
        "dilation": counts(name, "dilation", dilation, n, 1),
    }
    for k, p in zip(kernel, how["padding"]):
        if 2 * p > k:
            raise ValueError(f"{name}: padding is at most half of kernel_size={kernel}, not {how['padding']}")
    return how


def _without_indices(name: str, return_indices: bool) -> None:
    if return_indices:
        raise ValueError(f"{name}: return_indices=True is not supported; only the maxima are returned")


def _pool_max(name: str, input: Any, how: dict[str, Ints], ceil_mode: bool) -> Tensor:
    x, batched = _batched(name, input, len(how["kernel"]))
    y = _max_pool(x, size=_sizes(name, x.shape, **how, ceil=ceil_mode), **how)
    return y if batched else y[0]


def _divided_by(name: str, over: int | None) -> int | None:
    if over is not None and (isinstance(over, bool) or not isinstance(over, (int, np.integer))):
        raise TypeError(f"{name}: divisor_override is an integer or None, not {over!r}")
    if over == 0:
        raise ValueError(f"{name}: divisor_override is not 0")
    return over


def _pool_mean(
    name: str, input: Any, how: dict[str, Ints], ceil_mode: bool, include: bool, over: int | None = None
) -> Tensor:
    over = _divided_by(name, over)
    x, batched = _batched(name, input, len(how["kernel"]))
    size = _sizes(name, x.shape, **how, ceil=ceil_mode)
    window = {key: how[key] for key in ("kernel", "stride", "padding")}
    y = _avg_pool(x, lengths=x.shape[2:], size=size, include=bool(include), over=over, **window)
    return y if batched else y[0]


def _parts(name: str, n: int, input: Any, output_size: Any) -> tuple[Tensor, bool, Ints]:
    """The input with a batch axis, whether it had one, and into how many parts each axis is divided."""
    sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * n
    if len(sizes) != n:
        raise ValueError(f"{name}: output_size is one integer or {n}, not {output_size!r}")
    x, batched = _batched(name, input, n)
    lengths = x.shape[2:]
    size = tuple(m if s is None else count(name, "output_size", s) for s, m in zip(sizes, lengths))
    if 0 in lengths:
        raise ValueError(f"{name}: got input of shape {x.shape}, expects spatial axes that are not empty")
    return x, batched, size


def _adaptive_mean_pool(name: str, n: int, input: Any, output_size: Any) -> Tensor:
    x, batched, size = _parts(name, n, input, output_size)
    lengths = x.shape[2:]
    kernel = tuple(k // m if m else 0 for k, m in zip(lengths, size))
    if all(m and k % m == 0 for k, m in zip(lengths, size)) and math.prod(kernel) < sum(size):
        how = dict(kernel=kernel, stride=kernel, padding=(0,) * n)
        y = _avg_pool(x, lengths=lengths, size=size, include=True, over=None, **how)
    else:
        y = x
        for i in reversed(range(n)):
            y = _adaptive_avg_pool(y, axis=2 + i, n=lengths[i], size=size[i])
    return y if batched else y[0]


def _adaptive_max_pool(name: str, n: int, input: Any, output_size: Any, return_indices: bool) -> Tensor:
    """Parts of unequal lengths are laid out in equal ones, the last element again and again, which no first maximum is
    unless it was."""
    _without_indices(name, return_indices)
    x, batched, size = _parts(name, n, input, output_size)
    kernel = []
    for axis, (k, m) in enumerate(zip(x.shape[2:], size), 2):
        edges = _edges(k, m)
        longest = max([end - begin for begin, end in edges], default=1)
        kernel.append(longest)
        if longest * m != k:
            places = [min(i, end - 1) for begin, end in edges for i in range(begin, begin + longest)]
            x = ad.take(x, np.array(places, np.intp), axis=axis)
    how = dict(kernel=tuple(kernel), stride=tuple(kernel), padding=(0,) * n, dilation=(1,) * n)
    y = _max_pool(x, size=size, **how)
    return y if batched else y[0]


def _max_pool_nd(
    n: int, input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Tensor:  # fmt: skip
    """The maximum over windows of {axes}; arguments, shapes and errors are those of `MaxPool{n}d`.

    >>> max_pool{n}d(np.ones((5, 3, {6 ...})), 2).shape
    (5, 3, {3 ...})
    """
    name = f"max_pool{n}d"
    _without_indices(name, return_indices)
    return _pool_max(name, input, _window(name, n, kernel_size, stride, padding, dilation), ceil_mode)


max_pool1d, max_pool2d, max_pool3d = over_axes(_max_pool_nd)


def _avg_pool_nd(
    n: int, input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """The mean over windows of {axes}; arguments, shapes and errors are those of `AvgPool{n}d`.

    >>> avg_pool{n}d(np.ones((5, 3, {6 ...})), 2).shape
    (5, 3, {3 ...})
    """
    name = f"avg_pool{n}d"
    how = _window(name, n, kernel_size, stride, padding)
    return _pool_mean(name, input, how, ceil_mode, count_include_pad, divisor_override)


avg_pool1d, avg_pool2d, avg_pool3d = over_axes(_avg_pool_nd)


def _adaptive_avg_pool_nd(n: int, input: Any, output_size: Any) -> Tensor:
    """The mean over parts of {axes}; arguments, shapes and errors are those of `AdaptiveAvgPool{n}d`.

    >>> adaptive_avg_pool{n}d(np.ones((5, 3, {7 ...})), 2).shape
    (5, 3, {2 ...})
    """
    return _adaptive_mean_pool(f"adaptive_avg_pool{n}d", n, input, output_size)


def _adaptive_max_pool_nd(n: int, input: Any, output_size: Any, return_indices: bool = False) -> Tensor:
    """The maximum over parts of {axes}; arguments, shapes and errors are those of `AdaptiveMaxPool{n}d`.

    >>> adaptive_max_pool{n}d(np.ones((5, 3, {7 ...})), 2).shape
    (5, 3, {2 ...})
    """
    return _adaptive_max_pool(f"adaptive_max_pool{n}d", n, input, output_size, return_indices)


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = over_axes(_adaptive_avg_pool_nd)
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = over_axes(_adaptive_max_pool_nd)


class _Pool(OverAxes):
    """What the layers share: the options, checked once, and as they were given for the representation."""

    _shown: Sequence[str] = ()

    kernel_size: Any
    stride: Any
    padding: Any
    dilation: Any
    ceil_mode: bool

    def _keep(self, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1, ceil_mode: bool = False) -> None:
        self._how = _window(type(self).__name__, self._axes, kernel_size, stride, padding, dilation)
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self._shown)


class _MaxPool(_Pool):
    _text = """The maximum over windows of {axes}; of equal maxima the first, in reading order, receives the gradient.

    Args:
        kernel_size: length of a window{each}. (So are stride, padding and dilation.)
        stride: distance between windows; their length by default.
        padding: how many places, which never are the maximum, are put at both ends; at most half of a window.
        dilation: distance between the elements of a window.
        return_indices: only False; it stands here for the order of PyTorch's arguments.
        ceil_mode: whether a window that reaches beyond the (padded) input counts, if it begins within the input or
            the padding on the left.

    Shapes: input (N, C, {L}) or (C, {L}), output with ⌊(length + 2 padding − dilation (kernel_size − 1) − 1) / stride⌋
    + 1 in place of each length (⌈ ⌉ with `ceil_mode`).

    Raises:
        TypeError, ValueError: for other options, inputs of another number of axes or kind, or too small for a window.

    >>> import numpy as np, nn
    >>> nn.MaxPool{n}d(2)(np.ones((5, 3, {9 ...}))).shape
    (5, 3, {4 ...})
    """

    _shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        _without_indices(type(self).__name__, return_indices)
        self._keep(kernel_size, stride, padding, dilation, ceil_mode)

    def forward(self, input: Any) -> Tensor:
        """The maxima of the windows."""
        return _pool_max(type(self).__name__, input, self._how, self.ceil_mode)


class MaxPool1d(_MaxPool, axes=1): ...


class MaxPool2d(_MaxPool, axes=2): ...


class MaxPool3d(_MaxPool, axes=3): ...


class _AvgPool(_Pool):
    _text = """The mean over windows of {axes}.

    Args:
        kernel_size, stride, ceil_mode: as for `MaxPool{n}d`.
        padding: how many zeros are put at both ends; at most half of a window.
        count_include_pad: whether the zeros of the padding count as elements; what is beyond them never does.
        divisor_override: by what the sum of a window is divided, in place of how many elements count.

    Shapes: input (N, C, {L}) or (C, {L}), output with ⌊(length + 2 padding − kernel_size) / stride⌋ + 1 in place of
    each length (⌈ ⌉ with `ceil_mode`).

    Raises:
        TypeError, ValueError: for other options, inputs of another number of axes or kind, or too small for a window.

    >>> import numpy as np, nn
    >>> nn.AvgPool{n}d(2)(np.ones((5, 3, {9 ...}))).shape
    (5, 3, {4 ...})
    """

    _shown: Sequence[str] = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    divisor_override: int | None = None

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        self._keep(kernel_size, stride, padding, 1, ceil_mode)
        self.count_include_pad = count_include_pad
        self.divisor_override = _divided_by(type(self).__name__, divisor_override)

    def forward(self, input: Any) -> Tensor:
        """The means of the windows."""
        return _pool_mean(
            type(self).__name__, input, self._how, self.ceil_mode, self.count_include_pad, self.divisor_override
        )


class AvgPool1d(_AvgPool, axes=1): ...


class AvgPool2d(_AvgPool, axes=2): ...


class AvgPool3d(_AvgPool, axes=3): ...


class _Adaptive(OverAxes):
    """What both kinds share: the number of parts."""

    def __init__(self, output_size: Any) -> None:
        self.output_size = output_size
        sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * self._axes
        counts(type(self).__name__, "output_size", [0 if s is None else s for s in sizes], self._axes)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveAvgPool(_Adaptive):
    _text = """The mean over parts of {axes}, part i of L elements from ⌊i L/m⌋ to ⌈(i+1) L/m⌉ − 1.

    Args:
        output_size: m, the number of parts{each}; None for as many as there are elements.

    Shapes: input (N, C, {L}) or (C, {L}), output with `output_size` in place of {L}.

    Raises:
        TypeError, ValueError: for other sizes, and inputs of another number of axes or kind, or empty ones.

    >>> import numpy as np, nn
    >>> nn.AdaptiveAvgPool{n}d(2)(np.ones((5, 3, {9 ...}))).shape
    (5, 3, {2 ...})
    """

    def forward(self, input: Any) -> Tensor:
        """The means of the parts."""
        return _adaptive_mean_pool(type(self).__name__, self._axes, input, self.output_size)


class AdaptiveAvgPool1d(_AdaptiveAvgPool, axes=1): ...


class AdaptiveAvgPool2d(_AdaptiveAvgPool, axes=2): ...


class AdaptiveAvgPool3d(_AdaptiveAvgPool, axes=3): ...


class _AdaptiveMaxPool(_Adaptive):
    _text = """The maximum over parts of {axes}; of equal maxima the first, in reading order, receives the gradient.

    Parts, arguments, shapes and errors are those of `AdaptiveAvgPool{n}d`; and
        return_indices: only False; it stands here for PyTorch's sake.

    >>> import numpy as np, nn
    >>> nn.AdaptiveMaxPool{n}d(2)(np.ones((5, 3, {9 ...}))).shape
    (5, 3, {2 ...})
    """

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        _without_indices(type(self).__name__, return_indices)
        super().__init__(output_size)

    def forward(self, input: Any) -> Tensor:
        """The maxima of the parts."""
        return _adaptive_max_pool(type(self).__name__, self._axes, input, self.output_size, False)


class AdaptiveMaxPool1d(_AdaptiveMaxPool, axes=1): ...


class AdaptiveMaxPool2d(_AdaptiveMaxPool, axes=2): ...


class AdaptiveMaxPool3d(_AdaptiveMaxPool, axes=3): ...
