"""Distributions of several variables: normal, multinomial, Dirichlet."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..ops.gamma import gammaincinv, gammaln
from ..ops.guards import common, raw
from ..ops.integrals import bivariate_normal
from ..ops.linalg import as_real, cholesky, solve_triangular
from ..ops.special import ndtr, xlogy
from ..tensor import Tensor
from .family import Distribution, bound, checked, nothing, source, whole

_HALF_LOG_2PI = math.log(2 * math.pi) / 2


def _shape(size: Any) -> tuple[int, ...]:
    return () if size is None else tuple(np.atleast_1d(size).tolist())


class MultivariateNormal(Distribution):
    """The normal distribution of vectors: ``multivariate_normal.logpdf(x, mean=None, cov=1)``, as SciPy's, by all of
    its arguments.

    Shapes: x (..., k), mean (k,), cov (k, k), symmetric and positive definite; a number stands for that times the
    identity, a vector for a diagonal. Without a mean it is 0. Where k is 1, x may be (n,) for n numbers. A constant
    singular cov is taken with ``allow_singular=True``: the density is that on the plane around the mean which it
    spreads over, along which its derivatives are, and 0 off it.

    Raises:
        LinAlgError: cov is not positive definite. ValueError: shapes that do not fit, cov not symmetric.
        TypeError: a singular cov that requires a gradient, by which there is none.

    >>> multivariate_normal.logpdf([0.0, 0.0], cov=[1.0, 1.0])
    Tensor(-1.83787707)
    """

    name = "multivariate_normal"

    def _parameters(self, which: str, mean: Any, cov: Any) -> tuple[Any, Any]:
        """The mean (k,) and cov (k, k)."""
        name = f"{self.name}.{which}"
        cov = as_real(cov, name)
        mean = np.zeros(cov.shape[-1:], cov.dtype) if mean is None else as_real(mean, name)
        k = math.prod((mean.shape or cov.shape)[-1:])
        mean = mean.reshape(-1)
        if cov.ndim < 2:
            cov = cov[..., None] * np.eye(k, dtype=cov.dtype)
        if cov.shape != (k, k) or mean.shape != (k,):
            raise ValueError(f"{name}: mean of shape {mean.shape} and cov of shape {cov.shape} do not fit")
        return mean, cov

    def _away(self, which: str, x: Any, mean: Any) -> tuple[Any, tuple[int, ...]]:
        """x − mean as (n, k), and the shape of the n."""
        name = f"{self.name}.{which}"
        x, k = as_real(x, name), mean.shape[0]
        x = x[..., None] if x.ndim == 0 or (x.ndim == 1 and k == 1) else x
        if x.shape[-1] != k:
            raise ValueError(f"{name}: x of shape {x.shape} and a mean of {k} components do not fit")
        return (x - mean).reshape(-1, k), x.shape[:-1]

    def _plane(self, which: str, cov: Any) -> tuple[Any, Any] | None:
        """The eigenvectors of a singular cov, over the roots of their eigenvalues, and those of the eigenvalue 0."""
        values = raw(cov)
        w, v = np.linalg.eigh(values)
        rest = np.abs(w).max(initial=0) * np.finfo(w.dtype).eps * 1e6  # SciPy's bound
        if (w > rest).all():
            return None
        if (w < -rest).any():
            raise np.linalg.LinAlgError(f"{self.name}.{which}: cov has the negative eigenvalue {w[0]:.3g}")
        if cov.requires_grad:
            raise TypeError(
                f"{self.name}.{which}: has no derivative by a singular cov, which requires a gradient; pass it "
                f"detached (t.detach()), or add to its diagonal"
            )
        return v[:, w > rest] / np.sqrt(w[w > rest]), v[:, w <= rest]

    def logpdf(self, *args: Any, **kwargs: Any) -> Tensor:
        """The logarithm of the density at x: shape (...)."""
        optional = {"mean": None, "cov": 1, "allow_singular": False}
        x, mean, cov, singular = bound(f"{self.name}.logpdf", ("x",), optional, args, kwargs)
        mean, cov = self._parameters("logpdf", mean, cov)
        away, shape = self._away("logpdf", x, mean)
        plane = self._plane("logpdf", cov) if singular else None
        if plane is None:
            root = cholesky(cov)
            z = solve_triangular(root, away.T, lower=True, check_finite=False)
            spread = np.log(np.diagonal(root)).sum() + mean.shape[0] * _HALF_LOG_2PI
            return (-(z * z).sum(axis=0) / 2 - spread).reshape(shape)
        inverse, across = plane
        z = away @ inverse
        y = -(z * z).sum(axis=1) / 2 + np.log(np.linalg.norm(inverse, axis=0)).sum() - z.shape[1] * _HALF_LOG_2PI
        off = np.linalg.norm(raw(away) @ across, axis=1) >= 1e9 * np.finfo(y.dtype).eps * np.abs(raw(cov)).max(
            initial=0
        )
        return np.where(off, nothing(away.sum(axis=1)), y).reshape(shape)

    def pdf(self, *args: Any, **kwargs: Any) -> Tensor:
        """The density at x: shape (...)."""
        return np.exp(self.logpdf(*args, **kwargs))  # type: ignore[return-value]

    def cdf(self, *args: Any, **kwargs: Any) -> Tensor:
        """The probability that no component exceeds that of x, of one or two components: shape (...).

        Raises:
            ValueError: three components or more, of which SciPy's value is an estimate.
        """
        x, mean, cov = bound(f"{self.name}.cdf", ("x",), {"mean": None, "cov": 1}, args, kwargs)
        mean, cov = self._parameters("cdf", mean, cov)
        if mean.shape[0] > 2:
            raise ValueError(
                f"{self.name}.cdf: is differentiable for one and two components, not for {mean.shape[0]}; without "
                f"derivatives, call scipy.stats.multivariate_normal.cdf of arrays (t.detach().numpy())"
            )
        away, shape = self._away("cdf", x, mean)
        root = cholesky(cov)
        if mean.shape[0] == 1:
            return ndtr(away / root[0, 0]).reshape(shape)
        scale = np.hypot(root[1, 0], root[1, 1])
        y: Tensor = bivariate_normal(away[:, 0] / root[0, 0], away[:, 1] / scale, root[1, 0] / scale)
        return y.reshape(shape)

    def entropy(self, mean: Any = None, cov: Any = 1) -> Tensor:
        """The differential entropy, log det(2π e cov) / 2."""
        mean, cov = self._parameters("entropy", mean, cov)
        y: Tensor = np.log(np.diagonal(cholesky(cov))).sum() + mean.shape[0] * (_HALF_LOG_2PI + 0.5)
        return y

    def rvs(self, mean: Any = None, cov: Any = 1, size: Any = None, rng: np.random.Generator | None = None) -> Tensor:
        """Draws of shape (*size, k), mean + L z with L Lᵀ = cov: a differentiable function of mean and cov."""
        mean, cov = self._parameters("rvs", mean, cov)
        root = cholesky(cov)
        z = source(rng, (*_shape(size), mean.shape[-1]), root.sum())("standard_normal")
        return z @ root.T + mean


class Multinomial(Distribution):
    """Counts of n draws among k outcomes: ``multinomial.logpmf(x, n, p)``, as SciPy's, by p.

    Shapes: counts x (..., k), numbers n (...), probabilities p (..., k) that sum to 1, whose entries are taken as
    variables of their own. Counts that do not sum to n have probability 0; probabilities that are none give NaN.

    Raises:
        TypeError: x or n requires a gradient. ValueError: shapes that do not broadcast.

    >>> multinomial.pmf([1, 1], 2, [0.5, 0.5])
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

    >>> dirichlet.pdf([0.5, 0.5], [2.0, 2.0])
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
