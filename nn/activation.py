"""Activations, each as a function and as a module."""

from __future__ import annotations

from typing import Any

import autodiff as ad
from autodiff import Tensor

from .module import Module


def relu(input: Any, inplace: bool = False) -> Tensor:
    """max(x, 0), with derivative 0 at 0. `inplace` is accepted for PyTorch's sake and changes nothing."""
    return ad.relu(input)


def tanh(input: Any) -> Tensor:
    """The hyperbolic tangent."""
    return ad.tanh(input)


def sigmoid(input: Any) -> Tensor:
    """1 / (1 + e^(−x))."""
    return ad.sigmoid(input)


def softmax(input: Any, dim: int = -1) -> Tensor:
    """e^x / Σ e^x along the axis `dim`."""
    return ad.softmax(input, axis=dim)


def log_softmax(input: Any, dim: int = -1) -> Tensor:
    """x − log Σ e^x along the axis `dim`."""
    return ad.log_softmax(input, axis=dim)


class ReLU(Module):
    """max(x, 0), elementwise. `inplace` is accepted for PyTorch's sake and changes nothing.

    >>> ReLU()(ad.Tensor([-1.0, 2.0]))
    Tensor([0., 2.])
    """

    def __init__(self, inplace: bool = False) -> None:
        pass

    def forward(self, input: Any) -> Tensor:
        """max(x, 0)."""
        return ad.relu(input)


class Tanh(Module):
    """The hyperbolic tangent, elementwise.

    >>> Tanh()(ad.Tensor([0.0]))
    Tensor([0.])
    """

    def forward(self, input: Any) -> Tensor:
        """tanh x."""
        return ad.tanh(input)


class Sigmoid(Module):
    """1 / (1 + e^(−x)), elementwise.

    >>> Sigmoid()(ad.Tensor([0.0]))
    Tensor([0.5])
    """

    def forward(self, input: Any) -> Tensor:
        """1 / (1 + e^(−x))."""
        return ad.sigmoid(input)
