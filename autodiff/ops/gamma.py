"""The gamma family: gamma and beta functions, their logarithms, and the incomplete ones, by all of their inputs.

Order: polygamma, gamma functions, beta functions, incomplete gamma functions, incomplete beta functions, zeta. The
incomplete functions have no closed derivative by their parameters: those of every order are one operation each, an
integral of the density times what its logarithm's derivatives make of it.
"""

from __future__ import annotations

import math
from functools import partial
from operator import index
from typing import Any

import numpy as np

from ..primitive import Sample, internal, polymorphic
from ..protocols import SCIPY_UFUNCS
from ..tensor import Tensor
from .guards import common, raw, times
from .quadrature import half_line
from .samples import PAIRS, binary, draw, unary, with_params
from .special import xlog1py, xlogy
from .ufuncs import declare, scipy_ufunc

__all__ = [
    "beta", "betainc", "betaincc", "betaln", "digamma", "gamma", "gammainc", "gammaincc", "gammaincinv", "gammaln",
    "gammasgn",
    "loggamma", "multigammaln", "polygamma", "rgamma", "zeta",
]  # fmt: skip

_xlogy: Any = polymorphic(xlogy)
_xlog1py: Any = polymorphic(xlog1py)

# Polygamma functions


def _polygamma_forward(x: Any, n: int = 0) -> Any:
    from scipy.special import polygamma, psi

    kind = getattr(x, "dtype", np.dtype(np.float64))
    return psi(x) if n == 0 else np.asarray(polygamma(n, x)).astype(kind if kind.kind == "f" else np.float64)[()]


_polygamma = declare(
    "polygamma", _polygamma_forward, [lambda g, y, x, n=0: times(g, polygamma_at(x, n=n + 1))],
    formula="ψ⁽ⁿ⁾({0})", derivatives=["ψ⁽ⁿ⁺¹⁾({0})"], samples=with_params(unary(0.6, 4.0), {"n": 1}, {"n": 2}),
    opaque="SciPy, no ufunc", stacks="leading",
)  # fmt: skip
polygamma_at: Any = internal(polymorphic(_polygamma))

digamma = declare(
    "digamma", scipy_ufunc("psi"), [lambda g, y, x: times(g, polygamma_at(x, n=1))], arity=1, scipy="psi",
    formula="ψ({0})", derivatives=["ψ⁽¹⁾({0})"], samples=unary(0.6, 4.0),
    doc="The derivative of gammaln, ψ(x).",
)  # fmt: skip
SCIPY_UFUNCS["digamma"] = digamma


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


# Gamma functions

gammaln = declare(
    "gammaln", scipy_ufunc("gammaln"), [lambda g, y, x: times(g, polygamma_at(x))], arity=1, scipy="gammaln",
    formula="log |Γ({0})|", derivatives=["ψ({0})"], samples=unary(0.6, 4.0),
    doc="The logarithm of the absolute value of the gamma function.",
)  # fmt: skip

gamma = declare(
    "gamma", scipy_ufunc("gamma"), [lambda g, y, x: times(g, y * polygamma_at(x))], arity=1, scipy="gamma",
    formula="Γ({0})", derivatives=["{y} · ψ({0})"], samples=unary(0.6, 4.0),
    doc="The gamma function, (x − 1)! for whole numbers.",
)  # fmt: skip

gammasgn = declare(
    "gammasgn", scipy_ufunc("gammasgn"), [lambda g, y, x: 0 * y], arity=1, scipy="gammasgn", formula="sign Γ({0})",
    derivatives=["0"], samples=unary(-1.8, -1.2),
    doc="The sign of the gamma function, NaN at its poles left of 0; the derivative is 0.",
)  # fmt: skip

loggamma = declare(
    "loggamma", scipy_ufunc("loggamma"), [lambda g, y, x: times(g, polygamma_at(x) + 0 * y)], arity=1,
    scipy="loggamma", singular=True, formula="log Γ({0})", derivatives=["ψ({0})"], samples=unary(0.6, 4.0),
    doc="The logarithm of the gamma function; NaN below 0, where it is complex (`gammaln` has its real part).",
)  # fmt: skip


