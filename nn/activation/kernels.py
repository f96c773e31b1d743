"""The gated activations and their slopes as machine code: what gated.py has as NumPy's expressions, in forms of which a
number costs few instructions. A slope takes the cotangent first."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from autodiff.machine.expressions import fma, polynomial
from autodiff.machine.kernels import Elementwise

DENSITY = 1 / math.sqrt(2 * math.pi)
TAIL = (
    0.035677566216158536, -0.1572150324143415, 0.2063745412231555, -0.053703307466653506, 0.12857212549783079,
    0.09991030266163385, 0.12075446489402819, 0.1196292659884783,
)  # fmt: skip
"""Φ(−a) = exp(−a²/2) Σ cₖ tᵏ with t = 1 / (1 + 0.3 a), for a ≥ 0, the highest power first: relative error 1.5e-7, which
is as good as float32."""


def _tail(x: Any) -> tuple[Any, Any, Any]:
    """a = |x|, exp(−a²/2) and Φ(−a) in single precision; what a² loses by rounding matters in the exponent."""
    a = np.minimum(np.abs(x), 30.0)  # where the density is 0 already: infinity would make it NaN
    square = a * a
    e = np.exp(square * -0.5)
    e = fma(e, fma(a, a, -square) * -0.5, e)
    t = 1.0 / fma(a, 0.3, 1.0)
    return a, e, polynomial(t, TAIL) * t * e


def _gelu_single(x: Any) -> Any:
    a, _, tail = _tail(x)
    return fma(-a, tail, np.maximum(x, 0.0))


def _gelu_slope_single(g: Any, x: Any) -> Any:
    _, e, tail = _tail(x)
    return g * fma(x, e * DENSITY, np.where(x > 0.0, 1.0 - tail, tail))


GELU = {
    "f": Elementwise(_gelu_single, 1),
    "d": Elementwise(lambda x: x * special.ndtr(x), 1),
}
"""By the dtype's letter."""
GELU_SLOPE = {
    "f": Elementwise(_gelu_slope_single, 2),
    "d": Elementwise(lambda g, x: g * (special.ndtr(x) + x * (np.exp(x * x * -0.5) * DENSITY)), 2),
}


def _logistic_pair(x: Any) -> tuple[Any, Any]:
    """σ(x) and σ(−x), of one exponential."""
    e = np.exp(-np.abs(x))
    share = 1.0 / (1.0 + e)
    rest = e * share
    above = x > 0.0
    return np.where(above, share, rest), np.where(above, rest, share)


FLAT = 40.0
"""Beyond, all derivatives of σ(2u) are 0 in any precision, and x³ does not overflow before it."""
C, A = math.sqrt(2 / math.pi), 0.044715


def _within(x: Any, low: float, high: float) -> Any:
    return np.minimum(np.maximum(x, low), high)


def _gelu_tanh_slope(g: Any, x: Any) -> Any:
    """g (σ(2u) + 2 x u′ σ(2u) σ(−2u))."""
    z = _within(x, -FLAT, FLAT)
    square = z * z
    share, rest = _logistic_pair(z * fma(square, 2 * C * A, 2 * C))
    return g * fma(z * fma(square, 6 * C * A, 2 * C), share * rest, share)


def _gelu_tanh(x: Any) -> Any:
    z = _within(x, -FLAT, FLAT)
    return x * special.expit(z * fma(z * z, 2 * C * A, 2 * C))


GELU_TANH, GELU_TANH_SLOPE = Elementwise(_gelu_tanh, 1), Elementwise(_gelu_tanh_slope, 2)


def _silu_slope(g: Any, x: Any) -> Any:
    share, rest = _logistic_pair(x)
    return g * (share * fma(x, rest, 1.0))


SILU, SILU_SLOPE = Elementwise(lambda x: x * special.expit(x), 1), Elementwise(_silu_slope, 2)


def _mish(x: Any) -> Any:
    """x n / (n + 2) with e = eˣ and n = e (e + 2). Beyond 20, n / (n + 2) is 1 in any precision."""
    e = np.exp(np.minimum(x, 20.0))
    n = e * (e + 2.0)
    return x * (n / (n + 2.0))


def _mish_slope(g: Any, x: Any) -> Any:
    """g e (e + 2 + 4 x (e + 1) / (n + 2)) / (n + 2); beyond the limits the slope is 0 or 1, and NaN at the
    infinities."""
    z = _within(x, -750.0, 40.0)
    e = np.exp(z)
    share = 1.0 / fma(e, e + 2.0, 2.0)
    slope = e * fma(z * 4.0, (e + 1.0) * share, e + 2.0) * share
    return g * (slope + (x - x))


MISH, MISH_SLOPE = Elementwise(_mish, 1), Elementwise(_mish_slope, 2)
