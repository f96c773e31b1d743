"""Where random numbers come from: one default generator for everything that draws and is given no ``rng=``."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

_default_rng = np.random.default_rng()


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
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"manual_seed: needs an integer, not {seed!r}")
    if seed < 0:
        raise ValueError(f"manual_seed: needs an integer of at least 0, not {seed}")
    return _continue(np.random.default_rng(int(seed)))


def get_rng_state() -> dict[str, Any]:
    """The default generator's state, to be given to `set_rng_state`; plain Python values, fit for JSON."""
    return copy.deepcopy(dict(_default_rng.bit_generator.state))


def set_rng_state(state: dict[str, Any]) -> None:
    """Continue the default generator from a state that `get_rng_state` returned.

    Raises:
        TypeError, ValueError: if that is no state of a NumPy bit generator.
    """
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
    _continue(np.random.Generator(bits))


def _continue(rng: np.random.Generator) -> np.random.Generator:
    """Let the default generator go on as `rng` would: the same object, if it can be, since others may hold it."""
    global _default_rng
    if type(rng.bit_generator) is type(_default_rng.bit_generator):
        _default_rng.bit_generator.state = rng.bit_generator.state
    else:
        _default_rng = rng
    return _default_rng


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