@internal
def over_value(log: Any, m: int, n: int = 0) -> Any:
    """The derivative of f of order m by its first and n by its second variable, over f: the complete Bell polynomial of
    ``log(i, j)``, the derivatives of log f."""
    b: dict[tuple[int, int], Any] = {(0, 0): 1.0}
    for i in range(m + 1):
        for j in range(n + 1):
            if i:
                terms = [((i - 1 - k, j - h), (k + 1, h), math.comb(i - 1, k) * math.comb(j, h))
                         for k in range(i) for h in range(j + 1)]  # fmt: skip
            else:
                terms = [((0, j - 1 - h), (0, h + 1), math.comb(j - 1, h)) for h in range(j)]
            if terms:
                b[i, j] = sum(
                    (c * b[rest] * log(*part) for rest, part, c in terms[1:]), b[terms[0][0]] * log(*terms[0][1])
                )
    return b[m, n]


def _reciprocal(x: Any, order: int = 0) -> Any:
    """The derivative of 1/Γ, left of ½ that of sin(πx) Γ(1 − x) / π: an entire function, 0 at the poles of Γ."""
    from scipy.special import gamma, polygamma, rgamma

    z = np.asarray(x, np.float64)
    left = z < 0.5
    at = np.where(left, 1 - z, z)
    psi = [polygamma(j, at) for j in range(order)]
    with np.errstate(all="ignore"):
        right = rgamma(z) * over_value(lambda j, _: -psi[j - 1], order)
        whole = np.round(z)
        angle = np.pi * (z - whole)
        sines = [np.sin(angle), np.cos(angle), -np.sin(angle), -np.cos(angle)]
        reflected = sum(
            math.comb(order, k) * np.pi ** (k - 1) * sines[k % 4]
            * over_value(lambda j, _: (-1) ** j * psi[j - 1], order - k)
            for k in range(order + 1)
        )  # fmt: skip
        reflected = np.where(whole % 2, -1, 1) * reflected * gamma(np.where(left, at, 1))
    return np.where(left, reflected, right).astype(x.dtype)[()]


_rgamma_moved = declare(
    "rgamma_derivative", _reciprocal, [lambda g, y, x, order=0: g * _rgamma_moved_of(x, order=order + 1)],
    formula="(1 / Γ)⁽ⁿ⁾({0})", derivatives=["(1 / Γ)⁽ⁿ⁺¹⁾({0})"], opaque="SciPy, no ufunc", stacks="leading",
    samples=lambda rng: [Sample((draw(rng, (3,), -2.0, 3.0),), {"order": k}, smooth=2) for k in (1, 2)],
)  # fmt: skip
_rgamma_moved_of: Any = polymorphic(_rgamma_moved)

rgamma = declare(
    "rgamma", scipy_ufunc("rgamma"), [lambda g, y, x: g * _rgamma_moved_of(x, order=1)], arity=1, scipy="rgamma",
    formula="1 / Γ({0})", derivatives=["−ψ({0}) {y}"], samples=unary(-2.0, 3.0),
    doc="1/Γ(x), which is 0 at 0, −1, −2 …, with its derivatives there.",
)  # fmt: skip


def multigammaln(a: Any, d: int) -> Tensor:
    """The logarithm of the multivariate gamma function, as `scipy.special.multigammaln`: π^(d(d−1)/4) Π Γ(a − j/2) over
    j = 0 … d − 1.

    Args:
        a: any shape, each more than (d − 1)/2.
        d: the dimension, a number of at least 1.

    Raises:
        TypeError, ValueError: d is no integer or less than 1, or an `a` is not more than (d − 1)/2.

    >>> multigammaln(2.0, 2)
    Tensor(0.45158271)
    """
    try:
        n = index(d)
    except TypeError:
        raise TypeError(f"multigammaln: the dimension d must be an integer, not {d!r}") from None
    a = a if isinstance(a, Tensor) else Tensor(a)
    if n < 1 or not common((raw(a) > (n - 1) / 2).all()):
        raise ValueError(
            f"multigammaln: needs a > (d − 1)/2 and d ≥ 1, not d = {n} with a of {raw(a).min(initial=np.inf):g}"
        )
    return sum((gammaln(a - j / 2) for j in range(1, n)), gammaln(a) + n * (n - 1) / 4 * math.log(math.pi))


