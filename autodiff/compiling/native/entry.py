"""Whether the arguments of machine code are the arrays that a program was made for, asked in machine code."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...machine import arrays
from ..program import Node

KNOWN = "?bhiqlBHIQLefdFD"
"""The dtypes whose arrays are looked at, by their letters."""


def symbols() -> dict[str, int]:
    """The addresses of the type of arrays and of dtypes, by the names that `check_text` uses."""
    return {"autodiff_array": id(np.ndarray)} | {f"autodiff_dtype_{ord(c)}": id(np.dtype(c)) for c in KNOWN}


def check_text(nodes: Sequence[Node], written: Sequence[int]) -> str:
    """A function ``check`` of a tuple that gives 0 where its items are arrays in memory such as these nodes', and those
    that are written are writeable and share no memory with others. It is '' where it cannot be written."""
    known = all(x.dtype.char in KNOWN and np.dtype(x.dtype.char) is x.dtype for x in nodes)
    if not arrays.as_expected() or not known or not nodes:
        return ""
    spans = [[(n - 1) * step for n, step in zip(x.shape, x.strides, strict=True)] if x.size else [] for x in nodes]
    tables = {
        "dtypes": ("ptr", [f"@autodiff_dtype_{ord(x.dtype.char)}" for x in nodes]),
        "axes": ("i32", [len(x.shape) for x in nodes]),
        "flags": ("i32", [arrays.ALIGNED | (arrays.WRITEABLE if i in written else 0) for i in range(len(nodes))]),
        "first": ("i64", np.cumsum([0, *(len(x.shape) for x in nodes)]).tolist()),
        "shapes": ("i64", [n for x in nodes for n in x.shape] or [0]),
        "strides": ("i64", [step for x in nodes for step in x.strides] or [0]),
        "lows": ("i64", [sum(min(s, 0) for s in span) for span in spans]),
        "highs": ("i64", [sum(max(s, 0) for s in span) + x.dtype.itemsize for x, span in zip(nodes, spans)]),
        "written": ("i64", list(written) or [0]),
    }
    constants = [
        f"@{name} = private constant [{len(values)} x {kind}] [{', '.join(f'{kind} {v}' for v in values)}]"
        for name, (kind, values) in tables.items()
    ]
    outside = [f"@{name} = external global i8" for name in symbols()]
    apart = _APART.format(count=len(nodes), written=len(written)) if written else "every:\n  ret i64 0"
    return "\n".join([*outside, *constants, _CHECK.format(**vars(arrays), count=len(nodes)) + apart, "}"])


_CHECK = """define i64 @check(ptr %arrays) #0 {{
entry:
  %low = alloca [{count} x i64]
  %high = alloca [{count} x i64]
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i.next, %next ]
  %item = getelementptr [{count} x ptr], ptr %arrays, i64 0, i64 %i
  %item.at = getelementptr i8, ptr %item, i64 {ITEMS}
  %array = load ptr, ptr %item.at
  %type.at = getelementptr i8, ptr %array, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %type.good = icmp eq ptr %type, @autodiff_array
  br i1 %type.good, label %array.good, label %bad
array.good:
  %dtype.at = getelementptr i8, ptr %array, i64 {DTYPE}
  %dtype = load ptr, ptr %dtype.at
  %dtype.want.at = getelementptr ptr, ptr @dtypes, i64 %i
  %dtype.want = load ptr, ptr %dtype.want.at
  %dtype.good = icmp eq ptr %dtype, %dtype.want
  %axes.at = getelementptr i8, ptr %array, i64 {AXES}
  %axes = load i32, ptr %axes.at
  %axes.want.at = getelementptr i32, ptr @axes, i64 %i
  %axes.want = load i32, ptr %axes.want.at
  %axes.good = icmp eq i32 %axes, %axes.want
  %flags.at = getelementptr i8, ptr %array, i64 {FLAGS}
  %flags = load i32, ptr %flags.at
  %flags.want.at = getelementptr i32, ptr @flags, i64 %i
  %flags.want = load i32, ptr %flags.want.at
  %flags.both = and i32 %flags, %flags.want
  %flags.good = icmp eq i32 %flags.both, %flags.want
  %good.two = and i1 %dtype.good, %axes.good
  %good = and i1 %good.two, %flags.good
  br i1 %good, label %head.good, label %bad
