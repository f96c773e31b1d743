"""Lengths, angles and distances of vectors: as functions and as modules."""

from __future__ import annotations

from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.flags import flagged
from autodiff.ops.precision import in_single

from .arguments import DIMS, float_input, integer, number
from .module.module import Module


def _axis(name: str, dim: Any, x: Tensor) -> int:
    if not -x.ndim <= integer(name, "dim", dim) < x.ndim:
        raise IndexError(f"{name}: shape {x.shape} has no axis dim={dim}")
    return int(dim)


def _together(name: str, x1: Any, x2: Any) -> tuple[Tensor, Tensor]:
    """Two inputs whose shapes broadcast."""
    a, b = float_input(name, x1), float_input(name, x2)
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ValueError(f"{name}: shapes {a.shape} and {b.shape} do not broadcast") from None
    return a, b


@DIMS.checked
def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(‖x‖ₚ, ε), the norm along the axis `dim`.

    Args:
        input: x, any shape.
        p: order of the norm.
        dim: the axis.
        eps: ε, below which a length is taken for it.

    Raises:
        TypeError, ValueError, IndexError: for other options, and values that are not floating-point.

    >>> normalize([[3.0, 4.0]])
    Tensor([[0.6, 0.8]])
    """
    x = float_input("normalize", input)
    p, eps = number("normalize", "p", p), number("normalize", "eps", eps)
    norm = ad.linalg.vector_norm(x, axis=_axis("normalize", dim, x), ord=p, keepdims=True)
    return x / _at_least(norm, eps)


def _at_least(norm: Tensor, eps: float) -> Tensor:
    return ad.clip(norm, eps, None)


@in_single
def _cosine(x1: Tensor, x2: Tensor, axis: int, eps: float) -> Tensor:
    lengths = [_at_least(ad.linalg.vector_norm(x, axis=axis), eps) for x in (x1, x2)]
    return (x1 * x2).sum(axis=axis) / (lengths[0] * lengths[1])


@DIMS.checked
def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x₁ᵀx₂ / (max(‖x₁‖, ε) max(‖x₂‖, ε)) along the axis `dim`.

    Args:
        x1, x2: of shapes that broadcast.
        dim: the axis, of the common shape.
        eps: ε, below which a length is taken for it.

    Raises:
        TypeError, ValueError, IndexError: for other options, shapes that do not fit, values that are not
            floating-point.

    >>> cosine_similarity([[1.0, 0.0]], [[3.0, 4.0]])
    Tensor([0.6])
    """
    name = "cosine_similarity"
    a, b = ad.broadcast_arrays(*_together(name, x1, x2))
    return _cosine(a, b, axis=_axis(name, dim, a), eps=number(name, "eps", eps))


@flagged
def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """‖x₁ − x₂ + ε‖ₚ along the last axis.

    Args:
        x1, x2: of shapes (..., D) that broadcast.
        p: order of the norm.
        eps: ε, which keeps the distance of equal vectors from 0.
        keepdim: whether the last axis stays, with length 1.

    Raises:
        TypeError, ValueError: for other options, shapes that do not fit, values that are not floating-point.

    >>> pairwise_distance([[0.0, 0.0]], [[3.0, 4.0]], eps=0.0)
    Tensor([5.])
    """
    name = "pairwise_distance"
    a, b = _together(name, x1, x2)
    if not (a.ndim or b.ndim):
        raise ValueError(f"{name}: needs vectors (..., D), got numbers")
    apart = ad.subtract(a, b) + number(name, "eps", eps)
    return ad.linalg.vector_norm(apart, axis=-1, ord=number(name, "p", p), keepdims=keepdim)


class CosineSimilarity(Module):
    """The cosine of the angle between two vectors, as `cosine_similarity`.

    >>> CosineSimilarity()([[1.0, 0.0]], [[3.0, 4.0]])
    Tensor([0.6])
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self.dim, self.eps = integer("CosineSimilarity", "dim", dim), number("CosineSimilarity", "eps", eps)

    def forward(self, x1: Any, x2: Any) -> Tensor:
        """The cosines."""
        return cosine_similarity(x1, x2, self.dim, self.eps)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, eps={self.eps}"


class PairwiseDistance(Module):
    """The distance of two vectors, as `pairwise_distance`.

    >>> PairwiseDistance(1.0, eps=0.0)([[0.0, 0.0]], [[3.0, 4.0]])
    Tensor([7.])
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        self.norm, self.eps = number("PairwiseDistance", "p", p), number("PairwiseDistance", "eps", eps)
        self.keepdim = keepdim

    def forward(self, x1: Any, x2: Any) -> Tensor:
        """The distances."""
        return pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)

    def extra_repr(self) -> str:
        return f"p={self.norm}, eps={self.eps}, keepdim={self.keepdim}"