# Beta functions


def _psi_less(a: Any, b: Any) -> Any:
    return polygamma_at(a) - polygamma_at(a + b)


beta = declare(
    "beta", scipy_ufunc("beta"),
    [lambda g, y, a, b: times(g, y * _psi_less(a, b)), lambda g, y, a, b: times(g, y * _psi_less(b, a))],
    arity=2, scipy="beta", singular=True, formula="B({0}, {1})",
    derivatives=["{y} (ψ({0}) − ψ({0} + {1}))", "{y} (ψ({1}) − ψ({0} + {1}))"], samples=binary((0.6, 3.0), (0.6, 3.0)),
    doc="The beta function, Γ(a) Γ(b) / Γ(a + b).",
)  # fmt: skip

betaln = declare(
    "betaln", scipy_ufunc("betaln"),
    [lambda g, y, a, b: times(g, _psi_less(a, b)), lambda g, y, a, b: times(g, _psi_less(b, a))],
    arity=2, scipy="betaln", singular=True, formula="log |B({0}, {1})|",
    derivatives=["ψ({0}) − ψ({0} + {1})", "ψ({1}) − ψ({0} + {1})"], samples=binary((0.6, 3.0), (0.6, 3.0)),
    doc="The logarithm of the absolute value of the beta function.",
)  # fmt: skip
_gammaln: Any = polymorphic(gammaln)
_betaln: Any = polymorphic(betaln)


# Incomplete gamma functions


def _gamma_pairs(rng: np.random.Generator) -> list[Sample]:
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((), ()), ((2, 1), (2,)), ((), (2,)), ((0,), ())]
    return [Sample((draw(rng, s, 0.6, 3.0), draw(rng, t, 0.3, 4.0)), smooth=2) for s, t in shapes]


def _gamma_logs(a: Any, log: Any) -> Any:
    """The derivatives by a of the logarithm of the gamma density at a point with that logarithm."""
    return lambda i, _: log - polygamma_at(a) if i == 1 else -polygamma_at(a, n=i - 1)


def _gamma_density(a: Any, x: Any, order: int = 0) -> Any:
    """∂ⁿ/∂aⁿ of x^(a−1) e^(−x) / Γ(a)."""
    density = np.exp(_xlogy(a - 1, x) - x - _gammaln(a))
    if order == 0:
        return density
    inside = raw(x) > 0
    log = np.log(np.where(inside, x, 1))  # at 0 the density ends
    return np.where(inside, density, 0) * over_value(_gamma_logs(a, log), order)


