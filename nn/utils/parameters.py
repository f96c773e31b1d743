"""A model's parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.transforms.flat import assign

from ..random import get_default_dtype


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All values of the parameters in one vector, one parameter after the other; recorded, like any operation.

    Args:
        parameters: Tensors (``model.parameters()``).

    Returns:
        A Tensor of one axis, as long as all parameters together.

    Raises:
        TypeError: for anything but Tensors.

    >>> import nn
    >>> model = nn.Linear(3, 2)
    >>> vector = nn.utils.parameters_to_vector(model.parameters())
    >>> vector.shape
    (8,)
    >>> nn.utils.vector_to_parameters(np.zeros(8), model.parameters())
    >>> model.bias
    Parameter([0., 0.], dtype=float32, requires_grad=True)
    """
    listed = _listed(parameters, "parameters_to_vector")
    if not listed:
        return ad.zeros(0, dtype=get_default_dtype())
    return ad.concatenate([ad.ravel(p) for p in listed])


def vector_to_parameters(vec: Any, parameters: Iterable[Tensor]) -> None:
    """Write a vector's values into the parameters, in place: the inverse of `parameters_to_vector`.

    Args:
        vec: a Tensor or an array of one axis, as long as all parameters together.
        parameters: leaf Tensors (``model.parameters()``); each keeps its shape and dtype.

    Raises:
        TypeError: for anything but leaf Tensors of real numbers, or a vector of anything else.
        ValueError: for a vector of another length; nothing is written then.
    """
    listed = _listed(parameters, "vector_to_parameters")
    values = vec.data if isinstance(vec, Tensor) else np.asarray(vec)
    needed = sum(p.size for p in listed)
    if values.shape != (needed,):
        raise ValueError(
            f"vector_to_parameters: the parameters have {needed} values together, so the vector has shape "
            f"({needed},), not {values.shape}"
        )
    if values.dtype.kind not in "fiu":
        raise TypeError(f"vector_to_parameters: the vector holds {values.dtype}, not real numbers")
    for p in listed:
        if not p.is_leaf:
            raise TypeError(f"vector_to_parameters: parameters are leaves, not results of {p.op}")
        if p.dtype.kind == "c":
            raise TypeError(f"vector_to_parameters: a parameter (shape {p.shape}) is complex; assign its p.data")
    assign(listed, values.copy())  # it may be a view of the parameters


def _listed(parameters: Any, where: str) -> list[Tensor]:
    if isinstance(parameters, (Tensor, str, dict)) or not isinstance(parameters, Iterable):
        raise TypeError(f"{where}: takes Tensors, such as model.parameters(), not {type(parameters).__name__}")
    listed = list(parameters)
    for p in listed:
        if not isinstance(p, Tensor):
            raise TypeError(f"{where}: takes Tensors, such as model.parameters(), and got a {type(p).__name__}")
    return listed
