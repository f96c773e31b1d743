"""Kernels: functions of arrays of any size as machine code, which the engine's operations run on plain arrays in place
of their NumPy expressions. Each is written once, as NumPy's expressions of a vector of numbers, and compiled at its
first call, for float32 and float64 each.

Order: what a kernel is written with, the kernel, its call by elementwise operations and by rows.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from .arrays import DATA, ITEMS, SHAPE, STRIDES, function
from .elementwise import TABLE, folded
from .expressions import Value
from .ir import LETTER, SCALAR, SIZE, Builder, Module
from .machine import Machine, vector_bits
from .threads import count, ranges, together

SMALL = 4096
"""Elements up to which NumPy's own calls are as fast."""
SHARED = 300_000
"""Elements from which threads share the work."""
SHORTEST, LONGEST = 8, 16384
"""Columns of a row: fewer do not fill a vector, more would have to be added up in parts to keep their digits."""
BLOCK = 1024
"""Rows that are added up in one go."""


# What a kernel is written with


class Index:
    """The vector of a row that a loop is at."""

    __slots__ = ("mask", "start")

    def __init__(self, start: str, mask: str) -> None:
        self.start, self.mask = start, mask


class Memory:
    """A row of an array, in a kernel that is being written."""

    def __init__(self, builder: Builder, t: str, address: str) -> None:
        self.builder, self.t, self.address = builder, t, address

    def _place(self, i: Index) -> str:
        return self.builder(f"getelementptr {SCALAR[self.t]}, ptr {self.address}, i64 {i.start}")

    def __getitem__(self, i: Index) -> Any:
        """The numbers at an index; zeros behind the end."""
        b, place, kind = self.builder, self._place(i), self.builder.type(self.t)
        if not i.mask:
            return Value(b, self.t, b(f"load {kind}, ptr {place}, align {SIZE[self.t]}"))
        name = f"llvm.masked.load.{b.suffix(self.t)}.p0"
        b.module.declared.add(f"declare {kind} @{name}(ptr, i32, {b.type('b')}, {kind})")
        arguments = f"ptr {place}, i32 {SIZE[self.t]}, {b.type('b')} {i.mask}, {kind} zeroinitializer"
        return Value(b, self.t, b(f"call {kind} @{name}({arguments})"))

    def put(self, i: Index, value: Value) -> Any:
        """Write the numbers at an index, and give them."""
        b, place, kind = self.builder, self._place(i), self.builder.type(self.t)
        if not i.mask:
            b.put(f"store {kind} {value.name}, ptr {place}, align {SIZE[self.t]}")
            return value
        name = f"llvm.masked.store.{b.suffix(self.t)}.p0"
        b.module.declared.add(f"declare void @{name}({kind}, ptr, i32, {b.type('b')})")
        b.put(f"call void @{name}({kind} {value.name}, ptr {place}, i32 {SIZE[self.t]}, {b.type('b')} {i.mask})")
        return value

    @property
    def number(self) -> Any:
        """The row's first number."""
        b = self.builder
        return Value(b, self.t, spread(b, self.t, b(f"load {SCALAR[self.t]}, ptr {self.address}")))

    @number.setter
    def number(self, value: Value) -> None:
        b = self.builder
        first = b(f"extractelement {b.type(self.t)} {value.name}, i64 0")
        b.put(f"store {SCALAR[self.t]} {first}, ptr {self.address}")


def spread(b: Builder, t: str, number: str) -> str:
    """A vector of one number."""
    kind = b.type(t)
    one = b(f"insertelement {kind} poison, {SCALAR[t]} {number}, i64 0")
    return b(f"shufflevector {kind} {one}, {kind} poison, <{b.lanes} x i32> zeroinitializer")


