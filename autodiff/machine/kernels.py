"""Kernels: functions of arrays of any size as machine code, which the engine's operations run on plain arrays in place
of their NumPy expressions. Each is written once, as NumPy's expressions of a vector of numbers, and compiled at its
first call, for float32 and float64 each; until then nothing of LLVM is imported.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from .threads import count, ranges, together

SMALL = 4096
"""Elements up to which NumPy's own calls are as fast."""
SHARED = 300_000
"""Elements from which threads share the work."""
SHORTEST, LONGEST = 8, 16384
"""Columns of a row: fewer do not fill a vector, more would have to be added up in parts to keep their digits."""
BLOCK = 1024
"""Rows that are added up in one go."""


@cache
def _installed() -> bool:
    from .machine import llvm

    try:
        llvm()
    except (ImportError, OSError):  # not there, or there and broken
        return False
    return True


def enabled() -> bool:
    """Whether operations run kernels: llvmlite is installed, and the environment variable ``AUTODIFF_NATIVE`` is not
    0."""
    return os.environ.get("AUTODIFF_NATIVE", "1") != "0" and _installed()


_lock = threading.Lock()  # a kernel is compiled once


class Kernel:
    """A function of the rows of arrays of one dtype, float32 or float64, as machine code.

    Args:
        write: ``write(row, *memories)`` writes what is done for a row, of which each array has a `Memory` (rows.py).
        arrays: how many arrays there are; a written one is one of them.

    An array of one row serves for every row. What is read at an index is read before it is written, so an array may be
    written in place.

    >>> doubled = Kernel(lambda row, x, y: row.each(lambda i: y.put(i, x[i] + x[i])), arrays=2)
    >>> x, y = np.arange(6.0).reshape(2, 3), np.empty((2, 3))
    >>> doubled.rows(x, y)
    >>> y
    array([[ 0.,  2.,  4.],
           [ 6.,  8., 10.]])
    """

    def __init__(self, write: Callable[..., Any], arrays: int) -> None:
        self._write, self._arrays = write, arrays
        self._compiled: dict[str, tuple[Any, Callable[..., Any], Callable[..., Any]]] = {}

    def compiled(self, dtype: np.dtype[Any]) -> tuple[Any, Callable[..., Any], Callable[..., Any]]:
        """The code, and its functions of (arrays, first and last row, first and last column): the second lets other
        threads run."""
        t = dtype.char
        if t not in self._compiled:
            with _lock:
                if t not in self._compiled:
                    self._compiled[t] = self._code(t)
        return self._compiled[t]

    def _code(self, t: str) -> tuple[Any, Callable[..., Any], Callable[..., Any]]:
        from .arrays import function
        from .machine import Machine, vector_bits
        from .rows import module_text

        machine = Machine(module_text(self._write, self._arrays, t, vector_bits()))
        address = machine.address("kernel")
        return machine, function(address, False, 4), function(address, True, 4)

    def rows(self, *arrays: Any, columns: int = 0, work: int = 0) -> None:
        """Run it on arrays (rows, columns), neighbours in a row being neighbours in memory. Threads share many rows.

        Args:
            columns: how many there are; by default as in the first array.
            work: how many numbers are computed; by default as many as the rows have.
        """
        columns, rows = columns or arrays[0].shape[1], max(a.shape[0] for a in arrays)
        work = work or rows * columns
        if rows and columns:
            shared = count() if work >= SHARED else 1
            self._run(arrays, [(lo, hi, 0, columns) for lo, hi, _ in ranges(rows, shared)], work)

    def __call__(self, *arrays: Any) -> Any:
        """What it writes into a last array of the shape of these, of which it takes the last axis as rows; None where
        it cannot run on them, or it would not pay."""
        rows = rows_of(*arrays)
        if rows is None:
            return None
        y = np.empty(arrays[0].shape, rows[0].dtype)
        self.rows(*rows, y.reshape(rows[0].shape))
        return y

    def sums(self, *arrays: Any) -> Any:
        """Run it on arrays (rows, columns) and a last one of one row, to which each row adds something: what that is
        then, after zeros. Sums of blocks of rows are added up in double precision."""
        rows, columns = arrays[0].shape
        blocks = ranges(rows, -(-rows // BLOCK))
        sums = np.zeros((len(blocks), columns), arrays[0].dtype)
        _, short, long = self.compiled(sums.dtype)
        call = long if rows * columns > SMALL else short

        def block(lo: int, hi: int, k: int) -> None:
            call((*arrays, sums[k : k + 1]), lo, hi, 0, columns)

        if rows * columns >= SHARED:
            together(block, (), blocks)
        else:
            for bound in blocks:
                block(*bound)
        return sums.sum(axis=0, dtype=np.float64).astype(sums.dtype)

    def _run(self, arrays: tuple[Any, ...], bounds: list[tuple[int, ...]], size: int) -> None:
        _, short, long = self.compiled(arrays[0].dtype)
        if len(bounds) > 1:
            together(long, (arrays,), bounds)
        else:
            (long if size > SMALL else short)(arrays, *bounds[0])

    def flat(self, *arrays: Any) -> None:
        """Run it on arrays of one shape that lie in memory alike and without gaps."""
        size = arrays[0].size
        if size:
            shared = count() if size >= SHARED else 1
            self._run(arrays, [(0, 1, lo, hi) for lo, hi, _ in ranges(size, shared)], size)


def rows_of(*arrays: Any) -> list[Any] | None:
    """Arrays of one shape as rows (rows, columns) of their last axis; None where no kernel runs on them, or it would
    not pay."""
    x = arrays[0]
    if type(x) is not np.ndarray or x.size <= SMALL or not x.ndim or not SHORTEST <= x.shape[-1] <= LONGEST:
        return None
    if not plain(*arrays) or any(a.shape != x.shape for a in arrays) or not enabled():
        return None
    return [(a if a.flags.c_contiguous and a.flags.aligned else a.copy()).reshape(-1, x.shape[-1]) for a in arrays]


def plain(*arrays: Any) -> bool:
    """Whether kernels run on these: NumPy's own arrays of one dtype, float32 or float64."""
    x = arrays[0]
    return (
        all(type(a) is np.ndarray and a.dtype == x.dtype for a in arrays) and x.dtype.char in "fd" and x.dtype.isnative
    )


class Elementwise:
    """An elementwise function of arrays as machine code.

    Args:
        expression: the function, in NumPy's elementwise functions of vectors.
        inputs: how many arrays it takes.

    >>> square = Elementwise(lambda x: x * x, inputs=1)
    >>> square(np.full(5000, 3.0))[:2]
    array([9., 9.])
    >>> square(np.array([1.0, 3.0]))  # is NumPy's
    """

    def __init__(self, expression: Callable[..., Any], inputs: int) -> None:
        self.expression = expression

        def write(row: Any, *memories: Any) -> None:
            row.each(lambda i: memories[-1].put(i, expression(*[x[i] for x in memories[:-1]])))

        self._kernel = Kernel(write, inputs + 1)

    def __call__(self, *arrays: Any) -> Any:
        """The values, in memory as the first array's; None where it cannot run on these, which must have one shape and
        dtype, or it would not pay."""
        x = arrays[0]
        if type(x) is not np.ndarray or x.size <= SMALL or not plain(*arrays) or not enabled():
            return None
        if any(a.shape != x.shape for a in arrays):
            return None
        y = np.empty_like(x)
        self._kernel.flat(*[_alike(a, y) for a in arrays], y)
        return y


def _alike(a: Any, y: Any) -> Any:
    """An array in memory as y is, which has no gaps."""
    if a.strides == y.strides and a.flags.aligned:
        return a
    copy = np.empty_like(y)
    copy[...] = a
    return copy
