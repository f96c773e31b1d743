"""Student's t distribution function by its argument and its degrees of freedom, to any order."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from ..primitive import Sample, internal, polymorphic
from .gamma import over_value
from .quadrature import half_line
from .samples import PAIRS, draw, with_params
from .ufuncs import declare, scipy_ufunc

__all__ = ["stdtr"]

_FAR = 1.0  # up to there the integral from 0 is taken, beyond it that of the tail
_SERIES = (-1 / 8, 1 / 192, -1 / 640, 17 / 14336, -31 / 18432, 691 / 180224)


def _half_step_forward(z: Any, order: int = 0) -> Any:
    """The derivative of log Γ(z + ½) − log Γ(z): its asymptotic series, ½ log z − 1/8z + …, where the difference would
    cancel."""
    from scipy.special import gammaln, polygamma

    x = np.asarray(z, np.float64)
    far = x > 40
    with np.errstate(all="ignore"):
        near = np.where(far, 1.0, x)
        y = (
            gammaln(near + 0.5) - gammaln(near)
            if order == 0
            else polygamma(order - 1, near + 0.5) - polygamma(order - 1, near)
        )
        t = np.where(far, x, 40.0)
        if order:
            series = (-1) ** (order - 1) * math.factorial(order - 1) / (2 * t**order)
        else:
            series = np.log(t) / 2
        for k, c in enumerate(_SERIES):
            power = -2 * k - 1
            series = series + c * math.prod(power - i for i in range(order)) * t ** (power - order)
    return np.where(far, series, y).astype(getattr(z, "dtype", np.float64))[()]


_half_step = declare(
    "log_gamma_half_step", _half_step_forward, [lambda g, y, z, order=0: g * half_step_at(z, order=order + 1)],
    formula="log Γ({0} + ½) − log Γ({0})", derivatives=["ψ({0} + ½) − ψ({0})"], opaque="SciPy, no ufunc",
    stacks="leading",
    samples=lambda rng: [Sample((draw(rng, (3,), 0.6, 4.0),)), Sample((draw(rng, (2,), 35.0, 45.0),), {"order": 1})],
)  # fmt: skip
half_step_at: Any = internal(polymorphic(_half_step))


def _logs(df: Any, growth: Any, steps: Any) -> Any:
    """The derivatives by df of the logarithm of the density, half step of df/2 − ½ log df − (df + 1)/2 · growth, where
    growth = log(1 + t²/df); ``steps(i)`` are those of the half step."""

    def derivative(i: int, _: int) -> Any:
        differences = [growth]  # the derivatives of log(df + t²) − log df
        for j in range(1, i + 1):
            differences.append((-1) ** j * math.factorial(j - 1) * df**-j * -np.expm1(-j * growth))
        own = 0.5 * (-1) ** i * math.factorial(i - 1) * df**-i
        return 0.5**i * steps(i) + own - 0.5 * ((df + 1) * differences[i] + i * differences[i - 1])

    return derivative


def _density(df: Any, t: Any, order: int = 0) -> Any:
    """∂ⁿ/∂dfⁿ of (1 + t²/df)^(−(df + 1)/2) / (√df B(df/2, 1/2))."""
    growth = np.log1p(t * t / df)
    density = np.exp(half_step_at(0.5 * df) - 0.5 * (df + 1) * growth) / np.sqrt(math.pi * df)
    if order == 0:
        return density
    return density * over_value(_logs(df, growth, lambda i: half_step_at(0.5 * df, order=i)), order)


@lru_cache(maxsize=1)
def _gauss() -> tuple[Any, Any]:
    nodes, weights = np.polynomial.legendre.leggauss(40)
    return (nodes + 1) / 2, weights / 2


def _moved_forward(df: Any, t: Any, order: int = 1) -> Any:
    """∂ⁿ/∂dfⁿ of the distribution function, odd in t: that of the density from 0 to t, or less the tail."""
    kind = np.result_type(df, t)
    df, t = np.broadcast_arrays(*[np.asarray(v, np.float64) for v in (df, t)])
    shape = df.shape
    df, t = df.ravel(), t.ravel()
    size = np.abs(t)
    valid = (df > 0) & (df < np.inf) & ~np.isnan(t)

    def moved(df: Any, at: Any, jacobian: Any, *steps: Any) -> Any:
        growth = np.log1p(at * at / df)
        density = np.exp(steps[0] - 0.5 * (df + 1) * growth) / np.sqrt(math.pi * df) * jacobian
        return density * over_value(_logs(df, growth, lambda i: steps[i]), order)

    def tail(s: Any, size: Any, df: Any, *steps: Any) -> Any:
        at = np.minimum(size * np.exp(s), 1e150)
        return moved(df, at, at, *steps)

    y = np.where(valid, 0.0, np.nan)
    near, far = valid & (size <= _FAR), valid & (size > _FAR) & (size < np.inf)
    with np.errstate(all="ignore"):
        for part in (near, far):
            n, z = df[part], size[part]
            steps = [_half_step_forward(n / 2, k) for k in range(order + 1)]
            if part is far:
                width = np.maximum(1 / ((n + 1) * z * z / (n + z * z)), 0.1 / n)
                y[part] = -half_line(tail, width, z, n, *steps)
            else:
                nodes, weights = _gauss()
                y[part] = (moved(n, nodes[:, None] * z, z, *steps) * weights[:, None]).sum(axis=0)
    y = np.where(valid, np.sign(t) * y, np.nan).reshape(shape)
    return y.astype(kind if kind.kind == "f" else np.float64)[()]


_moved = declare(
    "stdtr_derivative", _moved_forward,
    [lambda g, y, df, t, order=1: g * _moved_of(df, t, order=order + 1),
     lambda g, y, df, t, order=1: g * _density(df, t, order)],
    formula="∂ⁿ/∂νⁿ F({1}), t with ν = {0}", derivatives=["∂ⁿ⁺¹/∂νⁿ⁺¹ F({1})", "∂ⁿ/∂νⁿ f({1})"], opaque="a quadrature",
    stacks="leading",
    samples=with_params(
        lambda rng: [Sample((draw(rng, s, 1.0, 6.0), draw(rng, t))) for s, t in (((2,), ()), ((), (3,)))], {"order": 1}
    ),
)  # fmt: skip
_moved_of: Any = polymorphic(_moved)

stdtr = declare(
    "stdtr", scipy_ufunc("stdtr"),
    [lambda g, y, df, t: g * _moved_of(df, t, order=1), lambda g, y, df, t: g * _density(df, t)],
    arity=2, scipy="stdtr", formula="F({1}), t with ν = {0}", derivatives=["∂/∂ν F({1})", "f({1})"],
    samples=lambda rng: [Sample((draw(rng, s, 1.0, 6.0), draw(rng, t))) for s, t in PAIRS[:4]],
    doc="The distribution function of Student's t with df degrees of freedom, by both inputs.",
)  # fmt: skip
