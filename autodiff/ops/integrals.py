"""Functions defined by integrals: of the bell curve (erfcx, Dawson's, Owen's), exponential ones,
sines and cosines."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..primitive import Sample, polymorphic
from ..protocols import SCIPY_UFUNCS
from ..tensor import Tensor
from .guards import nonnegative, times
from .samples import PAIRS, binary, draw, unary, with_params
from .special import erf, ndtr
from .ufuncs import declare, scipy_ufunc

__all__ = ["dawsn", "erfcx", "exp1", "expi", "expn", "fresnel", "owens_t", "sici"]


# Of the bell curve

_FAR = 7.0


def _linear_growth(name: str, sign: int, constant: float) -> Callable[..., Any]:
    """Derivatives of a solution of y′ = 2 s x y + c, with s = ±1, that falls off as 1/x.

    Further ones follow from it: y⁽ⁿ⁺¹⁾ = 2 s (x y⁽ⁿ⁾ + n y⁽ⁿ⁻¹⁾). They cancel for large x, where the asymptotic series
    −s c Σ (−s)ᵏ (2k − 1)!! / (2ᵏ⁺¹ x²ᵏ⁺¹) is differentiated term by term.
    """
    value = scipy_ufunc(name)

    def forward(x: Any, order: int = 1) -> Any:
        z = np.asarray(x, np.float64)
        with np.errstate(all="ignore"):
            far = (z > _FAR) | ((z < -_FAR) & (sign < 0)) if sign < 0 else z > _FAR
            near = np.where(far, 1.0, z)
            found = [value(near)]
            for n in range(order):
                before = constant if n == 0 else 2 * sign * n * found[n - 1]
                found.append(2 * sign * near * found[n] + before)
            t = np.where(far, z, _FAR + 1)
            series, factor = np.zeros_like(z), 0.5
            for k in range(45):
                falling = math.prod(-2 * k - 1 - i for i in range(order))
                series = series + factor * falling * t ** (-2.0 * k - 1 - order)
                factor *= -sign * (2 * k + 1) / 2
            return np.where(far, -sign * constant * series, found[order]).astype(x.dtype)[()]

    return forward


def _growing(name: str, sign: int, constant: float, slope: str, doc: str, formula: str) -> Any:
    moved = declare(
        f"{name}_derivative", _linear_growth(name, sign, constant),
        [lambda g, y, x, order=1: g * moved_of(x, order=order + 1)],
        formula=f"{name}⁽ⁿ⁾({{0}})", derivatives=[f"{name}⁽ⁿ⁺¹⁾({{0}})"], opaque="SciPy, in double precision",
    stacks="leading",
        samples=lambda rng: [*with_params(unary(), {"order": 1})(rng),
                             Sample((draw(rng, (4,), 4.0, 9.0),), {"order": 2})],
    )  # fmt: skip
    moved_of: Any = polymorphic(moved)
    return declare(
        name, scipy_ufunc(name), [lambda g, y, x: g * moved_of(x, order=1)], arity=1, scipy=name,
        formula=formula, derivatives=[slope], samples=unary(), doc=doc,
    )  # fmt: skip


erfcx = _growing(
    "erfcx", 1, -2 / math.sqrt(math.pi), "2 {0} {y} − 2/√π",
    "exp(x²) erfc(x), without overflow for large x; its derivatives do not cancel there.", "exp({0}²) erfc {0}",
)  # fmt: skip
dawsn = _growing(
    "dawsn", -1, 1.0, "1 − 2 {0} {y}",
    "Dawson's integral, exp(−x²) ∫₀ˣ exp(t²) dt; its derivatives do not cancel for large x.",
    "exp(−{0}²) ∫₀ exp(t²) dt",
)  # fmt: skip
_erf: Any = polymorphic(erf)
_ndtr: Any = polymorphic(ndtr)


def _owens_by_h(g: Any, y: Any, h: Any, a: Any) -> Any:
    return g * (-1 / math.sqrt(8 * math.pi)) * np.exp(-0.5 * h * h) * _erf(a * h * math.sqrt(0.5))


def _owens_by_a(g: Any, y: Any, h: Any, a: Any) -> Any:
    square = 1 + a * a
    return g * np.exp(-0.5 * h * h * square) / (2 * math.pi * square)


owens_t = declare(
    "owens_t", scipy_ufunc("owens_t"), [_owens_by_h, _owens_by_a], arity=2, scipy="owens_t",
    formula="T({0}, {1})",
    derivatives=["−exp(−{0}²/2) erf({0} {1} / √2) / √(8π)", "exp(−{0}² (1 + {1}²)/2) / (2π (1 + {1}²))"],
    samples=binary(), doc="Owen's T function, ∫₀ᵃ exp(−h² (1 + t²)/2) / (1 + t²) dt / (2π).",
)  # fmt: skip


def _bivariate_normal_forward(h: Any, k: Any, r: Any) -> Any:
    """By Owen's T function (Annals of Mathematical Statistics 27, 1956, equation 2.1)."""
    from scipy.special import ndtr, owens_t

    kind = np.result_type(h, k, r)
    h, k, r = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (h, k, r)))
    h, k = np.clip(h, -_END, _END) + 0.0, np.clip(k, -_END, _END) + 0.0  # no −0, of which 1/h has another sign
    with np.errstate(all="ignore"):
        root = np.sqrt((1 - r) * (1 + r))
        parts = owens_t(h, (k - r * h) / (h * root)) + owens_t(k, (h - r * k) / (k * root))
        apart = (h * k < 0) | ((h * k == 0) & (h + k < 0))
        y = (ndtr(h) + ndtr(k)) / 2 - parts - np.where(apart, 0.5, 0)
        return np.where((h == 0) & (k == 0), 0.25 + np.arcsin(r) / (2 * np.pi), y).astype(
            kind if kind.kind == "f" else float
        )[()]


