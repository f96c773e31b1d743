"""Products of arrays: matmul and dot with every rank, and what is built of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backward import unbroadcast
from ..primitive import Sample, declare
from ..protocols import implements
from ..tensor import Tensor
from .samples import draw


def _product(a: Any, b: Any) -> Any:
    """``a @ b``; for small matrices `dot` reaches the same BLAS call in half the time."""
    return a.dot(b) if a.ndim == 2 and b.ndim == 2 else a @ b


def _matmul_left(g: Any, y: Any, a: Any, b: Any) -> Any:
    """g bᵀ, a vector counting as one row (a) or one column (b), summed over broadcast batch axes."""
    if b.ndim == 2 and a.ndim == 2:
        return g @ b.T if isinstance(g, Tensor) else g.dot(b.T)
    if b.ndim == 1:
        d = g[..., None] * b
    elif a.ndim == 1:
        d = (g[..., None, :] @ b.swapaxes(-1, -2))[..., 0, :]
    else:
        d = g @ b.swapaxes(-1, -2)
    return unbroadcast(d, a.shape)


def _matmul_right(g: Any, y: Any, a: Any, b: Any) -> Any:
    """aᵀ g, likewise."""
    if a.ndim == 2 and b.ndim == 2:
        return a.T @ g if isinstance(g, Tensor) else a.T.dot(g)
    if a.ndim == 1:
        d = a[:, None] * g[..., None, :] if b.ndim > 1 else a * g
    elif b.ndim == 1:
        d = (a.swapaxes(-1, -2) @ g[..., None])[..., 0]
    else:
        d = a.swapaxes(-1, -2) @ g
    return unbroadcast(d, b.shape)


matmul = declare(
    "matmul", _product, [_matmul_left, _matmul_right], arity=2, numpy=np.matmul,
    formula="{0} @ {1}", derivatives=["{1}ᵀ", "{0}ᵀ"],
    samples=lambda rng: [Sample((draw(rng, s), draw(rng, t))) for s, t in [
        ((2, 3), (3, 2)), ((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((2, 2, 3), (3, 2)), ((2, 1, 2, 3), (4, 3, 1)),
        ((3,), (2, 3, 2)), ((2, 2, 3), (3,)), ((0, 3), (3, 2)), ((2, 0), (0, 3))]],
)  # fmt: skip
