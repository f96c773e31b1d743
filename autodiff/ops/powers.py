"""Powers and exponentials less 1, without the digits that a difference loses: exprel, cosm1, Box–Cox
transforms, Spence's function.

They are made of the derivatives, of every order, of ``exprel(u) = (eᵘ − 1)/u`` and of ``log(1 + u)/u``, which are
∫₀¹ tⁿ e^(u t) dt and (−1)ⁿ n! ∫₀¹ tⁿ/(1 + u t)ⁿ⁺¹ dt: integrals of positive functions.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from ..primitive import Sample, polymorphic
from ..protocols import SCIPY_UFUNCS
from .elementwise import expm1, log1p
from .guards import raw, times
from .samples import PAIRS, binary, draw, unary, with_params
from .ufuncs import declare, scipy_ufunc

__all__ = ["boxcox", "boxcox1p", "cosm1", "exprel", "inv_boxcox", "spence"]

SCIPY_UFUNCS |= {"expm1": expm1, "log1p": log1p}

cosm1 = declare(
    "cosm1", scipy_ufunc("cosm1"), [lambda g, y, x: g * -np.sin(x)], arity=1, scipy="cosm1", formula="cos {0} − 1",
    derivatives=["−sin {0}"], samples=unary(), doc="cos(x) − 1, accurate near 0.",
)  # fmt: skip


@lru_cache(maxsize=2)
def _gauss(m: int) -> tuple[Any, Any]:
    """Nodes and weights of the Gauss–Legendre rule on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(m)
    return (nodes + 1) / 2, weights / 2


# exprel


def _exprel_moved_forward(u: Any, order: int = 0) -> Any:
    """∫₀¹ tⁿ e^(u t) dt: an incomplete gamma function left of 0; by quadrature to 30, then by parts, which does not
    cancel there."""
    from scipy.special import exprel, gammainc

    z = np.asarray(u, np.float64)
    middle = np.clip(z, 0.0, 30.0)
    t, w = _gauss(40)
    y = np.exp(middle[..., None] * t) @ (w * t**order)
    with np.errstate(all="ignore"):
        below = np.where(z < -1, -z, 1.0)
        low = math.factorial(order) * gammainc(order + 1, below) / below ** (order + 1.0)
        short = np.exp(np.clip(z, -1, 0)[..., None] * t) @ (w * t**order)
        above = np.where(z > 30, z, 30.0)
        high = exprel(above)
        for n in range(1, order + 1):
            high = np.exp(above) / above - n * high / above
    return np.where(z < -1, low, np.where(z < 0, short, np.where(z > 30, high, y))).astype(u.dtype)[()]


_exprel_moved = declare(
    "exprel_derivative", _exprel_moved_forward, [lambda g, y, u, order=0: g * _exprel_of(u, order=order + 1)],
    formula="exprel⁽ⁿ⁾({0})", derivatives=["exprel⁽ⁿ⁺¹⁾({0})"], opaque="a quadrature", stacks="leading",
    samples=lambda rng: [*with_params(unary(), {"order": 1})(rng), Sample((draw(rng, (4,), -5.0, 5.0),), {"order": 2})],
)  # fmt: skip
_exprel_of: Any = polymorphic(_exprel_moved)

exprel = declare(
    "exprel", scipy_ufunc("exprel"), [lambda g, y, x: g * _exprel_of(x, order=1)], arity=1, scipy="exprel",
    formula="(exp {0} − 1) / {0}", derivatives=["∫₀¹ t exp({0} t) dt"], samples=unary(),
    doc="(exp(x) − 1) / x, and 1 at 0, with every derivative there.",
)  # fmt: skip


# Box–Cox: (xᵖ − 1)/p as a function of log x and p


def _power_moved_forward(log: Any, p: Any, order: int = 0) -> Any:
    """∂ⁿ/∂pⁿ (e^(p log) − 1)/p = logⁿ⁺¹ exprel⁽ⁿ⁾(p log)."""
    with np.errstate(all="ignore"):
        kind = np.result_type(log, p, np.float32)
        u = np.asarray(log * p, kind)
        y = log ** (order + 1) * _exprel_moved_forward(np.where(np.isfinite(u), u, 0).astype(kind), order)
        limit = np.where(
            np.asarray(p) > 0, (-1.0) ** (order + 1) * math.factorial(order) / np.asarray(p) ** (order + 1.0), y
        )
        return np.where(np.isneginf(u), limit, y).astype(kind)[()]


def _power_rule(g: Any, y: Any, log: Any, p: Any, order: int = 0) -> Any:
    grown = np.exp(p * log)
    return times(g, grown if order == 0 else log**order * grown)