_END = 40.0
"""From where on the normal distribution function is 0 and 1 in double precision, and its derivatives are 0."""


def _bivariate_by_limit(g: Any, h: Any, k: Any, r: Any) -> Any:
    h, k = np.clip(h, -_END, _END), np.clip(k, -_END, _END)
    rest = (k - r * h) / np.sqrt((1 - r) * (1 + r))
    return g * (np.exp(-0.5 * h * h) / math.sqrt(2 * math.pi) * _ndtr(rest))


def _bivariate_by_correlation(g: Any, y: Any, h: Any, k: Any, r: Any) -> Any:
    h, k, square = np.clip(h, -_END, _END), np.clip(k, -_END, _END), (1 - r) * (1 + r)
    return g * (np.exp(-0.5 * (h * h - 2 * r * h * k + k * k) / square) / (2 * math.pi * np.sqrt(square)))


bivariate_normal = declare(
    "bivariate_normal", _bivariate_normal_forward,
    [lambda g, y, h, k, r: _bivariate_by_limit(g, h, k, r), lambda g, y, h, k, r: _bivariate_by_limit(g, k, h, r),
     _bivariate_by_correlation],
    formula="Φ({0}, {1}; {2})",
    derivatives=["φ({0}) Φ(({1} − {2} {0}) / √(1 − {2}²))", "φ({1}) Φ(({0} − {2} {1}) / √(1 − {2}²))",
                 "exp(−({0}² − 2 {2} {0} {1} + {1}²) / (2 (1 − {2}²))) / (2π √(1 − {2}²))"],
    opaque="SciPy, in double precision", stacks="leading", public=False,
    samples=lambda rng: [Sample((draw(rng, s), draw(rng, t), draw(rng, t, -0.8, 0.8))) for s, t in PAIRS],
    doc="The distribution function of two standard normal variables with correlation r, |r| < 1, at h and k.",
)  # fmt: skip


# Exponential integrals

expi = declare(
    "expi", scipy_ufunc("expi"), [lambda g, y, x: times(g, np.exp(x) / x)], arity=1, scipy="expi", singular=True,
    formula="Ei({0})", derivatives=["exp({0}) / {0}"], samples=unary(0.5, 3.0),
    doc="The exponential integral Ei(x), the principal value of ∫₋∞ˣ eᵗ/t dt.",
)  # fmt: skip

