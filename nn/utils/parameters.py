"""A model's parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.transforms.flat import assign, listed

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
    params = listed("parameters_to_vector", parameters)
    if not params:
        return ad.zeros(0, dtype=get_default_dtype())
    return ad.concatenate([ad.ravel(p) for p in params])


def vector_to_parameters(vec: Any, parameters: Iterable[Tensor]) -> None:
    """Write a vector's values into the parameters, in place: the inverse of `parameters_to_vector`.

    Args:
        vec: a Tensor or an array of one axis, as long as all parameters together.
        parameters: leaf Tensors (``model.parameters()``); each keeps its shape and dtype.

    Raises:
        TypeError: for anything but leaf Tensors of real numbers, or a vector of anything else.
        ValueError: for a vector of another length; nothing is written then.
    """
    params = listed("vector_to_parameters", parameters)
    values = vec.data if isinstance(vec, Tensor) else np.asarray(vec)
    needed = sum(p.size for p in params)
    if values.shape != (needed,):
        raise ValueError(
            f"vector_to_parameters: the parameters have {needed} values together, so the vector has shape "
            f"({needed},), not {values.shape}"
        )
    if values.dtype.kind not in "fiu":
        raise TypeError(f"vector_to_parameters: the vector holds {values.dtype}, not real numbers")
    for p in params:
        if not p.is_leaf:
            raise TypeError(f"vector_to_parameters: parameters are leaves, not results of {p.op}")
        if p.dtype.kind == "c":
            raise TypeError(f"vector_to_parameters: a parameter (shape {p.shape}) is complex; assign its p.data")
    assign(params, values.copy())  # it may be a view of the parameters
