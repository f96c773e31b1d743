"""Convolution of each channel by itself as machine code, where the windows move by one place along the last axis.

A plane is an image's channel, or a channel of all images where these are the last axis in memory; a row of it has the
places of the last axis, of all images where they are. The last array holds integers: how many rows the output has, the
kernel's lengths; how many numbers of x lie from one row of the output to the next, from one row of the kernel to the
next, and from one place in its rows to the next; and how many numbers a row of the output has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from autodiff.machine.expressions import fma
from autodiff.machine.kernels import Kernel

if TYPE_CHECKING:
    from autodiff.machine.rows import Index, Memory, Row

TOGETHER = 4
"""Rows, so that a weight, once loaded, serves for several."""


class _Plane:
    """The loops over an output's rows and a kernel's places."""

    def __init__(self, row: Row, how: Memory) -> None:
        self.row, self.b = row, row.builder
        numbers = [how.integer(i) for i in range(7)]
        self.rows, self.kernel_rows, self.kernel_columns, self.down, self.along_rows, self.along, self.width = numbers

    def blocks(self, values: list[Any], body: Callable[[str, int, list[Any]], list[Any]]) -> list[Any]:
        """A body for blocks of rows, and for those that are left."""
        whole = self.b(f"and i64 {self.rows}, {-TOGETHER}")
        reached, values = self.row.loop("0", whole, TOGETHER, values, lambda i, v: body(i, TOGETHER, v))
        return self.row.loop(reached, self.rows, 1, values, lambda i, v: body(i, 1, v))[1]

    def places(self, values: list[Any], body: Callable[[str, str, list[Any]], list[Any]]) -> list[Any]:
        """A body for each place of the kernel, which gets its number and how far off in x it is."""
        b = self.b

        def of_row(i: str, values: list[Any]) -> list[Any]:
            def of_place(j: str, values: list[Any]) -> list[Any]:
                place = b(f"add i64 {b(f'mul i64 {i}, {self.kernel_columns}')}, {j}")
                off = b(f"add i64 {b(f'mul i64 {i}, {self.along_rows}')}, {b(f'mul i64 {j}, {self.along}')}")
                return body(place, off, values)

            return self.row.loop("0", self.kernel_columns, 1, values, of_place)[1]

        return self.row.loop("0", self.kernel_rows, 1, values, of_row)[1]

    def rows_of(self, memory: Memory, first: str, count: int, step: str) -> list[Memory]:
        """Some rows of a memory, with so many numbers from one to the next."""
        return [memory.moved(self.b(f"mul i64 {self.b(f'add i64 {first}, {r}')}, {step}")) for r in range(count)]


def _convolve(row: Row, x: Memory, w: Memory, y: Memory, how: Memory) -> None:
    plane = _Plane(row, how)
    zero = row.constant(0.0)

    def block(first: str, count: int, _: list[Any]) -> list[Any]:
        sources, results = plane.rows_of(x, first, count, plane.down), plane.rows_of(y, first, count, plane.width)

        def column(i: Index) -> None:
            def place(number: str, off: str, sums: list[Any]) -> list[Any]:
                weight = w.moved(number).number
                return [fma(weight, s.moved(off)[i], total) for s, total in zip(sources, sums, strict=True)]

            for result, value in zip(results, plane.places([zero] * count, place), strict=True):
                result.put(i, value)

        row.each(column)
        return []

    plane.blocks([], block)


def _weigh(row: Row, x: Memory, g: Memory, w: Memory, how: Memory) -> None:
    plane = _Plane(row, how)
    zero = row.constant(0.0)

    def place(number: str, off: str, _: list[Any]) -> list[Any]:
        def block(first: str, count: int, total: list[Any]) -> list[Any]:
            sources, given = plane.rows_of(x, first, count, plane.down), plane.rows_of(g, first, count, plane.width)

            def column(i: Index, sums: list[Any]) -> list[Any]:
                return [
                    fma(cotangent[i], s.moved(off)[i], value)
                    for cotangent, s, value in zip(given, sources, sums, strict=True)
                ]

            sums = row.over([zero] * count, column)
            while len(sums) > 1:
                sums = [p + q for p, q in zip(sums[::2], sums[1::2], strict=True)]
            return [total[0] + sums[0]]

        w.moved(number).number = row.folded("add", plane.blocks([zero], block)[0])
        return []

    plane.places([], place)


CONVOLVE, WEIGH = Kernel(_convolve, arrays=4), Kernel(_weigh, arrays=4)
"""Of x, w and y, which is written; and of x, the cotangent of y and that of w, which is written."""
