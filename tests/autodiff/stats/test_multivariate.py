"""Distributions of several variables against SciPy's values and differences."""

import numpy as np
import pytest
import scipy.stats

import autodiff as ad
from autodiff import Tensor, stats
from autodiff.checking.gradcheck import gradcheck, gradgradcheck

COV = np.array([[2.0, 0.3, 0.1], [0.3, 1.0, -0.2], [0.1, -0.2, 0.7]])
X = np.array([[0.3, -1.0, 0.2], [3.0, 0.1, -0.7]])


def symmetric(c):
    return (c + c.T) / 2


def test_the_normal_distribution_of_vectors_is_scipys():
    theirs = scipy.stats.multivariate_normal
    for x, mean, cov in [(X, X[1], COV), (X[0], None, COV), (X, [0, 0, 0], 2.0), (X, X[0], [1.0, 2.0, 3.0]), (0.3, 0.1, 2.0),
                         (X[:, 0], 0.1, 2.0), (X[:, 0], None, 1)]:  # fmt: skip
        for method in ("pdf", "logpdf"):
            found = getattr(stats.multivariate_normal, method)(x, mean, cov)
            np.testing.assert_allclose(found.numpy(), getattr(theirs, method)(x, mean, cov), rtol=1e-13)


def test_the_normal_distribution_of_vectors_has_the_derivatives_of_differences_by_all():
    f = lambda x, mean, c: stats.multivariate_normal.logpdf(x, mean, symmetric(c))
    gradcheck(f, (X, X[1] + 0.2, COV))
    gradgradcheck(f, (X[:1], X[1] + 0.2, COV))


def test_the_entropy_and_the_distribution_function_of_normal_vectors_are_scipys():
    theirs, ours = scipy.stats.multivariate_normal, stats.multivariate_normal
    for mean, cov in ((X[0], COV), (None, 2.0), ([1.0, 2.0], [1.0, 3.0])):
        np.testing.assert_allclose(ours.entropy(mean, cov).item(), theirs.entropy(mean, cov), rtol=1e-14)
    gradcheck(lambda mean, c: ours.entropy(mean, symmetric(c)), (X[0], COV))
    pair = COV[:2, :2]
    for x, mean, cov in ((X[:, :2], X[1, :2], pair), (X[0, :2], None, 2.0), (X[:, 0], 0.1, 2.0)):
        np.testing.assert_allclose(ours.cdf(x, mean, cov).numpy(), theirs.cdf(x, mean, cov), rtol=1e-7)
    f = lambda x, mean, c: ours.cdf(x, mean, symmetric(c))
    gradcheck(f, (X[:, :2], X[1, :2], pair))
    gradgradcheck(f, (X[:1, :2], X[1, :2], pair), rtol=1e-4)
    with pytest.raises(ValueError, match=r"one and two components, not for 3; .* scipy\.stats"):
        ours.cdf(X, None, COV)


def test_a_constant_singular_covariance_has_a_density_along_its_plane():
    theirs, ours = scipy.stats.multivariate_normal, stats.multivariate_normal
    basis = np.array([[1.0, 0.2], [0.5, -1.0], [0.0, 0.3]])
    cov, x = basis @ basis.T, basis @ np.array([0.3, -0.4])
    for method in ("pdf", "logpdf"):
        for where in (x, x + [0.0, 0.0, 0.1], np.stack([x, x + 1])):
            found, right = (getattr(m, method)(where, None, cov, allow_singular=True) for m in (ours, theirs))
            np.testing.assert_allclose(found, right, rtol=1e-11)
        f = lambda z, mean, m=method: getattr(ours, m)(basis @ z + basis @ mean, basis @ mean, cov, allow_singular=True)
        gradcheck(f, (np.array([0.3, -0.4]), np.array([0.1, 0.2])))
    np.testing.assert_allclose(ours.logpdf(X, None, COV, True).numpy(), ours.logpdf(X, None, COV).numpy(), rtol=1e-15)
    with pytest.raises(TypeError, match="no derivative by a singular cov"):
        ours.logpdf(x, None, Tensor(cov, requires_grad=True), True)
    with pytest.raises(np.linalg.LinAlgError, match="negative eigenvalue -1"):
        ours.logpdf([0.0, 1.0], None, [[1.0, 2.0], [2.0, 1.0]], True)


