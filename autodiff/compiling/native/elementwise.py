"""Elementwise nodes as instructions: the types that NumPy computes in, and what is written of such operands."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special

from ...machine.elementwise import TABLE, from_library, instruction, integer_power
from ...machine.ir import LETTER, Builder
from ..program import Node

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
    else:
        _, value = instruction(b, node.op, loop[0], operands)
    return b.convert(value, computed, result)


def _power(b: Builder, t: str, x: str, y: str, exponent: Any) -> str:
    number = exponent.item() if isinstance(exponent, np.generic) else exponent
    if isinstance(number, (int, float)):
        if float(number).is_integer() and abs(number) <= LARGEST_POWER:
            base = x if number >= 0 else b.div(t, b.constant(1, t), x)
            return integer_power(b, t, base, abs(int(number)))
        if number == 0.5:
            return b.intrinsic("sqrt", t, x)
    return from_library("pow")(b, t, x, y)
