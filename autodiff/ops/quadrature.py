"""Integrals over a half line by the double exponential rule, for derivatives that have no closed form."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ..primitive import internal

__all__: list[str] = []

_AT_ONCE = 1 << 12


@lru_cache(maxsize=1)
def _rule() -> tuple[Any, Any]:
    """Nodes exp(τ − e⁻ᵗ) and weights of the trapezoidal rule in τ (Takahasi and Mori 1974)."""
    step = 1 / 14
    t = np.arange(-4.0, 7.2, step)
    s = np.exp(t - np.exp(-t))
    return s, step * s * (1 + np.exp(-t))


@internal
def half_line(f: Callable[..., Any], scale: Any, *arrays: Any) -> Any:
    """∫₀^∞ f(s, *arrays) ds for each element of arrays that broadcast, in double precision; f falls off exponentially
    over lengths of about `scale` and may be singular at 0.

    >>> half_line(lambda s, a: np.exp(-a * s), np.array([1.0, 0.1]), np.array([1.0, 10.0])).round(13)
    array([1. , 0.1])
    """
    shape = np.broadcast_shapes(np.shape(scale), *map(np.shape, arrays))
    flat = [np.broadcast_to(a, shape).reshape(-1).astype(np.float64) for a in (scale, *arrays)]
    nodes, weights = _rule()
    y = np.empty(flat[0].size)
    for i in range(0, y.size, _AT_ONCE):
        c, *part = [a[i : i + _AT_ONCE] for a in flat]
        y[i : i + _AT_ONCE] = (f(nodes[:, None] * c, *part) * weights[:, None]).sum(axis=0) * c
    return y.reshape(shape)
