"""The windows of images as the columns of a matrix, and their sum in an image: as functions and as modules.

Each is linear and the other's transpose, which is its derivative.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from autodiff import Tensor
from autodiff.primitive import Sample, declare, polymorphic

from ..arguments import as_tensor, counts, floats
from ..module.module import Module
from .windows import laid_out, slices

Ints = tuple[int, ...]


def unfolded(x: Any, lengths: Ints, size: Ints, kernel: Ints, **how: Ints) -> Any:
    y = np.zeros_like(x, shape=(*x.shape[:2], math.prod(kernel), *size))
    for i, (there, here) in enumerate(slices(lengths, kernel, size=size, **how)):
        y[:, :, i][there] = x[here]
    return y.reshape(len(x), x.shape[1] * math.prod(kernel), math.prod(size))


def folded(columns: Any, lengths: Ints, size: Ints, kernel: Ints, **how: Ints) -> Any:
    offsets = math.prod(kernel)
    channels = columns.shape[1] // offsets
    columns = columns.reshape(len(columns), channels, offsets, *size)
    d = np.zeros_like(columns, shape=(len(columns), channels, *lengths))
    for i, (there, here) in enumerate(slices(lengths, kernel, size=size, **how)):
        d[here] += columns[:, :, i][there]
    return d


def _unfold_expansion(
    x: Tensor, lengths: Ints, size: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> Any:
    """Zeros around the image, then the elements of all windows."""
    n, reach = len(size), [(m - 1) * s + (k - 1) * d + 1 for m, s, k, d in zip(size, stride, kernel, dilation)]
    yield "zeros around"
    x = laid_out(x, tuple(reach), (1,) * n, padding)
    yield "the windows"
    taps = np.indices(kernel).reshape((n, -1, 1))
    places = np.indices(size).reshape((n, 1, -1))
    index = [t * d + p * s for t, d, p, s in zip(taps, dilation, places, stride)]
    return x[(slice(None), slice(None), *index)].reshape((len(x), x.shape[1] * math.prod(kernel), math.prod(size)))


_HOW = [
    (2, dict(lengths=(3, 4), size=(2, 3), kernel=(2, 2), stride=(1, 1), padding=(0, 0), dilation=(1, 1))),
    (1, dict(lengths=(3, 4), size=(2, 2), kernel=(2, 3), stride=(2, 1), padding=(1, 1), dilation=(2, 2))),
]  # fmt: skip


def _samples(backwards: bool) -> Any:
    def samples(rng: np.random.Generator) -> list[Sample]:
        found = []
        for (channels, how), n in zip(_HOW, (2, 0)):
            columns = (channels * math.prod(how["kernel"]), math.prod(how["size"]))
            shape = columns if backwards else (channels, *how["lengths"])
            found.append(Sample((rng.normal(size=(n, *shape)),), how))
        return found

    return samples


_SLICES = "slices of memory, offset by offset"
_unfold = declare(
    "unfold", unfolded, [lambda g, y, x, **how: _fold_of(g, **how)], jvps="linear", formula="windows of {0}",
    derivatives=["each where it lies"], samples=_samples(False), doc="The windows of an image as columns.",
    expansion=_unfold_expansion, written=unfolded, opaque=_SLICES, stacks=(0,),
)  # fmt: skip
_fold = declare(
    "fold", folded, [lambda h, y, x, **how: _unfold_of(h, **how)], jvps="linear", formula="Σ windows {0}",
    derivatives=["its window"], samples=_samples(True), doc="Columns as windows of an image, summed.",
    written=folded, opaque=_SLICES,
    stacks=(0,),
)  # fmt: skip
_unfold_of: Any = polymorphic(_unfold)
_fold_of: Any = polymorphic(_fold)


def _options(name: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> dict[str, Ints]:
    return {
        "kernel": counts(name, "kernel_size", kernel_size, 2, 1), "stride": counts(name, "stride", stride, 2, 1),
        "padding": counts(name, "padding", padding, 2), "dilation": counts(name, "dilation", dilation, 2, 1),
    }  # fmt: skip


def _sizes(name: str, lengths: Ints, how: dict[str, Ints]) -> Ints:
    """How many windows there are along each axis."""
    found = tuple([
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(lengths, how["kernel"], how["stride"], how["padding"], how["dilation"])
    ])  # fmt: skip
    if min(found) < 1:
        raise ValueError(
            f"{name}: in images of spatial shape {lengths}, with padding {how['padding']}, no window of "
            f"kernel_size={how['kernel']}, dilation={how['dilation']} fits"
        )
    return found


def _batched(name: str, input: Any, rank: int, expected: str) -> tuple[Tensor, bool]:
    """The input with a batch axis, and whether it had one."""
    x = as_tensor(input)
    if x.ndim not in (rank - 1, rank):
        raise ValueError(f"{name}: got input of shape {x.shape}, expects (N, {expected}) or ({expected})")
    floats(name, x)
    return (x, True) if x.ndim == rank else (x[None], False)


def unfold(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The windows of images as columns; arguments, shapes and errors are those of `Unfold`.

    >>> unfold(np.arange(6.0).reshape(1, 2, 3), 2)
    Tensor([[0., 1.],
            [1., 2.],
            [3., 4.],
            [4., 5.]])
    """
    return _windows("unfold", input, _options("unfold", kernel_size, dilation, padding, stride))


