"""Where a format's range or digits do not suffice for what lies between input and result: half precision computed in
single, and squares taken at another scale. Decorators of forward functions and of rules, for arrays and Tensors alike.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from .guards import common, raw

HALF = np.dtype(np.float16)


def in_single(function: Callable[..., Any], together: bool = False) -> Callable[..., Any]:
    """The function, computed in single precision and rounded once where its first argument is in half precision: its
    counts, sums and squares exceed 65504 long before its result does. With `together` only where no other argument is
    of a wider type, to which NumPy would promote the result.

    >>> in_single(lambda x: x.sum() / 70000)(np.ones(70000, np.float16))
    np.float16(1.0)
    """

    @wraps(function)
    def computed(*arrays: Any, **params: Any) -> Any:
        if getattr(arrays[0], "dtype", None) is not HALF:  # one object for all: this runs at every call
            return function(*arrays, **params)
        kinds = [a.dtype for a in arrays if hasattr(a, "dtype")] if together else ()
        if any(kind.kind == "f" and kind != HALF for kind in kinds):
            return function(*arrays, **params)
        wide = [a.astype(np.float32) if getattr(a, "dtype", None) == HALF else a for a in arrays]
        y = function(*wide, **params)
        return None if y is None else y.astype(HALF)

    return computed


def at_any_scale(function: Callable[..., Any]) -> Callable[..., Any]:
    """A length f(x, axis=, keepdims=, ord=) with f(s x) = s f(x), exact also where the powers of x that it adds up
    over- or underflow: there it is taken of x divided by a power of two.

    >>> length = at_any_scale(lambda x, axis=None, keepdims=False: np.sqrt((x * x).sum(axis=axis, keepdims=keepdims)))
    >>> length(np.array([3 * 2.0**700, 4 * 2.0**700])) / 2.0**700
    np.float64(5.0)
    """

    @wraps(function)
    def computed(x: Any, axis: Any = None, keepdims: bool = False, **params: Any) -> Any:
        with np.errstate(over="ignore", divide="ignore"):
            y = function(x, axis=axis, keepdims=keepdims, **params)
        limits = np.finfo(x.dtype)
        low = float(limits.tiny / limits.eps) ** (1 / max(abs(params.get("ord", 2)), 2))
        if x.size == 0 or common(((y > low) & (y < 1 / low)).all()):
            return y
        scale = power_below(np.abs(x).max(axis=axis, keepdims=True))
        with np.errstate(over="ignore", divide="ignore"):
            y = function(x / scale, axis=axis, keepdims=keepdims, **params)
            return y * (scale if keepdims else scale.reshape(np.shape(y)))

    return computed


def power_below(x: Any) -> Any:
    """The power of two that is at most x, of the sizes x > 0 (½ of 0, 1 of ∞ and NaN): x divided by it is exact.

    >>> power_below(np.array([0.75, 5.0, 1000.0]))
    array([5.00e-01, 4.00e+00, 5.12e+02])
    """
    return np.ldexp(x.dtype.type(1), np.frexp(np.where(np.isfinite(x), x, 1))[1] - 1)


def ordinary(x: Any) -> bool:
    """Whether all elements are positive and within the range of their format, with all its digits.

    >>> ordinary(np.array([1e-300, 1.0])), ordinary(np.array([0.0, 1.0])), ordinary(np.array(1e-310))
    (True, False, False)
    """
    x = raw(x)
    return common(((x >= np.finfo(x.dtype).tiny) & (x < np.inf)).all())