def test_normal_draws_of_vectors_have_their_covariance_and_move_with_it():
    draw = lambda mean, c: stats.multivariate_normal.rvs(mean, symmetric(c), size=2, rng=np.random.default_rng(1))
    gradcheck(draw, (X[0], COV))
    y = stats.multivariate_normal.rvs(X[0], COV, size=20000, rng=np.random.default_rng(2)).numpy()
    np.testing.assert_allclose(np.cov(y.T), COV, atol=0.06)
    np.testing.assert_allclose(y.mean(axis=0), X[0], atol=0.05)


def test_the_multinomial_distribution_is_scipys_and_differentiable_by_its_probabilities():
    counts, p = np.array([[1, 2, 0], [0, 0, 3], [1, 1, 0], [3, -1, 1]]), np.array([0.2, 0.3, 0.5])
    for method in ("pmf", "logpmf"):
        found, right = (getattr(m.multinomial, method)(counts, 3, p) for m in (stats, scipy.stats))
        np.testing.assert_allclose(found.numpy(), right, rtol=1e-13)
        f = lambda p, method=method: getattr(stats.multinomial, method)(counts[:2], 3, p)
        q = Tensor(p, requires_grad=True)
        d = ad.gradients(f(q)[0], q)[0].numpy()
        weight = 1 if method == "logpmf" else f(p)[0].item()
        np.testing.assert_allclose(d, weight * counts[0] / p, rtol=1e-12)
    assert np.isnan(stats.multinomial.pmf([1, 2], 3, [0.5, 0.6]).numpy())
    with pytest.raises(TypeError, match=r"multinomial\.pmf: has no derivative by n"):
        stats.multinomial.pmf([1, 2], Tensor(3.0, requires_grad=True), [0.5, 0.5])


def test_the_dirichlet_distribution_is_scipys_and_differentiable_by_both():
    x, alpha = np.array([[0.2, 0.1], [0.3, 0.6], [0.5, 0.3]]), np.array([1.5, 0.7, 3.0])
    for v in (x, x[:, 0], x[:2]):
        for method in ("pdf", "logpdf"):
            found, right = (getattr(m.dirichlet, method)(v, alpha) for m in (stats, scipy.stats))
            np.testing.assert_allclose(found.numpy(), right, rtol=1e-12)
    gradcheck(stats.dirichlet.logpdf, (x[:2], alpha))
    gradgradcheck(stats.dirichlet.logpdf, (x[:2], alpha))
    with pytest.raises(ValueError, match="sum to 1"):
        stats.dirichlet.pdf([0.2, 0.2, 0.2], alpha)
    with pytest.raises(ValueError, match="positive numbers"):
        stats.dirichlet.pdf([0.5, 0.5], [1.0, -1.0])


def test_dirichlet_draws_have_their_mean_and_move_with_alpha():
    alpha = np.array([1.5, 0.7, 3.0])
    gradcheck(lambda a: stats.dirichlet.rvs(a, size=2, rng=np.random.default_rng(1)), alpha)
    y = stats.dirichlet.rvs(alpha, size=4000, rng=np.random.default_rng(2)).numpy()
    np.testing.assert_allclose(y.mean(axis=0), alpha / alpha.sum(), atol=0.02)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"x of shape \(2,\) and a mean of 3 components"):
        stats.multivariate_normal.pdf([0.0, 1.0], [0.0, 1.0, 2.0], COV)
    with pytest.raises(np.linalg.LinAlgError):
        stats.multivariate_normal.pdf([0.0, 1.0], None, [[1.0, 2.0], [2.0, 1.0]])
