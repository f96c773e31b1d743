"""The continuous families, in standard form: a table, from the normal distribution to those of extremes and circles."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np

from ..ops.bessel import i0e
from ..ops.gamma import betainc, betaincc, betaln, gammainc, gammaincc, gammaincinv, gammaln
from ..ops.powers import cosm1
from ..ops.special import erf, expit, log_expit, log_ndtr, ndtr, xlog1py, xlogy
from ..ops.student import half_step_at, stdtr
from ..tensor import Tensor
from .family import Continuous

_LOG_2PI = math.log(2 * math.pi)


def _positive(*shapes: Any) -> Any:
    return functools.reduce(operator.and_, [s > 0 for s in shapes])


def _open(numbers: Any) -> Tensor:
    """Uniform on (0, 1), never 0."""
    return 1 - numbers("random")


def _gamma_draws(numbers: Any, a: Any) -> Any:
    """By inversion, so that a draw is a differentiable function of a (implicit reparameterisation: Figurnov and others,
    2018)."""
    return gammaincinv(a, numbers("random"))


def _beta_draws(numbers: Any, a: Any, b: Any) -> Any:
    x, y = _gamma_draws(numbers, a), _gamma_draws(numbers, b)
    return x / (x + y)


def _normal_log(y: Any) -> Any:
    return -(y * y + _LOG_2PI) / 2


def _normal_draws(numbers: Any) -> Any:
    return numbers("standard_normal")


norm = Continuous(
    "norm", _normal_log, ndtr, density=lambda y: np.exp(-y * y / 2) / math.sqrt(2 * math.pi),
    sf_of=lambda y: ndtr(-y), logcdf_of=log_ndtr, logsf_of=lambda y: log_ndtr(-y), draw=_normal_draws,
)  # fmt: skip

halfnorm = Continuous(
    "halfnorm", lambda y: -(y * y + _LOG_2PI) / 2 + math.log(2), lambda y: erf(y / math.sqrt(2)),
    support=(0.0, np.inf), sf_of=lambda y: 2 * ndtr(-y), logsf_of=lambda y: math.log(2) + log_ndtr(-y),
    draw=lambda numbers: np.abs(_normal_draws(numbers)),
)  # fmt: skip


def _general_tail(y: Any, beta: Any) -> Any:
    """The probability of more than |y|, on one side."""
    return gammaincc(1 / beta, np.abs(y) ** beta) / 2


def _general_cdf(y: Any, beta: Any) -> Any:
    tail = _general_tail(y, beta)
    return np.where(y._ndarray > 0, 1 - tail, tail)


gennorm = Continuous(
    "gennorm", lambda y, beta: np.log(beta / 2) - gammaln(1 / beta) - np.abs(y) ** beta, _general_cdf, ("beta",),
    _positive, sf_of=lambda y, beta: _general_cdf(-y, beta),
    draw=lambda numbers, beta: np.sign(numbers("random") - 0.5) * _gamma_draws(numbers, 1 / beta) ** (1 / beta),
)  # fmt: skip

t = Continuous(
    "t", lambda y, df: half_step_at(df / 2) - np.log(math.pi * df) / 2 - (df + 1) / 2 * np.log1p(y * y / df),
    lambda y, df: stdtr(df, y), ("df",), _positive, sf_of=lambda y, df: stdtr(df, -y),
    draw=lambda numbers, df: _normal_draws(numbers) / np.sqrt(2 * _gamma_draws(numbers, df / 2) / df),
)  # fmt: skip

cauchy = Continuous(
    "cauchy", lambda y: -math.log(math.pi) - np.log1p(y * y), lambda y: np.arctan2(1, -y) / math.pi,
    density=lambda y: 1 / (math.pi * (1 + y * y)), sf_of=lambda y: np.arctan2(1, y) / math.pi,
    draw=lambda numbers: np.tan(math.pi * (numbers("random") - 0.5)),
)  # fmt: skip


def _parted(y: Any) -> tuple[Any, Any, Any]:
    """Where y is positive, and its parts on both sides of 0; at 0 the left one moves."""
    above = y._ndarray > 0
    return above, np.where(above, y, 0), np.where(above, 0, y)


def _laplace_cdf(y: Any) -> Any:
    above, right, left = _parted(y)
    return np.where(above, 1 - np.exp(-right) / 2, np.exp(left) / 2)


def _laplace_logcdf(y: Any) -> Any:
    above, right, left = _parted(y)
    return np.where(above, np.log1p(-np.exp(-right) / 2), left - math.log(2))


laplace = Continuous(
    "laplace", lambda y: -np.abs(y) - math.log(2), _laplace_cdf, density=lambda y: np.exp(-np.abs(y)) / 2,
    sf_of=lambda y: _laplace_cdf(-y), logcdf_of=_laplace_logcdf, logsf_of=lambda y: _laplace_logcdf(-y),
    draw=lambda numbers: numbers("laplace"),
)  # fmt: skip

logistic = Continuous(
    "logistic", lambda y: log_expit(y) + log_expit(-y), expit, sf_of=lambda y: expit(-y), logcdf_of=log_expit,
    logsf_of=lambda y: log_expit(-y), draw=lambda numbers: numbers("logistic"),
)  # fmt: skip

uniform = Continuous(
    "uniform", lambda y: 0 * y, lambda y: y, support=(0.0, 1.0), density=lambda y: 0 * y + 1, sf_of=lambda y: 1 - y,
    draw=lambda numbers: numbers("random"),
)  # fmt: skip

expon = Continuous(
    "expon", lambda y: -y, lambda y: -np.expm1(-y), support=(0.0, np.inf), sf_of=lambda y: np.exp(-y),
    logsf_of=lambda y: -y, draw=lambda numbers: -np.log(_open(numbers)),
)  # fmt: skip

gamma = Continuous(
    "gamma", lambda y, a: xlogy(a - 1, y) - y - gammaln(a), lambda y, a: gammainc(a, y), ("a",), _positive,
    (0.0, np.inf), sf_of=lambda y, a: gammaincc(a, y), draw=_gamma_draws,
)  # fmt: skip

chi2 = Continuous(
    "chi2", lambda y, df: xlogy(df / 2 - 1, y) - y / 2 - gammaln(df / 2) - df / 2 * math.log(2),
    lambda y, df: gammainc(df / 2, y / 2), ("df",), _positive, (0.0, np.inf),
    sf_of=lambda y, df: gammaincc(df / 2, y / 2), draw=lambda numbers, df: 2 * _gamma_draws(numbers, df / 2),
)  # fmt: skip

beta = Continuous(
    "beta", lambda y, a, b: xlogy(a - 1, y) + xlog1py(b - 1, -y) - betaln(a, b), lambda y, a, b: betainc(a, b, y),
    ("a", "b"), _positive, (0.0, 1.0), sf_of=lambda y, a, b: betaincc(a, b, y), draw=_beta_draws,
)  # fmt: skip

invgamma = Continuous(
    "invgamma", lambda y, a: -(a + 1) * np.log(y) - gammaln(a) - 1 / y, lambda y, a: gammaincc(a, 1 / y), ("a",),
    _positive, (0.0, np.inf), sf_of=lambda y, a: gammainc(a, 1 / y),
    draw=lambda numbers, a: 1 / _gamma_draws(numbers, a), open_below=True,
)  # fmt: skip

lognorm = Continuous(
    "lognorm", lambda y, s: _normal_log(np.log(y) / s) - np.log(s) - np.log(y), lambda y, s: ndtr(np.log(y) / s),
    ("s",), _positive, (0.0, np.inf), sf_of=lambda y, s: ndtr(-np.log(y) / s),
    logcdf_of=lambda y, s: log_ndtr(np.log(y) / s),
    logsf_of=lambda y, s: log_ndtr(-np.log(y) / s), draw=lambda numbers, s: np.exp(s * _normal_draws(numbers)),
    open_below=True,
)  # fmt: skip

pareto = Continuous(
    "pareto", lambda y, b: np.log(b) - (b + 1) * np.log(y), lambda y, b: -np.expm1(-b * np.log(y)), ("b",), _positive,
    (1.0, np.inf), sf_of=lambda y, b: y**-b, logsf_of=lambda y, b: -b * np.log(y),
    draw=lambda numbers, b: np.exp(-np.log(_open(numbers)) / b),
)  # fmt: skip

weibull_min = Continuous(
    "weibull_min", lambda y, c: np.log(c) + xlogy(c - 1, y) - y**c, lambda y, c: -np.expm1(-(y**c)), ("c",), _positive,
    (0.0, np.inf), density=lambda y, c: c * y ** (c - 1) * np.exp(-(y**c)),
    sf_of=lambda y, c: np.exp(-(y**c)), logsf_of=lambda y, c: -(y**c),
    draw=lambda numbers, c: (-np.log(_open(numbers))) ** (1 / c),
)  # fmt: skip

gumbel_r = Continuous(
    "gumbel_r", lambda y: -y - np.exp(-y), lambda y: np.exp(-np.exp(-y)), sf_of=lambda y: -np.expm1(-np.exp(-y)),
    logcdf_of=lambda y: -np.exp(-y), draw=lambda numbers: -np.log(-np.log(_open(numbers))),
)  # fmt: skip

gumbel_l = Continuous(
    "gumbel_l", lambda y: y - np.exp(y), lambda y: -np.expm1(-np.exp(y)), sf_of=lambda y: np.exp(-np.exp(y)),
    logsf_of=lambda y: -np.exp(y), draw=lambda numbers: np.log(-np.log(_open(numbers))),
)  # fmt: skip

# On the circle

vonmises = Continuous(
    "vonmises", lambda y, kappa: kappa * cosm1(y) - np.log(i0e(kappa)) - _LOG_2PI, None, ("kappa",),
    lambda kappa: kappa >= 0,
)  # fmt: skip

wrapcauchy = Continuous(
    "wrapcauchy", lambda y, c: np.log1p(-c * c) - _LOG_2PI - np.log((1 - c) ** 2 - 2 * c * cosm1(y)), None, ("c",),
    lambda c: (c > 0) & (c < 1), (0.0, 2 * math.pi),
)  # fmt: skip