def _gammainc_moved_forward(a: Any, x: Any, order: int = 1) -> Any:
    """∂ⁿ/∂aⁿ P(a, x): the integral of ∂ⁿ/∂aⁿ of the density below x, or less that above, whichever is the tail."""
    from scipy.special import gammaln, polygamma

    kind = np.result_type(a, x)
    a, x = np.broadcast_arrays(*[np.asarray(v, np.float64) for v in (a, x)])
    inside = (a > 0) & (x > 0) & (x < np.inf)
    lower = x <= a
    safe, at = np.where(inside, a, 1), np.where(inside, x, 1)
    psi = np.array([polygamma(j, safe) for j in range(order)])

    def weighted(t: Any, log_t: Any, tail: Any, c: Any, *psi: Any) -> Any:
        return np.exp(tail - c) * over_value(lambda i, _: (log_t if i == 1 else 0) - psi[i - 1], order)

    def below(s: Any, a: Any, x: Any, c: Any, *psi: Any) -> Any:  # t = x e⁻ˢ
        t = x * np.exp(-s)
        return weighted(t, np.log(x) - s, a * (np.log(x) - s) - t, c, *psi)

    def above(s: Any, a: Any, x: Any, c: Any, *psi: Any) -> Any:  # t = x + s
        log_t = np.log(x) + np.log1p(s / x)
        return -weighted(x + s, log_t, (a - 1) * log_t - x - s, c, *psi)

    width = np.maximum(1 / (np.maximum(safe - at, 0) + np.sqrt(at)), 0.1 / safe)  # the last falls off as e^(−a s)
    width = np.where(lower, width, 1 / (1 - np.minimum(safe / at, 1) + 1 / np.sqrt(1 + at)))
    y = np.zeros(a.shape)
    with np.errstate(all="ignore"):
        for part, f in ((inside & lower, below), (inside & ~lower, above)):
            if part.any():
                y[part] = half_line(f, width[part], safe[part], at[part], gammaln(safe[part]), *[p[part] for p in psi])
    return np.where((a > 0) & (x >= 0), y, np.nan).astype(kind if kind.kind == "f" else np.float64)[()]


_gammainc_moved = declare(
    "gammainc_derivative", _gammainc_moved_forward,
    [lambda g, y, a, x, order=1: g * _gammainc_moved_of(a, x, order=order + 1),
     lambda g, y, a, x, order=1: g * _gamma_density(a, x, order)],
    formula="∂ⁿ/∂aⁿ P({0}, {1})", derivatives=["∂ⁿ⁺¹/∂aⁿ⁺¹ P({0}, {1})", "∂ⁿ/∂aⁿ {1}^({0} − 1) exp(−{1}) / Γ({0})"],
    opaque="a quadrature", stacks="leading",
    samples=lambda rng: [Sample(s.inputs, {"order": 1}, smooth=2) for s in _gamma_pairs(rng)[:2]],
)  # fmt: skip
_gammainc_moved_of: Any = polymorphic(_gammainc_moved)

gammainc = declare(
    "gammainc", scipy_ufunc("gammainc"),
    [lambda g, y, a, x: g * _gammainc_moved_of(a, x, order=1), lambda g, y, a, x: times(g, _gamma_density(a, x))],
    arity=2, scipy="gammainc", singular=True, formula="P({0}, {1})",
    derivatives=["∂/∂a P({0}, {1})", "{1}^({0} − 1) exp(−{1}) / Γ({0})"], samples=_gamma_pairs,
    doc="The regularised lower incomplete gamma function, ∫₀ˣ tᵃ⁻¹ e⁻ᵗ dt / Γ(a), with derivatives by both inputs.",
)  # fmt: skip

gammaincc = declare(
    "gammaincc", scipy_ufunc("gammaincc"),
    [lambda g, y, a, x: -g * _gammainc_moved_of(a, x, order=1), lambda g, y, a, x: times(-g, _gamma_density(a, x))],
    arity=2, scipy="gammaincc", singular=True, formula="Q({0}, {1})",
    derivatives=["−∂/∂a P({0}, {1})", "−{1}^({0} − 1) exp(−{1}) / Γ({0})"], samples=_gamma_pairs,
    doc="1 − gammainc(a, x), accurate where that is small.",
)  # fmt: skip


def _inverse_by_a(g: Any, y: Any, a: Any, p: Any) -> Any:
    """−∂P/∂a over the density; a value that rounds to 0 stays."""
    moved = raw(y) > 0
    at = np.where(moved, y, 1)
    return times(g, np.where(moved, -_gammainc_moved_of(a, at, order=1) / _gamma_density(a, at), 0))


