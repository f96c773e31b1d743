"""Whether arrays lie in memory as is expected, asked in machine code, of which there is one piece for all."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import arrays
from .ir import Module
from .machine import Machine

KNOWN = "?bhiqlBHIQLefdFD"
"""The dtypes whose arrays are looked at, by their letters."""

Layout = tuple[tuple[int, ...], np.dtype[Any], tuple[int, ...]]
"""Shape, dtype and strides."""


def differ(layouts: Sequence[Layout], written: Sequence[int] = ()) -> Callable[[tuple[Any, ...]], bool] | None:
    """A function of a tuple of so many things that says whether they are anything else than aligned arrays (of no
    subclass) of these layouts, of which those that are written are writeable and share no memory with others.

    None where that cannot be asked of such arrays, or on this Python.

    Raises:
        ImportError: llvmlite is not installed.

    >>> other = differ([((2,), np.dtype(float), (8,))])
    >>> other((np.ones(2),)), other((np.ones(3),)), other((None,))
    (False, True, True)
    """
    known = all(dtype.char in KNOWN and np.dtype(dtype.char) is dtype for _, dtype, _ in layouts)
    if not arrays.as_expected() or not known or not layouts:
        return None
    heads: list[int] = [len(layouts), len(written), HEAD + EACH * len(layouts)]
    rest = [*written]
    for k, (shape, dtype, strides) in enumerate(layouts):
        spans = [(n - 1) * step for n, step in zip(shape, strides, strict=True)] if 0 not in shape else []
        low, high = sum(min(s, 0) for s in spans), sum(max(s, 0) for s in spans) + dtype.itemsize
        flags = arrays.ALIGNED | (arrays.WRITEABLE if k in written else 0)
        heads += [id(dtype), len(shape), flags, low, high, HEAD + EACH * len(layouts) + len(rest)]
        rest += [*shape, *strides]
    return arrays.method(_machine().address("differ"), np.array([*heads, *rest], np.int64), _machine())


HEAD, EACH = 3, 6
"""Words at the begin of a table, and for each array."""


@functools.cache
def _machine() -> Machine:
    module = Module(64)
    module.functions["differ"] = _TEXT.format(**vars(arrays), HEAD=HEAD, EACH=EACH)
    names = {"autodiff_array": id(np.ndarray), "autodiff_true": id(True), "autodiff_false": id(False)}
    return Machine(module.text, names | arrays.symbols())


_TEXT = """@autodiff_array = external global i8
@autodiff_true = external global i8
@autodiff_false = external global i8
declare void @Py_IncRef(ptr)
define ptr @differ(ptr %self, ptr %arrays) #0 {{
entry:
  %first.at = getelementptr i8, ptr %self, i64 {ITEMS}
  %first = load ptr, ptr %first.at
  %table.at = getelementptr i8, ptr %first, i64 {DATA}
  %table = load ptr, ptr %table.at
  %count = load i64, ptr %table
  %low = alloca i64, i64 %count
  %high = alloca i64, i64 %count
  %given.at = getelementptr i8, ptr %arrays, i64 {LENGTH}
  %given = load i64, ptr %given.at
  %complete = icmp eq i64 %given, %count
  br i1 %complete, label %loop, label %end
loop:
  %i = phi i64 [ 0, %entry ], [ %i.next, %next ]
  %item.at = getelementptr i8, ptr %arrays, i64 {ITEMS}
  %item = getelementptr ptr, ptr %item.at, i64 %i
  %array = load ptr, ptr %item
  %type.at = getelementptr i8, ptr %array, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %type.good = icmp eq ptr %type, @autodiff_array
  br i1 %type.good, label %array.good, label %end
array.good:
  %begin.of = mul i64 %i, {EACH}
  %place.of = add i64 %begin.of, {HEAD}
  %want = getelementptr i64, ptr %table, i64 %place.of
  %dtype.at = getelementptr i8, ptr %array, i64 {DTYPE}
  %dtype = load ptr, ptr %dtype.at
  %dtype.want = load ptr, ptr %want
  %dtype.good = icmp eq ptr %dtype, %dtype.want
  %axes.at = getelementptr i8, ptr %array, i64 {AXES}
  %axes.short = load i32, ptr %axes.at
  %axes = sext i32 %axes.short to i64
  %axes.want.at = getelementptr i64, ptr %want, i64 1
  %axes.want = load i64, ptr %axes.want.at
  %axes.good = icmp eq i64 %axes, %axes.want
  %flags.at = getelementptr i8, ptr %array, i64 {FLAGS}
  %flags.short = load i32, ptr %flags.at
  %flags = zext i32 %flags.short to i64
  %flags.want.at = getelementptr i64, ptr %want, i64 2
  %flags.want = load i64, ptr %flags.want.at
  %flags.both = and i64 %flags, %flags.want
  %flags.good = icmp eq i64 %flags.both, %flags.want
  %good.two = and i1 %dtype.good, %axes.good
  %good = and i1 %good.two, %flags.good
  br i1 %good, label %head.good, label %end
