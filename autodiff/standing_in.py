"""What an array type that stands in for NumPy's has as NumPy's arrays have it: operators, methods, and functions that
are methods by another name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .tensor import Tensor

ARITHMETIC: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "pow": np.power,
    "floordiv": np.floor_divide, "mod": np.remainder, "matmul": np.matmul, "and": np.bitwise_and,
    "or": np.bitwise_or, "xor": np.bitwise_xor, "lshift": np.left_shift, "rshift": np.right_shift,
}  # fmt: skip
"""Python's operators of two, those that have a form in place, each with its ufunc."""

COMPARISONS: dict[str, Any] = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip

SIGNS: dict[str, Any] = {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}
"""Python's operators of one."""

METHODS: dict[str, Any] = {
    name: getattr(np, name) for name in ("argmax", "argmin", "argsort", "clip", "cumsum", "cumprod", "dot", "mean",
                                         "repeat", "round", "std", "take", "trace", "var", "diagonal", "searchsorted",
                                         "argpartition", "choose", "sum", "prod", "max", "min", "any", "all")
} | {name: lambda x: np.conjugate(x) if x.dtype.kind == "c" else x for name in ("conj", "conjugate")}  # fmt: skip
"""Methods that are functions of NumPy's."""

BY_METHODS: dict[Any, Callable[..., Any]] = {
    np.reshape: lambda x, shape=None, order="C", *, copy=None: x.reshape(shape, order=order),
    np.ravel: lambda x, order="C": x.ravel(order),
    np.transpose: lambda x, axes=None: x.transpose() if axes is None else x.transpose(tuple(axes)),
    np.swapaxes: lambda x, axis1, axis2: x.swapaxes(axis1, axis2),
    np.matrix_transpose: lambda x: x.swapaxes(-1, -2),
    np.squeeze: lambda x, axis=None: x.squeeze(axis),
}
"""Functions of NumPy's that are methods."""
if hasattr(np, "astype"):  # NumPy 2.1
    BY_METHODS[np.astype] = lambda x, dtype, copy=True: x.astype(dtype, copy=copy)
BY_METHODS |= {np.permute_dims: BY_METHODS[np.transpose], np.linalg.matrix_transpose: BY_METHODS[np.matrix_transpose]}


def _by_protocol(ufunc: Any, a: Any, b: Any) -> Any:
    return ufunc(a, b)


def give_operators(
    kind: type, power: Callable[[Any, Any], Any], in_place: Callable[[Any], Any],
    call: Callable[[Any, Any, Any], Any] = _by_protocol,
) -> None:  # fmt: skip
    """Make Python's operators of an array type the ufuncs that NumPy has for them.

    Args:
        kind: the array type.
        power: ``x ** p``, for which NumPy's arrays have short cuts.
        in_place: of a ufunc, what the operator that writes into its left side does.
        call: a ufunc of two things, of which one is of the array type.
    """
    for name, ufunc in (ARITHMETIC | {"divmod": np.divmod}).items():
        setattr(kind, f"__{name}__", _left(ufunc, (lambda _, a, b: power(a, b)) if name == "pow" else call))
        setattr(kind, f"__r{name}__", lambda self, other, _ufunc=ufunc: call(_ufunc, other, self))
        if name != "divmod":
            setattr(kind, f"__i{name}__", in_place(ufunc))
    for name, ufunc in COMPARISONS.items():
        setattr(kind, f"__{name}__", _left(ufunc, call))
    for name, ufunc in SIGNS.items():
        setattr(kind, f"__{name}__", lambda self, _ufunc=ufunc: _ufunc(self))


def _left(ufunc: Any, call: Callable[[Any, Any, Any], Any]) -> Callable[..., Any]:
    def apply(self: Any, other: Any) -> Any:
        left_to_it = isinstance(other, Tensor) or getattr(type(other), "__array_ufunc__", True) is None  # as arrays do
        return NotImplemented if left_to_it else call(ufunc, self, other)

    return apply
