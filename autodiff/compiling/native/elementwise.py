"""Elementwise operations as instructions, in the order: the types that NumPy computes in, arithmetic, comparisons,
powers, the C library's functions, the table.

A writer takes (builder, type, *operands), the operands having that type already.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special

from ..program import Node
from .ir import LETTER, Builder
from .mathematics import FUNCTIONS

Writer = Callable[..., str]
IDENTITIES = ("copy", "broadcast_to", "astype", "positive", "conjugate")
LARGEST_POWER = 8
"""Up to which an integer exponent is a product."""


# The types that NumPy computes in


def signature(node: Node) -> tuple[str, str, str] | None:
    """The types of the operands and of the result in NumPy's loop, and the result's type in the program, where all can
    be written here; None where not."""
    given = [_kind(x) for x in node.inputs]
    if any(dtype not in LETTER and dtype not in (bool, int, float) for dtype in (*given, node.dtype)):
        return None
    if any(isinstance(x, int) and not -(2**63) <= x < 2**63 for x in node.inputs):
        return None
    result = LETTER[node.dtype]
    if node.op == "where":
        types, computed = "b" + 2 * result if len(node.inputs) == 3 else "", result
    elif node.op in IDENTITIES:
        types, computed = result, result
    else:
        loop = _loop(node, given)
        if loop is None or any(dtype not in LETTER for dtype in loop):
            return None
        types, computed = "".join(LETTER[dtype] for dtype in loop[:-1]), LETTER[loop[-1]]
        if node.op not in TABLE or types[0] not in TABLE[node.op][0] or len(set(types)) != 1:
            return None
    sources = [LETTER[np.dtype(dtype)] for dtype in given]
    pairs = [*zip(sources, types, strict=False), (computed, result)]
    if len(sources) != len(types) or any(s in "fd" and t == "i" for s, t in pairs):
        return None
    return types, computed, result


def _kind(x: Any) -> Any:
    """A dtype, or the type of a Python number."""
    if is_weak(x):
        return type(x.dtype.type().item())
    return x.dtype if isinstance(x, (Node, np.ndarray, np.generic)) else type(x)


def is_weak(x: Any) -> bool:
    """Whether a value is a Python number at every call."""
    return isinstance(x, Node) and bool(x.options.get("weak"))


def _ufunc(name: str) -> np.ufunc | None:
    """The ufunc that an operation calls: NumPy's, or SciPy's after ``special.``; None where it is none."""
    home, name = (scipy.special, name[len("special.") :]) if name.startswith("special.") else (np, name)
    found = getattr(home, name, None)
    return found if isinstance(found, np.ufunc) else None


def _loop(node: Node, given: list[Any]) -> tuple[Any, ...] | None:
    ufunc = _ufunc(node.op)
    if ufunc is None or len(given) != ufunc.nin or ufunc.nout != 1:
        return None
    if ufunc.nin == 1 and not isinstance(given[0], np.dtype):
        return None
    try:
        return ufunc.resolve_dtypes((*given, None))
    except TypeError:
        return None


def written(b: Builder, node: Node, types: tuple[str, str, str], operands: list[str]) -> str:
    """The value of a node whose operands have the types of its signature."""
    loop, computed, result = types
    if node.op == "where":
        return b.select(result, *operands)
    if node.op in IDENTITIES:
        return operands[0]
    if node.op == "power":
        value = _power(b, loop[0], operands[0], operands[1], node.inputs[1])
    elif node.op in FUNCTIONS:
        value = b.function(node.op, loop[0], FUNCTIONS[node.op], *operands)
    else:
        value = TABLE[node.op][1](b, loop[0], *operands)
    return b.convert(value, computed, result)


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


def _power(b: Builder, t: str, x: str, y: str, exponent: Any) -> str:
    number = exponent.item() if isinstance(exponent, np.generic) else exponent
    if isinstance(number, (int, float)):
        if float(number).is_integer() and abs(number) <= LARGEST_POWER:
            base = x if number >= 0 else b.div(t, b.constant(1, t), x)
            return _product(b, t, base, abs(int(number)))
        if number == 0.5:
            return b.intrinsic("sqrt", t, x)
    return _from_library("pow")(b, t, x, y)


def _product(b: Builder, t: str, x: str, n: int) -> str:
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


def _from_library(name: str) -> Writer:
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
    "sinh": "sinh", "cosh": "cosh", "tan": "tan", "arcsin": "asin", "arccos": "acos", "arctan": "atan",
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
    **{name: ("fd", _from_library(c)) for name, c in LIBRARY.items() if _in_library(c + "f")},
}
"""By the names of programs: the types of operands that NumPy has a loop for and that can be written, and the writer."""

DEAR = {*FUNCTIONS, *LIBRARY, "divide", "reciprocal", "sqrt"}
"""Rather kept than computed twice."""