exp1 = declare(
    "exp1", scipy_ufunc("exp1"), [lambda g, y, x: times(g, -np.exp(-x) / nonnegative(x))], arity=1, scipy="exp1",
    singular=True, formula="E₁({0})", derivatives=["−exp(−{0}) / {0}"], samples=unary(0.5, 3.0),
    doc="The exponential integral E₁(x), ∫ₓ^∞ e⁻ᵗ/t dt, x > 0.",
)  # fmt: skip


def _expn_forward(n: Any, x: Any) -> Any:
    """Eₙ(x), for negative n too: Eₙ = (e⁻ˣ − n Eₙ₊₁)/x."""
    from scipy.special import expn

    n, x = np.asarray(n), np.asarray(x)
    y = expn(np.maximum(n, 0), x)
    step = y
    for k in range(-1, int(np.min(n, initial=0)) - 1, -1):
        step = (np.exp(-x) - k * np.where(n <= k, step, 0)) / x
        y = np.where(n == k, step, y)
    return np.where(x >= 0, y, np.nan).astype(y.dtype)[()]


expn = declare(
    "expn", _expn_forward, [None, lambda g, y, n, x: times(-g, _expn_of(n - 1, x))], fixed={0: "the order n"},
    scipy="expn", singular=True, formula="E_{0}({1})", derivatives=["none", "−E_({0} − 1)({1})"],
    opaque="what is done depends on the order", stacks="leading",
    samples=lambda rng: [Sample((np.array([0, 1, 3])[: s[-1] if s else 1].reshape(s[-1:]), draw(rng, t, 0.5, 3.0)))
                         for s, t in PAIRS if s != (0, 3)],
    doc="The exponential integral Eₙ(x), ∫₁^∞ e^(−x t) t⁻ⁿ dt, of whole order n.",
)  # fmt: skip
_expn_of: Any = polymorphic(expn)


# Sine and cosine integrals, Fresnel's integrals

_si = declare(
    "si", lambda x: scipy_ufunc("sici")(x)[0], [lambda g, y, x: g * np.sinc(x / math.pi)],
    formula="Si({0})", derivatives=["sin({0}) / {0}"], samples=unary(), opaque="SciPy, two results", stacks="leading",
)  # fmt: skip
_ci = declare(
    "ci", lambda x: scipy_ufunc("sici")(x)[1], [lambda g, y, x: times(g, np.cos(x) / x)], singular=True,
    formula="Ci({0})", derivatives=["cos({0}) / {0}"], samples=unary(0.5, 4.0), opaque="SciPy, two results",
    stacks="leading",
)  # fmt: skip


def sici(x: Any) -> tuple[Tensor, Tensor]:
    """Sine and cosine integral, as `scipy.special.sici`: ∫₀ˣ sin(t)/t dt, and γ + log |x| + ∫₀ˣ (cos(t) − 1)/t dt.

    >>> sici(1.0)
    (Tensor(0.94608307), Tensor(0.33740392))
    """
    x = x if isinstance(x, Tensor) else Tensor(x)
    return _si(x), _ci(x)


SCIPY_UFUNCS["sici"] = sici


_fresnel_s = declare(
    "fresnel_s", lambda x: scipy_ufunc("fresnel")(x)[0], [lambda g, y, x: g * np.sin(math.pi / 2 * x * x)],
    formula="S({0})", derivatives=["sin(π/2 · {0}²)"], samples=unary(), opaque="SciPy, two results", stacks="leading",
)  # fmt: skip
_fresnel_c = declare(
    "fresnel_c", lambda x: scipy_ufunc("fresnel")(x)[1], [lambda g, y, x: g * np.cos(math.pi / 2 * x * x)],
    formula="C({0})", derivatives=["cos(π/2 · {0}²)"], samples=unary(), opaque="SciPy, two results", stacks="leading",
)  # fmt: skip


def fresnel(x: Any) -> tuple[Tensor, Tensor]:
    """Fresnel's integrals, as `scipy.special.fresnel`: ∫₀ˣ sin(π t²/2) dt and ∫₀ˣ cos(π t²/2) dt.

    >>> fresnel(1.0)
    (Tensor(0.43825915), Tensor(0.7798934))
    """
    x = x if isinstance(x, Tensor) else Tensor(x)
    return _fresnel_s(x), _fresnel_c(x)


SCIPY_UFUNCS["fresnel"] = fresnel
