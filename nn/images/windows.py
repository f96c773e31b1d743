"""How windows are read: as one slice of the input for each offset in them; and, by an opened operation, that of one
output pixel, then those of all the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor

Ints = tuple[int, ...]


@lru_cache(maxsize=1024)
def _along(n: int, kernel: int, stride: int, padding: int, dilation: int, size: int) -> list[tuple[slice, slice]]:
    """For each offset in the window: which outputs it reaches inside the input's n elements, and which elements."""
    found = []
    for offset in range(kernel):
        place = offset * dilation - padding  # of output 0
        first = max(0, -(place // stride))
        last = min(size, (n - 1 - place) // stride + 1)
        if first < last:
            begin = place + first * stride
            found.append((slice(first, last), slice(begin, begin + (last - first - 1) * stride + 1, stride)))
        else:
            found.append((slice(0, 0), slice(0, 0)))
    return found


@lru_cache(maxsize=1024)
def slices(lengths: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, size: Ints) -> list[Any]:
    """For each offset in the window, in reading order: the slices of the output and of the input, batch and channels
    included. At one offset, the elements of all windows are one strided slice of the input."""
    whole = (slice(None), slice(None))
    axes = [_along(*axis) for axis in zip(lengths, kernel, stride, padding, dilation, size)]
    return [tuple([whole + place for place in zip(*offset)]) for offset in product(*axes)]


def by_pixel(
    x: Tensor, kernel: Ints, size: Ints, stride: Ints, dilation: Ints, of: Callable[[Tensor], Tensor]
) -> Generator[str | None, None, Tensor]:
    """An expansion that makes every output pixel of its window; it names the parts.

    Args:
        x: with its padding, shape (N, C, *lengths).
        kernel, size, stride, dilation: of each spatial axis; `size` is the output's.
        of: takes windows, shape (N, C, pixels, *kernel), and returns (N, out, pixels).

    Returns:
        shape (N, out, *size).
    """
    n, pixels = len(size), math.prod(size)
    places = np.indices(size).reshape((n, pixels))
    taps = np.indices(kernel).reshape((n, 1, *kernel))

    def part(which: slice) -> Tensor:
        index = [
            p[which].reshape((-1,) + (1,) * n) * s + k * d for p, k, s, d in zip(places, taps, stride, dilation)
        ]  # fmt: skip
        return of(x[(slice(None), slice(None), *index)])

    yield f"output pixel {', '.join('0' * n)}"
    y = part(slice(0, 1))
    if pixels > 1:
        yield f"… the other {pixels - 1:,} pixels, each likewise"
        rest = part(slice(1, None))
        yield None
        y = ad.concatenate([y, rest], -1)
    return y.reshape((*y.shape[:2], *size))


def laid_out(x: Tensor, lengths: Ints, stride: Ints, before: Ints, around: Any = 0) -> Tensor:
    """The elements of x, (N, C, *spatial), `stride` apart from each other in an array of these lengths, the first after
    so many others (which may be negative: then it is outside); the others are `around`."""
    index, inside = [], np.ones((), bool)
    for length, s, first, n in zip(lengths, stride, before, x.shape[2:]):
        place, off = np.divmod(np.arange(length) - first, s)
        there = (off == 0) & (place >= 0) & (place < n)
        index.append(np.where(there, place, 0))
        inside = inside[..., None] & there
    return ad.where(inside, x[(slice(None), slice(None), *np.ix_(*index))], around)
