"""Where random numbers and default dtypes come from: one generator and one dtype for all layers.

Everything that draws takes ``rng=``; without it, it draws from the generator that `manual_seed` sets.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from autodiff.random import generator, get_rng_state, manual_seed, set_rng_state

__all__ = [
    "floating", "generator", "get_default_dtype", "get_rng_state", "manual_seed", "set_default_dtype", "set_rng_state",
]  # fmt: skip

_default_dtype: np.dtype[Any] = np.dtype(np.float32)


def set_default_dtype(dtype: Any) -> None:
    """The floating-point dtype of layers made without ``dtype=`` from now on; float32 at the start.

    Raises:
        TypeError: for a dtype that is not floating-point.
    """
    global _default_dtype
    _default_dtype = floating(dtype)


def get_default_dtype() -> np.dtype[Any]:
    """The floating-point dtype of layers made without ``dtype=``."""
    return _default_dtype


def floating(dtype: Any, or_complex: bool = False) -> np.dtype[Any]:
    """`dtype` as a NumPy floating-point dtype, or a complex one where that will do; None stands for the default one."""
    if dtype is None:
        return _default_dtype
    try:
        found: np.dtype[Any] | None = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.kind not in ("fc" if or_complex else "f"):
        raise TypeError(f"dtype= of a layer takes a floating-point NumPy dtype such as 'float32', not {dtype!r}")
    return found