class Row:
    """The loops over the columns of a row, from `start` to `stop`."""

    def __init__(self, builder: Builder, t: str) -> None:
        self.builder, self.t, self.loops = builder, t, 0

    @property
    def length(self) -> Any:
        """How many columns there are, as a number."""
        b = self.builder
        n = b("sub i64 %stop, %start")
        return Value(b, self.t, spread(b, self.t, b(f"sitofp i64 {n} to {SCALAR[self.t]}")))

    def each(self, body: Callable[[Index], Any]) -> None:
        """Run a body for all columns."""
        self.reduce((), lambda i: (body(i), ())[1])

    def sum(self, body: Callable[[Index], Any]) -> Any:
        """The sum of what a body gives for all columns."""
        return self.reduce(("add",), lambda i: (body(i),))[0]

    def max(self, body: Callable[[Index], Any]) -> Any:
        """The greatest of what a body gives; NaN where one is NaN."""
        return self.reduce(("maximum",), lambda i: (body(i),))[0]

    def reduce(self, names: Sequence[str], body: Callable[[Index], Sequence[Any]]) -> list[Any]:
        """The sums ("add") or the greatest ("maximum") of each of the values that a body gives."""
        b, t = self.builder, self.t
        self.loops += 1
        k, lanes, kind = self.loops, b.lanes, b.type(t)
        identity = [b.constant({"add": 0.0, "maximum": -np.inf}[name], t) for name in names]
        inside, after = [b.new() for _ in names], [b.new() for _ in names]
        span = b(f"sub i64 %stop, {lanes}")
        b.put(f"br label %before{k}")
        b.label(f"before{k}")
        whole = b(f"icmp sle i64 %start, {span}")
        b.put(f"br i1 {whole}, label %loop{k}, label %rest{k}")
        b.label(f"loop{k}")
        b.put(f"%i{k} = phi i64 [ %start, %before{k} ], [ %n{k}, %loop{k} ]")
        place = len(b.lines)
        found = [
            self._combined(name, x, y.name) for name, x, y in zip(names, inside, body(Index(f"%i{k}", "")), strict=True)
        ]
        phis = zip(inside, identity, found, strict=True)
        b.lines[place:place] = [
            f"  {x} = phi {kind} [ {first}, %before{k} ], [ {y}, %loop{k} ]" for x, first, y in phis
        ]
        b.put(f"%n{k} = add nuw nsw i64 %i{k}, {lanes}")
        b.put(f"br i1 {b(f'icmp sle i64 %n{k}, {span}')}, label %loop{k}, label %rest{k}")
        b.label(f"rest{k}")
        b.put(f"%r{k} = phi i64 [ %start, %before{k} ], [ %n{k}, %loop{k} ]")
        for x, first, y in zip(after, identity, found, strict=True):
            b.put(f"{x} = phi {kind} [ {first}, %before{k} ], [ {y}, %loop{k} ]")
        left = b(f"icmp slt i64 %r{k}, %stop")
        b.put(f"br i1 {left}, label %tail{k}, label %done{k}")
        b.label(f"tail{k}")
        remaining = b(f"sub i64 %stop, %r{k}")
        places = f"<{', '.join(f'i64 {i}' for i in range(lanes))}>"
        limit = b(f"insertelement <{lanes} x i64> poison, i64 {remaining}, i64 0")
        limit = b(f"shufflevector <{lanes} x i64> {limit}, <{lanes} x i64> poison, <{lanes} x i32> zeroinitializer")
        mask = b(f"icmp slt <{lanes} x i64> {places}, {limit}")
        values = [b.select(t, mask, y.name, first) for y, first in zip(body(Index(f"%r{k}", mask)), identity)]
        last = [self._combined(name, x, y) for name, x, y in zip(names, after, values, strict=True)]
        b.put(f"br label %done{k}")
        b.label(f"done{k}")
        results = []
        for name, x, y in zip(names, after, last, strict=True):
            total = b(f"phi {kind} [ {x}, %rest{k} ], [ {y}, %tail{k} ]")
            results.append((name, total))
        return [Value(b, t, self._folded(name, total)) for name, total in results]

    def _combined(self, name: str, x: str, y: str) -> str:
        return TABLE[name][1](self.builder, self.t, x, y)

    def _folded(self, name: str, value: str) -> str:
        b, lanes = self.builder, self.builder.lanes
        number = folded(b, self.t, lanes, value, lambda x, y: self._combined(name, x, y))
        b.lanes = lanes
        return spread(b, self.t, number)


# The kernel


@cache
def _installed() -> bool:
    return importlib.util.find_spec("llvmlite") is not None


def enabled() -> bool:
    """Whether operations run kernels: llvmlite is installed, and the environment variable ``AUTODIFF_NATIVE`` is not
    0."""
    return os.environ.get("AUTODIFF_NATIVE", "1") != "0" and _installed()


_lock = threading.Lock()  # a kernel is compiled once


