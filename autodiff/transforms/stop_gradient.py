"""Constants in place of variables: what a function takes from a nested structure without a derivative by it."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .tree import tree_map


def stop_gradient(tree: Any) -> Any:
    """The same values as constants, through which no derivative goes, as `jax.lax.stop_gradient`.

    Args:
        tree: a Tensor, or a nested list, tuple or dict with Tensors in it; what is no Tensor stays as it is.

    Returns:
        The same structure with `Tensor.detach` of every Tensor, which shares its memory.

    >>> from autodiff import grad
    >>> grad(lambda x: x * stop_gradient({"target": x**2})["target"])(3.0)
    9.0
    """
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, tree)
