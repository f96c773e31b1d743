"""SciPy's special functions: a table of derivatives. SciPy is imported when one of them is first called.

Order: error functions, the normal distribution, the gamma family, logistic functions, entropies. Each is registered by
its SciPy name, so that ``scipy.special.erf(tensor)`` is the function here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from operator import index
from typing import Any

import numpy as np

from ..primitive import Sample, internal, polymorphic
from ..primitive import declare as _declare
from ..protocols import SCIPY_UFUNCS
from ..tensor import Tensor
from .elementwise import sigmoid
from .guards import common, inverse_or_zero, nonnegative, raw, times, widened
from .precision import in_single
from .samples import binary, draw, unary, with_params

__all__ = [
    "digamma", "entr", "erf", "erfc", "erfinv", "expit", "gamma", "gammaln", "log_expit", "log_ndtr",
    "logit", "ndtr", "ndtri", "polygamma", "xlog1py", "xlogy",
]  # fmt: skip


def _scipy(name: str) -> Callable[..., Any]:
    """The function of that name in `scipy.special`, looked up at its first call."""
    function: Any = None

    def forward(*arrays: Any) -> Any:
        nonlocal function
        if function is None:
            import scipy.special

            function = getattr(scipy.special, name)
        return function(*arrays)

    return forward


@internal
def declare(name: str, forward: Any, vjps: Any, **options: Any) -> Any:
    single = partial(in_single, together=True)
    return _declare(name, single(forward), [single(rule) for rule in vjps], jvps="elementwise", **options)


# Error functions


def _bell(x: Any) -> Any:
    """exp(−x²), whose derivatives are 0 far out, not 0 · ∞."""
    x = x if common(np.isfinite(raw(x)).all()) else np.clip(x, -60, 60)
    return np.exp(-x * x)


erf = declare(
    "erf", _scipy("erf"), [lambda g, y, x: g * (2 / math.sqrt(math.pi) * _bell(x))], arity=1, scipy="erf",
    formula="erf {0}", derivatives=["2/√π · exp(−{0}²)"], samples=unary(),
    doc="The error function, 2/√π ∫₀ˣ exp(−t²) dt.",
)  # fmt: skip

erfc = declare(
    "erfc", _scipy("erfc"), [lambda g, y, x: g * (-2 / math.sqrt(math.pi) * _bell(x))], arity=1, scipy="erfc",
    formula="erfc {0}", derivatives=["−2/√π · exp(−{0}²)"], samples=unary(),
    doc="1 − erf x, accurate for large x.",
)  # fmt: skip

erfinv = declare(
    "erfinv", _scipy("erfinv"), [lambda g, y, x: times(g, math.sqrt(math.pi) / 2 * np.exp(y * y))],
    arity=1, scipy="erfinv", formula="erf⁻¹ {0}", derivatives=["√π/2 · exp({y}²)"], samples=unary(-0.8, 0.8),
    doc="The inverse of erf, on (−1, 1).",
)  # fmt: skip


# The normal distribution

ndtr = declare(
    "ndtr", _scipy("ndtr"), [lambda g, y, x: g * (1 / math.sqrt(2 * math.pi) * _bell(x * math.sqrt(0.5)))],
    arity=1, scipy="ndtr", formula="Φ({0})", derivatives=["exp(−{0}²/2) / √(2π)"], samples=unary(),
    doc="The standard normal distribution function Φ.",
)  # fmt: skip

ndtri = declare(
    "ndtri", _scipy("ndtri"), [lambda g, y, x: times(g, math.sqrt(2 * math.pi) * np.exp(0.5 * y * y))],
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
    "log_ndtr", _scipy("log_ndtr"), [lambda g, y, x: g * _inverse_mills_of(x)], arity=1, scipy="log_ndtr",
    formula="log Φ({0})", derivatives=["φ({0}) / Φ({0})"],
    samples=lambda rng: [*unary()(rng), Sample((draw(rng, (4,), -20, 5),))],
    doc="log Φ(x), accurate far in both tails, with its derivatives.",
)  # fmt: skip


# The gamma family


def _polygamma_forward(x: Any, n: int = 0) -> Any:
    from scipy.special import polygamma, psi

    return psi(x) if n == 0 else np.asarray(polygamma(n, x)).astype(x.dtype if x.dtype.kind == "f" else np.float64)[()]


_polygamma = declare(
    "polygamma", _polygamma_forward, [lambda g, y, x, n=0: times(g, _polygamma_of(x, n=n + 1))],
    formula="ψ⁽ⁿ⁾({0})", derivatives=["ψ⁽ⁿ⁺¹⁾({0})"], samples=with_params(unary(0.6, 4.0), {"n": 1}, {"n": 2}),
    opaque="SciPy, no ufunc", stacks="leading",
)  # fmt: skip
_polygamma_of: Any = polymorphic(_polygamma)

digamma = declare(
    "digamma", _scipy("psi"), [lambda g, y, x: times(g, _polygamma_of(x, n=1))], arity=1, scipy="psi",
    formula="ψ({0})", derivatives=["ψ⁽¹⁾({0})"], samples=unary(0.6, 4.0),
    doc="The derivative of gammaln, ψ(x).",
)  # fmt: skip

gammaln = declare(
    "gammaln", _scipy("gammaln"), [lambda g, y, x: times(g, _polygamma_of(x))], arity=1, scipy="gammaln",
    formula="log |Γ({0})|", derivatives=["ψ({0})"], samples=unary(0.6, 4.0),
    doc="The logarithm of the absolute value of the gamma function.",
)  # fmt: skip

gamma = declare(
    "gamma", _scipy("gamma"), [lambda g, y, x: times(g, y * _polygamma_of(x))], arity=1, scipy="gamma",
    formula="Γ({0})", derivatives=["{y} · ψ({0})"], samples=unary(0.6, 4.0),
    doc="The gamma function, (x − 1)! for whole numbers.",
)  # fmt: skip


def polygamma(n: int, x: Any) -> Tensor:
    """The derivative of order n + 1 of gammaln, as `scipy.special.polygamma`; `n` is a number.

    >>> polygamma(1, 1.0)
    Tensor(1.64493407)
    """
    try:
        order = index(n)
    except TypeError:
        raise TypeError(f"polygamma: the order must be an integer, not {n!r}") from None
    if order < 0:
        raise ValueError(f"polygamma: the order must not be negative, not {order}")
    return _polygamma(x if isinstance(x, Tensor) else Tensor(x), n=order)


# Logistic functions

expit = sigmoid

log_expit = declare(
    "log_expit", lambda x: np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))), [lambda g, y, x: g * _sigmoid(-x)],
    arity=1, scipy="log_expit", formula="log σ({0})", derivatives=["σ(−{0})"], samples=unary(-4, 4),
    doc="The logarithm of 1 / (1 + exp(−x)), without overflow.",
)  # fmt: skip
_sigmoid: Any = polymorphic(sigmoid)

logit = declare(
    "logit", _scipy("logit"), [lambda g, y, x: times(g, 1 / (nonnegative(x) * nonnegative(1 - x)))], arity=1,
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
    "xlogy", _scipy("xlogy"),
    [lambda g, z, x, y: times(g, np.log(widened(y, z))),
    lambda g, z, x, y: times(g, _per(x, nonnegative(widened(y, z))))],
    arity=2, scipy="xlogy", formula="{0} log {1}", derivatives=["log {1}", "{0} / {1}"], samples=binary(b=(0.3, 3.0)),
    doc="x log y, and 0 where x is 0.",
)  # fmt: skip

xlog1py = declare(
    "xlog1py", _scipy("xlog1py"),
    [lambda g, z, x, y: times(g, np.log1p(widened(y, z))),
    lambda g, z, x, y: times(g, _per(x, nonnegative(1 + widened(y, z))))],
    arity=2, scipy="xlog1py", formula="{0} log(1 + {1})", derivatives=["log(1 + {1})", "{0} / (1 + {1})"],
    samples=binary(b=(-0.6, 2.0)), doc="x log(1 + y), and 0 where x is 0.",
)  # fmt: skip

entr = declare(
    "entr", _scipy("entr"), [lambda g, y, x: times(g, -np.log(nonnegative(x)) - 1)], arity=1, scipy="entr",
    formula="−{0} log {0}", derivatives=["−log {0} − 1"], samples=unary(0.3, 3.0),
    doc="−x log x, and 0 at 0.",
)  # fmt: skip

SCIPY_UFUNCS["digamma"] = digamma
