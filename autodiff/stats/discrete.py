"""The discrete families: a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops.gamma import betainc, betaincc, betaln, gammainc, gammaincc, gammaln
from ..ops.special import xlog1py, xlogy
from .family import Discrete, Trials


def _probability(*shapes: Any) -> Any:
    return (shapes[-1] >= 0) & (shapes[-1] <= 1)


def _ways(n: Any, k: Any) -> Any:
    """log (n over k)"""
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


poisson = Discrete(
    "poisson", lambda k, mu: xlogy(k, mu) - gammaln(k + 1) - mu, lambda k, mu: gammaincc(k + 1, mu), ("mu",),
    lambda mu: mu >= 0, (0, np.inf), sf_of=lambda k, mu: gammainc(k + 1, mu),
)  # fmt: skip

bernoulli = Discrete(
    "bernoulli", lambda k, p: xlogy(k, p) + xlog1py(1 - k, -p), lambda k, p: 1 - p, ("p",), _probability, (0, 1),
    density=lambda k, p: np.where(k._ndarray == 1, p, 1 - p), sf_of=lambda k, p: p + 0 * k,
)  # fmt: skip

binom = Trials(
    "binom", lambda k, n, p: _ways(n, k) + xlogy(k, p) + xlog1py(n - k, -p), lambda k, n, p: betaincc(k + 1, n - k, p),
    ("n", "p"), lambda n, p: (n >= 0) & (n == np.floor(n)) & _probability(p), (0, np.inf),
    sf_of=lambda k, n, p: betainc(k + 1, n - k, p),
)  # fmt: skip

geom = Discrete(
    "geom", lambda k, p: xlog1py(k - 1, -p) + np.log(p), lambda k, p: -np.expm1(xlog1py(k, -p)), ("p",),
    lambda p: (p > 0) & (p <= 1), (1, np.inf), sf_of=lambda k, p: np.exp(xlog1py(k, -p)),
    logsf_of=lambda k, p: xlog1py(k, -p),
)  # fmt: skip

nbinom = Discrete(
    "nbinom", lambda k, n, p: gammaln(n + k) - gammaln(k + 1) - gammaln(n) + n * np.log(p) + xlog1py(k, -p),
    lambda k, n, p: betainc(n, k + 1, p), ("n", "p"), lambda n, p: (n > 0) & (p > 0) & (p <= 1), (0, np.inf),
    sf_of=lambda k, n, p: betaincc(n, k + 1, p),
)  # fmt: skip

betabinom = Trials(
    "betabinom", lambda k, n, a, b: _ways(n, k) + betaln(k + a, n - k + b) - betaln(a, b), None, ("n", "a", "b"),
    lambda n, a, b: (n >= 0) & (n == np.floor(n)) & (a > 0) & (b > 0), (0, np.inf),
)  # fmt: skip
