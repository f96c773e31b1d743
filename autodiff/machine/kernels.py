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
        self.over([], lambda i, _: (body(i), [])[1])

    def sum(self, body: Callable[[Index], Any]) -> Any:
        """The sum of what a body gives for all columns."""
        return self.reduce(("add",), lambda i: (body(i),))[0]

    def max(self, body: Callable[[Index], Any]) -> Any:
        """The greatest of what a body gives; NaN where one is NaN."""
        return self.reduce(("maximum",), lambda i: (body(i),))[0]

    def reduce(self, names: Sequence[str], body: Callable[[Index], Sequence[Any]]) -> list[Any]:
        """The sums ("add") or the greatest ("maximum") of each of the values that a body gives."""
        b, t = self.builder, self.t
        identities = [Value(b, t, b.constant({"add": 0.0, "maximum": -np.inf}[name], t)) for name in names]

        def step(i: Index, before: list[Any]) -> list[Any]:
            found = [
                b.select(t, i.mask, x.name, identity.name) if i.mask else x.name
                for x, identity in zip(body(i), identities, strict=True)
            ]
            return [self._combined(*each) for each in zip(names, before, found, strict=True)]

        return [self.folded(name, x) for name, x in zip(names, self.over(identities, step), strict=True)]

    def over(self, values: list[Any], body: Callable[[Index, list[Any]], list[Any]]) -> list[Any]:
        """Run a body for all columns, which gets an index and the values that it gave before, these at first: the
        last."""
        b, lanes = self.builder, self.builder.lanes
        bound = b(f"sub i64 %stop, {lanes - 1}")
        reached, values = self.loop("%start", bound, lanes, values, lambda i, v: body(Index(i, ""), v))
        self.loops += 1
        k = self.loops
        b.put(f"br label %whole{k}")
        b.label(f"whole{k}")
        b.put(f"br i1 {b(f'icmp slt i64 {reached}, %stop')}, label %rest{k}, label %end{k}")
        b.label(f"rest{k}")
        places = f"<{', '.join(f'i64 {i}' for i in range(lanes))}>"
        left = b(f"sub i64 %stop, {reached}")
        limit = b(f"insertelement <{lanes} x i64> poison, i64 {left}, i64 0")
        limit = b(f"shufflevector <{lanes} x i64> {limit}, <{lanes} x i64> poison, <{lanes} x i32> zeroinitializer")
        mask = b(f"icmp slt <{lanes} x i64> {places}, {limit}")
        last = body(Index(reached, mask), values)
        b.put(f"br label %last{k}")
        b.label(f"last{k}")
        b.put(f"br label %end{k}")
        b.label(f"end{k}")
        kind = b.type(self.t)
        return [
            Value(b, self.t, b(f"phi {kind} [ {x.name}, %whole{k} ], [ {y.name}, %last{k} ]"))
            for x, y in zip(values, last, strict=True)
        ]

    def loop(
        self, start: str, stop: str, step: int, values: list[Any], body: Callable[[str, list[Any]], list[Any]]
    ) -> tuple[str, list[Any]]:
        """Run a body for integers from `start` below `stop`, which gets the integer and the values that it gave before,
        these at first: the first integer that is not below, and the last values."""
        b, t = self.builder, self.t
        self.loops += 1
        k, kind, names = self.loops, b.type(t), [b.new() for _ in values]
        b.put(f"br label %before{k}")
        b.label(f"before{k}")
        b.put(f"br label %head{k}")
        b.label(f"head{k}")
        b.put(f"%i{k} = phi i64 [ {start}, %before{k} ], [ %n{k}, %latch{k} ]")
        place = len(b.lines)
        b.put(f"br i1 {b(f'icmp slt i64 %i{k}, {stop}')}, label %body{k}, label %done{k}")
        b.label(f"body{k}")
        found = body(f"%i{k}", [Value(b, t, name) for name in names])
        b.put(f"br label %latch{k}")
        b.label(f"latch{k}")
        b.put(f"%n{k} = add nuw nsw i64 %i{k}, {step}")
        b.put(f"br label %head{k}")
        b.label(f"done{k}")
        b.lines[place:place] = [
            f"  {name} = phi {kind} [ {first.name}, %before{k} ], [ {y.name}, %latch{k} ]"
            for name, first, y in zip(names, values, found, strict=True)
        ]
        return f"%i{k}", [Value(b, t, name) for name in names]

    def _combined(self, name: str, x: Value, y: str) -> Value:
        return Value(self.builder, self.t, TABLE[name][1](self.builder, self.t, x.name, y))

    def folded(self, name: str, value: Value) -> Any:
        """The sum or the greatest of the numbers of a vector."""
        b, t, lanes = self.builder, self.t, self.builder.lanes
        number = folded(b, t, lanes, value.name, TABLE[name][1])
        b.lanes = lanes
        return Value(b, t, spread(b, t, number))


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
        y = np.empty_like(rows[0])
        self.rows(*rows, y)
        return y.reshape(arrays[0].shape)

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
    >>> square(np.full(5000, 3.0))[:2]
    array([9., 9.])
    >>> square(np.array([1.0, 3.0]))  # is NumPy's
    """

    def __init__(self, expression: Callable[..., Any], inputs: int) -> None:
        self.expression = expression

        def write(row: Row, *memories: Memory) -> None:
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
