"""Likelihoods written with public operations: hidden Markov models and Kalman filters, differentiated by the engine."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import autodiff as ad
from tests.documents import ENTRIES


def hmm_log_likelihood(log_pi, log_A, log_B, observations):
    """log P(observations), by the forward recursion on logarithms; zeros are −inf."""
    alpha = log_pi + log_B[:, observations[0]]
    for o in observations[1:]:
        alpha = ad.logsumexp(alpha[:, None] + log_A, axis=0) + log_B[:, o]
    return ad.logsumexp(alpha)


def log(values):
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(values, float))


def counts_by_enumeration(pi, A, B, observations):
    """Expected transitions and emissions, by going through all paths."""
    n, total = len(pi), 0.0
    transitions, emissions, first = np.zeros_like(A), np.zeros_like(B), np.zeros(n)
    for path in np.ndindex(*[n] * len(observations)):
        p = pi[path[0]] * B[path[0], observations[0]]
        for i, j, o in zip(path, path[1:], observations[1:]):
            p *= A[i, j] * B[j, o]
        total += p
        first[path[0]] += p
        for i, j in zip(path, path[1:]):
            transitions[i, j] += p
        for i, o in zip(path, observations):
            emissions[i, o] += p
    return np.log(total), first / total, transitions / total, emissions / total


def test_the_gradient_of_an_hmm_is_its_expected_counts():
    entry = ENTRIES["hmm-walk-shop-clean"]
    given, expected = entry["inputs"], entry["expected"]
    f = lambda *logs: hmm_log_likelihood(*logs, given["sequence"])
    logs = [log(given[k]) for k in ("pi", "A", "B")]
    value, (pi, A, B) = ad.value_and_grad(f, argnums=(0, 1, 2))(*logs)
    np.testing.assert_allclose(value, expected["log_likelihood"], rtol=1e-12)
    np.testing.assert_allclose(A, expected["expected_transitions"], rtol=1e-11)
    np.testing.assert_allclose(B, expected["expected_emissions"], rtol=1e-11)
    np.testing.assert_allclose(pi, expected["posterior_first_state"], rtol=1e-11)


@pytest.mark.parametrize("seed", range(4))
def test_impossible_transitions_and_emissions_have_no_counts_and_no_nan(seed):
    rng = np.random.default_rng(seed)
    pi, A, B = (rng.dirichlet(np.ones(3), size) for size in ((), 3, 3))
    A[0, 1] = A[2, 2] = B[1, 0] = pi[2] = 0.0
    observations = rng.integers(0, 3, 5)
    value, grads = ad.value_and_grad(lambda *logs: hmm_log_likelihood(*logs, observations), argnums=(0, 1, 2))(
        log(pi), log(A), log(B)
    )
    expected = counts_by_enumeration(pi, A, B, observations)
    for found, e in zip([value, *grads], expected):
        np.testing.assert_allclose(found, e, rtol=1e-10, atol=1e-14)
    assert grads[1][0, 1] == grads[1][2, 2] == grads[2][1, 0] == grads[0][2] == 0.0
    product = ad.hvp(lambda logs: hmm_log_likelihood(log(pi), logs, log(B), observations), log(A), np.ones((3, 3)))
    assert np.isfinite(product).all()


def kalman(y, A, C, Q, R, mean, cov):
    """The log-likelihood of observations of a linear dynamical system, and the filtered means and covariances."""
    total, steps = 0.0, []
    for i, observed in enumerate(y):
        if i:
            mean, cov = A @ mean, A @ cov @ A.T + Q
        residual, S = observed - C @ mean, C @ cov @ C.T + R
        solved = ad.linalg.solve(S, residual)
        total = total - 0.5 * (residual @ solved + ad.linalg.slogdet(S)[1] + len(residual) * np.log(2 * np.pi))
        gain = ad.linalg.solve(S, C @ cov).T
        mean, cov = mean + gain @ residual, cov - gain @ C @ cov
        steps.append((gain, mean, cov))
    return total, steps


def test_the_kalman_filter_of_the_documents():
    entry = ENTRIES["kalman-initial-uncertainty"]
    given, expected = entry["inputs"], entry["expected"]
    one = lambda v: ad.Tensor([[float(v)]])
    for P0 in given["P0"]:
        y = [ad.Tensor([float(given["y"])])] * given["steps"]
        args = (one(given[k]) for k in "ACQR")
        _, steps = kalman(y, *args, ad.Tensor([float(given["mu0"])]), one(P0))
        for (K, h, P), e in zip(steps, expected[f"P0_{P0:g}"]):
            np.testing.assert_allclose([K.item(), h.item(), P.item()], [e["K"], e["h"], e["P"]], rtol=1e-12)


def test_the_likelihood_of_a_linear_dynamical_system_and_its_gradient_are_those_of_the_joint_gaussian():
    rng = np.random.default_rng(0)
    A, C = 0.6 * rng.normal(size=(2, 2)), rng.normal(size=(3, 2))
    y, mean, cov = rng.normal(size=(4, 3)), rng.normal(size=2), np.eye(2)

    def joint(theta):  # the observations are one Gaussian vector
        A_, q, r = theta[:4].reshape(2, 2), np.exp(theta[4]), np.exp(theta[5])
        means, covs, powers = [mean], [cov], np.linalg.matrix_power
        for _ in range(3):
            means.append(A_ @ means[-1])
            covs.append(A_ @ covs[-1] @ A_.T + q * np.eye(2))
        S = np.block([[C @ (powers(A_, max(i - j, 0)) @ covs[min(i, j)] @ powers(A_, max(j - i, 0)).T) @ C.T
                       + (r * np.eye(3) if i == j else 0) for j in range(4)] for i in range(4)])  # fmt: skip
        return multivariate_normal(np.concatenate([C @ m for m in means]), S).logpdf(y.ravel())

    def filtered(theta):
        A_, q, r = theta[:4].reshape((2, 2)), ad.exp(theta[4]), ad.exp(theta[5])
        return kalman(y, A_, C, q * np.eye(2), r * np.eye(3), mean, cov)[0]

    theta = np.concatenate([A.ravel(), [-0.5, -1.0]])
    value, gradient = ad.value_and_grad(filtered)(theta)
    np.testing.assert_allclose(value, joint(theta), rtol=1e-10)
    steps = 1e-5 * np.eye(6)
    np.testing.assert_allclose(gradient, [(joint(theta + h) - joint(theta - h)) / 2e-5 for h in steps], rtol=1e-6)
    hessian = ad.hessian(filtered)(theta)
    gradient_at = ad.grad(filtered)
    numeric = [(gradient_at(theta + h) - gradient_at(theta - h)) / 2e-5 for h in steps]
    np.testing.assert_allclose(hessian, numeric, rtol=1e-5, atol=1e-6)


def test_maximum_likelihood_and_maximum_a_posteriori_of_bernoulli_trials():
    trials, a, b = np.array([1, 0, 1, 1, 0, 1.0]), 3.0, 2.0

    def log_likelihood(z):
        return (trials * ad.special.log_expit(z) + (1 - trials) * ad.special.log_expit(-z)).sum()

    def log_posterior(z):
        return log_likelihood(z) + (a - 1) * ad.special.log_expit(z) + (b - 1) * ad.special.log_expit(-z)

    for f, p in ((log_likelihood, trials.mean()), (log_posterior, (4 + a - 1) / (6 + a + b - 2))):
        z = np.array(0.0)
        for _ in range(20):
            z = z - ad.grad(f)(z) / ad.hessian(f)(z)
        assert 1 / (1 + np.exp(-z)) == pytest.approx(p, rel=1e-12)