head.good:
  %data.at = getelementptr i8, ptr %array, i64 {DATA}
  %data = load i64, ptr %data.at
  %low.by.at = getelementptr i64, ptr %want, i64 3
  %low.by = load i64, ptr %low.by.at
  %begin = add i64 %data, %low.by
  %low.at = getelementptr i64, ptr %low, i64 %i
  store i64 %begin, ptr %low.at
  %high.by.at = getelementptr i64, ptr %want, i64 4
  %high.by = load i64, ptr %high.by.at
  %end.of = add i64 %data, %high.by
  %high.at = getelementptr i64, ptr %high, i64 %i
  store i64 %end.of, ptr %high.at
  %shape.at = getelementptr i8, ptr %array, i64 {SHAPE}
  %shape = load ptr, ptr %shape.at
  %strides.at = getelementptr i8, ptr %array, i64 {STRIDES}
  %strides = load ptr, ptr %strides.at
  %rest.at = getelementptr i64, ptr %want, i64 5
  %rest = load i64, ptr %rest.at
  %shape.want = getelementptr i64, ptr %table, i64 %rest
  %strides.want = getelementptr i64, ptr %shape.want, i64 %axes
  br label %axis
axis:
  %a = phi i64 [ 0, %head.good ], [ %a.next, %axis.good ]
  %a.over = icmp eq i64 %a, %axes
  br i1 %a.over, label %next, label %axis.look
axis.look:
  %n.at = getelementptr i64, ptr %shape, i64 %a
  %n = load i64, ptr %n.at
  %n.want.at = getelementptr i64, ptr %shape.want, i64 %a
  %n.want = load i64, ptr %n.want.at
  %n.good = icmp eq i64 %n, %n.want
  %step.at = getelementptr i64, ptr %strides, i64 %a
  %step = load i64, ptr %step.at
  %step.want.at = getelementptr i64, ptr %strides.want, i64 %a
  %step.want = load i64, ptr %step.want.at
  %step.good = icmp eq i64 %step, %step.want
  %axis.both = and i1 %n.good, %step.good
  br i1 %axis.both, label %axis.good, label %end
axis.good:
  %a.next = add i64 %a, 1
  br label %axis
next:
  %i.next = add i64 %i, 1
  %over = icmp eq i64 %i.next, %count
  br i1 %over, label %every, label %loop
every:
  %written.at = getelementptr i64, ptr %table, i64 1
  %written = load i64, ptr %written.at
  %list.at = getelementptr i64, ptr %table, i64 2
  %list.place = load i64, ptr %list.at
  %list = getelementptr i64, ptr %table, i64 %list.place
  br label %outer
outer:
  %w = phi i64 [ 0, %every ], [ %w.next, %outer.next ]
  %w.over = icmp eq i64 %w, %written
  br i1 %w.over, label %end, label %outer.look
outer.look:
  %w.at = getelementptr i64, ptr %list, i64 %w
  %k = load i64, ptr %w.at
  %k.low.at = getelementptr i64, ptr %low, i64 %k
  %k.high.at = getelementptr i64, ptr %high, i64 %k
  %k.low = load i64, ptr %k.low.at
  %k.high = load i64, ptr %k.high.at
  br label %inner
inner:
  %j = phi i64 [ 0, %outer.look ], [ %j.next, %inner.next ]
  %j.low.at = getelementptr i64, ptr %low, i64 %j
  %j.high.at = getelementptr i64, ptr %high, i64 %j
  %j.low = load i64, ptr %j.low.at
  %j.high = load i64, ptr %j.high.at
  %one = icmp ult i64 %k.low, %j.high
  %two = icmp ult i64 %j.low, %k.high
  %both = and i1 %one, %two
  %other = icmp ne i64 %k, %j
  %clash = and i1 %both, %other
  br i1 %clash, label %end, label %inner.next
inner.next:
  %j.next = add i64 %j, 1
  %j.over = icmp eq i64 %j.next, %count
  br i1 %j.over, label %outer.next, label %inner
outer.next:
  %w.next = add i64 %w, 1
  br label %outer
end:
  %answer = phi ptr [ @autodiff_true, %entry ], [ @autodiff_true, %loop ], [ @autodiff_true, %array.good ],
    [ @autodiff_true, %axis.look ], [ @autodiff_false, %outer ], [ @autodiff_true, %inner ]
  call void @Py_IncRef(ptr %answer)
  ret ptr %answer
}}"""
"""Each thing's type, dtype, axes, flags, lengths and steps; then whether what is written begins behind or ends before
each of the others."""
