"""Losses, each as a function and as a module."""

from __future__ import annotations

from typing import Any

import autodiff as ad
from autodiff import Tensor

from .module import Module
from .parameter import as_tensor


def reduced(values: Tensor, reduction: str, name: str) -> Tensor:
    """The mean, the sum, or ("none") the values themselves."""
    if reduction == "mean":
        return values.mean()
    if reduction == "sum":
        return values.sum()
    check_reduction(reduction, name)
    return values


def check_reduction(reduction: str, name: str) -> str:
    """`reduction` if it is one; ValueError otherwise."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: reduction must be 'mean', 'sum' or 'none', not {reduction!r}")
    return reduction


def mse_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """(input − target)², averaged, summed or as it is.

    Args:
        input: predictions, any shape.
        target: the same shape, or one number.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: for another shape (which would silently broadcast) or an unknown `reduction`.

    >>> mse_loss(ad.Tensor([1.0, 3.0]), [1.0, 1.0])
    Tensor(2.)
    """
    input, target = as_tensor(input), as_tensor(target)
    if target.ndim and input.shape != target.shape:
        raise ValueError(f"mse_loss: input has shape {input.shape}, target {target.shape}; they must be the same")
    return reduced(ad.square(ad.subtract(input, target)), reduction, "mse_loss")


def cross_entropy(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """−log softmax(input) at the target class.

    Args:
        input: logits, shape (classes,), (N, classes) or (N, classes, ...).
        target: class indices, shape (), (N,) or (N, ...); or probabilities, the shape of `input`.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError, IndexError: for targets that do not fit, or an unknown `reduction`.

    >>> cross_entropy(ad.Tensor([[0.0, 0.0]]), [1])
    Tensor(0.69314718)
    """
    check_reduction(reduction, "cross_entropy")
    input = as_tensor(input)
    return ad.cross_entropy(input, target, axis=1 if input.ndim > 1 else 0, reduction=reduction)


class _Loss(Module):
    def __init__(self, *, reduction: str = "mean") -> None:
        self.reduction = check_reduction(reduction, type(self).__name__)

    def extra_repr(self) -> str:
        return "" if self.reduction == "mean" else f"reduction={self.reduction!r}"


class MSELoss(_Loss):
    """The squared error, as `mse_loss`.

    >>> MSELoss(reduction="sum")(ad.Tensor([1.0, 3.0]), [1.0, 1.0])
    Tensor(4.)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """(input − target)², reduced."""
        return mse_loss(input, target, reduction=self.reduction)


class CrossEntropyLoss(_Loss):
    """Cross-entropy on logits, as `cross_entropy`.

    >>> CrossEntropyLoss()(ad.Tensor([[0.0, 0.0]]), [1])
    Tensor(0.69314718)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """−log softmax(input) at the target class, reduced."""
        return cross_entropy(input, target, reduction=self.reduction)