head.good:
  %data.at = getelementptr i8, ptr %array, i64 {DATA}
  %data = load i64, ptr %data.at
  %lows.at = getelementptr i64, ptr @lows, i64 %i
  %lows = load i64, ptr %lows.at
  %begin = add i64 %data, %lows
  %low.at = getelementptr i64, ptr %low, i64 %i
  store i64 %begin, ptr %low.at
  %highs.at = getelementptr i64, ptr @highs, i64 %i
  %highs = load i64, ptr %highs.at
  %end = add i64 %data, %highs
  %high.at = getelementptr i64, ptr %high, i64 %i
  store i64 %end, ptr %high.at
  %shape.at = getelementptr i8, ptr %array, i64 {SHAPE}
  %shape = load ptr, ptr %shape.at
  %strides.at = getelementptr i8, ptr %array, i64 {STRIDES}
  %strides = load ptr, ptr %strides.at
  %first.at = getelementptr i64, ptr @first, i64 %i
  %first = load i64, ptr %first.at
  %count = sext i32 %axes to i64
  br label %axis
axis:
  %a = phi i64 [ 0, %head.good ], [ %a.next, %axis.good ]
  %a.over = icmp eq i64 %a, %count
  br i1 %a.over, label %next, label %axis.look
axis.look:
  %place = add i64 %first, %a
  %n.at = getelementptr i64, ptr %shape, i64 %a
  %n = load i64, ptr %n.at
  %n.want.at = getelementptr i64, ptr @shapes, i64 %place
  %n.want = load i64, ptr %n.want.at
  %n.good = icmp eq i64 %n, %n.want
  %step.at = getelementptr i64, ptr %strides, i64 %a
  %step = load i64, ptr %step.at
  %step.want.at = getelementptr i64, ptr @strides, i64 %place
  %step.want = load i64, ptr %step.want.at
  %step.same = icmp eq i64 %step, %step.want
  %short = icmp eq i64 %n, 1
  %step.good = or i1 %step.same, %short
  %axis.both = and i1 %n.good, %step.good
  br i1 %axis.both, label %axis.good, label %bad
axis.good:
  %a.next = add i64 %a, 1
  br label %axis
next:
  %i.next = add i64 %i, 1
  %over = icmp eq i64 %i.next, {count}
  br i1 %over, label %every, label %loop
bad:
  ret i64 1
"""
_APART = """every:
  br label %outer
outer:
  %w = phi i64 [ 0, %every ], [ %w.next, %outer.next ]
  %w.at = getelementptr i64, ptr @written, i64 %w
  %k = load i64, ptr %w.at
  %k.low.at = getelementptr i64, ptr %low, i64 %k
  %k.high.at = getelementptr i64, ptr %high, i64 %k
  %k.low = load i64, ptr %k.low.at
  %k.high = load i64, ptr %k.high.at
  br label %inner
inner:
  %j = phi i64 [ 0, %outer ], [ %j.next, %inner.next ]
  %j.low.at = getelementptr i64, ptr %low, i64 %j
  %j.high.at = getelementptr i64, ptr %high, i64 %j
  %j.low = load i64, ptr %j.low.at
  %j.high = load i64, ptr %j.high.at
  %one = icmp ult i64 %k.low, %j.high
  %two = icmp ult i64 %j.low, %k.high
  %both = and i1 %one, %two
  %other = icmp ne i64 %k, %j
  %clash = and i1 %both, %other
  br i1 %clash, label %bad, label %inner.next
inner.next:
  %j.next = add i64 %j, 1
  %j.over = icmp eq i64 %j.next, {count}
  br i1 %j.over, label %outer.next, label %inner
outer.next:
  %w.next = add i64 %w, 1
  %w.over = icmp eq i64 %w.next, {written}
  br i1 %w.over, label %apart, label %outer
apart:
  ret i64 0"""
"""Whether what is written begins behind or ends before each of the others."""


def check(address: int) -> Callable[[tuple[Any, ...]], int]:
    """The function `check_text` at an address."""
    return ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.py_object)(address)
