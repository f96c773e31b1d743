"""Sums of exponentials with SciPy's arguments: of all elements where no axis is given, and with factors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import as_tensor
from ..protocols import optioned
from ..tensor import Tensor
from . import fused
from .guards import raw
from .linalg import as_real

__all__ = ["log_softmax", "logsumexp", "softmax"]


@optioned
def softmax(x: Any, axis: Any = None) -> Tensor:
    """exp(x) / Σ exp(x), as `scipy.special.softmax`: over all elements, or along an axis. Else as `ad.softmax`.

    >>> softmax([[0.0, 0.0], [0.0, 0.0]])
    Tensor([[0.25, 0.25],
            [0.25, 0.25]])
    """
    return fused.softmax(x, axis)


@optioned
def log_softmax(x: Any, axis: Any = None) -> Tensor:
    """x − log Σ exp(x), as `scipy.special.log_softmax`: over all elements, or along an axis. Else as `ad.log_softmax`.

    >>> log_softmax([1000.0, 0.0])
    Tensor([    0., -1000.])
    """
    return fused.log_softmax(x, axis)


@optioned
def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """log |Σ b exp(a)| without overflow, as `scipy.special.logsumexp`.

    Args:
        a: any shape.
        axis: an axis, several as a tuple, or None for all.
        b: factors that broadcast against `a`, also negative ones; where one is 0 its element counts for nothing.
        keepdims: keep these axes, with length 1.
        return_sign: give the pair of the logarithm and the sign of the sum; without it, a negative sum is NaN.

    Returns:
        A Tensor, or two of them; the sign is constant.

    Raises:
        AxisError: an axis that does not exist. ValueError: shapes that do not broadcast.

    >>> logsumexp([1000.0, 1000.0], b=[2.0, -1.0])
    Tensor(1000.)
    >>> logsumexp([0.0, 1.0], b=[1.0, -1.0], return_sign=True)
    (Tensor(0.54132485), Tensor(-1.))
    """
    if b is None:
        y = fused.logsumexp(a, axis, keepdims=keepdims)
        return (y, Tensor(np.where(np.isnan(raw(y)), np.nan, 1.0).astype(y.dtype))) if return_sign else y
    a, b = as_real(a, "logsumexp"), as_tensor(b, "logsumexp")
    a, b = np.broadcast_arrays(a, b) if a.shape != b.shape else (a, b)
    counts = raw(b) != 0
    a = np.where(counts | (raw(a) < np.inf), a, -np.inf)
    top = np.max(np.where(counts, raw(a), -np.inf), axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    total = (b * np.exp(a - top)).sum(axis=axis, keepdims=True)
    sign = np.sign(raw(total))
    y = np.log(np.abs(total) if return_sign else total) + top
    if not keepdims:
        y, sign = (v.squeeze(axis=axis) for v in (y, sign))
    return (y, Tensor(sign)) if return_sign else y
