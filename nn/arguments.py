"""Checks of what layers are given: each returns the value in its final form, or names the layer in an error."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from autodiff import Tensor
from autodiff.elsewhere import Words
from autodiff.primitive import describe
from autodiff.tensor import as_array, wrap


def integer(layer: str, name: str, value: Any) -> int:
    """`value` as an integer.

    Raises:
        TypeError: otherwise.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{layer}: {name} is an integer, not {value!r}")
    return int(value)


def count(layer: str, name: str, value: Any, least: int = 0) -> int:
    """`value` as an integer of at least `least`.

    Raises:
        TypeError, ValueError: otherwise.
    """
    if integer(layer, name, value) < least:
        raise ValueError(f"{layer}: {name} is at least {least}, not {value}")
    return int(value)


def counts(layer: str, name: str, value: Any, n: int, least: int = 0) -> tuple[int, ...]:
    """One integer per axis: `n` of them as they are, or one for all axes.

    Raises:
        TypeError, ValueError: otherwise.
    """
    if isinstance(value, Iterable) and not isinstance(value, str):
        values = tuple(value)
        if len(values) == 1:
            values *= n
        if len(values) != n:
            raise ValueError(f"{layer}: {name} is one integer or {n}, not {value!r}")
        return tuple(count(layer, name, v, least) for v in values)
    return (count(layer, name, value, least),) * n


def number(layer: str, name: str, value: Any, low: float = -np.inf, high: float = np.inf) -> float:
    """`value` as a float within [low, high].

    Raises:
        TypeError, ValueError: otherwise (NaN too).
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{layer}: {name} is a number, not {value!r}")
    if not low <= value <= high:
        limits = f"within [{low:g}, {high:g}]" if high != np.inf else f"at least {low:g}"
        raise ValueError(f"{layer}: {name} is {'a number' if low == -np.inf else limits}, not {value}")
    return float(value)


def positive(layer: str, name: str, value: Any) -> float:
    """`value` as a float greater than 0.

    Raises:
        TypeError, ValueError: otherwise (NaN too).
    """
    if number(layer, name, value) <= 0:
        raise ValueError(f"{layer}: {name} is greater than 0, not {value}")
    return float(value)


def held(where: str, name: str, value: Any, dtype: Any, owner: str) -> Any:
    """`value` as an array of `dtype`, which is the owner's; integers of that dtype hold it exactly, or ValueError."""
    given = np.asarray(value)
    with np.errstate(invalid="ignore"):
        found = given.astype(dtype)
    if dtype.kind in "iub" and (found != given).any():
        raise ValueError(
            f"{where}: {name}, {given[found != given][0]}, is no value of {dtype}, that of {owner}; give {owner} as "
            f"floating-point numbers, or integers with more bits"
        )
    return found


def choice(layer: str, name: str, value: Any, options: Sequence[Any]) -> Any:
    """`value` if it is one of `options`.

    Raises:
        ValueError: otherwise.
    """
    if isinstance(value, str) or value is None:
        for option in options:
            if value == option and type(value) is type(option):
                return value
    *first, last = (repr(option) for option in options)
    raise ValueError(f"{layer}: {name} is {', '.join(first)}{' or ' if first else ''}{last}, not {value!r}")


def bound(layer: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Whether a layer's constructor takes these arguments. (Python's own error would name the class that defines it.)

    Raises:
        TypeError: otherwise, with what it takes.
    """
    constructor = layer.__init__  # type: ignore[misc]  # of this very class
    if not (getattr(constructor, "__module__", None) or "").startswith("nn."):
        return
    signature = _signature(constructor)
    try:
        signature.bind_partial(None, *args, **kwargs)  # what is missing Python says; copies are made without any
    except TypeError as error:
        DIMS.check(layer.__name__, constructor, kwargs)
        _, *parameters = signature.parameters.values()
        raise TypeError(f"{layer.__name__}: {error}; it takes {signature.replace(parameters=parameters)}") from None


DIMS = Words({"axis": ("dim",), "keepdims": ("keepdim",)}, "nn", "PyTorch", "ad.* and NumPy")


@lru_cache(maxsize=512)
def _signature(constructor: Any) -> inspect.Signature:
    signature = inspect.signature(constructor)
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return inspect.Signature(parameters)


def as_tensor(value: Any) -> Tensor:
    """A layer's input: a Tensor as it is, anything else as a constant (an array without copying).

    Raises:
        TypeError: for a tuple of Tensors, such as recurrent layers return, and for None.
    """
    if isinstance(value, tuple) and value and isinstance(value[0], Tensor):
        pair = "output, _ = rnn(x) of what RNN, LSTM and GRU return, or in a Sequential a function between the two: "
        pair += "nn.Sequential(rnn, lambda pair: pair[0], layer)"
        instead = "packed._replace(data=layer(packed.data))" if hasattr(value, "batch_sizes") else pair
        raise TypeError(f"got a {type(value).__name__} where one Tensor is expected; write {instead}")
    if value is None:
        raise TypeError("got None where a Tensor is expected; a forward that makes it ends in `return`")
    return value if isinstance(value, Tensor) else wrap(as_array(value, copy=False))


def numbers(layer: str, name: str, value: Any) -> Tensor:
    """`value` as a Tensor, as `as_tensor` gives it.

    Raises:
        TypeError: for what holds no numbers.
    """
    try:
        return as_tensor(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{layer}: {name} takes a Tensor or an array of numbers ({error})") from None


def floats(layer: str, input: Tensor, like: Tensor | None = None, what: str = "input") -> None:
    """Whether an input (or `what` else it is) has floating-point values.

    Raises:
        TypeError: otherwise, saying what to write.
    """
    if input.dtype.kind != "f":
        dtype, name = "float32" if like is None else like.dtype, "x" if what == "input" else what
        instead = f"{name}.real and {name}.imag" if input.dtype.kind == "c" else f"{name}.astype('{dtype}')"
        raise TypeError(f"{layer}: got {what} of {describe(input)}, expects floating-point values; write {instead}")


def float_input(layer: str, input: Any) -> Tensor:
    """A layer's input as a Tensor of floating-point values.

    Raises:
        TypeError: for other values.
    """
    tensor = as_tensor(input)
    floats(layer, tensor)
    return tensor
