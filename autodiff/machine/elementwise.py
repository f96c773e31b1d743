"""Elementwise operations as instructions, in the order: arithmetic, comparisons, powers, the C library's functions,
the table.

A writer takes (builder, type, *operands), the operands having that type already.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable, Sequence

from .ir import SCALAR, Builder
from .mathematics import FUNCTIONS

Writer = Callable[..., str]


# Arithmetic


def _by_type(floats: str, integers: str, bools: str = "") -> Writer:
    """One instruction, by the type of its operands."""
    return lambda b, t, x, y: b.binary(floats if t in "fd" else integers if t == "i" else bools, t, x, y)


def _intrinsic(name: str) -> Writer:
    return lambda b, t, *x: b.intrinsic(name, t, *x)


def _negative(b: Builder, t: str, x: str) -> str:
    return b.negative(t, x) if t in "fd" else b.binary("sub", t, b.constant(0, t), x)


def _absolute(b: Builder, t: str, x: str) -> str:
    if t == "b":
        return x
    return b.intrinsic("fabs", t, x) if t in "fd" else maximum(b, t, x, _negative(b, t, x))


def _sign(b: Builder, t: str, x: str) -> str:
    zero, one = b.constant(0, t), b.constant(1, t)
    below = b.select(t, _less(b, t, x, zero), b.constant(-1, t), zero)
    y = b.select(t, _less(b, t, zero, x), one, below)
    return b.select(t, b.is_nan(t, x), x, y) if t in "fd" else y


def _less(b: Builder, t: str, x: str, y: str) -> str:
    return b.compare({"i": "slt", "b": "ult"}.get(t, "olt"), t, x, y)


def maximum(b: Builder, t: str, x: str, y: str) -> str:
    """The larger; NaN where either is NaN."""
    return _chosen(b, t, x, y, _less(b, t, y, x))


def minimum(b: Builder, t: str, x: str, y: str) -> str:
    """The smaller; NaN where either is NaN."""
    return _chosen(b, t, x, y, _less(b, t, x, y))


def _chosen(b: Builder, t: str, x: str, y: str, first: str) -> str:
    if t in "fd":
        first = b.binary("or", "b", first, b.is_nan(t, x))
    return b.select(t, first, x, y)


def logical_or(b: Builder, t: str, x: str, y: str) -> str:
    return b.binary("or", "b", b.convert(x, t, "b"), b.convert(y, t, "b"))


def logical_and(b: Builder, t: str, x: str, y: str) -> str:
    return b.binary("and", "b", b.convert(x, t, "b"), b.convert(y, t, "b"))


# Comparisons


def _compared(floats: str, integers: str) -> Writer:
    def write(b: Builder, t: str, x: str, y: str) -> str:
        return b.compare(floats if t in "fd" else integers if t == "i" else integers.replace("s", "u"), t, x, y)

    return write


def _size_is(predicate: str) -> Writer:
    """|x| compared with ∞."""
    return lambda b, t, x: b.compare(predicate, t, b.intrinsic("fabs", t, x), b.constant(math.inf, t))


# Powers


def integer_power(b: Builder, t: str, x: str, n: int) -> str:
    """xⁿ by repeated squares."""
    y = None
    while n:
        if n & 1:
            y = x if y is None else b.mul(t, y, x)
        n >>= 1
        if n:
            x = b.mul(t, x, x)
    return b.constant(1, t) if y is None else y


# The C library's functions, one number after another


def from_library(name: str) -> Writer:
    def write(b: Builder, t: str, *operands: str) -> str:
        scalar, full = ("float", name + "f") if t == "f" else ("double", name)
        b.module.declared.add(f"declare {scalar} @{full}({', '.join([scalar] * len(operands))})")
        if b.lanes == 1:
            return b(f"call {scalar} @{full}({', '.join(f'{scalar} {x}' for x in operands)})")
        y = "poison"
        for i in range(b.lanes):
            parts = [b(f"extractelement {b.type(t)} {x}, i64 {i}") for x in operands]
            part = b(f"call {scalar} @{full}({', '.join(f'{scalar} {x}' for x in parts)})")
            y = b(f"insertelement {b.type(t)} {y}, {scalar} {part}, i64 {i}")
        return y

    return write


def _in_library(name: str) -> bool:
    """Whether this process finds the function by its name."""
    return sys.platform != "win32" and hasattr(ctypes.CDLL(None), name)


LIBRARY = {
    "tan": "tan", "arcsin": "asin", "arccos": "acos", "arctan": "atan",
    "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "cbrt": "cbrt", "log10": "log10", "arctan2": "atan2",
    "hypot": "hypot", "power": "pow",
}  # fmt: skip


# The table

TABLE: dict[str, tuple[str, Writer]] = {
    "add": ("fdib", _by_type("fadd", "add", "or")),
    "subtract": ("fdi", _by_type("fsub", "sub")),
    "multiply": ("fdib", _by_type("fmul", "mul", "and")),
    "divide": ("fd", _by_type("fdiv", "")),
    "negative": ("fdi", _negative),
    "absolute": ("fdib", _absolute),
    "fabs": ("fd", _absolute),
    "sign": ("fdi", _sign),
    "square": ("fdi", lambda b, t, x: b.binary("fmul" if t in "fd" else "mul", t, x, x)),
    "sqrt": ("fd", _intrinsic("sqrt")),
    "reciprocal": ("fd", lambda b, t, x: b.div(t, b.constant(1, t), x)),
    "floor": ("fd", _intrinsic("floor")),
    "ceil": ("fd", _intrinsic("ceil")),
    "trunc": ("fd", _intrinsic("trunc")),
    "rint": ("fd", _intrinsic("rint")),
    "copysign": ("fd", _intrinsic("copysign")),
    "maximum": ("fdib", maximum),
    "minimum": ("fdib", minimum),
    "greater": ("fdib", _compared("ogt", "sgt")),
    "greater_equal": ("fdib", _compared("oge", "sge")),
    "less": ("fdib", _compared("olt", "slt")),
    "less_equal": ("fdib", _compared("ole", "sle")),
    "equal": ("fdib", _compared("oeq", "eq")),
    "not_equal": ("fdib", _compared("une", "ne")),
    "isnan": ("fd", lambda b, t, x: b.is_nan(t, x)),
    "isinf": ("fd", _size_is("oeq")),
    "isfinite": ("fd", _size_is("one")),
    "logical_and": ("fdib", logical_and),
    "logical_or": ("fdib", logical_or),
    "logical_not": ("fdib", lambda b, t, x: b.binary("xor", "b", b.convert(x, t, "b"), b.constant(1, "b"))),
    "bitwise_and": ("ib", _by_type("", "and", "and")),
    "bitwise_or": ("ib", _by_type("", "or", "or")),
    "bitwise_xor": ("ib", _by_type("", "xor", "xor")),
    "invert": ("ib", lambda b, t, x: b.binary("xor", t, x, b.constant(1 if t == "b" else -1, t))),
    **{name: ("fd", write) for name, write in FUNCTIONS.items()},
    **{name: ("fd", from_library(c)) for name, c in LIBRARY.items() if _in_library(c + "f")},
}
"""By the names of programs: the types of operands that NumPy has a loop for and that can be written, and the writer."""

PREDICATES = {
    "greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "isnan", "isinf", "isfinite", "logical_and",
    "logical_or", "logical_not",
}  # fmt: skip
"""Those whose results are booleans."""

DEAR = {*FUNCTIONS, *LIBRARY, "divide", "reciprocal", "sqrt"}
"""Rather kept than computed twice."""


def instruction(b: Builder, name: str, t: str, operands: Sequence[str]) -> tuple[str, str]:
    """The type and the value of an operation of the table on operands of type t.

    Raises:
        TypeError: there is none.
    """
    if name not in TABLE or t not in TABLE[name][0]:
        raise TypeError(f"{name}: is no instruction of machine code for operands of type {t!r}")
    if name in FUNCTIONS:
        return t, b.function(name, t, FUNCTIONS[name], *operands)
    return "b" if name in PREDICATES else t, TABLE[name][1](b, t, *operands)


def folded(b: Builder, t: str, lanes: int, value: str, combine: Writer) -> str:
    """The numbers of a vector combined into one, halves with halves, by a writer; the builder is left at one lane."""
    n = lanes
    while n > 1:
        whole, n = f"<{n} x {SCALAR[t]}>", n // 2
        halves = []
        for start in (0, n):
            places = ", ".join(f"i32 {i}" for i in range(start, start + n))
            halves.append(b(f"shufflevector {whole} {value}, {whole} poison, <{n} x i32> <{places}>"))
        b.lanes = n
        if n == 1:
            halves = [b(f"extractelement <1 x {SCALAR[t]}> {half}, i64 0") for half in halves]
        value = combine(b, t, *halves)
    return value
