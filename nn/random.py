"""Where random numbers and default dtypes come from: one generator and one dtype for all layers.

Everything that draws takes ``rng=``; without it, it draws from the generator that `manual_seed` sets.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

_default_rng = np.random.default_rng()
_default_dtype: np.dtype[Any] = np.dtype(np.float32)


def manual_seed(seed: int) -> np.random.Generator:
    """Start the default generator anew; returns it.

    Raises:
        TypeError, ValueError: for anything but a non-negative integer.

    >>> import nn
    >>> generator = nn.manual_seed(0)
    >>> a = nn.Linear(2, 1)
    >>> generator = nn.manual_seed(0)
    >>> bool((nn.Linear(2, 1).weight == a.weight).all())
    True
    """
    global _default_rng
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"manual_seed: needs an integer, not {seed!r}")
    if seed < 0:
        raise ValueError(f"manual_seed: needs an integer of at least 0, not {seed}")
    _default_rng = np.random.default_rng(int(seed))
    return _default_rng


def get_rng_state() -> dict[str, Any]:
    """The default generator's state, to be given to `set_rng_state`; plain Python values, fit for JSON."""
    return copy.deepcopy(dict(_default_rng.bit_generator.state))


def set_rng_state(state: dict[str, Any]) -> None:
    """Continue the default generator from a state that `get_rng_state` returned.

    Raises:
        TypeError, ValueError: if that is no state of a NumPy bit generator.
    """
    global _default_rng
    if not isinstance(state, dict) or "bit_generator" not in state:
        raise TypeError(f"set_rng_state: needs what get_rng_state() returned, not {type(state).__name__}")
    kind = getattr(np.random, str(state["bit_generator"]), None)
    if not (isinstance(kind, type) and issubclass(kind, np.random.BitGenerator)):
        raise ValueError(f"set_rng_state: NumPy has no bit generator named {state['bit_generator']!r}")
    bits = kind()
    try:
        bits.state = copy.deepcopy(state)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"set_rng_state: not a state of {kind.__name__}: {error!r}") from None
    _default_rng = np.random.Generator(bits)


def generator(rng: np.random.Generator | None = None) -> np.random.Generator:
    """The generator to draw from: the one given, or the default one.

    Raises:
        TypeError: for anything but a `numpy.random.Generator` (a seed, say).
    """
    if rng is None:
        return _default_rng
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng= takes a numpy.random.Generator such as np.random.default_rng(0), not {rng!r}")
    return rng


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


def floating(dtype: Any) -> np.dtype[Any]:
    """`dtype` as a NumPy floating-point dtype; None stands for the default one."""
    if dtype is None:
        return _default_dtype
    try:
        found: np.dtype[Any] | None = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.kind != "f":
        raise TypeError(f"dtype= of a layer takes a floating-point NumPy dtype such as 'float32', not {dtype!r}")
    return found
