"""SciPy's special functions: a table of derivatives. SciPy is imported when one of them is first called.

Order: error functions, the normal distribution, logistic functions, entropies, robust losses. Each is registered by its
SciPy name, so that ``scipy.special.erf(tensor)`` is the function here. The gamma family, Bessel functions, integrals
and powers are files of their own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..primitive import Sample, polymorphic
from .elementwise import cosine_of_angle, sigmoid
from .guards import common, inverse_or_zero, nonnegative, raw, times, widened
from .samples import binary, draw, unary
from .ufuncs import declare, scipy_ufunc

__all__ = [
    "entr", "erf", "erfc", "erfcinv", "erfi", "erfinv", "expit", "huber", "kl_div", "log_expit", "log_ndtr", "logit",
    "ndtr", "ndtri", "pseudo_huber", "rel_entr", "xlog1py", "xlogy",
]  # fmt: skip


# Error functions


def _bell(x: Any) -> Any:
    """exp(−x²), whose derivatives are 0 far out, not 0 · ∞; of complex numbers, which may grow, as it stands."""
    x = x if x.dtype.kind == "c" or common(np.isfinite(raw(x)).all()) else np.clip(x, -60, 60)
    return np.exp(-x * x)


erf = declare(
    "erf", scipy_ufunc("erf"), [lambda g, y, x: g * (2 / math.sqrt(math.pi) * _bell(x))], arity=1, scipy="erf",
    complex=True,
    formula="erf {0}", derivatives=["2/√π · exp(−{0}²)"], samples=unary(),
    doc="The error function, 2/√π ∫₀ˣ exp(−t²) dt.",
)  # fmt: skip

erfc = declare(
    "erfc", scipy_ufunc("erfc"), [lambda g, y, x: g * (-2 / math.sqrt(math.pi) * _bell(x))], arity=1, scipy="erfc",
    complex=True,
    formula="erfc {0}", derivatives=["−2/√π · exp(−{0}²)"], samples=unary(),
    doc="1 − erf x, accurate for large x.",
)  # fmt: skip

erfi = declare(
    "erfi", scipy_ufunc("erfi"), [lambda g, y, x: times(g, 2 / math.sqrt(math.pi) * np.exp(x * x))], arity=1,
    scipy="erfi", singular=True, formula="erfi {0}", derivatives=["2/√π · exp({0}²)"], samples=unary(),
    doc="The imaginary error function, 2/√π ∫₀ˣ exp(t²) dt.",
)  # fmt: skip

erfinv = declare(
    "erfinv", scipy_ufunc("erfinv"), [lambda g, y, x: times(g, math.sqrt(math.pi) / 2 * np.exp(y * y))],
    arity=1, scipy="erfinv", formula="erf⁻¹ {0}", derivatives=["√π/2 · exp({y}²)"], samples=unary(-0.8, 0.8),
    doc="The inverse of erf, on (−1, 1).",
)  # fmt: skip

erfcinv = declare(
    "erfcinv", scipy_ufunc("erfcinv"), [lambda g, y, x: times(g, -math.sqrt(math.pi) / 2 * np.exp(y * y))],
    arity=1, scipy="erfcinv", formula="erfc⁻¹ {0}", derivatives=["−√π/2 · exp({y}²)"], samples=unary(0.2, 1.8),
    doc="The inverse of erfc, on (0, 2).",
)  # fmt: skip


# The normal distribution

ndtr = declare(
    "ndtr", scipy_ufunc("ndtr"), [lambda g, y, x: g * (1 / math.sqrt(2 * math.pi) * _bell(x * math.sqrt(0.5)))],
    arity=1, scipy="ndtr", formula="Φ({0})", derivatives=["exp(−{0}²/2) / √(2π)"], samples=unary(),
    doc="The standard normal distribution function Φ.",
)  # fmt: skip

ndtri = declare(
    "ndtri", scipy_ufunc("ndtri"), [lambda g, y, x: times(g, math.sqrt(2 * math.pi) * np.exp(0.5 * y * y))],
    arity=1, scipy="ndtri", formula="Φ⁻¹({0})", derivatives=["√(2π) · exp({y}²/2)"], samples=unary(0.1, 0.9),
    doc="The inverse of ndtr, on (0, 1).",
)  # fmt: skip


def _series(terms: int) -> list[float]:
    """Coefficients of φ(t)/Φ(−t) = Σ c_k t^(1−2k) for large t, from h′ = h (h − t)."""
    c = [1]
    for m in range(terms - 1):
        c.append(c[m] * (1 - 2 * m) - sum(c[m + 1 - j] * c[j] for j in range(1, m + 1)))
    return [float(k) for k in c]


_SERIES = _series(26)
_FAR = -12.0


def _inverse_mills_forward(x: Any, order: int = 0) -> Any:
    """The derivative of that order of h(x) = φ(x)/Φ(x).

    From h′ = −h (x + h) all others follow by Leibniz' rule. Left of −12 they would cancel (h ≈ −x), so there the
    asymptotic series is differentiated term by term. In double precision throughout, for the same reason.
    """
    from scipy.special import erfcx, log_ndtr

    z = np.minimum(np.asarray(x, np.float64), 60.0)  # where all derivatives are 0 in any precision
    middle = np.maximum(z, _FAR)
    left = math.sqrt(2 / math.pi) / erfcx(np.minimum(middle, 0) / -math.sqrt(2))
    right = np.exp(-0.5 * middle * middle - log_ndtr(middle)) / math.sqrt(2 * math.pi)
    h = [np.where(middle < 0, left, right)]
    for n in range(order):
        sums = [middle + h[0], 1 + h[1] if n else None, *h[2:]]  # derivatives of x + h
        h.append(-sum((math.comb(n, k) * h[k] * sums[n - k] for k in range(n + 1)), np.zeros_like(z)))
    far = z < _FAR
    if common(~far.any()):
        return h[order].astype(x.dtype)[()]
    t = -np.where(far, z, _FAR)
    tail = np.zeros_like(z)
    for k, c in reversed(list(enumerate(_SERIES))):
        falling = math.prod(1 - 2 * k - i for i in range(order))
        tail = tail + (-1) ** order * c * falling * t ** (1 - 2 * k - order)
    return np.where(far, tail, h[order]).astype(x.dtype)[()]


_inverse_mills = declare(
    "inverse_mills", _inverse_mills_forward, [lambda g, y, x, order=0: g * _inverse_mills_of(x, order=order + 1)],
    formula="φ({0}) / Φ({0})", derivatives=["−{y} · ({0} + {y})"], opaque="SciPy, in double precision",
    stacks="leading",
    samples=lambda rng: [*unary()(rng), Sample((draw(rng, (4,), -20, 5),)), Sample((draw(rng, (3,)),), {"order": 2})],
    doc="The inverse Mills ratio φ(x)/Φ(x) of the normal distribution, or its derivative of some order.",
)  # fmt: skip
_inverse_mills_of: Any = polymorphic(_inverse_mills)

log_ndtr = declare(
    "log_ndtr", scipy_ufunc("log_ndtr"), [lambda g, y, x: g * _inverse_mills_of(x)], arity=1, scipy="log_ndtr",
    formula="log Φ({0})", derivatives=["φ({0}) / Φ({0})"],
    samples=lambda rng: [*unary()(rng), Sample((draw(rng, (4,), -20, 5),))],
    doc="log Φ(x), accurate far in both tails, with its derivatives.",
)  # fmt: skip


# Logistic functions

expit = sigmoid

log_expit = declare(
    "log_expit", lambda x: np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))), [lambda g, y, x: g * _sigmoid(-x)],
    arity=1, scipy="log_expit", formula="log σ({0})", derivatives=["σ(−{0})"], samples=unary(-4, 4),
    doc="The logarithm of 1 / (1 + exp(−x)), without overflow.",
)  # fmt: skip
_sigmoid: Any = polymorphic(sigmoid)

logit = declare(
    "logit", scipy_ufunc("logit"), [lambda g, y, x: times(g, 1 / (nonnegative(x) * nonnegative(1 - x)))], arity=1,
    scipy="logit",
    formula="log({0} / (1 − {0}))", derivatives=["1 / ({0} (1 − {0}))"], samples=unary(0.1, 0.9),
    doc="The inverse of expit, log(x / (1 − x)).",
)  # fmt: skip


# Entropies: 0 · log 0 is 0


def _per(x: Any, y: Any) -> Any:
    """x/y; where both are 0 it is 0, without a further derivative."""
    off = (raw(x) == 0) & (raw(y) == 0)
    if common(~np.any(off)):
        return x / y
    nothing = inverse_or_zero(np.where(off, x, 1)) + inverse_or_zero(np.where(off, y, 1))
    return np.where(off, nothing, x / np.where(off, 1, y))


xlogy = declare(
    "xlogy", scipy_ufunc("xlogy"),
    [lambda g, z, x, y: times(g, np.log(widened(y, z))),
    lambda g, z, x, y: times(g, _per(x, nonnegative(widened(y, z))))],
    arity=2, scipy="xlogy", formula="{0} log {1}", derivatives=["log {1}", "{0} / {1}"], samples=binary(b=(0.3, 3.0)),
    doc="x log y, and 0 where x is 0.",
)  # fmt: skip

xlog1py = declare(
    "xlog1py", scipy_ufunc("xlog1py"),
    [lambda g, z, x, y: times(g, np.log1p(widened(y, z))),
    lambda g, z, x, y: times(g, _per(x, nonnegative(1 + widened(y, z))))],
    arity=2, scipy="xlog1py", formula="{0} log(1 + {1})", derivatives=["log(1 + {1})", "{0} / (1 + {1})"],
    samples=binary(b=(-0.6, 2.0)), doc="x log(1 + y), and 0 where x is 0.",
)  # fmt: skip

entr = declare(
    "entr", scipy_ufunc("entr"), [lambda g, y, x: times(g, -np.log(nonnegative(x)) - 1)], arity=1, scipy="entr",
    formula="−{0} log {0}", derivatives=["−log {0} − 1"], samples=unary(0.3, 3.0),
    doc="−x log x, and 0 at 0.",
)  # fmt: skip


def _not_negative(x: Any) -> Any:
    """`nonnegative`, of a Python number too."""
    return nonnegative(x) if hasattr(x, "dtype") else x if x >= 0 else math.nan


def _log_ratio(x: Any, y: Any) -> Any:
    """log(x/y) of what is not negative."""
    return np.log(_not_negative(x) / _not_negative(y))


rel_entr = declare(
    "rel_entr", scipy_ufunc("rel_entr"),
    [lambda g, z, x, y: times(g, _log_ratio(x, y) + 1),
     lambda g, z, x, y: times(g, -_per(x, nonnegative(widened(y, z))))],
    arity=2, scipy="rel_entr", singular=True, formula="{0} log({0} / {1})",
    derivatives=["log({0} / {1}) + 1", "−{0} / {1}"], samples=binary((0.3, 3.0), (0.3, 3.0)),
    doc="x log(x/y), and 0 where x is 0: the terms of the relative entropy.",
)  # fmt: skip

kl_div = declare(
    "kl_div", scipy_ufunc("kl_div"),
    [lambda g, z, x, y: times(g, _log_ratio(x, y)),
     lambda g, z, x, y: times(g, 1 - _per(x, nonnegative(widened(y, z))))],
    arity=2, scipy="kl_div", singular=True, formula="{0} log({0} / {1}) − {0} + {1}",
    derivatives=["log({0} / {1})", "1 − {0} / {1}"], samples=binary((0.3, 3.0), (0.3, 3.0)),
    doc="x log(x/y) − x + y, and y where x is 0: the terms of the Kullback–Leibler divergence.",
)  # fmt: skip


# Robust losses


def _within(delta: Any, r: Any) -> Any:
    return np.abs(raw(r)) <= raw(delta)


huber = declare(
    "huber_function", scipy_ufunc("huber"),
    [lambda g, y, delta, r: g * np.where(_within(delta, r), 0, np.abs(r) - _not_negative(delta)),
     lambda g, y, delta, r: g * np.where(_within(delta, r), r, _not_negative(delta) * np.sign(r))],
    arity=2, scipy="huber", formula="{1}²/2 if |{1}| ≤ {0} else {0} (|{1}| − {0}/2)",
    derivatives=["max(|{1}| − {0}, 0)", "clip({1}, −{0}, {0})"], samples=binary((0.3, 1.0), (-3.0, 3.0)),
    doc="Huber's loss of residuals r: r²/2 up to delta, from there on straight lines.",
)  # fmt: skip


def _pseudo_huber_by_delta(g: Any, y: Any, delta: Any, r: Any) -> Any:
    """(h − δ)²/h, with h − δ = r²/(h + δ)."""
    length = np.hypot(delta, r)
    above = r * (r / (length + _not_negative(delta)))
    return times(g, above * (above / length))


pseudo_huber = declare(
    "pseudo_huber", scipy_ufunc("pseudo_huber"),
    [_pseudo_huber_by_delta, lambda g, y, delta, r: times(g, _not_negative(delta) * cosine_of_angle(r, delta))],
    arity=2, scipy="pseudo_huber", singular=True, formula="{0}² (√(1 + ({1}/{0})²) − 1)",
    derivatives=["(h − {0})² / h with h = √({0}² + {1}²)", "{1} {0} / √({0}² + {1}²)"],
    samples=binary((0.3, 2.0), (-3.0, 3.0)),
    doc="A smooth form of Huber's loss, δ² (√(1 + (r/δ)²) − 1).",
)  # fmt: skip
