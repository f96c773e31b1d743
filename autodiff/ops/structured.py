"""Matrices built of blocks or of one column, and distances between rows: part of `ad.linalg`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import as_tensor
from ..tensor import Tensor
from .linalg import as_floating
from .norms import norm

__all__ = ["block_diag", "cdist", "toeplitz"]


def block_diag(*arrs: Any) -> Tensor:
    """The matrix with the given ones along its diagonal, zeros elsewhere, as `scipy.linalg.block_diag`.

    Args:
        arrs: matrices (m, n); a vector is one row, a number (1, 1).

    Raises:
        ValueError: one has more than two axes.

    >>> block_diag([[1.0, 2.0]], 3.0)
    Tensor([[1., 2., 0.],
            [0., 0., 3.]])
    """
    blocks = [as_floating(a, "block_diag") for a in arrs] or [as_tensor(np.zeros((1, 0)), "block_diag")]
    for a in blocks:
        if a.ndim > 2:
            raise ValueError(f"block_diag: a block has shape {a.shape}; it has two axes at most")
    blocks = [a.reshape((1,) * (2 - a.ndim) + a.shape) for a in blocks]
    width = sum(a.shape[1] for a in blocks)
    rows, start = [], 0
    for a in blocks:
        rows.append(np.pad(a, ((0, 0), (start, width - start - a.shape[1]))))
        start += a.shape[1]
    return np.concatenate(rows)  # type: ignore[return-value]


def toeplitz(c: Any, r: Any = None) -> Tensor:
    """The matrix with constant diagonals, its first column c and its first row r, as `scipy.linalg.toeplitz`.

    Args:
        c: the first column (m,).
        r: the first row (n,), whose first element is not read; without it the matrix is symmetric, r = c, or
            Hermitian, r = conj(c).

    Raises:
        ValueError: c or r is no vector.

    >>> toeplitz([1.0, 2.0], [9.0, 3.0])
    Tensor([[1., 3.],
            [2., 1.]])
    """
    c = as_floating(c, "toeplitz")
    r = np.conj(c) if r is None else as_floating(r, "toeplitz")
    if c.ndim != 1 or r.ndim != 1:
        raise ValueError(f"toeplitz: needs vectors, not a column of shape {c.shape} and a row of shape {r.shape}")
    places = np.arange(len(c))[:, None] - np.arange(len(r)) + len(r) - 1
    return np.concatenate([r[:0:-1], c])[places]


_ORDERS = {"euclidean": 2, "cityblock": 1, "chebyshev": np.inf}


def cdist(XA: Any, XB: Any, metric: str = "euclidean", *, p: float = 2) -> Tensor:
    """The distances between each row of one matrix and each of another, as `scipy.spatial.distance.cdist`.

    Args:
        XA, XB: points (m, d) and (n, d).
        metric: "euclidean", "sqeuclidean", "cityblock", "chebyshev" or "minkowski".
        p: the order of Minkowski's distance.

    Returns:
        Distances (m, n). Where two points are equal the gradient of a distance is 0.

    Raises:
        ValueError: shapes that do not fit, or another metric.

    >>> cdist([[0.0, 0.0]], [[3.0, 4.0], [0.0, 0.0]])
    Tensor([[5., 0.]])
    """
    a, b = as_floating(XA, "cdist"), as_floating(XB, "cdist")
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"cdist: points of shapes {a.shape} and {b.shape} do not fit; they are (m, d) and (n, d)")
    away = a[:, None] - b
    if metric == "sqeuclidean":
        return (away * away).sum(axis=-1)
    if metric not in (*_ORDERS, "minkowski"):
        raise ValueError(f"cdist: metric={metric!r}; it is one of {', '.join(_ORDERS)}, sqeuclidean, minkowski")
    return norm(away, ord=p if metric == "minkowski" else _ORDERS[metric], axis=-1)