class Kernel:
    """A function of the rows of arrays of one dtype, float32 or float64, as machine code.

    Args:
        write: ``write(row, *memories)`` writes what is done for a row, with a `Row` and a `Memory` for each array.
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
        self._compiled: dict[str, tuple[Machine, Callable[..., Any], Callable[..., Any]]] = {}

    def text(self, t: str, width: int) -> str:
        """The module for numbers of type "f" or "d" and vectors of so many bits."""
        module = Module(width)
        b = Builder(module, width // 8 // SIZE[t])
        b.put("br label %entry")
        b.label("entry")
        arrays = []
        for k in range(self._arrays):
            item = b(f"load ptr, ptr {b(f'getelementptr i8, ptr %arrays, i64 {ITEMS + 8 * k}')}")
            data, shape, strides = (
                b(f"load ptr, ptr {b(f'getelementptr i8, ptr {item}, i64 {place}')}")
                for place in (DATA, SHAPE, STRIDES)
            )
            one = b(f"icmp eq i64 {b(f'load i64, ptr {shape}')}, 1")
            arrays.append((data, b(f"select i1 {one}, i64 0, i64 {b(f'load i64, ptr {strides}')}")))
        b.put("br label %rows")
        b.label("rows")
        b.put("%r = phi i64 [ %lo, %entry ], [ %r.next, %latch ]")
        memories = [
            Memory(b, t, b(f"getelementptr i8, ptr {data}, i64 {b(f'mul i64 %r, {step}')}")) for data, step in arrays
        ]
        self._write(Row(b, t), *memories)
        b.put("br label %latch")
        b.label("latch")
        b.put("%r.next = add nuw nsw i64 %r, 1")
        b.put(f"br i1 {b('icmp slt i64 %r.next, %hi')}, label %rows, label %end")
        b.label("end")
        head = "define void @kernel(ptr %arrays, i64 %lo, i64 %hi, i64 %start, i64 %stop) #0 {"
        module.functions["kernel"] = "\n".join([head, *b.lines, "  ret void", "}"])
        return module.text

    def compiled(self, dtype: np.dtype[Any]) -> tuple[Machine, Callable[..., Any], Callable[..., Any]]:
        """The code, and its functions of (arrays, first and last row, first and last column): the second lets other
        threads run."""
        t = LETTER[dtype]
        if t not in self._compiled:
            with _lock:
                if t not in self._compiled:
                    machine = Machine(self.text(t, vector_bits()))
                    address = machine.address("kernel")
                    self._compiled[t] = machine, function(address, False, 4), function(address, True, 4)
        return self._compiled[t]

    def rows(self, *arrays: Any) -> None:
        """Run it on arrays (rows, columns), of which the first has all columns; neighbours in a row are neighbours in
        memory. Threads share many rows."""
        columns, rows = arrays[0].shape[1], max(a.shape[0] for a in arrays)
        if rows and columns:
            shared = count() if rows * columns >= SHARED else 1
            self._run(arrays, [(lo, hi, 0, columns) for lo, hi, _ in ranges(rows, shared)], rows * columns)

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
    return all(type(a) is np.ndarray and a.dtype == x.dtype for a in arrays) and x.dtype.char in "fd"


class Elementwise:
    """An elementwise function of arrays as machine code.

    Args:
        expression: the function, in NumPy's elementwise functions of vectors.
        inputs: how many arrays it takes.

    >>> square = Elementwise(lambda x: x * x, inputs=1)
    >>> square(np.array([1.0, 3.0]))
    array([1., 9.])
    """

    def __init__(self, expression: Callable[..., Any], inputs: int) -> None:
        self.expression = expression

        def write(row: Row, *memories: Memory) -> None:
            row.each(lambda i: memories[-1].put(i, expression(*[x[i] for x in memories[:-1]])))

        self._kernel = Kernel(write, inputs + 1)

    def fits(self, *arrays: Any) -> bool:
        """Whether it pays to run it on these, and it can be: they have one shape and dtype."""
        x = arrays[0]
        return (
            type(x) is np.ndarray
            and x.size > SMALL
            and plain(*arrays)
            and all(a.shape == x.shape for a in arrays)
            and enabled()
        )

    def __call__(self, *arrays: Any) -> Any:
        """The values, in memory as the first array's."""
        y = np.empty_like(arrays[0])
        self._kernel.flat(*[_alike(a, y) for a in arrays], y)
        return y


def _alike(a: Any, y: Any) -> Any:
    """An array in memory as y is, which has no gaps."""
    if a.strides == y.strides and a.flags.aligned:
        return a
    copy = np.empty_like(y)
    copy[...] = a
    return copy
