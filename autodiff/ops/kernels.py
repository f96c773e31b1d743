"""Softmax over rows as machine code, and its pullback: what fused.py and attention have as NumPy's expressions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..machine.kernels import Kernel

if TYPE_CHECKING:
    from ..machine.rows import Index, Memory, Row

INFINITY = np.inf


def _softmax(nothing: float) -> Kernel:
    """exp(x − max x) / Σ of x, y, which may be one array. +∞ takes all, in several places it has no limit; where all
    is −∞ the zeros are multiplied by `nothing`."""

    def write(row: Row, x: Memory, y: Memory) -> None:
        top = row.max(lambda i: x[i])
        taken = top == INFINITY
        shift = np.where(np.abs(top) == INFINITY, 0.0, top)

        def exponential(i: Index) -> Any:
            below = np.where(taken, np.where(x[i] == INFINITY, 0.0, shift - INFINITY), x[i])
            return y.put(i, np.exp(below - shift))

        total = row.sum(exponential)
        share = np.where(np.logical_and(taken, total > 1.0), np.nan, 1.0 / total)
        rest = np.where(taken, 1.0, np.where(total == 0.0, nothing, share))
        row.each(lambda i: y.put(i, y[i] * np.where(y[i] > 0.0, share, rest)))

    return Kernel(write, arrays=2)


SOFTMAX, SOFTMAX_OR_NOTHING = _softmax(np.nan), _softmax(1.0)
"""Where all is −∞ the first is NaN, the second 0."""


def _pullback(row: Row, g: Memory, y: Memory, d: Memory) -> None:
    """y (h − Σ h y) of h = g less that at the greatest y, so that nothing cancels where that is near 1."""
    top = row.max(lambda i: y[i])
    shift = row.max(lambda i: np.where(y[i] == top, g[i], -INFINITY))
    mean = row.sum(lambda i: (g[i] - shift) * y[i])
    row.each(lambda i: d.put(i, ((g[i] - shift) - mean) * y[i]))


SOFTMAX_PULLBACK = Kernel(_pullback, arrays=3)
"""Of the cotangent g, the softmax y, and the cotangent of the logits, which is written."""
