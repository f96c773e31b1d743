"""Powers with a number as exponent: written as x², without a node for the 2."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..device_arrays import ARRAYS
from ..primitive import REGISTRY
from ..tensor import Tensor
from .formulas import superscript

_POWER = REGISTRY["power"]


def exponent_of(node: Tensor) -> float | None:
    """The exponent, if the operation that made this is a power with a number as exponent."""
    if node._primitive is not _POWER or not node._inputs:
        return None
    exponent: Any = node._inputs[1]
    return None if isinstance(exponent, (Tensor, *ARRAYS)) else float(exponent)


def raised(node: Tensor) -> str | None:
    """How such a power is written in its operation's node."""
    exponent = exponent_of(node)
    if exponent is None:
        return None
    return f"x{superscript(int(exponent))}" if exponent.is_integer() else f"x^{exponent:.4g}"


def exponents(results: Iterable[Tensor]) -> set[tuple[int, int]]:
    """Those exponents among the inputs of results, each by the id of its result and its place."""
    return {(id(node), 1) for node in results if node._primitive is _POWER and exponent_of(node) is not None}
