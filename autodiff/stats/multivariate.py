"""Distributions of several variables: normal, multinomial, Dirichlet."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..ops.gamma import gammaincinv, gammaln
from ..ops.guards import common, raw
from ..ops.linalg import as_real, cholesky, solve_triangular
from ..ops.special import xlogy
from ..tensor import Tensor
from .family import Distribution, bound, checked, nothing, source, whole


def _shape(size: Any) -> tuple[int, ...]:
    return () if size is None else tuple(np.atleast_1d(size).tolist())


class MultivariateNormal(Distribution):
    """The normal distribution of vectors: ``multivariate_normal.logpdf(x, mean=None, cov=1)``, as SciPy's, by all of
    its arguments. (Its distribution function has no closed form and no derivative here.)

    Shapes: x (..., k), mean (k,), cov (k, k), symmetric and positive definite; a number stands for that times the
    identity, a vector for a diagonal. Without a mean it is 0. Where k is 1, x may be (n,) for n numbers.

    Raises:
        LinAlgError: cov is not positive definite. ValueError: shapes that do not fit, cov not symmetric.

    >>> MultivariateNormal().logpdf([0.0, 0.0], cov=[1.0, 1.0])
    Tensor(-1.83787707)
    """

    name = "multivariate_normal"

    def _parameters(self, which: str, mean: Any, cov: Any) -> tuple[Any, Any]:
        """The mean (k,) and the Cholesky factor of cov."""
        name = f"{self.name}.{which}"
        cov = as_real(cov, name)
        mean = np.zeros(cov.shape[-1:], cov.dtype) if mean is None else as_real(mean, name)
        k = math.prod((mean.shape or cov.shape)[-1:])
        mean = mean.reshape(-1)
        if cov.ndim < 2:
            cov = cov[..., None] * np.eye(k, dtype=cov.dtype)
        if cov.shape != (k, k) or mean.shape != (k,):
            raise ValueError(f"{name}: mean of shape {mean.shape} and cov of shape {cov.shape} do not fit")
        return mean, cholesky(cov)

    def logpdf(self, *args: Any, **kwargs: Any) -> Tensor:
        """The logarithm of the density at x: shape (...)."""
        name = f"{self.name}.logpdf"
        x, mean, cov = bound(name, ("x",), {"mean": None, "cov": 1}, args, kwargs)
        mean, root = self._parameters("logpdf", mean, cov)
        x, k = as_real(x, name), mean.shape[0]
        x = x[..., None] if x.ndim == 0 or (x.ndim == 1 and k == 1) else x
        if x.shape[-1] != k:
            raise ValueError(f"{name}: x of shape {x.shape} and a mean of {k} components do not fit")
        away = (x - mean).reshape(-1, k).T
        z = solve_triangular(root, away, lower=True, check_finite=False)
        spread = np.log(np.diagonal(root)).sum() + k * math.log(2 * math.pi) / 2
        return (-(z * z).sum(axis=0) / 2 - spread).reshape(x.shape[:-1])

    def pdf(self, *args: Any, **kwargs: Any) -> Tensor:
        """The density at x: shape (...)."""
        return np.exp(self.logpdf(*args, **kwargs))  # type: ignore[return-value]

    def rvs(self, mean: Any = None, cov: Any = 1, size: Any = None, rng: np.random.Generator | None = None) -> Tensor:
        """Draws of shape (*size, k), mean + L z with L Lᵀ = cov: a differentiable function of mean and cov."""
        mean, root = self._parameters("rvs", mean, cov)
        z = source(rng, (*_shape(size), mean.shape[-1]), root.sum())("standard_normal")
        return z @ root.T + mean


class Multinomial(Distribution):
    """Counts of n draws among k outcomes: ``multinomial.logpmf(x, n, p)``, as SciPy's, by p.

    Shapes: counts x (..., k), numbers n (...), probabilities p (..., k) that sum to 1, whose entries are taken as
    variables of their own. Counts that do not sum to n have probability 0; probabilities that are none give NaN.

    Raises:
        TypeError: x or n requires a gradient. ValueError: shapes that do not broadcast.

    >>> Multinomial().pmf([1, 1], 2, [0.5, 0.5])
    Tensor(0.5)
    """

    name = "multinomial"

    def _counts(self, which: str, args: Any, kwargs: Any) -> tuple[Any, Any, Any, Any, Any]:
        name = f"{self.name}.{which}"
        x, n, p = (as_real(v, name) for v in bound(name, ("x", "n", "p"), {}, args, kwargs))
        whole(name, x=x, n=n)
        counts = raw(x)
        possible = (counts >= 0).all(axis=-1) & (counts == np.floor(counts)).all(axis=-1)
        possible = possible & (counts.sum(axis=-1) == raw(n))
        q = raw(p)
        valid = ((q >= 0) & (q <= 1)).all(axis=-1) & (np.abs(q.sum(axis=-1) - 1) <= 1e-6) & (raw(n) >= 0)
        return np.where(possible[..., None], x, 0), n, p, possible, valid

    def logpmf(self, *args: Any, **kwargs: Any) -> Tensor:
        """The logarithm of the probability of the counts x: shape (...)."""
        x, n, p, possible, valid = self._counts("logpmf", args, kwargs)
        y = gammaln(n + 1) + (xlogy(x, p) - gammaln(x + 1)).sum(axis=-1)
        return checked(y if common(possible.all()) else np.where(possible, y, nothing(p.sum(axis=-1))), valid)

    def pmf(self, *args: Any, **kwargs: Any) -> Tensor:
        """The probability of the counts x: shape (...)."""
        x, n, p, possible, valid = self._counts("pmf", args, kwargs)
        ways = np.exp(gammaln(n + 1) - gammaln(x + 1).sum(axis=-1))
        return checked(np.where(possible, ways * (p**x).prod(axis=-1), 0), valid)


class Dirichlet(Distribution):
    """The Dirichlet distribution of probabilities: ``dirichlet.logpdf(x, alpha)``, as SciPy's, by both.

    Shapes: alpha (k,), positive; x (k,) or (k, n), or one component less, the last being what is missing to 1. The
    components of x are taken as variables of their own.

    Raises:
        ValueError: an alpha that is not positive, shapes that do not fit, x negative or not of sum 1.

    >>> Dirichlet().pdf([0.5, 0.5], [2.0, 2.0])
    Tensor(1.5)
    """

    name = "dirichlet"

    def _alpha(self, which: str, alpha: Any) -> Any:
        alpha = as_real(alpha, f"{self.name}.{which}")
        if alpha.ndim != 1 or not common((raw(alpha) > 0).all()):
            raise ValueError(f"{self.name}.{which}: alpha is a vector of positive numbers, not {raw(alpha)!s}")
        return alpha

    def logpdf(self, *args: Any, **kwargs: Any) -> Tensor:
        """The logarithm of the density at x: a number, or shape (n,)."""
        name = f"{self.name}.logpdf"
        x, alpha = bound(name, ("x", "alpha"), {}, args, kwargs)
        x, alpha = as_real(x, name), self._alpha("logpdf", alpha)
        k = alpha.shape[0]
        if x.ndim and x.shape[0] == k - 1:
            x = np.concatenate([x, (1 - x.sum(axis=0))[None]])
        v = raw(x)
        if x.ndim not in (1, 2) or x.shape[0] != k:
            raise ValueError(f"{name}: x of shape {x.shape} and alpha of shape {alpha.shape} do not fit")
        if not common(((v >= 0) & (v <= 1)).all() & (np.abs(v.sum(axis=0) - 1) <= 1e-9).all()):
            raise ValueError(f"{name}: the components of x are not negative and sum to 1, not to {v.sum(axis=0)!s}")
        if not common(~((v == 0).T & (raw(alpha) < 1)).any()):
            raise ValueError(f"{name}: the density is infinite where a component is 0 and its alpha below 1")
        columns = alpha.reshape((k,) + (1,) * (x.ndim - 1))
        return xlogy(columns - 1, x).sum(axis=0) - (gammaln(alpha).sum() - gammaln(alpha.sum()))

    def pdf(self, *args: Any, **kwargs: Any) -> Tensor:
        """The density at x: a number, or shape (n,)."""
        return np.exp(self.logpdf(*args, **kwargs))  # type: ignore[return-value]

    def rvs(self, alpha: Any, size: Any = None, rng: np.random.Generator | None = None) -> Tensor:
        """Draws of shape (*size, k), a differentiable function of alpha: gamma draws by inversion over their sum."""
        alpha = self._alpha("rvs", alpha)
        draws = gammaincinv(alpha, source(rng, (*_shape(size), alpha.shape[0]), alpha.sum())("random"))
        return draws / draws.sum(axis=-1, keepdims=True)


multivariate_normal, multinomial, dirichlet = MultivariateNormal(), Multinomial(), Dirichlet()
