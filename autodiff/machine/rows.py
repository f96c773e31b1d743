"""What kernels are written with: rows of arrays, the loops over their columns, and the function around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .arrays import DATA, ITEMS, SHAPE, STRIDES
from .elementwise import TABLE, folded
from .expressions import Value
from .ir import SCALAR, SIZE, Builder, Module


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

    def moved(self, *offsets: str) -> Memory:
        """The same memory, from so many numbers on."""
        address = self.address
        for offset in offsets:
            address = self.builder(f"getelementptr {SCALAR[self.t]}, ptr {address}, i64 {offset}")
        return Memory(self.builder, self.t, address)

    def integer(self, i: int) -> str:
        """The i-th number of an array of int64."""
        return self.builder(f"load i64, ptr {self.builder(f'getelementptr i64, ptr {self.address}, i64 {i}')}")

    @property
    def number(self) -> Any:
        """The row's first number."""
        b = self.builder
        return Value(b, self.t, b.spread(self.t, b(f"load {SCALAR[self.t]}, ptr {self.address}")))

    @number.setter
    def number(self, value: Value) -> None:
        b = self.builder
        first = b(f"extractelement {b.type(self.t)} {value.name}, i64 0")
        b.put(f"store {SCALAR[self.t]} {first}, ptr {self.address}")


class Row:
    """The loops over the columns of a row, from `start` to `stop`."""

    def __init__(self, builder: Builder, t: str) -> None:
        self.builder, self.t, self.loops = builder, t, 0

    def constant(self, value: float) -> Any:
        """A vector of one number."""
        return Value(self.builder, self.t, self.builder.constant(value, self.t))

    @property
    def length(self) -> Any:
        """How many columns there are, as a number."""
        b = self.builder
        n = b("sub i64 %stop, %start")
        return Value(b, self.t, b.spread(self.t, b(f"sitofp i64 {n} to {SCALAR[self.t]}")))

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
        identities = [self.constant({"add": 0.0, "maximum": -np.inf}[name]) for name in names]

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
        return Value(b, t, b.spread(t, number))


def module_text(write: Callable[..., Any], count: int, t: str, width: int) -> str:
    """A module with ``kernel(arrays, lo, hi, start, stop)``, which runs what ``write(row, *memories)`` writes for rows
    from `lo` below `hi` of so many arrays, and for columns from `start` below `stop`.

    Args:
        t: "f" or "d".
        width: bits of a vector.
    """
    module = Module(width)
    b = Builder(module, width // 8 // SIZE[t])
    b.put("br label %entry")
    b.label("entry")
    arrays = []
    for k in range(count):
        item = b(f"load ptr, ptr {b(f'getelementptr i8, ptr %arrays, i64 {ITEMS + 8 * k}')}")
        data, shape, strides = (
            b(f"load ptr, ptr {b(f'getelementptr i8, ptr {item}, i64 {place}')}") for place in (DATA, SHAPE, STRIDES)
        )
        one = b(f"icmp eq i64 {b(f'load i64, ptr {shape}')}, 1")
        arrays.append((data, b(f"select i1 {one}, i64 0, i64 {b(f'load i64, ptr {strides}')}")))
    b.put("br label %rows")
    b.label("rows")
    b.put("%r = phi i64 [ %lo, %entry ], [ %r.next, %latch ]")
    memories = [
        Memory(b, t, b(f"getelementptr i8, ptr {data}, i64 {b(f'mul i64 %r, {step}')}")) for data, step in arrays
    ]
    write(Row(b, t), *memories)
    b.put("br label %latch")
    b.label("latch")
    b.put("%r.next = add nuw nsw i64 %r, 1")
    b.put(f"br i1 {b('icmp slt i64 %r.next, %hi')}, label %rows, label %end")
    b.label("end")
    head = "define void @kernel(ptr %arrays, i64 %lo, i64 %hi, i64 %start, i64 %stop) #0 {"
    module.functions["kernel"] = "\n".join([head, *b.lines, "  ret void", "}"])
    return module.text