def _windows(name: str, input: Any, how: dict[str, Ints]) -> Tensor:
    x, batched = _batched(name, input, 4, "C, H, W")
    y = _unfold(x, lengths=x.shape[2:], size=_sizes(name, x.shape[2:], how), **how)
    return y if batched else y[0]


def fold(
    input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Columns as windows of images, summed; arguments, shapes and errors are those of `Fold`.

    >>> fold(np.ones((4, 2)), (2, 3), 2)
    Tensor([[[1., 2., 1.],
             [1., 2., 1.]]])
    """
    lengths = counts("fold", "output_size", output_size, 2, 1)
    return _summed("fold", input, lengths, _options("fold", kernel_size, dilation, padding, stride))


def _summed(name: str, input: Any, lengths: Ints, how: dict[str, Ints]) -> Tensor:
    x, batched = _batched(name, input, 3, "C kernel, L")
    size, elements = _sizes(name, lengths, how), math.prod(how["kernel"])
    if x.shape[1] % elements or x.shape[2] != math.prod(size):
        raise ValueError(
            f"{name}: got input of shape {x.shape}, expects (N, C · {elements}, {math.prod(size)}) for windows of "
            f"{how['kernel']} at {size} places"
        )
    y = _fold(x, lengths=lengths, size=size, **how)
    return y if batched else y[0]


class _Folding(Module):
    """What both share: the options of windows."""

    def _keep(self, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> None:
        self._how = _options(type(self).__name__, kernel_size, dilation, padding, stride)
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={getattr(self, k)}" for k in ("kernel_size", "dilation", "padding", "stride"))


class Unfold(_Folding):
    """The windows of images as columns: y[n, (c, k), l] = x[n, c, place l · stride + offset k · dilation − padding].

    Args:
        kernel_size: lengths of a window, one number or a pair (height, width). (So for all.)
        dilation: distance between the elements of a window.
        padding: how many zeros are put at both ends of each axis.
        stride: distance between windows.

    Shapes: input (N, C, H, W) or (C, H, W), output (N, C · height · width, L) or without N, L the number of windows.

    Raises:
        TypeError, ValueError: for other options, inputs of another number of axes or kind, or too small for a window.

    >>> import numpy as np, nn
    >>> nn.Unfold(2, stride=2)(np.ones((5, 3, 6, 4))).shape
    (5, 12, 6)
    """

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        self._keep(kernel_size, dilation, padding, stride)

    def forward(self, input: Any) -> Tensor:
        """The columns."""
        return _windows("Unfold", input, self._how)


class Fold(_Folding):
    """Columns as windows of images, summed where they overlap: the transpose of `Unfold`.

    Args:
        output_size: spatial lengths of the output, one number or a pair.
        kernel_size, dilation, padding, stride: as `Unfold`'s.

    Shapes: input (N, C · height · width, L) or without N, output (N, C, *output_size) or without N.

    Raises:
        TypeError, ValueError: for other options and shapes that do not fit.

    >>> import numpy as np, nn
    >>> nn.Fold((6, 4), 2, stride=2)(np.ones((5, 12, 6))).shape
    (5, 3, 6, 4)
    """

    def __init__(
        self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        self._lengths = counts("Fold", "output_size", output_size, 2, 1)
        self.output_size = output_size
        self._keep(kernel_size, dilation, padding, stride)

    def forward(self, input: Any) -> Tensor:
        """The images."""
        return _summed("Fold", input, self._lengths, self._how)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, {super().extra_repr()}"
