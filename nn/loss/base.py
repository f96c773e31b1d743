"""What the losses share: reductions, and checks that nothing broadcasts silently."""

from __future__ import annotations

import inspect
import math
import warnings
from typing import Any

import numpy as np

from autodiff import Tensor
from autodiff.devices import brought
from autodiff.leaving import user_level
from autodiff.ops.guards import common
from autodiff.ops.precision import in_single
from autodiff.tensor import plain

from ..arguments import as_tensor, choice, float_input, numbers
from ..module.module import Module

REDUCTIONS = ("mean", "sum", "none")


def reduced(values: Tensor, reduction: str, name: str) -> Tensor:
    """The mean, the sum, or ("none") the values themselves; a mean over nothing is NaN, with a warning."""
    if reduction == "mean":
        return values.mean() if values.size else over_nothing(values, name)
    if reduction == "sum":
        return values.sum()
    choice(name, "reduction", reduction, REDUCTIONS)
    return values


@in_single
def divided(values: Tensor, total: float) -> Tensor:
    """The sum of the values divided by a number."""
    return values.sum() * (1 / total)


def over_nothing(values: Tensor, name: str) -> Tensor:
    """NaN, in the graph of `values`, with a warning."""
    warnings.warn(f"{name}: the mean over nothing is NaN", RuntimeWarning, stacklevel=user_level())
    return values.sum() * math.nan


def _real(tensor: Tensor, what: str) -> Tensor:
    if tensor.dtype.kind == "c":
        raise TypeError(f"a loss takes real {what}, not {tensor.dtype}; write it of t.real and t.imag, or of abs(t)")
    return tensor


def fitted(value: Any, like: Tensor) -> Tensor:
    """A target as a Tensor: numbers, lists and integers in the dtype of `like`, floating-point arrays as they are."""
    tensor = _real(as_tensor(value), "targets")
    if tensor.dtype != like.dtype and (not hasattr(value, "dtype") or tensor.dtype.kind != "f"):
        return Tensor(plain(tensor).astype(like.dtype))
    return tensor


def pair(
    name: str, input: Any, target: Any, number: bool = False, names: tuple[str, str] = ("input", "target")
) -> tuple[Tensor, Tensor]:
    """Input and target (or what else their `names` are) of one shape (or, with `number`, a target that is one number).

    Raises:
        TypeError: unless the input has floating-point values.
        ValueError: for another shape, which would silently broadcast.
    """
    input = float_input(name, input)
    target = fitted(target, input)
    if input.shape != target.shape and not (number and target.ndim == 0):
        one, other = names
        raise ValueError(f"{name}: {one} has shape {input.shape}, {other} {target.shape}; they must be the same")
    return input, target


def unit(name: str, what: str, value: Tensor) -> None:
    """Whether all values are probabilities; ValueError otherwise (NaN too)."""
    a = plain(value)
    if a.size and not common((a.min() >= 0) & (a.max() <= 1)):
        raise ValueError(f"{name}: {what} has values in {a.min():g} … {a.max():g}, expects probabilities within [0, 1]")


def signs(name: str, target: Tensor) -> None:
    """Whether all values are 1 or −1; ValueError otherwise."""
    if not common((np.abs(plain(target)) == 1).all()):
        raise ValueError(f"{name}: target has values other than 1 and -1, such as {_stray(plain(target))}")


def _stray(a: Any) -> Any:
    return a[np.abs(a) != 1][0]


def weights(name: str, what: str, weight: Any, input: Tensor) -> Any:
    """Weights that broadcast to the input's shape, as a constant of its dtype.

    Raises:
        TypeError: if they require a gradient.
        ValueError: for a shape that does not fit.
    """
    w = constant(name, what, weight, input)
    try:
        fits = np.broadcast_shapes(w.shape, input.shape) == input.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name}: {what} of shape {w.shape} does not broadcast to input of shape {input.shape}")
    return w


def constant(name: str, what: str, value: Any, like: Tensor) -> Any:
    """An array in the dtype of `like`, on its device, from what must not require a gradient."""
    tensor = numbers(name, what, value)
    if tensor.requires_grad:
        raise TypeError(f"{name}: {what} is a constant; pass it detached (t.detach())")
    return brought(plain(tensor).astype(like.dtype, copy=False), plain(like))


class Loss(Module):
    """Base of the losses: keeps `reduction`, and shows the options that are not the default ones."""

    reduction: str
    _reductions: tuple[str, ...] = REDUCTIONS

    def __init__(self, *, reduction: str = "mean") -> None:
        self.reduction = choice(type(self).__name__, "reduction", reduction, self._reductions)

    def extra_repr(self) -> str:
        shown = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name, parameter.default)
            if isinstance(value, (str, bool, int, float)) and value != parameter.default:
                shown.append(f"{name}={value!r}")
            elif isinstance(value, Tensor):
                shown.append(f"{name}=Tensor{value.shape}")
        return ", ".join(shown)


def buffer(name: str, what: str, weight: Any) -> Tensor | None:
    """Weights as a module keeps them."""
    if weight is None:
        return None
    tensor = _real(numbers(name, what, weight), "weights")
    return tensor if tensor.dtype.kind == "f" else tensor.astype(np.float64)