gammaincinv = declare(
    "gammaincinv", scipy_ufunc("gammaincinv"),
    [_inverse_by_a, lambda g, y, a, p: times(g, 1 / _gamma_density(a, y))], arity=2, scipy="gammaincinv", singular=True,
    formula="x with P({0}, x) = {1}",
    derivatives=["−∂/∂a P({0}, {y}) Γ({0}) / ({y}^({0} − 1) exp(−{y}))", "Γ({0}) / ({y}^({0} − 1) exp(−{y}))"],
    samples=lambda rng: [Sample((draw(rng, s, 0.6, 3.0), draw(rng, t, 0.2, 0.8))) for s, t in PAIRS[:3]],
    doc="The inverse of gammainc by its second input: quantiles of the gamma distribution, by both inputs.",
)  # fmt: skip


# Incomplete beta functions


def _beta_logs(log: Any, log1m: Any, psi: Any) -> Any:
    """The derivatives by a and b of the logarithm of the beta density, with these log x and log(1 − x); ``psi(0, k)``
    is ψ⁽ᵏ⁾(a), with 1 that of b and with 2 that of a + b."""

    def derivative(i: int, j: int) -> Any:
        y = psi(2, i + j - 1)
        if j == 0:
            y = y - psi(0, i - 1) + (log if i == 1 else 0)
        if i == 0:
            y = y - psi(1, j - 1) + (log1m if j == 1 else 0)
        return y

    return derivative


def _beta_density(a: Any, b: Any, x: Any, order: tuple[int, int] = (0, 0)) -> Any:
    """∂ᵐ⁺ⁿ/∂aᵐ∂bⁿ of x^(a−1) (1 − x)^(b−1) / B(a, b)."""
    density = np.exp(_xlogy(a - 1, x) + _xlog1py(b - 1, -x) - _betaln(a, b))
    if order == (0, 0):
        return density
    inside = (raw(x) > 0) & (raw(x) < 1)
    at = np.where(inside, x, 0.5)
    logs = _beta_logs(np.log(at), np.log1p(-at), lambda place, k: polygamma_at((a, b, a + b)[place], n=k))
    return np.where(inside, density, 0) * over_value(logs, *order)


def _beta_below(m: int, n: int, s: Any, a: Any, b: Any, x: Any, rest: Any, log_beta: Any, *psi: Any) -> Any:
    """∂ᵐ⁺ⁿ/∂aᵐ∂bⁿ of the density times t at t = x e⁻ˢ, where rest = 1 − x; psi are those of a, b, a + b by order."""
    log, log1m = np.log(x) - s, np.log(rest - x * np.expm1(-s))
    logs = _beta_logs(log, log1m, lambda place, k: psi[3 * k + place])
    return np.exp(a * log + (b - 1) * log1m - log_beta) * over_value(logs, m, n)


def _betainc_moved_forward(a: Any, b: Any, x: Any, order: tuple[int, int] = (1, 0)) -> Any:
    """∂ᵐ⁺ⁿ/∂aᵐ∂bⁿ of I(a, b, x), from the tail that ends at x: above the mean that is I(b, a, 1 − x)."""
    from scipy.special import betaln, polygamma

    kind = np.result_type(a, b, x)
    a, b, x = np.broadcast_arrays(*[np.asarray(v, np.float64) for v in (a, b, x)])
    valid = (a > 0) & (b > 0) & (x >= 0) & (x <= 1)
    inside = valid & (x > 0) & (x < 1)
    y = np.where(valid, 0.0, np.nan)
    with np.errstate(all="ignore"):
        low = x <= a / (a + b)
        for part, (p, q, z, w), (m, n), sign in (
            (inside & low, (a, b, x, 1 - x), order, 1), (inside & ~low, (b, a, 1 - x, x), order[::-1], -1)
        ):  # fmt: skip
            if not part.any():
                continue
            p, q, z, w = p[part], q[part], z[part], w[part]
            table = [polygamma(k, v) for k in range(m + n) for v in (p, q, p + q)]
            width = 1 / (np.maximum(p - (q - 1) * z / w, 0) + np.sqrt(np.maximum(q - 1, 0) * z) / w)
            width = np.maximum(width, 0.1 / p)
            y[part] = sign * half_line(partial(_beta_below, m, n), width, p, q, z, w, betaln(p, q), *table)
    return y.astype(kind if kind.kind == "f" else np.float64)[()]


