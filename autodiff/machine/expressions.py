"""NumPy's elementwise expressions as instructions: a value of a function that is being written, which NumPy's operators
and functions take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .ir import Builder


class Value(np.lib.mixins.NDArrayOperatorsMixin):
    """A vector of numbers at run time; operators, NumPy's and SciPy's elementwise functions and `np.where` of it, with
    others of its type and Python numbers, write an instruction and give its result.

    Args:
        builder: of the function that is being written.
        type: "f", "d", or "b" for booleans.
        name: of the register.

    Raises:
        TypeError: a function that is none of `autodiff.machine.elementwise`.

    >>> from .ir import Builder, Module
    >>> builder = Builder(Module(512), 16)
    >>> y = np.exp(Value(builder, "f", "%x") * 2.0)
    >>> builder.lines[0]
    '  %v1 = fmul <16 x float> %x, splat (float 0x4000000000000000)'
    """

    __slots__ = ("builder", "name", "type")

    def __init__(self, builder: Builder, type: str, name: str) -> None:
        self.builder, self.type, self.name = builder, type, name

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Value:
        from .elementwise import instruction

        if method != "__call__" or options:
            raise TypeError(f"{ufunc.__name__}: machine code has no {method} with {sorted(options)}")
        known = getattr(np, ufunc.__name__, None) is ufunc
        name = ufunc.__name__ if known else f"special.{ufunc.__name__}"
        operands = [x.name if isinstance(x, Value) else self.builder.constant(x, self.type) for x in inputs]
        result, value = instruction(self.builder, name, self.type, operands)
        return Value(self.builder, result, value)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Value:
        if function is not np.where or len(args) != 3:
            raise TypeError(f"{function.__name__}: is no instruction of machine code")
        condition, *branches = args
        (t,) = {x.type for x in branches if isinstance(x, Value)}
        names = [x.name if isinstance(x, Value) else self.builder.constant(x, t) for x in branches]
        return Value(self.builder, t, self.builder.select(t, condition.name, *names))


def fma(a: Any, b: Any, c: Any) -> Any:
    """a b + c, of values rounded once; of arrays as NumPy rounds it.

    >>> fma(2.0, np.array([1.0, 3.0]), 1.0)
    array([3., 7.])
    """
    values = [x for x in (a, b, c) if isinstance(x, Value)]
    if not values:
        return a * b + c
    builder, t = values[0].builder, values[0].type
    names = [x.name if isinstance(x, Value) else builder.constant(x, t) for x in (a, b, c)]
    return Value(builder, t, builder.fma(t, *names))


def polynomial(x: Any, coefficients: Sequence[float]) -> Any:
    """Horner's rule; the highest power first.

    >>> polynomial(2.0, [1.0, 0.0, 3.0])
    7.0
    """
    y: Any = coefficients[0]
    for c in coefficients[1:]:
        y = fma(y, x, c)
    return y