_power_moved = declare(
    "boxcox_derivative", _power_moved_forward,
    [_power_rule, lambda g, y, log, p, order=0: times(g, _power_moved_of(log, p, order=order + 1))], singular=True,
    formula="∂ⁿ/∂pⁿ (exp({1} {0}) − 1) / {1}", derivatives=["{0}ⁿ exp({1} {0})", "∂ⁿ⁺¹/∂pⁿ⁺¹ (exp({1} {0}) − 1) / {1}"],
    opaque="a quadrature", stacks="leading", samples=with_params(binary(), {"order": 1}),
)  # fmt: skip
_power_moved_of: Any = polymorphic(_power_moved)

boxcox = declare(
    "boxcox", scipy_ufunc("boxcox"),
    [lambda g, y, x, p: times(g, np.exp((p - 1) * np.log(x))),
     lambda g, y, x, p: times(g, _power_moved_of(np.log(x), p, order=1))],
    arity=2, scipy="boxcox", singular=True, formula="({0}^{1} − 1) / {1}",
    derivatives=["{0}^({1} − 1)", "∂/∂p ({0}^{1} − 1) / {1}"], samples=binary((0.3, 3.0)),
    doc="The Box–Cox transform (xᵖ − 1)/p, and log x where p is 0.",
)  # fmt: skip

boxcox1p = declare(
    "boxcox1p", scipy_ufunc("boxcox1p"),
    [lambda g, y, x, p: times(g, np.exp((p - 1) * np.log1p(x))),
     lambda g, y, x, p: times(g, _power_moved_of(np.log1p(x), p, order=1))],
    arity=2, scipy="boxcox1p", singular=True, formula="((1 + {0})^{1} − 1) / {1}",
    derivatives=["(1 + {0})^({1} − 1)", "∂/∂p ((1 + {0})^{1} − 1) / {1}"], samples=binary((-0.6, 2.0)),
    doc="The Box–Cox transform of 1 + x, accurate near 0.",
)  # fmt: skip


# Its inverse, exp(y l(p y)) with l(u) = log(1 + u)/u, and the integral of l


def _logrel_moved_forward(u: Any, order: int = 0) -> Any:
    """The derivative of log(1 + u)/u of that order: an integral near 0, else by parts."""
    z = np.asarray(u, np.float64)
    with np.errstate(all="ignore"):
        small = np.abs(z) <= 0.5
        t, w = _gauss(40)
        at = np.where(small, z, 0.0)[..., None]
        near = (-1) ** order * math.factorial(order) * ((t**order / (1 + at * t) ** (order + 1)) @ w)
        rest = np.where(small, 1.0, z)
        far = np.log1p(rest) / rest
        for n in range(1, order + 1):
            far = ((-1) ** (n - 1) * math.factorial(n - 1) / (1 + rest) ** n - n * far) / rest
    return np.where(small, near, far).astype(u.dtype)[()]


_logrel_moved = declare(
    "logrel_derivative", _logrel_moved_forward, [lambda g, y, u, order=0: g * _logrel_of(u, order=order + 1)],
    formula="(log(1 + u)/u)⁽ⁿ⁾({0})", derivatives=["(log(1 + u)/u)⁽ⁿ⁺¹⁾({0})"], opaque="a quadrature", stacks="leading",
    samples=with_params(unary(-0.6, 2.0), {"order": 0}, {"order": 1}),
)  # fmt: skip
_logrel_of: Any = polymorphic(_logrel_moved)


def _spence_rule(g: Any, y: Any, x: Any) -> Any:
    """g log x / (1 − x). Beside 1 both vanish; beside 0 it is x that has the digits, not x − 1."""
    near = raw(x) > 0.5
    small = np.where(near, 0.5, x)
    return times(g, np.where(near, -_logrel_of(np.where(near, x, 1.0) - 1.0), np.log(small) / (1.0 - small)))


spence = declare(
    "spence", scipy_ufunc("spence"), [_spence_rule], arity=1, scipy="spence", singular=True,
    formula="Li₂(1 − {0})", derivatives=["log {0} / (1 − {0})"], samples=unary(0.3, 3.0),
    doc="Spence's function, the dilogarithm Li₂(1 − x) = ∫₁ˣ log t / (1 − t) dt, x ≥ 0.",
)  # fmt: skip


def _inverse_by_y(g: Any, x: Any, y: Any, p: Any) -> Any:
    return times(g, x / (1 + p * y))


def _inverse_by_p(g: Any, x: Any, y: Any, p: Any) -> Any:
    return times(g, x * y * y * _logrel_of(p * y, order=1))


inv_boxcox = declare(
    "inv_boxcox", scipy_ufunc("inv_boxcox"), [_inverse_by_y, _inverse_by_p], arity=2, scipy="inv_boxcox",
    singular=True, formula="(1 + {1} {0})^(1/{1})",
    derivatives=["{y} / (1 + {1} {0})", "{y} {0}² (log(1 + u)/u)′({1} {0})"],
    samples=lambda rng: [Sample((draw(rng, s, -0.6, 1.0), draw(rng, t, 0.3, 1.2))) for s, t in PAIRS],
    doc="The inverse of the Box–Cox transform, (1 + p y)^(1/p), and exp(y) where p is 0.",
)  # fmt: skip