def _one_more(order: tuple[int, int], place: int) -> tuple[int, int]:
    return (order[0] + (place == 0), order[1] + (place == 1))


def _beta_triples(rng: np.random.Generator) -> list[Sample]:
    shapes: list[tuple[tuple[int, ...], ...]] = [((), (), ()), ((2,), (), (2, 1)), ((0,), (), ())]
    return [
        Sample((draw(rng, s, 0.6, 3.0), draw(rng, t, 0.6, 3.0), draw(rng, u, 0.1, 0.9)), smooth=2) for s, t, u in shapes
    ]


_DENSITY = "{2}^({0} − 1) (1 − {2})^({1} − 1) / B({0}, {1})"
_betainc_moved = declare(
    "betainc_derivative", _betainc_moved_forward,
    [lambda g, y, a, b, x, order=(1, 0): g * _betainc_moved_of(a, b, x, order=_one_more(order, 0)),
     lambda g, y, a, b, x, order=(1, 0): g * _betainc_moved_of(a, b, x, order=_one_more(order, 1)),
     lambda g, y, a, b, x, order=(1, 0): g * _beta_density(a, b, x, order)],
    formula="∂ᵐ⁺ⁿ/∂aᵐ∂bⁿ I({0}, {1}, {2})",
    derivatives=["∂ᵐ⁺¹⁺ⁿ/∂aᵐ⁺¹∂bⁿ I", "∂ᵐ⁺ⁿ⁺¹/∂aᵐ∂bⁿ⁺¹ I", f"∂ᵐ⁺ⁿ/∂aᵐ∂bⁿ {_DENSITY}"], opaque="a quadrature",
    stacks="leading",
    samples=lambda rng: [Sample(_beta_triples(rng)[0].inputs, {"order": k}, smooth=2) for k in ((1, 0), (0, 1))],
)  # fmt: skip
_betainc_moved_of: Any = polymorphic(_betainc_moved)


def _incomplete_beta(name: str, sign: int, letter: str, doc: str) -> Any:
    minus = "" if sign > 0 else "−"
    return declare(
        name, scipy_ufunc(name),
        [lambda g, y, a, b, x: sign * g * _betainc_moved_of(a, b, x, order=(1, 0)),
         lambda g, y, a, b, x: sign * g * _betainc_moved_of(a, b, x, order=(0, 1)),
         lambda g, y, a, b, x: times(sign * g, _beta_density(a, b, x))],
        scipy=name, singular=True, formula=f"{letter}({{0}}, {{1}}, {{2}})",
        derivatives=[f"{minus}∂/∂a I", f"{minus}∂/∂b I", f"{minus}{_DENSITY}"],
        samples=_beta_triples, doc=doc,
    )  # fmt: skip


betainc = _incomplete_beta(
    "betainc",
    1,
    "I",
    "The regularised incomplete beta function, ∫₀ˣ tᵃ⁻¹ (1 − t)ᵇ⁻¹ dt / B(a, b), with derivatives by all.",
)
betaincc = _incomplete_beta("betaincc", -1, "1 − I", "1 − betainc(a, b, x), accurate where that is small.")


# Zeta

zeta = declare(
    "zeta", scipy_ufunc("zeta"), [None, lambda g, y, x, q: times(g, -x * _zeta_of(x + 1, q))],
    fixed={0: "the exponent x"}, singular=True, formula="ζ({0}, {1})", derivatives=["none", "−{0} ζ({0} + 1, {1})"],
    opaque="SciPy, no ufunc", stacks="leading",
    samples=lambda rng: [Sample((np.arange(2, 2 + math.prod(s)).reshape(s), draw(rng, t, 0.6, 3.0))) for s, t in PAIRS],
    doc="The Hurwitz zeta function, Σ (q + k)⁻ˣ over k = 0, 1 …; of Riemann's, zeta(x, 1). By q alone.",
)  # fmt: skip
_zeta_of: Any = polymorphic(zeta)
